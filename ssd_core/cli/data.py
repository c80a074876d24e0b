"""`ssd check`, `convert` and `inspect`: labelled images, before and after conversion."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from ssd_core.cli.options import (
    Assignments,
    Data,
    Json,
    OptionalOut,
    Out,
    finish,
    print_json,
    refuse_repeated,
)
from ssd_core.config import (
    ConvertConfig,
    Crowd,
    LabelFormat,
    Policy,
    ShardFormat,
    SourceFormat,
    TxtOrder,
    parse_section,
)
from ssd_core.errors import DataError, UsageError
from ssd_core.recipes.overrides import assign

_SPLIT = (
    "Training split inside SOURCE. COCO: file.json[:folder]; VOC: an ImageSets list or a folder; "
    "YOLO: data.yaml:train, a folder or a list of images; TXT: the list file."
)

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="The data set: a path or s3://bucket/prefix.")
]
Format = Annotated[
    SourceFormat,
    typer.Option(metavar="FORMAT", help=f"{', '.join(get_args(SourceFormat))}; auto detects it."),
]
CheckedFormat = Annotated[
    LabelFormat,
    typer.Option(metavar="FORMAT", help=f"{', '.join(get_args(LabelFormat))}; auto detects it."),
]
Train = Annotated[str | None, typer.Option(metavar="SPLIT", help=_SPLIT)]
Val = Annotated[str | None, typer.Option(metavar="SPLIT", help="Evaluation split, likewise.")]
Test = Annotated[
    str | None,
    typer.Option(metavar="SPLIT", help="Test split, for `ssd evaluate --split test`."),
]
Images = Annotated[
    str | None, typer.Option(metavar="DIR", help="Folder of the images inside SOURCE.")
]
Classes = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|a,b,c",
        help="Classes in label order; others are dropped. old=new renames a class, and classes "
        "with the same new name are merged. Default: all classes of SOURCE.",
    ),
]
Order = Annotated[TxtOrder, typer.Option(help="Column order of TXT boxes.")]
Offset = Annotated[int, typer.Option(metavar="0|1", help="First pixel coordinate of VOC boxes.")]
Assigned = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="convert.key=value",
        help="Set any key of the section, including max_pixels, max_skipped and shard_bytes, which "
        "have no option; repeatable.",
    ),
]

_DEFAULTS = ConvertConfig()
_CHECK = ConvertConfig(decode_check=True)
_CHECKED_FORMAT = cast(LabelFormat, _CHECK.format)


def convert(
    context: typer.Context,
    source: Source,
    out: Out,
    format: Format = _DEFAULTS.format,
    train: Train = _DEFAULTS.train,
    val: Val = _DEFAULTS.val,
    test: Test = _DEFAULTS.test,
    images: Images = _DEFAULTS.images,
    classes: Classes = None,
    policy: Annotated[
        Policy,
        typer.Option(help="Effect of an error: strict stops, repair fixes it, skip drops it."),
    ] = _DEFAULTS.policy,
    txt_order: Order = _DEFAULTS.txt_order,
    voc_offset: Offset = _DEFAULTS.voc_offset,
    crowd: Annotated[
        Crowd, typer.Option(help="Boxes around groups: keep ignores them, object trains on them.")
    ] = _DEFAULTS.crowd,
    decode_check: Annotated[
        bool, typer.Option("--decode-check", help="Decode every JPEG to find damaged pixels.")
    ] = _DEFAULTS.decode_check,
    shards: Annotated[
        ShardFormat,
        typer.Option(
            help="Shard format; mindrecord is for MindSpore's SSD and requires MindSpore."
        ),
    ] = _DEFAULTS.shards,
    assignments: Assigned = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Writing processes; the output does not depend on it."
        ),
    ] = 1,
    share: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Write only every N-th shard, on one of N machines; then the command without "
            "--share completes the data set.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a COCO, VOC, YOLO or TXT data set and pack it into shards.

    Without --train and --val the usual names are tried; without an evaluation split a fixed fifth
    of the images becomes one. A rerun with unchanged input returns within seconds, and a killed run
    continues.

    Example: ssd convert images --train annotations/a.json:images --classes cat,dog --out shards
    """
    from ssd_core.data.conversion.journal import Share
    from ssd_core.stages import convert as stage
    from ssd_core.stages import convert_share

    config = _parse(locals())
    if share is None:
        result = stage.run(config, source, out, workers=workers)
    else:
        result = convert_share.run(config, source, out, Share.parse(share), workers=workers)
    finish(result, out, as_json=as_json)


def check(
    context: typer.Context,
    source: Source,
    out: OptionalOut = None,
    format: CheckedFormat = _CHECKED_FORMAT,
    train: Train = _DEFAULTS.train,
    val: Val = _DEFAULTS.val,
    test: Test = _DEFAULTS.test,
    images: Images = _DEFAULTS.images,
    classes: Classes = None,
    txt_order: Order = _DEFAULTS.txt_order,
    voc_offset: Offset = _DEFAULTS.voc_offset,
    decode_check: Annotated[
        bool,
        typer.Option(
            "--decode-check/--no-decode",
            help="Decode every JPEG to find damaged pixels, or read only its header and end, which "
            "is several times faster.",
        ),
    ] = _CHECK.decode_check,
    assignments: Assigned = None,
    as_json: Json = False,
) -> None:
    """Check every annotation and every image of a data set.

    Prints a summary of the findings; --out writes all of them as a page and as JSON. The exit code
    is 3 if there are errors, and 0 if there are only warnings.

    Example: ssd check images --out checked
    """
    from ssd_core.stages import check as stage

    config = _parse(locals())
    checked = stage.run(config, source, out)
    if as_json:
        print_json(stage.results(checked))
    else:
        print(*stage.describe(checked), sep="\n")
        if out:
            print(out / stage.PAGE_FILE)
    if checked.findings.num_errors:
        remedy = f"see {out / stage.PAGE_FILE}" if out else "--out DIR writes all of them"
        raise DataError(f"{source}: {checked.findings.totals()}; {remedy}")


def inspect(
    data: Data,
    out: Out,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Show the anchors of this recipe in detail."),
    ] = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Describe a data set on one HTML page: counts, classes, sizes, images, findings.

    The page compares the anchors of all recipes by the number of objects that none of them matches.
    With --recipe it also shows the first images of a training as the network sees them, and anchors
    that match more objects, as a --set to paste. `results.json` has the same numbers.

    Example: ssd inspect --data shards --recipe ssd300_vgg16 --out inspection
    """
    from ssd_core.stages import inspect as stage

    result = stage.run(data, out, recipe=recipe, assignments=assignments or ())
    finish(result, out / stage.INSPECT_FILE, as_json=as_json)


def _parse(arguments: Mapping[str, Any]) -> ConvertConfig:
    """Return the section from the arguments of a command that are named like its fields."""
    options = {name: arguments[name] for name in ConvertConfig.model_fields if name in arguments}
    assignments = arguments["assignments"] or ()
    keys = {name: f"convert.{name}" for name in options}
    refuse_repeated(arguments["context"], keys, assignments)
    options["classes"] = read_classes(arguments["classes"])
    values = assign("convert", options, assignments)
    return parse_section(ConvertConfig, values, "convert")


def read_classes(text: str | None) -> list[str] | None:
    """Read names from a file, one per line, or from the text itself, separated by commas."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    try:
        names = Path(text).read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"--classes {text}: not UTF-8; expected one name per line") from None
    except FileNotFoundError:
        if len(names) == 1 and text.lower().endswith(".txt"):
            raise UsageError(f"--classes {text}: this file does not exist") from None
    except OSError:  # the list is too long for a file name
        pass
    found = [name for name in names if name.strip()]
    if not found:
        raise UsageError(f"--classes {text}: no class names; expected a,b,c or a file")
    return found
