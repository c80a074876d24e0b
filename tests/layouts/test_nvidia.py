"""A checkpoint of NVIDIA's SSD300 becomes a model that computes the same."""

from collections import Counter, OrderedDict

import numpy as np
import pytest

from ssd_core.recipes import load_recipe
from tests.contract.compute import make_batch
from tests.layouts.imported import compute as compute_ours
from tests.layouts.imported import import_file

torch = pytest.importorskip("torch", reason="these are files of PyTorch")
nn = torch.nn

NUM_CLASSES = 5
RECIPE = load_recipe("ssd300_resnet50")
BOXES = (4, 6, 6, 6, 4, 4)


def build_original():
    """The layers of NVIDIA's network under its names, from torchvision's ResNet-50."""
    from torchvision.models import resnet50

    body = list(resnet50(weights=None).children())[:7]  # its stem, and the layers 1 to 3
    first = body[6][0]
    for convolution in (first.conv2, first.downsample[0]):
        convolution.stride = (1, 1)
    widths, hidden = (1024, 512, 512, 256, 256, 256), (256, 256, 128, 128, 128)
    network = nn.Module()
    network.feature_extractor = nn.Module()
    network.feature_extractor.feature_extractor = nn.Sequential(*body)
    network.additional_blocks = nn.ModuleList()
    for index, (before, middle, after) in enumerate(zip(widths, hidden, widths[1:], strict=False)):
        halving = {"stride": 2, "padding": 1} if index < 3 else {}
        first = [nn.Conv2d(before, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU()]
        second = nn.Conv2d(middle, after, 3, bias=False, **halving)
        network.additional_blocks.append(
            nn.Sequential(*first, second, nn.BatchNorm2d(after), nn.ReLU())
        )
    for name, outputs in (("loc", 4), ("conf", NUM_CLASSES + 1)):
        heads = [
            nn.Conv2d(w, n * outputs, 3, padding=1) for w, n in zip(widths, BOXES, strict=True)
        ]
        setattr(network, name, nn.ModuleList(heads))
    return network


def compute_levels(network, inputs):
    levels = [network.feature_extractor.feature_extractor(inputs)]
    for block in network.additional_blocks:
        levels.append(block(levels[-1]))
    return levels


def compute(network, inputs, name):
    """[B, A, outputs] of a kind of head; the channels of a level are output by output, not box."""
    rows = []
    for head, level, boxes in zip(
        getattr(network, name), compute_levels(network, inputs), BOXES, strict=True
    ):
        images, channels, side, _ = head(level).shape
        parts = head(level).reshape(images, channels // boxes, boxes, side, side)
        rows.append(parts.permute(0, 3, 4, 2, 1).reshape(images, -1, channels // boxes))
    return torch.cat(rows, dim=1)


@pytest.fixture(scope="module")
def photographs():
    return make_batch(0, 300).images


@pytest.fixture(scope="module")
def inputs(photographs):
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    pixels = torch.from_numpy(photographs).float() / 255
    return ((pixels - mean) / deviation).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def original(inputs):
    """With random weights, and statistics as of a training."""
    torch.manual_seed(0)
    network = build_original()
    with torch.inference_mode():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 1.0
                layer.weight.uniform_(0.8, 1.2)
                layer.bias.uniform_(-0.2, 0.2)
        compute_levels(network.train(), inputs)
    return network.eval()


@pytest.fixture(scope="module", params=["", "module."], ids=["plain", "distributed"])
def imported(original, request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    state = original.state_dict()
    checkpoint = {
        "epoch": 65,
        "iteration": 3,
        "label_map": {1: "person"},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}},
        "scheduler": {"milestones": Counter([43, 54])},
        "model": OrderedDict((f"{request.param}{name}", each) for name, each in state.items()),
    }
    torch.save(checkpoint, folder / "epoch_64.pt")
    return import_file(folder / "epoch_64.pt", "nvidia", RECIPE)


def test_raw_outputs_are_those_of_the_original(original, imported, inputs, photographs):
    with torch.inference_mode():
        expected = [compute(original, inputs, name).numpy() for name in ("conf", "loc")]
    assert len(imported.classes) == NUM_CLASSES
    for ours, theirs in zip(compute_ours(imported, photographs), expected, strict=True):
        assert theirs.std() > 0.1
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-4 * abs(theirs).max())
