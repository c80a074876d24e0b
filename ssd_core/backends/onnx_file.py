"""ONNX files of any framework: checked by `onnx`, run by `onnxruntime`.

Both are optional and are imported when a file is written.
"""

from pathlib import Path

from ssd_core.backends.formats import INPUT, OUTPUTS
from ssd_core.structures import FloatArray, ImageArray


def check_onnx(path: Path) -> dict[str, int]:
    """Check a file, and return its `opset`.

    Raises:
        onnx.checker.ValidationError: the framework has written an invalid file.
    """
    import onnx

    content = onnx.load(path)
    onnx.checker.check_model(content, full_check=True)
    return {"opset": content.opset_import[0].version}


def run_onnx(path: Path, images: ImageArray) -> tuple[FloatArray, FloatArray]:
    """Return the boxes and scores of [N, S, S, 3] images."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    boxes, scores = session.run(OUTPUTS, {INPUT: images})
    return boxes, scores
