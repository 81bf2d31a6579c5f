"""Jobs on a cluster: each evaluates the Snakefile again, maybe long after it was submitted."""

import json
from hashlib import sha256
from pathlib import Path

from inril.files import write_atomically
from inril.config.numerics import VERSIONS
from inril.train.run_lock import holder_of

CONFIG_DIR = Path(BASE, "config")
SUBMITTED = "INRIL_SUBMITTED"  # environment variable of jobs: where their settings are


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
    """Stop before any job if one of them is still at work: submitted by a Snakemake that died, or started by hand."""
    for job in workflow.dag.needrun_jobs():
        folder = job.params.get("out")
        holder = holder_of(Path(folder)) if folder else None
        if holder:
            raise SystemExit(
                f"error: {folder}: expected a folder to work in alone, got one in use by {holder}. "
                "Wait for it to end, or stop it (scancel)"
            )


def write_settings():
    """Give every job that is to run its settings as a file; they are a param too, so that a change runs it again."""
    for job in workflow.dag.needrun_jobs():
        if "settings" in job.params.keys():
            write_atomically(Path(job.params.config), job.params.settings.encode())


onstart:
    refuse_running_jobs()
    write_settings()
    os.environ[SUBMITTED] = str(keep_settings())


if not workflow.is_main_process and SUBMITTED in os.environ:
    submitted = Path(os.environ[SUBMITTED])
    if json.loads((submitted / "numerics.json").read_text(encoding="utf-8")) != VERSIONS:
        raise SystemExit(
            f"error: {BASE}/src/inril/config/numerics.py: expected the versions that this job was submitted with, "
            "got others. Start Snakemake again"
        )
    CONFIG_DIR = submitted / "config"
