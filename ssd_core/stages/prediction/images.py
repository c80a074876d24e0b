"""The images of a prediction: files, folders, globs and lists, and their pixels."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from ssd_core.data.decode import decode_image
from ssd_core.data.sources.base import IMAGE_SUFFIXES
from ssd_core.errors import DataError, UsageError, located
from ssd_core.stages.frame import INVOCATION_FILE
from ssd_core.stages.prediction.video import VIDEO_SUFFIXES
from ssd_core.store import Location
from ssd_core.store.local import raise_if_transient, walk
from ssd_core.structures import Array, ImageArray

ImageLike = str | os.PathLike[str] | bytes | Image.Image | Array
"""A path, `s3://bucket/key`, the content of a file, or pixels, [H, W, 3] RGB uint8."""

PICTURES_DIR = "pictures"
"""Folder of the drawn copies below the output directory."""
STANDARD_INPUT = "-"

_MAX_STEM_BYTES = 200
"""A file system takes names of 255 bytes; a number, a suffix and a temporary name are added."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image in a store, with the members of a Path that are used here."""

    directory: Location
    key: str

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.key).stem

    @property
    def suffix(self) -> str:
        """The suffix with its dot."""
        return PurePosixPath(self.key).suffix

    def read_bytes(self) -> bytes:
        """Return the content; FileNotFoundError if it does not exist."""
        return self.directory.get(self.key)

    def __str__(self) -> str:
        return f"{self.directory}/{self.key}"


def list_places(words: Iterable[str], lines: Iterable[str]) -> Iterator[Location]:
    """Yield the places that words of a command line name.

    Args:
        words: paths, URIs, globs such as `photos/**/*.jpg`, and `-` for the lines.
        lines: paths and URIs, those of standard input; they are read only if a word is `-`.

    Raises:
        UsageError: no file matches a glob, or there are no lines.
    """
    for word in words:
        names = [word]
        if word == STANDARD_INPUT:
            names = [line.strip() for line in lines if line.strip()]
        elif "://" not in word and glob.has_magic(word) and not os.path.lexists(word):
            names = sorted(glob.glob(word, recursive=True))
        if not names:
            problem = "no lines on standard input" if word == STANDARD_INPUT else "no file matches"
            raise UsageError(f"{word}: {problem}; expected paths of images")
        yield from map(Location.parse, names)


def find_images(places: Sequence[Location], out_dir: Location) -> list[Path | StoredImage]:
    """Return the given files, and the images below the given folders, each once.

    The pictures of an earlier run with this output directory are not images.

    Raises:
        UsageError: a path does not exist, a folder has no image, or an image would be overwritten.
    """
    pictures = _pictures_of_an_earlier_run(out_dir)
    found: dict[Path | StoredImage, None] = {}
    for place in places:
        path = place.local
        if path is None:
            found |= dict.fromkeys(_stored_images(place, out_dir))
        elif path.is_dir():
            # Unlike `Path.resolve`, `realpath` accepts a link to itself.
            inside = [file for file in list_images(path) if pictures not in _real(file).parents]
            if not inside:
                raise UsageError(f"{path}: the folder has no images ({' '.join(IMAGE_SUFFIXES)})")
            found |= dict.fromkeys(inside)
        elif path.is_file():
            if pictures in _real(path).parents:
                raise UsageError(f"{path} would be overwritten; choose another --out")
            found[path] = None
        else:
            raise UsageError(f"{path}: the file or folder does not exist")
    return list(found)


def _stored_images(location: Location, out_dir: Location) -> list[StoredImage]:
    pictures = f"{out_dir}/{PICTURES_DIR}/"
    if str(location).startswith(pictures):
        raise UsageError(f"{location} would be overwritten; choose another --out")
    if PurePosixPath(location.name).suffix.lower() in VIDEO_SUFFIXES:
        raise UsageError(f"{location}: a video must be on a local disk; copy it to one")
    objects = (found.key for found in location.list())
    keys = [key for key in objects if not f"{location}/{key}".startswith(pictures)]
    images = [key for key in keys if PurePosixPath(key).suffix.lower() in IMAGE_SUFFIXES]
    if images:
        return [StoredImage(location, key) for key in images]
    if not keys and location.parent.head(location.name) is not None:
        return [StoredImage(location.parent, location.name)]
    raise UsageError(f"{location}: no images there ({' '.join(IMAGE_SUFFIXES)})")


def _pictures_of_an_earlier_run(out_dir: Location) -> Path | None:
    """Return the folder that will be written, if it exists already.

    Raises:
        UsageError: it exists, but no earlier run wrote it.
    """
    if out_dir.local is None or not os.path.exists(folder := out_dir.local / PICTURES_DIR):
        return None
    if out_dir.head(INVOCATION_FILE) is None:
        raise UsageError(f"{folder} exists already, with files of others; choose another --out")
    return _real(folder)


def list_images(folder: Path) -> list[Path]:
    """Return the files and broken links below a folder that have a suffix of an image, sorted."""
    paths = (Path(parent, name) for parent, _, names in walk(folder) for name in names)
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in IMAGE_SUFFIXES and (path.is_file() or not path.exists())
    )


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def name_outputs(paths: Iterable[Path | StoredImage]) -> list[str]:
    """Return a unique name, without a suffix, for the outputs of each image."""
    names: dict[str, str] = {}  # by the name in lower case, for file systems that ignore case
    numbers: Counter[str] = Counter()
    for path in paths:
        stem = os.fsencode(path.stem)[:_MAX_STEM_BYTES].decode(errors="ignore")
        name = stem
        while name.lower() in names:
            numbers[stem.lower()] += 1
            name = f"{stem}-{numbers[stem.lower()] + 1}"
        names[name.lower()] = name
    return list(names.values())


def read_image(path: Path | StoredImage) -> ImageArray:
    """Return the pixels of an image file, [H, W, 3] RGB.

    Raises:
        DataError: the file cannot be read, or is not an image.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError("the image does not exist") from None
    except OSError as error:
        raise_if_transient(error, Path(str(path)))
        raise DataError(f"the image cannot be read: {error.strerror}") from None
    return decode_image(content)


def to_pixels(image: ImageLike) -> ImageArray:
    """Return the pixels of an image, [H, W, 3] RGB.

    Raises:
        DataError: the file cannot be read, or is not an image.
        UsageError: pixels that are not [H, W, 3] uint8, or a path of several images.
    """
    if isinstance(image, bytes):
        return decode_image(image)
    if isinstance(image, str | os.PathLike):
        place = Location.parse(os.fspath(image))
        _check_single(place)
        path = place.local or StoredImage(place.parent, place.name)
        with located(str(path)):
            return read_image(path)
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        shape = f"pixels are {list(pixels.shape)} {pixels.dtype}"
        raise UsageError(
            f"{shape if pixels.ndim else f'{image!r} is not an image'}; expected a path, the "
            "content of a file, a PIL image, or pixels, [H, W, 3] uint8 in RGB"
        )
    return pixels


def _check_single(place: Location) -> None:
    path = place.local
    if path is None:
        return
    is_glob = glob.has_magic(str(path)) and not os.path.lexists(path)
    if is_glob or path.is_dir():
        folder, pattern = (path.parent, path.name) if is_glob else (path, "*.jpg")
        raise UsageError(
            f"{path} is a {'glob' if is_glob else 'folder'}; pass a list of paths, or "
            f"detector.stream(Path({str(folder)!r}).glob({pattern!r}))"
        )
