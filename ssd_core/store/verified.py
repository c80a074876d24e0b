"""Objects whose content is known in advance, and the comparison with it."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ssd_core.errors import DataError
from ssd_core.store.base import Store, read_verified_content

_BLOCK_BYTES = 2**23


@dataclass(frozen=True, slots=True)
class KnownObject:
    """What an object of a store must be."""

    key: str
    sha256: str
    num_bytes: int


def copy_verified(store: Store, known: KnownObject, path: Path) -> None:
    """Copy an object into an existing file; where it comes damaged, it is read once more.

    Raises:
        DataError: the object is missing, or has another content.
        SurroundingsError: the store is away, or damages something else each time.
    """

    def copy() -> tuple[None, str, str]:
        digest = hashlib.sha256()
        with path.open("r+b") as target:
            for start in range(0, known.num_bytes, _BLOCK_BYTES):
                size = min(_BLOCK_BYTES, known.num_bytes - start)
                block = store.get(known.key, start, size)
                digest.update(block)
                target.write(block)
        return None, digest.hexdigest(), known.sha256

    try:
        read_verified_content(known.key, copy)
    except FileNotFoundError as error:
        raise DataError(f"{error}: there is no such object") from None


def verify_object(store: Store, known: KnownObject) -> None:
    """Read an object and compare it.

    Raises:
        DataError: the object is missing, or has another size or content.
        SurroundingsError: the store is away, or damages something else each time.
    """
    found = store.head(known.key)
    if found is None:
        raise DataError(f"{known.key} is missing")
    if found.num_bytes != known.num_bytes:
        raise DataError(
            f"{known.key} is damaged: {found.num_bytes} bytes, expected {known.num_bytes}"
        )
    copy_verified(store, known, Path(os.devnull))
