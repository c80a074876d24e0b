"""The corpus of images: what is accepted, what is refused, and with which code."""

import struct
import zlib

import pytest
from PIL import Image

from ssd_core.data.checking.images import ImageFacts, inspect_image
from ssd_core.data.decode import ImageFaultError, decode_image
from tests.data.image_corpus import (
    BAD,
    GOOD,
    LARGE_JPEG,
    REMARKABLE,
    encode,
    flip_bits,
    png_bomb,
    png_chunk,
    save,
)

MAX_PIXELS = 50_000_000


def inspect(
    image: bytes, max_pixels: int = MAX_PIXELS, is_decoded: bool = False
) -> ImageFacts | str:
    """Return the facts, or the code of the fault."""
    try:
        return inspect_image(memoryview(image), max_pixels=max_pixels, is_decoded=is_decoded)
    except ImageFaultError as fault:
        return fault.code


@pytest.mark.parametrize("is_decoded", [False, True])
@pytest.mark.parametrize("name", GOOD)
def test_good_images(name: str, is_decoded: bool) -> None:
    image = GOOD[name]()
    facts = inspect(image, is_decoded=is_decoded)
    pixels = decode_image(image)
    orientation = int(name[-1]) if "EXIF" in name else 1
    assert facts == ImageFacts(pixels.shape[1], pixels.shape[0], {}, orientation)


@pytest.mark.parametrize("name", REMARKABLE)
def test_remarkable_images(name: str) -> None:
    make, code = REMARKABLE[name]
    facts = inspect(make())
    assert isinstance(facts, ImageFacts)
    assert list(facts.remarks) == [code]
    assert decode_image(make()).shape == (facts.height, facts.width, 3)


@pytest.mark.parametrize("is_decoded", [False, True])
@pytest.mark.parametrize("name", BAD)
def test_bad_images(name: str, is_decoded: bool) -> None:
    make, code = BAD[name]
    assert inspect(make(), is_decoded=is_decoded) == code


def test_damage_inside_a_jpeg_is_found_by_decoding() -> None:
    damaged = flip_bits(LARGE_JPEG, len(LARGE_JPEG) // 2)
    assert inspect(damaged) == ImageFacts(64, 64, {})
    facts = inspect(damaged, is_decoded=True)
    assert isinstance(facts, ImageFacts)
    assert facts.remarks["image_damaged"].startswith("is damaged: ")
    decode_image(damaged)  # so that training does not end with it


def test_a_jpeg_that_cannot_be_decoded() -> None:
    scan = LARGE_JPEG.index(b"\xff\xda")
    damaged = LARGE_JPEG[: scan + 6] + b"\x33" + LARGE_JPEG[scan + 7 :]  # an undefined table
    assert inspect(damaged, is_decoded=True) == "image_undecodable"


@pytest.mark.parametrize("position", range(45, 600, 20))
def test_every_flipped_bit_of_a_png_is_found(position: int) -> None:
    png = encode("PNG")
    damaged = png[:position] + bytes([png[position] ^ 4]) + png[position + 1 :]
    assert inspect(damaged) in {"image_undecodable", "image_truncated"}


def test_correct_checksums_of_wrong_pixels() -> None:
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", b"no deflated data"), (b"IEND", b"")]
    image = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)
    assert inspect(image, is_decoded=True) == "image_undecodable"


def test_the_limit_of_pixels_is_that_of_the_configuration() -> None:
    assert inspect(encode("PNG"), max_pixels=200) == ImageFacts(20, 10, {})
    assert inspect(encode("PNG"), max_pixels=199) == "image_too_large"
    with pytest.raises(ImageFaultError, match=r"has 30000x30000 pixels; at most"):
        inspect_image(memoryview(png_bomb(30_000, 30_000)), max_pixels=199, is_decoded=False)
    with pytest.raises(ImageFaultError, match=r"20x10 pixels, at most 199.*convert.max_pixels"):
        inspect_image(memoryview(encode("PNG")), max_pixels=199, is_decoded=False)


def test_pillow_keeps_its_other_limits() -> None:
    plain = save(Image.new("L", (4, 4)))
    bomb = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 10_000_000))
    image = plain[:33] + bomb + plain[33:]
    assert inspect(image, is_decoded=True) in {"image_not_an_image", "image_undecodable"}
