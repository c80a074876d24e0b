"""From the names that annotations contain to the files of the source."""

import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple
from unicodedata import is_normalized

from ssd_core.data.findings import Findings
from ssd_core.data.formats.dataset import Problem, SourceDataset, SourceSplit
from ssd_core.data.formats.splits import words_of
from ssd_core.data.sources.base import Source, fold_name, is_inside
from ssd_core.errors import DataError, UsageError

_NAME_BOTH = "expected a name inside it; if the images are elsewhere, take the folder above both"
_ABSOLUTE = re.compile(r"^([A-Za-z]:)?[/\\]+")
_OTHER_NAME = "image_name_differs"
"""The only problem of an image that has a file."""
_MAX_OPTIONS = 20
"""A name that ends like more files than these is as good as none."""


class Match(NamedTuple):
    """The file that a name means."""

    path: str
    """In the source; with a problem perhaps of no file."""
    problem: Problem | None = None


class _Move(NamedTuple):
    """How written names become files: names below `root` are those below `folder`."""

    root: str
    folder: str


_Options = Mapping[_Move, Sequence[str]]
"""The files that a name may mean."""


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


def files_below(source: Source, prefix: str, suffixes: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the files below a prefix that end in one of `suffixes`, by stem.

    If it has none, the prefix counts in any case.
    """
    found: dict[str, list[str]] = {}
    for fold in (str, str.lower):
        start = fold(prefix)
        for name in source.files:
            if fold(name).startswith(start) and name.lower().endswith(suffixes):
                found.setdefault(posixpath.splitext(name[len(prefix) :])[0], []).append(name)
        if found:
            break
    return found


def first_with(
    source: Source, suffixes: tuple[str, ...], prefixes: Sequence[str]
) -> tuple[str, dict[str, list[str]]]:
    """Return the first prefix with such files, else the last one, and its files by stem."""
    for prefix in prefixes:
        found = files_below(source, prefix, suffixes)
        if found:
            break
    return prefix, found


class Stems:
    """Files by stem; one that differs only in case or Unicode form is found with a problem."""

    def __init__(self, files: Mapping[str, list[str]]) -> None:
        self.files = files
        self._similar: dict[str, list[str]] = {}
        for stem in files:
            self._similar.setdefault(fold_name(stem), []).append(stem)

    def find(self, stem: str, *, written: Iterable[str] = ()) -> Match | None:
        """Return the file with a stem; of several the one whose whole name is `written`."""
        stems = [stem] if stem in self.files else self._similar.get(fold_name(stem), [])
        paths = [path for similar in stems for path in self.files[similar]]
        wanted = {fold_name(posixpath.basename(name)) for name in written}
        paths = [p for p in paths if fold_name(posixpath.basename(p)) in wanted] or paths
        if len(paths) > 1:
            return Match(stem, _ambiguous(stem, paths, "the annotations have to name one of them"))
        if not paths:
            return None
        (path,) = paths
        if stem in self.files:
            return Match(path)
        found, suffix = posixpath.splitext(path)
        name = f"{found.removesuffix(stems[0])}{stem}{suffix}"
        return Match(path, _differs(name, path, _other_form(name, path)))


def find_images(
    source: Source, names: Sequence[str], place: str, images: str | None = None
) -> list[Match]:
    """Return the file of each image that an annotation file names.

    The longest end of a name that exists decides: a name may lack the folders above the images, or
    have folders that the source lacks. Of several files with that end, the one counts whose folder
    shares words with the annotation file, so that `instances_val.json` takes `val/0001.jpg` and not
    `train/0001.jpg`; then the one whose folder has most of the images; then the one that is written
    from the source or from the annotation file. If two are left, nothing decides.

    `names` are those in the file at `place`; `images` is the folder that the user chose, if any.

    Raises:
        DataError: none of the images exists.
    """
    prefix = "" if images is None else folder_prefix(source, images, "image folder")
    files = [path for path in source.files if path.startswith(prefix)]
    folder = _only_folder(files, names[0]) if names else None
    if folder is not None and all(folder + name in source.files for name in names):
        return [Match(folder + name) for name in names]
    plain = [_plain(name, posixpath.dirname(place)) for name in names]
    options = _find_options(files, plain)
    if images is None and any(plain) and not any(options):
        raise DataError(
            f"{place}: none of its images exists in {source.uri} (the first: {names[0]}); "
            "choose their folder: --images, convert.images"
        )
    votes = Counter(move for moves in options for move in moves)
    chosen = _choose(options, votes, place)
    usual = Counter(move.folder for move in chosen if move).most_common(1) or [(prefix, 0)]
    matches = []
    for name, short, moves, move in zip(names, plain, options, chosen, strict=True):
        match = _judge(name, short, moves, move)
        missing = usual[0][0] + posixpath.normpath(name) if is_inside(name) else name
        matches.append(match or Match(missing, _absence(source, missing)))
    return matches


def _only_folder(files: Iterable[str], name: str) -> str | None:
    """Return the folder of the only file whose path ends with a name: the usual, quick case."""
    found = [path for path in files if path.endswith(name)]
    found = [path for path in found if f"/{path}".endswith(f"/{name}")]
    return found[0].removesuffix(name) if len(found) == 1 else None


def _plain(name: str, folder: str) -> str:
    """Return a name with slashes and at most one at its beginning, "" if it may be anywhere.

    `..` is understood from the `folder` of the annotations.
    """
    path = posixpath.normpath(_ABSOLUTE.sub("/", name).replace("\\", "/"))
    if path.startswith("../"):
        path = posixpath.normpath(posixpath.join(folder, path))
    return path if name and path != "." and is_inside(path.removeprefix("/")) else ""


def path_ends(path: str) -> Iterator[str]:
    """Yield a path, then the path without its first folder, and so on."""
    while path:
        yield path
        path = path.partition("/")[2]


def _find_options(files: Iterable[str], names: Iterable[str]) -> list[_Options]:
    """Return the files whose path has the longest end of each name, by their move.

    If some names exist with all their folders, the others must, too.
    """
    known: dict[str, list[str]] = {}
    for path in files:
        for end in path_ends(fold_name(path)):
            known.setdefault(end, []).append(path)
    options = [_options_of(known, name) for name in names]
    if any(not move.root for moves in options for move in moves):
        options = [{m: p for m, p in moves.items() if not m.root} for moves in options]
    return options


def _options_of(known: Mapping[str, Sequence[str]], name: str) -> _Options:
    end = next((end for end in path_ends(name) if fold_name(end) in known), None)
    if end is None:
        return {}
    found = known[fold_name(end)]
    found = [path for path in found if f"/{path}".endswith(f"/{end}")] or found
    moves: dict[_Move, list[str]] = {}
    for path in found if len(found) <= _MAX_OPTIONS else ():
        folder = path.rsplit("/", end.count("/") + 1)[0] if path.count("/") > end.count("/") else ""
        move = _Move(name.removesuffix(end), f"{folder}/" if folder else "")
        moves.setdefault(move, []).append(path)
    return moves


def _choose(
    options: Sequence[_Options], votes: Mapping[_Move, int], place: str
) -> list[_Move | None]:
    """Return the move of each name, None if there is none or several count equally.

    A folder that lost against another for one name is not taken for any other name: its images are
    those of another split with the same names.
    """
    winners = {moves: _winner(moves, votes, place) for moves in set(map(frozenset, options))}
    lost = {move for moves, winner in winners.items() if winner for move in moves - {winner}}
    chosen = [winners[frozenset(moves)] for moves in options]
    return [
        None if len(moves) == 1 and move in lost else move
        for moves, move in zip(options, chosen, strict=True)
    ]


def _winner(moves: Collection[_Move], votes: Mapping[_Move, int], place: str) -> _Move | None:
    hints = words_of(posixpath.splitext(place)[0])
    own = ("", f"{posixpath.dirname(place)}/")  # as written, from the source or the annotations

    def rank(move: _Move) -> tuple[int, int, bool]:
        return len(hints & words_of(move.folder)), votes[move], move.folder in own

    best = [move for move in moves if rank(move) == max(map(rank, moves))]
    return best[0] if len(best) == 1 else None


def _judge(name: str, short: str, moves: _Options, move: _Move | None) -> Match | None:
    """Return the file of an image, with its problem if the name is not the written one."""
    paths = [path for found in moves.values() for path in found] if move is None else moves[move]
    if len(paths) > 1:
        remedy = "choose the folder: --images, convert.images, or file.json:folder for COCO"
        return Match(name, _ambiguous(name, paths, remedy))
    if move is None:
        return None
    (path,) = paths
    if "\\" in name:
        return Match(path, _differs(name, path, "the name has backslashes"))
    if _ABSOLUTE.match(name):
        return Match(path, _differs(name, path, "the name is an absolute path"))
    if f"/{path}".endswith(f"/{short}") or f"/{short}".endswith(f"/{path}"):
        return Match(path)
    difference = "it is in another folder" if move.root and move.folder else _other_form(name, path)
    return Match(path, _differs(name, path, difference))


def _differs(name: str, path: str, difference: str) -> Problem:
    return Problem(_OTHER_NAME, f"{name} does not exist, but {path} does: {difference}")


def _other_form(name: str, path: str) -> str:
    """Return the difference of two names that are equal after `fold_name`."""
    first, second = ("NFC" if is_normalized("NFC", text) else "NFD" for text in (name, path))
    if first == second:
        return "the names differ in case"
    return f"the names differ in Unicode form, {first} and {second}"


def _ambiguous(name: str, paths: Sequence[str], remedy: str) -> Problem:
    shown = " or ".join(sorted(paths)[:2])
    return Problem("image_ambiguous", f"'{name}' may be {shown}; {remedy}")


def _absence(source: Source, path: str) -> Problem:
    if "\\" in path and ".." not in path:
        return Problem("image_path_unsafe", f"'{path}' has a backslash; expected forward slashes")
    if not is_inside(path):
        return Problem("image_path_unsafe", f"'{path}' leaves the source {source.uri}")
    return Problem("image_missing", f"{path} does not exist in {source.uri}")


def resolve_names(source: Source, dataset: SourceDataset, findings: Findings) -> SourceDataset:
    """Leave out the images that have no file, and those listed twice."""
    splits = {
        name: _resolve_split(source, split, findings) for name, split in dataset.splits.items()
    }
    return replace(dataset, splits=splits)


def _resolve_split(source: Source, split: SourceSplit, findings: Findings) -> SourceSplit:
    kept = []
    places: dict[str, str] = {}
    for index, entry in enumerate(split.images):
        path, where = entry.image_path, entry.listed or entry.place
        problem = entry.problem or (None if path in source.files else _absence(source, path))
        if problem is not None:
            is_dropped = findings.add(problem.code, where, problem.detail, image=path)
            if is_dropped or problem.code != _OTHER_NAME:
                continue
        if path in places:
            detail = f"{path} was already listed at {places[path]}"
            findings.add("image_twice", where, detail, image=path)
            continue
        places[path] = where
        kept.append(index)
    if len(kept) == len(split):
        return split
    return replace(split.select(kept), num_listed=split.num_listed)
