"""The learning rate as a pure function of the step: a resumed run needs no state for it."""

import math

from ssd_core.config import ScheduleConfig

_DECAY = 0.1


def learning_rate(step: int, total_steps: int, peak: float, schedule: ScheduleConfig) -> float:
    """Return the rate of the update that follows `step` finished ones, 0..total_steps - 1.

    The rate rises linearly from `warmup_ratio * peak` to `peak` during the warm-up. Schedule `step`
    multiplies it by 0.1 at each milestone; `cosine` follows half a cosine that reaches
    `end_ratio * peak` at `total_steps`.
    """
    warmup_steps = schedule.warmup if schedule.warmup >= 1 else schedule.warmup * total_steps
    rate = peak * _decay(step, total_steps, warmup_steps, schedule)
    if step < warmup_steps:
        rate *= schedule.warmup_ratio + (1 - schedule.warmup_ratio) * step / warmup_steps
    return rate


def _decay(step: int, total_steps: int, warmup_steps: float, schedule: ScheduleConfig) -> float:
    match schedule.name:
        case "step":
            passed = [share for share in schedule.milestones if step >= round(share * total_steps)]
            return _DECAY ** len(passed)
        case "cosine":
            if step < warmup_steps:
                return 1.0
            share = (step - warmup_steps) / (total_steps - warmup_steps)
            height = (1 + math.cos(math.pi * share)) / 2
            return schedule.end_ratio + (1 - schedule.end_ratio) * height
