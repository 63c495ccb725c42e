"""A model as JSON, from which `build` makes it again without running any code from the file.

A description is a JSON value. None, bool, int, finite float and str are themselves, a list is a list, and every JSON
object says in "class" what it is:

    {"class": "torch.nn.Linear", "in_features": 4, "out_features": 2, "bias": true}    a layer of `torch.nn`
    {"class": "torch.nn.Sequential", "modules": {"0": …, "1": …}}                      a container
    {"class": "VAEConfig", "encoders": […], …}                                         a registered class
    {"class": "tuple", "items": […]}   {"class": "torch.Size", "items": […]}   {"class": "dict", "items": {…}}
    {"class": "float", "value": "nan" | "inf" | "-inf"}
    {…, "as": 1} and later {"class": "same", "as": 1}                                  one module in two places
    {"class": "opaque", "type": "package.Class", "reason": "…"}                        cannot be rebuilt
"""

from __future__ import annotations

import inspect
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from lucid.io.building import MAX_DEPTH, MAX_ENTRIES, construct
from lucid.io.registry import is_registered, signature_of
from lucid.io.torch_layers import CONTAINERS, arguments_of, layer_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["describe"]

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def describe(obj: object) -> Any:
    """The description of an object: a JSON value from which `build` makes its equal.

    Weights are not part of it. A part that cannot be rebuilt without running code of its own (a user's class that is
    not registered, a function, a layer with hooks, a parametrisation or a replaced `forward`, a layer that was changed
    after construction) becomes an "opaque" entry, which names its type and says why.

    Args:
        obj: None, bool, int, float, str; list, tuple, `torch.Size`, dict with str keys; an object of a registered
            class; a `torch.nn` layer or container; or anything else, as opaque.

    Raises:
        ValueError: Nested more than 64 levels deep, or more than 200,000 entries.
        TypeError: A registered class does not keep a constructor argument as an attribute.

    Example:
        >>> import torch.nn as nn
        >>> from lucid.io import describe
        >>> describe(nn.Linear(4, 2))
        {'class': 'torch.nn.Linear', 'in_features': 4, 'out_features': 2, 'bias': True}
    """
    return _Describer(verify=True).value(obj, 0)


def _type_name(obj: object) -> str:
    """What a reader would look for: a function's own name, else the class."""
    named = obj if inspect.isroutine(obj) or isinstance(obj, type) else type(obj)
    return f"{getattr(named, '__module__', '?')}.{getattr(named, '__qualname__', type(obj).__qualname__)}"


class _Describer:
    """One description in the making: which modules it has met, and how many opaque entries it holds."""

    def __init__(self, *, verify: bool) -> None:
        self.verify = verify
        self.opaque_count = 0
        self._entries = 0
        self._shared_count = 0
        self._met: dict[int, dict[str, Any]] = {}

    def value(self, obj: object, depth: int) -> Any:
        self._entries += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"{_type_name(obj)} is nested more than {MAX_DEPTH} levels deep, or contains itself")
        if self._entries > MAX_ENTRIES:
            raise ValueError(f"the description would have more than {MAX_ENTRIES} entries")
        if isinstance(obj, nn.Module):
            return self._module(obj, depth)
        if is_registered(type(obj)):
            return {"class": type(obj).__name__, **self._fields(_registered_arguments(obj), depth)}
        return self._plain(obj, depth)

    def _plain(self, obj: object, depth: int) -> Any:
        if obj is None or type(obj) in (bool, int, str):
            return obj
        if isinstance(obj, float):  # numpy.float64 is one
            return float(obj) if math.isfinite(obj) else {"class": "float", "value": str(float(obj))}
        if type(obj) is list:
            return self._items(cast("list[object]", obj), depth)
        if type(obj) is tuple:
            return {"class": "tuple", "items": self._items(cast("tuple[object, ...]", obj), depth)}
        if isinstance(obj, torch.Size):
            return {"class": "torch.Size", "items": list(obj)}
        if type(obj) in (dict, OrderedDict):
            items = cast("dict[object, object]", obj)
            if all(type(key) is str for key in items):
                return {"class": "dict", "items": self._fields(cast("dict[str, object]", items), depth)}
            return self._opaque(obj, "it has keys that are not str")
        return self._opaque(obj, "its class is not registered")

    def _items(self, items: Iterable[object], depth: int) -> list[Any]:
        return [self.value(item, depth + 1) for item in items]

    def _fields(self, fields: Mapping[str, object], depth: int) -> dict[str, Any]:
        return {name: self.value(item, depth + 1) for name, item in fields.items()}

    def _opaque(self, obj: object, reason: str) -> dict[str, Any]:
        self.opaque_count += 1
        if inspect.isroutine(obj):
            reason = "it is a function"
        return {"class": "opaque", "type": _type_name(obj), "reason": reason}

    def _module(self, module: nn.Module, depth: int) -> dict[str, Any]:
        if id(module) in self._met:
            first = self._met[id(module)]
            if "as" not in first:
                self._shared_count += 1
                first["as"] = self._shared_count
            return {"class": "same", "as": first["as"]}
        reason = _undescribable(module)
        if reason is not None:
            return self._opaque(module, reason)
        met, opaque = len(self._met), self.opaque_count
        entry = self._module_entry(module, depth)
        if self.verify and self.opaque_count == opaque:
            reason = _unfaithful(module)
            if reason is not None:
                for key in list(self._met)[met:]:  # an opaque entry has no parts for others to refer to
                    del self._met[key]
                return self._opaque(module, reason)
        self._met[id(module)] = entry
        return entry

    def _module_entry(self, module: nn.Module, depth: int) -> dict[str, Any]:
        name = layer_name(module)
        if name is None:
            return {"class": type(module).__name__, **self._fields(_registered_arguments(module), depth)}
        if name not in CONTAINERS:
            return {"class": name, **self._fields(arguments_of(module), depth)}
        # Not named_children(), which gives a module that occurs twice only once.
        children = cast("dict[str, object]", module._modules)  # pyright: ignore[reportPrivateUsage]
        if name == "torch.nn.ModuleList":
            return {"class": name, "modules": self._items(children.values(), depth)}
        return {"class": name, "modules": self._fields(children, depth)}


def _registered_arguments(obj: object) -> dict[str, object]:
    arguments: dict[str, object] = {}
    for name in signature_of(type(obj)):
        if not hasattr(obj, name):
            raise TypeError(
                f"{_type_name(obj)} is registered, so it must keep its constructor argument {name!r} as an attribute "
                "of that name; it does not"
            )
        arguments[name] = getattr(obj, name)
    return arguments


def _undescribable(module: nn.Module) -> str | None:
    """Why a module's class or what hangs on it cannot be described."""
    if layer_name(module) is None and not is_registered(type(module)):
        return "it carries parametrisations" if hasattr(module, "parametrizations") else "its class is not registered"
    if any(getattr(module, hooks) for hooks in _HOOKS):
        return "it carries forward or backward hooks"
    replaced = [name for name, item in vars(module).items() if callable(item) and _is_method(module, name)]
    if replaced:
        return f"its {replaced[0]!r} was replaced on the object"
    if layer_name(module) in CONTAINERS:
        if any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False))):
            return "it is a container that holds tensors of its own"
        if None in module._modules.values():  # pyright: ignore[reportPrivateUsage]
            return "it is a container with an empty place"
    return None


def _is_method(module: nn.Module, name: str) -> bool:
    return callable(getattr(type(module), name, None))


def _unfaithful(module: nn.Module) -> str | None:
    """How a module rebuilt from its description differs from it in structure; None when it does not."""
    if layer_name(module) in CONTAINERS:
        return None  # its parts were compared one by one
    alone = _Describer(verify=False)
    description = alone.value(module, 0)
    if alone.opaque_count:
        return None
    try:
        rebuilt = construct(description, "meta", {})
    except ValueError as error:
        return f"it cannot be rebuilt: {error}"
    if _shapes(module) != _shapes(rebuilt):
        return "its tensors are not those its constructor arguments make"
    if repr(module) != repr(rebuilt):
        return "it is not what its constructor arguments make"
    return None


def _shapes(module: nn.Module) -> dict[str, object]:
    return {name: getattr(item, "shape", None) for name, item in module.state_dict().items()}
