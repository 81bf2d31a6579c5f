"""Demonstrators, trained from scratch; never needed for a figure, since trained ones are shipped.

In: nothing.
Out: the weights of a Gaussian policy per task, as they are shipped.
"""


rule expert:
    """Train one demonstrator to the quality that its task names."""
    output:
        "results/{budget}/experts/{task}.safetensors",
    log:
        "results/{budget}/experts/{task}.log",
    benchmark:
        "results/{budget}/experts/{task}.benchmark.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2500),
        runtime=lambda w: minutes(expert_job(w).expert.env_steps, 60000),
    params:
        config=lambda w: expert_job(w).model_dump_json(),
        numerics=versions("expert", "evaluate"),
    shell:
        "python -m inril expert --config {params.config:q} --out {output:q} &>> {log:q}"
