"""Placements: where the steps run."""

from pathlib import Path

import pytest

from pipelines.placement import PLACEMENTS_PATH, Placement, load_placement
from ssd_core import __version__
from ssd_core.errors import UsageError

ROW = "framework: torch, device: cpu, image: 'x:1'"


@pytest.mark.parametrize(
    ("name", "device", "resource", "job"),
    [
        ("torch-cpu", "cpu", None, "TrainJob"),
        ("torch-cuda", "cuda", "nvidia.com/gpu", "TrainJob"),
        ("torch-npu", "npu", "huawei.com/Ascend910", "AscendJob"),
        ("mindspore-cpu", "cpu", None, "TrainJob"),
        ("mindspore-npu", "npu", "huawei.com/Ascend910", "AscendJob"),
    ],
)
def test_our_placements(name: str, device: str, resource: str | None, job: str) -> None:
    placement = load_placement(name)
    assert placement.framework == name.partition("-")[0]
    assert (placement.device, placement.resource, placement.count) == (device, resource, 1)
    assert placement.image == f"ssd-on-kubeflow/{name}:{__version__}"
    assert placement.job
    assert placement.job.kind == job


def test_row_of_the_docs_is_a_placement(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "placements.md").read_text()
    block = page[page.index("    # mine.yaml\n") : page.index("| key | meaning |")]
    path = tmp_path / "mine.yaml"
    path.write_text("".join(line[4:] for line in block.splitlines(keepends=True)))
    placement = load_placement("a100", path)
    assert (placement.count, placement.resources.memory_request) == (2, "64Gi")


def test_docs_list_every_key() -> None:
    page = (Path(__file__).parents[2] / "docs" / "placements.md").read_text()
    assert [name for name in Placement.model_fields if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    "variable", ["AWS_SECRET_ACCESS_KEY: top-secret", "HTTPS_PROXY: 'http://me:top-secret@proxy'"]
)
def test_secret_in_plain_text_is_not_repeated(tmp_path: Path, variable: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"mine: {{framework: torch, device: cpu, image: 'x:1', environment: {{{variable}}}}}\n"
    )
    with pytest.raises(UsageError, match="belongs in a secret") as error:
        load_placement("mine", path)
    assert "top-secret" not in str(error.value)


def test_rows_of_the_user_take_precedence(tmp_path: Path) -> None:
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
        ("mine: {framework: torch, device: tpu, image: 'x:1'}", "input should be 'auto', 'cpu',"),
        (f"mine: {{{ROW}, resorce: a}}", "did you mean 'mine.resource'?"),
        (f"mine: {{{ROW}, resources: {{cpu_limit: lots}}}}", "mine.resources.cpu_limit"),
        (f"mine: {{{ROW}, resources: {{cpu_limits: 1}}}}", "did you mean 'mine.resources.cpu_limi"),
        (f"mine: {{{ROW}, shared_memory: 8 GB}}", "mine.shared_memory"),
        (f"mine: {{{ROW}, user: -1}}", "mine.user"),
        (f"mine: {{{ROW}, environment: {{AWS_SECRET_ACCESS_KEY: abc}}}}", "belongs in a secret"),
        ("mine: [a]", "placements are a mapping"),
        ("mine", "placements are a mapping"),
        ("mine: {", "cannot read the placements"),
        ("mine: !!timestamp soon", "cannot read the placements: is not YAML: "),
    ],
)
def test_wrong_rows(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        load_placement("mine", path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_placement(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="unknown placement 'torch-cud'; did you mean 'torch-cuda'"
    ):
        load_placement("torch-cud")
    with pytest.raises(UsageError, match="cannot read the placements: No such file or directory$"):
        load_placement("torch-cpu", tmp_path / "nowhere.yaml")
    assert PLACEMENTS_PATH.is_file()
