"""The models. It has no import but torch, so that a project on disk can be given this file."""

import torch
from torch import Tensor, nn


def mlp(outputs: int = 10) -> nn.Module:
    """64 → 128 → outputs; (N, outputs), or (N,) of a single one."""
    torch.manual_seed(0)
    layers = [nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, outputs)]
    if outputs == 1:
        layers.append(nn.Flatten(0))
    return nn.Sequential(*layers).eval()


class Block(nn.Module):
    """Two 3x3 convolutions and a way past them (He et al. 2016)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.past: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.past = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inside, H, W) → (N, outside, H / stride, W / stride)."""
        found = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(found)) + self.past(x))


class ResNet18(nn.Module):
    """For 3x32x32 images: a 3x3 stem without pooling, then four stages of two blocks."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()
        )
        self.stages = nn.Sequential(
            *(Block(64, 64, 1), Block(64, 64, 1)),
            *(Block(64, 128, 2), Block(128, 128, 1)),
            *(Block(128, 256, 2), Block(256, 256, 1)),
            *(Block(256, 512, 2), Block(512, 512, 1)),
        )
        self.head = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 32, 32) → logits (N, classes)."""
        return self.head(self.stages(self.stem(x)).mean(dim=(2, 3)))


def resnet18() -> nn.Module:
    """Drawn weights. Its normalisation has seen some images, so that outputs are of the usual size."""
    torch.manual_seed(0)
    model = ResNet18()
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # all of what it sees now
    with torch.no_grad():
        model(torch.randn(64, 3, 32, 32))
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


class ViT(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2021) with normalisation first and a class token."""

    def __init__(
        self, *, size: int, patch: int, width: int, depth: int, heads: int, classes: int
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.position = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), False)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, size, size) → logits (N, classes)."""
        found = self.patches(x).flatten(2).transpose(1, 2)
        found = torch.cat([self.token.expand(len(x), -1, -1), found], dim=1) + self.position
        return self.head(self.encoder(found)[:, 0])


def vit_b_16(classes: int = 10) -> nn.Module:
    """Of base size, with patches of 16 in images of 224; drawn weights."""
    torch.manual_seed(0)
    return ViT(size=224, patch=16, width=768, depth=12, heads=12, classes=classes).eval()
