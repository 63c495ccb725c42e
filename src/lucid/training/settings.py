"""How a model is trained: one small frozen object, checked when it is made."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, fields
from typing import Any, Literal

__all__ = ["PRECISIONS", "Settings"]

PRECISIONS = {
    "float32": "32-true",
    "float64": "64-true",
    "bf16-mixed": "bf16-mixed",
    "fp16-mixed": "16-mixed",
}
"""Our name for a precision, and Lightning Fabric's."""

_ALIASES = {
    "32": "float32",
    "32-true": "float32",
    "64": "float64",
    "64-true": "float64",
    "bf16": "bf16-mixed",
    "16-mixed": "fp16-mixed",
    "16": "fp16-mixed",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `fit` does with a model and data.

    Args:
        epochs: Passes over the training data; give this or `steps`. With neither, 100.
        steps: Training steps instead; needed for streams of unknown length.
        batch_size: Examples per step.
        learning_rate: Of AdamW, at its highest.
        weight_decay: Of AdamW, decoupled.
        warmup: Steps over which the learning rate rises from 0.
        decay: "cosine" lets the learning rate fall to 0 at the last step, "none" keeps it.
        seed: Of everything random in the run: order, posterior draws, dropout.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "float32", "float64", "bf16-mixed" or "fp16-mixed"; in the mixed ones only the networks run in half
            precision, latents and densities stay in float32.
        validate_every: Steps between validations; None means an epoch, but at least 50 steps.
        log_every: Steps between lines of metrics.
        checkpoint_seconds: Least time between two checkpoints; validation is when one may be written.

    Raises:
        ValueError: If a value is outside its range.
        TypeError: If a name is unknown (by `Settings.of`).
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 50
    decay: Literal["cosine", "none"] = "cosine"
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "float64", "bf16-mixed", "fp16-mixed"] = "float32"
    validate_every: int | None = None
    log_every: int = 50
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.epochs is not None and self.steps is not None:
            raise ValueError(f"give epochs or steps, not both; received epochs={self.epochs} and steps={self.steps}")
        for name in ("epochs", "steps", "validate_every"):
            value = getattr(self, name)
            if value is not None:
                _check_count(name, value)
        _check_count("batch_size", self.batch_size)
        _check_count("log_every", self.log_every)
        for name, least in (("learning_rate", 0.0), ("weight_decay", 0.0), ("checkpoint_seconds", 0.0)):
            value = getattr(self, name)
            if not (least <= value < math.inf) or (name == "learning_rate" and value == 0):
                kind = "positive" if name == "learning_rate" else "non-negative"
                raise ValueError(f"{name} must be {kind} and finite; received {value}")
        if self.warmup < 0:
            raise ValueError(f"warmup must be a non-negative number of steps; received {self.warmup}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in 0 … 2⁶³ − 1; received {self.seed}")
        _check_choice("decay", self.decay, ("cosine", "none"))
        _check_choice("device", self.device, ("auto", "cpu", "cuda", "mps"))
        object.__setattr__(self, "precision", _ALIASES.get(str(self.precision), self.precision))
        _check_choice("precision", self.precision, tuple(PRECISIONS))

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

    def learning_rate_at(self, step: int, total_steps: int) -> float:
        """The learning rate of a step, counted from 0."""
        rate = self.learning_rate
        if step < self.warmup:
            return rate * (step + 1) / (self.warmup + 1)
        if self.decay == "none":
            return rate
        progress = (step - self.warmup) / max(1, total_steps - self.warmup)
        return rate * (0.5 + 0.5 * math.cos(math.pi * min(1.0, progress)))


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int; received {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1; received {value}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; received {value!r}")
