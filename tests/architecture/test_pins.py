"""What environments and images are made of: exact versions, their hashes, one package index."""

import os
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements import bill
from tests.architecture.sources import ROOT, relative

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILES = sorted((ROOT / "requirements").glob("*.txt"))
IMAGES = sorted((ROOT / "images").glob("*/build.args"))
PIN = re.compile(r"([a-z0-9.-]+==\S+(?: ; [^\\]+?)?)((?: +--hash=sha256:[0-9a-f]{64})+)")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]


def read_pins(path: Path) -> dict[str, str]:
    """Return the exact versions for this Python, by name."""
    lines = path.read_text().replace("\\\n", " ").splitlines()
    found = [Requirement(match[1]) for line in lines if (match := PIN.fullmatch(line.strip()))]
    assert len(found) == len(lines), f"{relative(path)} has lines without version or hash"
    here = [pin for pin in found if pin.marker is None or pin.marker.evaluate()]
    return {pin.name: next(iter(pin.specifier)).version for pin in here}


def wanted(*extras: str) -> list[Requirement]:
    """Return what the package and its extras require directly."""
    texts = [*PROJECT["project"]["dependencies"], *chain(*(EXTRAS[name] for name in extras))]
    return [Requirement(text) for text in texts if not text.startswith("ssd-core[")]


@pytest.mark.parametrize("framework", ["torch", "mindspore"])
def test_versions_fit_the_requirements_of_the_package(framework: str) -> None:
    """`make pins` follows a change in pyproject.toml."""
    if framework == "mindspore":
        files = [path for path in FILES if path.stem.startswith("mindspore")]
        extras = {"mindspore", "detector", "export", "report"}
    else:
        files = [path for path in FILES if not path.stem.startswith(("mindspore", "swift"))]
        extras = EXTRAS.keys() - {"mindspore"}
    pins = {name: version for path in files for name, version in read_pins(path).items()}
    for requirement in wanted(*extras):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def test_the_tools_of_the_build_are_pinned() -> None:
    pins = read_pins(ROOT / "requirements/build.txt")
    for text in PROJECT["build-system"]["requires"]:
        requirement = Requirement(text)
        assert str(requirement.specifier) == f"=={pins[requirement.name]}"


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.parent.name)
def test_every_image_names_its_base_and_its_packages(path: Path) -> None:
    arguments = dict(line.split("=", 1) for line in path.read_text().splitlines())
    base = arguments["BASE_IMAGE"]
    is_public = base.startswith("python:")  # the digests of CANN are unknown to us
    assert re.fullmatch(r"\S+:[\w.-]+@sha256:[0-9a-f]{64}" if is_public else r"\S+:9[\w.-]+", base)
    for name in arguments["REQUIREMENTS"].split():
        assert read_pins(ROOT / "requirements" / f"{name}.txt")


def test_an_image_is_built_from_one_package_index(tmp_path: Path) -> None:
    """A second one could shadow a package."""
    settings, passed, docker = (tmp_path / name for name in ("settings", "passed", "docker"))
    settings.write_text("[global]\nindex-url = http://a\nextra-index-url = http://b\n")
    docker.write_text(
        f'#!/bin/sh\ncp "$(echo "$*" | sed "s/.*pip.conf,src=//; s/ .*//")" {passed}\n'
    )
    docker.chmod(0o755)
    subprocess.run(
        ["images/build.sh", "tools"],
        cwd=ROOT,
        env=os.environ
        | {"DOCKER": str(docker), "PIP_CONFIG_FILE": str(settings), "PYTHON": sys.executable},
        check=True,
    )
    assert "index-url = http://a" in passed.read_text().splitlines()
    assert "http://b" not in passed.read_text()


LICENCES = re.compile(
    r"Apache|MIT|BSD|ISC|PSF|MPL|Mozilla|Unlicense|BSL-1.0|0BSD|Zlib|CC0-1.0|LLVM-exception|NVIDIA"
)
"""Words of the licences that we accept: none of them extends to our code."""


def test_every_package_has_an_accepted_licence() -> None:
    rows = bill.read_rows(bill.PAGE.read_text())
    assert rows.keys() == bill.pinned()
    for name, licence in rows.items():
        parts = re.split(" AND | OR | WITH ", licence)
        assert all(map(LICENCES.search, parts)) or name == "cuda-toolkit", f"{name}: {licence}"


def test_licences_are_those_of_the_metadata() -> None:
    rows = bill.read_rows(bill.PAGE.read_text())
    here = {name: bill.licence_of(package) for name, package in bill.installed().items()}
    assert {name: rows[name] for name in rows.keys() & here.keys()} == {
        name: here[name] for name in rows.keys() & here.keys()
    }
