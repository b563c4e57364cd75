"""Writes corruptions.npz beside this file: what another implementation makes of one photo, for test_corruptions.py.

Run once, in an environment of its own: pip install imagecorruptions-imaug==1.1.5 opencv-python-headless numba scikit-image
(made with opencv 5.0.0.93, numba 0.68.1, scikit-image 0.26.0, numpy 2.4.6, Pillow 13.0.0). That package is a repaired
imagecorruptions, which is Hendrycks and Dietterich's program with ImageNet-C's numbers. Of each result every fourth row and
fifth column is kept. Randomness is that of numpy's RandomState(severity), whose stream is frozen for good.

Three of its parts are put back to what the original does, or would do without an approximation: enlarged images are cut to
size around their middle (it cuts below and to the right); the water of spatter is shaded by exact distances (the original
takes OpenCV's 5 x 5 approximation); glass blur runs its loop in Python on given displacements. It has another elastic
transform than the original, which is therefore written out here with OpenCV's affine map.
"""

from pathlib import Path
from unittest import mock

import numpy as np

PIXELWISE = (
    *("gaussian_noise", "shot_noise", "speckle_noise", "defocus_blur", "gaussian_blur", "motion_blur", "zoom_blur", "snow"),
    *("fog", "brightness", "contrast", "pixelate", "jpeg_compression", "spatter", "saturate"),
)


def main() -> None:
    import cv2
    from imagecorruptions import corruptions as theirs
    from PIL import Image
    from scipy import ndimage
    from skimage import data
    from skimage.filters import gaussian

    from validation.evaluation.corruptions import CONSTANTS

    photo = Image.fromarray(data.chelsea()).crop((60, 0, 396, 252)).resize((64, 48), Image.Resampling.BOX)
    x = np.asarray(photo)
    kept = {"photo": x}

    def keep(name: str, results: list) -> None:
        kept[name] = np.stack([np.uint8(np.clip(result, 0, 255))[::4, ::5] for result in results])

    def enlarged(image, factor):
        sides = [int(np.ceil(size / factor)) for size in image.shape[:2]]
        top, left = ((size - side) // 2 for size, side in zip(image.shape, sides, strict=False))
        large = ndimage.zoom(image[top : top + sides[0], left : left + sides[1]], (factor, factor, 1), order=1)
        top, left = ((now - size) // 2 for now, size in zip(large.shape, image.shape[:2], strict=False))
        return large[top : top + image.shape[0], left : left + image.shape[1]]

    exact = cv2.distanceTransform
    with (
        mock.patch.object(theirs, "clipped_zoom", enlarged),
        mock.patch.object(cv2, "distanceTransform", lambda d, kind, size: exact(d, kind, cv2.DIST_MASK_PRECISE)),
    ):
        for name in PIXELWISE:
            results = []
            for severity in range(1, 6):
                np.random.seed(severity)  # noqa: NPY002
                results.append(np.asarray(getattr(theirs, name)(photo, severity)))
            keep(name, results)

    results = []
    for severity, (sigma, reach, rounds) in enumerate(CONSTANTS["imagenet"]["glass_blur"], 1):
        draws = np.random.RandomState(severity)
        given = []
        for _ in range(int(rounds)):
            both = draws.randint(-reach, reach, (2, *x.shape[:2]))
            for h in range(x.shape[0] - int(reach), int(reach), -1):
                given += [both[::-1, h, w] for w in range(x.shape[1] - int(reach), int(reach), -1)]
        small = np.uint8(gaussian(x / 255, sigma=sigma, channel_axis=-1) * 255)
        with mock.patch.object(np.random, "randint", side_effect=given):
            small = theirs._shuffle_pixels_njit_glass_blur.py_func(*x.shape[:2], small, (sigma, int(reach), int(rounds)), 0)
        results.append(gaussian(small / 255, sigma=sigma, channel_axis=-1) * 255)
    keep("glass_blur", results)

    for constants, rows in CONSTANTS.items():
        results = []
        for severity, row in enumerate(rows["elastic_transform"], 1):
            alpha, sigma, jitter = (number * min(x.shape[:2]) for number in row)
            draws = np.random.RandomState(severity)
            middle, third = np.array([x.shape[1] // 2, x.shape[0] // 2]), min(x.shape[:2]) // 3  # (x, y)
            before = np.float32([middle + third, [middle[0] + third, middle[1] - third], middle - third])
            after = np.float32(before + draws.uniform(-jitter, jitter, (3, 2))[:, ::-1])
            turn = cv2.getAffineTransform(before, after)
            y = cv2.warpAffine(np.float32(x / 255), turn, x.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101)
            move = [gaussian(draws.uniform(-1, 1, x.shape[:2]), sigma, mode="reflect", truncate=3) * alpha for _ in range(2)]
            place = np.indices(x.shape[:2]) + move
            results.append(
                np.stack([ndimage.map_coordinates(y[..., c], place, order=1, mode="reflect") for c in range(3)], -1) * 255
            )
        keep(f"elastic_transform {constants}", results)

    for name in ("impulse_noise", "glass_blur"):  # as they are, with seeds of their own: mean and rms error of 200 results
        errors = []
        for severity in range(1, 6):
            made = [np.uint8(getattr(theirs, name)(photo, severity, seed=seed)) - x.astype(float) for seed in range(200)]
            errors.append([[e.mean(), np.sqrt((e**2).mean())] for e in made])
        each = np.array(errors)  # (severity, draw, quantity)
        kept[f"{name} errors"] = np.stack([each.mean(axis=1), each.std(axis=1, ddof=1)])
    np.savez_compressed(Path(__file__).with_name("corruptions.npz"), **kept)


if __name__ == "__main__":
    main()
