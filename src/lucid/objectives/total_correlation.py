"""β-TC: the KL taken apart into what is said of x, how the units depend on each other, and their margins."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lucid.distributions import DiagonalGaussian
from lucid.io import register
from lucid.models import Record
from lucid.models.walk import log_prob_of_draws
from lucid.objectives.objective import Scheduled, Terms

__all__ = ["BetaTC", "minibatch_log_weights"]


@register
class BetaTC(Scheduled):
    r"""The negative ELBO with the KL of the deepest level taken apart, and its total correlation weighted by β.

    .. math:: -E_q\log p(x|z) + \alpha \, I_q(z; x) + \beta \, \mathrm{KL}\bigl(q(z) \| \prod_j q(z_j)\bigr)
        + \gamma \sum_j \mathrm{KL}\bigl(q(z_j) \| p(z_j)\bigr) + \sum_{l < L-1} \mathrm{KL}_l

    The aggregate posterior :math:`q(z) = E_x q(z|x)` over N training examples is estimated from the minibatch, with the
    paper's weights (`minibatch_log_weights`). At α = β = γ = 1 the three parts add up to log q(z|x) − log p(z) at the
    draws, whatever the estimate: the negative ELBO.

    The estimate is coupled over the batch: of a batch that is computed in parts (`accumulate`, or several processes)
    each part is a minibatch of its own.

    Chen et al.: Isolating Sources of Disentanglement in VAEs, 2018, https://arxiv.org/abs/1802.04942.

    Args:
        num_examples: N, the size of the training data.
        schedule: β, the weight of the total correlation: a number, a schedule, or any function `step -> float`.
        information: α, the weight of the index-code mutual information; non-negative.
        margins: γ, the weight of the margins' KL; non-negative.
        stratified: Whether the estimate is by minibatch stratified sampling, which is unbiased for q(z); else by
            minibatch weighted sampling.

    Raises:
        ValueError: If an argument is outside its range. On a record: if the batch is larger than the data, or the
            posterior of the deepest level is not a diagonal Gaussian.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig, draws, drive
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> record = drive(model.walk(torch.randn(8, 6)), draws())
        >>> terms = BetaTC(num_examples=100)(record, beta=1.0)
        >>> bool(torch.isclose(terms.loss, -record.log_weight().mean(), rtol=1e-4))
        True
    """

    def __init__(
        self,
        num_examples: int,
        schedule: float | Callable[[int], float] = 6.0,
        *,
        information: float = 1.0,
        margins: float = 1.0,
        stratified: bool = True,
    ) -> None:
        super().__init__(schedule)
        if isinstance(num_examples, bool) or not isinstance(num_examples, int) or num_examples < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"num_examples must be the size of the training data; received {num_examples!r}")
        for name, weight in (("information", information), ("margins", margins)):
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name} must be a non-negative, finite weight; received {weight}")
        self.num_examples = num_examples
        self.information = information
        self.margins = margins
        self.stratified = stratified

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        reconstruction, kl = record.reconstruction().mean(), [level.mean() for level in record.kl()]
        information, correlation, margins = (part.mean() for part in self.parts(record))
        weighed = self.information * information + beta * correlation + self.margins * margins
        return Terms.of(reconstruction + weighed + sum(kl[:-1]), reconstruction, kl)

    def parts(self, record: Record) -> tuple[Tensor, Tensor, Tensor]:
        """Index-code mutual information, total correlation and margins' KL at each draw, (B,) nats each."""
        latent = record.latents[-1]
        q = latent.posterior
        if not isinstance(q, DiagonalGaussian):
            raise ValueError(
                "the total correlation is estimated from posteriors that are diagonal Gaussians; that of the deepest "
                f"level is {type(q).__name__}"
            )
        if latent.value.shape != q.loc.shape:
            raise ValueError(
                f"the total correlation is estimated from one draw of each posterior; received {len(latent.value)} of "
                f"{len(q.loc)}"
            )
        # Row i, column j: log q(z_i|x_j), unit by unit.
        columns = DiagonalGaussian(q.loc.flatten(1)[None], q.logvar.flatten(1)[None])
        of_units = columns._log_prob(latent.value.flatten(1)[:, None])  # pyright: ignore[reportPrivateUsage]
        weights = minibatch_log_weights(len(of_units), self.num_examples, stratified=self.stratified).to(of_units)
        log_joint = (weights + of_units.sum(2)).logsumexp(1)
        log_margins = (weights[..., None] + of_units).logsumexp(1).sum(1)
        log_posterior = log_prob_of_draws(q, latent.value)
        log_prior = log_prob_of_draws(latent.prior, latent.value)
        return log_posterior - log_joint, log_joint - log_margins, log_margins - log_prior


def minibatch_log_weights(batch: int, num_examples: int, *, stratified: bool) -> Tensor:
    r"""Logs of the weights with which a minibatch estimates the aggregate posterior, (B, B).

    :math:`q(z_i) \approx \sum_j W_{ij}\, q(z_i|x_j)` for z_i drawn from q(z|x_i). Weighted sampling has
    :math:`W_{ij} = 1/(NB)`. Stratified sampling, with M = B − 1, has :math:`1/N` where j = i, :math:`(N-M)/(NM)` for
    one other example, and :math:`1/M` for the rest: each row sums to 1, and over minibatches drawn without
    replacement it is unbiased. A batch of one example has the single weight 1/N of either.

    Chen et al.: Isolating Sources of Disentanglement in VAEs, 2018, https://arxiv.org/abs/1802.04942, appendix C.

    Args:
        batch: B.
        num_examples: N, at least B.
        stratified: Which of the two.

    Example:
        >>> minibatch_log_weights(3, 10, stratified=True).exp().sum(1)
        tensor([1., 1., 1.])
    """
    if batch > num_examples:
        raise ValueError(f"a batch of {batch} cannot be of data with {num_examples} examples: num_examples is its size")
    others = batch - 1
    if not stratified or others == 0:
        return torch.full((batch, batch), -math.log(num_examples * batch))
    weights = torch.full((batch, batch), 1 / others)
    weights.fill_diagonal_(1 / num_examples)
    index = torch.arange(batch)
    weights[index, (index + 1) % batch] = (num_examples - others) / (num_examples * others)
    return weights.log()
