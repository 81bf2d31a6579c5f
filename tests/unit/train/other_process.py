import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def running(script: str, *args: object, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process of a script, from when it says that it is ready; killed at the end."""
    command = [sys.executable, "-c", script, *map(str, args)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=os.environ | environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
