"""`lucid sample`, `lucid reconstruct` and `lucid embed`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from lucid import data
from lucid.cli.conditions import condition_of_samples
from lucid.cli.errors import UsageError
from lucid.cli.opening import open_model, protocol_of
from lucid.data import Split
from lucid.evaluation import examples_of
from lucid.models import DataProtocol, LatentModel

__all__ = ["embed", "reconstruct", "sample"]

_ROWS = 512


def sample(args: argparse.Namespace) -> int:
    """Draw new examples, a batch at a time."""
    _check_ending(args.out)
    if args.num < 1:
        raise UsageError(f"--num must be at least 1; received {args.num}")
    if not 0 <= args.temperature < float("inf"):
        raise UsageError(f"--temperature must be finite and not negative; received {args.temperature}")
    model = open_model(args.folder)
    protocol = protocol_of(model, args.folder)
    generator = torch.Generator().manual_seed(args.seed)
    told = condition_of_samples(args.condition, model, protocol, args.num)
    drawn: list[Tensor] = []
    for start in range(0, args.num, _ROWS):
        count = min(_ROWS, args.num - start)
        condition = None if told is None else told[start : start + count]
        drawn.append(
            model.sample(
                count, temperature=args.temperature, generator=generator, noise=args.noise, condition=condition
            )
        )
    return _write(protocol.to_data(torch.cat(drawn)), args.out, protocol)


def reconstruct(args: argparse.Namespace) -> int:
    """Encode data and decode it again."""
    _check_ending(args.out)
    model = open_model(args.folder)
    protocol = protocol_of(model, args.folder)
    split = data.load_like(args.data, protocol, labels=args.labels)
    rebuilt = torch.cat([model.reconstruct(x, condition=told) for x, told in _examples(model, split)])
    return _write(protocol.to_data(rebuilt), args.out, protocol)


def embed(args: argparse.Namespace) -> int:
    """Write posterior means, one row an example."""
    _check_ending(args.out)
    model: LatentModel = open_model(args.folder)
    protocol = protocol_of(model, args.folder)
    if not -model.depth <= args.level < model.depth:
        raise UsageError(f"--level must be in 0 … {model.depth - 1}; received {args.level}")
    split = data.load_like(args.data, protocol, labels=args.labels)
    embeddings = torch.cat([model.embed(x, args.level, condition=told) for x, told in _examples(model, split)])
    embeddings = embeddings.flatten(1)
    labels = None if split.labels is None else [_class_of(code, protocol) for code in split.labels.tolist()]
    if Path(args.out).suffix == ".png":
        from lucid.report import write_map

        write_map(args.out, embeddings, split.labels, protocol.classes)
    else:
        names = [f"z{i}" for i in range(embeddings.shape[1])]
        data.write(embeddings, args.out, columns=names, labels=labels)
    print(f"{len(embeddings)} embeddings of {embeddings.shape[1]} numbers: {args.out}")
    return 0


def _check_ending(out: str) -> None:
    """Refuse a file that could not be written, before anything is computed for it."""
    path = Path(out)
    if path.suffix not in ("", ".npy", ".npz", ".csv", ".parquet", ".png"):
        raise UsageError(
            f"--out {out}: the ending must be .npy, .npz, .csv, .parquet or .png, or none for a folder of PNGs"
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {path.absolute().parent}")


def _class_of(code: int, protocol: DataProtocol) -> str | int:
    """The name of a label's value if the data has names, else its code; names that are numbers are numbers."""
    name = protocol.classes[code] if 0 <= code < len(protocol.classes) else code
    return int(name) if str(name).isdigit() else name


def _examples(model: LatentModel, split: Split) -> Iterator[tuple[Tensor, Tensor | None]]:
    return examples_of(model, split, _ROWS, torch.device("cpu"))


def _write(raw: Tensor, out: str, protocol: DataProtocol) -> int:
    data.write(raw, out, protocol)
    print(f"{len(raw)} examples: {out}")
    return 0
