"""The public way into Python, with the framework of this environment."""

import json
import pydoc
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ssd_core
from ssd_core import load_detector
from ssd_core.config import SCORE_THRESHOLD
from ssd_core.data.decode import decode_image
from ssd_core.errors import DataError, UsageError
from tests.requirements import INSTALLED_FRAMEWORKS

PHOTOGRAPH = Path(__file__).parents[2] / "examples/bccd/JPEGImages/BloodImage_00002.jpg"


@pytest.fixture(scope="module", params=INSTALLED_FRAMEWORKS)
def framework(request):
    return request.param


@pytest.fixture(scope="module")
def detector(framework, sure_model):
    return load_detector(sure_model, framework=framework, device="cpu")


def test_a_photograph_gives_boxes_scores_and_names(framework, detector):
    found = detector(str(PHOTOGRAPH))
    assert len(found.names) > 0
    assert set(found.names) == {"cell"}
    assert found.boxes.shape == (len(found.names), 4)
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [640, 480, 640, 480]).all()
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores[-1] > SCORE_THRESHOLD
    assert repr(found).startswith(f"<{len(found.names)} object")
    assert f": cell {found.scores[0]:.2f}" in repr(found)
    assert len(repr(found)) < 100
    assert f": 1 class, {framework}" in repr(detector)
    assert found.draw().size == (640, 480)
    plain = json.loads(found.to_json())
    assert (plain["width"], plain["height"]) == (640, 480)
    assert [each["class"] for each in plain["detections"]] == found.names
    np.testing.assert_allclose([each["box"] for each in plain["detections"]], found.boxes, atol=0.1)


def test_every_kind_of_image_gives_the_same(detector):
    content, expected = PHOTOGRAPH.read_bytes(), detector(PHOTOGRAPH).boxes
    pixels = decode_image(content)
    picture = Image.fromarray(pixels)
    images = [PHOTOGRAPH.as_uri(), content, pixels, picture, np.asarray(picture), Path(PHOTOGRAPH)]
    assert not images[4].flags.writeable
    for image, of_list in zip(images, detector(images), strict=True):
        np.testing.assert_array_equal(detector(image).boxes, expected)
        np.testing.assert_allclose(of_list.boxes, expected, atol=1e-3)


def test_a_stream_is_read_as_it_is_consumed(detector):
    def images():
        yield PHOTOGRAPH
        for _ in range(10_000):
            yield "nowhere.jpg"

    stream = detector.stream(images())
    assert len(next(stream).boxes) > 0
    with pytest.raises(DataError, match=r"nowhere\.jpg: the image does not exist"):
        next(stream)


def test_the_help_teaches_it(framework, sure_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trained").symlink_to(sure_model)
    (tmp_path / "photo.jpg").symlink_to(PHOTOGRAPH)
    lines = ssd_core.__doc__.splitlines(keepends=True)
    example = "".join(line for line in lines if line.startswith(" " * 4))
    named = example.replace('"trained"', f'"trained", framework="{framework}", device="cpu"')
    exec(textwrap.dedent(named), {})
    with Image.open("found.jpg") as drawn:
        assert drawn.size == (640, 480)
    assert 'load_detector("trained")' in pydoc.render_doc(ssd_core)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ("nowhere.jpg", DataError, "nowhere.jpg: the image does not exist"),
        (__file__, DataError, "not an image"),
        (None, UsageError, "None is not an image; expected a path, the content of a file, a PIL"),
        (PHOTOGRAPH.parent, UsageError, "is a folder; pass a list of paths, or detector.stream"),
        ("few/*.jpg", UsageError, r"few/\*.jpg is a glob; .*\(Path\('.*few'\).glob\('\*.jpg'\)\)"),
        (np.zeros((4, 4), np.uint8), UsageError, r"pixels are \[4, 4\] uint8; expected"),
        (np.zeros((4, 4, 3)), UsageError, r"float64; expected .*\[H, W, 3\] uint8"),
    ],
)
def test_anything_else_is_refused_in_one_line(detector, image, error, message):
    with pytest.raises(error, match=message):
        detector(image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": 2}, "^score: input should be less than 1"),
        ({"framework": "torhc"}, "'torhc' does not compute a model .*; use --framework torch or"),
    ],
)
def test_a_bad_option_is_refused(sure_model, options, message):
    with pytest.raises(UsageError, match=message):
        load_detector(sure_model, **options)
