"""Image bytes to pixels, in every format."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd_core.data.decode import decode_image, read_orientation, read_size
from ssd_core.errors import DataError
from tests.data.image_corpus import encode, exif_of, jpeg_of_size, png_bomb, save

JPEG = sorted((Path(__file__).parents[2] / "examples/bccd/JPEGImages").iterdir())[0].read_bytes()
RED, GREEN = (255, 0, 0), (0, 255, 0)


def two_colours(mode: str = "RGB") -> Image.Image:
    """Red on the left, green on the right: 6 x 4 pixels."""
    image = Image.new("RGB", (6, 4), RED)
    image.paste(GREEN, (3, 0, 6, 4))
    return image.convert(mode)


EXPECTED = np.asarray(two_colours())


def test_a_jpeg_is_decoded_as_pillow_does():
    ours = decode_image(JPEG).astype(int)
    pillow = np.asarray(Image.open(io.BytesIO(JPEG))).astype(int)
    assert ours.shape == (480, 640, 3)
    assert np.abs(ours - pillow).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_lossless_formats_are_exact(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    image = save(two_colours(), kind, **options)
    assert read_size(image) == (6, 4)
    np.testing.assert_array_equal(decode_image(image), EXPECTED)


@pytest.mark.parametrize("image", [save(two_colours()), JPEG], ids=["png", "jpeg"])
def test_views_of_a_shard_give_pixels_that_belong_to_the_caller(image):
    view = memoryview(b"before" + image + b"after")[6:-5]
    assert read_size(view) == read_size(image)
    pixels = decode_image(view)
    np.testing.assert_array_equal(pixels, decode_image(image))
    pixels[:] = 0


ALPHAS = bytes([0, 128] * 128)
WHITE = Image.new("L", (3, 2), 255)
SECOND = Image.new("RGB", (6, 4), GREEN)
CHANNELS = {
    "palette": (save(two_colours("P")), EXPECTED),
    "alpha": (save(two_colours("RGBA")), EXPECTED),
    "no colour is lost by transparency": (
        save(Image.new("RGBA", (2, 1), (10, 20, 30, 0))),
        [[[10, 20, 30]] * 2],
    ),
    "palette, an alpha for each entry": (save(two_colours("P"), transparency=ALPHAS), EXPECTED),
    "grey": (save(WHITE), np.full((2, 3, 3), 255)),
    "grey and alpha": (save(WHITE.convert("LA")), np.full((2, 3, 3), 255)),
    "two levels": (save(WHITE.convert("1")), np.full((2, 3, 3), 255)),
    "grey JPEG": (save(Image.new("L", (16, 16), 77), "JPEG"), np.full((16, 16, 3), 77)),
    "first frame": (save(two_colours(), "GIF", save_all=True, append_images=[SECOND]), EXPECTED),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_every_image_has_three_channels(name):
    image, expected = CHANNELS[name]
    np.testing.assert_array_equal(decode_image(image), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_the_upper_eight(kind):
    levels = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    decoded = decode_image(save(Image.fromarray(levels), kind))
    assert decoded[0].tolist() == [[level] * 3 for level in (0, 0, 1, 128, 255)]


def test_cmyk_jpeg_is_converted():
    decoded = decode_image(save(two_colours("CMYK"), "JPEG", quality=100)).astype(int)
    assert np.abs(decoded[0, 0] - RED).max() < 40
    assert np.abs(decoded[0, 5] - GREEN).max() < 40


def quadrants(width: int = 48, height: int = 32) -> Image.Image:
    """Four colours, so that each of the eight orientations would look different."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste((0, 0, 255), (0, height // 2, width // 2, height))
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "TIFF with LZW"])
def test_every_format_is_read_as_stored_whatever_its_exif_orientation(kind, orientation):
    kind, _, compression = kind.partition(" with ")
    options = {"compression": "tiff_lzw"} if compression else {}
    image = save(quadrants(), kind, exif=exif_of(orientation), **options)
    assert read_size(image) == (48, 32)
    difference = np.abs(decode_image(image).astype(int) - np.asarray(quadrants()))
    assert np.median(difference, axis=(0, 1)).max() <= 8
    assert difference[4:12, 4:20].max() <= 40  # away from the edges, which some formats blur


@pytest.mark.parametrize("orientation", [0, 9, 999])
def test_an_undefined_orientation_is_ignored(orientation):
    for kind in ("JPEG", "TIFF"):
        image = save(quadrants(), kind, exif=exif_of(orientation))
        assert decode_image(image).shape == (32, 48, 3)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello, this is text", "not an image of a known format"),
        (b"\xff\xd8\xff", "not an image of a known format|cannot be decoded"),
        (JPEG[:100], "not an image of a known format|cannot be decoded"),
        (JPEG[:5000], "the file cannot be decoded: .*truncated"),
        (save(two_colours())[:50], "the file cannot be decoded"),
    ],
    ids=["empty", "text", "only the magic", "half a header", "cut jpeg", "cut png"],
)
def test_damage_raises_a_data_error(image, reason):
    with pytest.raises(DataError, match=reason):
        decode_image(image)


@pytest.mark.parametrize("make_bomb", [png_bomb, jpeg_of_size])
@pytest.mark.parametrize("function", [read_size, decode_image])
def test_a_decompression_bomb_is_rejected_before_decoding(function, make_bomb):
    with pytest.raises(DataError, match="pixels"):
        function(make_bomb(20_000, 20_000))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_orientation_is_read_from_every_format_that_has_one(kind):
    assert read_orientation(encode(kind)) == 1
    assert [read_orientation(encode(kind, exif=exif_of(k))) for k in range(1, 9)] == [*range(1, 9)]
    assert read_orientation(encode(kind, exif=exif_of(9))) == 1
