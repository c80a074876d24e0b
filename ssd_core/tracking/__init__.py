"""Programs that follow a training while it runs: each takes the lines of its log."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from ssd_core.tracking.background import in_background
from ssd_core.tracking.trainjob import report_to_trainjob
from ssd_core.train_log import LineListener


def check_trackers(names: Sequence[str]) -> None:
    """Raise ModuleNotFoundError if the package of a tracker is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"no module named '{name}'", name=name)


@contextmanager
def follow_training(
    names: Sequence[str], log_path: Path, training_ids: Sequence[str]
) -> Iterator[list[LineListener]]:
    """Yield the listeners of a training: the trackers of `train.log`, and that of a TrainJob.

    Nothing is opened before the first line.

    Args:
        names: values of `train.log`; the module beside this one that has the name.
        log_path: log of the training; a start line follows the lines that a rewind has left.
        training_ids: that of the training, then those of the trainings that it continues.
    """
    with ExitStack() as stack:
        listeners = [stack.enter_context(report_to_trainjob())]
        for name in names:
            open_tracker = import_module(f"{__name__}.{name}").open_tracker
            send = stack.enter_context(open_tracker(log_path, training_ids))
            listeners.append(stack.enter_context(in_background(name, send)))
        yield listeners
