"""Changes of files at random, and what may come of reading them."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from ssd_core.errors import explain

FACTOR = int(os.environ.get("SSD_FUZZ", "1"))
"""Multiplies the number of changes that a test tries; `make fuzz` sets it."""

PIECES = [b"NaN", b"-1", b"1e999", b"null", b'"', b"[", b"{}", b"<a>", b"../", b"\0", b"\xff"]
PIECES += [b"\xef\xbb\xbf", b"&a;", b"1.0", b"0", b"9" * 30, b"\n", b",", b": ", b"*a", b"true"]

Edits = Sequence[tuple[int, int, bytes]]
EDITS: st.SearchStrategy[Edits] = st.lists(
    st.tuples(
        st.integers(0, 2**20),
        st.integers(0, 30),
        st.one_of(st.binary(max_size=6), st.sampled_from(PIECES)),
    ),
    min_size=1,
    max_size=4,
)
"""Position (modulo the size), number of bytes that are replaced, replacement."""

ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.integers(),
        st.floats(),
        st.text(max_size=4),
        st.sampled_from(
            ["\ud800", "a\n", "a.jpg", "cat", "../a.jpg", "1", 1.0, 2**53, 2**63, 2**64, 10**400]
        ),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
"""Values of JSON, also those that few programs write."""
_REMOVED = object()
Changes = Sequence[tuple[Sequence[int], Any]]
CHANGES: st.SearchStrategy[Changes] = st.lists(
    st.tuples(st.lists(st.integers(0, 30), max_size=6), ANYTHING | st.just(_REMOVED)),
    min_size=1,
    max_size=3,
)
"""The way to a value, as the number of an entry (modulo their count) at each depth, and what
replaces that value."""


def examples(count: int) -> settings:
    """Let a property test try this many examples, or a multiple with `make fuzz`."""
    unchecked = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=count * FACTOR, deadline=None, suppress_health_check=unchecked)


def change_bytes(content: bytes, edits: Edits) -> bytes:
    """Replace parts of a file."""
    for position, length, replacement in edits:
        start = position % len(content) if content else 0
        content = content[:start] + replacement + content[start + length :]
    return content


def change_json(content: bytes, changes: Changes) -> bytes:
    """Replace or remove values of a JSON document at any depth."""
    document = [json.loads(content)]
    for steps, value in changes:
        container, key = _find(document, steps)
        if value is not _REMOVED:
            container[key] = value
        elif container is not document:
            del container[key]
    return json.dumps(document[0]).encode()


def _find(document: Any, steps: Sequence[int]) -> tuple[Any, Any]:
    """Return a container and one of its keys; values on the way without entries end it."""
    container, key = document, 0
    for step in steps:
        value = container[key]
        if not value or not isinstance(value, dict | list):
            break
        keys = list(value) if isinstance(value, dict) else range(len(value))
        container, key = value, keys[step % len(keys)]
    return container, key


@contextmanager
def only_our_errors() -> Iterator[None]:
    """Allow success, and errors of ours in one line."""
    try:
        yield
    except Exception as error:
        ours = explain(error)
        if ours is None:
            raise
        assert "\n" not in str(ours)
