#!/usr/bin/env bash
# Fills the conda environment that is active, after environment.yml. INRIL_BASE is the folder of the repository.
set -euo pipefail
cd "$INRIL_BASE"
# The lock is complete. What d4rl, robomimic and robosuite ask for beyond it (mujoco-py, dm_control, torchvision) does not
# install or is never imported.
python -m pip install --no-deps -r requirements.lock
# Does nothing for a CPU build of torch; a CUDA build gets its libraries, which differ between platforms.
python -m pip install --constraint requirements.lock torch
# Its sources stay where they are. Snakemake hides PYTHONPATH from jobs that run in here.
python -m pip install --no-deps --no-build-isolation --editable .
