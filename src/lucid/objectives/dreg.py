"""The importance-weighted bound with doubly reparameterised gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import grad
from torch.distributions import Distribution

from lucid.distributions import Stream
from lucid.io import register
from lucid.models import Record, Walk, draws, drive
from lucid.models.walk import log_prob_of_draws
from lucid.objectives.importance import IWAE, log_mean_exp, log_weights
from lucid.objectives.objective import Scheduled, Terms

__all__ = ["DReG"]


@register
class DReG(Scheduled):
    r"""The negative importance-weighted bound of K draws, its gradient doubly reparameterised.

    The value is that of `IWAE`, and so is the gradient in expectation. In the encoder it has less variance, and its
    signal does not vanish as K grows: with :math:`\tilde w_k = w_k / \sum_j w_j`

    .. math:: \nabla_\phi = \sum_k \bigl((1-\beta)\tilde w_k + \beta \tilde w_k^2\bigr)
        \frac{\partial \log w_k}{\partial z_k} \frac{d z_k}{d\phi}, \qquad
        \nabla_\theta = \sum_k \tilde w_k \nabla_\theta \bigl(\log p(x|z_k) + \beta \log p(z_k)\bigr)

    at β = 1 the published :math:`\tilde w_k^2`. z_k are all latents of a draw together. Its derivative in the weight
    goes by every path, through the conditioning of later posteriors too, while no parameter is touched; then it is
    carried from the last latent drawn back to the first, through the draws. So it is exact for hierarchies, and where
    priors and posteriors share parameters.

    The step takes gradients within itself, which PyTorch's compiler does not trace: it is not compiled.

    Tucker et al.: Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives, 2018,
    https://arxiv.org/abs/1810.04152.

    Args:
        num_samples: K, draws of each example.
        schedule: β, as for `IWAE`.

    Raises:
        ValueError: If `num_samples` is not positive. On a walk: if a posterior cannot be reparameterised. On a record:
            if it was not driven by this objective's own `record`.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> objective = DReG(num_samples=5)
        >>> terms = objective(objective.record(model.walk(torch.randn(3, 6))), beta=1.0)
        >>> terms.loss.backward()
        >>> model.encoders[0].weight.grad.shape
        torch.Size([4, 6])
    """

    compiles = False

    def __init__(self, num_samples: int = 8, *, schedule: float | Callable[[int], float] = 1.0) -> None:
        super().__init__(schedule)
        self.num_samples = IWAE(num_samples).num_samples  # checked as there

    def record(self, walk: Walk, stream: Stream = None) -> Record:
        """K draws of each example. With gradients on, the walk goes on with copies that are cut from the draws."""
        choose = draws(stream, num_samples=self.num_samples)
        if not torch.is_grad_enabled():
            return drive(walk, choose)
        live: list[Tensor] = []
        leaves: list[Tensor] = []

        def cut(distribution: Distribution) -> Tensor:
            if not distribution.has_rsample:
                raise ValueError(
                    f"doubly reparameterised gradients need posteriors that can be reparameterised; "
                    f"{type(distribution).__name__} cannot: train with IWAE"
                )
            live.append(choose(distribution))
            leaves.append(live[-1].detach().requires_grad_())
            return leaves[-1]

        record = drive(walk, cut)
        return record._replace(kept=(*live, *leaves))

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        log_w = log_weights(record, beta, self.num_samples)
        bound = log_mean_exp(log_w).mean().detach()
        with torch.no_grad():
            terms = Terms.of(-bound, record.reconstruction(), record.kl())
        if not torch.is_grad_enabled():
            return terms
        if not record.kept:
            raise ValueError("the walk must be driven by DReG itself: record = objective.record(model.walk(x))")
        examples = log_w.shape[1]
        stands_in = self._with_its_gradient(record, log_w, beta) / examples
        return terms._replace(loss=-bound - (stands_in - stands_in.detach()))

    def _with_its_gradient(self, record: Record, log_w: Tensor, beta: float | Tensor) -> Tensor:
        """A scalar whose gradient is that of the bounds' sum; its value means nothing."""
        weight = log_w.detach().softmax(0)
        live, leaves = record.kept[: len(record.kept) // 2], record.kept[len(record.kept) // 2 :]
        # An example's own draws are the only ones its weights depend on, so one backward pass serves all.
        seed = (1 - beta) * weight + beta * weight.square()
        felt = list(grad(log_w, leaves, seed, retain_graph=True, materialize_grads=True))
        log_joint = -record.reconstruction()
        for latent in record.latents:
            log_joint = log_joint + beta * log_prob_of_draws(latent.prior, latent.value)
        total = (weight.flatten() * log_joint).sum()
        for last in reversed(range(len(live))):
            if not live[last].requires_grad:
                continue
            if last:  # what reaches this draw reaches those it was conditioned on
                earlier = grad(live[last], leaves[:last], felt[last], retain_graph=True, materialize_grads=True)
                felt[:last] = [now + more for now, more in zip(felt, earlier, strict=False)]
            total = total + (felt[last] * live[last]).sum()
        return total
