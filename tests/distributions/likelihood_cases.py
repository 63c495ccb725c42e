"""Every likelihood, with what must be true of it told by other means: what the contract suite runs over."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Categorical as TorchCategorical

from lucid.distributions import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    Gaussian,
    HeteroscedasticGaussian,
    Laplace,
    LearnedScaleGaussian,
    Likelihood,
    MixtureOfLogistics,
    NegativeBinomial,
    OptimalScaleGaussian,
    OrderedLogistic,
    Poisson,
    StudentT,
    ZeroInflatedNegativeBinomial,
)

FLOAT32_MAX = 3e38


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blocks(params: Tensor, count: int) -> tuple[Tensor, ...]:
    """The kinds of numbers in a decoder's output, (N, count · C, ...): each block as wide as the data."""
    width = params.shape[1] // count
    return tuple(params[:, i * width : (i + 1) * width].double() for i in range(count))


@dataclass(frozen=True)
class Case:
    """A likelihood, and what must be true of it.

    Attributes:
        make: A fresh one.
        log_prob: log p of each feature (or position), from parameters and x of the same batch, in float64.
        extremes: The largest size of a parameter at which values and gradients must stay finite in float32.
        channels: Features that only make sense together.
        counts: Whether x is 0, 1, 2, …
        density: For a density: scipy's distribution of each feature, from parameters.
        exact_mean: Whether `mean` is exact for any parameters.
    """

    make: Callable[[], Likelihood]
    log_prob: Callable[[Tensor, Tensor], Tensor]
    extremes: float
    channels: int = 1
    counts: bool = False
    density: Callable[[Tensor], Any] | None = None
    exact_mean: bool = True

    def params(self, n: int, *shape: int, seed: int = 0) -> Tensor:
        """What a decoder might emit for x of `values(n, *shape)`."""
        first, *rest = shape
        outputs = self.make().num_outputs(first * self.channels)
        return torch.randn(n, outputs, *rest, generator=generator(seed))

    def values(self, n: int, *shape: int, seed: int = 1) -> Tensor:
        """x of the support, (n, channels · first of the shape, rest)."""
        first, *rest = shape
        full = (n, first * self.channels, *rest)
        if self.counts:
            return (torch.randn(full, generator=generator(seed)).exp() * 3).round()
        levels = self.make().levels
        if levels is None:
            return torch.randn(full, generator=generator(seed))
        return torch.randint(levels, full, generator=generator(seed)) / (levels - 1)

    def support(self) -> Tensor:
        """All joint values of one position, (V, channels); of counts enough that the rest does not matter."""
        if self.counts:
            return torch.arange(20_000, dtype=torch.float64).unsqueeze(1)
        levels = self.make().levels
        assert levels is not None
        grid = [(torch.arange(levels, dtype=torch.float64) / (levels - 1)).tolist()] * self.channels
        return torch.tensor(list(itertools.product(*grid)), dtype=torch.float64)


def of_scipy(density: Callable[[Tensor], Any]) -> Callable[[Tensor, Tensor], Tensor]:
    """log p of each feature from scipy's distribution."""
    return lambda params, x: torch.as_tensor(density(params).logpdf(x.double().numpy()))


def trained_optimal_scale() -> OptimalScaleGaussian:
    """In evaluation, after a few batches."""
    likelihood = OptimalScaleGaussian(momentum=0.5)
    for seed in range(3):
        x = torch.randn(8, 3, generator=generator(seed))
        likelihood(0.7 * x, x)
    return likelihood.eval()


def moved(likelihood: Likelihood, seed: int = 3) -> Likelihood:
    """With learned numbers other than those at the start."""
    with torch.no_grad():
        for parameter in likelihood.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator(seed))
    return likelihood


def normal(scale: float) -> Callable[[Tensor], Any]:
    return lambda params: scipy.stats.norm(params.double().numpy(), scale)


def heteroscedastic(params: Tensor) -> Any:
    loc, logvar = blocks(params, 2)
    return scipy.stats.norm(loc.numpy(), (0.5 * logvar).exp().numpy())


def laplace(params: Tensor) -> Any:
    learned = moved(Laplace(0.5)).state_dict()["log_scale"].double()
    return scipy.stats.laplace(params.double().numpy(), float(0.5 * learned.exp()))


def emitted_laplace(params: Tensor) -> Any:
    loc, log_scale = blocks(params, 2)
    return scipy.stats.laplace(loc.numpy(), (0.5 * log_scale.exp()).numpy())


def student(params: Tensor) -> Any:
    learned = moved(StudentT(0.5, 4.0)).state_dict()
    df = float(1 + 1e-6 + 3 * learned["log_df"].double().exp())
    return scipy.stats.t(df, params.double().numpy(), float(0.5 * learned["log_scale"].double().exp()))


def emitted_student(params: Tensor) -> Any:
    loc, log_scale, log_df = blocks(params, 3)
    return scipy.stats.t((1 + 1e-6 + 3 * log_df.exp()).numpy(), loc.numpy(), (0.5 * log_scale.exp()).numpy())


def logistic_mass(loc: Tensor, log_scale: Tensor, x: Tensor, levels: int) -> Tensor:
    """The definition, CDF(upper edge) − CDF(lower edge) in float64, the outer bins open."""
    # Above the mean it is the mirror image that keeps its digits.
    index = (x.double() * (levels - 1)).round()
    upper = torch.where(index == levels - 1, math.inf, (index + 0.5) / (levels - 1))
    lower = torch.where(index == 0, -math.inf, (index - 0.5) / (levels - 1))
    upper, lower = (upper - loc) / log_scale.exp(), (lower - loc) / log_scale.exp()
    mirrored = upper + lower > 0
    upper, lower = torch.where(mirrored, -lower, upper), torch.where(mirrored, -upper, lower)
    return upper.sigmoid() - lower.sigmoid()


def discretised_logistic(params: Tensor, x: Tensor, levels: int) -> Tensor:
    return logistic_mass(*blocks(params, 2), x, levels).log()


def categorical(params: Tensor, x: Tensor, levels: int) -> Tensor:
    logits = torch.stack(blocks(params, levels), -1)
    return TorchCategorical(logits=logits).log_prob((x * (levels - 1)).round())


def mixture(params: Tensor, x: Tensor, likelihood: MixtureOfLogistics) -> Tensor:
    """Component by component and channel by channel, as the formula reads, for each position."""
    levels, channels, components = likelihood.levels, likelihood.channels, likelihood.components
    assert levels is not None
    groups = x.shape[1] // channels
    numbers = iter(params.double().split(groups, dim=1))  # (N, G, ...) each, in the documented order
    logits = [next(numbers) for _ in range(components)]
    locs = [[next(numbers) for _ in range(channels)] for _ in range(components)]
    log_scales = [[next(numbers) for _ in range(channels)] for _ in range(components)]
    values = x.double().unflatten(1, (groups, channels)).unbind(2)
    total = torch.zeros_like(logits[0])
    weights = torch.stack(logits).softmax(0)
    for k in range(components):
        mass = weights[k]
        for c in range(channels):
            loc = locs[k][c]
            if likelihood.autoregressive:
                for b in range(c):
                    loc = loc + next(numbers).tanh() * (values[b] - 0.5)
            mass = mass * logistic_mass(loc, log_scales[k][c], values[c], levels)
        total = total + mass
    assert next(numbers, None) is None
    return total.log()


def ordered(params: Tensor, x: Tensor, levels: int) -> Tensor:
    state = {name: value.double() for name, value in moved(OrderedLogistic(levels)).state_dict().items()}
    cutpoints = state["first"][0] + torch.cat([torch.zeros(1), state["log_gaps"][0].exp()]).cumsum(0)
    edges = torch.cat([torch.tensor([-math.inf]), cutpoints, torch.tensor([math.inf])])
    index = (x * (levels - 1)).round().long()
    loc = params.double()
    return ((edges[index + 1] - loc).sigmoid() - (edges[index] - loc).sigmoid()).log()


def poisson(params: Tensor, x: Tensor) -> Tensor:
    return torch.as_tensor(scipy.stats.poisson.logpmf(x.double().numpy(), params.double().exp().numpy()))


def negative_binomial(params: Tensor, x: Tensor) -> Tensor:
    """By scipy's log Γ, of which far more digits are lost than here remain."""
    mean, r = (np.exp(block.numpy()) for block in blocks(params, 2))
    return torch.as_tensor(scipy.stats.nbinom.logpmf(x.double().numpy(), r, r / (r + mean)))


def zero_inflated(params: Tensor, x: Tensor) -> Tensor:
    third = params.shape[1] // 3
    extra = params[:, 2 * third :].double().sigmoid()
    return (extra * (x == 0) + (1 - extra) * negative_binomial(params[:, : 2 * third], x).exp()).log()


def mixture_case(levels: int, channels: int, components: int, autoregressive: bool) -> Case:
    def make() -> MixtureOfLogistics:
        return MixtureOfLogistics(levels, channels, components, autoregressive=autoregressive)

    return Case(
        make,
        lambda p, x: mixture(p, x, make()),
        FLOAT32_MAX,
        channels=channels,
        exact_mean=channels == 1 or not autoregressive,
    )


def density_case(make: Callable[[], Likelihood], density: Callable[[Tensor], Any], extremes: float) -> Case:
    return Case(make, of_scipy(density), extremes, density=density)


# A Gaussian's squared error and a categorical's difference of logits are what they are: they overflow float32 beyond
# 1e19 and 1e38. What is bounded, or cannot overflow, is held to the end of float32.
CASES = {
    "bernoulli": Case(Bernoulli, lambda p, x: TorchBernoulli(logits=p.double()).log_prob(x.double()), FLOAT32_MAX),
    "gaussian": density_case(Gaussian, normal(1.0), 1e10),
    "gaussian(0.1)": density_case(lambda: Gaussian(scale=0.1), normal(0.1), 1e10),
    "learned_scale": density_case(lambda: LearnedScaleGaussian(0.3), normal(0.3), 1e10),
    "heteroscedastic": density_case(HeteroscedasticGaussian, heteroscedastic, FLOAT32_MAX),
    "optimal_scale": density_case(
        trained_optimal_scale, lambda p: normal(float(trained_optimal_scale().variance) ** 0.5)(p), 1e10
    ),
    "laplace": density_case(lambda: moved(Laplace(0.5)), laplace, FLOAT32_MAX),
    "laplace(emitted)": density_case(lambda: Laplace(0.5, emitted=True), emitted_laplace, FLOAT32_MAX),
    "student_t": density_case(lambda: moved(StudentT(0.5, 4.0)), student, FLOAT32_MAX),
    "student_t(emitted)": density_case(lambda: StudentT(0.5, 4.0, emitted=True), emitted_student, FLOAT32_MAX),
    **{
        f"discretised_logistic({levels})": Case(
            lambda levels=levels: DiscretisedLogistic(levels),
            lambda p, x, levels=levels: discretised_logistic(p, x, levels),
            FLOAT32_MAX,
        )
        for levels in (2, 3, 17, 256)
    },
    **{
        f"categorical({levels})": Case(
            lambda levels=levels: Categorical(levels),
            lambda p, x, levels=levels: categorical(p, x, levels),
            1e30,
        )
        for levels in (2, 5, 17)
    },
    **{
        f"ordered_logistic({levels})": Case(
            lambda levels=levels: moved(OrderedLogistic(levels)),
            lambda p, x, levels=levels: ordered(p, x, levels),
            FLOAT32_MAX,
        )
        for levels in (2, 3, 7)
    },
    "mixture_of_logistics(256)": mixture_case(256, 1, 3, autoregressive=True),
    "mixture_of_logistics(5, channels=2)": mixture_case(5, 2, 4, autoregressive=True),
    "mixture_of_logistics(5, channels=3)": mixture_case(5, 3, 2, autoregressive=True),
    "mixture_of_logistics(5, channels=3, independent)": mixture_case(5, 3, 2, autoregressive=False),
    "poisson": Case(Poisson, poisson, FLOAT32_MAX, counts=True),
    "negative_binomial": Case(NegativeBinomial, negative_binomial, FLOAT32_MAX, counts=True),
    "zero_inflated": Case(ZeroInflatedNegativeBinomial, zero_inflated, FLOAT32_MAX, counts=True),
}
DENSITIES = [name for name, case in CASES.items() if case.density is not None]
MASSES = [name for name in CASES if name not in DENSITIES]
ON_GRID = [name for name in MASSES if not CASES[name].counts]
