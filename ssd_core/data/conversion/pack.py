"""Convert a source data set: read, check and pack it; a rerun continues after the last shard."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import count
from queue import SimpleQueue
from threading import Lock

from ssd_core.config import SplitName
from ssd_core.data.ahead import map_ahead
from ssd_core.data.checking.duplicates import SeenImage, report_equal_images
from ssd_core.data.checking.listing import check_listing, check_split
from ssd_core.data.conversion.adopt import adopt_source, is_mindrecord
from ssd_core.data.conversion.journal import Journal, PackedPart
from ssd_core.data.conversion.part import Conversion, Part, pack_part, plan_parts
from ssd_core.data.conversion.worker import Task, Worker
from ssd_core.data.findings import Findings
from ssd_core.data.formats import read_dataset
from ssd_core.data.formats.dataset import SourceDataset
from ssd_core.data.shards.manifest import Manifest, Split, make_manifest, other_dataset
from ssd_core.logs import Progress


def pack_dataset(conversion: Conversion, *, workers: int = 1) -> Manifest:
    """Write the shards and `findings.json`; return the manifest without writing it.

    Finished shards of an interrupted run with the same `listing_key` are kept. The result does not
    depend on the number of worker processes.

    Raises:
        OwnershipError: the result would differ from the existing data set.
    """
    findings = Findings(conversion.config.policy)
    if is_mindrecord(conversion.source, conversion.config):
        manifest = adopt_source(conversion, findings)
    else:
        manifest = _pack_source(conversion, findings, workers)
    existing = conversion.existing
    if existing is not None and existing.digest != manifest.digest:
        raise other_dataset(conversion.out_dir, "the source has changed since")
    return manifest


def pack_share(conversion: Conversion, *, workers: int = 1) -> list[PackedPart]:
    """Write the shards of `conversion.share` and its journal; `pack_dataset` takes them from there.

    Adopted MindRecord files are not divided, so no share has any.

    Raises:
        DataError: a finding stops the conversion; `findings.json` has those of this share.
    """
    if is_mindrecord(conversion.source, conversion.config):
        return []
    findings = Findings(conversion.config.policy)
    _, _, packed = _pack_images(conversion, findings, workers)
    if findings.stops:
        findings.write(conversion.target)
        findings.check(conversion.target, dropped=0, listed=0, objects=1, max_skipped=1)
    return packed


def _pack_images(
    conversion: Conversion, findings: Findings, workers: int
) -> tuple[SourceDataset, list[Part], list[PackedPart]]:
    dataset = read_dataset(conversion.source, conversion.config, findings)
    check_listing(conversion.source, dataset, findings)
    parts = plan_parts(conversion, dataset)
    return dataset, parts, list(_pack_parts(conversion, dataset, parts, findings, workers))


def _pack_source(conversion: Conversion, findings: Findings, workers: int) -> Manifest:
    source = conversion.source
    dataset, parts, packed = _pack_images(conversion, findings, workers)
    seen = _seen_images(dataset, parts, packed)
    report_equal_images(lambda image: source.read(image.path), seen, findings)
    splits = {name: _join(name, packed) for name in dataset.splits}
    findings.report(conversion.target)
    listed = sum(split.num_listed for split in dataset.splits.values())
    written = sum(split.images for split in splits.values())
    findings.check(
        conversion.target,
        dropped=listed - written,
        listed=listed,
        objects=sum(len(split.annotations) for split in dataset.splits.values()),
        max_skipped=conversion.config.max_skipped,
    )
    for name, split in splits.items():
        check_split(
            name, dataset.splits[name], findings, num_images=split.images, num_boxes=split.boxes
        )
    places = {name: split.place for name, split in dataset.splits.items()}
    return make_manifest(
        conversion.config,
        source={"uri": source.uri, "format": dataset.format} | dict(places),
        classes=dataset.classes,
        splits=splits,
        findings=findings.counts,
        listing_key=conversion.listing_key,
    )


def _pack_parts(
    conversion: Conversion,
    dataset: SourceDataset,
    parts: Sequence[Part],
    findings: Findings,
    workers: int,
) -> Iterator[PackedPart]:
    """Yield the result of each part, in order; finished parts of an interrupted run are kept."""
    journal = Journal(
        conversion.out_dir,
        conversion.listing_key,
        share=conversion.share,
        shares_dir=conversion.shares_dir,
    )
    finished = [journal.find(part.split, part.index) for part in parts]
    missing = [part for part, found in zip(parts, finished, strict=True) if found is None]
    total = sum(len(part.positions) for part in parts)
    done = total - sum(len(part.positions) for part in missing)
    images = count(done + 1)
    tasks = (
        (part, dataset.splits[part.split].select(part.positions), not findings.stops)
        for part in missing
    )
    with Progress("convert: image", total, done=done) as progress:

        def on_image() -> None:
            progress.update(next(images))

        num_workers = min(workers, len(missing))
        if num_workers > 1:
            results = _pack_in_workers(conversion, tasks, num_workers, on_image)
        else:
            results = (
                pack_part(conversion, part, images, is_written=is_written, on_image=on_image)
                for part, images, is_written in tasks
            )
        with closing(results):
            for found in finished:
                packed = found or next(results)
                findings.restore(packed.counts, packed.findings)
                if found is None and not findings.stops:
                    journal.add(packed)
                yield packed


def _pack_in_workers(
    conversion: Conversion, tasks: Iterable[Task], num_workers: int, on_image: Callable[[], None]
) -> Generator[PackedPart, None, None]:
    """Pack parts in worker processes, a few parts ahead of the consumer."""
    idle, lock = SimpleQueue[Worker](), Lock()

    def on_any_image() -> None:
        with lock:
            on_image()

    def pack(task: Task) -> PackedPart:
        worker = idle.get()
        try:
            return worker.pack(task, on_any_image)
        finally:
            idle.put(worker)

    with ExitStack() as stack:
        for _ in range(num_workers):
            idle.put(stack.enter_context(closing(Worker(conversion))))
        yield from map_ahead(pack, tasks, num_threads=num_workers, depth=2 * num_workers)


def _seen_images(
    dataset: SourceDataset, parts: Sequence[Part], packed: Sequence[PackedPart]
) -> Iterator[SeenImage]:
    for part, result in zip(parts, packed, strict=True):
        images = dataset.splits[part.split].images
        for position, fingerprint in zip(part.positions, result.fingerprints, strict=True):
            if fingerprint:
                yield SeenImage(part.split, images[position].image_path, fingerprint)


def _join(name: SplitName, packed: Iterable[PackedPart]) -> Split:
    """Return the manifest entry of a split."""
    own = [part for part in packed if part.split == name]
    shards = tuple(shard for part in own for shard in part.shards)
    return Split(
        images=sum(shard.rows for shard in shards),
        boxes=sum(part.boxes for part in own),
        max_boxes=max((part.max_boxes for part in own), default=0),
        shards=shards,
    )
