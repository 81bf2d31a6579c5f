"""IN-RIL itself: imitation between the gradient steps of any reinforcement learner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inril.interleave.adaptive import AdaptiveM
from inril.interleave.imitation_block import ImitationBlock
from inril.interleave.own_step import OwnStep
from inril.interleave.schedule import Schedule
from inril.interleave.separation import Joiner, flatten
from inril.learning.update import Info, Update
from inril.seeding import torch_stream

# Imitation loss of a new batch of so many chunks, everything random in it drawn from the generator.
ImitationLoss = Callable[[int, torch.Generator], Tensor]


class Interleaver:
    """Inserts imitation into a stream of gradient steps, every m-th of them or every m iterations.

    Whoever takes the steps does so one by one: `zero_grad`, `backward`, `apply`.

    Args:
        schedule: says when imitation is due.
        joiner: makes one step of both gradients where one network learns from both.
        il_parameters: what imitation may touch.
        il_loss: what imitation minimises.
        batch_size: chunks in the batch of a joint step.
        seed: of imitation's batches.
        noise: a control: joint steps get a random direction of the imitation gradient's norm.
        own_step: takes imitation steps after reinforcement's in place of joint ones; None for joint ones.
        block: trains networks of imitation's own between iterations; None where there are none.
        adaptive: sets the schedule's m anew whenever `follow` is called; None for a constant one.

    Attributes:
        n_il_updates: imitation gradients so far.
    """

    def __init__(
        self,
        schedule: Schedule,
        joiner: Joiner,
        il_parameters: Sequence[Tensor],
        il_loss: ImitationLoss,
        batch_size: int,
        seed: int,
        noise: bool = False,
        own_step: OwnStep | None = None,
        block: ImitationBlock | None = None,
        adaptive: AdaptiveM | None = None,
    ) -> None:
        self.schedule, self.joiner, self.own_step, self.block = schedule, joiner, own_step, block
        self.adaptive = adaptive
        self.il_parameters, self.il_loss = list(il_parameters), il_loss
        self.batch_size, self.seed, self.noise = batch_size, seed, noise
        self.n_il_updates = 0

    @property
    def n_rl_updates(self) -> int:
        """Gradient steps of the actor so far."""
        return self.schedule.n_rl_updates

    def follow(self, measured: Mapping[str, float]) -> None:
        """Set m by what was measured, where it is not constant; see `AdaptiveM.follow`."""
        if self.adaptive is not None:
            self.adaptive.follow(measured)
            self.schedule.m = self.adaptive.m

    def told(self) -> Info:
        """Return what there is to log: gradients of either kind so far and, where it changes, m."""
        told: Info = {"n_rl_updates": self.n_rl_updates, "n_il_updates": self.n_il_updates}
        return told if self.adaptive is None else {**told, "m": self.adaptive.m}

    def updates(self, updates: Iterator[Update], itr: int, learning_itr: int) -> Iterator[Update]:
        """Yield the gradient steps of an iteration, imitation among them.

        Args:
            updates: reinforcement's.
            itr: iteration.
            learning_itr: the same, counted from the first in which the actor learns.
        """
        for update in updates:
            if update.is_actor:
                self.schedule.count(itr)
                yield from self._interleaved(update)
            else:
                yield update
        if self.block is not None and self.schedule.block_due(learning_itr):
            size = self.block.batch_size
            yield from self.block.updates(lambda: self._next_loss(size)())

    def state_dict(self) -> dict[str, Any]:
        """Return counters and optimisers."""
        state: dict[str, Any] = {"schedule": {**self.schedule.state_dict(), "n_il_updates": self.n_il_updates}}
        if self.block is not None:
            state["phase"] = self.block.state_dict()
        if self.own_step is not None:
            state["own_step"] = self.own_step.state_dict()
        if self.adaptive is not None:
            state["adaptive"] = self.adaptive.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; other entries are left alone."""
        self.schedule.load_state_dict(state["schedule"])
        self.n_il_updates = state["schedule"]["n_il_updates"]
        if self.block is not None:
            self.block.load_state_dict(state["phase"])
        if self.own_step is not None:
            self.own_step.load_state_dict(state["own_step"])
        if self.adaptive is not None:
            self.adaptive.load_state_dict(state["adaptive"])
            self.schedule.m = self.adaptive.m

    def _interleaved(self, update: Update) -> Iterator[Update]:
        """Yield one step of the actor with the imitation that is due; its gradient's norm is logged either way."""
        if self.block is not None:
            yield update
        elif not self.schedule.due:
            yield replace(update, backward=lambda: self._measured(update))
        elif self.own_step is None:
            yield replace(update, backward=lambda: self._joint(update))
        else:
            yield update
            yield self.own_step.update(self._next_loss(self.batch_size), self._direction())

    def _measured(self, update: Update) -> Info:
        info = update.backward()
        gradients = [p.grad for p in self.il_parameters if p.grad is not None]
        return {**info, "grad_norm_rl": flatten(gradients).norm().item()}

    def _joint(self, update: Update) -> Info:
        info = update.backward()
        loss = self._next_loss(self.batch_size)
        return {**info, **self.joiner.join(self.il_parameters, loss, self._direction())}

    def _next_loss(self, size: int) -> Callable[[], Tensor]:
        """Count an imitation gradient and return its loss, whose random numbers are its own."""
        self.n_il_updates += 1
        generator = torch_stream(self.seed, "il", self.n_il_updates)
        return lambda: self.il_loss(size, generator)

    def _direction(self) -> torch.Generator | None:
        """Return what the control's direction is drawn from; None for imitation."""
        return torch_stream(self.seed, "il_noise", self.n_il_updates) if self.noise else None
