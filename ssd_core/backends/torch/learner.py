"""A network under training with its optimizer."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ssd_core.backends.torch.detector import TorchDetector
from ssd_core.backends.torch.devices import Device, autocast, explain_memory
from ssd_core.backends.torch.distributed import SharedGradients, TorchRanks
from ssd_core.backends.torch.loss import LossSums, MultiBoxLoss
from ssd_core.backends.torch.model import build_model
from ssd_core.backends.torch.norms import share_statistics
from ssd_core.backends.torch.weights import copy_to_arrays, copy_to_tensors
from ssd_core.config import OptimizerConfig, PostprocessSpec, TrainConfig
from ssd_core.detection.anchors import generate_anchors
from ssd_core.structures import Array, Batch

_OPTIMIZER_STATE = {
    "sgd": {"momentum": "momentum_buffer"},
    "adamw": {"step": "step", "first_moment": "exp_avg", "second_moment": "exp_avg_sq"},
}
"""What an optimizer keeps for each parameter: our name on disk, and torch's name."""


class TorchStepResult:
    """Losses of one step, on the device until they are read."""

    def __init__(self, sums: LossSums, batch_size: int) -> None:
        divisor = sums.positives.clamp(min=1)
        cls, bbox = sums.cls.detach(), sums.bbox.detach()
        self._values = torch.stack(
            [(cls + bbox) / divisor, cls / divisor, bbox / divisor, sums.positives / batch_size]
        )

    def read(self) -> dict[str, float]:
        """Wait for the device; return `loss`, `loss_cls`, `loss_bbox`, `positives` an image."""
        names = ("loss", "loss_cls", "loss_bbox", "positives")
        return dict(zip(names, self._values.tolist(), strict=True))


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
        ranks: TorchRanks | None = None,
    ) -> None:
        self._config, self._device, self._precision = config.model, device, precision
        model = build_model(config.model, num_classes)
        model.initialize(config.seed)
        self._model = model.to(device.torch_device).to(memory_format=torch.channels_last)
        self._loss = MultiBoxLoss(
            generate_anchors(config.model.anchors, config.model.image_size),
            variances=config.model.variances,
            iou_threshold=config.iou_threshold,
            neg_to_pos_ratio=config.neg_to_pos_ratio,
            device=device.torch_device,
        )
        self._optimizer = _build_optimizer(config.optimizer, list(model.parameters()))
        self._optimizer_state = _OPTIMIZER_STATE[config.optimizer.name]
        self._ranks, self._gradients = ranks, None
        self._world_size = ranks.world_size if ranks else 1
        if ranks:
            share_statistics(model, ranks)
            self._gradients = SharedGradients(model.parameters(), ranks)

    def step(self, batch: Batch, learning_rate: float) -> TorchStepResult:
        """Update the weights once; the rate is that of this step."""
        with explain_memory(self._device):
            sums = self._forward(batch)
            totals = sums if self._ranks is None else _sum_over(self._ranks, sums)
            self._descend((sums.cls + sums.bbox) / totals.positives.clamp(min=1), learning_rate)
        return TorchStepResult(totals, len(batch.images) * self._world_size)

    def _forward(self, batch: Batch) -> LossSums:
        images, boxes, labels = (
            torch.from_numpy(array).to(self._device.torch_device)
            for array in (batch.images, batch.boxes, batch.labels)
        )
        self._model.train()
        with autocast(self._device, self._precision):
            cls_logits, bbox_regression = self._model(self._model.normalize(images))
        return self._loss(cls_logits.float(), bbox_regression.float(), boxes, labels)

    def _descend(self, loss: Tensor, learning_rate: float) -> None:
        """Update the weights by the gradient of `loss`, summed over the ranks."""
        if self._gradients is None:
            self._optimizer.zero_grad()
        else:
            self._gradients.clear()
        loss.backward()  # type: ignore[no-untyped-call]
        if self._gradients is not None:
            self._gradients.sum()
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()

    def state(self) -> dict[str, Array]:
        """Return copies of weights, statistics of the norms and the optimizer's memory, by name."""
        return copy_to_arrays(self._state_tensors())

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Restore what `state` returned.

        Raises:
            DataError: a name or a shape does not fit.
        """
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
        tensors = {f"weights/{name}": tensor for name, tensor in self._model.state_dict().items()}
        for name, parameter in self._model.named_parameters():
            for kind, torch_kind in self._optimizer_state.items():
                tensors[f"optimizer/{kind}/{name}"] = self._optimizer.state[parameter][torch_kind]
        return tensors


def _sum_over(ranks: TorchRanks, sums: LossSums) -> LossSums:
    """Return the sums over all ranks, without a gradient."""
    parts = torch.stack([sums.cls, sums.bbox, sums.positives.to(sums.cls.dtype)]).detach()
    ranks.sum(parts)
    return LossSums(*parts)


def _build_optimizer(
    config: OptimizerConfig, parameters: list[torch.nn.Parameter]
) -> torch.optim.Optimizer:
    """Return the optimizer with its state laid out, so that it can be saved before any step."""
    is_decayed = [config.decay_norms_and_biases or parameter.ndim > 1 for parameter in parameters]
    pairs = list(zip(parameters, is_decayed, strict=True))
    groups = [
        {"params": [p for p, decayed in pairs if decayed], "weight_decay": config.weight_decay},
        {"params": [p for p, decayed in pairs if not decayed], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate = config.learning_rate
    optimizer: torch.optim.Optimizer
    if config.name == "sgd":
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=config.momentum, fused=True)
    else:
        optimizer = torch.optim.AdamW(groups, lr=rate, fused=True)
    for parameter in parameters:
        for kind in _OPTIMIZER_STATE[config.name].values():
            like = parameter.detach()
            optimizer.state[parameter][kind] = (
                like.new_zeros(()) if kind == "step" else torch.zeros_like(like)
            )
    return optimizer
