"""The step that looks for faults in a source data set, and converts nothing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssd_core.config import ConvertConfig, parse_section
from ssd_core.data.checking.dataset import CheckedDataset, check_dataset
from ssd_core.data.findings import FINDINGS_FILE, RULES
from ssd_core.data.sources import open_source
from ssd_core.logs import logger
from ssd_core.report import findings as findings_page
from ssd_core.report.page import render_page
from ssd_core.stages.convert import check_apart
from ssd_core.stages.invocation import prepare_out_dir, write_invocation, write_results
from ssd_core.store import LocalDirectory
from ssd_core.store.local import write_file

PAGE_FILE = "findings.html"


def run(config: Mapping[str, Any], source: str, out_dir: Path | None = None) -> CheckedDataset:
    """Check a data set: all that a conversion checks, and every image is decoded.

    Writes `findings.json`, `findings.html` and `results.json` where a place is given.

    Args:
        config: the `convert` section; `decode_check` is on where it is not given.
        source: path or URI of the data set.
        out_dir: place of the files; None writes none.

    Raises:
        UsageError: a wrong configuration, source or place.
    """
    section = parse_section(ConvertConfig, {"decode_check": True} | dict(config), "convert")
    opened = open_source(source)
    if out_dir is not None:
        check_apart(opened, LocalDirectory(out_dir))
        prepare_out_dir(LocalDirectory(out_dir), "check")
    checked = check_dataset(opened, section)
    if out_dir is not None:
        content = json.dumps(checked.findings.content(), indent=1)
        write_file(out_dir / FINDINGS_FILE, content + "\n")
        page = render_page("findings", findings_page.content(opened.uri, checked))
        write_file(out_dir / PAGE_FILE, page)
        logger.info("findings: %s (%d kB)", out_dir / PAGE_FILE, len(page) // 1000)
        options = section.model_dump(mode="json")
        write_invocation(
            LocalDirectory(out_dir), "check", options, inputs={"source": {"uri": opened.uri}}
        )
        write_results(LocalDirectory(out_dir), _results(checked))
    return checked


def describe(checked: CheckedDataset) -> list[str]:
    """Return what was found in a few lines: a code each, errors first, with its first place."""
    findings = checked.findings
    images = " + ".join(f"{split.images} {name}" for name, split in checked.splits.items())
    objects = sum(split.objects for split in checked.splits.values())
    classes = len(checked.classes)
    lines = []
    if checked.splits:
        lines.append(f"{checked.format}: {images} images, {objects} objects, {classes} classes")
    for severity in ("error", "warning"):
        codes = [code for code, rule in RULES.items() if rule.severity == severity]
        for code in (code for code in codes if findings.counts[code]):
            first = next(finding for finding in findings.listed if finding.code == code)
            lines.append(f"{severity:<7} {findings.counts[code]:>6} x {code}")
            lines.append(f"{'':<17} {first.place}: {first.detail}")
    lines.append(findings.totals())
    return lines


def _results(checked: CheckedDataset) -> dict[str, Any]:
    return {
        "format": checked.format,
        "classes": list(checked.classes),
        "splits": {
            name: {"listed": split.listed, "images": split.images, "objects": split.objects}
            for name, split in checked.splits.items()
        },
        "errors": checked.findings.num_errors,
        "warnings": checked.findings.num_warnings,
        "findings": checked.findings.content()["counts"],
    }
