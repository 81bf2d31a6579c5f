"""Figures: from metrics to what a reader sees.

In: metrics of all runs of a figure.
Out: results/<budget>/figures/<figure>.{csv,pdf,png}; for the default budget copies of them in results/.
"""


localrules:
    promote,


rule table:
    """Collect a figure's runs into one tidy table; knows nothing of looks."""
    input:
        lambda w: [metrics_of(run) for run in arms(w.figure, w.budget)],
    output:
        report(
            paths.figure("{budget}", "{figure}", "csv"),
            caption="../workflow/report/table.rst",
            category="Tables",
            labels={
                "table": "points of the curves",
                "figure": "{figure}",
                "budget": "{budget}",
            },
        ),
    log:
        "results/{budget}/figures/{figure}.table.log",
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
        published=str(PUBLISHED),
    params:
        spec=lambda w: project(w.budget)
        .figure(w.figure)
        .table(w.figure)
        .model_dump_json(),
        published=lambda w: published_of(w.figure, w.budget),
        numerics=versions("report"),
    shell:
        "python -m inril aggregate --config {params.spec:q} --metrics {input:q} "
        "--published {resources.published:q} --out {output:q} &> {log:q}"


rule figure:
    """Draw a figure from its table."""
    input:
        table=rules.table.output[0],
    output:
        pdf=paths.figure("{budget}", "{figure}", "pdf"),
        png=report(
            paths.figure("{budget}", "{figure}", "png"),
            caption="../workflow/report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}", "budget": "{budget}"},
        ),
    log:
        "results/{budget}/figures/{figure}.figure.log",
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        spec=lambda w: figure_spec(w).model_dump_json(),
        shown=shown,
    shell:
        "python -m inril figure --config {params.spec:q} --table {input.table:q} "
        "--out {output.pdf:q} {output.png:q} &> {log:q}"


rule promote:
    """Copy the default budget's figure to where readers look for it."""
    input:
        unpack(promoted),
    output:
        pdf="results/{figure}.pdf",
        png="results/{figure}.png",
        csv="results/{figure}.csv",
    log:
        f"results/{DEFAULT_BUDGET}/figures/{{figure}}.promote.log",
    conda:
        "../environment.yml"
    shell:
        "(cp {input.pdf:q} {output.pdf:q} && cp {input.png:q} {output.png:q} && cp {input.csv:q} {output.csv:q}) "
        "&> {log:q}"
