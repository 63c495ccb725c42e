"""The optimizers a run can be given by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from lucid.training.settings import Settings

__all__ = ["FusedAdamW", "OptimizerFactory", "decides_on_device", "make_optimizer"]

OptimizerFactory = Callable[[Iterable[Tensor]], Optimizer]
"""Makes an optimizer from the parameters to be trained."""

_BETAS = (0.9, 0.99)


class FusedAdamW(torch.optim.AdamW):
    """PyTorch's AdamW in its fused kernel, with a way to it that keeps the lists of tensors it needs.

    PyTorch gathers them anew at every step, a tenth of the time of a very small network's. Results are the same bits.

    Args:
        groups: As for `torch.optim.AdamW`.
        lr: As for `torch.optim.AdamW`.
        betas: As for `torch.optim.AdamW`.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float]) -> None:
        super().__init__(groups, lr=lr, betas=betas, fused=True)
        self._lists: list[_Lists] | None = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As PyTorch's; the tensors are others afterwards."""
        super().load_state_dict(state_dict)
        self._lists = None

    @torch.no_grad()
    def quick_step(self) -> None:
        """What `step()` does."""
        if self._lists is None:
            self.step()
            self._lists = self._gathered()
            return
        for group, lists in zip(self.param_groups, self._lists, strict=True):
            gradients = [parameter.grad for parameter in lists.parameters if parameter.grad is not None]
            torch._foreach_add_(lists.steps, 1)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
            torch._fused_adamw_(  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
                *(lists.parameters, gradients, lists.means, lists.squares, [], lists.steps),
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                amsgrad=False,
                maximize=False,
            )

    def _gathered(self) -> list[_Lists] | None:
        """The tensors of each group; None where one has had no gradient, or lies elsewhere than on the CPU."""
        found: list[_Lists] = []
        for group in self.param_groups:
            parameters: list[Tensor] = group["params"]
            states = [self.state[parameter] for parameter in parameters]
            if not all(states) or any(type(p) is not Parameter or p.device.type != "cpu" for p in parameters):
                return None
            found.append(_Lists(parameters, *([s[k] for s in states] for k in ("exp_avg", "exp_avg_sq", "step"))))
        return found


class _Lists(NamedTuple):
    parameters: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]


def make_optimizer(parameters: Iterable[Tensor], settings: Settings) -> Optimizer:
    """The optimizer that the settings name; biases and gains have no weight decay.

    AdamW (Loshchilov, Hutter: Decoupled Weight Decay Regularization, 2017, https://arxiv.org/abs/1711.05101) in one
    fused kernel; Adamax (Kingma, Ba: Adam, 2014, https://arxiv.org/abs/1412.6980, section 7.1).
    """
    matrices: list[Tensor] = []
    vectors: list[Tensor] = []
    for parameter in parameters:
        (matrices if parameter.dim() >= 2 else vectors).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "adamax":
        return torch.optim.Adamax(groups, lr=settings.learning_rate, betas=_BETAS)
    return FusedAdamW(groups, settings.learning_rate, _BETAS)


def decides_on_device(optimizer: Optimizer) -> bool:
    """Whether the optimizer's kernel itself leaves an update out, told by a tensor: then the host need not know."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))
