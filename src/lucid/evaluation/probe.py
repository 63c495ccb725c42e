"""The linear probe: what a linear predictor reads off a representation, beside what it reads off x itself."""

from __future__ import annotations

from torch import Tensor

from lucid.data import Dataset, Split
from lucid.evaluation.disentanglement import Factors
from lucid.evaluation.figure import Figure
from lucid.evaluation.linear import Labelled, Outcome, constant_outcome, fit_linear
from lucid.evaluation.representations import Representations, represent
from lucid.models import LatentModel

__all__ = ["linear_probe", "probe_figures"]

_MAX_NUMBERS = 2**26
"""Numbers of a matrix of x that a probe is fitted on: 512 MiB in float64."""


def linear_probe(train: Labelled, validation: Labelled, test: Labelled, *, name: str = "target") -> Figure:
    """How well a linear predictor tells a class, or a quantity, from features.

    Classes: logistic regression over all classes; a quantity: ridge regression. Features are standardised by the
    training examples; the penalty ‖w‖²/C is the one of C = 10⁻⁴, 10⁻³ … 10 that is best on the validation examples, the
    strongest where several are as good; the test examples are looked at once.

    Alain, Bengio: Understanding Intermediate Layers Using Linear Classifier Probes, 2016,
    https://arxiv.org/abs/1610.01644.

    Args:
        train: Fitted on.
        validation: Chosen on.
        test: Measured on.
        name: Of what is told.

    Returns:
        The accuracy, or R², with its standard error over the test examples, the predictor as it was fitted.

    Raises:
        ValueError: If the parts do not have the same features, one holds fewer than two examples, or the training
            examples have one target only.
        FloatingPointError: If a feature is not finite.

    Example:
        >>> import torch
        >>> x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
        >>> parts = [Labelled(some, (some[:, 2] > 0).long()) for some in x.split(100)]
        >>> linear_probe(*parts).value > 0.9
        True
    """
    outcome = fit_linear(train, validation, test)
    where = _Where(train, test, "test", "not declared")
    return where.figure(f"linear probe of {name}", outcome, where.fitted("features"), _READ)


def probe_figures(
    model: LatentModel,
    data: Dataset,
    factors: tuple[Factors, Factors, Factors] | None = None,
    *,
    level: int | None = -1,
    max_examples: int = 10_000,
    batch_size: int = 128,
) -> list[Figure]:
    """Probe a model's posterior means, and x itself, for the labels or for factors, as `linear_probe` does.

    Args:
        model: Any latent-variable model.
        data: A dataset: its training part is fitted on, its validation part chosen on, its test part measured on.
        factors: Of the examples of the three parts, in their order. None means that the labels are the one factor.
        level: Which latent; the deepest by default; None means all, side by side.
        max_examples: At most this many of each part, evenly spread.
        batch_size: Examples encoded at once.

    Returns:
        For each factor the probe of the means, with its gain over the next in `details`; that of x, unless x holds too
        many numbers, as `details` then says; and what needs no look at the example.

    Raises:
        ValueError: If there are neither factors nor labels, a part is empty, or the numbers of examples do not agree.

    Example:
        >>> import lucid.nn as nn
        >>> from lucid.data import load
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(64, 4)], decoders=[nn.Linear(2, 64)]))
        >>> found = probe_figures(model, load("digits", kind="vector"), max_examples=200)
        >>> [figure.name for figure in found]
        ['linear probe of label', 'linear probe of label from x', 'most common label']
    """
    parts = (data.train, data.validation, data.test)
    for part in parts:
        _check_part(part, labels=factors is None)
    seen = [
        represent(model, part, level=level, max_examples=max_examples, batch_size=batch_size, keep_x=True)
        for part in parts
    ]
    told = _labels_of(seen) if factors is None else _taken(seen, factors, parts)
    which = "all levels" if level is None else f"level {level % model.depth}"
    return [
        figure
        for number in range(told[0].num_factors)
        for figure in _probed(seen, told, number, f"posterior means of {which}")
    ]


_READ = "what a linear predictor reads off; read it beside the probe of x itself and the floor"


def _probed(seen: list[Representations], told: list[Factors], number: int, representation: str) -> list[Figure]:
    """The probe of one factor, from the means and from x, and what needs neither."""
    name, continuous = told[0].names[number], told[0].is_continuous(number)
    targets = [some.values[:, number] if continuous else some.values[:, number].long() for some in told]
    train, validation, test = (Labelled(some.means, target) for some, target in zip(seen, targets, strict=True))
    where = _Where(train, test, seen[2].split, seen[2].protocol)
    of_means = fit_linear(train, validation, test)
    of_x = _from_x(seen, targets)
    if of_x is None:
        of_means.details["x_left_out"] = f"x holds more than {_MAX_NUMBERS:,} numbers: choose fewer examples"
    else:
        of_means.details["gain_over_x"], of_means.details["gain_error"] = of_means.gain_over(of_x)
    found = [where.figure(f"linear probe of {name}", of_means, where.fitted(representation), _READ)]
    if of_x is not None:
        meaning = "the same of x itself: what is linear in the data already"
        found.append(where.figure(f"linear probe of {name} from x", of_x, where.fitted("x"), meaning))
    floor = constant_outcome(train, test)
    said = f"{'mean' if continuous else 'most common'} {name}"
    known = f"known from {len(train.target):,} training examples; error over test examples"
    return [*found, where.figure(said, floor, known, "the floor: said without a look at the example")]


def _from_x(seen: list[Representations], targets: list[Tensor]) -> Outcome | None:
    if any(some.x is None or some.x.numel() > _MAX_NUMBERS for some in seen):
        return None
    train, validation, test = (
        Labelled(some.x, target) for some, target in zip(seen, targets, strict=True) if some.x is not None
    )
    return fit_linear(train, validation, test)


class _Where:
    """What the figures of one probe have in common."""

    def __init__(self, train: Labelled, test: Labelled, split: str, protocol: str) -> None:
        self.train, self.test, self.split, self.protocol = train, test, split, protocol

    def fitted(self, features: str) -> str:
        predictor = "ridge" if self.train.continuous else "logistic"
        return (
            f"{predictor} regression on standardised {features}, fitted on {len(self.train.target):,} examples, "
            "penalty chosen on validation; error over test examples"
        )

    def figure(self, name: str, outcome: Outcome, estimator: str, meaning: str) -> Figure:
        return Figure(
            name=name,
            value=outcome.value,
            standard_error=outcome.standard_error,
            unit="R²" if self.test.continuous else "accuracy",
            estimator=estimator,
            num_samples=None,
            num_examples=len(self.test.target),
            seed=None,
            split=self.split,
            protocol=self.protocol,
            meaning=meaning,
            warning=outcome.warning,
            details=outcome.details,
        )


def _labels_of(seen: list[Representations]) -> list[Factors]:
    return [Factors(some.labels, names=["label"]) for some in seen]


def _taken(
    seen: list[Representations], factors: tuple[Factors, Factors, Factors], parts: tuple[Split, Split, Split]
) -> list[Factors]:
    for some, told, part in zip(seen, factors, parts, strict=True):
        examples = int(some.rows[-1]) + 1 if part.size is None else part.size
        if told.num_examples < examples or (part.size is not None and told.num_examples > examples):
            raise ValueError(
                f"there must be factors for each example of the {part.part} part; received {told.num_examples:,} rows "
                f"for {examples:,} examples"
            )
    return [told.take(some.rows) for some, told in zip(seen, factors, strict=True)]


def _check_part(part: Split, *, labels: bool) -> None:
    if part.size == 0:
        raise ValueError(
            f"the {part.part} part holds no example: a probe is fitted on the training part, chosen on the validation "
            "part and measured on the test part; load the data with all three"
        )
    if labels and part.labels is None:
        raise ValueError(
            f"a probe tells labels, and {part.called} has none: load the data with labels, or give factors= for the "
            "three parts"
        )
