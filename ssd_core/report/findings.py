"""What the page of findings shows: plain values for the template."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ssd_core import __version__
from ssd_core.data.checking.dataset import CheckedDataset
from ssd_core.data.findings import RULES, Finding, Findings, action_of

_SHOWN_EACH = 100
_SEVERITIES = ("error", "warning")


def content(uri: str, checked: CheckedDataset) -> dict[str, Any]:
    """Return what the page shows, errors first.

    Args:
        uri: where the data set is.
        checked: what was found.
    """
    findings = checked.findings
    objects = sum(split.objects for split in checked.splits.values())
    listed = sum(split.listed for split in checked.splits.values())
    return {
        "title": "Findings",
        "subtitle": [uri, f"format {checked.format}", f"ssd-core {__version__}"],
        "headline": [
            (
                f"{findings.num_errors:,}",
                "errors",
                "stop a conversion, or are repaired or left out",
            ),
            (f"{findings.num_warnings:,}", "warnings", "worth a look"),
            (f"{listed:,}", "images", f"{objects:,} objects, {len(checked.classes):,} classes"),
        ],
        "splits": [(name, split) for name, split in checked.splits.items()],
        "groups": sorted(_groups(findings), key=lambda group: _SEVERITIES.index(group["severity"])),
    }


def _groups(findings: Findings) -> list[dict[str, Any]]:
    """Return the findings by code, the most frequent code first."""
    by_code = sorted(findings.listed, key=lambda finding: finding.code)
    listed = {code: list(group) for code, group in groupby(by_code, lambda item: item.code)}
    return [
        _group(code, count, listed[code]) for code, count in findings.counts.most_common() if count
    ]


def _group(code: str, count: int, listed: Sequence[Finding]) -> dict[str, Any]:
    return {
        "code": code,
        "severity": RULES[code].severity,
        "count": count,
        "repair": action_of(code, "repair"),
        "skip": action_of(code, "skip"),
        "rows": listed[:_SHOWN_EACH],
        "hidden": max(0, len(listed) - _SHOWN_EACH),
    }
