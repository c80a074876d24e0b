"""TensorFlow's SSDLite becomes a model that computes what its frozen graph does."""

import numpy as np
import pytest

from ssd_core.errors import DataError
from ssd_core.layouts.graph_def import read_graph
from ssd_core.recipes import load_recipe
from tests.contract.compute import make_batch
from tests.layouts.frozen_graph import ARRAYS, Graph, constant, read_detector, write_graph
from tests.layouts.imported import compute, import_file
from tests.requirements import INSTALLED_FRAMEWORKS

NUM_LEVELS = 6
GRAPH = write_graph(*(constant(name, array) for name, array in ARRAYS.items()))


@pytest.mark.parametrize("framework", INSTALLED_FRAMEWORKS)
def test_a_trained_detector_computes_the_same(framework, tmp_path):
    content, images = read_detector(), make_batch(0, 300).images
    path, recipe = tmp_path / "frozen_inference_graph.pb", load_recipe("ssd300_mobilenet_v2")
    path.write_bytes(content)
    options = {"classes": ["person"], "framework": framework}
    model = import_file(path, "tensorflow", recipe, **options)
    logits, offsets = compute(model, images, framework)

    graph = Graph(content, images.astype(np.float32) * np.float32(2 / 255) - 1)
    expected = []
    for predictor, size in (("ClassPredictor", 2), ("BoxEncodingPredictor", 4)):
        levels = [graph.compute(f"BoxPredictor_{n}/{predictor}/BiasAdd") for n in range(NUM_LEVELS)]
        rows = [level.reshape(len(images), -1, size) for level in levels]
        expected.append(np.concatenate(rows, axis=1))
    np.testing.assert_allclose(logits, expected[0], atol=1e-3, rtol=0)
    np.testing.assert_allclose(offsets, expected[1][..., [1, 0, 3, 2]], atol=1e-3, rtol=0)


def test_kernels_have_our_axes():
    found = read_graph(GRAPH)
    assert found.keys() == {"a.weights", "b.depthwise_weights", "b.BatchNorm.gamma"}
    np.testing.assert_array_equal(found["a.weights"], ARRAYS["a/weights"].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(
        found["b.depthwise_weights"], ARRAYS["b/depthwise_weights"].transpose(2, 3, 0, 1)
    )


def test_one_number_stands_for_all_elements():
    node = constant("gamma", np.empty(3, np.float32), content=np.float32(1.5).tobytes())
    np.testing.assert_array_equal(read_graph(write_graph(node))["gamma"], [1.5, 1.5, 1.5])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it holds no weights"),
        (b"not a graph", "cut off, or of another format"),
        (GRAPH[:-1], "cut off, or of another format"),
        (write_graph(constant("gamma", np.ones(3), dtype=2)), "not of type float32"),
        (write_graph(constant("gamma", np.ones(3, np.float32), content=b"12345")), "has 5 bytes"),
        (write_graph(constant("gamma", np.ones([1] * 5, np.float32))), "has 4 bytes and shape"),
        (
            write_graph(
                constant("gamma", np.broadcast_to(np.float32(1), (2**20, 2**20)), content=b"1234")
            ),
            "has 4 bytes and shape",
        ),
    ],
)
def test_hostile_content_is_refused(content, problem):
    with pytest.raises(DataError, match=problem) as refused:
        read_graph(content)
    assert "\n" not in str(refused.value)
