"""Raw outputs to detections: ours and torchvision's `postprocess_detections`.

Two kinds of outputs of an SSD300 with 91 columns: sparse, with about 2,000 scores per image above
the threshold, as those of a trained network; dense, with 270,000, as those of a random one. Times
are those of one thread.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import ssd300_vgg16

from benchmarks.interleaved import compare
from benchmarks.script import Measurement, Size, main, ratio
from ssd_core.backends.torch.detector import TorchDetector
from ssd_core.backends.torch.devices import open_device
from ssd_core.backends.torch.model import Ssd
from ssd_core.config import PostprocessSpec
from ssd_core.detection.anchors import generate_anchors
from ssd_core.detection.boxes import to_xyxy
from ssd_core.recipes import load_recipe
from ssd_core.structures import Detections

_MODEL = load_recipe("ssd300_vgg16").train.model
_SIDE, _COLUMNS = _MODEL.image_size, 91
_ANCHORS = generate_anchors(_MODEL.anchors, _SIDE)
_SPEC = PostprocessSpec(score_threshold=0.01)  # torchvision's; so are the other defaults


def measure(size: Size) -> Iterator[Measurement]:
    """Yield a row per kind of outputs and batch size."""
    device, network = open_device("cpu"), Ssd(_MODEL, _COLUMNS - 1)
    torch.set_num_threads(1)  # as NumPy
    detector = TorchDetector(network, _MODEL, _SPEC, device=device, precision="fp32")
    peer = ssd300_vgg16(weights=None, weights_backbone=None).eval()
    anchors = torch.from_numpy(to_xyxy(_ANCHORS) * _SIDE)

    for kind, batch_size in (("sparse", 1), ("sparse", 8), ("dense", 1), ("dense", 8)):
        logits, offsets = make_outputs(batch_size, is_sparse=kind == "sparse")
        outputs = {"cls_logits": logits, "bbox_regression": offsets}
        sizes = [(_SIDE, _SIDE)] * batch_size

        def select() -> list[Detections]:
            return detector.postprocess((logits, offsets), sizes)  # noqa: B023

        @torch.inference_mode()
        def select_theirs() -> list[dict[str, Tensor]]:
            found = peer.postprocess_detections(outputs, [anchors] * len(sizes), sizes)  # noqa: B023
            return list(found)

        yield ratio(
            f"{kind}-{batch_size}", compare(select, select_theirs, check=check, rounds=size.rounds)
        )


def make_outputs(batch_size: int, *, is_sparse: bool) -> tuple[Tensor, Tensor]:
    """Return random logits and offsets of a batch."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(batch_size, len(_ANCHORS), _COLUMNS))
    if is_sparse:  # background, but for three classes at some of the anchors
        logits[..., 0] += 9
        for _ in range(3):
            rows = rng.random(logits.shape[:2]).argsort(axis=1)[:, :700]
            logits[np.arange(batch_size)[:, None], rows, rng.integers(1, _COLUMNS, rows.shape)] += 6
    offsets = rng.normal(size=(batch_size, len(_ANCHORS), 4))
    return torch.tensor(logits, dtype=torch.float32), torch.tensor(offsets, dtype=torch.float32)


def check(ours: Sequence[Detections], theirs: Sequence[dict[str, Tensor]]) -> None:
    """Compare the detections of all images."""
    for found, expected in zip(ours, theirs, strict=True):
        assert np.array_equal(found.labels, expected["labels"].numpy())
        assert np.allclose(found.scores, expected["scores"].numpy(), atol=1e-6)
        assert np.allclose(found.boxes, expected["boxes"].numpy(), atol=1e-3)


if __name__ == "__main__":
    main(measure)
