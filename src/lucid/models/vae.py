"""The variational autoencoder of `VAEConfig`: a bottom-up chain of latents, decoded from the deepest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from lucid.distributions import Bernoulli, DiagonalGaussian, StandardNormal, draw
from lucid.io import register
from lucid.models import checks, sigmoid
from lucid.models.base import LatentModel
from lucid.models.config import VAEConfig
from lucid.models.loss import Loss, valid_beta, weighted_loss
from lucid.models.walk import Latent, Record, Walk
from lucid.nn import ModuleList

__all__ = ["VAE", "Encoded", "VAEOutput"]

_MAX_DIMS = 8


class VAEOutput(NamedTuple):
    """What `VAE.forward` returns; lists are indexed by level.

    Attributes:
        recon: What the decoder emitted, (N, ...): the mean for "mse", logits for "bce" (probabilities if it ends in a
            sigmoid).
        mus: Posterior means.
        logvars: Posterior log-variances.
        zs: The drawn latents.
    """

    recon: Tensor
    mus: list[Tensor]
    logvars: list[Tensor]
    zs: list[Tensor]


class Encoded(NamedTuple):
    """What `VAE.encode` returns; lists are indexed by level."""

    zs: list[Tensor]
    mus: list[Tensor]
    logvars: list[Tensor]


@register
class VAE(LatentModel):
    r"""A variational autoencoder with any number of latent levels.

    Inference goes up, :math:`q(z_0|x)\, q(z_1|z_0) \cdots q(z_{L-1}|z_{L-2})`; generation starts at the deepest level,
    :math:`p(z_{L-1}) = N(0, I)`, from which the decoders reach x. Shallower latents are auxiliary: they make
    :math:`q(z_{L-1}|x)` richer, and `priors` are the reverse model :math:`p(z_l|z_{l+1})` that the bound needs.
    Without data the same model walks the priors.

    Kingma, Welling: Auto-Encoding Variational Bayes, 2013, https://arxiv.org/abs/1312.6114.

    Args:
        config: The parts.

    Raises:
        TypeError: If `config` is not a `VAEConfig`.

    Example:
        >>> import lucid.nn as nn, torch
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> x = torch.randn(3, 6)
        >>> recon, mus, logvars, zs = model(x)
        >>> loss, recon_loss, kl = model.get_loss(x, recon, mus, logvars, zs)
        >>> recon.shape, zs[0].shape, bool(loss == recon_loss + kl)
        (torch.Size([3, 6]), torch.Size([3, 2]), True)
    """

    beta_step: Tensor
    latent_shapes: Tensor

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        if not isinstance(config, VAEConfig):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"VAE takes a VAEConfig; received {type(config).__name__}")
        self.config = config
        self.depth: int = config.num_levels
        self.encoders = ModuleList(config.encoders)
        self.decoders = ModuleList(config.decoders)
        self.priors = ModuleList(config.priors) if config.priors is not None else None
        self.likelihood = config.make_likelihood()
        self.protocol = None
        self.figures = {}
        # Training steps seen by the β schedule, and the latents' shapes (zeros: not there, or not met yet). Both are
        # saved.
        self.register_buffer("beta_step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("latent_shapes", torch.zeros((self.depth, _MAX_DIMS), dtype=torch.int64))
        self._noted_shapes: list[torch.Size | None] = [None] * self.depth
        self.register_load_state_dict_post_hook(VAE._forget_shapes)
        # Whether a decoder whose inside is not visible emits probabilities; None until it has run once.
        self._opaque_sigmoid: bool | None = None

    # The fixed API

    def forward(self, x: Tensor) -> VAEOutput:
        """Encode, draw every latent, decode.

        Args:
            x: Data, (N, ...).

        Returns:
            `(recon, mus, logvars, zs)`.
        """
        zs, mus, logvars = self.encode(x)
        return VAEOutput(self.decode(zs), mus, logvars, zs)

    def encode(self, x: Tensor) -> Encoded:
        """Draw every latent, bottom up.

        Args:
            x: Data, (N, ...).

        Returns:
            `(zs, mus, logvars)`, lists indexed by level.
        """
        checks.check_batch(x)  # None would walk the priors
        walk = self.walk(x)
        posteriors: list[DiagonalGaussian] = []
        zs: list[Tensor] = []
        for level in range(self.depth):
            # The walk is left before its last value is sent, so that nothing is decoded.
            posterior = next(walk) if level == 0 else walk.send(zs[-1])
            assert isinstance(posterior, DiagonalGaussian)
            posteriors.append(posterior)
            zs.append(draw(posterior))
        return Encoded(zs, [q.loc for q in posteriors], [q.logvar for q in posteriors])

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """One draw of N(mu, exp(logvar)), differentiable in both: mu + exp(logvar / 2) · ε."""
        return draw(DiagonalGaussian(mu, logvar))

    def decode(self, zs: Sequence[Tensor]) -> Tensor:
        """What the decoders emit for the deepest latent, `zs[-1]`.

        Args:
            zs: Latents, indexed by level; the shallower ones are not read.
        """
        checks.check_latents(zs, self.depth)
        params, emitted = self._decode(self._cast(zs[-1]))
        if emitted is None:
            emitted = params.sigmoid()
        return emitted if emitted is params else sigmoid.remember_logits(emitted, params)

    def current_beta(self) -> float:
        """β at the current training step: the schedule's value, or `kl_weight` without one.

        Raises:
            ValueError: If the schedule returns a negative or non-finite number.
        """
        if self.config.beta_schedule is None:
            return float(self.config.kl_weight)
        step = int(self.beta_step)
        return valid_beta(self.config.beta_schedule(step), step)

    def get_loss(
        self, x: Tensor, recon: Tensor, mus: Sequence[Tensor], logvars: Sequence[Tensor], zs: Sequence[Tensor]
    ) -> Loss:
        """The loss of what `forward` returned, in nats per example, averaged over the batch.

        With β · (level weight) = 1 on every level it is exactly −ELBO. In training mode the β step advances by one.

        Args:
            x: Data, (N, ...).
            recon: What the decoder emitted for it.
            mus: Posterior means, indexed by level.
            logvars: Posterior log-variances.
            zs: The drawn latents.

        Returns:
            `(loss, recon_loss, kl)`: scalars, loss = recon_loss + kl; `recon_loss` is −log p(x|z), `kl` the weighted
            sum.
        """
        lengths = (len(mus), len(logvars), len(zs))
        if lengths != (self.depth,) * 3:
            raise ValueError(
                f"mus, logvars and zs must each hold {self.depth} tensors, one a level; received {lengths}"
            )
        if not torch.compiler.is_compiling():
            checks.check_input(x, self, self.likelihood)
            checks.check_same_batch(x, recon, mus, logvars, zs)
        params = sigmoid.logits_of(recon) if self._emits_probabilities() else recon
        posteriors = [DiagonalGaussian(mu, logvar) for mu, logvar in zip(mus, logvars, strict=True)]
        record = self._record(posteriors, zs, params, x)
        parts = weighted_loss(record, [self.level_weight(self.current_beta())] * self.depth)
        if self.training:
            self.beta_step += 1
        return Loss(parts.loss, parts.recon_loss, parts.kl)

    def level_weight(self, beta: float) -> float:
        """The weight of one level's KL at β: β itself, or β / depth with `hierarchical_kl`."""
        return beta / self.depth if self.config.hierarchical_kl else beta

    # The walk

    def walk(self, x: Tensor | None = None, *, num_examples: int = 1, check: bool = True) -> Walk:
        """Visit the posteriors, bottom up, given data; without, the priors, deepest first. See `LatentModel.walk`."""
        return self._generate(num_examples) if x is None else self._infer(x, check)

    def _infer(self, x: Tensor, check: bool) -> Walk:
        if check and not torch.compiler.is_compiling():
            checks.check_input(x, self, self.likelihood)
        posteriors: list[DiagonalGaussian] = []
        zs: list[Tensor] = []
        for level in range(self.depth):
            # Latents are drawn in float32; networks read the type of the data, which is that of their parameters.
            posterior = self._posterior(level, zs[-1].to(x.dtype) if zs else x)
            z = yield posterior
            posteriors.append(posterior)
            zs.append(z)
        params, _ = self._decode(zs[-1].to(x.dtype))
        yield self._record(posteriors, zs, params, x)

    def _generate(self, num_examples: int) -> Walk:
        zs: list[Tensor] = []
        latents: list[Latent] = []
        for level in reversed(range(self.depth)):
            deeper = zs[0] if zs else None
            prior = self._prior(
                level, deeper, self._empty_latent(level, num_examples if deeper is None else len(deeper))
            )
            z = yield prior
            zs.insert(0, z)
            latents.insert(0, Latent(z, prior))
        params, _ = self._decode(self._cast(zs[-1]))
        yield Record(tuple(latents), params, self.likelihood(params))

    def _record(
        self, posteriors: Sequence[DiagonalGaussian], zs: Sequence[Tensor], params: Tensor, x: Tensor
    ) -> Record:
        checks.check_params(params, x, self.likelihood)
        latents: list[Latent] = []
        for level, (posterior, z) in enumerate(zip(posteriors, zs, strict=True)):
            prior = self._prior(level, zs[level + 1] if level + 1 < self.depth else None, posterior.loc)
            # A learned prior reads the next latent, which inference draws after this one: its term must be sampled.
            latents.append(Latent(z, prior, posterior, prior_known_first=isinstance(prior, StandardNormal)))
        return Record(tuple(latents), params, self.likelihood(params, x), x)

    # One level at a time

    def _posterior(self, level: int, h: Tensor) -> DiagonalGaussian:
        name = f"encoders[{level}]"
        source = f"level {level - 1} drew a latent of" if level else "x has"
        emitted = checks.call(self.encoders[level], h, name, source)
        checks.check_emission(emitted, name)
        posterior = DiagonalGaussian.from_concatenated(emitted)
        self._note_shape(level, posterior.event_shape)
        return posterior

    def _prior(self, level: int, deeper: Tensor | None, like: Tensor) -> DiagonalGaussian | StandardNormal:
        """p(z_l | z_{l+1}) for latents shaped `like`; N(0, I) at the deepest level or without a learned prior."""
        if deeper is None or self.priors is None:
            return StandardNormal(like)
        source = f"level {level + 1} drew a latent of"
        emitted = checks.call(self.priors[level], self._cast(deeper), f"priors[{level}]", source)
        checks.check_prior(emitted, like, level)
        return DiagonalGaussian.from_concatenated(emitted)

    def _decode(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the likelihood needs, and what the decoder emitted; None stands for the sigmoid of the former."""
        h = z
        source = f"level {self.depth - 1} drew a latent of"
        for level in reversed(range(1, self.depth)):
            h = checks.call(self.decoders[level], h, f"decoders[{level}]", source)
            source = f"decoders[{level}] emitted"
        last = self.decoders[0]
        body = self._visible_logits()
        if body is not None:
            return checks.call(last, h, "decoders[0]", source, run=partial(sigmoid.run, body)), None
        if not isinstance(self.likelihood, Bernoulli):
            emitted = checks.call(last, h, "decoders[0]", source)
            return emitted, emitted
        return self._run_opaque(h, source)

    def _visible_logits(self) -> list[torch.nn.Module] | None:
        """The layers of the last decoder up to its final sigmoid, where the likelihood wants logits; None otherwise."""
        return sigmoid.without_sigmoid(self.decoders[0]) if isinstance(self.likelihood, Bernoulli) else None

    def _emits_probabilities(self) -> bool:
        return self._visible_logits() is not None or bool(self._opaque_sigmoid)

    def _run_opaque(self, h: Tensor, source: str) -> tuple[Tensor, Tensor]:
        """Logits and output of a decoder whose inside is not visible; the first run sees if it ends in a sigmoid."""
        if self._opaque_sigmoid is None and sigmoid.visibly_ends_otherwise(self.decoders[0]):
            self._opaque_sigmoid = False
        if self._opaque_sigmoid is None:
            return self._look(h, source)
        if not self._opaque_sigmoid or torch.compiler.is_compiling():
            emitted = checks.call(self.decoders[0], h, "decoders[0]", source)
            return (sigmoid.logits_of(emitted) if self._opaque_sigmoid else emitted), emitted
        return self._watched(h, source)

    def _watched(self, h: Tensor, source: str) -> tuple[Tensor, Tensor]:
        """Logits and output of a decoder that ends in a hidden sigmoid: the logits are what went into it."""
        with sigmoid.Watch() as watch:
            emitted = checks.call(self.decoders[0], h, "decoders[0]", source)
        logits = watch.logits_of(emitted)
        return (sigmoid.logits_of(emitted) if logits is None else logits), emitted

    @torch.compiler.disable(  # pyright: ignore[reportUntypedFunctionDecorator]
        reason="whether decoders[0] ends in a sigmoid is found out by running it once: call model(x) before compiling"
    )
    def _look(self, h: Tensor, source: str) -> tuple[Tensor, Tensor]:
        """Run the last decoder once where autograd records what it does, compiled code apart."""
        with_grad = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            # What inference mode made cannot be recorded; its copy can.
            h = h.clone() if h.is_inference() else h
            logits, emitted = self._watched(h if h.requires_grad else h.detach().requires_grad_(), source)
        self._opaque_sigmoid = sigmoid.ends_in_sigmoid(emitted)
        params = logits if self._opaque_sigmoid else emitted
        return (params, emitted) if with_grad else (params.detach(), emitted.detach())

    def _cast(self, h: Tensor) -> Tensor:
        """`h` in the type of the parameters: latents are drawn in float32, half-precision networks read halves."""
        parameter = next(self.parameters(), None)
        return h if parameter is None else h.to(parameter.dtype)

    # The latents' shapes

    def _forget_shapes(self, *_: object) -> None:
        """After loading a state, whose latents may have other shapes, or none yet."""
        self._noted_shapes = [None] * self.depth

    def _note_shape(self, level: int, shape: torch.Size) -> None:
        if torch.compiler.is_compiling() or self._noted_shapes[level] == shape or len(shape) > _MAX_DIMS:
            return
        self._noted_shapes[level] = shape
        padded = [*shape, *([0] * (_MAX_DIMS - len(shape)))]
        self.latent_shapes[level] = torch.tensor(padded, device=self.latent_shapes.device)

    def _empty_latent(self, level: int, rows: int) -> Tensor:
        """An uninitialised latent, for its shape, type and device."""
        shape = [int(n) for n in self.latent_shapes[level] if n > 0] or self._declared_shape(level)
        parameter = next(self.parameters(), None)
        dtype = torch.float64 if parameter is not None and parameter.dtype == torch.float64 else torch.float32
        return torch.empty((rows, *shape), dtype=dtype, device=self.latent_shapes.device)

    def _declared_shape(self, level: int) -> list[int]:
        """The width of the layer that reads this latent, if it is linear."""
        reader = self.decoders[-1] if level == self.depth - 1 else self.encoders[level + 1]
        for layer in reader.modules():
            if isinstance(layer, torch.nn.Linear) and layer.in_features > 0:  # 0: a lazy layer that has not run
                return [layer.in_features]
            if next(layer.children(), None) is None:
                break
        raise ValueError(
            f"the shape of the latent of level {level} is not known yet: run the model once on a batch of data, "
            "model(x), before sampling from it"
        )
