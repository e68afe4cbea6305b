"""Times OpenCV on the masks of masks.rs, which starts it at the end of `cargo bench --bench masks`.

    pip install numpy opencv-python-headless
    python tests/benches/masks_opencv.py FOLDER RADIUS...

FOLDER holds `{name}_{width}x{height}.raw`: `cleaned` and `specks` of 12 megapixels, `small` of 1.
Prints JSON: OpenCV's version with its number of threads, and the median milliseconds of each
operation under the name that masks.rs gives its own.
"""

import json
import pathlib
import re
import sys
import time

import cv2
import numpy as np


def masks_in(folder):
    masks = {}
    for path in folder.glob("*.raw"):
        name, width, height = re.fullmatch(r"(\w+)_(\d+)x(\d+)", path.stem).groups()
        masks[name] = np.fromfile(path, np.uint8).reshape(int(height), int(width))
    return masks


def disc(radius):
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return (x * x + y * y <= radius * radius).astype(np.uint8)


def median_ms(operation, rounds=9):
    """One round to warm up, then the median."""
    operation()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        operation()
        taken.append((time.perf_counter() - start) * 1000)
    return sorted(taken)[rounds // 2]


def recipe(mask):
    """Threshold, despeck 50, close 2, open 2, despeck 50, dilate 10."""

    def despeck(mask):
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        keep = (stats[:, cv2.CC_STAT_AREA] >= 50).astype(np.uint8) * 255
        keep[0] = 0
        return keep[labels]

    mask = despeck(cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1])
    mask = cv2.erode(cv2.dilate(mask, disc(2)), disc(2))
    mask = cv2.dilate(cv2.erode(mask, disc(2)), disc(2))
    return cv2.dilate(despeck(mask), disc(10))


def main():
    masks = masks_in(pathlib.Path(sys.argv[1]))
    times = {}
    for name in ("cleaned", "specks"):
        # distanceTransform measures to zeros; turning the mask round is not timed.
        inverted = 255 - masks[name]
        times[f"12 MP exact distances, {name}"] = median_ms(
            lambda: cv2.distanceTransform(inverted, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        )
    for radius in sys.argv[2:]:
        kernel = disc(float(radius))
        times[f"12 MP dilation, {radius} px"] = median_ms(
            lambda: cv2.dilate(masks["cleaned"], kernel), 5
        )
    small = masks["small"]
    times["1 MP whole recipe"] = median_ms(lambda: recipe(small), 21)
    grown = recipe(small)
    times["1 MP feather, sigma 4"] = median_ms(
        lambda: cv2.GaussianBlur(grown, (0, 0), 4.0, borderType=cv2.BORDER_REFLECT_101), 21
    )
    version = f"OpenCV {cv2.__version__} on {cv2.getNumThreads()} threads"
    print(json.dumps({"version": version, "milliseconds": times}))


if __name__ == "__main__":
    main()
