"""What is asked of the computer for the time of a run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from lucid.training import host

FAULTS = """
import resource, torch
from lucid.training.host import keep_large_blocks

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(9_000_000)  # 36 MB, made and freed
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
done = keep_large_blocks()
faults()
print(int(done), before, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_large_blocks_are_kept_and_no_longer_fault_at_each_use() -> None:
    env = {name: value for name, value in os.environ.items() if name not in host._OWN_SETTINGS}
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=env)
    kept, before, after = map(int, done.stdout.split())
    if not kept:
        pytest.skip("the C library is not glibc")
    # Of four blocks, none or one is new; the system gives and takes back each of them otherwise.
    assert before > 4 * 5000
    assert after < before / 2


@pytest.mark.parametrize("name", ["GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_"])
def test_whoever_has_set_the_allocator_is_not_overruled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(host.ctypes, "CDLL", asked.append)
    monkeypatch.setenv(name, "1")
    assert not host.keep_large_blocks()
    assert asked == []


@pytest.mark.parametrize("error", [OSError, TypeError, AttributeError])
def test_without_glibc_nothing_is_done(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: object) -> object:
        raise error("no such library")

    for name in host._OWN_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(host.ctypes, "CDLL", missing)
    assert not host.keep_large_blocks()


def halved() -> float:
    """Half of a number that is too small for full precision."""
    return float((torch.tensor(2e-40) * 0.5).view(torch.int32))


def test_denormals_are_nought_within_and_numbers_afterwards() -> None:
    if not torch.set_flush_denormal(True):
        pytest.skip("the processor cannot")
    torch.set_flush_denormal(False)
    assert halved() > 0

    def run() -> None:
        with host.without_denormals():
            assert halved() == 0
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert halved() > 0


def test_whoever_had_denormals_off_already_keeps_them_off() -> None:
    if not torch.set_flush_denormal(True):
        pytest.skip("the processor cannot")
    try:
        with host.without_denormals():
            assert halved() == 0
        assert halved() == 0
    finally:
        torch.set_flush_denormal(False)
