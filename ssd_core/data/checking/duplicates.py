"""Images with equal bytes under several names, and images that look the same.

An image is reduced to 256 bits: whether each point of a coarse grey copy is brighter than its left
neighbour (the difference hash of N. Krawetz, 2013). Two of the same scene differ in few bits.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from ssd_core.config import SplitName
from ssd_core.data.decode import decode_coarse
from ssd_core.data.findings import Findings
from ssd_core.errors import DataError
from ssd_core.process import watchdog
from ssd_core.structures import Array, IntArray

_PART_BYTES = 4096


class SeenImage(NamedTuple):
    """A checked image."""

    split: SplitName
    path: str
    """Or the place of the image, where it has no file of its own."""
    fingerprint: int


def take_fingerprint(image: memoryview) -> int:
    """Return a number that differs between nearly all images: quick, but not proof."""
    middle = len(image) // 2
    check = zlib.crc32(image[middle : middle + _PART_BYTES], zlib.crc32(image[-_PART_BYTES:]))
    return len(image) << 32 | check


def report_equal_images(
    read: Callable[[SeenImage], bytes], images: Iterable[SeenImage], findings: Findings
) -> None:
    """Report equal images; `read` returns those with the same fingerprint, which are compared.

    A file that is itself in several splits is reported by its name elsewhere.
    """
    by_fingerprint: dict[int, list[SeenImage]] = {}
    for image in images:
        by_fingerprint.setdefault(image.fingerprint, []).append(image)
    for group in by_fingerprint.values():
        if len({image.path for image in group}) > 1:
            for equal in _by_content(read, group).values():
                _report(equal, findings)


def _by_content(
    read: Callable[[SeenImage], bytes], group: Sequence[SeenImage]
) -> Mapping[bytes, list[SeenImage]]:
    found: dict[bytes, list[SeenImage]] = {}
    for image in group:
        try:
            digest = hashlib.sha256(read(image)).digest()
        except DataError:  # removed since it was checked
            continue
        found.setdefault(digest, []).append(image)
    return found


def _report(equal: Sequence[SeenImage], findings: Findings) -> None:
    """Compare each image with the first of its split, and of the other split where it is first."""
    first: dict[SplitName, SeenImage] = {}
    for image in equal:
        own = first.setdefault(image.split, image)
        other = next((seen for seen in first.values() if seen.split != image.split), None)
        if own is not image:
            detail = f"has the same content as {own.path}"
            findings.add("equal_images", image.path, detail, image=image.path)
        elif other is not None and other.path != image.path:
            detail = f"is {other.path} of the {other.split} split, so accuracy will look too good"
            findings.add("equal_images_in_both_splits", image.path, detail, image=image.path)


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
    gray = Image.fromarray(decode_coarse(image, 6 * _SIDE))
    small = np.asarray(gray.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX))
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes()


def find_near_images(looks: Sequence[bytes]) -> list[list[int]]:
    """Return groups of positions whose images look the same, each with its smallest first.

    `looks` [N] are of images with different content; b"" resembles no other.
    """
    rows = np.array([row for row, look in enumerate(looks) if look], np.int64)
    bits = np.frombuffer(b"".join(looks), np.uint8).reshape(-1, _SIDE * _SIDE // 8)
    if not len(bits):
        return []
    groups = np.arange(len(rows))
    unpacked = np.unpackbits(bits, axis=1)
    for band in range(_NUM_BANDS):
        part = np.packbits(unpacked[:, band::_NUM_BANDS], axis=1)
        keys = np.unique(part, axis=0, return_inverse=True)[1].ravel()
        order = np.argsort(keys, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
            watchdog.beat()
            _join_near(groups, bits, bucket)
    found: dict[int, list[int]] = {}
    for row, group in zip(rows.tolist(), groups.tolist(), strict=True):
        found.setdefault(group, []).append(row)
    return [group for group in found.values() if len(group) > 1]


def _join_near(groups: IntArray, bits: Array, bucket: IntArray) -> None:
    """Give images of a bucket that differ in few bits the same of the [N] numbers in `groups`.

    Images of one group are not compared again: with many of one scene that would take forever.
    """
    own = groups[bucket]
    for index in range(len(bucket) - 1):
        others = index + 1 + np.flatnonzero(own[index + 1 :] != own[index])
        differences = _BIT_COUNTS[bits[bucket[others]] ^ bits[bucket[index]]].sum(axis=1)
        near = own[others[differences <= _MAX_DIFFERENCE]]
        if len(near):
            groups[np.isin(groups, near)] = own[index]
            own = groups[bucket]
