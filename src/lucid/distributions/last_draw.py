"""A draw remembered with its log-density, where finding the density of any other value costs far more."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["LastDraw"]


class LastDraw:
    """The last value drawn from a distribution, with its log-density.

    Only that very tensor is recognised, whole and unchanged, or a view of it with its dimensions folded another way (as
    the walk lays draws out along the batch). A copy of equal numbers is not: its gradient is another.
    """

    def __init__(self) -> None:
        self._value: Tensor | None = None
        self._log_prob: Tensor | None = None
        self._version = 0

    def keep(self, value: Tensor, log_prob: Tensor) -> Tensor:
        """Remember `value`, (S, N, ...), with its log-density, (S, N); returns the value."""
        self._value, self._log_prob = value, log_prob
        if not torch.compiler.is_compiling() and not value.is_inference():
            self._version = value._version
        return value

    def log_prob_of(self, value: Tensor, shape: torch.Size) -> Tensor | None:
        """The log-density of `value` in the given shape, (S, N), if it is the remembered draw; None otherwise."""
        if self._value is None or self._log_prob is None:
            return None
        if value is self._value:
            return self._log_prob if self._unchanged(value) else None
        return self._log_prob.view(shape) if self._is_view(value) and self._unchanged(value) else None

    def _unchanged(self, value: Tensor) -> bool:
        if torch.compiler.is_compiling() or value.is_inference():
            return True  # compiled code and inference mode keep no count of changes
        return value._version == self._version

    def _is_view(self, value: Tensor) -> bool:
        kept = self._value
        assert kept is not None
        # Autograd's record of views, not the memory they share: a detached leaf shares it and is another variable.
        if torch.compiler.is_compiling() or value.is_inference():
            return False
        root = kept if kept._base is None else kept._base
        same_place = value.data_ptr() == kept.data_ptr() and value.numel() == kept.numel()
        return value._base is root and same_place and value.is_contiguous() and kept.is_contiguous()
