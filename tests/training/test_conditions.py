"""A conditional model learns from each example's own label, in one piece or in parts, unbroken or resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conditional import CLASSES, FEATURES, ConditionalGaussian, labelled
from tests.training.updates import update_of

from lucid import data
from lucid.data import Dataset, Portion
from lucid.training import Run, fit
from lucid.training.update import stand_in

SETTINGS: dict[str, Any] = {"batch_size": 32, "progress": False, "precision": "float32", "warmup": 0}


def fresh() -> ConditionalGaussian:
    model = ConditionalGaussian()
    with torch.no_grad():
        model.means.weight.zero_()
    return model


def test_each_class_learns_the_mean_of_its_own_examples() -> None:
    """W is fixed, so that the likelihood is greatest where every m_c is the mean of that class."""
    found, model = labelled(600), fresh()
    fit(model, found, steps=600, learning_rate=0.05, weight_decay=0.0, **SETTINGS)
    x, labels = found.train.tensor(), found.train.labels
    assert labels is not None
    wanted = torch.stack([x[labels == c].mean(0) for c in range(CLASSES)])
    spread = torch.stack([x[labels == c].std(0) / (labels == c).sum().sqrt() for c in range(CLASSES)])
    assert float(((model.means.weight.detach() - wanted).abs() / spread).max()) < 1  # closer than the data can tell
    assert float((wanted[0] - wanted[1]).norm()) > 2


@pytest.mark.parametrize("accumulate", [2, 3])
def test_parts_of_a_batch_take_their_labels_with_them(accumulate: int) -> None:
    generator = torch.Generator().manual_seed(5)
    x, labels = torch.randn(32, FEATURES, generator=generator), torch.randint(3, (32,), generator=generator)
    gradients: list[torch.Tensor] = []
    for parts in (1, accumulate):
        model = ConditionalGaussian()
        update = update_of(model, accumulate=parts)
        update.gradients(Portion(x, 0, 32, labels), 1.0, 0)
        assert model.means.weight.grad is not None
        gradients.append(model.means.weight.grad)
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-5, rtol=1e-5)


def test_a_process_without_rows_stands_in_with_a_label_the_model_knows() -> None:
    empty = Portion(torch.empty(0, FEATURES), 3, 3, torch.empty(0, dtype=torch.int64))
    row = stand_in(empty)
    assert row.x.shape == (1, FEATURES)
    assert row.condition is not None
    assert row.condition.tolist() == [0]
    held = stand_in(Portion(torch.ones(2, FEATURES), 1, 3, torch.tensor([2, 1])))
    assert held.x.shape == (1, FEATURES)
    assert held.condition is not None
    assert held.condition.tolist() == [2]


def test_the_validation_loss_is_of_the_examples_own_labels() -> None:
    found, model = labelled(), ConditionalGaussian()
    result = fit(model, found, steps=1, learning_rate=1e-12, **SETTINGS)
    assert result.validation is not None
    labels = found.validation.labels
    assert labels is not None
    exact = model.exact_log_likelihood(found.validation.tensor(), labels)
    kl_free = result.validation.elbo  # one draw of log p(x, z) − log q(z|x), but for the closed-form KL
    assert kl_free == pytest.approx(float(exact.mean()), abs=4 / len(labels) ** 0.5)


def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(tmp_path: Path) -> None:
    more = {**SETTINGS, "decay": "none"}
    before, unbroken, resumed = (fresh() for _ in range(3))
    fit(before, labelled(), steps=25, out=tmp_path, **more)
    fit(unbroken, labelled(), steps=40, **more)
    fit(resumed, labelled(), steps=40, out=tmp_path, resume=True, **more)
    assert torch.equal(resumed.means.weight, unbroken.means.weight)
    assert not torch.equal(resumed.means.weight, before.means.weight)
    loaded = Run(tmp_path).model()
    assert isinstance(loaded, ConditionalGaussian)
    assert torch.equal(loaded.means.weight, resumed.means.weight)


def relabelled(found: Dataset) -> Dataset:
    x = torch.cat([part.tensor() for part in (found.train, found.validation, found.test)])
    return data.load(x, labels=torch.arange(len(x)) % CLASSES)


def test_a_run_is_not_resumed_with_other_labels(tmp_path: Path) -> None:
    found = labelled()
    x = torch.cat([part.tensor() for part in (found.train, found.validation, found.test)])
    fit(fresh(), data.load(x, labels=torch.zeros(len(x), dtype=torch.int64)), steps=5, out=tmp_path, **SETTINGS)
    with pytest.raises(ValueError, match="cannot be resumed with other labels"):
        fit(fresh(), relabelled(found), steps=9, out=tmp_path, resume=True, **SETTINGS)


def test_data_without_labels_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the train part has none"):
        fit(fresh(), torch.zeros(50, FEATURES), steps=1, out=tmp_path / "run", **SETTINGS)
    assert not (tmp_path / "run").exists()


def test_a_compiled_step_is_told_the_labels_too() -> None:
    update = update_of(ConditionalGaussian())
    x, labels = torch.zeros(32, FEATURES), torch.arange(32) % CLASSES
    told: list[torch.Tensor | None] = []

    def compiled(x: torch.Tensor, betas: Any, condition: torch.Tensor | None = None) -> Any:
        told.append(condition)
        return update.step(x, betas, condition=condition)

    update.compiled, update.compiled_shape = compiled, x.shape
    update(Portion(x, 0, 32, labels), 1.0, 0)
    assert told == [labels]
