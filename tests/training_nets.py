"""Small networks and images for the training tests, float64 where derivatives are compared."""

import torch
from torch import nn


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=6, channels=2, size=9, seed=0, dtype=torch.float64):
    return torch.randn(count, channels, size, size, generator=seeded(seed), dtype=torch.float64).to(dtype)


def moved(model, seed=1):
    """Batch norms with statistics and scales that are not those of a fresh one."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(generator=seeded(seed))
            part.running_var.uniform_(0.5, 2, generator=seeded(seed + 1))
            nn.init.uniform_(part.weight, 0.5, 1.5, generator=seeded(seed + 2))
    return model


class Residual(nn.Module):
    """Batch norm, in-place ReLU, a strided skip, a max-pool, dropout: what a ResNet is made of."""

    def __init__(self, activation=None, norm=nn.BatchNorm2d, classes=5):
        super().__init__()
        act = activation or (lambda: nn.ReLU(inplace=True))
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), norm(6), act())
        self.branch = nn.Sequential(
            nn.Conv2d(6, 8, 3, 2, 1, bias=False), norm(8), act(), nn.Conv2d(8, 8, 3, padding=1), norm(8)
        )
        self.skip = nn.Sequential(nn.Conv2d(6, 8, 1, 2), norm(8))
        self.act, self.pool = act(), nn.MaxPool2d(3, 2, 1)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, classes))

    def forward(self, x):
        x = self.stem(x)
        x = self.act(self.branch(x) + self.skip(x))
        return self.head(self.pool(x))


def residual(activation=None, dtype=torch.float64):
    return moved(Residual(activation)).to(dtype)


def smooth(classes=4):
    """A network with second derivatives everywhere, for gradgradcheck."""
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Softplus(), nn.Flatten(), nn.Linear(3 * 9, classes)).double()


def gradients(model, loss):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)])


def difference(found, expected):
    return float((found - expected).norm() / expected.norm())
