"""Whole numbers in as few bytes as they need, and a reader of bytes that trusts none of them."""

from __future__ import annotations

from lucid.codec.errors import CodecError

__all__ = ["Cursor", "varint"]

_MAX_BYTES = 9


def varint(number: int) -> bytes:
    r"""A number in 0 … 2⁶³ − 1 as little-endian groups of seven bits; the eighth bit says that more follow.

    Example:
        >>> varint(5), varint(300)
        (b'\x05', b'\xac\x02')
    """
    assert 0 <= number < 2**63, number
    groups = bytearray()
    while number >= 0x80:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


class Cursor:
    """A place in some bytes; whatever it reads is known to be there.

    Args:
        data: The bytes.
        what: What they are, for errors.

    Example:
        >>> cursor = Cursor(varint(300) + b"abc", "an example")
        >>> cursor.number(), cursor.take(2), cursor.left
        (300, b'ab', 1)
    """

    def __init__(self, data: bytes, what: str) -> None:
        self.data = data
        self.what = what
        self.position = 0

    @property
    def left(self) -> int:
        """How many bytes follow."""
        return len(self.data) - self.position

    def take(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            CodecError: They are not there.
        """
        if count > self.left:
            raise CodecError(
                f"{self.what} is damaged or was cut short: it needs {count} more bytes and has {self.left}"
            )
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, most: int = 2**63 - 1) -> int:
        """The next number, as `varint` wrote it.

        Args:
            most: The largest that makes sense here.

        Raises:
            CodecError: It is larger, cut short, or not in its shortest form.
        """
        start, shift, number = self.position, 0, 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if self.position - start >= _MAX_BYTES:
                raise CodecError(f"{self.what} is damaged: it holds a number of more than {_MAX_BYTES} bytes")
        if byte == 0 and shift:
            raise CodecError(f"{self.what} is damaged: it holds a number with needless bytes")
        if number > most:
            raise CodecError(f"{self.what} is damaged: it says {number} where at most {most} can be")
        return number

    def end(self) -> None:
        """See that nothing follows.

        Raises:
            CodecError: Something does.
        """
        if self.left:
            raise CodecError(f"{self.what} is damaged: {self.left} bytes follow where it should end")
