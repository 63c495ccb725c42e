"""The same bytes from any batch size, number of threads, instruction set and device, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.codec.network.evaluated import hashed, integers
from tests.codec.network.graphs import OPERATIONS, samples_of, walk_graph
from tests.codec.surroundings import SURROUNDINGS

from lucid.codec.network.fixed import FixedNetwork
from lucid.io import write_tensors

ROOT = Path(__file__).parents[3]

BATCHES = (1, 7)
"""Of the processes, one after another."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("network")
    graph = walk_graph()
    description, tensors = FixedNetwork.quantise(graph, samples_of(graph)).to_parts()
    (made / "network.json").write_text(json.dumps(description))
    write_tensors(made / "network.safetensors", tensors)
    write_tensors(made / "given.safetensors", samples_of(graph, 64, scale=1.5))
    return made


@pytest.fixture(scope="module")
def elsewhere(folder: Path) -> list[dict[str, str]]:
    """The hashes of integers and of floats in each of the surroundings: importing torch is what takes the time."""
    found: list[dict[str, str]] = []
    for batch, (threads, environment) in zip(BATCHES, SURROUNDINGS, strict=True):
        command = [sys.executable, "-m", "tests.codec.network.evaluated", str(folder), str(batch), str(threads)]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True, timeout=120
        )
        found.append(json.loads(done.stdout))
    return found


def test_integers_are_the_same_everywhere(folder: Path, elsewhere: list[dict[str, str]]) -> None:
    here = hashed(folder, "integers", 64)
    assert len(here) == 64
    assert [found["integers"] for found in elsewhere] == [here, here]


def test_floats_in_their_place_are_noticed(folder: Path, elsewhere: list[dict[str, str]]) -> None:
    here = hashed(folder, "floats", 64)
    assert [found["floats"] for found in elsewhere] != [here, here]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", [*OPERATIONS, "walk"])
def test_a_gpu_gives_the_cpu_s_bytes(name: str) -> None:
    graph = walk_graph() if name == "walk" else OPERATIONS[name]()
    network = FixedNetwork.quantise(graph, samples_of(graph))
    for scale in (1.0, 100.0):
        given = samples_of(graph, 33, scale=scale)
        on_cpu, on_gpu = integers(network, given), integers(network, given, "cuda")
        assert {key: torch.equal(on_cpu[key], on_gpu[key]) for key in on_cpu} == dict.fromkeys(on_cpu, True)
