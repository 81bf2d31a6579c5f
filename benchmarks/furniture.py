"""The furniture tasks: speed, memory, robustness, and how often their scripted experts succeed.

    python -m benchmarks.furniture speed
    python -m benchmarks.furniture violence --episodes 100
    python -m benchmarks.furniture experts --episodes 100

Speed is in control steps (10 Hz) per CPU-second while the arm waves over resting parts. The limit is physics alone:
`mj_step` from the states of our run. Violent actions are uniform in the whole range of poses. Experts act without
noise; what they have assembled is looked at again after they have let go, drawn back and waited two seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.physics import bare_physics
from inril.data.scripted import motion
from inril.data.scripted.attempt import EXPERTS
from inril.data.scripted.furniture.arm import Robot
from inril.data.scripted.furniture.furniture_scene import FurnitureScene, make_furniture_scene
from inril.data.scripted.operator import Operator
from inril.envs.batched import BatchedSimulator
from inril.envs.furniture.screws import is_assembled
from inril.envs.furniture.suite import FurnitureSuite
from inril.envs.furniture.tasks import FURNITURE_TASKS, furniture_task
from inril.report.statistics import wilson

_N_ENVS, _N_STEPS, _REPEATS = 4, 100, 7
_WAITING_STEPS = 20


def furniture_speed(task_id: str) -> dict[str, float]:
    """Measure one task.

    Returns:
        `steps`: control steps per CPU-second; `fraction`: of the bare physics' speed, both medians, in turns; `best`:
        the most steps of all repeats, which is nearest to an undisturbed machine; `memory`: kilobytes of resident
        memory per further environment.
    """
    suite = FurnitureSuite(furniture_task(task_id), _N_ENVS)
    env = BatchedSimulator(suite, act_steps=1)
    obs = env.reset(0)
    steps, fractions = [], []
    for repeat in range(_REPEATS + 1):
        physics = []
        seconds = 0.0
        for i in range(_N_STEPS):
            action = np.concatenate([obs[:, :9], -np.ones((_N_ENVS, 1))], axis=1)
            action[:, 0] += 0.05 * np.sin(i / 8)
            action[:, 1] += 0.05 * np.cos(i / 8)
            start = time.process_time()
            env.step_chunk(action[:, None])
            seconds += time.process_time() - start
            physics.append(env.get_state()["physics"])
        start = time.process_time()
        bare_physics(suite.simulators, np.array(physics, dtype=np.float64), suite.shared.rules.n_substeps)
        bare = time.process_time() - start
        obs = env.reset(repeat)
        if repeat:  # the first one compiled
            steps.append(_N_ENVS * _N_STEPS / seconds)
            fractions.append(bare / seconds)
    env.close()
    memory = _kilobytes_per_env(task_id)
    return {"steps": median(steps), "best": max(steps), "fraction": median(fractions), "memory": memory}


def _kilobytes_per_env(task_id: str) -> float:
    """Return by how much a fresh process grows with each environment."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        few, many = (pool.submit(_grown_kilobytes, task_id, n_envs).result() for n_envs in (1, 101))
    return (many - few) / 100


def _grown_kilobytes(task_id: str, n_envs: int) -> float:
    before = _resident_kilobytes()
    suite = FurnitureSuite(furniture_task(task_id), n_envs)
    obs = np.zeros((n_envs, suite.obs_dim))
    suite.start(np.arange(n_envs), [np.random.default_rng(i) for i in range(n_envs)], obs)
    grown = _resident_kilobytes() - before
    suite.close()
    return grown


def _resident_kilobytes() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def furniture_speeds() -> dict[str, float]:
    """Measure all tasks; names like `furniture_lamp_low_steps`."""
    speeds = {task_id: furniture_speed(task_id) for task_id in FURNITURE_TASKS}
    return {f"furniture_{task_id}_{name}": value for task_id, speed in speeds.items() for name, value in speed.items()}


def violence(task_id: str, n_episodes: int) -> str:
    """Act at random and tell what became of states and parts."""
    n_envs = min(10, n_episodes)
    suite = FurnitureSuite(furniture_task(task_id), n_envs)
    env = BatchedSimulator(suite, act_steps=1)
    rng = np.random.default_rng(0)
    env.reset(0)
    parts = [suite.model.body(part.name).id for part in suite.task.furniture.parts]
    deepest_m, below, not_finite, false_alarms, n_done = 0.0, 0, 0, 0, 0
    while n_done < n_episodes:
        step = env.step_chunk(rng.uniform(-1, 1, (n_envs, 1, 10)))
        not_finite += int((~np.isfinite(step.obs)).any(axis=1).sum())
        false_alarms += int(step.reward.sum())
        n_done += int((step.terminated | step.truncated).sum())
        for data in suite.data:
            below += int((data.xpos[parts, 2] < -0.01).sum())
            if data.ncon:
                deepest_m = max(deepest_m, -float(data.contact.dist.min()))
    diverged = env.n_diverged
    env.close()
    return (
        f"{task_id}: {n_done} episodes, {diverged} diverged, {not_finite} observations not finite, {below} parts below "
        f"the table, {false_alarms} pairs assembled by chance, deepest contact {1e3 * deepest_m:.1f} mm"
    )


def expert_success(task_id: str, n_episodes: int) -> str:
    """Let the expert try without noise, and tell how often it succeeded and how often that lasted."""
    scene = make_furniture_scene(task_id)
    succeeded, kept, lengths = [], 0, []
    start, n_steps = time.process_time(), 0
    for number in range(n_episodes):
        scene.reset(np.random.default_rng([1, number]))
        arm_steps, success = _try(scene, number)
        n_steps += arm_steps
        succeeded.append(success)
        if success:
            lengths.append(arm_steps)
            kept += _is_kept(scene, number)
    speed = n_steps / (time.process_time() - start)
    _, low, high = wilson(np.array(succeeded, dtype=float))
    length = f", length {np.mean(lengths):.0f} ({min(lengths)} to {max(lengths)})" if lengths else ""
    return (
        f"{task_id}: {sum(succeeded)} of {n_episodes} [{100 * low:.0f} %, {100 * high:.0f} %], {kept} kept{length}, "
        f"{speed:.0f} steps per CPU-second, script included"
    )


def _operator(number: int) -> Operator:
    return Operator("better", 0.0, np.random.default_rng([2, number]))


def _try(scene: FurnitureScene, number: int) -> tuple[int, bool]:
    """Return how many steps an attempt took and whether it succeeded."""
    n_steps = 0
    for action in EXPERTS[scene.task_id].demonstrate(scene, _operator(number)):
        _, _, success = scene.step(action)
        n_steps += 1
        if success or n_steps == scene.suite.max_episode_steps:
            return n_steps, success
    return n_steps, False


def _is_kept(scene: FurnitureScene, number: int) -> bool:
    """Open, draw back, wait two seconds, and tell whether all pairs are still assembled."""
    arm = Robot(scene, _operator(number))
    for action in arm.open():
        scene.step(action)
    for action in arm.reach(motion.above(arm.pos, 0.08), arm.rot, tol_m=0.01, max_steps=15):
        scene.step(action)
    for action in arm.hold(_WAITING_STEPS):
        scene.step(action)
    simulator, rules = scene.suite.simulators[0], scene.suite.shared.rules
    return all(is_assembled(simulator, rules, pair) for pair in range(len(scene.suite.task.furniture.pairs)))


def main() -> None:
    """Run one of the measurements for all tasks, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.furniture", description=__doc__)
    parser.add_argument("what", choices=("speed", "violence", "experts"))
    parser.add_argument("--tasks", nargs="+", default=list(FURNITURE_TASKS))
    parser.add_argument("--episodes", type=int, default=100)
    args = parser.parse_args()
    for task_id in args.tasks:
        if args.what == "speed":
            speed = furniture_speed(task_id)
            print(
                f"{task_id}: {speed['steps']:.0f} steps per CPU-second, at best {speed['best']:.0f}, "
                f"{100 * speed['fraction']:.0f} % of bare physics, {speed['memory']:.0f} kB per environment",
                flush=True,
            )
        else:
            measure = violence if args.what == "violence" else expert_success
            print(measure(task_id, args.episodes), flush=True)


if __name__ == "__main__":
    main()
