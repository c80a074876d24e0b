"""The network of a training, compiled by torch.compile for its one shape of a batch."""

from collections.abc import Callable

import torch
from torch import Tensor

from ssd_core.backends.ranks import Ranks
from ssd_core.backends.torch.devices import Device
from ssd_core.backends.torch.model import Ssd
from ssd_core.backends.torch.norms import BatchNorm
from ssd_core.config import TrainConfig
from ssd_core.logs import logger

Network = Callable[[Tensor], tuple[Tensor, Tensor]]
"""As `Ssd.forward`."""


def compile_network(
    model: Ssd, config: TrainConfig, *, device: Device, precision: str, ranks: Ranks
) -> Network:
    """Return the network compiled for training, or the network itself and log why.

    Both passes are compiled here, on black images: later a failure would leave a step half done.
    They are one graph each, or none, so that no part is left out unnoticed.

    Args:
        model: shares its weights with the result; they and the statistics of norms stay the same.
        config: has the number and the size of the images that a device computes at once.
        device: that of the model.
        precision: in which the network computes.
        ranks: that share a step.
    """
    norms = [layer for layer in model.modules() if isinstance(layer, BatchNorm)]
    if ranks.world_size > 1 and not all(norm.keeps_statistics for norm in norms):
        return _give_up(model, "its norms sum statistics over the ranks")
    num_images, side = config.batch_size // ranks.world_size, config.model.image_size
    shape = (min(num_images, config.micro_batch_size or num_images), side, side, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    compiled: Network = torch.compile(model, fullgraph=True, dynamic=False)
    logger.info("compiling the network, which takes a minute or more")
    model.train()
    try:
        inputs = model.normalize(torch.zeros(shape, device=device.torch_device))
        with device.autocast(precision):
            outputs = compiled(inputs)
        trained = [weights for weights in model.parameters() if weights.requires_grad]
        torch.autograd.grad([output.float().sum() for output in outputs], trained)
    except Exception as error:  # of a compiler, its cache, or a network: they share no class
        message = " ".join(str(error).partition("\n\n")[0].split())
        return _give_up(model, f"{type(error).__name__}: {message}")
    finally:
        model.load_state_dict(before)
    return compiled


def _give_up(model: Ssd, reason: str) -> Ssd:
    logger.warning(
        "the network is trained without train.compile: %s; set train.compile=false", reason
    )
    return model
