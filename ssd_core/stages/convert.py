"""Convert a source data set: from labelled images to checked shards."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ssd_core.config import ConvertConfig, differences
from ssd_core.data.conversion.journal import Share
from ssd_core.data.conversion.ownership import find_strays, lock_dataset, remove
from ssd_core.data.conversion.pack import pack_dataset
from ssd_core.data.conversion.part import Conversion
from ssd_core.data.conversion.publish import check_writable, publish_dataset
from ssd_core.data.shards.files import check_shard_sizes
from ssd_core.data.shards.manifest import (
    CONVERTER_VERSION,
    Manifest,
    find_converter,
    listing_key,
    other_dataset,
    read_if_any,
    read_manifest,
    write_manifest,
)
from ssd_core.data.sources import open_source
from ssd_core.data.sources.base import Source, read_head
from ssd_core.errors import DataError, OwnershipError, UsageError
from ssd_core.logs import announce, format_count, format_duration, logger
from ssd_core.process.packages import check_version
from ssd_core.stages.frame import (
    INVOCATION_FILE,
    RESULTS_FILE,
    Input,
    Invocation,
    Results,
    check_outside,
    run_stage,
)
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.layout import MANIFEST_FILE, Layout
from ssd_core.store.local import make_directory, own_temporary_directory
from ssd_core.structures import StageResult

_BESIDE = (INVOCATION_FILE, RESULTS_FILE)
"""Files of a data set in a store beside its manifest and shards."""


def run(config: ConvertConfig, source: str, out_dir: Location, *, workers: int = 1) -> StageResult:
    """Convert a data set, or return immediately if `out_dir` already holds the result.

    Writes the shards that no `convert_share` has written, `findings.json` if there are findings,
    and last `manifest.json`. A killed run leaves no manifest; a rerun keeps its finished shards. An
    output for a store is written to a temporary folder first and then uploaded.

    Args:
        config: the `convert` section.
        source: path or URI of the data set.
        out_dir: directory of the shards.
        workers: number of writing processes; does not affect the result.

    Raises:
        UsageError: the source does not exist or is converted already, or `out_dir` is inside it.
        OwnershipError: `out_dir` holds another data set.
        DataError: the data set has errors; `findings.json` in `out_dir` lists all findings.
    """
    opened = open_source(source)
    return _run(config, opened, find_key(config, opened), out_dir, workers)


def run_in(layout: Layout, config: ConvertConfig, source: str) -> StageResult:
    """Convert a data set into the directory that its listing key names, shared by all runs."""
    opened = open_source(source)
    key = find_key(config, opened)
    return _run(config, opened, key, layout.dataset(key), workers=1)


def find_key(config: ConvertConfig, source: Source) -> str:
    """Return the listing key of a conversion."""
    return listing_key(source.files, config.model_dump(mode="json"))


def _run(
    config: ConvertConfig, source: Source, key: str, out_dir: Location, workers: int
) -> StageResult:
    with begin(config, source, key, out_dir) as conversion:
        if out_dir.local is None:
            manifest = _convert_into_store(conversion, workers)
        else:
            manifest = _convert(conversion, workers)
    return StageResult(
        metrics={"images": _total(manifest, "images"), "boxes": _total(manifest, "boxes")},
        metadata={"uri": out_dir.uri, "digest": manifest.digest, "classes": len(manifest.classes)},
    )


@contextmanager
def begin(
    config: ConvertConfig,
    source: Source,
    key: str,
    out_dir: Location,
    share: Share | None = None,
) -> Iterator[Conversion]:
    """Check source and output, and hold the lock of the directory that the conversion writes to."""
    check_source(source, out_dir)
    if config.shards == "mindrecord":
        check_version("mindspore")
    staging = own_temporary_directory("staging") / (f"{key}-{share}" if share else key)
    conversion = Conversion(
        source=source,
        config=config,
        out_dir=out_dir.local or staging,
        target=out_dir,
        listing_key=key,
        share=share,
    )
    make_directory(conversion.out_dir)
    with lock_dataset(conversion.out_dir, shared=share is not None and out_dir.local is not None):
        yield conversion


def _convert_into_store(conversion: Conversion, workers: int) -> Manifest:
    """Convert in a temporary folder named by the listing key, so a rerun continues; then upload."""
    out_dir = conversion.target
    manifest = existing_manifest(out_dir, conversion.config)
    if manifest is not None and is_current(manifest, conversion.listing_key, out_dir):
        announce("%s: already converted, unchanged", out_dir)
    else:
        check_writable(out_dir)
        _convert(conversion, workers)
        manifest = publish_dataset(conversion.out_dir, out_dir, beside=_BESIDE)
    clear(conversion.out_dir)
    return manifest


def clear(folder: Path) -> None:
    """Remove the content of a folder, which stays: another process may wait for its lock."""
    for path in folder.iterdir():
        remove(path)


def _convert(conversion: Conversion, workers: int) -> Manifest:
    out_dir = LocalDirectory(conversion.out_dir)
    existing = existing_manifest(out_dir, conversion.config)

    def pack() -> Manifest:
        started = time.monotonic()
        manifest = pack_dataset(replace(conversion, existing=existing), workers=workers)
        write_manifest(conversion.out_dir, manifest)
        announce("%s, %s", _summary(manifest), format_duration(time.monotonic() - started))
        return manifest

    found = existing
    if existing is not None and is_current(existing, conversion.listing_key, out_dir):
        announce("%s: already converted, unchanged", out_dir)
    elif existing is not None:  # before run_stage: a refusal must leave the old data set as it is
        try:
            found = pack()
        except OwnershipError:
            _remove_strays(conversion.out_dir, existing)
            raise

    def work(folder: Path) -> Results:
        manifest = found or pack()
        _remove_strays(folder, manifest)
        return _results(manifest)

    inputs = {"source": Input(conversion.source.uri, conversion.listing_key)}
    invocation = Invocation(stage="convert", config=conversion.config, inputs=inputs)
    run_stage(invocation, out_dir, work, in_place=True)
    return read_manifest(out_dir)


def _remove_strays(data_dir: Path, manifest: Manifest) -> None:
    for path in find_strays(data_dir, manifest):
        remove(path)


def check_source(source: Source, out_dir: Location | None) -> None:
    """Refuse a converted data set as the source, and an output directory inside the source.

    Raises:
        UsageError: the source is converted already, or `out_dir` is inside it.
    """
    if MANIFEST_FILE in source.files and '"schema_version"' in read_head(source, MANIFEST_FILE):
        raise UsageError(
            f"{source.uri} is a converted data set, not a source; use it as it is: "
            f"'ssd train --data {source.uri}'"
        )
    if out_dir is not None:
        check_outside(out_dir, Location.parse(source.uri), "source")


def existing_manifest(out_dir: Location, config: ConvertConfig) -> Manifest | None:
    """Return the manifest of the data set in `out_dir`, or None without one.

    Raises:
        OwnershipError: other options or an earlier version wrote it, or it cannot be read.
    """
    try:
        manifest = read_if_any(out_dir)
    except DataError as error:
        raise OwnershipError(
            f"{out_dir} holds something else: {error}; choose another --out, or remove it"
        ) from None
    if manifest is None:
        return None
    if changes := differences(manifest.options, config.model_dump(mode="json")):
        raise other_dataset(out_dir, "; ".join(changes))
    if find_converter(manifest) != CONVERTER_VERSION:
        raise other_dataset(out_dir, "an earlier version of ssd-core converted it")
    return manifest


def is_current(manifest: Manifest, key: str, out_dir: Location) -> bool:
    """Return whether the source is unchanged and all shards exist."""
    if manifest.listing_key != key:
        return False
    try:
        check_shard_sizes(out_dir, manifest)
    except DataError as error:
        logger.warning("%s", error)
        return False
    return True


def _total(manifest: Manifest, field: str) -> int:
    return sum(getattr(split, field) for split in manifest.splits.values())


def _num_bytes(manifest: Manifest) -> int:
    return sum(shard.num_bytes for shard in manifest.shards())


def _summary(manifest: Manifest) -> str:
    images = " + ".join(f"{split.images} {name}" for name, split in manifest.splits.items())
    shards = sum(len(split.shards) for split in manifest.splits.values())
    return (
        f"{images} images, {format_count(_total(manifest, 'boxes'), 'box')}, "
        f"{format_count(len(manifest.classes), 'class')}, {format_count(shards, 'shard')}, "
        f"{_num_bytes(manifest) / 1e6:.1f} MB"
    )


def _results(manifest: Manifest) -> Results:
    splits = {
        name: {"images": split.images, "boxes": split.boxes, "shards": len(split.shards)}
        for name, split in manifest.splits.items()
    }
    return {
        "splits": splits,
        "classes": [entry.name for entry in manifest.classes],
        "bytes": _num_bytes(manifest),
        "findings": manifest.findings,
        "digest": manifest.digest,
    }
