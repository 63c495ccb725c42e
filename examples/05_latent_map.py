"""Two latent units, so that the whole latent space fits on a page.

    python examples/05_latent_map.py [FOLDER]

Writes plane.png, the digits that the plane decodes to, and page.html, the report with the map of the test examples.
Look at the two side by side: where the map shows a digit's colour, the plane shows that digit, and between two
colours it shows what the model takes for something in between.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import lucid
from lucid import models, report
from lucid.evaluation import evaluate
from lucid.training import fit

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "latent_map")
folder.mkdir(parents=True, exist_ok=True)

data = lucid.data.load("digits")
torch.manual_seed(0)
model = models.create("mlp", data, size=1, latents=2)
fit(model, data, epochs=60, progress=False)

print("the middle of each digit on the plane, and how far its examples scatter:")
z, labels = model.embed(data.test.tensor()), data.test.labels
assert labels is not None
for digit in range(10):
    own = z[labels == digit]
    print(f"  {digit}   ({own[:, 0].mean():5.2f}, {own[:, 1].mean():5.2f})   ± {own.std(0).mean():.2f}")

# Equal steps of probability, not of distance: each picture stands for as much of N(0, I) as any other.
side = torch.distributions.Normal(0.0, 1.0).icdf(torch.linspace(0.02, 0.98, 15))
plane = torch.stack([torch.stack([x, y]) for y in side.flip(0) for x in side])
with torch.no_grad():
    record = models.drive(model.walk(num_examples=len(plane)), models.given([plane]))
    pictures = data.protocol.to_data(record.likelihood.mean)
lucid.data.write(pictures, folder / "plane.png", data.protocol)

found = evaluate(model, data.test, num_samples=100)
(folder / "page.html").write_text(report.render(model, data, evaluation=found), encoding="utf-8")
print(f"\nlog p(x) {found.log_likelihood} nats with two latents; more of them would say more")
print(f"look at {folder / 'plane.png'} and {folder / 'page.html'}")
