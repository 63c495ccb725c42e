"""What the latents tell of x and what the misfit of the prior costs, level by level, in nats."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lucid.evaluation.declared import protocol_of
from lucid.evaluation.examples import Batches, device_of, name_of
from lucid.evaluation.figure import Figure
from lucid.evaluation.information_parts import Part, joint_parts, marginal_parts
from lucid.evaluation.joint import draw_all, log_prob_table
from lucid.evaluation.moments import Moments
from lucid.models import LatentModel, evaluating

__all__ = ["information_figures"]

_NEAR_CEILING = 0.1
"""Nats below log N within which information is called saturated."""


def information_figures(
    model: LatentModel,
    data: Batches | Tensor,
    *,
    max_examples: int | None = None,
    num_samples: int = 1,
    inner_samples: int = 16,
    batch_size: int = 128,
    seed: int = 0,
    split: str | None = None,
    condition: Tensor | None = None,
) -> list[Figure]:
    r"""Divide what every level costs into what it tells of x and what its prior does not fit.

    With the aggregate posterior :math:`q(z) = \frac1N \sum_n q(z|x_n)` of all levels together,

    .. math:: E_x\,\mathrm{KL}(q(z|x)\,\|\,p(z)) = I_q(x; z) + \mathrm{KL}(q(z)\,\|\,p(z))

    and by the chain rule, along the order in which the levels are decided,

    .. math:: I_q(x; z) = \sum_l I_q(x; z_l \,|\, z_{before}), \qquad
              \mathrm{KL}_l = I_q(x; z_l \,|\, z_{before}) +
              E\,\mathrm{KL}(q(z_l|z_{before})\,\|\,p(z_l|z_{before}))

    the last wherever the prior of the level is known when it is decided. :math:`q(z)` is summed in full over the N
    examples at draws of each :math:`q(z|x_n)`, which for several levels takes N² passes through their networks.

    In a bottom-up chain a deeper level adds nothing to the levels below it. What it tells by itself,
    :math:`I_q(x; z_l)`, which is what a decoder that reads it alone can know, is measured with
    :math:`q(z_l|x) \approx \frac1M \sum_m q(z_l|z_{before}^m)`, the component that z was drawn from among the M.

    For these N examples the parts are unbiased; as an estimate for the population the information is too small (N
    examples show at most log N nats) and the gap as much too large. `details` holds `at_most`, with each example left
    out of its own average, which errs the other way, and the ceiling log N. Inner draws make a deeper level's
    information too large by what `at_least` shows, in which z's own component is left out.

    Hoffman, Johnson: ELBO surgery, 2016, http://approximateinference.org/accepted/HoffmanJohnson2016.pdf.
    Poole et al.: On Variational Bounds of Mutual Information, 2019, https://arxiv.org/abs/1905.06922.
    Sobolev, Vetrov: Importance Weighted Hierarchical Variational Inference, 2019, https://arxiv.org/abs/1905.03290.

    Args:
        model: Any latent-variable model.
        data: A split of a dataset, or a tensor of model-space x, (N, ...).
        max_examples: At most this many are used, evenly spread over the data; the work grows with their square. None
            means 2,000 for one level and 200 for several.
        num_samples: Draws of each example's latents.
        inner_samples: Draws M of what is decided before, for a deeper level by itself; at least 2.
        batch_size: Examples encoded at once.
        seed: Of the draws.
        split: What to call the data. None means the name of the split, or "tensor".
        condition: What a conditional model is told of each example of a tensor; a split gives its labels itself.

    Returns:
        Of one level "I(x; z)", "KL(q(z) ‖ p(z))"; of several also what each adds and its gap, and in a chain what each
        deeper level tells by itself. Standard errors are over the examples, q(z) taken as it is.

    Raises:
        ValueError: If there are fewer than two examples, or a setting is out of range.
        FloatingPointError: If a figure is NaN or infinite.
        NotImplementedError: If a posterior has no density at another example's draw.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> [figure.name for figure in information_figures(model, torch.randn(50, 6))]
        ['I(x; z)', 'KL(q(z) ‖ p(z))']
    """
    most = max_examples if max_examples is not None else (2000 if model.depth == 1 else 200)
    settings = {"max_examples": most, "num_samples": num_samples, "batch_size": batch_size}
    for name, value in settings.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1; received {value}")
    if inner_samples < 2:
        raise ValueError(f"inner_samples must be at least 2, z's own and another; received {inner_samples}")
    protocol = protocol_of(model, data)
    with evaluating(model):
        stream = torch.Generator(device_of(model)).manual_seed(seed)
        drawn = draw_all(model, data, most, num_samples, batch_size, stream, condition)
        if drawn.num_examples < 2:
            raise ValueError("the aggregate posterior needs at least 2 examples; received fewer")
        parts = joint_parts(drawn, log_prob_table(model, drawn))
        if drawn.order[0] != model.depth - 1:
            parts += marginal_parts(model, drawn, inner_samples, stream)
    shared = {
        "split": split or name_of(data),
        "protocol": "not declared" if protocol is None else protocol.describe(),
        "num_samples": num_samples,
        "num_examples": drawn.num_examples,
        "seed": seed,
    }
    return [_figure(part, drawn.num_examples, shared) for part in parts]


def _figure(part: Part, examples: int, shared: Mapping[str, Any]) -> Figure:
    value, error = _over_examples(part.name, part.per_draw)
    details = {name: _over_examples(part.name, bound)[0] for name, bound in part.bounds.items()}
    if part.is_gap and "at_least" in details:
        details["at_least"] = max(0.0, details["at_least"])  # a KL is not negative
    details["ceiling"] = ceiling = math.log(examples)
    warning = None
    if float(part.told.mean()) > ceiling - _NEAR_CEILING:
        limit = "gap is at most" if part.is_gap else "information is at least"
        warning = (
            f"{examples:,} examples cannot show more information than {ceiling:.1f} nats, and the latents up to here "
            f"show that: the {limit} this in the whole population"
        )
    return Figure(
        **shared,
        name=part.name,
        value=value,
        standard_error=error,
        unit="nats per example",
        estimator=f"{part.estimator}; error over examples",
        meaning=part.meaning,
        warning=warning,
        details=details,
    )


def _over_examples(name: str, per_draw: Tensor) -> tuple[float, float]:
    if not bool(per_draw.isfinite().all()):
        bad = int((~per_draw.isfinite()).any(0).sum())
        raise FloatingPointError(
            f"{name} is not finite at {bad} examples; no example is left out of a figure: look at the model's weights"
        )
    moments = Moments()
    moments.add(per_draw.mean(0))
    return float(moments.mean), float(moments.standard_error)
