"""What can be measured besides the bounds, by name: latents, disentanglement, samples, probe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lucid.data import Dataset, Split
from lucid.evaluation.disentanglement import Factors, disentanglement_figures
from lucid.evaluation.figure import Figure
from lucid.evaluation.information import information_figures
from lucid.evaluation.probe import probe_figures
from lucid.evaluation.samples import SPACES, FeatureSpace, sample_figures
from lucid.evaluation.units import unit_figures
from lucid.models import LatentModel

__all__ = ["FURTHER", "SEEDED", "Further", "Material", "further_figures", "parts_named"]

FURTHER: Mapping[str, str] = {
    "latents": "information and aggregate-posterior KL of each level, and what each unit costs",
    "disentanglement": "MIG, SAP, modularity, FactorVAE score, DCI; needs factors, or labels",
    "samples": "Fréchet distance, density and coverage of samples in a feature space",
    "probe": "what a linear predictor reads off the latents; needs labels or factors, and a training part",
}
"""The names, and what each needs."""

SEEDED = frozenset({"latents", "disentanglement", "samples"})
"""Those that draw: another seed gives other figures."""


@dataclass(frozen=True)
class Material:
    """What there is to measure with.

    Attributes:
        split: The part of the data that is measured on.
        dataset: All its parts; None where there is only the one.
        factors: Of the examples of the part, in order; None where the labels are to serve.
        factors_of_parts: Of the train, validation and test examples, for the probe; None where the labels are to serve.
        features: The feature space of samples; "pixels" of data that are no images are called values.
        seed: Of all draws.
    """

    split: Split
    dataset: Dataset | None = None
    factors: Factors | None = None
    factors_of_parts: tuple[Factors, Factors, Factors] | None = None
    features: str | FeatureSpace = "pixels"
    seed: int = 0


class Further(NamedTuple):
    """What was measured.

    Attributes:
        figures: The figures.
        left_out: What "all" could not measure here, and why.
    """

    figures: list[Figure]
    left_out: dict[str, str]


def further_figures(model: LatentModel, material: Material, names: Sequence[str]) -> Further:
    """Measure what the names say.

    Args:
        model: Any latent-variable model.
        material: What there is to measure with.
        names: Of `FURTHER`, or "all", which leaves out what cannot be measured here.

    Raises:
        ValueError: If a name is not known, or one that was named lacks what it needs. What only "all" stands for is
            left out instead, with the reason, for this and the errors below.
        ImportError: If a feature space needs a package that is not installed.
        FloatingPointError: If something named is not finite.
    """
    figures: list[Figure] = []
    left_out: dict[str, str] = {}
    for name in parts_named(names):
        try:
            figures += _MEASURES[name](model, material)
        except (ValueError, NotImplementedError, ImportError, FloatingPointError) as error:
            if name in names:
                raise
            left_out[name] = str(error)
    return Further(figures, left_out)


def parts_named(names: Sequence[str]) -> list[str]:
    """The parts that names stand for, in the order of `FURTHER`; "all" stands for each.

    Raises:
        ValueError: If a name is not known.

    Example:
        >>> parts_named(["probe", "latents"])
        ['latents', 'probe']
    """
    unknown = [name for name in names if name not in (*FURTHER, "all")]
    if unknown:
        raise ValueError(f"what is measured besides must be {', '.join(FURTHER)} or all; received {', '.join(unknown)}")
    return [name for name in FURTHER if name in names or "all" in names]


def _latents(model: LatentModel, material: Material) -> list[Figure]:
    split, seed = material.split, material.seed
    return [*information_figures(model, split, seed=seed), *unit_figures(model, split, seed=seed)]


def _disentanglement(model: LatentModel, material: Material) -> list[Figure]:
    return disentanglement_figures(model, material.split, material.factors, seed=material.seed)


def _samples(model: LatentModel, material: Material) -> list[Figure]:
    # Beside the training part itself a floor would be a part compared with itself.
    floor = None if material.dataset is None or material.split.part == "train" else material.dataset.train
    return sample_figures(model, material.split, train=floor, features=_space(material), seed=material.seed)


def _space(material: Material) -> str | FeatureSpace:
    """The feature space; what an image calls pixels are values in data of another kind."""
    if material.features == "pixels" and material.split.protocol.kind != "image":
        return FeatureSpace("values", SPACES["pixels"], lambda x: x.flatten(1))
    return material.features


def _probe(model: LatentModel, material: Material) -> list[Figure]:
    if material.dataset is None:
        raise ValueError(
            "a linear probe is fitted on a training part, chosen on a validation part and measured on a test part; the "
            "data given is one part only: measure a run, which knows all three"
        )
    if material.factors is not None and material.factors_of_parts is None:
        raise ValueError(
            "a linear probe of factors is fitted on the training part and chosen on the validation part, and the "
            f"factors given are those of the {material.split.part} part alone: give a row for each example of all parts"
        )
    return probe_figures(model, material.dataset, material.factors_of_parts)


_MEASURES: Mapping[str, Callable[[LatentModel, Material], list[Figure]]] = {
    "latents": _latents,
    "disentanglement": _disentanglement,
    "samples": _samples,
    "probe": _probe,
}
