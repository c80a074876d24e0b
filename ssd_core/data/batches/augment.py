"""One training sample: a pure function of image bytes, annotations and random generator.

The geometric changes are one window on the decoded image (`windows.py`), scaled in one pass. The
colours are changed last, on the small uint8 input of the network (`colours.py`).
"""

import cv2
import numpy as np

from ssd_core.config import AugmentConfig, ModelConfig
from ssd_core.data.batches.colours import change_colours
from ssd_core.data.batches.resize import resize_image, resize_window
from ssd_core.data.batches.windows import Window, draw_window, place_boxes
from ssd_core.data.decode import decode_image
from ssd_core.structures import Annotations, FloatArray, ImageArray, IntArray


def sample(
    image: bytes | memoryview,
    annotations: Annotations,
    rng: np.random.Generator,
    *,
    config: AugmentConfig,
    model: ModelConfig,
    out: ImageArray,
) -> tuple[FloatArray, IntArray]:
    """Draw one augmented image into `out`, [S, S, 3] RGB and contiguous, and return its targets.

    The colour outside the image is the mean of the model. Crowds are not targets.

    Returns:
        boxes: [G, 4] xyxy in [0, 1] of `out`, each with an area; G may be 0.
        labels: [G] 1..K.
    """
    objects = annotations.select(~annotations.is_crowd)
    pixels = decode_image(image)
    height, width = pixels.shape[:2]
    window, is_kept = draw_window((width, height), objects.boxes, config, rng)
    render_window(pixels, window, model, out=out)
    change_colours(out, config.colours, rng)
    boxes, labels = place_boxes(objects.boxes[is_kept], window), objects.labels[is_kept]
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return boxes[has_area], labels[has_area]


def render_window(
    pixels: ImageArray, window: Window, model: ModelConfig, *, out: ImageArray
) -> None:
    """Scale a window of an image, [H, W, 3], bilinearly into `out`, [S, S, 3] and contiguous.

    Equal to painting the image on a canvas of the model's mean colour, cutting the window and
    scaling it; the window may reach beyond the image.
    """
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = window[:4]
    if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        # The same resize as in evaluation, so that a window on the whole image gives its pixels.
        view = resize_image(pixels[y0:y1, x0:x1], model)
    else:
        view = resize_window(pixels, window[:4], model, model.mean)
    if window.is_flipped:
        cv2.flip(view, 1, dst=out)
    else:
        out[:] = view
