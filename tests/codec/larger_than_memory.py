"""Writes and reads many levels; prints how many megabytes they are, and how many it took: run by `test_abuse.py`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from tests.codec.standin import StandIn

from lucid.codec import Reader, Writer

SHAPE, PIECES, PIECE = (64, 64), 60, 100
"""60 × 100 × 4,096 levels of 8 bytes; pieces are small, since what makes them takes memory too."""


def peak() -> int:
    """The most memory the process has had, in bytes, since it was last asked."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def piece(number: int) -> torch.Tensor:
    return (torch.arange(PIECE * 4096) * (number + 1)).remainder(251).reshape(PIECE, *SHAPE)


def main() -> None:
    torch.set_num_threads(1)
    codec = StandIn(shape=SHAPE, levels=256)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.lucid"
        with Writer(path, codec, block_examples=100) as warm:  # loads what is loaded once
            warm.add(piece(0))
        forget_peak()
        before = peak()
        with Writer(path, codec, block_examples=100) as writer:
            for number in range(PIECES):
                writer.add(piece(number))
        written = peak() - before
        forget_peak()
        before = peak()
        with Reader(path, codec) as reader:
            total = sum(int(levels.sum()) for levels in reader.blocks())
        read = peak() - before
        forget_peak()
        before = peak()
        with Reader(path, codec) as reader:
            most = sum(int(levels.sum()) for levels in reader.blocks(30, PIECES * PIECE - 30))
        read_in_part = peak() - before
    assert total == sum(int(piece(number).sum()) for number in range(PIECES))
    assert most == total - int(piece(0)[:30].sum()) - int(piece(PIECES - 1)[-30:].sum())
    megabyte = 1 << 20
    sizes = PIECES * piece(0).numel() * 8, written, read, read_in_part
    sys.stdout.write(" ".join(str(size // megabyte) for size in sizes))


if __name__ == "__main__":
    main()
