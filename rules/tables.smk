"""Tables: what the runs of a figure say in numbers, and comparisons of methods.

In: metrics of all runs, and of the policies that they started from.
Out: results/<budget>/tables/{gains,claims}_<figure>.{csv,md,...}; results/<budget>/tables/<comparison>.{csv,html,md,tex}.
"""


rule gains:
    """Compare every arm with the policy that it started from, with intervals."""
    input:
        finetune=of_shown(Plan.all_metrics),
        pretrain=of_shown(Plan.all_start_metrics),
    output:
        csv=paths.table("{budget}", "gains_{shown}", "csv"),
        html=report(
            paths.table("{budget}", "gains_{shown}", "html"),
            caption="../workflow/report/gains.rst",
            category="Tables",
            labels={"table": "gains", "figure": "{shown}", "budget": "{budget}"},
        ),
        md=paths.table("{budget}", "gains_{shown}", "md"),
    log:
        "results/{budget}/tables/gains_{shown}.log",
    wildcard_constraints:
        shown=FIGURES,
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        numerics=versions("report"),
        rl_only=PLAN.project.rl_only_methods,
    shell:
        "python -m inril gains --finetune {input.finetune:q} --pretrain {input.pretrain:q} "
        "--rl-only {params.rl_only:q} --out {output:q} &> {log:q}"


rule claims:
    """Test what the paper says on the runs of a figure."""
    input:
        finetune=of_shown(Plan.all_metrics),
        pretrain=of_shown(Plan.all_start_metrics),
    output:
        csv=paths.table("{budget}", "claims_{shown}", "csv"),
        md=paths.table("{budget}", "claims_{shown}", "md"),
    log:
        "results/{budget}/tables/claims_{shown}.log",
    wildcard_constraints:
        shown=FIGURES,
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        numerics=versions("report"),
    shell:
        "python -m inril claims --metrics {input.finetune:q} --pretrain {input.pretrain:q} "
        "--out {output.csv:q} {output.md:q} &> {log:q}"


rule comparison:
    """Compare methods task by task."""
    input:
        of_shown(Plan.all_metrics),
    output:
        csv=paths.table("{budget}", "{shown}", "csv"),
        html=report(
            paths.table("{budget}", "{shown}", "html"),
            caption="../workflow/report/comparison.rst",
            category="Tables",
            labels={"table": "{shown}", "figure": "", "budget": "{budget}"},
        ),
        md=paths.table("{budget}", "{shown}", "md"),
        tex=paths.table("{budget}", "{shown}", "tex"),
    log:
        "results/{budget}/tables/{shown}.log",
    wildcard_constraints:
        shown=COMPARISONS,
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
        published=PUBLISHED,
    params:
        config=placed("results/{budget}/tables/{shown}.settings.json"),
        settings=dumped(of_shown(Plan.comparison_spec)),
        published=of_shown(Plan.published),
        numerics=versions("report"),
    shell:
        "python -m inril compare --config {params.config:q} --metrics {input:q} "
        "--published {resources.published:q} --out {output:q} &> {log:q}"
