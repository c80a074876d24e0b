"""Pack one part of a split: read, check and write its images without knowing of any other part."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.checking.duplicates import take_fingerprint
from ssd_core.data.checking.samples import check_sample
from ssd_core.data.conversion.journal import Entry
from ssd_core.data.findings import Findings
from ssd_core.data.formats.dataset import SourceDataset, SourceSplit
from ssd_core.data.shards.arrow import ArrowWriter
from ssd_core.data.shards.manifest import Shard
from ssd_core.data.shards.mindrecord.writer import MindRecordWriter
from ssd_core.data.sources.base import Source
from ssd_core.errors import DataError
from ssd_core.structures import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which images go together; decided from the listing alone, so that parts are independent."""

    split: SplitName
    index: int
    positions: Sequence[int]
    """Of the images within the split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A plan with its images, ready to be packed by any process."""

    split: SplitName
    index: int
    images: SourceSplit
    is_written: bool
    """False where an error was already found and the images are only checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the parts of one conversion share."""

    source: Source
    config: ConvertConfig
    out_dir: Path
    expected: Mapping[str, Shard]
    """Shards of a complete data set in this place by name, which must come out equal."""


class Writer(Protocol):
    """What a shard format offers to pack a part; a context that leaves nothing unfinished."""

    def load(self, source: Source, name: str) -> memoryview:
        """Read an image; the view is valid until the next call."""

    def append(self, sample: Sample) -> None:
        """Take the sample whose image was loaded last."""

    def finish(self) -> tuple[Shard, ...]:
        """Give the files their final names and return them; none where nothing was appended."""


class WriterFactory(Protocol):
    """How a writer is made."""

    def __call__(
        self,
        out_dir: Path,
        split: SplitName,
        index: int,
        *,
        expected: Mapping[str, Shard],
        sizes: Sequence[int],
    ) -> AbstractContextManager[Writer]:
        """Return the writer of a part.

        Args:
            out_dir: place of the shards.
            split: beginning of the file name.
            index: number of the part within the split.
            expected: shards of a complete data set in this place, which must come out equal.
            sizes: bytes of the image files, by the listing.
        """


WRITERS: Mapping[str, WriterFactory] = {"arrow": ArrowWriter, "mindrecord": MindRecordWriter}


def plan_parts(job: Job, dataset: SourceDataset, kept: Mapping[SplitName, list[int]]) -> list[Plan]:
    """Divide the images of all splits: a part ends when its files reach `shard_bytes`.

    The files of a MindRecord split know each other, so there a split is one part.
    """
    limit = job.config.shard_bytes if job.config.shards == "arrow" else math.inf
    plans = []
    for split, positions in kept.items():
        images = dataset.splits[split].images
        first, num_bytes, index = 0, 0, 0
        for end, position in enumerate(positions, start=1):
            num_bytes += job.source.files[images[position].image_path].num_bytes
            if num_bytes >= limit or end == len(positions):
                plans.append(Plan(split=split, index=index, positions=positions[first:end]))
                first, num_bytes, index = end, 0, index + 1
    return plans


def pack_part(job: Job, part: Part, on_image: Callable[[int], None] = lambda _: None) -> Entry:
    """Check every image of a part and write its shard; after a strict error only check.

    Args:
        job: what all parts share.
        part: what to pack.
        on_image: called with the number of images that are done.

    Raises:
        OwnershipError: the directory already holds this shard with another content.
        SurroundingsError: the disk is full.
    """
    findings = Findings(job.config.policy)
    counts = [0]
    fingerprints = [0] * len(part.images)
    sizes = [job.source.files[entry.image_path].num_bytes for entry in part.images.images]
    make_writer = WRITERS[job.config.shards]
    with make_writer(
        job.out_dir, part.split, part.index, expected=job.expected, sizes=sizes
    ) as writer:
        for index, sample, image in _sound_samples(job, part, writer, findings, on_image):
            fingerprints[index] = take_fingerprint(image)
            if part.is_written and not findings.stops:
                writer.append(sample)
                counts.append(len(sample.annotations))
        is_complete = part.is_written and not findings.stops
        shards = writer.finish() if is_complete else ()
    return Entry(
        split=part.split,
        index=part.index,
        shards=shards,
        boxes=sum(counts),
        max_boxes=max(counts),
        fingerprints=tuple(fingerprints),
        counts=findings.counts,
        findings=findings.listed,
    )


def _sound_samples(
    job: Job,
    part: Part,
    writer: Writer,
    findings: Findings,
    on_image: Callable[[int], None],
) -> Iterator[tuple[int, Sample, memoryview]]:
    """Load and check the images of a part; yield position, sample and image of those that stay."""
    job.source.expect([entry.image_path for entry in part.images.images])
    for index in range(len(part.images)):
        sample = part.images.sample(index)
        try:
            image = _load(writer, job.source, sample.image_path)
        except DataError as error:
            findings.add("image_unreadable", sample.place, str(error), image=sample.image_path)
        else:
            checked = check_sample(
                sample,
                image,
                findings,
                max_pixels=job.config.max_pixels,
                is_decoded=job.config.decode_check,
            )
            if checked is not None:
                yield index, checked, image
        on_image(index + 1)


def _load(writer: Writer, source: Source, name: str) -> memoryview:
    image = writer.load(source, name)
    if len(image) != source.files[name].num_bytes:
        raise DataError(f"{name}: changed while it was read; convert again when it is at rest")
    return image
