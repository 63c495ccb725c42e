"""From a run's folder to its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.report.worlds import Read

import lucid.nn as nn
from lucid import data, io
from lucid.distributions import DiscretisedLogistic
from lucid.evaluation import evaluate
from lucid.models import VAE, VAEConfig
from lucid.report import open_run, write_report
from lucid.training import fit


def model() -> VAE:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 8))
    decoder = nn.Sequential(nn.Linear(4, 128), nn.Unflatten(1, (2, 8, 8)))
    return VAE(VAEConfig(encoders=[encoder], decoders=[decoder], likelihood=DiscretisedLogistic(17)))


def test_a_run_leaves_a_page_and_evaluation_fills_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    dataset = data.load("digits")
    fit(model(), dataset, out=folder, steps=30, seed=0)
    page = write_report(folder)
    assert page == folder / "report.html"
    before = Read(page.read_text(encoding="utf-8"))
    assert "VAE on digits" in before.words
    assert "has not been evaluated yet" in before.words
    assert "steps taken 30" in before.words

    found = evaluate(open_run(folder).model, dataset.test, num_samples=10)
    io.write_json(folder / "evaluation.json", found.to_json())
    after = Read(write_report(folder).read_text(encoding="utf-8"))
    assert found.log_likelihood.rounded()[0] in after.words
    assert open_run(folder).evaluation == found
    assert [path.name for path in folder.iterdir() if path.suffix == ".tmp"] == []


def test_a_folder_that_is_no_run_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a run"):
        write_report(tmp_path)
    (tmp_path / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"run\.json"):
        write_report(tmp_path)


def test_data_given_from_python_has_to_be_given_again(tmp_path: Path) -> None:
    dataset = data.load(data.load("digits").train.raw, kind="image", levels=17, name="mine")
    fit(model(), dataset, out=tmp_path / "run", steps=5, seed=0)
    with pytest.raises(ValueError, match="given from Python"):
        write_report(tmp_path / "run")
    words = Read(write_report(tmp_path / "run", dataset).read_text(encoding="utf-8")).words
    assert "VAE on mine" in words


def test_a_page_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    fit(model(), data.load("digits"), out=folder, steps=2, progress=False)
    page = write_report(folder)
    old = page.read_bytes()

    def half(path: Path, text: str, encoding: str) -> int:
        path.write_bytes(text[: len(text) // 2].encode(encoding))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="No space left"):
        write_report(folder)
    assert page.read_bytes() == old
    assert [path.name for path in folder.glob("*report*")] == ["report.html"]
