"""All scores of a representation, or of a model's posterior means on a split."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from lucid.evaluation.disentanglement.checks import check_pair, undefined
from lucid.evaluation.disentanglement.dci import dci
from lucid.evaluation.disentanglement.factor_vae import factor_vae_score
from lucid.evaluation.disentanglement.factors import Factors
from lucid.evaluation.disentanglement.mig import mig
from lucid.evaluation.disentanglement.modularity import modularity
from lucid.evaluation.disentanglement.sap import sap
from lucid.evaluation.examples import Batches, length_of
from lucid.evaluation.figure import Figure
from lucid.evaluation.representations import represent
from lucid.models import LatentModel

__all__ = ["disentanglement_figures", "disentanglement_scores"]


def disentanglement_scores(z: Tensor, factors: Factors, *, seed: int = 0, dci_resamples: int = 0) -> list[Figure]:
    """Every score that these units and factors give a meaning; `undefined` names the others and says why.

    Args:
        z: Representations, (N, U).
        factors: Of the same examples.
        seed: Of all that is drawn.
        dci_resamples: Bootstrap resamples of DCI, whose predictors are fitted anew for each, which takes as long again
            as all other scores together, or longer; 0 for no standard error.

    Returns:
        MIG, SAP, modularity, FactorVAE score, DCI, with standard errors over the examples, each by its own protocol
        (of DCI where `dci_resamples` are asked for); the last, DCI informativeness, says in `details` which were left
        out, and why.

    Raises:
        ValueError: If the rows do not agree.

    Example:
        >>> import torch
        >>> v = torch.cartesian_prod(torch.arange(3), torch.arange(3)).repeat(20, 1)
        >>> found = disentanglement_scores(v.float(), Factors(v))
        >>> [figure.name for figure in found]  # doctest: +NORMALIZE_WHITESPACE
        ['MIG', 'SAP', 'modularity', 'FactorVAE score',
         'DCI disentanglement', 'DCI completeness', 'DCI informativeness']
        >>> [figure.name for figure in disentanglement_scores(v.float(), Factors(v[:, 0]))]
        ['MIG', 'SAP', 'DCI completeness', 'DCI informativeness']
    """
    check_pair(z, factors, 0)
    left_out = undefined(z.shape[1], factors.num_factors)
    scores = {"MIG": mig, "SAP": sap, "modularity": modularity, "FactorVAE score": factor_vae_score}
    found = [score(z, factors, seed=seed) for name, score in scores.items() if name not in left_out]
    *of_dci, informativeness = dci(z, factors, seed=seed, num_resamples=dci_resamples)
    details = {**informativeness.details, "scores_left_out": left_out} if left_out else informativeness.details
    return [*found, *of_dci, replace(informativeness, details=details)]


def disentanglement_figures(
    model: LatentModel,
    data: Batches | Tensor,
    factors: Factors | None = None,
    *,
    level: int = -1,
    max_examples: int = 15_000,
    batch_size: int = 128,
    seed: int = 0,
    dci_resamples: int = 0,
    condition: Tensor | None = None,
) -> list[Figure]:
    """Every score of a model's posterior means, as `disentanglement_scores` gives them.

    Locatello et al.: Challenging Common Assumptions in the Unsupervised Learning of Disentangled Representations, 2019,
    https://arxiv.org/abs/1811.12359, whose settings are the defaults.

    Args:
        model: Any latent-variable model.
        data: A split of a dataset, or a tensor of model-space x.
        factors: Of each example of the data, in its order. None means that the labels are the one factor.
        level: Which latent; the deepest by default.
        max_examples: At most this many, evenly spread over the data.
        batch_size: Examples encoded at once.
        seed: Of all that is drawn.
        dci_resamples: As for `disentanglement_scores`.
        condition: What a conditional model is told of each example of a tensor.

    Returns:
        The figures, with the split's name and protocol.

    Raises:
        ValueError: If there are neither factors nor labels, or their number is not that of the examples.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> kinds = Factors(torch.arange(90) % 3, names=["kind"])
        >>> found = disentanglement_figures(model, torch.randn(90, 6), kinds)
        >>> found[0].name, 0 <= found[0].value <= 1, found[0].split
        ('MIG', True, 'tensor')
    """
    if factors is None and getattr(data, "labels", None) is None:
        raise ValueError(
            "disentanglement is measured against known factors of variation, and the data has none: give them with "
            "factors=Factors(values), a row for each example, or load the data with labels"
        )
    examples = length_of(data)
    if factors is not None and examples is not None and examples != factors.num_examples:
        raise ValueError(_other_number(factors, examples))
    found = represent(model, data, level=level, max_examples=max_examples, batch_size=batch_size, condition=condition)
    if factors is None:
        assert found.labels is not None, "the data has labels"
        factors = Factors(found.labels, names=["label"])
    else:
        if int(found.rows[-1]) >= factors.num_examples:
            raise ValueError(_other_number(factors, int(found.rows[-1]) + 1))
        factors = factors.take(found.rows)
    where = {"split": found.split, "protocol": found.protocol}
    told = f"posterior means of level {level % model.depth}"
    return [
        replace(figure, **where, estimator=f"{told}; {figure.estimator}")
        for figure in disentanglement_scores(found.means, factors, seed=seed, dci_resamples=dci_resamples)
    ]


def _other_number(factors: Factors, examples: int) -> str:
    return (
        f"there must be factors for each example, in the order of the data; received {factors.num_examples:,} rows for "
        f"{examples:,} examples"
    )
