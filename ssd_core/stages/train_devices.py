"""The step that learns on the devices of one machine: `train`, in a process for each of them."""

from collections.abc import Mapping
from typing import Any

from ssd_core.backends import launch_ranks
from ssd_core.backends.ranks import Nodes
from ssd_core.config import TrainConfig, parse_section
from ssd_core.data.batches.loader import check_batch_size
from ssd_core.errors import SsdError
from ssd_core.launch.command import train_command
from ssd_core.recipes import load_recipe
from ssd_core.stages import train
from ssd_core.store import Location
from ssd_core.structures import StageResult


def run(
    config: Mapping[str, Any],
    data_dir: Location,
    out_dir: Location,
    *,
    num_devices: int,
    **options: str,
) -> StageResult:
    """Train as `train.run` does, which runs in this process where there is one device.

    Args:
        config: the `train` section.
        data_dir: output of `convert`, also in a store.
        out_dir: place of this one training, a folder or the URI of a store.
        num_devices: devices of this machine that share each batch.
        options: `recipe`, `framework` and `device`, as `train.run` takes them.

    Raises:
        UsageError: the batch does not divide over the devices, or the framework knows but one.
        SsdError: what `train.run` raises; of several devices with the exit code of the process that
            failed, which has said why.
    """
    if num_devices == 1:
        return train.run(config, data_dir, out_dir, **options)
    section, framework = parse_section(TrainConfig, config, "train"), options["framework"]
    training = train.training_id(config, data_dir, framework)
    if result := train.finished(out_dir, training):
        return result
    check_batch_size(section.batch_size, num_devices)
    words = train_command(
        section.model_dump(mode="json"),
        load_recipe(options["recipe"]).train.model_dump(mode="json"),
        data=data_dir.uri,
        out=out_dir.uri,
        **options,
    )
    if code := launch_ranks(framework, words, Nodes(num_devices)):
        error = SsdError("a process of the training has failed; its own line says why")
        error.exit_code = code
        raise error
    result = train.finished(out_dir, training)
    assert result is not None
    return result
