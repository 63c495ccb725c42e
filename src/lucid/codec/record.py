"""A codec as plain JSON and named tensors, and back again, with everything in it doubted."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from lucid.codec.errors import CodecError
from lucid.codec.layout import MOST_MARK, DataLayout, Described, Grid, LatentLayout, Layout
from lucid.codec.network.operations import Spec

__all__ = ["check_size", "identity_of", "layout_from_parts", "layout_to_parts", "narrowed"]

_MOST_LATENTS = 4096
_MOST_CELLS = 1 << 17
_MOST_LEVELS = 1 << 20
_BYTES_OF_CELL, _BYTES_OF_LEVEL = 64, 128  # that coding needs
_MOST_PARTS = 4096
_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)
Json = dict[str, Any]


def identity_of(description: Json, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256, hexadecimal, of all that decides what a codec does.

    Args:
        description: Plain JSON.
        tensors: Contiguous, in ordinary memory.
    """
    hashed = hashlib.sha256(json.dumps(description, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        said = [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        hashed.update(json.dumps(said).encode())
        hashed.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return hashed.hexdigest()


def narrowed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Integers in the smallest type that holds them, which is how they are kept."""
    return {name: tensor if tensor.is_floating_point() else _narrow(tensor) for name, tensor in tensors.items()}


def _narrow(tensor: Tensor) -> Tensor:
    if tensor.dtype == torch.bool:
        return tensor
    low, high = (int(value) for value in torch.aminmax(tensor)) if tensor.numel() else (0, 0)
    fits = (dtype for dtype in _INTEGERS if torch.iinfo(dtype).min <= low and high <= torch.iinfo(dtype).max)
    return tensor.to(next(fits)).contiguous()


def layout_to_parts(layout: Layout) -> tuple[Json, dict[str, Tensor]]:
    """The layout as plain JSON, and its tensors by name."""
    tensors: dict[str, Tensor] = {}
    latents = [_latent_to_parts(latent, tensors) for latent in layout.latents]
    found: Json = {
        "latents": latents,
        "inference": list(layout.inference),
        "generation": list(layout.generation),
        "likelihood": _described_to_parts(layout.likelihood, "x", tensors),
        "data": {
            "shape": list(layout.data.shape),
            "levels": layout.data.levels,
            "protocol": dict(layout.data.protocol),
        },
    }
    return found, tensors


def layout_from_parts(parts: Any, tensors: Mapping[str, Tensor]) -> Layout:
    """The inverse of `layout_to_parts`.

    Raises:
        CodecError: A part is missing, of another type, or out of range.
    """
    given = _Checked(parts, tensors)
    latents = tuple(_latent_from_parts(item) for item in given.items("latents", _MOST_LATENTS))
    data = given["data"]
    levels = data.value("levels", lambda value: value is None or (type(value) is int and 2 <= value <= _MOST_LEVELS))
    protocol = data.value("protocol", lambda value: isinstance(value, dict))
    layout = Layout(
        latents=latents,
        inference=given.whole_numbers("inference"),
        generation=given.whole_numbers("generation"),
        likelihood=_described_from_parts(given["likelihood"]),
        data=DataLayout(data.shape("shape"), levels, protocol),
    )
    order = list(range(len(latents)))
    if [latent.level for latent in latents] != order:
        raise CodecError("the codec is damaged: its latents are not in the order of their levels")
    for name, found in (("inference", layout.inference), ("generation", layout.generation)):
        if sorted(found) != order:
            raise CodecError(f"the codec is damaged: {name} must name each of {len(order)} latents once; it is {found}")
    return layout


def check_size(layout: Layout, inputs: Mapping[str, Spec], memory: int) -> None:
    """Refuse a layout whose examples are not those of the network, or whose coding takes too much memory.

    Args:
        layout: What is coded.
        inputs: Of the network.
        memory: Bytes.

    Raises:
        CodecError: As said.
    """
    shapes = {"x": layout.data.shape} | {f"z{latent.level}": latent.shape for latent in layout.latents}
    for name, shape in shapes.items():
        if name in inputs and inputs[name].shape != shape:
            raise CodecError(f"the codec is damaged: {name} has the shape {shape} in one place, and another elsewhere")
    grids = [latent.grid for latent in layout.latents if latent.grid is not None]
    kinds = {kind for g in grids for kind in zip(g.cells.flatten().tolist(), g.step.flatten().tolist(), strict=True)}
    cells, levels = sum(cells for cells, _ in kinds), math.prod(layout.data.shape)
    if _BYTES_OF_CELL * cells + _BYTES_OF_LEVEL * levels > memory:
        raise CodecError(
            f"the codec is damaged: {cells} cells of grids and {levels} numbers in an example take more than the "
            f"{memory >> 20} MiB that are allowed for its size"
        )


def _latent_to_parts(latent: LatentLayout, tensors: dict[str, Tensor]) -> Json:
    grid, name = latent.grid, f"z{latent.level}"
    assert grid is not None, "a layout has grids once it has been calibrated"
    for part in ("centre", "step", "cells", "shared"):
        tensors[f"{name}.{part}"] = getattr(grid, part)
    return {
        "level": latent.level,
        "shape": list(latent.shape),
        "posterior": _described_to_parts(latent.posterior, f"{name}.posterior", tensors),
        "prior": _described_to_parts(latent.prior, f"{name}.prior", tensors),
        "prior_known_first": latent.prior_known_first,
        "standardised": grid.standardised,
    }


def _latent_from_parts(given: _Checked) -> LatentLayout:
    level = given.value("level", lambda value: type(value) is int and 0 <= value < _MOST_LATENTS)
    shape = given.shape("shape")
    name = f"z{level}"
    centre, step = (given.real(f"{name}.{part}", shape) for part in ("centre", "step"))
    cells = given.tensor(f"{name}.cells", shape).long()
    shared = given.tensor(f"{name}.shared", shape)
    if shared.dtype != torch.bool:
        if shared.is_floating_point() or not bool(((shared >= 0) & (shared <= MOST_MARK)).all()):
            raise CodecError(f"the codec is damaged: what is shared of {name} must be 0 to {MOST_MARK}")
        shared = shared.to(torch.uint8)
    mantissa = torch.frexp(step)[0]
    if not bool((mantissa == 0.5).all()) or not bool(((step >= 2.0**-64) & (step <= 2.0**64)).all()):
        raise CodecError(f"the codec is damaged: the steps of the grid of {name} must be powers of two")
    if not bool(((cells >= 2) & (cells <= _MOST_CELLS)).all()):
        raise CodecError(f"the codec is damaged: the grid of {name} has an impossible number of cells")
    standardised = given.value("standardised", lambda value: isinstance(value, bool))
    return LatentLayout(
        level=level,
        shape=shape,
        posterior=_described_from_parts(given["posterior"]),
        prior=_described_from_parts(given["prior"]),
        prior_known_first=given.value("prior_known_first", lambda value: isinstance(value, bool)),
        grid=Grid(standardised, centre, step, cells, shared),
    )


def _described_to_parts(described: Described, name: str, tensors: dict[str, Tensor]) -> Json:
    for constant, value in described.constants.items():
        tensors[f"{name}.{constant}"] = value.detach().double().cpu().contiguous()
    return {
        "kind": described.kind,
        "params": dict(described.params),
        "constants": {constant: f"{name}.{constant}" for constant in described.constants},
        "settings": dict(described.settings),
        "parts": [_described_to_parts(part, f"{name}.{i}", tensors) for i, part in enumerate(described.parts)],
    }


def _described_from_parts(given: _Checked, depth: int = 0) -> Described:
    if depth > 3:
        raise CodecError("the codec is damaged: a distribution is nested too deeply")
    return Described(
        kind=given.value("kind", lambda value: isinstance(value, str)),
        params=given.texts("params"),
        constants={name: given.real(key) for name, key in given.texts("constants").items()},
        settings=given.value("settings", lambda value: isinstance(value, dict)),
        parts=tuple(_described_from_parts(part, depth + 1) for part in given.items("parts", _MOST_PARTS)),
    )


class _Checked:
    """A JSON object and the tensors it speaks of; whatever is taken out of it is what it should be."""

    def __init__(self, found: Any, tensors: Mapping[str, Tensor]) -> None:
        if not isinstance(found, dict):
            raise CodecError(f"the codec is damaged: a JSON object should stand where {str(found)[:80]!r} does")
        self._found = cast("Json", found)
        self._tensors = tensors

    def __getitem__(self, name: str) -> _Checked:
        return _Checked(self._found.get(name), self._tensors)

    def value(self, name: str, is_sound: Callable[[Any], bool]) -> Any:
        found = self._found.get(name)
        if not is_sound(found):
            raise CodecError(f"the codec is damaged: {name!r} cannot be {str(found)[:80]!r}")
        return found

    def items(self, name: str, most: int) -> list[_Checked]:
        found = self.value(name, lambda value: isinstance(value, list) and len(value) <= most)
        return [_Checked(item, self._tensors) for item in found]

    def texts(self, name: str) -> dict[str, str]:
        found = self.value(name, lambda value: isinstance(value, dict))
        if not all(isinstance(text, str) for text in found.values()):
            raise CodecError(f"the codec is damaged: {name!r} should map names to names")
        return found

    def whole_numbers(self, name: str) -> tuple[int, ...]:
        return tuple(self.value(name, lambda value: isinstance(value, list) and all(type(n) is int for n in value)))

    def shape(self, name: str) -> tuple[int, ...]:
        found = self.whole_numbers(name)
        if not 1 <= len(found) <= 8 or min(found) < 1 or math.prod(found) > 1 << 28:
            raise CodecError(f"the codec is damaged: {found} is not the shape of an example")
        return found

    def tensor(self, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        found = self._tensors.get(name)
        if found is None or (shape is not None and tuple(found.shape) != shape):
            raise CodecError(f"the codec is damaged: its tensor {name[:80]!r} is missing or has another shape")
        return found

    def real(self, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        found = self.tensor(name, shape)
        if found.dtype != torch.float64 or not bool(found.isfinite().all()):
            raise CodecError(f"the codec is damaged: its tensor {name[:80]!r} should hold finite numbers of 64 bits")
        return found
