"""What a caller set for all of PyTorch, set aside: none of it may change what a codec does."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import torch

__all__ = ["pinned"]


@contextmanager
def pinned() -> Generator[None, None, None]:
    """The processor as the default device, and no autocast; then what there was before. Works as a decorator too.

    Example:
        >>> import torch
        >>> from lucid.codec.pinned import pinned
        >>> with torch.device("meta"), pinned():
        ...     torch.zeros(2).device
        device(type='cpu')
    """
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":  # asked first: it slows down every call of PyTorch
            stack.enter_context(torch.device("cpu"))
        if torch.is_autocast_enabled("cpu"):
            stack.enter_context(torch.autocast("cpu", enabled=False))
        yield
