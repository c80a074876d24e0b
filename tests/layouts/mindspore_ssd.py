"""MindSpore's SSD, written again from its description, with the names of its parameters.

What names a parameter is the attribute of each cell and its place in a sequence.
"""

from itertools import pairwise

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.ops import operations

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
    def __init__(self, channels_in, channels_out, size, stride=1, groups=1, shared=None):
        super().__init__()
        cell = shared or same(channels_in, channels_out, size, stride, group=groups)
        self.features = sequence(cell, norm(channels_out), nn.ReLU6())

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


def convolution(channels, width, size, stride=1, **options):
    cells = same(channels, width, size, stride, **options), nn.BatchNorm2d(width), nn.ReLU6()
    return sequence(*cells)


class MobileNetV1(nn.Cell):
    def __init__(self, levels):
        super().__init__()
        self.levels = levels
        cells, channels = [convolution(3, 32, 3, 2)], 32
        widths = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
        for index, width in enumerate(widths):
            stride = 2 if index in {1, 3, 5, 11} else 1
            cells.append(convolution(channels, channels, 3, stride, group=channels))
            cells.append(convolution(channels, width, 1))
            channels = width
        self.network = nn.CellList(cells)

    def construct(self, x):
        features = ()
        for index, cell in enumerate(self.network):
            x = cell(x)
            if index in self.levels:
                features += (x,)
        return features


class FeatureExtractor(nn.Cell):
    def __init__(self):
        super().__init__()
        self.mobilenet_v1 = MobileNetV1((14, 26))

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


class Bottleneck(nn.Cell):
    def __init__(self, channels_in, channels_out, stride):
        super().__init__()
        hidden = channels_out // 4
        self.conv1, self.bn1 = same(channels_in, hidden, 1), norm(hidden)
        self.conv2, self.bn2 = same(hidden, hidden, 3, stride), norm(hidden)
        self.conv3, self.bn3 = same(hidden, channels_out, 1), norm(channels_out)
        self.relu, self.shrinks = nn.ReLU(), channels_in != channels_out
        if self.shrinks:
            cells = same(channels_in, channels_out, 1, stride), norm(channels_out)
            self.down_sample_layer = sequence(*cells)

    def construct(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (self.down_sample_layer(x) if self.shrinks else x))


class ResNet50(nn.Cell):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu = same(3, 64, 7, 2), norm(64), nn.ReLU()
        self.halve = nn.MaxPool2d(3, 2, pad_mode="same")
        width = 64
        for stage, count in enumerate((3, 4, 6, 3), 1):
            after, blocks = 128 * 2**stage, []
            for index in range(count):
                stride = 2 if stage > 1 and index == 0 else 1
                blocks.append(Bottleneck(width, after, stride))
                width = after
            setattr(self, f"layer{stage}", sequence(*blocks))

    def construct(self, x):
        x = self.layer1(self.halve(self.relu(self.bn1(self.conv1(x)))))
        third = self.layer2(x)
        fourth = self.layer3(third)
        return third, fourth, self.layer4(fourth)


class TopDown(nn.Cell):
    def __init__(self, channels):
        super().__init__()
        laterals = [same(width, 256, 1, has_bias=True) for width in channels]
        self.lateral_convs_list = nn.CellList(laterals)
        self.fpn_convs_list = nn.CellList([convolution(256, 256, 3) for _ in channels])
        self.enlarge = operations.ResizeBilinearV2()

    def construct(self, features):
        merged = (self.lateral_convs_list[2](features[2]),)
        for index in (1, 0):
            side = features[index].shape[2]
            larger = self.enlarge(merged[0], (side, side))
            merged = (larger + self.lateral_convs_list[index](features[index]), *merged)
        return tuple(self.fpn_convs_list[index](merged[index]) for index in range(3))


class BottomUp(nn.Cell):
    def __init__(self):
        super().__init__()
        self.blocks = nn.CellList([convolution(256, 256, 3, 2) for _ in range(2)])

    def construct(self, features):
        for block in self.blocks:
            features += (block(features[-1]),)
        return features


class PyramidExtractor(nn.Cell):
    def __init__(self, name, backbone, channels):
        super().__init__()
        self.name = name
        setattr(self, name, backbone)
        self.fpn, self.bottom_up = TopDown(channels), BottomUp()

    def construct(self, x):
        return self.bottom_up(self.fpn(getattr(self, self.name)(x)))


class SharedMultiBox(nn.Cell):
    """All levels share the convolutions of a tower, but not its norms."""

    def __init__(self, num_outputs):
        super().__init__()
        self.addition_layer_loc, self.addition_layer_cls = self.towers(), self.towers()
        self.loc_layers = sequence(same(256, 6 * 4, 3, has_bias=True))
        self.cls_layers = sequence(same(256, 6 * num_outputs, 3, has_bias=True))
        self.num_outputs = num_outputs

    @staticmethod
    def towers():
        shared = [same(256, 256, 3, has_bias=True) for _ in range(4)]
        cells = [[ConvBNReLU(256, 256, 3, shared=each) for each in shared] for _ in range(5)]
        return nn.CellList([sequence(*of_level) for of_level in cells])

    def construct(self, features):
        offsets, logits = (), ()
        for index, level in enumerate(features):
            batch = level.shape[0]
            found = self.loc_layers(self.addition_layer_loc[index](level)).transpose(0, 2, 3, 1)
            offsets += (found.reshape(batch, -1, 4),)
            found = self.cls_layers(self.addition_layer_cls[index](level)).transpose(0, 2, 3, 1)
            logits += (found.reshape(batch, -1, self.num_outputs),)
        return ops.cat(offsets, 1), ops.cat(logits, 1)


class Ssd640(nn.Cell):
    def __init__(self, extractor, num_outputs):
        super().__init__()
        self.multi_box = SharedMultiBox(num_outputs)
        self.feature_extractor = extractor

    def construct(self, x):
        return self.multi_box(self.feature_extractor(x))


def ssd640_mobilenet_v1(num_outputs):
    """`ssd_mobilenet_v1_fpn`, likewise."""
    backbone = MobileNetV1((10, 22, 26))
    return Ssd640(PyramidExtractor("mobilenet_v1", backbone, (256, 512, 1024)), num_outputs)


def ssd640_resnet50(num_outputs):
    """`ssd_resnet50_fpn`, likewise."""
    return Ssd640(PyramidExtractor("resnet", ResNet50(), (512, 1024, 2048)), num_outputs)


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
    """The contents of a checkpoint: the network, and its optimizer's state."""

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
