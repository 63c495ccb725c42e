"""The numbers of a run: `metrics.jsonl`, one JSON object a line, and TensorBoard where it is wanted."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from lucid.objectives import Terms

__all__ = ["Averages", "MetricsWriter", "Window", "read_metrics"]


class Averages(NamedTuple):
    """Means over some examples, nats per example; `kl` is unweighted, indexed by level."""

    loss: float
    elbo: float
    reconstruction: float
    kl: list[float]


class Window:
    """Sums of `Terms` over batches. Adding costs nothing: the numbers stay on the device until someone asks for them.

    Args:
        sums: Sums to go on from, as `state` gave them.
    """

    def __init__(self, sums: Sequence[float] = ()) -> None:
        self._sums = list(sums)
        self._waiting: list[tuple[Tensor, ...]] = []
        self._examples: list[int] = []

    def add(self, terms: Terms, examples: int) -> None:
        """Count a batch, each example with equal weight."""
        self._waiting.append((terms.loss.detach(), terms.reconstruction, *terms.kl))
        self._examples.append(examples)

    def state(self) -> list[float]:
        """The sums of loss, −log p(x|z) and each level's KL, and the number of examples."""
        if self._waiting:
            rows = torch.stack([torch.stack(row) for row in self._waiting]).tolist()
            sums = self._sums or [0.0] * (len(rows[0]) + 1)
            # One after the other, so that the sums do not depend on when someone asked.
            for row, count in zip(rows, self._examples, strict=True):
                sums = [total + value * count for total, value in zip(sums, [*row, 1.0], strict=True)]
            self._sums, self._waiting, self._examples = sums, [], []
        return list(self._sums)

    def averages(self) -> Averages:
        """Means over all examples counted; there must be some."""
        *sums, count = self.state()
        loss, reconstruction, *kl = (value / count for value in sums)
        return Averages(loss, -reconstruction - sum(kl), reconstruction, kl)


class MetricsWriter:
    """Appends to `metrics.jsonl`, and to TensorBoard.

    Args:
        folder: The run folder; None writes nothing.
        tensorboard: Whether to write event files into `folder/tensorboard` too.
        keep_until: In a resumed run, lines of later steps are dropped: they will be written again.

    Raises:
        ImportError: If TensorBoard is wanted and not installed.
    """

    def __init__(self, folder: Path | None, *, tensorboard: bool = False, keep_until: int = 0) -> None:
        self._file = None
        self._board: Any = None
        if folder is None:
            return
        path = folder / "metrics.jsonl"
        kept = [line for line in read_metrics(path) if line["step"] <= keep_until] if keep_until else []
        self._file = path.open("w", encoding="utf-8")
        for line in kept:
            self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if tensorboard:
            self._board = _tensorboard(folder / "tensorboard")

    def write(self, split: str, averages: Averages, **more: float) -> None:
        """Write one line: the means over a split's examples, with `step`, `epoch`, `beta` and more."""
        line = {"split": split, **more, **averages._asdict()}
        if self._file is not None:
            self._file.write(json.dumps({k: _finite(v) for k, v in line.items()}) + "\n")
            self._file.flush()
        if self._board is not None:
            step = int(more["step"])
            for name in ("loss", "elbo", "reconstruction"):
                self._board.add_scalar(f"{name}/{split}", line[name], step)
            for level, kl in enumerate(averages.kl):
                self._board.add_scalar(f"kl_{level}/{split}", kl, step)
            self._board.add_scalar("beta", more["beta"], step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; a last line that was cut off by a kill is left out.

    Raises:
        ValueError: If any other line is not JSON.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    whole, rest = lines[:-1], lines[-1]
    del rest  # not ended by a newline, so not written whole
    metrics: list[dict[str, Any]] = []
    for number, line in enumerate(whole, 1):
        try:
            metrics.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number} of {path} is not JSON: {error}") from error
    return metrics


def _finite(value: Any) -> Any:
    """JSON has no NaN or inf: null stands for them."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("TensorBoard is not installed: pip install 'lucid-vae[tensorboard]'") from error
    return SummaryWriter(str(folder))
