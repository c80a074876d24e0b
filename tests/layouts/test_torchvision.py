"""torchvision's detectors become models with the same detections."""

import math
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ssd_core.backends import open_backend
from ssd_core.config import InitConfig
from ssd_core.errors import DataError
from ssd_core.recipes import load_recipe
from ssd_core.structures import ClassInfo
from ssd_core.training.initial import InitialWeights
from tests.contract.compute import make_batch
from tests.layouts.imported import import_file, open_detector

torch = pytest.importorskip("torch", reason="these are files of PyTorch")
state_file = pytest.importorskip("ssd_core.backends.torch.state_file")

NUM_CLASSES = 5
MODELS = {
    "ssd300_vgg16": "ssd300_vgg16",
    "ssdlite320_mobilenet_v3": "ssdlite320_mobilenet_v3_large",
}
"""torchvision's names, by recipe."""
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=MODELS)
def recipe(request):
    return load_recipe(request.param)


def photographs(side):
    """As torchvision takes them: [3, side, side] in [0, 1]."""
    images = make_batch(0, side).images
    return [torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in images]


@pytest.fixture(scope="module")
def original(recipe):
    """torchvision's network with random weights, statistics as of a training, and high scores."""
    from torchvision.models import detection

    torch.manual_seed(0)
    build = getattr(detection, MODELS[recipe.name])
    network = build(weights=None, weights_backbone=None, num_classes=NUM_CLASSES + 1)
    images = network.transform(photographs(recipe.train.model.image_size))[0].tensors
    with torch.inference_mode():
        perturb(network)
        levels = list(network.train().backbone(images).values())
        network.head(levels)
        network.eval()
        head = network.head.classification_head.module_list
        for layer, level in zip(head, levels, strict=True):
            last = layer[-1] if isinstance(layer, torch.nn.Sequential) else layer
            last.weight.mul_(2.5 / layer(level).std())
            # Fewer boxes pass than are kept: of equal scores at a limit, either may be dropped.
            last.bias.view(-1, NUM_CLASSES + 1)[:, 0] = 8 - math.log(network.score_thresh)
    return network


def perturb(network):
    """Draw what training would change, and let norms take the statistics of the next batch."""
    for name, parameter in network.named_parameters():
        if name.endswith("scale_weight"):
            parameter.mul_(torch.rand_like(parameter) + 0.5)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
            layer.weight.uniform_(0.8, 1.2)
            layer.bias.uniform_(-0.2, 0.2)


@pytest.fixture(params=["state", "training"])
def imported(original, recipe, request, tmp_path):
    path = tmp_path / "weights.pth"
    state = original.state_dict()
    torch.save(state if request.param == "state" else {"model": state, "epoch": 3}, path)
    return import_file(path, "torchvision", recipe)


def find_twins(ours, theirs):
    """How far each detection is from the closest one of the other, in tolerances; both ways."""
    labels, scores, boxes = (
        abs(one[:, None] - other) for one, other in zip(ours, theirs, strict=True)
    )
    apart = np.maximum(scores / 1e-4, boxes.max(axis=-1) / 1e-2)
    apart[labels > 0] = np.inf
    return apart.min(axis=0), apart.min(axis=1)


def test_photographs_have_the_same_detections(original, imported):
    side = imported.description.model.image_size
    assert len(imported.classes) == NUM_CLASSES
    with torch.inference_mode():
        expected = original(photographs(side))
    ours = open_detector(imported).detect(make_batch(0, side).images, [(side, side)] * 2)
    for found, theirs in zip(ours, expected, strict=True):
        assert len(found) > 50
        assert len(set(found.labels.tolist())) > 2
        ours = found.labels, found.scores, found.boxes
        theirs = [theirs[part].numpy() for part in ("labels", "scores", "boxes")]
        assert len(found) == len(theirs[0])
        for apart in find_twins(ours, theirs):
            assert apart.max() < 1


def test_a_training_starts_from_a_resnet50_for_classification(tmp_path):
    from safetensors.torch import save_file
    from torchvision.models import resnet50

    state = resnet50(weights=None).state_dict()
    save_file(state, tmp_path / "resnet50.safetensors")
    config = load_recipe("ssd300_resnet50").train
    learner = open_backend("torch", "cpu", "fp32").learner(config, 1)
    initial = InitialWeights(InitConfig(source=str(tmp_path / "resnet50.safetensors")))
    classes = [ClassInfo(label=1, name="cell", category_id=1)]
    origin = initial.load(learner, config.model, classes)
    weights = learner.weights()
    assert origin["loaded"] == sorted(name for name in weights if name.startswith("backbone."))
    for ours, theirs in (
        ("stem.norm.variance", "bn1.running_var"),
        ("conv2.0.shortcut.conv.weight", "layer1.0.downsample.0.weight"),
        ("conv4.5.second.norm.scale", "layer3.5.bn2.weight"),
    ):
        np.testing.assert_array_equal(weights[f"backbone.{ours}"], state[theirs])


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float8_e5m2, torch.float64])
def test_parameters_of_every_precision_are_read(kind, tmp_path):
    torch.save({"a": torch.nn.Parameter(torch.tensor([1.5, -2.0]).to(kind))}, tmp_path / "a.pth")
    found = state_file.read_state_file((tmp_path / "a.pth").read_bytes())
    np.testing.assert_array_equal(found["a"], [1.5, -2.0])


class Program:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return print, ("it ran",)


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"model": Program()}, "more than tensors and plain values, which is not run"),
        ({"epoch": 3}, "it holds no state dict"),
        ([torch.ones(2)], "it holds no state dict"),
        ({"a": torch.ones(2).expand(10**12, 2)}, "sparse, quantized, expanded"),
        ({"a": torch.eye(2).to_sparse()}, "sparse, quantized, expanded"),
        ({"a": torch.empty(2, device="meta")}, "type that NumPy lacks"),
        ({"a": torch.ones(2, dtype=torch.cfloat).conj()}, "type that NumPy lacks"),
    ],
    ids=["program", "no tensors", "list", "expanded", "sparse", "meta", "conjugate"],
)
@pytest.mark.parametrize("is_archive", [True, False])
def test_other_pickles_are_refused(content, problem, is_archive, tmp_path, capsys):
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=is_archive)
    with pytest.raises(DataError, match=problem) as refused:
        state_file.read_state_file((tmp_path / "a.pth").read_bytes())
    assert "\n" not in str(refused.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("is_archive", [True, False])
def test_damaged_files_are_refused(is_archive, tmp_path):
    state = {"a": torch.ones(1000)}
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=is_archive)
    content = (tmp_path / "a.pth").read_bytes()
    for broken in (b"", b"not a file", content[:-1], content[: len(content) // 2]):
        with pytest.raises(DataError, match=r"not a file of torch\.save|damaged, or holds more"):
            state_file.read_state_file(broken)


LIMITED = """
import resource, sys
from pathlib import Path
from ssd_core.backends.torch.state_file import read_state_file
from ssd_core.errors import explain

content = Path(sys.argv[1]).read_bytes()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, resource.RLIM_INFINITY))
try:
    read_state_file(content)
except Exception as error:
    print(explain(error))
"""


def test_a_lack_of_memory_is_no_damage(tmp_path):
    torch.save({"a": torch.zeros(2**25)}, tmp_path / "a.pth")
    words = [sys.executable, "-c", LIMITED, str(tmp_path / "a.pth")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("too little memory; raise the limit"), done.stderr


def test_archives_that_unpack_to_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(state_file, "_MAX_BYTES", 2**20)
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data/0", bytes(2**21))
    assert path.stat().st_size < 2**12
    with pytest.raises(DataError, match="unpacks to"):
        state_file.read_state_file(path.read_bytes())
