"""`TopDownVAE`: a bottom-up pyramid of features, and top-down blocks that each draw a latent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.utils.checkpoint import checkpoint

from lucid.distributions import DiagonalGaussian, Prior, StandardNormal, at_least_float32
from lucid.io import register
from lucid.models import checks
from lucid.models.base import LatentModel
from lucid.models.condition import refuse_condition
from lucid.models.topdown.config import TopDownConfig
from lucid.models.topdown.gaussians import prior_gaussian, residual_posterior
from lucid.models.topdown.parts import DecoderBlock, Encoder, Entrance, Head, PosteriorNetwork, PriorNetwork
from lucid.models.walk import Latent, Record, Walk, draws, drive, repeat_to
from lucid.nn import ModuleList

__all__ = ["TopDownVAE"]


@register
class TopDownVAE(LatentModel):
    r"""A deep hierarchy whose every latent reaches the data.

    A bottom-up network turns x into features at each stage's size. Top-down blocks then run from the coarsest stage to
    the finest; each knows h, all that was decided above it, and draws a latent of its own,

    .. math:: p(z) = p(z_{L-1}) \prod_l p(z_l | h_l), \qquad q(z|x) = q(z_{L-1}|x) \prod_l q(z_l | h_l, x),

    whose projection is added to h. Inference and generation go the same way, so the prior of a latent is known when it
    is drawn and the KL of each level is exact in closed form. Level 0 is the last one drawn.

    Child: Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on Images, 2020,
    https://arxiv.org/abs/2011.10650. Vahdat, Kautz: NVAE, A Deep Hierarchical Variational Autoencoder, 2020,
    https://arxiv.org/abs/2007.03898.

    Args:
        config: The parts.

    Raises:
        TypeError: If `config` is not a `TopDownConfig`.

    Example:
        >>> import torch
        >>> from lucid.distributions import Bernoulli
        >>> from lucid.models import Stage, TopDownConfig, TopDownVAE
        >>> stages = (Stage((4, 4), channels=8, latents=2, blocks=2), Stage((1, 1), channels=8, latents=3))
        >>> model = TopDownVAE(TopDownConfig(shape=(1, 8, 8), likelihood=Bernoulli(), stages=stages))
        >>> [len(model.elbo(torch.rand(5, 1, 8, 8)).kl), *model.sample(2).shape]
        [3, 2, 1, 8, 8]
    """

    def __init__(self, config: TopDownConfig) -> None:
        super().__init__()
        if not isinstance(config, TopDownConfig):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"TopDownVAE takes a TopDownConfig; received {type(config).__name__}")
        self.config = config
        self.depth: int = config.depth
        self.condition = config.condition
        self.protocol = None
        self.figures = {}
        self._stages = [config.stage_of(level) for level in range(config.depth)]
        at = [config.stages[number] for number in self._stages]
        numbers = range(len(config.stages))
        self.reader = config.make_reader()
        # By stage, finest first.
        self.encoders = ModuleList(Encoder(config, number) for number in numbers)
        self.entrances = ModuleList(Entrance(config, number) for number in numbers)
        # By level; the deepest latent's prior reads nothing.
        self.priors = ModuleList(PriorNetwork(stage) for stage in at[:-1])
        self.posteriors = ModuleList(PosteriorNetwork(stage) for stage in at)
        self.decoders = ModuleList(DecoderBlock(stage, config.depth) for stage in at)
        self.head = Head(config)
        self.likelihood = config.likelihood
        self.register_module("top_prior", config.top_prior)  # a None that a prior replaces can come back

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Record:
        """The walk over data with every latent drawn.

        Args:
            x: Data, (N, ...).
            condition: What the model is conditioned on, a row for each example; None for a model that takes none.
        """
        return drive(self.walk(x, condition=condition), draws())

    def set_top_prior(self, prior: Prior | None) -> None:
        """Replace the prior of the deepest latent; None is N(0, I).

        Args:
            prior: The new one; saved with the model from now on.
        """
        self.config = replace(self.config, top_prior=prior)
        self.top_prior = prior

    @torch.no_grad()
    def start_at(self, x: Tensor) -> None:
        """Let the last layer begin at what data looks like, position by position alike.

        Args:
            x: Some training data, (N, ...).
        """
        each_position = self._with_positions(x).movedim(1, -1).flatten(0, -2)
        params = self.likelihood.initial_params(each_position)
        if params is not None:
            self.head.start_at(params)

    # The walk

    def walk(
        self,
        x: Tensor | None = None,
        *,
        num_examples: int = 1,
        check: bool = True,
        condition: Tensor | None = None,
    ) -> Walk:
        """Visit the latents from the deepest to level 0: posteriors given data, else priors. See `LatentModel.walk`."""
        if x is not None and check and not torch.compiler.is_compiling():
            checks.check_input(x, self, self.likelihood)
        if x is not None and tuple(x.shape[1:]) != self.config.shape:
            raise ValueError(
                f"x must be (N, {', '.join(str(n) for n in self.config.shape)}), the shape the model was built for; "
                f"received {tuple(x.shape)}"
            )
        rows = num_examples if x is None else len(x)
        if self.condition is None:
            refuse_condition(self, condition)
        else:
            condition = self.condition.check(condition, rows)
        return self._descend(x, rows, condition)

    def _descend(self, x: Tensor | None, rows: int, condition: Tensor | None) -> Walk:
        pyramid = None if x is None else self._features(x, condition)
        h: Tensor | None = None
        features: Tensor | None = None
        latents: list[Latent] = []
        for level in reversed(range(self.depth)):
            number = self._stages[level]
            if level == self.depth - 1 or number != self._stages[level + 1]:
                here = None if condition is None else repeat_to(condition, rows)
                h = self._run(self.entrances[number], h, rows, here)
                features = None if pyramid is None else repeat_to(pyramid[number], rows)
            assert h is not None
            prior, h = self._prior(level, h)
            posterior = None if features is None else self._posterior(level, h, features, prior)
            z = yield prior if posterior is None else posterior
            latents.insert(0, Latent(z, prior, posterior))
            if len(z) != rows:  # several draws of the deepest latent
                rows, h = len(z), repeat_to(h, len(z))
                features = None if features is None else repeat_to(features, rows)
            h = self._run(self.decoders[level], h, z.to(h.dtype))
        assert h is not None
        params = self._emit(h)
        yield Record(tuple(latents), params, self.likelihood(params, x), x)

    # One network at a time

    def _features(self, x: Tensor, condition: Tensor | None) -> list[Tensor]:
        """What the bottom-up network makes of the data, a map for each stage, finest first."""
        h = self._with_positions(x if self.reader is None else self.reader(x))
        h = 2 * h - 1 if self.config.centred else h
        pyramid: list[Tensor] = []
        for encoder in self.encoders:
            h = self._run(encoder, h, condition)
            pyramid.append(h)
        return pyramid

    def _prior(self, level: int, h: Tensor) -> tuple[Distribution, Tensor]:
        """p(z_l | h), and h with what the prior's network adds to it."""
        if level < self.depth - 1:
            emitted, added = self._run(self.priors[level], h)
            return prior_gaussian(emitted), h + added
        stage = self.config.stages[-1]
        like = at_least_float32(h.new_empty(len(h), stage.latents, *stage.size))
        return StandardNormal(like) if self.top_prior is None else self.top_prior(like, self._infer), h

    def _posterior(self, level: int, h: Tensor, features: Tensor, prior: Distribution) -> DiagonalGaussian:
        """q(z_l | h, x), measured from its prior; at the deepest level, where that may be of any kind, from N(0, I)."""
        emitted = self._run(self.posteriors[level], h, features)
        if level == self.depth - 1:
            return residual_posterior(emitted, None)
        assert isinstance(prior, DiagonalGaussian)
        return residual_posterior(emitted, prior)

    def _infer(self, x: Tensor) -> DiagonalGaussian:
        """The posterior of the deepest latent, for top priors that are made of posteriors."""
        if self.condition is not None:
            raise ValueError(
                f"{type(self.top_prior).__name__} is made of posteriors of examples, which this model has only for "
                "examples with a condition: choose another top_prior, such as a mixture or a flow"
            )
        h = self._run(self.entrances[-1], None, len(x))
        return residual_posterior(self._run(self.posteriors[-1], h, self._features(x, None)[-1]), None)

    def _emit(self, h: Tensor) -> Tensor:
        params: Tensor = self._run(self.head, h)
        return params if len(self.config.shape) > 1 else params.squeeze(-1)

    def _with_positions(self, x: Tensor) -> Tensor:
        """`x` with spatial dimensions: a vector is one position."""
        return x if len(self.config.shape) > 1 else x.unsqueeze(-1)

    def _run(self, part: Callable[..., Any], *inputs: Any) -> Any:
        """`part(*inputs)`, keeping only the inputs for the backward pass if the configuration says so."""
        if self.config.recompute and torch.is_grad_enabled():
            return checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False)
        return part(*inputs)
