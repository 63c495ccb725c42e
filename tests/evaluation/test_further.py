"""What is measured besides the bounds, by name: what each needs, and what is left out where it is not there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lucid.data import Dataset, load
from lucid.evaluation import Factors
from lucid.evaluation.further import FURTHER, Material, further_figures
from lucid.models import LatentModel, create


@pytest.fixture(scope="module")
def shapes() -> Dataset:
    """Labelled vectors that a small model is quickly measured on."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 300)
    x = generator.normal(size=(300, 6)) + 3 * np.eye(6)[labels]
    return load(x.astype(np.float32), labels=labels, name="shapes")


@pytest.fixture(scope="module")
def model(shapes: Dataset) -> LatentModel:
    torch.manual_seed(0)
    return create("mlp", shapes, size=1)


def test_all_measures_everything_where_everything_is_there(shapes: Dataset, model: LatentModel) -> None:
    figures, left_out = further_figures(model, Material(shapes.test, shapes), ["all"])
    names = " ".join(figure.name for figure in figures)
    for part in ("I(x; z)", "units that carry", "MIG", "Fréchet distance of samples", "training data", "linear probe"):
        assert part in names
    assert left_out == {}
    assert "Fréchet distance of samples (values)" in names  # a vector has no pixels


def test_one_is_measured_alone(shapes: Dataset, model: LatentModel) -> None:
    figures, _ = further_figures(model, Material(shapes.test, shapes, seed=5), ["latents"])
    assert {figure.seed for figure in figures} == {5}
    assert not any("MIG" in figure.name for figure in figures)


def test_what_all_cannot_measure_is_left_out_with_the_reason(shapes: Dataset, model: LatentModel) -> None:
    bare = load(shapes.train.tensor(100).numpy(), name="shapes", validation=20, test=50)
    figures, left_out = further_figures(model, Material(bare.test), ["all"])
    assert set(left_out) == {"disentanglement", "probe"}
    assert "factors" in left_out["disentanglement"]
    assert "training part" in left_out["probe"]
    assert figures


@pytest.mark.parametrize(
    ("name", "message"),
    [("disentanglement", "the data has none: give them"), ("probe", "one part only: measure a run")],
)
def test_what_was_named_and_lacks_what_it_needs_is_an_error(
    shapes: Dataset, model: LatentModel, name: str, message: str
) -> None:
    bare = load(shapes.train.tensor(100).numpy(), name="shapes", validation=20, test=50)
    with pytest.raises(ValueError, match=message):
        further_figures(model, Material(bare.test), [name])


def test_factors_that_are_given_take_the_place_of_labels(shapes: Dataset, model: LatentModel) -> None:
    factors = Factors(np.stack([np.arange(len(shapes.test)) % 2, np.arange(len(shapes.test)) % 3], 1))
    figures, _ = further_figures(model, Material(shapes.test, shapes, factors), ["disentanglement"])
    assert any(figure.name == "modularity" for figure in figures)  # which one factor alone does not have


def test_a_probe_is_not_of_the_labels_where_factors_of_one_part_are_given(shapes: Dataset, model: LatentModel) -> None:
    factors = Factors(np.arange(len(shapes.test)) % 2)
    with pytest.raises(ValueError, match="those of the test part alone: give a row for each example of all parts"):
        further_figures(model, Material(shapes.test, shapes, factors), ["probe"])


def test_names_that_are_none_are_refused(shapes: Dataset, model: LatentModel) -> None:
    with pytest.raises(ValueError, match=f"must be {', '.join(FURTHER)} or all; received fid"):
        further_figures(model, Material(shapes.test, shapes), ["fid"])


@pytest.mark.parametrize("error", [ImportError, FloatingPointError, ValueError])
def test_what_fails_under_all_does_not_end_the_others(
    shapes: Dataset, model: LatentModel, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise error("it is broken")

    measures = {"latents": broken, "disentanglement": broken, "samples": broken, "probe": lambda *_: ["a figure"]}
    monkeypatch.setattr("lucid.evaluation.further._MEASURES", measures)
    figures, left_out = further_figures(model, Material(shapes.test, shapes), ["all"])
    assert figures == ["a figure"]
    assert left_out == dict.fromkeys(["latents", "disentanglement", "samples"], "it is broken")
    with pytest.raises(error):
        further_figures(model, Material(shapes.test, shapes), ["samples"])
