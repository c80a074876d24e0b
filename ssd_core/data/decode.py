"""Image bytes to RGB pixels, the same for training, evaluation and prediction.

Images are used as stored: an EXIF orientation is ignored in every format, because COCO and VOC
count boxes in stored pixels. The content decides the format; the file name never matters.
"""

import io
from contextlib import suppress
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ssd_core.errors import DataError
from ssd_core.structures import ImageArray

Image.MAX_IMAGE_PIXELS = None  # read_size enforces MAX_PIXELS instead

MAX_PIXELS = 2**27
"""Images with more pixels are never decoded: they would need 400 MB."""
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")
"""Formats that are opened; Pillow supports more, and runs other programs for some of them."""

JPEG_END = b"\xff\xd9"
_JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
_BITS = 258
"""Tag of the bits per channel in TIFF."""
_PNG_BITS = 24
"""Position of the bits per channel in PNG."""
_ORIENTATION = 274
"""Tag of the orientation in EXIF and TIFF."""
_EXIF_MARKS = {b"\xff\xd8": b"Exif", b"\x89P": b"eXIf", b"RI": b"EXIF", b"II": b"", b"MM": b""}
"""By the first bytes of a JPEG, PNG, WEBP and TIFF."""
_EXIF_BYTES = 2**9
"""In a JPEG this segment comes first, or after a short one."""


class ImageFaultError(DataError):
    """An image that cannot be used; `code` is a key of RULES in `findings.py`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"the file {detail}")
        self.code, self.detail = code, detail


def is_jpeg(image: bytes | memoryview) -> bool:
    """Return whether the content starts like a JPEG."""
    return bytes(image[:3]) == _JPEG


def is_png(image: bytes | memoryview) -> bool:
    """Return whether the content starts like a PNG."""
    return bytes(image[: len(PNG)]) == PNG


def read_size(image: bytes | memoryview) -> tuple[int, int]:
    """Return (width, height) in pixels from the header, without decoding.

    Raises:
        ImageFaultError: the format is unknown, or there are more pixels than MAX_PIXELS.
    """
    if is_jpeg(image):
        try:
            height, width = simplejpeg.decode_jpeg_header(image)[:2]
        except ValueError:  # Pillow reads some headers that libjpeg-turbo rejects
            width, height = _stored_size(_open(image))
    else:
        width, height = _stored_size(_open(image))
    if width * height > MAX_PIXELS:
        detail = f"has {width}x{height} pixels; at most {MAX_PIXELS} are accepted"
        raise ImageFaultError("image_too_large", detail)
    return width, height


def read_orientation(image: bytes | memoryview) -> int:
    """Return the orientation in EXIF, 1 to 8; 1, which is upright, if there is none."""
    start = bytes(image[:2])
    mark = _EXIF_MARKS.get(start)
    if mark is None or mark not in bytes(image[:_EXIF_BYTES] if is_jpeg(image) else image):
        return 1
    try:
        orientation = int(_open(image).getexif().get(_ORIENTATION, 1))
    except Exception:  # see _open
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def count_frames(image: bytes | memoryview) -> int:
    """Return the number of frames in a file: more than one in animations and some TIFF files."""
    try:
        return int(getattr(_open(image), "n_frames", 1))
    except Exception:  # see _open; the first frame was decoded before
        return 1


def check_jpeg_pixels(image: bytes | memoryview) -> str | None:
    """Read the pixels of a JPEG at an eighth of its size; return the damage found, or None.

    This reads all the data that full decoding reads, at half the cost.
    """
    try:
        colorspace = simplejpeg.decode_jpeg_header(image)[2]
    except ValueError:  # Pillow reads some that libjpeg-turbo rejects
        return None
    try:
        simplejpeg.decode_jpeg(
            image,
            "CMYK" if colorspace in {"CMYK", "YCCK"} else "GRAY",
            fastdct=True,
            fastupsample=True,
            min_height=1,
            min_width=1,
            min_factor=1,
        )
    except ValueError as error:
        return str(error)
    return None


def end_jpeg(image: bytes | memoryview) -> bytes | None:
    """Return a JPEG with the end marker that it lacks; None if it is damaged or lacks more."""
    ended = bytes(image) + JPEG_END
    return ended if check_jpeg_pixels(ended) is None else None


def has_deep_levels(image: bytes | memoryview) -> bool:
    """Return whether a file has more than 8 bits per channel, of which the upper 8 are used."""
    if is_png(image):
        return image[_PNG_BITS] > 8
    opened = _open(image)
    if isinstance(opened, TiffImageFile):
        return bool(max(opened.tag_v2.get(_BITS, (1,))) > 8)
    return opened.mode.startswith("I")


def decode_image(image: bytes | memoryview) -> ImageArray:
    """Return the pixels of an image: [H, W, 3] RGB, 0..255.

    Transparency is dropped; an animation gives its first frame, 16-bit levels their upper 8 bits.

    Raises:
        ImageFaultError: the bytes cannot be decoded, or the image is too large.
    """
    read_size(image)
    pixels = None
    if is_jpeg(image):
        pixels = _decode_jpeg(image)
        if pixels is None:
            image = end_jpeg(image) or image
            pixels = _decode_jpeg(image)
    return _decode_with_pillow(image) if pixels is None else pixels


def decode_coarse(image: bytes | memoryview, min_side: int) -> ImageArray:
    """Return [H, W] grey pixels of an image.

    A JPEG is scaled down as far as that is cheap, but no side to less than `min_side` pixels.
    """
    read_size(image)
    if is_jpeg(image):
        with suppress(ValueError):  # CMYK or damage: `decode_image` handles both
            gray: ImageArray = simplejpeg.decode_jpeg(
                image, "GRAY", fastdct=True, min_height=min_side, min_width=min_side, min_factor=1
            )
            return gray[:, :, 0]
    return np.asarray(Image.fromarray(decode_image(image)).convert("L"))


def _decode_jpeg(image: bytes | memoryview) -> ImageArray | None:
    """Decode with libjpeg-turbo; None where it fails: CMYK, or damage that Pillow may tolerate."""
    try:
        pixels: ImageArray = simplejpeg.decode_jpeg(image, "RGB")
    except ValueError:
        return None
    return pixels


def _open(image: bytes | memoryview) -> Image.Image:
    try:
        return Image.open(io.BytesIO(image), formats=FORMATS)
    except Exception as error:  # on damage, format plugins raise any exception
        raise _unreadable(image, error) from None


def _decode_with_pillow(image: bytes | memoryview) -> ImageArray:
    opened = _open(image)
    try:
        opened = _stored_pixels(opened)
        if opened.mode == "F":
            raise ValueError("its levels are floating-point numbers; save it with 8 or 16 bits")
        if opened.mode.startswith("I"):
            return _upper_bits(np.asarray(opened))
        if "transparency" in opened.info:
            opened = opened.convert("RGBA")
        return np.array(opened.convert("RGB"))
    except Exception as error:  # see _open
        raise _unreadable(image, error) from None


_SIDEWAYS = (5, 6, 7, 8)
_UNDO_TIFF: dict[Any, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""Undoes, by orientation, the rotation that Pillow applies to TIFF and to no other format."""


def _stored_size(opened: Image.Image) -> tuple[int, int]:
    width, height = opened.size
    is_sideways = isinstance(opened, TiffImageFile) and opened.tag_v2.get(_ORIENTATION) in _SIDEWAYS
    return (height, width) if is_sideways else (width, height)


def _stored_pixels(opened: Image.Image) -> Image.Image:
    orientation = opened.getexif().get(_ORIENTATION) if isinstance(opened, TiffImageFile) else None
    opened.load()  # this removes the tag
    undo = _UNDO_TIFF.get(orientation)
    return opened if undo is None else opened.transpose(undo)


def _upper_bits(levels: Any) -> ImageArray:
    if levels.min() < 0 or levels.max() > 65535:
        raise ValueError("its levels are not in 0..65535; save it with 8 or 16 bits")
    gray = (levels >> 8).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def _unreadable(image: bytes | memoryview, error: Exception) -> ImageFaultError:
    if len(image) == 0:
        return ImageFaultError("image_empty", "is empty; expected an image")
    if isinstance(error, UnidentifiedImageError):
        shown = ", ".join(FORMATS)
        return ImageFaultError("image_not_an_image", f"is not an image of a known format ({shown})")
    is_cut = "truncated" in str(error).lower()  # Pillow has no class for it
    code = "image_truncated" if is_cut else "image_undecodable"
    return ImageFaultError(code, f"cannot be decoded: {error or type(error).__name__}")
