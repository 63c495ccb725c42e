"""From an exported walk to its graph, call by call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx.node import map_arg

from lucid.codec.network.export import name_of, undecidable
from lucid.codec.network.fold import folded
from lucid.codec.network.graph import Graph
from lucid.codec.network.lowering import LOWERINGS, Call
from lucid.codec.network.pointwise import applied, without_logit_of_sigmoid
from lucid.codec.network.values import Builder, Value
from lucid.codec.network.walked import Distributions

__all__ = ["lowered"]


def lowered(
    program: ExportedProgram,
    found: Distributions,
    samples: Mapping[str, Tensor],
    order: Sequence[int],
    takes_missing: bool,
) -> tuple[Graph, dict[str, Tensor]]:
    """The graph of the outputs that depend on its inputs, and the values of those that do not."""
    builder = Builder({name: tuple(values.shape[1:]) for name, values in samples.items()})
    values = _inputs(program, builder, ["x", *(f"z{level}" for level in order)], takes_missing)
    outputs = _outputs(program)
    for node in _needed(program, outputs):
        if node.op == "call_function" and node not in values:
            values[node] = _lower(builder, node, values)
    names: dict[str, str] = {}
    constants: dict[str, Tensor] = {}
    for name, node in zip(found.tensors, outputs, strict=True):
        made = values[node]
        if isinstance(made, Value):
            made = made.with_function(without_logit_of_sigmoid(made.function))
            names[name] = builder.node(made, made.shape[1:])
        else:
            constants[name] = made.double().squeeze(0)
    return folded(builder.graph(names)), constants


def _inputs(program: ExportedProgram, builder: Builder, names: Sequence[str], takes_missing: bool) -> dict[Any, Any]:
    """What the placeholders of the exported program stand for: weights, and the inputs of the graph in their order."""
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    kept: Mapping[str, Any] = {**program.constants, **program.state_dict}
    remaining = iter(names)
    values: dict[Any, Any] = {}
    for spec in program.graph_signature.input_specs:
        node = placeholders[spec.arg.name]
        if spec.kind == InputKind.USER_INPUT:
            name = next(remaining)
            value = Value((1, *builder.shapes[name]), name)
            if name == "x" and takes_missing:
                value = value.with_function(applied((), "missing"))
            values[node] = value
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
            values[node] = _wide(kept[str(spec.target)].detach())
    return values


def _outputs(program: ExportedProgram) -> list[Any]:
    """The nodes of the parameters."""
    nodes = {node.name: node for node in program.graph.nodes}
    specs = program.graph_signature.output_specs
    return [nodes[spec.arg.name] for spec in specs if spec.kind == OutputKind.USER_OUTPUT]


def _needed(program: ExportedProgram, outputs: Sequence[Any]) -> list[Any]:
    """The nodes that outputs depend on, in order."""
    needed, waiting = set[Any](), list(outputs)
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += node.all_input_nodes
    return [node for node in program.graph.nodes if node in needed]


def _wide(value: Any) -> Any:
    """Floating-point numbers in float64."""
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    return type(value)(_wide(v) for v in value) if isinstance(value, list | tuple) else value


def _lower(builder: Builder, node: Any, values: Mapping[Any, Any]) -> Any:
    """What a call makes: a constant where it reads none but constants, else values."""
    operation = node.target
    args, kwargs = map_arg((node.args, node.kwargs), lambda n: values[n])
    if name_of(operation) == "getitem":
        return args[0][args[1]]
    made = node.meta.get("val")
    if _is_random(operation):
        raise ValueError(
            f"{_layer_of(node)} draws random numbers ({name_of(operation)}) in evaluation mode: a file could not be "
            "read again. Draw in training mode only"
        )
    if not _holds_value((args, tuple(kwargs.values()))):
        return _constant(operation, args, kwargs, made)
    schema = operation._schema.arguments
    named = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    named |= {argument.name: given for argument, given in zip(schema, args, strict=False)} | kwargs
    single = isinstance(made, Tensor)
    shape = tuple(int(n) for n in made.shape) if single else ()
    call = Call(builder, name_of(operation), operation, named, shape, single and made.is_floating_point())
    if call.name in ("item", "_local_scalar_dense"):
        raise undecidable(f"{_layer_of(node)} makes a number of Python's of a value")
    if call.name not in LOWERINGS:
        raise _unknown(node, call, "")
    try:
        return LOWERINGS[call.name](call)
    except NotImplementedError as error:
        raise _unknown(node, call, f" {error}") from error


def _unknown(node: Any, call: Call, told: str) -> ValueError:
    return ValueError(
        f"{_layer_of(node)} uses the operation {call.name}{told}, which a codec cannot compute in exact integers. It "
        "knows linear layers, convolutions, activations and any function of one number, normalisations, pooling, "
        "resizing, softmax and attention, sums, products, comparisons and changes of shape: write the layer with these"
    )


def _constant(operation: Any, args: Any, kwargs: Any, made: Any) -> Any:
    if name_of(operation) in ("_to_copy", "to") and isinstance(made, Tensor) and made.is_floating_point():
        return _wide(args[0].double())
    return _wide(operation(*args, **kwargs))


def _holds_value(given: Any) -> bool:
    if isinstance(given, list | tuple):
        return any(_holds_value(part) for part in given)
    return isinstance(given, Value)


def _is_random(operation: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(operation, "tags", ()) and name_of(operation) not in LOWERINGS


def _layer_of(node: Any) -> str:
    """The layer that an operation belongs to, as a user finds it."""
    layers = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
    return layers[-1].removeprefix("model.") if layers else "the model"
