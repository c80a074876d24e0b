"""A COCO data set of any size within seconds: annotations like those of COCO, and small images.

An annotation file has the layout, the polygons and the 520 bytes per object of
`instances_train2017.json`. All images are the same strongly compressed one; a number after its end
makes each file different.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import simplejpeg

from benchmarks.images import BUNDLED
from ssd_core.data.decode import decode_image

_IMAGE = BUNDLED / "BloodImage_00002.jpg"
_WIDTH, _HEIGHT = 640, 480

_NUM_CLASSES = 80
_URL = "http://images.example.org/train2017"


def make_coco_folder(work_dir: Path, images: int) -> Path:
    """Return a folder with `images/` and `annotations/{train,val}.json`; val is one image in 25.

    The folder of an earlier run is reused.
    """
    folder = work_dir / f"coco-{images}"
    if folder.exists():
        return folder
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "annotations").mkdir(parents=True)
    (partial / "images").mkdir()
    image = simplejpeg.encode_jpeg(decode_image(_IMAGE.read_bytes()), quality=10)
    for number in range(images):
        path = partial / "images" / _file_name(number)
        path.write_bytes(image + number.to_bytes(8, "little"))
    first = images - images // 25
    for split, numbers in (("train", range(first)), ("val", range(first, images))):
        with (partial / "annotations" / f"{split}.json").open("w") as file:
            file.writelines(_content(numbers))
    return partial.rename(folder)


def _file_name(number: int) -> str:
    return f"{number:012d}.jpg"


def _content(numbers: range) -> Iterator[str]:
    """Yield the text of an annotation file in pieces."""
    rng = np.random.default_rng(numbers.start)
    yield '{"info": {"description": "like COCO 2017"},"licenses": [],"images": ['
    for number in numbers:
        yield "," if number > numbers.start else ""
        name = _file_name(number)
        yield (
            f'{{"license": 4,"file_name": "{name}","coco_url": "{_URL}/{name}",'
            f'"height": {_HEIGHT},"width": {_WIDTH},"date_captured": "2013-11-14 11:18:45",'
            f'"flickr_url": "{_URL}/6116/6255196340_da26cf2c9e_z.jpg","id": {number}}}'
        )
    yield '],"annotations": ['
    counts = np.clip(rng.lognormal(1.45, 1.0, len(numbers)).round(), 1, 60).astype(int)
    owners = np.repeat(numbers, counts).tolist()
    polygons = [_polygon(rng) for _ in range(997)]
    boxes = rng.uniform(4, 240, (len(owners), 4)).round(2).tolist()
    for number, (owner, (x, y, width, height)) in enumerate(zip(owners, boxes, strict=True)):
        yield "," if number else ""
        yield (
            f'{{"segmentation": [{polygons[number % len(polygons)]}],"area": {width * height / 2},'
            f'"iscrowd": 0,"image_id": {owner},"bbox": [{x},{y},{width},{height}],'
            f'"category_id": {number % _NUM_CLASSES + 1},"id": {number + 1}}}'
        )
    names = [f'{{"id": {i + 1},"name": "class {i}"}}' for i in range(_NUM_CLASSES)]
    yield f'],"categories": [{",".join(names)}]}}'


def _polygon(rng: np.random.Generator) -> str:
    """Return the corners of a polygon, 25 on average."""
    corners = rng.uniform(0, _HEIGHT, 2 * max(3, int(rng.lognormal(3.05, 0.6)))).round(2)
    return str(corners.tolist()).replace(" ", "")
