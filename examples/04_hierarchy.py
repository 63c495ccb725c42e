"""Three levels of latents, with and without learned priors.

    python examples/04_hierarchy.py

Look at the KL of each level. Without priors, every level is held to N(0, I), and what is passed on from level to
level is paid for three times. With priors, a level is measured against what the level above predicts of it: it is
paid for once, and the model can afford to say more.
"""

from __future__ import annotations

import torch

import lucid
import lucid.models as models
import lucid.nn as nn
from lucid.distributions import DiscretisedLogistic
from lucid.objectives import Linear
from lucid.training import fit

data = lucid.data.load("digits")


def net(n_in: int, n_out: int) -> nn.Sequential:
    """Two layers."""
    return nn.Sequential(nn.Linear(n_in, 64), nn.SiLU(), nn.Linear(64, n_out))


def encoder(n_in: int, latents: int) -> nn.Sequential:
    """Starts with posteriors that are narrow, so that a signal arrives at the third level."""
    layers = net(n_in, 2 * latents)
    last = layers[-1]
    with torch.no_grad():
        last.weight.mul_(3)
        last.bias[latents:] = -4.0
    return layers


def three_levels(learned_priors: bool) -> models.VAE:
    """8 units a level."""
    return models.VAE(
        models.VAEConfig(
            encoders=[nn.Sequential(nn.Flatten(), encoder(64, 8)), encoder(8, 8), encoder(8, 8)],
            decoders=[nn.Sequential(net(64, 2 * 64), nn.Unflatten(1, (2, 8, 8))), net(32, 64), net(8, 32)],
            priors=[net(8, 2 * 8), net(8, 2 * 8)] if learned_priors else None,
            likelihood=DiscretisedLogistic(levels=17),
            hierarchical_kl=False,  # weight 1 on every level: the bound itself
            # β is 0 while the way through all levels forms, and then rises to 1.
            beta_schedule=Linear(steps=500, hold=250),
        )
    )


x = data.test.tensor()
for learned_priors in (False, True):
    torch.manual_seed(0)
    model = three_levels(learned_priors)
    fit(model, data, epochs=50, batch_size=64, progress=False)
    with torch.no_grad():
        bound = model.elbo(x, num_samples=50, generator=torch.Generator().manual_seed(0))
    levels = "   ".join(f"level {level}: {float(kl):6.2f}" for level, kl in enumerate(bound.kl))
    print("learned priors" if learned_priors else "N(0, I) at every level")
    print(f"  ELBO {bound.value:7.2f} ± {bound.standard_error:.2f} nats,  −log p(x|z) {bound.reconstruction:6.2f}")
    print(f"  KL   {levels}\n")

print("With learned priors one level may be below 0: only the sum over the levels is a divergence.")
