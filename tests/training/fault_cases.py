"""The runs that are broken off and taken up again: every way to give data, and every option that has a state."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.training.helpers import vae, vectors
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset

from lucid import data, nn
from lucid.models import VAE, VAEConfig
from lucid.objectives import Cosine, Cyclical, Linear, Sigmoid

__all__ = ["CASES", "Case", "write_files"]

Numbers = Mapping[str, Any]
"""What an unbroken run left, by its place."""


@dataclass(frozen=True)
class Case:
    """One run.

    Args:
        name: Of its data and its options.
        data: Loads the data; it is given the folder that `write_files` filled.
        model: Makes the model.
        settings: Of the run, where they are not `SETTINGS`.
        optimizer: As `fit` takes it.
        shown: Whether the option did something in the unbroken run.
        weight: Its share of the kills.
        imports: What it needs beside lucid's own dependencies, and takes long to be imported.
    """

    name: str
    data: Callable[[Path], data.Dataset]
    model: Callable[[], VAE]
    settings: dict[str, Any] = field(default_factory=dict)
    optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer] | None = None
    shown: Callable[[Numbers], bool] = lambda _: True
    weight: float = 1.0
    imports: tuple[str, ...] = ()


SETTINGS: dict[str, Any] = {
    "steps": 36,
    "batch_size": 20,
    "warmup": 8,
    "learning_rate": 0.01,
    "precision": "float32",
    "compile": False,
    "validate_every": 12,
    "log_every": 5,
    "checkpoint_seconds": 0.02,
}

# Data


def write_files(folder: Path) -> None:
    """Write the files that the cases read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    np.save(folder / "continuous.npy", vectors().numpy())
    np.save(folder / "pixels.npy", _pixels())
    held_out = vectors(240)[200:].numpy()
    np.save(folder / "held-out.npy", held_out)
    for shard, rows in enumerate(np.array_split(vectors(160).numpy(), [37, 81, 120])):
        with tarfile.open(folder / f"train-{shard}.tar", "w") as archive:
            for number, row in enumerate(rows):
                content = io.BytesIO()
                np.save(content, row)
                member = tarfile.TarInfo(f"{number:04d}.npy")
                member.size = content.tell()
                archive.addfile(member, io.BytesIO(content.getvalue()))
        table = pa.table({"x": pa.array(rows.tolist(), pa.list_(pa.float32()))})
        pq.write_table(table, folder / f"train-{shard}.parquet", row_group_size=25)


def _pixels() -> Any:
    return np.random.default_rng(0).integers(0, 256, (200, 6), dtype=np.uint8)


def _continuous(_: Path) -> data.Dataset:
    return data.load(vectors())


def _spiked(_: Path) -> data.Dataset:
    """One example in forty is much longer than the others."""
    x = vectors()
    x[::40] *= 100
    return data.load(x)


def _binary(binarisation: Any) -> Callable[[Path], data.Dataset]:
    return lambda _: data.load(_pixels(), levels=256, binarisation=binarisation)


class _Transformed(TorchDataset[Tensor]):
    """A random transform that draws from every global generator."""

    def __init__(self) -> None:
        self._x = vectors()

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, row: int) -> Tensor:
        noise = torch.rand(6) + random.random() + np.random.rand()  # noqa: NPY002 (what users write)
        return self._x[row] + 0.1 * noise


class _Stream(IterableDataset[Tensor]):
    """The same, known by its end alone; each worker reads its part."""

    def __init__(self, x: Tensor) -> None:
        self._x = x

    def __iter__(self) -> Iterator[Tensor]:
        workers = torch.utils.data.get_worker_info()
        first, of = (0, 1) if workers is None else (workers.id, workers.num_workers)
        for x in self._x[first::of]:
            yield x + 0.1 * (torch.rand(6) + random.random() + np.random.rand())  # noqa: NPY002


def _mapped(**options: Any) -> Callable[[Path], data.Dataset]:
    return lambda _: data.load(_Transformed(), **options)


def _streamed(**options: Any) -> Callable[[Path], data.Dataset]:
    parts = {"train": slice(0, 160), "validation": slice(160, 180), "test": slice(180, 200)}
    return lambda _: data.load({part: _Stream(vectors()[rows]) for part, rows in parts.items()}, **options)


def _hub(**options: Any) -> Callable[[Path], data.Dataset]:
    """Streams of Hugging Face `datasets`, in four shards."""

    def load(_: Path) -> data.Dataset:
        import datasets

        parts = {"train": vectors()[:160], "validation": vectors()[160:180], "test": vectors()[180:]}
        return data.load(
            {part: datasets.Dataset.from_dict({"x": x.tolist()}).to_iterable_dataset(4) for part, x in parts.items()},
            **options,
        )

    return load


def _file(name: str, **options: Any) -> Callable[[Path], data.Dataset]:
    return lambda folder: data.load(folder / name, in_memory=False, **options)


def _shards(ending: str, **options: Any) -> Callable[[Path], data.Dataset]:
    def load(folder: Path) -> data.Dataset:
        parts = {"train": str(folder / f"train-*.{ending}"), "validation": str(folder / "held-out.npy")}
        return data.load(parts, test=0, **options)

    return load


# Models


def _normalised() -> VAE:
    """Batch normalisation, whose running statistics are state too."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        encoder = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.SiLU(), nn.Dropout(0.2), nn.Linear(16, 6))
        decoder = nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.SiLU(), nn.Linear(16, 6))
    return VAE(VAEConfig(encoders=[encoder], decoders=[decoder]))


def _hierarchy() -> VAE:
    """Two levels, with a learned prior."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        up = [nn.Sequential(nn.Linear(6, 16), nn.SiLU(), nn.Linear(16, 8)), nn.Linear(4, 4)]
        down = [nn.Sequential(nn.Linear(4, 16), nn.SiLU(), nn.Dropout(0.1), nn.Linear(16, 6)), nn.Linear(2, 4)]
        prior = nn.Linear(2, 8)
    return VAE(VAEConfig(encoders=up, decoders=down, priors=[prior], beta_schedule=Linear(20)))


def _bernoulli() -> VAE:
    return vae(reconstruction_loss="bce")


# Optimizers and signs of life


def _momentum(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True)


def _skipped(said: Numbers) -> bool:
    return said["checkpoint guard skipped"] > 0


def _rescaled(said: Numbers) -> bool:
    return said["checkpoint scaler scale"] != 65536.0


def _stopped(said: Numbers) -> bool:
    return said["checkpoint position stopped"] and said["checkpoint position step"] < SETTINGS["steps"]


_EACH_STEP = {"checkpoint_seconds": 0, "steps": 24}
_STOPS = {"early_stopping": 2, "validate_every": 3, "learning_rate": 0.3, "warmup": 0, "decay": "none"}

CASES = [
    Case("resident, ema, β linear", _continuous, lambda: vae(beta_schedule=Linear(30)), {"ema": 0.9}),
    Case("resident, checkpoint each step", _continuous, vae, _EACH_STEP),
    Case(
        "resident, keep 1, each step",
        _continuous,
        _normalised,
        {"checkpoint_seconds": 0, "keep_checkpoints": 1, "steps": 24},
    ),
    Case("resident, hierarchy, ema, clip", _continuous, _hierarchy, {"ema": 0.99, "clip": 1.0}),
    Case("resident, static binarisation", _binary("static"), _bernoulli, {"optimizer": "adamax"}),
    Case("resident, dynamic binarisation", _binary("dynamic"), _bernoulli, {"accumulate": 3}),
    Case("resident, accumulate, batch norm", _continuous, _normalised, {"accumulate": 3, "ema": 0.9}),
    Case("resident, recompute, batch norm", _continuous, _normalised, {"recompute": True}),
    Case("resident, adamax, β cyclical", _continuous, lambda: vae(beta_schedule=Cyclical(16)), {"optimizer": "adamax"}),
    Case("resident, SGD with momentum", _continuous, lambda: vae(beta_schedule=Cosine(30)), optimizer=_momentum),
    Case("resident, skip, clip", _spiked, _normalised, {"skip": 3.0, "clip": 5.0, "ema": 0.9}, shown=_skipped),
    Case("resident, early stopping", _continuous, _normalised, {**_STOPS, "ema": 0.5}, shown=_stopped),
    Case("resident, bf16-mixed", _continuous, vae, {"precision": "bf16-mixed", "ema": 0.9}),
    Case("resident, fp16-mixed", _spiked, vae, {"precision": "fp16-mixed", "clip": 1.0}, shown=_rescaled),
    Case("resident, float64", _continuous, lambda: vae(beta_schedule=Sigmoid(30)), {"precision": "float64"}),
    Case("map-style, random transforms", _mapped(), vae, {"checkpoint_seconds": 0.05}),
    Case("map-style, 2 workers", _mapped(workers=2), vae, {"steps": 24}),
    Case("iterable", _streamed(), vae, {"ema": 0.9}),
    Case("iterable, shuffle buffer", _streamed(shuffle_buffer=50), vae, {"accumulate": 2}),
    Case("iterable, 2 workers", _streamed(workers=2), vae, {"steps": 24}),
    Case("file, continuous", _file("continuous.npy"), _normalised, {"checkpoint_seconds": 0}),
    Case("file, dynamic binarisation", _file("pixels.npy", levels=256, binarisation="dynamic"), _bernoulli),
    Case("tar shards", _shards("tar", shuffle_buffer=50), vae, {"ema": 0.9}),
    Case("tar shards, no threads", _shards("tar", workers=0), vae, {"clip": 1.0}),
    Case("parquet shards", _shards("parquet", shuffle_buffer=30, key="x"), vae, {"accumulate": 2}),
    Case("datasets, streamed", _hub(shuffle_buffer=40), vae, {"ema": 0.9}, imports=("datasets",)),
    Case("datasets, streamed, 2 workers", _hub(workers=2), vae, {"steps": 24}, imports=("datasets",)),
    Case(
        "resident, compiled", _continuous, vae, {"compile": True}, weight=0.4, imports=("torch._inductor.compile_fx",)
    ),
]
