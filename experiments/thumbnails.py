"""The thumbnails of the documentation's gallery: `python -m experiments.thumbnails` (two minutes), or NAME... for some."""

import sys
from io import BytesIO
from pathlib import Path

from matplotlib.image import imsave

from experiments.pictures import code_of, with_a_palette
from landscape import predict
from landscape.maps.plot import MAP_COLOURS
from validation.studies.gallery import FAMILIES, classifier

FOLDER = Path(__file__).parents[1] / "docs" / "figures" / "gallery"
LARGER = {"inception_v3": 75}  # the least that it takes
MOST = 3.0  # of the colour scale, which all thumbnails share, in means of the map


def thumbnail(name: str) -> bytes:
    """The predicted map of one of torchvision's classifiers as a PNG, one pixel for each pixel of its input."""
    pixels = LARGER.get(name, 64)
    land = predict(classifier(name), (3, pixels, pixels))
    picture = BytesIO()
    imsave(picture, land.relative, cmap=MAP_COLOURS, vmin=0, vmax=MOST, format="png")
    return with_a_palette(picture.getvalue(), drawn_by=f"python -m experiments.thumbnails, code {code_of(thumbnail)}")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or FAMILIES:
        (FOLDER / f"{name}.png").write_bytes(thumbnail(name))
