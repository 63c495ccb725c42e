"""Conditions from the command line: a model told the labels of its data, and asked for classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cli.conftest import Lucid
from tests.conditional import ConditionalGaussian

from lucid.cli.conditions import condition_of_samples
from lucid.cli.errors import UsageError
from lucid.cli.main import main
from lucid.models import Condition, DataProtocol
from lucid.training import Run

PROTOCOL = DataProtocol(name="toys", kind="vector", shape=(4,))
NAMED = DataProtocol(name="toys", kind="vector", shape=(4,), classes=("bear", "cat", "fish, dried"))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A top-down model of the digits that is told which digit each is."""
    folder = tmp_path_factory.mktemp("runs") / "told"
    argv = ["train", "digits", "--model", "topdown", "--condition", "labels", "--steps", "3", "--batch-size", "8"]
    argv += ["--validation", "16", "--test", "16"]
    assert main([*argv, "--out", str(folder), "--quiet", "--device", "cpu", "--no-report"]) == 0
    return folder


def test_a_run_is_told_the_labels(lucid: Lucid, told: Path, tmp_path: Path) -> None:
    assert json.loads((told / "run.json").read_text())["model"]["condition"] == "labels"
    model = Run(told).model()
    assert model.condition == Condition(num_classes=10)
    assert lucid("evaluate", told, "--num-samples", 2, "--no-report", "--json", tmp_path / "e.json").code == 0
    assert json.loads((tmp_path / "e.json").read_text())["num_examples"] == 16
    assert "condition   labels, an int64 tensor (N,) of values 0 … 9" in lucid("info", told).out
    said = lucid("train", "--resume", told, "--steps", 4, "--quiet", "--no-report")
    assert said.code == 0
    assert "trained 4 steps" in said.out


def test_samples_are_of_the_classes_asked_for(lucid: Lucid, told: Path, tmp_path: Path) -> None:
    assert lucid("sample", told, "--num", 4, "--condition", "7", "--out", tmp_path / "seven.npy").code == 0
    assert np.load(tmp_path / "seven.npy").shape[0] == 4
    said = lucid("sample", told, "--num", 4, "--out", tmp_path / "x.npy")
    assert said.code == 2
    assert "the model is conditional: say what to sample with --condition 0" in said.err
    said = lucid("sample", told, "--num", 4, "--condition", "ten", "--out", tmp_path / "x.npy")
    assert said.code == 2
    assert "there is no class 'ten'; the model knows 0, 1, 2" in said.err


def test_reconstructions_and_embeddings_use_the_labels_of_the_data(lucid: Lucid, told: Path, tmp_path: Path) -> None:
    for command in ("reconstruct", "embed"):
        assert lucid(command, told, "digits", "--out", tmp_path / f"{command}.npy").code == 0
        assert len(np.load(tmp_path / f"{command}.npy")) == 16
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8), dtype=np.uint8))
    np.save(tmp_path / "labels.npy", np.array([1, 2, 3]))
    said = lucid("reconstruct", told, tmp_path / "x.npy", "--out", tmp_path / "y.npy")
    assert said.code == 1
    assert "is told the label of each example" in said.err
    command = ("reconstruct", told, tmp_path / "x.npy", "--label", tmp_path / "labels.npy", "--out", tmp_path / "y.npy")
    assert lucid(*command).code == 0


def test_a_condition_needs_labels_and_a_model_that_takes_it(lucid: Lucid, run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((40, 4), dtype=np.float32))
    train = ("train", tmp_path / "x.npy", "--out", tmp_path / "r", "--quiet")
    said = lucid(*train, "--model", "topdown", "--condition", "labels")
    assert (said.code, "needs data with labels, and x has none" in said.err) == (2, True)
    said = lucid("train", "digits", "--model", "mlp", "--condition", "labels", "--out", tmp_path / "r", "--quiet")
    assert (said.code, "only the preset topdown takes a condition" in said.err) == (2, True)
    said = lucid("sample", run, "--num", 2, "--condition", "3", "--out", tmp_path / "x.npy")
    assert (said.code, "this one takes no condition" in said.err) == (2, True)


def test_classes_are_said_by_name_or_number_in_equal_shares() -> None:
    model = ConditionalGaussian()

    def codes(said: str, protocol: DataProtocol, n: int) -> list[int]:
        found = condition_of_samples(said, model, protocol, n)
        assert found is not None
        assert found.dtype == torch.int64
        return found.tolist()

    assert codes("2", PROTOCOL, 3) == [2, 2, 2]
    assert codes("0, 2", PROTOCOL, 5) == [0, 0, 0, 2, 2]
    assert codes("cat,bear", NAMED, 4) == [1, 1, 0, 0]
    assert codes("fish, dried", NAMED, 2) == [2, 2]  # a name may hold a comma
    for said, protocol in (("3", PROTOCOL), ("-1", PROTOCOL), ("cow", NAMED), ("1", NAMED)):
        with pytest.raises(UsageError, match="there is no class"):
            codes(said, protocol, 1)
    with pytest.raises(UsageError, match="names no class"):
        codes(" , ", PROTOCOL, 1)


def test_a_vector_is_said_by_its_numbers() -> None:
    model = ConditionalGaussian()
    model.condition = Condition(size=2)
    found = condition_of_samples("0.5,-1", model, PROTOCOL, 3)
    assert found is not None
    assert found.tolist() == [[0.5, -1.0]] * 3
    for said in ("0.5", "a,b", "nan,1"):
        with pytest.raises(UsageError, match="must be 2 numbers"):
            condition_of_samples(said, model, PROTOCOL, 3)
