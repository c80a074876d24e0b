"""The learning rate over the steps."""

import math

import pytest

from ssd_core.config import ScheduleConfig
from ssd_core.recipes import load_recipe
from ssd_core.training.schedule import learning_rate

STEP = ScheduleConfig(name="step", milestones=(0.5, 0.75))
COSINE = ScheduleConfig(name="cosine")


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 2.0), (4, 2.0), (5, 0.2), (7, 0.2), (8, 0.02), (9, 0.02)]
)
def test_step_schedule_divides_by_ten_at_each_milestone(step, expected):
    assert learning_rate(step, 10, 2.0, STEP) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 1.0), (5, 0.5), (10 / 3, 0.75), (9, (1 - math.cos(math.pi / 10)) / 2), (10, 0.0)],
)
def test_cosine_falls_to_zero(step, expected):
    assert learning_rate(step, 10, 1.0, COSINE) == pytest.approx(expected)


@pytest.mark.parametrize(("warmup", "total"), [(4, 100), (0.04, 100), (4, 5)])
@pytest.mark.parametrize(("step", "factor"), [(0, 0.1), (1, 0.325), (2, 0.55), (3, 0.775), (4, 1)])
def test_warm_up_is_linear(warmup, total, step, factor):
    schedule = ScheduleConfig(name="cosine", warmup=warmup, warmup_ratio=0.1)
    assert learning_rate(step, total, 3.0, schedule) == pytest.approx(3 * factor)


def test_warm_up_longer_than_the_run_stays_on_the_line():
    schedule = ScheduleConfig(name="step", warmup=500, warmup_ratio=0)
    assert learning_rate(9, 10, 1.0, schedule) == pytest.approx(9 / 500)


def test_the_paper_s_schedule_as_mmdetection_trains_it():
    config = load_recipe("ssd300_vgg16").train  # 120 epochs, here of 1,000 steps
    expected = {0: 2e-6, 250: 2e-3 * 0.5005, 500: 2e-3, 79_999: 2e-3, 80_000: 2e-4}
    expected |= {109_999: 2e-4, 110_000: 2e-5}
    peak = config.optimizer.learning_rate
    rates = {step: learning_rate(step, 120_000, peak, config.schedule) for step in expected}
    assert rates == pytest.approx(expected)
