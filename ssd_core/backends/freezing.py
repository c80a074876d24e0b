"""Which arrays of a network keep their values during a training."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from ssd_core.config import TrainConfig
from ssd_core.errors import UsageError
from ssd_core.networks import STAGES

_STATISTICS = (".mean", ".variance")


def find_frozen(config: TrainConfig, names: Iterable[str]) -> set[str]:
    """Return which of the arrays of a network `train.freeze` keeps.

    Raises:
        UsageError: a stage or an array does not exist, or all weights are frozen.
    """
    freeze, names = config.freeze, set(names)
    stages = STAGES[config.model.backbone]
    if freeze.stages > len(stages):
        raise UsageError(
            f"train.freeze.stages={freeze.stages}: backbone '{config.model.backbone}' has "
            f"{len(stages)} stages"
        )
    layers = [f"backbone.{layer}" for stage in stages[: freeze.stages] for layer in stage]
    for pattern in freeze.names:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(
                f"train.freeze.names: '{pattern}' fits no array of the network; their names are "
                "in docs/file-formats.md, and * stands for any text"
            )
    patterns = (*layers, *freeze.names)
    frozen = {name for name in names if any(fnmatchcase(name, each) for each in patterns)}
    if not freeze.statistics:
        frozen = {name for name in frozen if not name.endswith(_STATISTICS)}
    if all(name in frozen or name.endswith(_STATISTICS) for name in names):
        raise UsageError("train.freeze leaves no weight to train; freeze fewer stages or names")
    return frozen
