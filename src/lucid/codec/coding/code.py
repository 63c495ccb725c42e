"""What everything that is coded has in common: it goes onto a stack and comes off again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lucid.codec.coding.exact import Flags, Floats
from lucid.codec.coding.stack import Stack, Symbols
from lucid.codec.layout import Described

__all__ = ["Code", "GroupedCode", "Parameters", "PartedCode", "Run", "TransposedCode"]


class Code(Protocol):
    """Symbols and their probabilities.

    `push` puts symbols on a stack, `pop` takes them off: after one and then the other the stack is what it was.
    """

    def push(self, stack: Stack, symbols: Symbols) -> None:
        """Put (M,) symbols on the stack."""
        ...

    def pop(self, stack: Stack) -> Symbols:
        """Take (M,) symbols off the stack."""
        ...


class Run(Protocol):
    """One evaluation of a network for some examples: what is known is fed, what is needed is read.

    What is read does not depend on how many examples are evaluated together, on threads, or on the machine.
    """

    def feed(self, name: str, values: Tensor, /) -> None:
        """Give an input its values, float64, (n, *shape)."""
        ...

    def read(self, name: str, /) -> Tensor:
        """The value of an output, float64, (n, *shape)."""
        ...


class Parameters:
    """The parameters of one distribution, from the network and from what is constant.

    Args:
        run: An evaluation of the network.
        described: The distribution.
        rows: Examples n.

    Attributes:
        kind: Of the distribution.
        settings: Likewise.
    """

    def __init__(self, run: Run, described: Described, rows: int) -> None:
        self._run = run
        self._described = described
        self.kind = described.kind
        self.settings = described.settings
        self._params: Mapping[str, str] = described.params
        self._constants: Mapping[str, Tensor] = described.constants
        self.rows = rows

    def part(self, number: int) -> Parameters:
        """The parameters of a distribution that this one is made of."""
        return Parameters(self._run, self._described.parts[number], self.rows)

    def __contains__(self, name: object) -> bool:
        return name in self._params or name in self._constants

    def __getitem__(self, name: str) -> Floats:
        """A parameter of all examples, (n, *shape)."""
        if name in self._params:
            return np.ascontiguousarray(self._run.read(self._params[name]).cpu().numpy())
        constant = self.constant(name)
        return np.broadcast_to(constant, (self.rows, *constant.shape))

    def constant(self, name: str) -> Floats:
        """A parameter that all examples share, as it is."""
        return self._constants[name].double().cpu().numpy()

    def flat(self, name: str) -> Floats:
        """(n, numbers of an example)."""
        value = self[name]
        return value.reshape(len(value), -1)

    def elements(self, name: str, keep: Flags | None = None) -> Floats:
        """A parameter of every element of every example, (M,), of those that `keep` (of the same shape) marks."""
        value = self[name].reshape(-1)
        return value if keep is None else value[keep]

    def rows_of(self, name: str, keep: Flags | None = None) -> Floats:
        """Of a parameter (n, K, *shape) the K numbers of every element, (M, K), of those that `keep` marks."""
        value = np.moveaxis(self[name], 1, -1)
        value = value.reshape(-1, value.shape[-1])
        return value if keep is None else value[keep]


class GroupedCode:
    """Columns of symbols that are not all coded alike.

    Args:
        columns: The places of each group; together every column once.
        codes: A code for each group, of rows × columns symbols.
        rows: How many rows.
    """

    def __init__(self, columns: Sequence[NDArray[np.int64]], codes: Sequence[Code], rows: int) -> None:
        self._columns = columns
        self._codes = codes
        self._shape = (rows, sum(map(len, columns)))

    def push(self, stack: Stack, symbols: Symbols) -> None:
        table = symbols.reshape(self._shape)
        for columns, code in reversed([*zip(self._columns, self._codes, strict=True)]):
            # One group is all columns in their order.
            part = table if len(self._codes) == 1 else table[:, columns]
            code.push(stack, part.reshape(-1))

    def pop(self, stack: Stack) -> Symbols:
        if len(self._codes) == 1:
            return self._codes[0].pop(stack)
        table = np.empty(self._shape, dtype=np.int32)
        for columns, code in zip(self._columns, self._codes, strict=True):
            table[:, columns] = code.pop(stack).reshape(self._shape[0], -1)
        return table.reshape(-1)


class PartedCode:
    """Symbols a part at a time: the numbers of a part stay in the processor's cache, and need little memory.

    Args:
        count: How many symbols, M.
        size: Of a part.
        make: From a part, a slice of 0 … M, to its code.
    """

    def __init__(self, count: int, size: int, make: Callable[[slice], Code]) -> None:
        self._parts = [slice(first, min(first + size, count)) for first in range(0, count, size)]
        self._make = make

    def push(self, stack: Stack, symbols: Symbols) -> None:
        for part in reversed(self._parts):
            self._make(part).push(stack, symbols[part])

    def pop(self, stack: Stack) -> Symbols:
        popped = [self._make(part).pop(stack) for part in self._parts]
        return popped[0] if len(popped) == 1 else np.concatenate([np.empty(0, dtype=np.int32), *popped])


class TransposedCode:
    """Symbols that are coded in another order.

    Args:
        code: Of the reordered symbols.
        shape: Of the symbols before.
        order: Of its dimensions as they are coded.
    """

    def __init__(self, code: Code, shape: tuple[int, ...], order: tuple[int, ...]) -> None:
        self._code = code
        self._shape = shape
        self._order = order

    def push(self, stack: Stack, symbols: Symbols) -> None:
        self._code.push(stack, symbols.reshape(self._shape).transpose(self._order).reshape(-1))

    def pop(self, stack: Stack) -> Symbols:
        there = self._code.pop(stack).reshape([self._shape[axis] for axis in self._order])
        return there.transpose(np.argsort(self._order)).reshape(-1)
