"""Figures: from metrics to what a reader sees.

In: metrics of all runs of a figure.
Out: results/<budget>/figures/<figure>.{csv,pdf,png}.
"""


rule table:
    """Collect a figure's runs into one tidy table; knows nothing of looks."""
    input:
        of_shown(Plan.all_metrics),
    output:
        report(
            paths.figure("{budget}", "{shown}", "csv"),
            caption="../workflow/report/table.rst",
            category="Tables",
            labels={
                "table": "points of the curves",
                "figure": "{shown}",
                "budget": "{budget}",
            },
        ),
    log:
        "results/{budget}/figures/{shown}.table.log",
    wildcard_constraints:
        shown=FIGURES,
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
        published=PUBLISHED,
    params:
        config=placed("results/{budget}/figures/{shown}.table.json"),
        settings=dumped(of_shown(Plan.table_spec)),
        published=of_shown(Plan.published),
        numerics=versions("report"),
    shell:
        "python -m inril aggregate --config {params.config:q} --metrics {input:q} "
        "--published {resources.published:q} --out {output:q} &> {log:q}"


rule figure:
    """Draw a figure from its table."""
    input:
        table=rules.table.output[0],
    output:
        pdf=paths.figure("{budget}", "{shown}", "pdf"),
        png=report(
            paths.figure("{budget}", "{shown}", "png"),
            caption="../workflow/report/figure.rst",
            category="Figures",
            labels={"figure": "{shown}", "budget": "{budget}"},
        ),
    log:
        "results/{budget}/figures/{shown}.figure.log",
    wildcard_constraints:
        shown=FIGURES,
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        config=placed("results/{budget}/figures/{shown}.figure.json"),
        settings=dumped(of_shown(Plan.figure_spec)),
        shown=of_shown(Plan.caption),
    shell:
        "python -m inril figure --config {params.config:q} --table {input.table:q} "
        "--out {output.pdf:q} {output.png:q} &> {log:q}"
