"""Which files a user means by a folder, a pattern or a list of shards."""

from __future__ import annotations

import glob
import itertools
import os
import re
from pathlib import Path
from typing import Any, cast

from lucid.data.found import listing
from lucid.data.images import PARTS

__all__ = ["shard_parts", "shard_paths"]

_ENDINGS = (".tar", ".parquet")
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def shard_paths(source: Any) -> list[Path] | None:
    """The shards that a source names, in order; None if it is something else.

    Args:
        source: A folder of .tar or .parquet files, one .tar file, a pattern with braces ("{000..099}", "{a,b}") or
            wildcards, or a list of paths and patterns.

    Raises:
        FileNotFoundError: If nothing fits a pattern, or a shard that is named is not there.
        ValueError: If tar and parquet are mixed, a shard is named twice, or is compressed.
    """
    if _is_path(source):
        found = _of_one(os.fspath(source))
    elif isinstance(source, list | tuple) and source and all(_is_path(item) for item in cast("list[Any]", source)):
        found = [path for item in cast("list[Any]", source) for path in _of_item(os.fspath(item))]
    else:
        return None
    if found is not None:
        _check(found)
    return found


def shard_parts(folder: Path) -> dict[str, list[Path]]:
    """The parts that the names of a folder's shards tell (train-00000-of-00002.parquet, …); {} if they tell none."""
    found: dict[str, list[Path]] = {}
    for path in _in_folder(folder) or []:
        name = re.split(r"[^a-z]", path.name.lower())[0]
        if name not in PARTS:
            return {}
        found.setdefault(PARTS[name], []).append(path)
    return found if "train" in found and len(found) > 1 else {}


def _is_path(source: object) -> bool:
    return isinstance(source, str | os.PathLike)


def _of_one(name: str) -> list[Path] | None:
    path = Path(name)
    if path.is_dir():
        return _in_folder(path)
    if name.endswith(_COMPRESSED):
        raise ValueError(
            f"{name!r} is compressed as a whole, so no example in it can be sought: unpack it once, to a .tar"
        )
    if path.suffix == ".tar":
        return _expanded(name)
    return _expanded(name) if path.suffix == ".parquet" and not path.exists() and _is_pattern(name) else None


def _of_item(name: str) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        found = _in_folder(path)
        if found is None:
            raise ValueError(f"the folder {name!r} holds no shards: it has neither .tar nor .parquet files")
        return found
    if path.suffix not in _ENDINGS:
        raise ValueError(f"shards are .tar or .parquet files; the list names {name!r}")
    return _expanded(name)


def _in_folder(folder: Path) -> list[Path] | None:
    """Its shards, sorted by name; files beside them, such as an index or a licence, are passed over."""
    for ending in _ENDINGS:
        found = sorted(p for p in folder.glob(f"*{ending}") if not p.name.startswith(".") and p.is_file())
        if found:
            return found
    return None


def _is_pattern(name: str) -> bool:
    return _BRACES.search(name) is not None or glob.has_magic(name)


def _expanded(name: str) -> list[Path]:
    if Path(name).exists() or not _is_pattern(name):
        return [Path(name)]
    found: list[Path] = []
    for one in _without_braces(name):
        matches = [Path(match) for match in sorted(glob.glob(one))] if glob.has_magic(one) else [Path(one)]  # noqa: PTH207 (a whole path, perhaps absolute)
        if not matches:
            raise FileNotFoundError(f"no file fits the pattern {one!r}")
        found += matches
    return found


def _without_braces(name: str) -> list[str]:
    parts = _BRACES.split(name)
    # Every other part was between braces.
    choices = [_choices(part) if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _choices(inside: str) -> list[str]:
    between = _RANGE.fullmatch(inside)
    if between is None:
        return inside.split(",")
    first, last = between.groups()
    if int(first) > int(last):
        raise ValueError(f"the pattern {{{inside}}} counts from {first} to {last}: the first must not be the larger")
    width = len(first) if first.startswith("0") or len(first) == len(last) else 0
    return [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]


def _check(paths: list[Path]) -> None:
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} shards are not there: {listing(missing, 4)}. Shards are read from local "
            "or mounted storage, not from an address"
        )
    endings = {path.suffix for path in paths}
    if len(endings) > 1:
        raise ValueError(f"shards must be of one format; the source mixes {' and '.join(sorted(endings))}")
    if len(set(paths)) < len(paths):
        twice = sorted({str(path) for path in paths if paths.count(path) > 1}) if len(paths) < 1000 else []
        raise ValueError(f"a shard is named more than once{': ' + listing(twice, 4) if twice else ''}")
