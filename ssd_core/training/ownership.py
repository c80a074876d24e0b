"""The directory that a training owns, and what happens if it holds another one.

training.json    the identity of the training, and as `continues` those that it took over
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ssd_core.config import differences
from ssd_core.errors import OwnershipError
from ssd_core.store import Location
from ssd_core.store.location import is_empty
from ssd_core.training.identity import Identity, digest_identity

IDENTITY_FILE = "training.json"

_LENGTH = {"train.epochs", "train.steps"}
_CONTINUES = "continues"
_MOST_CHARACTERS = 80


def claim_directory(
    out_dir: Location, identity: Identity, rule: str = "strict"
) -> list[dict[str, Any]] | None:
    """Claim `out_dir` for this training, and return those that it continues.

    Each of them is a mapping of its `training_id` and the `changes` since. The last of them owns
    the directory until `record_owner`. None: the training in the directory is to be replaced.

    Args:
        out_dir: directory of the training.
        identity: of the training.
        rule: what may differ from the training in the directory: `strict` for nothing, `extend` for
            its length, `auto` for anything; `fresh` replaces another one, so that a repeated
            command continues what it has started.

    Raises:
        OwnershipError: the directory holds another training, or other files.
    """
    earlier = check_directory(out_dir, identity, rule)
    if earlier == [] and not out_dir.put_if_absent(IDENTITY_FILE, _format(identity, [])):
        return check_directory(out_dir, identity, rule)
    return earlier


def record_owner(
    out_dir: Location, identity: Identity, continues: Sequence[Mapping[str, Any]]
) -> None:
    """Make this training the owner, now that it has taken the checkpoints of those before it."""
    out_dir.put(IDENTITY_FILE, _format(identity, continues))


def check_directory(
    out_dir: Location, identity: Identity, rule: str = "strict"
) -> list[dict[str, Any]] | None:
    """Check that a training may use `out_dir`; see `claim_directory`."""
    if is_empty(out_dir):
        return []
    if out_dir.head(IDENTITY_FILE) is None:
        raise OwnershipError(
            f"{out_dir} holds files, but no {IDENTITY_FILE} of a training; choose an empty --out"
        )
    if rule == "fresh":
        return [] if out_dir.get(IDENTITY_FILE) == _format(identity, []) else None
    owner = _read_owner(out_dir)
    earlier: list[dict[str, Any]] = owner.pop(_CONTINUES, [])
    changes = differences(owner, identity)
    if not changes:
        return earlier
    is_longer = {change.partition(":")[0] for change in changes} <= _LENGTH
    if rule == "strict" or (rule == "extend" and not is_longer):
        way = (
            "--extend trains it longer" if is_longer else "--resume auto continues it nevertheless"
        )
        raise OwnershipError(
            f"{out_dir} holds another training; choose another --out; {way}, --resume fresh starts "
            f"again in its place; differences: {'; '.join(dict.fromkeys(map(_shorten, changes)))}"
        )
    return [*earlier, {"training_id": digest_identity(owner), "changes": changes}]


def _shorten(change: str) -> str:
    """Leave out long values, and the position in a list such as that of anchors."""
    if len(change) <= _MOST_CHARACTERS:
        return change
    return f"{re.split(r'[.][0-9]|:', change)[0]} differs"


def find_batch_size(out_dir: Location) -> int | None:
    """Return the batch size of the training in a directory, None without one."""
    if out_dir.head(IDENTITY_FILE) is None:
        return None
    train = _read_owner(out_dir).get("train")
    return train.get("batch_size") if isinstance(train, dict) else None


def _format(identity: Identity, continues: Sequence[Mapping[str, Any]]) -> bytes:
    values = identity | ({_CONTINUES: continues} if continues else {})
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()


def _read_owner(out_dir: Location) -> Identity:
    try:
        return TypeAdapter(Identity).validate_json(out_dir.get(IDENTITY_FILE))
    except ValidationError:
        raise OwnershipError(
            f"{out_dir / IDENTITY_FILE} is damaged, so the training in it cannot continue; choose "
            "another --out, or --resume fresh to start again"
        ) from None
