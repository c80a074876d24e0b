"""Pack one part of a split: read, check and write its images independently of all other parts."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from ssd_core.config import ConvertConfig, ShardFormat, SplitName
from ssd_core.data.checking.duplicates import take_fingerprint
from ssd_core.data.checking.samples import check_image
from ssd_core.data.conversion.journal import PackedPart, Share
from ssd_core.data.findings import Findings
from ssd_core.data.formats.dataset import SourceDataset, SourceSplit
from ssd_core.data.shards.arrow.writer import ArrowWriter
from ssd_core.data.shards.manifest import Manifest, Shard, other_dataset, store_folder
from ssd_core.data.shards.mindrecord.files import MindRecordWriter
from ssd_core.data.sources.base import Source
from ssd_core.errors import DataError
from ssd_core.store import Location
from ssd_core.store.local import commit_file, explain_disk_errors
from ssd_core.structures import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """The input of a conversion, shared by all its parts."""

    source: Source
    config: ConvertConfig
    out_dir: Path
    target: Location
    """The destination of the data set and of `findings.json`: `out_dir`, or a store."""
    listing_key: str
    share: Share | None = None
    """The share that is packed; None for all parts, and the manifest."""
    existing: Manifest | None = None
    """Of a complete data set in `out_dir`; the result must be equal to it."""

    @property
    def shares_dir(self) -> Location:
        """The directory that the shares of this conversion put their shards and journals in."""
        in_store = self.target / store_folder(self.listing_key)
        return self.target if self.target.local is not None else in_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The images that are packed together; the listing alone decides, so parts are independent."""

    split: SplitName
    index: int
    """Of the part within the split."""
    positions: range
    """Of the images within the split."""


class Writer(Protocol):
    """Packs the images of one part in a shard format; a context that removes unfinished files."""

    def load(self, source: Source, name: str) -> memoryview:
        """Read an image; the view is valid until the next call."""

    def append(self, sample: Sample) -> None:
        """Append the sample whose image was loaded last."""

    def finish(self) -> Sequence[tuple[Path, Shard]]:
        """Complete the files under temporary paths; return none if nothing was appended."""


WRITERS: Mapping[
    ShardFormat, Callable[[Path, SplitName, int, Sequence[int]], AbstractContextManager[Writer]]
] = {"arrow": ArrowWriter, "mindrecord": MindRecordWriter}
"""Called with the output directory, split and index of the part, and the sizes of its images in
bytes according to the listing."""


def plan_parts(conversion: Conversion, dataset: SourceDataset) -> list[Part]:
    """Divide the images of all splits: a part ends when its files reach `shard_bytes`.

    The files of a MindRecord split refer to each other, so there a split is one part. A share has
    only its own.
    """
    limit = conversion.config.shard_bytes if conversion.config.shards == "arrow" else math.inf
    parts = []
    for name, split in dataset.splits.items():
        first, num_bytes, index = 0, 0, 0
        for end, entry in enumerate(split.images, start=1):
            num_bytes += conversion.source.files[entry.image_path].num_bytes
            if num_bytes >= limit or end == len(split):
                parts.append(Part(split=name, index=index, positions=range(first, end)))
                first, num_bytes, index = end, 0, index + 1
    return parts[conversion.share.slice] if conversion.share else parts


def pack_part(
    conversion: Conversion,
    part: Part,
    images: SourceSplit,
    *,
    is_written: bool = True,
    on_image: Callable[[], None] = lambda: None,
) -> PackedPart:
    """Check every image of a part and write its shard.

    After a strict error, or unless `is_written`, images are only checked. `on_image` is called
    after each.
    """
    findings = Findings(conversion.config.policy)
    counts = [0]
    fingerprints = [0] * len(images)
    sizes = [conversion.source.files[entry.image_path].num_bytes for entry in images.images]
    make_writer = WRITERS[conversion.config.shards]
    with make_writer(conversion.out_dir, part.split, part.index, sizes) as writer:
        for index, sample, image in _valid_samples(conversion, images, writer, findings, on_image):
            fingerprints[index] = take_fingerprint(image)
            if is_written and not findings.stops:
                writer.append(sample)
                counts.append(len(sample.annotations))
        is_complete = is_written and not findings.stops
        shards = _commit(conversion, writer.finish()) if is_complete else ()
    return PackedPart(
        split=part.split,
        index=part.index,
        shards=shards,
        boxes=sum(counts),
        max_boxes=max(counts),
        fingerprints=tuple(fingerprints),
        counts=findings.counts,
        findings=findings.listed,
    )


def _valid_samples(
    conversion: Conversion,
    images: SourceSplit,
    writer: Writer,
    findings: Findings,
    on_image: Callable[[], None],
) -> Iterator[tuple[int, Sample, memoryview]]:
    """Load and check the images; yield position, sample and image of those that are kept."""
    source, config = conversion.source, conversion.config
    source.expect([entry.image_path for entry in images.images])
    load = partial(_load, writer, source)
    for index in range(len(images)):
        checked = check_image(images.sample(index), load, config, findings)
        if checked is not None:
            yield index, *checked
        on_image()


def _load(writer: Writer, source: Source, name: str) -> memoryview:
    image = writer.load(source, name)
    if len(image) != source.files[name].num_bytes:
        raise DataError(f"{name}: changed while it was read; convert again when it is stable")
    return image


def _commit(conversion: Conversion, files: Sequence[tuple[Path, Shard]]) -> tuple[Shard, ...]:
    """Give complete files their final names, unless they would change an existing data set."""
    existing = conversion.existing.shards() if conversion.existing else []
    expected = {shard.name: shard for shard in existing}
    for _, shard in files:
        if expected.get(shard.name, shard) != shard:
            raise other_dataset(
                conversion.out_dir, f"the source has changed, {shard.name} would differ"
            )
    for partial_path, shard in files:
        path = conversion.out_dir / shard.name
        with explain_disk_errors(path):
            commit_file(partial_path, path)
    return tuple(shard for _, shard in files)
