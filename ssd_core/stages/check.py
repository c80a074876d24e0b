"""Check a source data set without converting it."""

from pathlib import Path
from typing import Any

from ssd_core.config import ConvertConfig
from ssd_core.data.checking.dataset import CheckedDataset, check_dataset
from ssd_core.data.conversion.adopt import is_mindrecord
from ssd_core.data.findings import FINDINGS_FILE, RULES
from ssd_core.data.sources import open_source
from ssd_core.errors import UsageError
from ssd_core.logs import format_count
from ssd_core.stages.convert import check_source
from ssd_core.stages.frame import Input, Invocation, Results, run_stage
from ssd_core.store import Location
from ssd_core.store.local import write_file

PAGE_FILE = "findings.html"


def run(config: ConvertConfig, source: str, out_dir: Location | None = None) -> CheckedDataset:
    """Run all checks of a conversion on a data set.

    Args:
        config: the `convert` section; with `decode_check` every image is decoded.
        source: path or URI of the data set.
        out_dir: directory for `findings.json`, `findings.html` and `results.json`; None writes
            nothing.

    Raises:
        UsageError: the source does not exist, is converted already or MindRecord, or `out_dir` is
            inside it.
    """
    opened = open_source(source)
    check_source(opened, out_dir)
    if is_mindrecord(opened, config):
        raise UsageError(
            f"{source}: MindRecord files are checked as they are adopted: "
            "'ssd convert SOURCE --shards mindrecord --out DIR'"
        )
    if out_dir is None:
        return check_dataset(opened, config)
    from ssd_core.report import findings as findings_page
    from ssd_core.report.page import render_page

    checked: list[CheckedDataset] = []

    def work(folder: Path) -> Results:
        checked.append(check_dataset(opened, config))
        write_file(folder / FINDINGS_FILE, checked[0].findings.format())
        page = render_page(PAGE_FILE, findings_page.content(opened, checked[0]))
        write_file(folder / PAGE_FILE, page)
        return results(checked[0])

    inputs = {"source": Input(opened.uri)}
    run_stage(Invocation(stage="check", config=config, inputs=inputs), out_dir, work)
    return checked[0]


def describe(checked: CheckedDataset) -> list[str]:
    """Return a summary: two lines per code with its first finding, errors before warnings."""
    findings = checked.findings
    images = " + ".join(f"{split.images} {name}" for name, split in checked.splits.items())
    objects = sum(split.objects for split in checked.splits.values())
    lines = []
    if checked.splits:
        classes = format_count(len(checked.classes), "class")
        lines.append(
            f"{checked.format}: {images} images, {format_count(objects, 'object')}, {classes}"
        )
    for severity in ("error", "warning"):
        codes = [code for code, rule in RULES.items() if rule.severity == severity]
        for code in (code for code in codes if findings.counts[code]):
            first = next(finding for finding in findings.listed if finding.code == code)
            lines.append(f"{severity:<7} {findings.counts[code]:>6} x {code}")
            lines.append(f"{'':<17} {first.place}: {first.detail}")
    lines.append(findings.totals())
    return lines


def results(checked: CheckedDataset) -> dict[str, Any]:
    """Return the counts of a check."""
    return {
        "format": checked.format,
        "classes": list(checked.classes),
        "splits": {
            name: {"listed": split.listed, "images": split.images, "objects": split.objects}
            for name, split in checked.splits.items()
        },
        "errors": checked.findings.num_errors,
        "warnings": checked.findings.num_warnings,
        "findings": dict(sorted(checked.findings.counts.items())),
    }
