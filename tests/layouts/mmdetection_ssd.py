"""mmdetection's SSD, written again from its description, with the names of its parameters."""

import torch
from torch import nn
from torch.nn import functional

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
EXTRAS = {  # channels of both convolutions, then kernel, stride and padding of the second
    300: ((256, 512, 3, 2, 1), (128, 256, 3, 2, 1), (128, 256, 3, 1, 0), (128, 256, 3, 1, 0)),
    512: (*((half, 2 * half, 3, 2, 1) for half in (256, 128, 128, 128)), (128, 256, 4, 1, 1)),
}
SHAPES = {300: (4, 6, 6, 6, 4, 4), 512: (4, 6, 6, 6, 6, 4, 4)}
"""Anchors per cell of each level."""
CONV4_3, FC7 = 22, 34
"""The places in `features` whose outputs are levels."""


def features():
    layers, channels = [], 3
    for stage in STAGES:
        for width in stage:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
    layers[-1] = nn.MaxPool2d(3, 1, padding=1)
    layers += [nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(1024, 1024, 1), nn.ReLU())


class ConvModule(nn.Module):
    def __init__(self, *sizes, **options):
        super().__init__()
        self.conv = nn.Conv2d(*sizes, **options)

    def forward(self, x):
        return functional.relu(self.conv(x))


class L2Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(512) * 10 + 15)

    def forward(self, x):
        return self.weight[:, None, None] * x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)


class Neck(nn.Module):
    def __init__(self, side):
        super().__init__()
        self.l2_norm, self.extra_layers, channels = L2Norm(), nn.ModuleList(), 1024
        for half, width, size, stride, padding in EXTRAS[side]:
            first = ConvModule(channels, half, 1)
            second = ConvModule(half, width, size, stride=stride, padding=padding)
            self.extra_layers.append(nn.Sequential(first, second))
            channels = width

    def forward(self, conv4_3, fc7):
        levels = [self.l2_norm(conv4_3), fc7]
        for layer in self.extra_layers:
            levels.append(layer(levels[-1]))
        return levels


class Head(nn.Module):
    def __init__(self, side, num_outputs):
        super().__init__()
        channels = (512, 1024, *(extra[1] for extra in EXTRAS[side]))

        def convolutions(size):
            return nn.ModuleList(
                nn.Sequential(nn.Conv2d(width, count * size, 3, padding=1))
                for width, count in zip(channels, SHAPES[side], strict=True)
            )

        self.cls_convs, self.reg_convs = convolutions(num_outputs), convolutions(4)
        self.num_outputs = num_outputs

    def forward(self, levels):
        found = []
        for convolutions, size in ((self.cls_convs, self.num_outputs), (self.reg_convs, 4)):
            maps = [each(level) for each, level in zip(convolutions, levels, strict=True)]
            rows = [each.permute(0, 2, 3, 1).reshape(len(each), -1, size) for each in maps]
            found.append(torch.cat(rows, 1))
        return found


class Ssd(nn.Module):
    """Logits, with the background as the last class, and offsets of [B, 3, S, S] RGB 0..255."""

    def __init__(self, side, num_outputs):
        super().__init__()
        self.backbone = nn.ModuleDict({"features": features()})
        self.neck, self.bbox_head = Neck(side), Head(side, num_outputs)

    def forward(self, x):
        x = x - torch.tensor([123.675, 116.28, 103.53])[:, None, None]
        kept = {}
        for place, layer in enumerate(self.backbone["features"]):
            x = kept[place] = layer(x)
        return self.bbox_head(self.neck(kept[CONV4_3], kept[FC7]))


def with_old_names(state):
    """Return a state dict as versions before 2.14 saved it."""
    old = {}
    for name, array in state.items():
        match name.split("."):
            case ["neck", "l2_norm", role]:
                name = f"backbone.l2_norm.{role}"
            case ["neck", "extra_layers", number, place, "conv", role]:
                name = f"backbone.extra.{2 * int(number) + int(place)}.{role}"
            case ["bbox_head", convolutions, level, "0", role]:
                name = f"bbox_head.{convolutions}.{level}.{role}"
        old[name] = array
    return old
