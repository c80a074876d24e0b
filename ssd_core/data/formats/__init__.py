"""Readers of source data sets, one module per format, and the choice between them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.findings import Findings
from ssd_core.data.formats import coco, txt, voc, yolo
from ssd_core.data.formats.dataset import SourceDataset, SourceSplit
from ssd_core.data.formats.names import resolve_names
from ssd_core.data.formats.splits import choose_splits, hold_back_fifth, is_at
from ssd_core.data.sources.base import IMAGE_SUFFIXES, Source
from ssd_core.errors import DataError, UsageError
from ssd_core.logs import logger


class Reader(Protocol):
    """The functions of a format module."""

    def find_places(self, source: Source) -> list[str]:
        """Return the names of possible splits; none if the source has another format."""

    def read(
        self,
        source: Source,
        places: Mapping[SplitName, str],
        config: ConvertConfig,
        findings: Findings,
    ) -> SourceDataset:
        """Read the annotations of the splits at `places`; broken ones become findings.

        Raises:
            DataError: a file cannot be used at all.
        """


READERS: Mapping[str, Reader] = {"coco": coco, "voc": voc, "yolo": yolo, "txt": txt}
"""By format, in the order in which `auto` tries them."""


def read_dataset(
    source: Source, config: ConvertConfig, findings: Findings, *, needs_train: bool = True
) -> SourceDataset:
    """Find format and splits, and read all annotations; every image has a file, none is decoded.

    Raises:
        UsageError: `needs_train`, and neither a training split is found nor another one chosen.
        DataError: no known format, or a file that cannot be used at all.
    """
    name, candidates = _find_format(source, config)
    places = _find_splits(source, config, name, candidates, needs_train)
    dataset = READERS[name].read(source, places, config, findings)
    dataset = resolve_names(source, dataset, findings)
    dataset = _without_empty_test(dataset, config)
    if "val" not in dataset.splits and "train" in dataset.splits:
        whole = dataset.splits["train"]
        train, val = hold_back_fifth(source, whole, findings)
        if len(whole):
            logger.info("no evaluation split: %d of %d images held back", len(val), len(whole))
        if len(val) > len(whole) / 2:
            logger.warning(
                "few images are left to train with; choose the evaluation split: --val, convert.val"
            )
        divided: dict[SplitName, SourceSplit] = {"train": train, "val": val}
        dataset = replace(dataset, splits={**divided, **dataset.splits, **divided})
    if config.crowd == "object" and "train" in dataset.splits:
        train = dataset.splits["train"]
        is_crowd = np.zeros(len(train.annotations), np.bool_)
        train = replace(train, annotations=replace(train.annotations, is_crowd=is_crowd))
        dataset = replace(dataset, splits={**dataset.splits, "train": train})
    return dataset


def _without_empty_test(dataset: SourceDataset, config: ConvertConfig) -> SourceDataset:
    """Leave out a test split without objects, as competitions publish it, unless it is chosen."""
    test = dataset.splits.get("test")
    if test is None or config.test or len(test.annotations):
        return dataset
    logger.warning("%s: left out, because the test split has no objects", test.place)
    splits = dict(dataset.splits)
    del splits["test"]
    return replace(dataset, splits=splits)


def _find_format(source: Source, config: ConvertConfig) -> tuple[str, list[str]]:
    if config.format != "auto":
        return config.format, READERS[config.format].find_places(source)
    seen = {
        name: places for name, reader in READERS.items() if (places := reader.find_places(source))
    }
    lone = [name for name in source.files if name.lower().endswith(".json")]
    if not seen and len(lone) == 1:
        return "coco", lone  # its reader names the missing parts
    if not seen:
        raise DataError(
            f"{source.uri}: no annotations of a known format in {_count_files(source)}; "
            f"expected: {', '.join(READERS)}, mindrecord (choose one: --format, convert.format)"
        )
    chosen = (config.train, config.val, config.test)
    given = [where for where in chosen if where is not None]
    meant = [n for n, places in seen.items() if any(is_at(g, p) for g in given for p in places)]
    name = [*meant, *seen][0]
    others = ", ".join(other for other in seen if other != name)
    others = others and f"; also seen: {others} (--format, convert.format)"
    logger.info("%s: format %s%s", source.uri, name, others)
    return name, seen[name]


def _count_files(source: Source) -> str:
    """Return the number of files, and some that are not images."""
    rest = [name for name in source.files if not name.lower().endswith(IMAGE_SUFFIXES)]
    shown = ", ".join(f"{name} ({source.files[name].num_bytes} bytes)" for name in rest[:4])
    return f"{len(source.files)} files{shown and f', among them {shown}'}"


def _find_splits(
    source: Source, config: ConvertConfig, name: str, candidates: list[str], needs_train: bool
) -> dict[SplitName, str]:
    places = choose_splits(candidates, config)
    is_wanted = needs_train and not (config.val or config.test)
    if "train" not in places and (is_wanted or not places):
        shown = f"among {', '.join(candidates[:4])}" if candidates else f"in {_count_files(source)}"
        alone = f"; or convert images for evaluation only: --val {places['val']}" if places else ""
        raise UsageError(
            f"{source.uri}: found no {name} training split {shown}; choose it: --train, "
            f"convert.train{alone}"
        )
    for split, place in places.items():
        logger.info("%s: %s", split, source.uri if place == "." else place)
    return places
