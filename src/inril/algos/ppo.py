"""Proximal policy optimisation over action chunks.

A sample is a pair (chunk, denoising step). The actor head says how chunks are drawn and how likely a pair is; a
Gaussian head has one step per chunk, a diffusion head K'. Everything else is the same algorithm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from inril.algos.actor import ActorHead
from inril.algos.rollout import Rollout, follow, rate
from inril.config.algos import PPOBase
from inril.config.runs import FinetuneConfig
from inril.envs.base import BatchedEnv
from inril.learning.episodes import TrainingEpisodes
from inril.learning.gae import RewardScaler, explained_variance
from inril.learning.optimizer import AdamW, Optimizer, load_optimizer_state, optimizer_state
from inril.learning.ppo_loss import Surrogate, clip_schedule, clipped_surrogate, denoising_discount, normalize_advantage
from inril.learning.update import Info, Update
from inril.learning.watch import Watch
from inril.policies.acting import Actor
from inril.policies.mlp import MLP
from inril.seeding import subseed, torch_stream
from inril.types import BoolArray, FloatArray

# The critic's rows are filled up to a multiple of this.
_CRITIC_ROW_MULTIPLE = 64


class Stepping(NamedTuple):
    """How PPO takes its gradient steps.

    Attributes:
        joint: actor and critic take one step together, the norm of both gradients clipped as one.
        weight_decay: of AdamW.
        eps: of AdamW.
        lr_factor: maps the iteration to a factor of the learning rates; None for constant ones.
    """

    joint: bool = False
    weight_decay: float = 0.0
    eps: float = 1e-8
    lr_factor: Callable[[int], float] | None = None


class Regularizer(Protocol):
    """A loss that stands beside the surrogate in every gradient of the actor."""

    def start(self, obs: Tensor, itr: int) -> None:
        """Prepare an iteration's updates on a rollout's observations (S E, Do)."""

    def backward(self, row: Tensor, k: Tensor) -> Info:
        """Add the weighted gradient at the pairs (row, k) of a minibatch, (B,) each; return scalars to log."""


class PPO:
    """PPO with a separate critic; see `Algorithm` for the methods.

    Args:
        config: hyper-parameters.
        head: actor.
        critic: value network of what the head's observer lets it see.
        episodes: of the E environments.
        n_steps: S.
        seed: of the run.
        regularizer: joins the surrogate in the actor's gradients; None for plain PPO.
        reward_scaler: None for DPPO's.
        stepping: how gradient steps are taken; None for DPPO's way.
    """

    def __init__(
        self,
        config: PPOBase,
        head: ActorHead,
        critic: MLP,
        episodes: TrainingEpisodes,
        n_steps: int,
        seed: int,
        regularizer: Regularizer | None = None,
        reward_scaler: RewardScaler | None = None,
        stepping: Stepping | None = None,
    ) -> None:
        self.config = config
        self.head = head
        self.regularizer = regularizer
        self.device = head.normalizer.device
        self.critic = critic.to(self.device)
        self.episodes, self.n_envs, self.n_steps, self.seed = episodes, episodes.n_envs, n_steps, seed
        self.stepping = stepping or Stepping()
        self.optimizers = self._make_optimizers()
        self.clip_coef = clip_schedule(config.clip_coef, head.ft_denoising_steps).to(self.device)
        self.discount = denoising_discount(head.gamma_denoising, head.ft_denoising_steps).to(self.device)
        self.microbatch = rows_at_a_time(config, self.device)
        self.reward_scaler = reward_scaler or RewardScaler(self.n_envs)
        self.rollout: Rollout | None = None
        self.approx_kl = 0.0  # of the last actor step's minibatch
        self.n_taken = self.n_planned = 0  # actor steps of the last iteration

    @property
    def choices(self) -> Mapping[str, Actor]:
        """None."""
        return {}

    @property
    def act_steps(self) -> int:
        """The actor's."""
        return self.head.act_steps

    @torch.no_grad()
    def collect(self, env: BatchedEnv, itr: int) -> Info:
        """Run S chunks in every environment, from where the last iteration left them or from new episodes."""
        generator = torch_stream(self.seed, "rollout", itr)
        if self.episodes.begin(env, itr):
            self.head.observer.start(self.n_envs)
        trajectories = follow(self.head, self.episodes, env, self.n_steps, generator)
        scale = self.reward_scaler if self.config.reward_scaling else None
        self.rollout = rate(trajectories, self._values, scale, self.config.gamma, self.config.gae_lambda)
        return self.episodes.pop()

    def updates(self, itr: int) -> Iterator[Update]:
        """Yield the critic's and the actor's step of every minibatch of every epoch; none if imitation alone learns."""
        assert self.rollout is not None
        self._set_learning_rates(itr)
        generator = torch_stream(self.seed, "minibatch", itr)
        if self.regularizer is not None:
            self.regularizer.start(self.rollout.obs, itr)
        n_pairs = self.rollout.logprob.numel()
        size = min(self.config.minibatch, n_pairs)
        n_epochs = 0 if self.config.imitates_only else self.config.epochs
        self.n_taken, self.n_planned = 0, n_epochs * (n_pairs // size)
        for _ in range(n_epochs):
            order = torch.randperm(n_pairs, generator=generator).to(self.device)
            # Pairs left over at the end do not fill a minibatch and wait for the next epoch's order.
            for start in range(0, n_pairs - size + 1, size):
                pairs = order[start : start + size]
                row, k = pairs // self.head.ft_denoising_steps, pairs % self.head.ft_denoising_steps
                warming_up = itr <= self.config.critic_warmup_itr
                if warming_up or not self.stepping.joint:
                    yield self._update("critic", partial(self._critic_backward, row))
                if warming_up:
                    continue
                if self.stepping.joint:
                    yield self._update("actor_critic", partial(self._joint_backward, row, k))
                else:
                    yield self._update("actor", partial(self._actor_backward, row, k))
                self.head.after_step()
                self.n_taken += 1
                if self.config.target_kl is not None and self.approx_kl > self.config.target_kl:
                    return

    def diagnose(self) -> Info:
        """What the rollout's observations tell, and how the updates went.

        explained_variance: of the returns by the critic that had not learnt from them yet; updates_taken: share of the
        actor's steps that were taken before the KL limit ended them.
        """
        assert self.rollout is not None
        returns = self.rollout.returns
        return {
            **self.episodes.diagnose(),
            "explained_variance": explained_variance(returns - self.rollout.advantage, returns),
            "updates_taken": self.n_taken / self.n_planned if self.n_planned else 0.0,
        }

    def il_parameters(self) -> Sequence[Tensor]:
        """Return the parameters that imitation may touch."""
        return self.head.il_parameters()

    def il_loss(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
        """Imitation loss of the actor."""
        return self.head.il_loss(obs, chunk, generator)

    def probe(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Info:
        """Imitation losses to log."""
        return self.head.probe(obs, chunk, generator)

    def rl_loss(self, size: int, half: int, generator: torch.Generator) -> Tensor:
        """Surrogate on a random part of the rollout, from every second environment (from all if there is but one).

        A regulariser has no part in it: it is imitation.
        """
        envs = torch.arange(half if self.n_envs > 1 else 0, self.n_envs, 2)
        env = envs[torch.randint(len(envs), (size,), generator=generator)]
        step = torch.randint(self.n_steps, (size,), generator=generator)
        row = (step * self.n_envs + env).to(self.device)
        k = torch.randint(self.head.ft_denoising_steps, (size,), generator=generator).to(self.device)
        return self._surrogate(row, k, self._weighted_advantage(row, k)).loss.mean()

    def start(self, n_envs: int) -> None:
        """Begin the episodes of an evaluation; a rollout's go on."""
        self.head.start(n_envs)

    def drop(self, ended: BoolArray) -> None:
        """Forget episodes of the evaluation."""
        self.head.drop(ended)

    @torch.no_grad()
    def act(self, obs: FloatArray, generator: torch.Generator) -> FloatArray:
        """Evaluation chunks in raw units."""
        normalizer = self.head.normalizer
        return normalizer.to_env(self.head.act(normalizer.from_env(obs), generator))

    def policy_state(self) -> dict[str, Tensor]:
        """Weights of the fine-tuned policy."""
        return self.head.policy_state()

    def acting_state(self) -> dict[str, Tensor]:
        """Trained parameters of the actor."""
        return self.head.state_dict()

    def load_acting_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `acting_state` returned."""
        self.head.load_state_dict(state)

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers, statistics and the current observation."""
        return {
            "head": self.head.state_dict(),
            "critic": self.critic.state_dict(),
            **{f"{name}_optimizer": optimizer_state(optimizer) for name, optimizer in self.optimizers.items()},
            "reward_scaler": self.reward_scaler.state_dict(),
            "observer": self.head.observer.state_dict(),
            **self.episodes.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.head.load_state_dict(state["head"])
        self.critic.load_state_dict(state["critic"])
        for name, optimizer in self.optimizers.items():
            load_optimizer_state(optimizer, state[f"{name}_optimizer"])
        self.reward_scaler.load_state_dict(state["reward_scaler"])
        self.episodes.load_state_dict(state)
        # Checkpoints of before there were observers have none.
        self.head.observer.load_state_dict(state.get("observer", {}))

    def _values(self, obs: Tensor) -> Tensor:
        return torch.cat([self.critic(part).squeeze(1) for part in obs.split(self.microbatch)])

    def _make_optimizers(self) -> dict[str, Optimizer]:
        decay, eps = self.stepping.weight_decay, self.stepping.eps
        rates = {"actor": self.config.actor_lr, "critic": self.config.critic_lr}
        if not self.stepping.joint:
            return {name: AdamW(self._parameters(name), lr, decay, eps) for name, lr in rates.items()}
        joint = AdamW(self.head.parameters(), rates["actor"], decay, eps)
        joint.add_param_group({"params": self._parameters("critic"), "lr": rates["critic"]})
        return {"actor_critic": joint}

    def _parameters(self, name: str) -> list[Tensor]:
        """Parameters of the named update."""
        actor: list[Tensor] = list(self.head.parameters())
        critic: list[Tensor] = list(self.critic.parameters())
        return {"actor": actor, "critic": critic, "actor_critic": [*actor, *critic]}[name]

    def _set_learning_rates(self, itr: int) -> None:
        if self.stepping.lr_factor is None:
            return
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * self.stepping.lr_factor(itr)

    def _update(self, name: str, backward: Callable[[], Info]) -> Update:
        return Update(
            name=name,
            backward=backward,
            parameters=self._parameters(name),
            optimizer=self.optimizers.get(name) or self.optimizers["actor_critic"],
            max_grad_norm=self.config.max_grad_norm,
            is_actor=name != "critic",
        )

    def _joint_backward(self, row: Tensor, k: Tensor) -> Info:
        """Gradients of both losses; the networks share no parameter. The actor's norm is told apart here alone."""
        info = self._critic_backward(row) | self._actor_backward(row, k)
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.head.parameters() if p.grad is not None])
        return {**info, "grad_norm_rl": norm.item()}

    def _critic_backward(self, row: Tensor) -> Info:
        """Gradient of the value loss; an observation that stands in several pairs is evaluated once and weighted."""
        assert self.rollout is not None
        distinct, count = torch.unique(row, return_counts=True)
        total = 0.0
        parts = (rows.split(self.microbatch) for rows in _filled_up(distinct, count))
        for index, weight in zip(*parts, strict=True):
            error = self.critic(self.rollout.obs.index_select(0, index)).squeeze(1) - self.rollout.returns[index]
            loss = 0.5 * (weight * error.square()).sum() / len(row)
            (self.config.vf_coef * loss).backward()
            total += loss.item()
        return {"value_loss": total, "n_distinct_obs": len(distinct)}

    def _weighted_advantage(self, row: Tensor, k: Tensor) -> Tensor:
        assert self.rollout is not None
        advantage = self.rollout.advantage[row]
        if self.config.norm_adv:
            advantage = normalize_advantage(advantage)
        return advantage * self.discount[k]

    def _surrogate(self, row: Tensor, k: Tensor, advantage: Tensor) -> Surrogate:
        assert self.rollout is not None
        old_logprob = self.rollout.logprob[row, k]
        logprob = self.head.logprob(self.rollout.obs, self.rollout.trace, k, row)
        return clipped_surrogate(logprob, old_logprob, advantage, self.clip_coef[k])

    def _actor_backward(self, row: Tensor, k: Tensor) -> Info:
        """Gradient of the surrogate, micro-batch by micro-batch."""
        advantage = self._weighted_advantage(row, k)
        sums = torch.zeros(4, dtype=torch.float64, device=self.device)
        for index in torch.arange(len(row), device=self.device).split(self.microbatch):
            surrogate = self._surrogate(row[index], k[index], advantage[index])
            loss = surrogate.loss.sum() / len(row)
            if self.config.ent_coef > 0:
                loss = loss - self.config.ent_coef * self.head.entropy() * (len(index) / len(row))
            loss.backward()
            sums += torch.stack([values.detach().sum() for values in surrogate])
        names = ("surrogate", "approx_kl", "clip_fraction", "active_fraction")
        info = dict(zip(names, (sums / len(row)).tolist(), strict=True))
        self.approx_kl = info["approx_kl"]
        if self.regularizer is not None:
            info |= self.regularizer.backward(row, k)
        return info


def _filled_up(rows: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat the first row with weight 0 up to a round number of rows: kernels are made and kept for each number."""
    n_missing = -len(rows) % _CRITIC_ROW_MULTIPLE
    return torch.cat([rows, rows[:1].expand(n_missing)]), F.pad(weight, (0, n_missing))


def rows_at_a_time(config: PPOBase, device: torch.device) -> int:
    """Rows of a micro-batch: small parts fit a CPU's cache; a GPU is idle between them, and has memory for all."""
    return config.microbatch if device.type == "cpu" else config.minibatch


def make_ppo(
    config: FinetuneConfig,
    head: ActorHead,
    *,
    critic: MLP | None = None,
    regularizer: Regularizer | None = None,
    reward_scaler: RewardScaler | None = None,
    stepping: Stepping | None = None,
) -> PPO:
    """Build the algorithm of a fine-tuning run around its actor.

    Args:
        config: resolved settings of the run.
        head: actor.
        critic: value network; None for a fresh one of observations.
        regularizer: joins the surrogate in the actor's gradients; None for plain PPO.
        reward_scaler: None for DPPO's.
        stepping: how gradient steps are taken; None for DPPO's way.
    """
    assert isinstance(config.algo, PPOBase)
    return PPO(
        config=config.algo,
        head=head,
        critic=_fresh_critic(config, config.algo) if critic is None else critic,
        episodes=TrainingEpisodes(
            config.n_envs, config.seed, config.reset_each_itr, Watch(head.normalizer, config.task)
        ),
        n_steps=config.n_steps,
        seed=config.seed,
        regularizer=regularizer,
        reward_scaler=reward_scaler,
        stepping=stepping,
    )


def _fresh_critic(config: FinetuneConfig, algo: PPOBase) -> MLP:
    torch.manual_seed(subseed(config.seed, "init"))
    return MLP(algo.critic_network, config.task.obs_dim, 1)
