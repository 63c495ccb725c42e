"""The likelihoods p(x|z): Bernoulli, four Gaussians, the discretised logistic, the categorical."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lucid.distributions.bounds import bounded_loc, bounded_logvar
from lucid.distributions.discrete import BernoulliLogits, CategoricalGrid, DiscretisedLogisticGrid
from lucid.distributions.factorised import at_least_float32
from lucid.distributions.gaussian import DiagonalGaussian, IsotropicGaussian
from lucid.distributions.likelihood import Likelihood, check_finite, describe_range, finite_range, require

__all__ = [
    "Bernoulli",
    "Categorical",
    "DiscretisedLogistic",
    "Gaussian",
    "HeteroscedasticGaussian",
    "LearnedScaleGaussian",
    "OptimalScaleGaussian",
]


class Bernoulli(Likelihood):
    r"""Independent Bernoulli features; the decoder emits logits.

    :math:`-\log p(x|z) = -\sum_i x_i\log\sigma(l_i) + (1-x_i)\log\sigma(-l_i)`, what `reconstruction_loss="bce"`
    stands for. A probability for x in {0, 1}. Values between are accepted, as the mean of a binarisation: the result
    is then an expected log-mass, and no bits/dim are reported for it.

    Shape:
        Decoder output (N, C, ...) for x (N, C, ...) in [0, 1].

    Example:
        >>> import torch
        >>> Bernoulli()(torch.zeros(1, 4)).log_prob(torch.ones(1, 4))  # four fair coins
        tensor([-2.7726])
    """

    levels = 2

    def forward(self, params: Tensor, x: Tensor | None = None) -> BernoulliLogits:
        return BernoulliLogits(at_least_float32(params))

    def initial_params(self, x: Tensor) -> Tensor:
        """The log-odds of the data's mean, a feature that never varies kept away from certainty."""
        mean = x.mean(0).clamp(0.5 / len(x), 1 - 0.5 / len(x)) if len(x) > 1 else x.mean(0) * 0 + 0.5
        return mean.logit()

    def check(self, x: Tensor) -> None:
        """Refuse values outside [0, 1]; NaN too."""
        low, high = finite_range(x)
        check_finite(low, high)
        require(
            low >= 0.0 and high <= 1.0,
            lambda: (
                f"x must lie in [0, 1] for the Bernoulli likelihood ('bce'); it holds {describe_range(low, high)}. "
                "Scale the data, or choose another likelihood, such as 'mse'"
            ),
        )


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


class DiscretisedLogistic(Likelihood):
    """A logistic density cut into bins, for integer data of any number of levels; exact masses that sum to one.

    Data with L levels enters as x = level/(L−1), on a grid in [0, 1]. The decoder emits the mean, on that same scale,
    and the log of the logistic's scale.

    Args:
        levels: Number of values a feature can take, L ≥ 2: 256 for 8-bit images, 17 for scikit-learn's digits.

    Raises:
        ValueError: If `levels` is not an integer of at least 2.

    Shape:
        Decoder output (N, 2·C, ...), means then log-scales, for x (N, C, ...).
    """

    num_parameters = 2

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = _valid_levels(levels)

    def forward(self, params: Tensor, x: Tensor | None = None) -> DiscretisedLogisticGrid:
        loc, log_scale = at_least_float32(params).chunk(2, dim=1)
        assert self.levels is not None
        return DiscretisedLogisticGrid(bounded_loc(loc), bounded_logvar(log_scale), self.levels)

    def initial_params(self, x: Tensor) -> Tensor:
        """The data's mean, and the scale of the logistic of its standard deviation, at least half a level."""
        assert self.levels is not None
        std = x.std(0, unbiased=False).clamp(min=0.5 / (self.levels - 1))
        return torch.cat([x.mean(0), (std * (math.sqrt(3) / math.pi)).log()])

    def check(self, x: Tensor) -> None:
        """Refuse values off the grid of levels."""
        _check_grid(x, self.levels)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


class Categorical(Likelihood):
    """A free mass on every level of every feature: any shape of distribution, at L decoder outputs a feature.

    Data with L levels enters as x = level/(L−1). The levels' order is not used, so it suits classes as well as
    few-level images.

    Args:
        levels: Number of values a feature can take, L ≥ 2.

    Raises:
        ValueError: If `levels` is not an integer of at least 2.

    Shape:
        Decoder output (N, L·C, ...), the logits of level 0 for all features first, for x (N, C, ...).
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = self.num_parameters = _valid_levels(levels)

    def forward(self, params: Tensor, x: Tensor | None = None) -> CategoricalGrid:
        assert self.levels is not None
        return CategoricalGrid(at_least_float32(params).unflatten(1, (self.levels, -1)))

    def initial_params(self, x: Tensor) -> Tensor:
        """The log of how often each level occurs, each counted once more than it does."""
        assert self.levels is not None
        index = (x * (self.levels - 1)).round().long()
        counts = torch.stack([(index == level).sum(0) for level in range(self.levels)])
        return ((counts + 1) / (len(x) + self.levels)).log().flatten(0, 1)

    def check(self, x: Tensor) -> None:
        """Refuse values off the grid of levels."""
        _check_grid(x, self.levels)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


def _valid_levels(levels: int) -> int:
    require(
        isinstance(levels, int) and not isinstance(levels, bool) and levels >= 2,
        lambda: f"levels must be an integer of at least 2; received {levels!r}",
    )
    return levels


def _check_grid(x: Tensor, levels: int | None) -> None:
    assert levels is not None
    scaled = x * (levels - 1)
    low, high = finite_range(x)
    check_finite(low, high)
    on_grid = low >= 0 and high <= 1 and bool(((scaled - scaled.round()).abs() < 0.02).all())
    require(
        on_grid,
        lambda: (
            f"x must lie on the {levels} levels 0, 1/{levels - 1}, …, 1; it holds {describe_range(low, high)}"
            + (" that fall between levels" if low >= 0 and high <= 1 else "")
            + f". Divide integer data by {levels - 1}, or declare its number of levels when loading it"
        ),
    )
