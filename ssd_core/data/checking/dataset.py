"""Check a whole source data set without converting it, for everything a conversion would find."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.checking.duplicates import SeenImage, report_equal_images, take_fingerprint
from ssd_core.data.checking.listing import check_listing, check_split
from ssd_core.data.checking.samples import check_image
from ssd_core.data.findings import Findings
from ssd_core.data.formats import read_dataset
from ssd_core.data.formats.dataset import SourceDataset
from ssd_core.data.sources.base import Source
from ssd_core.errors import DataError
from ssd_core.logs import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCounts:
    """The contents of a split."""

    place: str
    listed: int
    """Images that the source lists."""
    images: int
    """Images whose file can be used."""
    objects: int
    """Their usable objects, including crowds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedDataset:
    """The contents of a data set and its faults."""

    format: str
    """"unknown" if the source cannot be used."""
    classes: tuple[str, ...]
    splits: Mapping[SplitName, SplitCounts]
    findings: Findings


def check_dataset(source: Source, config: ConvertConfig) -> CheckedDataset:
    """Read and check everything; faults do not stop the check, and no split is required."""
    findings = Findings("strict")
    try:
        dataset = read_dataset(source, config, findings, needs_train=False)
    except DataError as error:
        findings.add("source_unusable", source.uri, str(error))
        return CheckedDataset(format="unknown", classes=(), splits={}, findings=findings)
    check_listing(source, dataset, findings)
    usable = list(_check_images(source, dataset, config, findings))
    report_equal_images(
        lambda image: source.read(image.path), (image for image, _ in usable), findings
    )
    counts: dict[SplitName, SplitCounts] = {}
    for name, split in dataset.splits.items():
        num_objects = [count for image, count in usable if image.split == name]
        counts[name] = SplitCounts(
            place=split.place,
            listed=split.num_listed,
            images=len(num_objects),
            objects=sum(num_objects),
        )
        try:
            check_split(
                name, split, findings, num_images=len(num_objects), num_boxes=sum(num_objects)
            )
        except DataError as error:
            findings.add("split_unusable", split.place, str(error))
    findings.drop_repeated()
    return CheckedDataset(
        format=dataset.format,
        classes=tuple(info.name for info in dataset.classes),
        splits=counts,
        findings=findings,
    )


def _check_images(
    source: Source, dataset: SourceDataset, config: ConvertConfig, findings: Findings
) -> Iterator[tuple[SeenImage, int]]:
    """Read every image once, and yield the usable ones with their number of objects."""

    def load(name: str) -> memoryview:
        return memoryview(source.read(name))

    done = 0
    with Progress("check: image", sum(map(len, dataset.splits.values()))) as progress:
        for name, split in dataset.splits.items():
            source.expect([entry.image_path for entry in split.images])
            for index in range(len(split)):
                checked = check_image(split.sample(index), load, config, findings)
                done += 1
                progress.update(done)
                if checked is not None:
                    sample, image = checked
                    seen = SeenImage(name, sample.image_path, take_fingerprint(image))
                    yield seen, len(sample.annotations)
