"""Adopt existing MindRecord files unchanged: check, count and hash them.

Files written by MindSpore's SSD have no class names, no image sizes and no crowds.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.checking.duplicates import SeenImage, report_equal_images, take_fingerprint
from ssd_core.data.checking.samples import check_sample
from ssd_core.data.conversion.part import Conversion
from ssd_core.data.findings import Findings
from ssd_core.data.formats import READERS
from ssd_core.data.formats.classes import parse_entries
from ssd_core.data.formats.splits import choose_splits
from ssd_core.data.shards.files import ShardFiles
from ssd_core.data.shards.manifest import Manifest, Shard, Split, make_manifest, other_dataset
from ssd_core.data.shards.mindrecord.files import MindRecordRows
from ssd_core.data.shards.mindrecord.format import INDEX_SUFFIX, describe_files, read_header
from ssd_core.data.sources.base import Source
from ssd_core.data.sources.folder import FolderSource
from ssd_core.errors import DataError, UsageError
from ssd_core.logs import Progress, logger
from ssd_core.store import LocalDirectory
from ssd_core.store.local import explain_disk_errors, make_directory, replace_file
from ssd_core.store.location import PARTIAL_PREFIX
from ssd_core.structures import ClassInfo

_BLOCK_BYTES = 2**25


def is_mindrecord(source: Source, config: ConvertConfig) -> bool:
    """Return whether MindRecord is the format that is set, or the only one that is found."""
    if config.format != "auto":
        return config.format == "mindrecord"
    return bool(_find_names(source)) and not any(r.find_places(source) for r in READERS.values())


def adopt_source(conversion: Conversion, findings: Findings) -> Manifest:
    """Link or copy the files into the output directory and check every image."""
    config = conversion.config
    if config.shards != "mindrecord":
        raise UsageError(
            f"{conversion.source.uri}: MindRecord files are adopted unchanged; "
            "add --shards mindrecord"
        )
    if config.policy == "skip":
        raise UsageError(
            "MindRecord files are adopted unchanged, so images cannot be skipped; "
            "choose --policy strict or repair"
        )
    places, shards = _take_files(conversion)
    files = ShardFiles(LocalDirectory(conversion.out_dir))
    rows = {name: MindRecordRows(files, each) for name, each in shards.items()}
    splits: dict[SplitName, Split] = {}
    max_label = 0
    seen: dict[SeenImage, int] = {}
    for name in rows:
        splits[name], label, images = _check_split(rows[name], name, config, findings)
        max_label = max(max_label, label)
        seen |= images
    report_equal_images(
        lambda image: b"".join(part for *_, part in rows[image.split].samples([seen[image]])),
        seen,
        findings,
    )
    findings.report(conversion.target)
    findings.check(conversion.target, dropped=0, listed=0, objects=0, max_skipped=0)
    return make_manifest(
        config,
        source={"uri": conversion.source.uri, "format": "mindrecord"} | dict(places),
        classes=_name_classes(config, max_label),
        splits=splits,
        findings=findings.counts,
        listing_key=conversion.listing_key,
    )


def _take_files(
    conversion: Conversion,
) -> tuple[dict[SplitName, str], dict[SplitName, tuple[Shard, ...]]]:
    """Bring the files into the output directory; return the first file and all shards per split."""
    source, out_dir, existing = conversion.source, conversion.out_dir, conversion.existing
    names = [f"{name}{suffix}" for name in _find_names(source) for suffix in ("", INDEX_SUFFIX)]
    with _local_folder(source, names, out_dir) as folder:
        sets = _find_sets(source, folder)
        places = _choose_splits(sets, conversion.config)
        shards = {name: describe_files(folder, sets[place]) for name, place in places.items()}
        if existing is not None and shards != {n: s.shards for n, s in existing.splits.items()}:
            raise other_dataset(out_dir, "the source has changed since")
        for shard in chain(*shards.values()):
            _take_file(folder / shard.name, out_dir / shard.name)
    return places, shards


def _find_names(source: Source) -> list[str]:
    """Return the files that have a MindRecord index file beside them."""
    return [name for name in source.files if f"{name}{INDEX_SUFFIX}" in source.files]


def _find_sets(source: Source, folder: Path) -> dict[str, list[str]]:
    """Return the files of each set by the name of its first file; `folder` contains copies."""
    sets = {}
    for name in _find_names(source):
        prefix = name[: name.rfind("/") + 1]
        names = [prefix + file for file in read_header(folder / name).files]
        for other in names:
            for required in (other, f"{other}{INDEX_SUFFIX}"):
                if required not in source.files:
                    raise DataError(
                        f"{name}: belongs to {required}, which is missing in {source.uri}"
                    )
        sets[names[0]] = names
    if not sets:
        raise DataError(
            f"{source.uri}: contains no MindRecord file with its {INDEX_SUFFIX} file beside it"
        )
    return sets


def _choose_splits(sets: Mapping[str, object], config: ConvertConfig) -> dict[SplitName, str]:
    """Return the first file of each split; MindSpore's SSD does not name that of training."""
    places = choose_splits([*sets], config)
    others = sets.keys() - places.values()
    if "train" not in places:
        if len(others) != 1:
            raise UsageError(
                f"the training split is ambiguous; set --train to one of {', '.join(sets)}"
            )
        places = {"train": others.pop(), **places}
    for split, place in places.items():
        if place not in sets:
            raise UsageError(f"--{split} {place}: no such set; there are: {', '.join(sets)}")
        logger.info("%s: %s", split, place)
    return places


def _check_split(
    rows: MindRecordRows, split: SplitName, config: ConvertConfig, findings: Findings
) -> tuple[Split, int, dict[SeenImage, int]]:
    """Check every image; return the split's manifest entry, largest label, and rows of images."""
    counts, max_label = [0], 0
    seen: dict[SeenImage, int] = {}
    num_images = sum(shard.rows for shard in rows.shards)
    with Progress(f"adopt: {split} image", num_images) as progress:
        for index, sample, image in rows.samples(range(num_images)):
            labels = sample.annotations.labels
            if len(labels) and labels.min() < 1:
                raise DataError(f"{sample.place}: has class {labels.min()}; expected 1, 2, ...")
            checked = check_sample(sample, image, config, findings)
            if checked is not None:
                seen[SeenImage(split, sample.place, take_fingerprint(image))] = index
                counts.append(len(checked.annotations))
                max_label = max(max_label, *checked.annotations.labels.tolist(), 0)
            elif not findings.stops:
                raise DataError(
                    f"{sample.place}: {findings.listed[-1].detail}; MindRecord files are adopted "
                    "unchanged, so images cannot be dropped"
                )
            progress.update(index + 1)
    entry = Split(images=num_images, boxes=sum(counts), max_boxes=max(counts), shards=rows.shards)
    return entry, max_label, seen


def _name_classes(config: ConvertConfig, max_label: int) -> tuple[ClassInfo, ...]:
    """Return the classes 1..K; without --classes, the number is the name."""
    if not max_label:
        raise DataError("the MindRecord files contain no objects; expected at least one")
    entries = parse_entries(config.classes or [str(k) for k in range(1, max_label + 1)])
    renamed = [old for old, new in entries.items() if old != new]
    if renamed:
        raise UsageError(
            f"--classes {renamed[0]}=...: the labels in MindRecord files cannot be changed; "
            "give one name per label"
        )
    if len(entries) < max_label:
        raise DataError(f"class {max_label} occurs, but --classes has {len(entries)} names")
    return tuple(
        ClassInfo(label=label, name=name, category_id=label)
        for label, name in enumerate(entries, start=1)
    )


@contextmanager
def _local_folder(source: Source, names: Sequence[str], out_dir: Path) -> Iterator[Path]:
    """Yield a folder with the files; files from a store are copied and removed at the end."""
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
        for start in range(0, source.files[name].num_bytes, _BLOCK_BYTES):
            file.write(source.read_part(name, start, _BLOCK_BYTES))


def _take_file(path: Path, new_path: Path) -> None:
    """Link a file, or copy it to another disk; do nothing if both paths are the same file."""
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
