"""The last decoder's output, as the likelihood wants it: logits, also where the decoder ends in a sigmoid."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from lucid.distributions import Bernoulli, Likelihood
from lucid.models import checks, sigmoid
from lucid.nn import Module

__all__ = ["Output"]


class Output:
    """Runs the last decoder, and remembers what running it showed.

    A Bernoulli wants logits. Where the decoder visibly ends in an `nn.Sigmoid`, what enters that is taken. Where the
    inside is not visible, the first run sees whether a sigmoid was the last operation.
    """

    def __init__(self) -> None:
        # Whether a decoder whose inside is not visible emits probabilities; None until it has run once.
        self._opaque_sigmoid: bool | None = None

    def run(self, decoder: Module, h: Tensor, source: str, likelihood: Likelihood) -> tuple[Tensor, Tensor | None]:
        """What the likelihood needs, and what the decoder emitted; None stands for the sigmoid of the former.

        Args:
            decoder: `decoders[0]`.
            h: Its input.
            source: What emitted `h`, for errors.
            likelihood: Of the data.
        """
        body = _visible_logits(decoder, likelihood)
        if body is not None:
            return checks.call(decoder, h, "decoders[0]", source, run=partial(sigmoid.run, body)), None
        if not isinstance(likelihood, Bernoulli):
            emitted = checks.call(decoder, h, "decoders[0]", source)
            return emitted, emitted
        return self._run_opaque(decoder, h, source)

    def params(self, decoder: Module, emitted: Tensor, likelihood: Likelihood) -> Tensor:
        """What the likelihood needs, from what the decoder emitted before."""
        probabilities = _visible_logits(decoder, likelihood) is not None or bool(self._opaque_sigmoid)
        return sigmoid.logits_of(emitted) if probabilities else emitted

    def _run_opaque(self, decoder: Module, h: Tensor, source: str) -> tuple[Tensor, Tensor]:
        """Logits and output of a decoder whose inside is not visible; the first run sees if it ends in a sigmoid."""
        if self._opaque_sigmoid is None and sigmoid.visibly_ends_otherwise(decoder):
            self._opaque_sigmoid = False
        if self._opaque_sigmoid is None:
            return self._look(decoder, h, source)
        if not self._opaque_sigmoid or torch.compiler.is_compiling():
            emitted = checks.call(decoder, h, "decoders[0]", source)
            return (sigmoid.logits_of(emitted) if self._opaque_sigmoid else emitted), emitted
        return _watched(decoder, h, source)

    def _look(self, decoder: Module, h: Tensor, source: str) -> tuple[Tensor, Tensor]:
        """Run the decoder once where autograd records what it does, compiled code apart."""
        look: Callable[[Module, Tensor, str], tuple[Tensor, Tensor]] = self._recorded
        if "torch._dynamo" in sys.modules:  # the caller may be compiled
            look = cast("Any", torch.compiler.disable)(look)
        return look(decoder, h, source)

    # What `torch.compiler.disable` sets. The decorator itself would load the whole compiler, seconds for every import.
    _look._torchdynamo_disable = True  # pyright: ignore[reportFunctionMemberAccess]
    _look._torchdynamo_disable_msg = (  # pyright: ignore[reportFunctionMemberAccess]
        "whether decoders[0] ends in a sigmoid is found out by running it once: call model(x) before compiling"
    )

    def _recorded(self, decoder: Module, h: Tensor, source: str) -> tuple[Tensor, Tensor]:
        """Logits and output of a decoder that is seen for the first time."""
        with_grad = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            # What inference mode made cannot be recorded; its copy can.
            h = h.clone() if h.is_inference() else h
            logits, emitted = _watched(decoder, h if h.requires_grad else h.detach().requires_grad_(), source)
        self._opaque_sigmoid = sigmoid.ends_in_sigmoid(emitted)
        params = logits if self._opaque_sigmoid else emitted
        return (params, emitted) if with_grad else (params.detach(), emitted.detach())


def _visible_logits(decoder: Module, likelihood: Likelihood) -> list[Module] | None:
    """The layers of the decoder up to its final sigmoid, where the likelihood wants logits; None otherwise."""
    return sigmoid.without_sigmoid(decoder) if isinstance(likelihood, Bernoulli) else None


def _watched(decoder: Module, h: Tensor, source: str) -> tuple[Tensor, Tensor]:
    """Logits and output of a decoder that ends in a hidden sigmoid: the logits are what went into it."""
    with sigmoid.Watch() as watch:
        emitted = checks.call(decoder, h, "decoders[0]", source)
    logits = watch.logits_of(emitted)
    return (sigmoid.logits_of(emitted) if logits is None else logits), emitted
