"""The files of a YOLO data set: a `data.yaml`, image lists, or the usual folders.

The labels of `images/train/a.jpg` are in `labels/train/a.txt`, or in a text file beside the image.
"""

import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ssd_core.data.formats.names import (
    Match,
    Stems,
    files_below,
    find_images,
    first_with,
    folder_prefix,
    path_ends,
)
from ssd_core.data.formats.splits import sample_folders
from ssd_core.data.formats.yolo.data_file import (
    is_data_file,
    is_names_file,
    read_data_file,
)
from ssd_core.data.sources.base import (
    IMAGE_SUFFIXES,
    Source,
    fold_name,
    is_inside,
    read_head,
    read_text,
)
from ssd_core.errors import DataError, UsageError

_LABELS = (".txt",)
_ROW = re.compile(r"\d+(\s+[-+.\deE]+){4,}\s*")


class LabelledImage(NamedTuple):
    """An image and the file with its labels."""

    image: Match
    labels: Match | None
    """None if the image has no file of labels."""
    listed: str = ""
    """Line of the list that names the image, if there is one."""


def find_places(source: Source) -> list[str]:
    """Return `data.yaml:train` and so on, else lists of labelled images, else folders of labels."""
    folders, lists = [], []
    for folder, names in sample_folders(source.files, ".txt"):
        heads = {name: _first_line(source, name) for name in names}
        if any(map(_ROW.fullmatch, heads.values())):
            folders.append(folder)
        lists += [name for name, head in heads.items() if head.lower().endswith(IMAGE_SUFFIXES)]
    described = [
        f"{name}:{split}"
        for name in filter(is_data_file, source.files)
        for split in _list_splits(source, name)
    ]
    if not folders:  # all images may be without objects: their files are empty
        texts = (file for name, file in source.files.items() if name.lower().endswith(_LABELS))
        return described if any(not file.num_bytes for file in texts) else []
    stems = {_stem(name) for name in source.files if name.lower().endswith(_LABELS)}
    labelled = [
        name
        for name in lists
        if stems.intersection(map(_stem, read_head(source, name).split("\n")))
    ]
    return described or labelled or folders


def _stem(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path.strip().replace("\\", "/")))[0]


def _first_line(source: Source, name: str) -> str:
    return next((line.strip() for line in read_head(source, name).split("\n") if line.strip()), "")


def _list_splits(source: Source, name: str) -> list[str]:
    """Return the splits of a data file; a test split that was not copied is none."""
    try:
        described = read_data_file(source, name)
    except DataError:
        return []
    return [
        split
        for split, paths in described.places.items()
        if split != "test" or _exist(source, name, described.root, paths)
    ]


def _exist(source: Source, name: str, root: str, paths: Sequence[str]) -> bool:
    try:
        return all(_resolve(source, name, root, path) for path in paths)
    except DataError:
        return False


def locate(source: Source, place: str, split: str, images: str | None) -> list[LabelledImage]:
    """Find the images of a split, and their labels.

    `place` is `data.yaml:train`, a list of images, or a folder with images or with labels; `images`
    is the folder of the images, if the user chose one.
    """
    name, _, key = place.partition(":")
    parts = [place]
    if is_data_file(name) and name in source.files:
        described = read_data_file(source, name)
        if key not in described.places:
            known = ", ".join(described.places) or "nothing"
            raise UsageError(f"--{split} {place}: {name} has no '{key}'; found: {known}")
        parts = [_resolve(source, name, described.root, path) for path in described.places[key]]
    found: list[LabelledImage] = []
    for part in parts:
        if part in source.files:
            found += _read_list(source, part, images)
        else:
            found += _read_folder(source, part, split, images)
    return found


def _resolve(source: Source, name: str, root: str, path: str) -> str:
    """Return the place that a data file means: it may be one of another folder or machine.

    Of a path that is absolute or begins with `..`, the longest end that exists counts. One that
    differs only in case or Unicode form counts if no other exists.
    """
    base = posixpath.dirname(name)
    written = posixpath.normpath(path.replace("\\", "/"))
    is_elsewhere = written.startswith(("/", "../")) or ":" in written
    ends = path_ends(written.lstrip("./")) if is_elsewhere else [written]
    joined = [posixpath.join(base, root, written), *(posixpath.join(base, end) for end in ends)]
    wholes = [whole for whole in map(posixpath.normpath, joined) if is_inside(whole)]
    for whole in wholes:
        if whole == "." or any(f"{file}/".startswith(f"{whole}/") for file in source.files):
            return whole
    folded = {fold_name(place): place for file in source.files for place in _above(file)}
    for whole in wholes:
        if fold_name(whole) in folded:
            return folded[fold_name(whole)]
    raise DataError(
        f"{name}: '{path}' does not exist in {source.uri}; choose the places of the splits: "
        "--train and --val, convert.train and convert.val"
    )


def _above(file: str) -> Iterator[str]:
    """Yield a file and the folders that contain it."""
    while file:
        yield file
        file = posixpath.dirname(file)


def _read_folder(
    source: Source, place: str, split: str, images: str | None
) -> Iterator[LabelledImage]:
    """Yield the images of a folder, and the labels whose image is missing.

    An image folder that the user chose may serve several splits: there only labels count.
    """
    given = folder_prefix(source, place, f"--{split}")
    own_images = [f"{given}images/", _swap(given, "labels", "images"), given]
    if images is not None:
        own_images = [folder_prefix(source, images, "image folder")]
    image_prefix, files = first_with(source, IMAGE_SUFFIXES, own_images)
    if not files:
        raise UsageError(
            f"--{split} {place}: this folder has no images; choose theirs: --images, convert.images"
        )
    own_labels = [_swap(image_prefix, "images", "labels"), image_prefix]
    if images is not None:
        own_labels = [f"{given}labels/", given]
    texts = first_with(source, _LABELS, own_labels)[1]
    found, labels = Stems(files), Stems(texts)
    alone = {
        stem for stem, names in texts.items() if not (found.find(stem) or is_names_file(names[0]))
    }
    for stem in sorted(alone | (files.keys() if images is None else texts.keys())):
        image = found.find(stem) or Match(f"{image_prefix}{stem}.jpg")
        yield LabelledImage(image, labels.find(stem))


def _swap(path: str, old: str, new: str) -> str:
    """Replace the last folder `old` of a path, in any case, by `new`, or `Old` by `New`."""
    parts = path.split("/")
    for index in reversed(range(len(parts) - 1)):  # the last part is a file, or empty
        if parts[index].lower() == old:
            parts[index] = new if parts[index] == old else new.title()
            break
    return "/".join(parts)


def _read_list(source: Source, place: str, images: str | None) -> Iterator[LabelledImage]:
    """Yield the images that a list names, one per line."""
    lines = read_text(source, place).split("\n")
    rows = [(n, line.strip().removeprefix("./")) for n, line in enumerate(lines, 1) if line.strip()]
    matches = find_images(source, [path for _, path in rows], place, images)
    stems = [posixpath.splitext(match.path)[0] for match in matches]
    texts = Stems(files_below(source, "", _LABELS))
    for (number, _), match, stem in zip(rows, matches, stems, strict=True):
        labels = texts.find(_swap(stem, "images", "labels")) or texts.find(stem)
        yield LabelledImage(match, labels, f"{place}: line {number}")
