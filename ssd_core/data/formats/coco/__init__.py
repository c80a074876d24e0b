"""COCO: one JSON file per split. Crowds, areas and ids are kept, outlines are skipped unread."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.findings import Findings
from ssd_core.data.formats.classes import ClassChoice, choose_classes, join_names
from ssd_core.data.formats.coco.file import UNUSABLE, CocoFile, read_coco
from ssd_core.data.formats.dataset import ImageEntry, SourceDataset, SourceSplit, report_left_out
from ssd_core.data.formats.names import Match, check_place, find_images
from ssd_core.data.formats.splits import find_split, sniff_files
from ssd_core.data.sources.base import Source
from ssd_core.errors import DataError
from ssd_core.logs import logger
from ssd_core.structures import IntArray

_ENTRY = re.compile(rb'"annotations"\s*:\s*\[\s*[^\s\]]')
_PARTS = (re.compile(rb'"images"'), re.compile(rb'"annotations"'), _ENTRY)
_PART_BYTES = 2**22


def find_places(source: Source) -> list[str]:
    """Return the JSON files with images and annotations; those of test images have none.

    A file that is cut off or named like a training split is returned anyway, because reading it
    explains the missing part. Files with an empty list are returned if no other file has entries.
    """
    names = sniff_files(source, ".json", _is_object)
    missing = {name: _find_missing(source, name) for name in names}
    full = [name for name, parts in missing.items() if not parts]
    empty = [name for name, parts in missing.items() if parts == {_ENTRY}]
    files = source.files.items()
    blank = [name for name, file in files if name.lower().endswith(".json") and not file.num_bytes]
    for name in [*empty, *blank] if full else ():
        logger.warning("%s: left out, because it has no annotations", name)
    return full or empty


def _is_object(head: str) -> bool:
    return head.lstrip().startswith("{") and "\0" not in head  # UTF-16 needs its byte order mark


def _find_missing(source: Source, name: str) -> set[re.Pattern[bytes]]:
    """Search a file for its parts, and not further than they are; one may be far behind."""
    missing = set(_PARTS)
    end = b""
    for start in range(0, source.files[name].num_bytes, _PART_BYTES):
        try:
            part = end + source.read_part(name, start, _PART_BYTES)
        except DataError:
            return missing
        text = part.replace(b"\0", b"")  # of UTF-16, which the reader refuses with its name
        missing = {pattern for pattern in missing if not pattern.search(text)}
        if not missing:
            return missing
        end = part[-64:]
    is_cut = not end.rstrip(b"\0 \r\n\t").endswith(b"}")
    is_mistake = is_cut or find_split([name], "train") is not None
    return set() if is_mistake and len(missing) < len(_PARTS) else missing


def read(
    source: Source, places: Mapping[SplitName, str], config: ConvertConfig, findings: Findings
) -> SourceDataset:
    """Read the annotations of the splits at `places`; see `ssd_core.data.formats.Reader`.

    A place is `annotations.json` or `annotations.json:image_folder`. Classes are all categories in
    the order of their ids, or those that `config.classes` names.
    """
    files: dict[SplitName, CocoFile] = {}
    for split, place in places.items():
        name = place if place in source.files else place.partition(":")[0]
        check_place(source, name, split, "annotation file")
        files[split] = read_coco(source, name)
    tables = {file.name: _categories(file) for file in files.values()}
    choice = choose_classes(join_names(tables, config.classes, findings), config.classes)
    splits: dict[SplitName, SourceSplit] = {}
    for split, file in files.items():
        folder = places[split].removeprefix(file.name).removeprefix(":") or config.images
        names = [image.file_name for image in file.images.values()]
        matches = find_images(source, names, file.name, folder)
        splits[split] = _to_split(file, matches, tables[file.name], choice, findings)
    return SourceDataset(format="coco", classes=choice.classes, splits=splits)


def _categories(file: CocoFile) -> dict[int, str]:
    """Return the names by id, in the order of the ids."""
    categories = sorted(file.categories, key=lambda item: item.id)
    found = {item.id: item.name for item in categories}
    if not found:
        raise DataError(f"{file.name}: has no categories; expected at least one")
    if len(found) < len(categories):
        raise DataError(f"{file.name}: a category id occurs twice; expected different ids")
    return found


@dataclass(frozen=True, slots=True)
class _Images:
    """The images of a file."""

    paths: Mapping[int, str]
    """By id."""
    dropped: set[int]
    """Ids of those to leave out."""
    damaged: set[int]
    """Ids of those that lost an object."""


def _to_split(
    file: CocoFile,
    matches: Sequence[Match],
    names: Mapping[int, str],
    choice: ClassChoice,
    findings: Findings,
) -> SourceSplit:
    """Join images and objects; those that belong to nothing known become findings."""
    images = _join_images(file, matches, findings)
    rows = _sound_rows(file, images, names, findings)
    labels = {
        number: choice.labels[name] for number, name in names.items() if name in choice.labels
    }
    is_wanted = np.isin(file.annotations.labels[rows], list(labels))
    left_out = Counter(map(names.__getitem__, file.annotations.labels[rows][~is_wanted].tolist()))
    report_left_out(left_out, choice, file.name, findings)
    rows = rows[is_wanted]
    entries = _list_entries(file, matches, images.dropped)
    rows = rows[~np.isin(file.image_ids[rows], list(images.dropped))]
    positions = {image_id: position for position, image_id in enumerate(entries)}
    owners = _look_up(positions, file.image_ids[rows])
    order = np.argsort(owners, kind="stable")
    annotations = file.annotations.select(rows[order])
    return SourceSplit(
        place=file.name,
        images=list(entries.values()),
        annotations=replace(annotations, labels=_look_up(labels, annotations.labels)),
        starts=np.searchsorted(owners[order], np.arange(len(entries) + 1)),
        num_listed=file.num_listed,
        object_word="annotation",
        class_names=[info.name for info in choice.classes],
    )


def _list_entries(
    file: CocoFile, matches: Sequence[Match], dropped: Collection[int]
) -> dict[int, ImageEntry]:
    """Return the images that are kept, by id; of equal ids the first counts."""
    entries: dict[int, ImageEntry] = {}
    for image, match in zip(file.images.values(), matches, strict=True):
        entry = ImageEntry(
            image_id=image.id,
            image_path=match.path,
            width=image.width or 0,
            height=image.height or 0,
            place=f"{file.name}: image {image.id}",
            problem=match.problem,
        )
        if image.id not in dropped:
            entries.setdefault(image.id, entry)
    return entries


def _join_images(file: CocoFile, matches: Sequence[Match], findings: Findings) -> _Images:
    """Report malformed entries, and ids given twice, whose objects may be of either image."""
    paths: dict[int, str] = {}
    for image, match in zip(file.images.values(), matches, strict=True):
        paths.setdefault(image.id, match.path)
    images = _Images(paths, set(), set())
    for code, path, problem, image_id, file_name in file.faults:
        owner = paths.get(image_id, file_name)
        is_dropped = findings.add(code, f"{file.name}: {path}", problem, image=owner)
        if is_dropped or code == "image_malformed":
            images.dropped.add(image_id)
        elif code == "object_malformed":
            images.damaged.add(image_id)
    seen: set[int] = set()
    for (index, image), match in zip(file.images.items(), matches, strict=True):
        first = paths[image.id]
        if image.id not in seen:
            seen.add(image.id)
            continue
        if first != match.path and image.id not in images.dropped:
            images.dropped.add(image.id)
            detail = f"image id {image.id} is also that of {match.path}"
            findings.add("image_id_twice", f"{file.name}: image {image.id}", detail, image=first)
        detail = f"image id {image.id} was already given to {first}"
        place = f"{file.name}: $.images[{index}]"
        findings.add("image_id_twice", place, detail, image=match.path)
    return images


def _sound_rows(
    file: CocoFile, images: _Images, names: Mapping[int, str], findings: Findings
) -> IntArray:
    """Return the objects with an image and a class; drop images that lost one, or all."""
    category_ids = file.annotations.labels
    has_image = np.isin(file.image_ids, list(images.paths))
    is_sound = has_image & np.isin(category_ids, list(names))
    is_reported = np.isin(file.image_ids, [UNUSABLE, *images.dropped])
    for row in np.flatnonzero(~is_sound & ~is_reported).tolist():
        image_id = int(file.image_ids[row])
        code, detail = "class_unknown", f"category {category_ids[row]} does not exist"
        if not has_image[row]:
            code, detail = "object_of_unknown_image", f"image {image_id} does not exist"
        place, path = f"{file.name}: $.annotations[{row}]", images.paths.get(image_id, "")
        is_dropped = findings.add(code, place, detail, image=path)
        (images.dropped if is_dropped else images.damaged).add(image_id)
    emptied = images.damaged & images.paths.keys() - set(file.image_ids[is_sound].tolist())
    for image_id in sorted(emptied - images.dropped):
        if findings.drop_emptied(f"{file.name}: image {image_id}", images.paths[image_id]):
            images.dropped.add(image_id)
    return np.flatnonzero(is_sound)


def _look_up(table: Mapping[Any, int], keys: IntArray) -> IntArray:
    """Return the value of each key; all keys are integers and in the table."""
    known = np.array(sorted(table), np.int64)
    values = np.array([table[key] for key in known.tolist()], np.int64)
    return values[np.searchsorted(known, keys)]
