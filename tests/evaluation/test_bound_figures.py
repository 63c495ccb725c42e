"""Every bound is a figure with its estimator; the grid of k is what was asked for; examples are evenly spread."""

from __future__ import annotations

import math

import pytest
import torch
from tests import linear_gaussian as oracles
from tests.evaluation.exact import ListedSplit, data, exact_log_likelihood, linear_gaussian

from lucid.data import load
from lucid.evaluation import evaluate
from lucid.evaluation.examples import some_examples
from lucid.evaluation.measure import counts_of
from lucid.models import create


def test_rate_and_distortion_make_up_the_elbo_and_have_errors_of_their_own() -> None:
    oracle = oracles.arbitrary(2, priors=True)
    x = oracles.randn(300, 5, seed=0)
    found = evaluate(oracle.model(), x, num_samples=1, elbo_samples=20)
    by_name = {figure.name: figure for figure in found.figures}
    rate, distortion = by_name["rate"], by_name["reconstruction"]
    assert -rate.value - distortion.value == pytest.approx(found.elbo.value, rel=1e-12)
    exact_rate, exact_distortion = torch.stack(oracle.kl(x)).sum(0), oracle.reconstruction(x)
    for figure, exact in ((rate, exact_rate), (distortion, exact_distortion)):
        assert abs(figure.value - float(exact.mean())) < 4 * (figure.standard_error or 0) / math.sqrt(20) + 0.02
        # Over the examples, to which the noise of 20 draws adds little.
        spread = float(exact.std()) / math.sqrt(300)
        assert 0.9 * spread < (figure.standard_error or 0) < 1.5 * spread
    assert {"KL, level 0", "KL, level 1", "active units, level 0", "active units, level 1"} <= by_name.keys()


def test_each_figure_says_what_it_is_from() -> None:
    data_set = load("digits")
    model = create("mlp", data_set, size=1)
    found = evaluate(model, data_set.test, num_samples=[2, 20], elbo_samples=3, seed=4)
    assert {figure.num_examples for figure in found.figures} == {len(data_set.test)}
    assert {figure.protocol for figure in found.figures} == {data_set.protocol.describe()}
    assert {(figure.split, figure.seed) for figure in found.figures} == {("test", 4)}
    by_name = {figure.name: figure for figure in found.figures}
    assert by_name["ELBO"].num_samples == by_name["rate"].num_samples == 3
    assert by_name["log-likelihood, k = 20"].num_samples == 20
    assert by_name["log-likelihood, k = 20"].estimator.startswith("IW-20; standard error over examples")
    bits = by_name["bits/dim"]
    assert bits.value == found.bits_per_dim
    assert bits.standard_error == pytest.approx(found.log_likelihood.standard_error / (64 * math.log(2)), rel=1e-12)
    assert by_name["log-likelihood, k = 2"].value == found.importance_weighted[0].value


def test_a_model_without_levels_has_no_bits() -> None:
    found = evaluate(linear_gaussian(), data(20), num_samples=2)
    assert all(figure.name != "bits/dim" for figure in found.figures)


def test_the_table_has_each_figure_once() -> None:
    found = evaluate(linear_gaussian(), data(30), num_samples=10)
    names = [row.name for row in found.to_table()]
    assert len(names) == len(set(names))
    assert {"rate", "IW gap left, k = 10"} <= set(names)
    rows = {row.name: row.value for row in found.to_table()}
    kl = next(figure for figure in found.figures if figure.name == "KL")
    assert rows["KL"] == kl.rounded()
    assert "±" in rows["KL"]


@pytest.mark.parametrize(
    ("asked", "counts"),
    [(1, [1]), (10, [1, 10]), (5000, [1, 10, 100, 1000, 5000]), ([7], [7]), ((3, 5, 100), [3, 5, 100])],
)
def test_the_numbers_of_draws_to_report_at(asked: int | list[int], counts: list[int]) -> None:
    assert counts_of(asked) == counts


def test_a_grid_is_of_one_growing_set_of_draws() -> None:
    model, x = linear_gaussian(), data(30)
    fine, coarse = (evaluate(model, x, num_samples=grid) for grid in ([10, 20, 40], [40]))
    assert [at_k.num_samples for at_k in fine.importance_weighted] == [10, 20, 40]
    # At most as many rows at once: the draws at 10, 20 and 40 are those of 40 in three parts.
    assert abs(fine.log_likelihood.value - coarse.log_likelihood.value) < 0.05
    exact = float(exact_log_likelihood(model, x).mean())
    assert fine.importance_weighted[0].value < exact + 0.1


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ([], ValueError, r"several that increase; received \[\]"),
        ([10, 5], ValueError, r"several that increase; received \[10, 5\]"),
        ([0, 5], ValueError, "num_samples must be at least 1; received 0"),
        ([1.5], TypeError, "num_samples must be an int; received 1.5"),
        ("100", TypeError, "num_samples must be an int; received '100'"),
    ],
)
def test_a_grid_that_is_none_is_refused(asked: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        counts_of(asked)


def test_a_part_of_the_examples_is_spread_evenly() -> None:
    x = torch.arange(1000.0).view(1000, 1).double()
    model = linear_gaussian()
    for count in (1, 7, 300, 1000, 5000):
        some, told = some_examples(model, ListedSplit(x), count, torch.device("cpu"))
        assert told is None
        assert len(some) == min(count, 1000)
        gaps = some[:, 0].diff()
        assert some[0] == 0
        if len(gaps):
            assert gaps.max() - gaps.min() <= 1
    with pytest.raises(ValueError, match="no examples to measure"):
        some_examples(model, x[:0], 5, torch.device("cpu"))
