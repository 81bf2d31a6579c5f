"""Landscapes: return and imitation loss in the plane of three policies' weights. Made only when they are asked for.

In: policies of a run of RL only and of an interleaved one, demonstrations.
Out: results/<budget>/landscapes/<landscape>.{csv,pdf,png}.
"""


rule landscape:
    """Measure every point; knows nothing of looks."""
    input:
        demos=of_shown(Plan.landscape_demos),
        policies=of_shown(Plan.landscape_policies),
    output:
        paths.landscape("{budget}", "{shown}", "csv"),
    log:
        "results/{budget}/landscapes/{shown}.log",
    wildcard_constraints:
        shown=LANDSCAPES,
    conda:
        "../environment.yml"
    threads: THREADS
    resources:
        device=EXECUTION.device,
        sim_threads=EXECUTION.sim_threads,
        mem_mb=growing(2500),
        gpu=GPUS,
        runtime=120,
    params:
        config=placed("results/{budget}/landscapes/{shown}.settings.json"),
        settings=dumped(of_shown(Plan.landscape_spec)),
        numerics=of_shown(Plan.landscape_versions),
    shell:
        "python -m inril landscape --config {params.config:q} --demos {input.demos:q} --policies {input.policies:q} "
        "--out {output:q} --device {resources.device} --sim-threads {resources.sim_threads} &> {log:q}"


rule landscape_figure:
    """Draw a landscape from its table."""
    input:
        table=rules.landscape.output[0],
    output:
        pdf=paths.landscape("{budget}", "{shown}", "pdf"),
        png=paths.landscape("{budget}", "{shown}", "png"),
    log:
        "results/{budget}/landscapes/{shown}.figure.log",
    wildcard_constraints:
        shown=LANDSCAPES,
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        config=placed("results/{budget}/landscapes/{shown}.figure.json"),
        settings=dumped(of_shown(Plan.landscape_figure_spec)),
    shell:
        "python -m inril landscape-figure --config {params.config:q} --table {input.table:q} "
        "--out {output.pdf:q} {output.png:q} &> {log:q}"
