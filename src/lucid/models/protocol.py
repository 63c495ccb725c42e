"""How raw data became what the model sees, declared once; it travels with the model and is undone on output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from lucid.distributions import Column
from lucid.io import register
from lucid.models.coding import column_of, frame_of, to_model_space, to_raw_space

__all__ = ["DataProtocol"]

_KINDS = ("image", "table", "series", "vector")
_BINARISATIONS = ("none", "static", "dynamic")


@register
@dataclass(frozen=True)
class DataProtocol:
    """What a likelihood figure is a figure *of*: the data, its scaling, its levels, its binarisation, its split.

    Raw space is what the file held; model space is the float tensors that encoders and likelihoods see.

    - Integer data with `levels` L: x = raw / (L − 1), a grid in [0, 1].
    - Continuous data (`levels` None): x = (raw − shift) / scale.
    - A table of mixed columns (`schema`): each column as its `Column` says; NaN is a missing value in both spaces.
    - Binarised data: each x in [0, 1] is the probability of a 1. `static` draws every example once; `dynamic` draws
      training
      examples anew at each visit, and validation and test examples once. `seed` is that of the draws made once.

    Args:
        name: What the data is called, for instance "mnist".
        kind: "image" (C, H, W), "series" (C, T), "table" (columns,) or "vector" (D,).
        shape: Shape of one example in model space, without the batch.
        levels: Number of values raw integers take, 0 … levels − 1; None for continuous data.
        shift: Subtracted from continuous data: one number, or one per element of the last dimension.
        scale: Divides continuous data: likewise; positive.
        binarisation: "none", "static" or "dynamic".
        seed: Seed of the draws that are made once.
        columns: Column names of a table.
        classes: Names of the label values, in order of their codes.
        split: How train, validation and test were divided, in words.
        reading: How the file was read (resize, crop, channels, …), for reading more data of the kind; plain JSON
            values.
        schema: The columns of a table that are of several kinds or hold missing values; () for all other data.
        dtypes: Of a table of complete numbers: each column's type in Arrow and in pandas ("" where the table did not
            come from there), which `to_table` and `to_frame` give back. The model is not concerned by them.
        label: The column of a table that holds the labels; "" if none does.

    Raises:
        ValueError: If a value is outside its range, or levels and scaling are both given.

    Example:
        >>> import torch
        >>> p = DataProtocol(name="digits", kind="image", shape=(1, 8, 8), levels=17)
        >>> p.to_data(p.to_model(torch.tensor([0, 4, 16], dtype=torch.uint8)))
        tensor([ 0,  4, 16], dtype=torch.uint8)
    """

    name: str
    kind: Literal["image", "table", "series", "vector"]
    shape: tuple[int, ...]
    levels: int | None = None
    shift: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    binarisation: Literal["none", "static", "dynamic"] = "none"
    seed: int = 0
    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    split: str = ""
    reading: Mapping[str, Any] = field(default_factory=dict[str, Any])
    schema: tuple[Column, ...] = ()
    dtypes: tuple[tuple[str, str], ...] = ()
    label: str = ""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"kind must be one of {', '.join(_KINDS)}; received {self.kind!r}")
        if not self.shape or any(n < 1 for n in self.shape):
            raise ValueError(f"shape must list the positive sizes of one example; received {self.shape}")
        if self.levels is not None and self.levels < 2:
            raise ValueError(f"levels must be at least 2, or None for continuous data; received {self.levels}")
        if self.binarisation not in _BINARISATIONS:
            raise ValueError(f"binarisation must be one of {', '.join(_BINARISATIONS)}; received {self.binarisation!r}")
        for name, value, low in (("shift", self.shift, -math.inf), ("scale", self.scale, 0.0)):
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(low < n < math.inf for n in numbers):
                raise ValueError(f"{name} must be finite{' and positive' if low == 0 else ''}; received {value}")
            if isinstance(value, tuple) and len(value) != self.shape[-1]:
                raise ValueError(
                    f"{name} must have one number per element of the last dimension, {self.shape[-1]}; "
                    f"it has {len(value)}"
                )
        if self.levels is not None and (self.shift, self.scale) != (0.0, 1.0):
            raise ValueError("data with declared levels is scaled by them: leave shift at 0 and scale at 1")
        if self.dtypes and (self.schema or len(self.dtypes) != len(self.columns)):
            raise ValueError(
                f"dtypes are one for each of the {len(self.columns)} columns of a table without a schema; received "
                f"{len(self.dtypes)}"
            )
        if self.schema:
            self._check_schema()

    def _check_schema(self) -> None:
        if self.shape != (len(self.schema),) or self.columns != tuple(column.name for column in self.schema):
            raise ValueError(
                f"schema describes {len(self.schema)} columns: shape must be ({len(self.schema)},) and columns their "
                f"names; received {self.shape} and {self.columns}"
            )
        if self.levels is not None or (self.shift, self.scale) != (0.0, 1.0) or self.binarisation != "none":
            raise ValueError("the columns of a schema have levels, shift and scale of their own: leave out the table's")

    @property
    def typed_columns(self) -> tuple[Column, ...]:
        """The columns of a table with the types they had: those of the schema, or of numbers; () if none is known."""
        numbers = zip(self.columns, self.dtypes, strict=False)  # a protocol of an earlier lucid has no types
        return self.schema or tuple(Column(name, "real", dtype=own, pandas=pandas) for name, (own, pandas) in numbers)

    @property
    def num_features(self) -> int:
        """Numbers in one example, the "dim" of bits/dim."""
        return math.prod(self.shape)

    @property
    def model_levels(self) -> int | None:
        """Number of values a feature takes in model space: 2 once binarised, None for continuous data."""
        return 2 if self.binarisation != "none" else self.levels

    def to_model(self, raw: Tensor) -> Tensor:
        """Raw values as the float tensors a model sees, before any binarisation, in float32 (float64 stays)."""
        x = raw if raw.dtype in (torch.float32, torch.float64) else raw.float()
        if self.schema:
            return to_model_space(self.schema, x)
        if self.levels is not None:
            return x if self.levels == 2 else x / (self.levels - 1)
        if (self.shift, self.scale) == (0.0, 1.0):
            return x
        return (x - self._like(x, self.shift)) / self._like(x, self.scale)

    def binarise(
        self, x: Tensor, generator: Generator | None = None, *, first: int = 0, whole: int | None = None
    ) -> Tensor:
        """One draw of every feature: 1 with probability x.

        Args:
            x: Probabilities in [0, 1], any shape.
            generator: Where the uniform numbers come from; on the device of `x`.
            first: Where the rows of `x` begin in the batch they are a part of.
            whole: Rows of that batch; None if `x` is all of it. The draw of a part is that part of the whole's draw.
        """
        rows = x.shape if whole is None else (whole, *x.shape[1:])
        uniform = torch.rand(rows, generator=generator, dtype=x.dtype, device=x.device)
        return ((uniform if whole is None else uniform[first : first + len(x)]) < x).to(x.dtype)

    def to_data(self, x: Tensor) -> Tensor:
        """Model-space values back in raw space; integer data is rounded to its nearest level.

        Rows of mixed columns become float64: numbers, and the number of the nearest category.
        """
        if self.schema:
            return to_raw_space(self.schema, x)
        if self.levels is not None:
            raw = (x * (self.levels - 1)).round().clamp(0, self.levels - 1)
            return raw.to(torch.uint8 if self.levels <= 256 else torch.int32)
        return x * self._like(x, self.scale) + self._like(x, self.shift)

    def to_table(self, x: Tensor) -> Any:
        """Rows in model space as a `pyarrow.Table`, each column of the type it had; NaN becomes a missing value.

        What a model makes is rounded where the column held integers, and cut at a half where it held booleans.

        Args:
            x: (N, columns), what a model of the table takes and makes.

        Raises:
            ValueError: If this is not the protocol of a table.
        """
        return self.raw_table(self.to_data(x))

    def to_frame(self, x: Tensor) -> Any:
        """Rows in model space as a `pandas.DataFrame`, each column of the type it had.

        Args:
            x: (N, columns), what a model of the table takes and makes.

        Raises:
            ValueError: If this is not the protocol of a table.
            ImportError: If pandas is not installed: `pip install lucid-vae[tables]`.

        Example:
            >>> import pandas as pd
            >>> from lucid.data import load
            >>> frame = pd.DataFrame({"size": [1.5, None, 2.5, 9.0] * 5, "kind": ["a", "b", "a", None] * 5})
            >>> data = load(frame)
            >>> data.protocol.to_frame(data.train.tensor()).dtypes.equals(frame.dtypes)
            True
        """
        return frame_of(self.typed_columns, self.to_table(x))

    def raw_table(self, raw: Tensor) -> Any:
        """Rows in raw space as a `pyarrow.Table`; `to_table` takes them in model space."""
        import pyarrow as pa

        if not self.columns or raw.dim() != 2 or raw.shape[1] != len(self.columns):
            raise ValueError(
                f"a table of {self.name!r} has the columns {self.columns or '(none)'}; received values of shape "
                f"{tuple(raw.shape)}"
            )
        typed, values = self.typed_columns, raw.detach().cpu()
        if not typed:
            return pa.table({name: values[:, i].numpy() for i, name in enumerate(self.columns)})
        numbers = values.double().numpy()
        return pa.table({column.name: column_of(column, numbers[:, i]) for i, column in enumerate(typed)})

    def describe(self) -> str:
        """The protocol in one line, to stand beside every figure."""
        shape = "×".join(str(n) for n in self.shape)
        values = f"{self.levels} levels" if self.levels else "continuous"
        if self.schema:
            kinds = [column.kind for column in self.schema]
            values = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        parts = [self.name, f"{self.kind} {shape}", values]
        if self.binarisation == "static":
            parts.append(f"binarised once (seed {self.seed})")
        elif self.binarisation == "dynamic":
            parts.append(f"training binarised at each visit, evaluation binarised once (seed {self.seed})")
        elif self.levels is None and (self.shift, self.scale) != (0.0, 1.0):
            parts.append("shifted and scaled, likelihood in the scaled units")
        if any(column.scale != 1.0 for column in self.schema):
            parts.append("likelihood of the observed values, in scaled units")
        return "; ".join([*parts, *([self.split] if self.split else [])])

    @staticmethod
    def _like(x: Tensor, value: float | tuple[float, ...]) -> Tensor:
        return torch.as_tensor(value, dtype=x.dtype, device=x.device)
