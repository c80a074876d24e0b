"""`ssd plan`: the time and the memory of a training."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from ssd_core.cli.options import (
    Assignments,
    ConfigFile,
    Data,
    Device,
    Devices,
    Framework,
    Json,
    NumDevices,
    RecipeName,
    choose_recipe,
    count_devices,
    print_json,
)
from ssd_core.logs import format_count
from ssd_core.process.signals import exit_on_sigterm
from ssd_core.recipes.overrides import override

if TYPE_CHECKING:
    from ssd_core.stages.plan import Plan


def plan(
    data: Data,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    framework: Framework = "torch",
    device: Device = "auto",
    num_devices: NumDevices = None,
    devices: Devices = None,
    as_json: Json = False,
) -> None:
    """Train for about a minute, and print the time and the memory of the whole training.

    Nothing is kept. The largest batch is extrapolated from the memory at two sizes: without a
    device of its own memory, that of the process.

    Example: ssd plan --data shards --recipe ssd300_vgg16 --set train.epochs=120
    """
    exit_on_sigterm()
    from ssd_core.backends.ranks import Nodes
    from ssd_core.stages.plan import make_plan
    from ssd_core.stages.train import Training

    training = Training(
        recipe=override(choose_recipe(recipe, config), assignments or ()),
        data_dir=data,
        framework=framework,
        device=device,
    )
    found = make_plan(training, Nodes(count_devices(device, num_devices, devices)))
    if as_json:
        print_json(asdict(found) | {"hours": found.hours})
        return
    for line in _lines(found):
        print(line)


def _lines(found: "Plan") -> Iterator[str]:
    time = f"{found.hours:.3g} h" if found.hours >= 1 else f"{60 * found.hours:.3g} min"
    steps = f"{format_count(found.steps, 'step')} of {found.seconds_per_step:.3g} s"
    evaluations = format_count(found.evaluations, "evaluation")
    without = f", without {evaluations}" if found.evaluations else ""
    yield f"time           {time}: {steps}{without}"
    peak, limit = found.peak_memory / 1e9, found.memory_limit / 1e9
    yield f"peak memory    {peak:.1f} of {limit:.1f} GB of the {found.memory}, per process"
    yield f"bytes read     {found.bytes_read / 1e9:.3g} GB"
    batch = found.largest_batch or "not known: the memory did not grow with the batch"
    yield f"largest batch  {batch}{' by estimate' if found.largest_batch else ''}"
