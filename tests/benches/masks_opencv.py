"""Times OpenCV on the masks of masks.rs, to be run on the same machine as `cargo bench --bench masks`.

    pip install numpy opencv-python-headless
    python tests/benches/masks_opencv.py
"""

import time

import cv2
import numpy as np


def leash(width, height):
    """The mask that masks.rs draws, with numpy's noise instead of its own."""
    u = (np.arange(width, dtype=np.float32) / width)[None, :]
    v = (np.arange(height, dtype=np.float32) / height)[:, None]
    band = np.abs(v - 0.5 - 0.3 * np.sin(u * 9.0)) < 0.02
    blob = np.hypot(u - 0.3, (v - 0.4) * height / width) < 0.1
    noise = np.random.default_rng(7).random((height, width)) < 0.001
    return np.where((band | blob) ^ noise, 255, 0).astype(np.uint8)


def disc(radius):
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (x * x + y * y <= radius * radius).astype(np.uint8)


def median_ms(operation, times=9):
    operation()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        operation()
        taken.append((time.perf_counter() - start) * 1000)
    return sorted(taken)[times // 2]


def precise_distance(mask):
    return cv2.distanceTransform(255 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


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
    print(f"OpenCV {cv2.__version__}, {cv2.getNumThreads()} threads")
    large, small = leash(4000, 3000), leash(1024, 1024)
    print(f"12 MP  precise distanceTransform  {median_ms(lambda: precise_distance(large)):7.1f} ms")
    for radius in (1, 10, 32):
        kernel = disc(radius)
        print(f"12 MP  dilate, radius {radius:<3}         {median_ms(lambda: cv2.dilate(large, kernel), 5):7.1f} ms")
    print(f" 1 MP  precise distanceTransform  {median_ms(lambda: precise_distance(small)):7.1f} ms")
    print(f" 1 MP  whole recipe               {median_ms(lambda: recipe(small)):7.1f} ms")
    blur = lambda: cv2.GaussianBlur(small, (0, 0), 4.0, borderType=cv2.BORDER_REFLECT_101)
    print(f" 1 MP  GaussianBlur, sigma 4      {median_ms(blur):7.1f} ms")


if __name__ == "__main__":
    main()
