"""Faults of a source: each has a code, a place and an action; nothing is dropped silently."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

from ssd_core.config import Policy
from ssd_core.errors import DataError, one_line
from ssd_core.logs import format_count, logger
from ssd_core.store import Location

FINDINGS_FILE = "findings.json"

Severity = Literal["error", "warning"]


DROP_IMAGE = "dropped the image"
DROP_BOX = "dropped the box"
CLIP = "clipped the box"
KEEP = "kept"
STOP = "stopped"
_JOIN = "merged the classes"


class Rule(NamedTuple):
    """The meaning of a code."""

    severity: Severity
    repair: str
    """The action of policy `repair`, and for a warning of every policy."""
    skip: str = DROP_IMAGE
    """The action of policy `skip` for an error; some errors have no image to drop."""


RULES: dict[str, Rule] = {
    # the data set
    "source_unusable": Rule("error", STOP, STOP),
    "split_unusable": Rule("error", STOP, STOP),
    "file_not_read": Rule("warning", "ignored"),
    # the image
    "image_missing": Rule("error", DROP_IMAGE),
    "image_unreadable": Rule("error", DROP_IMAGE),
    "image_empty": Rule("error", DROP_IMAGE),
    "image_not_an_image": Rule("error", DROP_IMAGE),
    "image_truncated": Rule("error", DROP_IMAGE),
    "image_undecodable": Rule("error", DROP_IMAGE),
    "image_too_large": Rule("error", DROP_IMAGE),
    "image_damaged": Rule("warning", KEEP),
    "image_dark": Rule("warning", KEEP),
    "image_animated": Rule("warning", "used the first frame"),
    "image_path_unsafe": Rule("error", DROP_IMAGE),
    "image_size_differs": Rule("error", DROP_IMAGE),
    "image_size_turned": Rule("error", "turned the boxes"),
    "image_size_scaled": Rule("error", "scaled the boxes"),
    "image_orientation": Rule("warning", KEEP),
    "image_name_differs": Rule("error", "used that file"),
    "image_ambiguous": Rule("error", DROP_IMAGE),
    "image_malformed": Rule("error", DROP_IMAGE),
    "image_twice": Rule("error", DROP_IMAGE),
    "image_id_twice": Rule("error", DROP_IMAGE),
    "image_in_both_splits": Rule("warning", KEEP),
    "equal_images": Rule("warning", KEEP),
    "equal_images_in_both_splits": Rule("warning", KEEP),
    "image_not_used": Rule("warning", "ignored"),
    # the annotations of an image
    "annotations_missing": Rule("error", DROP_IMAGE),
    "annotations_unreadable": Rule("error", DROP_IMAGE),
    "labels_missing": Rule("warning", "kept without objects"),
    "object_of_unknown_image": Rule("error", DROP_BOX, DROP_BOX),
    "object_malformed": Rule("error", DROP_BOX),
    "object_id_twice": Rule("error", KEEP, KEEP),
    "row_twice": Rule("error", DROP_BOX),
    "number_rewritten": Rule("warning", "used the number"),
    "image_emptied": Rule("warning", DROP_IMAGE),
    # a box
    "box_not_finite": Rule("error", DROP_BOX),
    "box_from_outline": Rule("error", "used the box around the outline"),
    "boxes_in_fractions": Rule("error", "scaled the boxes"),
    "box_corners_exchanged": Rule("error", "exchanged the corners"),
    "box_without_area": Rule("error", DROP_BOX),
    "box_outside": Rule("error", DROP_BOX),
    "box_partly_outside": Rule("error", CLIP),
    "box_beyond_edge": Rule("warning", CLIP),
    "boxes_may_be_corners": Rule("error", STOP, STOP),
    "box_tiny": Rule("warning", KEEP),
    "object_twice": Rule("warning", KEEP),
    # its class
    "class_name_twice": Rule("error", _JOIN, _JOIN),
    "class_unknown": Rule("error", DROP_BOX),
    "class_left_out": Rule("warning", DROP_BOX),
    "class_without_objects": Rule("warning", KEEP),
    "class_names_similar": Rule("warning", KEEP),
    "class_rare": Rule("warning", KEEP),
    "class_count_differs": Rule("warning", "used the names"),
}
"""All codes."""

_LISTED_EACH = 10_000


def action_of(code: str, policy: Policy) -> str:
    """Return the action for a finding."""
    rule = RULES[code]
    if rule.severity == "warning" or policy == "repair":
        return rule.repair
    return STOP if policy == "strict" else rule.skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault, or `count` of the same kind at one place."""

    code: str
    severity: Severity
    place: str
    """File, and line or JSON path where the format has them."""
    image: str
    """Path of the image inside the source, or "" if it is not about one image."""
    detail: str
    action: str
    count: int = 1
    box: tuple[float, float, float, float] | None = None
    """Two opposite corners x, y, x, y in pixels of the image, if it is about one finite box."""


class Findings:
    """Collects faults, and decides by the policy what happens to them."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.counts: Counter[str] = Counter()
        self.listed: list[Finding] = []
        """The first ten thousand of each code."""
        self._listed_counts: Counter[str] = Counter()

    @property
    def num_errors(self) -> int:
        """Number of findings of severity error."""
        return sum(n for code, n in self.counts.items() if RULES[code].severity == "error")

    @property
    def num_warnings(self) -> int:
        """Number of findings of severity warning."""
        return self.counts.total() - self.num_errors

    @property
    def stops(self) -> bool:
        """True if nothing more may be written: a finding stops the conversion."""
        return any(action_of(code, self.policy) == STOP for code in self.counts)

    def add(
        self,
        code: str,
        place: str,
        detail: str,
        *,
        image: str = "",
        count: int = 1,
        box: tuple[float, float, float, float] | None = None,
    ) -> bool:
        """Record a `Finding` and return whether the image must be dropped.

        `detail` is the problem and the expected state; a leading place is removed.
        """
        action = action_of(code, self.policy)
        finding = Finding(
            code=code,
            severity=RULES[code].severity,
            place=one_line(place),
            image=image.encode(errors="backslashreplace").decode(),
            detail=one_line(detail.removeprefix(f"{place}: ")),
            action=action,
            count=count,
            box=box,
        )
        self.counts[code] += count
        self._list(finding)
        return action == DROP_IMAGE

    def drop_emptied(self, place: str, image: str) -> bool:
        """Record an image whose objects were all left out; return whether it must be dropped.

        Only `repair` leaves out objects and keeps their image, which would count as background.
        """
        detail = "all its objects had errors and were left out"
        return self.policy == "repair" and self.add("image_emptied", place, detail, image=image)

    def _errors(self) -> list[Finding]:
        return [finding for finding in self.listed if finding.severity == "error"]

    def most_frequent(self) -> str:
        """Return the most frequent error with its first place, "" if there is none."""
        first = max(self._errors(), key=lambda finding: self.counts[finding.code], default=None)
        if first is None:
            return ""
        count = self.counts[first.code]
        return f"; most often, {count} x {first.code}: {first.place}: {first.detail}"

    def _other_policy(self, listed: int, objects: int) -> str:
        """Return the advice to choose another policy, "" if none would keep an object."""
        errors = self._errors()
        repairs = {RULES[finding.code].repair for finding in errors}
        lost = {f.image or f.place for f in errors if RULES[f.code].repair == DROP_IMAGE}
        is_hopeless = listed > 0 and (listed <= len(lost) or not objects)
        if STOP in repairs or is_hopeless:
            return ""
        return (
            ", or choose repair or skip (--policy repair, or --set convert.policy=repair in a "
            "pipeline)"
        )

    def restore(self, counts: Mapping[str, int], listed: Iterable[Finding]) -> None:
        """Add the findings of another process, or of an interrupted run."""
        self.counts.update(counts)
        for finding in listed:
            self._list(finding)

    def _list(self, finding: Finding) -> None:
        if self._listed_counts[finding.code] < _LISTED_EACH:
            self._listed_counts[finding.code] += 1
            self.listed.append(finding)

    def drop_repeated(self) -> None:
        """Keep one of equal findings: an image in several splits is checked once for each."""
        kept: dict[Finding, None] = {}
        for finding in self.listed:
            if finding in kept:
                self.counts[finding.code] -= finding.count
            kept[finding] = None
        self.listed = list(kept)

    def totals(self) -> str:
        """Return the numbers of errors and warnings as text."""
        counts = {"error": self.num_errors, "warning": self.num_warnings}
        return ", ".join(format_count(count, noun) for noun, count in counts.items())

    def format(self) -> bytes:
        """Return the content of `findings.json`."""
        content = {
            "policy": self.policy,
            "counts": dict(sorted(self.counts.items())),
            "findings": [asdict(finding) for finding in self.listed],
        }
        return (json.dumps(content, indent=1) + "\n").encode()

    def write(self, out_dir: Location) -> None:
        """Write `findings.json`, or remove an old one if there are no findings."""
        if self.counts:
            out_dir.put(FINDINGS_FILE, self.format())
        else:
            out_dir.delete(FINDINGS_FILE)

    def report(self, out_dir: Location) -> None:
        """Write `findings.json`, and log it, and each code once with its first place."""
        self.write(out_dir)
        for code, count in sorted(self.counts.items()):
            if action_of(code, self.policy) == STOP:
                continue  # the command ends with the first of them
            first = next(finding for finding in self.listed if finding.code == code)
            logger.warning(
                "%d x %s, %s; the first: %s: %s",
                count,
                code,
                first.action,
                first.place,
                first.detail,
            )
        if self.counts and not self.stops:
            logger.warning("all findings are in %s", out_dir / FINDINGS_FILE)

    def check(
        self, out_dir: Location, *, dropped: int, listed: int, objects: int, max_skipped: float
    ) -> None:
        """Raise DataError for a finding that stops, or too many dropped images under `skip`.

        `listed` and `dropped` count images of the source, `objects` those that the reader could
        parse; 0 listed are an unknown number. `max_skipped` is a share in [0, 1]. `out_dir` has
        the `findings.json` that the message names.
        """
        if self.stops:
            first = next(finding for finding in self.listed if finding.action == STOP)
            remedy = f"fix the data{self._other_policy(listed, objects)}"
            raise DataError(
                f"{first.place}: {first.detail} ({first.code}; error 1 of {self.num_errors}, "
                f"all in {out_dir / FINDINGS_FILE}); {remedy}"
            )
        if self.policy == "skip" and dropped and dropped / listed > max_skipped:
            sufficient = -(-1000 * dropped // listed) / 1000  # rounded up
            raise DataError(
                f"{dropped} of {listed} images have errors, policy skip drops at most "
                f"{max_skipped:.1%}; fix those in {out_dir / FINDINGS_FILE}, or accept the loss: "
                f"--set convert.max_skipped={sufficient}"
            )
