"""What every reader hands on, and the options a reader may be given."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from lucid.distributions import Column

if TYPE_CHECKING:
    from lucid.data.on_disk import DiskArray

__all__ = ["Found", "Kind", "Options", "Progress", "check_memory", "height_and_width", "listing", "memory_share"]

Kind = Literal["image", "table", "series", "vector"]
Progress = Callable[[str, int, "int | None"], None]

_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class Found:
    """A source as it was found: nothing scaled, nothing divided.

    Attributes:
        name: What to call it.
        x: Values of all examples, dimension 0 the examples; given parts one after another. What is too large for
            memory stays in its file.
        labels: One label an example, integers or text.
        given: Names and sizes of the parts that the source itself has, in their order in `x`; empty if it has none.
        kind: What the source says it is; None where the rank decides.
        layout: How `x` is laid out, where the source says so.
        levels: Number of levels, where the source says so.
        columns: Column names.
        classes: Names of the labels 0, 1, …, where the source says so.
        habit: How many of the last training examples are held out for validation unless the user says otherwise.
        described: What to give `load` as its source to find this again; None for objects in memory.
        schema: The columns of a mixed table, not scaled yet.
        dtypes: The columns' types, in Arrow and in pandas, of a table of complete numbers.
        label: The column that the labels were.
    """

    name: str
    x: Tensor | DiskArray
    labels: np.ndarray[Any, Any] | None = None
    given: Mapping[str, int] = field(default_factory=dict[str, int])
    kind: Kind | None = None
    layout: str | None = None
    levels: int | None = None
    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    habit: int | None = None
    described: Any = None
    schema: tuple[Column, ...] = ()
    dtypes: tuple[tuple[str, str], ...] = ()
    label: str = ""


@dataclass(frozen=True)
class Options:
    """How a source is to be read; see `lucid.data.load`. None stands for "not said".

    `kinds` is what `columns=` says where it is a mapping; `schema` the columns of a protocol that exists, ()
    where it knows complete numbers only.
    """

    key: Any = None
    labels: Any = None
    columns: tuple[str, ...] | None = None
    kinds: Mapping[str, Any] | None = None
    schema: tuple[Column, ...] | None = None
    layout: str | None = None
    resize: tuple[int, int] | None = None
    crop: Literal["centre"] | None = None
    channels: Literal["grey", "rgb", "rgba"] | None = None
    in_memory: bool | None = None
    workers: int | None = None
    shuffle_buffer: int | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.crop not in (None, "centre"):
            raise ValueError(f"crop must be 'centre' or None; received {self.crop!r}")
        if self.crop is not None and self.resize is None:
            raise ValueError("crop='centre' cuts to the proportions of resize=(height, width); give that too")
        if self.channels not in (None, "grey", "rgb", "rgba"):
            raise ValueError(f"channels must be 'grey', 'rgb' or 'rgba'; received {self.channels!r}")
        if self.workers is not None and (not isinstance(self.workers, int) or self.workers < 0):
            raise ValueError(f"workers must be a number of processes or threads, 0 or more; received {self.workers!r}")
        if self.shuffle_buffer is not None and (not isinstance(self.shuffle_buffer, int) or self.shuffle_buffer < 1):
            raise ValueError(
                f"shuffle_buffer must be a number of examples, 1 or more; received {self.shuffle_buffer!r}"
            )
        if self.columns is not None and (not self.columns or not all(isinstance(c, str) for c in self.columns)):
            raise ValueError(f"columns must list the names of one or more columns; received {self.columns!r}")

    def only(self, what: str, *allowed: str) -> None:
        """Refuse options that would change nothing.

        Args:
            what: The kind of source, in words.
            allowed: The options it reads.
        """
        for option in fields(self):
            if option.name not in {*allowed, "progress"} and getattr(self, option.name) is not None:
                takes = f"it takes {', '.join(allowed)}" if allowed else "it takes none of the options of reading"
                name = "columns" if option.name == "kinds" else option.name
                raise ValueError(f"{name}= does not apply to {what}: {takes}")

    def described(self) -> dict[str, Any]:
        """The options that were given, as plain JSON values; arrays of labels cannot be among them."""
        names = [option.name for option in fields(self) if option.name not in ("progress", "schema", "kinds")]
        given = {name: getattr(self, name) for name in names}
        if self.kinds is not None:
            given["columns"] = {name: list(v) if isinstance(v, tuple) else v for name, v in self.kinds.items()}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in given.items() if v is not None}


def height_and_width(resize: Sequence[int]) -> tuple[int, int]:
    """The two numbers of `resize`.

    Raises:
        ValueError: If they are not two positive whole numbers.
    """
    numbers: list[Any] = list(resize) if isinstance(resize, Sequence) else [resize]
    if len(numbers) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in numbers):
        raise ValueError(f"resize must be (height, width) in pixels; received {resize!r}")
    return numbers[0], numbers[1]


def listing(names: list[str], most: int = 8) -> str:
    """Names for a message: the first few, and how many more there are."""
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def check_memory(num_bytes: int, what: str) -> None:
    """Refuse to read what cannot fit before anything is allocated."""
    memory = _memory()
    if memory is not None and num_bytes > memory:
        raise ValueError(
            f"{what} would take {num_bytes / 2**30:.1f} GiB and this machine has {memory / 2**30:.1f} GiB of memory: "
            "read it in pieces, from an uncompressed .npy file or through a PyTorch dataset"
        )


def memory_share() -> int | None:
    """Bytes that one array may take before it is left in its file: a quarter of the memory, divided among processes.

    `torchrun` says how many processes share the machine; None where the system does not say how much memory it has.
    """
    memory = _memory()
    return None if memory is None else memory // 4 // max(1, int(os.environ.get("LOCAL_WORLD_SIZE") or 1))


def _memory() -> int | None:
    """Bytes of memory of the machine, or of the container where that is less."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows does not say
        return None
    for file in _CONTAINER_LIMITS:
        try:
            limit = file.read_text().strip()
        except OSError:
            continue
        if limit.isdecimal():  # "max" where there is none
            memory = min(memory, int(limit))
    return memory
