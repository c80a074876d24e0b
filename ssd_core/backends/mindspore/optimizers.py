"""The optimizers, with the arithmetic of PyTorch's, from MindSpore's fused updates.

`nn.AdamWeightDecay` is another one: it does not correct the bias of its moments. The state has the
neutral names of `docs/file-formats.md`.
"""

from collections.abc import Mapping

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from ssd_core.config import MAX_LOSS_SCALE, OptimizerConfig, TrainConfig

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


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
        for index, gradient in enumerate(gradients):
            weight, decay = self.weights[index], self._decays[index]
            if decay:
                gradient = gradient + ops.where(is_done, decay, 0.0) * weight
            self._update(weight, self.velocities[index], rate, gradient, momentum)
        return True


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
        for index, gradient in enumerate(gradients):
            weight, decay = self.weights[index], self._decays[index]
            if decay:
                ops.assign(weight, weight * (1 - rate * decay))
            moments = self.first_moments[index], self.second_moments[index]
            self._update(weight, *moments, power1, power2, rate, beta1, beta2, epsilon, gradient)
        return True


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
        squares = [ops.square(gradient).sum() for gradient in gradients]
        norm = ops.sqrt(ops.stack(squares).sum()) / self.loss_scale
        result = ops.stack([norm, self.loss_scale])
        if self._has_factor:
            factor = 1 / self.loss_scale
            if self._clip_norm is not None:
                factor = factor * self._clip_norm / ops.maximum(norm, self._clip_norm)
            gradients = tuple([gradient * factor for gradient in gradients])
        if not self._is_dynamic:
            return ops.depend(result, self.optimizer(gradients, rate, Tensor(True)))
        is_finite = ops.isfinite(norm)
        gradients = tuple([ops.where(is_finite, gradient, 0.0) for gradient in gradients])
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
