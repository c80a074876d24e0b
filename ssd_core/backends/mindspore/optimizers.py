"""The optimizers, with the arithmetic of PyTorch's, from MindSpore's fused updates.

`nn.AdamWeightDecay` is another one: it does not correct the bias of its moments. The state has the
neutral names of `docs/file-formats.md`.
"""

from collections.abc import Mapping

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from ssd_core.config import OptimizerConfig

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class Optimizer(nn.Cell):
    """Updates weights in the graph of a training step."""

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

    def construct(self, gradients: tuple[Tensor, ...], rate: Tensor) -> bool:
        """Update the weights once."""
        for index, gradient in enumerate(gradients):
            weight, decay = self.weights[index], self._decays[index]
            decayed = gradient + decay * weight if decay else gradient
            self._update(weight, self.velocities[index], rate, decayed, self._momentum)
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

    def construct(self, gradients: tuple[Tensor, ...], rate: Tensor) -> bool:
        """Update the weights once."""
        ops.assign(self.step, self.step + 1)
        power1, power2 = _BETA1**self.step, _BETA2**self.step
        # The operation adds epsilon before it corrects the second moment, PyTorch afterwards.
        epsilon = _EPSILON * ops.sqrt(1 - power2)
        for index, gradient in enumerate(gradients):
            weight, decay = self.weights[index], self._decays[index]
            if decay:
                ops.assign(weight, weight * (1 - rate * decay))
            moments = self.first_moments[index], self.second_moments[index]
            self._update(weight, *moments, power1, power2, rate, _BETA1, _BETA2, epsilon, gradient)
        return True


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": Sgd, "adamw": AdamW}
