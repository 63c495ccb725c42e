"""How a model is trained: one small frozen object, checked when it is made."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, fields
from typing import Any, Literal

__all__ = ["PRECISIONS", "Settings"]

PRECISIONS = ("auto", "float32", "float64", "bf16-mixed", "fp16-mixed")

_ALIASES = {
    "32": "float32",
    "32-true": "float32",
    "64": "float64",
    "64-true": "float64",
    "bf16": "bf16-mixed",
    "16-mixed": "fp16-mixed",
    "16": "fp16-mixed",
}

_CHOICES: dict[str, tuple[Any, ...]] = {
    "optimizer": ("adamw", "adamax"),
    "decay": ("cosine", "none"),
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": PRECISIONS,
    "compile": (True, False, "auto"),
    "strategy": ("data-parallel", "sharded"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `fit` does with a model and data. The defaults are meant to be right without tuning.

    Args:
        epochs: Passes over the training data; give this or `steps`. With neither, 100.
        steps: Training steps instead; needed for streams of unknown length.
        batch_size: Examples per step, over all processes.
        optimizer: "adamw" or "adamax".
        learning_rate: At its highest.
        weight_decay: Decoupled in AdamW, a penalty in Adamax; biases and gains have none.
        warmup: Steps over which the learning rate rises from 0.
        decay: "cosine" lets the learning rate fall to 0 at the last step, "none" keeps it.
        clip: Greatest norm of the gradient; a longer one is shortened to it. None leaves it as it is.
        skip: An update whose gradient is longer than this many times the typical length is left out; None leaves out
            only updates that are not finite.
        max_skips: Updates left out one after another before training is given up with an error.
        ema: Decay of an exponential moving average of the weights, for instance 0.999, which validation, the best
            model and the artefact then use; None keeps none.
        accumulate: Equal parts in which a batch is computed one after the other; the update is that of the whole.
        recompute: Whether activations are computed again in the backward pass in the place of being kept: less memory,
            about a third more time.
        early_stopping: Validations without a new best after which the run ends; None never.
        seed: Of everything random in the run: order, posterior draws, dropout.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "auto", "float32", "float64", "bf16-mixed" or "fp16-mixed"; in the mixed ones only the networks run
            in half precision, latents and densities stay in float32. "auto" is bf16-mixed where the device computes in
            bfloat16 and the model is large enough to gain from it, else float32; float64 for a model in float64.
        compile: Whether the step is compiled by `torch.compile`. "auto" tries it before a run that is long enough to
            gain from it, and keeps what was measured to be faster.
        strategy: Of several processes: "data-parallel" keeps the whole model in each, "sharded" divides weights,
            gradients and optimizer state among them.
        validate_every: Steps between validations; None means an epoch, but at least 50 steps.
        log_every: Steps between lines of metrics.
        checkpoint_seconds: Time between two checkpoints.
        keep_checkpoints: How many of the newest checkpoints are kept.

    Raises:
        ValueError: If a value is outside its range.
        TypeError: If a name is unknown (by `Settings.of`), or a value of the wrong type.

    Example:
        >>> Settings(epochs=3, batch_size=100).total_steps(1050)
        33
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 128
    optimizer: Literal["adamw", "adamax"] = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 50
    decay: Literal["cosine", "none"] = "cosine"
    clip: float | None = None
    skip: float | None = 10.0
    max_skips: int = 100
    ema: float | None = None
    accumulate: int = 1
    recompute: bool = False
    early_stopping: int | None = None
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "float32", "float64", "bf16-mixed", "fp16-mixed"] = "auto"
    compile: bool | Literal["auto"] = "auto"
    strategy: Literal["data-parallel", "sharded"] = "data-parallel"
    validate_every: int | None = None
    log_every: int = 50
    checkpoint_seconds: float = 30.0
    keep_checkpoints: int = 3

    def __post_init__(self) -> None:
        if self.epochs is not None and self.steps is not None:
            raise ValueError(f"give epochs or steps, not both; received epochs={self.epochs} and steps={self.steps}")
        object.__setattr__(self, "precision", _ALIASES.get(str(self.precision), self.precision))
        for name in ("batch_size", "max_skips", "accumulate", "log_every", "keep_checkpoints"):
            _check_count(name, getattr(self, name))
        for name in ("epochs", "steps", "validate_every", "early_stopping"):
            _check_count(name, getattr(self, name), optional=True)
        for name in ("warmup", "seed"):
            _check_count(name, getattr(self, name), least=None)
        if self.warmup < 0:
            raise ValueError(f"warmup must be a non-negative number of steps; received {self.warmup}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in 0 … 2⁶³ − 1; received {self.seed}")
        for name, least in (("learning_rate", 0.0), ("weight_decay", None), ("checkpoint_seconds", None)):
            _check_number(name, getattr(self, name), above=least)
        if self.clip is not None:
            _check_number("clip", self.clip, above=0.0)
        if self.skip is not None:
            _check_number("skip", self.skip, above=1.0)
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema must be between 0 and 1, such as 0.999, or None; received {self.ema}")
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"accumulate must be at most batch_size; received {self.accumulate} parts of {self.batch_size} examples"
            )
        if self.recompute and self.strategy == "sharded":
            raise ValueError("recompute runs layers past the places where sharded weights are gathered: choose one")
        if not isinstance(self.recompute, bool):
            raise TypeError(f"recompute must be True or False; received {self.recompute!r}")
        for name, choices in _CHOICES.items():
            _check_choice(name, getattr(self, name), choices)

    @classmethod
    def of(cls, **settings: Any) -> Settings:
        """Settings from keyword arguments; an unknown name is refused with the nearest known one."""
        names = [f.name for f in fields(cls)]
        for name in settings:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"
                raise TypeError(f"there is no setting {name!r}{hint}")
        return cls(**settings)

    def total_steps(self, examples: int | None) -> int:
        """Training steps of the whole run.

        Args:
            examples: Size of the training split; None if it is a stream.

        Raises:
            ValueError: If the length is unknown and `steps` was not given.
        """
        if self.steps is not None:
            return self.steps
        if examples is None:
            raise ValueError("the data is a stream of unknown length: give steps, the number of training steps")
        return (self.epochs or 100) * self.steps_per_epoch(examples)

    def steps_per_epoch(self, examples: int) -> int:
        """Batches in one pass; the last may be smaller."""
        return math.ceil(examples / self.batch_size)

    def steps_between_validations(self, examples: int | None) -> int:
        """`validate_every`, or what it is by default for a training split of that size."""
        if self.validate_every is not None:
            return self.validate_every
        return max(50, self.steps_per_epoch(examples)) if examples else 1000

    def learning_rate_at(self, step: int, total_steps: int) -> float:
        """The learning rate of a step, counted from 0."""
        rate = self.learning_rate
        if step < self.warmup:
            return rate * (step + 1) / (self.warmup + 1)
        if self.decay == "none":
            return rate
        progress = (step - self.warmup) / max(1, total_steps - self.warmup)
        return rate * (0.5 + 0.5 * math.cos(math.pi * min(1.0, progress)))


def _check_count(name: str, value: Any, *, least: int | None = 1, optional: bool = False) -> None:
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int; received {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least}; received {value}")


def _check_number(name: str, value: Any, *, above: float | None = None) -> None:
    """Finite, and above a number, or, with None, not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number; received {value!r}")
    if not (value >= 0 if above is None else value > above) or value == math.inf:
        kind = "non-negative" if above is None else "positive" if above == 0 else f"greater than {above:g}"
        raise ValueError(f"{name} must be {kind} and finite; received {value}")


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    # `1 in (True, False)` holds, and 1 is not one of the choices.
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}; received {value!r}")
