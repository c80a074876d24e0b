"""Adopt MindRecord files as they are: check, count and hash them, and say what they hold.

The files of MindSpore's SSD have no names of classes, no sizes and no crowds. They are not changed.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.checking.samples import check_sample
from ssd_core.data.findings import Findings
from ssd_core.data.formats import READERS
from ssd_core.data.formats.classes import parse_entries
from ssd_core.data.formats.splits import find_split
from ssd_core.data.shards.files import OwnFiles
from ssd_core.data.shards.manifest import (
    SCHEMA_VERSION,
    ClassEntry,
    Manifest,
    Shard,
    Split,
    content_digest,
)
from ssd_core.data.shards.mindrecord.format import INDEX_SUFFIX, describe_files, read_header
from ssd_core.data.shards.mindrecord.reader import MindRecordRows
from ssd_core.data.sources.base import Source
from ssd_core.data.sources.folder import FolderSource
from ssd_core.errors import DataError, OwnershipError, UsageError
from ssd_core.logs import Progress, logger
from ssd_core.store.local import explain_disk_errors, make_directory, replace_file
from ssd_core.store.location import PARTIAL_PREFIX


def is_adopted(source: Source, config: ConvertConfig) -> bool:
    """Say whether the source holds MindRecord files, and no other format is asked for or seen.

    Raises:
        UsageError: it does, but MindRecord is not what the result should be.
    """
    if config.format not in {"auto", "mindrecord"}:
        return False
    if config.format == "auto":
        is_other = not _find_names(source) or any(r.find_places(source) for r in READERS.values())
        if is_other:
            return False
    if config.shards != "mindrecord":
        raise UsageError(
            f"{source.uri}: MindRecord files are adopted as they are; add --shards mindrecord"
        )
    return True


def adopt_dataset(
    source: Source,
    config: ConvertConfig,
    out_dir: Path,
    *,
    listing_key: str,
    existing: Manifest | None = None,
) -> Manifest:
    """Take the files into `out_dir`, and return their manifest; see `pack_dataset`.

    Raises:
        UsageError: a policy, split or class that does not fit.
        OwnershipError: the result would not be the `existing` data set.
        DataError: the files are damaged, incomplete or of another kind, or an image is unusable.
        SurroundingsError: the disk is full.
    """
    if config.policy == "skip":
        raise UsageError("MindRecord files are adopted as they are: no image can be left out")
    places, shards = _take_files(source, config, out_dir, existing)
    findings = Findings(config.policy)
    splits: dict[SplitName, Split] = {}
    max_label = 0
    for name, files in shards.items():
        rows = MindRecordRows(OwnFiles(out_dir), files)
        splits[name], label = _check_split(rows, name, config, findings)
        max_label = max(max_label, label)
    findings.write(out_dir)
    findings.log()
    findings.check(out_dir, dropped=0, listed=0, max_skipped=0)
    classes = _name_classes(config, max_label)
    options = config.model_dump(mode="json")
    return Manifest(
        schema_version=SCHEMA_VERSION,
        format="mindrecord",
        classes=classes,
        splits=splits,
        source={"uri": source.uri, "format": "mindrecord"} | dict(places),
        options=options,
        findings=dict(sorted(findings.counts.items())),
        digest=content_digest(classes, splits, options),
        listing_key=listing_key,
    )


def _take_files(
    source: Source, config: ConvertConfig, out_dir: Path, existing: Manifest | None
) -> tuple[dict[SplitName, str], dict[SplitName, tuple[Shard, ...]]]:
    """Bring the files into `out_dir`; return the first file and all of each split."""
    names = [f"{name}{suffix}" for name in _find_names(source) for suffix in ("", INDEX_SUFFIX)]
    with folder_with(source, names, out_dir) as folder:
        sets = _find_sets(source, folder)
        places = _choose_splits(sets, config)
        shards = {name: describe_files(folder, sets[place]) for name, place in places.items()}
        if existing is not None and shards != {n: s.shards for n, s in existing.splits.items()}:
            raise OwnershipError(
                f"{out_dir} holds another data set: the source has changed since; "
                "choose another --out, or remove it"
            )
        for shard in chain(*shards.values()):
            take_file(folder / shard.name, out_dir / shard.name)
    return places, shards


def _find_names(source: Source) -> list[str]:
    """Return the files that have the index of a MindRecord file beside them."""
    return [name for name in source.files if f"{name}{INDEX_SUFFIX}" in source.files]


def _find_sets(source: Source, folder: Path) -> dict[str, list[str]]:
    """Return the files of each set by the name of its first file.

    Args:
        source: where the files are.
        folder: the same, or copies of them.

    Raises:
        DataError: there are none, or a set is incomplete.
    """
    sets = {}
    for name in _find_names(source):
        prefix = name[: name.rfind("/") + 1]
        names = [prefix + file for file in read_header(folder / name).files]
        for other in names:
            for wanted in (other, f"{other}{INDEX_SUFFIX}"):
                if wanted not in source.files:
                    raise DataError(f"{name}: belongs to {wanted}, which is not in {source.uri}")
        sets[names[0]] = names
    if not sets:
        raise DataError(
            f"{source.uri}: holds no MindRecord file with its {INDEX_SUFFIX} file beside it"
        )
    return sets


def _choose_splits(sets: Mapping[str, object], config: ConvertConfig) -> dict[SplitName, str]:
    val = config.val or find_split(sets, "val")
    others = [place for place in sets if place != val]
    train = config.train or find_split(others, "train") or (others[0] if len(others) == 1 else None)
    if train is None:
        raise UsageError(f"which is the training split? Name it with --train: {', '.join(sets)}")
    places: dict[SplitName, str] = {"train": train}
    if val is not None:
        places["val"] = val
    for split, place in places.items():
        if place not in sets:
            raise UsageError(f"--{split} {place}: no such set; there are: {', '.join(sets)}")
        logger.info("%s: %s", split, place)
    return places


def _check_split(
    rows: MindRecordRows, split: SplitName, config: ConvertConfig, findings: Findings
) -> tuple[Split, int]:
    """Check every image of a split; return what the manifest says of it, and the largest label."""
    counts, max_label = [0], 0
    num_images = sum(shard.rows for shard in rows.shards)
    with Progress(f"adopt: {split} image", num_images) as progress:
        for index, sample, image in rows.samples(range(num_images)):
            labels = sample.annotations.labels
            if len(labels) and labels.min() < 1:
                raise DataError(f"{sample.place}: has class {labels.min()}; expected 1, 2, ...")
            checked = check_sample(
                sample,
                image,
                findings,
                max_pixels=config.max_pixels,
                is_decoded=config.decode_check,
            )
            if checked is not None:
                counts.append(len(checked.annotations))
                max_label = max(max_label, *checked.annotations.labels.tolist(), 0)
            elif not findings.stops:
                raise DataError(
                    f"{sample.place}: {findings.listed[-1].detail}; MindRecord files are adopted "
                    "as they are, so no image can be left out"
                )
            progress.update(index + 1)
    return Split(
        images=num_images, boxes=sum(counts), max_boxes=max(counts), shards=rows.shards
    ), max_label


def _name_classes(config: ConvertConfig, max_label: int) -> tuple[ClassEntry, ...]:
    """Return the classes 1..K; without --classes the number is the name."""
    if not max_label:
        raise DataError("the MindRecord files have no objects; expected at least one")
    entries = parse_entries(config.classes or [str(k) for k in range(1, max_label + 1)])
    renamed = [old for old, new in entries.items() if old != new]
    if renamed:
        raise UsageError(
            f"--classes {renamed[0]}=...: the labels in MindRecord files cannot be changed; "
            "expected a name for each label"
        )
    if len(entries) < max_label:
        raise DataError(f"class {max_label} occurs, but --classes has {len(entries)} names")
    return tuple(
        ClassEntry(label=label, name=name, category_id=label)
        for label, name in enumerate(entries, start=1)
    )


_PIECE_BYTES = 2**25


@contextmanager
def folder_with(source: Source, names: Sequence[str], out_dir: Path) -> Iterator[Path]:
    """Give a folder that holds files of the source; those of a store are there only meanwhile.

    Raises:
        DataError: an object is gone.
        SurroundingsError: the store is away, or the disk is full.
    """
    if isinstance(source, FolderSource):
        yield Path(source.uri)
        return
    copies_dir = out_dir / f"{PARTIAL_PREFIX}source"
    try:
        for name in names:
            logger.info("fetching %s", name)
            _fetch(source, name, copies_dir / name)
        yield copies_dir
    finally:
        shutil.rmtree(copies_dir, ignore_errors=True)


def _fetch(source: Source, name: str, path: Path) -> None:
    with replace_file(path) as partial_path, partial_path.open("wb") as file:
        for start in range(0, source.files[name].num_bytes, _PIECE_BYTES):
            file.write(source.read_part(name, start, _PIECE_BYTES))


def take_file(path: Path, new_path: Path) -> None:
    """Link a file, or copy it to another disk; nothing is done where it is the same file."""
    with explain_disk_errors(new_path):
        if new_path.exists() and new_path.samefile(path):
            return
        make_directory(new_path.parent)
        link_path = new_path.with_name(f"{PARTIAL_PREFIX}{new_path.name}")
        link_path.unlink(missing_ok=True)
        try:
            os.link(path, link_path)
            os.replace(link_path, new_path)
        except OSError:
            with replace_file(new_path) as partial_path:
                shutil.copyfile(path, partial_path)
