"""Films: what a policy does, seen. Made only when they are asked for, since rendering needs OpenGL.

In: a pre-trained or fine-tuned policy.
Out: results/<budget>/films/<film>.pdf (strips of frames, times of all episodes) and .gif; for the default budget copies
of them in results/.
"""


localrules:
    promote_film,


rule film:
    """Show successes and failures of one policy."""
    input:
        film_policy,
    output:
        pdf=paths.film("{budget}", "{film}", "pdf"),
        gif=paths.film("{budget}", "{film}", "gif"),
    log:
        "results/{budget}/films/{film}.log",
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
        config=lambda w: project(w.budget).film(w.film).model_dump_json(),
        numerics=lambda w: evaluation_versions(
            project(w.budget).suite(project(w.budget).film_run(w.film).task)
        ),
    shell:
        "python -m inril film --config {params.config:q} --policy {input:q} --out {output.pdf:q} --gif {output.gif:q} "
        "--device {resources.device} --sim-threads {resources.sim_threads} &> {log:q}"


rule promote_film:
    """Copy the default budget's film to where readers look for it."""
    input:
        unpack(promoted_film),
    output:
        pdf="results/{film}.pdf",
        gif="results/{film}.gif",
    log:
        f"results/{DEFAULT_BUDGET}/films/{{film}}.promote.log",
    conda:
        "../environment.yml"
    shell:
        "(cp {input.pdf:q} {output.pdf:q} && cp {input.gif:q} {output.gif:q}) &> {log:q}"
