"""The identity of a training: on a CPU, two runs of the same identity end with equal weights."""

import ast
import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

import ssd_core
from ssd_core.backends import FRAMEWORKS
from ssd_core.config import Recipe, differences
from ssd_core.errors import OwnershipError
from ssd_core.store import Location
from ssd_core.store.known_file import digest_json
from ssd_core.store.location import is_empty
from ssd_core.training.initial import find_digest

IDENTITY_FILE = "training.json"

_HARMLESS = {"checkpoint_interval", "log_interval", "loader_threads"}
"""Values of the section `train` that do not change the weights."""
_CODE: tuple[str, ...] = (
    "training",
    "detection",
    "backends",
    "data/batches",
    "data/shards",
    "data/decode.py",
)
"""The code that computes the weights; of `backends`, without the other frameworks."""

Identity = dict[str, Any]


def identify(recipe: Recipe, dataset_digest: str, framework: str) -> Identity:
    """Return everything that determines the weights of a training, except the device.

    A value of None is left out, so that a new option does not change what was trained without it.

    Raises:
        DataError: the initial weights are missing.
    """
    train = recipe.train.model_dump(mode="json", exclude=_HARMLESS | {"init"}, exclude_none=True)
    identity = {"train": train, "dataset": dataset_digest, "framework": framework}
    if init_sha256 := find_digest(recipe.train.init):
        taken = recipe.train.init.model_dump(mode="json", include={"scope", "renamed"})
        identity["init"] = {"sha256": init_sha256, **taken}
    code = _CODE
    if recipe.train.evaluate_every is not None:  # the evaluation selects the weights that are kept
        code = (*_CODE, "evaluation")
        identity["evaluate"] = recipe.evaluate.model_dump(
            mode="json", include={"postprocess", "images"}
        )
    return identity | {"code": _digest_code(code, framework)}


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
def _digest_code(parts: tuple[str, ...], framework: str) -> str:
    """Hash the statements of files and folders of this package, as the first call finds them.

    Comments, docstrings and the layout do not count.
    """
    package_dir = Path(ssd_core.__file__).parent
    statements = {
        name: _essence(ast.parse(path.read_bytes()))
        for part in parts
        for path in (package_dir / part, *(package_dir / part).rglob("*.py"))
        if (name := path.relative_to(package_dir).as_posix()).endswith(".py")
        and not any(name.startswith(f"backends/{each}/") for each in {*FRAMEWORKS} - {framework})
    }
    return digest_json(statements)[:16]


def _essence(node: Any) -> Any:
    """Return a part of a syntax tree as plain values that every version of Python returns."""
    if isinstance(node, list):
        return [_essence(each) for each in node if not _is_docstring(each)]
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
        return [type(node).__name__, {name: _essence(value) for name, value in fields}]
    return repr(node)


def _is_docstring(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
