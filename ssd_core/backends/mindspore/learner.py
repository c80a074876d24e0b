"""A network under training with its optimizer."""

from collections.abc import Mapping

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from ssd_core.backends.base import ReadLosses, name_losses
from ssd_core.backends.freezing import find_frozen
from ssd_core.backends.mindspore.collectives import all_reduce, sum_gradients
from ssd_core.backends.mindspore.detector import MindSporeDetector
from ssd_core.backends.mindspore.devices import Device
from ssd_core.backends.mindspore.loss import MindSporeLoss
from ssd_core.backends.mindspore.model import (
    Ssd,
    copy_to_arrays,
    copy_to_parameters,
)
from ssd_core.backends.mindspore.norms import freeze, share_statistics
from ssd_core.backends.mindspore.optimizers import ScaledOptimizer
from ssd_core.backends.ranks import ALONE, Ranks
from ssd_core.backends.weights import WEIGHTS
from ssd_core.config import PostprocessSpec, TrainConfig
from ssd_core.detection.anchors import generate_anchors
from ssd_core.structures import Array, Batch


class MindSporeLearner:
    """Trains an SSD; on a CPU the same state and batches give the same bits.

    With several ranks each step is that of the whole batch, as in PyTorch's learner.
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
        self._config, self._device, self._ranks = config.model, device, ranks
        self._model = Ssd(config.model, num_classes, precision=precision)
        self._model.initialize(config.seed)
        freeze(self._model, find_frozen(config, self._model.named_parameters))
        share_statistics(self._model, ranks)
        self._step = _Step(self._model, config, ranks)
        self._measure = _Measure(self._model, self._step.loss)

    def step(self, batch: Batch, learning_rate: float) -> ReadLosses:
        """Update the weights once, at the given rate."""
        arrays = (batch.images, batch.boxes, batch.labels)
        inputs = (*map(Tensor, arrays), Tensor(learning_rate, ms.float32))
        self._model.set_train(True)
        with self._device.explain_memory(), self._ranks.in_touch():
            if self._ranks.world_size > 1:
                # A sum fails if another rank is 30 seconds behind, for example with its graph.
                self._step.compile(*inputs)
                self._ranks.greatest(0)
            figures = self._step(*inputs)
        batch_size = len(batch.images) * self._ranks.world_size
        return lambda: name_losses(figures.asnumpy().tolist(), batch_size)

    def measure(self, batch: Batch) -> list[float]:
        """Return the sums of the losses of a batch without an update.

        A new number of images per batch compiles a new graph.
        """
        self._model.set_train(False)
        with self._device.explain_memory():
            sums = self._measure(*map(Tensor, (batch.images, batch.boxes, batch.labels)))
        return [float(value) for value in sums.asnumpy()]

    def state(self) -> dict[str, Array]:
        """Return copies of the weights, the statistics of norms and the optimizer's state."""
        return copy_to_arrays(self._state_parameters())

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Restore the arrays that `state` returned."""
        copy_to_parameters(state, self._state_parameters())

    def weights(self) -> dict[str, Array]:
        """Return copies of the network's arrays alone, as a model directory keeps them."""
        return copy_to_arrays(self._model.named_parameters)

    def detector(self, postprocess: PostprocessSpec) -> MindSporeDetector:
        """Return a detector that shares the current weights."""
        return MindSporeDetector(self._model, self._config, postprocess, device=self._device)

    def _state_parameters(self) -> dict[str, Parameter]:
        weights = {WEIGHTS + name: each for name, each in self._model.named_parameters.items()}
        return weights | self._step.optimizer.named_state


class _Step(nn.Cell):
    """Forward and backward pass and the update, compiled to one graph."""

    def __init__(self, model: Ssd, config: TrainConfig, ranks: Ranks) -> None:
        super().__init__()
        self.model = model
        self._sum = all_reduce(ranks)
        self.loss = MindSporeLoss(
            generate_anchors(config.model.anchors, config.model.image_size),
            variances=config.model.variances,
            matching=config.matching,
            classification=config.classification_loss,
            divisor=config.loss_divisor,
        )
        trained = {
            name: each for name, each in model.named_parameters.items() if each.requires_grad
        }
        self._sum_gradients = sum_gradients(len(trained), config.all_reduce_fusion, ranks)
        self.optimizer = ScaledOptimizer(trained, config)
        self._differentiate = ms.value_and_grad(
            self._forward, None, ms.ParameterTuple(trained.values()), has_aux=True
        )

    def construct(self, images: Tensor, boxes: Tensor, labels: Tensor, rate: Tensor) -> Tensor:
        """Update the weights; return the sums of the loss and the figures of the optimizer."""
        (_, sums), gradients = self._differentiate(images, boxes, labels)
        return ops.cat([sums, self.optimizer(self._sum_gradients(gradients), rate)])

    def _forward(self, images: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        sums = self.loss(*self.model(images), boxes, labels)
        totals = self._sum(ops.stop_gradient(sums))
        loss = (sums[0] + sums[1]) / ops.maximum(totals[2], 1.0)
        return loss * self.optimizer.loss_scale, totals


class _Measure(nn.Cell):
    """Forward pass and losses, compiled to one graph."""

    def __init__(self, model: Ssd, loss: MindSporeLoss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def construct(self, images: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """Return the sums of the losses."""
        return self.loss(*self.model(images), boxes, labels)
