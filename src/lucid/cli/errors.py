"""What the user can mend by changing the command line."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["UsageError", "as_usage"]


class UsageError(Exception):
    """The command line does not make sense; exit code 2."""


@contextmanager
def as_usage() -> Generator[None]:
    """Report a `ValueError` or `TypeError` met here as misuse: what is checked here came from the command line."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from error
