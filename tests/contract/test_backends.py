"""The contract of every backend with the loop and the stages."""

import numpy as np
import pytest

from ssd_core.backends import open_backend
from ssd_core.detection.anchors import generate_anchors
from ssd_core.detection.loss import DetectionLoss
from ssd_core.errors import DataError, UsageError
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.structures import Batch
from tests.requirements import INSTALLED_FRAMEWORKS

RECIPE = load_recipe("demo").train
CONFIGS = {
    name: override(load_recipe("demo"), ["train.batch_size=2", *assignments]).train
    for name, assignments in {
        "adamw": ["train.micro_batch_size=1", "train.ema_decay=0.4"],
        "sgd": [
            "train.optimizer.name=sgd",
            "train.optimizer.clip_norm=5",
            "train.loss_scale.start=3e17",  # in fp32, too, it overflows at the first step
            "train.loss_scale.growth_interval=2",
        ],
        "focal": [
            'train.classification_loss={"name": "focal"}',
            "train.model.postprocess.scores=sigmoid",
            "train.matching.contested_anchor=first",
            "train.loss_scale.start=1.5e16",
            "train.loss_scale.growth_interval=2",
        ],
    }.items()
}
NUM_CLASSES = 3
SIZE = RECIPE.model.image_size
POSTPROCESS = RECIPE.model.postprocess

pytestmark = pytest.mark.parametrize("framework", INSTALLED_FRAMEWORKS)


def make_batch(step, num_images=2):
    """Noise with a bright square where the object is; the same for the same step."""
    rng = np.random.default_rng(step)
    images = rng.integers(0, 128, (num_images, SIZE, SIZE, 3), dtype=np.uint8)
    boxes = np.zeros((num_images, 8, 4), np.float32)
    labels = np.zeros((num_images, 8), np.int64)
    for image in range(num_images):
        left, top = rng.integers(0, SIZE - 80, 2)
        images[image, top : top + 80, left : left + 80] += 127
        boxes[image, 0] = np.array([left, top, left + 80, top + 80]) / SIZE
        labels[image, 0] = 1 + step % NUM_CLASSES
    return Batch(images=images, boxes=boxes, labels=labels)


def new_learner(framework, config=CONFIGS["adamw"], precision="fp32"):
    return open_backend(framework, "cpu", precision).learner(config, NUM_CLASSES)


def assert_same_arrays(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_info_describes_framework_and_device(framework):
    info = open_backend(framework, "cpu", "fp32").info
    assert info.framework.split()[0] == framework
    assert (info.device, info.precision) == ("cpu", "fp32")
    assert info.name


def test_unknown_device_is_refused(framework):
    with pytest.raises(UsageError, match="unknown device 'gpu'; known: auto, cpu"):
        open_backend(framework, "gpu")


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_learner_resumes_after_every_step(framework, config):
    """Restore each state, from the last one to the initial one, and repeat the remaining steps."""
    whole, resumed = (
        new_learner(framework, config.model_copy(update={"seed": seed})) for seed in (1, 99)
    )
    states, losses = [whole.state()], []
    for step in range(4):
        losses.append(whole.step(make_batch(step), 1e-3 * step)())
        states.append(whole.state())
    for finished in reversed(range(len(states))):
        resumed.load_state(states[finished])
        assert_same_arrays(resumed.state(), states[finished])
        for step in range(finished, 4):
            assert resumed.step(make_batch(step), 1e-3 * step)() == losses[step]
        assert_same_arrays(resumed.state(), states[-1])
        assert_same_arrays(resumed.weights(), whole.weights())


def test_a_state_of_another_network_is_refused_and_changes_nothing(framework):
    learner = new_learner(framework)
    state = learner.state()
    name = sorted(name for name in state if state[name].ndim == 4)[-1]
    for broken, message in (
        ({**state, "extra": state[name]}, "extra"),
        ({key: array for key, array in state.items() if key != name}, name),
        ({**state, name: state[name][:1]}, name),
        ({**state, name: state[name].astype(np.float64)}, name),
    ):
        with pytest.raises(DataError, match=message):
            learner.load_state({key: np.asarray(array + 1) for key, array in broken.items()})
    assert_same_arrays(learner.state(), state)


def test_a_step_uses_the_given_learning_rate(framework):
    learner = new_learner(framework)
    before = learner.weights()
    learner.step(make_batch(0), 0.0)
    after = learner.weights()
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {
        name for name in before if name.endswith((".mean", ".variance"))
    }


def weight_changes(framework, *assignments):
    """Take one step of pure gradient descent; return its figures and the changes of the weights."""
    names = ["train.batch_size=2", "train.optimizer.name=sgd", "train.optimizer.weight_decay=0"]
    config = override(load_recipe("demo"), [*names, *assignments]).train
    learner = new_learner(framework, config)
    before = learner.weights()
    figures = learner.step(make_batch(0), 0.5)()
    return figures, {
        name: array - before[name]
        for name, array in learner.weights().items()
        if not name.endswith((".mean", ".variance"))
    }


def test_a_scale_that_is_a_power_of_two_changes_no_bit_and_a_limit_shortens_the_step(framework):
    plain_figures, plain = weight_changes(framework)
    scaled_figures, scaled = weight_changes(framework, "train.loss_scale.start=1024")
    assert_same_arrays(scaled, plain)
    assert scaled_figures == plain_figures | {"loss_scale": 1024.0}
    norm = np.sqrt(sum(np.square(change).sum() for change in plain.values()))
    assert plain_figures["gradient_norm"] == pytest.approx(norm / 0.5, rel=1e-4)
    limit = plain_figures["gradient_norm"] / 4
    clipped_figures, clipped = weight_changes(
        framework, "train.loss_scale.start=1024", f"train.optimizer.clip_norm={limit}"
    )
    assert clipped_figures == scaled_figures
    for name, change in clipped.items():
        np.testing.assert_allclose(change, plain[name] / 4, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("divisor", ["batch", "image"])
def test_parts_of_a_batch_give_the_step_of_the_whole(framework, divisor):
    """Norms keep their statistics, which would be those of a part; one image has no objects."""
    batch = make_batch(0, num_images=5)
    batch.labels[2] = 0
    found = []
    for more in ([], ["micro_batch_size=2"]):
        names = ("optimizer.name=sgd", f"loss_divisor={divisor}", "loss_scale.start=8")
        frozen = "freeze.names=*.norm.mean,*.norm.variance"
        assignments = [f"train.{each}" for each in (*names, frozen, *more)]
        learner = new_learner(framework, override(load_recipe("demo"), assignments).train)
        found.append((learner.step(batch, 1e-3)(), learner.weights()))
    (whole_figures, whole), (figures, weights) = found
    assert figures == pytest.approx(whole_figures, rel=1e-5)
    for name, array in whole.items():
        np.testing.assert_allclose(weights[name], array, atol=2e-5, err_msg=name)


def test_averages_follow_the_weights_and_do_not_disturb_the_training(framework):
    config = CONFIGS["sgd"]
    plain = new_learner(framework, config)
    learner = new_learner(framework, config.model_copy(update={"ema_decay": 0.2}))
    expected = learner.weights()
    for step, decay in enumerate((0.1, 2 / 11, 0.2)):
        assert learner.step(make_batch(step), 1e-3)() == plain.step(make_batch(step), 1e-3)()
        state, weights = learner.state(), plain.weights()
        for name, array in weights.items():
            if name.endswith((".mean", ".variance")):
                expected[name] = array
                continue
            expected[name] = decay * expected[name] + (1 - decay) * array
            np.testing.assert_array_equal(state[f"trained/{name}"], array)
    found = learner.weights()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("config", ["sgd", "focal"])
def test_a_step_with_infinite_gradients_is_left_out_and_halves_the_scale(framework, config):
    learner = new_learner(framework, CONFIGS[config])
    before = learner.state()
    figures = [learner.step(make_batch(0), 1e-3)()]
    after = learner.state()
    assert figures[0]["gradient_norm"] == np.inf
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {
        "loss_scale/value",
        *(name for name in before if name.endswith((".mean", ".variance"))),
    }
    figures += [learner.step(make_batch(0), 1e-3)() for _ in range(3)]
    scales = np.array([step["loss_scale"] for step in figures])
    assert (scales / scales[0]).tolist() == [1, 0.5, 0.5, 1]


@pytest.mark.parametrize("config", ["adamw", "focal"])
def test_training_lowers_the_loss_and_returns_its_parts(framework, config):
    learner = new_learner(framework, CONFIGS[config])
    results = [learner.step(make_batch(step % 4), 2e-3)() for step in range(40)]
    assert results[-1]["loss"] < results[0]["loss"] / 4
    for values in results:
        assert set(values) == {
            *("loss", "loss_cls", "loss_bbox", "positives", "gradient_norm", "loss_scale")
        }
        assert all(np.isfinite(values[name]) for name in values.keys() - {"gradient_norm"})
        assert values["loss"] == pytest.approx(values["loss_cls"] + values["loss_bbox"], rel=1e-5)
        assert values["positives"] >= 1


def test_virtual_shards_take_the_step_of_the_whole_batch(framework):
    plain = CONFIGS["adamw"].model_copy(update={"micro_batch_size": None})
    config = plain.model_copy(update={"virtual_shards": 2})
    if framework == "mindspore":
        for option in ({"virtual_shards": 2}, {"compile": True}):
            with pytest.raises(UsageError, match=f"{[*option][0]} is implemented in PyTorch only"):
                new_learner(framework, plain.model_copy(update=option))
        return
    whole, parted = new_learner(framework, plain), new_learner(framework, config)
    figures = [learner.step(make_batch(0), 0.0)() for learner in (whole, parted)]
    assert figures[1] == pytest.approx(figures[0], rel=1e-4)
    found = parted.weights()  # at this rate only the statistics of norms change
    for name, array in whole.weights().items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_types_change_the_rounding_and_keep_float32_weights(framework, precision):
    if (framework, precision) == ("mindspore", "bf16"):
        with pytest.raises(UsageError, match="bf16' is not implemented in MindSpore; use fp32"):
            new_learner(framework, precision=precision)
        return
    whole, half = new_learner(framework), new_learner(framework, precision=precision)
    losses = [learner.step(make_batch(0), 1e-3)()["loss"] for learner in (whole, half)]
    assert losses[1] != losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert {array.dtype for array in half.state().values()} == {np.dtype(np.float32)}
    found = half.detector(POSTPROCESS).forward(
        half.detector(POSTPROCESS).preprocess(make_batch(1).images)
    )
    assert {np.asarray(output).dtype for output in found} == {np.dtype(np.float32)}


def test_a_loss_that_is_not_finite_is_returned(framework):
    learner = new_learner(framework)
    broken = {
        name: array * np.nan if name.startswith("trained/") else array
        for name, array in learner.state().items()
    }
    learner.load_state(broken)
    assert not np.isfinite(learner.step(make_batch(0), 1e-3)()["loss"])


@pytest.mark.parametrize("name", ["adamw", "focal"])
def test_a_measured_loss_is_that_of_the_detector_and_changes_nothing(framework, name):
    config, batch = CONFIGS[name], make_batch(0)
    learner = new_learner(framework, config)
    before = learner.state()
    cls, bbox, divisor, positives = learner.measure(batch)
    assert_same_arrays(learner.state(), before)
    detector = learner.detector(config.model.postprocess)
    outputs = map(np.asarray, detector.forward(detector.preprocess(batch.images)))
    expected = DetectionLoss(
        anchors_cxcywh=generate_anchors(config.model.anchors, SIZE),
        variances=config.model.variances,
        matching=config.matching,
        classification=config.classification_loss,
        divisor=config.loss_divisor,
    ).compute(*outputs, batch.boxes, batch.labels)
    assert positives == expected.positives > 0
    found = (cls / divisor, bbox / divisor)
    assert found == pytest.approx((expected.loss_cls, expected.loss_bbox), rel=1e-4)


def test_a_detector_from_saved_weights_equals_that_of_the_learner(framework):
    learner = new_learner(framework)
    for step in range(3):
        learner.step(make_batch(step), 1e-3)
    backend = open_backend(framework, "cpu", "fp32")
    detector = backend.detector(RECIPE.model, NUM_CLASSES, learner.weights(), POSTPROCESS)
    batch, sizes = make_batch(7), [(640, 480), (100, 200)]
    found = learner.detector(POSTPROCESS).detect(batch.images, sizes)
    expected = detector.detect(batch.images, sizes)
    assert detector.config.image_size == SIZE
    assert sum(len(detections) for detections in expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.labels.tolist() == theirs.labels.tolist()
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-2)


def test_weights_of_another_network_are_refused(framework):
    backend = open_backend(framework, "cpu", "fp32")
    weights = new_learner(framework).weights()
    with pytest.raises(DataError, match="heads.cls.0"):
        backend.detector(RECIPE.model, NUM_CLASSES + 1, weights, POSTPROCESS)
    with pytest.raises(DataError, match="missing"):
        backend.detector(RECIPE.model, NUM_CLASSES, {}, POSTPROCESS)


def test_weights_are_compared_before_the_network_takes_memory(framework):
    backend = open_backend(framework, "cpu", "fp32")
    weights = new_learner(framework).weights()
    with pytest.raises(DataError, match="heads.cls.0"):
        backend.detector(RECIPE.model, 10**8, weights, POSTPROCESS)


def test_detect_composes_the_other_steps(framework):
    detector = new_learner(framework).detector(POSTPROCESS)
    images, sizes = make_batch(1).images, [(64, 64), (300, 200)]
    outputs = detector.forward(detector.preprocess(images))
    detector.synchronize()
    for found, expected, size in zip(
        detector.postprocess(outputs, sizes), detector.detect(images, sizes), sizes, strict=True
    ):
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        assert (np.diff(found.scores) <= 0).all()
        assert (found.scores > POSTPROCESS.score_threshold).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes <= [*size, *size]).all()
        assert set(found.labels) <= set(range(1, NUM_CLASSES + 1))


def test_detections_do_not_depend_on_the_batch(framework):
    detector = new_learner(framework).detector(POSTPROCESS)
    images, sizes = make_batch(1, num_images=3).images, [(64, 64), (300, 200), (50, 50)]
    together = detector.detect(images, sizes)
    for index in range(3):
        alone = detector.detect(images[index : index + 1], sizes[index : index + 1])[0]
        np.testing.assert_allclose(alone.boxes, together[index].boxes, atol=1e-2)
        np.testing.assert_allclose(alone.scores, together[index].scores, atol=1e-5)


def test_detecting_does_not_disturb_training(framework):
    disturbed, plain = new_learner(framework), new_learner(framework)
    detector = disturbed.detector(POSTPROCESS)
    for step in range(2):
        detector.detect(make_batch(5).images, [(64, 64)] * 2)
        assert disturbed.step(make_batch(step), 1e-3)() == plain.step(make_batch(step), 1e-3)()
    assert_same_arrays(disturbed.state(), plain.state())
