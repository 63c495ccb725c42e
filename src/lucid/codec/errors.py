"""The one error of files that cannot be opened: damaged, cut short, foreign, or made for another codec."""

from __future__ import annotations

__all__ = ["CodecError"]


class CodecError(ValueError):
    """A .lucid file or a codec that is not what it should be. Nothing of it has been given out.

    Example:
        >>> import lucid.codec
        >>> lucid.codec.load(b"not a codec")
        Traceback (most recent call last):
        ...
        lucid.codec.errors.CodecError: a codec holds at least 12 bytes; received 11: it was cut short, or is no codec
    """
