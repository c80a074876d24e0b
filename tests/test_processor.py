"""The processor, and a container's share of it."""

import pytest

from ssd_core.process.processor import count_processors, read_processor_name


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
