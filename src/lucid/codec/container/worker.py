"""One process of a `Pool`: opens the codec it is given and answers blocks until its input ends."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

import torch

from lucid.codec.container.blocks import BlockCodec, content, decode, encode, from_content
from lucid.codec.container.pool import DONE, REFUSED, read_frame, write_frame
from lucid.codec.errors import CodecError

__all__ = ["serve"]

_SALT = slice(9, 41)


def serve(codec: BlockCodec, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer every request, in order.

    Args:
        codec: Codes the blocks.
        requests: Frames: "E" number salt levels, or "D" number salt kind examples payload.
        answers: Frames: 0 and the block, or 1 and why it is refused.
    """
    while (frame := read_frame(requests)) is not None:
        number, salt = int.from_bytes(frame[1:9], "little"), frame[_SALT]
        try:
            if frame[:1] == b"E":
                kind, payload = encode(codec, salt, number, from_content(frame[41:], codec.layout.data))
                answer = bytes([kind]) + payload
            else:
                examples = int.from_bytes(frame[42:50], "little")
                levels = decode(codec, salt, number, frame[41], frame[50:], examples)
                answer = content(levels, codec.layout.data)
        except CodecError as error:
            write_frame(answers, REFUSED + str(error).encode())
        else:
            write_frame(answers, DONE + answer)


def _main() -> None:
    from lucid.codec import load

    torch.set_num_threads(1)
    answers = sys.stdout.buffer
    with open(os.devnull, "w") as nothing:  # noqa: PTH123  (a device)
        sys.stdout = nothing  # a stray print of some library would be taken for an answer
        serve(load(sys.argv[1]), sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
