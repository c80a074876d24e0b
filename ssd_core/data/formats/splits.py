"""Find splits and image folders by their usual names, without guessing between several."""

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ssd_core.data.sources.base import Source, SourceFile, fold_name, is_inside, read_head
from ssd_core.errors import DataError, UsageError

SPLIT_WORDS = {
    "train": ("train", "training", "trainval"),
    "val": ("val", "valid", "validation", "eval", "test"),
}
_NAMES_TRIED = 100
_NAME_BOTH = "expected a name inside it; where images lie beside it, take the folder above both"


def find_split(places: Iterable[str], split: str) -> str | None:
    """Return the place that is named like the split, or None.

    `train.txt` is better than `instances_train2017.json`, that than any other name with the word in
    it, and that than a word in the name of the folder.

    Raises:
        UsageError: several places are equally good.
    """
    candidates = sorted(places)
    for word in SPLIT_WORDS[split]:
        ranks = {place: _rank(place, word) for place in candidates}
        best = min(ranks.values(), default=_NO_RANK)
        if best < _NO_RANK:
            found = [place for place in candidates if ranks[place] == best]
            if len(found) > 1:
                raise UsageError(
                    f"several places could be the {split} split: {', '.join(found[:4])}; "
                    f"name one with --{split}"
                )
            return found[0]
    return None


_NO_RANK = 4


def _rank(place: str, word: str) -> int:
    """Return how well a place is named `word`: 0 best, 4 not at all; of `a:b` the b counts."""
    stem = posixpath.splitext(posixpath.basename(place.rpartition(":")[2]))[0].lower()
    name = rf"{word}[-_]?\d*"
    if re.fullmatch(name, stem):
        return 0
    if re.fullmatch(rf"instances_{name}", stem):
        return 1
    if word in _words(stem):
        return 2
    return 3 if word in _words(posixpath.basename(posixpath.dirname(place))) else _NO_RANK


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def sample_folders(files: Mapping[str, SourceFile], suffix: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder with files of a suffix, and some of them: enough to see what they are.

    A folder with thousands of text files holds labels; a file that is named like a split, such as
    a list of images, is always among those returned. Empty files say nothing.
    """
    by_folder: dict[str, list[str]] = {}
    for name, file in files.items():
        if file.num_bytes and name.lower().endswith(suffix):
            by_folder.setdefault(posixpath.dirname(name) or ".", []).append(name)
    usual = {word for words in SPLIT_WORDS.values() for word in words}
    for folder, names in by_folder.items():
        named = [name for name in names[_SAMPLE:] if usual & _words(posixpath.basename(name))]
        yield folder, [*names[:_SAMPLE], *named[:_SAMPLE]]


_SAMPLE = 50


def sniff_files(source: Source, suffix: str, accepts: Callable[[str], bool]) -> list[str]:
    """Return the files of a suffix, some of each folder, whose beginning is accepted."""
    return [
        name
        for _, names in sample_folders(source.files, suffix)
        for name in names
        if accepts(read_head(source, name))
    ]


def check_place(source: Source, where: str, split: str, kind: str) -> None:
    """Check that a place given by the user exists.

    Raises:
        UsageError: it leaves the source, or is not there.
    """
    if not is_inside(where):
        raise UsageError(f"--{split} {where}: leaves the source; {_NAME_BOTH}")
    if where not in source.files:
        raise UsageError(f"--{split} {where}: there is no such {kind} in {source.uri}")


def folder_prefix(source: Source, folder: str, option: str) -> str:
    """Return a folder given by the user as the beginning of the names in it.

    Raises:
        UsageError: it leaves the source, or holds no file.
    """
    if not is_inside(folder):
        raise UsageError(f"{option} {folder}: leaves the source; {_NAME_BOTH}")
    folder = posixpath.normpath(folder)
    prefix = "" if folder == "." else f"{folder}/"
    if not any(name.startswith(prefix) for name in source.files):
        raise UsageError(f"{option} {folder}: does not exist in {source.uri}")
    return prefix


def find_image_folder(
    source: Source, names: Sequence[str], place: str, images: str | None = None
) -> str:
    """Return the prefix under which most of the image `names` of an annotation file lie.

    Of equally good folders the one that shares a word with the annotation file wins, so that
    `instances_val.json` takes `val/0001.jpg` and not `train/0001.jpg`. Where no name is there as
    it is written, upper and lower case are the same, and the checks name the difference.

    Args:
        source: the data set.
        names: of the images; those that leave the source are left to the checks.
        place: the annotation file.
        images: the folder that the user named; it is not looked for then.

    Raises:
        UsageError: the named folder is not there.
        DataError: none of the first names is anywhere in the source.
    """
    if images is not None:
        return folder_prefix(source, images, "image folder")
    tried = [posixpath.normpath(name) for name in filter(is_inside, names[:_NAMES_TRIED])]
    if not tried:
        return ""
    name, found = _find_first(tried, source.files)
    if not found:
        written = {fold_name(path): path for path in source.files}
        name, near = _find_first(list(map(fold_name, tried)), written)
        found = [written[path] for path in near]
    if not found:
        raise DataError(
            f"{place}: no image that it lists is in {source.uri} (the first: {tried[0]}); "
            "name their folder: --images, convert.images"
        )
    depth = name.count("/") + 1
    prefixes = ["".join(f"{folder}/" for folder in path.split("/")[:-depth]) for path in found]
    return _best_folder(source.files, prefixes, names, place)


def join_inside(prefix: str, name: str) -> str:
    """Join folder and name; a name that leaves the folder stays as it is, for the checks to see."""
    if not is_inside(name):
        return name
    path = prefix + name
    return posixpath.normpath(path) if "./" in path or "//" in path else path


def _find_first(names: Sequence[str], paths: Iterable[str]) -> tuple[str, list[str]]:
    """Return the first of the names that is there, and the paths that end with it."""
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
    hints = _words(posixpath.splitext(place)[0])
    return min(
        prefixes,
        key=lambda prefix: (
            -hits[prefix],
            -len(hints & _words(prefix)),
            prefix.count("/"),
            prefix,
        ),
    )
