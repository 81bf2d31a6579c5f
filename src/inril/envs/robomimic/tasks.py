"""The four Robomimic tasks as data: what robosuite calls them, what is observed in which order, how long they last.

Nothing here needs robosuite. The order, signs and dimensions of observations are those of robosuite 1.4.1, in which the
data sets were recorded and the reference implementation learnt; see `docs/deviations.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

from inril.envs.robomimic.osc import ARM_ACTION

_ARM_LAYOUT = {"eef_pos": 3, "eef_quat": 4, "gripper_qpos": 2}


@dataclass(frozen=True, eq=False)
class RobomimicTask:
    """One task.

    Attributes:
        task_id: as in config, paths and figures.
        env_name: robosuite's name, which data files carry too.
        n_arms: Panda arms, each on a base of its own.
        object_layout: parts of the observation key "object" in order, with their dimensions.
        max_episode_steps: time limit of an episode in the reference implementation.
        unused_bodies: robosuite's objects that take no part: never observed, moved out of the scene by its resets.
    """

    task_id: str
    env_name: str
    n_arms: int
    object_layout: dict[str, int]
    max_episode_steps: int
    unused_bodies: tuple[str, ...] = ()

    @property
    def obs_layout(self) -> dict[str, int]:
        """Observation keys in order, with their dimensions."""
        arms = {f"robot{arm}_{key}": size for arm in range(self.n_arms) for key, size in _ARM_LAYOUT.items()}
        return {**arms, "object": sum(self.object_layout.values())}

    @property
    def obs_dim(self) -> int:
        """Do."""
        return sum(self.obs_layout.values())

    @property
    def action_dim(self) -> int:
        """Da."""
        return ARM_ACTION * self.n_arms


LIFT = RobomimicTask(
    task_id="lift",
    env_name="Lift",
    n_arms=1,
    object_layout={"cube_pos": 3, "cube_quat": 4, "gripper_to_cube_pos": 3},
    max_episode_steps=300,
)
CAN = RobomimicTask(
    task_id="can",
    env_name="PickPlaceCan",
    n_arms=1,
    object_layout={"Can_pos": 3, "Can_quat": 4, "Can_to_robot0_eef_pos": 3, "Can_to_robot0_eef_quat": 4},
    max_episode_steps=300,
    unused_bodies=("Milk_main", "Bread_main", "Cereal_main"),
)
SQUARE = RobomimicTask(
    task_id="square",
    env_name="NutAssemblySquare",
    n_arms=1,
    object_layout={
        "SquareNut_pos": 3,
        "SquareNut_quat": 4,
        "SquareNut_to_robot0_eef_pos": 3,
        "SquareNut_to_robot0_eef_quat": 4,
    },
    max_episode_steps=400,
    unused_bodies=("RoundNut_main",),
)
TRANSPORT = RobomimicTask(
    task_id="transport",
    env_name="TwoArmTransport",
    n_arms=2,
    object_layout={
        "payload_pos": 3,
        "payload_quat": 4,
        "trash_pos": 3,
        "trash_quat": 4,
        "lid_handle_pos": 3,
        "lid_handle_quat": 4,
        "target_bin_pos": 3,
        "trash_bin_pos": 3,
        "gripper0_to_payload": 3,
        "gripper0_to_lid_handle": 3,
        "gripper1_to_payload": 3,
        "gripper1_to_trash": 3,
        "payload_in_target_bin": 1,
        "trash_in_trash_bin": 1,
    },
    max_episode_steps=800,
)
ROBOMIMIC_TASKS = {task.task_id: task for task in (LIFT, CAN, SQUARE, TRANSPORT)}
