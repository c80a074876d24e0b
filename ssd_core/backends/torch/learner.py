"""A network under training with its optimizer."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from ssd_core.backends.base import ReadLosses
from ssd_core.backends.freezing import find_frozen
from ssd_core.backends.ranks import ALONE, Ranks
from ssd_core.backends.torch.detector import TorchDetector
from ssd_core.backends.torch.devices import Device
from ssd_core.backends.torch.distributed import Gradients
from ssd_core.backends.torch.loss import LossSums, TorchLoss
from ssd_core.backends.torch.model import Ssd, copy_to_arrays, copy_to_tensors
from ssd_core.backends.torch.norms import freeze, share_statistics
from ssd_core.backends.weights import WEIGHTS
from ssd_core.config import OptimizerConfig, PostprocessSpec, TrainConfig
from ssd_core.detection.anchors import generate_anchors
from ssd_core.structures import Array, Batch

_OPTIMIZER_STATE = {
    "sgd": {"momentum": "momentum_buffer"},
    "adamw": {"step": "step", "first_moment": "exp_avg", "second_moment": "exp_avg_sq"},
}
"""The arrays that an optimizer keeps per parameter: our name on disk, and torch's name."""


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
        self._ranks = ranks
        model = Ssd(config.model, num_classes)
        model.initialize(config.seed)
        freeze(model, find_frozen(config, model.state_dict()))
        self._model = device.place(model)
        share_statistics(model, ranks)
        self._loss = TorchLoss(
            generate_anchors(config.model.anchors, config.model.image_size),
            variances=config.model.variances,
            matching=config.matching,
            classification=config.classification_loss,
            divisor=config.loss_divisor,
            device=device.torch_device,
        )
        parameters = [each for each in model.parameters() if each.requires_grad]
        self._gradients = Gradients(parameters, ranks)
        self._optimizer = _build_optimizer(
            config.optimizer, parameters, is_fused=device.has_fused_optimizers
        )
        self._optimizer_state = _OPTIMIZER_STATE[config.optimizer.name]

    def step(self, batch: Batch, learning_rate: float) -> ReadLosses:
        """Update the weights once, at the given rate."""
        with self._device.explain_memory():
            sums = self._forward(batch)
            totals: Tensor = self._ranks.sum(sums.stack())
            self._descend((sums.cls + sums.bbox) / totals[2].clamp(min=1), learning_rate)
        return partial(_read_losses, totals, len(batch.images) * self._ranks.world_size)

    def _forward(self, batch: Batch) -> LossSums:
        images, boxes, labels = (
            self._device.copy(array) for array in (batch.images, batch.boxes, batch.labels)
        )
        self._model.train()
        with self._device.autocast(self._precision):
            cls_logits, bbox_regression = self._model(self._model.normalize(images))
        return self._loss(cls_logits.float(), bbox_regression.float(), boxes, labels)

    def _descend(self, loss: Tensor, learning_rate: float) -> None:
        self._gradients.clear()
        loss.backward()  # type: ignore[no-untyped-call]
        self._gradients.sum()
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()

    def state(self) -> dict[str, Array]:
        """Return copies of the weights, the statistics of norms and the optimizer's state."""
        return copy_to_arrays(self._state_tensors())

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Restore the arrays that `state` returned."""
        copy_to_tensors(state, self._state_tensors())

    def weights(self) -> dict[str, Array]:
        """Return copies of the network's arrays alone, as a model directory keeps them."""
        return copy_to_arrays(self._model.state_dict())

    def detector(self, postprocess: PostprocessSpec) -> TorchDetector:
        """Return a detector that shares the current weights."""
        return TorchDetector(
            self._model, self._config, postprocess, device=self._device, precision=self._precision
        )

    def _state_tensors(self) -> dict[str, Tensor]:
        tensors = {WEIGHTS + name: tensor for name, tensor in self._model.state_dict().items()}
        trained = (each for each in self._model.named_parameters() if each[1].requires_grad)
        for name, parameter in trained:
            for kind, torch_kind in self._optimizer_state.items():
                tensors[f"optimizer/{kind}/{name}"] = self._optimizer.state[parameter][torch_kind]
        return tensors


def _read_losses(totals: Tensor, batch_size: int) -> dict[str, float]:
    cls, bbox, divisor, positives = totals.cpu()
    divisor = divisor.clamp(min=1)
    values = {
        "loss": (cls + bbox) / divisor,
        "loss_cls": cls / divisor,
        "loss_bbox": bbox / divisor,
        "positives": positives / batch_size,
    }
    return {name: value.item() for name, value in values.items()}


def _build_optimizer(
    config: OptimizerConfig, parameters: list[torch.nn.Parameter], *, is_fused: bool
) -> torch.optim.Optimizer:
    """Return the optimizer with its state allocated, so that it can be saved before any step."""
    is_decayed = [config.decay_norms_and_biases or parameter.ndim > 1 for parameter in parameters]
    pairs = list(zip(parameters, is_decayed, strict=True))
    groups = [
        {"params": [p for p, decayed in pairs if decayed], "weight_decay": config.weight_decay},
        {"params": [p for p, decayed in pairs if not decayed], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate, fused = config.learning_rate, is_fused or None  # None: torch's choice among the others
    optimizer: torch.optim.Optimizer
    if config.name == "sgd":
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=config.momentum, fused=fused)
    else:
        optimizer = torch.optim.AdamW(groups, lr=rate, fused=fused)
    for parameter in parameters:
        for kind in _OPTIMIZER_STATE[config.name].values():
            like = parameter.detach()
            optimizer.state[parameter][kind] = (
                like.new_zeros(()) if kind == "step" else torch.zeros_like(like)
            )
    return optimizer
