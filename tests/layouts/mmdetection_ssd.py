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


MOBILENET_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
MOBILENET_V2 += ((6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and first stride of each stage."""
LITE_CHANNELS = (96, 1280, 512, 256, 256, 128)


class NormModule(nn.Module):
    def __init__(self, channels, width, size=1, stride=1, *, depthwise=False, linear=False):
        super().__init__()
        options = {"stride": stride, "padding": size // 2, "bias": False}
        self.conv = nn.Conv2d(channels, width, size, groups=channels if depthwise else 1, **options)
        self.bn, self.linear = nn.BatchNorm2d(width, eps=1e-3, momentum=0.03), linear
        with torch.no_grad():
            for array, low, high in (
                (self.bn.weight, 0.8, 1.2),
                (self.bn.bias, -0.2, 0.4),
                (self.bn.running_mean, -0.1, 0.1),
                (self.bn.running_var, 0.2, 0.6),
            ):
                array.uniform_(low, high)

    def forward(self, x):
        normalized = self.bn(self.conv(x))
        return normalized if self.linear else functional.relu6(normalized)


class InvertedResidual(nn.Module):
    def __init__(self, channels, width, expansion, stride):
        super().__init__()
        hidden = channels * expansion
        if expansion > 1:
            self.expand_conv = NormModule(channels, hidden)
        self.depthwise_conv = NormModule(hidden, hidden, 3, stride, depthwise=True)
        self.linear_conv = NormModule(hidden, width, linear=True)
        self.adds = stride == 1 and channels == width

    def forward(self, x):
        hidden = self.expand_conv(x) if hasattr(self, "expand_conv") else x
        found = self.linear_conv(self.depthwise_conv(hidden))
        return x + found if self.adds else found


class MobileNetV2(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, channels = NormModule(3, 32, 3, 2), 32
        for number, (expansion, width, count, first) in enumerate(MOBILENET_V2, 1):
            blocks = nn.Sequential()
            for index in range(count):
                blocks.append(InvertedResidual(channels, width, expansion, 1 if index else first))
                channels = width
            self.add_module(f"layer{number}", blocks)
        self.conv2 = NormModule(320, 1280)

    def forward(self, x):
        x = self.conv1(x)
        for number in range(1, 6):
            x = getattr(self, f"layer{number}")(x)
        return x, self.conv2(self.layer7(self.layer6(x)))


class Separable(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.depthwise_conv = NormModule(channels, channels, 3, 2, depthwise=True)
        self.pointwise_conv = NormModule(channels, width)

    def forward(self, x):
        return self.pointwise_conv(self.depthwise_conv(x))


class LiteNeck(nn.Module):
    def __init__(self):
        super().__init__()
        self.extra_layers = nn.ModuleList(
            nn.Sequential(NormModule(channels, width // 2), Separable(width // 2, width))
            for channels, width in zip(LITE_CHANNELS[1:-1], LITE_CHANNELS[2:], strict=True)
        )

    def forward(self, *levels):
        levels = [*levels]
        for layer in self.extra_layers:
            levels.append(layer(levels[-1]))
        return levels


class LiteHead(Head):
    def __init__(self, num_outputs):
        nn.Module.__init__(self)

        def convolutions(size):
            return nn.ModuleList(
                nn.Sequential(
                    NormModule(width, width, 3, depthwise=True), nn.Conv2d(width, 6 * size, 1)
                )
                for width in LITE_CHANNELS
            )

        self.cls_convs, self.reg_convs = convolutions(num_outputs), convolutions(4)
        self.num_outputs = num_outputs


class SsdLite(nn.Module):
    """As `Ssd`, with MobileNetV2 and separable convolutions, for 320 px."""

    def __init__(self, num_outputs):
        super().__init__()
        self.backbone, self.neck = MobileNetV2(), LiteNeck()
        self.bbox_head = LiteHead(num_outputs)

    def forward(self, x):
        mean, std = torch.tensor([[123.675, 116.28, 103.53], [58.395, 57.12, 57.375]])
        x = (x - mean[:, None, None]) / std[:, None, None]
        return self.bbox_head(self.neck(*self.backbone(x)))


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
