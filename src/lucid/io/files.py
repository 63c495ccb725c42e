"""Files written whole or not at all, and JSON read with suspicion."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

__all__ = [
    "json_text",
    "parse_json",
    "read_json",
    "remove_leftovers",
    "require_file",
    "sync_folder",
    "whole_file",
    "write_json",
]

MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_JSON_DEPTH = 200
# What `whole_file` and `whole_folder` call their unfinished work on NAME: ".NAME.0123456789ab.tmp".
_UNFINISHED = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12}\.tmp", re.DOTALL)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut; a no-op where folders cannot be opened (Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Generator[Path, None, None]:
    """A temporary path beside `path`; when the block ends well it replaces `path` in one step, else it is removed.

    The data and the folder are flushed to the disk first, so that after a crash `path` holds the old content or the
    new, never a part of either.

    Raises:
        OSError: The file cannot be written (full disk, no permission, …); the message names `path`.
    """
    final = Path(path)
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(6)}.tmp")
    try:
        # 0o666 less the user's umask: the mode any program would give a new file.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        mode = temporary.stat().st_mode & 0o777
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(final)
        sync_folder(final.parent)
    except OSError as error:
        # Errors of write() and fsync() do not say which file they are about.
        raise OSError(error.errno, error.strerror or str(error), str(final)) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, names: str) -> list[Path]:
    """Remove what killed writes left unfinished in a folder; call it only where nobody else is writing these names.

    Args:
        folder: The folder; one that does not exist holds nothing.
        names: The files (or artefacts) whose unfinished writes are meant: a regular expression of whole names.

    Returns:
        What was removed. What cannot be removed stays: it does no harm.
    """
    if not folder.is_dir():
        return []
    removed: list[Path] = []
    for entry in sorted(folder.iterdir()):
        found = _UNFINISHED.fullmatch(entry.name)
        if found is None or not re.fullmatch(names, found["name"]):
            continue
        with contextlib.suppress(OSError):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
            removed.append(entry)
    return removed


def require_file(path: str | os.PathLike[str]) -> Path:
    """`path`, if a regular file is there.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: Something else is there: a folder, a pipe, a device.
    """
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"there is no file {str(file)!r}")
    if not file.is_file():
        raise ValueError(f"{str(file)!r} is not a regular file")
    return file


def write_json(path: str | os.PathLike[str], value: object, *, max_bytes: int = MAX_JSON_BYTES) -> None:
    """Write a JSON file, whole or not at all.

    Args:
        path: The file; its folder must exist.
        value: None, bool, int, finite float, str, and lists, tuples (they become lists) and str-keyed mappings of them.
        max_bytes: The largest file to write, in bytes; `read_json` refuses more than the same number by default.

    Raises:
        ValueError: A value JSON cannot hold (NaN, inf, a key that is not a str, a tensor, …), with its place; or
            more than `max_bytes`.
        OSError: The file cannot be written.

    Example:
        >>> import tempfile, os
        >>> from lucid.io import read_json, write_json
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(os.path.join(folder, "a.json"), {"elbo": -1.5})
        ...     read_json(os.path.join(folder, "a.json"))
        {'elbo': -1.5}
    """
    plain = _plain_json(value, "", 0)
    try:
        data = (json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{str(path)!r}: a text is not valid Unicode and cannot be written ({error})") from error
    if len(data) > max_bytes:
        raise ValueError(f"{str(path)!r} would hold {len(data)} bytes of JSON; at most {max_bytes} are written")
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def json_text(value: object) -> str:
    """The JSON of a value on one line, as `write_json` takes it.

    Raises:
        ValueError: A value JSON cannot hold, with its place.
    """
    return json.dumps(_plain_json(value, "", 0), ensure_ascii=False, allow_nan=False)


def _plain_json(value: object, place: str, depth: int) -> Any:
    """`value` in JSON's own types; refuses what JSON would drop, rename or change."""
    where = place.lstrip(".") or "the value"
    if depth > MAX_JSON_DEPTH:
        raise ValueError(f"{where[:80]!r}… is nested more than {MAX_JSON_DEPTH} levels deep, or contains itself")
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value!r}, and JSON has no such number; write None, or a text that says why")
        return float(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        for key, _ in items:
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r}; the keys of a JSON object are str, so pass str(key)")
        return {str(key): _plain_json(item, f"{place}.{key}", depth + 1) for key, item in items}
    if isinstance(value, (list, tuple)):
        entries = cast("Sequence[object]", value)
        return [_plain_json(item, f"{place}[{i}]", depth + 1) for i, item in enumerate(entries)]
    raise ValueError(
        f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which JSON cannot hold; pass a plain "
        "number, str, list or dict (for a tensor or array: .tolist())"
    )


def read_json(path: str | os.PathLike[str], *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read a JSON file that may be damaged or hostile.

    Args:
        path: The file.
        max_bytes: The largest file to accept, in bytes.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: Not a regular file, larger than `max_bytes`, not UTF-8, not JSON, cut short, a key given twice, a
            number that is not finite or too long, or nested too deeply.
        OSError: The file cannot be read.
    """
    file = require_file(path)
    with file.open("rb") as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"{str(file)!r} holds more than {max_bytes} bytes, the most that is read as JSON")
    return parse_json(data, repr(str(file)))


def parse_json(data: bytes, name: str) -> Any:
    """The value of JSON bytes; `name` says in an error what they are."""
    if not data.strip():
        raise ValueError(f"{name} is empty; it should hold JSON")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError as error:
        raise ValueError(f"{name} is nested too deeply to be read as JSON") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not JSON: it is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except ValueError as error:
        raise ValueError(f"{name} is not valid JSON, or was cut short: {error}") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:80]!r} is given twice")
        found[key] = value
    return found


def _refuse_constant(text: str) -> float:
    raise ValueError(f"the number {text} is not part of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number
