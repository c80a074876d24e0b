"""The update of the weights: gradients of the scaled loss in, new weights out.

Nothing waits for the device, except where an optimizer of torch cannot skip an update by itself.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ssd_core.config import MAX_LOSS_SCALE, LossScaleConfig, OptimizerConfig

_STATE = {
    "sgd": {"momentum": "momentum_buffer"},
    "adamw": {"step": "step", "first_moment": "exp_avg", "second_moment": "exp_avg_sq"},
}
"""The arrays that an optimizer keeps per parameter: our name on disk, and torch's name."""


class ScaledOptimizer:
    """An optimizer of torch, with a scale of the loss and a limit of the gradients' norm."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        config: OptimizerConfig,
        loss_scale: LossScaleConfig,
        *,
        is_fused: bool,
    ) -> None:
        self._parameters = list(parameters.values())
        self._optimizer = _build(config, self._parameters, is_fused=is_fused)
        self._is_fused, self._clip_norm = is_fused, config.clip_norm
        self._growth_interval = loss_scale.growth_interval
        like = self._parameters[0].detach()
        self.loss_scale = like.new_tensor(loss_scale.start)
        """Multiplies the loss before its backward pass."""
        self._good_steps = like.new_zeros(())
        self.named_state = {
            f"optimizer/{kind}/{name}": self._optimizer.state[parameter][torch_kind]
            for name, parameter in parameters.items()
            for kind, torch_kind in _STATE[config.name].items()
        }
        """The arrays that the next update depends on, by their names on disk."""
        is_dynamic = self._growth_interval is not None
        if is_dynamic:
            self.named_state["loss_scale/value"] = self.loss_scale
            self.named_state["loss_scale/good_steps"] = self._good_steps
        self._has_factor = is_dynamic or loss_scale.start != 1 or self._clip_norm is not None

    @torch.no_grad()
    def update(self, learning_rate: float) -> Tensor:
        """Update the weights, and return [2]: the norm of the gradients and the scale used."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        scale = self.loss_scale.clone()
        norm = torch.nn.utils.get_total_norm(gradients) / scale
        if self._has_factor:
            factor = 1 / scale
            if self._clip_norm is not None:
                factor = factor * self._clip_norm / norm.clamp(min=self._clip_norm)
            torch._foreach_mul_(gradients, factor)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        if self._growth_interval is None:
            self._optimizer.step()
        else:
            self._update_if_finite(norm.isfinite(), self._growth_interval)
        return torch.stack([norm, scale])

    def _update_if_finite(self, is_finite: Tensor, growth_interval: int) -> None:
        """Halve the scale after an overflow, double it after enough steps without."""
        if self._is_fused:  # reads this attribute on the device, as torch.amp.GradScaler sets it
            self._optimizer.found_inf = (~is_finite).float()  # type: ignore[attr-defined]
            self._optimizer.step()
        elif is_finite.item():
            self._optimizer.step()
        good_steps = torch.where(is_finite, self._good_steps + 1, 0)
        is_due = good_steps >= growth_interval
        change = torch.where(is_finite, torch.where(is_due, 2.0, 1.0), 0.5)
        self.loss_scale.mul_(change).clamp_(1, MAX_LOSS_SCALE)
        self._good_steps.copy_(torch.where(is_due, 0, good_steps))


def _build(
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
        for kind in _STATE[config.name].values():
            like = parameter.detach()
            optimizer.state[parameter][kind] = (
                # The host computes with the step, except in a fused optimizer.
                torch.zeros((), device=like.device if is_fused else "cpu")
                if kind == "step"
                else torch.zeros_like(like)
            )
    return optimizer
