"""All images in one file: the minimum work of converting and reading."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ssd_core.data.shards.reader import open_split
from ssd_core.store import LocalDirectory


def pack_files(paths: Iterable[Path], packed: Path) -> list[int]:
    """Append the files to one, hash them and fsync; return the start of each, and the end."""
    starts, digest = [0], hashlib.sha256()
    with packed.open("wb", buffering=0) as file:
        for path in paths:
            content = path.read_bytes()
            file.write(content)
            digest.update(content)
            starts.append(starts[-1] + len(content))
        os.fsync(file.fileno())
    return starts


def read_packed(
    packed: Path, starts: Sequence[int], indices: Iterable[int], space: bytearray
) -> Iterator[memoryview]:
    """Read images into `space`; each is valid until the next."""
    view = memoryview(space)
    with packed.open("rb") as file:
        for index in indices:
            image = view[: starts[index + 1] - starts[index]]
            os.preadv(file.fileno(), [image], starts[index])
            yield image


def hash_shards(shards: Path) -> dict[str, str]:
    """Return the SHA-256 of each image in the shards, by its name in the source."""
    return {
        record.image_path: hashlib.sha256(record.image).hexdigest()
        for split in ("train", "val")
        for reader in [open_split(LocalDirectory(shards), split)]
        for record in reader.read(range(reader.num_images))
    }


def hash_files(source: Path) -> dict[str, str]:
    """Return the same of the files below `source/images`."""
    return {
        path.relative_to(source).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (source / "images").iterdir()
    }
