"""Kill small trainings at every disk operation and around every step, and continue each of them.

Usage: python kill_everywhere.py ROOT. Prints one JSON line per training: the act before which it
was killed (0: none), the number of killed processes, and the outcome. Every attempt is a fork.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from ssd_core.model_dir import read_model
from ssd_core.store import LocalDirectory
from ssd_core.training.loop import train
from tests.small_model import write_small_model
from tests.training.small_run import make_config, make_run, outcome

CONFIG = make_config(steps=7, log_interval=2, checkpoint_interval=3, evaluate_every=4)


def kill_before(act: int, out_dir: Path) -> Callable[[], None]:
    """Send SIGKILL to this process before its `act`-th act; return a function that counts one."""
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1
        if count == act:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if str(out_dir) in str(arguments):
            tick()

    sys.addaudithook(audit)
    return tick


def attempt(out_dir: Path, act: int) -> None:
    """Train in this process, which dies before its `act`-th act."""
    tick = kill_before(act, out_dir)
    run = make_run(out_dir, CONFIG)
    step = run.learner.step

    def step_between_ticks(*arguments: Any) -> Any:
        tick()
        result = step(*arguments)
        tick()
        return result

    run.learner.step = step_between_ticks  # type: ignore[method-assign]
    write_small_model(out_dir / "model", train(run).best_weights)


def fork_attempt(out_dir: Path, act: int) -> bool:
    """Run an attempt in its own process; return whether it was killed."""
    child = os.fork()
    if child == 0:
        attempt(out_dir, act)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def end(out_dir: Path) -> dict[str, Any]:
    """Return the outcome of a finished training, and the files that it left."""
    return outcome(make_run(out_dir, CONFIG)) | {
        "model": read_model(LocalDirectory(out_dir)).description.model_dump(mode="json"),
        "checkpoints": sorted(path.name for path in (out_dir / "checkpoints").glob("step-*")),
        "leftovers": [str(path) for path in out_dir.glob("**/step-*/.partial-*")],
    }


def report(name: str, act: int, num_killed: int, out_dir: Path) -> None:
    line = {"name": name, "act": act, "killed": num_killed, "outcome": end(out_dir)}
    print(json.dumps(line), flush=True)


def main(root: Path) -> None:
    """Kill one training per act; then a single training again and again, at ever later acts."""
    fork_attempt(root / "whole", 0)
    report("whole", 0, 0, root / "whole")
    act = 1
    while fork_attempt(root / f"once-{act}", act):
        fork_attempt(root / f"once-{act}", 0)
        report("once", act, 1, root / f"once-{act}")
        act += 1
    act = 1
    while fork_attempt(root / "again", act):
        act += 1
    report("again", act, act - 1, root / "again")


main(Path(sys.argv[1]))
