"""How many examples each shard holds: counted by reading headers, and remembered where that took long."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lucid.data.download import root

__all__ = ["count_all"]

_LONG = 2.0  # seconds; below, counting again costs less than a file that nobody expects
_Known = dict[str, Any]


def count_all(paths: list[Path], purpose: str, count: Callable[[Path], list[int]]) -> list[list[int]]:
    """Examples in each shard, one number for each piece that is read by itself.

    What took more than two seconds to count is kept beside the downloaded sets, under `$LUCID_DATA/counts`; a shard
    whose size or time has changed is counted again.

    Args:
        paths: The shards.
        purpose: What is counted, in one word or two: another purpose counts anew.
        count: Counts one shard; called from several threads.
    """
    stamps = [[stat.st_size, stat.st_mtime_ns] for stat in (path.stat() for path in paths)]
    names = [str(path.absolute()) for path in paths]
    digest = hashlib.sha256(repr((purpose, names)).encode()).hexdigest()[:16]
    file = root() / "counts" / f"{digest}.json"
    known = _recalled(file)
    new = [i for i, (name, stamp) in enumerate(zip(names, stamps, strict=True)) if known.get(name, [None])[0] != stamp]
    began = time.monotonic()
    with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as pool:
        for i, counts in zip(new, pool.map(count, [paths[i] for i in new]), strict=True):
            known[names[i]] = [stamps[i], counts]
    if new and time.monotonic() - began > _LONG:
        _remember(file, known)
    return [known[name][1] for name in names]


def _recalled(file: Path) -> _Known:
    with contextlib.suppress(OSError, ValueError):  # not there, or not whole: counted anew
        known = json.loads(file.read_text("utf-8"))
        return {name: entry for name, entry in known.items() if _is_sound(entry)} if isinstance(known, dict) else {}
    return {}


def _is_sound(entry: Any) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[1], list)
        and all(isinstance(count, int) and count >= 0 for count in entry[1])
    )


def _remember(file: Path, known: _Known) -> None:
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(6)}.tmp")
    with contextlib.suppress(OSError):  # a folder that cannot be written costs the next start its time, no more
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known), "utf-8")
        temporary.replace(file)
