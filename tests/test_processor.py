"""The processor, and a container's share of it."""

import pytest

from ssd_core.process.processor import (
    count_processors,
    read_drivers,
    read_governor,
    read_processor_name,
)


def test_this_machine_has_a_processor_with_a_name():
    assert count_processors() >= 1
    assert read_processor_name()


@pytest.mark.parametrize(
    ("limit", "share"), [("50000", 1), ("100000", 1), ("max", None), ("99900000", None)]
)
def test_a_container_is_limited_to_its_share(tmp_path, limit, share):
    path = tmp_path / "cpu.max"
    path.write_text(f"{limit} 100000\n")
    unlimited = count_processors(tmp_path / "missing")
    assert count_processors(path) == (share or unlimited)
    assert unlimited >= 1


def test_the_architecture_replaces_a_missing_name(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: A Chip @ 2 GHz\nmodel name\t: A Chip @ 2 GHz\n")
    assert read_processor_name(path) == "A Chip @ 2 GHz"
    assert read_processor_name(tmp_path / "missing")


def test_the_policy_of_the_clock_is_read_where_the_system_shows_it(tmp_path):
    (tmp_path / "scaling_governor").write_text("performance\n")
    assert read_governor(tmp_path / "scaling_governor") == "performance"
    assert read_governor(tmp_path / "missing") == ""


@pytest.mark.parametrize(
    ("path", "content", "driver"),
    [
        (
            "proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC",
            {"NVIDIA driver": "535.129.03"},
        ),
        (
            "proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build",
            {"NVIDIA driver": "560.35.03"},
        ),
        (
            "usr/local/Ascend/driver/version.info",
            "package_name=driver\nVersion=24.1.rc2\n",
            {"Ascend driver": "24.1.rc2"},
        ),
        ("proc/driver/nvidia/version", "something else", {}),
    ],
)
def test_versions_of_drivers_are_found_in_their_files(tmp_path, path, content, driver):
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(content)
    assert read_drivers(tmp_path) == driver
