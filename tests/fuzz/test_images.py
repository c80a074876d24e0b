"""Images with changed bytes: pixels, or an error in one line."""

import pytest
from hypothesis import given

from ssd_core.data.checking.images import inspect_image
from ssd_core.data.decode import MAX_PIXELS, decode_coarse, decode_image
from tests.data.image_corpus import GOOD
from tests.fuzz.mutations import EDITS, Edits, change_bytes, examples, only_our_errors


@pytest.mark.parametrize("name", GOOD)
@examples(10)
@given(edits=EDITS)
def test_changed_bytes(name: str, edits: Edits) -> None:
    image = memoryview(change_bytes(GOOD[name](), edits))
    with only_our_errors():
        inspect_image(image, max_pixels=MAX_PIXELS, is_decoded=True)
    with only_our_errors():
        assert decode_image(image).shape[2] == 3
    with only_our_errors():
        assert decode_coarse(image, 8).ndim == 2
