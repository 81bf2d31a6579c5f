"""Contents page: from demonstrations to figures. Phases are in rules/, settings in config/ (see its README)."""

import os
import shlex
import sys

from snakemake.utils import min_version

min_version("9.20")

# Code and settings belong to this Snakefile, results to the working directory (`--directory`).
BASE = str(workflow.basedir)
sys.path.insert(0, os.path.join(BASE, "src"))
shell.prefix(
    f"set -euo pipefail; export PYTHONPATH={shlex.quote(sys.path[0])}${{{{PYTHONPATH:+:$PYTHONPATH}}}} "
    f"PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH PYTHONUTF8=1; "
)


include: "rules/cluster.smk"


configfile: CONFIG_DIR / "config.yaml"


report: "workflow/report/workflow.rst"


include: "rules/published.smk"
include: "rules/common.smk"
include: "rules/demos.smk"
include: "rules/pretrain.smk"
include: "rules/finetune.smk"
include: "rules/figures.smk"
include: "rules/tables.smk"
include: "rules/films.smk"
include: "rules/promote.smk"
include: "rules/experts.smk"


localrules:
    all,
    all_demos,
    all_pretrain,
    all_finetune,
    all_films,
    all_experts,


rule all:
    """Every figure and comparison of the chosen budget."""
    default_target: True
    input:
        [file for name in PLAN.drawn for file in PLAN.targets(name)],


rule all_demos:
    """The demonstrations that the figures need."""
    input:
        PLAN.needed(PLAN.demos),


rule all_pretrain:
    """The pre-trained policies that the figures need."""
    input:
        PLAN.needed(PLAN.start_policy),


rule all_finetune:
    """The runs that the figures need: fine-tuning, and pre-training that is shown for its own sake."""
    input:
        PLAN.needed(PLAN.metrics),


rule all_films:
    """Films of all policies that the configuration names; no part of `all`."""
    input:
        [file for name in ROOT.films for file in PLAN.files(name).values()],


rule all_experts:
    """The demonstrators, trained again from scratch; the shipped ones were made this way."""
    input:
        expand(rules.expert.output, budget=PLAN.budget, task=PLAN.project.demonstrated),
