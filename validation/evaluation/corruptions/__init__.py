"""The 15 corruptions of Hendrycks and Dietterich (2019) and their 4 extra ones, at any image size.

severities.py     names and numbers: ImageNet-C's and CIFAR-10-C's, facts of the programs that made them
noise.py blur.py weather.py digital.py extra.py     what each corruption does to one image
corrupt.py        batches, seeds, threads: the function to call
published.py      the published CIFAR-C and ImageNet-C folders, where they lie on disk
sheet.py          all of them in one figure
"""

from validation.evaluation.corruptions.corrupt import corrupt
from validation.evaluation.corruptions.published import CorruptedImages, Published, published
from validation.evaluation.corruptions.severities import CATEGORIES, CONSTANTS, SEVERITIES, defaults_for
from validation.evaluation.corruptions.sheet import plot_corruptions

__all__ = [
    "CATEGORIES", "CONSTANTS", "SEVERITIES", "defaults_for", "corrupt",
    "published", "Published", "CorruptedImages", "plot_corruptions",
]  # fmt: skip
