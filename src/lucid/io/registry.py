"""Which classes a description may name: those registered here, and nothing else."""

from __future__ import annotations

import inspect
from typing import TypeVar

from torch import nn

__all__ = ["find", "is_registered", "register", "signature_of"]

_CLASSES: dict[str, type] = {}
_T = TypeVar("_T")


def register(cls: type[_T]) -> type[_T]:
    """Let `describe` and `build` (and so `lucid.save` and `lucid.load`) know a class by its name.

    What the class promises: each argument of its constructor is kept under an attribute of the same name (dataclasses
    do), holds only what can be described itself, and together they determine the object up to its state dict. An
    `nn.Module` must also be constructible under `torch.device("meta")`, which has shapes but no values; the values of
    buffers outside its state dict must follow from the arguments.

    Args:
        cls: The class; usable as a decorator.

    Returns:
        `cls`, unchanged.

    Raises:
        TypeError: Not a class, or its constructor takes `*args`, `**kwargs` or positional-only arguments.
        ValueError: Another class of the same name is registered.

    Example:
        >>> from dataclasses import dataclass
        >>> from lucid.io import build, describe, register
        >>> @register
        ... @dataclass(frozen=True)
        ... class ExampleRamp:
        ...     steps: int
        >>> describe(ExampleRamp(10))
        {'class': 'ExampleRamp', 'steps': 10}
        >>> build(describe(ExampleRamp(10)))
        ExampleRamp(steps=10)
    """
    if not isinstance(cls, type):
        raise TypeError(f"register takes a class; received {cls!r}")
    name = cls.__name__
    if "." in name or name in {"dict", "float", "opaque", "same", "tuple"}:
        raise ValueError(f"a class cannot be registered as {name!r}: descriptions use that name themselves")
    signature_of(cls)
    known = _CLASSES.get(name)
    # A cell that is run again in a notebook defines its class again; anywhere else one name means one class.
    redefined = known is not None and known.__module__ == cls.__module__ == "__main__"
    if known is not None and known is not cls and not redefined:
        raise ValueError(
            f"two classes are named {name!r}: {known.__module__}.{known.__qualname__} is registered, and "
            f"{cls.__module__}.{cls.__qualname__} cannot be as well; rename one of them"
        )
    _CLASSES[name] = cls
    return cls


def find(name: str) -> type | None:
    """The class registered under `name`."""
    return _CLASSES.get(name)


def is_registered(cls: type) -> bool:
    """Whether exactly this class is registered; a subclass is not."""
    return _CLASSES.get(cls.__name__) is cls


def signature_of(cls: type) -> dict[str, bool]:
    """The names a constructor takes, and whether each is required."""
    if cls.__init__ is nn.Module.__init__:
        return {}  # nn.Module declares *args and **kwargs to refuse them with a better message
    names: dict[str, bool] = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(
                f"the constructor of {cls.__qualname__} takes {parameter}, which has no attribute to be read back "
                "from; a registered class names each of its arguments"
            )
        names[name] = parameter.default is parameter.empty
    return names
