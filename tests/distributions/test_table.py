"""The likelihood of tables: each kind against its definition by other means, and what missing values are worth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from lucid.distributions import Column, Rows, TableColumns, TableLikelihood
from lucid.distributions.table import ordered_log_mass

SCHEMA = (
    Column("size", "real", shift=3.0, scale=2.0),
    Column("colour", "categorical", categories=("red", "green", "blue")),
    Column("visits", "count"),
    Column("income", "positive"),
    Column("member", "binary", categories=(False, True)),
    Column("grade", "ordinal", categories=("C", "B", "A", "A+")),
    Column("shape", "categorical", categories=("round", "flat", "other")),
    Column("weight", "real"),
)
NAN = math.nan


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def params(n: int, seed: int = 0, spread: float = 1.0) -> Tensor:
    likelihood = TableLikelihood(SCHEMA)
    return spread * torch.randn(n, likelihood.num_outputs(len(SCHEMA)), generator=generator(seed))


def rows(n: int, seed: int = 1) -> Tensor:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, len(SCHEMA)))
    x[:, 2] = random.poisson(4, n)
    for i in (1, 4, 5, 6):
        x[:, i] = random.integers(0, SCHEMA[i].levels, n)
    return torch.tensor(x, dtype=torch.float32)


def log_probs(h: Tensor, x: Tensor) -> np.ndarray:
    """log p of each value by scipy, (N, columns), from the documented order of the decoder's outputs.

    Kinds come in the order in which they first occur: numbers (3), three-way categories (2), counts, binary, ordinal.
    """
    p, v = h.double().numpy(), x.double().numpy()
    found = np.zeros_like(v)
    for place, i in enumerate((0, 3, 7)):
        found[:, i] = stats.norm.logpdf(v[:, i], p[:, place], np.exp(0.5 * p[:, 3 + place]))
    for place, i in enumerate((1, 6)):
        logits = p[:, 6:12].reshape(-1, 3, 2)[:, :, place]
        found[:, i] = np.take_along_axis(
            logits - np.logaddexp.reduce(logits, axis=1, keepdims=True), v[:, [i]].astype(int), axis=1
        )[:, 0]
    mean, r = np.exp(p[:, 12]), np.exp(p[:, 13])
    found[:, 2] = stats.nbinom.logpmf(v[:, 2], r, r / (r + mean))
    found[:, 4] = stats.bernoulli.logpmf(v[:, 4], 1 / (1 + np.exp(-p[:, 14])))
    steps = np.log1p(np.exp(p[:, 16:18]))
    edges = np.concatenate([p[:, 15:16], p[:, 15:16] + steps.cumsum(1)], axis=1)
    below = np.concatenate([np.zeros((len(p), 1)), stats.logistic.cdf(edges), np.ones((len(p), 1))], axis=1)
    found[:, 5] = np.log(np.take_along_axis(np.diff(below, axis=1), v[:, [5]].astype(int), axis=1)[:, 0])
    return found


def test_log_prob_is_the_sum_of_the_columns_definitions() -> None:
    h, x = params(50), rows(50)
    p = TableLikelihood(SCHEMA)(h)
    assert (p.batch_shape, p.event_shape) == ((50,), (8,))
    expected = torch.tensor(log_probs(h, x))
    torch.testing.assert_close(p.log_prob(x).double(), expected.sum(1), rtol=1e-5, atol=1e-4)


def test_a_missing_value_is_left_out_and_nothing_else() -> None:
    """What remains is the marginal: the definitions of the observed values alone."""
    h, x = params(200), rows(200)
    missing = torch.rand(x.shape, generator=generator(3)) < 0.4
    missing[0] = True
    expected = torch.tensor(log_probs(h, x)).masked_fill(missing, 0.0).sum(1)
    found = TableLikelihood(SCHEMA)(h).log_prob(x.masked_fill(missing, NAN))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)
    assert float(found[0]) == 0.0


def test_a_missing_value_sends_no_gradient() -> None:
    h, x = params(1).requires_grad_(), rows(1)
    x[:, 5] = NAN
    TableLikelihood(SCHEMA)(h).log_prob(x).sum().backward()
    assert h.grad is not None
    assert bool((h.grad[:, 15:18] == 0).all())
    assert bool((h.grad[:, :15] != 0).all())


def test_draws_are_laid_out_in_front() -> None:
    h, x = params(4), rows(4)
    p = TableLikelihood(SCHEMA)(h)
    many = torch.stack([x, rows(4, seed=9)])
    torch.testing.assert_close(p.log_prob(many), torch.stack([p.log_prob(each) for each in many]))


@pytest.mark.parametrize("spread", [1.0, 30.0, 1e4, 1e30])
def test_the_masses_of_ordered_categories_sum_to_one(spread: float) -> None:
    thresholds = spread * torch.randn(300, 5, generator=generator())
    log_mass = ordered_log_mass(thresholds)
    assert log_mass.isfinite().all()
    torch.testing.assert_close(log_mass.double().exp().sum(1), torch.ones(300).double(), atol=2e-6, rtol=0)


def test_samples_follow_the_masses_and_densities() -> None:
    n = 20_000
    h = params(1, seed=4)
    p = TableLikelihood(SCHEMA)(h.expand(n, -1))
    x = p.sample(generator=generator(5))
    assert x.shape == (n, 8)
    for i in (0, 3, 7):
        place = (0, 3, 7).index(i)
        normal = stats.norm(float(h[0, place]), float((0.5 * h[0, 3 + place]).exp()))
        assert stats.kstest(x[:, i].numpy(), normal.cdf).pvalue > 1e-3
    for i in (1, 2, 4, 5, 6):
        most = int(x[:, i].max()) + 1
        values = rows(1).repeat(most, 1)
        values[:, i] = torch.arange(most)
        mass = np.exp(log_probs(h.repeat(most, 1), values)[:, i])
        common = n * mass > 5
        counts = np.bincount(x[:, i].long().numpy(), minlength=most)
        statistic = ((counts - n * mass)[common] ** 2 / (n * mass)[common]).sum()
        assert stats.chi2.sf(statistic, common.sum() - 1) > 1e-3


def test_a_part_of_a_batch_draws_what_the_whole_draws() -> None:
    h = params(6)
    likelihood = TableLikelihood(SCHEMA)
    whole = likelihood(h).sample(generator=generator(7))
    part = likelihood(h[2:5]).sample(generator=Rows(generator(7), 2, 6))
    assert torch.equal(part, whole[2:5])


def test_the_mean_is_the_mean_of_numbers_and_the_most_probable_of_categories() -> None:
    h = params(40, seed=8)
    mean = TableLikelihood(SCHEMA)(h).mean
    torch.testing.assert_close(mean[:, [0, 3, 7]], h[:, :3])
    torch.testing.assert_close(mean[:, 2], h[:, 12].exp())
    for i in (1, 4, 5, 6):
        levels = SCHEMA[i].levels or 0
        values = rows(1).repeat(levels, 1)
        mass = []
        for level in range(levels):
            values[level, i] = level
        mass = np.stack([log_probs(row.repeat(levels, 1), values)[:, i] for row in h])
        assert mean[:, i].tolist() == mass.argmax(1).tolist()


def test_the_mean_of_a_mixture_weighs_masses_before_it_decides() -> None:
    """Two draws each favour a category of their own, and both think well of a third: the third is the likeliest."""
    schema = (Column("a", "categorical", categories=("x", "y", "z")), Column("b", "real"))
    mass = torch.tensor([[0.55, 0.0001, 0.4499], [0.0001, 0.55, 0.4499]])
    h = torch.cat([mass.log(), torch.tensor([[1.0, 0.0], [5.0, 0.0]])], dim=1)
    p = TableLikelihood(schema)(h)
    assert isinstance(p, TableColumns)
    assert p.mixture_mean(torch.tensor([[0.5], [0.5]])).tolist() == [[2.0, 3.0]]
    torch.testing.assert_close(p.mixture_mean(torch.tensor([[0.9], [0.1]])), torch.tensor([[0.0, 1.4]]))


@pytest.mark.parametrize("size", [30.0, 1e5, 1e30])
def test_no_finite_output_makes_a_value_or_gradient_infinite(size: float) -> None:
    signs = torch.randint(0, 2, (64, params(1).shape[1]), generator=generator(6)) * 2.0 - 1.0
    h = (size * signs).requires_grad_()
    x = rows(64)
    x[::3, ::2] = NAN
    value = TableLikelihood(SCHEMA)(h).log_prob(x)
    value.sum().backward()
    assert value.isfinite().all()
    assert h.grad is not None
    assert h.grad.isfinite().all()


def test_it_starts_at_the_marginals_of_the_observed_values() -> None:
    x = rows(4000)
    x[:, 0] = 3 + 2 * x[:, 0]
    missing = torch.rand(x.shape, generator=generator(2)) < 0.3
    x = x.masked_fill(missing, NAN)
    likelihood = TableLikelihood(SCHEMA)
    p = likelihood(likelihood.initial_params(x).unsqueeze(0))
    drawn = p.sample((20_000,), generator=generator(3))[:, 0]
    for i in range(len(SCHEMA)):
        seen = x[~x[:, i].isnan(), i]
        spread = float(seen.std()) * math.sqrt(1 / len(seen) + 1 / len(drawn))
        assert float(drawn[:, i].mean()) == pytest.approx(float(seen.mean()), abs=5 * spread)
        assert float(drawn[:, i].std()) == pytest.approx(float(seen.std()), rel=0.05)


def test_a_column_nobody_has_seen_starts_finite() -> None:
    x = rows(20)
    x[:, :] = NAN
    likelihood = TableLikelihood(SCHEMA)
    assert likelihood.initial_params(x).isfinite().all()


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (0, math.inf, "x must be finite, or NaN where a value is missing; it holds inf"),
        (1, 3.0, r"the categorical column 'colour' takes the numbers 0 … 2 of categories, or NaN; row 1 holds 3"),
        (4, 0.5, "the binary column 'member' takes"),
        (2, -1.0, r"the count column 'visits' takes counts 0, 1, 2, …, or NaN; row 1 holds -1"),
        (2, 1.5, "row 1 holds 1.5"),
    ],
)
def test_values_a_column_cannot_take_are_refused(place: int, value: float, text: str) -> None:
    x = rows(3)
    x[1, place] = value
    with pytest.raises(ValueError, match=text):
        TableLikelihood(SCHEMA).check(x)
    x[1, place] = NAN
    TableLikelihood(SCHEMA).check(x)


def test_the_number_of_columns_is_the_schema_s() -> None:
    with pytest.raises(ValueError, match="x must have the 8 columns of the schema; it has 3"):
        TableLikelihood(SCHEMA).num_outputs(3)
    with pytest.raises(ValueError, match=r"x must be \(N, 8\)"):
        TableLikelihood(SCHEMA).check(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="one column or more"):
        TableLikelihood(())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kind": "integer"}, "kind must be one of real, positive"),
        ({"kind": "real", "categories": ("a", "b")}, "the real column 'c' has no categories"),
        ({"kind": "ordinal", "categories": ("a",)}, "has at least two categories; received"),
        ({"kind": "binary", "categories": ("a", "b", "c")}, "the binary column 'c' has two categories"),
        ({"kind": "categorical", "categories": ("a", "a")}, "must differ"),
        ({"kind": "real", "scale": 0.0}, "scale finite and positive; 'c' received 0.0 and 0.0"),
        ({"kind": "count", "scale": 2.0}, "only real and positive columns are shifted and scaled; 'c' is count"),
    ],
)
def test_a_column_that_contradicts_itself_is_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Column("c", **options)  # pyright: ignore[reportArgumentType]
