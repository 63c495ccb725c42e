"""What an evaluation found: the figures, each with what is needed to trust it, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from lucid.evaluation.figure import Figure, check_figures, rounded

__all__ = ["Evaluation", "Measurement", "Row"]


@dataclass(frozen=True)
class Measurement:
    """One estimated quantity, in nats per example.

    Attributes:
        value: Mean over the examples.
        standard_error: Of that mean, over the examples.
        num_samples: Posterior draws per example.
        estimator: Its name.
        effective_sample_size: (Σw)²/Σw² of the importance weights, mean over the examples; None where nothing is
            weighted.
    """

    value: float
    standard_error: float
    num_samples: int
    estimator: str
    effective_sample_size: float | None = None

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; without `effective_sample_size` where there is none."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def rounded(self) -> tuple[str, str]:
        """Value and standard error as people write them, to about two digits of the error."""
        error = self.standard_error
        decimals = 1 if error >= 9.5 else next((n for n in (2, 3) if error * 10**n >= 9.5), 4)
        return _number(self.value, decimals), f"{error:,.{decimals}f}"

    def __str__(self) -> str:
        return " ± ".join(self.rounded())


class Row(NamedTuple):
    """One line of the table that people read.

    Attributes:
        name: The quantity.
        value: Its value, formatted, with the standard error where there is one.
        unit: Its unit.
        meaning: How to read it.
    """

    name: str
    value: str
    unit: str
    meaning: str


@dataclass(frozen=True)
class Evaluation:
    """The figures of one model on one split of one declared kind of data. Everything is in nats per example.

    Attributes:
        elbo: The evidence lower bound, unweighted; larger is better.
        log_likelihood: The importance-weighted estimate of log p(x) with the most draws: a lower bound in expectation.
        importance_weighted: The same at k = 1, 10, 100, … draws; the last is `log_likelihood`.
        kl: KL of each level, unweighted; level 0 is nearest the data.
        reconstruction: −log p(x|z).
        active_units: Units of each level with Var_x(E_q[z]) above 0.01.
        latent_units: Units of each level.
        bits_per_dim: −log_likelihood / (D ln 2), D features; None where it would mean nothing.
        bits_per_dim_note: From how many draws it is, or why there is none.
        num_examples: Examples, each counted once.
        protocol: The data protocol, in one line.
        split: The split's name.
        seed: Of the posterior draws.
        figures: Every figure with its estimator, those above among them, and whatever was measured besides; each has a
            name of its own.
        over_seeds: Of repeated evaluations, the mean of each figure over the seeds, with its error over them.
    """

    elbo: Measurement
    log_likelihood: Measurement
    importance_weighted: tuple[Measurement, ...]
    kl: tuple[float, ...]
    reconstruction: float
    active_units: tuple[int, ...]
    latent_units: tuple[int, ...]
    bits_per_dim: float | None
    bits_per_dim_note: str
    num_examples: int
    protocol: str
    split: str
    seed: int
    figures: tuple[Figure, ...] = ()
    over_seeds: tuple[Figure, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "figures", check_figures(self.figures))
        object.__setattr__(self, "over_seeds", check_figures(self.over_seeds))

    def with_figures(self, figures: Iterable[Figure]) -> Evaluation:
        """The same with further figures.

        Args:
            figures: Each with a name that no other has.
        """
        return replace(self, figures=(*self.figures, *figures))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What speaks against figures, each with the name of the figure."""
        return tuple(f"{figure.name}: {figure.warning}" for figure in self.figures if figure.warning)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain JSON values: what `evaluation.json` holds."""
        record: dict[str, Any] = {
            "elbo": self.elbo.to_json(),
            "log_likelihood": self.log_likelihood.to_json(),
            "importance_weighted": [at_k.to_json() for at_k in self.importance_weighted],
            "kl": list(self.kl),
            "reconstruction": self.reconstruction,
            "active_units": list(self.active_units),
            "latent_units": list(self.latent_units),
            "bits_per_dim": self.bits_per_dim,
            "bits_per_dim_note": self.bits_per_dim_note,
            "num_examples": self.num_examples,
            "protocol": self.protocol,
            "split": self.split,
            "seed": self.seed,
            "figures": [figure.to_json() for figure in self.figures],
        }
        if self.over_seeds:
            record["over_seeds"] = [figure.to_json() for figure in self.over_seeds]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Evaluation:
        """What `to_json` wrote, read back.

        Raises:
            ValueError: If a key is missing or no such field exists.
        """
        try:
            fields: dict[str, Any] = {
                **record,
                "elbo": Measurement(**record["elbo"]),
                "log_likelihood": Measurement(**record["log_likelihood"]),
                "importance_weighted": tuple(Measurement(**at_k) for at_k in record["importance_weighted"]),
                "kl": tuple(record["kl"]),
                "active_units": tuple(record["active_units"]),
                "latent_units": tuple(record["latent_units"]),
                # A record of an earlier lucid has none.
                "figures": tuple(Figure.from_json(figure) for figure in record.get("figures", ())),
                "over_seeds": tuple(Figure.from_json(figure) for figure in record.get("over_seeds", ())),
            }
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"this is not an evaluation as Evaluation.to_json writes it ({error}): evaluate the model again"
            ) from error

    def to_table(self) -> list[Row]:
        """The figures as rows to print: name, value, unit, how to read it."""
        rows = [
            Row("ELBO", str(self.elbo), "nats", "lower bound on log p(x), β = 1; larger is better"),
            self._row("reconstruction", self.reconstruction, "−log p(x|z), what x still costs once z is known"),
        ]
        for level, (kl, active, units) in enumerate(zip(self.kl, self.active_units, self.latent_units, strict=True)):
            name = f"KL, level {level}" if len(self.kl) > 1 else "KL"
            of_level = f"active units, level {level}" if len(self.kl) > 1 else "active units"
            rows += [
                self._row(name, kl, "what the latent of this level costs; near 0 it has collapsed"),
                Row(of_level, f"{active} of {units}", "units", "units whose posterior mean moves with x"),
            ]
        rows += [_importance_row(at_k) for at_k in self.importance_weighted]
        bits = "—" if self.bits_per_dim is None else f"{self.bits_per_dim:.4f}"
        error = next((figure.standard_error for figure in self.figures if figure.name == "bits/dim"), None)
        if self.bits_per_dim is not None and error:
            bits = rounded(self.bits_per_dim, error)
        rows.append(Row("bits/dim", bits, "bits", self.bits_per_dim_note))
        shown = {row.name for row in rows}
        # The rows of the importance-weighted bounds say their effective sample sizes.
        return rows + [
            Row(figure.name, figure.rounded(), figure.unit.removesuffix(" per example"), figure.meaning)
            for figure in self.figures
            if figure.name not in shown and not figure.name.startswith("effective sample size")
        ]

    def _row(self, name: str, value: float, meaning: str) -> Row:
        """A quantity in nats, with its standard error where a figure has it."""
        figure = next((figure for figure in self.figures if figure.name == name), None)
        return Row(name, rounded(value, figure.standard_error) if figure else _number(value), "nats", meaning)


def _importance_row(at_k: Measurement) -> Row:
    k = at_k.num_samples
    meaning = "one draw: the ELBO, without its closed-form KL"
    if k > 1:
        meaning = f"log p(x) from weighted draws; effective sample size {at_k.effective_sample_size or 0:.1f} of {k:,}"
    return Row(f"log-likelihood, k = {k:,}", str(at_k), "nats", meaning)


def _number(value: float, decimals: int = 2) -> str:
    return f"{value:,.{decimals}f}".replace("-", "−")
