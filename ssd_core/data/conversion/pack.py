"""Pack a source data set: readers, checks and shard writers joined, resumable by shard."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.ahead import map_on
from ssd_core.data.checking.duplicates import SeenImage, report_equal_images
from ssd_core.data.checking.listing import check_listing, check_split
from ssd_core.data.conversion.adopt import adopt_dataset, is_adopted
from ssd_core.data.conversion.journal import Entry, Journal
from ssd_core.data.conversion.part import Job, Part, Plan, pack_part, plan_parts
from ssd_core.data.findings import Findings
from ssd_core.data.formats import read_dataset
from ssd_core.data.formats.dataset import SourceDataset
from ssd_core.data.shards.manifest import (
    SCHEMA_VERSION,
    ClassEntry,
    Manifest,
    Split,
    content_digest,
)
from ssd_core.data.sources.base import Source
from ssd_core.errors import OwnershipError, SurroundingsError
from ssd_core.logs import Progress


def pack_dataset(
    source: Source,
    config: ConvertConfig,
    out_dir: Path,
    *,
    listing_key: str,
    existing: Manifest | None = None,
    workers: int = 1,
) -> Manifest:
    """Write the shards and `findings.json`, and return the manifest, which is not yet written.

    Args:
        source: the data set.
        config: how to convert it.
        out_dir: place of the shards; finished ones of an interrupted run are kept.
        listing_key: what an interrupted run must have had in common with this one.
        existing: manifest of the complete data set in this place, which must come out equal.
        workers: processes that write shards; the result does not depend on it.

    Raises:
        UsageError: the options do not fit the source.
        OwnershipError: the result would not be the `existing` data set.
        DataError: the data set is wrong.
        SurroundingsError: the disk is full, or a worker was killed.
    """
    if is_adopted(source, config):
        return adopt_dataset(source, config, out_dir, listing_key=listing_key, existing=existing)
    findings = Findings(config.policy)
    dataset = read_dataset(source, config, findings)
    dataset, kept = check_listing(source, dataset, findings)
    expected = {shard.name: shard for shard in existing.shards()} if existing else {}
    job = Job(source=source, config=config, out_dir=out_dir, expected=expected)
    plans = plan_parts(job, dataset, kept)
    journal = Journal(out_dir, listing_key)
    entries = list(_pack(job, dataset, plans, journal=journal, findings=findings, workers=workers))
    report_equal_images(source, _seen_images(dataset, plans, entries), findings)
    splits = {name: _join(name, entries) for name in dataset.splits}
    findings.write(out_dir)
    findings.log()
    _check_result(dataset, splits, job, findings)
    manifest = _manifest(dataset, splits, job, findings=findings, listing_key=listing_key)
    if existing is not None and existing.digest != manifest.digest:
        raise OwnershipError(
            f"{out_dir} holds another data set: the source has changed since; "
            "choose another --out, or remove it"
        )
    return manifest


def _pack(
    job: Job,
    dataset: SourceDataset,
    plans: Sequence[Plan],
    *,
    journal: Journal,
    findings: Findings,
    workers: int,
) -> Iterator[Entry]:
    """Yield what became of each plan, in order; what an interrupted run has finished is kept."""
    finished = [journal.find(plan.split, plan.index) for plan in plans]
    missing = [plan for plan, entry in zip(plans, finished, strict=True) if entry is None]
    total = sum(len(plan.positions) for plan in plans)
    done = total - sum(len(plan.positions) for plan in missing)
    parts = (
        Part(
            split=plan.split,
            index=plan.index,
            images=dataset.splits[plan.split].select(plan.positions),
            is_written=not findings.stops,
        )
        for plan in missing
    )
    with Progress("convert: image", total, done=done) as progress:
        num_workers = min(workers, len(missing))
        packed = (
            pack_in_workers(job, parts, num_workers)
            if num_workers > 1
            else pack_here(job, parts, lambda count: progress.update(done + count))
        )
        with closing(packed):
            for plan, found in zip(plans, finished, strict=True):
                entry = found or next(packed)
                findings.restore(entry.counts, entry.findings)
                if found is None:
                    done += len(plan.positions)
                    progress.update(done)
                    if not findings.stops:
                        journal.add(entry)
                yield entry


def _seen_images(
    dataset: SourceDataset, plans: Sequence[Plan], entries: Sequence[Entry]
) -> Iterator[SeenImage]:
    for plan, entry in zip(plans, entries, strict=True):
        images = dataset.splits[plan.split].images
        for position, fingerprint in zip(plan.positions, entry.fingerprints, strict=True):
            if fingerprint:
                yield SeenImage(plan.split, images[position].image_path, fingerprint)


def _join(name: SplitName, entries: Iterable[Entry]) -> Split:
    """Return what the manifest says of a split."""
    own = [entry for entry in entries if entry.split == name]
    shards = tuple(shard for entry in own for shard in entry.shards)
    return Split(
        images=sum(shard.rows for shard in shards),
        boxes=sum(entry.boxes for entry in own),
        max_boxes=max((entry.max_boxes for entry in own), default=0),
        shards=shards,
    )


def _check_result(
    dataset: SourceDataset, splits: Mapping[SplitName, Split], job: Job, findings: Findings
) -> None:
    """Stop where the policy says so, or where a split came out empty.

    Raises:
        DataError: always with what was expected.
    """
    listed = sum(split.num_listed for split in dataset.splits.values())
    written = sum(split.images for split in splits.values())
    findings.check(
        job.out_dir,
        dropped=listed - written,
        listed=listed,
        max_skipped=job.config.max_skipped,
    )
    for name, split in splits.items():
        check_split(name, dataset.splits[name], num_images=split.images, num_boxes=split.boxes)


def _manifest(
    dataset: SourceDataset,
    splits: Mapping[SplitName, Split],
    job: Job,
    *,
    findings: Findings,
    listing_key: str,
) -> Manifest:
    classes = tuple(
        ClassEntry(label=info.label, name=info.name, category_id=info.category_id)
        for info in dataset.classes
    )
    options = job.config.model_dump(mode="json")
    places: dict[str, str] = {name: split.place for name, split in dataset.splits.items()}
    return Manifest(
        schema_version=SCHEMA_VERSION,
        format=job.config.shards,
        classes=classes,
        splits=dict(splits),
        source={"uri": job.source.uri, "format": dataset.format} | places,
        options=options,
        findings=dict(sorted(findings.counts.items())),
        digest=content_digest(classes, splits, options),
        listing_key=listing_key,
    )


_job: Job
"""Of a worker process: what all its parts share."""


def pack_here(
    job: Job, parts: Iterable[Part], on_image: Callable[[int], None]
) -> Generator[Entry, None, None]:
    """Pack the parts one after the other; `on_image` gets the number done of the present part."""
    for part in parts:
        yield pack_part(job, part, on_image)


def pack_in_workers(
    job: Job, parts: Iterable[Part], num_workers: int
) -> Generator[Entry, None, None]:
    """Pack the parts in worker processes, a few ahead of the one whose result is asked for.

    The workers are started anew instead of forked, because this process may run threads.

    Raises:
        SurroundingsError: a worker was killed.
    """
    with ProcessPoolExecutor(
        num_workers, multiprocessing.get_context("spawn"), _start_worker, (job,)
    ) as pool:
        try:
            yield from map_on(pool, _pack_in_worker, parts, depth=2 * num_workers)
        except BrokenProcessPool:
            raise SurroundingsError(
                "a worker process of the conversion was killed, perhaps for its memory; repeat "
                "the command, with fewer --workers"
            ) from None


def _start_worker(job: Job) -> None:
    global _job
    _job = job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by the parent
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave nothing behind that writes: a killed parent could not tell its workers to stop."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _pack_in_worker(part: Part) -> Entry:
    return pack_part(_job, part)
