"""Tables: what the runs of a figure say in numbers, and comparisons of methods.

In: metrics of all runs, and of the policies that they started from.
Out: results/<budget>/tables/{gains,claims}_<figure>.{csv,md,...}; results/<budget>/tables/<comparison>.{csv,html,md,tex},
for the default budget copies in results/.
"""


localrules:
    promote_comparison,


rule gains:
    """Compare every arm with the policy that it started from, with intervals."""
    input:
        finetune=lambda w: [
            metrics_of(run) for run in arms(w.figure, w.budget, published=False)
        ],
        pretrain=lambda w: [
            pretrain_metrics_of(run)
            for run in arms(w.figure, w.budget, published=False)
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
        rl_only=PROJECT.rl_only_methods,
    shell:
        "python -m inril gains --finetune {input.finetune:q} --pretrain {input.pretrain:q} "
        "--rl-only {params.rl_only:q} --out {output:q} &> {log:q}"


rule claims:
    """Test what the paper says on the runs of a figure."""
    input:
        finetune=lambda w: [
            metrics_of(run) for run in arms(w.figure, w.budget, published=False)
        ],
        pretrain=lambda w: [
            pretrain_metrics_of(run)
            for run in arms(w.figure, w.budget, published=False)
        ],
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
        "python -m inril claims --metrics {input.finetune:q} --pretrain {input.pretrain:q} "
        "--out {output.csv:q} {output.md:q} &> {log:q}"


rule comparison:
    """Compare methods task by task."""
    input:
        lambda w: [metrics_of(run) for run in arms(w.comparison, w.budget)],
    output:
        csv=paths.table("{budget}", "{comparison}", "csv"),
        html=report(
            paths.table("{budget}", "{comparison}", "html"),
            caption="../workflow/report/comparison.rst",
            category="Tables",
            labels={"table": "{comparison}", "figure": "", "budget": "{budget}"},
        ),
        md=paths.table("{budget}", "{comparison}", "md"),
        tex=paths.table("{budget}", "{comparison}", "tex"),
    log:
        "results/{budget}/tables/{comparison}.log",
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
        published=str(PUBLISHED),
    params:
        spec=lambda w: project(w.budget).comparison(w.comparison).model_dump_json(),
        published=lambda w: published_of(w.comparison, w.budget),
        numerics=versions("report"),
    shell:
        "python -m inril compare --config {params.spec:q} --metrics {input:q} "
        "--published {resources.published:q} --out {output:q} &> {log:q}"


rule promote_comparison:
    """Copy the default budget's comparison to where readers look for it."""
    input:
        unpack(promoted),
    output:
        csv="results/{comparison}.csv",
        md="results/{comparison}.md",
        tex="results/{comparison}.tex",
    log:
        f"results/{DEFAULT_BUDGET}/tables/{{comparison}}.promote.log",
    conda:
        "../environment.yml"
    shell:
        "(cp {input.csv:q} {output.csv:q} && cp {input.md:q} {output.md:q} && cp {input.tex:q} {output.tex:q}) "
        "&> {log:q}"
