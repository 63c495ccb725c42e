"""The stack of bits that everything is pushed on and popped from."""

from __future__ import annotations

import hashlib
from time import perf_counter
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from lucid.codec.errors import CodecError

__all__ = ["STREAM", "RanDryError", "Stack", "Symbols", "seed_bytes"]

Symbols = NDArray[np.int32]
STREAM: Any = constriction.stream  # pyright: ignore[reportAttributeAccessIssue]  a compiled module without stubs
WORD = 4
"""Bytes of a word."""


class RanDryError(Exception):
    """More was popped than there was; an encoder starts again with a longer seed."""


def seed_bytes(digest: bytes, count: int) -> bytes:
    """The `count` bytes at the bottom of a stack: the digest, its own SHA-256, and so on.

    Args:
        digest: A SHA-256.
        count: How many.

    Example:
        >>> seed_bytes(bytes(32), 12) == bytes(12)
        True
    """
    blocks = [digest]
    while sum(map(len, blocks)) < count:
        blocks.append(hashlib.sha256(blocks[-1]).digest())
    return b"".join(blocks)[:count]


class Stack:
    """An asymmetric numeral system (ANS) coder: last in, first out.

    What is popped under a probability p takes −log2 p bits off the stack, what is pushed adds as many, and a pop undoes
    the push before it whatever lies below. Pushed and popped are arrays of symbols, first element on top.

    Duda: Asymmetric numeral systems, 2014, https://arxiv.org/abs/1311.2540; Bamler: Understanding entropy coding with
    asymmetric numeral systems (ANS), 2022, https://arxiv.org/abs/2201.01741, is the implementation.

    Args:
        words: Little-endian 32-bit words, top last.
        sealed: Whether anything may be at the top, as in a seed; what a coder wrote ends in a word other than 0.

    Attributes:
        seconds: Spent in the coder so far.
        lowest: The fewest bits that lay on the stack after a pop.
    """

    def __init__(self, words: bytes, *, sealed: bool) -> None:
        self._coder = STREAM.stack.AnsCoder(np.frombuffer(words, dtype="<u4").astype(np.uint32), sealed)
        self.seconds = 0.0
        self.lowest = self.num_bits

    @classmethod
    def of_seed(cls, seed: bytes) -> Stack:
        """A stack that holds a seed, whole words of any bytes, and nothing else."""
        return cls(seed, sealed=True)

    @classmethod
    def of_payload(cls, payload: bytes) -> Stack:
        """What `payload` wrote.

        Raises:
            CodecError: If it wrote no such bytes.
        """
        if len(payload) <= WORD or payload[-1] == 0:
            raise CodecError("the coded data ends where no encoder ends it: the file is damaged or was altered")
        return cls(payload + bytes(-len(payload) % WORD), sealed=False)

    def payload(self) -> bytes:
        """Everything on the stack, without the zeros at the top."""
        return self._coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")

    def seed(self) -> bytes:
        """What is left when all has been popped: the seed it was begun with.

        Raises:
            CodecError: If what is left is no seed.
        """
        words = self._coder.get_compressed()
        if len(words) < 2 or words[-1] != 1:
            raise CodecError("the coded data does not end in a seed: the file is damaged or was altered")
        return words[:-1].astype("<u4").tobytes()

    @property
    def num_bits(self) -> int:
        """How much lies on the stack."""
        return self._coder.num_valid_bits()

    def push(self, symbols: Symbols, model: Any, *params: NDArray[np.float64]) -> None:
        """Put symbols on top.

        Args:
            symbols: (M,).
            model: A model of constriction, or a family of which `params` has the parameters, M of each.
            params: See there.
        """
        start = perf_counter()
        self._coder.encode_reverse(symbols, model, *params)
        self.seconds += perf_counter() - start

    def pop(self, count: int, model: Any, *params: NDArray[np.float64]) -> Symbols:
        """Take `count` symbols off, (M,).

        Raises:
            RanDryError: If the stack does not hold so much.
        """
        start = perf_counter()
        symbols = self._coder.decode(model, *params) if params else self._coder.decode(model, count)
        self.seconds += perf_counter() - start
        # An empty coder goes on and yields what stands for zeros; only its state tells.
        if self._coder.num_words() < 2:
            raise RanDryError
        self.lowest = min(self.lowest, self.num_bits)
        return symbols
