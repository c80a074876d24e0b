"""The operators of a training and a detector, against those that torch_npu has."""

import json
import subprocess
import sys

import pytest

from ssd_core.recipes import RECIPES
from tests.commands import call_ssd
from tests.processes import run_ssd


@pytest.fixture(scope="module")
def audited() -> dict[str, list[dict[str, str]]]:
    return json.loads(run_ssd("doctor", "--audit", "npu", "--json").stdout)


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_npu_has_all_operators_and_never_waits(audited, recipe: str) -> None:
    uses = audited[recipe]
    assert {use["part"] for use in uses} == {"training", "training on 2 ranks", "detector"}
    assert [use for use in uses if use["finding"]] == []
    called = {(use["part"], use["operator"]) for use in uses}
    parts = ("training", "training on 2 ranks")
    assert called >= {(part, "convolution_backward") for part in parts}
    assert called >= {("detector", "convolution"), ("detector", "amax")}


SLOW = """
import torch
from ssd_core.backends.torch.audit import observe

def work():
    numbers = torch.zeros(4, device="npu")
    rows = torch.zeros(4, dtype=torch.int64, device="npu")
    numbers.scatter_reduce_(0, rows, numbers, "amax")
    numbers[numbers > 0]
    torch.special.bessel_j0(numbers)
    numbers.sum().item()
    return numbers.add(1).cpu()

for use in observe("npu", "work", work):
    print(use.operator, "-", use.finding)
"""


def test_the_audit_finds_what_is_slow() -> None:
    """`_to_copy` brings the result to the host; it is not a finding, because nothing follows."""
    done = subprocess.run([sys.executable, "-c", SLOW], capture_output=True, text=True, check=True)
    found = dict(line.split(" - ") for line in done.stdout.splitlines())
    assert {name: finding for name, finding in found.items() if finding} == {
        "scatter_reduce_.two": "only sums of float32 are computed on the device",
        "index.Tensor": "the shape of the result depends on values",
        "special_bessel_j0.out": "the device has no kernel, so the host computes it",
        "_local_scalar_dense": "the host waits for the device",
    }
    assert found["_to_copy"] == ""


def test_an_audit_needs_a_known_device_and_recipe() -> None:
    for arguments, error in {
        ("--audit", "tpu", "demo"): "unknown device to audit 'tpu'; known: npu",
        ("demo",): "a recipe is for --audit; add --audit npu",
    }.items():
        done = call_ssd("doctor", *arguments)
        assert (done.returncode, done.stderr) == (2, f"error: {error}\n")
