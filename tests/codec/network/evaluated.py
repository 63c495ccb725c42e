"""Run as a program: the outputs of a stored network, as their hash, in the surroundings it was started in.

    python -m tests.codec.network.evaluated FOLDER BATCH THREADS

It says two hashes: of "integers", and of "floats", a float32 network in their place, which the tests of exactness must
notice.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from tests.codec.network.graphs import walk_graph
from torch import Tensor

from lucid.codec.network.fixed import FixedNetwork
from lucid.codec.network.graph import Graph
from lucid.codec.network.reference import EVALUATE
from lucid.io import read_tensors


def floats(graph: Graph, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The graph in float32, as a model would compute it."""
    values = {name: value.float() for name, value in {**graph.constants, **given}.items()}
    for node in graph.nodes:
        if node.operation == "pointwise" and node.attrs["function"] == [["tanh", "x"]]:
            values[node.name] = torch.tanh(values[node.inputs[0]])
        elif node.operation == "pointwise":
            values[node.name] = torch.nn.functional.silu(values[node.inputs[0]])
        else:
            values[node.name] = EVALUATE[node.operation](node.attrs, *(values[name] for name in node.inputs))
    return {name: values[source].double() for name, source in graph.outputs.items()}


def integers(network: FixedNetwork, given: Mapping[str, Tensor], device: str = "cpu") -> dict[str, Tensor]:
    """The fixed network's outputs."""
    run = network.start(min(map(len, given.values())), device)
    for name, values in given.items():
        run.feed(name, values)
    return {name: run.read(name).cpu() for name in network.outputs}


def hashed(folder: Path, arithmetic: str, batch: int) -> str:
    """SHA-256 of all outputs, in batches of a size."""
    network = FixedNetwork.from_parts(
        json.loads((folder / "network.json").read_text()), read_tensors(folder / "network.safetensors")
    )
    given = {name: values.double() for name, values in read_tensors(folder / "given.safetensors").items()}
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, min(map(len, given.values())), batch):
        here = {name: values[start : start + batch] for name, values in given.items()}
        found = integers(network, here) if arithmetic == "integers" else floats(walk_graph(), here)
        for name, values in found.items():
            parts.setdefault(name, []).append(values)
    total = hashlib.sha256()
    for name in sorted(parts):
        total.update(torch.cat(parts[name]).contiguous().numpy().tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    said = {
        arithmetic: hashed(Path(sys.argv[1]), arithmetic, int(sys.argv[2])) for arithmetic in ("integers", "floats")
    }
    sys.stdout.write(json.dumps(said))
