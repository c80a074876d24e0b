"""The frames of a video, and a video of drawn frames, with OpenCV."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ssd_core.errors import DataError
from ssd_core.store.local import commit_file, make_directory
from ssd_core.store.location import PARTIAL_PREFIX
from ssd_core.structures import ImageArray

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
"""Of files that are read frame by frame."""

_CODEC = "mp4v"
"""MPEG-4 part 2: every build of OpenCV can write it; the usual players open it."""
_COMPLETE = 0.9
"""Fraction of the stated frames from which a video counts as complete; some headers estimate."""
_DEFAULT_FPS = 25.0
"""Of a video that does not state its own."""


def count_frames(path: Path) -> int:
    """Return about how many frames a video has, at least 1; the header of some files is wrong."""
    return max(1, int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT)))


def read_rate(path: Path) -> float:
    """Return the frames per second of a video."""
    rate = float(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS))
    return rate if rate > 0 else _DEFAULT_FPS


def read_frames(path: Path) -> Iterator[ImageArray]:
    """Yield the frames of a video, [H, W, 3] RGB, rotated as their metadata states.

    Raises:
        DataError: at the end, if OpenCV decodes no frame or the video breaks off.
    """
    video, number = cv2.VideoCapture(str(path)), 0
    while True:
        is_read, pixels = video.read()
        if not is_read:
            break
        yield cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        number += 1
    if number == 0:
        raise DataError("the video cannot be decoded; convert it to MP4 with H.264")
    if number < _COMPLETE * (stated := int(video.get(cv2.CAP_PROP_FRAME_COUNT))):
        raise DataError(f"the video breaks off after {number} of {stated} frames; copy it again")


@contextmanager
def open_video(path: Path, rate: float) -> Iterator[Callable[[Image.Image], None]]:
    """Yield a function that adds an RGB frame to `path`, an MP4 that is complete at the end.

    All frames have one size; `rate` is in frames per second. The first frame raises a DataError if
    OpenCV cannot write such a video.
    """
    make_directory(path.parent)
    # OpenCV takes the format from the suffix, so a temporary name has to have it.
    with tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=path.parent) as folder:
        partial_path, writer = Path(folder) / path.name, cv2.VideoWriter()

        def write(frame: Image.Image) -> None:
            if not writer.isOpened():
                codec = cv2.VideoWriter.fourcc(*_CODEC)
                if not writer.open(str(partial_path), codec, rate, frame.size):
                    size = "{} x {} px".format(*frame.size)
                    raise DataError(f"OpenCV cannot write a video of {size}; add --no-pictures")
            writer.write(cv2.cvtColor(np.asarray(frame), cv2.COLOR_RGB2BGR))

        yield write
        writer.release()
        commit_file(partial_path, path)
