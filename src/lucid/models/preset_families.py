"""The presets' models: what was asked for, checked, becomes a `VAE`, a `LadderVAE` or a `TopDownVAE`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from lucid.distributions import Likelihood, Posterior, Prior
from lucid.models.blocks import start_at
from lucid.models.chain_presets import Dials, Parts, conv_chain, mlp_chain
from lucid.models.condition import Condition
from lucid.models.config import VAEConfig
from lucid.models.fixed_api import FixedAPI
from lucid.models.ladder import LadderVAE
from lucid.models.ladder_presets import ladder_of
from lucid.models.latent_shapes import padded
from lucid.models.named_parts import PosteriorMaker, PriorMaker, level_posteriors, top_prior
from lucid.models.protocol import DataProtocol
from lucid.models.schedules import Linear
from lucid.models.topdown import TopDownVAE, topdown_preset
from lucid.models.vae import VAE

__all__ = ["WARM_UP", "Asked", "conv", "ladder", "mlp", "topdown"]

WARM_UP = 500
"""Steps in which β rises from 0 where there are several levels. Without it they collapse in the first hundred:
while the decoder knows nothing of z, the KL is all that can be lowered (Sønderby et al., 2016, arXiv 1602.02282)."""

Family = TypeVar("Family", bound=FixedAPI)


@dataclass(frozen=True)
class Asked:
    """What `create` was asked for; see there.

    Raises:
        ValueError: If a number is outside its range.
    """

    protocol: DataProtocol
    likelihood: Likelihood
    examples: Tensor | None
    size: int
    latents: int | None
    depth: int | None
    dropout: float | None
    prior: Prior | PriorMaker | str | None
    posterior: Posterior | Sequence[Posterior] | PosteriorMaker | str | None
    condition: Condition | None
    config: Mapping[str, Any]

    def __post_init__(self) -> None:
        for what in ("size", "latents", "depth"):
            value = getattr(self, what)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{what} must be a positive int; received {value!r}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1); received {self.dropout}")


def mlp(asked: Asked) -> VAE:
    """The preset "mlp"."""
    return _configured(VAE, mlp_chain, asked, 8 * asked.size)


def conv(asked: Asked) -> VAE:
    """The preset "conv"."""
    return _configured(VAE, conv_chain, asked, 8 * asked.size)


def ladder(asked: Asked) -> LadderVAE:
    """The preset "ladder"."""
    return _configured(LadderVAE, ladder_of, asked, 8 * asked.size)


def topdown(asked: Asked) -> TopDownVAE:
    """The preset "topdown"."""
    for what, value in (("posterior", asked.posterior), *asked.config.items()):
        if value is not None:
            raise TypeError(
                f"the preset topdown takes no {what}; received {value!r}. Leave it out: posteriors are residual, and "
                "the weight of the KL is the objective's"
            )
    model = topdown_preset(
        asked.protocol,
        likelihood=asked.likelihood,
        size=asked.size,
        latents=asked.latents,
        condition=asked.condition,
        examples=asked.examples,
    )
    if asked.prior is not None:
        stage = model.config.stages[-1]
        shape = (stage.latents, *stage.size)
        model.set_top_prior(top_prior(asked.prior, shape, asked.protocol, asked.examples))
    return model


def _configured(
    family: type[Family], parts_of: Callable[[DataProtocol, Dials], Parts], asked: Asked, latents: int
) -> Family:
    if asked.condition is not None:
        raise ValueError(
            f"only the preset topdown takes a condition; received {asked.condition} for a {family.__name__}"
        )
    assert asked.depth is not None
    assert asked.dropout is not None
    dials = Dials(
        size=asked.size,
        latents=asked.latents or latents,
        depth=asked.depth,
        dropout=asked.dropout,
        outputs=asked.likelihood.num_outputs(asked.protocol.shape[0]),
        posteriors=lambda shapes: level_posteriors(asked.posterior, shapes),
    )
    parts = parts_of(asked.protocol, dials)
    if asked.examples is not None:
        start_at(parts.last, asked.likelihood, asked.examples)
    config: dict[str, Any] = _hierarchy(asked.config) if asked.depth > 1 else {}
    if asked.prior is not None:
        config["top_prior"] = top_prior(asked.prior, parts.shapes[-1], asked.protocol, asked.examples)
    model = family(
        VAEConfig(
            encoders=parts.encoders,
            decoders=parts.decoders,
            priors=parts.priors,
            likelihood=asked.likelihood,
            posterior=parts.posteriors,
            **{**config, **asked.config},
        )
    )
    for level, shape in enumerate(parts.shapes):
        model.latent_shapes[level] = padded(shape)
    return model


def _hierarchy(config: Mapping[str, Any]) -> dict[str, Any]:
    """What several levels need: the bound itself in the end, and time to find a use for the latents before it."""
    beta: Any = config.get("kl_weight", 1.0)
    return {"hierarchical_kl": False, "beta_schedule": Linear(steps=WARM_UP, end=beta)}
