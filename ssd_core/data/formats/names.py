"""From the names that annotations contain to the files of the source."""

import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ssd_core.data.findings import Findings
from ssd_core.data.formats.dataset import ImageEntry, Problem, SourceDataset, SourceSplit
from ssd_core.data.formats.splits import words_of
from ssd_core.data.sources.base import Source, fold_name, is_inside
from ssd_core.errors import DataError, UsageError

_NAMES_TRIED = 100
_NAME_BOTH = "expected a name inside it; if the images are elsewhere, take the folder above both"


def check_place(source: Source, where: str, split: str, kind: str) -> None:
    """Raise UsageError unless a file chosen by the user exists inside the source."""
    if not is_inside(where):
        raise UsageError(f"--{split} {where}: leaves the source; {_NAME_BOTH}")
    if where not in source.files:
        raise UsageError(f"--{split} {where}: this {kind} does not exist in {source.uri}")


def folder_prefix(source: Source, folder: str, option: str) -> str:
    """Return a folder chosen by the user as the beginning of the names in it."""
    if not is_inside(folder):
        raise UsageError(f"{option} {folder}: leaves the source; {_NAME_BOTH}")
    folder = posixpath.normpath(folder)
    prefix = "" if folder == "." else f"{folder}/"
    if not any(name.startswith(prefix) for name in source.files):
        raise UsageError(f"{option} {folder}: this folder does not exist in {source.uri}")
    return prefix


def files_below(source: Source, prefix: str, suffixes: tuple[str, ...]) -> dict[str, str]:
    """Return the files below a prefix that end in one of `suffixes`, by stem; of two the first."""
    found: dict[str, str] = {}
    for name in source.files:
        if name.startswith(prefix) and name.lower().endswith(suffixes):
            found.setdefault(posixpath.splitext(name[len(prefix) :])[0], name)
    return found


def find_image_folder(
    source: Source, names: Sequence[str], place: str, images: str | None = None
) -> str:
    """Return the prefix under which most of the images of an annotation file lie.

    Of equally good folders the one that shares a word with the annotation file wins, so that
    `instances_val.json` takes `val/0001.jpg` and not `train/0001.jpg`. If no name exists as it is
    written, case and Unicode form are ignored, and `resolve_names` reports the difference.

    `names` are those of the images in the file at `place`; `images` is the folder that the user
    chose, if any.
    """
    if images is not None:
        return folder_prefix(source, images, "image folder")
    tried = [posixpath.normpath(name) for name in filter(is_inside, names[:_NAMES_TRIED])]
    if not tried:
        return ""
    name, found = _find_first(tried, source.files)
    if not found:
        written = {fold_name(path): path for path in source.files}
        name, similar = _find_first(list(map(fold_name, tried)), written)
        found = [written[path] for path in similar]
    if not found:
        raise DataError(
            f"{place}: none of its images exists in {source.uri} (the first: {tried[0]}); "
            "choose their folder: --images, convert.images"
        )
    depth = name.count("/") + 1
    prefixes = ["".join(f"{folder}/" for folder in path.split("/")[:-depth]) for path in found]
    return _best_folder(source.files, prefixes, names, place)


def _find_first(names: Sequence[str], paths: Iterable[str]) -> tuple[str, list[str]]:
    """Return the first name that exists, and the paths that end with it."""
    for name in names:
        end = f"/{name}"
        found = [path for path in paths if path == name or path.endswith(end)]
        if found:
            return name, found
    return "", []


def _best_folder(
    files: Mapping[str, object], prefixes: Sequence[str], names: Sequence[str], place: str
) -> str:
    if len(prefixes) == 1:
        return prefixes[0]
    names = [posixpath.normpath(name) for name in names]
    hits = Counter({prefix: sum(prefix + name in files for name in names) for prefix in prefixes})
    hints = words_of(posixpath.splitext(place)[0])

    def rank(prefix: str) -> tuple[int, int, int, str]:
        return -hits[prefix], -len(hints & words_of(prefix)), prefix.count("/"), prefix

    return min(prefixes, key=rank)


def join_inside(prefix: str, name: str) -> str:
    """Join folder and name; a name that leaves the source is kept for `resolve_names` to report."""
    if not is_inside(name):
        return name
    path = prefix + name
    return posixpath.normpath(path) if "./" in path or "//" in path else path


def resolve_names(source: Source, dataset: SourceDataset, findings: Findings) -> SourceDataset:
    """Give each image the name of its file, and leave out the images that have none."""
    similar = _similar_names(source, dataset)
    splits = {
        name: _resolve_split(source, split, similar, findings)
        for name, split in dataset.splits.items()
    }
    return replace(dataset, splits=splits)


def _resolve_split(
    source: Source, split: SourceSplit, similar: Mapping[str, Sequence[str]], findings: Findings
) -> SourceSplit:
    kept: dict[int, ImageEntry] = {}
    places: dict[str, str] = {}
    for index, entry in enumerate(split.images):
        path = entry.image_path
        problem = _name_problem(source, path)
        is_dropped = False
        found = similar.get(fold_name(path), ()) if problem is not None else ()
        if problem is not None and problem.code == "image_missing" and len(found) == 1:
            detail = f"{path} does not exist in {source.uri}, but {found[0]} does"
            is_dropped = findings.add("image_name_differs", entry.place, detail, image=found[0])
            entry, problem = entry._replace(image_path=found[0]), None
        if problem is None and entry.image_path in places:
            detail = f"{entry.image_path} was already listed at {places[entry.image_path]}"
            problem = Problem("image_twice", detail)
        if problem is not None:
            findings.add(problem.code, entry.place, problem.detail, image=path)
        elif not is_dropped:
            places[entry.image_path] = entry.place
            kept[index] = entry
    if len(kept) < len(split):
        split = replace(split.select(list(kept)), num_listed=split.num_listed)
    return replace(split, images=list(kept.values()))


def _name_problem(source: Source, path: str) -> Problem | None:
    if "\\" in path:
        return Problem("image_path_unsafe", f"'{path}' has a backslash; expected forward slashes")
    if not is_inside(path):
        return Problem("image_path_unsafe", f"'{path}' leaves the source {source.uri}")
    if path not in source.files:
        return Problem("image_missing", f"{path} does not exist in {source.uri}")
    return None


def _similar_names(source: Source, dataset: SourceDataset) -> Mapping[str, Sequence[str]]:
    """Return the files by their folded name; none if every image has its file."""
    listed = (entry.image_path for split in dataset.splits.values() for entry in split.images)
    found: dict[str, list[str]] = {}
    if not all(path in source.files for path in listed):
        for name in source.files:
            found.setdefault(fold_name(name), []).append(name)
    return found
