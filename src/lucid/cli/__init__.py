"""The `lucid` command: parses, prints, nothing else."""

from __future__ import annotations

from lucid.cli.main import main

__all__ = ["main"]
