"""Hostile files, kills at any time, and files larger than the memory they may use."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.codec import fuzzing
from tests.codec.small import bits_codec, greys, greys_codec

from lucid.codec import CodecError, Reader, Writer
from lucid.codec.container import blocks, pool, stored
from lucid.codec.inputs import pack, unpack

MEMORY = Path(__file__).parent / "larger_than_memory.py"
ROOT = Path(__file__).parents[2]


def test_no_mutated_file_is_accepted_wrongly_hangs_or_fails_in_other_words() -> None:
    outcome = fuzzing.fuzz(250, seed=1)
    assert outcome.failures == []
    assert outcome.files == 250
    assert outcome.unchanged.total() < 25, "mutations that change nothing prove nothing"


def test_the_fuzzer_finds_a_decoder_that_does_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the check of the content taken out, damaged payloads come through."""

    def careless(codec, salt, number, kind, payload, num_examples):
        if kind == blocks.STORED:
            return stored.unpack(payload[:-8], (num_examples, *codec.layout.data.shape))
        return blocks.decode(codec, salt, number, kind, payload, num_examples)

    monkeypatch.setattr(pool, "decode", careless)
    outcome = fuzzing.fuzz(60, seed=1, only="stored")
    assert any("other content was accepted" in failure for failure in outcome.failures)


def test_the_fuzzer_finds_what_hangs_and_what_takes_all_memory() -> None:
    slow = fuzzing.Sample("slow", b"a", lambda _: time.sleep(5))
    greedy = fuzzing.Sample("greedy", b"a", lambda _: torch.empty(1 << 33, dtype=torch.uint8))
    outcome = fuzzing.Outcome()
    with fuzzing._bounded_memory():
        for sample in (slow, greedy):
            fuzzing._open(sample, b"a", None, forged=False, seconds=0.2, reached=set(), outcome=outcome)
    assert "slow: TimeoutError" in outcome.failures[0]
    assert "greedy: RuntimeError" in outcome.failures[1]


def test_a_payload_of_noise_ends_soon() -> None:
    """However many examples it claims, a payload runs dry, and is refused, when its bits are used up."""
    codec = bits_codec()
    noise = random.Random(0).randbytes(40)
    start = time.process_time()
    with pytest.raises(CodecError):
        codec.coder.decode(b"\x18" + noise + b"\x01", 500_000)
    assert time.process_time() - start < 5


# Kills

COMPRESSING = """
import sys, torch, lucid.codec
from lucid.codec import Writer
codec = lucid.codec.load(sys.argv[1])
levels = torch.arange(200 * 24).remainder(17).reshape(200, 1, 4, 6)
with Writer(sys.argv[2], codec, block_examples=10) as writer:
    while True:
        writer.add(levels)
        print(writer.num_examples, flush=True)
"""


def test_a_kill_while_compressing_leaves_no_half_file(tmp_path: Path) -> None:
    codec, target = greys_codec(), tmp_path / "a.lucid"
    codec.save(tmp_path / "a.codec")
    target.write_bytes(b"what was there before")
    command = [sys.executable, "-c", COMPRESSING, str(tmp_path / "a.codec"), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"what was there before"
    unfinished = [entry for entry in tmp_path.iterdir() if entry.suffix == ".tmp"]
    assert len(unfinished) == 1, "the kill came in the midst of writing"
    assert unfinished[0].stat().st_size > 1000
    with Writer(target, codec) as writer:  # and the name is free for another try
        writer.add(greys(3).long())
    with Reader(target, codec) as reader:
        assert torch.equal(reader.examples(), greys(3).long())


DECOMPRESSING = """
import sys, time, lucid.codec
from lucid.codec.inputs import unpack
def show(done, total):
    print(done, flush=True)
    time.sleep(0.2)
unpack(sys.argv[2], sys.argv[3], codec=lucid.codec.load(sys.argv[1]), progress=show)
"""


def test_a_kill_while_decompressing_leaves_no_half_file(tmp_path: Path) -> None:
    codec, file, target = greys_codec(), tmp_path / "a.lucid", tmp_path / "out" / "x.npy"
    codec.save(tmp_path / "a.codec")
    np.save(tmp_path / "x.npy", greys(200).numpy())
    pack(codec, [tmp_path / "x.npy"], file, block_examples=10)
    target.parent.mkdir()
    command = [sys.executable, "-c", DECOMPRESSING, str(tmp_path / "a.codec"), str(file), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not target.exists()
    assert len(list(target.parent.iterdir())) == 1, "the kill came in the midst of writing"
    unpack(file, target, codec=codec)  # and the name is free for another try
    assert target.read_bytes() == (tmp_path / "x.npy").read_bytes()


# Memory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
def test_files_larger_than_the_memory_they_may_use() -> None:
    """187 MB of levels through `Writer` and `Reader` cost a few blocks of memory, not the file."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(MEMORY)], capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    whole, writing, reading, reading_a_part = (int(number) for number in done.stdout.split())
    assert whole >= 187
    assert writing < 64
    assert reading < 64
    assert reading_a_part < 64
