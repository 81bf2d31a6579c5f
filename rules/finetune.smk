"""Fine-tuning: one run per (task, method, separation, m, seed).

In: demonstrations, the pre-trained policy of the same seed.
Out: final policy, metrics, the resolved settings.
Beside them, and not an output, lies checkpoint/: what an interrupted job resumes from.
"""


rule finetune:
    """Fine-tune one policy."""
    input:
        demos=of_run(Plan.demos),
        policy=of_run(Plan.start_policy),
    output:
        policy=f"{FINETUNE}/policy.safetensors",
        metrics=f"{FINETUNE}/metrics.csv",
        config=report(
            f"{FINETUNE}/config.yaml",
            caption="../workflow/report/settings.rst",
            category="Settings",
            subcategory="Fine-tuning",
            labels=run_labels,
        ),
    log:
        f"{FINETUNE}/log.txt",
    benchmark:
        f"{FINETUNE}/benchmark.tsv"
    conda:
        "../environment.yml"
    threads: THREADS
    resources:
        device=EXECUTION.device,
        sim_threads=EXECUTION.sim_threads,
        mem_mb=growing(2500),
        gpu=GPUS,
        runtime=of_run(lambda plan, run: minutes(plan.config(run).env_steps, 15000)),
    params:
        config=placed(f"{FINETUNE}/settings.json"),
        settings=dumped(of_run(Plan.config)),
        numerics=of_run(Plan.versions),
        out=subpath(output.policy, parent=True),
    shell:
        "python -m inril finetune --config {params.config:q} --demos {input.demos:q} --policy {input.policy:q} "
        "--out {params.out:q} --on-mismatch restart "
        "--device {resources.device} --sim-threads {resources.sim_threads} &>> {log:q}"
