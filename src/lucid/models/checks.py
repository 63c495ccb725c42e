"""Errors in words: what a user's module received or emitted, at which level, and what it must be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lucid.distributions import Likelihood

__all__ = ["call", "check_batch", "check_emission", "check_input", "check_params"]


def call(module: nn.Module, h: Tensor, name: str, source: str, run: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """`module(h)`; where the shapes disagree, an error that names both sides.

    Args:
        module: A user's module.
        h: Its input.
        name: What the module is called, for instance "decoders[0]".
        source: What emitted `h`, for instance "decoders[1] emitted".
        run: What to run in the place of `module`, a part of it; None runs the module itself.
    """
    run = run or module
    if torch.compiler.is_compiling():
        return run(h)
    try:
        out = run(h)
    except RuntimeError as error:
        mismatch = _expected_width(module, h)
        if mismatch is not None:
            got, unit, expected = mismatch
            raise ValueError(f"{source} {got} {unit} where {name} takes {expected}") from error
        error.add_note(f"This happened inside {name}, on an input of shape {tuple(h.shape)}.")
        raise
    if not isinstance(out, Tensor):
        raise TypeError(f"{name} must return a tensor; it returned {type(out).__name__}")
    if out.dim() < 2 or out.shape[0] != h.shape[0]:
        raise ValueError(
            f"{name} must keep dimension 0 as the batch: it received {tuple(h.shape)} and returned {tuple(out.shape)}"
        )
    return out


def _expected_width(module: nn.Module, h: Tensor) -> tuple[int, str, int] | None:
    """(received, unit, expected) if the first layer of `module` takes another width than `h` has."""
    for layer in module.modules():
        if isinstance(layer, nn.Flatten) and h.dim() > 2:
            return None
        features = getattr(layer, "in_features", None)
        if isinstance(features, int):
            return (h.shape[-1], "features", features) if h.shape[-1] != features else None
        channels: Any = getattr(layer, "in_channels", None)
        if isinstance(channels, int):
            return (h.shape[1], "channels", channels) if h.shape[1] != channels else None
    return None


def check_emission(h: Tensor, name: str) -> None:
    """Refuse an encoder's or prior's output that cannot be halved into mean and log-variance."""
    if h.shape[1] % 2:
        raise ValueError(
            f"{name} emitted {h.shape[1]} {'features' if h.dim() == 2 else 'channels'}; it must be even, a mean and a "
            "log-variance for each, concatenated along dimension 1"
        )


def check_prior(h: Tensor, value: Tensor, level: int) -> None:
    """Refuse a prior's output that does not fit the latent it is a prior of."""
    if h.shape[1:] != (2 * value.shape[1], *value.shape[2:]):
        needed = (value.shape[0], 2 * value.shape[1], *value.shape[2:])
        raise ValueError(
            f"priors[{level}] emitted {tuple(h.shape)} where level {level} needs {needed}: mean and log-variance of "
            f"each of its {tuple(value.shape[1:])} latents, concatenated along dimension 1"
        )


def check_joins(h: Tensor, z: Tensor, level: int) -> None:
    """Refuse what a ladder's decoder emitted if it is not shaped as the latent that joins it there."""
    if h.shape[1:] != z.shape[1:]:
        raise ValueError(
            f"decoders[{level}] emitted {tuple(h.shape)} where the latent of level {level - 1} is {tuple(z.shape)}: a "
            "ladder adds the two, so they must have one shape"
        )


def check_params(params: Tensor, x: Tensor, likelihood: Likelihood) -> None:
    """Refuse a decoder's output whose shape is not what the likelihood of x needs."""
    needed = (likelihood.num_outputs(x.shape[1]), *x.shape[2:])
    if params.shape[1:] != needed:
        each = f", {likelihood.num_parameters} numbers a feature" if likelihood.num_parameters > 1 else ""
        raise ValueError(
            f"decoders[0] emitted {tuple(params.shape)} where {type(likelihood).__name__} needs "
            f"{(params.shape[0], *needed)} for x of shape {tuple(x.shape)}{each}"
        )


def check_latents(zs: Sequence[Tensor], depth: int) -> None:
    """Refuse what is not a list of latents, one a level."""
    if not isinstance(zs, list | tuple):
        raise TypeError(
            f"zs must be a list of latents, one a level; received {type(zs).__name__}. Put it in a list: [z]"
        )
    if len(zs) != depth:
        raise ValueError(f"zs must hold {depth} latents, one a level; received {len(zs)}")


def check_same_batch(
    x: Tensor, recon: Tensor, mus: Sequence[Tensor], logvars: Sequence[Tensor], zs: Sequence[Tensor]
) -> None:
    """Refuse parts of a loss that do not belong together: PyTorch would stretch one to fit the other."""
    if recon.shape[0] != x.shape[0]:
        raise ValueError(f"recon and x must be of one batch; received {recon.shape[0]} and {x.shape[0]} examples")
    for level, (mu, logvar, z) in enumerate(zip(mus, logvars, zs, strict=True)):
        if not mu.shape == logvar.shape == z.shape or mu.shape[0] != x.shape[0]:
            raise ValueError(
                f"mus[{level}], logvars[{level}] and zs[{level}] must have one shape, of {x.shape[0]} examples as x; "
                f"received {tuple(mu.shape)}, {tuple(logvar.shape)} and {tuple(z.shape)}"
            )


def check_batch(x: Tensor, name: str = "x") -> None:
    """Refuse what is not a batch of examples: another kind, too few dimensions, nothing in it."""
    # The annotation is a promise of ours, not of our callers.
    if not isinstance(x, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{name} must be a tensor; received {type(x).__name__}. torch.as_tensor makes one of an array")
    if x.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor; received layout {x.layout}. x.to_dense() makes one")
    if x.dim() < 2:
        raise ValueError(f"{name} must be (batch, features, ...); received shape {tuple(x.shape)}")
    if x.numel() == 0:
        raise ValueError(f"{name} must hold at least one example and one feature; received shape {tuple(x.shape)}")


def check_input(x: Tensor, model: nn.Module, likelihood: Likelihood) -> None:
    """Refuse data the model cannot take: its kind, shape, type, device, and the values the likelihood excludes."""
    check_batch(x)
    if not x.is_floating_point():
        raise TypeError(
            f"x must be floating point; received {x.dtype}. Convert it: x.float() / 255 for 8-bit images, "
            "x.float() for 0/1"
        )
    parameter = next(model.parameters(), None)
    if parameter is not None:
        _check_matches(x, parameter)
    likelihood.check(x)


def _check_matches(x: Tensor, parameter: Tensor) -> None:
    if x.device != parameter.device:
        raise ValueError(
            f"x is on {x.device} and the model on {parameter.device}: move one, x.to({str(parameter.device)!r})"
        )
    if x.dtype != parameter.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(
            f"x is {x.dtype} and the model's parameters {parameter.dtype}: convert one, x.to({parameter.dtype})"
        )
