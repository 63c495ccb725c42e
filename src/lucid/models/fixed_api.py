"""The fixed API: what users' own training loops call, in lists indexed by level."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from lucid.distributions import DiagonalGaussian, draw
from lucid.models import checks, sigmoid
from lucid.models.configured import ConfiguredModel
from lucid.models.loss import Loss, valid_beta, weighted_loss

__all__ = ["Encoded", "FixedAPI", "VAEOutput"]


class VAEOutput(NamedTuple):
    """What `VAE.forward` and `LadderVAE.forward` return; lists are indexed by level.

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
    """What `VAE.encode` and `LadderVAE.encode` return; lists are indexed by level."""

    zs: list[Tensor]
    mus: list[Tensor]
    logvars: list[Tensor]


class FixedAPI(ConfiguredModel, ABC):
    """`forward`, `encode`, `decode`, `get_loss` and what belongs to them; everything here is final.

    All of it follows from the walks, so every family that a `VAEConfig` describes has it.
    """

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
        """Draw every latent, in the order of inference.

        Args:
            x: Data, (N, ...).

        Returns:
            `(zs, mus, logvars)`, lists indexed by level.

        Raises:
            ValueError: If a posterior knows neither its mean nor its variance. A flow's are estimates.
        """
        checks.check_batch(x)  # None would walk the priors
        walk = self.walk(x)
        met: list[tuple[Tensor, Tensor, Tensor]] = []
        for number in range(self.depth):
            # The walk is left before its last value is sent, so that nothing is decoded.
            posterior = next(walk) if number == 0 else walk.send(met[-1][0])
            assert isinstance(posterior, Distribution)
            met.append((draw(posterior), *_moments(posterior)))
        if self.inference_goes_down:
            met.reverse()
        zs, mus, logvars = (list(parts) for parts in zip(*met, strict=True))
        return Encoded(zs, mus, logvars)

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """One draw of N(mu, exp(logvar)), differentiable in both: mu + exp(logvar / 2) · ε."""
        return draw(DiagonalGaussian(mu, logvar))

    def decode(self, zs: Sequence[Tensor]) -> Tensor:
        """What the decoders emit for latents.

        Args:
            zs: Latents, indexed by level; a `VAE` reads the deepest alone, a `LadderVAE` all of them.
        """
        checks.check_latents(zs, self.depth)
        params, emitted = self._decode([self._cast(z) for z in zs])
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

        Raises:
            ValueError: If the parts do not belong together, or a posterior is more than its mean and log-variance.
        """
        self._check_parts(x, recon, mus, logvars, zs)
        params = self._output.params(self.decoders[0], recon, self.likelihood)
        posteriors = [DiagonalGaussian(mu, logvar) for mu, logvar in zip(mus, logvars, strict=True)]
        record = self._record(self._latents(posteriors, zs), params, x)
        parts = weighted_loss(record, [self.level_weight(self.current_beta())] * self.depth)
        if self.training:
            self.beta_step += 1
        return Loss(parts.loss, parts.recon_loss, parts.kl)

    def _check_parts(
        self, x: Tensor, recon: Tensor, mus: Sequence[Tensor], logvars: Sequence[Tensor], zs: Sequence[Tensor]
    ) -> None:
        lengths = (len(mus), len(logvars), len(zs))
        if lengths != (self.depth,) * 3:
            raise ValueError(
                f"mus, logvars and zs must each hold {self.depth} tensors, one a level; received {lengths}"
            )
        if not self.config.diagonal:
            raise ValueError(
                "get_loss takes posteriors for diagonal Gaussians, and this model has others: train with "
                "lucid.training.fit, or minimise -model.elbo(x).value"
            )
        if not torch.compiler.is_compiling():
            checks.check_input(x, self, self.likelihood)
            checks.check_same_batch(x, recon, mus, logvars, zs)

    def level_weight(self, beta: float) -> float:
        """The weight of one level's KL at β: β itself, or β / depth with `hierarchical_kl`."""
        return beta / self.depth if self.config.hierarchical_kl else beta


def _moments(posterior: Distribution) -> tuple[Tensor, Tensor]:
    """Mean and log-variance, where the distribution knows them."""
    if isinstance(posterior, DiagonalGaussian):
        return posterior.loc, posterior.logvar
    try:
        return posterior.mean, posterior.variance.log()
    except NotImplementedError as error:
        raise ValueError(
            f"encode and forward return the mean and log-variance of every posterior; {type(posterior).__name__} knows "
            "none. Use elbo(x), walk(x) or reconstruct(x)"
        ) from error
