"""A conditional model is measured with each example's own label: against log p(x|c) in closed form."""

from __future__ import annotations

import pytest
import torch
from tests.conditional import SCALE, ConditionalGaussian, labelled

from lucid.data import Share
from lucid.evaluation import evaluate, examples_of, unit_statistics

DATA = labelled()


@pytest.mark.parametrize("max_rows", [None, 7])
def test_the_figures_are_of_the_labels_of_each_example(max_rows: int | None) -> None:
    """The posterior is exact, so that every importance weight is log p(x|c), whatever was drawn."""
    model, split = ConditionalGaussian(), DATA.train
    found = evaluate(model, split, num_samples=3, batch_size=16, max_rows=max_rows)
    assert split.labels is not None
    exact = model.exact_log_likelihood(split.tensor(), split.labels)
    assert found.log_likelihood.value == pytest.approx(float(exact.mean()), abs=1e-4)
    others = model.exact_log_likelihood(split.tensor(), split.labels.roll(1))
    assert float(exact.mean()) > float(others.mean()) + 1


def test_a_tensor_comes_with_its_condition() -> None:
    model = ConditionalGaussian()
    x, labels = DATA.test.tensor(), DATA.test.labels
    assert labels is not None
    exact = float(model.exact_log_likelihood(x, labels).mean())
    assert evaluate(model, x, num_samples=2, condition=labels).log_likelihood.value == pytest.approx(exact, abs=1e-4)
    with pytest.raises(ValueError, match="give condition="):
        evaluate(model, x)
    with pytest.raises(ValueError, match="a row for each example; received 3 for 30"):
        evaluate(model, x, condition=labels[:3])
    with pytest.raises(ValueError, match="a split gives the labels of its examples itself"):
        evaluate(model, DATA.test, condition=labels)


def test_examples_come_with_what_is_told_of_them() -> None:
    model = ConditionalGaussian()
    pairs = list(examples_of(model, DATA.test, 8, torch.device("cpu")))
    portions = list(DATA.test.portions(8, share=Share(), condition=True))
    for (x, told), portion in zip(pairs, portions, strict=True):
        assert torch.equal(x, portion.x)
        assert told is not None
        assert torch.equal(told, portion.condition)


def test_unit_statistics_take_the_pairs() -> None:
    """Told the class, the posterior mean varies with z alone: Var(E[z|x,c]) = 1 − posterior variance."""
    model, split = ConditionalGaussian(), labelled(4000).train
    (units,) = unit_statistics(model, examples_of(model, split, 512, torch.device("cpu")), num_samples=2)
    posterior = 1 / (1 + model.mixing.square().sum(0) / SCALE**2)
    error = 4 * (2 / 3200) ** 0.5  # four standard errors of a variance of 1
    torch.testing.assert_close(units.variance.float(), 1 - posterior, atol=error, rtol=0)
