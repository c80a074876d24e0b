"""The environment recorded with a measurement."""

from ssd_core.backends.base import DeviceInfo
from ssd_core.benchmark.environment import comparable_conditions, describe_environment


def test_the_environment_names_device_processor_and_versions():
    info = DeviceInfo(framework="torch 2.14.0", device="cpu", name="a chip", precision="fp32")
    found = describe_environment(info)
    assert {"framework", "device", "device_name", "precision", "processor", "cores"} <= set(found)
    assert found["device_name"] == "a chip"
    assert int(found["cores"]) >= 1
    assert all(isinstance(value, str) and value for value in found.values())


def test_versions_do_not_prevent_a_comparison():
    environment = {
        "framework": "torch 2.14.0",
        "device": "cuda",
        "device_name": "H100",
        "precision": "bf16",
        "processor": "x",
        "cores": "8",
        "numpy": "2.3",
    }
    subject = {"network": "0123", "images": "generated"}
    ours = comparable_conditions(environment, [8, 1, 8], **subject)
    assert ours.items() >= {"framework": "torch", "batch_sizes": "1,8", **subject}.items()
    newer = environment | {"framework": "torch 2.15.0", "numpy": "3"}
    assert comparable_conditions(newer, [1, 8], **subject) == ours
    assert comparable_conditions(environment | {"cores": "4"}, [1, 8], **subject) != ours
