"""Pre-training: behaviour cloning of one policy.

In: the task's demonstrations.
Out: the chosen checkpoint (normaliser included), its metrics, the resolved settings.
Beside them, and not an output, lies what an interrupted job resumes from.
"""


rule pretrain:
    """Clone the demonstrations."""
    input:
        demos=of_run(Plan.demos),
    output:
        policy=f"{PRETRAIN}/policy.safetensors",
        metrics=f"{PRETRAIN}/metrics.csv",
        config=report(
            f"{PRETRAIN}/config.yaml",
            caption="../workflow/report/settings.rst",
            category="Settings",
            subcategory="Pre-training",
            labels={"task": "{task}", "policy": "{policy}", "seed": "{seed}"},
        ),
    log:
        f"{PRETRAIN}/log.txt",
    benchmark:
        f"{PRETRAIN}/benchmark.tsv"
    conda:
        "../environment.yml"
    threads: THREADS
    resources:
        device=EXECUTION.device,
        sim_threads=EXECUTION.sim_threads,
        mem_mb=growing(2500),
        gpu=GPUS,
        runtime=of_run(
            lambda plan, run: minutes(plan.config(run).optim.max_steps, 2000)
        ),
    params:
        config=placed(f"{PRETRAIN}/settings.json"),
        settings=dumped(of_run(Plan.config)),
        numerics=of_run(Plan.versions),
        out=subpath(output.policy, parent=True),
    shell:
        "python -m inril pretrain --config {params.config:q} --demos {input.demos:q} "
        "--out {params.out:q} --on-mismatch restart "
        "--device {resources.device} --sim-threads {resources.sim_threads} &>> {log:q}"
