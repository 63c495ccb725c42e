"""A model from its JSON description: only classes that are known here, and no code from the file."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from lucid.io.registry import find, signature_of
from lucid.io.torch_layers import CONTAINERS, LAYERS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_DEPTH", "MAX_ENTRIES", "build", "construct"]

MAX_DEPTH = 64
MAX_ENTRIES = 200_000


def build(description: object) -> Any:
    """The object of a description, on the CPU and newly initialised; the global random state is left as it was.

    Only registered classes and the listed layers of `torch.nn` can be named; nothing is imported or evaluated. The
    sizes it names are allocated: `lucid.load` first compares them with the weights, on the meta device.

    Args:
        description: What `describe` returned, perhaps by way of a file.

    Raises:
        ValueError: A class that is not known, arguments a class does not take or refuses, an opaque entry, or a
            description that is malformed, too large or nested too deeply; with the place.

    Example:
        >>> import torch.nn as nn
        >>> from lucid.io import build, describe
        >>> build(describe(nn.Sequential(nn.Linear(4, 2), nn.ReLU())))
        Sequential(
          (0): Linear(in_features=4, out_features=2, bias=True)
          (1): ReLU()
        )
    """
    return construct(description, "cpu", {})


def construct(description: object, device: str, given: Mapping[str, object], *, max_bytes: int | None = None) -> Any:
    """`build` on a device, with the objects `given` standing in for the entries at their places ("config.encoders").

    Raises:
        ValueError: As `build`; or all tensors of all modules together take more than `max_bytes`.
    """
    builder = _Builder(given)
    # Initialisation draws from the CPU's generator; the meta device draws nothing.
    with torch.random.fork_rng(devices=[]), torch.device(device):
        built = builder.value(description, "", 0)
    if max_bytes is not None and builder.tensor_bytes() > max_bytes:
        raise ValueError(
            f"the model described would take {builder.tensor_bytes()} bytes, far more than its weights do: refused"
        )
    return built


class _Builder:
    """One object in the making: how much was read, and the modules that may be referred to again."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self._given = given
        self._entries = 0
        self._shared: dict[int, object] = {}
        self._modules: list[nn.Module] = []

    def tensor_bytes(self) -> int:
        """What the tensors of every module built take, those that the model itself leaves out included."""
        tensors = {id(t): t for module in self._modules for t in (*module.parameters(), *module.buffers())}
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

    def value(self, entry: object, place: str, depth: int) -> Any:
        if place in self._given:
            return self._given[place]
        self._entries += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"the description is nested more than {MAX_DEPTH} levels deep")
        if self._entries > MAX_ENTRIES:
            raise ValueError(f"the description has more than {MAX_ENTRIES} entries")
        if isinstance(entry, list):
            return self._items(cast("list[object]", entry), place, depth)
        if isinstance(entry, dict):
            return self._object(cast("dict[str, object]", entry), place, depth)
        if entry is None or isinstance(entry, (bool, int, float, str)):
            return entry
        raise ValueError(f"{_at(place)} is a {type(entry).__name__}, which no description holds")

    def _items(self, items: list[object], place: str, depth: int) -> list[Any]:
        return [self.value(item, f"{place}[{i}]", depth + 1) for i, item in enumerate(items)]

    def _object(self, entry: dict[str, object], place: str, depth: int) -> Any:
        name = entry.get("class")
        if not isinstance(name, str):
            raise ValueError(f"{_at(place)} has no 'class' that says what it is")
        fields = {key: item for key, item in entry.items() if key not in ("class", "as")}
        if name == "same":
            return self._same(entry.get("as"), place)
        if name == "opaque":
            raise ValueError(_opaque_message(entry, place))
        if name in CONTAINERS:
            built = self._container(name, fields, place, depth)
        elif name in LAYERS or find(name) is not None:
            built = self._instance(name, fields, place, depth)
        else:
            return self._builtin(name, fields, place, depth)
        if isinstance(built, nn.Module):
            self._modules.append(built)
        self._remember(entry, built, place)
        return built

    def _same(self, number: object, place: str) -> object:
        if type(number) is not int or number not in self._shared:
            raise ValueError(
                f"{_at(place)} is the same module as one in a part that is not built from the description; where that "
                f"part is passed by you, pass {_field(place)!r} too"
            )
        return self._shared[number]

    def _remember(self, entry: dict[str, object], built: object, place: str) -> None:
        if "as" not in entry:
            return
        number = entry["as"]
        if type(number) is not int or number in self._shared:
            raise ValueError(f"{_at(place)} is marked {number!r}, which must be an integer of its own")
        self._shared[number] = built

    def _container(self, name: str, fields: dict[str, object], place: str, depth: int) -> nn.Module:
        children = fields.pop("modules", None)
        if fields or not isinstance(children, list if name == "torch.nn.ModuleList" else dict):
            raise ValueError(f"{_at(place)}: {name} takes its parts in 'modules' and nothing else")
        if isinstance(children, list):
            parts: Any = self._items(cast("list[object]", children), place, depth)
            found: list[object] = parts
        else:
            parts = OrderedDict(self._fields(cast("dict[str, object]", children), place, depth))
            found = list(parts.values())
        if not all(isinstance(part, nn.Module) for part in found):
            raise ValueError(f"{_at(place)}: {name} holds something that is not a module")
        return _call(name, CONTAINERS[name], place, parts)

    def _fields(self, fields: dict[str, object], place: str, depth: int) -> dict[str, Any]:
        return {name: self.value(item, _join(place, name), depth + 1) for name, item in fields.items()}

    def _instance(self, name: str, fields: dict[str, object], place: str, depth: int) -> object:
        if name in LAYERS:
            cls, known = LAYERS[name]
            required: set[str] = set()
        else:
            cls = cast("type", find(name))
            names = signature_of(cls)
            known, required = tuple(names), {key for key, needed in names.items() if needed}
        unknown = sorted(fields.keys() - set(known))
        if unknown:
            raise ValueError(
                f"{_at(place)}: {name} takes no {', '.join(map(repr, unknown))} here (it takes "
                f"{', '.join(known) or 'nothing'}); a newer lucid may be needed"
            )
        missing = sorted(required - fields.keys())
        if missing:
            raise ValueError(f"{_at(place)}: {name} needs {', '.join(map(repr, missing))}, which the description lacks")
        return _call(name, cls, place, **self._fields(fields, place, depth))

    def _builtin(self, name: str, fields: dict[str, object], place: str, depth: int) -> object:
        if name == "float" and fields.keys() == {"value"} and fields["value"] in ("nan", "inf", "-inf"):
            return float(cast("str", fields["value"]))
        items = fields.get("items")
        if fields.keys() == {"items"} and name in ("tuple", "torch.Size") and isinstance(items, list):
            built = self._items(cast("list[object]", items), place, depth)
            return tuple(built) if name == "tuple" else _call(name, torch.Size, place, built)
        if fields.keys() == {"items"} and name == "dict" and isinstance(items, dict):
            return self._fields(cast("dict[str, object]", items), place, depth)
        if name in ("float", "tuple", "torch.Size", "dict"):
            raise ValueError(f"{_at(place)} is a malformed {name}")
        raise ValueError(
            f"{_at(place)} is of class {name[:200]!r}, which is not known here: a newer lucid (or PyTorch) may be "
            "needed, or the import of the package that registers it (`lucid.io.register`)"
        )


def _call(name: str, cls: Any, place: str, /, *args: object, **kwargs: object) -> Any:
    try:
        return cls(*args, **kwargs)
    except Exception as error:  # whatever a constructor raises on the file's arguments, the file is what is wrong
        raise ValueError(f"{_at(place)}: {name} cannot be built from what the description says: {error}") from error


def _at(place: str) -> str:
    return f"the description's entry {place!r}" if place else "the description"


def _field(place: str) -> str:
    """The constructor field a place lies in: 'encoders' of 'config.encoders[0].1'."""
    names = place.removeprefix("config.").replace("[", ".").split(".")
    return names[0]


def _printable(text: object) -> str:
    """A text from the file that is safe to show: short, and without control characters for the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:200])


def _opaque_message(entry: Mapping[str, object], place: str) -> str:
    kind, reason = _printable(entry.get("type")), _printable(entry.get("reason", "its class is not registered"))
    field = _field(place) or "…"
    value = "[…]" if "[" in place else "…"
    return (
        f"{_at(place)} was a {kind} and cannot be rebuilt from the file ({reason}); pass your own: "
        f"load(folder, {field}={value})"
    )


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
