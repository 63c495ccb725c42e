"""Figures over seeds: means and errors by hand, and that the error over draws is the spread of what is drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tests.evaluation.exact import data, linear_gaussian

from lucid.evaluation import Evaluation, evaluate, over_seeds


def repeated(count: int, num_samples: int = 3, first: int = 0) -> list[Evaluation]:
    model, x = linear_gaussian(), data(30)
    return [evaluate(model, x, num_samples=num_samples, elbo_samples=2, seed=first + seed) for seed in range(count)]


def test_mean_and_error_are_those_of_the_values() -> None:
    found = repeated(5)
    over = {figure.name: figure for figure in over_seeds(found)}
    values = torch.tensor([one.elbo.value for one in found], dtype=torch.float64)
    assert over["ELBO"].value == pytest.approx(float(values.mean()), rel=1e-12)
    assert over["ELBO"].standard_error == pytest.approx(float(values.std()) / math.sqrt(5), rel=1e-9)
    assert over["ELBO"].details["values"] == values.tolist()
    assert over["ELBO"].details["seeds"] == [0, 1, 2, 3, 4]
    errors = torch.tensor([one.elbo.standard_error for one in found], dtype=torch.float64)
    said = over["ELBO"].details["standard_error_over_examples"]
    assert said == pytest.approx(float(errors.square().mean().sqrt()), rel=1e-9)
    assert "mean over 5 draws" in over["ELBO"].estimator
    assert [figure.name for figure in found[0].figures] == list(over)


def test_the_error_over_draws_is_the_spread_of_repeated_means() -> None:
    means, errors = [], []
    for block in range(25):
        over = {figure.name: figure for figure in over_seeds(repeated(4, num_samples=1, first=100 * block))}
        means.append(over["log-likelihood, k = 1"].value)
        errors.append(over["log-likelihood, k = 1"].standard_error or 0)
    spread, said = float(torch.tensor(means).std()), float(torch.tensor(errors).square().mean().sqrt())
    # The standard deviation of 25 values is known to 1/√48 = 14 %, three of those; that of 100 to 7 %.
    assert abs(spread / said - 1) < 0.45


def test_an_evaluation_keeps_what_was_found_over_seeds() -> None:
    found = repeated(2)
    kept = replace(found[0], over_seeds=over_seeds(found))
    assert Evaluation.from_json(kept.to_json()) == kept
    assert "over_seeds" not in found[0].to_json()
    assert Evaluation.from_json({k: v for k, v in found[0].to_json().items() if k != "figures"}).figures == ()


def test_a_warning_of_one_is_a_warning_of_all() -> None:
    found = repeated(2)
    assert any(figure.warning for figure in over_seeds(found))


def test_what_does_not_belong_together_is_refused() -> None:
    one, other = repeated(2)
    with pytest.raises(ValueError, match="at least 2 evaluations; received 1"):
        over_seeds([one])
    with pytest.raises(ValueError, match="their split differs: 'tensor' and 'test'"):
        over_seeds([one, replace(other, split="test")])
    more = evaluate(linear_gaussian(), data(30), num_samples=3, elbo_samples=5)
    with pytest.raises(ValueError, match="ELBO was estimated in different ways"):
        over_seeds([one, more])
