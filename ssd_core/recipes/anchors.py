"""The anchors of the reference systems; all sizes are in pixels of the network input."""

import math
from collections.abc import Iterable, Sequence

from ssd_core.config import AnchorLevel


def even_strides(image_size: int, cells: Iterable[int]) -> tuple[float, ...]:
    """Return the strides that put centres at (index + 0.5) / cells: TensorFlow and torchvision."""
    return tuple(image_size / side for side in cells)


def paper_levels(
    *,
    strides: Sequence[float],
    sizes: Sequence[float],
    ratios: Sequence[Sequence[float]],
    limit: float = math.inf,
) -> tuple[AnchorLevel, ...]:
    """Return the anchors of the SSD paper, section 2.2: mmdetection, torchvision, NVIDIA.

    The shapes of a cell are the square of the level's size, the square of the geometric mean of
    this size and the next one (so there is one size more than levels), then for each ratio, all
    greater than 1, the wide box and the tall one. No side is longer than `limit`: the image size in
    torchvision and NVIDIA.
    """
    levels = []
    for stride, size, next_size, level_ratios in zip(
        strides, sizes[:-1], sizes[1:], ratios, strict=True
    ):
        middle = math.sqrt(size * next_size)
        shapes = [(size, size), (middle, middle)]
        for ratio in level_ratios:
            wide, tall = size * math.sqrt(ratio), size / math.sqrt(ratio)
            shapes += [(wide, tall), (tall, wide)]
        limited = tuple((min(width, limit), min(height, limit)) for width, height in shapes)
        levels.append(AnchorLevel(stride=stride, shapes=limited))
    return tuple(levels)


def tensorflow_levels(
    image_size: int,
    *,
    strides: Sequence[float],
    min_scale: float = 0.2,
    max_scale: float = 0.95,
    ratios: Sequence[float] = (2, 1 / 2, 3, 1 / 3),
) -> tuple[AnchorLevel, ...]:
    """Return the anchors of TensorFlow's SSD and of its port to MindSpore: 3 or 6 per cell.

    The sizes grow evenly from level to level, between the two scales of the image. The finest level
    has a square of a tenth of the image and the first two ratios (width to height); the others have
    the square of their size, all ratios, and the square of the geometric mean of this size and the
    next one. Both systems differ in their strides: see `even_strides` for TensorFlow's; and
    TensorFlow's last ratio is 0.3333.
    """
    growth = (max_scale - min_scale) / (len(strides) - 1)
    sizes = [image_size * (min_scale + growth * level) for level in range(len(strides))]
    levels: list[AnchorLevel] = []
    for stride, size, next_size in zip(strides, sizes, [*sizes[1:], image_size], strict=True):
        stretched = [(size * math.sqrt(ratio), size / math.sqrt(ratio)) for ratio in ratios]
        middle = math.sqrt(size * next_size)
        shapes = [(size, size), *stretched, (middle, middle)]
        if not levels:
            shapes = [(0.1 * image_size, 0.1 * image_size), *stretched[:2]]
        levels.append(AnchorLevel(stride=stride, shapes=tuple(shapes)))
    return tuple(levels)


def retinanet_levels(
    *,
    strides: Sequence[float],
    scale: float = 4,
    scales_per_octave: int = 2,
    ratios: Sequence[float] = (1, 2, 1 / 2),
) -> tuple[AnchorLevel, ...]:
    """Return the anchors of feature pyramids (Lin et al. 2017), as TensorFlow and MindSpore do.

    The sizes of a level begin at `scale` strides and divide an octave into equal factors; those of
    one ratio (width to height) stand side by side.
    """
    factors = [2 ** (index / scales_per_octave) for index in range(scales_per_octave)]
    shapes = [
        (scale * factor * math.sqrt(ratio), scale * factor / math.sqrt(ratio))
        for ratio in ratios
        for factor in factors
    ]
    return tuple(
        AnchorLevel(
            stride=stride,
            shapes=tuple((stride * width, stride * height) for width, height in shapes),
        )
        for stride in strides
    )
