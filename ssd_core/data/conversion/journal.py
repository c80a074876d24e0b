"""The journal of an unfinished conversion: its finished parts, which a rerun keeps."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ssd_core.config import SplitName
from ssd_core.data.findings import Finding
from ssd_core.data.shards.files import verify_shard
from ssd_core.data.shards.manifest import SHARD_NAME, Shard
from ssd_core.data.shards.mindrecord.format import FILE_NAMES, INDEX_SUFFIX
from ssd_core.errors import DataError
from ssd_core.store.local import explain_disk_errors, flush_descriptor, write_file

JOURNAL_FILE = "journal.jsonl"
_KEY = re.compile(r'"[0-9a-f]{64}"')
_MINDRECORD = {name + suffix for name in FILE_NAMES.values() for suffix in ("", INDEX_SUFFIX)}


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
    """The file `journal.jsonl`: one line for the listing key, then one per finished part."""

    def __init__(self, out_dir: Path, listing_key: str) -> None:
        """Keep the intact parts of an interrupted run with the same key."""
        self._path = out_dir / JOURNAL_FILE
        key, parts, _ = _read(self._path)
        self._parts = {
            (part.split, part.index): part
            for part in parts
            if key == json.dumps(listing_key)
            and all(_is_intact(out_dir, shard) for shard in part.shards)
        }
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


def journalled_shards(out_dir: Path) -> tuple[Shard, ...] | None:
    """Return the shards that the journal of a conversion lists, or None without such a journal.

    Another program may use this file name, too: a file with a line that no conversion writes is
    not a journal. Only the last line may be incomplete, after a kill.
    """
    key, parts, rest = _read(out_dir / JOURNAL_FILE)
    shards = tuple(shard for part in parts for shard in part.shards)
    is_whole = not rest or (len(rest) == 1 and not rest[0].endswith("\n"))
    are_ours = all(SHARD_NAME.fullmatch(s.name) or s.name in _MINDRECORD for s in shards)
    return shards if is_whole and are_ours and _KEY.fullmatch(key) else None


def _read(path: Path) -> tuple[str, list[PackedPart], list[str]]:
    """Return the key as JSON, the parts up to a line that is not one, and the lines from there."""
    try:
        text = path.read_text()
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
