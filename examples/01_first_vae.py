"""A first variational autoencoder: two modules of your own, the loss, and a training loop written by hand.

    python examples/01_first_vae.py

Look at the two terms. −log p(x|z) falls as reconstructions improve; the KL rises as the latents begin to say
something. Their sum is −ELBO, in nats per example.
"""

from __future__ import annotations

import torch

import lucid
import lucid.models as models
import lucid.nn as nn

torch.manual_seed(0)

# Handwritten digits, 8 × 8 pixels with 17 grey levels, each pixel binarised anew at every visit.
data = lucid.data.load("digits", binarisation="dynamic")
print(data.protocol.describe(), end="\n\n")

config = models.VAEConfig(
    encoders=[nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 2 * 8))],
    decoders=[nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 64), nn.Unflatten(1, (1, 8, 8)))],
    reconstruction_loss="bce",
)
model = models.VAE(config)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(31):
    model.train()
    for x in data.train.batches(64, seed=0, epoch=epoch):
        recon, mus, logvars, zs = model(x)
        loss, recon_loss, kl = model.get_loss(x, recon, mus, logvars, zs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 10 == 0:
        parts = f"reconstruction {recon_loss.item():6.2f} + KL {kl.item():5.2f}"
        print(f"epoch {epoch:2}   loss {loss.item():6.2f} = {parts}")

x = data.test.tensor()
with torch.no_grad():
    bound = model.elbo(x, num_samples=10)
estimate = model.log_likelihood(x, num_samples=100)
print(f"\nELBO on test digits     {bound.value:6.2f} ± {bound.standard_error:.2f} nats")
print(f"log p(x) from 100 draws {estimate.value:6.2f} ± {estimate.standard_error:.2f} nats: tighter, and still a bound")

print("\na digit, and what the model makes of it:")
original, rebuilt = x[0, 0], model.reconstruct(x[:1])[0, 0]
for left, right in zip(original, rebuilt, strict=True):
    print("  ", *("#" if v > 0.5 else "." for v in left), "  ", *("#" if v > 0.5 else "." for v in right))
