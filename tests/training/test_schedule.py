"""The learning rate over the steps."""

import math

import pytest

from ssd_core.config import ScheduleConfig
from ssd_core.training.schedule import learning_rate

STEP = ScheduleConfig(name="step", milestones=(0.5, 0.75))
COSINE = ScheduleConfig(name="cosine")


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 2.0), (4, 2.0), (5, 0.2), (7, 0.2), (8, 0.02), (9, 0.02)]
)
def test_step_schedule_divides_by_ten_at_each_milestone(step: int, expected: float) -> None:
    assert learning_rate(step, 10, 2.0, STEP) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 1.0), (5, 0.5), (10 / 3, 0.75), (9, (1 - math.cos(math.pi / 10)) / 2), (10, 0.0)],
)
def test_cosine_falls_to_zero(step: int, expected: float) -> None:
    assert learning_rate(step, 10, 1.0, COSINE) == pytest.approx(expected)


@pytest.mark.parametrize(("warmup", "total"), [(4, 100), (0.04, 100), (4, 5)])
@pytest.mark.parametrize(("step", "factor"), [(0, 0.1), (1, 0.325), (2, 0.55), (3, 0.775), (4, 1)])
def test_warm_up_is_linear(warmup: float, total: int, step: int, factor: float) -> None:
    schedule = ScheduleConfig(name="cosine", warmup=warmup, warmup_ratio=0.1)
    assert learning_rate(step, total, 3.0, schedule) == pytest.approx(3 * factor)


def test_warm_up_longer_than_the_run_stays_on_the_line() -> None:
    schedule = ScheduleConfig(name="step", warmup=500, warmup_ratio=0)
    assert learning_rate(9, 10, 1.0, schedule) == pytest.approx(9 / 500)


def test_the_paper_s_schedule_as_mmdetection_trains_it() -> None:
    schedule = ScheduleConfig(name="step", warmup=500, milestones=(80 / 120, 110 / 120))
    epoch = 1000
    rates = {
        step: learning_rate(step, 120 * epoch, 2e-3, schedule)
        for step in (0, 250, 500, 80 * epoch - 1, 80 * epoch, 110 * epoch - 1, 110 * epoch)
    }
    assert rates == pytest.approx(
        {
            0: 2e-6,
            250: 2e-3 * 0.5005,
            500: 2e-3,
            80 * epoch - 1: 2e-3,
            80 * epoch: 2e-4,
            110 * epoch - 1: 2e-4,
            110 * epoch: 2e-5,
        }
    )
