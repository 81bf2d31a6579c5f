"""Every setting of the project, typed: one frozen model per phase; unknown keys are errors.

A run is described by one resolved model (`PretrainConfig`, `FinetuneConfig`, ...), written beside its output. The
resolved model is merged from layers of YAML (see `inril.project`); this module knows nothing of files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

# results/<figure>.* belongs to this budget alone, whichever is chosen.
DEFAULT_BUDGET = "laptop"
COMPUTE = "compute"  # source of a panel or row; any other is a budget

Fraction = Annotated[float, Field(ge=0, le=1)]
M = PositiveInt | Literal["inf"]
Separation = Literal["none", "surgery", "network"]
Method = Literal[
    "dppo",
    "dppo_bcloss",
    "dppo_demoloss",
    "dppo_noise",
    "idql",
    "idql_demos_actor",
    "idql_demos_both",
    "idql_frozen",
    "idql_noise",
    "dipo",
    "awr",
    "ppo_gaussian",
    "residual_ppo",
    "residual_il_only",
    "residual_ppo_naive",
]
# The algorithm behind each method: its `algo.kind`.
ALGORITHMS: dict[Method, str] = {
    "dppo": "dppo",
    "dppo_bcloss": "dppo",
    "dppo_demoloss": "dppo",
    "dppo_noise": "dppo",
    "idql": "idql",
    "idql_demos_actor": "idql",
    "idql_demos_both": "idql",
    "idql_frozen": "idql",
    "idql_noise": "idql",
    "dipo": "dipo",
    "awr": "awr",
    "ppo_gaussian": "ppo",
    "residual_ppo": "residual_ppo",
    "residual_il_only": "residual_ppo",
    "residual_ppo_naive": "residual_ppo",
}
PolicyName = Literal["diffusion", "unet", "gaussian", "gaussian_chunk"]
DemoSource = Literal["generated", "d4rl", "robomimic"]
Device = Literal["auto", "cpu", "cuda"]
Suite = Literal["gym", "robomimic", "furniture"]
SCRIPTED: tuple[Suite, ...] = ("robomimic", "furniture")  # suites whose demonstrators are scripts
Sim = Literal["fast", "stock"]
Metric = Literal["return", "success"]
# Sources that have demonstrations of a suite's tasks.
SOURCES: dict[Suite, tuple[DemoSource, ...]] = {
    "gym": ("generated", "d4rl"),
    "robomimic": ("generated", "robomimic"),
    "furniture": ("generated",),
}
AggregatorName = Literal[
    "upgrad",
    "mean",
    "torchjd.AlignedMTL",
    "torchjd.CAGrad",
    "torchjd.ConFIG",
    "torchjd.DualProj",
    "torchjd.IMTLG",
    "torchjd.MGDA",
    "torchjd.Mean",
    "torchjd.PCGrad",
    "torchjd.Sum",
    "torchjd.UPGrad",
]
# A setting, never a machine's core count: results must not depend on `--cores`.
TorchThreads = Annotated[PositiveInt, Field(description="threads of torch in one process")]
MetricName = Annotated[str, Field(pattern=r"^\w+/\w+$")]


_LATER = object()


def later(default: Any, **kwargs: Any) -> Any:
    """Declare a field that came after results had been published, with the default that these were made with.

    It is written only where it differs from that default, so that the settings of those results stay what they were.
    """
    field = Field(default, **kwargs)
    field.metadata.append(_LATER)
    return field


class Model(BaseModel):
    """Base of all settings: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_serializer(mode="wrap")
    def _omit_later(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        for name, field in type(self).model_fields.items():
            if _LATER in field.metadata and getattr(self, name) == field.default:
                values.pop(name, None)
        return values

    def digest(self) -> str:
        """Return a hash of all values, equal exactly for equal settings."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class Execution(Model):
    """On what a job computes. No part of its settings: a change runs nothing again."""

    device: Device = Field("auto", description="of the networks; auto takes cuda where there is a GPU")
    sim_threads: PositiveInt = Field(1, description="threads of the simulator in one process (no effect on results)")


class TaskSpec(Model):
    """What a task is, whatever is done with it."""

    id: str = Field(description="name in paths, configs and figures")
    title: str = Field(description="name on figures")
    suite: Suite = Field(description="simulator family")
    obs_dim: PositiveInt = Field(description="Do")
    action_dim: PositiveInt = Field(description="Da")
    max_episode_steps: PositiveInt = Field(description="time limit in environment steps")
    metric: Metric = Field(description="headline metric")
    obs_keys: dict[str, PositiveInt] = later(
        {}, description="parts of an observation in order and their sizes; empty: one part, flat"
    )
    sim: Sim = later("fast", description="robomimic: compiled simulator, or robosuite itself")

    @property
    def obs_layout(self) -> dict[str, int]:
        """Parts of an observation, in order, and their sizes."""
        return dict(self.obs_keys) or {"flat": self.obs_dim}

    @model_validator(mode="after")
    def _check_obs(self) -> TaskSpec:
        if sum(self.obs_layout.values()) != self.obs_dim:
            raise ValueError(f"obs_keys whose sizes add up to obs_dim, {self.obs_dim}")
        return self


class NetworkConfig(Model):
    """A multilayer perceptron."""

    widths: tuple[PositiveInt, ...] = Field(description="hidden widths, all equal when residual")
    activation: Literal["relu", "mish", "tanh"]
    residual: bool = Field(True, description="pre-activation residual blocks of two layers")

    @model_validator(mode="after")
    def _check_residual(self) -> NetworkConfig:
        if not self.widths or (self.residual and (len(set(self.widths)) > 1 or len(self.widths) % 2 == 0)):
            raise ValueError("a residual network needs an odd number of equal widths, any network at least one")
        return self


class UNetConfig(Model):
    """A one-dimensional U-Net over the steps of a chunk."""

    kind: Literal["unet"]
    widths: tuple[PositiveInt, ...] = Field(min_length=2, description="channels of each level, from fine to coarse")
    kernel: PositiveInt = Field(5, description="steps of a convolution, odd")
    groups: PositiveInt = Field(8, description="of channels that are normalised together")

    @model_validator(mode="after")
    def _check(self) -> UNetConfig:
        if self.kernel % 2 == 0:
            raise ValueError("an odd kernel")
        if any(width % self.groups for width in self.widths):
            raise ValueError(f"widths that are multiples of groups, {self.groups}")
        return self

    @property
    def divisor(self) -> int:
        """Chunks must have a multiple of so many steps, since each level halves them."""
        return int(2 ** (len(self.widths) - 1))


def _network_kind(network: Any) -> str:
    kind = network.get("kind") if isinstance(network, dict) else getattr(network, "kind", None)
    return "unet" if kind == "unet" else "mlp"


# A multilayer perceptron has no kind, since results with such networks came before there were others.
DenoiserNetwork = Annotated[
    Annotated[NetworkConfig, Tag("mlp")] | Annotated[UNetConfig, Tag("unet")], Discriminator(_network_kind)
]


class DiffusionConfig(Model):
    """Diffusion policy: a denoiser of action chunks."""

    kind: Literal["diffusion"] = "diffusion"
    network: DenoiserNetwork
    time_dim: PositiveInt = Field(16, description="size of the time embedding")
    denoising_steps: PositiveInt = Field(20, description="K, steps of the whole chain")
    obs_encoder: tuple[PositiveInt, PositiveInt] | None = later(
        None, description="hidden and output width of a network that encodes the observation first (not with a U-Net)"
    )
    ddim_steps: PositiveInt | None = later(
        None, description="of DDIM, wherever the pre-trained policy itself acts; null runs the whole chain"
    )

    @model_validator(mode="after")
    def _check_ddim(self) -> DiffusionConfig:
        if self.ddim_steps is not None and self.ddim_steps > self.denoising_steps:
            raise ValueError(f"ddim_steps of at most the {self.denoising_steps} denoising_steps")
        return self

    @model_validator(mode="after")
    def _check_encoder(self) -> DiffusionConfig:
        if isinstance(self.network, UNetConfig) and self.obs_encoder is not None:
            raise ValueError("obs_encoder null with a U-Net, which sees the observation as it is")
        return self

    def check_chunk(self, horizon_steps: int) -> None:
        """Refuse chunks that a U-Net cannot halve often enough.

        Args:
            horizon_steps: Tp.

        Raises:
            ValueError: saying what is expected.
        """
        if isinstance(self.network, UNetConfig) and horizon_steps % self.network.divisor:
            levels, divisor = len(self.network.widths), self.network.divisor
            raise ValueError(f"horizon_steps to be a multiple of {divisor} for a U-Net of {levels} levels")


class GaussianConfig(Model):
    """Gaussian policy over action chunks, mean through tanh."""

    kind: Literal["gaussian"] = "gaussian"
    network: NetworkConfig
    std: PositiveFloat = Field(0.1, description="fixed standard deviation in pre-training, initial one in fine-tuning")


class OptimConfig(Model):
    """AdamW with warm-up and cosine decay over gradient steps."""

    batch_size: PositiveInt
    lr: PositiveFloat
    lr_min: PositiveFloat = Field(description="start of the warm-up and end of the decay")
    warmup_steps: NonNegativeInt
    weight_decay: float = Field(1e-6, ge=0)
    max_steps: PositiveInt = Field(description="cap on gradient steps, and length of the decay")


class EmaConfig(Model):
    """Exponential moving average of the weights."""

    decay: Fraction = 0.995
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


class HoldoutConfig(Model):
    """Split of the demonstrations by episode."""

    fraction: Fraction = 0.1
    min_episodes: PositiveInt = 5


class DemosConfig(Model):
    """Demonstrations of one task."""

    task: TaskSpec
    source: DemoSource
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
    max_episodes: PositiveInt | None = Field(None, description="keep only the first episodes")
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
        if self.source not in SOURCES[self.task.suite]:
            raise ValueError(f"a source of {self.task.suite} tasks: {' or '.join(SOURCES[self.task.suite])}")
        scripted = {"n_demos": self.n_demos, "level": self.level, "max_demo_steps": self.max_demo_steps}
        missing = [name for name, value in scripted.items() if value is None]
        if self.task.suite in SCRIPTED and self.source == "generated" and missing:
            raise ValueError(f"{', '.join(missing)}: what the scripted experts need")
        return self


class PretrainConfig(Model):
    """Behaviour cloning of one policy."""

    task: TaskSpec
    policy_name: PolicyName
    policy: DiffusionConfig | GaussianConfig = Field(discriminator="kind")
    horizon_steps: PositiveInt = Field(description="Tp = Ta, length of a chunk")
    optim: OptimConfig
    ema: EmaConfig
    plateau: PlateauConfig
    holdout: HoldoutConfig = HoldoutConfig()
    use_ema: bool = Field(description="whether fine-tuning starts from the averaged weights")
    select_episodes: PositiveInt = Field(description="episodes on which each candidate checkpoint is scored")
    report_episodes: PositiveInt = Field(description="fresh episodes on which the chosen checkpoint is re-evaluated")
    seed: NonNegativeInt
    torch_threads: TorchThreads = 1

    @model_validator(mode="after")
    def _check(self) -> PretrainConfig:
        if isinstance(self.policy, DiffusionConfig):
            self.policy.check_chunk(self.horizon_steps)
        return self


class ClipSchedule(Model):
    """PPO clipping that grows along the denoising chain; base = top is a constant."""

    base: PositiveFloat = Field(description="at the noisiest fine-tuned step")
    top: PositiveFloat = Field(description="at the last step")
    rate: PositiveFloat = 3.0


class PPOBase(Model):
    """What Gaussian and diffusion PPO share."""

    gamma: Fraction = Field(description="discount per chunk")
    gae_lambda: Fraction
    actor_lr: PositiveFloat
    critic_lr: PositiveFloat
    minibatch: PositiveInt = Field(description="samples of one gradient step (DPPO: chunk x denoising step pairs)")
    microbatch: PositiveInt = Field(2000, description="rows evaluated at a time: bounds memory, same gradient")
    epochs: PositiveInt
    clip_coef: ClipSchedule
    vf_coef: PositiveFloat
    ent_coef: float = Field(0.0, ge=0)
    target_kl: PositiveFloat | None = Field(description="stops an iteration's updates; null never")
    max_grad_norm: PositiveFloat | None = None
    norm_adv: bool = True
    reward_scaling: bool = True
    critic_warmup_itr: NonNegativeInt = Field(0, description="iterations in which only the critic learns")
    critic_network: NetworkConfig


class PPOConfig(PPOBase):
    """Gaussian PPO."""

    kind: Literal["ppo"] = "ppo"
    std_range: tuple[PositiveFloat, PositiveFloat] = Field(description="bounds of the learned standard deviation")


class ResidualConfig(Model):
    """A network that corrects each action of a chunked base policy."""

    network: NetworkConfig = Field(description="plain; its last layer has no bias and starts at zero")
    scale: PositiveFloat = Field(0.1, description="of corrections, in normalised actions")
    log_std: float = Field(-1.0, description="fixed, of corrections in training, before they are scaled")
    act_steps: PositiveInt | None = Field(None, description="executed steps of a base chunk; null executes all")
    ddim_steps: PositiveInt | None = Field(None, description="of DDIM in the base; null runs the whole chain")

    @model_validator(mode="after")
    def _check(self) -> ResidualConfig:
        if self.network.residual:
            raise ValueError("a plain network (network.residual: false), whose last layer can do without a bias")
        return self


class ResidualPPOConfig(PPOBase):
    """PPO on a residual policy."""

    kind: Literal["residual_ppo"] = "residual_ppo"
    residual: ResidualConfig
    train_residual: bool = Field(True, description="false: imitation of the base is all that learns (control)")
    reward_clip: PositiveFloat = Field(5.0, description="bound on rewards over their running standard deviation")
    lr_warmup_itr: NonNegativeInt | None = Field(
        None, description="cosine decay of both rates over the run after so many iterations; null: constant rates"
    )


class BcLossConfig(Model):
    """Imitation as a part of the actor's loss, in every gradient step."""

    teacher: Literal["policy", "demos"] = Field(
        description="policy: the pre-trained one, at the learner's own observations; demos: the demonstrations"
    )
    weight: float = Field(ge=0, description="of this loss beside the surrogate")


class DPPOConfig(PPOBase):
    """Diffusion policy policy optimisation."""

    kind: Literal["dppo"] = "dppo"
    ft_denoising_steps: PositiveInt = Field(description="K', last steps of the chain that are fine-tuned")
    gamma_denoising: Fraction = Field(description="discount of the advantage towards noisier steps")
    min_sampling_std: PositiveFloat = Field(description="floor of the standard deviation when acting in training")
    min_logprob_std: PositiveFloat = Field(description="floor of the standard deviation in log-probabilities")
    randn_clip: PositiveFloat = Field(3.0, description="truncation of the standard normal noise")
    bc_loss: BcLossConfig | None = later(None, description="imitation as a part of the actor's loss")


class OffPolicyBase(Model):
    """What algorithms with a replay buffer share."""

    gamma: Fraction = Field(description="discount per chunk")
    actor_lr: PositiveFloat
    critic_lr: PositiveFloat = Field(description="of all critics")
    batch_size: PositiveInt = Field(description="transitions of one gradient step")
    replay_ratio: PositiveInt = Field(description="how often each new transition is used, on average")
    buffer_rows: PositiveInt = Field(description="capacity of the replay buffer, in chunks of every environment")
    reward_factor: PositiveFloat = Field(description="rewards are multiplied by it")
    critic_warmup_itr: NonNegativeInt = Field(description="iterations in which only critics learn")
    critic_network: NetworkConfig = Field(description="IDQL, DIPO: of chunks, two of them; AWR: of observations")
    min_sampling_std: PositiveFloat = Field(description="floor of the standard deviation when acting in training")
    randn_clip: PositiveFloat = Field(3.0, description="truncation of the standard normal noise")

    def n_updates(self, n_transitions: int) -> int:
        """Gradient steps of the actor in an iteration that brings so many new transitions."""
        return n_transitions * self.replay_ratio // self.batch_size


class IDQLConfig(OffPolicyBase):
    """Implicit diffusion Q-learning."""

    kind: Literal["idql"] = "idql"
    expectile: Fraction = Field(description="tau of the critic of observations")
    n_samples: PositiveInt = Field(description="M, chunks proposed, of which one is executed")
    explore_weight: float = Field(gt=0, lt=1, description="of chunks with Q > V in training; others weigh 1 minus it")
    target_rate: Fraction = Field(description="share by which the target critic moves at each update")
    value_network: NetworkConfig = Field(description="of observations")
    train_actor: bool = Field(True, description="false: the pre-trained policy proposes to the end (control)")
    demo_fraction: Fraction = Field(0.0, description="share of demonstrations in a batch (controls)")
    demo_buffers: Literal["actor", "both"] = later(
        "actor", description="in whose batches: the actor's alone; or the critics' too, which then see their rewards"
    )


class DIPOConfig(OffPolicyBase):
    """Diffusion policy for model-free online reinforcement learning."""

    kind: Literal["dipo"] = "dipo"
    target_rate: Fraction = Field(description="share by which target critic and target actor move at each update")
    improve_steps: PositiveInt = Field(description="gradient steps on each stored chunk that is drawn")
    improve_lr: PositiveFloat = Field(description="of these steps")
    improve_max_grad: PositiveFloat = Field(
        description="times Ta Da: bound on the norm of a batch's gradient with respect to its chunks"
    )


class AWRConfig(OffPolicyBase):
    """Advantage-weighted regression."""

    kind: Literal["awr"] = "awr"
    td_lambda: Fraction = Field(description="lambda of the critic's targets")
    td_rate: Fraction = Field(description="share of the TD(lambda) error by which a target differs from the value")
    advantage_factor: PositiveFloat = Field(description="beta, factor of the normalised advantage in the exponent")
    max_weight: PositiveFloat = Field(description="bound on the weight of a chunk")
    actor_steps_per_critic_step: PositiveInt


class ExpertConfig(Model):
    """Training of a demonstrator from scratch with Gaussian PPO, stopped at a wanted quality."""

    target_return: PositiveFloat = Field(description="mean return of the wanted demonstrations")
    tolerance: Fraction = Field(0.05, description="relative distance from the target that ends the training")
    env_steps: PositiveInt = Field(description="budget of environment steps")
    n_envs: PositiveInt
    n_steps: PositiveInt = Field(description="S, steps per environment and iteration")
    network: NetworkConfig
    initial_std: PositiveFloat = Field(0.5, description="standard deviation of the fresh policy")
    ppo: PPOConfig
    eval: EvalConfig
    seed: NonNegativeInt = 0


class ExpertJob(Model):
    """One demonstrator to train: the task and how."""

    task: TaskSpec
    expert: ExpertConfig


class PhaseConfig(Model):
    """Imitation on networks of its own, phase by phase."""

    n_steps: PositiveInt = Field(100, description="gradient steps of one phase")
    lr: PositiveFloat = Field(5e-5, description="of an AdamW that keeps its moments from phase to phase")
    weight_decay: float = Field(1e-6, ge=0)
    batch_size: PositiveInt = Field(1024, description="chunks of one gradient step")
    max_grad_norm: PositiveFloat | None = 1.0


class IlConfig(Model):
    """How imitation is interleaved."""

    unit: Literal["grad_step", "iteration"] = Field(description="what m counts")
    phase: Literal["last", "first"] = Field("last", description="where in a cycle of m the imitation falls")
    batch_size: PositiveInt = Field(4096, description="chunk x denoising step pairs of one imitation gradient")
    aggregator: AggregatorName = Field("upgrad", description="in closed form, or of TorchJD by its name there")
    scale: PositiveFloat = Field(0.5, description="s in s (pi(g_R) + pi(g_I)): 0.5 is UPGrad, 1 is PCGrad")
    granularity: Literal["network", "layer"] = Field("network", description="what is projected as one vector")
    probe_size: PositiveInt = Field(2048, description="fixed (obs, chunk, step, noise) tuples of the logged IL loss")
    diagnose_every: PositiveInt = Field(1, description="iterations between measurements of the gradients' angle")
    source: Literal["demos", "noise"] = later(
        "demos", description="noise: a control, joint steps get a random direction of the imitation gradient's norm"
    )
    network: PhaseConfig = later(PhaseConfig(), description="separation network: the phase after every m iterations")


class FinetuneConfig(Model):
    """One fine-tuning run: (task, method, separation, m, seed) and all of its numbers."""

    task: TaskSpec
    method: Method
    separation: Separation
    m: M
    seed: NonNegativeInt
    policy_name: PolicyName
    env_steps: PositiveInt = Field(description="executed environment steps to reach")
    n_envs: PositiveInt = Field(description="E")
    n_steps: PositiveInt = Field(description="S, chunks per environment and iteration")
    reset_each_itr: bool = later(False, description="whether every iteration starts with new episodes")
    algo: DPPOConfig | IDQLConfig | DIPOConfig | AWRConfig | PPOConfig | ResidualPPOConfig = Field(discriminator="kind")
    il: IlConfig
    eval: EvalConfig
    holdout: HoldoutConfig = HoldoutConfig()
    report_episodes: PositiveInt = Field(description="fresh episodes on which the final policy is evaluated")
    report_best: bool = later(
        False, description="also keep the policy that did best in evaluations on the way; report it on fresh episodes"
    )
    checkpoint_every: PositiveInt = Field(description="iterations between checkpoints")
    max_diverged_rate: Fraction = Field(0.001, description="diverged episodes per environment step that stop the run")
    torch_threads: TorchThreads = 1

    @model_validator(mode="after")
    def _check(self) -> FinetuneConfig:
        if ALGORITHMS[self.method] != self.algo.kind:
            raise ValueError(f"algo.kind {self.algo.kind!r} does not belong to method {self.method!r}")
        if self.m == "inf" and self.separation != "none":
            raise ValueError("m = inf (RL only) goes with separation none")
        by_network = isinstance(self.algo, ResidualPPOConfig) and self.separation == "network"
        if by_network and (self.il.unit, self.il.source) != ("iteration", "demos"):
            raise ValueError("il.unit iteration and il.source demos with separation network")
        known = separations(self.algo, self.il)
        if self.m != "inf" and self.separation not in known:
            raise ValueError(f"separation {' or '.join(known)} for finite m of {self.method}, not {self.separation!r}")
        return self


def separations(algo: Model, il: IlConfig) -> tuple[Separation, ...]:
    """Return how imitation can be kept apart from an algorithm's reinforcement, the usual way last.

    Networks of its own it can only have as whole phases between iterations, on demonstrations.
    """
    by_network = isinstance(algo, ResidualPPOConfig) and (il.unit, il.source) == ("iteration", "demos")
    if isinstance(algo, ResidualPPOConfig) and not algo.train_residual:
        return ("network",)
    return ("none", "surgery", "network") if by_network else ("none", "surgery")


class SmoothingConfig(Model):
    """Savitzky-Golay filter."""

    window: PositiveInt = Field(11, description="points, odd")
    order: NonNegativeInt = 2

    @model_validator(mode="after")
    def _check(self) -> SmoothingConfig:
        if self.window % 2 == 0 or self.window <= self.order:
            raise ValueError("an odd window larger than the order")
        return self


def separation_of_arm(m: M | str, separation: Separation) -> Separation:
    """Return where an arm's runs live: RL only separates nothing, whichever arms it is compared with."""
    return "none" if m == "inf" else separation


class Control(Model):
    """A line beside those of a panel's method: another method or separation, to tell what theirs owe to what."""

    method: Method
    m: M = Field("inf", description="where the method interleaves")
    title: str = Field(description="name in legends")
    separation: Separation | None = later(None, description="separation if m is finite; null takes the panel's")


class PanelRuns(Model):
    """Which runs belong to a panel."""

    label: str
    task: str
    method: Method
    separation: Separation = Field(description="separation of the arms with finite m")
    controls: tuple[Control, ...] = Field((), description="lines beside those of the method")
    metrics: tuple[MetricName, ...] | None = Field(
        None, description="rows of this panel, split/metric, where they differ from the figure's"
    )
    source: str = Field(COMPUTE, description="compute, or the budget whose published runs are shown")

    def arms(self, m_values: Iterable[M]) -> Iterator[tuple[Method, Separation, M]]:
        """Yield method, separation and m of every line, given the arms of the panel's method."""
        for m in m_values:
            yield self.method, separation_of_arm(m, self.separation), m
        yield from map(self.arm_of, self.controls)

    def arm_of(self, control: Control) -> tuple[Method, Separation, M]:
        """Return method, separation and m of a control's line."""
        return control.method, separation_of_arm(control.m, control.separation or self.separation), control.m

    def is_own(self, method: str, separation: str, m: M | str) -> bool:
        """Tell whether an arm is one of the panel's method, of any m, and no control."""
        return (method, separation) == (self.method, separation_of_arm(m, self.separation))

    def holds(self, task: str, method: str, separation: str, m: M | str) -> bool:
        """Tell whether a run is in the panel."""
        of_controls = {(*arm, str(m)) for *arm, m in map(self.arm_of, self.controls)}
        return task == self.task and (self.is_own(method, separation, m) or (method, separation, str(m)) in of_controls)


class PanelConfig(PanelRuns):
    """One column of a figure."""

    title: str


class TableSpec(Model):
    """What the table behind a figure holds; free of looks, so that a title or a colour never rebuilds it."""

    figure: str = Field(description="name of the figure, and of the published table")
    panels: tuple[PanelRuns, ...] = Field(min_length=1, description="each with its own metrics")


class FigureConfig(Model):
    """What a figure shows."""

    panels: tuple[PanelConfig, ...] = Field(min_length=1)
    metrics: tuple[MetricName, ...] = Field(min_length=1, description="from top to bottom of a panel, split/metric")
    m_values: tuple[M, ...] | None = Field(None, description="arms of this figure; null takes the chosen ones")
    columns: PositiveInt = Field(3, description="panels side by side; more go below")
    paper_m: tuple[PositiveInt, ...] = Field((), description="m of the paper's figure; panels name those they lack")
    il_level: bool = later(False, description="whether a line marks the level of imitation alone, before fine-tuning")

    @model_validator(mode="after")
    def _check(self) -> FigureConfig:
        if len({panel.label for panel in self.panels}) < len(self.panels):
            raise ValueError("panels with different labels")
        if any(len(self.metrics_of(panel)) != len(self.metrics) for panel in self.panels):
            raise ValueError("as many metrics of a panel as of the figure")
        return self

    def metrics_of(self, panel: PanelRuns) -> tuple[MetricName, ...]:
        """Return the metrics of a panel, from top to bottom."""
        return panel.metrics or self.metrics

    def table(self, name: str) -> TableSpec:
        """Return the part that decides about the table behind the figure of that name."""
        panels = [panel.model_copy(update={"metrics": self.metrics_of(panel)}) for panel in self.panels]
        return TableSpec(figure=name, panels=tuple(PanelRuns(**p.model_dump(exclude={"title"})) for p in panels))


class ComparisonColumn(Model):
    """A method in a comparison: fine-tuned policies."""

    title: str
    method: Method
    m: M = Field("inf", description="inf is RL only, or a method without interleaving")
    separation: Separation = Field("surgery", description="separation if m is finite")

    @property
    def separation_of_runs(self) -> Separation:
        """Of its runs, as in their paths."""
        return separation_of_arm(self.m, self.separation)

    @property
    def arm(self) -> tuple[str, str, str]:
        """Method, separation and m in the metrics of its runs."""
        return self.method, self.separation_of_runs, str(self.m)


class PolicyColumn(Model):
    """A policy in a comparison, as pre-training left it."""

    title: str
    policy: PolicyName

    @property
    def arm(self) -> tuple[str, str, str]:
        """Method, separation and m in the metrics of its pre-training."""
        return self.policy, "", ""


def _column_kind(column: Any) -> str:
    named = "policy" in column if isinstance(column, dict) else isinstance(column, PolicyColumn)
    return "pre-trained" if named else "fine-tuned"


Column = Annotated[
    Annotated[ComparisonColumn, Tag("fine-tuned")] | Annotated[PolicyColumn, Tag("pre-trained")],
    Discriminator(_column_kind),
]


class ComparisonTask(Model):
    """A task in a comparison."""

    task: str
    paper: tuple[float | None, ...] = Field(description="the paper's numbers, column by column; null where it has none")


class ComparisonConfig(Model):
    """A table of methods or pre-trained policies (columns) and tasks (rows)."""

    columns: tuple[Column, ...] = Field(min_length=1)
    rows: tuple[ComparisonTask, ...] = Field(min_length=1)
    min_seeds: PositiveInt = Field(1, description="of a cell; where fewer are chosen, the first ones")
    note: str = Field("", description="what stands below the table")

    @model_validator(mode="after")
    def _check(self) -> ComparisonConfig:
        if any(len(row.paper) != len(self.columns) for row in self.rows):
            raise ValueError("a number of the paper for each column")
        return self


class ComparisonRow(ComparisonTask):
    """A row, resolved."""

    title: str
    metric: Metric
    source: str = Field(description="compute, or the budget whose published runs are shown")


class ComparisonSpec(Model):
    """All that writing a comparison takes, besides its runs."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[ComparisonRow, ...]
    note: str = later("", description="what stands below the table")


Outcomes = Literal["both", "successes", "failures"]


class FilmConfig(Model):
    """Which policy a film shows: as pre-training left it, or as a fine-tuning run ended."""

    title: str
    task: str
    policy: PolicyName | None = Field(None, description="pre-trained; in place of method, separation and m")
    method: Method | None = Field(None, description="fine-tuned")
    m: M = Field("inf", description="of the run")
    separation: Separation = Field("surgery", description="of the run if m is finite")
    seed: NonNegativeInt = Field(0, description="of the run")
    frames: Annotated[int, Field(ge=2)] = Field(6, description="images of a strip, evenly spaced over the episode")
    outcomes: Outcomes = Field("both", description="that are shown")
    examples: PositiveInt = Field(1, description="of each outcome")
    episodes: PositiveInt = Field(50, description="that are evaluated; then as many again while examples are missing")
    max_episodes: PositiveInt = Field(200, description="at which missing examples are given up")

    @model_validator(mode="after")
    def _check(self) -> FilmConfig:
        if (self.policy is None) == (self.method is None):
            raise ValueError("either a policy or a method")
        return self


class FilmSpec(Model):
    """All that making a film takes, besides the policy."""

    title: str
    subject: str = Field(description="whose episodes these are: budget and run, for people")
    seed: NonNegativeInt = Field(description="of environments and noise")
    frames: Annotated[int, Field(ge=2)]
    outcomes: Outcomes = "both"
    examples: PositiveInt = 1
    episodes: PositiveInt
    max_episodes: PositiveInt


class PlotConfig(Model):
    """How figures look; never a reason to run anything again but the figure."""

    smoothing: SmoothingConfig | None = None
    palette: str = Field("viridis", description="a seaborn palette for the arms with finite m")
    rl_color: str = Field("black", description="colour of RL only")
    control_palette: str = Field("Set1", description="a seaborn palette for controls")
    font_size: PositiveFloat = 8.0


class PlannedRun(Model):
    """A run that a figure shows when it is complete."""

    task: str
    method: Method
    separation: Separation
    m: M
    seed: NonNegativeInt


class FigureSpec(Model):
    """All that drawing a figure takes, besides its table."""

    budget: str
    figure: FigureConfig
    plot: PlotConfig = PlotConfig()
    planned: tuple[PlannedRun, ...] = Field((), description="what it shows when complete; the table may hold less")


class Axes(Model):
    """The grid of runs that a budget computes of a task."""

    seeds: tuple[NonNegativeInt, ...] = Field(min_length=1)
    m_values: tuple[M, ...] = Field(min_length=1, description="arms of the ablation; inf is RL only")


class RootConfig(Model):
    """config/config.yaml and `snakemake --config`: what to compute, not how."""

    budget: str = DEFAULT_BUDGET
    demo_source: DemoSource = "generated"
    seeds: tuple[NonNegativeInt, ...] | None = Field(None, description="null takes the budget's")
    m_values: tuple[M, ...] | None = Field(None, description="null takes the budget's")
    runs: Literal["all", "complete"] = Field("all", description="complete: figures of the runs that are there")
    torch_threads: TorchThreads = 1
    execution: Execution = Execution()
    figures: dict[str, FigureConfig]
    comparisons: dict[str, ComparisonConfig] = {}
    films: dict[str, FilmConfig] = {}
    plot: PlotConfig = PlotConfig()
