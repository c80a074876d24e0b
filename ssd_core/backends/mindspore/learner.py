"""A network under training with its optimizer."""

from collections.abc import Mapping, Sequence
from typing import Any

import mindspore as ms
from mindspore import Parameter, Tensor, nn

from ssd_core.backends.base import ReadLosses, name_losses
from ssd_core.backends.freezing import find_frozen
from ssd_core.backends.mindspore.averages import Averages
from ssd_core.backends.mindspore.detector import MindSporeDetector
from ssd_core.backends.mindspore.devices import Device
from ssd_core.backends.mindspore.model import Ssd, copy_to_arrays, copy_to_parameters
from ssd_core.backends.mindspore.norms import freeze, share_statistics
from ssd_core.backends.mindspore.steps import Accumulate, Assign, Measure, Update, WholeStep
from ssd_core.backends.ranks import ALONE, Ranks
from ssd_core.backends.weights import WEIGHTS
from ssd_core.config import PostprocessSpec, TrainConfig
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
        self._model = self._kept = Ssd(config.model, num_classes, precision=precision)
        self._model.initialize(config.seed)
        freeze(self._model, find_frozen(config, self._model.named_parameters))
        self._averages: Averages | None = None
        if config.ema_decay is not None:
            self._kept = Ssd(config.model, num_classes, precision=precision)
            self._averages = Averages(self._model, self._kept, config.ema_decay)
        share_statistics(self._model, ranks)
        self._step = WholeStep(self._model, config, ranks)
        self._measure = Measure(self._kept, self._step.loss)
        self._micro_batch_size = config.micro_batch_size
        if self._micro_batch_size is not None:
            self._assign, self._accumulate = Assign(self._step), Accumulate(self._step)
            self._update = Update(self._step, self._accumulate.gradients)

    def step(self, batch: Batch, learning_rate: float) -> ReadLosses:
        """Update the weights once, at the given rate."""
        rate = Tensor(learning_rate, ms.float32)
        size = self._micro_batch_size or len(batch.images)
        parts = [
            tuple(Tensor(array[start : start + size]) for array in _arrays(batch))
            for start in range(0, len(batch.images), size)
        ]
        self._model.set_train(True)
        with self._device.explain_memory(), self._ranks.in_touch():
            if len(parts) == 1:
                figures = self._run(self._step, *parts[0], rate)
            else:
                figures = self._step_in_parts(parts, rate)
            if self._averages is not None:
                self._averages()
        batch_size = len(batch.images) * self._ranks.world_size
        return lambda: name_losses(figures.asnumpy().tolist(), batch_size)

    def _step_in_parts(self, parts: Sequence[tuple[Tensor, ...]], rate: Tensor) -> Tensor:
        targets = [self._run(self._assign, boxes, labels) for _, boxes, labels in parts]
        counts = sum(each[3] for each in targets)
        losses = [
            self._run(self._accumulate, images, counts, Tensor(index == 0), *targets[index])
            for index, (images, _, _) in enumerate(parts)
        ]
        return self._run(self._update, sum(losses), counts, rate)

    def _run(self, graph: nn.Cell, *inputs: Any) -> Any:
        if self._ranks.world_size > 1:
            # A sum fails if another rank is 30 seconds behind, for example with its graph.
            graph.compile(*inputs)
            self._ranks.greatest(0)
        return graph(*inputs)

    def measure(self, batch: Batch) -> list[float]:
        """Return the sums of the losses of a batch without an update.

        A new number of images per batch compiles a new graph.
        """
        self._kept.set_train(False)
        with self._device.explain_memory():
            sums = self._measure(*map(Tensor, _arrays(batch)))
        return [float(value) for value in sums.asnumpy()]

    def state(self) -> dict[str, Array]:
        """Return copies of the weights, the statistics of norms and the optimizer's state."""
        return copy_to_arrays(self._state_parameters())

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Restore the arrays that `state` returned."""
        copy_to_parameters(state, self._state_parameters())

    def weights(self) -> dict[str, Array]:
        """Return copies of the network's arrays alone, as a model directory keeps them."""
        return copy_to_arrays(self._kept.named_parameters)

    def detector(self, postprocess: PostprocessSpec) -> MindSporeDetector:
        """Return a detector that shares the current weights."""
        return MindSporeDetector(self._kept, self._config, postprocess, device=self._device)

    def _state_parameters(self) -> dict[str, Parameter]:
        weights = {WEIGHTS + name: each for name, each in self._kept.named_parameters.items()}
        averages = self._averages.named_state if self._averages else {}
        return weights | self._step.optimizer.named_state | averages


def _arrays(batch: Batch) -> tuple[Array, ...]:
    return batch.images, batch.boxes, batch.labels
