"""Figures in the card of a model and in its run: measured anew, kept from before, dropped with the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from lucid import io
from lucid.evaluation import Evaluation, Figure
from lucid.models import LatentModel

__all__ = ["Card", "stamped"]


@dataclass(frozen=True)
class Card:
    """Where the figures of a model are kept.

    Attributes:
        model: The model's folder.
        evaluation: The run's record; None for a model that is no run's.
        weights: SHA-256 of the weights that are measured.
    """

    model: Path
    evaluation: Path | None
    weights: str

    @classmethod
    def of(cls, model: Path, evaluation: Path | None = None) -> Card:
        """The card of the model that is in a folder now."""
        return cls(model, evaluation, _weights(_config(model)))

    def keep(self, found: Evaluation, model: LatentModel, first: bool) -> list[str]:
        """Write the figures beside those that other evaluations of these weights left.

        Read, merged and written under a lock, so that evaluations at one time do not lose each other's figures; the
        weights are not touched.

        Args:
            found: What was measured, `stamped`.
            model: The model itself.
            first: Whether this evaluation writes for the first time: figures that are dropped are told of once.

        Returns:
            Lines to say: what was dropped, and why.
        """
        model_file = self.model / "config.json"
        place = self.model.parent
        name = ".evaluation.lock" if self.evaluation is not None else f".{self.model.name}.lock"
        with FileLock(place / name):
            config = _config(self.model)
            if _weights(config) != self.weights:
                return [f"{self.model} holds other weights than those that were measured: it keeps no figure of them"]
            figures: dict[str, Any] = config["figures"]
            merged, dropped = _merged(found, figures.get(found.split), self.weights)
            figures = {**figures, found.split: merged.to_json()}
            io.write_json(model_file, {**config, "figures": figures})
            model.figures = figures
            if self.evaluation is not None:
                io.write_json(self.evaluation, merged.to_json())
        if not dropped or not first:
            return []
        why = "were measured on other weights or other data, or do not say on which"
        return [f"dropped from {self.model}: {dropped} figures of the {found.split} part that {why}"]


def stamped(found: Evaluation, card: Card) -> Evaluation:
    """The same, each figure with its date and the weights that it was measured on."""
    mark = {"measured": datetime.now(UTC).date().isoformat(), "weights": card.weights[:16]}

    def marked(figures: Sequence[Figure]) -> tuple[Figure, ...]:
        return tuple(replace(figure, details={**figure.details, **mark}) for figure in figures)

    return replace(found, figures=marked(found.figures), over_seeds=marked(found.over_seeds))


def _merged(found: Evaluation, before: Mapping[str, Any] | None, weights: str) -> tuple[Evaluation, int]:
    """With the older figures of the same weights and data that were not measured anew; and how many were dropped."""
    try:
        older = None if before is None else Evaluation.from_json(before)
    except ValueError:
        return found, len((before or {}).get("figures", ()))
    if older is None:
        return found, 0
    same = (older.protocol, older.num_examples) == (found.protocol, found.num_examples)
    dropped = 0
    both: list[tuple[Figure, ...]] = []
    for new, old in ((found.figures, older.figures), (found.over_seeds, older.over_seeds)):
        hold = [figure for figure in old if same and figure.details.get("weights") == weights[:16]]
        dropped += len(old) - len(hold)
        both.append(_beside(new, hold))
    return replace(found, figures=both[0], over_seeds=both[1]), dropped


def _beside(new: Sequence[Figure], old: Sequence[Figure]) -> tuple[Figure, ...]:
    """The new figures, and the old ones that are of another name or estimator, each under a name of its own."""
    figures = list(new)
    anew = {_what(figure) for figure in new}
    for figure in old:
        if _what(figure) in anew:
            continue
        name = _what(figure)[0]
        rival = next((one for one in figures if one.name == name), None)
        if rival is not None:
            figure = replace(figure, name=_apart(figure, rival, name), details={**figure.details, "name": name})
        if figure.name not in {one.name for one in figures}:
            figures.append(figure)
    return tuple(figures)


def _what(figure: Figure) -> tuple[Any, ...]:
    """What makes a figure the same figure when it is measured again."""
    return (figure.details.get("name", figure.name), figure.estimator, figure.num_samples, figure.num_examples)


def _apart(old: Figure, new: Figure, name: str) -> str:
    """A name that tells an older figure from the one that has its name now."""
    if old.num_samples != new.num_samples and old.num_samples is not None:
        return f"{name}, {old.num_samples:,} draws"
    if old.num_examples != new.num_examples:
        return f"{name}, {old.num_examples:,} examples"
    return f"{name} [{old.estimator}]"


def _config(folder: Path) -> dict[str, Any]:
    return io.read_json(folder / "config.json")


def _weights(config: Mapping[str, Any]) -> str:
    return str(config["weights"]["sha256"])
