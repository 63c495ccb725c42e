"""Every random number of a run is a function of its seed and of where in the run it is drawn.

So a resumed run draws what the unbroken one would have drawn, with nothing to save; and processes that share a batch
draw the numbers that one process would.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager

import torch

__all__ = ["Randomness"]


class Randomness:
    """The two streams of a run: `noise` for the draws of the walk, and PyTorch's global one, which dropout reads.

    `noise` is the same in every process: each draws for the whole batch and keeps its rows. The global stream differs
    from process to process.

    Args:
        seed: Of the run.
        device: Where the model is.
        rank: Which process this is.
    """

    def __init__(self, seed: int, device: torch.device, rank: int) -> None:
        self.noise = torch.Generator(device)
        self._seed = seed
        self._rank = rank
        self._own = [torch.default_generator]
        if device.type == "cuda":
            torch.cuda.init()
            self._own.append(torch.cuda.default_generators[device.index or 0])

    def at(self, *place: int | str, part: int = 0) -> None:
        """Set both streams to what they are at a place of the run, such as ("train", step).

        Args:
            place: Where in the run.
            part: Of a batch that is computed in parts; `noise` is the same for all, as it is for all processes.
        """
        self.noise.manual_seed(_hash(self._seed, *place))
        mine = _hash(self._seed, "own", self._rank, part, *place)
        for generator in self._own:
            generator.manual_seed(mine)

    @contextmanager
    def borrowed(self) -> Generator[None]:
        """While the run lasts PyTorch's global stream is its own; afterwards the caller's is put back."""
        before = [generator.get_state() for generator in self._own]
        try:
            yield
        finally:
            for generator, state in zip(self._own, before, strict=True):
                generator.set_state(state)


def _hash(*purpose: int | str) -> int:
    """A seed; sums such as seed + step would give step 1 of seed 0 the numbers of step 0 of seed 1."""
    digest = hashlib.blake2b(repr(purpose).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
