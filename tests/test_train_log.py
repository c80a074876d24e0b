"""The training log, with and without kills."""

from typing import Any

import pytest

from ssd_core.errors import DataError
from ssd_core.train_log import append, find_progress, rewind
from ssd_core.training.loop import train
from tests.train_logs import read_log
from tests.training.small_run import make_config, make_run

LINES: list[dict[str, Any]] = [
    {"event": "start", "step": 0},
    {"event": "step", "step": 2, "loss": 1.5},
    {"event": "step", "step": 4, "loss": 0.1 + 0.2},
    {"event": "evaluation", "step": 4, "ap": 0.5},
    {"event": "start", "step": 4},
    {"event": "step", "step": 6, "loss": 1e-30},
    {"event": "end", "step": 6},
]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "train_log.jsonl"
    for line in LINES:
        append(path, line)
    return path


def test_appended_lines_are_read(path):
    assert read_log(path) == LINES
    assert len(path.read_text().splitlines()) == len(LINES)


@pytest.mark.parametrize(
    ("step", "kept"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (5, 5), (6, 6), (7, 7)]
)
def test_rewinding_drops_the_lines_after_the_checkpoint(path, step, kept):
    rewind(path, step)
    assert read_log(path) == LINES[:kept]


def test_a_line_cut_by_a_kill_is_skipped_and_then_removed(path):
    whole = path.read_bytes()
    last_line = len(whole) - whole[:-1].rindex(b"\n") - 1
    for cut in range(1, last_line):
        path.write_bytes(whole[:-cut])
        assert read_log(path) == LINES[:-1]
        rewind(path, 9)
        append(path, LINES[-1])
        assert path.read_bytes() == whole


def test_rewinding_a_missing_log_does_nothing(tmp_path):
    rewind(tmp_path / "none.jsonl", 3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["time", "total_steps", "batch_size", "images", "seconds"])
def test_a_log_of_an_earlier_version_is_continued(tmp_path, name):
    first = make_run(tmp_path, make_config(steps=6))
    train(first)
    older = [{key: line[key] for key in line.keys() - {name}} for line in read_log(first.log_path)]
    first.log_path.unlink()
    for line in older:
        append(first.log_path, line)
    find_progress({line["event"]: line for line in older})
    train(make_run(tmp_path, make_config(steps=12)))
    lines = read_log(first.log_path)
    progress = find_progress({line["event"]: line for line in lines})
    assert progress is not None
    assert progress.percent == 100
    assert lines[-1]["images_per_second"] > 0


LONG_NUMBER = f'{{"event": "step", "step": {"1" * 5000}}}'


@pytest.mark.parametrize(
    "line",
    ["", "{", "[]", "7", '{"step": 1}', '{"event": "step"}', "\x00", "[" * 99_999, LONG_NUMBER],
)
def test_a_malformed_line_is_named(path, line):
    path.write_text(f'{{"event": "start", "step": 0}}\n{line}\n{{"event": "end", "step": 1}}\n')
    with pytest.raises(DataError, match=r"train_log.jsonl:2: expected a JSON object"):
        read_log(path)


def test_a_number_that_is_not_finite_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        append(tmp_path / "log", {"event": "step", "step": 1, "loss": float("nan")})
