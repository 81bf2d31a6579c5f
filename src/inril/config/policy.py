"""Settings of policies: network and kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from inril.config.base import Model, later


class NetworkConfig(Model):
    """A multilayer perceptron."""

    widths: tuple[PositiveInt, ...] = Field(description="hidden widths, all equal when residual")
    activation: Literal["relu", "mish", "tanh"] = Field(description="between layers; none after the last")
    residual: bool = Field(True, description="pre-activation residual blocks of two layers")
    layer_norm: bool = later(False, description="plain networks: layers are normalised before their activation")

    @model_validator(mode="after")
    def _check_residual(self) -> NetworkConfig:
        if self.residual and self.layer_norm:
            raise ValueError("a plain network (residual: false) with layer_norm")
        if not self.widths or (self.residual and (len(set(self.widths)) > 1 or len(self.widths) % 2 == 0)):
            raise ValueError("a residual network needs an odd number of equal widths, any network at least one")
        return self


class RankerConfig(Model):
    """Critics that choose among the chunks of a policy."""

    network: NetworkConfig = Field(description="of each critic of chunks")
    n_critics: PositiveInt = Field(description="critics of chunks")
    n_samples: PositiveInt = Field(description="M, chunks proposed")


class UNetConfig(Model):
    """A one-dimensional U-Net over the steps of a chunk."""

    kind: Literal["unet"] = Field(description="network; a multilayer perceptron has no such key")
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

    kind: Literal["diffusion"] = Field("diffusion", description="policy")
    network: DenoiserNetwork = Field(description="predicts the noise in a chunk")
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

    kind: Literal["gaussian"] = Field("gaussian", description="policy")
    network: NetworkConfig = Field(description="of the mean")
    std: PositiveFloat = Field(0.1, description="fixed standard deviation in pre-training, initial one in fine-tuning")
