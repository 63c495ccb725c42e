"""What is said to be left of the importance-weighted bound is what is left, and the warning comes where it matters."""

from __future__ import annotations

import math

import pytest
import torch
from tests.evaluation.exact import data, exact_log_likelihood, linear_gaussian

import lucid.nn as nn
from lucid.evaluation import Evaluation, Figure, evaluate
from lucid.evaluation.convergence import _exponent
from lucid.models import VAE


def gap(found: Evaluation) -> Figure:
    return next(figure for figure in found.figures if figure.name.startswith("IW gap left"))


def worse(by: float) -> VAE:
    """A posterior whose means are off by so many units: its weights vary more."""
    model = linear_gaussian()
    encoder = model.encoders[0]
    assert isinstance(encoder, nn.Linear)
    with torch.no_grad():
        encoder.bias[:2] += by
    return model


@pytest.mark.parametrize(("by", "k"), [(0.0, 30), (0.3, 50)])
def test_the_gap_left_is_the_gap_to_exact_log_p_of_x(by: float, k: int) -> None:
    model, x = worse(by), data(400)
    found = [evaluate(model, x, num_samples=[k // 10, k], elbo_samples=1, seed=seed) for seed in range(16)]
    exact = float(exact_log_likelihood(model, x).mean())
    true = torch.tensor([exact - one.log_likelihood.value for one in found])
    said = torch.tensor([gap(one).value for one in found])
    error = float((true - said).std()) / math.sqrt(len(found))
    # To first order in 1/k, which is what the reckoning is: a quarter of the gap for the orders that follow.
    assert abs(float(true.mean() - said.mean())) < 4 * error + 0.25 * float(true.mean())
    assert float(true.mean()) > 3 * error  # there is a gap to be found


@pytest.mark.parametrize("alpha", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("counts", [[1, 10, 100], [5, 20, 300]])
def test_the_exponent_of_gaps_that_fall_as_a_power_is_found(alpha: float, counts: list[int]) -> None:
    gaps = [3 * k**-alpha for k in counts]
    assert _exponent(counts, [gaps[0] - gaps[1], gaps[1] - gaps[2]]) == pytest.approx(alpha, abs=1e-6)
    assert _exponent(counts[1:], [0.3]) == 1


def test_heavy_tails_leave_more_than_the_weights_that_were_drawn_show() -> None:
    """Far from the posterior the gap closes slowly; the power law finds more of it than the effective sample size."""
    model, x = worse(2.0), data(300)
    found = evaluate(model, x, num_samples=[10, 100, 1000], elbo_samples=1)
    figure = gap(found)
    true = float(exact_log_likelihood(model, x).mean()) - found.log_likelihood.value
    assert figure.details["alpha"] < 1
    assert figure.details["from_weights"] < 0.5 * true
    assert figure.details["from_weights"] < figure.value < 3 * true


def test_nothing_is_left_and_nothing_warns_at_the_exact_posterior() -> None:
    found = evaluate(linear_gaussian(exact_posterior=True), data(50), num_samples=20)
    assert gap(found).value == pytest.approx(0, abs=1e-9)
    assert gap(found).warning is None
    assert found.warnings == ()


def test_a_bound_that_still_rises_warns_and_says_by_how_much() -> None:
    found = evaluate(worse(2.0), data(300), num_samples=100)
    warning = gap(found).warning or ""
    assert "the step from k = 10 to 100 still gained" in warning
    assert f"{found.importance_weighted[2].value - found.importance_weighted[1].value:.3g} nats" in warning
    assert "effective sample size" in warning
    assert found.warnings == (f"IW gap left, k = 100: {warning}",)


def test_few_effective_draws_warn_where_the_examples_are_too_few_to_see_the_rise() -> None:
    found = evaluate(worse(0.8), data(10), num_samples=[10, 20])
    assert "effective sample size is" in (gap(found).warning or "")


def test_the_gain_is_paired_so_its_error_is_smaller_than_that_of_the_bound() -> None:
    found = evaluate(linear_gaussian(), data(300), num_samples=100)
    details = gap(found).details
    rise = found.importance_weighted[-1].value - found.importance_weighted[-2].value
    assert details["gain"] == pytest.approx(rise, abs=1e-12)
    assert details["gain_standard_error"] < 0.2 * found.log_likelihood.standard_error


def test_one_number_of_draws_tells_nothing_of_the_rise() -> None:
    found = evaluate(linear_gaussian(), data(30), num_samples=[50])
    assert not any(figure.name.startswith("IW gap left") for figure in found.figures)
    assert [at_k.num_samples for at_k in found.importance_weighted] == [50]


@pytest.mark.parametrize(("counts", "warned"), [(1, True), ([100], True), ([10, 100], False)])
def test_one_number_of_draws_warns_by_its_effective_sample_size(counts: int | list[int], warned: bool) -> None:
    found = evaluate(worse(2.0), data(100), num_samples=counts)
    *_, figure = (figure for figure in found.figures if figure.name.startswith("log-likelihood"))
    assert ("not known to be converged" in (figure.warning or "")) == warned
    assert "effective sample size is" in (figure.warning or "effective sample size is")
