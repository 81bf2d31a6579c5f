"""PPO on a residual policy: per environment step, around the actions that a chunked diffusion policy plans.

Reinforcement trains the residual alone. Imitation trains the base where the two are kept apart by network, and the
residual where they share it. Without imitation the base is frozen, which is ResiP.

Source: Ankile et al. 2024, "From Imitation to Refinement: Residual RL for Precise Assembly" (ResiP), released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inril.algos.actor import Sample, chosen_rows
from inril.algos.ppo import PPO, Stepping, make_ppo
from inril.config.algos import ResidualPPOConfig
from inril.config.runs import FinetuneConfig
from inril.device import randn
from inril.learning.gae import RewardScaler
from inril.learning.optimizer import warmup_cosine
from inril.learning.update import Info
from inril.policies.diffusion import DiffusionPolicy
from inril.policies.mlp import MLP
from inril.policies.residual import ResidualPolicy, gaussian_logprob, init_hidden_layers
from inril.seeding import subseed
from inril.types import BoolArray


class LastingNoise:
    """Noise whose steps resemble each other: z = rho z_before + sqrt(1 - rho^2) eps, of variance 1 at every step.

    White noise averages out over the steps that an arm needs to move; this one pushes one way for about 1 / (1 - rho).
    An episode begins with a fresh z. Given z_before, which is a state of exploration and no parameter, a step's z is
    Gaussian again, so that PPO's ratios are exact.

    Args:
        correlation: rho; 0 is white noise.
        action_dim: Da.
    """

    def __init__(self, correlation: float, action_dim: int) -> None:
        self.correlation, self.action_dim = correlation, action_dim
        self.start(0)

    def start(self, n_envs: int) -> None:
        """Begin all episodes anew."""
        self._before = torch.zeros(n_envs, self.action_dim)  # goes to where noise is drawn
        self._running = np.zeros(n_envs, dtype=bool)

    def draw(self, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return z (E, Da), its mean (E, Da) and standard deviation (E, 1) before eps (E, Da) was drawn."""
        running = torch.from_numpy(self._running).to(eps)[:, None]
        mean = self.correlation * running * self._before.to(eps)
        std = (1 - running * self.correlation**2).sqrt()
        self._before, self._running[:] = mean + std * eps, True
        return self._before, mean, std

    def drop(self, ended: BoolArray) -> None:
        """Begin the episodes of some environments, (E,), anew."""
        self._running[ended] = False

    def state_dict(self) -> dict[str, Any]:
        """Return what the next draw depends on."""
        return {"before": self._before, "running": self._running}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self._before, self._running = state["before"].clone(), np.array(state["running"])


class ResidualHead:
    """Actor of residual PPO; see `ActorHead` for the methods. It sees [observation, base action].

    Args:
        policy: base and residual, both trained in place.
        trains_base: whether imitation trains the base; else it trains the residual.
        noise: of exploration where it lasts; None for white noise.
    """

    ft_denoising_steps = 1
    gamma_denoising = 1.0
    act_steps = 1

    def __init__(self, policy: ResidualPolicy, trains_base: bool, noise: LastingNoise | None = None) -> None:
        self.policy, self.trains_base, self.noise = policy, trains_base, noise
        policy.residual.requires_grad_(True)
        policy.base.requires_grad_(False)
        policy.base.denoiser.requires_grad_(trains_base)
        self.normalizer = policy.normalizer
        self.observer = BaseObserver(policy, noise)

    def parameters(self) -> Sequence[Tensor]:
        """The residual network."""
        return list(self.policy.residual.parameters())

    def il_parameters(self) -> Sequence[Tensor]:
        """The base's denoiser, or the residual network."""
        return list(self.policy.base.denoiser.parameters()) if self.trains_base else self.parameters()

    def sample(self, obs: Tensor, generator: torch.Generator) -> Sample:
        """Correct the base actions with noise.

        The trace is the residual (E, Da) before it is scaled; where noise lasts, followed by what its mean adds to that
        of the residual (E, Da), and by its standard deviation (E, 1).
        """
        mean, std = self.policy.mean(obs), self.policy.std
        eps = randn(mean.shape, generator, mean.device)
        if self.noise is None:
            trace = residual = mean + std * eps
        else:
            z, z_mean, z_std = self.noise.draw(eps)
            residual = mean + std * z
            trace = torch.cat([residual, std * z_mean, std * z_std], dim=1)
        action = self.policy.corrected(obs, residual)
        return Sample(action[:, None], trace, self._logprob(mean, trace)[:, None])

    def trace_shape(self) -> tuple[int, ...]:
        """(Da,), or (2 Da + 1,)."""
        action_dim = self.policy.action_dim
        return (action_dim if self.noise is None else 2 * action_dim + 1,)

    def logprob(self, obs: Tensor, trace: Tensor, k: Tensor, row: Tensor | None = None) -> Tensor:
        """Log-probability of the residual, given the noise of the step before where it lasts."""
        obs, trace = chosen_rows(row, obs, trace)
        return self._logprob(self.policy.mean(obs), trace)

    def _logprob(self, mean: Tensor, trace: Tensor) -> Tensor:
        if self.noise is None:
            return gaussian_logprob(trace, mean, self.policy.std)
        residual, offset, std = trace.split([mean.shape[1], mean.shape[1], 1], dim=1)
        return gaussian_logprob(residual, mean + offset, std)

    def entropy(self) -> Tensor:
        """The standard deviation is not learned."""
        return torch.zeros(())

    def after_step(self) -> None:
        """Nothing is bounded."""

    def il_loss(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
        """Denoising loss of the base over all steps, as in pre-training; or the residual's error, see `_error`."""
        return self._denoising_loss(obs, chunk, generator) if self.trains_base else self._error(obs, chunk, generator)

    def _denoising_loss(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
        return self.policy.base.bc_loss(obs, chunk, generator)

    def _error(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error of the corrected base action, mean residual, from the demonstrated one, both normalised.

        The base plans at the demonstrated observation. Of plan and demonstration the first step counts alone: for the
        later ones the residual would have to see observations that a demonstrated chunk does not hold.
        """
        planned = self.policy.plan(generator)(obs)[:, 0]  # (B, Da)
        seen = torch.cat([obs, planned], dim=1)
        return F.mse_loss(self.policy.corrected(seen, self.policy.mean(seen)), chunk[:, 0])

    def probe(self, obs: Tensor, chunk: Tensor, generator: torch.Generator) -> Info:
        """Loss of what imitation trains, and the denoising loss of the base."""
        state = generator.get_state()
        il_loss = self.il_loss(obs, chunk, generator).item()
        if self.trains_base:
            return {"il_loss": il_loss, "il_loss_all_steps": il_loss}
        generator.set_state(state)  # the base is measured on the same steps and noise whatever is trained
        return {"il_loss": il_loss, "il_loss_all_steps": self._denoising_loss(obs, chunk, generator).item()}

    def start(self, n_envs: int) -> None:
        """Forget the policy's own plans, which are those of evaluations."""
        self.policy.start(n_envs)

    def drop(self, ended: BoolArray) -> None:
        """Forget those of episodes that ended."""
        self.policy.drop(ended)

    def act(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """The base action and the mean residual."""
        return self.policy.exploit(obs, generator)

    def policy_state(self) -> dict[str, Tensor]:
        """Base and residual."""
        return self.policy.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """What may have been trained."""
        return self._learning().state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self._learning().load_state_dict(state)

    def _learning(self) -> nn.Module:
        return self.policy if self.trains_base else self.policy.residual


class BaseObserver:
    """Lets actor and critic see the base action too; holds the base's plans in a rollout. See `Observer`.

    Args:
        policy: whose base plans.
        noise: of exploration, which begins anew with each episode as plans do; None where it does not last.
    """

    def __init__(self, policy: ResidualPolicy, noise: LastingNoise | None = None) -> None:
        self.policy, self.noise = policy, noise
        self.n_extra = policy.action_dim
        self.queue = policy.queue()

    def start(self, n_envs: int) -> None:
        """Forget all plans."""
        self.queue.start(n_envs)
        if self.noise is not None:
            self.noise.start(n_envs)

    def drop(self, ended: BoolArray) -> None:
        """Forget the plans of episodes that ended."""
        self.queue.drop(ended)
        if self.noise is not None:
            self.noise.drop(ended)

    def see(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Observation and base action (E, Do + Da)."""
        return self.policy.see(obs, self.queue, generator)

    def foresee(self, obs: Tensor, wanted: BoolArray, generator: torch.Generator) -> Tensor:
        """Successor and the base action there: the next of the plan, or the first of a new one where it is used up."""
        return torch.cat([obs, self.queue.peek(obs, wanted, self.policy.plan(generator))], dim=1)

    def state_dict(self) -> dict[str, Any]:
        """The plans, and the noise where it lasts."""
        plans = self.queue.state_dict()
        return plans if self.noise is None else {**plans, "noise": self.noise.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.queue.load_state_dict(state)
        if self.noise is not None:
            self.noise.load_state_dict(state["noise"])


def make_residual_ppo(config: FinetuneConfig, base: DiffusionPolicy, _: object = None) -> PPO:
    """Build residual PPO for one run, with a fresh residual and critic.

    Args:
        config: resolved settings of the run.
        base: pre-trained diffusion policy; trained in place where imitation trains it.
    """
    algo = config.algo
    assert isinstance(algo, ResidualPPOConfig)
    torch.manual_seed(subseed(config.seed, "init"))
    policy = ResidualPolicy(base, algo.residual)
    # Each step of each environment is one environment step, so the number of iterations is known.
    n_itr = -(-config.env_steps // (config.n_envs * config.n_steps))
    warmup_itr = algo.lr_warmup_itr
    correlation = algo.residual.noise_correlation
    noise = LastingNoise(correlation, policy.action_dim) if correlation else None
    return make_ppo(
        config,
        ResidualHead(policy, trains_base=config.separation == "network", noise=noise),
        critic=_critic(algo, policy.in_dim),
        reward_scaler=RewardScaler(config.n_envs, gamma=0.0, clip=algo.reward_clip),
        stepping=Stepping(
            joint=True,
            weight_decay=1e-6,
            eps=1e-5,
            lr_factor=None if warmup_itr is None else lambda itr: warmup_cosine(itr, warmup_itr, n_itr),
        ),
    )


def _critic(algo: ResidualPPOConfig, in_dim: int) -> MLP:
    """Return a value network that is about 0.25 everywhere at first, as the reference's."""
    critic = MLP(algo.critic_network, in_dim, 1)
    init_hidden_layers(critic)
    weight, bias = critic.layers[-1].parameters()
    nn.init.orthogonal_(weight, gain=0.25)
    nn.init.constant_(bias, 0.25)
    return critic
