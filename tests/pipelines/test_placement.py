"""Placements: where the steps run."""

from pathlib import Path

import pytest

from pipelines.placement import PLACEMENTS_PATH, load_placement
from ssd_core import __version__
from ssd_core.errors import UsageError


def test_our_placements() -> None:
    cpu, cuda = load_placement("torch-cpu"), load_placement("torch-cuda")
    assert (cpu.device, cpu.resource, cpu.image) == (
        "cpu",
        None,
        f"ssd-on-kubeflow/torch-cpu:{__version__}",
    )
    assert (cuda.device, cuda.resource, cuda.count) == ("cuda", "nvidia.com/gpu", 1)


def test_rows_of_the_user_come_first(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "torch-cpu: {framework: torch, device: cpu, image: 'here:5000/ssd:7'}\n"
        f"mine: {{framework: torch, device: cpu, image: 'x@sha256:{'a' * 64}'}}\n"
    )
    assert load_placement("torch-cpu", path).image == "here:5000/ssd:7"
    assert load_placement("mine", path).image.startswith("x@sha256")
    assert load_placement("torch-cuda", path).device == "cuda"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine: {framework: torch, device: cpu, image: 'x:latest'}", "mine.image"),
        ("mine: {framework: torch, device: cpu, image: 'here:5000/x'}", "mine.image"),
        ("mine: {framework: torch, device: cpu, image: x}", "mine.image"),
        ("mine: {framework: torch, device: cpu}", "mine.image is missing"),
        (
            "mine: {framework: torch, device: cpu, image: 'x:1', resorce: a}",
            "did you mean 'mine.resource'?",
        ),
        ("mine: [a]", "placements are a mapping"),
        ("mine", "placements are a mapping"),
        ("mine: {", "cannot read the placements"),
    ],
)
def test_wrong_rows(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        load_placement("mine", path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_no_such_placement(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="unknown placement 'torch-cud'; did you mean 'torch-cuda'"
    ):
        load_placement("torch-cud")
    with pytest.raises(UsageError, match="cannot read the placements"):
        load_placement("torch-cpu", tmp_path / "nowhere.yaml")
    assert PLACEMENTS_PATH.is_file()
