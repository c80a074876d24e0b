"""What must hold for the repository as a whole."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in listing.split("\0") if name]


def test_links_of_the_docs_lead_somewhere() -> None:
    pages = [path for path in tracked_files() if path.suffix == ".md"]
    assert pages
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_folders_named_in_the_map_exist() -> None:
    """The README's map `I want to ... -> open this file` must not go stale."""
    rows = re.findall(r"^\|.*\|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    paths = [path for row in rows for path in re.findall(r"`([\w./]+/[\w./]*)`", row)]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_decision_has_a_number_of_its_own() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    numbers = [int(page.name.partition("-")[0]) for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    titles = [page.read_text().splitlines()[0] for page in pages]
    assert [title.partition(". ")[0] for title in titles] == [f"# {number}" for number in numbers]
