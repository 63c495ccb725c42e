"""Likelihoods of continuous data with outliers: Laplace and Student's t."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lucid.distributions.bounds import bounded_loc, bounded_logvar
from lucid.distributions.factorised import at_least_float32
from lucid.distributions.heavy_tailed import LaplaceDensity, StudentTDensity
from lucid.distributions.likelihood import Likelihood, require

__all__ = ["Laplace", "StudentT"]

_LEAST_SCALE = 1e-2
"""Spread, in the units of x, that a constant feature is taken to have at the start."""


class Laplace(Likelihood):
    r"""A Laplace density: absolute errors in the place of squared ones, so outliers weigh less than with a Gaussian.

    .. math:: -\log p(x|z) = \sum_i |x_i-\mu_i| / b_i + \log 2 b_i

    The scale is b = `initial_scale` · exp(s). Either one s for all features is learned with the weights, from 0, or the
    decoder emits it for every feature.

    Args:
        initial_scale: The mean absolute deviation that s = 0 stands for, in the units of x; positive, finite.
        emitted: Whether the decoder emits s.

    Raises:
        ValueError: If `initial_scale` is not positive and finite.

    Shape:
        Decoder output (N, C, ...), the medians, or (N, 2·C, ...), medians then s, if `emitted`; x (N, C, ...).

    Example:
        >>> import torch
        >>> Laplace()(torch.zeros(1, 1)).log_prob(torch.ones(1, 1)).detach()  # −1 − log 2
        tensor([-1.6931])
    """

    def __init__(self, initial_scale: float = 1.0, *, emitted: bool = False) -> None:
        super().__init__()
        self.initial_scale = _positive("initial_scale", initial_scale)
        self.emitted = bool(emitted)
        self.log_scale: nn.Parameter | None = None if self.emitted else nn.Parameter(torch.zeros(()))
        self.num_parameters = 2 if self.emitted else 1

    def forward(self, params: Tensor, x: Tensor | None = None) -> LaplaceDensity:
        loc, log_scale = _numbers(params, [self.log_scale])
        return LaplaceDensity(bounded_loc(loc), bounded_logvar(log_scale + math.log(self.initial_scale)))

    def initial_params(self, x: Tensor) -> Tensor:
        """The data's median, and the scale its mean absolute deviation from it stands for."""
        median = x.median(0).values
        if not self.emitted:
            return median
        deviation = (x - median).abs().mean(0).clamp(min=_LEAST_SCALE)
        return torch.cat([median, (deviation / self.initial_scale).log()])

    def extra_repr(self) -> str:
        return f"initial_scale={self.initial_scale:g}, emitted={self.emitted}"


class StudentT(Likelihood):
    r"""Student's t-distribution: a Gaussian's middle with tails that fall as a power, learned with the rest.

    With :math:`t = (x-\mu)/\sigma` and ν > 1 degrees of freedom, so that the mean exists,

    .. math:: \log p(x|z) = \sum_i \log\Gamma\tfrac{\nu+1}{2} - \log\Gamma\tfrac{\nu}{2} - \tfrac12\log\pi\nu
        - \log\sigma - \tfrac{\nu+1}{2} \log\bigl(1 + t_i^2/\nu\bigr)

    The scale is σ = `initial_scale` · exp(s), and ν = 1 + (`initial_df` − 1) · exp(r). Either one s and one r for all
    features are learned with the weights, from 0, or the decoder emits both for every feature.

    Takahashi, Iwata, Yamanaka, Yamada, Yagi: Student-t Variational Autoencoder for Robust Density Estimation, 2018,
    https://doi.org/10.24963/ijcai.2018/374.

    Args:
        initial_scale: The scale that s = 0 stands for, in the units of x; positive, finite.
        initial_df: The degrees of freedom that r = 0 stands for; above 1, finite.
        emitted: Whether the decoder emits s and r.

    Raises:
        ValueError: If a number is outside its range.

    Shape:
        Decoder output (N, C, ...), the medians, or (N, 3·C, ...), medians, then s, then r, if `emitted`; x (N, C, ...).
    """

    def __init__(self, initial_scale: float = 1.0, initial_df: float = 5.0, *, emitted: bool = False) -> None:
        super().__init__()
        self.initial_scale = _positive("initial_scale", initial_scale)
        require(1 < initial_df < math.inf, lambda: f"initial_df must be above 1 and finite; received {initial_df}")
        self.initial_df = initial_df
        self.emitted = bool(emitted)
        self.log_scale: nn.Parameter | None = None if self.emitted else nn.Parameter(torch.zeros(()))
        self.log_df: nn.Parameter | None = None if self.emitted else nn.Parameter(torch.zeros(()))
        self.num_parameters = 3 if self.emitted else 1

    def forward(self, params: Tensor, x: Tensor | None = None) -> StudentTDensity:
        loc, log_scale, log_df = _numbers(params, [self.log_scale, self.log_df])
        log_scale = bounded_logvar(log_scale + math.log(self.initial_scale))
        # Above 1 by more than float32 rounds away.
        df = (1 + 1e-6) + bounded_logvar(log_df + math.log(self.initial_df - 1)).exp()
        return StudentTDensity(bounded_loc(loc), log_scale, df)

    def initial_params(self, x: Tensor) -> Tensor:
        """The data's median, and the scale at which its mean absolute deviation from it is that of ν = `initial_df`."""
        median = x.median(0).values
        if not self.emitted:
            return median
        deviation = (x - median).abs().mean(0).clamp(min=_LEAST_SCALE)
        half = 0.5 * self.initial_df
        # E|t| = 2 √ν Γ((ν+1)/2) / (√π Γ(ν/2) (ν−1))
        log_ratio = math.lgamma(half + 0.5) - math.lgamma(half)
        of_unit = 2 * math.sqrt(self.initial_df / math.pi) * math.exp(log_ratio) / (self.initial_df - 1)
        log_scale = (deviation / (self.initial_scale * of_unit)).log()
        return torch.cat([median, log_scale, torch.zeros_like(median)])

    def extra_repr(self) -> str:
        return f"initial_scale={self.initial_scale:g}, initial_df={self.initial_df:g}, emitted={self.emitted}"


def _numbers(params: Tensor, learned: list[nn.Parameter | None]) -> list[Tensor]:
    """The location and what belongs to it: learned numbers, or further blocks of what the decoder emitted."""
    params = at_least_float32(params)
    own = [at_least_float32(number) for number in learned if number is not None]
    return [params, *own] if own else list(params.chunk(1 + len(learned), dim=1))


def _positive(name: str, value: float) -> float:
    require(0 < value < math.inf, lambda: f"{name} must be positive and finite; received {value}")
    return value
