"""Tables: what the runs of a figure say in numbers.

In: metrics of all runs of a figure, and of the policies that they started from.
Out: results/<budget>/tables/gains_<figure>.{csv,html,md}.
"""


rule gains:
    """Compare every arm with the policy that it started from, with intervals."""
    input:
        finetune=lambda w: [metrics_of(run) for run in arms(w.figure, w.budget)],
        pretrain=lambda w: [
            pretrain_metrics_of(run) for run in arms(w.figure, w.budget)
        ],
    output:
        csv=paths.table("{budget}", "gains_{figure}", "csv"),
        html=report(
            paths.table("{budget}", "gains_{figure}", "html"),
            caption="../workflow/report/gains.rst",
            category="Tables",
            labels={"table": "gains", "figure": "{figure}", "budget": "{budget}"},
        ),
        md=paths.table("{budget}", "gains_{figure}", "md"),
    log:
        "results/{budget}/tables/gains_{figure}.log",
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        numerics=versions("report"),
    shell:
        "python -m inril gains --finetune {input.finetune:q} --pretrain {input.pretrain:q} "
        "--out {output:q} &> {log:q}"


rule claims:
    """Test what the paper says on the runs of a figure."""
    input:
        lambda w: [metrics_of(run) for run in arms(w.figure, w.budget)],
    output:
        csv=paths.table("{budget}", "claims_{figure}", "csv"),
        md=paths.table("{budget}", "claims_{figure}", "md"),
    log:
        "results/{budget}/tables/claims_{figure}.log",
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        numerics=versions("report"),
    shell:
        "python -m inril claims --metrics {input:q} --out {output.csv:q} {output.md:q} &> {log:q}"
