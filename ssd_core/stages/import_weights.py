"""Turn the weights of another program into a model directory."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssd_core import __version__
from ssd_core.backends import open_backend
from ssd_core.backends.programs import PROGRAMS
from ssd_core.backends.weights import ArrayTypes
from ssd_core.config import ModelConfig, Recipe
from ssd_core.errors import DataError, UsageError, located
from ssd_core.layouts.base import WeightLayout
from ssd_core.logs import announce, format_count, logger
from ssd_core.model_dir import MODEL_DIR, ModelDescription, write_model
from ssd_core.stages.frame import Input, Invocation, Results, check_owner, run_stage
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.location import read_input
from ssd_core.structures import Array, ClassInfo, StageResult

_MAX_BYTES = 2**32
_MAX_LISTED = 5
_OTHER_NETWORK = "choose the recipe of their network with --recipe"


class _Found(NamedTuple):
    weights: dict[str, Array]
    """By our names."""
    num_classes: int
    unmatched: list[str]
    """Names of the arrays without a place in the network or in the state of an optimizer."""


def run(
    source: Location,
    out_dir: Location,
    *,
    layout_name: str,
    recipe: Recipe,
    classes: Sequence[str] | None = None,
    framework: str = "torch",
) -> StageResult:
    """Write a model directory with the weights of a file; see docs/weights.md.

    Args:
        source: the file.
        out_dir: directory of the results; the model is in its folder `model`.
        layout_name: one of PROGRAMS.
        recipe: has the network of the weights.
        classes: their names in label order, without the background; None numbers them.
        framework: framework that lists the arrays of the network.

    Returns:
        Metadata: numbers of `arrays` and `classes`, the `sha256` of the file, and how many of its
        arrays are `unmatched`: neither of the network nor the state of an optimizer;
        `results.json` names them.

    Raises:
        UsageError: the file does not exist, or `classes` are not as many as the weights have.
        DataError: the file is damaged, or has the weights of another network.
    """
    check_owner("import-weights", out_dir)
    content = _read(source)
    digest = hashlib.sha256(content).hexdigest()
    program = PROGRAMS[layout_name]
    layout = program.layout(recipe.train.model)
    recipe = _with_model(recipe, layout.model)
    with located(str(source)):
        arrays = program.read(content)
        found = _find_weights(arrays, layout, recipe.train.model, framework)
    infos = _name_classes(classes, found.num_classes, source)
    if found.unmatched:
        listed = ", ".join(found.unmatched[:_MAX_LISTED])
        unused = format_count(len(found.unmatched), "unused array")
        logger.warning("%s: %s: %s", source, unused, listed)
    description = ModelDescription(
        recipe=recipe,
        framework=layout_name,
        num_classes=found.num_classes,
        step=0,
        training_id=digest[:16],
        dataset_digest="",
        core_version=__version__,
    )

    def work(folder: Path) -> Results:
        write_model(LocalDirectory(folder / MODEL_DIR), description, infos, found.weights)
        return {"arrays": len(found.weights), "unmatched": found.unmatched}

    invocation = Invocation(
        stage="import-weights",
        config=recipe,
        inputs={"weights": Input(source.uri, digest)},
        options={"layout": layout_name, "classes": [info.name for info in infos]},
    )
    run_stage(invocation, out_dir, work)
    num_arrays, num_classes = len(found.weights), found.num_classes
    announce(
        "%s: %s, %s", source, format_count(num_arrays, "array"), format_count(num_classes, "class")
    )
    return StageResult(
        metadata={
            "arrays": num_arrays,
            "classes": num_classes,
            "unmatched": len(found.unmatched),
            "sha256": digest,
        },
    )


def _with_model(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a recipe with the network that the weights need, and in single precision as theirs."""
    model = recipe.train.model.model_copy(update=changes)
    train = recipe.train.model_copy(update={"model": model, "precision": "fp32"})
    return recipe.model_copy(update={"train": train})


def _name_classes(
    classes: Sequence[str] | None, num_classes: int, source: Location
) -> list[ClassInfo]:
    names = classes or [str(label) for label in range(1, num_classes + 1)]
    if len(names) != num_classes:
        raise UsageError(
            f"--classes has {len(names)} names, but {source} has weights for {num_classes}; name "
            "each class, without the background"
        )
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--classes: '{repeated[0]}' occurs twice; name each class differently")
    return [ClassInfo(label=i, name=name, category_id=i) for i, name in enumerate(names, 1)]


def _read(source: Location) -> bytes:
    """Return the content of a file of weights."""
    found = source.parent.head(source.name)
    if found is not None and found.num_bytes > _MAX_BYTES:
        raise DataError(f"{source} has {found.num_bytes:,} bytes; at most {_MAX_BYTES:,} are read")
    return read_input(source, "a file of weights")


def _find_weights(
    arrays: Mapping[str, Array], layout: WeightLayout, model: ModelConfig, framework: str
) -> _Found:
    """Return the weights of a network in a file; its first head has the number of classes."""
    arrays = {name.removeprefix(layout.prefix): each for name, each in arrays.items()}
    bias = {
        "convolution": "heads.cls.0.bias",
        "separable": "heads.cls.0.conv.bias",
        "shared": "heads.cls.conv.bias",
    }[model.head]
    outputs = arrays.get(layout.name(bias), np.empty(0)).size
    num_classes = max(1, outputs // len(model.anchors[0].shapes) - 1)
    expected = open_backend(framework, "cpu").arrays(model, num_classes)
    names = {ours: layout.name(ours) for ours in expected}
    weights = _select(arrays, names, expected)
    return _Found(
        weights={ours: layout.arrange(ours, array) for ours, array in weights.items()},
        num_classes=num_classes,
        unmatched=_find_unmatched(arrays, [*names.values()]),
    )


def _select(
    found: Mapping[str, Array], names: Mapping[str, str], expected: ArrayTypes
) -> dict[str, Array]:
    """Return the arrays of a network by our names, in the expected shapes and types."""
    missing = [name for name in names.values() if name not in found]
    if missing and len(missing) == len(names):
        raise DataError(
            f"none of the {len(names)} arrays of the network is in the file, which has "
            f"{_some_names(found)}; choose the program that wrote it with --layout, or the recipe "
            "of its network with --recipe"
        )
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(names)} arrays of the network are missing, such as "
            f"'{missing[0]}'; {_OTHER_NETWORK}"
        )
    weights = {}
    for ours, name in names.items():
        array, (shape, dtype) = found[name], expected[ours]
        if _long_sides(array.shape) != _long_sides(shape) or array.dtype.kind != dtype.kind:
            raise DataError(
                f"'{name}' is {array.shape} {array.dtype}, the network has {shape} {dtype}; "
                f"{_OTHER_NETWORK}"
            )
        weights[ours] = array.reshape(shape).astype(dtype)
        if not np.isfinite(weights[ours]).all():
            raise DataError(f"'{name}' has values that are not finite; import another checkpoint")
    return weights


def _some_names(found: Mapping[str, Array]) -> str:
    first = [f"'{name}'" for name in sorted(found, key=lambda name: ("." not in name, name))[:2]]
    return " and ".join(first) or "no arrays"


def _long_sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without its sides of one: programs differ in where those of depthwise are."""
    return tuple(side for side in shape if side != 1)


def _find_unmatched(found: Mapping[str, Array], names: Sequence[str]) -> list[str]:
    """Return the names of arrays that are neither weights nor the state of an optimizer.

    The state has a name without a dot, or that of a weight behind its own.
    """
    ends = tuple(f".{name}" for name in names)
    unused = found.keys() - set(names)
    return sorted(name for name in unused if "." in name and not name.endswith(ends))
