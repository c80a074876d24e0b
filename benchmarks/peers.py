"""The peers of augmentation and loader, with the configuration in which ours does the same."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import mindspore_chain, mmdet_order
from ssd_core.config import AugmentConfig
from ssd_core.structures import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A way from an image file to a training sample."""

    key: str
    """End of the names of its rows."""
    augment: Callable[..., Any]
    """From image file, boxes, labels and generator to pixels [3, S, S], boxes, and more."""
    to_levels: Callable[[Array], Array]
    """From its pixels to 0..255."""
    ours: AugmentConfig


PEERS = (
    Peer(
        key="mmdet",
        augment=mmdet_order.augment,
        to_levels=lambda pixels: pixels,
        ours=AugmentConfig(),
    ),
    Peer(
        key="mindspore",
        augment=mindspore_chain.augment,
        to_levels=mindspore_chain.to_levels,
        ours=mindspore_chain.CONFIG.augment,
    ),
)
