"""The optimizers, with the arithmetic of PyTorch's, from MindSpore's fused updates.

`nn.AdamWeightDecay` is another one: it does not correct the bias of its moments. The state has the
neutral names of `docs/file-formats.md`.

What is done with each weight is mapped: MindSpore 2.9 unrolls a loop, and the time of compiling
that grows faster than the number of weights (for 50 of them 9 seconds in place of 1).
"""

from collections.abc import Callable, Mapping
from typing import Any

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from ssd_core.config import MAX_LOSS_SCALE, OptimizerConfig, TrainConfig

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_map = ops.HyperMap()


def _mapped(function: Callable[..., Any], *types: str) -> Any:
    """Return a function whose last parameters are mapped, in the form that `_map` takes."""
    graph = ops.MultitypeFuncGraph(function.__name__)
    graph.register(*types)(function)
    return graph


class Optimizer(nn.Cell):
    """Updates weights in the graph of a training step.

    An update that is left out is one that changes nothing: after a branch of the graph (MindSpore
    2.9 on a CPU), arrays that are loaded later do not reach all of its parts.
    """

    named_state: dict[str, Parameter]
    """The arrays that the next update depends on, by their names on disk."""

    def __init__(self, weights: Mapping[str, Parameter], config: OptimizerConfig) -> None:
        super().__init__()
        self.weights = ParameterTuple(weights.values())
        self.named_state = {}
        self._names = tuple(weights)
        self._decays = tuple(
            config.weight_decay if config.decay_norms_and_biases or weight.ndim > 1 else 0.0
            for weight in self.weights
        )

    def _add_state(self, kind: str) -> ParameterTuple:
        """Return zeros in the shape of each weight, and make them a part of the state."""
        zeros = {
            f"optimizer/{kind}/{name}": Parameter(ops.zeros_like(weight), name=f"{kind}/{name}")
            for name, weight in zip(self._names, self.weights, strict=True)
        }
        self.named_state |= zeros
        return ParameterTuple(zeros.values())


class Sgd(Optimizer):
    """Stochastic gradient descent with momentum."""

    def __init__(self, weights: Mapping[str, Parameter], config: OptimizerConfig) -> None:
        super().__init__(weights, config)
        self._momentum = config.momentum
        self.velocities = self._add_state("momentum")
        self._update = ops.ApplyMomentum()

    def construct(self, gradients: tuple[Tensor, ...], rate: Tensor, is_done: Tensor) -> bool:
        """Update the weights once; without `is_done`, rate and gradients are 0."""
        momentum = ops.where(is_done, self._momentum, 1.0)
        step = ops.partial(_SGD, self._update, rate, momentum, is_done)
        return ops.depend(True, _map(step, gradients, self.weights, self.velocities, self._decays))


def _sgd(
    update: Any,
    rate: Tensor,
    momentum: Tensor,
    is_done: Tensor,
    gradient: Tensor,
    weight: Tensor,
    velocity: Tensor,
    decay: float,
) -> bool:
    if decay:
        gradient = gradient + ops.where(is_done, decay, 0.0) * weight
    return ops.depend(True, update(weight, velocity, rate, gradient, momentum))


_SGD = _mapped(_sgd, "Function", *["Tensor"] * 6, "Number")


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    def __init__(self, weights: Mapping[str, Parameter], config: OptimizerConfig) -> None:
        super().__init__(weights, config)
        self.first_moments = self._add_state("first_moment")
        self.second_moments = self._add_state("second_moment")
        # On disk every weight has a count of its own, as in PyTorch.
        self.step = Parameter(Tensor(0.0), name="step")
        self.named_state |= {f"optimizer/step/{name}": self.step for name in weights}
        self._update = ops.Adam()

    def construct(self, gradients: tuple[Tensor, ...], rate: Tensor, is_done: Tensor) -> bool:
        """Update the weights once; without `is_done`, rate and gradients are 0."""
        ops.assign(self.step, self.step + is_done)
        beta1, beta2 = ops.where(is_done, _BETA1, 1.0), ops.where(is_done, _BETA2, 1.0)
        count = ops.maximum(self.step, 1.0)
        power1, power2 = _BETA1**count, _BETA2**count
        # The operation adds epsilon before it corrects the second moment, PyTorch afterwards.
        epsilon = _EPSILON * ops.sqrt(1 - power2)
        step = ops.partial(
            _ADAMW, self._update, (power1, power2, rate, beta1, beta2, epsilon), rate
        )
        moments = self.first_moments, self.second_moments
        return ops.depend(True, _map(step, gradients, self.weights, *moments, self._decays))


def _adamw(
    update: Any,
    settings: tuple[Tensor, ...],
    rate: Tensor,
    gradient: Tensor,
    weight: Tensor,
    first_moment: Tensor,
    second_moment: Tensor,
    decay: float,
) -> bool:
    if decay:
        ops.assign(weight, weight * (1 - rate * decay))
    return ops.depend(True, update(weight, first_moment, second_moment, *settings, gradient))


_ADAMW = _mapped(_adamw, "Function", "Tuple", *["Tensor"] * 5, "Number")


def _sum_squares(gradient: Tensor) -> Tensor:
    return ops.square(gradient).sum()


def _scale(factor: Tensor, gradient: Tensor) -> Tensor:
    return gradient * factor


def _zero_unless(is_finite: Tensor, gradient: Tensor) -> Tensor:
    return ops.where(is_finite, gradient, 0.0)


_SUM_SQUARES = _mapped(_sum_squares, "Tensor")
_SCALE = _mapped(_scale, "Tensor", "Tensor")
_ZERO_UNLESS = _mapped(_zero_unless, "Tensor", "Tensor")
OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": Sgd, "adamw": AdamW}


class ScaledOptimizer(nn.Cell):
    """An optimizer for gradients of the scaled loss, with a limit of their norm."""

    def __init__(self, weights: Mapping[str, Parameter], config: TrainConfig) -> None:
        super().__init__()
        self.optimizer = OPTIMIZERS[config.optimizer.name](weights, config.optimizer)
        self.loss_scale = Parameter(Tensor(config.loss_scale.start, ms.float32), name="loss_scale")
        self.good_steps = Parameter(Tensor(0.0, ms.float32), name="good_steps")
        self.named_state = dict(self.optimizer.named_state)
        self._clip_norm = config.optimizer.clip_norm
        self._growth_interval = config.loss_scale.growth_interval
        self._is_dynamic = self._growth_interval is not None
        if self._is_dynamic:
            self.named_state["loss_scale/value"] = self.loss_scale
            self.named_state["loss_scale/good_steps"] = self.good_steps
        self._has_factor = (
            self._is_dynamic or config.loss_scale.start != 1 or self._clip_norm is not None
        )

    def construct(self, gradients: tuple[Tensor, ...], rate: Tensor) -> Tensor:
        """Update the weights once; return [2]: the norm of the gradients, the scale of the loss."""
        norm = ops.sqrt(ops.stack(_map(_SUM_SQUARES, gradients)).sum()) / self.loss_scale
        result = ops.stack([norm, self.loss_scale])
        if self._has_factor:
            factor = 1 / self.loss_scale
            if self._clip_norm is not None:
                factor = factor * self._clip_norm / ops.maximum(norm, self._clip_norm)
            gradients = _map(ops.partial(_SCALE, factor), gradients)
        if not self._is_dynamic:
            return ops.depend(result, self.optimizer(gradients, rate, Tensor(True)))
        is_finite = ops.isfinite(norm)
        gradients = _map(ops.partial(_ZERO_UNLESS, is_finite), gradients)
        done = self.optimizer(gradients, ops.where(is_finite, rate, 0.0), is_finite)
        return ops.depend(result, (done, self._adapt(ops.depend(is_finite, result))))

    def _adapt(self, is_finite: Tensor) -> bool:
        """Halve the scale after an overflow, double it after enough steps without."""
        good_steps = ops.where(is_finite, self.good_steps + 1, 0.0)
        is_due = good_steps >= self._growth_interval
        change = ops.where(is_finite, ops.where(is_due, 2.0, 1.0), 0.5)
        ops.assign(self.loss_scale, ops.clamp(self.loss_scale * change, 1.0, MAX_LOSS_SCALE))
        ops.assign(self.good_steps, ops.where(is_due, 0.0, good_steps))
        return True
