"""Small networks of every kind that a field is asked of."""

import pytest
import torch
from torch import nn


class Patches(nn.Module):
    """A vision transformer in small: patches of 4 x 4, a class token, two encoder layers, a head."""

    def __init__(self, size=16):
        super().__init__()
        self.embed = nn.Conv2d(3, 12, 4, stride=4)
        self.first = nn.Parameter(torch.randn(1, 1, 12))
        layer = nn.TransformerEncoderLayer(12, 2, 24, batch_first=True, dropout=0.1)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(x), -1, -1), tokens], dim=1)
        return self.head(self.encoder(tokens)[:, 0])


class Down(nn.Module):
    """A U-Net of depth two over one channel."""

    def __init__(self, width=4):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU())
        self.three = nn.Sequential(nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList([nn.ConvTranspose2d(2 * width, width, 2, 2), nn.ConvTranspose2d(3 * width, width, 2, 2)])
        self.last = nn.Conv2d(2 * width, 1, 3, padding=1)

    def forward(self, x):
        a = self.one(x)
        b = self.two(self.pool(a))
        c = self.three(self.pool(b))
        b = torch.cat([b, self.up[0](c)], dim=1)
        return self.last(torch.cat([a, self.up[1](b)], dim=1))


class Causal(nn.Module):
    """A temporal convolutional network: three dilated convolutions that see the past only."""

    def __init__(self, ones=False):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(1, 1, 2, dilation=2**i, bias=False) for i in range(3))
        if ones:
            for layer in self.layers:
                nn.init.ones_(layer.weight)

    def forward(self, x):
        for layer in self.layers:
            x = layer(nn.functional.pad(x, (layer.dilation[0], 0)))
        return x


class StateSpace(nn.Module):
    """h_t = a h_(t-1) + x_t over (N, T, C), y = h: what a token owes to one that lies k steps back is a^k."""

    def __init__(self, decay=0.5):
        super().__init__()
        self.decay = nn.Parameter(torch.tensor(decay))
        self.out = nn.Identity()

    def forward(self, x):
        state, states = torch.zeros_like(x[:, 0]), []
        for step in range(x.shape[1]):
            state = self.decay * state + x[:, step]
            states.append(state)
        return self.out(torch.stack(states, dim=1))


@pytest.fixture
def nets():
    """The classes above, by name; torch is seeded."""
    torch.manual_seed(0)
    return {"patches": Patches, "unet": Down, "causal": Causal, "state_space": StateSpace}
