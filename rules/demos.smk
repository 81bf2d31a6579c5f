"""Demonstrations.

In: the shipped demonstrator (`generated` Gym tasks); the file of one's own (`file`); else nothing: scripted experts are
code, `d4rl` and `robomimic` are addresses.
Out: one robomimic-style HDF5 file per task and source.
"""


rule demos:
    """Make the demonstrations of one task; a replaced demonstrator makes them again."""
    input:
        of_demos(Plan.demo_files),
    output:
        DEMOS,
    log:
        f"{DEMOS}.log",
    benchmark:
        f"{DEMOS}.benchmark.tsv"
    conda:
        "../environment.yml"
    threads: THREADS
    resources:
        sim_threads=EXECUTION.sim_threads,
        mem_mb=growing(1500),
        runtime=60,
    params:
        config=placed(f"{DEMOS}.settings.json"),
        settings=dumped(of_demos(Plan.demos_config)),
        numerics=of_demos(Plan.demos_versions),
        expert=of_demos(Plan.demonstrator),
    shell:
        "python -m inril demos --config {params.config:q} --out {output:q} "
        "--sim-threads {resources.sim_threads} &>> {log:q}"
