"""`torch.nn` under lucid's name, and the layers our presets are built from.

Nothing here wraps PyTorch: `lucid.nn.Linear is torch.nn.Linear`, and so for every name of `torch.nn`.

Example:
    >>> import torch, lucid.nn as nn
    >>> nn.Linear is torch.nn.Linear, nn.functional is torch.nn.functional
    (True, True)
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch.nn import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]
from torch.nn import functional as functional
from torch.nn import init as init
from torch.nn import parameter as parameter
from torch.nn import utils as utils

from lucid.nn import layers as layers
from lucid.nn import module as module
from lucid.nn.layers import Rescale as Rescale
from lucid.nn.layers import Residual as Residual
from lucid.nn.layers import ResizeConv2d as ResizeConv2d
from lucid.nn.layers import TableInput as TableInput

# `import lucid.nn.functional as F` must find PyTorch's own module, not a copy of it.
for _name in ("functional", "init", "parameter", "utils"):
    sys.modules[f"{__name__}.{_name}"] = getattr(torch.nn, _name)


def __getattr__(name: str) -> Any:
    """Whatever else `torch.nn` has, now or in a later release."""
    try:
        return getattr(torch.nn, name)
    except AttributeError:
        raise AttributeError(f"module 'lucid.nn' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(torch.nn)})
