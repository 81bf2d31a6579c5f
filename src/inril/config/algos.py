"""Settings of algorithms, and the table of them by `kind`."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from inril.config.base import Fraction, Model, later
from inril.config.policy import NetworkConfig, RankerConfig


class AlgoConfig(Model):
    """What settings say of any algorithm.

    Attributes:
        kind: its name in `KINDS`.
        critic_warmup_itr: iterations in which only critics learn.
        fine_tunes: the kind of pre-trained policy that it takes.
        has_base: whether there are networks that imitation may train apart from those of reinforcement.
    """

    if TYPE_CHECKING:  # fields that every algorithm has; where they stand in files is up to it
        kind: str
        critic_warmup_itr: int
    fine_tunes: ClassVar[Literal["diffusion", "gaussian"]] = "diffusion"
    has_base: ClassVar[bool] = False

    @property
    def imitates_only(self) -> bool:
        """Whether no network learns from rewards (a control): nothing then stands in the way of imitation in blocks."""
        return False

    @property
    def numerics(self) -> tuple[str, ...]:
        """Parts of `inril.config.numerics.VERSIONS` that it computes with, under these settings."""
        return (self.kind,)

    @property
    def adds(self) -> dict[str, Any]:
        """What describes a fine-tuned policy beside what described the pre-trained one (`PolicySpec`)."""
        return {}

    def limits(self, denoising_steps: int, horizon_steps: int) -> list[Limit]:
        """Return what the pre-trained policy allows.

        Args:
            denoising_steps: K.
            horizon_steps: Tp.
        """
        return []

    def exceeded(self, denoising_steps: int, horizon_steps: int) -> Limit | None:
        """Return the first of the `limits` that a setting is beyond, None if all are kept."""
        limits = self.limits(denoising_steps, horizon_steps)
        return next((limit for limit in limits if limit.value > limit.most), None)


class Limit(NamedTuple):
    """A bound on a setting that another one sets.

    Attributes:
        field: of the algorithm.
        value: of it.
        most: the largest that is possible.
        what: there is so much of, in words.
    """

    field: str
    value: int
    most: int
    what: str

    @property
    def expected(self) -> str:
        """What a message about it asks for."""
        return f"at most the {self.most} {self.what}"


class ClipSchedule(Model):
    """PPO clipping that grows along the denoising chain; base = top is a constant."""

    base: PositiveFloat = Field(description="at the noisiest fine-tuned step")
    top: PositiveFloat = Field(description="at the last step")
    rate: PositiveFloat = Field(3.0, description="of the exponential growth between them")


class PPOBase(AlgoConfig):
    """What PPO on Gaussian, diffusion and residual policies shares."""

    gamma: Fraction = Field(description="discount per chunk (residual PPO, demonstrators: per step)")
    gae_lambda: Fraction = Field(description="lambda of generalised advantage estimation")
    actor_lr: PositiveFloat = Field(description="learning rate of the actor")
    critic_lr: PositiveFloat = Field(description="learning rate of the critic")
    minibatch: PositiveInt = Field(description="samples of one gradient step (DPPO: chunk x denoising step pairs)")
    microbatch: PositiveInt = Field(2000, description="rows evaluated at a time: bounds memory, same gradient")
    epochs: PositiveInt = Field(description="passes over the samples of an iteration")
    clip_coef: ClipSchedule = Field(description="epsilon of the clipped surrogate")
    vf_coef: PositiveFloat = Field(description="weight of the value loss")
    ent_coef: float = Field(0.0, ge=0, description="weight of the entropy bonus (Gaussian PPO)")
    target_kl: PositiveFloat | None = Field(description="stops an iteration's updates; null never")
    max_grad_norm: PositiveFloat | None = Field(None, description="bound on a gradient's norm; null does not clip")
    norm_adv: bool = Field(True, description="whether advantages are normalised over each minibatch")
    reward_scaling: bool = Field(
        True, description="whether rewards are divided by a running standard deviation of the discounted return"
    )
    critic_warmup_itr: NonNegativeInt = Field(0, description="iterations in which only the critic learns")
    critic_network: NetworkConfig = Field(description="value network V")


class PPOConfig(PPOBase):
    """Gaussian PPO."""

    kind: Literal["ppo"] = Field("ppo", description="algorithm")
    fine_tunes = "gaussian"
    std_range: tuple[PositiveFloat, PositiveFloat] = Field(description="bounds of the learned standard deviation")

    @property
    def numerics(self) -> tuple[str, ...]:
        """Of PPO on Gaussian policies."""
        return ("ppo_gaussian",)


class ResidualConfig(Model):
    """A network that corrects each action of a chunked base policy."""

    network: NetworkConfig = Field(description="plain; its last layer has no bias and starts at zero")
    scale: PositiveFloat = Field(0.1, description="of corrections, in normalised actions")
    log_std: float = Field(-1.0, description="fixed, of corrections in training, before they are scaled")
    noise_correlation: float = later(0.0, ge=0, lt=1, description="of the noise of consecutive steps; 0 is white")
    act_steps: PositiveInt | None = Field(None, description="executed steps of a base chunk; null executes all")
    ddim_steps: PositiveInt | None = Field(None, description="of DDIM in the base; null runs the whole chain")

    @model_validator(mode="after")
    def _check(self) -> ResidualConfig:
        if self.network.residual:
            raise ValueError("a plain network (network.residual: false), whose last layer can do without a bias")
        return self


class ResidualPPOConfig(PPOBase):
    """PPO on a residual policy."""

    kind: Literal["residual_ppo"] = Field("residual_ppo", description="algorithm")
    has_base = True
    residual: ResidualConfig = Field(description="what is added to the base's actions, and how the base plans")
    train_residual: bool = Field(True, description="false: imitation of the base is all that learns (control)")
    reward_clip: PositiveFloat = Field(5.0, description="bound on rewards over their running standard deviation")
    lr_warmup_itr: NonNegativeInt | None = Field(
        None, description="cosine decay of both rates over the run after so many iterations; null: constant rates"
    )

    @property
    def adds(self) -> dict[str, Any]:
        """What is added to the base's actions."""
        return {"residual": self.residual}

    @property
    def imitates_only(self) -> bool:
        """Without a residual that learns."""
        return not self.train_residual

    def limits(self, denoising_steps: int, horizon_steps: int) -> list[Limit]:
        """Steps of the base's chain, and of its chunks."""
        steps, act_steps = self.residual.ddim_steps or 1, self.residual.act_steps or 1
        return [
            Limit("residual.ddim_steps", steps, denoising_steps, "denoising steps of the pre-trained policy"),
            Limit("residual.act_steps", act_steps, horizon_steps, "steps of the pre-trained policy's chunks"),
        ]


class BcLossConfig(Model):
    """Imitation as a part of the actor's loss, in every gradient step."""

    teacher: Literal["policy", "demos"] = Field(
        description="policy: the pre-trained one, at the learner's own observations; demos: the demonstrations"
    )
    weight: float = Field(ge=0, description="of this loss beside the surrogate")


class DPPOConfig(PPOBase):
    """Diffusion policy policy optimisation."""

    kind: Literal["dppo"] = Field("dppo", description="algorithm")
    ft_denoising_steps: PositiveInt = Field(description="K', last steps of the chain that are fine-tuned")
    gamma_denoising: Fraction = Field(description="discount of the advantage towards noisier steps")
    min_sampling_std: PositiveFloat = Field(description="floor of the standard deviation when acting in training")
    min_logprob_std: PositiveFloat = Field(description="floor of the standard deviation in log-probabilities")
    randn_clip: PositiveFloat = Field(3.0, description="truncation of the standard normal noise")
    bc_loss: BcLossConfig | None = later(None, description="imitation as a part of the actor's loss")
    train_actor: bool = later(True, description="false: imitation is all that learns (control)")

    @property
    def adds(self) -> dict[str, Any]:
        """How many steps of the chain are fine-tuned ones."""
        return {"ft_denoising_steps": self.ft_denoising_steps}

    @property
    def imitates_only(self) -> bool:
        """Without an actor that learns from rewards."""
        return not self.train_actor

    @property
    def numerics(self) -> tuple[str, ...]:
        """Also of the loss beside the surrogate."""
        return (self.kind,) if self.bc_loss is None else (self.kind, "bc_loss")

    def limits(self, denoising_steps: int, horizon_steps: int) -> list[Limit]:
        """Steps of the chain."""
        what = "denoising steps of the pre-trained policy"
        return [Limit("ft_denoising_steps", self.ft_denoising_steps, denoising_steps, what)]


class OffPolicyBase(AlgoConfig):
    """What algorithms with a replay buffer share."""

    gamma: Fraction = Field(description="discount per chunk")
    actor_lr: PositiveFloat = Field(description="learning rate of the actor")
    critic_lr: PositiveFloat = Field(description="learning rate of all critics")
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

    kind: Literal["idql"] = Field("idql", description="algorithm")
    expectile: Fraction = Field(description="tau of the critic of observations")
    n_samples: PositiveInt = Field(description="M, chunks proposed, of which one is executed")
    explore_weight: float = Field(gt=0, lt=1, description="of chunks with Q > V in training; others weigh 1 minus it")
    target_rate: Fraction = Field(description="share by which the target critic moves at each update")
    value_network: NetworkConfig = Field(description="of observations")
    n_critics: int = later(2, ge=2, description="of chunks; of more than two the smaller of a pair counts, on average")
    actor_updates: PositiveInt | None = later(
        None, description="gradient steps of the actor in an iteration, evenly among the critics'; null: one for each"
    )
    rank_after_updates: NonNegativeInt = later(
        0, description="steps of the critics before they choose; until then the first proposal is executed"
    )
    train_actor: bool = Field(True, description="false: the pre-trained policy proposes to the end (control)")
    demo_fraction: Fraction = Field(0.0, description="share of demonstrations in a batch (controls)")
    demo_buffers: Literal["actor", "both"] = later(
        "actor", description="in whose batches: the actor's alone; or the critics' too, which then see their rewards"
    )

    @property
    def ranker(self) -> RankerConfig:
        """How the critics that choose are built."""
        return RankerConfig(network=self.critic_network, n_critics=self.n_critics, n_samples=self.n_samples)

    @property
    def adds(self) -> dict[str, Any]:
        """What chooses among proposals."""
        return {"ranker": self.ranker}

    @property
    def numerics(self) -> tuple[str, ...]:
        """Also of demonstrations' rewards, where critics see them."""
        return (self.kind,) if self.demo_buffers == "actor" else (self.kind, "rewarded_demos")


class DIPOConfig(OffPolicyBase):
    """Diffusion policy for model-free online reinforcement learning."""

    kind: Literal["dipo"] = Field("dipo", description="algorithm")
    target_rate: Fraction = Field(description="share by which target critic and target actor move at each update")
    improve_steps: PositiveInt = Field(description="gradient steps on each stored chunk that is drawn")
    improve_lr: PositiveFloat = Field(description="of these steps")
    improve_max_grad: PositiveFloat = Field(
        description="times Ta Da: bound on the norm of a batch's gradient with respect to its chunks"
    )


class AWRConfig(OffPolicyBase):
    """Advantage-weighted regression."""

    kind: Literal["awr"] = Field("awr", description="algorithm")
    td_lambda: Fraction = Field(description="lambda of the critic's targets")
    td_rate: Fraction = Field(description="share of the TD(lambda) error by which a target differs from the value")
    advantage_factor: PositiveFloat = Field(description="beta, factor of the normalised advantage in the exponent")
    max_weight: PositiveFloat = Field(description="bound on the weight of a chunk")
    actor_steps_per_critic_step: PositiveInt = Field(description="gradient steps of the actor for one of the critic")


class Kind(NamedTuple):
    """An algorithm.

    Attributes:
        config: its settings.
        make: the function that builds it, module:name; imported when a run needs it, since it takes torch along.
            Its arguments are those of `inril.algos.make.make_algorithm`.
    """

    config: type[AlgoConfig]
    make: str


# By `algo.kind`.
KINDS = {
    "dppo": Kind(DPPOConfig, "inril.algos.dppo:make_dppo"),
    "idql": Kind(IDQLConfig, "inril.algos.idql:make_idql"),
    "dipo": Kind(DIPOConfig, "inril.algos.dipo:make_dipo"),
    "awr": Kind(AWRConfig, "inril.algos.awr:make_awr"),
    "ppo": Kind(PPOConfig, "inril.algos.ppo_gaussian:make_ppo_gaussian"),
    "residual_ppo": Kind(ResidualPPOConfig, "inril.algos.residual_ppo:make_residual_ppo"),
}

if TYPE_CHECKING:
    AnyAlgoConfig = AlgoConfig
else:
    AnyAlgoConfig = Annotated[reduce(or_, (kind.config for kind in KINDS.values())), Field(discriminator="kind")]
