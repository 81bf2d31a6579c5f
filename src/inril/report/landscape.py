"""Measures the landscape that fine-tuning moves in: return and imitation loss in the plane of three policies' weights.

The paper's Fig. 3 draws it from intuition; this measures it. Reinforcement alone and interleaving start from the same
weights, so that these and the two ends span a plane. Each of its points is a policy: it is evaluated on the same
episodes, and its imitation loss on the same held-out chunks, as everywhere else in training. Only the weights that
fine-tuning may touch change; the first denoising steps stay those of the pre-trained policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from inril.config.base import Execution
from inril.config.shown import LandscapeSpec
from inril.data.chunks import DemoBatch, fixed_probe, split_demos
from inril.data.demo_file import read_demos
from inril.device import resolve
from inril.errors import InputError
from inril.evaluate import evaluate
from inril.files import write_atomically
from inril.policies.acting import PolicyActor
from inril.policies.diffusion import DiffusionPolicy, denoising_loss, draw_noise
from inril.policies.policy_file import PolicySpec, load_policy
from inril.progress import progress
from inril.report.levels import mean_level
from inril.report.statistics import Array
from inril.seeding import subseed, torch_stream

START = "start"
MAP = "map"  # part of the table: the rectangle; the other parts are ways from one policy to another
COLUMNS = ("part", "x", "y", "share", "score", "score_low", "score_high", "il_loss")
_LEAST_ANGLE = 1e-3  # between the ways that two runs took, as a sine; below it there is no plane


class Point(NamedTuple):
    """A place in the plane.

    Attributes:
        part: of the table: the map, or a way between two policies.
        x: distance from the start along the way of RL only, in the L2 norm of weights.
        y: the same across it, towards the other policy.
        share: of the way that lies behind; 0 on the map.
    """

    part: str
    x: float
    y: float
    share: float = 0.0


class Plane(NamedTuple):
    """A plane of weights.

    Attributes:
        start: (P,) its origin.
        axes: (2, P) orthonormal: along the way of RL only, and across it.
        corners: (3, 2) coordinates of the start, of RL only and of the other policy.
    """

    start: Tensor
    axes: Tensor
    corners: Array

    def at(self, x: float, y: float) -> Tensor:
        """Return the weights (P,) at a place."""
        return self.start + self.axes.T @ self.axes.new_tensor([x, y])


def run(
    spec: LandscapeSpec, demos: Path, policies: tuple[Path, Path], out: Path, execution: Execution = Execution()
) -> None:
    """Write the table of a landscape.

    Args:
        spec: where to measure, and how much.
        demos: demonstration file, whose held-out episodes tell the imitation loss.
        policies: of RL only and of the other run, as fine-tuning left them.
        out: CSV file.
        execution: on what to compute.

    Raises:
        InputError: a file is damaged, a policy is none that fine-tuned a diffusion policy's last steps, the two did not
            start from the same one, or there is no plane since one of them did not move, or both went the same way.
    """
    torch.set_num_threads(spec.torch_threads)
    (policy, policy_spec), (other, _) = (_finetuned(path) for path in policies)
    if not all(map(torch.equal, policy.denoiser.parameters(), other.denoiser.parameters())):
        expected = f"a policy that started from the same weights as {policies[0]}"
        raise InputError(policies[1], field="denoiser", expected=expected, got="others")
    plane = plane_of(*map(_weights, (policy.denoiser, policy.denoiser_ft, other.denoiser_ft)))
    if plane is None:
        raise InputError(policies[1], expected=f"weights off the line through the start and {policies[0]}", got="on it")
    policy.to(resolve(execution.device))
    split = split_demos(
        read_demos(demos, policy_spec.task),
        policy_spec.horizon_steps,
        spec.holdout,
        normalizer=policy.normalizer,
        device=policy.normalizer.device,
    )
    probe, rows = fixed_probe(split.holdout, spec.probe_size), []
    points = list(places(plane.corners, spec.arms, spec.points, spec.margin))
    with progress("landscape", len(points), 0) as advance:
        for point in points:
            _set_weights(policy.denoiser_ft, plane.at(point.x, point.y))
            rows.append([*point, *_measure(policy, policy_spec, probe, spec, execution.sim_threads)])
            advance(1)
    write_atomically(out, pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False).encode())


def plane_of(start: Tensor, rl_only: Tensor, other: Tensor) -> Plane | None:
    """Return the plane through three policies' weights (P,) each; None if they lie on a line."""
    along, towards = (rl_only - start).double(), (other - start).double()
    lengths = along.norm(), towards.norm()
    if not min(lengths):
        return None
    x_axis = along / lengths[0]
    across = towards - (towards @ x_axis) * x_axis
    if across.norm() < _LEAST_ANGLE * lengths[1]:
        return None
    y_axis = across / across.norm()
    corners = [[0.0, 0.0], [float(lengths[0]), 0.0], [float(towards @ x_axis), float(across.norm())]]
    return Plane(start, torch.stack([x_axis, y_axis]).to(start), np.array(corners))


def places(corners: Array, arms: tuple[str, str], n_points: int, margin: float) -> Iterator[Point]:
    """Yield where to measure: the three ways between the policies, and a map of all that is around them.

    Args:
        corners: (3, 2) coordinates of the start, of RL only and of the other policy.
        arms: names of the latter two.
        n_points: along each way, its ends included, and along either side of the map.
        margin: of the map beyond the policies, as a share of their larger extent.
    """
    names = (START, *arms)
    for begin, end in ((0, 1), (1, 2), (2, 0)):
        for share in np.linspace(0, 1, n_points):
            x, y = (1 - share) * corners[begin] + share * corners[end]
            yield Point(f"{names[begin]} to {names[end]}", float(x), float(y), float(share))
    low, high = corners.min(axis=0), corners.max(axis=0)
    room = margin * (high - low).max()
    xs, ys = (np.linspace(low[axis] - room, high[axis] + room, n_points) for axis in (0, 1))
    for y in ys:
        for x in xs:
            yield Point(MAP, float(x), float(y))


def _measure(
    policy: DiffusionPolicy, policy_spec: PolicySpec, probe: DemoBatch, spec: LandscapeSpec, threads: int
) -> tuple[float, float, float, float]:
    """Return the mean score of the episodes, its 95 % interval, and the imitation loss."""
    episodes = evaluate(
        PolicyActor(policy), policy_spec.task, spec.episodes, subseed(spec.seed, "landscape"), threads=threads
    )
    scores = episodes.success if policy_spec.task.metric == "success" else episodes.episode_return
    t, eps = draw_noise(probe.action_chunk, policy.ft_denoising_steps, torch_stream(spec.seed, "probe_noise"))
    with torch.no_grad():
        loss = denoising_loss(policy.denoiser_ft, policy.schedule, probe.obs, probe.action_chunk, t, eps)
    level = mean_level([scores.astype(float)], policy_spec.task.metric)
    return float(level.estimate), float(level.low), float(level.high), loss.item()


def _finetuned(path: Path) -> tuple[DiffusionPolicy, PolicySpec]:
    """Read a policy whose last denoising steps were fine-tuned."""
    policy, spec = load_policy(path)
    if not isinstance(policy, DiffusionPolicy) or not policy.ft_denoising_steps:
        raise InputError(
            path, field="spec", expected="a diffusion policy whose last steps were fine-tuned, by DPPO", got="another"
        )
    return policy, spec


def _weights(network: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def _set_weights(network: torch.nn.Module, weights: Tensor) -> None:
    parameters = list(network.parameters())
    with torch.no_grad():
        for parameter, part in zip(parameters, weights.split([p.numel() for p in parameters]), strict=True):
            parameter.copy_(part.view_as(parameter))
