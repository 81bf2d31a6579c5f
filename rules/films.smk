"""Films: what a policy does, seen. Made only when they are asked for, since rendering needs OpenGL.

In: a pre-trained or fine-tuned policy.
Out: results/<budget>/films/<film>.pdf (strips of frames, times of all episodes) and .gif.
"""


rule film:
    """Show successes and failures of one policy."""
    input:
        of_shown(Plan.film_policy),
    output:
        pdf=paths.film("{budget}", "{shown}", "pdf"),
        gif=paths.film("{budget}", "{shown}", "gif"),
    log:
        "results/{budget}/films/{shown}.log",
    wildcard_constraints:
        shown=FILMS,
    conda:
        "../environment.yml"
    threads: THREADS
    resources:
        device=EXECUTION.device,
        sim_threads=EXECUTION.sim_threads,
        mem_mb=growing(2500),
        gpu=GPUS,
        runtime=60,
    params:
        config=placed("results/{budget}/films/{shown}.settings.json"),
        settings=dumped(of_shown(Plan.film_spec)),
        numerics=of_shown(Plan.film_versions),
    shell:
        "python -m inril film --config {params.config:q} --policy {input:q} --out {output.pdf:q} --gif {output.gif:q} "
        "--device {resources.device} --sim-threads {resources.sim_threads} &> {log:q}"
