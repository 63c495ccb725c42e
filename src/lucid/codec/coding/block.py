"""A block of examples as one stack of bits: bits-back coding with a latent variable model."""

from __future__ import annotations

from time import perf_counter
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from lucid.codec.coding.batches import batch_slices
from lucid.codec.coding.code import Code, Run
from lucid.codec.coding.counts import MOST_COUNT
from lucid.codec.coding.data import data_code, to_model_space
from lucid.codec.coding.entries import DRAWN, ENTRIES, PACE, entered
from lucid.codec.coding.latents import LatentCoder
from lucid.codec.coding.stack import WORD, RanDryError, Stack, Symbols, seed_bytes
from lucid.codec.coding.table import MissingCounts, TableCode
from lucid.codec.container.numbers import Cursor, varint
from lucid.codec.errors import CodecError
from lucid.codec.layout import LatentLayout, Layout

__all__ = ["BlockCoder", "Network"]

_LEAST_SEED = 3
"""Words: 96 bits of the digest, which is what tells a damaged block."""
_DIVISORS = (2, 4, 8, 16, 32, 64, 128, 256)
_SLOWEST = 8 * PACE
_TRIAL_WORDS = 1 << 12
_BATCH_NUMBERS = 1 << 19
"""Numbers of x in a batch, at most: what a batch needs of memory."""
_MOST_ROWS = 512


class Network(Protocol):
    """A network that answers with the same bits on every machine."""

    def start(self, n: int) -> Run:
        """An evaluation for n examples."""
        ...


class BlockCoder:
    r"""Codes blocks of examples with a frozen model.

    For each batch the encoder *pops* every z off the stack under its posterior, in the order of inference, pushes x
    under p(x|z), and pushes every z under its prior, in the reverse of the order of generation. What it popped comes
    back as the decoder retraces its steps, so a batch adds

    .. math:: -\log_2 \frac{p(x|z)\,p(z)}{q(z|x)}

    bits, on average the negative of the evidence lower bound. The bottom of the stack is a seed, the first words of a
    digest of what the block holds: the bits that the first batch pops, and the proof that all was decoded as it was.
    Deep models would pop far more for an example than it adds; their weak latents, which say little of x, are drawn by
    both sides at first and enter in tiers, each when the stack can pay for it.

    Townsend, Bird, Barber: Practical Lossless Compression with Latent Variables using Bits Back Coding, 2019,
    https://arxiv.org/abs/1901.04866.

    Args:
        network: Integer-exact.
        layout: Of the model's walk, with a grid for every latent.

    Attributes:
        seconds: Time spent by stage so far: "networks", "coder" (entropy coding), and "tables", which is the rest.

    Raises:
        ValueError: If a latent has no grid.
    """

    def __init__(self, network: Network, layout: Layout) -> None:
        self._network = network
        self._layout = layout
        self._tiers = max(_tiers(latent) for latent in layout.latents)
        self._by_tiers = {self._tiers: _Latents(layout, self._tiers)}
        self._size = int(np.prod(layout.data.shape))
        self._most = max(1, min(_MOST_ROWS, _BATCH_NUMBERS // max(1, self._size)))
        self._is_table = layout.likelihood.kind == "table"
        self.seconds = {"networks": 0.0, "tables": 0.0, "coder": 0.0}

    def encode(self, levels: Tensor, digest: bytes) -> bytes:
        """The block as bytes.

        Args:
            levels: (n, *shape), int64: level numbers, counts or category numbers; −1 where a table misses a value.
            digest: SHA-256 of what the decoder can check, at least of `levels`.

        Returns:
            The payload: one byte or two that say how it was begun, and the stack.

        Raises:
            ValueError: If there are none, or one is larger than a file can hold.
        """
        flat = _checked(levels).reshape(len(levels), -1).cpu().numpy().astype(np.int32)
        words, code, pace = _LEAST_SEED, 0, PACE
        while True:
            code = max(code, self._least_code(pace))
            stack = Stack.of_seed(seed_bytes(digest, words * WORD))
            reached = self._encode_all(stack, flat, _DIVISORS[code], pace)
            if reached is None:
                begun = varint(words * len(_DIVISORS) + code) + (varint(pace) if self._tiers else b"")
                return begun + stack.payload()
            if reached and self._tiers and pace < _SLOWEST:
                pace += 1
            elif reached and code < len(_DIVISORS) - 1:
                code += 1
            else:
                words += 1 + words // 8

    def decode(self, payload: bytes, n: int) -> tuple[Tensor, bytes]:
        """What `encode` made the payload of.

        Args:
            payload: The bytes.
            n: Examples.

        Returns:
            Levels, (n, *shape), int64, and the seed found at the bottom: `seed_bytes` of the digest, if all is well.

        Raises:
            CodecError: If no encoder wrote the payload. One that no encoder wrote can go unnoticed here; its seed then
                belongs to another digest.
        """
        cursor = Cursor(payload, "the coded data")
        words, code = divmod(cursor.number(), len(_DIVISORS))
        pace = cursor.number() if self._tiers else PACE
        stack = Stack.of_payload(cursor.take(cursor.left))
        flat = np.empty((n, self._size), dtype=np.int32)
        try:
            missing = MissingCounts.pop(stack, self._size, n) if self._is_table else None
            for batch in reversed(batch_slices(n, _DIVISORS[code], self._most)):
                self._decode_batch(stack, flat, batch, missing, self._latents(batch, pace))
        except RanDryError:
            raise CodecError("the coded data ends too early: the file is damaged or was altered") from None
        seed = stack.seed()
        if len(seed) != words * WORD:
            raise CodecError("the coded data does not end in its seed: the file is damaged or was altered")
        return torch.from_numpy(flat.astype(np.int64)).reshape(n, *self._layout.data.shape), seed

    def _encode_all(self, stack: Stack, flat: Symbols, divisor: int, pace: int) -> int | None:
        """Push every batch.

        Returns:
            The number of the batch that found the stack dry, or None.
        """
        missing = MissingCounts.of(flat) if self._is_table else None
        for number, batch in enumerate(batch_slices(len(flat), divisor, self._most)):
            try:
                self._encode_batch(stack, flat[batch], batch.start, missing, self._latents(batch, pace))
            except RanDryError:
                return number
        if missing is not None:
            missing.push(stack)
        return None

    def trial(self, levels: Symbols) -> tuple[float, float]:
        """Bits that some examples pop off the stack, and bits that they add to it in the end, each.

        Args:
            levels: As `encode` takes them, (n, numbers of an example).
        """
        count = _TRIAL_WORDS
        while True:
            stack = Stack.of_seed(seed_bytes(bytes(32), count * WORD))
            missing = MissingCounts.of(levels) if self._is_table else None
            before = stack.num_bits
            try:
                self._encode_batch(stack, levels, 0, missing, self._by_tiers[self._tiers])
            except RanDryError:
                count *= 8
                continue
            return (before - stack.lowest) / len(levels), (stack.num_bits - before) / len(levels)

    def _least_code(self, pace: int) -> int:
        """Of the least divisor whose batches are small enough for every tier to enter as soon as it may."""
        needed = ENTRIES[self._tiers - 1] * pace // PACE if self._tiers else 0
        return next((code for code, divisor in enumerate(_DIVISORS) if divisor >= needed), len(_DIVISORS) - 1)

    def _latents(self, batch: slice, pace: int) -> _Latents:
        tiers = min(self._tiers, entered(batch.start, batch.stop - batch.start, pace)) if self._tiers else 0
        if tiers not in self._by_tiers:
            self._by_tiers[tiers] = _Latents(self._layout, tiers)
        return self._by_tiers[tiers]

    def _encode_batch(
        self, stack: Stack, x: Symbols, first: int, missing: MissingCounts | None, latents: _Latents
    ) -> None:
        rows = len(x)
        with _Timed(self.seconds, self._network.start(rows), stack) as run:
            run.feed("x", to_model_space(x, self._layout.data))
            symbols: dict[int, Symbols] = {}
            for latent in latents.inference:
                level = latent.latent.level
                symbols[level] = latent.posterior(run, rows).pop(stack)
                run.feed(latent.input, latent.values(symbols[level], run, rows, first))
            self._data_code(run, rows, missing).push(stack, x.reshape(-1))
            for latent in reversed(latents.generation):
                latent.prior(run, rows).push(stack, symbols[latent.latent.level])

    def _decode_batch(
        self, stack: Stack, flat: Symbols, batch: slice, missing: MissingCounts | None, latents: _Latents
    ) -> None:
        rows = batch.stop - batch.start
        with _Timed(self.seconds, self._network.start(rows), stack) as run:
            symbols: dict[int, Symbols] = {}
            for latent in latents.generation:
                level = latent.latent.level
                symbols[level] = latent.prior(run, rows).pop(stack)
                run.feed(latent.input, latent.values(symbols[level], run, rows, batch.start))
            flat[batch] = self._data_code(run, rows, missing).pop(stack).reshape(rows, -1)
            run.feed("x", to_model_space(flat[batch], self._layout.data))
            for latent in reversed(latents.inference):
                latent.posterior(run, rows).push(stack, symbols[latent.latent.level])

    def _data_code(self, run: Run, rows: int, missing: MissingCounts | None) -> Code:
        if missing is not None:
            return TableCode(run, self._layout.likelihood, rows, missing)
        return data_code(run, self._layout.likelihood, rows)


class _Latents:
    """The coders of the latents, in the order of inference and in that of generation."""

    def __init__(self, layout: Layout, tiers: int) -> None:
        by_level = {latent.level: LatentCoder(latent, tiers) for latent in layout.latents}
        self.inference = [by_level[level] for level in layout.inference]
        self.generation = [by_level[level] for level in layout.generation]


def _tiers(latent: LatentLayout) -> int:
    """Of a latent's numbers, the last that enters."""
    return max(0, int(latent.grid.shared.max()) - DRAWN) if latent.grid is not None else 0


def _checked(levels: Tensor) -> Tensor:
    low, high = (int(end) for end in torch.aminmax(levels)) if levels.numel() else (0, -1)
    if low < -1 or not -1 <= high <= MOST_COUNT or not levels.numel():
        received = f"numbers from {low} to {high}" if levels.numel() else "no examples"
        raise ValueError(f"a block codes levels 0 … {MOST_COUNT}, or −1 for a missing value; received {received}")
    return levels


class _Timed:
    """A run whose time, and that of a stack, is added to that of their stages."""

    def __init__(self, seconds: dict[str, float], run: Run, stack: Stack) -> None:
        self._seconds = seconds
        self._run = run
        self._stack = stack

    def __enter__(self) -> Self:
        self._begin = perf_counter()
        self._coder = self._stack.seconds
        self._networks = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        coder = self._stack.seconds - self._coder
        self._seconds["networks"] += self._networks
        self._seconds["coder"] += coder
        self._seconds["tables"] += perf_counter() - self._begin - coder - self._networks

    def feed(self, name: str, values: Tensor) -> None:
        start = perf_counter()
        self._run.feed(name, values)
        self._networks += perf_counter() - start

    def read(self, name: str) -> Tensor:
        start = perf_counter()
        value = self._run.read(name)
        self._networks += perf_counter() - start
        return value
