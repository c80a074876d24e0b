"""The random changes of a training image as data; `ssd_core/data/batches` makes them."""

from typing import Annotated, Literal

from pydantic import Field

from ssd_core.config.section import Section, Share

CropRule = Literal["mmdetection", "torchvision", "mindspore"]


class PhotometricSpec(Section):
    """The colour changes of the SSD paper, in the order of mmdetection 3.x."""

    name: Literal["photometric"] = "photometric"
    probability: Share = 0.5
    """Probability of each of brightness, contrast, saturation, hue and channel permutation."""
    brightness: float = Field(default=32.0, ge=0)
    """The added value is drawn from -b..b, on a scale of 0..255."""
    contrast: float = Field(default=0.5, ge=0, lt=1)
    """The factor is drawn from 1-c..1+c."""
    saturation: float = Field(default=0.5, ge=0, lt=1)
    """The factor is drawn from 1-s..1+s."""
    hue: float = Field(default=18.0, ge=0, le=180)
    """The rotation is drawn from -h..h degrees."""


class ColourFactorsSpec(Section):
    """MindSpore's `RandomColorAdjust`: every image is changed, by three factors in random order."""

    name: Literal["factors"] = "factors"
    brightness: float = Field(default=0.4, ge=0, le=1)
    """The factor of all levels is drawn from 1-b..1+b."""
    contrast: float = Field(default=0.4, ge=0, le=1)
    """The factor of the distance to the mean grey of the image is drawn from 1-c..1+c."""
    saturation: float = Field(default=0.4, ge=0, le=1)
    """The factor of the distance to the grey of each pixel is drawn from 1-s..1+s."""


class AugmentConfig(Section):
    """Random changes of a training image, in the order of application (SSD paper, section 2.2)."""

    zoom_out_probability: Share = 0.5
    """Probability of placing the image on a larger canvas, filled with the mean."""
    zoom_out_max: float = Field(default=4.0, ge=1)
    """Largest side of the canvas relative to the image."""
    crop_rule: CropRule = "mmdetection"
    """Condition of a crop: enough overlap with every box (`mmdetection`, and the text of the SSD
    paper), with the best one (`torchvision`), or MindSpore's own; see `data/batches/windows.py`."""
    crop_min_ious: tuple[Share, ...] = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0)
    """One is drawn per crop, with "no crop" as a further choice; empty for no crops at all.
    MindSpore's list lacks the 0."""
    crop_min_scale: float = Field(default=0.3, gt=0, le=1)
    """Smallest side of a crop relative to the image."""
    flip_probability: Share = 0.5
    """Probability of a horizontal flip."""
    colours: Annotated[PhotometricSpec | ColourFactorsSpec, Field(discriminator="name")] = (
        PhotometricSpec()
    )
