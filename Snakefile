"""Contents page: from demonstrations to figures. Phases are in rules/, settings in config/ (see its README)."""

from pathlib import Path

from snakemake.utils import min_version

min_version("9.20")

# Code and settings belong to this Snakefile, whatever includes, imports or links it; results to the working directory
# (`--directory`).
SNAKEFILE = Path(workflow.included_stack[-1].get_path_or_uri(secret_free=True))
if not SNAKEFILE.exists():
    raise SystemExit(
        f"error: {SNAKEFILE}: expected a file of a clone, since jobs run the code beside it, got one on a server. "
        "Clone the repository and import its Snakefile by path"
    )
BASE = SNAKEFILE.resolve().parent
RULES = BASE / "rules"


include: RULES / "environment.smk"
include: RULES / "cluster.smk"


report: str(BASE / "workflow" / "report" / "workflow.rst")


include: RULES / "published.smk"
include: RULES / "common.smk"
include: RULES / "demos.smk"
include: RULES / "pretrain.smk"
include: RULES / "finetune.smk"
include: RULES / "figures.smk"
include: RULES / "tables.smk"
include: RULES / "films.smk"
include: RULES / "landscapes.smk"
include: RULES / "schematics.smk"
include: RULES / "promote.smk"
include: RULES / "experts.smk"


localrules:
    all,
    all_demos,
    all_pretrain,
    all_finetune,
    all_films,
    all_experts,


rule all:
    """Every figure and comparison of the chosen budget."""
    default_target: workflow.modifier.is_main_snakefile()  # an importing workflow has its own
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
