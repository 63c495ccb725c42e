"""A fixed network as JSON and integer tensors, and back: what is read is believed in nothing."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

import torch
from torch import Tensor

from lucid.codec.network.fixed import FixedNetwork
from lucid.codec.network.known import KnownAnswers
from lucid.codec.network.operations import KINDS, LIMIT, Operation, Spec
from lucid.codec.network.proof import FRACTIONS, LARGEST, FixedNode

__all__ = ["from_parts", "to_parts"]

_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)
_MOST_NODES = 1 << 17


def to_parts(network: FixedNetwork) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """See `FixedNetwork.to_parts`."""
    description: dict[str, Any] = {
        "inputs": {name: [list(s.shape), s.fraction, s.low, s.high] for name, s in network.inputs.items()},
        "constants": {name: spec.fraction for name, spec in network.constants.items()},
        "nodes": [_described(node) for node in network.nodes],
        "outputs": dict(network.outputs),
    }
    tensors = {f"constant/{name}": _small(spec.constant) for name, spec in network.constants.items()}
    if network.known is not None:
        description["known"] = network.known.digest
        tensors |= {f"known/{name}": _small(values) for name, values in network.known.inputs.items()}
    return description, tensors


def from_parts(
    description: Mapping[str, Any], tensors: Mapping[str, Tensor], memory: int | None = None
) -> FixedNetwork:
    """See `FixedNetwork.from_parts`."""
    expect = _expect(description, dict, "the description of a fixed network")
    nodes = [_node(entry) for entry in _part(expect, "nodes", list)]
    if len(nodes) > _MOST_NODES:
        raise ValueError(f"a fixed network has at most {_MOST_NODES} nodes; received {len(nodes)}")
    inputs = {_name(name): _input(name, entry) for name, entry in _part(expect, "inputs", dict).items()}
    fractions = {_name(name): _whole(value, FRACTIONS) for name, value in _part(expect, "constants", dict).items()}
    constants = {name: _constant(name, fraction, tensors) for name, fraction in fractions.items()}
    outputs = {_name(name): _name(source) for name, source in _part(expect, "outputs", dict).items()}
    names = {f"constant/{name}" for name in constants}
    known = None
    if "known" in expect:
        given = {name: _tensor(f"known/{name}", tensors) for name in inputs}
        known = KnownAnswers(given, _part(expect, "known", str))
        names |= {f"known/{name}" for name in inputs}
    unknown = sorted({*map(str, tensors)} - names | set(expect) - {"inputs", "constants", "nodes", "outputs", "known"})
    if unknown:
        raise ValueError(f"a fixed network uses all of its parts; received {unknown[:5]} besides")
    return FixedNetwork(inputs, constants, nodes, outputs, known, memory)


def _described(node: FixedNode) -> list[Any]:
    attrs = {field.name: getattr(node.operation, field.name) for field in fields(node.operation)}  # pyright: ignore[reportArgumentType]
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in attrs.items()}
    return [node.name, node.operation.name, list(node.inputs), node.fraction, node.low, node.high, plain]


def _node(entry: Any) -> FixedNode:
    if not isinstance(entry, list) or len(entry) != 7:
        raise ValueError(f"a node of a fixed network is a list of seven; received {entry!r:.80}")
    name, kind, inputs, fraction, low, high, attrs = entry
    if kind not in KINDS if isinstance(kind, str) else True:
        raise ValueError(f"a fixed network knows the operations {sorted(KINDS)}; received {kind!r:.80}")
    clamp = None if low is None and high is None else (_whole(low, LIMIT), _whole(high, LIMIT))
    return FixedNode(
        _name(name),
        _operation(KINDS[kind], _expect(attrs, dict, "the attributes of a node")),
        tuple(map(_name, _expect(inputs, list, "the inputs of a node"))),
        None if fraction is None else _whole(fraction, FRACTIONS),
        *((None, None) if clamp is None else clamp),
    )


def _operation(cls: type[Operation], attrs: dict[Any, Any]) -> Operation:
    readers = _readers(cls)
    if set(attrs) != set(readers):
        raise ValueError(f"the operation {cls.name!r} has the attributes {sorted(readers)}; received {list(attrs)}")
    return cls(**{name: read(attrs[name]) for name, read in readers.items()})


@cache
def _readers(cls: type[Operation]) -> dict[str, Callable[[Any], Any]]:
    hints = typing.get_type_hints(cls)
    by_type: dict[Any, Callable[[Any], Any]] = {int: _whole, bool: _truth, tuple[int, ...]: _wholes}
    return {field.name: by_type[hints[field.name]] for field in fields(cls)}  # pyright: ignore[reportArgumentType]


def _input(name: str, entry: Any) -> Spec:
    if not isinstance(entry, list) or len(entry) != 4:
        raise ValueError(f"an input of a fixed network is [shape, fraction, low, high]; received {entry!r:.80}")
    shape, low, high = _wholes(entry[0]), _whole(entry[2], LIMIT - 1), _whole(entry[3], LIMIT - 1)
    numel = 1
    for size in shape:
        numel *= max(size, 0)
    if not 0 < numel <= LARGEST or low > high:
        raise ValueError(f"input {name!r:.80} of a fixed network has no values or too many: {entry!r:.80}")
    return Spec(shape, _whole(entry[1], FRACTIONS), low, high)


def _constant(name: str, fraction: int, tensors: Mapping[str, Tensor]) -> Spec:
    values = _tensor(f"constant/{name}", tensors)
    return Spec(tuple(values.shape), fraction, int(values.min()), int(values.max()), constant=values)


def _tensor(name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    tensor = tensors.get(name)
    if tensor is None or tensor.dtype not in _INTEGERS or not tensor.numel():
        received = "none" if tensor is None else f"{tensor.dtype}, {tuple(tensor.shape)}"
        raise ValueError(f"a fixed network needs a tensor of integers {name!r:.80}; received {received}")
    values = tensor.to(torch.int64)
    # Sums over a row of weights are taken in int64: 2^31 · 2^24 elements and more stay below 2^63.
    if int(values.min()) <= -LIMIT or int(values.max()) >= LIMIT:
        raise ValueError(f"whole numbers of a fixed network lie within ±2^53; {name!r:.80} does not")
    return values


def _small(values: Tensor | None) -> Tensor:
    assert values is not None
    low, high = int(values.min()), int(values.max())
    dtype = next(d for d in _INTEGERS if torch.iinfo(d).min <= low and high <= torch.iinfo(d).max)
    return values.to(dtype).contiguous()


def _part(description: Mapping[str, Any], name: str, kind: type) -> Any:
    if name not in description:
        raise ValueError(f"the description of a fixed network needs {name!r}; received {list(description)[:8]}")
    return _expect(description[name], kind, f"{name!r} of a fixed network")


def _expect(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{what} must be a {kind.__name__}; received {value!r:.80}")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 512:
        raise ValueError(f"a name in a fixed network is text of 1 to 512 characters; received {value!r:.80}")
    return value


def _whole(value: Any, most: int = LIMIT) -> int:
    if type(value) is not int or abs(value) > most:
        raise ValueError(f"a fixed network needs a whole number within ±{most} here; received {value!r:.80}")
    return value


def _wholes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > 64:
        raise ValueError(f"a fixed network needs a list of at most 64 whole numbers here; received {value!r:.80}")
    return tuple(_whole(item) for item in value)


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"a fixed network needs true or false here; received {value!r:.80}")
    return value
