"""Finding the splits of a source by their usual names, without guessing between several."""

import hashlib
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.findings import Findings
from ssd_core.data.formats.dataset import SourceSplit
from ssd_core.data.sources.base import Source, SourceFile, read_head
from ssd_core.errors import DataError, UsageError

SPLIT_WORDS: Mapping[SplitName, Sequence[str]] = {
    "train": ("train", "training", "trainval"),
    "val": ("val", "valid", "validation", "eval"),
    "test": ("test",),
}
_NO_RANK = 4
_SAMPLE = 50


def choose_splits(candidates: Sequence[str], config: ConvertConfig) -> dict[SplitName, str]:
    """Return the place of each split: the one the user chose, else the usual one.

    A place named `test` is the evaluation split of a source without another one, unless the user
    chose the test split. The place of the chosen test split is not taken for another split. Beside
    a chosen evaluation or test split, a place without a usual name is not taken at all.
    """
    train = config.train or find_split(_without(candidates, config.test), "train")
    rest = _without(candidates, train, config.test)
    val = config.val or find_split(rest, "val")
    if val is None and config.test is None:
        val = find_split(rest, "val", SPLIT_WORDS["test"])
    if not (train or val or config.test) and len(candidates) == 1:
        train = candidates[0]
    test = config.test or find_split(_without(candidates, train, val), "test")
    found: dict[SplitName, str | None] = {"train": train, "val": val, "test": test}
    return {split: place for split, place in found.items() if place is not None}


def _without(candidates: Sequence[str], *chosen: str | None) -> list[str]:
    taken = [where for where in chosen if where is not None]
    return [place for place in candidates if not any(is_at(where, place) for where in taken)]


def is_at(where: str, place: str) -> bool:
    """Return whether the choice `where` means a place: it is that, or `place:folder`."""
    where = posixpath.normpath(where)
    return where == place or where.startswith(f"{place}:")


def find_split(places: Iterable[str], split: SplitName, words: Sequence[str] = ()) -> str | None:
    """Return the place that is named like the split, or with one of `words`, or None.

    `train.txt` is better than `instances_train2017.json`, that than any other name with the word in
    it, and that than a word in the name of the folder. Several equally good ones are an error.
    """
    candidates = sorted(places)
    for word in words or SPLIT_WORDS[split]:
        ranks = {place: _rank(place, word) for place in candidates}
        best = min(ranks.values(), default=_NO_RANK)
        if best < _NO_RANK:
            found = [place for place in candidates if ranks[place] == best]
            if len(found) > 1:
                raise UsageError(
                    f"several places could be the {split} split: {', '.join(found[:4])}; "
                    f"choose one with --{split}"
                )
            return found[0]
    return None


def _rank(place: str, word: str) -> int:
    """Return how well a place is named `word`: 0 best, 4 not at all; of `a:b` only b counts."""
    stem = posixpath.splitext(posixpath.basename(place.rpartition(":")[2]))[0].lower()
    name = rf"{word}[-_]?\d*"
    if re.fullmatch(name, stem):
        return 0
    if re.fullmatch(rf"instances_{name}", stem):
        return 1
    if word in words_of(stem):
        return 2
    return 3 if word in words_of(posixpath.basename(posixpath.dirname(place))) else _NO_RANK


def words_of(text: str) -> set[str]:
    """Return the words and numbers in a name, in lower case."""
    return set(re.findall(r"[a-z]+|\d+", text.lower()))


def sample_folders(files: Mapping[str, SourceFile], suffix: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder with files of a suffix, and enough of these to recognise their format.

    A folder with thousands of text files holds labels; a file that is named like a split, such as
    a list of images, is always among those returned. Empty files are left out.
    """
    by_folder: dict[str, list[str]] = {}
    for name, file in files.items():
        if file.num_bytes and name.lower().endswith(suffix):
            by_folder.setdefault(posixpath.dirname(name) or ".", []).append(name)
    usual = {word for words in SPLIT_WORDS.values() for word in words}
    for folder, names in by_folder.items():
        named = [name for name in names[_SAMPLE:] if usual & words_of(posixpath.basename(name))]
        yield folder, [*names[:_SAMPLE], *named[:_SAMPLE]]


def sniff_files(source: Source, suffix: str, accepts: Callable[[str], bool]) -> list[str]:
    """Return the files of `sample_folders` whose beginning is accepted."""
    return [
        name
        for _, names in sample_folders(source.files, suffix)
        for name in names
        if accepts(read_head(source, name))
    ]


def hold_back_fifth(
    source: Source, split: SourceSplit, findings: Findings
) -> tuple[SourceSplit, SourceSplit]:
    """Divide a split by the hash of each image's content, about four to one.

    So equal images stay on one side whatever their names, and adding some moves no other.

    Raises:
        DataError: no image is left to train with, and no error finding gives the reason.
    """
    source.expect([entry.image_path for entry in split.images])
    hashes = [_content_hash(source, entry.image_path) for entry in split.images]
    limit = max(2**256 // 5, min(hashes, default=0) + 1)
    held_back = [i for i, value in enumerate(hashes) if value < limit]
    kept = [i for i, value in enumerate(hashes) if value >= limit]
    if held_back and not kept and not findings.num_errors:
        raise DataError(
            f"{split.place}: no image is left to train with when some are held back; choose the "
            "evaluation split: --val, convert.val"
        )
    unnamed = split.num_listed - len(split)  # dropped by the reader already, and still counted
    train = split.select(kept)
    return replace(train, num_listed=len(train) + unnamed), split.select(held_back)


def _content_hash(source: Source, name: str) -> int:
    try:
        return int.from_bytes(hashlib.sha256(source.read(name)).digest(), "big")
    except DataError:
        return 2**256  # stays in the training split, whose checks report it as missing
