"""`ssd convert` and `ssd check`: labelled photographs, packed or only looked at."""

from pathlib import Path
from typing import Annotated

import typer

from ssd_core.config import (
    ConvertConfig,
    Crowd,
    Policy,
    ShardFormat,
    SourceFormat,
    TxtOrder,
    parse_section,
)
from ssd_core.errors import DataError, UsageError
from ssd_core.recipes.overrides import assign
from ssd_core.store import LocalDirectory, Location, local_path

_WHERE = (
    "Where this split is inside SOURCE: COCO file.json[:folder], VOC an ImageSets "
    "list or a folder, YOLO data.yaml:train, a folder or a list of images, TXT the list file."
)


SourcePlace = Annotated[
    str, typer.Argument(metavar="SOURCE", help="The data set: a folder, or s3://bucket/prefix.")
]
Format = Annotated[SourceFormat, typer.Option(help="auto looks at the content.")]
Train = Annotated[str | None, typer.Option(metavar="WHERE", help=_WHERE)]
Val = Annotated[str | None, typer.Option(metavar="WHERE", help="The same for evaluation.")]
Images = Annotated[
    str | None, typer.Option(metavar="DIR", help="Folder of the images inside SOURCE.")
]
Classes = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|a,b,c",
        help="Classes in label order, others are left out; old=new gives a new name, several "
        "with one new name become one class. Default: those of the source.",
    ),
]
Order = Annotated[TxtOrder, typer.Option(help="Column order of TXT boxes.")]
Offset = Annotated[int, typer.Option(help="1 where VOC coordinates are counted from 1, else 0.")]
Assigned = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="convert.key=value",
        help="Set any key of the section, also max_pixels, max_skipped and shard_bytes, which have "
        "no option; repeat for more.",
    ),
]

_DEFAULTS = ConvertConfig()


def convert(
    source: SourcePlace,
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="A folder, or s3://bucket/prefix.")
    ],
    format: Format = _DEFAULTS.format,
    train: Train = _DEFAULTS.train,
    val: Val = _DEFAULTS.val,
    images: Images = _DEFAULTS.images,
    classes: Classes = None,
    policy: Annotated[
        Policy, typer.Option(help="What a fault does: strict stops, repair mends, skip leaves out.")
    ] = _DEFAULTS.policy,
    txt_order: Order = _DEFAULTS.txt_order,
    voc_offset: Offset = _DEFAULTS.voc_offset,
    crowd: Annotated[
        Crowd, typer.Option(help="Boxes around groups: keep ignores them, object trains on them.")
    ] = _DEFAULTS.crowd,
    decode_check: Annotated[
        bool, typer.Option("--decode-check", help="Decode each JPEG to find damage inside of it.")
    ] = _DEFAULTS.decode_check,
    shards: Annotated[
        ShardFormat, typer.Option(help="mindrecord is read by MindSpore's SSD; needs MindSpore.")
    ] = _DEFAULTS.shards,
    assignments: Assigned = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that write; the shards stay the same.")
    ] = 1,
) -> None:
    """Check a COCO, VOC, YOLO or TXT data set and pack it into shards.

    Without --train and --val the usual names are found; without any evaluation split a fixed
    fifth of the images is held back. A second run with the same input returns in seconds, a
    killed one continues.

    Example: ssd convert photos --train annotations/a.json:images --classes cat,dog --out shards
    """
    from ssd_core.stages import convert as stage

    config = {
        "format": format,
        "train": train,
        "val": val,
        "images": images,
        "classes": _read_classes(classes),
        "policy": policy,
        "txt_order": txt_order,
        "voc_offset": voc_offset,
        "crowd": crowd,
        "decode_check": decode_check,
        "shards": shards,
    }
    values = assign("convert", config, assignments or ())
    section = parse_section(ConvertConfig, values, "convert")
    stage.run(section, source, Location.parse(out), workers=workers)


def check(
    source: SourcePlace,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where findings.html and findings.json go.",
            parser=local_path,
        ),
    ] = None,
    format: Format = _DEFAULTS.format,
    train: Train = _DEFAULTS.train,
    val: Val = _DEFAULTS.val,
    images: Images = _DEFAULTS.images,
    classes: Classes = None,
    txt_order: Order = _DEFAULTS.txt_order,
    voc_offset: Offset = _DEFAULTS.voc_offset,
    decode_check: Annotated[
        bool | None,
        typer.Option(
            "--decode-check/--no-decode",
            help="Decode each JPEG to find damage inside of it, or only read its header and end, "
            "which is several times faster. It is decoded where neither is said.",
        ),
    ] = None,
    assignments: Assigned = None,
) -> None:
    """Look for faults in a data set: in every annotation and in every image.

    Prints what was found; with --out all of it, each with its place, as a page and as JSON. Ends
    with 3 where there are errors, with 0 where there are none or only warnings.

    Example: ssd check photos --out checked
    """
    from ssd_core.stages import check as stage

    config = {
        "format": format,
        "train": train,
        "val": val,
        "images": images,
        "classes": _read_classes(classes),
        "txt_order": txt_order,
        "voc_offset": voc_offset,
    }
    config["decode_check"] = True if decode_check is None else decode_check
    values = assign("convert", config, assignments or ())
    section = parse_section(ConvertConfig, values, "convert")
    checked = stage.run(section, source, LocalDirectory(out) if out else None)
    for line in stage.describe(checked):
        print(line)
    if checked.findings.num_errors:
        place = f"all in {out / stage.PAGE_FILE}" if out else "--out DIR writes them down"
        raise DataError(f"{source}: {checked.findings.totals()}; {place}")


def _read_classes(text: str | None) -> list[str] | None:
    """Names from a file, one a line, or from the text itself, separated by commas."""
    if text is None:
        return None
    names = text.split(",")
    try:
        names = Path(text).read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"--classes {text}: is not UTF-8; expected a name a line") from None
    except OSError:  # no such file, or a list too long for a file name
        pass
    found = [name.strip() for name in names if name.strip()]
    if not found:
        raise UsageError(f"--classes {text}: has no name; expected a,b,c or a file of names")
    return found
