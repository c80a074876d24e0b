"""Images on the base of an accelerator are not built here, but what they install must exist."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docker.restricted import ROOT

FOLDERS = sorted(path.parent for path in (ROOT / "images").glob("*/build.args"))


def build_arguments(folder: Path) -> dict[str, str]:
    lines = (folder / "build.args").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


WITH_PACKAGES = [folder for folder in FOLDERS if "PACKAGES" in build_arguments(folder)]


def read_pins(constraints: str) -> dict[str, str]:
    """Return the exact versions for this Python, by name."""
    lines = (ROOT / "constraints" / constraints).read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_image_is_pinned_down(folder: Path) -> None:
    """What the extras need is resolved by `make setup` and `make setup-mindspore`."""
    arguments = build_arguments(folder)
    assert not arguments["BASE_IMAGE"].endswith(":latest")
    assert ":" in arguments["BASE_IMAGE"]
    pins = read_pins(arguments["CONSTRAINTS"])
    extra = {"torch": "torch", "mindspore": "mindspore", "launch": "kubernetes"}
    assert {extra[name] for name in arguments.get("EXTRAS", "").split(",") if name} <= pins.keys()
    assert f'"kfp=={pins["kfp"]}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("folder", WITH_PACKAGES, ids=lambda path: path.name)
def test_further_packages_exist_and_agree_with_the_constraints(
    folder: Path, tmp_path: Path
) -> None:
    arguments = build_arguments(folder)
    packages = arguments["PACKAGES"].split()
    report_path = tmp_path / "report.json"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--quiet"]
    done = subprocess.run(
        [*command, "--ignore-installed", "--report", str(report_path), *packages],
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pins = read_pins(arguments["CONSTRAINTS"])
    for entry in json.loads(report_path.read_text())["install"]:
        for text in entry["metadata"].get("requires_dist", ()):
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert needed.specifier.contains(pins[canonicalize_name(needed.name)]), text
