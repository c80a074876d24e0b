"""PyTorch on one device."""

from collections.abc import Mapping

import torch

from ssd_core.backends.base import DeviceInfo, Framework
from ssd_core.backends.ranks import ALONE, Ranks
from ssd_core.backends.torch.detector import TorchDetector
from ssd_core.backends.torch.devices import open_device
from ssd_core.backends.torch.distributed import join
from ssd_core.backends.torch.export import EXPORTERS
from ssd_core.backends.torch.learner import TorchLearner
from ssd_core.backends.torch.model import describe_network, load_network
from ssd_core.backends.weights import ArrayTypes
from ssd_core.config import ModelConfig, PostprocessSpec, TrainConfig
from ssd_core.logs import logger
from ssd_core.structures import Array


class TorchBackend:
    """Builds learners and detectors for one device and precision; see `open_backend`."""

    def __init__(self, device: str, precision: str = "auto", ranks: Ranks = ALONE) -> None:
        self._ranks = ranks
        self._device = open_device(device, ranks.env)
        ranks.connect(self._device.torch_device.type, self._device.collectives)
        self.info = DeviceInfo(
            framework=f"torch {torch.__version__.partition('+')[0]}",
            device=self._device.torch_device.type,
            name=self._device.name,
            precision=self._device.auto_precision if precision == "auto" else precision,
            memory=self._device.memory,
        )
        if self.info.precision in self._device.emulated_precisions:
            logger.warning(
                "%s has no instructions for %s, which can make it 50 times slower; use "
                "train.precision=fp32",
                *(self.info.name, self.info.precision),
            )

    def learner(self, config: TrainConfig, num_classes: int) -> TorchLearner:
        """Build a freshly initialised network for `num_classes` classes without background."""
        return TorchLearner(
            config,
            num_classes,
            device=self._device,
            precision=self.info.precision,
            ranks=self._ranks,
        )

    def peak_memory(self) -> int | None:
        """Return the most bytes that tensors have taken on the device; None on a processor."""
        return self._device.peak_memory()

    def arrays(self, model: ModelConfig, num_classes: int) -> ArrayTypes:
        """Describe the arrays of a network, without the memory that it would take."""
        return describe_network(model, num_classes)

    def detector(
        self,
        model: ModelConfig,
        num_classes: int,
        weights: Mapping[str, Array],
        postprocess: PostprocessSpec,
    ) -> TorchDetector:
        """Build a detector from the arrays that `Learner.weights` returned."""
        network = load_network(model, num_classes, weights)
        return TorchDetector(
            self._device.place_to_detect(network, self.info.precision),
            model,
            postprocess,
            device=self._device,
            precision=self.info.precision,
        )


FRAMEWORK = Framework(open=TorchBackend, join=join, exporters=EXPORTERS)
