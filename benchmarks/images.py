"""A generated COCO data set: images with the size and the number of objects of those in COCO.

Crops of the bundled images are pasted on textures with a natural spectrum, with sensor noise
added: JPEG files of about 100 KB with 7 objects each, most of them small. Every run generates the
same images.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ssd_core.data.decode import decode_image
from ssd_core.structures import Array, IntArray

BUNDLED = Path(__file__).parent.parent / "examples" / "bccd" / "JPEGImages"

_SIZES = ((640, 480),) * 3 + ((640, 427), (480, 640))
_TEXTURE_SIDE = 640
_JPEG_QUALITY = 90
_NUM_CLASSES = 80


def make_images(work_dir: Path, count: int) -> Path:
    """Return a folder with `images/` and `annotations/{train,val}.json`, one image in ten for val.

    The folder of an earlier run is reused.
    """
    folder = work_dir / f"images-{count}"
    if folder.exists():
        return folder
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "annotations").mkdir(parents=True)
    (partial / "images").mkdir()
    textures = [_draw_texture(np.random.default_rng((0, number))) for number in range(24)]
    crops = [decode_image(path.read_bytes()) for path in sorted(BUNDLED.glob("*.jpg"))]
    contents: dict[str, dict[str, Any]] = {name: _empty_content() for name in ("train", "val")}
    for index in range(count):
        rng = np.random.default_rng((1, index))
        pixels, boxes = _paint(rng, textures, crops)
        name = f"{index:012d}.jpg"
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        cv2.imwrite(str(partial / "images" / name), pixels, quality)
        content = contents["train" if index % 10 else "val"]
        _describe(content, name, pixels.shape[1::-1], boxes, rng.integers(_NUM_CLASSES, size=99))
    for split, content in contents.items():
        (partial / "annotations" / f"{split}.json").write_text(json.dumps(content))
    return partial.rename(folder)


def _draw_texture(rng: np.random.Generator) -> Array:
    """Return noise whose amplitude falls with a power of its frequency, as in natural images."""
    side = _TEXTURE_SIDE
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = np.inf
    phases = rng.standard_normal((2, *frequency.shape))
    waves = (phases[0] + 1j * phases[1]) / frequency ** rng.uniform(1.0, 1.7)
    field: Array = np.fft.irfft2(waves, (side, side)).astype(np.float32)
    field /= field.std()
    return field


def _paint(
    rng: np.random.Generator, textures: Sequence[Array], crops: Sequence[Array]
) -> tuple[Array, IntArray]:
    """Return an image and [G, 4] boxes x, y, width, height."""
    width, height = _SIZES[rng.integers(len(_SIZES))]
    texture = textures[int(rng.integers(len(textures)))][:height, :width, None]
    pixels = rng.uniform(60, 190, 3) + rng.uniform(26, 95) * rng.uniform(0.6, 1, 3) * texture
    boxes = _draw_boxes(rng, width, height)
    for x, y, w, h in boxes:
        crop = crops[int(rng.integers(len(crops)))]
        rows, columns = crop.shape[:2]
        cut_h, cut_w = rng.integers(60, rows), rng.integers(60, columns)
        top, left = rng.integers(rows - cut_h + 1), rng.integers(columns - cut_w + 1)
        cut = crop[top : top + cut_h, left : left + cut_w, rng.permutation(3)]
        pixels[y : y + h, x : x + w] = cv2.resize(cut, (w, h), interpolation=cv2.INTER_AREA)
    pixels += rng.uniform(0.5, 7) * rng.standard_normal((height, width, 1), np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8), boxes


def _draw_boxes(rng: np.random.Generator, width: int, height: int) -> IntArray:
    """Draw 1 to 60 boxes, 4 in the median image and 7 on average."""
    count = int(np.clip(round(rng.lognormal(1.45, 1.0)), 1, 60))
    widths = np.clip(rng.lognormal(3.9, 1.0, count), 8, width - 1).astype(np.int64)
    heights = np.clip(widths * rng.lognormal(0, 0.4, count), 8, height - 1).astype(np.int64)
    return np.stack(
        [rng.integers(width - widths), rng.integers(height - heights), widths, heights], axis=1
    )


def _empty_content() -> dict[str, Any]:
    categories = [{"id": number + 1, "name": f"class {number}"} for number in range(_NUM_CLASSES)]
    return {"images": [], "annotations": [], "categories": categories}


def _describe(
    content: dict[str, Any], name: str, size: Sequence[int], boxes: IntArray, labels: NDArray[Any]
) -> None:
    """Add an image and its objects."""
    image_id = len(content["images"]) + 1
    image = {"id": image_id, "file_name": name, "width": size[0], "height": size[1]}
    content["images"].append(image)
    for box, label in zip(boxes.tolist(), labels.tolist(), strict=False):
        annotation_id = len(content["annotations"]) + 1
        content["annotations"].append(
            {
                "id": annotation_id,
                "image_id": image_id,
                "category_id": label + 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
        )
