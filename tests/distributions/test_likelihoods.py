"""The contract of likelihoods: each passes by being listed in `CASES`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Normal

from lucid.distributions import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    Gaussian,
    HeteroscedasticGaussian,
    LearnedScaleGaussian,
    Likelihood,
    OptimalScaleGaussian,
    likelihoods,
)

FLOAT32_MAX = 3e38


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blocks(params: Tensor, count: int) -> tuple[Tensor, ...]:
    """The kinds of numbers in a decoder's output, (N, count · C, ...): each block as wide as the data."""
    width = params.shape[1] // count
    return tuple(params[:, i * width : (i + 1) * width] for i in range(count))


def trained_optimal_scale() -> OptimalScaleGaussian:
    """In evaluation, after a few batches."""
    likelihood = OptimalScaleGaussian(momentum=0.5)
    for seed in range(3):
        x = torch.randn(8, 3, generator=generator(seed))
        likelihood(0.7 * x, x)
    return likelihood.eval()


def discretised_logistic_log_mass(params: Tensor, x: Tensor, levels: int) -> Tensor:
    """The definition, CDF(upper edge) − CDF(lower edge) in float64, the outer bins open."""
    # Above the mean it is the mirror image that keeps its digits.
    loc, log_scale = blocks(params.double(), 2)
    index = (x.double() * (levels - 1)).round()
    upper = torch.where(index == levels - 1, math.inf, (index + 0.5) / (levels - 1))
    lower = torch.where(index == 0, -math.inf, (index - 0.5) / (levels - 1))
    upper, lower = (upper - loc) / log_scale.exp(), (lower - loc) / log_scale.exp()
    mirrored = upper + lower > 0
    upper, lower = torch.where(mirrored, -lower, upper), torch.where(mirrored, -upper, lower)
    return (upper.sigmoid() - lower.sigmoid()).log()


def categorical_log_mass(params: Tensor, x: Tensor, levels: int) -> Tensor:
    logits = torch.stack(blocks(params.double(), levels), -1)
    return TorchCategorical(logits=logits).log_prob((x * (levels - 1)).round())


@dataclass(frozen=True)
class Case:
    """A likelihood, and what must be true of it, told by other means.

    Attributes:
        make: A fresh one.
        log_prob: log p of each feature, (N, C, ...), from parameters and x of the same batch, in float64.
        extremes: The largest size of a parameter at which values and gradients must stay finite in float32.
    """

    make: Callable[[], Likelihood]
    log_prob: Callable[[Tensor, Tensor], Tensor]
    extremes: float

    def params(self, n: int, *shape: int, seed: int = 0) -> Tensor:
        likelihood = self.make()
        channels, *rest = shape
        return torch.randn(n, likelihood.num_parameters * channels, *rest, generator=generator(seed))

    def values(self, n: int, *shape: int, seed: int = 1) -> Tensor:
        levels = self.make().levels
        if levels is None:
            return torch.randn(n, *shape, generator=generator(seed))
        return torch.randint(levels, (n, *shape), generator=generator(seed)) / (levels - 1)


def _normal(scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda params, x: Normal(params.double(), scale).log_prob(x.double())


def _heteroscedastic(params: Tensor, x: Tensor) -> Tensor:
    loc, logvar = blocks(params.double(), 2)
    return Normal(loc, (0.5 * logvar).exp()).log_prob(x.double())


# A Gaussian's squared error and a categorical's difference of logits are what they are: they overflow float32 beyond
# 1e19 and 1e38. What is bounded, or cannot overflow, is held to the end of float32.
CASES = {
    "bernoulli": Case(Bernoulli, lambda p, x: TorchBernoulli(logits=p.double()).log_prob(x.double()), FLOAT32_MAX),
    "gaussian": Case(Gaussian, _normal(1.0), 1e10),
    "gaussian(0.1)": Case(lambda: Gaussian(scale=0.1), _normal(0.1), 1e10),
    "learned_scale": Case(lambda: LearnedScaleGaussian(0.3), _normal(0.3), 1e10),
    "heteroscedastic": Case(HeteroscedasticGaussian, _heteroscedastic, FLOAT32_MAX),
    "optimal_scale": Case(
        trained_optimal_scale, lambda p, x: _normal(float(trained_optimal_scale().variance) ** 0.5)(p, x), 1e10
    ),
    **{
        f"discretised_logistic({levels})": Case(
            lambda levels=levels: DiscretisedLogistic(levels),
            lambda p, x, levels=levels: discretised_logistic_log_mass(p, x, levels),
            FLOAT32_MAX,
        )
        for levels in (2, 3, 17, 256)
    },
    **{
        f"categorical({levels})": Case(
            lambda levels=levels: Categorical(levels),
            lambda p, x, levels=levels: categorical_log_mass(p, x, levels),
            1e30,
        )
        for levels in (2, 5, 17)
    },
}
DISCRETE = [name for name, case in CASES.items() if case.make().levels is not None]
DENSITIES = [name for name in CASES if name not in DISCRETE]
every = pytest.mark.parametrize("name", CASES)


def test_every_likelihood_is_listed() -> None:
    listed = {type(case.make()).__name__ for case in CASES.values()}
    assert listed == set(likelihoods.__all__)


def quadrature(name: str, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points, their weights, and the density there, (P, N, 1) each, for a density with one feature, in float64."""
    distribution = CASES[name].make().double()(params.double())
    # The trapezoidal rule on a Gaussian ±10 σ wide converges geometrically.
    width = distribution.stddev
    steps = torch.linspace(-10, 10, 801, dtype=torch.float64).view(-1, 1, 1)
    points = distribution.mean + width * steps
    return points, (width * 20 / 800).expand_as(points), distribution.log_prob(points).exp().unsqueeze(-1)


def enumeration(likelihood: Likelihood, params: Tensor) -> tuple[Tensor, Tensor]:
    """The support and its masses, (L, N, 1) each, for a mass with one feature."""
    assert likelihood.levels is not None
    support = torch.arange(likelihood.levels, dtype=params.dtype) / (likelihood.levels - 1)
    values = support.view(-1, 1, 1).expand(-1, len(params), 1)
    return values, likelihood(params).log_prob(values).exp().unsqueeze(-1)


@pytest.mark.parametrize("name", DENSITIES)
def test_a_density_integrates_to_one(name: str) -> None:
    _, weights, density = quadrature(name, 3 * CASES[name].params(20, 1))
    torch.testing.assert_close((weights * density).sum(0), torch.ones(20, 1, dtype=torch.float64), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", DISCRETE)
@pytest.mark.parametrize("spread", [0.3, 3.0, 30.0])
def test_a_mass_sums_to_one(name: str, spread: float) -> None:
    _, mass = enumeration(CASES[name].make(), spread * CASES[name].params(40, 1).double())
    torch.testing.assert_close(mass.sum(0), torch.ones(40, 1, dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", DISCRETE)
def test_a_mass_sums_to_one_at_extreme_parameters_in_float32(name: str) -> None:
    _, mass = enumeration(CASES[name].make(), extreme_params(CASES[name], 1))
    torch.testing.assert_close(
        mass.double().sum(0), torch.ones(mass.shape[1], 1, dtype=torch.float64), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("levels", [2, 16, 17, 256])
@pytest.mark.parametrize("log_scale", [-20.0, -15.0, -10.0, -7.0, -4.0, 0.0])
def test_a_narrow_discretised_logistic_beside_an_edge_sums_to_one_in_float32(levels: int, log_scale: float) -> None:
    """Both neighbours of an edge must see the same edge: a scale of 1e-7 magnifies the last digit of 1/(L−1)."""
    edges = (torch.arange(levels - 1) + 0.5) / (levels - 1)
    loc = torch.cat([edges, torch.nextafter(edges, edges + 1), torch.nextafter(edges, edges - 1)])
    _, mass = enumeration(DiscretisedLogistic(levels), torch.stack([loc, torch.full_like(loc, log_scale)], 1))
    torch.testing.assert_close(mass.double().sum(0), torch.ones(len(loc), 1, dtype=torch.float64), rtol=0, atol=1e-6)


@every
def test_log_prob_is_the_formula(name: str) -> None:
    case = CASES[name]
    params, x = case.params(6, 2, 3, 2), case.values(6, 2, 3, 2)
    distribution = case.make()(params)
    assert distribution.batch_shape == (6,)
    assert distribution.event_shape == (2, 3, 2)
    # float32: each of the 12 terms to some units of the last place of the largest.
    torch.testing.assert_close(
        distribution.log_prob(x).double(), case.log_prob(params, x).flatten(1).sum(1), rtol=2e-5, atol=2e-5
    )


@every
def test_the_mean_is_the_mean(name: str) -> None:
    case = CASES[name]
    params = case.params(30, 1).double()
    mean = case.make().double()(params).mean
    assert mean.shape == (30, 1)
    if name in DISCRETE:
        values, mass = enumeration(CASES[name].make(), params)
        torch.testing.assert_close(mean, (values * mass).sum(0), rtol=0, atol=1e-9)
    else:
        points, weights, density = quadrature(name, params)
        torch.testing.assert_close(mean, (points * weights * density).sum(0), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", DENSITIES)
def test_the_samples_of_a_density_have_its_moments(name: str) -> None:
    n = 20_000
    distribution = CASES[name].make()(CASES[name].params(3, 1).double())
    draws = distribution.sample((n,), generator=generator(2))
    assert draws.shape == (n, 3, 1)
    standardised = (draws - distribution.mean) / distribution.stddev
    assert bool((standardised.mean(0).abs() < 4 / math.sqrt(n)).all())
    assert bool(((standardised.square().mean(0) - 1).abs() < 4 * math.sqrt(2 / n)).all())
    assert bool(((standardised.pow(4).mean(0) - 3).abs() < 4 * math.sqrt(96 / n)).all())
    # The density that draws them is the density that is asked: E[−log p] is the entropy of that variance.
    entropy = 0.5 * (1 + math.log(2 * math.pi) + distribution.variance.log()).squeeze(-1)
    assert bool(((-distribution.log_prob(draws).mean(0) - entropy).abs() < 4 * math.sqrt(0.5 / n)).all())


@pytest.mark.parametrize("name", DISCRETE)
def test_the_samples_of_a_mass_follow_it(name: str) -> None:
    n = 20_000
    params = CASES[name].params(4, 1, seed=5)
    values, mass = enumeration(CASES[name].make(), params.double())
    draws = CASES[name].make()(params).sample((n,), generator=generator(6))
    assert draws.shape == (n, 4, 1)
    levels = len(values)
    index = (draws * (levels - 1)).round().long().squeeze(-1)
    # Every draw is a point of the grid, to a unit of the last place.
    torch.testing.assert_close(draws.squeeze(-1), index / (levels - 1), rtol=2e-7, atol=0)
    for row in range(4):
        counts = torch.bincount(index[:, row], minlength=levels).double()
        expected = n * mass[:, row, 0]
        common = expected > 5
        statistic = float(((counts - expected).square() / expected)[common].sum())
        freedom = int(common.sum())
        assert statistic < freedom + 4 * math.sqrt(2 * freedom) + 4
        rare = float(expected[~common].sum())
        assert abs(float(counts[~common].sum()) - rare) < 4 * math.sqrt(rare + 1)


@every
def test_draws_of_one_batch_are_laid_out_draw_major(name: str) -> None:
    case = CASES[name]
    params, x = case.params(4, 2, 3), case.values(5 * 4, 2, 3).unflatten(0, (5, 4))
    likelihood = case.make()
    together = likelihood(params).log_prob(x)
    assert together.shape == (5, 4)
    for k in range(5):
        torch.testing.assert_close(together[k], likelihood(params).log_prob(x[k]), rtol=1e-6, atol=1e-6)
    assert likelihood(params).sample((5,)).shape == (5, 4, 2, 3)
    assert likelihood(params).sample((5, 2), generator=generator()).shape == (5, 2, 4, 2, 3)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_parameters_give_float32_numbers(name: str, dtype: torch.dtype) -> None:
    case = CASES[name]
    params, x = case.params(6, 3).to(dtype), case.values(6, 3)
    log_prob = case.make()(params).log_prob(x)
    assert log_prob.dtype == torch.float32
    assert case.make()(params).mean.dtype == torch.float32
    torch.testing.assert_close(log_prob, case.make()(params.float()).log_prob(x), rtol=0, atol=0)
    # Data in half precision too: a half-precision model reads such data, and its loss must not become half.
    half = case.values(6, 3).round().to(dtype)
    found = case.make()(params).log_prob(half)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, case.make()(params.float()).log_prob(half.float()), rtol=0, atol=0)


@every
def test_double_precision_is_kept(name: str) -> None:
    case = CASES[name]
    distribution = case.make().double()(case.params(6, 3).double())
    assert distribution.log_prob(case.values(6, 3).double()).dtype == torch.float64
    assert distribution.mean.dtype == distribution.sample().dtype == torch.float64


def extreme_params(case: Case, features: int) -> Tensor:
    """Every combination of extreme sizes over the blocks of numbers (of the first two), other numbers at 0."""
    sizes = [size for size in (1e3, 1e10, 1e30, FLOAT32_MAX) if size <= case.extremes]
    ends = torch.tensor([0.0, *sizes, *(-s for s in sizes)])
    kinds = case.make().num_parameters
    varied = torch.cartesian_prod(*[ends] * min(kinds, 2)).view(-1, min(kinds, 2))
    rows = torch.cat([varied, varied.new_zeros(len(varied), kinds - varied.shape[1])], 1)
    return rows.repeat_interleave(features, 1)


@every
@pytest.mark.parametrize("training", [True, False])
def test_extreme_parameters_give_finite_values_and_gradients(name: str, training: bool) -> None:
    case = CASES[name]
    likelihood = case.make().train(training)
    params = extreme_params(case, 1)
    low, high = (0.0, 1.0) if likelihood.levels else (-3.0, 3.0)
    for value in (low, 0.5 * (low + high) if likelihood.levels in (None, 3, 5, 17) else low, high):
        leaf = params.clone().requires_grad_()
        x = torch.full((len(leaf), 1), value)
        log_prob = likelihood(leaf, x if training else None).log_prob(x)
        assert bool(log_prob.isfinite().all()), f"{leaf[~log_prob.isfinite()]}"
        (log_prob / log_prob.detach().abs().clamp(min=1)).sum().backward()
        assert leaf.grad is not None
        assert bool(leaf.grad.isfinite().all())
        assert bool(likelihood(params).mean.isfinite().all())


@pytest.mark.parametrize("logvar", [-FLOAT32_MAX, -1e3, 1e3, FLOAT32_MAX])
def test_an_extreme_learned_scale_stays_finite(logvar: float) -> None:
    likelihood = LearnedScaleGaussian()
    with torch.no_grad():
        likelihood.logvar.fill_(logvar)
    log_prob = likelihood(torch.zeros(2, 3)).log_prob(torch.ones(2, 3)).sum()
    log_prob.backward()
    assert bool(log_prob.isfinite())
    assert likelihood.logvar.grad is not None
    assert bool(likelihood.logvar.grad.isfinite())


def test_far_from_the_mean_the_discretised_logistic_keeps_its_digits_and_its_gradient() -> None:
    """A difference of two CDFs is 0 − 0 there; the log-mass is −distance/scale + log(2 sinh(half a bin))."""
    params = torch.tensor([[0.0, -6.0]], requires_grad=True)
    log_prob = DiscretisedLogistic(17)(params).log_prob(torch.tensor([[0.75]]))
    scale = math.exp(-6.0)
    truth = -0.75 / scale + math.log(2 * math.sinh(1 / 32 / scale))
    assert float(log_prob.detach()) == pytest.approx(truth, rel=1e-6)
    log_prob.sum().backward()
    assert params.grad is not None
    assert float(params.grad[0, 0]) == pytest.approx(1 / scale, rel=1e-5)


def test_a_last_layer_may_start_at_the_data() -> None:
    """Outputs that ignore z and describe the data: better than zeros, in the layout the likelihood reads."""
    for name, case in CASES.items():
        x = 0.2 + 0.1 * torch.randn(200, 2, 3, generator=generator(4))
        levels = case.make().levels
        if levels is not None:
            x = (x.clamp(0, 1) * (levels - 1)).round() / (levels - 1)
        for data in (x, x[:1]):
            params = case.make().initial_params(data)
            assert params is not None, name
            assert bool(params.isfinite().all()), name
            likelihood = case.make().eval()
            zeros = torch.zeros(200, *params.shape)
            if data is x:
                assert bool(likelihood(zeros + params).log_prob(x).mean() > likelihood(zeros).log_prob(x).mean()), name


# What they refuse

GRID_17 = "x must lie on the 17 levels 0, 1/16, …, 1; it holds values from"
REFUSED = [
    (Bernoulli(), [[0.0, 1.5]], r"x must lie in \[0, 1\] for the Bernoulli likelihood \('bce'\).* from 0 to 1\.5"),
    (Bernoulli(), [[-0.1, 1.0]], r"\[0, 1\].* from -0\.1 to 1\. Scale the data, or choose another likelihood"),
    (Bernoulli(), [[math.nan, 1.0]], "must be finite; it holds NaN"),
    (Bernoulli(), [[0.0, math.inf]], "must be finite; it holds values from .* to inf"),
    (Gaussian(), [[math.nan, 1.0]], "x must be finite; it holds NaN. Remove or impute"),
    (Gaussian(), [[0.0, -math.inf]], "x must be finite; it holds values from -inf to 0"),
    (HeteroscedasticGaussian(), [[math.inf, 0.0]], "x must be finite"),
    (
        DiscretisedLogistic(17),
        [[0.0, 0.03]],
        f"{GRID_17} 0 to 0.03 that fall between levels. Divide integer data by 16",
    ),
    (DiscretisedLogistic(17), [[0.0, 16.0]], f"{GRID_17} 0 to 16. Divide integer data by 16"),
    (DiscretisedLogistic(17), [[math.nan, 0.0]], "must be finite; it holds NaN"),
    (Categorical(17), [[0.0, 0.03]], GRID_17),
    (Categorical(17), [[-1 / 16, 0.0]], GRID_17),
]


@pytest.mark.parametrize(("likelihood", "x", "message"), REFUSED)
def test_data_without_a_probability_is_refused(likelihood: Likelihood, x: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        likelihood.check(torch.tensor(x))


@every
def test_data_of_the_support_is_accepted(name: str) -> None:
    CASES[name].make().check(CASES[name].values(5, 3))


@pytest.mark.parametrize("levels", [2, 256, 65_536])
def test_every_level_of_the_grid_is_accepted_in_float32(levels: int) -> None:
    DiscretisedLogistic(levels).check((torch.arange(levels) / (levels - 1)).view(1, -1))


@pytest.mark.parametrize("levels", [1, 0, -3, 2.0, True, "17"])
@pytest.mark.parametrize("kind", [DiscretisedLogistic, Categorical])
def test_a_wrong_number_of_levels_is_refused(kind: Callable[[object], Likelihood], levels: object) -> None:
    with pytest.raises(ValueError, match=f"levels must be an integer of at least 2; received {levels!r}"):
        kind(levels)


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_a_wrong_scale_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="scale must be positive and finite"):
        Gaussian(scale=value)
    with pytest.raises(ValueError, match="initial_scale must be positive and finite"):
        LearnedScaleGaussian(value)
    if value != math.inf:
        with pytest.raises(ValueError, match=r"momentum must be in \(0, 1\]"):
            OptimalScaleGaussian(momentum=value)


# What only some of them do


def test_the_learned_scale_is_learned() -> None:
    """Its optimum is the root mean square of the residuals, and the gradient there is zero."""
    residual = torch.randn(50, 4, generator=generator(3))
    rms = float(residual.square().mean().sqrt())
    for scale, sign in ((0.5 * rms, -1), (rms, 0), (2 * rms, 1)):
        likelihood = LearnedScaleGaussian(scale)
        loss = -likelihood(torch.zeros(50, 4)).log_prob(residual).mean()
        loss.backward()
        assert likelihood.logvar.grad is not None
        gradient = float(likelihood.logvar.grad)
        assert gradient == pytest.approx(0, abs=1e-5) if sign == 0 else gradient * sign > 0.1


def test_the_optimal_scale_is_the_best_of_a_grid_of_scales() -> None:
    x, mean = torch.randn(40, 3, generator=generator(4)), torch.randn(40, 3, generator=generator(5))
    distribution = OptimalScaleGaussian()(mean, x)
    best = float(distribution.log_prob(x).mean())
    optimum = float((x - mean).square().mean().sqrt())
    assert float(distribution.stddev[0, 0]) == pytest.approx(optimum, rel=1e-6)
    for factor in torch.linspace(0.5, 2, 31).tolist():
        assert float(Gaussian(optimum * factor)(mean).log_prob(x).mean()) <= best + 1e-5


def test_the_optimal_scale_gives_the_mean_the_gradient_of_the_whole_objective() -> None:
    """∂/∂μ of D/2 · log mean (x − μ)², σ² not held constant, is what its training must follow."""
    x = torch.randn(10, 3, generator=generator(6), dtype=torch.float64)
    mean = torch.randn(10, 3, generator=generator(7), dtype=torch.float64, requires_grad=True)
    (taken,) = torch.autograd.grad(OptimalScaleGaussian().double()(mean, x).log_prob(x).mean(), mean)
    (whole,) = torch.autograd.grad(-0.5 * 3 * (x - mean).square().mean().log(), mean)
    torch.testing.assert_close(taken, whole)


def test_the_optimal_scale_of_evaluation_is_the_running_one_and_ignores_x() -> None:
    likelihood = OptimalScaleGaussian(momentum=0.25)
    residuals = [torch.full((4, 2), r) for r in (1.0, 2.0, 3.0, 4.0, 5.0)]
    for residual in residuals:
        likelihood(torch.zeros(4, 2), residual)
    running = 1.0
    for n, r in enumerate((1.0, 2.0, 3.0, 4.0, 5.0), start=1):
        running += (r**2 - running) * max(1 / n, 0.25)
    assert float(likelihood.variance) == pytest.approx(running)
    likelihood.eval()
    x = torch.full((4, 2), 9.0)
    assert float(likelihood(torch.zeros(4, 2), x).variance[0, 0]) == pytest.approx(running)
    assert float(likelihood.variance) == pytest.approx(running)
    likelihood.train()
    likelihood(torch.zeros(4, 2))  # no data: nothing to fit
    assert float(likelihood.variance) == pytest.approx(running)


def test_the_optimal_scale_travels_in_the_state_dict() -> None:
    trained, fresh = trained_optimal_scale(), OptimalScaleGaussian(momentum=0.5).eval()
    assert set(trained.state_dict()) == {"variance", "num_batches"}
    fresh.load_state_dict(trained.state_dict())
    mean, x = torch.zeros(2, 3), torch.ones(2, 3)
    assert torch.equal(fresh(mean).log_prob(x), trained(mean).log_prob(x))
    for likelihood in (fresh.train(), trained.train()):
        likelihood(mean, x)
    assert torch.equal(fresh.variance, trained.variance)


def test_the_optimal_scale_fits_all_draws_of_an_example() -> None:
    """K draws give K·B rows, draw-major, for B examples."""
    x = torch.randn(4, 3, generator=generator(8))
    means = torch.randn(5 * 4, 3, generator=generator(9))
    distribution = OptimalScaleGaussian()(means, x)
    expected = (x - means.view(5, 4, 3)).square().mean()
    torch.testing.assert_close(distribution.variance[0, 0], expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_optimal_scale_of_perfect_means_is_a_number(dtype: torch.dtype) -> None:
    likelihood = OptimalScaleGaussian().to(dtype)
    mean = torch.zeros(3, 2, dtype=dtype)
    likelihood(mean, mean)
    assert bool(likelihood.eval()(mean).log_prob(mean).isfinite().all())
