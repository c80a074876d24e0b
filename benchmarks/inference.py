"""Detection with SSD300-VGG16 on the processor, ours and torchvision's, with the same weights.

From images of noise to boxes. torchvision computes in fp32; ours in fp32 and in the precision that
`auto` takes here. The background of the random weights is raised until about 7,000 scores per image
stay above the threshold. Times are those of one thread.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import ssd300_vgg16

from benchmarks.interleaved import compare
from benchmarks.script import Measurement, Size, main, ratio
from benchmarks.training_step import list_precisions, read_weights
from ssd_core.backends.torch.backend import TorchBackend
from ssd_core.config import PostprocessSpec
from ssd_core.layouts.torchvision import TORCHVISION
from ssd_core.recipes import load_recipe
from ssd_core.structures import Detections, ImageArray

_SIDE, _NUM_CLASSES = 300, 90
_SPEC = PostprocessSpec(score_threshold=0.01)  # torchvision's; so are the other defaults
_BACKGROUND = 13.0
_COMPARED = 50


def measure(size: Size) -> Iterator[Measurement]:
    """Yield a row per precision and batch size."""
    torch.manual_seed(0)
    peer = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=_NUM_CLASSES + 1).eval()
    for layer in peer.head.classification_head.module_list:
        layer.bias.data[:: _NUM_CLASSES + 1] += _BACKGROUND
    for (name, precision), batch_size in product(list_precisions().items(), (1, 8)):
        images = np.random.default_rng(0).integers(
            0, 256, (batch_size, _SIDE, _SIDE, 3), dtype=np.uint8
        )
        tolerance = 1e-4 if precision == "fp32" else 0.05
        yield ratio(
            f"detection-{name}-{batch_size}",
            compare(
                prepare_ours(peer, images, precision),
                prepare_theirs(peer, images),
                check=lambda ours, theirs: check(ours, theirs, tolerance),  # noqa: B023
                rounds=size.rounds,
            ),
        )


def prepare_ours(
    peer: torch.nn.Module, images: ImageArray, precision: str
) -> Callable[[], list[Detections]]:
    """Return our detection with the weights of torchvision's network."""
    model = load_recipe("ssd300_vgg16").train.model.model_copy(update=TORCHVISION["vgg16"].model)
    backend = TorchBackend("cpu", precision)
    torch.set_num_threads(1)
    detector = backend.detector(model, _NUM_CLASSES, read_weights(peer), _SPEC)
    return lambda: detector.detect(images, [(_SIDE, _SIDE)] * len(images))


def prepare_theirs(
    peer: torch.nn.Module, images: ImageArray
) -> Callable[[], list[dict[str, Tensor]]]:
    """Return torchvision's detection."""
    tensors = [torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in images]

    @torch.inference_mode()
    def detect() -> list[dict[str, Tensor]]:
        return list(peer(tensors))

    return detect


def check(
    ours: Sequence[Detections], theirs: Sequence[dict[str, Tensor]], tolerance: float
) -> None:
    """Compare the best scores of all images."""
    for found, expected in zip(ours, theirs, strict=True):
        best = expected["scores"].numpy()[:_COMPARED]
        assert len(best) == _COMPARED
        assert np.allclose(found.scores[:_COMPARED], best, atol=tolerance)


if __name__ == "__main__":
    main(measure)
