"""What a `VAEConfig` makes of a model: its networks, its priors, and the walks that visit them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from lucid.distributions import DiagonalGaussian, Prior, StandardNormal
from lucid.models import checks
from lucid.models.base import LatentModel
from lucid.models.condition import refuse_condition
from lucid.models.config import VAEConfig
from lucid.models.latent_shapes import LatentShapes, declared_width, empty_shapes, noted_shape
from lucid.models.output import Output
from lucid.models.walk import Latent, Record, Walk
from lucid.nn import ModuleList

__all__ = ["ConfiguredModel"]


class ConfiguredModel(LatentModel, ABC):
    """A model that a `VAEConfig` describes. A family states how it infers and what its last decoder reads.

    Args:
        config: The parts.

    Attributes:
        config: The parts; `set_top_prior` makes a new one.
        encoders, decoders, priors, posteriors: The networks of `config`, `None` where it has none.
        top_prior: p(z_{L−1}); None is N(0, I).
        beta_step: Training steps that the β schedule has seen.
        latent_shapes: (depth, 8): the latents' shapes, zeros where there is nothing, or nothing met yet.

    Raises:
        TypeError: If `config` is not a `VAEConfig`.
    """

    inference_goes_down: ClassVar[bool]
    """Whether inference meets the deepest latent first, so that every prior is known before its latent is drawn."""

    top_prior: Prior | None
    beta_step: Tensor
    latent_shapes: Tensor

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        if not isinstance(config, VAEConfig):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"{type(self).__name__} takes a VAEConfig; received {type(config).__name__}")
        self.config = config
        self.depth: int = config.num_levels
        self.encoders = ModuleList(config.encoders)
        self.decoders = ModuleList(config.decoders)
        self.priors = ModuleList(config.priors) if config.priors is not None else None
        self.posteriors = ModuleList(config.level_posteriors()) if config.posterior is not None else None
        self.register_module("top_prior", config.top_prior)  # in this place among the parts, also if it comes later
        self.likelihood = config.make_likelihood()
        self.protocol = None
        self.figures = {}
        # Both are saved.
        self.register_buffer("beta_step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("latent_shapes", empty_shapes(self.depth))
        self._shapes = LatentShapes(self.depth)
        self._output = Output()
        self.register_load_state_dict_post_hook(ConfiguredModel._forget_shapes)

    def set_top_prior(self, top_prior: Prior | None) -> None:
        """Put another p(z_{L−1}) in the place of the model's, in its configuration too; None is N(0, I)."""
        self.config = replace(self.config, top_prior=top_prior)
        self.top_prior = top_prior

    # What a family states

    @abstractmethod
    def _infer(self, x: Tensor, check: bool) -> Walk:
        """The walk over data: every posterior in the order of inference, then the record."""

    @abstractmethod
    def _infer_top(self, x: Tensor) -> Distribution:
        """The deepest posterior given data, means taken on the way: what priors made of posteriors are made of."""

    @abstractmethod
    def _last_input(self, zs: Sequence[Tensor]) -> tuple[Tensor, str]:
        """What the last decoder reads, in the type of the networks, and what emitted it."""

    # The walk

    def walk(
        self,
        x: Tensor | None = None,
        *,
        num_examples: int = 1,
        check: bool = True,
        condition: Tensor | None = None,
    ) -> Walk:
        """Visit the posteriors given data; without, the priors, deepest first. See `LatentModel.walk`."""
        refuse_condition(self, condition)
        return self._generate(num_examples) if x is None else self._infer(x, check)

    def _generate(self, num_examples: int) -> Walk:
        zs: list[Tensor] = []
        latents: list[Latent] = []
        for level in reversed(range(self.depth)):
            deeper = zs[0] if zs else None
            rows = num_examples if deeper is None else len(deeper)
            prior = self._prior(level, deeper, self._empty_latent(level, rows))
            z = yield prior
            zs.insert(0, z)
            latents.insert(0, Latent(z, prior))
        params, _ = self._decode([self._cast(z) for z in zs])
        yield Record(tuple(latents), params, self.likelihood(params))

    def _latents(self, posteriors: Sequence[Distribution], zs: Sequence[Tensor]) -> tuple[Latent, ...]:
        """The latents of a walk over data, with their priors, indexed by level."""
        latents: list[Latent] = []
        for level, (posterior, z) in enumerate(zip(posteriors, zs, strict=True)):
            deeper = zs[level + 1] if level + 1 < self.depth else None
            prior = self._prior(level, deeper, _once_per_example(posterior, z))
            # A learned prior reads the next latent; where inference draws that one after this, its term must be
            # sampled.
            known_first = self.inference_goes_down or deeper is None or self.priors is None
            latents.append(Latent(z, prior, posterior, prior_known_first=known_first))
        return tuple(latents)

    def _record(self, latents: tuple[Latent, ...], params: Tensor, x: Tensor) -> Record:
        checks.check_params(params, x, self.likelihood)
        return Record(latents, params, self.likelihood(params, x), x)

    # One network at a time

    def _encoded(self, level: int, h: Tensor, source: str) -> Distribution:
        """The distribution that `encoders[level]` emits."""
        name = f"encoders[{level}]"
        emitted = checks.call(self.encoders[level], h, name, source)
        if self.posteriors is None:
            checks.check_emission(emitted, name)
            distribution = DiagonalGaussian.from_concatenated(emitted)
        else:
            distribution = self.posteriors[level](emitted)
        self._shapes.note(self.latent_shapes, level, distribution.event_shape)
        return distribution

    def _prior(self, level: int, deeper: Tensor | None, like: Tensor) -> Distribution:
        """p(z_l | z_{l+1}) for latents shaped `like`; N(0, I) without a learned prior."""
        if deeper is None and self.top_prior is not None:
            return self.top_prior(like, self._infer_top)
        if deeper is None or self.priors is None:
            return StandardNormal(like)
        source = f"level {level + 1} drew a latent of"
        emitted = checks.call(self.priors[level], self._cast(deeper), f"priors[{level}]", source)
        checks.check_prior(emitted, like, level)
        return DiagonalGaussian.from_concatenated(emitted)

    def _decode(self, zs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """What the likelihood needs, and what the decoder emitted; None stands for the sigmoid of the former."""
        return self._output.run(self.decoders[0], *self._last_input(zs), self.likelihood)

    def _cast(self, h: Tensor) -> Tensor:
        """`h` in the type of the parameters: latents are drawn in float32, half-precision networks read halves."""
        parameter = next(self.parameters(), None)
        return h if parameter is None else h.to(parameter.dtype)

    # The latents' shapes

    def _forget_shapes(self, *_: object) -> None:
        self._shapes.forget()

    def _empty_latent(self, level: int, rows: int) -> Tensor:
        """An uninitialised latent, for its shape, type and device."""
        shape = noted_shape(self.latent_shapes, level)
        if not shape:
            reader = self.decoders[-1] if level == self.depth - 1 else self.encoders[level + 1]
            width = declared_width(reader)
            if width is None:
                raise ValueError(
                    f"the shape of the latent of level {level} is not known yet: run the model once on a batch of "
                    "data, model(x), before sampling from it"
                )
            shape = [width]
        parameter = next(self.parameters(), None)
        dtype = torch.float64 if parameter is not None and parameter.dtype == torch.float64 else torch.float32
        return torch.empty((rows, *shape), dtype=dtype, device=self.latent_shapes.device)


def _once_per_example(posterior: Distribution, z: Tensor) -> Tensor:
    """A tensor shaped like one draw of the posterior; `z` may hold several for each example."""
    return posterior.loc if isinstance(posterior, DiagonalGaussian) else z[: posterior.batch_shape[0]]
