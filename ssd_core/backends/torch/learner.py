"""A network under training with its optimizer."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ssd_core.backends.base import ReadLosses, name_losses
from ssd_core.backends.freezing import find_frozen
from ssd_core.backends.ranks import ALONE, Ranks
from ssd_core.backends.torch.averages import Averages
from ssd_core.backends.torch.compilation import Network, compile_network
from ssd_core.backends.torch.detector import TorchDetector
from ssd_core.backends.torch.devices import Device
from ssd_core.backends.torch.gradients import Gradients
from ssd_core.backends.torch.loss import Targets, TorchLoss
from ssd_core.backends.torch.model import Ssd, copy_to_arrays, copy_to_tensors
from ssd_core.backends.torch.norms import freeze, share_statistics
from ssd_core.backends.torch.optimizers import ScaledOptimizer
from ssd_core.backends.torch.shards import ShardGradients, Shards
from ssd_core.backends.weights import WEIGHTS
from ssd_core.config import PostprocessSpec, TrainConfig
from ssd_core.detection.anchors import generate_anchors
from ssd_core.structures import Array, Batch


class TorchLearner:
    """Trains an SSD; on a CPU the same state and batches give the same bits.

    With several ranks each step is that of the whole batch: positives, gradients and the statistics
    of norms are summed over the ranks.
    """

    def __init__(
        self,
        config: TrainConfig,
        num_classes: int,
        *,
        device: Device,
        precision: str,
        ranks: Ranks = ALONE,
    ) -> None:
        self._config, self._device, self._precision = config.model, device, precision
        self._micro_batch_size = config.micro_batch_size
        model = Ssd(config.model, num_classes)
        model.initialize(config.seed)
        freeze(model, find_frozen(config, model.state_dict()))
        self._model = self._kept = device.place(model)
        trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
        self._averages: Averages | None = None
        if config.ema_decay is not None:
            self._averages = Averages(model, trained, config.ema_decay)
            self._kept = self._averages.model
        self._loss = TorchLoss(
            generate_anchors(config.model.anchors, config.model.image_size),
            variances=config.model.variances,
            matching=config.matching,
            classification=config.classification_loss,
            divisor=config.loss_divisor,
            device=device.torch_device,
        )
        self._ranks = ranks
        self._gradients: Gradients | ShardGradients
        if config.virtual_shards is None:
            self._gradients = Gradients(trained.values(), ranks)
        else:
            self._ranks = shards = Shards(config.virtual_shards, ranks, device)
            self._gradients = ShardGradients(trained.values(), shards)
        share_statistics(model, self._ranks)
        self._network: Network = model
        if config.compile:
            self._network = compile_network(
                model, config, device=device, precision=precision, ranks=ranks
            )
        self._optimizer = ScaledOptimizer(
            trained, config.optimizer, config.loss_scale, is_fused=device.has_fused_optimizers
        )

    def step(self, batch: Batch, learning_rate: float) -> ReadLosses:
        """Update the weights once, at the given rate."""
        with self._device.explain_memory():
            sums: Tensor = self._ranks.run(self._differentiate, batch)
            figures = torch.cat([sums, self._optimizer.update(learning_rate)])
            if self._averages is not None:
                self._averages.update()
        batch_size = len(batch.images) * self._ranks.env.world_size
        return lambda: name_losses(figures.tolist(), batch_size)

    def _differentiate(self, batch: Batch) -> Tensor:
        """Compute the gradients of all ranks' batches from this one; return the sums of losses."""
        parts = self._assign(batch, self._micro_batch_size or len(batch.images))
        counts = self._ranks.sum(torch.stack([targets.counts for _, targets in parts]).sum(0))
        self._gradients.clear(len(parts))
        losses = [self._accumulate(*part, counts[0].clamp(min=1)) for part in parts]
        self._gradients.sum()
        return torch.cat([self._ranks.sum(torch.stack(losses).sum(0)), counts])

    def measure(self, batch: Batch) -> list[float]:
        """Return the sums of the losses of a batch without an update."""
        with torch.no_grad(), self._device.explain_memory():
            ((images, targets),) = self._assign(batch, len(batch.images))
            losses = self._forward(self._kept.eval(), images, targets)
            return [*map(float, losses), *targets.counts.tolist()]

    def _assign(self, batch: Batch, size: int) -> list[tuple[Tensor, Targets]]:
        """Copy a batch to the device; return parts of at most `size` images with their targets."""
        arrays = (batch.images, batch.boxes, batch.labels)
        parts = zip(*(torch.split(self._device.copy(each), size) for each in arrays), strict=True)
        return [(images, self._loss.assign(boxes, labels)) for images, boxes, labels in parts]

    def _accumulate(self, images: Tensor, targets: Targets, divisor: Tensor) -> Tensor:
        """Add the gradients of a part of the batch; return [2] sums of its losses."""
        self._model.train()
        cls, bbox = self._forward(self._network, images, targets)
        loss = (cls + bbox) / divisor
        self._gradients.add(loss * self._optimizer.loss_scale)
        return torch.stack([cls.detach(), bbox.detach()])

    def _forward(self, network: Network, images: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        with self._device.autocast(self._precision):
            cls_logits, bbox_regression = network(self._model.normalize(images))
        return self._loss(cls_logits.float(), bbox_regression.float(), targets)

    def state(self) -> dict[str, Array]:
        """Return copies of the weights, the statistics of norms and the optimizer's state."""
        return copy_to_arrays(self._state_tensors())

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Restore the arrays that `state` returned."""
        copy_to_tensors(state, self._state_tensors())

    def weights(self) -> dict[str, Array]:
        """Return copies of the network's arrays alone, as a model directory keeps them."""
        return copy_to_arrays(self._kept.state_dict())

    def detector(self, postprocess: PostprocessSpec) -> TorchDetector:
        """Return a detector that shares the current weights."""
        return TorchDetector(
            self._kept, self._config, postprocess, device=self._device, precision=self._precision
        )

    def _state_tensors(self) -> dict[str, Tensor]:
        weights = {WEIGHTS + name: tensor for name, tensor in self._kept.state_dict().items()}
        averages = self._averages.named_state if self._averages else {}
        return weights | self._optimizer.named_state | averages
