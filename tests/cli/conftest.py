"""One small run on the digits, shared by the tests of every command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from lucid.cli import main


class Said(NamedTuple):
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


Lucid = Callable[..., Said]


@pytest.fixture
def lucid(capsys: pytest.CaptureFixture[str]) -> Lucid:
    """The command, run in this process."""

    def run(*argv: object) -> Said:
        capsys.readouterr()
        code = main([str(arg) for arg in argv])
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 60 steps on the digits, evaluated."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    argv = ["train", "digits", "--model", "mlp", "--size", "1", "--steps", "60", "--out", str(folder), "--quiet"]
    assert main([*argv, "--no-report"]) == 0
    assert main(["evaluate", str(folder), "--num-samples", "10"]) == 0
    return folder
