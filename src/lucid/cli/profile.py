"""`lucid train --profile`: the table of where a step's time goes."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from lucid.training import Profile, is_main_process

__all__ = ["print_profile"]


def print_profile(profile: Profile) -> int:
    """Print the table; returns the exit code."""
    if not is_main_process():
        return 0
    title = f"one training step on {profile.device} in {profile.precision}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("ms", justify="right")
    table.add_column("share", justify="right")
    for phase in profile.phases:
        table.add_row(phase.name, f"{1000 * phase.seconds:.3f}", f"{100 * phase.share:.1f} %")
    console = Console()
    console.print(table)
    console.print(
        f"{profile.examples_per_second:,.0f} examples/s, {profile.parameters:,} parameters, at most "
        f"{profile.peak_bytes / 2**20:,.0f} MiB",
        highlight=False,
    )
    for note in profile.notes:
        console.print(f"note: {note}", highlight=False)
    return 0
