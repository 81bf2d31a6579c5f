"""Settings of what is run: demonstrations, pre-training, fine-tuning, and the training of demonstrators."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from inril.config.algos import AlgoConfig, AnyAlgoConfig, PPOConfig
from inril.config.base import (
    SCRIPTED,
    SOURCES,
    AdaptiveRule,
    AggregatorName,
    DemoSource,
    Fraction,
    M,
    Method,
    Model,
    PolicyName,
    Separation,
    TaskSpec,
    TorchThreads,
    later,
)
from inril.config.policy import DiffusionConfig, GaussianConfig, NetworkConfig


class OptimConfig(Model):
    """AdamW with warm-up and cosine decay over gradient steps."""

    batch_size: PositiveInt = Field(description="chunks of one gradient step")
    lr: PositiveFloat = Field(description="learning rate after the warm-up")
    lr_min: PositiveFloat = Field(description="start of the warm-up and end of the decay")
    warmup_steps: NonNegativeInt = Field(description="gradient steps of the linear warm-up")
    weight_decay: float = Field(1e-6, ge=0, description="of AdamW")
    max_steps: PositiveInt = Field(description="cap on gradient steps, and length of the decay")


class EmaConfig(Model):
    """Exponential moving average of the weights."""

    decay: Fraction = Field(0.995, description="share of the average that an update keeps")
    every: PositiveInt = Field(10, description="gradient steps between updates")
    start_step: NonNegativeInt = Field(description="until then the average is reset to the current weights")


class PlateauConfig(Model):
    """Stops pre-training when the held-out loss has stopped falling."""

    check_every: PositiveInt = Field(description="gradient steps between checks; also between candidate checkpoints")
    patience: PositiveInt = Field(description="checks without improvement before stopping")
    min_improvement: Fraction = Field(0.005, description="relative fall of the held-out loss that counts")


class EvalConfig(Model):
    """Evaluation on environments and seeds of its own."""

    every: PositiveInt = Field(10, description="iterations between evaluations")
    n_envs: PositiveInt = Field(20, description="environments of one evaluation, one episode each")
    choices: Literal["never", "report", "always"] = later(
        "never",
        description="IDQL: when its other ways to choose are evaluated too, for diagnostics.csv; report: at the end",
    )


class HoldoutConfig(Model):
    """Split of the demonstrations by episode."""

    fraction: Fraction = Field(0.1, description="share of the episodes that is held out")
    min_episodes: PositiveInt = Field(5, description="that are held out at least")


class DemosConfig(Model):
    """Demonstrations of one task."""

    task: TaskSpec = Field(description="that is demonstrated")
    source: DemoSource = Field(description="who made them: shipped demonstrators, the data set to download, or you")
    n_steps: PositiveInt | None = later(
        None, description="generated, gym: environment steps to roll out, whole episodes"
    )
    seed: NonNegativeInt = Field(0, description="generated: seed of environments and actions")
    n_envs: PositiveInt = Field(32, description="generated: environments side by side")
    quality: Literal["mh", "ph"] = later("mh", description="robomimic: several humans (300 episodes), or one (200)")
    url: str | None = Field(None, description="downloads: address; null takes the one that d4rl or robomimic names")
    sha256: str | None = Field(
        None, description="downloads: checksum; null records the first download's, checked from then on"
    )
    path: Path | None = later(
        None, description="file: HDF5 in robomimic's layout; relative to the folder that results/ is in"
    )
    max_episodes: PositiveInt | None = Field(None, description="keep only so many episodes, the first ones")
    n_demos: PositiveInt | None = later(None, description="scripted experts: successful episodes to keep")
    level: NonNegativeFloat | None = later(
        None, description="scripted experts: 0 has machines demonstrate, 1 humans; above, it exaggerates"
    )
    max_demo_steps: PositiveInt | None = later(
        None, description="scripted experts: environment steps after which an attempt has failed"
    )
    torch_threads: TorchThreads = 1

    @model_validator(mode="after")
    def _check(self) -> DemosConfig:
        if self.task.suite == "gym" and self.n_steps is None:
            raise ValueError("n_steps, the number of steps to roll out")
        if self.source == "file" and self.path is None:
            raise ValueError("path, the file of your own")
        if self.source not in (*SOURCES[self.task.suite], "file"):
            raise ValueError(f"a source of {self.task.suite} tasks: {' or '.join(SOURCES[self.task.suite])}")
        scripted = {"n_demos": self.n_demos, "level": self.level, "max_demo_steps": self.max_demo_steps}
        missing = [name for name, value in scripted.items() if value is None]
        if self.task.suite in SCRIPTED and self.source == "generated" and missing:
            raise ValueError(f"{', '.join(missing)}: what the scripted experts need")
        return self


class PretrainConfig(Model):
    """Behaviour cloning of one policy."""

    task: TaskSpec = Field(description="whose demonstrations are cloned")
    policy_name: PolicyName
    policy: DiffusionConfig | GaussianConfig = Field(discriminator="kind", description="what is trained")
    horizon_steps: PositiveInt = Field(description="Tp = Ta, length of a chunk")
    optim: OptimConfig = Field(description="AdamW, its rate and its batches")
    ema: EmaConfig = Field(description="moving average of the weights")
    plateau: PlateauConfig = Field(description="when the held-out loss no longer falls")
    holdout: HoldoutConfig = Field(HoldoutConfig(), description="demonstrations that are kept from learning")
    use_ema: bool = Field(description="whether fine-tuning starts from the averaged weights")
    clip: PositiveFloat | None = later(None, description="bound on normalised observations")
    range_floor: NonNegativeFloat | None = later(
        None,
        description="least range that an observation's dimension is scaled by (constant ones: 2); null: its own range",
    )
    select_episodes: PositiveInt = Field(description="episodes on which each candidate checkpoint is scored")
    report_episodes: PositiveInt = Field(description="fresh episodes on which the chosen checkpoint is re-evaluated")
    seed: NonNegativeInt = Field(description="of weights, minibatches, noise and evaluations")
    torch_threads: TorchThreads = 1

    @model_validator(mode="after")
    def _check(self) -> PretrainConfig:
        if isinstance(self.policy, DiffusionConfig):
            self.policy.check_chunk(self.horizon_steps)
        return self


class ExpertConfig(Model):
    """Training of a demonstrator from scratch with Gaussian PPO, stopped at a wanted quality."""

    target_return: PositiveFloat = Field(description="mean return of the wanted demonstrations")
    tolerance: Fraction = Field(0.05, description="relative distance from the target that ends the training")
    env_steps: PositiveInt = Field(description="budget of environment steps")
    n_envs: PositiveInt = Field(description="E, environments side by side")
    n_steps: PositiveInt = Field(description="S, steps per environment and iteration")
    network: NetworkConfig = Field(description="of the policy's mean; plain, with tanh")
    initial_std: PositiveFloat = Field(0.5, description="standard deviation of the fresh policy")
    ppo: PPOConfig = Field(description="how the policy learns")
    eval: EvalConfig = Field(description="that is compared with the target")
    seed: NonNegativeInt = Field(0, description="of weights, environments, minibatches and noise")


class ExpertJob(Model):
    """One demonstrator to train: the task and how."""

    task: TaskSpec = Field(description="to demonstrate")
    expert: ExpertConfig = Field(description="how the demonstrator is trained")


class BlockConfig(Model):
    """Imitation on networks of its own, block by block."""

    n_steps: PositiveInt = Field(100, description="gradient steps of one block")
    lr: PositiveFloat = Field(5e-5, description="of an AdamW that keeps its moments from block to block")
    weight_decay: float = Field(1e-6, ge=0, description="of that AdamW")
    batch_size: PositiveInt = Field(1024, description="chunks of one gradient step")
    max_grad_norm: PositiveFloat | None = Field(1.0, description="bound on a gradient's norm; null does not clip")


class AdaptiveConfig(Model):
    """An m that follows what is measured; a run's m is what it begins with."""

    rule: AdaptiveRule = Field(
        description="loss_budget: m holds the rise of the held-out imitation loss; break_even, square_root: the "
        "paper's rules, from the gradients' corrected angle and norms"
    )
    least: PositiveInt = Field(1, description="bound of m")
    most: PositiveInt = Field(100, description="bound of m, also where a rule asks for no imitation")
    budget: PositiveFloat = Field(0.02, description="loss_budget: rise, as a share of the loss before fine-tuning")

    @model_validator(mode="after")
    def _check(self) -> AdaptiveConfig:
        if self.least > self.most:
            raise ValueError("least at most as large as most")
        return self


class IlConfig(Model):
    """How imitation is interleaved."""

    unit: Literal["grad_step", "iteration"] = Field(description="what m counts")
    phase: Literal["last", "first"] = Field("last", description="where in a cycle of m the imitation falls")
    batch_size: PositiveInt = Field(
        4096, description="chunk x denoising step pairs of one imitation gradient; of few it is mostly noise"
    )
    aggregator: AggregatorName = Field("upgrad", description="in closed form, or of TorchJD by its name there")
    scale: PositiveFloat = Field(0.5, description="s in s (pi(g_R) + pi(g_I)): 0.5 is UPGrad, 1 is PCGrad")
    balance: Literal["raw", "norm"] = later(
        "raw", description="norm: the longer of the two gradients is cut to the other's length before they are joined"
    )
    optimizer: Literal["shared", "own"] = later(
        "shared",
        description="own: imitation takes a step of its own after every m-th, in place of a joint one; "
        "surgery then projects its gradient against that of the step before",
    )
    lr: PositiveFloat = later(1.0e-5, description="of imitation's own optimizer")
    granularity: Literal["network", "layer"] = Field("network", description="what is projected as one vector")
    probe_size: PositiveInt = Field(2048, description="fixed (obs, chunk, step, noise) tuples of the logged IL loss")
    diagnose_every: PositiveInt = Field(1, description="iterations between measurements of the gradients' angle")
    source: Literal["demos", "noise"] = later(
        "demos", description="noise: a control, joint steps get a random direction of the imitation gradient's norm"
    )
    adaptive: AdaptiveConfig | None = later(None, description="rule for m; null for a constant one")
    network: BlockConfig = later(BlockConfig(), description="separation network: the block after every m iterations")

    @model_validator(mode="after")
    def _check(self) -> IlConfig:
        if (self.balance, self.optimizer) == ("norm", "own"):
            raise ValueError("balance raw with optimizer own, which joins no gradients")
        return self


class FinetuneConfig(Model):
    """One fine-tuning run: (task, method, separation, m, seed) and all of its numbers."""

    task: TaskSpec = Field(description="to fine-tune on")
    method: Method
    separation: Separation = Field(description="how imitation and reinforcement are kept apart")
    m: M = Field(description="reinforcement updates per imitation update; inf is RL only")
    seed: NonNegativeInt = Field(description="of fresh weights, environments, minibatches, noise and evaluations")
    policy_name: PolicyName
    clip: PositiveFloat | None = later(None, description="bound on normalised observations, for every network")
    env_steps: PositiveInt = Field(description="executed environment steps to reach")
    n_envs: PositiveInt = Field(description="E, environments side by side")
    n_steps: PositiveInt = Field(description="S, chunks (residual PPO: steps) per environment and iteration")
    reset_each_itr: bool = later(False, description="whether every iteration starts with new episodes")
    algo: AnyAlgoConfig = Field(description="how reinforcement learns")
    il: IlConfig = Field(description="how imitation is interleaved")
    eval: EvalConfig = Field(description="on the way")
    holdout: HoldoutConfig = Field(
        HoldoutConfig(), description="demonstrations that imitation does not see, the same as in pre-training"
    )
    report_episodes: PositiveInt = Field(description="fresh episodes on which the final policy is evaluated")
    report_best: bool = later(
        False, description="also keep the policy that did best in evaluations on the way; report it on fresh episodes"
    )
    checkpoint_every: PositiveInt = Field(description="iterations between checkpoints")
    max_diverged_rate: Fraction = Field(0.001, description="diverged episodes per environment step that stop the run")
    torch_threads: TorchThreads = 1

    @model_validator(mode="after")
    def _check(self) -> FinetuneConfig:
        if self.m == "inf" and self.separation != "none":
            raise ValueError("m = inf (RL only) goes with separation none")
        has_blocks = self.algo.has_base or self.algo.imitates_only
        if has_blocks and self.separation == "network" and not _imitates_in_blocks(self.il):
            raise ValueError("il.unit iteration and il.source demos with separation network")
        by_loss = self.il.adaptive is None or self.il.adaptive.rule == "loss_budget"
        if self.separation == "network" and not by_loss:
            raise ValueError("il.adaptive.rule loss_budget with separation network, whose gradients have no angle")
        known = separations(self.algo, self.il)
        if self.m != "inf" and self.separation not in known:
            raise ValueError(f"separation {' or '.join(known)} for finite m of {self.method}, not {self.separation!r}")
        return self


def separations(algo: AlgoConfig, il: IlConfig) -> tuple[Separation, ...]:
    """Return how imitation can be kept apart from an algorithm's reinforcement, the usual way last.

    Networks of its own it can only have as whole blocks between iterations, on demonstrations.
    """
    if algo.imitates_only:
        return ("network",)
    return ("none", "surgery", "network") if algo.has_base and _imitates_in_blocks(il) else ("none", "surgery")


def _imitates_in_blocks(il: IlConfig) -> bool:
    return (il.unit, il.source) == ("iteration", "demos")
