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

ClassKey = str | int
"""The class of an object as the source has it: a name, a number, or the id of a category."""

_MAX_NUMBERS = 10_000


class ClassChoice(NamedTuple):
    """The classes of the converted data set, and the labels of the source's classes."""

    classes: tuple[ClassInfo, ...]
    """In label order."""
    labels: Mapping[ClassKey, int]
    """Label of each chosen class of the source."""
    names: Mapping[ClassKey, str]
    """Name of every class of the source."""


def common_names(
    named: Mapping[str, Mapping[ClassKey, str]], findings: Findings
) -> Mapping[ClassKey, str]:
    """Return the class names, which all splits must share; repeated names become findings.

    They are given by the split or file that defines them.
    """
    (first, known), *others = named.items()
    for place, names in others:
        if names != known:
            key, name = sorted({*names.items()} ^ {*known.items()}, key=str)[0]
            raise DataError(f"{place}: its classes differ from those of {first}: {key} '{name}'")
    for name, count in Counter(known.values()).items():
        if count > 1:
            findings.add("class_name_twice", first, f"{count} classes are named '{name}'")
    return known


def choose_classes(known: Mapping[ClassKey, str], wanted: Sequence[str] | None) -> ClassChoice:
    """Give the wanted classes labels from 1 in their order; without a choice, all classes.

    Classes of the source that share a name become one. `known` has the name of each class of the
    source, `wanted` the entries of `--classes`.
    """
    keys: dict[str, list[ClassKey]] = {}
    for key, name in known.items():
        if name.encode(errors="replace").decode() != name:  # half a character: "\\ud800" in JSON
            raise DataError(f"the class name '{name}' is not text; expected whole characters")
        keys.setdefault(name, []).append(key)
    entries = dict(zip(keys, keys, strict=True)) if wanted is None else parse_entries(wanted)
    classes: dict[str, ClassInfo] = {}
    labels: dict[ClassKey, int] = {}
    for old, new in entries.items():
        if old not in keys:
            raise unknown_name("class", old, keys)
        if new not in classes:
            label, first = len(classes) + 1, keys[old][0]
            category_id = first if isinstance(first, int) else label
            classes[new] = ClassInfo(label=label, name=new, category_id=category_id)
        labels |= dict.fromkeys(keys[old], classes[new].label)
    return ClassChoice(tuple(classes.values()), labels, known)


def parse_entries(wanted: Sequence[str]) -> dict[str, str]:
    """Return the new names by the old ones."""
    entries: dict[str, str] = {}
    for entry in wanted:
        old, separator, new = (part.strip() for part in entry.partition("="))
        new = new if separator else old
        if not old or not new:
            raise UsageError(f"--classes: '{entry}' is neither a name nor old=new")
        if old in entries:
            raise UsageError(f"--classes names a class twice: {old}")
        entries[old] = new
    return entries


def known_numbers(wanted: Sequence[str] | None, first: int) -> range:
    """Return the valid class numbers of a source that does not name its classes.

    A plain list of names covers all classes; otherwise a number of 10,000 or more is not a class
    but a shifted column.
    """
    is_list = wanted is not None and all("=" not in entry for entry in wanted)
    return range(first, first + (len(wanted or ()) if is_list else _MAX_NUMBERS))


def describe_numbers(known: Collection[int]) -> str:
    """Describe the valid class numbers for a message."""
    first = min(known, default=0)
    return f"{first} to {max(known)}" if len(known) < _MAX_NUMBERS else f"an integer from {first}"


def choose_numbers(
    seen: Iterable[ClassKey], wanted: Sequence[str] | None, first: int
) -> ClassChoice:
    """Choose among classes that are numbers; a plain name means the number of its position.

    The classes are all from `first` to the largest number `seen` or wanted; without a choice their
    names are their numbers.
    """
    numbers = [number for number in seen if isinstance(number, int)]
    if wanted is not None:
        wanted = [
            entry if "=" in entry else f"{number}={entry}"
            for number, entry in enumerate(wanted, start=first)
        ]
        limit = len(str(_MAX_NUMBERS))
        numbers += [int(n) for n in parse_entries(wanted) if n.isdecimal() and len(n) < limit]
    known = range(first, max(numbers, default=first - 1) + 1)
    return choose_classes({number: str(number) for number in known}, wanted)
