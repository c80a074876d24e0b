"""PyTorch on one device."""

from collections.abc import Mapping

import torch

from ssd_core.backends.base import DeviceInfo
from ssd_core.backends.ranks import ALONE, ALONE_PLACE, Ranks
from ssd_core.backends.torch.detector import TorchDetector
from ssd_core.backends.torch.devices import COLLECTIVES, open_device
from ssd_core.backends.torch.distributed import TorchRanks
from ssd_core.backends.torch.learner import TorchLearner
from ssd_core.backends.torch.model import build_model
from ssd_core.backends.torch.weights import copy_to_tensors
from ssd_core.config import ModelConfig, PostprocessSpec, TrainConfig
from ssd_core.structures import Array


class TorchBackend:
    """Builds learners and detectors for one device and precision."""

    def __init__(self, device: str, precision: str = "auto", ranks: Ranks = ALONE) -> None:
        """Open the device.

        Args:
            device: `auto`, or one of `devices.DEVICES`.
            precision: `fp32`, `bf16`, or `auto` for bf16 where the device is faster with it.
            ranks: those that train together with this process, each on a device of its own.

        Raises:
            UsageError: an unknown device, or one that is not available here or not on all ranks.
            SurroundingsError: another rank is lost.
        """
        self._ranks = ranks if isinstance(ranks, TorchRanks) else None
        place = self._ranks.place if self._ranks else ALONE_PLACE
        self._device = open_device(device, place.local_rank, place.local_world_size)
        if self._ranks:
            self._ranks.connect(self._device.kind, COLLECTIVES[self._device.kind])
        automatic = "bf16" if self._device.is_bf16_fast else "fp32"
        self.info = DeviceInfo(
            framework=f"torch {torch.__version__.partition('+')[0]}",
            device=self._device.kind,
            name=self._device.name,
            precision=automatic if precision == "auto" else precision,
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

    def detector(
        self,
        model: ModelConfig,
        num_classes: int,
        weights: Mapping[str, Array],
        postprocess: PostprocessSpec,
    ) -> TorchDetector:
        """Build a detector from the arrays that `Learner.weights` returned.

        Raises:
            DataError: an array is missing or has the wrong shape.
        """
        network = build_model(model, num_classes)
        copy_to_tensors(weights, network.state_dict())
        network = network.to(self._device.torch_device).to(memory_format=torch.channels_last)
        return TorchDetector(
            network, model, postprocess, device=self._device, precision=self.info.precision
        )
