"""Exponential moving averages of the weights under training, in a network of their own."""

from operator import attrgetter

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from ssd_core.backends.mindspore.model import Ssd
from ssd_core.backends.weights import AVERAGE_STEPS, TRAINED


class Averages(nn.Cell):
    """A network with averaged weights; it shares everything else with the one under training."""

    def __init__(self, model: Ssd, like_it: Ssd, decay: float) -> None:
        """Let a new network, which is like `model`, hold the averages."""
        super().__init__()
        trained = {
            name: each for name, each in model.named_parameters.items() if each.requires_grad
        }
        like_it.update_parameters_name("average.")
        for name, parameter in model.named_parameters.items():
            if name not in trained:
                path, _, last = name.rpartition(".")
                setattr(attrgetter(path)(like_it), last, parameter)
        self.model = like_it
        averages = like_it.named_parameters
        for name, weight in trained.items():
            averages[name].set_data(Tensor(weight.asnumpy()))
        self.weights = ParameterTuple(trained.values())
        self.averages = ParameterTuple(averages[name] for name in trained)
        self.steps = Parameter(Tensor(0.0), name="average.steps", requires_grad=False)
        self._decay = decay
        self.named_state: dict[str, Parameter] = {
            AVERAGE_STEPS: self.steps,
            **{TRAINED + name: weight for name, weight in trained.items()},
        }
        """Contents of a state besides the arrays of `model`."""

    def construct(self) -> bool:
        """Move the averages towards the weights; the first steps move them faster."""
        rate = 1 - ops.minimum((1 + self.steps) / (10 + self.steps), self._decay)
        for index, weight in enumerate(self.weights):
            average = self.averages[index]
            ops.assign(average, average + rate * (weight - average))
        ops.assign(self.steps, self.steps + 1)
        return True
