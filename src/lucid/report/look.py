"""What every section looks at: the model, some data it has not seen, and the protocol that leads back to raw values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lucid.data import Dataset, Split, tells_labels
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
        condition: What the model is told of each, (N,), on the model's device; None where it is told nothing.
    """

    model: LatentModel
    protocol: DataProtocol
    part: str
    x: Tensor
    labels: Tensor | None
    condition: Tensor | None = None

    @classmethod
    def at(cls, model: LatentModel, dataset: Dataset) -> Look:
        """The model beside as many examples as a page needs, at most 2,000."""
        protocol = dataset.protocol
        split = _unseen(dataset)
        limit = max(64, min(_MAX_EXAMPLES, _MAX_NUMBERS // protocol.num_features))
        tensor = next(model.parameters(), None)
        device = torch.device("cpu") if tensor is None else tensor.device
        x = split.tensor(limit=limit, device=device)
        labels = None if split.labels is None else split.labels[: len(x)].cpu()
        told = labels.to(device) if labels is not None and tells_labels(model, split) else None
        part = "training" if split.part == "train" else split.part
        return cls(model, protocol, part, x, labels, told)

    @property
    def generator(self) -> torch.Generator:
        """A stream of random numbers, the same one each time, so that a page is reproduced."""
        return torch.Generator(self.x.device).manual_seed(0)

    def batches(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The examples, some at a time, with what the model is told of them."""
        for start in range(0, len(self.x), _BATCH):
            yield self.x[start : start + _BATCH], self._told(start, start + _BATCH)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Reconstructions in model space.

        Args:
            x: The first of the examples.
        """
        parts = enumerate(x.split(_BATCH))
        return torch.cat(
            [
                self.model.reconstruct(part, condition=self._told(i * _BATCH, i * _BATCH + len(part)))
                for i, part in parts
            ]
        )

    def sample(self, n: int, *, temperature: float = 1.0, noise: bool = False) -> Tensor:
        """Samples in model space, the same ones each time; of a conditional model, of the examples' classes in turn."""
        generator = self.generator
        told = None
        if self.condition is not None:
            told = self.condition[torch.arange(n, device=self.condition.device) % len(self.condition)].sort().values
        parts: list[Tensor] = []
        for start in range(0, n, _BATCH):
            end = min(start + _BATCH, n)
            condition = None if told is None else told[start:end]
            parts.append(
                self.model.sample(
                    end - start, temperature=temperature, generator=generator, noise=noise, condition=condition
                )
            )
        return torch.cat(parts)

    def interpolate(self, pairs: int, steps: int) -> Tensor:
        """Paths between examples, (steps, pairs, ...) in model space; of a conditional model, within a class."""
        starts, stops = self.ends(pairs)
        condition = None if self.condition is None else self.condition[starts]
        return self.model.interpolate(self.x[starts], self.x[stops], steps=steps, condition=condition)

    def embeddings(self) -> Tensor:
        """Posterior means of the deepest level, (N, U), on the CPU."""
        return torch.cat([self.model.embed(x, condition=told).flatten(1).float().cpu() for x, told in self.batches()])

    def raw(self, x: Tensor) -> Tensor:
        """Model-space values in the units of the user's file, as floats; binarised data stays 0 … 1."""
        x = x.detach().float().cpu()
        protocol = self.protocol
        if protocol.binarisation != "none":
            return x
        return x * (protocol.levels - 1) if protocol.levels is not None else protocol.to_data(x)

    def _told(self, start: int, end: int) -> Tensor | None:
        return None if self.condition is None else self.condition[start:end]

    def ends(self, pairs: int) -> tuple[list[int], list[int]]:
        """Both ends of some interpolations: examples of different labels where there are any.

        Where the model is told the label, both have the same one.
        """
        n = len(self.x)
        if self.condition is not None:
            of_class = [(self.condition == label).nonzero().flatten().tolist() for label in self.condition.unique()]
            found = [(rows[0], rows[-1]) for rows in of_class if len(rows) > 1][:pairs] or [(0, 0)]
            return [a for a, _ in found], [b for _, b in found]
        if self.labels is None:
            order = list(range(min(2 * pairs, n)))
        else:
            firsts = [int((self.labels == label).nonzero()[0]) for label in self.labels.unique()]
            order = firsts if len(firsts) > 1 else list(range(min(2 * pairs, n)))
        starts = [order[(2 * i) % len(order)] for i in range(pairs)]
        stops = [order[(2 * i + 1) % len(order)] for i in range(pairs)]
        unique = list(dict.fromkeys(zip(starts, stops, strict=True)))
        return [a for a, _ in unique], [b for _, b in unique]

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
