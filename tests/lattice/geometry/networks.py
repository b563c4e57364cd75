"""Networks whose receptive fields are published."""

from lattice import (
    Activation,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Lattice,
    Norm,
    families,
)


def vgg16(n):
    return families.vgg((3, n, n), ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3))


def mobilenet(n):
    layers, below = [Conv(32, 3, 2, padding=1)], 32
    for channels, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        layers += [Conv(below, 3, stride, padding=1, groups=below), Norm(), Activation("relu"), Conv(channels, 1)]
        below = channels
    return Lattice.chain((3, n, n), [*layers, GlobalPool(), Flatten(), Dense(1000)])
