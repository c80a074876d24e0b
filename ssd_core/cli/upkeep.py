"""`ssd verify` and `ssd gc`: find damaged files, and remove files that nothing uses."""

from typing import Annotated

import typer

from ssd_core.cli.options import Json, print_json
from ssd_core.errors import DataError
from ssd_core.logs import format_count
from ssd_core.store import Location


def verify(
    directory: Annotated[
        Location,
        typer.Argument(
            metavar="DIR",
            parser=Location.parse,
            help="A data set, a model, the output of another command, or a root that contains "
            "some: a path or s3://bucket/prefix.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Read data sets, models and outputs again and compare them with their SHA-256.

    Prints one line per intact directory and one per damaged file.

    Example: ssd verify shards
    """
    from ssd_core.stages import verify as stage

    found = []
    for verified in stage.run(directory):
        found.append({"directory": verified.directory.uri, "faults": verified.faults})
        if not as_json:
            print(*(verified.faults or [f"{verified.directory}: intact"]), sep="\n")
    if as_json:
        print_json(found)
    if num_faults := sum(len(each["faults"]) for each in found):
        raise DataError(
            f"{directory}: {format_count(num_faults, 'damaged or missing file')}, "
            "listed above; create or copy them again"
        )


def gc(
    root: Annotated[
        Location,
        typer.Argument(
            metavar="ROOT",
            parser=Location.parse,
            help="A data set, or a root that contains some: a path or s3://bucket/prefix.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List only, remove nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Remove leftovers of killed runs that no manifest lists, including unfinished conversions.

    Only files that a journal of ours describes, and partial files, are removed, and only if nothing
    of them changed in the last 24 hours. A data set that is being converted is skipped; a store has
    no locks, so there a data set with an upload in that time is. Older unfinished uploads are
    aborted.

    Example: ssd gc out --dry-run
    """
    from ssd_core.stages import gc as stage

    found = []
    for garbage in stage.run(root, is_removed=not dry_run):
        found.append(garbage._asdict())
        if not as_json:
            print(f"{garbage.num_bytes:>12} {garbage.uri}")
    if as_json:
        print_json(found)
        return
    verb, size = "would remove" if dry_run else "removed", sum(each["num_bytes"] for each in found)
    print(f"{verb} {len(found)} ({size / 1e6:.1f} MB)" if found else "nothing to remove")
