"""Write a model as one file for other programs, with a certificate of its results."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ssd_core import __version__
from ssd_core.backends import find_framework, open_backend
from ssd_core.backends.exported import Outputs, certificate_name
from ssd_core.backends.formats import FORMATS, INPUT, OUTPUTS, choose_framework
from ssd_core.backends.onnx_file import REDUCERS
from ssd_core.benchmark.speed import generate_images
from ssd_core.config import ModelConfig
from ssd_core.data.batches.resize import resize_image
from ssd_core.data.decode import decode_image
from ssd_core.detection.anchors import generate_anchors
from ssd_core.detection.boxes import BoxCoder
from ssd_core.detection.postprocess import decode_outputs
from ssd_core.errors import GateError, UsageError, located
from ssd_core.logs import announce, logger
from ssd_core.model_dir import WEIGHTS_FILE, Model, read_model
from ssd_core.stages.frame import Input, Invocation, Results, check_owner, run_stage
from ssd_core.stages.prediction.images import find_images, read_image
from ssd_core.stages.serving import (
    KSERVE_FILE,
    TRITON_FILE,
    check_service_name,
    kserve_manifest,
    triton_config,
)
from ssd_core.store import Location
from ssd_core.store.known_file import KnownFile
from ssd_core.store.local import write_file
from ssd_core.structures import ImageArray, StageResult

_NUM_COMPARED = 8
_NUM_CALIBRATING = 256
_MAX_BOX_DIFFERENCE = 1e-2
"""Pixels of the network's input; both limits are those between the frameworks, docs/parity.md."""
_MAX_SCORE_DIFFERENCE = 1e-4


def run(
    model_dir: Location,
    out: Location,
    *,
    format_name: str,
    precision: str = "fp32",
    images: Sequence[Location] = (),
    framework: str | None = None,
    triton: str | None = None,
) -> StageResult:
    """Export a model, and compare its results with those of the model's own detector.

    Writes the file, and a certificate of the same name and `.json`; see docs/export.md.

    Args:
        model_dir: output of `train`, or its `model` folder.
        out: directory of the results, or the file in it, with the suffix of the format.
        format_name: one of FORMATS.
        precision: fp32, or for ONNX fp16 or int8, in which the network computes.
        images: image files, and folders that are searched for them, of which the first 8 are
            compared, and the next 256 calibrate int8; without any, generated images.
        framework: framework that writes the file; None takes one that is installed.
        triton: name under which Triton serves the ONNX file; `out` becomes its repository.

    Returns:
        Metrics `max_box_difference`, in pixels of the network's input, and `max_score_difference`,
        if the file is a program that runs here. Metadata: the `file`.

    Raises:
        UsageError: the framework does not write the format, or lacks a package; the format has
            no such precision, or there are too few images to calibrate int8.
        GateError: the file computes something else than the model.
    """
    framework = choose_framework(format_name, framework)
    _check_precision(precision, format_name)
    out_dir, file_name = _split(out, FORMATS[format_name].suffix)
    if triton is not None:
        file_name = _repository_key(triton, format_name, out, out_dir)
    check_owner("export", out_dir)
    model = read_model(model_dir)
    pixels = _read_images(images, out_dir, model.description.model, precision)
    source = Input(model_dir.uri, model.description.file(WEIGHTS_FILE).sha256)
    options = {
        "format": format_name,
        "precision": precision,
        "framework": framework,
        "images": [location.uri for location in images],
        "triton": triton,
    }
    invocation = Invocation(stage="export", config={}, inputs={"model": source}, options=options)
    exporter = find_framework(framework).exporters[format_name]

    def work(folder: Path) -> Results:
        path = folder / file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        logger.info("writing %s with %s", file_name, framework)
        with located(str(model_dir)):
            facts = exporter.write(model, path)
        compared = [*pixels][:_NUM_COMPARED]
        _reduce(path, precision, [*pixels.values()][_NUM_COMPARED:])
        metrics, tested = {}, {}
        if exporter.run is not None:
            logger.info("comparing with the model on %d images", len(compared))
            stacked = np.stack([*pixels.values()][:_NUM_COMPARED])
            pair = exporter.run(path, stacked), _compute(model, framework, stacked)
            metrics = _compare(*pair, stacked.shape[1], is_exact=precision == "fp32")
            tested = {**metrics, "compared_on": compared, **_describe_interface(model)}
        certificate = {
            "format": format_name,
            "precision": precision,
            **facts,
            "file": KnownFile.of(path.name, path).model_dump(),
            **_describe_model(model, source),
            "versions": _versions(format_name, framework),
            **tested,
        }
        write_file(folder / certificate_name(file_name), json.dumps(certificate, indent=2) + "\n")
        _write_server_files(folder, triton, certificate, out_dir)
        return {"metrics": metrics, "file": file_name}

    results, file = run_stage(invocation, out_dir, work), f"{out_dir}/{file_name}"
    _advise(precision, file)
    return StageResult(metrics=results["metrics"], metadata={"file": file})


def _describe_model(model: Model, source: Input) -> dict[str, Any]:
    """Return the keys of a certificate that describe the model."""
    description = model.description
    return {
        "model": {"uri": source.uri, "sha256": source.digest, **description.summary()},
        "description": description.model_dump(mode="json", exclude={"files", "digest"}),
        "classes": [info.name for info in model.classes],
        "category_ids": [info.category_id for info in model.classes],
        "postprocess": description.model.postprocess.model_dump(mode="json"),
    }


def _check_precision(precision: str, format_name: str) -> None:
    """Refuse a precision that the format lacks."""
    if precision != "fp32" and format_name != "onnx":
        raise UsageError(
            f"format '{format_name}' has no precision '{precision}'; use --format onnx, or leave "
            "--precision out"
        )


def _split(out: Location, suffix: str) -> tuple[Location, str]:
    """Return the directory of an output, and the name of the file in it."""
    return (out.parent, out.name) if out.name.endswith(suffix) else (out, f"model{suffix}")


def _repository_key(name: str, format_name: str, out: Location, out_dir: Location) -> str:
    """Return the key of a model's file in a repository of Triton."""
    check_service_name(name)
    if format_name != "onnx" or out != out_dir:
        raise UsageError(
            "--triton expects --format onnx, and in --out the directory of a repository"
        )
    return f"{name}/1/model.onnx"


def _write_server_files(
    folder: Path, name: str | None, certificate: Mapping[str, Any], out_dir: Location
) -> None:
    """Write the files that servers read; KServe reads a repository in a store only."""
    if name is None:
        return
    write_file(folder / name / TRITON_FILE, triton_config(name, certificate))
    if out_dir.local is None:
        write_file(folder / KSERVE_FILE, kserve_manifest(name, out_dir.uri))


def _read_images(
    places: Sequence[Location], out_dir: Location, network: ModelConfig, precision: str
) -> dict[str, ImageArray]:
    """Return the images to compare on, then those to calibrate on, scaled, by name.

    Raises:
        UsageError: there are too few to calibrate on.
    """
    is_calibrated = precision == "int8"
    paths = find_images(places, out_dir) if places else []
    if is_calibrated and len(paths) <= _NUM_COMPARED:
        raise UsageError(
            f"int8 is calibrated on photographs, of which --images has {len(paths)}: name more "
            f"than {_NUM_COMPARED} of the kind that the model will see, up to "
            f"{_NUM_COMPARED + _NUM_CALIBRATING}, and none of an evaluation"
        )
    if not places:
        generated = enumerate(generate_images(_NUM_COMPARED))
        return {
            f"generated {n}": resize_image(decode_image(each), network) for n, each in generated
        }
    found = {}
    for path in paths[: _NUM_COMPARED + is_calibrated * _NUM_CALIBRATING]:
        with located(str(path)):
            found[str(path)] = resize_image(read_image(path), network)
    return found


def _reduce(path: Path, precision: str, images: Sequence[ImageArray]) -> None:
    """Reduce the precision of an exported file in place; int8 is calibrated on the images."""
    if precision == "fp32":
        return
    if precision == "int8":
        logger.info("calibrating int8 on %d images", len(images))
    REDUCERS[precision](path, images)


def _advise(precision: str, file: str) -> None:
    """Print how to measure the cost of a reduced precision."""
    if precision != "fp32":
        command = f"ssd evaluate --model {file} --data DATA --out evaluation"
        announce("measure the cost in AP with %s", command)


def _compute(model: Model, framework: str, pixels: ImageArray) -> Outputs:
    """Return boxes [B, A, 4] and scores [B, A, K] of the model's own detector."""
    network = model.description.model
    spec = network.postprocess
    backend = open_backend(framework, "cpu", "fp32")
    detector = backend.detector(network, len(model.classes), model.weights, spec)
    logits, offsets = map(np.asarray, detector.forward(detector.preprocess(pixels)))
    anchors = generate_anchors(network.anchors, network.image_size)
    return decode_outputs(logits, offsets, anchors, coder=BoxCoder(network.variances), spec=spec)


def _compare(
    found: Outputs, expected: Outputs, size: int, *, is_exact: bool = True
) -> dict[str, float]:
    """Return the largest differences of boxes, in pixels of an input of `size`, and of scores.

    Raises:
        GateError: they are not finite, or larger than rounding where the file has to be exact.
    """
    boxes, scores = (
        float(np.abs(ours - theirs).max()) for ours, theirs in zip(found, expected, strict=True)
    )
    boxes *= size
    text = f"boxes differ by up to {_format(boxes)} pixels and scores by up to {_format(scores)}"
    if is_exact and not (boxes <= _MAX_BOX_DIFFERENCE and scores <= _MAX_SCORE_DIFFERENCE):
        raise GateError(
            f"the exported file computes something else than the model: {text}; allowed are "
            f"{_MAX_BOX_DIFFERENCE:g} and {_MAX_SCORE_DIFFERENCE:g}; try another --format"
        )
    if not np.isfinite([boxes, scores]).all():
        raise GateError(f"the exported file overflows: {text}; try another --precision")
    announce("compared with the model on %d images: %s", len(found[0]), text)
    return {"max_box_difference": boxes, "max_score_difference": scores}


def _format(difference: float) -> str:
    """Return a difference with two digits and without an exponent."""
    return np.format_float_positional(difference, precision=2, fractional=False, trim="-")


def _versions(format_name: str, framework: str) -> dict[str, str]:
    packages = (framework, *FORMATS[format_name].packages[framework])
    return {"ssd-core": __version__, **{package: version(package) for package in packages}}


def _describe_interface(model: Model) -> dict[str, Any]:
    """Return names and shapes of the input and the outputs of the file."""
    network = model.description.model
    size = network.image_size
    num_anchors = len(generate_anchors(network.anchors, size))
    return {
        "input": {
            "name": INPUT,
            "type": "uint8",
            "shape": ["batch", size, size, 3],
            "resize": network.resize,
        },
        "outputs": [
            {"name": name, "type": "float32", "shape": ["batch", num_anchors, columns]}
            for name, columns in zip(OUTPUTS, (4, len(model.classes)), strict=True)
        ],
    }
