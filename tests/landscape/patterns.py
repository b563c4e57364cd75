"""Every +-1 pattern of the weights of a tiny network: the values and the Jacobians that it can have."""

import itertools

import torch

from validation.montecarlo.build import build


def networks(net):
    """The torch network of a lattice, with one pattern of weights after the other."""
    model = build(net, 1.0, generator=torch.Generator().manual_seed(0)).double().eval()
    weights = list(model.weights().values())
    sizes = [weight.numel() for weight in weights]
    for signs in itertools.product((-1.0, 1.0), repeat=sum(sizes)):
        pieces = torch.tensor(signs, dtype=torch.float64).split(sizes)
        with torch.no_grad():
            for weight, piece in zip(weights, pieces, strict=True):
                weight.copy_(piece.reshape(weight.shape))
        yield model


def some_input(net):
    return torch.randn((1, *net.input_shape), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def values(net):
    """(patterns, values of the output) at one input without special values."""
    x = some_input(net)
    with torch.no_grad():
        return torch.stack([model(x).flatten() for model in networks(net)])


def pair_moments(net):
    """K(i, i') = mean over patterns and input channels of sum_j dh_j/dx_i dh_j/dx_i', (positions, positions)."""
    x, total, count = some_input(net), 0, 0
    for model in networks(net):
        jacobian = torch.func.jacrev(lambda image, model=model: model(image).flatten())(x)
        rows = jacobian.reshape(len(jacobian), net.input_shape[0], -1)
        total, count = total + torch.einsum("jci,jck->ik", rows, rows) / net.input_shape[0], count + 1
    return total / count
