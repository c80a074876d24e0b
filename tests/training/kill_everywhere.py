"""Kill small trainings at every act on the disk and around every step, and continue each of them.

Usage: python kill_everywhere.py ROOT. Prints a JSON line for each training: the act it was killed
before (0: none), how many processes were killed, and how it ended. A process a training, forked.
"""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from ssd_core.model_dir import ModelDescription, read_model, write_model
from ssd_core.store import LocalDirectory
from ssd_core.structures import ClassInfo
from ssd_core.train_log import read_log
from ssd_core.training.loop import train
from tests.training.small_run import TRAINING, make_config, make_run

CONFIG = make_config(steps=7, log_interval=2, checkpoint_interval=3, evaluate_every=2)
CLASSES = [ClassInfo(label=1, name="mean", category_id=1)]
DESCRIPTION = ModelDescription(
    recipe="linear",
    framework="numpy",
    model=CONFIG.model,
    num_classes=1,
    step=CONFIG.steps,
    training_id=TRAINING,
    dataset_digest="",
    core_version="",
)
VOLATILE = {"seconds", "images_per_second", "data_wait"}


def kill_before(act: int, out_dir: Path) -> Callable[[], None]:
    """Send SIGKILL to this process before its `act`-th one; returns what counts an act."""
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
    """Train in this process; it dies before its `act`-th act, or ends."""
    tick = kill_before(act, out_dir)
    run = make_run(out_dir, CONFIG)
    step = run.learner.step

    def step_between_ticks(*arguments: Any) -> Any:
        tick()
        result = step(*arguments)
        tick()
        return result

    run.learner.step = step_between_ticks  # type: ignore[method-assign]
    state = train(run)
    write_model(LocalDirectory(out_dir / "model"), DESCRIPTION, CLASSES, state.best_weights)


def fork_attempt(out_dir: Path, act: int) -> bool:
    """Run an attempt in a process of its own; say whether it was killed."""
    child = os.fork()
    if child == 0:
        attempt(out_dir, act)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def outcome(out_dir: Path) -> dict[str, Any]:
    """Return all that has to be equal between two trainings, and nothing that measures time."""
    run = make_run(out_dir, CONFIG)
    found = run.checkpoints.resume()
    assert found is not None
    state, _ = found
    last_dir = run.checkpoints.last_dir
    assert last_dir is not None
    lines = [line for line in read_log(run.log_path) if line["event"] != "start"]
    return {
        "state": state.model_dump(exclude={"seconds"}),
        "arrays": hashlib.sha256(last_dir.get("state.safetensors")).hexdigest(),
        "model": read_model(LocalDirectory(out_dir)).description.model_dump(mode="json"),
        "log": [{k: v for k, v in line.items() if k not in VOLATILE} for line in lines],
        "checkpoints": sorted(path.name for path in (out_dir / "checkpoints").glob("step-*")),
        "leftovers": [str(path) for path in out_dir.glob("**/step-*/.partial-*")],
    }


def report(name: str, act: int, num_killed: int, out_dir: Path) -> None:
    line = {"name": name, "act": act, "killed": num_killed, "outcome": outcome(out_dir)}
    print(json.dumps(line), flush=True)


def main(root: Path) -> None:
    """Kill once at each act; then one training at a later act each time it is started."""
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
