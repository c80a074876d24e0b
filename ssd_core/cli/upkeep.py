"""`ssd verify` and `ssd gc`: is everything still what it was, and what may go."""

from typing import Annotated

import typer

from ssd_core.errors import DataError
from ssd_core.store import Location


def verify(
    place: Annotated[
        str,
        typer.Argument(
            metavar="PLACE",
            help="A data set, a model, or a root that holds some: a folder, or s3://bucket/prefix.",
        ),
    ],
) -> None:
    """Read data sets and models again and compare them with their SHA-256.

    Prints a line for each that is right and for each file that is not.

    Example: ssd verify shards
    """
    from ssd_core.stages import verify as stage

    num_faults = 0
    for found, faults in stage.run(Location.parse(place)):
        for line in faults or [f"{found}: all is right"]:
            print(line)
        num_faults += len(faults)
    if num_faults:
        raise DataError(
            f"{place} is damaged in {num_faults} place{'' if num_faults == 1 else 's'}, listed "
            "above; make or copy again what lies there"
        )


def gc(
    root: Annotated[
        str,
        typer.Argument(
            metavar="ROOT",
            help="A data set, or a root that holds some: a folder, or s3://bucket/prefix.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list, remove nothing.")] = False,
) -> None:
    """Remove what killed runs left and no manifest owns, unfinished conversions included.

    A data set that a conversion works on is left alone; in a store, which knows no locks, one to
    which something was uploaded within a day. Uploads that stopped in the middle a day ago are
    cancelled.

    Example: ssd gc out --dry-run
    """
    from ssd_core.stages import gc as stage

    count, num_bytes = 0, 0
    for garbage in stage.run(Location.parse(root), is_removed=not dry_run):
        print(f"{garbage.num_bytes:>12} {garbage.place}")
        count, num_bytes = count + 1, num_bytes + garbage.num_bytes
    done = "would remove" if dry_run else "removed"
    print(f"{done} {count} with {num_bytes / 1e6:.1f} MB" if count else "nothing to remove")
