"""Train, evaluate, save, load, sample: the whole way in a page.

    python examples/02_fit_and_evaluate.py

Look at the table: which estimator, how many draws, how large the standard error, and on which data. Then see that the
loaded model says the same.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

import lucid
from lucid import models
from lucid.evaluation import evaluate
from lucid.training import fit

data = lucid.data.load("digits")

# The last layer starts at the data's mean and spread; the likelihood is chosen by the data: 17 levels.
torch.manual_seed(0)
model = models.create("mlp", data, size=1)
print(f"{model.likelihood}, {sum(p.numel() for p in model.parameters()):,} parameters")

result = fit(model, data, epochs=40, progress=False)
print(f"{result.steps} steps in {result.seconds:.1f} s; best at step {result.best_step}\n")

found = evaluate(model, data.test, num_samples=100)
print(found.protocol)
for row in found.to_table():
    print(f"  {row.name:25}{row.value:>17} {row.unit}")

with tempfile.TemporaryDirectory() as folder:
    artefact = Path(folder, "digits")
    lucid.save(model, artefact, figures={"test": found.to_json()})
    print(f"\nsaved: {', '.join(sorted(path.name for path in artefact.iterdir()))}")
    loaded = lucid.load(artefact)

again = evaluate(loaded, data.test, num_samples=100)
print(f"loaded: the same ELBO, {again.elbo.value == found.elbo.value}")

sample = loaded.protocol.to_data(loaded.sample(1, generator=torch.Generator().manual_seed(1)))[0, 0]
print("\na new digit, in the levels of the file:")
for row in sample:
    print("  ", *(f"{int(v):2}" for v in row))
