"""`lucid diagnose` on real runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Lucid

from lucid.cli import main


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose KL weighs so much that nothing is left of its latent."""
    folder = tmp_path_factory.mktemp("runs") / "heavy"
    argv = ["train", "digits", "--size", "1", "--latents", "4", "--kl-weight", "50", "--steps", "60", "--quiet"]
    assert main([*argv, "--out", str(folder), "--no-report"]) == 0
    return folder


def test_it_says_what_and_since_when(lucid: Lucid, collapsed: Path) -> None:
    said = lucid("diagnose", collapsed, "--no-trial")
    assert said.code == 0
    words = " ".join(said.out.split())
    assert "has collapsed: its latents tell next to nothing of x" in words
    assert "of its 4 units move with x" in words
    assert "It has been like this since step 50 of 60" in words
    assert "leave --no-trial out" in words
    assert said.err == ""


def test_it_says_why_with_the_figures_behind_it(lucid: Lucid, collapsed: Path, tmp_path: Path) -> None:
    said = lucid("diagnose", collapsed, "--steps", 120, "--json", tmp_path / "of" / "d.json")
    assert said.code == 0
    words = " ".join(said.out.split())
    found = json.loads((tmp_path / "of" / "d.json").read_text())
    assert [(v["cause"], v["reason"]) for v in found["verdicts"]] == [("objective", "weight")]
    assert "it charges more for the latents than the bound itself" in words
    assert f"lucid train --config {collapsed}/run.json --beta-schedule linear:hold=24,steps=36" in words
    for trial in found["trials"]:
        assert f"- {trial['name']}: " in words
    assert not found["healthy"]
    assert found["gap"]["gap"]["num_samples"] == 1


def test_misuse_is_told_in_one_line(lucid: Lucid, collapsed: Path, tmp_path: Path) -> None:
    for argv, message in (
        ((collapsed, "--steps", 5), "--steps must be at least 20, for a trial to find anything out; received 5"),
        ((tmp_path / "nothing",), "is not a run: there is no such folder"),
        ((), "the following arguments are required: RUN"),
    ):
        said = lucid("diagnose", *argv)
        assert said.code == 2
        assert message in said.err
        assert said.err.count("\n") == 1
