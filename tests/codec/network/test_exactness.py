"""The same bytes from any batch size, number of threads, instruction set and device, in processes of their own."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tests.codec.network.evaluated import integers
from tests.codec.network.graphs import OPERATIONS, samples_of, walk_graph

from lucid.codec.network.fixed import FixedNetwork
from lucid.io import write_tensors

ROOT = Path(__file__).parents[3]

Surroundings = tuple[int, int, dict[str, str]]

SURROUNDINGS: list[Surroundings] = [
    (64, 1, {}),
    (1, 1, {"ATEN_CPU_CAPABILITY": "default"}),
    (7, 2, {"ATEN_CPU_CAPABILITY": "avx2"}),
    (64, 2, {"MKL_CBWR": "COMPATIBLE"}),
]
"""Batch size, threads, environment."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("network")
    graph = walk_graph()
    description, tensors = FixedNetwork.quantise(graph, samples_of(graph)).to_parts()
    (made / "network.json").write_text(json.dumps(description))
    write_tensors(made / "network.safetensors", tensors)
    write_tensors(made / "given.safetensors", samples_of(graph, 64, scale=1.5))
    return made


def _hashes(folder: Path, arithmetic: str, surroundings: Sequence[Surroundings] = SURROUNDINGS) -> list[str]:
    """One process after the other: they share two cores with the rest of the tests."""
    found: list[str] = []
    for batch, threads, environment in surroundings:
        if environment.get("ATEN_CPU_CAPABILITY") == "avx2" and platform.machine() not in ("x86_64", "AMD64"):
            continue
        command = [sys.executable, "-m", "tests.codec.network.evaluated", str(folder), arithmetic]
        command += [str(batch), str(threads)]
        without = {name: value for name, value in os.environ.items() if name != "ATEN_CPU_CAPABILITY"}
        done = subprocess.run(
            command, cwd=ROOT, env=without | environment, capture_output=True, text=True, check=True, timeout=120
        )
        found.append(done.stdout)
    return found


def test_integers_are_the_same_everywhere(folder: Path) -> None:
    found = _hashes(folder, "integers")
    assert len(found) >= 3
    assert len(found[0]) == 64
    assert set(found) == {found[0]}


def test_floats_in_their_place_are_noticed(folder: Path) -> None:
    assert len(set(_hashes(folder, "floats", SURROUNDINGS[:2]))) > 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", [*OPERATIONS, "walk"])
def test_a_gpu_gives_the_cpu_s_bytes(name: str) -> None:
    graph = walk_graph() if name == "walk" else OPERATIONS[name]()
    network = FixedNetwork.quantise(graph, samples_of(graph))
    for scale in (1.0, 100.0):
        given = samples_of(graph, 33, scale=scale)
        on_cpu, on_gpu = integers(network, given), integers(network, given, "cuda")
        assert {key: torch.equal(on_cpu[key], on_gpu[key]) for key in on_cpu} == dict.fromkeys(on_cpu, True)
