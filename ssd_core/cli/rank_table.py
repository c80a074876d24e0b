"""`ssd rank-table`: build, join and check the rank tables of Ascend servers."""

from pathlib import Path
from typing import Annotated

import typer

from ssd_core.errors import UsageError
from ssd_core.logs import format_count, logger


def rank_table(
    tables: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Rank tables to check, and to join in this order."),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(metavar="RANGE", help="Devices of this server: [0,8) excludes 8; or 0,1,2,3."),
    ] = None,
    server_ip: Annotated[
        str | None, typer.Option(metavar="IP", help="Address of this server.")
    ] = None,
    hccn: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with lines `address_0=IP`. Default: hccn_tool if it is installed, else "
            "/etc/hccn.conf.",
        ),
    ] = None,
) -> None:
    """Print a rank table: of this server, or one that joins those of several servers.

    A table of several servers numbers the ranks anew. With one FILE the table is only checked and
    printed again. `ssd train` reads the table that RANK_TABLE_FILE names.

    Example: ssd rank-table --devices '[0,8)' --server-ip 10.0.0.1 > server1.json
    """
    from ssd_core.backends.rank_table import (
        build_rank_table,
        find_addresses,
        join_rank_tables,
        parse_devices,
    )

    if tables and (devices or server_ip or hccn):
        raise UsageError("files are joined without options; leave out the options or the files")
    if tables:
        table = join_rank_tables(tables)
    elif devices and server_ip:
        table = build_rank_table(server_ip, find_addresses(parse_devices(devices), hccn))
    elif devices:
        raise UsageError("--server-ip is missing: the address of this server")
    else:
        raise UsageError("expected rank tables to join, or --devices and --server-ip to build one")
    print(table.model_dump_json(indent=2))
    ranks, servers = len(table.devices), len(table.server_list)
    logger.info("%s on %s", format_count(ranks, "rank"), format_count(servers, "server"))
