"""The update of the weights: gradients of the scaled loss in, new weights out.

Nothing waits for the device, except where an optimizer of torch cannot skip an update by itself.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from ssd_core.config import MAX_LOSS_SCALE, LossScaleConfig, OptimizerConfig

_STATE = {"sgd": ("momentum",), "adamw": ("step", "first_moment", "second_moment")}
"""The arrays that an optimizer keeps per parameter, by their names on disk."""
_SGD: dict[str, Any] = {"dampening": 0, "nesterov": False, "maximize": False}
_ADAMW: dict[str, Any] = {
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "amsgrad": False,
    "maximize": False,
}


class ScaledOptimizer:
    """An optimizer of torch, with a scale of the loss and a limit of the gradients' norm.

    It calls the functions of `torch.optim`, since the classes there load torch's compiler, which
    takes as long as torch itself.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        config: OptimizerConfig,
        loss_scale: LossScaleConfig,
        *,
        is_fused: bool,
    ) -> None:
        self._parameters = parameters
        self._config, self._is_fused = config, is_fused
        self._growth_interval = loss_scale.growth_interval
        like = next(iter(parameters.values())).detach()
        self.loss_scale = like.new_tensor(loss_scale.start)
        """Multiplies the loss before its backward pass."""
        self._good_steps = like.new_zeros(())
        self.named_state = {
            f"optimizer/{kind}/{name}": _allocate(kind, parameter.detach(), is_fused=is_fused)
            for name, parameter in parameters.items()
            for kind in _STATE[config.name]
        }
        """The arrays that the next update depends on, by their names on disk."""
        is_dynamic = self._growth_interval is not None
        if is_dynamic:
            self.named_state["loss_scale/value"] = self.loss_scale
            self.named_state["loss_scale/good_steps"] = self._good_steps
        self._has_factor = is_dynamic or loss_scale.start != 1 or config.clip_norm is not None

    @torch.no_grad()
    def update(self, learning_rate: float) -> Tensor:
        """Update the weights, and return [2]: the norm of the gradients and the scale used."""
        gradients = [each.grad for each in self._parameters.values() if each.grad is not None]
        scale = self.loss_scale.clone()
        norm = torch.nn.utils.get_total_norm(gradients) / scale
        if self._has_factor:
            factor = 1 / scale
            if (clip_norm := self._config.clip_norm) is not None:
                factor = factor * clip_norm / norm.clamp(min=clip_norm)
            torch._foreach_mul_(gradients, factor)
        if self._growth_interval is None:
            self._step(learning_rate)
        else:
            self._step_if_finite(learning_rate, norm.isfinite(), self._growth_interval)
        return torch.stack([norm, scale])

    def _step_if_finite(
        self, learning_rate: float, is_finite: Tensor, growth_interval: int
    ) -> None:
        """Halve the scale after an overflow, double it after enough steps without."""
        if self._is_fused:  # which reads `found_inf` on the device
            self._step(learning_rate, found_inf=(~is_finite).float())
        elif is_finite.item():
            self._step(learning_rate)
        good_steps = torch.where(is_finite, self._good_steps + 1, 0)
        is_due = good_steps >= growth_interval
        change = torch.where(is_finite, torch.where(is_due, 2.0, 1.0), 0.5)
        self.loss_scale.mul_(change).clamp_(1, MAX_LOSS_SCALE)
        self._good_steps.copy_(torch.where(is_due, 0, good_steps))

    def _step(self, learning_rate: float, found_inf: Tensor | None = None) -> None:
        options = {
            "lr": learning_rate,
            "fused": self._is_fused or None,  # None: torch's choice among the others
            "found_inf": found_inf,
        }
        groups: dict[float, list[str]] = {}
        for name, parameter in self._parameters.items():
            is_decayed = self._config.decay_norms_and_biases or parameter.ndim > 1
            if parameter.grad is not None:
                decay = self._config.weight_decay if is_decayed else 0.0
                groups.setdefault(decay, []).append(name)
        for decay, names in groups.items():
            self._step_group(names, weight_decay=decay, **options)

    def _step_group(self, names: list[str], **options: Any) -> None:
        parameters: list[Tensor] = [self._parameters[name] for name in names]
        gradients = [grad for each in parameters if (grad := each.grad) is not None]

        def kept(kind: str) -> list[Any]:
            return [self.named_state[f"optimizer/{kind}/{name}"] for name in names]

        if self._config.name == "sgd":
            momentum = self._config.momentum
            sgd(parameters, gradients, kept("momentum"), momentum=momentum, **_SGD, **options)
        else:
            adamw(
                parameters,
                gradients,
                exp_avgs=kept("first_moment"),
                exp_avg_sqs=kept("second_moment"),
                max_exp_avg_sqs=[],
                state_steps=kept("step"),
                **_ADAMW,
                **options,
            )


def _allocate(kind: str, parameter: Tensor, *, is_fused: bool) -> Tensor:
    """Return an array of zeros, so that the state can be saved before any step."""
    if kind != "step":
        return torch.zeros_like(parameter)
    # The host computes with the step, except in a fused optimizer.
    return torch.zeros((), device=parameter.device if is_fused else "cpu")
