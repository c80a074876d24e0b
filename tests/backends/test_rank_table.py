"""Rank tables: built, joined and checked by `ssd rank-table`."""

import json
import os
from pathlib import Path

import pytest

from ssd_core.backends.rank_table import parse_devices, read_rank_table
from ssd_core.errors import DataError, UsageError
from tests.commands import call_ssd

HCCN = "".join(f"address_{n}=192.168.{n}.1\nnetmask_{n}=255.255.255.0\n" for n in (0, 1, 2, 10, 11))
BUILD = ("rank-table", "--server-ip", "10.0.0.1")


@pytest.fixture
def hccn(tmp_path):
    path = tmp_path / "hccn.conf"
    path.write_text(HCCN)
    return path


def table(server="10.0.0.1", net=168, devices=(0, 1), first=0):
    """A table of one server, as the tool of MindSpore's SSD writes it."""
    rows = [
        {"device_id": str(n), "device_ip": f"192.{net}.{n}.1", "rank_id": str(first + place)}
        for place, n in enumerate(devices)
    ]
    servers = [{"server_id": server, "device": rows, "host_nic_ip": "reserve"}]
    head = {"version": "1.0", "server_count": "1", "server_list": servers}
    return head | {"status": "completed"}


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("devices", "numbers"),
    [("[0,2)", (0, 1)), ("[10, 12)", (10, 11)), ("2,0", (2, 0)), ("11", (11,))],
)
def test_a_table_is_built_from_a_file_of_addresses(hccn, devices, numbers):
    done = call_ssd(*BUILD, "--devices", devices, "--hccn", hccn)
    assert json.loads(done.stdout) == table(devices=numbers)
    assert done.stderr == f"{len(numbers)} rank{'s' * (len(numbers) > 1)} on 1 server\n"


def test_a_table_is_built_with_hccn_tool(tmp_path, monkeypatch):
    tool = tmp_path / "hccn_tool"
    tool.write_text('#!/bin/sh\nprintf "ipaddr:192.168.$2.1\\nnetmask:255.255.255.0\\n"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert json.loads(call_ssd(*BUILD, "--devices", "[0,2)").stdout) == table()


def test_tables_are_joined_in_order_with_new_ranks(tmp_path):
    one = write(tmp_path / "a", table(devices=(1, 0)))
    two = write(tmp_path / "b", table("10.0.0.2", 169, (3, 4)))
    both = tmp_path / "both"
    both.write_text(call_ssd("rank-table", one, two).stdout)
    joined = json.loads(both.read_text())
    rows = [row for server in joined["server_list"] for row in server["device"]]
    assert [row["rank_id"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["device_id"] for row in rows] == ["1", "0", "3", "4"]
    assert joined["server_count"] == "2"
    assert json.loads(call_ssd("rank-table", both).stdout) == joined


def second_device(**changes):
    return lambda table: table["server_list"][0]["device"][1].update(changes)


SECOND = "server_list.0.device.1"
DAMAGES = {
    "missing": (lambda t: t["server_list"][0]["device"].pop(0), "rank 0 is missing"),
    "address": (second_device(device_ip="192.168.0.1"), "device_ip 192.168.0.1 occurs 2 times"),
    "device": (second_device(device_id="0"), "device 0 of 10.0.0.1 occurs 2 times"),
    "rank": (second_device(rank_id="0"), "rank 0 occurs 2 times"),
    "number": (second_device(rank_id=1), f"{SECOND}.rank_id: input should be a valid string, got "),
    "ip": (second_device(device_ip="here"), f"{SECOND}.device_ip: 'here' does not appear to be an"),
    "version": (lambda t: t.update(version="1.2"), "version: input should be '1.0', got \"1.2\""),
    "status": (lambda t: t.update(status="initializing"), "status: input should be 'completed'"),
    "count": (lambda t: t.update(server_count="2"), "server_count is 2, but server_list has 1"),
    "empty": (lambda t: t["server_list"].clear(), "server_list: tuple should have at least 1 item"),
    "key": (lambda t: t.pop("server_list"), "server_list is missing"),
}


@pytest.mark.parametrize(("damage", "problem"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_table_is_explained(tmp_path, damage, problem):
    content = table()
    damage(content)
    path = write(tmp_path / "table.json", content)
    with pytest.raises(DataError) as caught:
        read_rank_table(path)
    assert str(caught.value).startswith(f"{path}: {problem}")
    assert str(caught.value).endswith("; build it again with 'ssd rank-table'")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"[]", b'{"version": 1.0', b"[" * 10**5])
def test_foreign_bytes_are_refused(tmp_path, content):
    path = tmp_path / "table.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)):
        read_rank_table(path)


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("--devices", "[0,4)", "--hccn", "HCCN"), 3, "device 3 has no address; choose other"),
        (("--devices", "0", "--hccn", "absent"), 2, "absent: No such file or directory; name"),
        (("--devices", "[4,0)", "--hccn", "HCCN"), 2, "--devices is '[4,0)'; expected a range"),
        (("--devices", "0", "--hccn", "HCCN", "--server-ip", "me"), 2, "--server-ip: 'me' does"),
        (("TABLE", "TABLE"), 2, "server 10.0.0.1 occurs in TABLE and in TABLE; leave out one"),
        (("TABLE", "--devices", "0"), 2, "files are joined without options; leave out the"),
        (("--devices", "0"), 2, "--server-ip is missing"),
        ((), 2, "expected rank tables to join, or --devices and --server-ip to build one"),
        (("HCCN",), 3, "HCCN: invalid json: expected value at line 1 column 1; build it again"),
        (("none.json",), 2, "none.json: cannot read the rank table: No such file or directory"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, hccn, words, code, problem):
    places = {"HCCN": str(hccn), "TABLE": str(write(tmp_path / "table.json", table()))}
    server = ("--server-ip", "10.0.0.1") if "--hccn" in words and "me" not in words else ()
    done = call_ssd("rank-table", *server, *(places.get(word, word) for word in words))
    assert done.returncode == code
    for name, place in places.items():
        problem = problem.replace(name, place)
    assert done.stderr.startswith(f"error: {problem}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("text", ["", "[0,8]", "[8,8)", "0,,1", "0,0", "-1", "[0,8),9", "a", "01"])
def test_what_is_no_list_of_devices_is_refused(text):
    with pytest.raises(UsageError, match="expected a range such as"):
        parse_devices(text)
