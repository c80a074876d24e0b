"""Train on the devices of one machine, with one process per device."""

import tempfile
from pathlib import Path

from ssd_core.backends import launch_ranks
from ssd_core.backends.ranks import Nodes
from ssd_core.data.batches.loader import check_batch_size
from ssd_core.errors import SsdError
from ssd_core.stages import train
from ssd_core.store import Location
from ssd_core.structures import StageResult


def run(training: train.Training, out_dir: Location, *, num_devices: int) -> StageResult:
    """Train as `train.run` does; a single device is used by this process.

    Raises:
        SsdError: a process failed after printing its error; this has the same exit code.
    """
    if num_devices == 1:
        return train.run(training, out_dir)

    def start() -> None:
        if code := launch(training, out_dir, Nodes(num_devices)):
            error = SsdError("a training process failed; see its error above")
            error.exit_code = code
            raise error

    return training.run_once(out_dir, start)


def launch(training: train.Training, out_dir: Location, nodes: Nodes) -> int:
    """Run `ssd train` once per device of this machine and return the exit code.

    Raises:
        UsageError: the batch does not divide over the devices, or the framework has no ranks.
    """
    check_batch_size(training.recipe.train.batch_size, nodes.world_size)
    with tempfile.TemporaryDirectory(prefix="ssd-recipe-") as folder:
        config = Path(folder) / "recipe.json"
        config.write_text(training.recipe.model_dump_json())
        return launch_ranks(training.framework, training.command(out_dir, str(config)), nodes)
