"""The directory that a training owns, and what may continue in it."""

import json
from pathlib import Path
from typing import Any

import pytest

from ssd_core.errors import OwnershipError
from ssd_core.store import LocalDirectory
from ssd_core.training.identity import digest_identity
from ssd_core.training.ownership import claim_directory, record_owner

FIRST: dict[str, Any] = {"dataset": "ab", "train": {"seed": 1, "epochs": 2.0, "batch_size": 4}}
LONGER = {"dataset": "ab", "train": {"seed": 1, "epochs": 3.0, "batch_size": 4}}
IN_STEPS = {"dataset": "ab", "train": {"seed": 1, "epochs": 2.0, "batch_size": 4, "steps": 900}}
OTHER = {"dataset": "cd", "train": {"seed": 9, "epochs": 3.0, "batch_size": 4}}
RULES = ("strict", "extend", "auto", "fresh")


def owner(folder: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "training.json").read_text())
    return content


def test_a_directory_belongs_to_its_first_training(tmp_path: Path) -> None:
    out_dir = LocalDirectory(tmp_path / "out")
    for rule in RULES:
        assert claim_directory(out_dir, FIRST, rule) == []
        assert owner(tmp_path / "out") == FIRST
    with pytest.raises(OwnershipError) as error:
        claim_directory(out_dir, OTHER)
    message = str(error.value)
    changes = 'dataset: "ab" -> "cd"; train.epochs: 2.0 -> 3.0; train.seed: 1 -> 9'
    assert message.endswith(f"; differences: {changes}")
    assert "choose another --out; --resume auto continues it nevertheless" in message
    assert "batch_size" not in message
    assert owner(tmp_path / "out") == FIRST
    assert (tmp_path / "out" / "training.json").stat().st_mode & 0o777 == 0o644


def test_long_values_are_left_out_of_the_message(tmp_path: Path) -> None:
    out_dir = LocalDirectory(tmp_path / "out")
    claim_directory(out_dir, FIRST | {"anchors": [{"shapes": [n] * 40} for n in range(2)]})
    changed = {
        "anchors": [{"shapes": [n] * 40} for n in range(5, 7)],
        "train": FIRST["train"] | {"seed": 2},
    }
    with pytest.raises(OwnershipError, match="differences: anchors differs; train.seed: 1 -> 2$"):
        claim_directory(out_dir, FIRST | changed)


@pytest.mark.parametrize("longer", [LONGER, IN_STEPS])
def test_only_the_length_may_differ_to_extend(tmp_path: Path, longer: dict[str, object]) -> None:
    out_dir = LocalDirectory(tmp_path / "out")
    claim_directory(out_dir, FIRST)
    with pytest.raises(OwnershipError, match="--extend trains it longer"):
        claim_directory(out_dir, longer)
    with pytest.raises(OwnershipError, match="--resume auto continues it"):
        claim_directory(out_dir, OTHER, "extend")
    [earlier] = claim_directory(out_dir, longer, "extend")
    assert earlier["training_id"] == digest_identity(FIRST)
    assert len(earlier["changes"]) == 1


def test_the_directory_remembers_all_that_it_continues(tmp_path: Path) -> None:
    out_dir = LocalDirectory(tmp_path)
    claim_directory(out_dir, FIRST)
    before = FIRST
    for identity, count in ((OTHER, 1), (OTHER, 1), (FIRST, 2)):
        earlier = claim_directory(out_dir, identity, "auto")
        assert len(earlier) == count
        assert owner(tmp_path) == before  # until it has loaded a checkpoint
        record_owner(out_dir, identity, earlier)
        before = identity | {"continues": earlier}
        # Whoever repeats the command needs no rule.
        assert claim_directory(out_dir, identity) == earlier
        assert owner(tmp_path) == identity | {"continues": earlier}
    assert earlier[0]["changes"][-1] == "train.seed: 1 -> 9"
    for identity in (FIRST, OTHER):  # it did not begin in this directory, or is another one
        assert claim_directory(out_dir, identity, "fresh") is None
    assert owner(tmp_path) == before  # until its checkpoints are removed
    record_owner(out_dir, OTHER, [])
    assert claim_directory(out_dir, OTHER, "fresh") == []


@pytest.mark.parametrize("rule", RULES)
def test_a_folder_with_other_files_is_never_taken(tmp_path: Path, rule: str) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OwnershipError, match=r"holds files, but no training\.json"):
        claim_directory(LocalDirectory(tmp_path), FIRST, rule)


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_damaged_owner_file_is_explained(tmp_path: Path, content: str) -> None:
    (tmp_path / "training.json").write_text(content)
    with pytest.raises(OwnershipError, match=r"training.json is damaged.*choose another --out"):
        claim_directory(LocalDirectory(tmp_path), FIRST, "auto")
    assert claim_directory(LocalDirectory(tmp_path), FIRST, "fresh") is None
