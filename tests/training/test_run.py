"""Run folders: what they hold, and opening them again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.training.helpers import dataset, same_weights, vae, vectors

from lucid.training import Run, fit
from lucid.training.metrics import read_metrics


def test_a_run_is_opened_again(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", vectors().numpy())
    model = vae()
    fit(model, tmp_path / "x.npy", out=tmp_path / "run", steps=3, progress=False)
    run = Run(tmp_path / "run")
    assert same_weights(run.model(), model)
    assert run.dataset().protocol == run.model().protocol == model.protocol
    assert run.description["training"]["steps"] == 3
    assert run.evaluation() is None
    assert {line["split"] for line in run.metrics()} == {"train", "validation"}


def test_a_folder_without_a_run_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a run: there is no such folder"):
        Run(tmp_path / "no")
    with pytest.raises(FileNotFoundError, match=r"is not a run: it holds no run\.json"):
        Run(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ValueError, match="must hold a JSON object"):
        Run(tmp_path)


def test_data_from_memory_cannot_be_read_again_and_says_so(tmp_path: Path) -> None:
    fit(vae(), dataset(), out=tmp_path, steps=2, progress=False)
    with pytest.raises(ValueError, match="was trained on data given from Python: pass that data again"):
        Run(tmp_path).dataset()


def test_a_line_cut_off_by_a_kill_is_left_out_and_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match="line 2 of"):
        read_metrics(path)
