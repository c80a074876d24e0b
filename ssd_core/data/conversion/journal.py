"""The journal of an unfinished conversion: which parts are done, so that a rerun keeps them."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ssd_core.config import SplitName
from ssd_core.data.findings import Finding
from ssd_core.data.shards.manifest import Shard
from ssd_core.store.local import LocalDirectory, explain_disk_errors, write_file

JOURNAL_FILE = "journal.jsonl"


class Entry(BaseModel):
    """One finished part, with everything that would be lost by not doing its images again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: SplitName
    index: int
    """Of the part within the split."""
    shards: tuple[Shard, ...]
    """Its files; none where all its images were dropped."""
    boxes: int
    max_boxes: int
    fingerprints: tuple[int, ...]
    """Of all images of the part, in order, to find equal ones; 0 for those that were dropped."""
    counts: Mapping[str, int]
    """Findings by code."""
    findings: Sequence[Finding]


class Journal:
    """Lines of `journal.jsonl`: the listing key, then an entry for each finished part."""

    def __init__(self, out_dir: Path, listing_key: str) -> None:
        """Keep what an interrupted run with the same key has finished."""
        self._path = out_dir / JOURNAL_FILE
        self._entries = {
            (entry.split, entry.index): entry
            for entry in _read(self._path, listing_key)
            if all(shard.is_in(LocalDirectory(out_dir)) for shard in entry.shards)
        }
        lines = [json.dumps(listing_key)]
        lines += [entry.model_dump_json() for entry in self._entries.values()]
        write_file(self._path, "".join(f"{line}\n" for line in lines))

    def find(self, split: SplitName, index: int) -> Entry | None:
        """Return the entry of a part that need not be packed again."""
        return self._entries.get((split, index))

    def add(self, entry: Entry) -> None:
        """Record a part whose shards have their final names."""
        with explain_disk_errors(self._path), self._path.open("a") as file:
            file.write(entry.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())


def journalled_shards(out_dir: Path) -> set[str]:
    """Return the names of the shards that a journal lists, whichever conversion wrote it."""
    return {shard.name for entry in _read(out_dir / JOURNAL_FILE) for shard in entry.shards}


def _read(path: Path, listing_key: str | None = None) -> list[Entry]:
    """Return the entries of a journal, if its key is this; a line cut off by a kill ends it."""
    try:
        key, *lines = path.read_text().rstrip("\n").split("\n")  # names may hold other breaks
    except (FileNotFoundError, ValueError):
        return []
    entries: list[Entry] = []
    if listing_key is not None and key != json.dumps(listing_key):
        return entries
    for line in lines:
        try:
            entries.append(Entry.model_validate_json(line))
        except ValidationError:
            break
    return entries
