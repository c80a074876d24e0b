"""The packages of this environment and their licences, from their metadata.

bill.py sbom        print a software bill of materials in CycloneDX, with the packages of Debian
bill.py licences    update docs/licences.md: the rows of the pinned packages that are installed here
"""

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import quote

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "licences.md"
NOT_STATED = "not stated"


def name_of(package: Distribution) -> str:
    """Return the normalised name: lower case, with hyphens."""
    return re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()


def licence_of(package: Distribution) -> str:
    """Return the licence: an SPDX expression, or the words of the package."""
    stated = package.metadata
    line = (stated.get("License-Expression") or stated.get("License") or "").strip()
    classifiers = [each for each in stated.get_all("Classifier", []) if each.startswith("License")]
    if not line or "\n" in line:
        line = "".join(classifiers[:1])
    return line.rpartition(" :: ")[2] or NOT_STATED


def installed() -> dict[str, Distribution]:
    """Return the packages of this environment by name."""
    return {name_of(package): package for package in distributions()}


def pinned() -> set[str]:
    """Return the names of all packages in requirements/."""
    texts = (path.read_text() for path in FOLDER.glob("*.txt"))
    return {name for text in texts for name in re.findall(r"^([a-z0-9.-]+)==", text, re.MULTILINE)}


def debian_packages() -> list[dict[str, str]]:
    """Return the packages of the system as components, none on another system."""
    if shutil.which("dpkg-query") is None:
        return []
    listing = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}\n"]
    lines = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines()
    return [component("deb/debian", *line.split()) for line in lines]


def component(kind: str, name: str, version: str) -> dict[str, str]:
    """Return one component of the bill."""
    purl = f"pkg:{kind}/{name}@{quote(version, safe=':')}"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def sbom() -> dict[str, object]:
    """Return the bill; equal environments give equal bills."""
    packages = [
        component("pypi", name, package.version)
        | {"licenses": [{"license": {"name": licence_of(package)}}]}
        for name, package in sorted(installed().items())
    ]
    components = [*packages, *debian_packages()]
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}


def read_rows(text: str) -> dict[str, str]:
    """Return the licences in the table by the name of the package."""
    return dict(re.findall(r"^\| `([a-z0-9.-]+)` \| (.+) \|$", text, re.MULTILINE))


def update_page() -> None:
    """Replace the rows of the packages installed here, and drop those without a pin."""
    text = PAGE.read_text()
    rows = read_rows(text) | {name: licence_of(package) for name, package in installed().items()}
    lines = [f"| `{name}` | {rows[name]} |" for name in sorted(pinned() & rows.keys())]
    before = text[: text.index("|---|")] + "|---|---|\n"
    PAGE.write_text(before + "\n".join(lines) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "sbom":
        sys.stdout.write(json.dumps(sbom(), indent=1) + "\n")
    else:
        update_page()
