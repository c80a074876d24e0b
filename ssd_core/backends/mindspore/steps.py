"""The graphs of a training step: of the whole batch at once, or of parts whose gradients add up."""

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from ssd_core.backends.mindspore.collectives import all_reduce, sum_gradients
from ssd_core.backends.mindspore.loss import MindSporeLoss
from ssd_core.backends.mindspore.model import Ssd
from ssd_core.backends.mindspore.optimizers import ScaledOptimizer
from ssd_core.backends.ranks import Ranks
from ssd_core.config import TrainConfig
from ssd_core.detection.anchors import generate_anchors


class WholeStep(nn.Cell):
    """Forward and backward pass of a whole batch and the update, compiled to one graph."""

    def __init__(self, model: Ssd, config: TrainConfig, ranks: Ranks) -> None:
        super().__init__()
        self.model = model
        self.sum = all_reduce(ranks)
        self.loss = MindSporeLoss(
            generate_anchors(config.model.anchors, config.model.image_size),
            variances=config.model.variances,
            matching=config.matching,
            classification=config.classification_loss,
            divisor=config.loss_divisor,
        )
        trained = {
            name: each for name, each in model.named_parameters.items() if each.requires_grad
        }
        self._sum_gradients = sum_gradients(len(trained), config.all_reduce_fusion, ranks)
        self.optimizer = ScaledOptimizer(trained, config)
        self._differentiate = ms.value_and_grad(
            self._forward, None, ms.ParameterTuple(trained.values()), has_aux=True
        )

    def construct(self, images: Tensor, boxes: Tensor, labels: Tensor, rate: Tensor) -> Tensor:
        """Update the weights; return the sums of the losses, the counts and the last figures."""
        targets = self.loss.assign(boxes, labels)
        counts = self.sum(targets[3])
        losses, gradients = self.differentiate(images, targets, counts)
        return self.update(losses, counts, gradients, rate)

    def differentiate(
        self, images: Tensor, targets: tuple[Tensor, ...], counts: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the sums of the losses of some images, and their share of the gradients."""
        (_, losses), gradients = self._differentiate(images, targets, counts)
        return losses, gradients

    def update(
        self, losses: Tensor, counts: Tensor, gradients: tuple[Tensor, ...], rate: Tensor
    ) -> Tensor:
        """Update the weights with the gradients of all ranks; return the figures of the step."""
        last = self.optimizer(self._sum_gradients(gradients), rate)
        return ops.cat([self.sum(losses), counts, last])

    def _forward(
        self, images: Tensor, targets: tuple[Tensor, ...], counts: Tensor
    ) -> tuple[Tensor, Tensor]:
        losses = self.loss(*self.model(images), targets)
        loss = (losses[0] + losses[1]) / ops.maximum(counts[0], 1.0)
        return loss * self.optimizer.loss_scale, losses


class Assign(nn.Cell):
    """The targets of a part of the batch, with the counts of that part on all ranks."""

    def __init__(self, step: WholeStep) -> None:
        super().__init__()
        self.loss, self.sum = step.loss, step.sum

    def construct(self, boxes: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """Return what `MindSporeLoss.assign` does."""
        classes, offsets, positive, counts = self.loss.assign(boxes, labels)
        return classes, offsets, positive, self.sum(counts)


class Accumulate(nn.Cell):
    """Adds the gradients of a part of the batch to those of the parts before it."""

    def __init__(self, step: WholeStep) -> None:
        super().__init__()
        self.step = step
        weights = step.optimizer.optimizer.weights
        self.gradients = ParameterTuple(
            Parameter(ops.zeros_like(each), name=f"gradient/{each.name}", requires_grad=False)
            for each in weights
        )

    def construct(
        self, images: Tensor, counts: Tensor, is_first: Tensor, *targets: Tensor
    ) -> Tensor:
        """Return the sums of the losses of the part.

        A tuple of targets would be a constant of the graph, which then compiles at every call.
        """
        losses, gradients = self.step.differentiate(images, targets, counts)
        for index, gradient in enumerate(gradients):
            total = self.gradients[index]
            ops.assign(total, ops.where(is_first, gradient, total + gradient))
        return losses


class Update(nn.Cell):
    """The update with the gradients of all parts."""

    def __init__(self, step: WholeStep, gradients: ParameterTuple) -> None:
        super().__init__()
        self.step, self.gradients = step, gradients

    def construct(self, losses: Tensor, counts: Tensor, rate: Tensor) -> Tensor:
        """Return the figures of the step."""
        return self.step.update(losses, counts, self.gradients, rate)


class Measure(nn.Cell):
    """Forward pass and losses, compiled to one graph."""

    def __init__(self, model: Ssd, loss: MindSporeLoss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def construct(self, images: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """Return the sums of the losses and the counts."""
        targets = self.loss.assign(boxes, labels)
        return ops.cat([self.loss(*self.model(images), targets), targets[3]])
