"""Defects of a data set for the page of findings, and remarks about its peculiarities."""

from collections.abc import Iterator, Mapping, Sequence, Sized
from itertools import islice
from typing import Any

import numpy as np

from ssd_core import __version__
from ssd_core.data.checking.dataset import CheckedDataset
from ssd_core.data.decode import decode_image
from ssd_core.data.findings import RULES, Finding, Findings, action_of
from ssd_core.data.sources.base import Source
from ssd_core.errors import DataError
from ssd_core.report.images import AnnotatedImage, annotate_image, take_while_small
from ssd_core.report.page import percent
from ssd_core.structures import ClassInfo, make_annotations

_SHOWN_EACH = 100
_DRAWN_EACH = 3
_THUMBNAIL_SIDE = 260
_BEYOND = 128
"""Grey of the surroundings of an image that a box leaves."""
_LEAST_SHARE = 0.02
"""Of the image, so that a box without area is visible."""

_MANY_UNREACHED = 0.05
"""Share of objects out of reach that is worth a remark."""
_STEEP = 100
"""Ratio of the most to the least frequent class that is worth a remark."""
_MAX_NAMES = 8
_LACKS = {
    "train": "which cannot be learned",
    "val": "which cannot be measured",
    "test": "which cannot be measured",
}


def content(source: Source, checked: CheckedDataset) -> dict[str, Any]:
    """Return the values of the page about a data set, errors first."""
    findings = checked.findings
    pictures = _draw_boxes(source, findings)
    objects = sum(split.objects for split in checked.splits.values())
    listed = sum(split.listed for split in checked.splits.values())
    return {
        "title": "Findings",
        "subtitle": [source.uri, f"format {checked.format}", f"ssd-core {__version__}"],
        "headline": [
            (f"{findings.num_errors:,}", "errors", "stop a conversion, or are repaired or skipped"),
            (f"{findings.num_warnings:,}", "warnings", "worth a look"),
            (f"{listed:,}", "images", f"{objects:,} objects, {len(checked.classes):,} classes"),
        ],
        "splits": list(checked.splits.items()),
        "groups": [
            _group(code, findings) | {"pictures": pictures.get(code, [])}
            for severity in ("error", "warning")
            for code, count in findings.counts.most_common()
            if count and RULES[code].severity == severity
        ],
    }


def find_remarks(results: Mapping[str, Any]) -> list[str]:
    """Return sentences to read before training, from the results of `inspect`."""
    return [
        *_about_images(results["repeated"], results["near"]),
        *_about_classes(results["classes"], list(results["splits"])),
        *_about_anchors(results),
    ]


def _group(code: str, findings: Findings) -> dict[str, Any]:
    listed = [finding for finding in findings.listed if finding.code == code]
    return {
        "code": code,
        "severity": RULES[code].severity,
        "count": findings.counts[code],
        "repair": action_of(code, "repair"),
        "skip": action_of(code, "skip"),
        "rows": listed[:_SHOWN_EACH],
        "hidden": max(0, len(listed) - _SHOWN_EACH),
    }


def _draw_boxes(source: Source, findings: Findings) -> dict[str, list[AnnotatedImage]]:
    """Return pictures of the first faulty boxes of each code, as many as fit on the page."""
    drawn = [
        (code, picture)
        for code in findings.counts
        for finding in islice((f for f in findings.listed if f.code == code and f.box), _DRAWN_EACH)
        if (picture := _draw_box(source, finding))
    ]
    pictures: dict[str, list[AnnotatedImage]] = {}
    fitting = take_while_small(picture for _, picture in drawn)
    for (code, _), picture in zip(drawn, fitting, strict=False):
        pictures.setdefault(code, []).append(picture)
    return pictures


def _draw_box(source: Source, finding: Finding) -> AnnotatedImage | None:
    """Return the image with the box, and grey where the box leaves it by up to its size."""
    assert finding.box is not None
    try:
        pixels = decode_image(source.read(finding.image))
    except DataError:  # a finding of its own
        return None
    size = np.array(pixels.shape[1::-1])
    corners = np.sort(np.array(finding.box, np.float64).reshape(2, 2), axis=0)
    corners[1] = np.maximum(corners[1], corners[0] + _LEAST_SHARE * size)
    before, after = np.clip(np.ceil([-corners[0], corners[1] - size]), 0, size).astype(int)
    margins = [*zip(before[::-1], after[::-1], strict=True), (0, 0)]
    padded = np.pad(pixels, margins, constant_values=_BEYOND)
    box = np.clip(corners + before, 0, padded.shape[1::-1]).ravel()
    return annotate_image(
        finding.image.rpartition("/")[2],
        padded,
        truth=make_annotations([box], [1]),
        found=None,
        classes=[ClassInfo(label=1, name="the box", category_id=1)],
        note=finding.detail,
        max_side=_THUMBNAIL_SIDE,
    )


def _about_images(repeated: Mapping[str, Any], near: Mapping[str, Any]) -> Iterator[str]:
    if count := repeated["in_both_splits"]:
        yield f"Images in several splits: {count:,}. The accuracy will be too high."
    for split, count in repeated["copies"].items():
        if count:
            yield f"Copies of other images within {split}: {count:,}."
    if count := near["in_both_splits"]:
        yield (
            f"Images in several splits, saved again or scaled: {count:,}. The accuracy may be too "
            "high."
        )


def _about_classes(classes: Sequence[Mapping[str, Any]], splits: Sequence[str]) -> Iterator[str]:
    counts = {row["name"]: sum(row["objects"].values()) for row in classes}
    absent = [name for name, count in counts.items() if not count]
    if absent:
        yield f"Classes without objects: {_list(absent, counts)}."
    for split in splits:
        names = [
            row["name"] for row in classes if not row["objects"][split] and counts[row["name"]]
        ]
        if names:
            yield f"Classes without objects in {split}, {_LACKS[split]}: {_list(names, counts)}."
    present = {name: count for name, count in counts.items() if count}
    most, least = (pick(present, key=present.__getitem__, default="") for pick in (max, min))
    if most and present[most] >= _STEEP * present[least]:
        factor = present[most] / present[least]
        yield f"{most} has {factor:,.0f} times as many objects as {least}."


def _about_anchors(results: Mapping[str, Any]) -> Iterator[str]:
    reach = results["anchors"].get(results["recipe"])
    if reach and reach["unreached"] > _MANY_UNREACHED * reach["objects"]:
        yield (
            f"No anchor of {results['recipe']} reaches IoU {reach['iou_threshold']:g} with "
            f"{percent(reach['unreached'], reach['objects'])} of the objects."
        )


def _list(names: Sequence[str], of: Sized) -> str:
    rest = len(names) - _MAX_NAMES
    more = f" and {rest} more" if rest > 0 else ""
    return f"{', '.join(names[:_MAX_NAMES])}{more} ({len(names):,} of {len(of):,})"
