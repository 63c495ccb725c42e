"""Functions of one variable, written down as short programs.

A program is a tuple of steps; a step is an operation and its arguments. "x" stands for the variable, "t0", "t1" … for
what the steps before made, numbers for themselves. The last step is the value; the empty program is x itself. x·σ(x) is

    (("sigmoid", "x"), ("mul", "x", "t0"))

Programs are made when a model is frozen and turned into tables there. No file holds one that is run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "FUNCTIONS",
    "IDENTITY",
    "Argument",
    "Function",
    "affine_of",
    "applied",
    "evaluate",
    "joined",
    "without_logit_of_sigmoid",
]

Argument = str | float
Function = tuple[tuple[Argument, ...], ...]

IDENTITY: Function = ()
"""x itself."""


def _truth(test: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A comparison whose outcome is a number, 1 where it holds."""
    return lambda *args: test(*args).double()


FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    # Of one argument.
    "abs": torch.abs,
    "acos": torch.acos,
    "acosh": torch.acosh,
    "asin": torch.asin,
    "asinh": torch.asinh,
    "atan": torch.atan,
    "atanh": torch.atanh,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "digamma": torch.digamma,
    "erf": torch.erf,
    "erfc": torch.erfc,
    "erfinv": torch.erfinv,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "floor": torch.floor,
    "frac": torch.frac,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "isnan": _truth(torch.isnan),
    "lgamma": torch.lgamma,
    "log": torch.log,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "log2": torch.log2,
    "log_sigmoid": F.logsigmoid,
    "missing": lambda x: torch.where(x < -0.5, math.nan, x),  # −1 stands for a missing value in a file
    "mish": F.mish,
    "neg": torch.neg,
    "not": _truth(lambda x: x == 0),
    "reciprocal": torch.reciprocal,
    "relu": torch.relu,
    "round": torch.round,
    "rsqrt": torch.rsqrt,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tan": torch.tan,
    "tanh": torch.tanh,
    "trunc": torch.trunc,
    # Of two.
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "floor_divide": lambda a, b: torch.div(a, b, rounding_mode="floor"),
    "remainder": torch.remainder,
    "fmod": torch.fmod,
    "pow": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "leaky_relu": lambda x, slope: torch.where(x > 0, x, x * slope),
    "eq": _truth(torch.eq),
    "ne": _truth(torch.ne),
    "lt": _truth(torch.lt),
    "le": _truth(torch.le),
    "gt": _truth(torch.gt),
    "ge": _truth(torch.ge),
    # Of three and more.
    "softplus": lambda x, beta, threshold: F.softplus(x, float(beta), float(threshold)),
    "where": lambda c, a, b: torch.where(c != 0, a, b),
    "elu": lambda x, alpha, scale, inner: scale * torch.where(x > 0, x, alpha * torch.expm1(inner * x)),
}
"""What a step can do, in float64; what is true is 1, what is false 0."""


def applied(function: Function, operation: str, *arguments: float) -> Function:
    """`operation` of what `function` makes, with further numbers as its arguments."""
    assert operation in FUNCTIONS, operation
    return (*function, (operation, _last(function), *arguments))


def joined(operation: str, parts: Sequence[Function | float]) -> Function:
    """`operation` of several functions of the same variable and of numbers; what they share is computed once.

    Example:
        >>> joined("mul", [IDENTITY, (("sigmoid", "x"),)])
        (('sigmoid', 'x'), ('mul', 'x', 't0'))
    """
    assert operation in FUNCTIONS, operation
    steps: list[tuple[Argument, ...]] = []
    places: dict[tuple[Argument, ...], str] = {}
    arguments: list[Argument] = []
    for part in parts:
        if isinstance(part, float | int):
            arguments.append(float(part))
            continue
        here: list[str] = []
        for operation_of_step, *given in part:
            step = (operation_of_step, *(here[int(a[1:])] if _is_step(a) else a for a in given))
            if step not in places:
                places[step] = f"t{len(steps)}"
                steps.append(step)
            here.append(places[step])
        arguments.append(here[-1] if here else "x")
    return (*steps, (operation, *arguments))


def evaluate(function: Function | Sequence[Sequence[Any]], x: Tensor) -> Tensor:
    """The values of a function.

    Args:
        function: A program, also as lists, as JSON makes of tuples.
        x: float64, any shape.

    Returns:
        float64, the shape of `x`.

    Example:
        >>> import torch
        >>> evaluate((("sigmoid", "x"), ("mul", "x", "t0")), torch.tensor([0.0, 2.0], dtype=torch.float64))
        tensor([0.0000, 1.7616], dtype=torch.float64)
    """
    made: list[Tensor] = []
    for operation, *arguments in function:
        given = [
            made[int(a[1:])] if _is_step(a) else x if a == "x" else torch.tensor(a, dtype=torch.float64)
            for a in arguments
        ]
        made.append(FUNCTIONS[str(operation)](*given))
    return made[-1].expand_as(x) if made else x


def affine_of(function: Function) -> tuple[float, float] | None:
    """(scale, shift) where the function is x ↦ scale · x + shift by its very steps; None otherwise."""
    made: list[tuple[float, float]] = []
    for operation, *arguments in function:
        given = [made[int(a[1:])] if _is_step(a) else (1.0, 0.0) if a == "x" else (0.0, float(a)) for a in arguments]
        if operation == "neg":
            made.append((-given[0][0], -given[0][1]))
        elif operation in ("add", "sub"):
            sign = 1.0 if operation == "add" else -1.0
            made.append((given[0][0] + sign * given[1][0], given[0][1] + sign * given[1][1]))
        elif operation == "mul" and 0.0 in (given[0][0], given[1][0]):
            (scale, shift), factor = (given[1], given[0][1]) if given[0][0] == 0.0 else (given[0], given[1][1])
            made.append((scale * factor, shift * factor))
        elif operation == "div" and given[1][0] == 0.0 and given[1][1] != 0.0:
            made.append((given[0][0] / given[1][1], given[0][1] / given[1][1]))
        else:
            return None
    return made[-1] if made else (1.0, 0.0)


def without_logit_of_sigmoid(function: Function) -> Function:
    """What went into a sigmoid whose log-odds are then taken, log p − log(1 − p) of a clamped p = σ(·).

    A decoder that ends in a sigmoid is asked for its logits in this way. The detour would lose the digits of a p near
    0 or 1.

    Returns:
        The function without the detour where it ends in one, else the function.
    """
    ends = [step[0] for step in function[-7:]]
    if ends != ["sigmoid", "maximum", "minimum", "log", "neg", "log1p", "sub"]:
        return function
    first = len(function) - 7
    sigmoid, low, high, log, neg, log1p, sub = function[-7:]
    t = [f"t{first + i}" for i in range(6)]
    wired = low[1] == t[0] and high[1] == t[1] and log[1] == neg[1] == t[2]
    if not wired or log1p[1] != t[4] or sub[1:] != (t[3], t[5]):
        return function
    source = sigmoid[1]
    if source == "x":
        return IDENTITY
    assert isinstance(source, str)
    return function[: int(source[1:]) + 1]


def _last(function: Function) -> str:
    return f"t{len(function) - 1}" if function else "x"


def _is_step(argument: Argument) -> TypeGuard[str]:
    return isinstance(argument, str) and argument != "x"
