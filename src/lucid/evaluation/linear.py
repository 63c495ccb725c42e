"""Linear predictors of a class or a quantity, fitted on one part, chosen on a second, measured on a third."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Labelled", "Outcome", "constant_outcome", "fit_linear"]

_INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_MAX_STEPS = 500


class Labelled(NamedTuple):
    """What a predictor is fitted, chosen or measured on.

    Attributes:
        features: (N, U).
        target: (N,): int64 classes, or floating-point quantities.
    """

    features: Tensor
    target: Tensor

    @property
    def continuous(self) -> bool:
        """Whether the target is a quantity."""
        return self.target.is_floating_point()


@dataclass(frozen=True)
class Outcome:
    """What a predictor made of the examples it is measured on.

    Attributes:
        per_example: Whether each is right; for a quantity numbers whose mean is R² and whose spread is that of its
            linearisation; (N,) float64.
        details: How it was fitted, as plain JSON values.
        warning: That fitting did not end; else None.
    """

    per_example: Tensor
    details: dict[str, Any]
    warning: str | None = None

    @property
    def value(self) -> float:
        """Accuracy, or R²."""
        return float(self.per_example.mean())

    @property
    def standard_error(self) -> float:
        """Over the examples measured on, the predictor as it was fitted."""
        return float(self.per_example.std() / math.sqrt(len(self.per_example)))

    def gain_over(self, other: Outcome) -> tuple[float, float]:
        """How much better this is on the same examples, with the standard error of the difference."""
        gain = self.per_example - other.per_example
        return float(gain.mean()), float(gain.std() / math.sqrt(len(gain)))


def fit_linear(train: Labelled, validation: Labelled, test: Labelled) -> Outcome:
    """Fit a path of penalties, choose on the validation examples, measure on the test examples.

    Logistic regression over all classes, or ridge regression; the penalty is |w|²/C against the summed loss, with
    features standardised by the training examples.

    Args:
        train: Fitted on.
        validation: C is chosen on these; the least C, which is the strongest penalty, where two are as good.
        test: Measured on, once.

    Raises:
        ValueError: If the parts do not have the same features, one holds fewer than two examples, or the training
            examples have one target only.
        FloatingPointError: If a feature is not finite.
    """
    parts = {"train": train, "validation": validation, "test": test}
    for name, part in parts.items():
        _check(name, part, train)
    if len(train.target.unique()) < 2:
        raise ValueError("the training examples have one target only: there is nothing to tell")
    mean, scale = _standard(train.features)
    inputs = [((part.features.double() - mean) / scale).numpy() for part in parts.values()]
    path = (_ridge_path if train.continuous else _logistic_path)(inputs, train.target.numpy())
    scores = [float(_contributions(fit.validation, validation.target).mean()) for fit in path]
    best = scores.index(max(scores))
    return Outcome(
        _contributions(path[best].test, test.target),
        {"C": path[best].inverse_penalty, "validation": scores[best], "num_features": len(mean)},
        None if path[best].ended else f"the fit did not end in {_MAX_STEPS} steps: the score may be too low",
    )


def constant_outcome(train: Labelled, test: Labelled) -> Outcome:
    """What always saying the most common class of the training examples gives, or their mean."""
    said = train.target.double().mean() if train.continuous else train.target.mode().values
    return Outcome(_contributions(said.expand(len(test.target)), test.target), {"said": said.item()})


class _Fit(NamedTuple):
    """A predictor with one penalty: what it says of the validation and test examples, and whether fitting ended."""

    inverse_penalty: float
    validation: Tensor
    test: Tensor
    ended: bool


def _logistic_path(inputs: list[np.ndarray], target: np.ndarray) -> list[_Fit]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # From the strongest penalty on, each fit starts where the last has ended.
    classifier: Any = LogisticRegression(max_iter=_MAX_STEPS, warm_start=True)
    path: list[_Fit] = []
    for inverse in _INVERSE_PENALTIES:
        classifier.set_params(C=inverse)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            classifier.fit(inputs[0], target)
        ended = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
        first, second = (torch.from_numpy(classifier.predict(part)) for part in inputs[1:])
        path.append(_Fit(inverse, first, second, ended))
    return path


def _ridge_path(inputs: list[np.ndarray], target: np.ndarray) -> list[_Fit]:
    from sklearn.linear_model import Ridge

    path: list[_Fit] = []
    for inverse in _INVERSE_PENALTIES:
        regressor: Any = Ridge(alpha=1 / inverse).fit(inputs[0], target)
        first, second = (torch.from_numpy(regressor.predict(part)) for part in inputs[1:])
        path.append(_Fit(inverse, first, second, ended=True))
    return path


def _contributions(predicted: Tensor, truth: Tensor) -> Tensor:
    """What each example adds to the accuracy, or to R² = 1 − Σe²/Σ(y − ȳ)² and its linearisation, (N,) float64."""
    if not truth.is_floating_point():
        return (predicted == truth).double()
    squared_error = (predicted.double() - truth.double()).square()
    spread = (truth.double() - truth.double().mean()).square()
    ratio = squared_error.mean() / spread.mean()
    return 1 - ratio - (squared_error - ratio * spread) / spread.mean()


def _standard(features: Tensor) -> tuple[Tensor, Tensor]:
    features = features.double()
    scale = features.std(0)
    return features.mean(0), torch.where(scale > 0, scale, 1.0)


def _check(name: str, part: Labelled, train: Labelled) -> None:
    if part.features.dim() != 2 or len(part.features) != len(part.target) or len(part.target) < 2:
        raise ValueError(
            f"{name} must hold at least two examples, features (N, U) and target (N,); received "
            f"{tuple(part.features.shape)} and {tuple(part.target.shape)}"
        )
    if part.features.shape[1] != train.features.shape[1]:
        raise ValueError(
            f"{name} has {part.features.shape[1]} features an example and train has {train.features.shape[1]}"
        )
    if part.continuous != train.continuous:
        raise ValueError(f"the targets of {name} and of train must both be classes, int64, or both be quantities")
    if not bool(part.features.isfinite().all()):
        raise FloatingPointError(f"the features of {name} are not finite: look at the model's weights")
