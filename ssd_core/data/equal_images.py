"""Images with the same content under several names, within a split and across both."""

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ssd_core.config import SplitName
from ssd_core.data.findings import Findings
from ssd_core.data.source import Source
from ssd_core.errors import DataError

_PART_BYTES = 4096


class SeenImage(NamedTuple):
    """An image that was looked at."""

    split: SplitName
    path: str
    fingerprint: int


def take_fingerprint(image: memoryview) -> int:
    """Return a number that differs between nearly all images: quick, and no proof."""
    middle = len(image) // 2
    check = zlib.crc32(image[middle : middle + _PART_BYTES], zlib.crc32(image[-_PART_BYTES:]))
    return len(image) << 32 | check


def report_equal_images(source: Source, images: Iterable[SeenImage], findings: Findings) -> None:
    """Find equal images; those with the same fingerprint are read again and compared.

    The same file in both splits is no matter here: its name says so already.
    """
    by_fingerprint: dict[int, list[SeenImage]] = {}
    for image in images:
        by_fingerprint.setdefault(image.fingerprint, []).append(image)
    for group in by_fingerprint.values():
        if len({image.path for image in group}) > 1:
            for equal in _by_content(source, group).values():
                _report(equal, findings)


def _by_content(source: Source, group: Sequence[SeenImage]) -> Mapping[bytes, list[SeenImage]]:
    found: dict[bytes, list[SeenImage]] = {}
    for image in group:
        try:
            digest = hashlib.sha256(source.read(image.path)).digest()
        except DataError:  # gone since it was looked at
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
