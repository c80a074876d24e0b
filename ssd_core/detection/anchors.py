"""Generate the anchors of an SSD (the paper's default boxes, section 2.2)."""

import numpy as np

from ssd_core.config import AnchorSpec
from ssd_core.structures import Array, FloatArray


def feature_sizes(spec: AnchorSpec, image_size: int) -> tuple[int, ...]:
    """Return the side of each level's square feature map: image size over stride, rounded up.

    Layers that halve their input round up, hence so do all levels; the strides 100 and 300 of
    SSD300 stand for its last two convolutions, which do not pad, and give 3 cells and 1 that way.
    """
    return tuple(-(-image_size // stride) for stride in spec.strides)


def generate_anchors(spec: AnchorSpec, image_size: int) -> FloatArray:
    """Return all anchors as [A, 4] cxcywh in units of the image side.

    The order is level, row, column, box; within a cell the square of `min_size`, the square of
    sqrt(min * max), then for each ratio the wide box and the tall one. Centres lie at
    stride * (index + 0.5). Boxes may reach over the image, and are wider than it at most where
    `clip_sizes` is off (mmdetection); torchvision and NVIDIA limit width and height to 1.

    Args:
        spec: sizes and strides of each level, in pixels of the network input.
        image_size: side of the square network input in pixels.
    """
    levels = [
        _level_anchors((cells, stride), _cell_sizes(min_size, max_size, ratios))
        for cells, stride, min_size, max_size, ratios in zip(
            feature_sizes(spec, image_size),
            spec.strides,
            spec.min_sizes,
            spec.max_sizes,
            spec.ratios,
            strict=True,
        )
    ]
    anchors = np.concatenate(levels) / image_size
    if spec.clip_sizes:
        anchors[:, 2:] = np.minimum(anchors[:, 2:], 1)
    return anchors.astype(np.float32)


def _cell_sizes(min_size: float, max_size: float, ratios: tuple[float, ...]) -> Array:
    """Return [N, 2] width and height in pixels of the boxes of one cell."""
    geometric_mean = np.sqrt(min_size * max_size)
    sizes = [(min_size, min_size), (geometric_mean, geometric_mean)]
    for ratio in ratios:
        long, short = min_size * np.sqrt(ratio), min_size / np.sqrt(ratio)
        sizes += [(long, short), (short, long)]
    return np.array(sizes, np.float64)


def _level_anchors(grid: tuple[int, int], sizes: Array) -> Array:
    """Return [cells * cells * N, 4] cxcywh in pixels; `grid` is number of cells and stride."""
    cells, stride = grid
    centres = (np.arange(cells) + 0.5) * stride
    anchors = np.empty((cells, cells, len(sizes), 4))
    anchors[..., 0] = centres[None, :, None]
    anchors[..., 1] = centres[:, None, None]
    anchors[..., 2:] = sizes
    return anchors.reshape(-1, 4)
