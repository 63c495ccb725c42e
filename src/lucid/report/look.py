"""What every section looks at: the model, some data it has not seen, and the protocol that leads back to raw values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lucid.data import Dataset, Split
from lucid.models import DataProtocol, LatentModel

__all__ = ["Look"]

_MAX_EXAMPLES = 2000
_MAX_NUMBERS = 2**25
_BATCH = 256


@dataclass(frozen=True)
class Look:
    """A model and the examples its page shows.

    Attributes:
        model: The model.
        protocol: Of the data.
        part: Which part of the data is looked at: "test", unless that is empty.
        x: Its first examples in model space, (N, ...), on the model's device.
        labels: Their labels, (N,), on the CPU; None where there are none.
    """

    model: LatentModel
    protocol: DataProtocol
    part: str
    x: Tensor
    labels: Tensor | None

    @classmethod
    def at(cls, model: LatentModel, dataset: Dataset) -> Look:
        """The model beside as many examples as a page needs, at most 2,000."""
        protocol = dataset.protocol
        split = _unseen(dataset)
        limit = max(64, min(_MAX_EXAMPLES, _MAX_NUMBERS // protocol.num_features))
        tensor = next(model.parameters(), None)
        device = torch.device("cpu") if tensor is None else tensor.device
        x = split.tensor(limit=limit, device=device)
        labels = split.labels
        part = "training" if split.part == "train" else split.part
        return cls(model, protocol, part, x, None if labels is None else labels[: len(x)].cpu())

    @property
    def generator(self) -> torch.Generator:
        """A stream of random numbers, the same one each time, so that a page is reproduced."""
        return torch.Generator(self.x.device).manual_seed(0)

    def batches(self) -> Iterator[Tensor]:
        """The examples, some at a time."""
        return iter(self.x.split(_BATCH))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Reconstructions in model space."""
        return torch.cat([self.model.reconstruct(part) for part in x.split(_BATCH)])

    def sample(self, n: int, *, temperature: float = 1.0, noise: bool = False) -> Tensor:
        """Samples in model space, the same ones each time."""
        generator = self.generator
        parts = [min(_BATCH, n - start) for start in range(0, n, _BATCH)]
        return torch.cat(
            [self.model.sample(k, temperature=temperature, generator=generator, noise=noise) for k in parts]
        )

    def embeddings(self) -> Tensor:
        """Posterior means of the deepest level, (N, U), on the CPU."""
        return torch.cat([self.model.embed(x).flatten(1).float().cpu() for x in self.batches()])

    def raw(self, x: Tensor) -> Tensor:
        """Model-space values in the units of the user's file, as floats; binarised data stays 0 … 1."""
        x = x.detach().float().cpu()
        protocol = self.protocol
        if protocol.binarisation != "none":
            return x
        return x * (protocol.levels - 1) if protocol.levels is not None else protocol.to_data(x)

    def ends(self, pairs: int) -> tuple[Tensor, Tensor]:
        """Both ends of some interpolations: examples of different labels where there are any."""
        n = len(self.x)
        if self.labels is None:
            order = list(range(min(2 * pairs, n)))
        else:
            firsts = [int((self.labels == label).nonzero()[0]) for label in self.labels.unique()]
            order = firsts if len(firsts) > 1 else list(range(min(2 * pairs, n)))
        starts = [order[(2 * i) % len(order)] for i in range(pairs)]
        stops = [order[(2 * i + 1) % len(order)] for i in range(pairs)]
        unique = list(dict.fromkeys(zip(starts, stops, strict=True)))
        return self.x[[a for a, _ in unique]], self.x[[b for _, b in unique]]

    def model_facts(self) -> dict[str, str]:
        """What the model is, counted on the model itself."""
        return {
            "class": type(self.model).__name__,
            "likelihood": str(self.model.likelihood),
            "levels": str(self.model.depth),
            "parameters": f"{sum(p.numel() for p in self.model.parameters()):,}",
        }


def _unseen(dataset: Dataset) -> Split:
    """The test part; where it is empty, the next best."""
    return next(split for split in (dataset.test, dataset.validation, dataset.train) if split.size != 0)
