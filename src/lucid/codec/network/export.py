"""PyTorch's export of a model's walk: a list of calls, without mutations."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any

from torch import Tensor
from torch.export import ExportedProgram, default_decompositions, export

from lucid.codec.network.lowering import LOWERINGS
from lucid.codec.network.walked import Parameters
from lucid.models import LatentModel

__all__ = ["exported", "name_of", "undecidable"]

_SPEAKS = "torch.fx.experimental.symbolic_shapes"
"""PyTorch's logger of what it cannot decide: the error says it too."""


def exported(model: LatentModel, x: Tensor, latents: Sequence[Tensor]) -> ExportedProgram:
    """The walk over one example, without mutations, in the operations that are known as they are, else in simpler ones.

    With a batch of one, whatever a model does with the dimension of the batch (merging it with others, moving it) is a
    change of shape of a single example.
    """
    with warnings.catch_warnings():
        # PyTorch's own deprecations, and what modules assign to themselves, of which nothing is kept.
        for category in (FutureWarning, DeprecationWarning, UserWarning):
            warnings.simplefilter("ignore", category)
        try:
            with _quietly():
                program = export(Parameters(model), (x, *latents), strict=False)
        except RuntimeError as error:
            raise undecidable(str(error).strip().split("\n")[0].rstrip(".")) from error
        if _is_known(program):
            return program
        simpler = default_decompositions()
        for operation in list(simpler.keys()):
            if name_of(operation) in LOWERINGS:
                simpler.pop(operation)
        return program.run_decompositions(simpler)


@contextmanager
def _quietly() -> Generator[None, None, None]:
    """Where it cannot decide by a value, PyTorch prints all of its graph before it raises."""
    logger = logging.getLogger(_SPEAKS)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _is_known(program: ExportedProgram) -> bool:
    """Whether nothing is written to, and every operation on a value is known: simpler ones would take long to find."""
    given = set(program.graph_signature.user_inputs)
    depending = {node for node in program.graph.nodes if node.op == "placeholder" and node.name in given}
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is not None and schema.is_mutable:
            return False
        if depending.intersection(node.all_input_nodes):
            depending.add(node)
            if node.op == "call_function" and name_of(node.target) not in LOWERINGS and _is_used(node):
                return False
    return True


def _is_used(node: Any) -> bool:
    """Whether anything comes of a call; of PyTorch's own assertions nothing does. Parts are taken by a call too."""
    return bool(node.users) and name_of(node.target) != "getitem"


def undecidable(reason: str) -> ValueError:
    """The error for a model that is no graph of operations."""
    return ValueError(
        f"the model cannot be written down as a graph of operations: {reason}. A codec needs networks that do the same "
        "for every example; decisions by values (`if h.max() > 1`, `.item()`, `h[h > 0]`) are to be written with "
        "torch.where"
    )


def name_of(operation: Any) -> str:
    """The name of an operation without its library and its overload."""
    return str(getattr(operation, "_opname", getattr(operation, "__name__", operation)))
