"""`lucid sample`, `lucid vary`, `lucid reconstruct` and `lucid embed`."""

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

__all__ = ["embed", "reconstruct", "sample", "vary"]

_ROWS = 512


def sample(args: argparse.Namespace) -> int:
    """Draw new examples, a batch at a time."""
    _check_ending(args.out)
    if args.num < 1:
        raise UsageError(f"--num must be at least 1; received {args.num}")
    temperatures = _numbers(args.temperature)
    model = open_model(args.folder)
    temperature = _of_levels(temperatures, model)
    protocol = protocol_of(model, args.folder)
    generator = torch.Generator().manual_seed(args.seed)
    told = condition_of_samples(args.condition, model, protocol, args.num)
    drawn: list[Tensor] = []
    for start in range(0, args.num, _ROWS):
        count = min(_ROWS, args.num - start)
        condition = None if told is None else told[start : start + count]
        drawn.append(
            model.sample(count, temperature=temperature, generator=generator, noise=args.noise, condition=condition)
        )
    return _write(protocol.to_data(torch.cat(drawn)), args.out, protocol)


def vary(args: argparse.Namespace) -> int:
    """Keep the deepest latents of examples, and draw the others anew: what have the variations in common?"""
    _check_ending(args.out)
    for option, value in (("--num", args.num), ("--examples", args.examples)):
        if value < 1:
            raise UsageError(f"{option} must be at least 1; received {value}")
    temperatures = _numbers(args.temperature)
    model = open_model(args.folder)
    temperature = _of_levels(temperatures, model)
    if not 0 <= args.levels <= model.depth:
        raise UsageError(f"--levels must be in 0 … {model.depth}, the latents that are kept; received {args.levels}")
    protocol = protocol_of(model, args.folder)
    split = data.load_like(args.data, protocol, labels=args.labels)
    x, told = next(examples_of(model, split, args.examples, torch.device("cpu")))
    generator = torch.Generator().manual_seed(args.seed)
    rows: list[Tensor] = []
    for i in range(len(x)):
        condition = None if told is None else told[i : i + 1]
        varied = model.vary(
            x[i : i + 1], args.levels, args.num, temperature=temperature, generator=generator, condition=condition
        )
        rows.append(varied[:, 0])
    raw = protocol.to_data(torch.cat(rows))
    data.write(raw, args.out, protocol, across=args.num)
    print(f"{args.num} variations of each of {len(x)} examples, one after the other: {args.out}")
    return 0


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


def _numbers(said: str) -> list[float]:
    """What --temperature says: one number, or several with commas between them."""
    try:
        numbers = [float(part) for part in said.split(",")]
    except ValueError:
        raise UsageError(
            f"--temperature takes a number, or one for each level with commas between them; received {said!r}"
        ) from None
    for number in numbers:
        if not 0 <= number < float("inf"):
            raise UsageError(f"--temperature must be finite and not negative; received {number}")
    return numbers


def _of_levels(temperatures: list[float], model: LatentModel) -> float | list[float]:
    """The same as a model takes it."""
    if len(temperatures) not in (1, model.depth):
        levels = f"{model.depth} levels" if model.depth > 1 else "one level"
        raise UsageError(
            f"--temperature takes one number, or one for each level, level 0 first; the model has {levels}, received "
            f"{len(temperatures)} numbers"
        )
    return temperatures[0] if len(temperatures) == 1 else temperatures


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
