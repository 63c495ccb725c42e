"""Datasets that are read batch by batch: the protocol from the first item, and the parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lucid.data.division import divide
from lucid.data.found import Found, Options
from lucid.data.hub import facts_of
from lucid.data.layout import arrange
from lucid.data.like import conforming
from lucid.data.on_disk import DiskArray
from lucid.data.reading import read
from lucid.data.split import Part, ResidentSplit, Split
from lucid.data.stream_split import loaded
from lucid.data.torch_datasets import first_item, is_stream
from lucid.data.values import check_probabilities, declare
from lucid.models import DataProtocol

__all__ = ["stream"]


def stream(
    pieces: dict[str, tuple[Any, Options]],
    name: str,
    declared: dict[str, Any],
    validation: float | None,
    test: float | None,
) -> tuple[DataProtocol, dict[Part, Split]]:
    """Protocol and parts of a PyTorch dataset that is not read into memory; single parts may be resident.

    Args:
        pieces: Sources of the given parts, or of "all".
        name: What the data is called.
        declared: kind, levels, scaling, binarisation and seed, as `load` was given them.
        validation: As `load` was given it.
        test: Likewise.

    Raises:
        ValueError: If a stream is to be divided or scaled, which needs all of it.
    """
    given = {"train" if part == "all" else part: piece for part, piece in pieces.items()}
    source, options = given["train"]
    undivided = [part for part in ("validation", "test") if part not in given]
    unwanted = [part for part, size in (("validation", validation), ("test", test)) if part in undivided and size == 0]
    _check(source, declared["scaling"], [part for part in undivided if part not in unwanted])
    found = {part: read(*piece) for part, piece in given.items()}
    resident = found["train"]
    first = first_item(source) if resident is None else _first(resident.x)
    protocol = _protocol(first, name, options, declared, facts_of(source))
    rows: dict[str, Tensor] = {}
    words = "parts given"
    if is_stream(source) and undivided:
        words = f"no {' and no '.join(undivided)}"
    elif undivided:
        sizes = {part: _size(given[part][0], one) for part, one in found.items()}
        rows, words = divide(sum(sizes.values()), validation, test, seed=declared["seed"], given=sizes)
    elif validation is not None or test is not None:
        raise ValueError("validation= and test= divide data, and here all three parts are given: leave them out")
    protocol = replace(protocol, split=words)

    def split(part: Part) -> Split:
        if part in undivided and is_stream(source):
            return ResidentSplit(protocol, part, torch.empty((0, *protocol.shape)), None)
        held = part if part in given else "train"
        # A part of its own is the whole of its source; the rest share the training source by rows.
        own = rows.get(part) if held == "train" else None
        return _split(protocol, part, given[held], found[held], own)

    parts: tuple[Part, ...] = ("train", "validation", "test")
    return protocol, {part: split(part) for part in parts}


def _check(source: Any, scaling: str | None, undivided: list[str]) -> None:
    if scaling in ("standardise", "unit"):
        raise ValueError(
            f"scaling={scaling!r} is measured on the whole training part, and this data is read batch by batch: scale "
            "the items in the dataset, or read it with in_memory=True"
        )
    if is_stream(source) and undivided:
        raise ValueError(
            "an iterable dataset has no known end, so it cannot be divided: give one dataset for each part, "
            "{'train': …, "
            f"'validation': …, 'test': …}} ({' and '.join(undivided)} missing), or do without it, "
            f"{', '.join(f'{part}=0' for part in undivided)}"
        )


def _first(x: Tensor | DiskArray) -> Tensor:
    return x[:1] if isinstance(x, Tensor) else x.read(torch.tensor([0]))


def _size(source: Any, found: Found | None) -> int:
    if found is not None:
        return len(found.x)
    # The size of a stream is not known; a stream is never divided, so its rows are not used.
    return 1 if is_stream(source) else len(source)


def _protocol(
    first: Tensor, name: str, options: Options, declared: dict[str, Any], facts: dict[str, Any]
) -> DataProtocol:
    known = facts.get("layout") if declared["kind"] in (None, facts.get("kind")) else None
    x, kind, layout = arrange(first, declared["kind"] or facts.get("kind"), options.layout or known)
    x, levels, note = declare(x, declared["levels"], declared["scaling"], facts.get("levels"))
    if declared["binarisation"] != "none" and levels is None:
        check_probabilities(x)
    return DataProtocol(
        name=name,
        kind=kind,
        shape=tuple(x.shape[1:]),
        levels=levels,
        binarisation=declared["binarisation"],
        seed=declared["seed"],
        columns=facts.get("columns", ()),
        reading={k: v for k, v in (("layout", layout), ("levels", note)) if v} | facts.get("reading", {}),
    )


def _split(
    protocol: DataProtocol, part: Part, piece: tuple[Any, Options], found: Found | None, rows: Tensor | None
) -> Split:
    source, options = piece
    if found is None:
        return loaded(protocol, part, source, options, rows)
    return conforming(found, protocol, part, rows)
