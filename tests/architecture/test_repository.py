"""Promises about the repository as a whole."""

import re
import subprocess
from pathlib import Path

from tests.architecture.sources import ROOT


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in listing.split("\0") if name]


def test_links_in_the_docs_lead_to_files() -> None:
    pages = [path for path in tracked_files() if path.suffix == ".md"]
    assert pages
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_paths_in_the_tables_of_the_readme_exist() -> None:
    rows = re.findall(r"^\|.*\|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    paths = [path for row in rows for path in re.findall(r"`([\w./]+/[\w./]*)`", row)]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_paths_named_in_the_docs_exist() -> None:
    # Data sets have a folder `images`, too.
    folders = {path.relative_to(ROOT).parts[0] for path in tracked_files()} - {"images"}
    pages = {path for path in tracked_files() if path.suffix == ".md"} - {ROOT / "CHANGELOG.md"}
    missing = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in pages
        for path in re.findall(r"`([\w./-]+/[\w./-]*)`", page.read_text())
        if path.partition("/")[0] in folders and not (ROOT / path).exists()
    ]
    assert sorted(missing) == []


def test_decisions_are_numbered_without_gaps() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    numbers = [int(page.name.partition("-")[0]) for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    titles = [page.read_text().splitlines()[0] for page in pages]
    assert [title.partition(". ")[0] for title in titles] == [f"# {number}" for number in numbers]
