"""What every image must be: without entry point, for any user, complete, and no more."""

import json
import re
import subprocess

import pytest
from packaging.utils import canonicalize_name

from components import images
from ssd_core import __version__
from tests.docker.restricted import MINDSPORE, RESTRICTIONS, ROOT, TORCH

REPORT = {"hotcoco", "jinja2"}
DETECTOR = {"cv2", *REPORT}
MODULES = {
    images.TOOLS: ("ssd_core.stages.convert, ssd_core.stages.report", REPORT),
    TORCH: ("ssd_core.backends.torch", {"torch", *DETECTOR}),
    images.LAUNCHER: ("ssd_core.launch.run", {"kubernetes", *DETECTOR}),
    MINDSPORE: ("mindspore.mindrecord", {"mindspore", *DETECTOR}),
}
OPTIONAL = {"torch", "mindspore", "kubernetes", "triton", "pytest", *DETECTOR}
each_image = pytest.mark.parametrize("image", MODULES)


def in_container(image: str, *command: str) -> str:
    words = ["docker", "run", "--rm", *RESTRICTIONS, image, *command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@each_image
def test_kubeflow_may_set_the_command(image: str) -> None:
    words = ["docker", "image", "inspect", "--format", "{{json .Config}}", image]
    asked = subprocess.run(words, capture_output=True, text=True, check=True)
    config = json.loads(asked.stdout)
    assert not config.get("Entrypoint")
    assert config["User"] == "65532:65532"  # a number, for `runAsNonRoot`
    assert f"SSD_IMAGE={image}" in config["Env"]
    assert image.endswith(f":{__version__}")


@each_image
def test_a_stranger_finds_all_that_is_needed_and_no_more(image: str) -> None:
    module, extras = MODULES[image]
    listing = "import json, importlib.util as u; import {}; print(json.dumps([n for n in {} if "
    listing += "u.find_spec(n)]))"
    code = listing.format(module, sorted(OPTIONAL))
    assert set(json.loads(in_container(image, "python3", "-c", code))) == extras
    assert in_container(image, "ssd", "--version").split() == ["ssd", __version__]


@each_image
def test_packages_are_those_of_its_files(image: str) -> None:
    name = image.partition("/")[2].partition(":")[0]
    arguments = (ROOT / "images" / name / "build.args").read_text()
    files = re.findall("^REQUIREMENTS=(.*)$", arguments, re.MULTILINE)[0].split()
    lines = "".join((ROOT / "requirements" / f"{file}.txt").read_text() for file in files)
    pins = set(re.findall(r"^(\S+==\S+)", lines, re.MULTILINE))
    code = "from importlib.metadata import distributions\n"
    code += "for d in distributions(path=[p for p in __import__('sys').path if '/opt/ssd' in p]):"
    code += " print(d.name.lower().replace('_', '-') + '==' + d.version.partition('+')[0])"
    installed = set(in_container(image, "python3", "-c", code).split())
    assert "kfp==2.17.0" in installed
    of_the_base = {"pip", "setuptools"}  # what `python3 -m venv` brings along there
    unpinned = {name for name in installed - pins if name.partition("==")[0] not in of_the_base}
    assert unpinned == {f"ssd-core=={__version__}"}


@each_image
def test_bill_of_materials_lists_what_is_installed(image: str) -> None:
    bill = json.loads(in_container(image, "cat", "/usr/share/sbom/ssd.cdx.json"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert all(each["licenses"] for each in bill["components"] if "pypi" in each["purl"])
    listed = sorted(f"{each['name']} {each['version']}" for each in bill["components"])
    packages = json.loads(in_container(image, "python3", "-m", "pip", "list", "--format=json"))
    installed = [f"{canonicalize_name(each['name'])} {each['version']}" for each in packages]
    showing = ("dpkg-query", "--show", "--showformat", "${Package} ${Version}\n")
    assert listed == sorted(installed + in_container(image, *showing).splitlines())


def test_no_layer_contains_the_settings_of_the_build() -> None:
    """`.ci/run` names this host in the settings of pip with which it builds."""
    secret, sign = "canary.invalid", "/ssd.cdx.json"
    words = ["grep", "--text", "--only-matching", "-e", secret, "-e", sign]
    with subprocess.Popen(["docker", "save", images.TOOLS], stdout=subprocess.PIPE) as layers:
        found = subprocess.run(words, stdin=layers.stdout, capture_output=True, text=True)
    assert set(found.stdout.split()) == {sign}
