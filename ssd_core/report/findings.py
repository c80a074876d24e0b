"""Defects of a data set for the page of findings, and remarks about what stands out in it."""

from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any

from ssd_core import __version__
from ssd_core.data.checking.dataset import CheckedDataset
from ssd_core.data.findings import RULES, Findings, action_of
from ssd_core.report.page import percent

_SHOWN_EACH = 100

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


def content(uri: str, checked: CheckedDataset) -> dict[str, Any]:
    """Return the values of the page about the data set at `uri`, errors first."""
    findings = checked.findings
    objects = sum(split.objects for split in checked.splits.values())
    listed = sum(split.listed for split in checked.splits.values())
    return {
        "title": "Findings",
        "subtitle": [uri, f"format {checked.format}", f"ssd-core {__version__}"],
        "headline": [
            (f"{findings.num_errors:,}", "errors", "stop a conversion, or are repaired or skipped"),
            (f"{findings.num_warnings:,}", "warnings", "worth a look"),
            (f"{listed:,}", "images", f"{objects:,} objects, {len(checked.classes):,} classes"),
        ],
        "splits": list(checked.splits.items()),
        "groups": [
            _group(code, findings)
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
