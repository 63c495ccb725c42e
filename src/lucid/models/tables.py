"""The first layer of a network that reads the rows of a mixed table."""

from __future__ import annotations

from lucid import nn
from lucid.distributions import Column

__all__ = ["table_input"]


def table_input(schema: tuple[Column, ...], dropout: float = 0.0) -> nn.TableInput:
    """What reads rows of these columns; its `out_features` is the width the next layer takes.

    Args:
        schema: The columns.
        dropout: Fraction of the observed values hidden from the encoder in training.
    """
    counts = [i for i, column in enumerate(schema) if column.kind == "count"]
    return nn.TableInput([column.levels or 0 for column in schema], counts, dropout)
