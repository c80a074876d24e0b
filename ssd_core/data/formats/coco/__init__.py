"""COCO: one JSON file a split. Crowds, areas and ids are kept, polygons are skipped unread."""

import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.checking.samples import ROUNDING_PIXELS
from ssd_core.data.findings import Findings
from ssd_core.data.formats.classes import ClassChoice, ClassKey, choose_classes
from ssd_core.data.formats.coco.json_file import is_coco, read_coco
from ssd_core.data.formats.coco.types import CocoCategory, CocoFile, CocoImage, CocoObjects
from ssd_core.data.formats.dataset import (
    ImageEntry,
    SourceDataset,
    SourceSplit,
    report_left_out,
)
from ssd_core.data.formats.splits import (
    check_place,
    find_image_folder,
    folder_prefix,
    sample_folders,
)
from ssd_core.data.sources.base import Source, is_inside
from ssd_core.errors import DataError
from ssd_core.structures import Annotations, IntArray


def find_places(source: Source) -> list[str]:
    """Return the JSON files that begin like COCO annotations."""
    return [
        name
        for _, names in sample_folders(source.files, ".json")
        for name in names
        if is_coco(source, name)
    ]


def read(
    source: Source, places: Mapping[SplitName, str], config: ConvertConfig, findings: Findings
) -> SourceDataset:
    """Read the annotations of the splits at `places`; see `ssd_core.data.formats.Reader`.

    A place is `annotations.json` or `annotations.json:image_folder`. Classes are all categories in
    the order of their ids, or those that `config.classes` names.
    """
    files: dict[SplitName, tuple[str, CocoFile]] = {}
    for split, place in places.items():
        name = place if place in source.files else place.partition(":")[0]
        check_place(source, name, split, "annotation file")
        files[split] = (name, read_coco(source, name, findings))
    categories = _categories({name: file.categories for name, file in files.values()}, findings)
    choice = choose_classes(categories, config.classes)
    return SourceDataset(
        format="coco",
        classes=choice.classes,
        splits={
            split: _read_split(name, file, prefix, choice, findings)
            for split, (name, file) in files.items()
            for prefix in [_image_prefix(source, places[split], name, file, config)]
        },
    )


def _categories(
    files: Mapping[str, Sequence[CocoCategory]], findings: Findings
) -> dict[ClassKey, str]:
    """Return the names by id, in the order of the ids.

    Raises:
        DataError: an id occurs twice, there is none, or two files disagree.
    """
    known: dict[ClassKey, str] | None = None
    for name, categories in files.items():
        found: dict[ClassKey, str] = {
            item.id: item.name for item in sorted(categories, key=lambda item: item.id)
        }
        if len(found) < len(categories):
            raise DataError(f"{name}: a category id occurs twice; expected different ids")
        twice = [item.name for item in categories if list(found.values()).count(item.name) > 1]
        if twice and known is None:
            detail = f"{len(twice)} categories are called '{twice[0]}'"
            findings.add("class_name_twice", name, detail)
        if not found:
            raise DataError(f"{name}: has no categories; expected at least one")
        if known is not None and found != known:
            different = sorted(set(found.items()) ^ set(known.items()))[0]
            raise DataError(
                f"{name}: its categories differ from those of the training split, the first: "
                f"{different[0]} '{different[1]}'"
            )
        known = found
    return known or {}


def _image_prefix(
    source: Source, place: str, name: str, file: CocoFile, config: ConvertConfig
) -> str:
    """Return the folder of the images: the one of the place, of the options, else a found one."""
    folder = place.removeprefix(name).removeprefix(":")
    if folder:
        return folder_prefix(source, folder, f"{name}:")
    names = [image.file_name for image in file.images]
    return find_image_folder(source, names, name, config.images)


def _read_split(
    name: str, file: CocoFile, prefix: str, choice: ClassChoice, findings: Findings
) -> SourceSplit:
    images, unclear = _sound_images(name, file.images, findings)
    rows, dropped = _sound_rows(name, file.objects, images, choice, findings)
    dropped |= unclear | file.dropped
    entries = [
        ImageEntry(
            image_id=image.id,
            image_path=_join(prefix, image.file_name),
            width=image.width,
            height=image.height,
            place=f"{name}: image {image.id}",
        )
        for image in images.values()
        if image.id not in dropped
    ]
    rows = rows[~np.isin(file.objects.image_ids[rows], list(dropped))]
    positions = {entry.image_id: position for position, entry in enumerate(entries)}
    owners = _look_up(positions, file.objects.image_ids[rows])
    _report_ids(name, file.objects.ids[rows], findings)
    order = np.argsort(owners, kind="stable")
    split = SourceSplit(
        place=name,
        images=entries,
        annotations=_annotations(file.objects, rows[order], choice.labels),
        starts=np.searchsorted(owners[order], np.arange(len(entries) + 1)),
        num_listed=file.num_listed,
    )
    _report_corners(split, findings)
    return split


def _join(prefix: str, file_name: str) -> str:
    """Join folder and name; a name that leaves its folder stays as it is, for the checks to see."""
    if not is_inside(file_name):
        return file_name
    path = prefix + file_name
    return posixpath.normpath(path) if "./" in path or "//" in path else path


def _sound_images(
    name: str, images: Sequence[CocoImage], findings: Findings
) -> tuple[dict[int, CocoImage], set[int]]:
    """Return the images by id, and the ids that several images have: whose objects are whose?"""
    found: dict[int, CocoImage] = {}
    unclear = set()
    for index, image in enumerate(images):
        first = found.setdefault(image.id, image)
        if first is image:
            continue
        if first.file_name != image.file_name and image.id not in unclear:
            unclear.add(image.id)
            detail = f"image id {image.id} is also that of {image.file_name}"
            place = f"{name}: image {image.id}"
            findings.add("image_id_twice", place, detail, image=first.file_name)
        detail = f"image id {image.id} was already given to {first.file_name}"
        findings.add("image_id_twice", f"{name}: $.images[{index}]", detail, image=image.file_name)
    return found, unclear


def _sound_rows(
    name: str,
    objects: CocoObjects,
    images: Mapping[int, CocoImage],
    choice: ClassChoice,
    findings: Findings,
) -> tuple[IntArray, set[int]]:
    """Return the objects with an image, a wanted class and four numbers, and the images dropped."""
    has_image = np.isin(objects.image_ids, list(images))
    has_class = np.isin(objects.category_ids, list(choice.names))
    is_sound = has_image & has_class & (objects.box_lengths == 4)
    dropped = set()
    for row in np.flatnonzero(~is_sound).tolist():
        image_id = int(objects.image_ids[row])
        if not has_image[row]:
            problem = ("object_of_unknown_image", f"there is no image {image_id}")
        elif not has_class[row]:
            problem = ("class_unknown", f"there is no category {objects.category_ids[row]}")
        else:
            detail = f"bbox has {objects.box_lengths[row]} numbers, expected 4"
            problem = ("object_malformed", detail)
        code, detail = problem
        image = images[image_id].file_name if has_image[row] else ""
        if findings.add(code, f"{name}: $.annotations[{row}]", detail, image=image):
            dropped.add(image_id)
    is_wanted = np.isin(objects.category_ids, list(choice.labels))
    left_out = Counter[ClassKey](objects.category_ids[is_sound & ~is_wanted].tolist())
    report_left_out(left_out, choice, name, findings)
    return np.flatnonzero(is_sound & is_wanted), dropped


def _report_ids(name: str, ids: IntArray, findings: Findings) -> None:
    """Count the objects whose id another one has; both are kept, no number depends on the id."""
    values, counts = np.unique(ids, return_counts=True)
    for value, count in zip(values[counts > 1], counts[counts > 1], strict=True):
        detail = f"{count} objects have this id"
        findings.add("object_id_twice", f"{name}: annotation {value}", detail, count=int(count) - 1)


def _report_corners(split: SourceSplit, findings: Findings) -> None:
    """Warn where boxes leave their images, and all would fit as two corners."""
    sizes = np.array([(item.width, item.height) for item in split.images], np.float64)
    limits = np.repeat(sizes.reshape(-1, 2), np.diff(split.starts), axis=0) + ROUNDING_PIXELS
    starts, ends = split.annotations.boxes[:, :2], split.annotations.boxes[:, 2:]
    is_known = limits.min(axis=1, initial=np.inf) > ROUNDING_PIXELS
    leaves = is_known & (ends > limits).any(axis=1)
    if not leaves.any():  # as nearly always: this spares the memory for what follows
        return
    with np.errstate(invalid="ignore"):  # the checks find what is not finite
        corners = ends.astype(np.float64) - starts  # what the file has as width and height
    fits = np.all([corners > starts, corners <= limits], axis=(0, 2))
    if np.mean(fits[is_known]) >= _ALMOST_ALL:
        detail = f"{leaves.sum()} boxes leave their image, but fit if bbox were x0, y0, x1, y1"
        findings.add("boxes_may_be_corners", split.place, detail, count=int(leaves.sum()))


_ALMOST_ALL = 0.99


def _annotations(
    objects: CocoObjects, rows: IntArray, labels: Mapping[ClassKey, int]
) -> Annotations:
    boxes, areas = objects.boxes[rows], objects.areas[rows]
    with np.errstate(over="ignore", invalid="ignore"):  # the checks find what is not finite
        is_known = np.isfinite(areas) & (areas >= 0)
        areas = np.where(is_known, areas, boxes[:, 2] * boxes[:, 3])
        boxes[:, 2:] += boxes[:, :2]
        corners = boxes.astype(np.float32)
    return Annotations(
        boxes=corners,
        labels=_look_up(labels, objects.category_ids[rows]),
        areas=areas,
        is_crowd=objects.is_crowd[rows],
        is_difficult=np.zeros(len(rows), np.bool_),
        box_ids=objects.ids[rows],
    )


def _look_up(table: Mapping[Any, int], keys: IntArray) -> IntArray:
    """Return the value of each key; all keys are whole numbers and in the table."""
    known = np.array(sorted(table), np.int64)
    values = np.array([table[key] for key in known.tolist()], np.int64)
    return values[np.searchsorted(known, keys)]
