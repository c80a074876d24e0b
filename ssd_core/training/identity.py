"""The identity of a training: on a CPU, two runs of the same identity end with equal weights."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

import ssd_core
from ssd_core.backends import FRAMEWORKS
from ssd_core.config import Recipe
from ssd_core.store.known_file import digest_json

_HARMLESS = {
    "all_reduce_fusion",
    "checkpoint_interval",
    "keep_checkpoints",
    "keep_every_epochs",
    "log",
    "log_interval",
    "loader_threads",
}
"""Values of the section `train` that do not change the weights.

Other messages between ranks may change their last digits, as another number of ranks does.
"""
_CODE = (
    "training",
    "detection",
    "networks.py",
    "backends",
    "layouts/torchvision.py",
    "data/batches",
    "data/shards",
    "data/decode.py",
)
"""The code that computes the weights; of `backends`, without the other frameworks."""

Identity = dict[str, Any]


def identify(
    recipe: Recipe, dataset_digest: str, framework: str, init_sha256: str = ""
) -> Identity:
    """Return everything that determines the weights of a training, except the device.

    A value of None is left out, so that a new option does not change what was trained without it.

    Args:
        recipe: the configuration of the training.
        dataset_digest: of the manifest.
        framework: that trains.
        init_sha256: of the weights that it starts from; "" for random ones.
    """
    train = recipe.train.model_dump(mode="json", exclude=_HARMLESS | {"init"}, exclude_none=True)
    identity = {"train": train, "dataset": dataset_digest, "framework": framework}
    if init_sha256:
        taken = recipe.train.init.model_dump(mode="json", include={"scope", "renamed"})
        identity["init"] = {"sha256": init_sha256, **taken}
    if recipe.train.evaluate_every is not None:  # the evaluation selects the weights that are kept
        measured = recipe.evaluate.model_dump(mode="json", include={"postprocess", "images"})
        identity["evaluate"] = measured | {"code": _digest_code(("evaluation",), framework)}
    return identity | {"code": _digest_code(_CODE, framework)}


def digest_identity(identity: Identity) -> str:
    """Return the id of a training."""
    return digest_json(identity)[:16]


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
