"""The variational mixture of posteriors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lucid.distributions.factorised import at_least_float32
from lucid.distributions.gaussian import DiagonalGaussian
from lucid.distributions.mixture import Mixture
from lucid.distributions.prior import Infer, Prior
from lucid.distributions.sizes import positive, shape_of

__all__ = ["VampPrior"]

_EDGE = 0.02
"""How far from the ends of [0, 1] a pseudo-input starts, where the sigmoid still has a gradient."""


class VampPrior(Prior):
    r"""The mixture of the model's own posteriors at K learned pseudo-inputs.

    .. math:: p(z) = \frac1K \sum_k q(z|u_k)

    Tomczak, Welling: VAE with a VampPrior, 2018, https://arxiv.org/abs/1705.07120.

    Args:
        shape: Shape of one example x, without the batch; a number stands for a vector.
        components: How many pseudo-inputs K.
        unit_interval: Whether they are kept in [0, 1] by a sigmoid, as data there wants; otherwise they are free, for
            standardised data.

    Example:
        >>> import torch
        >>> from lucid.distributions import DiagonalPosterior
        >>> encoder, posterior = torch.nn.Linear(6, 4), DiagonalPosterior()
        >>> prior = VampPrior(6, components=10)
        >>> prior(torch.empty(3, 2), lambda u: posterior(encoder(u))).log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
    """

    def __init__(self, shape: int | Sequence[int], components: int = 500, *, unit_interval: bool = True) -> None:
        super().__init__()
        self.shape = shape_of("shape", shape)
        self.components = positive("components", components)
        self.unit_interval = unit_interval
        self.free = nn.Parameter(torch.randn(components, *self.shape))

    @property
    def pseudo_inputs(self) -> Tensor:
        """The u_k, (K, ...), in the space of the data."""
        return self.free.sigmoid() if self.unit_interval else self.free

    def forward(self, like: Tensor, infer: Infer) -> Mixture:
        inputs = self.pseudo_inputs
        posteriors = infer(inputs)
        if posteriors.event_shape != like.shape[1:]:
            raise ValueError(
                f"the posteriors of the pseudo-inputs are over latents of shape {tuple(posteriors.event_shape)}, the "
                f"prior is asked for {tuple(like.shape[1:])}"
            )

        def select(index: Tensor) -> torch.distributions.Distribution:
            if isinstance(posteriors, DiagonalGaussian):
                return DiagonalGaussian(posteriors.loc[index], posteriors.logvar[index])
            return infer(inputs[index])

        log_weights = at_least_float32(like.new_full((self.components,), -math.log(self.components)))
        return Mixture(like, log_weights, posteriors, select)

    @torch.no_grad()
    def start(self, x: Tensor, z: Tensor | None = None) -> None:
        """Pseudo-inputs at examples spread over `x`, (N, ...).

        Raises:
            ValueError: If `x` has another shape, or leaves [0, 1] where the pseudo-inputs cannot.
        """
        if x.shape[1:] != self.shape:
            raise ValueError(f"x must hold examples of shape {self.shape}; received {tuple(x.shape[1:])}")
        low, high = (float(end) for end in torch.aminmax(x))
        if self.unit_interval and not 0 <= low <= high <= 1:
            raise ValueError(
                f"x must lie in [0, 1] for pseudo-inputs that do; it holds values from {low:g} to {high:g}. Make the "
                "prior with unit_interval=False"
            )
        chosen = torch.linspace(0, len(x) - 1, self.components).round().long()
        examples = x[chosen.to(x.device)]
        self.free.copy_(examples.clamp(_EDGE, 1 - _EDGE).logit() if self.unit_interval else examples)
