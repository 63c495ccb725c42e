"""The contract of likelihoods: each passes by being listed in `likelihood_cases.CASES`."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import scipy.stats
import torch
from tests.distributions.likelihood_cases import CASES, DENSITIES, FLOAT32_MAX, MASSES, ON_GRID, Case, generator
from torch import Tensor

from lucid import io, models
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
    Rows,
    StudentT,
    ZeroInflatedNegativeBinomial,
    draw,
    likelihoods,
)

every = pytest.mark.parametrize("name", CASES)


def test_every_likelihood_is_listed() -> None:
    listed = {type(case.make()).__name__ for case in CASES.values()}
    assert listed == set(likelihoods.__all__)


def quadrature(name: str, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points, their weights, and the density there, (P, N, 1) each, for a density with one feature, in float64.

    Each half-line from the mean by itself, so a kink there does no harm, in the variable t of x = exp(π/2 sinh t): the
    trapezoidal rule converges exponentially for Gaussian and for power tails alike (Takahasi, Mori, 1974).
    """
    distribution = CASES[name].make().double()(params.double())
    t = torch.linspace(-4.5, 4.5, 1201, dtype=torch.float64).view(-1, 1, 1)
    away = (0.5 * math.pi * t.sinh()).exp()
    weights = away * 0.5 * math.pi * t.cosh() * 9 / 1200
    points = torch.cat([distribution.mean + away, distribution.mean - away])
    return points, weights.repeat(2, 1, 1), distribution.log_prob(points).exp().unsqueeze(-1)


def enumeration(name: str, params: Tensor) -> tuple[Tensor, Tensor]:
    """All values of one position, (V, N, channels), and their masses, (V, N)."""
    values = CASES[name].support().to(params.dtype).unsqueeze(1).expand(-1, len(params), -1)
    return values, CASES[name].make().to(params.dtype)(params).log_prob(values).exp().detach()


@pytest.mark.parametrize("name", DENSITIES)
def test_a_density_integrates_to_one(name: str) -> None:
    _, weights, density = quadrature(name, 2 * CASES[name].params(20, 1))
    torch.testing.assert_close((weights * density).sum(0), torch.ones(20, 1, dtype=torch.float64), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", MASSES)
@pytest.mark.parametrize("spread", [0.3, 3.0, 30.0])
def test_a_mass_sums_to_one(name: str, spread: float) -> None:
    params = spread * CASES[name].params(40, 1).double()
    if CASES[name].counts:
        # The counts beyond those that are enumerated must not matter: at mean e⁴ and concentration e⁻², nothing.
        params = params[:5].clamp(-2, 4)
    _, mass = enumeration(name, params)
    torch.testing.assert_close(mass.sum(0), torch.ones(len(params), dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ON_GRID)
def test_a_mass_sums_to_one_at_extreme_parameters_in_float32(name: str) -> None:
    _, mass = enumeration(name, extreme_params(CASES[name]))
    torch.testing.assert_close(mass.double().sum(0), torch.ones(mass.shape[1], dtype=torch.float64), rtol=0, atol=1e-5)


@every
def test_log_prob_is_the_formula(name: str) -> None:
    case = CASES[name]
    params, x = case.params(6, 2, 3, 2), case.values(6, 2, 3, 2)
    distribution = case.make()(params)
    assert distribution.batch_shape == (6,)
    assert distribution.event_shape == x.shape[1:]
    # float32: each of the terms to some units of the last place of the largest.
    torch.testing.assert_close(
        distribution.log_prob(x).double(), case.log_prob(params, x).flatten(1).sum(1), rtol=2e-5, atol=2e-5
    )


@every
def test_the_mean_is_the_mean(name: str) -> None:
    case = CASES[name]
    params = case.params(30, 1).double()
    if case.counts:
        params = params[:5].clamp(-2, 4)
    mean = case.make().double()(params).mean
    assert mean.shape == (len(params), case.channels)
    if case.density is not None:
        torch.testing.assert_close(mean, torch.as_tensor(case.density(params).mean()), rtol=1e-6, atol=0)
    else:
        values, mass = enumeration(name, params)
        # Not exact with channels that follow each other: the docstring says where and why.
        torch.testing.assert_close(
            mean, (values * mass.unsqueeze(-1)).sum(0), rtol=1e-9, atol=1e-9 if case.exact_mean else 0.05
        )


@pytest.mark.parametrize("name", DENSITIES)
def test_the_samples_of_a_density_follow_it(name: str) -> None:
    case, n = CASES[name], 20_000
    assert case.density is not None
    params = case.params(3, 1).double()
    distribution, truth = case.make().double()(params), case.density(params)
    torch.testing.assert_close(distribution.variance, torch.as_tensor(truth.var()), rtol=1e-6, atol=0)
    draws = distribution.sample((n,), generator=generator(2))
    assert draws.shape == (n, 3, 1)
    for row in range(3):
        ranks = torch.as_tensor(truth.cdf(draws.numpy()))[:, row, 0]
        assert scipy.stats.kstest(ranks.numpy(), "uniform").pvalue > 1e-3
    # The density that draws them is the density that is asked: E[−log p] is its entropy.
    log_prob = distribution.log_prob(draws)
    entropy = torch.as_tensor(truth.entropy()).squeeze(-1)
    assert bool(((-log_prob.mean(0) - entropy).abs() < 4 * log_prob.std(0) / math.sqrt(n)).all())


@pytest.mark.parametrize("name", MASSES)
def test_the_samples_of_a_mass_follow_it(name: str) -> None:
    n, case = 20_000, CASES[name]
    params = case.params(4, 1, seed=5)
    values, mass = enumeration(name, params.double())
    draws = case.make()(params).sample((n,), generator=generator(6))
    assert draws.shape == (n, 4, case.channels)
    # A joint value is a number in the base of its levels, most significant channel first, as `support` counts them.
    levels = 20_000 if case.counts else (case.make().levels or 0)
    index = draws.round().long() if case.counts else (draws * (levels - 1)).round().long()
    # Every draw is a point of the grid, to a unit of the last place.
    torch.testing.assert_close(draws, index.float() / (1 if case.counts else levels - 1), rtol=2e-7, atol=0)
    place = levels ** torch.arange(case.channels - 1, -1, -1)
    index = (index * place).sum(-1)
    for row in range(4):
        counts = torch.bincount(index[:, row], minlength=len(values)).double()
        expected = n * mass[:, row]
        common = expected > 5
        statistic = float(((counts - expected).square() / expected)[common].sum())
        freedom = int(common.sum())
        assert statistic < freedom + 4 * math.sqrt(2 * freedom) + 4
        rare = float(expected[~common].sum())
        assert abs(float(counts[~common].sum()) - rare) < 4 * math.sqrt(rare + 1)


def has_mode(case: Case) -> bool:
    return "mode" in vars(type(case.make()(case.params(1, 1))))


@pytest.mark.parametrize("name", [name for name in CASES if has_mode(CASES[name])])
def test_the_mode_is_where_the_mass_is_greatest(name: str) -> None:
    case = CASES[name]
    params = case.params(20, 1)
    distribution = case.make()(params)
    best = distribution.log_prob(distribution.mode)
    if case.density is not None or case.counts:
        for step in (-0.1, 0.1):
            assert bool((distribution.log_prob(distribution.mode + step) <= best + 1e-6).all())
    else:
        _, mass = enumeration(name, params.double())
        torch.testing.assert_close(best.exp().double(), mass.amax(0), rtol=1e-4, atol=1e-6)


@every
def test_draws_of_one_batch_are_laid_out_draw_major(name: str) -> None:
    case = CASES[name]
    params, x = case.params(4, 2, 3), case.values(5 * 4, 2, 3).unflatten(0, (5, 4))
    likelihood = case.make()
    together = likelihood(params).log_prob(x)
    assert together.shape == (5, 4)
    for k in range(5):
        torch.testing.assert_close(together[k], likelihood(params).log_prob(x[k]), rtol=1e-6, atol=1e-6)
    assert likelihood(params).sample((5,)).shape == x.shape
    assert likelihood(params).sample((5, 2), generator=generator()).shape == (5, 2, *x.shape[1:])


@every
def test_a_part_of_a_batch_draws_what_the_whole_draws(name: str) -> None:
    case = CASES[name]
    params = case.params(7, 2, 3)
    likelihood = case.make()
    for shape in ((), (3,)):
        whole = draw(likelihood(params), shape, generator=generator(11))
        parts = [
            draw(likelihood(params[first : first + rows]), shape, generator=Rows(generator(11), first, 7))
            for first, rows in ((0, 3), (3, 4))
        ]
        assert torch.equal(torch.cat(parts, len(shape)), whole)


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


def extreme_params(case: Case) -> Tensor:
    """Every combination of extreme sizes over the first, the second and all other numbers; a position a row."""
    sizes = [size for size in (1e3, 1e10, 1e30, FLOAT32_MAX) if size <= case.extremes]
    ends = torch.tensor([0.0, *sizes, *(-s for s in sizes)])
    outputs = case.make().num_outputs(case.channels)
    varied = torch.cartesian_prod(*[ends] * min(outputs, 3)).view(-1, min(outputs, 3))
    if outputs > 3:
        third = varied[:, 2:].expand(-1, outputs - 2).clone()
        third[:, ::2] = -third[:, ::2]
        return torch.cat([varied[:, :2], third], 1)
    return varied


@every
@pytest.mark.parametrize("training", [True, False])
def test_extreme_parameters_give_finite_values_and_gradients(name: str, training: bool) -> None:
    case = CASES[name]
    likelihood = case.make().train(training)
    params = extreme_params(case)
    for value in (0.0, 1.0, 3e6) if case.counts else (0.0, 1.0) if likelihood.levels else (-3.0, 0.0, 3.0):
        leaf = params.clone().requires_grad_()
        x = torch.full((len(leaf), case.channels), value)
        log_prob = likelihood(leaf, x if training else None).log_prob(x)
        assert bool(log_prob.isfinite().all()), f"{leaf[~log_prob.isfinite()]}"
        (log_prob / log_prob.detach().abs().clamp(min=1)).sum().backward()
        assert leaf.grad is not None
        assert bool(leaf.grad.isfinite().all())
        assert bool(likelihood(params).mean.isfinite().all())


@pytest.mark.parametrize("name", [name for name in CASES if list(CASES[name].make().parameters())])
@pytest.mark.parametrize("value", [-FLOAT32_MAX, -1e3, 1e3, FLOAT32_MAX])
def test_extreme_learned_numbers_stay_finite(name: str, value: float) -> None:
    case = CASES[name]
    likelihood = case.make()
    with torch.no_grad():
        for parameter in likelihood.parameters():
            parameter.fill_(value)
    log_prob = likelihood(case.params(5, 2)).log_prob(case.values(5, 2)).sum()
    log_prob.backward()
    assert bool(log_prob.isfinite())
    for parameter in likelihood.parameters():
        assert parameter.grad is None or bool(parameter.grad.isfinite().all())


@every
def test_a_last_layer_may_start_at_the_data(name: str) -> None:
    """Outputs that ignore z and describe the data: better than zeros, in the layout the likelihood reads."""
    case = CASES[name]
    x = 0.2 + 0.1 * torch.randn(200, 2 * case.channels, 3, generator=generator(4))
    levels = case.make().levels
    if case.counts:
        x = (30 * x).clamp(min=0).round()
    if levels is not None:
        x = (x.clamp(0, 1) * (levels - 1)).round() / (levels - 1)
    likelihood = case.make().eval()
    for data in (x, x[:1]):
        params = likelihood.initial_params(data)
        assert params is not None
        assert params.shape == (likelihood.num_outputs(2 * case.channels), 3)
        assert bool(params.isfinite().all())
    params = likelihood.initial_params(x)
    assert params is not None
    zeros = torch.zeros(200, *params.shape)
    assert bool(likelihood(zeros + params).log_prob(x).mean() > likelihood(zeros).log_prob(x).mean())


@every
def test_saved_and_loaded_it_is_the_same(name: str, tmp_path: Path) -> None:
    assert models.VAE  # this room registers the likelihoods
    case = CASES[name]
    likelihood = case.make()
    io.save(likelihood, tmp_path / "likelihood")
    loaded = io.load(tmp_path / "likelihood")
    assert repr(loaded) == repr(likelihood)
    params, x = case.params(4, 2), case.values(4, 2)
    assert torch.equal(loaded(params).log_prob(x), likelihood.eval()(params).log_prob(x))


# What they refuse

GRID_17 = "x must lie on the 17 levels 0, 1/16, …, 1; it holds values from"
COUNTS = "x must hold counts, 0, 1, 2, …, for this likelihood; it holds values from"
REFUSED = [
    (Bernoulli(), [[0.0, 1.5]], r"x must lie in \[0, 1\] for the Bernoulli likelihood \('bce'\).* from 0 to 1\.5"),
    (Bernoulli(), [[-0.1, 1.0]], r"\[0, 1\].* from -0\.1 to 1\. Scale the data, or choose another likelihood"),
    (Bernoulli(), [[math.nan, 1.0]], "must be finite; it holds NaN"),
    (Bernoulli(), [[0.0, math.inf]], "must be finite; it holds values from .* to inf"),
    (Gaussian(), [[math.nan, 1.0]], "x must be finite; it holds NaN. Remove or impute"),
    (Gaussian(), [[0.0, -math.inf]], "x must be finite; it holds values from -inf to 0"),
    (HeteroscedasticGaussian(), [[math.inf, 0.0]], "x must be finite"),
    (Laplace(), [[math.inf, 0.0]], "x must be finite"),
    (StudentT(), [[math.nan, 0.0]], "x must be finite"),
    (
        DiscretisedLogistic(17),
        [[0.0, 0.03]],
        f"{GRID_17} 0 to 0.03 that fall between levels. Divide integer data by 16",
    ),
    (DiscretisedLogistic(17), [[0.0, 16.0]], f"{GRID_17} 0 to 16. Divide integer data by 16"),
    (DiscretisedLogistic(17), [[math.nan, 0.0]], "must be finite; it holds NaN"),
    (Categorical(17), [[0.0, 0.03]], GRID_17),
    (Categorical(17), [[-1 / 16, 0.0]], GRID_17),
    (OrderedLogistic(17), [[0.0, 2.0]], GRID_17),
    (MixtureOfLogistics(17, 1), [[0.0, 0.03]], GRID_17),
    (Poisson(), [[0.0, -1.0]], f"{COUNTS} -1 to 0. Load counts as they are"),
    (NegativeBinomial(), [[0.0, 1.5]], f"{COUNTS} 0 to 1.5, some of them not whole. Load counts as they are"),
    (ZeroInflatedNegativeBinomial(), [[math.nan, 1.0]], "must be finite; it holds NaN"),
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
@pytest.mark.parametrize(
    "kind", [DiscretisedLogistic, Categorical, OrderedLogistic, lambda n: MixtureOfLogistics(n, 1)]
)
def test_a_wrong_number_of_levels_is_refused(kind: Callable[[object], Likelihood], levels: object) -> None:
    with pytest.raises(ValueError, match=f"levels must be an integer of at least 2; received {levels!r}"):
        kind(levels)


@pytest.mark.parametrize("value", [0, 1.5, True, "3"])
def test_a_wrong_number_of_parts_is_refused(value: object) -> None:
    for name, make in (
        ("channels", lambda: MixtureOfLogistics(4, value)),
        ("components", lambda: MixtureOfLogistics(4, 1, value)),
        ("features", lambda: OrderedLogistic(4, value)),
    ):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1; received {value!r}"):
            make()


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_a_wrong_scale_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="scale must be positive and finite"):
        Gaussian(scale=value)
    for kind in (LearnedScaleGaussian, Laplace, StudentT):
        with pytest.raises(ValueError, match="initial_scale must be positive and finite"):
            kind(value)
    with pytest.raises(ValueError, match="initial_df must be above 1 and finite"):
        StudentT(initial_df=value)
    if value != math.inf:
        with pytest.raises(ValueError, match=r"momentum must be in \(0, 1\]"):
            OptimalScaleGaussian(momentum=value)
