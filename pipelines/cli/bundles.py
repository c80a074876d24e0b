"""Options that come together: a verb takes them as one object."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def with_bundles(verb: Callable[..., None]) -> Callable[..., None]:
    """Give typer the fields of every parameter that is a dataclass, as options of the verb."""
    entries = inspect.signature(verb).parameters.values()
    bundles = {one.name: one.annotation for one in entries if _is_bundle(one.annotation)}
    fields = [field for kind in bundles.values() for field in dataclasses.fields(kind)]

    @functools.wraps(verb)
    def wrapped(**words: Any) -> None:
        for name, kind in bundles.items():
            words[name] = kind(
                **{each.name: words.pop(each.name) for each in dataclasses.fields(kind)}
            )
        verb(**words)

    parameters = [
        *(one.replace(kind=one.KEYWORD_ONLY) for one in entries if one.name not in bundles),
        *_parameters(fields),
    ]
    wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
    vars(wrapped)["__signature__"] = inspect.Signature(parameters)
    return wrapped


def _is_bundle(annotation: Any) -> bool:
    return inspect.isclass(annotation) and dataclasses.is_dataclass(annotation)


def _parameters(fields: Iterable["dataclasses.Field[Any]"]) -> Iterable[inspect.Parameter]:
    for field in fields:
        default = field.default
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=field.type,
            default=inspect.Parameter.empty if default is dataclasses.MISSING else default,
        )
