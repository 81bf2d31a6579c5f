"""Where this process and its jobs, which inherit the environment, find the code and the programs."""

import os
import sys


def before(variable, path):
    """Return an environment variable's paths with another one before them."""
    return os.pathsep.join(filter(None, (str(path), os.environ.get(variable))))


sys.path.insert(0, str(BASE / "src"))
# Not by `shell.prefix`, of which an importing workflow has one; an activated conda environment comes before these.
os.environ.update(
    PYTHONPATH=before("PYTHONPATH", BASE / "src"),
    PATH=before("PATH", os.path.dirname(sys.executable)),
    PYTHONUTF8="1",
    # Many containers keep no bytecode. Each job would compile all that it imports, for longer than it takes to load.
    PYTHONDONTWRITEBYTECODE="",
    INRIL_BASE=str(BASE),  # for environment.post-deploy.sh
)
