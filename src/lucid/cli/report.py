"""`lucid report`."""

from __future__ import annotations

import argparse

from lucid.report import write_report
from lucid.training import Run

__all__ = ["report"]


def report(args: argparse.Namespace) -> int:
    """Write a run's page again."""
    print(write_report(Run(args.folder).folder.path))
    return 0
