"""What is recorded beside a measurement."""

from ssd_core.backends.base import DeviceInfo
from ssd_core.benchmark.environment import describe_environment


def test_the_environment_names_device_processor_and_versions():
    info = DeviceInfo(framework="torch 2.14.0", device="cpu", name="a chip", precision="fp32")
    found = describe_environment(info)
    assert {"framework", "device", "device_name", "precision", "processor", "cores"} <= set(found)
    assert found["device_name"] == "a chip"
    assert int(found["cores"]) >= 1
    assert all(isinstance(value, str) and value for value in found.values())
