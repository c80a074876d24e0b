"""Mapping the classes of a source to labels: all of them, or those chosen with `--classes`.

`--classes` has one entry per label: `name`, or `old=new` for a class with a new name. Entries with
the same new name become one class.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from ssd_core.data.findings import Findings
from ssd_core.errors import DataError, UsageError, unknown_name
from ssd_core.structures import ClassInfo

MAX_CLASSES = 10_000
_MAX_BYTES = 235
"""With a suffix, this is a file name everywhere."""


class ClassChoice(NamedTuple):
    """The classes of the converted data set, and the labels of the source's classes."""

    classes: tuple[ClassInfo, ...]
    """In label order."""
    labels: Mapping[str, int]
    """Label of each chosen class by its name in the source."""


def join_names(
    tables: Mapping[str, Mapping[int, str]], wanted: Sequence[str] | None, findings: Findings
) -> dict[str, int]:
    """Return the id of each class name: the splits may number the same names differently.

    `tables` has the names by id of each file or split, the training split first. Names that occur
    twice in a table become findings.

    Raises:
        DataError: another split has a class that the first one lacks, and none are `wanted`.
    """
    ids: dict[str, int] = {}
    first, *others = tables or [""]
    for place, table in tables.items():
        repeated = {} if place in others and table == tables[first] else Counter(table.values())
        for name, count in repeated.items():
            if count > 1:
                findings.add("class_name_twice", place, f"{count} classes are named '{name}'")
        for number, name in table.items():
            if wanted is None and place != first and name not in ids:
                raise DataError(
                    f"{place}: its classes differ from those of {first}: {number} '{name}'; choose "
                    "the classes: --classes, convert.classes"
                )
            ids.setdefault(name, number)
    return ids


def choose_classes(
    known: Mapping[str, int | None], wanted: Sequence[str] | None = None
) -> ClassChoice:
    """Give the wanted classes labels from 1 in their order; without a choice, all classes.

    `known` has the id of each class of the source, if it has ids; `wanted` the entries of
    `--classes`.
    """
    if wanted is None:
        entries = dict(zip(known, known, strict=True))
    else:
        entries = parse_entries(wanted, known)
    classes: dict[str, ClassInfo] = {}
    labels: dict[str, int] = {}
    for old, new in entries.items():
        if old not in known:
            comma = "; names with commas need a file of names: --classes FILE"
            error = unknown_name("class", old, known)
            raise UsageError(f"{error}{comma if any(',' in name for name in known) else ''}")
        if new not in classes:
            _check_name(new)
            label, number = len(classes) + 1, known[old]
            category_id = label if number is None else number
            classes[new] = ClassInfo(label=label, name=new, category_id=category_id)
        labels[old] = classes[new].label
    return ClassChoice(tuple(classes.values()), labels)


def _check_name(name: str) -> None:
    if name.encode(errors="replace").decode() != name:  # half a character: "\ud800" in JSON
        raise DataError(f"the class name '{name}' is not text; expected whole characters")
    if not name.strip() or name.splitlines() != [name] or len(name.encode()) > _MAX_BYTES:
        raise DataError(
            f"the class name '{name:.40}' is not a line of at most {_MAX_BYTES} bytes; correct it "
            "in the annotations, or choose others: --classes, convert.classes"
        )


def parse_entries(wanted: Sequence[str], known: Collection[str] = ()) -> dict[str, str]:
    """Return the new names by the old ones; `known` names may contain `=`, or blanks at an end."""
    entries: dict[str, str] = {}
    for entry in wanted:
        old, new = _parse_entry(entry, known)
        if not old or not new:
            raise UsageError(f"--classes: '{entry}' is neither a name nor old=new")
        if old in entries:
            raise UsageError(f"--classes names a class twice: {old}")
        entries[old] = new
    return entries


def _parse_entry(entry: str, known: Collection[str]) -> tuple[str, str]:
    if entry in known:
        return entry, entry
    for cut in (index for index in reversed(range(len(entry))) if entry[index] == "="):
        for old in (entry[:cut], entry[:cut].strip()):
            if old in known:
                return old, entry[cut + 1 :].strip()
    old, separator, new = (part.strip() for part in entry.partition("="))
    return old, new if separator else old


def known_numbers(wanted: Sequence[str] | None, first: int) -> range:
    """Return the valid class numbers of a source that does not name its classes.

    A plain list of names covers all classes; otherwise a number of 10,000 or more is not a class
    but a shifted column.
    """
    is_list = wanted is not None and all("=" not in entry for entry in wanted)
    return range(first, first + (len(wanted or ()) if is_list else MAX_CLASSES))


def describe_numbers(known: Collection[int]) -> str:
    """Describe the valid class numbers for a message."""
    first = min(known, default=0)
    return f"{first} to {max(known)}" if len(known) < MAX_CLASSES else f"an integer from {first}"


def choose_numbers(seen: Iterable[str], wanted: Sequence[str] | None, first: int) -> ClassChoice:
    """Choose among classes whose names are numbers; a plain name means the number of its position.

    The classes are all from `first` to the largest number `seen` or wanted.
    """
    numbers = list(map(int, seen))
    if wanted is not None:
        wanted = [
            entry if "=" in entry else f"{number}={entry}"
            for number, entry in enumerate(wanted, start=first)
        ]
        limit = len(str(MAX_CLASSES))
        numbers += [int(n) for n in parse_entries(wanted) if n.isdecimal() and len(n) < limit]
    known = range(first, max(numbers, default=first - 1) + 1)
    return choose_classes({str(number): number for number in known}, wanted)
