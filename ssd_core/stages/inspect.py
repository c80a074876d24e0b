"""Describe a converted data set on one HTML page."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from ssd_core.config import ConvertConfig, TrainConfig
from ssd_core.data.decode import decode_image
from ssd_core.data.findings import RULES, action_of
from ssd_core.data.inspection.proposal import propose_anchors, to_assignment
from ssd_core.data.inspection.statistics import (
    count_shapes,
    describe_classes,
    describe_reach,
    describe_split,
    find_extremes,
    find_near,
    find_repeated,
)
from ssd_core.data.inspection.table import SplitTable, join_objects, read_table
from ssd_core.data.shards.manifest import Manifest, read_manifest
from ssd_core.data.shards.reader import SplitReader, open_split
from ssd_core.errors import UsageError, located
from ssd_core.logs import announce, format_count
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.report import inspection
from ssd_core.report.findings import find_remarks
from ssd_core.report.images import AnnotatedImage, annotate_image, take_while_small
from ssd_core.report.page import percent, render_page
from ssd_core.stages.frame import Input, Invocation, Results, run_stage
from ssd_core.store import Location
from ssd_core.store.local import write_file
from ssd_core.structures import StageResult, make_annotations

INSPECT_FILE = "inspect.html"

_SAMPLES = {"smallest": 6, "most": 6, "fewest": 3}
_AUGMENTED = 6
"""Images of the preview of a training."""
_MAX_LISTED = 1000
"""Largest number of groups of repeated images in `results.json`."""


def run(
    data_dir: Location,
    out_dir: Location,
    *,
    recipe: str | None = None,
    assignments: Sequence[str] = (),
) -> StageResult:
    """Write `inspect.html` about all splits of a data set.

    Args:
        data_dir: output of `convert`.
        out_dir: directory of the page.
        recipe: name of the recipe whose anchors are described in detail; None only compares all.
        assignments: `section.key=value` changes to that recipe.

    Raises:
        UsageError: assignments without a recipe.
    """
    recipes = _recipes(recipe, assignments)
    manifest = read_manifest(data_dir)
    readers: dict[str, SplitReader] = {
        split: open_split(data_dir, split) for split in manifest.splits
    }
    invocation = Invocation(
        stage="inspect",
        config={},
        inputs={"dataset": Input(data_dir.uri, manifest.digest)},
        options={"recipe": recipe, "assignments": list(assignments)},
    )

    def work(folder: Path) -> Results:
        tables = {split: read_table(reader) for split, reader in readers.items()}
        section = recipes[recipe] if recipe else None
        results = _results(manifest, tables, recipes)
        results |= {"data": _describe_data(data_dir, manifest), **invocation.options}
        results["proposal"] = _propose(manifest, tables, section)
        results["remarks"] = find_remarks(results)
        images = _images(readers, tables, section)
        content = inspection.content(results, count_shapes(tables), images)
        page = render_page(INSPECT_FILE, content)
        write_file(folder / INSPECT_FILE, page)
        for remark in results["remarks"]:
            announce("worth a look: %s", remark)
        if proposal := results["proposal"]:
            reach = results["anchors"][recipe]
            shares = [percent(each["unreached"], reach["objects"]) for each in (reach, proposal)]
            announce("objects out of reach: %s, with the anchors proposed on the page %s", *shares)
        return results | {"title": content["title"]}

    results = run_stage(invocation, out_dir, work)
    return StageResult(metrics=results["metrics"], metadata={"title": results["title"]})


def _recipes(chosen: str | None, assignments: Sequence[str]) -> dict[str, TrainConfig]:
    """Return the training section of every recipe, the chosen one with its changes."""
    if chosen is None and assignments:
        raise UsageError(f"'{assignments[0]}' has no recipe to change; add --recipe NAME")
    recipes = {name: load_recipe(name).train for name in RECIPES}
    if chosen is not None:
        recipes[chosen] = override(load_recipe(chosen), assignments).train
    return recipes


def _results(
    manifest: Manifest, tables: Mapping[str, SplitTable], recipes: Mapping[str, TrainConfig]
) -> dict[str, Any]:
    objects = join_objects(list(tables.values()))
    classes = manifest.classes
    anchors = {
        name: describe_reach(objects, section.model, section.matching, num_classes=len(classes))
        for name, section in recipes.items()
    }
    groups = find_repeated(tables)
    repeated = _describe_groups(groups)
    repeated["copies"] = {
        name: sum(len(group[name]) - 1 for group in groups if name in group) for name in tables
    }
    return {
        "metrics": {
            "images": sum(len(table.image_paths) for table in tables.values()),
            "objects": len(objects.labels),
            "images_in_both_splits": repeated["in_both_splits"],
        },
        "splits": {name: describe_split(table) for name, table in tables.items()},
        "classes": describe_classes(tables, classes),
        "anchors": anchors,
        "repeated": repeated,
        "near": _describe_groups(find_near(tables)),
        "findings": _describe_findings(manifest),
    }


def _propose(
    manifest: Manifest, tables: Mapping[str, SplitTable], section: TrainConfig | None
) -> dict[str, Any] | None:
    """Return anchors that reach more training objects than the recipe's, as a word for `--set`."""
    if section is None or "train" not in tables:
        return None
    boxes = tables["train"].objects.boxes
    levels = propose_anchors(boxes, section.model, section.matching)
    if levels is None:
        return None
    objects = join_objects(list(tables.values()))
    model = section.model.model_copy(update={"anchors": levels})
    reach = describe_reach(objects, model, section.matching, num_classes=len(manifest.classes))
    return {"assignment": to_assignment(levels), "unreached": reach["unreached"]}


def _describe_data(data_dir: Location, manifest: Manifest) -> dict[str, str]:
    return {
        "name": manifest.name,
        "uri": data_dir.uri,
        "digest": manifest.digest,
        "source": str(manifest.source.get("uri", "")),
        "format": str(manifest.source.get("format", "")),
    }


def _describe_groups(groups: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, Any]:
    """List the groups of repeated images, and count those with images of several splits."""
    return {
        "in_both_splits": sum(len(group) > 1 for group in groups),
        "images": sorted(groups, key=len, reverse=True)[:_MAX_LISTED],
    }


def _describe_findings(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the findings of the conversion, with the action that it took."""
    policy = manifest.options.get("policy", ConvertConfig().policy)
    return [
        {
            "code": code,
            "count": count,
            "severity": RULES[code].severity,
            "action": action_of(code, policy),
        }
        for code, count in sorted(manifest.findings.items())
        if code in RULES
    ]


def _images(
    readers: Mapping[str, SplitReader],
    tables: Mapping[str, SplitTable],
    section: TrainConfig | None,
) -> dict[str, list[AnnotatedImage]]:
    """Return sample images by kind, as many as fit on the page."""
    extremes = find_extremes(tables, _SAMPLES)
    augmented = _augment(readers["train"], section) if section and "train" in readers else []
    kinds = ["augmented" for _ in augmented]
    kinds += [kind for kind, found in extremes.items() for _ in found]
    samples = (
        _image(readers[split], row, kind)
        for kind, found in extremes.items()
        for split, row in found
    )
    taken: dict[str, list[AnnotatedImage]] = {kind: [] for kind in (*extremes, "augmented")}
    for kind, image in zip(kinds, take_while_small(chain(augmented, samples)), strict=False):
        taken[kind].append(image)
    return taken


def _augment(reader: SplitReader, section: TrainConfig) -> list[AnnotatedImage]:
    """Return the first images of a training with their boxes; none without OpenCV."""
    if find_spec("cv2") is None or not reader.num_images:
        return []
    from ssd_core.stages.feed import open_loader

    count = min(_AUGMENTED, reader.num_images)
    alone = section.model_copy(update={"batch_size": count, "virtual_shards": None})
    loader = open_loader(alone, reader)
    with closing(loader.batches(0, 1)) as batches:
        batch = next(batches)
        rows = zip(loader.name_images(1), batch.images, batch.boxes, batch.labels, strict=True)
        return [
            annotate_image(
                Path(name).name,
                pixels,
                truth=make_annotations(boxes[labels > 0] * len(pixels), labels[labels > 0]),
                found=None,
                classes=reader.classes,
                note=format_count(int((labels > 0).sum()), "object"),
            )
            for name, pixels, boxes, labels in rows
        ]


def _image(reader: SplitReader, row: int, kind: str) -> AnnotatedImage:
    (record,) = reader.read([row])
    truth = record.annotations.select(~record.annotations.is_crowd)
    note = f"{reader.split}, {format_count(len(truth), 'object')}"
    if kind == "smallest":
        sides = truth.boxes[:, 2:] - truth.boxes[:, :2]
        width, height = sides[sides.prod(axis=1).argmin()]
        note = f"{reader.split}, {width:.0f} × {height:.0f} of {record.width} × {record.height} px"
    with located(record.image_path):
        pixels = decode_image(record.image)
    return annotate_image(
        Path(record.image_path).name,
        pixels,
        truth=truth,
        found=None,
        classes=reader.classes,
        note=note,
    )
