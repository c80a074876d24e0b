"""The journals of an unfinished conversion: its finished parts, which a rerun keeps.

`ssd convert --share I/N` writes one of its own, so that shares run beside each other; a conversion
without a share keeps the parts of all journals.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ssd_core.config import SplitName
from ssd_core.data.findings import Finding
from ssd_core.data.shards.files import verify_shard
from ssd_core.data.shards.manifest import SHARD_NAME, Shard
from ssd_core.data.shards.mindrecord.format import FILE_NAMES, INDEX_SUFFIX
from ssd_core.errors import DataError, UsageError
from ssd_core.logs import logger
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.local import explain_disk_errors, flush_descriptor, write_file

JOURNAL_NAME = re.compile(r"journal(-\d+-of-\d+)?\.jsonl")
"""Names of journals: of a whole conversion, and of a share."""
_KEY = re.compile(r'"[0-9a-f]{64}"')
_MINDRECORD = {name + suffix for name in FILE_NAMES.values() for suffix in ("", INDEX_SUFFIX)}


@dataclass(frozen=True, slots=True)
class Share:
    """Every `count`-th part of a conversion, the first one being part `index` of all splits."""

    index: int
    """From 1 to `count`."""
    count: int

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Return the share that `I/N` names.

        Raises:
            UsageError: the text is something else.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
        index, count = map(int, match.groups()) if match else (0, 0)
        if not 1 <= index <= count:
            raise UsageError(f"share '{text}': expected I/N with 1 <= I <= N, for example 2/8")
        return cls(index, count)

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"

    @property
    def slice(self) -> slice:
        """The numbers of its parts."""
        return slice(self.index - 1, None, self.count)


def journal_name(share: Share | None) -> str:
    """Return the name of the journal of a share, or of a whole conversion."""
    return f"journal-{share}.jsonl" if share else "journal.jsonl"


class PackedPart(BaseModel):
    """The result of packing one part; a rerun needs nothing else of its images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: SplitName
    index: int
    """Of the part within the split."""
    shards: tuple[Shard, ...]
    """Its files; empty if all its images were dropped."""
    boxes: int
    max_boxes: int
    fingerprints: tuple[int, ...]
    """Of all images of the part, in order, to find equal images; 0 for dropped images."""
    counts: Mapping[str, int]
    """Findings by code."""
    findings: Sequence[Finding]


class Journal:
    """One line for the listing key, then one per finished part."""

    def __init__(
        self,
        out_dir: Path,
        listing_key: str,
        *,
        share: Share | None = None,
        shares_dir: Location | None = None,
    ) -> None:
        """Keep the intact parts of an interrupted run with the same key, and those of shares.

        Args:
            out_dir: directory of the journal and its shards.
            listing_key: of the conversion.
            share: whose journal it is; None for that of the whole conversion.
            shares_dir: directory with the journals and shards of shares.
        """
        self._path = out_dir / journal_name(share)
        own_dir = LocalDirectory(out_dir)
        parts = list(_shared_parts(shares_dir or own_dir, listing_key, share, self._path.name))
        parts += [
            part
            for part in _read_parts(own_dir, self._path.name, listing_key)
            if all(_is_intact(out_dir, shard) for shard in part.shards)
        ]
        self._parts = {(part.split, part.index): part for part in parts}
        lines = [json.dumps(listing_key)]
        lines += [part.model_dump_json() for part in self._parts.values()]
        write_file(self._path, "".join(f"{line}\n" for line in lines))

    def find(self, split: SplitName, index: int) -> PackedPart | None:
        """Return a part that is already packed, or None."""
        return self._parts.get((split, index))

    def add(self, part: PackedPart) -> None:
        """Record a part whose shards have their final names."""
        with explain_disk_errors(self._path), self._path.open("a") as file:
            file.write(part.model_dump_json() + "\n")
            file.flush()
            flush_descriptor(file.fileno())


def journalled_shards(out_dir: Path, name: str) -> tuple[Shard, ...] | None:
    """Return the shards that a journal of a conversion lists, or None without such a journal.

    Another program may use this file name, too: a file with a line that no conversion writes is
    not a journal. Only the last line may be incomplete, after a kill.
    """
    key, parts, rest = _read(LocalDirectory(out_dir), name)
    shards = tuple(shard for part in parts for shard in part.shards)
    is_whole = not rest or (len(rest) == 1 and not rest[0].endswith("\n"))
    are_ours = all(SHARD_NAME.fullmatch(s.name) or s.name in _MINDRECORD for s in shards)
    return shards if is_whole and are_ours and _KEY.fullmatch(key) else None


def _shared_parts(
    directory: Location, listing_key: str, share: Share | None, own_name: str
) -> Iterator[PackedPart]:
    """Yield the parts of shares whose shards are there: of all, or only of `share` itself.

    Hashing the shards again would undo the division of work; a reader does it.
    """
    sizes = {found.key: found.num_bytes for found in directory.list()}
    names = {journal_name(share)} if share else set(filter(JOURNAL_NAME.fullmatch, sizes))
    if directory.local is not None:
        names -= {own_name}
    for name in sorted(names):
        for part in _read_parts(directory, name, listing_key):
            if all(sizes.get(shard.name) == shard.num_bytes for shard in part.shards):
                yield part


def _read_parts(directory: Location, name: str, listing_key: str) -> list[PackedPart]:
    """Return the parts in a journal of the conversion with this key."""
    key, parts, _ = _read(directory, name)
    if key == json.dumps(listing_key):
        return parts
    if parts:
        logger.warning(
            "%s/%s: the source or an option has changed since, so its shards are written again",
            directory,
            name,
        )
    return []


def _read(directory: Location, name: str) -> tuple[str, list[PackedPart], list[str]]:
    """Return the key as JSON, the parts up to a line that is not one, and the lines from there."""
    try:
        text = directory.get(name).decode()
    except (FileNotFoundError, UnicodeDecodeError):
        return "", [], []
    key, *lines = re.findall(r"[^\n]*\n|[^\n]+$", text) or [""]  # names may hold other breaks
    parts: list[PackedPart] = []
    for line in lines:
        try:
            parts.append(PackedPart.model_validate_json(line))
        except ValidationError:
            break
    return key.rstrip("\n"), parts, lines[len(parts) :]


def _is_intact(out_dir: Path, shard: Shard) -> bool:
    try:
        verify_shard(out_dir, shard)
    except DataError:
        return False
    return True
