"""Checks of a whole data set that open no image: names, repeated objects, unused classes."""

import posixpath
import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from ssd_core.config import SplitName
from ssd_core.data.checking.samples import ROUNDING_PIXELS
from ssd_core.data.findings import Findings
from ssd_core.data.formats.dataset import SourceDataset, SourceSplit
from ssd_core.data.sources.base import IMAGE_SUFFIXES, Source, fold_name
from ssd_core.errors import DataError
from ssd_core.structures import IntArray

_SHOWN = 20
_HUNDREDS = 100
_ALMOST_ALL = 0.99


def check_listing(source: Source, dataset: SourceDataset, findings: Findings) -> None:
    """Run the checks of a whole data set that open no image."""
    for name, reason in source.unusable.items():
        findings.add("file_not_read", name, reason)
    for split in dataset.splits.values():
        if dataset.format == "coco":  # others have no ids, and no widths to mistake for corners
            _report_ids(split, findings)
            _report_corners(split, findings)
        _report_twins(split, findings)
    _report_shared(dataset, findings)
    _report_unused(source, dataset, findings)
    _report_empty_classes(dataset, findings)
    _report_slips(source, dataset, findings)


_WITHOUT_VAL = (
    ", or remove this one from the source: then a fifth of the training images is held back"
)


def check_split(
    name: SplitName, split: SourceSplit, findings: Findings, *, num_images: int, num_boxes: int
) -> None:
    """Check that a split can be learnt or measured with the images that passed all checks.

    Raises:
        DataError: it has no images, or no objects but crowds, which `num_boxes` includes.
    """
    if not num_images:
        dropped = f": all {split.num_listed} were dropped" if split.num_listed else ""
        raise DataError(
            f"{split.place}: the {name} split has no images{dropped}; expected at least one"
            f"{findings.most_frequent()}"
        )
    if not num_boxes:
        raise DataError(
            f"{split.place}: the {name} split has no objects in {num_images} images; choose "
            f"another split (--{name}, convert.{name}) or other classes (--classes, "
            f"convert.classes){_WITHOUT_VAL if name == 'val' else ''}{findings.most_frequent()}"
        )
    if split.annotations.is_crowd.all():
        remedy = " or crowd=object (--crowd, convert.crowd)" if name == "train" else ""
        raise DataError(
            f"{split.place}: all {num_boxes} objects of the {name} split are crowds, which "
            f"training and evaluation ignore; expected others{remedy}"
        )


def _report_twins(split: SourceSplit, findings: Findings) -> None:
    """Report the objects that equal an earlier one in everything but their id."""
    parts = split.annotations
    owners = np.repeat(np.arange(len(split)), np.diff(split.starts))
    columns = [owners, parts.labels, parts.is_crowd, *parts.boxes.T.copy().view(np.int32)]
    candidates = _with_equal_hash(columns)
    if not len(candidates):
        return
    rows = np.stack([column[candidates] for column in columns], axis=1)
    seen: dict[tuple[int, ...], int] = {}
    for position, row in zip(candidates.tolist(), map(tuple, rows.tolist()), strict=True):
        first = seen.setdefault(row, position)
        if first != position:
            entry = split.images[row[0]]
            ids = parts.box_ids[[position, first]].tolist()
            detail = f"{split.object_word} {ids[0]} is equal to {split.object_word} {ids[1]}"
            findings.add("object_twice", entry.place, detail, image=entry.image_path)


def _with_equal_hash(columns: Iterable[IntArray]) -> IntArray:
    """Return the rows that may equal another, in their order: quick for millions."""
    hashes = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):
        for column in columns:
            hashes = (hashes ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            hashes ^= hashes >> np.uint64(29)
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return np.flatnonzero(counts[inverse] > 1)


def _report_ids(split: SourceSplit, findings: Findings) -> None:
    """Report ids that several objects share; all are kept, because nothing depends on the id."""
    values, counts = np.unique(split.annotations.box_ids, return_counts=True)
    for value, count in zip(values[counts > 1], counts[counts > 1], strict=True):
        place, detail = f"{split.place}: annotation {value}", f"{count} objects have this id"
        findings.add("object_id_twice", place, detail, count=int(count) - 1)


def _report_corners(split: SourceSplit, findings: Findings) -> None:
    """Report boxes that leave their images if all would fit as two corners."""
    sizes = np.array([(item.width, item.height) for item in split.images], np.float64)
    limits = np.repeat(sizes.reshape(-1, 2), np.diff(split.starts), axis=0) + ROUNDING_PIXELS
    starts, ends = split.annotations.boxes[:, :2], split.annotations.boxes[:, 2:]
    is_known = limits.min(axis=1, initial=np.inf) > ROUNDING_PIXELS
    leaves = is_known & (ends > limits).any(axis=1)
    if not leaves.any():  # as nearly always: this saves the memory of the arrays below
        return
    with np.errstate(invalid="ignore"):  # the checks find values that are not finite
        corners = ends.astype(np.float64) - starts  # width and height in the file
    fits = np.all([corners > starts, corners <= limits], axis=(0, 2))
    if np.mean(fits[is_known]) >= _ALMOST_ALL:
        detail = (
            f"{leaves.sum()} boxes leave their image, but fit if bbox were x0, y0, x1, y1; if it "
            "is, write x0, y0, x1 - x0, y1 - y0; else correct these boxes"
        )
        findings.add("boxes_may_be_corners", split.place, detail, count=int(leaves.sum()))


def _report_shared(dataset: SourceDataset, findings: Findings) -> None:
    paths = [{entry.image_path for entry in split.images} for split in dataset.splits.values()]
    for path in sorted(path for path, count in Counter(chain(*paths)).items() if count > 1):
        detail = "is in several splits, so accuracy will look too good"
        findings.add("image_in_both_splits", path, detail, image=path)


def _report_unused(source: Source, dataset: SourceDataset, findings: Findings) -> None:
    used = {entry.image_path for split in dataset.splits.values() for entry in split.images}
    used |= {finding.image for finding in findings.listed}  # reported, and perhaps dropped
    unclear = {_stem(f.image) for f in findings.listed if f.code == "image_ambiguous"}
    for name in source.files:
        is_image = name.lower().endswith(IMAGE_SUFFIXES)
        if is_image and name not in used and _stem(name) not in unclear:
            findings.add("image_not_used", name, "is in no split", image=name)


def _stem(name: str) -> str:
    return posixpath.splitext(posixpath.basename(fold_name(name)))[0]


def _report_empty_classes(dataset: SourceDataset, findings: Findings) -> None:
    """Report classes without objects to learn from, or to measure in a lone split."""
    split = next(iter(dataset.splits.values()))  # train, if there is one
    names = [name for name, count in _count_objects(dataset, [split]).items() if not count]
    are_refused = findings.num_errors and not len(split.annotations)
    if names and not are_refused:
        detail = (
            f"no usable object of: {', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)}"
        )
        findings.add("class_without_objects", split.place, detail, count=len(names))


def _report_slips(source: Source, dataset: SourceDataset, findings: Findings) -> None:
    """Report names that may be slips of the pen: nearly equal ones, and one of a single object."""
    counts = _count_objects(dataset, dataset.splits.values())
    total = sum(counts.values())
    for name, count in counts.items():
        if count == 1 and total > _HUNDREDS:
            findings.add("class_rare", source.uri, f"1 of {total} objects is of class '{name}'")
    similar: dict[str, list[str]] = {}
    for name in counts:
        folded = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        similar.setdefault(folded, []).append(name)
    for group in similar.values():
        if len(group) > 1:
            shown = ", ".join(f"'{name}' ({counts[name]} x)" for name in group)
            detail = f"may be one class: {shown}; {_advise_joining(counts, group)}"
            findings.add("class_names_similar", source.uri, detail)


def _count_objects(dataset: SourceDataset, splits: Iterable[SourceSplit]) -> dict[str, int]:
    """Return the number of objects by the name of each class."""
    labels = np.concatenate([split.annotations.labels for split in splits])
    counts = np.bincount(labels, minlength=len(dataset.classes) + 1).tolist()
    return {info.name: counts[info.label] for info in dataset.classes}


def _advise_joining(counts: Mapping[str, int], group: Sequence[str]) -> str:
    """Return the option that joins the classes of a group to the one with most objects."""
    target = max(group, key=lambda name: counts[name])
    entries = [f"{name}={target}" if name in {*group} - {target} else name for name in counts]
    if len(entries) <= _SHOWN and not any("," in name or name != name.strip() for name in counts):
        return f"to join them: --classes {shlex.quote(','.join(entries))}"
    renamed = ", ".join(sorted({*entries} - counts.keys()))
    return f"to join them: --classes FILE with all classes, one per line, and {renamed}"
