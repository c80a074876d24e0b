"""MindSpore on one device."""

from collections.abc import Mapping

import mindspore as ms

from ssd_core.backends.base import DeviceInfo, Framework
from ssd_core.backends.mindspore.detector import MindSporeDetector
from ssd_core.backends.mindspore.devices import open_device
from ssd_core.backends.mindspore.distributed import join
from ssd_core.backends.mindspore.export import EXPORTERS
from ssd_core.backends.mindspore.learner import MindSporeLearner
from ssd_core.backends.mindspore.model import describe_network, load_network
from ssd_core.backends.ranks import ALONE, Ranks
from ssd_core.backends.weights import ArrayTypes
from ssd_core.config import ModelConfig, PostprocessSpec, TrainConfig
from ssd_core.errors import UsageError
from ssd_core.structures import Array


class MindSporeBackend:
    """Builds learners and detectors for one device and precision; see `open_backend`."""

    def __init__(self, device: str, precision: str = "auto", ranks: Ranks = ALONE) -> None:
        if precision == "bf16":  # MindSpore has no CPU kernels for it
            raise UsageError("precision 'bf16' is not implemented in MindSpore; use fp32 or fp16")
        self._ranks = ranks
        self._device = open_device(device, ranks.env)
        ranks.connect(self._device.type, self._device.collectives)
        self.info = DeviceInfo(
            framework=f"mindspore {ms.__version__}",
            device=self._device.type,
            name=self._device.name,
            precision="fp32" if precision == "auto" else precision,
            memory=self._device.memory,
        )

    def learner(self, config: TrainConfig, num_classes: int) -> MindSporeLearner:
        """Build a freshly initialised network for `num_classes` classes without background."""
        for name in ("virtual_shards", "compile"):
            if getattr(config, name):
                raise UsageError(f"train.{name} is implemented in PyTorch only; leave it out")
        return MindSporeLearner(
            config,
            num_classes,
            device=self._device,
            precision=self.info.precision,
            ranks=self._ranks,
        )

    def peak_memory(self) -> int | None:
        """Return the most bytes that tensors have taken on the device; None on a processor."""
        return ms.runtime.max_memory_allocated() or None

    def arrays(self, model: ModelConfig, num_classes: int) -> ArrayTypes:
        """Describe the arrays of a network, without the memory that it would take."""
        return describe_network(model, num_classes)

    def detector(
        self,
        model: ModelConfig,
        num_classes: int,
        weights: Mapping[str, Array],
        postprocess: PostprocessSpec,
    ) -> MindSporeDetector:
        """Build a detector from the arrays that `Learner.weights` returned."""
        network = load_network(model, num_classes, weights, precision=self.info.precision)
        return MindSporeDetector(network, model, postprocess, device=self._device)


FRAMEWORK = Framework(open=MindSporeBackend, join=join, exporters=EXPORTERS)
