"""Images good and bad, made on demand: less than two megabytes together."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

SIZE = (20, 10)


def save(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def encode(kind: str, mode: str = "RGB", size: tuple[int, int] = SIZE, **options: Any) -> bytes:
    """Return an image of random colours."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    if options.pop("is_animated", False):
        options |= {"save_all": True, "append_images": [image.transpose(0)]}
    return save(image, kind, **options)


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def flip_bits(image: bytes, first: int, count: int = 40) -> bytes:
    """Return the image with some bytes changed behind `first`, the last ones left alone."""
    changed = bytearray(image)
    rng = random.Random(1)
    for _ in range(count):
        changed[rng.randrange(first, len(image) - 30)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def levels(kind: str, dtype: type, scale: float) -> bytes:
    """Return an image of one channel with levels from 0 to 199 times `scale`."""
    values = (np.arange(200).reshape(10, 20) * scale).astype(dtype)
    return save(Image.fromarray(values), kind)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png_bomb(width: int, height: int) -> bytes:
    """Return a sound PNG of one colour, small as a file and large as pixels."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(((width + 7) // 8 + 1) * height), 9)
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", rows), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def jpeg_of_size(width: int, height: int) -> bytes:
    """Return a JPEG whose header lies about its size."""
    image = encode("JPEG")
    place = image.index(b"\xff\xc0") + 5
    return image[:place] + struct.pack(">HH", height, width) + image[place + 4 :]


JPEG, PNG = encode("JPEG"), encode("PNG")
LARGE_JPEG = encode("JPEG", size=(64, 64), quality=95)
WITH_THUMBNAIL = JPEG[:2] + b"\xff\xe1\x00\x06ab\xff\xd9" + JPEG[2:]

GOOD: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: JPEG,
    "jpeg, gray": lambda: encode("JPEG", "L"),
    "jpeg, CMYK": lambda: encode("JPEG", "CMYK"),
    "jpeg, progressive": lambda: encode("JPEG", progressive=True),
    "jpeg, junk behind": lambda: JPEG + b"junk" * 5000,
    "jpeg, thumbnail with an end mark": lambda: WITH_THUMBNAIL,
    "jpeg, colour profile": lambda: encode("JPEG", icc_profile=b"profile" * 500),
    "png": lambda: PNG,
    "png, bilevel": lambda: encode("PNG", "1"),
    "png, palette": lambda: encode("PNG", "P"),
    "png, alpha": lambda: encode("PNG", "RGBA"),
    "png, gray and alpha": lambda: encode("PNG", "LA"),
    "png, 16 bits": lambda: levels("PNG", np.uint16, 300),
    "tiff, 16 bits": lambda: levels("TIFF", np.uint16, 300),
    "tiff, 32 bits": lambda: levels("TIFF", np.int32, 300),
    "png, junk behind": lambda: PNG + b"\0" * 9999,
    "png, 1x1": lambda: encode("PNG", size=(1, 1)),
    "png, 20000x10": lambda: encode("PNG", size=(20000, 10)),
    "bmp": lambda: encode("BMP"),
    "webp": lambda: encode("WEBP"),
    "gif": lambda: encode("GIF"),
    "tiff": lambda: encode("TIFF"),
    "tiff, LZW": lambda: encode("TIFF", compression="tiff_lzw"),
    "avif": lambda: encode("AVIF"),
    "jpeg 2000": lambda: encode("JPEG2000"),
    "ppm": lambda: encode("PPM"),
} | {f"jpeg, EXIF {k}": lambda k=k: encode("JPEG", exif=exif_of(k)) for k in range(1, 9)}

REMARKABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "gif, animated": (lambda: encode("GIF", is_animated=True), "image_animated"),
    "png, animated": (lambda: encode("PNG", is_animated=True), "image_animated"),
    "webp, animated": (lambda: encode("WEBP", is_animated=True), "image_animated"),
    "tiff, two pages": (lambda: encode("TIFF", is_animated=True), "image_animated"),
    "png, 12 of 16 bits": (lambda: levels("PNG", np.uint16, 20), "image_dark"),
    "tiff, 8 of 16 bits": (lambda: levels("TIFF", np.uint16, 1), "image_dark"),
    "tiff, 8 of 32 bits": (lambda: levels("TIFF", np.int32, 1), "image_dark"),
    "jpeg, no end marker": (lambda: JPEG[:-2], "image_damaged"),
    "jpeg, half an end marker": (lambda: LARGE_JPEG[:-1], "image_damaged"),
    "jpeg, CMYK, no end marker": (lambda: encode("JPEG", "CMYK")[:-2], "image_damaged"),
}
"""Usable images with a warning."""

BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "image_empty"),
    "a page of a proxy": (lambda: b"<html>not found</html>", "image_not_an_image"),
    "text": (lambda: b"hello", "image_not_an_image"),
    "PostScript, which would start a program": (
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 10\nshowpage\n%%EOF\n",
        "image_not_an_image",
    ),
    "jpeg, only the mark": (lambda: b"\xff\xd8\xff", "image_not_an_image"),
    "jpeg, header cut": (lambda: JPEG[:100], "image_truncated"),
    "jpeg, tables cut": (lambda: JPEG[:300], "image_truncated"),
    "jpeg, half": (lambda: JPEG[: len(JPEG) * 3 // 4], "image_truncated"),
    "jpeg, last bytes missing": (lambda: JPEG[:-4], "image_truncated"),
    "jpeg, thumbnail is whole": (lambda: WITH_THUMBNAIL[:-4], "image_truncated"),
    "jpeg, progressive, cut": (lambda: encode("JPEG", progressive=True)[:-20], "image_truncated"),
    "jpeg, bomb": (lambda: jpeg_of_size(60_000, 60_000), "image_too_large"),
    "png, header cut": (lambda: PNG[:20], "image_truncated"),
    "png, half": (lambda: PNG[: len(PNG) // 2], "image_truncated"),
    "png, end missing": (lambda: PNG[:-12], "image_truncated"),
    "png, bits flipped": (lambda: flip_bits(PNG, 60, 1), "image_undecodable"),
    "png, bomb": (lambda: png_bomb(30_000, 30_000), "image_too_large"),
    "png, between the limits of Pillow": (lambda: png_bomb(10_000, 10_000), "image_too_large"),
    "bmp, cut": (lambda: encode("BMP")[:-50], "image_truncated"),
    "webp, cut": (lambda: encode("WEBP")[:-50], "image_undecodable"),
    "tiff, floats": (lambda: levels("TIFF", np.float32, 0.005), "image_undecodable"),
    "tiff, beyond 16 bits": (lambda: levels("TIFF", np.int32, 1000), "image_undecodable"),
    "tiff, below 0": (lambda: levels("TIFF", np.int32, -1), "image_undecodable"),
    "tiff, cut": (lambda: encode("TIFF")[:500], "image_truncated"),
    "gif, cut": (lambda: encode("GIF")[:900], "image_truncated"),
}
