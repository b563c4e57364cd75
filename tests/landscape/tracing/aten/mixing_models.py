"""Mixings of tokens or channels as people write them, each a small network with a padded stem."""

import torch
from torch import nn
from torch.nn import functional


class Mixing(nn.Module):
    """A padded stem, a mixing of (B, C, H, W), a readout that is a mean, or the first position."""

    skip = 1.0  # what the input of the mixing is multiplied with where it is added

    def __init__(self, width=16, readout="corner"):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False)
        )
        self.readout, self.head = readout, nn.Linear(width, 5, bias=False)

    def forward(self, x):
        x = self.mix(self.stem(x))
        return self.head(x.mean((2, 3)) if self.readout == "mean" else x[:, :, 0, 0])


class Context(Mixing):
    """The context of all positions, by a softmax of one logit a position (GCNet), added."""

    def __init__(self, width=16, **options):
        super().__init__(width, **options)
        self.logit, self.after = nn.Conv2d(width, 1, 1), nn.Conv2d(width, width, 1, bias=False)

    def mix(self, x):
        shares = self.logit(x).flatten(2).softmax(-1).unsqueeze(3)
        context = x.flatten(2).unsqueeze(1) @ shares
        return self.skip * x + self.after(context.view(len(x), -1, 1, 1))


class Separable(Mixing):
    """Separable attention (MobileViT v2): one logit a position, its context a factor of all values."""

    def __init__(self, width=16, **options):
        super().__init__(width, **options)
        self.parts, self.out = nn.Conv2d(width, 1 + 2 * width, 1), nn.Conv2d(width, width, 1)

    def mix(self, x):
        query, key, value = torch.split(self.parts(x).flatten(2), [1, x.shape[1], x.shape[1]], 1)
        context = (key * query.softmax(-1)).sum(-1, keepdim=True)
        mixed = functional.relu(value) * context.expand_as(value)
        return self.skip * x + self.out(mixed.view_as(x))


class OverChannels(Mixing):
    """Attention between the channels of a head (XCiT): rows of length one over all positions."""

    def __init__(self, width=16, heads=2, **options):
        super().__init__(width, **options)
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))

    def mix(self, x):
        tokens = x.flatten(2).mT
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 4, 1)
        logits = functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).mT * self.temperature
        mixed = (logits.softmax(-1) @ v).permute(0, 3, 1, 2).flatten(2)
        return self.skip * x + self.out(mixed).mT.view_as(x)


class ByDistance(Mixing):
    """Logits of each query with a vector for every distance along the rows (BoTNet), read by two windows of an einsum."""

    def __init__(self, width=16, heads=2, side=4, **options):
        super().__init__(width, **options)
        self.heads, self.side, self.qkv = heads, side, nn.Conv2d(width, 3 * width, 1, bias=False)
        self.distances = nn.Parameter(torch.randn(2 * side - 1, width // heads) * (width // heads) ** -0.5)
        self.out = nn.Conv2d(width, width, 1, bias=False)

    def mix(self, x):
        batch, width, side = len(x), x.shape[1], self.side
        q, k, v = self.qkv(x).flatten(2).reshape(batch, 3, self.heads, -1, side * side).mT.unbind(1)
        apart = torch.arange(side)[:, None] - torch.arange(side) + side - 1
        by_row = torch.einsum("bnhwc,hkc->bnhwk", q.unflatten(2, (side, side)), self.distances[apart])
        logits = (q @ k.mT) * q.shape[-1] ** -0.5 + by_row.unsqueeze(-1).expand(-1, -1, -1, -1, -1, side).reshape(
            batch, self.heads, side * side, side * side
        )
        return self.skip * x + self.out((logits.softmax(-1) @ v).mT.reshape(batch, width, side, side))


MODELS = [Context, Separable, OverChannels, ByDistance]


class Factorised(Mixing):
    """q times (softmax of keys over positions)' v (CoaT): a product of two signals without a softmax."""

    def __init__(self, width=16, heads=4, **options):
        super().__init__(width, **options)
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def mix(self, x):
        tokens = x.flatten(2).mT
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = 0.5 * (q @ (k.softmax(2).mT @ v))
        return self.skip * x + self.out(mixed.transpose(1, 2).flatten(2)).mT.view_as(x)


class Linear(Mixing):
    """(relu(k)' v) summed over positions, times queries: linear attention without its normalisation."""

    def __init__(self, width=16, heads=4, **options):
        super().__init__(width, **options)
        self.heads, self.qkv, self.out = heads, nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)

    def mix(self, x):
        q, k, v = self.qkv(x).flatten(2).unflatten(1, (3, self.heads, -1)).unbind(1)
        context = torch.einsum("bhcn,bhdn->bhcd", functional.relu(k), v) / x.shape[-1] ** 2
        return self.skip * x + self.out(torch.einsum("bhcd,bhcn->bhdn", context, q).flatten(1, 2).view_as(x))


class ResidualPooling(Mixing):
    """Attention to which its own queries and values are added (MViT v2), with logits by height and by width beside q k'."""

    def __init__(self, width=16, side=4, **options):
        super().__init__(width, **options)
        self.side, self.qkv, self.out = side, nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)
        self.heights, self.widths = (nn.Parameter(0.1 * torch.randn(side, side, width)) for _ in range(2))

    def mix(self, x):
        q, k, v = self.qkv(x).flatten(2).transpose(1, 2).chunk(3, -1)
        rows = q.unflatten(1, (self.side, self.side))
        by_height = torch.einsum("bhwc,hkc->bhwk", rows, self.heights)[..., :, None]
        by_width = torch.einsum("bhwc,wkc->bhwk", rows, self.widths)[..., None, :]
        logits = (q @ k.transpose(1, 2)) * q.shape[-1] ** -0.5 + (by_height + by_width).flatten(1, 2).flatten(2)
        mixed = logits.softmax(-1) @ v + v + 0.3 * q
        return self.skip * x + self.out(mixed.transpose(1, 2).view_as(x))


MODELS = [Context, Separable, OverChannels, ByDistance, Factorised, Linear, ResidualPooling]
