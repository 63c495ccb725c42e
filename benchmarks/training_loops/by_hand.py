"""PyTorch by hand: the bare networks, the loop an expert writes, and the same with a DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from training_loops.turns import Setting, Turns
from training_loops.workloads import LEARNING_RATE, Parts, Workload


def bare(workload: Workload, data: Tensor, done: Turns, setting: Setting) -> None:
    """The networks and the optimizer alone, with a trivial loss, on one batch: the limit."""
    parts = workload.parts()
    networks = parts.all().to(setting.device)
    # A learning rate that leads nowhere: this loss has no minimum.
    optimizer = torch.optim.Adam(networks.parameters(), lr=1e-9, fused=True)
    x = data[: workload.batch].to(setting.device).float()
    while True:
        loss = trivial_loss(parts, x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done(loss)


def hand_written(workload: Workload, data: Tensor, done: Turns, setting: Setting, *, compiled: bool = False) -> None:
    """What an expert writes: data kept on the device as bytes, batches by index, fused Adam, no `.item()`."""
    parts = workload.parts()
    networks = parts.all().to(setting.device)
    optimizer = torch.optim.Adam(networks.parameters(), lr=LEARNING_RATE, fused=True)
    negative_elbo = torch.compile(objective(parts)) if compiled else objective(parts)
    for x in index_batches(data.to(setting.device), workload.batch):
        loss = negative_elbo(parts, x.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done(loss)


def dataloader(workload: Workload, data: Tensor, done: Turns, setting: Setting) -> None:
    """The same with PyTorch's DataLoader as it comes."""
    parts = workload.parts()
    networks = parts.all().to(setting.device)
    optimizer = torch.optim.Adam(networks.parameters(), lr=LEARNING_RATE, fused=True)
    negative_elbo = objective(parts)
    loader = DataLoader(TensorDataset(data), batch_size=workload.batch, shuffle=True)
    while True:
        for (x,) in loader:
            loss = negative_elbo(parts, x.to(setting.device).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done(loss)


def index_batches(data: Tensor, size: int) -> Iterator[Tensor]:
    """Shuffled batches, for ever."""
    while True:
        order = torch.randperm(len(data), device=data.device)
        for start in range(0, len(data), size):
            yield data[order[start : start + size]]


def objective(parts: Parts) -> Callable[[Parts, Tensor], Tensor]:
    """The loss for a model with these parts."""
    return hierarchical_negative_elbo if parts.priors else negative_elbo


def negative_elbo(parts: Parts, x: Tensor) -> Tensor:
    """−ELBO in nats per example: Bernoulli on logits, and the KL to N(0, I) in closed form."""
    mu, logvar = parts.encoders[0](x).chunk(2, 1)
    z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
    reconstruction = F.binary_cross_entropy_with_logits(parts.decoders[0](z), x, reduction="sum")
    kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum()
    return (reconstruction + kl) / len(x)


def hierarchical_negative_elbo(parts: Parts, x: Tensor) -> Tensor:
    """−ELBO of a bottom-up chain with learned priors.

    The prior of z_l is computed from z_{l+1}, which was drawn given z_l: no closed form is a bound there, and the term
    is log q − log p at the draws. The deepest level's prior is N(0, I), and its KL is in closed form.
    """
    drawn, kl, h = [], x.new_zeros(()), x
    for encoder in parts.encoders:
        mu, logvar = encoder(h).chunk(2, 1)
        noise = torch.randn_like(mu)
        h = mu + noise * (0.5 * logvar).exp()
        drawn.append((h, logvar, noise))
    kl = kl - 0.5 * (1 + logvar - mu.square() - logvar.exp()).sum()
    for prior, (z, logvar, noise), (above, _, _) in zip(parts.priors, drawn, drawn[1:], strict=False):
        prior_mu, prior_logvar = prior(above).chunk(2, 1)
        distance = (z - prior_mu).square() * (-prior_logvar).exp()
        kl = kl + 0.5 * (prior_logvar - logvar + distance - noise.square()).sum()
    for decoder in reversed(parts.decoders):
        h = decoder(h)
    reconstruction = F.binary_cross_entropy_with_logits(h, x, reduction="sum")
    return (reconstruction + kl) / len(x)


def trivial_loss(parts: Parts, x: Tensor) -> Tensor:
    """Reaches every parameter and does as little else as can be."""
    means, h = [], x
    for encoder in parts.encoders:
        h, _ = encoder(h).chunk(2, 1)
        means.append(h)
    for decoder in reversed(parts.decoders):
        h = decoder(h)
    loss = h.mean()
    for prior, mean in zip(parts.priors, means[1:], strict=True):
        loss = loss + prior(mean).mean()
    return loss
