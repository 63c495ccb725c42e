"""Files of version 1, which must open for ever, and be written again to the same bytes.

They were made by `python -m tests.codec.test_golden`. A change that makes a test here fail makes the files that people
have unreadable: it needs a new version of the format, and these files stay.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
import torch
from tests.codec.small import bits_codec, greys_codec

import lucid.codec
from lucid.codec import Codec, Reader, Writer

GOLDEN = Path(__file__).parent / "golden"
META = {"names": ["a", "ß"], "made": "by hand"}
ATTACHED = {"notes/read me.txt": b"kept as it was", "empty": b""}


def bits_array(codec: Codec) -> bytes:
    """One block, without an index."""
    return codec.compress(ones())


def greys_indexed(codec: Codec) -> bytes:
    """Coded blocks, a stored one, meta, attachments."""
    out = io.BytesIO()
    with Writer(out, codec, meta=META, block_examples=32) as writer:
        writer.add(grey_levels())
        for name, data in ATTACHED.items():
            writer.attach(name, [data])
    return out.getvalue()


def scattered(numbers: torch.Tensor) -> torch.Tensor:
    """A number 0 … 999 for each number, by whole-number arithmetic: no generator of random numbers has a part in it."""
    mixed = (numbers * numbers * 48271 + numbers * 1299709 + 12345) % 2147483647
    return mixed * (mixed % 10007) % 2147483647 % 1000


def ones() -> torch.Tensor:
    """Runs of bits with some turned over."""
    example, place = torch.arange(200)[:, None], torch.arange(24)
    run = scattered(example * 3 + place // 8) < 400
    return (run ^ (scattered(10_000 + example * 24 + place) < 60)).to(torch.uint8)


def grey_levels() -> torch.Tensor:
    """Slopes, and at the end a block of what the model does not know."""
    place = torch.arange(64 * 24).reshape(64, 1, 4, 6)
    slopes = scattered(place // 24) % 17 * (place % 6) // 5 + scattered(5000 + place) % 2
    noise = scattered(torch.arange(16 * 24).reshape(16, 1, 4, 6)) % 17
    return torch.cat([slopes.clamp(max=16), noise])


FILES = {"bits": bits_array, "greys": greys_indexed}


@pytest.fixture(params=FILES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_codec_opens_and_is_the_same(name: str) -> None:
    data = (GOLDEN / f"{name}.codec").read_bytes()
    codec = lucid.codec.load(data)
    assert codec.identity == (GOLDEN / f"{name}.identity").read_text().strip()
    assert codec.to_bytes() == data


def test_the_file_opens_and_holds_what_it_held() -> None:
    codec = lucid.codec.load(GOLDEN / "bits.codec")
    found = codec.decompress((GOLDEN / "bits.lucid").read_bytes())
    assert isinstance(found, torch.Tensor)
    assert Reader((GOLDEN / "bits.lucid").read_bytes()).info().coded_blocks == 1
    assert torch.equal(found, ones())
    assert found.dtype == torch.uint8
    assert hashlib.sha256(found.numpy().tobytes()).hexdigest()[:16] == "8a0175b06c7e499f"


def test_the_file_of_many_parts_opens() -> None:
    with Reader(GOLDEN / "greys.lucid", lucid.codec.load(GOLDEN / "greys.codec")) as reader:
        assert reader.meta == META
        assert {member.name: member.read() for member in reader.attachments} == ATTACHED
        assert torch.equal(reader.examples(), grey_levels())
        assert torch.equal(reader.examples(20, 70), grey_levels()[20:70])
        info = reader.info()
    assert (info.coded_blocks, info.stored_blocks, info.num_examples) == (2, 1, 80)


def test_a_file_that_carries_its_codec_opens_by_itself() -> None:
    found = lucid.codec.decompress((GOLDEN / "embedded.lucid").read_bytes())
    assert torch.equal(torch.as_tensor(found), ones())


def test_what_is_written_today_is_what_was_written_then(name: str) -> None:
    codec = lucid.codec.load(GOLDEN / f"{name}.codec")
    assert FILES[name](codec) == (GOLDEN / f"{name}.lucid").read_bytes()


def make() -> None:
    """Write the golden files anew: only where a version of the format is."""
    GOLDEN.mkdir(exist_ok=True)
    for name, codec in (("bits", bits_codec()), ("greys", greys_codec())):
        codec.save(GOLDEN / f"{name}.codec")
        (GOLDEN / f"{name}.identity").write_text(codec.identity + "\n")
        (GOLDEN / f"{name}.lucid").write_bytes(FILES[name](codec))
    (GOLDEN / "embedded.lucid").write_bytes(bits_codec().compress(ones(), embed=True))


if __name__ == "__main__":
    make()
