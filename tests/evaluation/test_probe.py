"""Linear predictors against closed forms and against what is known of constructed data."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from torch import Tensor

import lucid.nn as nn
from lucid import data
from lucid.evaluation import Factors, Figure, Labelled, linear_probe, probe_figures
from lucid.evaluation.linear import constant_outcome, fit_linear
from lucid.models import VAE, VAEConfig


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def three(features: Tensor, target: Tensor) -> tuple[Labelled, Labelled, Labelled]:
    rows = len(features) // 3
    parts = [Labelled(f, t) for f, t in zip(features.split(rows), target.split(rows), strict=True)]
    return parts[0], parts[1], parts[2]


def two_gaussians(rows: int, distance: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two classes of unit variance, means `distance` apart: no predictor is right more often than Φ(distance / 2)."""
    target = (torch.arange(rows) % 2).long()
    features = randn(rows, 3, seed=seed)
    features[:, 1] += distance * target
    return features, target


@pytest.mark.parametrize("distance", [0.0, 1.0, 3.0])
def test_two_gaussians_are_told_as_well_as_can_be(distance: float) -> None:
    found = linear_probe(*three(*two_gaussians(6000, distance)))
    best = 0.5 * (1 + math.erf(distance / 2 / math.sqrt(2)))
    assert found.standard_error == pytest.approx(math.sqrt(best * (1 - best) / 2000), rel=0.1)
    assert abs(found.value - best) < 4 * math.sqrt(best * (1 - best) / 2000) + 0.01
    assert (found.unit, found.num_examples) == ("accuracy", 2000)


def test_a_linear_quantity_is_explained_but_for_its_noise() -> None:
    """y = w·x + ε: R² = |w|² / (|w|² + σ²), whatever the features' scales."""
    features = randn(6000, 3, seed=0) * torch.tensor([1.0, 100.0, 0.01])
    target = features @ torch.tensor([2.0, 0.01, 100.0]).double() + 1.5 * randn(6000, seed=1)
    found = linear_probe(*three(features, target), name="slope")
    assert found.standard_error is not None
    assert abs(found.value - 6 / (6 + 1.5**2)) < 4 * found.standard_error
    assert (found.unit, found.name) == ("R²", "linear probe of slope")


def test_the_error_of_an_explained_variance_is_that_of_another_draw() -> None:
    values, errors = [], []
    for seed in range(60):
        features = randn(900, 2, seed=seed)
        target = features.sum(1) + 2 * randn(900, seed=seed + 1000)
        found = linear_probe(*three(features, target))
        values.append(found.value)
        errors.append(found.standard_error)
    assert float(torch.tensor(errors).mean()) == pytest.approx(float(torch.tensor(values).std()), rel=0.3)


def test_the_fit_is_scikit_learns_on_standardised_features() -> None:
    features, target = two_gaussians(900, 1.5)
    train, validation, test = three(features * 50 + 7, target)
    found = linear_probe(train, validation, test)
    mean, scale = train.features.mean(0), train.features.std(0)
    inputs = [((part.features - mean) / scale).numpy() for part in (train, validation, test)]
    fits = [LogisticRegression(C=10.0**power, max_iter=1000).fit(inputs[0], train.target) for power in range(-4, 2)]
    scores = [fit.score(inputs[1], validation.target) for fit in fits]
    best = scores.index(max(scores))
    assert found.details["C"] == 10.0 ** (best - 4)
    assert found.value == pytest.approx(fits[best].score(inputs[2], test.target), abs=0.004)

    quantity = three(features, features[:, 0] + randn(900, seed=5))
    inputs = [((part.features - part.features.mean(0)) / part.features.std(0)).numpy() for part in quantity[:1]]
    by_hand = Ridge(alpha=1.0).fit(inputs[0], quantity[0].target)
    mean, scale = quantity[0].features.mean(0), quantity[0].features.std(0)
    predicted = by_hand.predict(((quantity[2].features - mean) / scale).numpy())
    assert linear_probe(*quantity).value == pytest.approx(r2_score(quantity[2].target, predicted), abs=0.01)


def test_the_penalty_is_chosen_on_validation_alone() -> None:
    """Validation examples of nothing but noise: every penalty is as good, and the strongest is taken."""
    features, target = two_gaussians(90, 4.0)
    train, validation, test = three(features, target)
    same = Labelled(torch.zeros_like(validation.features), validation.target)
    assert linear_probe(train, same, test).details["C"] == 1e-4
    turned = Labelled(test.features, 1 - test.target)
    one, other = (fit_linear(train, validation, part) for part in (test, turned))
    assert one.details == other.details  # the test part decided nothing
    assert one.value == pytest.approx(1 - other.value)


def test_the_floor() -> None:
    train = Labelled(torch.zeros(5, 1), torch.tensor([2, 2, 1, 0, 2]))
    test = Labelled(torch.zeros(4, 1), torch.tensor([2, 0, 1, 2]))
    assert constant_outcome(train, test).per_example.tolist() == [1, 0, 0, 1]
    assert constant_outcome(train, test).details == {"said": 2}
    quantity = Labelled(torch.zeros(4, 1), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    mean = constant_outcome(quantity, quantity)
    assert mean.value == pytest.approx(0)
    far = constant_outcome(Labelled(quantity.features, quantity.target + 10), quantity)
    assert far.value == pytest.approx(r2_score(quantity.target, torch.full((4,), 12.5)))


def test_a_gain_is_paired() -> None:
    features, target = two_gaussians(900, 2.0)
    parts = three(features, target)
    blind = [Labelled(part.features[:, :1], part.target) for part in parts]
    seeing, guessing = fit_linear(*parts), fit_linear(blind[0], blind[1], blind[2])
    gain, error = seeing.gain_over(guessing)
    assert gain == pytest.approx(seeing.value - guessing.value)
    assert seeing.gain_over(seeing) == (0, 0)
    assert 0 < error < 0.05


def model(weight: Tensor) -> VAE:
    units, features = weight.shape
    encoder = nn.Linear(features, 2 * units, bias=False)
    with torch.no_grad():
        encoder.weight.copy_(torch.cat([weight, torch.zeros_like(weight)]))
    return VAE(VAEConfig(encoders=[encoder], decoders=[nn.Linear(units, features)]))


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


def test_a_model_is_probed_beside_its_data() -> None:
    features, target = two_gaussians(2000, 3.0)
    dataset = data.load(features.float(), labels=target, scaling="none", validation=500, test=500)
    seeing, blind = (model(torch.eye(3)[rows]) for rows in ([1, 2], [0, 2]))
    found = by_name(probe_figures(seeing, dataset))
    assert list(found) == ["linear probe of label", "linear probe of label from x", "most common label"]
    means, x = found["linear probe of label"], found["linear probe of label from x"]
    assert means.value == pytest.approx(x.value, abs=0.02)
    assert means.details["gain_over_x"] == pytest.approx(means.value - x.value)
    assert "posterior means of level 0, fitted on 1,000 examples" in means.estimator
    assert "standardised x, fitted on 1,000" in x.estimator
    assert means.split == "test"
    assert means.protocol == dataset.protocol.describe()
    unseen = by_name(probe_figures(blind, dataset, max_examples=100))["linear probe of label"]
    assert unseen.value < 0.65
    assert unseen.num_examples == 100
    assert abs(found["most common label"].value - 0.5) < 0.1


def test_factors_of_the_three_parts() -> None:
    x = randn(600, 3, seed=0).float()
    dataset = data.load(x, scaling="none", validation=200, test=200)
    parts = (dataset.train, dataset.validation, dataset.test)
    factors = [Factors(part.tensor()[:, 1:] * 2, names=["one", "two"]) for part in parts]
    found = by_name(probe_figures(model(torch.eye(3)[:2]), dataset, (factors[0], factors[1], factors[2])))
    assert found["linear probe of one"].value > 0.99  # float32 of x
    assert found["linear probe of two"].value < 0.1
    assert found["linear probe of two from x"].value > 0.99
    assert abs(found["mean two"].value) < 0.05
    with pytest.raises(ValueError, match="each example of the validation part; received 600 rows for 200 examples"):
        probe_figures(model(torch.eye(3)[:2]), dataset, (factors[0], Factors(x), factors[2]))


def test_x_that_is_too_large_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucid.evaluation.probe._MAX_NUMBERS", 100)
    features, target = two_gaussians(600, 3.0)
    dataset = data.load(features.float(), labels=target, scaling="none")
    found = probe_figures(model(torch.eye(3)[:2]), dataset)
    assert [figure.name for figure in found] == ["linear probe of label", "most common label"]
    assert "more than 100 numbers" in found[0].details["x_left_out"]


def test_what_is_wrong_is_refused() -> None:
    parts = three(*two_gaussians(90, 1.0))
    with pytest.raises(ValueError, match="have one target only"):
        linear_probe(Labelled(parts[0].features, torch.zeros(30).long()), *parts[1:])
    with pytest.raises(ValueError, match="test has 2 features an example and train has 3"):
        linear_probe(*parts[:2], Labelled(parts[2].features[:, :2], parts[2].target))
    with pytest.raises(ValueError, match="validation must hold at least two examples"):
        linear_probe(parts[0], Labelled(parts[1].features[:1], parts[1].target[:1]), parts[2])
    with pytest.raises(ValueError, match="must both be classes, int64, or both be quantities"):
        linear_probe(*parts[:2], Labelled(parts[2].features, parts[2].target.double()))
    with pytest.raises(FloatingPointError, match="features of test are not finite"):
        linear_probe(*parts[:2], Labelled(parts[2].features / 0, parts[2].target))
    x, target = two_gaussians(90, 1.0)
    with pytest.raises(ValueError, match="the train part has none: load the data with labels"):
        probe_figures(model(torch.eye(3)), data.load(x.float()))
    with pytest.raises(ValueError, match="the validation part holds no example"):
        probe_figures(model(torch.eye(3)), data.load(x.float(), labels=target, validation=0))


def test_a_fit_that_does_not_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucid.evaluation.linear._MAX_STEPS", 1)
    features = randn(90, 20, seed=0)
    target = (features @ randn(20, seed=1) > 0).long()
    assert "did not end in 1 steps" in (linear_probe(*three(features, target)).warning or "")
