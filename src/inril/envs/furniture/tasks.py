"""FurnitureBench's tasks by name: seven of the paper's, and Round-Table med, which costs nothing."""

from __future__ import annotations

import numpy as np

from inril.envs.furniture.lamp import LAMP
from inril.envs.furniture.mug_rack import MUG_RACK
from inril.envs.furniture.one_leg import ONE_LEG
from inril.envs.furniture.peg_in_hole import PEG_IN_HOLE
from inril.envs.furniture.round_table import ROUND_TABLE
from inril.envs.furniture.task import LOW, MED, FurnitureTask
from inril.errors import InputError

# The reference moves peg and hole in the same way at every level.
_PEG_LOW = LOW._replace(part_m=0.01, part_rad=np.deg2rad(45))

_TASKS = (
    FurnitureTask("one_leg_low", ONE_LEG, LOW),
    FurnitureTask("one_leg_med", ONE_LEG, MED),
    FurnitureTask("lamp_low", LAMP, LOW),
    FurnitureTask("lamp_med", LAMP, MED),
    FurnitureTask("round_table_low", ROUND_TABLE, LOW),
    FurnitureTask("round_table_med", ROUND_TABLE, MED),
    FurnitureTask("mug_rack_low", MUG_RACK, LOW),
    FurnitureTask("peg_in_hole_low", PEG_IN_HOLE, _PEG_LOW),
)
FURNITURE_TASKS = {task.task_id: task for task in _TASKS}


def furniture_task(task_id: str) -> FurnitureTask:
    """Return a task by its name.

    Raises:
        InputError: if there is no such task: furniture or level is unknown.
    """
    if task_id not in FURNITURE_TASKS:
        raise InputError("furniture", field="task", expected=f"one of {', '.join(FURNITURE_TASKS)}", got=repr(task_id))
    return FURNITURE_TASKS[task_id]
