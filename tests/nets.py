"""Nets with everything that an export has to cope with, small."""

import torch
from torch import Tensor, nn

from aed.dsp import FrontendConfig
from aed.modules.nets import YAMNet

FRONTEND = FrontendConfig(patch_frames=32, n_mels=16, overlap=0.0)


class PreActivation(nn.Module):
    """A residual net whose BatchNorms come before their convolutions, as in MiniResNet v2: none folds backwards."""

    def __init__(self, num_classes: int = 5, width: int = 8) -> None:
        super().__init__()
        self.num_classes, self.width = num_classes, width
        self.stem = nn.Conv2d(1, width, 3, stride=2, padding=1)
        self.norm1, self.conv1 = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, padding=1)
        self.norm2, self.conv2 = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.last = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, patches: Tensor) -> Tensor:
        x = self.stem(patches)
        y = self.conv1(self.norm1(x).relu())
        x = x + self.conv2(self.norm2(y).relu())
        x = self.last(self.pool(x)).relu()
        return self.head(x.mean(dim=(2, 3)))


class Awkward(nn.Module):
    """Odd channels, asymmetric padding, ReLU6, depthwise with multiplier, concatenation, a flattened image."""

    def __init__(self, num_classes: int = 4) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.stem = nn.Conv2d(1, 5, (3, 5), stride=(2, 3))
        self.deep = nn.Conv2d(5, 10, 3, padding=(1, 2), groups=5, bias=False)
        self.norm = nn.BatchNorm2d(10)
        self.side = nn.Conv2d(5, 3, 1)
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(3 * 4 * 5 + 10, num_classes)

    def forward(self, patches: Tensor) -> Tensor:
        x = nn.functional.relu6(self.stem(self.pad(patches)))
        deep = self.norm(self.deep(x)).relu().mean(dim=(2, 3))
        side = self.pool(self.side(x)).flatten(1)
        return self.head(torch.cat([side, deep], dim=1))


class Uneven(nn.Module):
    """Channels of very different ranges between layers: what one scale a tensor cannot hold."""

    def __init__(self, num_classes: int = 4, spread: float = 300.0) -> None:
        super().__init__()
        self.num_classes, self.spread = num_classes, spread
        self.first, self.deep = nn.Conv2d(1, 12, 3, stride=2), nn.Conv2d(12, 12, 3, groups=12)
        self.second, self.head = nn.Conv2d(12, 12, 1), nn.Linear(12, num_classes)
        scale = torch.logspace(-1, 1, 12) ** torch.log10(torch.tensor(spread))
        with torch.no_grad():
            for one, other in ((self.first, self.deep), (self.second, self.head)):
                one.weight.mul_(scale.view(-1, 1, 1, 1))
                one.bias.mul_(scale)
                other.weight.div_(scale.view(-1, 1, 1, 1) if other is self.deep else scale.view(1, -1))

    def forward(self, patches: Tensor) -> Tensor:
        x = self.deep(self.first(patches).relu()).relu()
        return self.head(self.second(x).relu().mean(dim=(2, 3)))


class Mixed(nn.Module):
    """What foreign graphs have between layers: factors and offsets of channels, products, sums, padding."""

    def __init__(self, num_classes: int = 4, channels: int = 7) -> None:
        super().__init__()
        self.num_classes, self.channels = num_classes, channels
        self.stem = nn.Conv2d(1, channels, 3, stride=(1, 2))
        self.gate, self.side = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, (2, 3))
        self.factor = nn.Parameter(torch.rand(channels, 1, 1) * 2 - 0.5)
        self.offset = nn.Parameter(torch.randn(1, channels, 1, 1))
        self.norm = nn.BatchNorm1d(channels)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, patches: Tensor) -> Tensor:
        x = self.stem(patches).relu() * self.factor + self.offset
        x = x * self.gate(x).relu()
        x = nn.functional.max_pool2d(nn.functional.pad(x, (1, 2, 0, 3)), 2)
        y = nn.functional.pad(self.side(x), (1, 1, 1, 0))
        x = (x + y) * 0.7 + 0.1
        return self.head(self.norm(x.mean(dim=(2, 3))))


def settled(net: nn.Module, seed: int = 0) -> nn.Module:
    """``net`` with statistics in its BatchNorms that are not the trivial ones, in inference mode."""
    generator = torch.Generator().manual_seed(seed)
    for part in net.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for array, low, high in (
                (part.running_mean, -0.5, 0.5),
                (part.running_var, 0.3, 2.0),
                (part.weight.data, -1.5, 1.5),
                (part.bias.data, -0.5, 0.5),
            ):
                array.copy_(torch.rand(array.shape, generator=generator) * (high - low) + low)
    return net.eval()


def make(name: str) -> nn.Module:
    """A net of this name, the same each time."""
    torch.manual_seed(0)
    nets = {"yamnet": lambda: YAMNet(5), "pre_activation": PreActivation, "awkward": Awkward, "uneven": Uneven}
    nets |= {"mixed": Mixed}
    return settled(nets[name]())


NAMES = ("yamnet", "pre_activation", "awkward", "uneven")


def patches(number: int, seed: int = 0) -> Tensor:
    """Patches that look like log-mel: correlated, between log(1e-4) and 3."""
    generator = torch.Generator().manual_seed(seed)
    rough = torch.randn(number, 1, FRONTEND.n_mels // 4, FRONTEND.patch_frames // 4, generator=generator)
    smooth = nn.functional.interpolate(rough, scale_factor=4, mode="bilinear")
    fine = torch.randn(number, 1, FRONTEND.n_mels, FRONTEND.patch_frames, generator=generator)
    return (-4 + 3 * smooth + 0.5 * fine).clamp(-9.2, 3)
