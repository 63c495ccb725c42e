"""A fuzzer of .lucid files and codecs, guided by the lines that a file reaches.

Every mutated file is opened and read to its end. It may give what the file that it was made of holds, or a
`CodecError`; whatever else it does is a failure: other content, another exception, too much time, too much memory.
"""

from __future__ import annotations

import random
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from tests.codec.mutations import forged_codec, mutated
from tests.codec.small import bits, bits_codec, greys, greys_codec

import lucid.codec
from lucid.codec import Codec, CodecError, Reader, Writer

_WATCHED = ("lucid/codec/container/", "lucid/codec/codec.py", "lucid/codec/record.py", "lucid/codec/form.py")
_MEMORY = 1 << 30


@dataclass(frozen=True)
class Sample:
    """A sound file.

    Attributes:
        name: For the report.
        data: Its bytes.
        read: Everything it says, from its bytes; raises `CodecError` where they are not sound.
        may_be_part: From what was read and what is right: whether it is the beginning of it, which a forger who makes
            new checksums can make a file of.
        forge: Makes another of its bytes that only its content gives away; None where `mutated` does.
    """

    name: str
    data: bytes
    read: Callable[[bytes], Any]
    may_be_part: Callable[[Any, Any], bool] = lambda *_: False
    forge: Callable[[bytes, random.Random], bytes] | None = None


@dataclass
class Outcome:
    """What became of the mutated files.

    Attributes:
        refused: With a `CodecError`, by sample.
        unchanged: That said what the original says, by sample: a mutation can undo itself, or change nothing that means
            something.
        failures: What must not happen, in words.
        kept: Files that reached new lines, and were mutated further.
        slowest: Seconds of the slowest.
    """

    refused: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    kept: int = 0
    slowest: float = 0.0

    @property
    def files(self) -> int:
        return sum(self.refused.values()) + sum(self.unchanged.values()) + len(self.failures)


def samples() -> list[Sample]:
    """One block, several with meta and attachments, stored ones, a codec that travels along, and codecs alone."""
    import io

    small, chain = bits_codec(), greys_codec()

    def file(codec: Codec, levels: torch.Tensor, **options: Any) -> bytes:
        out, attached = io.BytesIO(), options.pop("attached", {})
        with Writer(out, codec, **options) as writer:
            writer.add(levels.long())
            for name, data in attached.items():
                writer.attach(name, [data])
        return out.getvalue()

    noise = torch.randint(0, 2, (30, 24), generator=torch.Generator().manual_seed(5))
    attached = {"a.txt": b"text" * 9, "b": b""}
    return [
        Sample("one block", small.compress(bits(40)), _array(small)),
        Sample("array in meta", chain.compress(greys(9).numpy().astype(">u4")), _array(chain)),
        Sample(
            "indexed", file(chain, greys(25), block_examples=7, meta={"n": [1]}, attached=attached), _all(chain), _part
        ),
        Sample("stored", file(small, noise, block_examples=11, meta="noise"), _all(small), _part),
        Sample("embedded", small.compress(bits(20), embed=True), _array(None)),
        Sample("codec of bits", small.to_bytes(), _identity),
        Sample("codec of greys", chain.to_bytes(), _identity),
        # What is forged well enough to be opened is a codec of its own, with an identity of its own.
        Sample("forged bits", small.to_bytes(), _identity, lambda found, right: found != right, forged_codec),
        Sample("forged greys", chain.to_bytes(), _identity, lambda found, right: found != right, forged_codec),
    ]


def _identity(data: bytes) -> str:
    return lucid.codec.load(data).identity


def _array(codec: Codec | None) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        x = lucid.codec.decompress(data) if codec is None else codec.decompress(data)
        return str(x.dtype), tuple(x.shape), x.tolist()

    return read


def _all(codec: Codec) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        reader = Reader(data, codec)
        levels = torch.cat([torch.empty(0, *codec.layout.data.shape, dtype=torch.int64), *reader.blocks()])
        return reader.meta, levels.tolist(), {member.name: member.read() for member in reader.attachments}

    return read


def _part(found: Any, right: Any) -> bool:
    """Blocks prove which they are, not how many follow: a forger can leave out the last ones, and attachments."""
    same_meta, some_attachments = found[0] == right[0], found[2].items() <= right[2].items()
    return same_meta and some_attachments and found[1] == right[1][: len(found[1])]


def fuzz(count: int, seed: int, *, seconds: float = 10.0, only: str = "") -> Outcome:
    """Open so many mutated files.

    Args:
        count: How many.
        seed: Of the mutations.
        seconds: The longest that one may take.
        only: What the names of the samples hold that are mutated.
    """
    chance = random.Random(seed)
    given = [sample for sample in samples() if only in sample.name]
    right = {sample.name: sample.read(sample.data) for sample in given}
    corpus = [(sample, sample.data, False) for sample in given]
    outcome, reached = Outcome(), set[tuple[str, int]]()
    with _bounded_memory():
        for sample, data, _ in corpus:
            with _lines(reached):
                sample.read(data)
        for number in range(count):
            # Every other file is made of an original, the others of what has reached a new line.
            sample, base, was_forged = chance.choice(corpus[: len(given)] if number % 2 else corpus)
            if sample.forge is not None:
                data, forged = sample.forge(base, chance), True
            else:
                data, forged = mutated(base, chance, [other for _, other, _ in corpus])
            lines = len(reached)
            _open(sample, data, right[sample.name], was_forged or forged, seconds, reached, outcome)
            if len(reached) > lines:
                corpus.append((sample, data, was_forged or forged))
                outcome.kept += 1
    return outcome


def _open(
    sample: Sample, data: bytes, right: Any, forged: bool, seconds: float, reached: set[Any], outcome: Outcome
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    try:
        with _lines(reached), _bounded_time(seconds):
            found = sample.read(data)
    except CodecError as error:
        outcome.refused[sample.name] += 1
        if not str(error):
            outcome.failures.append(f"{sample.name}: refused without a word; {data[:64].hex()}")
        if _lacked_memory(error):
            outcome.failures.append(f"{sample.name}: refused for want of memory alone; {data[:64].hex()}")
    except BaseException as error:  # whatever it is, it must not come out of a file
        if isinstance(error, KeyboardInterrupt):
            raise
        outcome.failures.append(f"{sample.name}: {type(error).__name__}: {error}; {data[:64].hex()}")
    else:
        if found == right or (forged and sample.may_be_part(found, right)):
            outcome.unchanged[sample.name] += 1
        else:
            outcome.failures.append(f"{sample.name}: other content was accepted; {data[:64].hex()}")
    outcome.slowest = max(outcome.slowest, resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)


def _lacked_memory(error: BaseException | None) -> bool:
    """Whether it was the machine that refused: nothing had looked how much the file asks for."""
    while error is not None:
        if isinstance(error, MemoryError) or "allocate" in str(error):
            return True
        error = error.__cause__
    return False


@contextmanager
def _lines(reached: set[tuple[str, int]]) -> Generator[None]:
    """Note the lines of the container that run."""

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "call":
            return trace if any(part in frame.f_code.co_filename for part in _WATCHED) else None
        reached.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def _bounded_time(seconds: float) -> Generator[None]:
    def ring(number: int, frame: object) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _bounded_memory() -> Generator[None]:
    """No more address space than a gigabyte beyond what the process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
