"""Exponential moving averages of the weights under training, in a network of their own."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ssd_core.backends.torch.model import Ssd
from ssd_core.backends.weights import AVERAGE_STEPS, TRAINED


class Averages:
    """A network with averaged weights; it shares everything else with the one under training."""

    def __init__(self, model: Ssd, trained: Mapping[str, nn.Parameter], decay: float) -> None:
        averaged = {id(weight) for weight in trained.values()}
        tensors = (*model.parameters(), *model.buffers())
        self.model = copy.deepcopy(model, {id(t): t for t in tensors if id(t) not in averaged})
        copies = dict(self.model.named_parameters())
        self._weights: list[Tensor] = list(trained.values())
        self._averages: list[Tensor] = [copies[name] for name in trained]
        self._decay = decay
        self._steps = self._weights[0].detach().new_zeros(())
        self.named_state: dict[str, Tensor] = {
            AVERAGE_STEPS: self._steps,
            **{TRAINED + name: weight for name, weight in trained.items()},
        }
        """Contents of a state besides the arrays of `model`."""

    @torch.no_grad()
    def update(self) -> None:
        """Move the averages towards the weights; the first steps move them faster."""
        rate = 1 - ((1 + self._steps) / (10 + self._steps)).clamp(max=self._decay)
        distances = torch._foreach_sub(self._weights, self._averages)
        torch._foreach_mul_(distances, rate)
        torch._foreach_add_(self._averages, distances)
        self._steps += 1
