"""Write a share of the shards of a data set, on one of several machines; `convert` completes it."""

from dataclasses import replace

from ssd_core.config import ConvertConfig
from ssd_core.data.conversion.journal import Share
from ssd_core.data.conversion.pack import pack_share
from ssd_core.data.conversion.part import Conversion
from ssd_core.data.conversion.publish import check_writable, publish_share
from ssd_core.data.sources import open_source
from ssd_core.logs import announce, format_count, logger
from ssd_core.stages.convert import begin, clear, existing_manifest, find_key, is_current
from ssd_core.stages.frame import INVOCATION_FILE, check_owner
from ssd_core.store import Location
from ssd_core.store.layout import Layout
from ssd_core.structures import StageResult


def run(
    config: ConvertConfig, source: str, out_dir: Location, share: Share, *, workers: int = 1
) -> StageResult:
    """Write every N-th shard and a journal, from which `convert.run` takes them.

    A killed run leaves its finished shards, which a rerun keeps. See `convert.run` for the
    arguments and the errors.
    """
    opened = open_source(source)
    with begin(config, opened, find_key(config, opened), out_dir, share) as conversion:
        result = _run(conversion, share, workers)
    if result.metrics:
        logger.info("once all %d shares are written, run the command without --share", share.count)
    return result


def run_in(layout: Layout, config: ConvertConfig, source: str, share: Share) -> StageResult:
    """Write a share for the directory that `convert.run_in` completes."""
    opened = open_source(source)
    key = find_key(config, opened)
    with begin(config, opened, key, layout.dataset(key), share) as conversion:
        return _run(conversion, share, workers=1)


def _run(conversion: Conversion, share: Share, workers: int) -> StageResult:
    target = conversion.target
    existing = existing_manifest(target, conversion.config)
    if existing is not None and is_current(existing, conversion.listing_key, target):
        announce("%s: already converted, unchanged", target)
        return StageResult(metadata={"uri": target.uri})
    if target.local is None:
        check_writable(target)
    elif target.head(INVOCATION_FILE) is not None:
        check_owner("convert", target)
    packed = pack_share(replace(conversion, existing=existing), workers=workers)
    if target.local is None:
        publish_share(conversion, packed)
        clear(conversion.out_dir)
    shards = [shard for part in packed for shard in part.shards]
    images, boxes = sum(shard.rows for shard in shards), sum(part.boxes for part in packed)
    announce(
        "share %d of %d: %s, %s, %s",
        share.index,
        share.count,
        format_count(images, "image"),
        format_count(boxes, "box"),
        format_count(len(shards), "shard"),
    )
    return StageResult(metrics={"images": images, "boxes": boxes}, metadata={"uri": target.uri})
