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
        runtime=of_expert(lambda job: minutes(job.expert.env_steps, 60000)),
    params:
        config=placed("results/{budget}/experts/{task}.settings.json"),
        settings=dumped(of_expert(lambda job: job)),
        numerics=versions("expert", "evaluate"),
    shell:
        "python -m inril expert --config {params.config:q} --out {output:q} &>> {log:q}"
