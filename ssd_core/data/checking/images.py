"""Whether an image file is complete: by its header and its end, and optionally by its pixels.

Formats with checksums, or that need decoding anyway, are checked completely. A JPEG has no
checksum: only decoding finds damage inside it, and not all of that, so decoding it is an option.
"""

import zlib
from typing import NamedTuple

from ssd_core.data.decode import (
    JPEG_END,
    PNG,
    ImageFaultError,
    check_jpeg_pixels,
    count_frames,
    decode_image,
    end_jpeg,
    has_deep_levels,
    is_jpeg,
    is_png,
    read_orientation,
    read_size,
)

_START_OF_SCAN = b"\xff\xda"
_TAIL_BYTES = 4096
_DARK = 16
"""Fewer levels than this, of 256, cannot be told from black."""


class ImageFacts(NamedTuple):
    """The properties of a usable image."""

    width: int
    height: int
    remarks: dict[str, str]
    """Details of warnings by code, a key of RULES."""
    orientation: int = 1
    """In EXIF, 1 to 8; 1 is upright."""


def inspect_image(image: memoryview, *, max_pixels: int, is_decoded: bool) -> ImageFacts:
    """Check the content of an image file; with `is_decoded`, find damage inside a JPEG, too.

    Raises:
        ImageFaultError: the image cannot be used, or width times height exceed `max_pixels`.
    """
    width, height = _read_size(image, max_pixels)
    remarks = {}
    if is_jpeg(image):
        damage = None
        if not _has_jpeg_end(image):
            if end_jpeg(image) is None:
                raise ImageFaultError("image_truncated", "is truncated: its end is missing")
            damage = "its end marker is missing"
        elif is_decoded:
            damage = check_jpeg_pixels(image)
        if damage is not None:
            decode_image(image)
            remarks["image_damaged"] = f"is damaged: {damage}"
    else:
        if is_png(image):
            _check_png(image)
        is_deep = has_deep_levels(image)
        if is_decoded or is_deep or not is_png(image):
            brightest = decode_image(image).max()
            if is_deep and brightest < _DARK:
                remarks["image_dark"] = f"has levels up to {brightest} of 255: scale its 16 bits"
        count = count_frames(image)
        if count > 1:
            remarks["image_animated"] = f"has {count} frames"
    return ImageFacts(width, height, remarks, read_orientation(image))


def _read_size(image: memoryview, max_pixels: int) -> tuple[int, int]:
    try:
        width, height = read_size(image)
    except ImageFaultError:
        if is_jpeg(image) and 2 < _header_end(image) > len(image) - 4:
            problem = "is truncated: it ends before its pixels"
            raise ImageFaultError("image_truncated", problem) from None
        raise
    if width * height > max_pixels:
        raise ImageFaultError(
            "image_too_large",
            f"has {width}x{height} pixels, at most {max_pixels} are accepted (convert.max_pixels)",
        )
    return width, height


def _has_jpeg_end(image: memoryview) -> bool:
    """Return whether the end marker follows the pixels; it is nearly always in the last bytes."""
    start = _header_end(image)
    scan = image[start:] if bytes(image[start : start + 2]) == _START_OF_SCAN else b""
    return JPEG_END in bytes(scan[-_TAIL_BYTES:]) or JPEG_END in bytes(scan)


def _header_end(image: memoryview) -> int:
    """Return where the segments of a JPEG end, past thumbnails; it may be behind a cut file."""
    position = 2
    while position + 4 <= len(image) and image[position] == 0xFF:
        if bytes(image[position : position + 2]) == _START_OF_SCAN:
            break
        if image[position + 1] == 0xFF:  # a fill byte
            position += 1
        else:
            position += 2 + int.from_bytes(image[position + 2 : position + 4], "big")
    return position


def _check_png(image: memoryview) -> None:
    """Follow the chunks of a PNG to its end, and verify their checksums."""
    position = len(PNG)
    kind = b""
    while kind != b"IEND":
        size = int.from_bytes(image[position : position + 4], "big")
        end = position + 8 + size
        if end + 4 > len(image):
            raise ImageFaultError("image_truncated", "is truncated: its end is missing")
        kind = bytes(image[position + 4 : position + 8])
        if zlib.crc32(image[position + 4 : end]) != int.from_bytes(image[end : end + 4], "big"):
            shown = kind.decode("ascii", "replace")
            raise ImageFaultError(
                "image_undecodable", f"is damaged: the checksum of its chunk {shown!r} is wrong"
            )
        position = end + 4
