"""Gaussian likelihoods: the scale given, learned, emitted by the decoder, or analytically optimal."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lucid.distributions.bounds import bounded_logvar
from lucid.distributions.factorised import at_least_float32
from lucid.distributions.gaussian import DiagonalGaussian, IsotropicGaussian
from lucid.distributions.likelihood import Likelihood, require

__all__ = ["Gaussian", "HeteroscedasticGaussian", "LearnedScaleGaussian", "OptimalScaleGaussian"]


class Gaussian(Likelihood):
    r"""A Gaussian density with a fixed standard deviation; the decoder emits the mean.

    With scale 1 it is what `reconstruction_loss="mse"` stands for: :math:`\tfrac12\lVert x-\mu\rVert^2 + \tfrac
    D2\log 2\pi`.

    Args:
        scale: Standard deviation in the units of x; positive, finite.

    Raises:
        ValueError: If `scale` is not positive and finite.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        require(0 < scale < math.inf, lambda: f"scale must be positive and finite; received {scale}")
        self.scale = scale

    def forward(self, params: Tensor, x: Tensor | None = None) -> IsotropicGaussian:
        loc = at_least_float32(params)
        return IsotropicGaussian(loc, torch.full((), self.scale, dtype=loc.dtype, device=loc.device))

    def initial_params(self, x: Tensor) -> Tensor:
        """The data's mean."""
        return x.mean(0)

    def extra_repr(self) -> str:
        return f"scale={self.scale:g}"


class LearnedScaleGaussian(Likelihood):
    """A Gaussian density with one standard deviation for all features, learned with the weights.

    Args:
        initial_scale: Standard deviation at the start, in the units of x; positive, finite.

    Raises:
        ValueError: If `initial_scale` is not positive and finite.
    """

    def __init__(self, initial_scale: float = 1.0) -> None:
        super().__init__()
        require(
            0 < initial_scale < math.inf, lambda: f"initial_scale must be positive and finite; received {initial_scale}"
        )
        self.initial_scale = initial_scale
        self.logvar = nn.Parameter(torch.tensor(2 * math.log(initial_scale)))

    def forward(self, params: Tensor, x: Tensor | None = None) -> IsotropicGaussian:
        scale = (0.5 * bounded_logvar(at_least_float32(self.logvar))).exp()
        return IsotropicGaussian(at_least_float32(params), scale)

    def initial_params(self, x: Tensor) -> Tensor:
        """The data's mean."""
        return x.mean(0)


class HeteroscedasticGaussian(Likelihood):
    """A Gaussian density whose mean and log-variance, feature by feature, the decoder emits.

    Shape:
        Decoder output (N, 2·C, ...), means then log-variances, for x (N, C, ...).
    """

    num_parameters = 2

    def forward(self, params: Tensor, x: Tensor | None = None) -> DiagonalGaussian:
        return DiagonalGaussian.from_concatenated(params)

    def initial_params(self, x: Tensor) -> Tensor:
        """The data's mean and log-variance."""
        return torch.cat([x.mean(0), x.var(0, unbiased=False).clamp(min=1e-4).log()])


class OptimalScaleGaussian(Likelihood):
    r"""A Gaussian density at the scale that is analytically optimal, σ² = mean (x − μ)² (σ-VAE).

    In training, σ² is that of the batch. For a density over x it may not depend on the x it is asked about, so
    evaluation uses the running average seen in training, which is kept in the state dict.

    Rybkin, Daniilidis, Levine: Simple and Effective VAE Training with Calibrated Decoders, 2021,
    https://arxiv.org/abs/2006.13202.

    Args:
        momentum: Weight of the newest batch in the running average, in (0, 1]. The first batches weigh equally.

    Raises:
        ValueError: If `momentum` is outside (0, 1].
    """

    variance: Tensor
    num_batches: Tensor

    def __init__(self, momentum: float = 0.01) -> None:
        super().__init__()
        require(0 < momentum <= 1, lambda: f"momentum must be in (0, 1]; received {momentum}")
        self.momentum = momentum
        self.register_buffer("variance", torch.ones(()))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))

    def forward(self, params: Tensor, x: Tensor | None = None) -> IsotropicGaussian:
        loc = at_least_float32(params)
        variance = self.variance
        if self.training and x is not None:
            # At the optimum the gradient with respect to σ is zero, so σ² can be taken as a constant of the batch.
            # Several draws of an example lie draw-major along the batch.
            residual = loc.detach().unflatten(0, (-1, len(x))) - at_least_float32(x)
            variance = residual.square().mean()
            self._remember(variance)
        variance = variance.to(loc.dtype).clamp(min=torch.finfo(loc.dtype).tiny)
        return IsotropicGaussian(loc, (0.5 * bounded_logvar(variance.log())).exp())

    def initial_params(self, x: Tensor) -> Tensor:
        """The data's mean."""
        return x.mean(0)

    def _remember(self, variance: Tensor) -> None:
        with torch.no_grad():
            self.num_batches += 1
            weight = (1.0 / self.num_batches).clamp(min=self.momentum)
            self.variance.copy_(self.variance + (variance.to(self.variance.dtype) - self.variance) * weight)
