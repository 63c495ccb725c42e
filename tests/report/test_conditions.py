"""The page of a conditional model: what it shows goes with the labels of what it shows."""

from __future__ import annotations

import torch
from tests.conditional import ConditionalGaussian, labelled

from lucid.report import render
from lucid.report.look import Look

MODEL, DATA = ConditionalGaussian(), labelled(600)
LOOK = Look.at(MODEL, DATA)


def nearest_class(x: torch.Tensor) -> torch.Tensor:
    """Whose mean is nearest, in directions that no latent moves: there x is its class's mean, and noise."""
    basis = torch.linalg.qr(MODEL.mixing).Q
    off = torch.eye(len(basis)) - basis @ basis.T
    return torch.cdist(x @ off, MODEL.means.weight.detach() @ off).argmin(1)


def test_the_page_says_that_the_model_is_told() -> None:
    page = render(MODEL, DATA)
    assert "labels, which the model is told" in page
    assert "The model is told the class: samples are of the classes of test examples" in page
    assert "Both ends are of one class" in page


def test_reconstructions_and_embeddings_are_told_each_examples_own_label() -> None:
    assert LOOK.labels is not None
    assert torch.equal(nearest_class(LOOK.reconstruct(LOOK.x[:20])), LOOK.labels[:20])
    x, labels = LOOK.x, LOOK.labels
    wanted = MODEL.embed(x, condition=labels)
    torch.testing.assert_close(LOOK.embeddings(), wanted)


def test_samples_are_of_the_examples_classes_in_order() -> None:
    assert LOOK.labels is not None
    found = nearest_class(LOOK.sample(len(LOOK.x)))
    assert torch.equal(found, LOOK.labels.sort().values)


def test_paths_stay_within_a_class() -> None:
    line = LOOK.interpolate(3, 4)
    assert line.shape[:2] == (4, 3)
    classes = nearest_class(line.flatten(0, 1)).view(4, 3)
    assert bool((classes == classes[0]).all())
    assert len(classes[0].unique()) == 3
