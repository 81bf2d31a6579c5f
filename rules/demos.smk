"""Demonstrations.

In: nothing (`generated`: shipped demonstrators) or a download (`d4rl`).
Out: one robomimic-style HDF5 file per task and source.
"""


rule demos:
    """Make the demonstrations of one task."""
    output:
        DEMOS,
    log:
        f"{DEMOS}.log",
    benchmark:
        f"{DEMOS}.benchmark.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        config=lambda w: project(w.budget, w.source).demos(w.task).model_dump_json(),
        numerics=versions("demos"),
    shell:
        "python -m inril demos --config {params.config:q} --out {output:q} &>> {log:q}"
