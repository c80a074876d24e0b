"""MindSpore's SSD, written again from its description, with the names of its parameters.

What names a parameter is the attribute of each cell and its place in a sequence.
"""

from itertools import pairwise

import mindspore as ms
from mindspore import Tensor, nn, ops

TABLE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
TABLE += ((6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repetitions, stride."""


def sequence(*cells):
    return nn.SequentialCell(list(cells))


def same(channels_in, channels_out, size, stride=1, **options):
    return nn.Conv2d(channels_in, channels_out, size, stride, pad_mode="same", **options)


def norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.97)


class ConvBNReLU(nn.Cell):
    def __init__(self, channels_in, channels_out, size, stride=1, groups=1):
        super().__init__()
        convolution = same(channels_in, channels_out, size, stride, group=groups)
        self.features = sequence(convolution, norm(channels_out), nn.ReLU6())

    def construct(self, x):
        return self.features(x)


class InvertedResidual(nn.Cell):
    def __init__(self, channels_in, channels_out, stride, expansion, is_extra=False):
        super().__init__()
        hidden = round(channels_in * expansion)
        cells = [ConvBNReLU(channels_in, hidden, 1)] if expansion != 1 else []
        cells.append(ConvBNReLU(hidden, hidden, 3, stride, hidden))
        self.conv = sequence(*cells, same(hidden, channels_out, 1), norm(channels_out))
        self.adds, self.is_extra = stride == 1 and channels_in == channels_out, is_extra
        self.relu = nn.ReLU6()

    def construct(self, x):
        out = self.conv(x)
        if self.adds:
            out = out + x
        return self.relu(out) if self.is_extra else out


class MobileNetV2(nn.Cell):
    def __init__(self):
        super().__init__()
        cells, channels = [ConvBNReLU(3, 32, 3, 2)], 32
        for expansion, width, count, stride in TABLE:
            for index in range(count):
                cells.append(InvertedResidual(channels, width, 1 if index else stride, expansion))
                channels = width
        cells.append(ConvBNReLU(320, 1280, 1))
        self.expand_layer_conv_13 = ConvBNReLU(96, 576, 1)
        self.features_1, self.features_2 = sequence(*cells[:14]), sequence(*cells[14:])

    def construct(self, x):
        x = self.features_1(x)
        return self.expand_layer_conv_13(x), self.features_2(x)


class Vgg16(nn.Cell):
    def __init__(self):
        super().__init__()
        widths = (3, 64, 128, 256, 512, 512)
        for stage, count in enumerate((2, 2, 3, 3, 3), 1):
            cells = []
            for before, after in pairwise([widths[stage - 1], *[widths[stage]] * count]):
                cells += [same(before, after, 3), nn.ReLU()]
            setattr(self, f"b{stage}", sequence(*cells))
        self.halve = nn.MaxPool2d(2, 2, pad_mode="same")
        self.smooth = nn.MaxPool2d(3, 1, pad_mode="same")

    def construct(self, x):
        x = self.halve(self.b1(x))
        x = self.halve(self.b2(x))
        x = self.halve(self.b3(x))
        block4 = self.b4(x)
        return block4, self.smooth(self.b5(self.halve(block4)))


def predictors(channels, num_outputs):
    return nn.CellList(
        [
            sequence(
                same(width, width, 3, group=width),
                norm(width),
                nn.ReLU6(),
                same(width, num_outputs * count, 1, has_bias=True),
            )
            for width, count in zip(channels, (3, 6, 6, 6, 6, 6), strict=True)
        ]
    )


class MultiBox(nn.Cell):
    def __init__(self, channels, num_outputs):
        super().__init__()
        self.multi_loc_layers = predictors(channels, 4)
        self.multi_cls_layers = predictors(channels, num_outputs)
        self.num_outputs = num_outputs

    def construct(self, features):
        offsets, logits = (), ()
        for index, level in enumerate(features):
            batch = level.shape[0]
            found = self.multi_loc_layers[index](level).transpose(0, 2, 3, 1)
            offsets += (found.reshape(batch, -1, 4),)
            found = self.multi_cls_layers[index](level).transpose(0, 2, 3, 1)
            logits += (found.reshape(batch, -1, self.num_outputs),)
        return ops.cat(offsets, 1), ops.cat(logits, 1)


class Ssd300(nn.Cell):
    """`ssd300`: offsets (y, x, height, width) and logits of [B, 3, 300, 300]."""

    def __init__(self, num_outputs):
        super().__init__()
        self.backbone = MobileNetV2()
        extras = ((1280, 512, 0.2), (512, 256, 0.25), (256, 256, 0.5), (256, 128, 0.25))
        self.multi_residual = nn.CellList(
            [InvertedResidual(*pair, 2, ratio, is_extra=True) for *pair, ratio in extras]
        )
        self.multi_box = MultiBox((576, 1280, 512, 256, 256, 128), num_outputs)

    def construct(self, x):
        features = self.backbone(x)
        for residual in self.multi_residual:
            features += (residual(features[-1]),)
        return self.multi_box(features)


class MobileNetV1(nn.Cell):
    def __init__(self):
        super().__init__()
        cells, channels = [self.convolution(3, 32, 3, 2)], 32
        widths = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
        for index, width in enumerate(widths):
            stride = 2 if index in {1, 3, 5, 11} else 1
            cells.append(self.convolution(channels, channels, 3, stride, group=channels))
            cells.append(self.convolution(channels, width, 1))
            channels = width
        self.network = nn.CellList(cells)

    @staticmethod
    def convolution(channels, width, size, stride=1, **options):
        cells = same(channels, width, size, stride, **options), nn.BatchNorm2d(width), nn.ReLU6()
        return sequence(*cells)

    def construct(self, x):
        features = ()
        for cell in self.network:
            x = cell(x)
            features += (x,)
        return features[14], features[26]


class FeatureExtractor(nn.Cell):
    def __init__(self):
        super().__init__()
        self.mobilenet_v1 = MobileNetV1()

    def construct(self, x):
        return self.mobilenet_v1(x)


class Ssd300MobileNetV1(nn.Cell):
    """`ssd_mobilenet_v1`, likewise."""

    def __init__(self, num_outputs):
        super().__init__()
        self.feature_extractor = FeatureExtractor()
        channels = (1024, 512, 256, 256, 128)
        self.multi_residual = nn.CellList([ConvBNReLU(*pair, 3, 2) for pair in pairwise(channels)])
        self.multi_box = MultiBox((512, *channels), num_outputs)

    def construct(self, x):
        features = self.feature_extractor(x)
        for extra in self.multi_residual:
            features += (extra(features[-1]),)
        return self.multi_box(features)


class Ssd300Vgg16(nn.Cell):
    """`ssd_vgg16`, likewise, without its dropout."""

    def __init__(self, num_outputs):
        super().__init__()
        self.backbone = Vgg16()
        self.b6_1 = nn.Conv2d(512, 1024, 3, pad_mode="pad", padding=6, dilation=6)
        self.b7_1 = nn.Conv2d(1024, 1024, 1)
        channels = (1024, 512, 256, 256, 256)
        for number, (before, after) in enumerate(pairwise(channels), 8):
            pads = {"pad_mode": "pad", "padding": 1} if number < 10 else {}
            first = nn.Conv2d(before, after // 2, 1, **pads)
            stride = 2 if number < 10 else 1
            second = nn.Conv2d(after // 2, after, 3, stride, pad_mode="valid")
            setattr(self, f"b{number}_1", first)
            setattr(self, f"b{number}_2", second)
        self.multi_box = MultiBox((512, *channels), num_outputs)

    def construct(self, x):
        block4, x = self.backbone(x)
        block7 = self.b7_1(self.b6_1(x))
        block8 = self.b8_2(self.b8_1(block7))
        block9 = self.b9_2(self.b9_1(block8))
        block10 = self.b10_2(self.b10_1(block9))
        block11 = self.b11_2(self.b11_1(block10))
        return self.multi_box((block4, block7, block8, block9, block10, block11))


class WithLoss(nn.Cell):
    """What a training saves: the network, and its optimizer's state."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def construct(self, x):
        offsets, logits = self.network(x)
        return offsets.sum() + logits.sum()


def save(network, path):
    """Save a checkpoint as a training does, with momentum and a rate per step."""
    training = nn.TrainOneStepCell(
        WithLoss(network),
        nn.Momentum(network.trainable_params(), Tensor([0.1, 0.01], ms.float32), 0.9),
    )
    ms.save_checkpoint(training, str(path), append_dict={"epoch_num": 3, "step_num": 7})
