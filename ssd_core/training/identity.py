"""The identity of a training: on a CPU, two runs of the same identity end with equal weights."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

import ssd_core
from ssd_core.config import Recipe, differences
from ssd_core.errors import OwnershipError
from ssd_core.store import Location
from ssd_core.store.known_file import digest_json
from ssd_core.store.location import is_empty

IDENTITY_FILE = "training.json"

Identity = dict[str, Any]


def identify(recipe: Recipe, dataset_digest: str, framework: str) -> Identity:
    """Return everything that determines the result of a training, except the device."""
    identity = {
        "train": recipe.train.model_dump(mode="json"),
        "dataset": dataset_digest,
        "framework": framework,
        "version": ssd_core.__version__,
        "code": _digest_code(),
    }
    if recipe.train.evaluate_every is not None:  # the evaluation selects the weights that are kept
        identity["evaluate"] = recipe.evaluate.model_dump(mode="json", include={"postprocess"})
    return identity


def digest_identity(identity: Identity) -> str:
    """Return the id of a training."""
    return digest_json(identity)[:16]


def claim_directory(out_dir: Location, identity: Identity) -> None:
    """Claim `out_dir` for this training; if several try, the first one gets it.

    Raises:
        OwnershipError: the directory holds another training, or other files.
    """
    check_directory(out_dir, identity)
    content = json.dumps(identity, indent=2, sort_keys=True) + "\n"
    if not out_dir.put_if_absent(IDENTITY_FILE, content.encode()):
        check_directory(out_dir, identity)


def check_directory(out_dir: Location, identity: Identity) -> None:
    """Check that `out_dir` is empty or holds this training.

    Raises:
        OwnershipError: the directory holds another training, or other files.
    """
    if is_empty(out_dir):
        return
    if out_dir.head(IDENTITY_FILE) is None:
        raise OwnershipError(
            f"{out_dir} holds files, but no {IDENTITY_FILE} of a training; choose an empty --out"
        )
    try:
        owner = TypeAdapter(Identity).validate_json(out_dir.get(IDENTITY_FILE))
    except ValidationError:
        raise OwnershipError(
            f"{out_dir / IDENTITY_FILE} is damaged, so the training in it "
            "cannot continue; choose another --out"
        ) from None
    if changes := differences(owner, identity):
        raise OwnershipError(
            f"{out_dir} holds another training ({'; '.join(changes)}); "
            "choose another --out, or remove this one"
        )


@cache
def _digest_code() -> str:
    """Hash all Python files of this package with their paths, as the first call finds them."""
    package_dir = Path(ssd_core.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package_dir.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package_dir).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]
