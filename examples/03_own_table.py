"""A table of your own: columns in their own units, a variance for each, and a score of how unusual a row is.

    python examples/03_own_table.py

Look at the scores: rows of the test part, and rows whose columns were shuffled apart. Each shuffled column is still
distributed as before; what is gone is how columns go together, and that is what the model has learned.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_wine

import lucid
from lucid import models
from lucid.distributions import HeteroscedasticGaussian
from lucid.training import fit

frame = load_wine(as_frame=True).frame  # 178 wines, 13 measurements, and the grower in "target"
data = lucid.data.load(frame, labels="target", name="wine", seed=1)
print(data.protocol.describe(), end="\n\n")

torch.manual_seed(0)
model = models.create("mlp", data, size=1, latents=4, likelihood=HeteroscedasticGaussian())
fit(model, data, steps=400, batch_size=32, learning_rate=1e-3, progress=False)


def score(x: torch.Tensor) -> torch.Tensor:
    """log p(x) of each row, nats, in the standardised units."""
    return model.log_likelihood(x, num_samples=200, generator=torch.Generator().manual_seed(0)).per_example


x = data.test.tensor()
rng = np.random.default_rng(0)
shuffled = torch.stack([column[torch.from_numpy(rng.permutation(len(x)))] for column in x.T], dim=1)
print(f"log p(x) of test rows      {score(x).mean():7.2f} nats")
print(f"log p(x) of shuffled rows  {score(shuffled).mean():7.2f} nats")

strangest = int(score(x).argmin())
print("\nthe most unusual test row, beside the mean of all:")
row, mean = data.test.raw[strangest], data.test.raw.mean(0)
for name, value, usual in zip(data.protocol.columns, row, mean, strict=True):
    print(f"  {name:30}{value:10.2f}{usual:10.2f}")

print("\nthree rows from the model, in the units of the file:")
rows = model.protocol.to_data(model.sample(3, noise=True, generator=torch.Generator().manual_seed(2)))
for name, values in zip(data.protocol.columns, rows.T, strict=True):
    print(f"  {name:30}", *(f"{value:9.2f}" for value in values))
