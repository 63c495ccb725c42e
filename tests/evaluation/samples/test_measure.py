"""`sample_figures`: counts, errors, floor, and what the figures say, on models whose samples are known."""

import math

import pytest
import torch
from torch import nn

from lucid import data as data_room
from lucid.evaluation.samples import FeatureSpace, measure, sample_figures
from lucid.models import VAE, DataProtocol, LatentModel, VAEConfig, create

DIGITS = DataProtocol(name="digits", kind="image", shape=(1, 8, 8), levels=17)


class Gauge(VAE):
    """Gives N(shift, scale²) for samples, whatever it was trained on, and counts them."""

    def __init__(self, shift: float = 0.0, scale: float = 1.0) -> None:
        super().__init__(VAEConfig(encoders=[nn.Linear(3, 4)], decoders=[nn.Linear(2, 3)]))
        self.shift, self.scale, self.counted = shift, scale, 0

    def sample(self, n, *, temperature=1.0, generator=None, noise=False, condition=None):
        self.counted += n
        return self.shift + self.scale * torch.randn(n, 3, generator=generator)


def values(figures) -> dict[str, float]:
    return {figure.name.split(" of ")[0]: figure.value for figure in figures}


def normal(rows: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("rows", "asked", "batch"), [(100, 60, 7), (60, 100, 60), (61, 61, 8)])
def test_counts_are_exact(rows, asked, batch):
    """As many samples as examples, each example at most once, in any batches."""
    met = []

    def remember(x):
        met.append(x)
        return x

    model, x = Gauge(), normal(rows, 0)
    space = FeatureSpace("remembered", "the values, kept", remember)
    figures = sample_figures(model, x, features=space, num_samples=asked, batch_size=batch)
    n = min(rows, asked)
    assert model.counted == n
    of_data = torch.cat(met[::2])
    assert torch.equal(of_data, x[torch.arange(n) * rows // n])
    assert {(figure.num_samples, figure.num_examples) for figure in figures} == {(n, n)}


def test_figures_of_gaussian_samples_are_those_of_the_gaussians():
    """Means 1 apart and twice the spread: d² = 3·1 + 3·(2 − 1)²; both within their standard errors."""
    figures = sample_figures(Gauge(1.0, 2.0), normal(1500, 1), num_samples=1500, groups=20)
    distance = figures[0]
    assert distance.standard_error is not None
    assert abs(distance.value - 6.0) < 4 * distance.standard_error
    assert distance.standard_error < 0.6
    assert values(figures)["precision"] < 0.8 < values(figures)["recall"]


@pytest.mark.parametrize(("name", "at_most"), [("Fréchet distance", 1.35), ("density", 1.35), ("coverage", 1.7)])
def test_the_standard_error_is_that_of_repeated_measurements(name, at_most):
    """The jackknife's error beside the spread over 80 new sets of data and samples; of a coverage it is too large."""
    found, errors = [], []
    for seed in range(80):
        for figure in sample_figures(Gauge(0.7), normal(150, 1000 + seed), num_samples=150, seed=seed):
            if figure.name.startswith(name):
                found.append(figure.value)
                errors.append(figure.standard_error)
    spread = float(torch.tensor(found).std())
    mean_error = math.sqrt(sum(error**2 for error in errors) / len(errors))
    assert 0.75 < mean_error / spread < at_most  # the spread of 80 is itself known to 8 %


def test_training_data_are_the_floor():
    figures = sample_figures(Gauge(1.0), normal(300, 2), train=normal(900, 3), num_samples=300)
    samples, floor = values(figures[:5]), values(figures[5:])
    assert all("of training data" in figure.name for figure in figures[5:])
    assert figures[5].num_samples is None
    assert floor["Fréchet distance"] < 0.1 < 2.5 < samples["Fréchet distance"]
    assert floor["density"] == pytest.approx(1, abs=0.2)
    expected = figures[2].details["expected_of_the_same_distribution"]
    assert floor["coverage"] == pytest.approx(expected, abs=0.04)


def test_the_number_of_examples_shows():
    """The distance by fewer examples is told, and too few for the features is a warning."""
    figures = sample_figures(Gauge(), normal(400, 4), num_samples=400)
    fewer = figures[0].details["at_fewer_examples"]
    assert list(fewer) == ["100", "200"]
    assert figures[0].warning is None
    wide = FeatureSpace("wide", "many copies", lambda x: x.repeat(1, 200))
    (distance, *_) = sample_figures(Gauge(), normal(400, 4), features=wide, num_samples=400)
    assert distance.warning is not None
    assert "400 examples cannot show the covariance of 600 features" in distance.warning
    (*_, floor, _, _, _, _) = sample_figures(Gauge(), normal(400, 4), train=normal(100, 5), num_samples=400)
    assert floor.warning is not None
    assert "only 100 examples against 400" in floor.warning


def test_a_split_of_digits_is_measured_as_it_is_declared():
    dataset = data_room.load("digits")
    model: LatentModel = create("mlp", dataset, size=1)
    figures = sample_figures(model, dataset.test, train=dataset.train, num_samples=120)
    again = sample_figures(model, dataset.test, train=dataset.train, num_samples=120)
    assert figures == again
    assert figures[0].split == "test"
    assert figures[0].protocol == dataset.protocol.describe()
    assert "z from the prior, x from p(x|z)" in figures[0].estimator
    means = sample_figures(model, dataset.test, num_samples=120, mean=True)
    assert "the mean of p(x|z)" in means[0].estimator
    assert means[0].value != figures[0].value
    assert figures[5:] == sample_figures(model, dataset.test, train=dataset.train, num_samples=120, mean=True)[5:]


@pytest.mark.parametrize("mean", [True, False])
def test_a_sample_is_a_draw_unless_its_mean_is_asked_for(mean):
    """Draws of digits lie on their 17 levels, means between them."""
    met = []
    space = FeatureSpace("kept", "the values, kept", lambda x: met.append(x) or x.flatten(1))
    sample_figures(create("mlp", DIGITS, size=1), torch.rand(40, 1, 8, 8), features=space, mean=mean)
    levels = 16 * met[1]
    assert bool((levels - levels.round()).abs().max() < 1e-4) is not mean


def test_a_conditional_model_makes_samples_of_the_datas_own_classes():
    from lucid.models import Condition

    asked = []
    dataset = data_room.load("digits")
    model = create("topdown", dataset, size=1, condition=Condition(num_classes=10))
    sample = model.sample
    model.sample = lambda n, **given: asked.append(given["condition"]) or sample(n, **given)  # type: ignore[method-assign]
    sample_figures(model, dataset.test, num_samples=40, batch_size=16)
    labels = dataset.test.labels
    assert labels is not None
    size = len(dataset.test)
    assert torch.equal(torch.cat(asked), labels[torch.arange(40) * size // 40])


def test_settings_and_data_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="num_samples must be at least 1; received 0"):
        sample_figures(Gauge(), normal(50, 0), num_samples=0)
    with pytest.raises(ValueError, match="groups must be at least 2; received 1"):
        sample_figures(Gauge(), normal(50, 0), groups=1)
    with pytest.raises(TypeError, match=r"neighbours must be an int; received 2\.5"):
        sample_figures(Gauge(), normal(50, 0), neighbours=2.5)
    with pytest.raises(ValueError, match="at least 20 examples, for 5 neighbours and 10 groups; received 12"):
        sample_figures(Gauge(), normal(12, 0))


def test_jackknife_of_a_mean_is_its_standard_error():
    x = torch.randn(200, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    groups = torch.arange(200) % 200
    without = [float(x[groups != g].mean()) for g in range(200)]
    assert measure._jackknife(without) == pytest.approx(float(x.std()) / math.sqrt(200), rel=1e-9)
