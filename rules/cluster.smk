"""Before any job, and inside each, since on a cluster each evaluates the Snakefile again, maybe long after it started."""

import json
from hashlib import sha256
from pathlib import Path

from inril.config.numerics import VERSIONS
from inril.errors import InputError
from inril.files import write_atomically
from inril.train.run_lock import refuse_if_held

CONFIG_DIR = Path(BASE, "config")
SUBMITTED = "INRIL_SUBMITTED"  # environment variable of jobs: where their settings are
HERE = workflow.current_basedir.get_path_or_uri(secret_free=True)


def own_jobs():
    """Return the jobs that are to run, without those of a workflow that imports this one."""
    return [
        job
        for job in workflow.dag.needrun_jobs()
        if job.rule.snakefile.startswith(HERE)
    ]


def keep_settings():
    """Copy the settings for jobs: what Snakemake records of a job is what was planned, so that is what has to run."""
    digest = sha256(json.dumps(VERSIONS).encode())
    # Read as text: the same whatever the line ends.
    settings = {
        file.relative_to(CONFIG_DIR): file.read_text(encoding="utf-8")
        for file in sorted(CONFIG_DIR.rglob("*.yaml"))
    }
    for name, text in settings.items():
        digest.update(f"{name}\n{text}".encode())
    kept = Path(".snakemake", "submitted", digest.hexdigest()).resolve()
    if not (kept / "numerics.json").exists():
        for name, text in settings.items():
            write_atomically(kept / "config" / name, text.encode())
        write_atomically(kept / "numerics.json", json.dumps(VERSIONS).encode())
    return kept


def refuse_running_jobs():
    """Stop before any job if one of them is still at work: started by a Snakemake that died, or by hand."""
    for job in own_jobs():
        try:
            refuse_if_held(Path(job.params.get("out", "")))
        except InputError as error:
            raise SystemExit(f"error: {error}") from None


def write_settings():
    """Give every job that is to run its settings as a file; they are a param too, so that a change runs it again."""
    for job in own_jobs():
        if "settings" in job.params.keys():
            write_atomically(Path(job.params.config), job.params.settings.encode())


def prepare():
    """Do what has to be done before the first job."""
    refuse_running_jobs()
    write_settings()
    os.environ[SUBMITTED] = str(keep_settings())


def after_preparing(handler):
    """Return a handler of `onstart` that does the same after `prepare`."""

    def on_start(log):
        prepare()
        handler(log)

    return on_start


# Not `onstart:`, since Snakemake asks only that of the workflow that was called, and this one may be a module of it.
set_handler = workflow.onstart
workflow.onstart = lambda handler: set_handler(after_preparing(handler))
workflow._onstart = after_preparing(workflow._onstart)


if not workflow.is_main_process and SUBMITTED in os.environ:
    submitted = Path(os.environ[SUBMITTED])
    if (
        json.loads((submitted / "numerics.json").read_text(encoding="utf-8"))
        != VERSIONS
    ):
        raise SystemExit(
            f"error: {BASE}/src/inril/config/numerics.py: expected the versions that this job was submitted with, "
            "got others. Start Snakemake again"
        )
    CONFIG_DIR = submitted / "config"
