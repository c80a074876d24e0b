"""Files of other programs as models, and the raw outputs of these."""

from pathlib import Path
from typing import Any

from ssd_core.backends import open_backend
from ssd_core.config import Recipe
from ssd_core.model_dir import Model, read_model
from ssd_core.stages import import_weights
from ssd_core.store import LocalDirectory
from ssd_core.structures import ImageArray


def import_file(path: Path, layout_name: str, recipe: Recipe, **options: Any) -> Model:
    """Import a file, of which no array may be left, into the folder `out` beside it."""
    source, out = LocalDirectory(path), LocalDirectory(path.parent / "out")
    result = import_weights.run(source, out, layout_name=layout_name, recipe=recipe, **options)
    assert result.metadata["unmatched"] == 0
    return read_model(out)


def open_detector(model: Model, framework: str = "torch"):
    config = model.description.model
    return open_backend(framework, "cpu", "fp32").detector(
        config, len(model.classes), model.weights, config.postprocess
    )


def compute(model: Model, images: ImageArray, framework: str = "torch"):
    """Return the logits and the offsets of all anchors."""
    detector = open_detector(model, framework)
    return detector.forward(detector.preprocess(images))
