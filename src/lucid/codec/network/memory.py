"""How much memory a network may ask for: what somebody else made must not take all there is."""

from __future__ import annotations

from collections.abc import Sequence

from lucid.codec.network.operations import Spec
from lucid.codec.network.proof import FixedNode

__all__ = ["check_memory", "ready_bytes"]


def ready_bytes(node: FixedNode, inputs: Sequence[Spec]) -> int:
    """What making a node ready takes, at most.

    Raises:
        ValueError: The inputs do not fit the operation.
    """
    fewest, most = node.operation.arity
    if not fewest <= len(inputs) <= most:
        raise ValueError(f"{node.operation.name} takes {fewest} to {most} inputs; received {len(inputs)}")
    return 8 * node.operation.ready_numbers(inputs)


def check_memory(needed: int, allowed: int | None) -> None:
    """Refuse more bytes than allowed; None allows any number.

    Raises:
        ValueError: It is more.
    """
    if allowed is not None and needed > allowed:
        raise ValueError(
            f"the fixed network needs {needed >> 20} MiB for its tables or for the values of a few examples; "
            f"{allowed >> 20} MiB are allowed for weights and tables of its size"
        )
