"""Exit codes, and messages on one line."""

import errno
import pickle

import pytest

from ssd_core import errors


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (errors.CrashedError, 1),
        (errors.UsageError, 2),
        (errors.OwnershipError, 2),
        (errors.DataError, 3),
        (errors.DivergedError, 3),
        (errors.GateError, 3),
        (errors.RunFailedError, 3),
        (errors.TransientError, 75),
    ],
)
def test_exit_codes(kind: type[errors.SsdError], exit_code: int) -> None:
    assert kind("x").exit_code == exit_code
    assert issubclass(kind, errors.SsdError)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cocoo", "unknown format 'cocoo'; did you mean 'coco'?"),
        ("zzz", "unknown format 'zzz'; known: coco, voc"),
    ],
)
def test_unknown_name(name: str, message: str) -> None:
    assert str(errors.unknown_name("format", name, ["voc", "coco"])) == message


def test_an_unlisted_name_lists_all_names() -> None:
    error = errors.unlisted_name("device", "gpu", ["auto", "cpu"])
    assert str(error) == "unknown device 'gpu'; known: auto, cpu"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "too little memory"),
        (OSError(errno.EMFILE, "x"), "too many open files"),
        (OSError(errno.EROFS, "x", "/dev/shm/sem"), "is read-only"),
        (ImportError("libx.so: failed to map segment from shared object"), "too little memory"),
        (RuntimeError("can't start new thread"), "too many processes or threads"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "too little memory"),
    ],
)
def test_a_shortage_is_not_a_bug(error: Exception, message: str) -> None:
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = error
    for found in (errors.explain(error), errors.explain(wrapped)):
        assert isinstance(found, errors.TransientError)
        assert message in str(found)


def test_any_other_exception_is_a_bug() -> None:
    assert errors.explain(KeyError("x")) is None
    assert errors.explain(FileNotFoundError(errno.ENOENT, "x")) is None


def test_a_message_starts_with_its_location() -> None:
    with pytest.raises(errors.DataError, match=r"^a\.jpg: is empty$"), errors.located("a.jpg"):
        raise errors.DataError("is empty")
    with pytest.raises(errors.UsageError, match="^another$"), errors.located("a.jpg"):
        raise errors.UsageError("another")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain: Käse 猫", "plain: Käse 猫"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\udcff.jpg", "\\udcff.jpg"),
        ("left \u202e right", "left \\u202e right"),
    ],
)
def test_a_message_is_one_printable_line(text: str, shown: str) -> None:
    assert str(errors.DataError(text)) == shown
    assert pickle.loads(pickle.dumps(errors.DataError(text))).args == (shown,)


def test_an_error_line_is_parsed_as_it_was_written() -> None:
    line = errors.format_error_line("a.json: no box (line 3)\nat all", 75)
    assert line == "error: a.json: no box (line 3)\\nat all (exit 75)"
    assert errors.parse_error_line(line + "\n") == ("a.json: no box (line 3)\\nat all", 75)


@pytest.mark.parametrize("line", ["", "error: no code", "(exit 2)", "an error: x (exit 2)"])
def test_any_other_line_is_not_an_error_line(line: str) -> None:
    assert errors.parse_error_line(line) is None
