"""Check a whole source data set without converting it: everything that a conversion would find."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.checking.duplicates import SeenImage, report_equal_images, take_fingerprint
from ssd_core.data.checking.listing import check_listing, check_split
from ssd_core.data.checking.samples import check_sample
from ssd_core.data.findings import Findings
from ssd_core.data.formats import read_dataset
from ssd_core.data.formats.dataset import SourceDataset
from ssd_core.data.sources.base import Source
from ssd_core.errors import DataError
from ssd_core.logs import Progress
from ssd_core.structures import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCounts:
    """What a split holds."""

    place: str
    listed: int
    """Images that the source lists."""
    images: int
    """Those whose file can be used."""
    objects: int
    """Their objects that can be used, crowds included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedDataset:
    """What was seen of a data set."""

    format: str
    """"unknown" where the source cannot be used."""
    classes: tuple[str, ...]
    splits: Mapping[SplitName, SplitCounts]
    findings: Findings


def check_dataset(source: Source, config: ConvertConfig) -> CheckedDataset:
    """Read and check everything, and stop at nothing.

    Raises:
        UsageError: a place or an option does not fit the source.
    """
    findings = Findings("strict")
    try:
        dataset = read_dataset(source, config, findings)
    except DataError as error:
        findings.add("source_unusable", source.uri, str(error))
        return CheckedDataset(format="unknown", classes=(), splits={}, findings=findings)
    dataset, kept = check_listing(source, dataset, findings)
    usable = list(_check_images(source, dataset, kept, config, findings))
    report_equal_images(source, (item.image for item in usable), findings)
    counts: dict[SplitName, SplitCounts] = {}
    for name, split in dataset.splits.items():
        own = [item for item in usable if item.image.split == name]
        counts[name] = SplitCounts(
            place=split.place,
            listed=split.num_listed,
            images=len(own),
            objects=sum(item.num_objects for item in own),
        )
        try:
            check_split(name, split, num_images=len(own), num_boxes=counts[name].objects)
        except DataError as error:
            findings.add("split_unusable", split.place, str(error))
    return CheckedDataset(
        format=dataset.format,
        classes=tuple(info.name for info in dataset.classes),
        splits=counts,
        findings=findings,
    )


class _Usable(NamedTuple):
    image: SeenImage
    num_objects: int


def _check_images(
    source: Source,
    dataset: SourceDataset,
    kept: Mapping[SplitName, Sequence[int]],
    config: ConvertConfig,
    findings: Findings,
) -> Iterator[_Usable]:
    """Read every image once."""
    done = 0
    with Progress("check: image", sum(map(len, kept.values()))) as progress:
        for split, positions in kept.items():
            images = dataset.splits[split].images
            source.expect([images[position].image_path for position in positions])
            for position in positions:
                usable = _check_image(
                    source, dataset.splits[split].sample(position), config, findings
                )
                done += 1
                progress.update(done)
                if usable is not None:
                    sample, fingerprint = usable
                    image = SeenImage(split, sample.image_path, fingerprint)
                    yield _Usable(image, len(sample.annotations))


def _check_image(
    source: Source, sample: Sample, config: ConvertConfig, findings: Findings
) -> tuple[Sample, int] | None:
    """Return the sample and the fingerprint of its image, None where it cannot be used."""
    try:
        image = memoryview(source.read(sample.image_path))
    except DataError as error:
        findings.add("image_unreadable", sample.place, str(error), image=sample.image_path)
        return None
    checked = check_sample(
        sample, image, findings, max_pixels=config.max_pixels, is_decoded=config.decode_check
    )
    return None if checked is None else (checked, take_fingerprint(image))
