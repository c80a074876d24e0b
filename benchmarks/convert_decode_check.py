"""Convert a COCO data set and decode every image as a check; the peer only decodes the images.

The peer reads the files and decodes them with simplejpeg, the fastest decoder in our environment.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import simplejpeg

from benchmarks.images import make_images
from benchmarks.interleaved import compare
from benchmarks.packed_file import hash_files, hash_shards
from benchmarks.script import Measurement, Size, main, ratio
from ssd_core.config import ConvertConfig, parse_section
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.stages import convert
from ssd_core.store import LocalDirectory


def measure(size: Size) -> Iterator[Measurement]:
    """Yield a single row."""
    source = make_images(size.work_dir, size.images)
    shards = size.work_dir / "shards"

    def convert_anew() -> None:
        shutil.rmtree(shards, ignore_errors=True)
        convert.run(
            parse_section(ConvertConfig, {"decode_check": True}, "convert"),
            str(source),
            LocalDirectory(shards),
        )

    def decode() -> int:
        """Return the number of pixels."""
        return sum(
            simplejpeg.decode_jpeg(path.read_bytes()).size // 3
            for path in sorted((source / "images").iterdir())
        )

    def check(_: None, num_pixels: int) -> None:
        hashes = hash_shards(shards)
        assert hashes == hash_files(source)
        assert num_pixels >= len(hashes) * 640 * 427
        assert finds_damage(source, size.work_dir / "damaged")

    yield ratio("convert-decoded", compare(convert_anew, decode, check=check, rounds=size.rounds))


def finds_damage(source: Path, damaged: Path) -> bool:
    """Return whether an image with a valid header and end but a damaged middle is found."""
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(source, damaged)
    image = next((damaged / "images").iterdir())
    content = bytearray(image.read_bytes())
    content[len(content) // 2 :: 97] = bytes(len(content[len(content) // 2 :: 97]))
    image.write_bytes(content)
    shards = damaged.with_suffix(".shards")
    shutil.rmtree(shards, ignore_errors=True)
    convert.run(
        parse_section(ConvertConfig, {"decode_check": True}, "convert"),
        str(damaged),
        LocalDirectory(shards),
    )
    return "image_damaged" in read_manifest(LocalDirectory(shards)).findings


if __name__ == "__main__":
    main(measure)
