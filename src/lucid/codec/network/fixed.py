"""A network of integers: the same numbers on every machine, for any batch size, and computed only as far as asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lucid.codec.network.known import KnownAnswers, digest_of
from lucid.codec.network.memory import check_memory, ready_bytes
from lucid.codec.network.operations import Finish, Operation, Spec
from lucid.codec.network.proof import FixedNode, Proved, prove

if TYPE_CHECKING:
    from lucid.codec.network.graph import Graph

__all__ = ["FixedNetwork", "Run"]

_READ = 64
"""Bytes for each number that is read: whoever reads it computes with it."""


class FixedNetwork:
    """A graph in integer arithmetic.

    Every value is i · 2^−fraction for an integer i, held as i in float64. Every sum and product on the way is proven to
    stay below 2^53, where float64 adds and multiplies integers exactly, in any order; what is not exact (division,
    square root) is a single IEEE operation, correctly rounded everywhere. So no result depends on batch size, threads,
    instruction set or device.

    Args:
        inputs: What is fed, by name.
        constants: Weights and tables, by name; their specs carry the integers.
        nodes: The operations, in an order in which they can be computed.
        outputs: From the name of an output to the node, input or constant that it is.
        known: Inputs whose outputs' hash is known: each device is checked against it before its first use.
        memory: As in `limit`.

    Raises:
        ValueError: Something does not fit, a number could outgrow float64 (the proof, made anew here), or the tables
            are larger than the memory allowed.
    """

    def __init__(
        self,
        inputs: Mapping[str, Spec],
        constants: Mapping[str, Spec],
        nodes: Sequence[FixedNode],
        outputs: Mapping[str, str],
        known: KnownAnswers | None = None,
        memory: int | None = None,
    ) -> None:
        self.inputs = dict(inputs)
        self.constants = dict(constants)
        self.nodes = tuple(nodes)
        self.outputs = dict(outputs)
        specs: dict[str, Spec] = {**self.inputs, **self.constants}
        if len(specs) != len(self.inputs) + len(self.constants):
            raise ValueError("inputs and constants of a fixed network need names of their own")
        self.memory = memory
        self.ready_bytes = 0
        self.proved: dict[str, Proved] = {}
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in specs]
            if missing or node.name in specs:
                raise ValueError(f"node {node.name!r} of a fixed network needs a new name and known inputs; {missing}")
            given = [specs[name] for name in node.inputs]
            self.ready_bytes += ready_bytes(node, given)
            check_memory(self.ready_bytes, memory)
            self.proved[node.name] = prove(node, given)
            specs[node.name] = self.proved[node.name].spec
        for name, source in self.outputs.items():
            if source not in specs:
                raise ValueError(f"output {name!r} of a fixed network reads {source!r}, which nothing computes")
        self.specs = specs
        self.known = known
        if known is not None:
            self._check_known(known)
        self._plans: dict[str, _Plan] = {}

    @classmethod
    def quantise(cls, graph: Graph, samples: Mapping[str, Tensor], **options: int) -> FixedNetwork:
        """The graph in integers, with as many bits as calibration data call for and the proof allows.

        Args:
            graph: The float64 graph.
            samples: For every graph input, values (n, *shape) that are typical of it; ranges are taken from them and
                widened several times.
            options: Of `quantise`.

        Raises:
            ValueError: The graph has an operation without an integer form, or samples are missing or not finite.
        """
        from lucid.codec.network.quantise import quantise  # which makes FixedNetworks

        return quantise(graph, samples, **options)

    @classmethod
    def from_parts(
        cls, description: Mapping[str, Any], tensors: Mapping[str, Tensor], memory: int | None = None
    ) -> FixedNetwork:
        """The network of `to_parts`. Nothing is believed: all is checked, and the proof is made anew.

        Args:
            description: Plain JSON values.
            tensors: Integers.
            memory: As in `limit`.

        Raises:
            ValueError: The parts are not those of a fixed network, its numbers could outgrow float64, or its tables
                are larger than the memory allowed.
        """
        from lucid.codec.network.parts import from_parts  # which makes FixedNetworks

        return from_parts(description, tensors, memory)

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The network as plain JSON values and integer tensors, which `from_parts` reads."""
        from lucid.codec.network.parts import to_parts

        return to_parts(self)

    def limit(self, memory: int | None) -> None:
        """Let tables and an evaluation take so many bytes at most, each; None: as many as they like.

        Raises:
            ValueError: The tables take more. Evaluations that would take more raise the same.
        """
        check_memory(self.ready_bytes, memory)
        self.memory = memory

    def start(self, n: int, device: str | torch.device = "cpu", *, checked: bool = True) -> Run:
        """A new evaluation of n examples.

        Args:
            n: How many.
            device: Where.
            checked: Whether the device must give the known answers before its first use.

        Raises:
            ValueError: The device computes differently.
        """
        device = torch.device(device)
        plan = self._plans.get(str(device))
        if plan is None:
            plan = self._plans[str(device)] = _Plan(self, device)
        if checked and not plan.checked:
            if self.known is not None and digest_of(self, self.known.inputs, device) != self.known.digest:
                raise ValueError(
                    f"this codec's known answers do not come out on {device} with torch {torch.__version__}: its "
                    f"float64 arithmetic is not IEEE 754, or the codec is damaged; use another device or torch release"
                )
            plan.checked = True
        return Run(self, plan, n, device)

    def _check_known(self, known: KnownAnswers) -> None:
        shapes = {name: (tuple(v.shape[1:]), len(v)) for name, v in known.inputs.items()}
        counts = {n for _, n in shapes.values()}
        fits = {name: shape for name, (shape, _) in shapes.items()} == {n: s.shape for n, s in self.inputs.items()}
        if not fits or len(counts) > 1 or max(counts, default=1) > 64:
            raise ValueError(f"known answers need 1 to 64 examples of every input; received {shapes}")

    def proof(self) -> dict[str, float]:
        """For every node, the largest possible magnitude of its partial sums and products, in bits (below 53)."""
        return {name: math.log2(max(item.partial, 1)) for name, item in self.proved.items()}


@dataclass(frozen=True)
class _Step:
    """A node, ready to be computed."""

    operation: Operation
    inputs: tuple[int, ...]
    prepared: tuple[Any, ...]
    finish: Finish
    size: int
    working: int


class _Plan:
    """A network on one device: constants as float64 with scales folded in, names as numbers."""

    def __init__(self, network: FixedNetwork, device: torch.device) -> None:
        names = [*network.inputs, *network.constants, *(node.name for node in network.nodes)]
        self.slots = {name: slot for slot, name in enumerate(names)}
        constants = {name: spec.constant for name, spec in network.constants.items() if spec.constant is not None}
        self.checked = False
        self._seen: dict[tuple[tuple[int, ...], bytes], Tensor] = {}
        self.values: list[Tensor | None] = [None] * len(names)
        for name, tensor in constants.items():
            self.values[self.slots[name]] = tensor.to(torch.float64).to(device)
        self.steps: list[_Step | None] = [None] * (len(names) - len(network.nodes))
        self.uses = [0] * len(names)
        for node in network.nodes:
            proved = network.proved[node.name]
            prepared = node.operation.prepare([network.specs[name] for name in node.inputs], proved.scale)
            clamp = (float(node.low or 0), float(node.high or 0)) if proved.clamps else None
            on_device = tuple(self._shared(item).to(device) if isinstance(item, Tensor) else item for item in prepared)
            inputs = tuple(self.slots[name] for name in node.inputs)
            size = 8 * math.prod(proved.spec.shape)
            working = 8 * node.operation.working_numbers([network.specs[n] for n in node.inputs], proved.spec.shape)
            self.steps.append(_Step(node.operation, inputs, on_device, Finish(proved.rounds, clamp), size, working))
            for slot in inputs:
                self.uses[slot] += 1
        for source in (*network.outputs.values(), *network.constants):
            self.uses[self.slots[source]] += len(names)  # never dropped
        self._seen.clear()

    def _shared(self, tensor: Tensor) -> Tensor:
        """One tensor for all that are equal: a table that many layers read stays in the processor's cache."""
        return self._seen.setdefault((tuple(tensor.shape), tensor.numpy().tobytes()), tensor)


class Run:
    """One evaluation: feed what is known, read what is needed.

    Each value is computed at most once, when something asks for it, and dropped after its last use.

    Example:
        >>> import torch
        >>> from lucid.codec.network.fixed import FixedNetwork
        >>> from lucid.codec.network.graph import Graph, Node
        >>> double = Graph({"x": (2,)}, {}, (Node("y", "add", ("x", "x")),), {"out": "y"})
        >>> network = FixedNetwork.quantise(double, {"x": torch.rand(8, 2, dtype=torch.float64)})
        >>> run = network.start(1)
        >>> run.feed("x", torch.tensor([[0.25, 0.5]], dtype=torch.float64))
        >>> run.read("out")
        tensor([[0.5000, 1.0000]], dtype=torch.float64)
    """

    def __init__(self, network: FixedNetwork, plan: _Plan, n: int, device: torch.device) -> None:
        self._network, self._plan = network, plan
        self._n, self._device = n, device
        self._memory, self._held = network.memory, 0
        self._values = list(plan.values)
        self._uses = list(plan.uses)

    def feed(self, name: str, values: Tensor) -> None:
        """Give an input (n, *shape) in float64; it is rounded and clamped to the input's grid."""
        spec = self._network.inputs[name]
        assert tuple(values.shape) == (self._n, *spec.shape), (name, tuple(values.shape), (self._n, *spec.shape))
        assert values.dtype == torch.float64, (name, values.dtype)
        fed = (values.to(self._device) * 2.0**spec.fraction).round_().clamp_(spec.low, spec.high)
        self._values[self._plan.slots[name]] = fed

    def read(self, name: str) -> Tensor:
        """An output (n, *shape) in float64: exact dyadic rationals. It may share memory: do not write to it.

        Raises:
            AssertionError: It depends on an input that has not been fed.
        """
        source = self._network.outputs[name]
        spec = self._network.specs[source]
        value = self._value(self._plan.slots[source])
        if self._memory is not None:
            check_memory(self._held + _READ * self._n * math.prod(spec.shape), self._memory)
        if not spec.real and spec.fraction:
            value = value * 2.0**-spec.fraction
        return value if spec.constant is None else value.expand(self._n, *spec.shape)

    def _value(self, slot: int) -> Tensor:
        values, steps = self._values, self._plan.steps
        waiting = [slot]
        while waiting:
            current = waiting[-1]
            if values[current] is not None:
                waiting.pop()
                continue
            step = steps[current]
            assert step is not None, f"{[*self._network.inputs][current]!r} has not been fed"
            missing = [i for i in step.inputs if values[i] is None]
            if missing:
                waiting.extend(missing)
                continue
            values[current] = self._computed(step)
            waiting.pop()
        value = values[slot]
        assert value is not None
        return value

    def _computed(self, step: _Step) -> Tensor:
        values = self._values
        given: list[Tensor] = []
        for slot in step.inputs:
            value = values[slot]
            assert value is not None
            given.append(value)
        if self._memory is not None:
            check_memory(self._held + self._n * (step.size + step.working), self._memory)
        self._held += self._n * step.size
        result = step.operation.finished(given, step.prepared, step.finish)
        for slot in step.inputs:
            self._uses[slot] -= 1
            if self._uses[slot] == 0:
                values[slot] = None
                source = self._plan.steps[slot]
                self._held -= self._n * source.size if source is not None else 0
        return result
