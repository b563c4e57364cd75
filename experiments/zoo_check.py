"""`python -m experiments.zoo_check`: small networks of the kinds that the zoo reads, predicted and measured.

Of timm's own code at reduced sizes, and of a few lines of torch; heads that start at zero are drawn. Writes docs/zoo_check.md.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.convnext import ConvNeXt
from timm.models.davit import DaVit
from timm.models.gcvit import GlobalContextVit
from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg
from timm.models.nfnet import NfCfg, NormFreeNet
from timm.models.resnet import BasicBlock, ResNet
from timm.models.sknet import SelectiveKernelBasic
from timm.models.swiftformer import SwiftFormer
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import nn
from torch.nn import functional

import landscape
from lattice import PilcroError
from validation.comparison.compare import compare
from validation.montecarlo.measure import measure
from validation.studies.table import Table, provenance

__all__ = ["NETWORKS", "table"]

PIXELS, DRAWS = 32, 1000
COLUMNS = ("network", "error", "error low", "error high", "resolution", "scale", "spread of the map", "verdict")
WIDTH = 32


class UNet(nn.Module):
    """Valid convolutions, so that what skips is cropped to what comes up, and one map at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, WIDTH, 3), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3), nn.ReLU())
        self.low = nn.Sequential(nn.Conv2d(WIDTH, 2 * WIDTH, 3), nn.ReLU(), nn.Conv2d(2 * WIDTH, 2 * WIDTH, 3), nn.ReLU())
        self.up = nn.ConvTranspose2d(2 * WIDTH, WIDTH, 2, 2)
        self.head = nn.Sequential(nn.Conv2d(2 * WIDTH, WIDTH, 3), nn.ReLU(), nn.Conv2d(WIDTH, 2, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        high = self.down(x)
        up = self.up(self.low(functional.max_pool2d(high, 2)))
        margin = (high.shape[-1] - up.shape[-1]) // 2
        found: torch.Tensor = self.head(torch.cat([high[..., margin:-margin, margin:-margin], up], 1))
        return found


class Pyramid(nn.Module):
    """A feature pyramid of three levels; the finest is given."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, WIDTH, 2 * WIDTH, 4 * WIDTH)
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(widths))
        self.sides = nn.ModuleList(nn.Conv2d(width, WIDTH, 1) for width in widths[1:])
        self.out = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = []
        for stage in self.stages:
            x = functional.relu(stage(x))
            levels.append(x)
        top = None
        for side, level in reversed(list(zip(self.sides, levels, strict=True))):
            here = side(level)
            top = here if top is None else here + functional.interpolate(top, scale_factor=2.0, mode="nearest")
        found: torch.Tensor = self.out(top)
        return found


def _vit(**options: Any) -> nn.Module:
    return VisionTransformer(PIXELS, 8, embed_dim=48, depth=3, num_heads=3, num_classes=10, weight_init="", **options)


def _hybrid() -> nn.Module:
    """A ViT whose tokens come from an overlapping, padded stem."""
    model = _vit(class_token=False, global_pool="avg")
    model.patch_embed.proj = nn.Sequential(  # type: ignore[union-attr]
        nn.Conv2d(3, 24, 7, 4, 3), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 48, 3, 2, 1)
    )
    return model


def _resnet(attention: str) -> nn.Module:
    return ResNet(
        BasicBlock,
        [1, 1, 1, 1],
        num_classes=10,
        output_stride=8,
        channels=(32, 64, 128, 256),
        block_args={"attn_layer": attention},
    )


def _selective() -> nn.Module:
    own = {"sk_kwargs": {"rd_ratio": 0.5, "rd_divisor": 8, "split_input": True}}
    return ResNet(
        SelectiveKernelBasic, [1, 1, 1, 1], num_classes=10, output_stride=8, channels=(32, 64, 128, 256), block_args=own
    )


def _nfnet() -> nn.Module:
    own = NfCfg((1, 1, 1, 1), (32, 64, 96, 96), stem_type="3x3", group_size=8, attn_layer="se", attn_kwargs={"rd_ratio": 0.5})
    return NormFreeNet(own, num_classes=10)


LARGER = dict.fromkeys(
    ("EdgeNeXt's channel attention", "MViT v2", "GC ViT's global queries", "DaViT's channel attention", "SwiftFormer"), 64
)  # whose last stage would have one position
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ViT, class token": _vit,
    "ViT on an overlapping stem": _hybrid,
    "Swin": lambda: SwinTransformer(
        PIXELS, 2, embed_dim=24, depths=(2, 2), num_heads=(2, 4), window_size=4, num_classes=10, weight_init=""
    ),
    "U-Net with crops": UNet,
    "feature pyramid": Pyramid,
    "NFNet": _nfnet,
    "selective kernels": _selective,
    "ResNet with ECA": lambda: _resnet("eca"),
    "ResNet with global context": lambda: _resnet("gc"),
    "ConvNeXt V2": lambda: ConvNeXt(
        num_classes=10, depths=(1, 1, 1, 1), dims=(16, 32, 64, 128), use_grn=True, ls_init_value=None, patch_size=2
    ),
    "EdgeNeXt's channel attention": lambda: timm.create_model(
        "edgenext_xx_small", num_classes=10, dims=(24, 48, 88, 88), depths=(1, 1, 2, 1), ls_init_value=1.0
    ),
    "SAM's windows and distances": lambda: VisionTransformerSAM(
        PIXELS,
        4,
        embed_dim=24,
        depth=2,
        num_heads=2,
        window_size=3,
        global_attn_indexes=(1,),
        use_rel_pos=True,
        neck_chans=16,
        num_classes=10,
    ),
    "MViT v2": lambda: MultiScaleVit(MultiScaleVitCfg((1, 1, 1, 1), embed_dim=24), img_size=(64, 64), num_classes=10),
    "GC ViT's global queries": lambda: GlobalContextVit(
        img_size=(64, 64),
        window_ratio=(8,) * 4,
        window_size=(4, 4, 4, 2),
        embed_dim=16,
        depths=(2,) * 4,
        num_heads=(2,) * 4,
        num_classes=10,
    ),
    "DaViT's channel attention": lambda: DaVit(
        depths=(1, 1, 1, 1), embed_dims=(16, 32, 48, 64), num_heads=(2,) * 4, window_size=2, num_classes=10
    ),
    "SwiftFormer": lambda: SwiftFormer(
        layers=[2] * 4, embed_dims=[24, 24, 32, 32], mlp_ratios=2, layer_scale_init_value=1.0, num_classes=10
    ),
    "MobileViT v2": lambda: timm.create_model("mobilevitv2_050", num_classes=10),
}


def drawn(factory: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """A factory of the same models, heads that start at zero or nearly drawn as any linear layer is."""

    def made() -> nn.Module:
        model = factory()
        for name, part in model.named_modules():
            if isinstance(part, nn.Linear) and "head" in name:
                part.reset_parameters()
        return model

    return made


def table(draws: int = DRAWS, seed: int = 0) -> Table:
    """One row a network: the error of its predicted map, and how far the map is from flat."""
    rows: list[tuple[Any, ...]] = []
    for name, factory in NETWORKS.items():
        shape = (3, *(LARGER.get(name, PIXELS),) * 2)
        try:
            land = landscape.predict(drawn(factory), shape)
        except PilcroError as refusal:
            rows.append((name, *[None] * (len(COLUMNS) - 2), f"refused: {' '.join(str(refusal).split())[:100]}"))
            continue
        found = compare(land, measure(drawn(factory), shape, draws=draws, seed=seed, device="cpu"))
        numbers = (found.error, *found.error_interval, found.resolution, found.scale_ratio)
        rows.append((name, *numbers, float(land.relative.std()), found.verdict.name.replace("_", " ")))
    origin = provenance(seed, draws, "cpu", "python -m experiments.zoo_check")
    return Table("Small networks of the zoo's kinds", COLUMNS, tuple(rows), origin)


if __name__ == "__main__":
    table().write(Path("docs/zoo_check"))
