"""Decoders that end in a sigmoid: recognised, so that the Bernoulli loss is computed on logits all the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lucid.nn import ResizeConv2d

__all__ = [
    "Watch",
    "ends_in_sigmoid",
    "logits_of",
    "remember_logits",
    "run",
    "visibly_ends_otherwise",
    "without_sigmoid",
]

_MOVES = {
    f"{name}Backward0"
    for name in (
        "View",
        "UnsafeView",
        "ReshapeAlias",
        "Permute",
        "Transpose",
        "T",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "Select",
        "Expand",
        "Clone",
        "ToCopy",
    )
}
_AFFINE = {
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    ResizeConv2d,
}
_SIGMOIDS = {torch.sigmoid, torch.special.expit, Tensor.sigmoid, nn.functional.sigmoid}
_ATTRIBUTE = "_lucid_logits"


def without_sigmoid(module: nn.Module) -> list[nn.Module] | None:
    """The layers of `module` before the `nn.Sigmoid` it ends in; None if it does not visibly end in one.

    Seen are `nn.Sigmoid` itself and any nesting of `nn.Sequential`.
    """
    if _has_hooks(module):
        return None
    if type(module) is nn.Sigmoid:
        return []
    if type(module) is not nn.Sequential or len(module) == 0:
        return None
    *body, last = module
    rest = without_sigmoid(last)
    return None if rest is None else [*body, *rest]


def visibly_ends_otherwise(module: nn.Module) -> bool:
    """Whether `module` visibly ends in a linear or convolutional layer, which emits logits."""
    while type(module) is nn.Sequential and len(module) > 0 and not _has_hooks(module):
        module = module[-1]
    return type(module) in _AFFINE and not _has_hooks(module)


def _has_hooks(module: nn.Module) -> bool:
    # PyTorch offers no public question for this; a hook on the sigmoid would not see what we compute around it.
    return bool(module._forward_hooks or module._forward_pre_hooks)  # pyright: ignore[reportPrivateUsage]


def ends_in_sigmoid(emitted: Tensor) -> bool:
    """Whether, by autograd's record and changes of shape apart, a sigmoid was the last operation on `emitted`."""
    node = emitted.grad_fn
    while node is not None and type(node).__name__ in _MOVES:
        node = node.next_functions[0][0]
    return type(node).__name__ == "SigmoidBackward0"


class Watch(TorchFunctionMode):
    """Sees what goes into the last sigmoid while it is active, be it `nn.Sigmoid` or a function."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[Tensor, Tensor] | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in _SIGMOIDS and args and isinstance(out, Tensor) and out is not args[0]:
            self._last = (args[0], out)
        return out

    def logits_of(self, emitted: Tensor) -> Tensor | None:
        """The logits of `emitted`, if it is what the last sigmoid made, or a view of all of that; None otherwise."""
        if self._last is None:
            return None
        logits, made = self._last
        whole = made.numel() == emitted.numel() and made.data_ptr() == emitted.data_ptr()
        if not whole or not (made.is_contiguous() and emitted.is_contiguous()):
            return None
        return logits.reshape(emitted.shape)


def run(layers: Sequence[nn.Module], h: Tensor) -> Tensor:
    """Apply layers one after the other."""
    for layer in layers:
        h = layer(h)
    return h


def remember_logits(emitted: Tensor, logits: Tensor) -> Tensor:
    """`emitted`, which is the sigmoid of `logits`, with the logits attached for the loss."""
    setattr(emitted, _ATTRIBUTE, logits)
    return emitted


def logits_of(emitted: Tensor) -> Tensor:
    """The logits of probabilities: those they were computed from if known, else recovered as far as their digits go."""
    known = getattr(emitted, _ATTRIBUTE, None)
    if known is not None:
        return known
    p = emitted if emitted.dtype in (torch.float32, torch.float64) else emitted.float()
    finfo = torch.finfo(p.dtype)
    p = p.clamp(finfo.tiny, 1 - finfo.eps / 2)
    return p.log() - (-p).log1p()
