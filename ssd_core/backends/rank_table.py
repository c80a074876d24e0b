"""Rank tables: the devices of Ascend servers and their addresses, in the order of the ranks.

This is version 1.0 of the format, as the `hccl_tools.py` of MindSpore writes it. All values are
strings, numbers too.
"""

import ipaddress
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ssd_core.config import first_problem
from ssd_core.errors import DataError, UsageError

_NUMBER = r"0|[1-9]\d{0,5}"
_Number = Annotated[str, Field(pattern=f"^({_NUMBER})$")]
_HCCN_PATH = Path("/etc/hccn.conf")


def _check_address(text: str) -> str:
    ipaddress.ip_address(text)
    return text


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class Accelerator(_Row):
    """One accelerator."""

    device_id: _Number
    """Its number in its server."""
    device_ip: Annotated[str, AfterValidator(_check_address)]
    """The address of its own network card."""
    rank_id: _Number


class Server(_Row):
    """One machine."""

    server_id: str = Field(min_length=1)
    """The address of the host."""
    device: tuple[Accelerator, ...] = Field(min_length=1)
    host_nic_ip: str = "reserve"


class RankTable(_Row):
    """The devices of one training."""

    version: Literal["1.0"] = "1.0"
    server_count: _Number
    server_list: tuple[Server, ...] = Field(min_length=1)
    status: Literal["completed"] = "completed"

    @property
    def devices(self) -> list[Accelerator]:
        """The devices of all servers."""
        return [device for server in self.server_list for device in server.device]

    def find(self, rank_id: str) -> dict[str, str]:
        """Return the facts of the table about a rank, by the names of the fields of `RankEnv`.

        Raises:
            DataError: the table has no such rank.
        """
        servers = {each.rank_id: server for server in self.server_list for each in server.device}
        if rank_id not in servers:
            last = len(servers) - 1
            raise DataError(f"RANK_ID is '{rank_id}', but the rank table has the ranks 0..{last}")
        neighbours = _by_rank(servers[rank_id])
        local_rank = [device.rank_id for device in neighbours].index(rank_id)
        return {
            "rank": rank_id,
            "world_size": str(len(servers)),
            "local_rank": str(local_rank),
            "local_world_size": str(len(neighbours)),
            "device_id": neighbours[local_rank].device_id,
            "master_addr": servers["0"].server_id,
        }


def read_rank_table(path: Path) -> RankTable:
    """Read and check a rank table.

    Raises:
        UsageError: the file cannot be read.
        DataError: it is not a complete rank table.
    """
    try:
        table = RankTable.model_validate_json(path.read_bytes())
        problem = _find_problem(table)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the rank table: {error.strerror}") from None
    except ValidationError as error:
        problem = first_problem(error)
    if problem:
        raise DataError(f"{path}: {problem}; build it again with 'ssd rank-table'")
    return table


def build_rank_table(server_ip: str, addresses: Mapping[int, str]) -> RankTable:
    """Return the table of one server.

    Args:
        server_ip: address of the host.
        addresses: address by the number of each device, in the order of the ranks.

    Raises:
        UsageError: an address is invalid or occurs twice.
    """
    try:
        _check_address(server_ip)
    except ValueError as error:
        raise UsageError(f"--server-ip: {error}") from None
    try:
        devices = tuple(
            Accelerator(device_id=str(number), device_ip=address, rank_id=str(rank))
            for rank, (number, address) in enumerate(addresses.items())
        )
    except ValidationError as error:
        raise UsageError(first_problem(error)) from None
    return _number_ranks([Server(server_id=server_ip, device=devices)])


def join_rank_tables(paths: Iterable[Path]) -> RankTable:
    """Return one table of all servers, in the given order, with the ranks numbered anew.

    Raises:
        UsageError: a file cannot be read, or a server or an address occurs twice.
        DataError: a file is not a complete rank table.
    """
    servers: list[Server] = []
    origins: dict[str, Path] = {}
    for path in paths:
        for server in read_rank_table(path).server_list:
            if other := origins.get(server.server_id):
                raise UsageError(
                    f"server {server.server_id} occurs in {other} and in {path}; leave out one"
                )
            origins[server.server_id] = path
            servers.append(server)
    return _number_ranks(servers)


def _number_ranks(servers: Sequence[Server]) -> RankTable:
    numbered, first = [], 0
    for server in servers:
        devices = [
            device.model_copy(update={"rank_id": str(rank)})
            for rank, device in enumerate(_by_rank(server), first)
        ]
        numbered.append(server.model_copy(update={"device": tuple(devices)}))
        first += len(devices)
    table = RankTable(server_count=str(len(servers)), server_list=tuple(numbered))
    if problem := _find_problem(table):
        raise UsageError(problem)
    return table


def _by_rank(server: Server) -> list[Accelerator]:
    return sorted(server.device, key=lambda device: int(device.rank_id))


def _find_problem(table: RankTable) -> str | None:
    """Return the first contradiction in a table, or None."""
    servers, devices = table.server_list, table.devices
    if table.server_count != str(len(servers)):
        return f"server_count is {table.server_count}, but server_list has {len(servers)}"
    unique = {
        "server": [server.server_id for server in servers],
        "device": [f"{each.device_id} of {s.server_id}" for s in servers for each in s.device],
        "device_ip": [device.device_ip for device in devices],
        "rank": [device.rank_id for device in devices],
    }
    for name, values in unique.items():
        value, count = Counter(values).most_common(1)[0]
        if count > 1:
            return f"{name} {value} occurs {count} times"
    missing = sorted(set(range(len(devices))) - {int(device.rank_id) for device in devices})
    return f"rank {missing[0]} is missing" if missing else None


def parse_devices(text: str) -> list[int]:
    """Return the numbers of `0,1,4`, or of the range `[0,8)`, which excludes 8.

    Raises:
        UsageError: the text is neither, or a number occurs twice.
    """
    numbers = []
    if found := re.fullmatch(rf"\[({_NUMBER}),\s*({_NUMBER})\)", text.strip()):
        numbers = list(range(int(found[1]), int(found[2])))
    elif re.fullmatch(rf"({_NUMBER})(,({_NUMBER}))*", text.strip()):
        numbers = [int(word) for word in text.split(",")]
    if not numbers or len(set(numbers)) < len(numbers):
        raise UsageError(
            f"--devices is '{text}'; expected a range such as [0,8), or different numbers "
            "such as 0,1,2,3"
        )
    return numbers


def find_addresses(devices: Sequence[int], hccn_path: Path | None) -> dict[int, str]:
    """Return the addresses of devices.

    Args:
        devices: their numbers.
        hccn_path: file with lines like `address_0=192.168.100.101`; None runs `hccn_tool`, or reads
            /etc/hccn.conf where it is not installed.

    Raises:
        UsageError: the file cannot be read.
        DataError: a device has no address.
    """
    has_tool = hccn_path is None and shutil.which("hccn_tool") is not None
    known = {} if has_tool else _read_hccn(hccn_path or _HCCN_PATH)
    addresses = {}
    for number in devices:
        address = _run_tool(number) if has_tool else known.get(number)
        if not address:
            raise DataError(
                f"device {number} has no address; choose other --devices or another --hccn, or "
                f"set it with 'hccn_tool -i {number} -ip -s address IP netmask MASK'"
            )
        addresses[number] = address
    return addresses


def _run_tool(number: int) -> str | None:
    words = ["hccn_tool", "-i", str(number), "-ip", "-g"]
    output = subprocess.run(words, capture_output=True, text=True, errors="replace").stdout
    found = re.search(r"ipaddr:\s*(\S+)", output)
    return found[1] if found else None


def _read_hccn(path: Path) -> dict[int, str]:
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}; name the file with --hccn, or install hccn_tool"
        ) from None
    rows = re.findall(rf"^\s*address_({_NUMBER})\s*=\s*(\S+)", text, re.MULTILINE)
    return {int(number): address for number, address in rows}
