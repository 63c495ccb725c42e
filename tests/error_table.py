"""Every bad input of the suites with the words it gets, as the page docs/errors.md.

    python -m tests.error_table > docs/errors.md

The cases are those of the tests, which check type and text; this runs them once more and prints what was said.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from tests.cli import test_misuse as cli
from tests.data import test_errors as data
from tests.distributions import test_likelihoods as likelihoods
from tests.models import test_bad_input as bad_input
from tests.models import test_condition as condition
from tests.models import test_config as config
from tests.models.topdown import test_config as topdown

import lucid
from lucid import nn
from lucid.cli import main
from lucid.models import VAE, VAEConfig

Row = tuple[str, str, str]
"""What was given, the type of the error or the exit code, and its text."""

HEAD = """# Errors, read aloud

Bad input that was tried, with the words it gets: {total} cases. Each is one of the test suite;
`python -m tests.error_table` writes this page. A message says what the rule is, what was received, and what to do.
"""


def said_by(action: Callable[[], object]) -> tuple[str, str]:
    """Type and text of the error that an action ends in."""
    try:
        action()
    except Exception as error:  # noqa: BLE001  whatever it is, it is the row
        return type(error).__name__, str(error)
    return "none", ""


def config_rows() -> Iterator[Row]:
    """Configurations that are refused."""
    for change, _, _ in config.REFUSED:
        given = ", ".join(f"{name}={short(value)}" for name, value in change.items())
        yield given, *said_by(lambda change=change: VAEConfig(**{**config.parts(), **change}))


def model_rows() -> Iterator[Row]:
    """Data and modules that a model cannot take."""
    for x, _, _ in bad_input.X:
        what = f"x: {x.dtype} {tuple(x.shape)}" if isinstance(x, torch.Tensor) else f"x: {type(x).__name__}"
        yield what, *said_by(lambda x=x: bad_input.make()(x))
    for parts, shape, _, _ in bad_input.SHAPES:
        given = ", ".join(f"{name}={short(value)}" for name, value in parts.items())

        def run(parts: dict[str, Any] = parts, shape: tuple[int, ...] = shape) -> None:
            model, x = bad_input.make(**parts), torch.ones(shape)
            model.get_loss(x, *model(x))

        yield f"x {shape}; {given}", *said_by(run)


def topdown_rows() -> Iterator[Row]:
    """Top-down configurations that are refused, and conditions that are not the model's, of two examples."""
    for given, (make, _, _) in topdown.REFUSED.items():
        yield given, *said_by(make)
    for declared, given, _, _ in condition.REFUSED:
        yield f"{declared}; condition={short(given)}", *said_by(lambda d=declared, c=given: d.check(c, rows=2))


def likelihood_rows() -> Iterator[Row]:
    """Data that a likelihood gives no probability."""
    for likelihood, x, _ in likelihoods.REFUSED:
        yield f"{likelihood}, x={x}", *said_by(lambda likelihood=likelihood, x=x: likelihood.check(torch.tensor(x)))


def data_rows() -> Iterator[Row]:
    """Files, arrays, tables and folders that cannot be read as data."""
    for name, (make, _, _) in data.CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            kind, text = said_by(lambda make=make, folder=folder: make(Path(folder)))
            yield name, kind, text.replace(folder, "…")


def artefact_rows() -> Iterator[Row]:
    """Damage to a saved model."""

    def edited(**changes: Any) -> Callable[[Path], object]:
        def change(folder: Path) -> None:
            said = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps({**said, **changes}))

        return change

    def flipped(folder: Path) -> None:
        weights = bytearray((folder / "model.safetensors").read_bytes())
        weights[-9] ^= 1
        (folder / "model.safetensors").write_bytes(weights)

    damages: dict[str, Callable[[Path], object]] = {
        "no such folder": shutil.rmtree,
        "no config.json": lambda f: (f / "config.json").unlink(),
        "no weights": lambda f: (f / "model.safetensors").unlink(),
        "config.json cut short": lambda f: (f / "config.json").write_text((f / "config.json").read_text()[:200]),
        "config.json of something else": lambda f: (f / "config.json").write_text('{"model_type": "bert"}'),
        "a newer schema": edited(schema=99),
        "weights cut short": lambda f: (f / "model.safetensors").write_bytes(
            (f / "model.safetensors").read_bytes()[:-8]
        ),
        "one bit of the weights flipped": flipped,
        "an unknown class": edited(model={"class": "os.system"}),
        "weights outside the folder": edited(weights={"file": "../x", "bytes": 1, "sha256": "0"}),
    }
    for name, damage in damages.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "model"
            lucid.save(VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)])), folder)
            damage(folder)
            kind, text = said_by(lambda folder=folder: lucid.load(folder))
            yield name, kind, text.replace(place, "…")


def command_rows() -> Iterator[Row]:
    """Command lines."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        run = folder / "run"
        with contextlib.redirect_stdout(io.StringIO()):
            main(["train", "digits", "--steps", "5", "--out", str(run), "--quiet", "--no-report"])
        places = cli.bad_places(folder, run)
        for argv, _ in (*cli.MISUSE, *cli.FAILURE):
            err = io.StringIO()
            with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
                code = main([arg.format(**places) for arg in argv])
            text = err.getvalue().strip().replace(place, "…")
            yield (
                "lucid " + " ".join(argv).replace("{tmp}/", "").replace("{run}", "RUN").replace("{damaged}", "DAMAGED"),
                f"exit {code}",
                text,
            )


def short(value: object) -> str:
    """A value in a few characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 90 else text[:87] + "…"


def cell(text: str) -> str:
    """Text that stays within a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<").replace("*", "\\*").replace("_", "\\_")


def page() -> str:
    """The whole page."""
    sections = {
        "Configurations": config_rows(),
        "Data and modules at a model": model_rows(),
        "Top-down models and conditions": topdown_rows(),
        "Data at a likelihood": likelihood_rows(),
        "Files, arrays, tables and folders": data_rows(),
        "Saved models": artefact_rows(),
        "Command lines": command_rows(),
    }
    text = HEAD
    total = 0
    for title, rows in sections.items():
        text += f"\n## {title}\n\n| given | error | what it says |\n|---|---|---|\n"
        for given, kind, message in rows:
            total += 1
            text += f"| {cell(given)} | {cell(kind)} | {cell(message)} |\n"
    return text.replace("{total}", str(total), 1)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.stdout.write(page())
