"""What happens to a finding under each policy."""

import json
import re
from pathlib import Path

import pytest

from ssd_core.config import Policy
from ssd_core.data.findings import DROP_BOX, DROP_IMAGE, FINDINGS_FILE, KEEP, RULES, STOP, Findings
from ssd_core.errors import DataError
from ssd_core.store import LocalDirectory


@pytest.mark.parametrize(
    ("policy", "code", "is_dropped", "action"),
    [
        ("strict", "box_without_area", False, STOP),
        ("repair", "box_without_area", False, DROP_BOX),
        ("skip", "box_without_area", True, DROP_IMAGE),
        ("repair", "image_missing", True, DROP_IMAGE),
        ("strict", "box_beyond_edge", False, RULES["box_beyond_edge"].repair),
        ("skip", "box_beyond_edge", False, RULES["box_beyond_edge"].repair),
        ("skip", "object_id_twice", False, KEEP),  # no image can be dropped for it
        ("skip", "object_of_unknown_image", False, DROP_BOX),
        ("skip", "class_name_twice", False, "merged the classes"),
    ],
)
def test_action(policy: Policy, code: str, is_dropped: bool, action: str) -> None:
    findings = Findings(policy)
    assert findings.add(code, "a.xml", "detail") is is_dropped
    assert findings.listed[0].action == action


def test_strict_stops_on_errors_and_names_count_first_place_and_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    findings = Findings("strict")
    findings.add("class_left_out", "w", "a warning", count=3)
    assert not findings.stops
    findings.report(LocalDirectory(tmp_path))
    assert caplog.messages[-1] == f"all findings are in {tmp_path / FINDINGS_FILE}"
    findings.add("box_outside", "b.xml", "box 1 lies outside")
    findings.add("box_outside", "c.xml", "box 2 lies outside")
    assert findings.stops
    assert findings.num_errors == 2
    findings.report(LocalDirectory(tmp_path))
    with pytest.raises(DataError) as caught:
        findings.check(LocalDirectory(tmp_path), dropped=0, listed=5, objects=9, max_skipped=0.01)
    message = str(caught.value)
    assert message.startswith("b.xml: box 1 lies outside (box_outside; error 1 of 2, all in ")
    content = json.loads((tmp_path / FINDINGS_FILE).read_text())
    assert content["counts"] == {"box_outside": 2, "class_left_out": 3}
    assert [finding["place"] for finding in content["findings"]] == ["w", "b.xml", "c.xml"]


OTHER_POLICY = (
    ", or choose repair or skip (--policy repair, or --set convert.policy=repair in a pipeline)"
)


@pytest.mark.parametrize(
    ("policy", "code", "objects", "end"),
    [
        (
            "strict",
            "box_outside",
            2,
            f"fix the data{OTHER_POLICY}",
        ),
        ("strict", "object_malformed", 0, "fix the data"),
        ("strict", "image_missing", 2, "fix the data"),  # repair would drop the only image
        ("strict", "boxes_may_be_corners", 2, "fix the data"),
        ("repair", "boxes_may_be_corners", 2, "fix the data"),
    ],
)
def test_only_a_policy_that_helps_is_advised(
    tmp_path: Path, policy: Policy, code: str, objects: int, end: str
) -> None:
    findings = Findings(policy)
    findings.add(code, "a.xml", "detail", image="a.jpg")
    with pytest.raises(DataError) as caught:
        findings.check(
            LocalDirectory(tmp_path), dropped=1, listed=1, objects=objects, max_skipped=0.01
        )
    assert str(caught.value).endswith(f"{FINDINGS_FILE}); {end}")
    assert f"{code}: a.xml: detail" in findings.most_frequent()


def test_skip_drops_no_more_than_its_share(tmp_path: Path) -> None:
    findings = Findings("skip")
    findings.check(LocalDirectory(tmp_path), dropped=1, listed=100, objects=9, max_skipped=0.01)
    with pytest.raises(DataError, match=r"2 of 100 images have errors.*at most 1.0%"):
        findings.check(LocalDirectory(tmp_path), dropped=2, listed=100, objects=9, max_skipped=0.01)


@pytest.mark.parametrize(
    ("dropped", "listed", "share"), [(2, 19, 0.106), (29, 100, 0.29), (3, 3, 1.0), (1, 9999, 0.001)]
)
def test_the_advised_share_is_the_smallest_that_suffices(
    tmp_path: Path, dropped: int, listed: int, share: float
) -> None:
    findings, out_dir = Findings("skip"), LocalDirectory(tmp_path)
    counts = {"dropped": dropped, "listed": listed, "objects": 9}
    with pytest.raises(DataError, match=rf"--set convert.max_skipped={share}$"):
        findings.check(out_dir, **counts, max_skipped=share - 0.001)
    findings.check(out_dir, **counts, max_skipped=share)


def test_an_old_file_is_removed_if_there_are_no_findings(tmp_path: Path) -> None:
    (tmp_path / FINDINGS_FILE).write_text("old")
    Findings("strict").write(LocalDirectory(tmp_path))
    assert not (tmp_path / FINDINGS_FILE).exists()


def test_findings_of_another_process_are_added() -> None:
    first, second = Findings("repair"), Findings("repair")
    first.add("image_empty", "a", "here")
    second.add("image_empty", "b", "elsewhere", count=2)
    first.restore(second.counts, second.listed)
    assert first.counts == {"image_empty": 3}
    assert [finding.detail for finding in first.listed] == ["here", "elsewhere"]


def test_only_the_list_is_limited() -> None:
    findings = Findings("repair")
    for _ in range(10_001):
        findings.add("box_outside", "a", "detail")
    findings.add("image_empty", "b", "detail")
    assert findings.counts["box_outside"] == 10_001
    assert len(findings.listed) == 10_001  # ten thousand and the other code


def test_names_in_a_finding_are_printable_and_the_place_is_not_repeated(tmp_path: Path) -> None:
    findings = Findings("repair")
    findings.add("box_outside", "a\n.xml", "of \x1b[31m", image="a\ud800\n.jpg")
    (finding,) = findings.listed
    assert (finding.place, finding.detail) == ("a\\n.xml", "of \\x1b[31m")
    assert finding.image == "a\\ud800\n.jpg"
    findings.write(LocalDirectory(tmp_path))
    assert json.loads((tmp_path / FINDINGS_FILE).read_text())["findings"][0]["image"]
    findings.add("annotations_unreadable", "a.xml", "a.xml: is no XML")
    assert (findings.listed[1].place, findings.listed[1].detail) == ("a.xml", "is no XML")


def test_the_documentation_lists_every_code_with_its_repair() -> None:
    page = (Path(__file__).parents[2] / "docs/sources.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (error|warning) \| .+ \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(code, rule.severity, rule.repair) for code, rule in RULES.items()]
