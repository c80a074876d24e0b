"""ONNX files of any framework: checked by `onnx`, run and reduced to fewer bits by `onnxruntime`.

Both are optional and are imported when a file is written.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ssd_core.backends.exported import Outputs, load_onnxruntime
from ssd_core.backends.formats import INPUT
from ssd_core.data.ahead import batched
from ssd_core.structures import ImageArray

_CALIBRATION_BATCH = 8


def check_onnx(path: Path) -> dict[str, int]:
    """Check a file, and return its `opset`.

    Raises:
        onnx.checker.ValidationError: the framework has written an invalid file.
    """
    import onnx

    content = onnx.load(path)
    onnx.checker.check_model(content, full_check=True)
    return {"opset": content.opset_import[0].version}


def run_onnx(path: Path, images: ImageArray) -> Outputs:
    """Return the boxes and scores of [N, S, S, 3] images."""
    return load_onnxruntime(path.read_bytes())(images)


def _write_fp16(path: Path, _: Sequence[ImageArray]) -> None:
    """Rewrite a file so that its network computes in fp16, which needs no images."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(path)
    inside = _find_network(model.graph)
    others = [node.name for node in model.graph.node if node.name not in inside]
    onnx.save(convert_float_to_float16(model, keep_io_types=True, node_block_list=others), path)


def _write_int8(path: Path, images: Sequence[ImageArray]) -> None:
    """Rewrite a file so that its network computes in int8, calibrated on [S, S, 3] images.

    Weights have a scale per channel. Static quantisation: the scale of each activation is that of
    the extremes on the images.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_static

    model = onnx.load(path)
    with _without_advice():
        quantize_static(
            model,
            path,
            _Calibration(images),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=sorted(_find_network(model.graph)),
        )


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence advice to run another tool first, which onnxruntime logs as the root."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)  # without a handler the root would get one that prints all of our logs
    try:
        yield
    finally:
        root.removeHandler(handler)


def _find_network(graph: Any) -> set[str]:
    """Return the names of the nodes from the first convolutions to the last ones.

    Those before normalise the pixels and those behind decode the boxes, which needs all bits: in
    fp16 a coordinate is off by up to a thousandth of the image.
    """
    nodes = list(graph.node)
    behind = _reach(nodes, lambda node: node.input, lambda node: node.output)
    ahead = _reach(nodes[::-1], lambda node: node.output, lambda node: node.input)
    return behind & ahead


def _reach(
    nodes: Iterable[Any],
    sources: Callable[[Any], Iterable[str]],
    targets: Callable[[Any], Iterable[str]],
) -> set[str]:
    """Return the names of the convolutions, and of the nodes that their values reach."""
    reached: set[str] = set()
    names: set[str] = set()
    for node in nodes:
        if node.op_type == "Conv" or not reached.isdisjoint(sources(node)):
            names.add(node.name)
            reached.update(targets(node))
    return names


class _Calibration:
    """The images in batches, as onnxruntime expects them."""

    def __init__(self, images: Sequence[ImageArray]) -> None:
        self._batches = map(np.stack, batched(images, _CALIBRATION_BATCH))

    def get_next(self) -> dict[str, ImageArray] | None:
        """Return the next batch as the input of the file, None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


REDUCERS = {"fp16": _write_fp16, "int8": _write_int8}
"""By the precision of the network."""
