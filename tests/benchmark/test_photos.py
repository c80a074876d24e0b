"""The photographs that stand in for a data set."""

from ssd_core.benchmark.photos import generate_photos
from ssd_core.data.decode import decode_image


def test_photos_are_the_same_every_time_and_differ_from_each_other():
    photos = generate_photos(2)
    assert photos == generate_photos(2)
    assert photos[0] != photos[1]


def test_photos_look_like_photographs_to_a_decoder():
    [photo] = generate_photos(1)
    pixels = decode_image(photo)
    assert pixels.shape == (480, 640, 3)
    assert 50_000 < len(photo) < 200_000
    assert pixels.std() > 30
