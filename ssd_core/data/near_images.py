"""Images that show the same though their bytes differ: saved again, scaled, slightly changed.

An image is reduced to 256 bits: whether each point of a coarse grey picture is brighter than its
left neighbour (the difference hash of N. Krawetz, 2013). Two of the same scene differ in few bits.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from ssd_core.data.decode import decode_coarse
from ssd_core.structures import Array

_SIDE = 16
_MAX_DIFFERENCE = 20
"""Bits of 256; two images that have nothing in common differ in about 128."""
_NUM_BANDS = _MAX_DIFFERENCE + 1
"""Two images that differ in fewer bits than there are bands agree in at least one band."""
_BIT_COUNTS = np.array([bin(value).count("1") for value in range(256)], np.uint8)


def take_look(image: bytes | memoryview) -> bytes:
    """Return the 256 bits of an image.

    Raises:
        DataError: the image cannot be decoded.
    """
    gray = decode_coarse(image, 6 * _SIDE)
    small = cv2.resize(gray, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes()


def find_near_images(looks: Sequence[bytes]) -> list[list[int]]:
    """Return groups of positions whose images look the same, each with its smallest first.

    Args:
        looks: [N] of `take_look`, of images with different content; b"" is like no other.
    """
    rows = np.array([row for row, look in enumerate(looks) if look], np.int64)
    bits = np.frombuffer(b"".join(looks), np.uint8).reshape(-1, _SIDE * _SIDE // 8)
    if not len(bits):
        return []
    first = list(range(len(rows)))
    for a, b in _near_pairs(bits):
        low, high = sorted((_root(first, a), _root(first, b)))
        first[high] = low
    groups: dict[int, list[int]] = {}
    for position, row in enumerate(rows.tolist()):
        groups.setdefault(_root(first, position), []).append(row)
    return [group for group in groups.values() if len(group) > 1]


def _near_pairs(bits: Array) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows of [N, 32] bytes that differ in few bits; some of them repeatedly."""
    unpacked = np.unpackbits(bits, axis=1)
    for band in range(_NUM_BANDS):
        part = np.ascontiguousarray(np.packbits(unpacked[:, band::_NUM_BANDS], axis=1))
        _, keys = np.unique(part, axis=0, return_inverse=True)
        order = np.argsort(keys.ravel(), kind="stable")
        for equal in np.split(order, np.flatnonzero(np.diff(keys.ravel()[order])) + 1):
            for index, row in enumerate(equal[:-1].tolist()):
                others = equal[index + 1 :]
                differences = _BIT_COUNTS[bits[others] ^ bits[row]].sum(axis=1)
                for other in others[differences <= _MAX_DIFFERENCE].tolist():
                    yield row, other


def _root(first: list[int], position: int) -> int:
    """Follow the links to the first of a group, and shorten them."""
    while first[position] != position:
        first[position] = first[first[position]]
        position = first[position]
    return position
