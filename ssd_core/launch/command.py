"""The arguments of `ssd train` in every pod."""

import json
from collections.abc import Iterator, Mapping
from typing import Any


def train_command(
    config: Mapping[str, Any], base: Mapping[str, Any], /, **options: str
) -> tuple[str, ...]:
    """Return the words of `ssd train` with the changes that make `config` out of a recipe.

    Args:
        config: the `train` section that is wanted, complete.
        base: the `train` section of the recipe.
        options: further options by name: data, recipe, out, ...
    """
    words = ["train"]
    for name, value in options.items():
        words += [f"--{name}", value]
    for path, value in _changes(base, config, "train"):
        words += ["--set", f"{path}={json.dumps(value)}"]
    return tuple(words)


def _changes(
    old: Mapping[str, Any], new: Mapping[str, Any], path: str
) -> Iterator[tuple[str, Any]]:
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            yield from _changes(before, value, f"{path}.{key}")
        elif before != value:
            yield f"{path}.{key}", value
