"""Ground patches and masks: what the model is trained on, and what is kept from it.

A *source* is one picture of one surface (`sources.json`). Its right quarter is never trained on; sources with
`held_out` are never trained on at all. Patches are float32 RGB in -1..1, shape (3, n, n); masks are float32
0 or 1, shape (n, n), 1 = repaint.
"""
import json
import math
from pathlib import Path

import cv2
import numpy as np

SOURCES = json.loads((Path(__file__).parent / "sources.json").read_text())
SURFACES = ["grass", "gravel", "brick", "stone", "wood", "leaves", "concrete", "dirt", "sand"]

# Colours that grey sources are tinted with: sRGB at grey 0, 0.35, 0.7 and 1.
PALETTES = {
    "grass": [[(18, 30, 12), (70, 98, 38), (150, 160, 80), (215, 210, 150)],
              [(22, 34, 8), (76, 104, 24), (140, 168, 54), (206, 214, 120)],
              [(34, 30, 16), (104, 96, 52), (170, 156, 96), (222, 210, 160)]],
    "gravel": [[(40, 36, 32), (110, 102, 94), (165, 158, 148), (230, 226, 220)],
               [(36, 38, 42), (98, 102, 108), (150, 156, 164), (224, 228, 232)],
               [(48, 38, 28), (124, 104, 82), (184, 162, 134), (236, 222, 200)]],
    "brick": [[(60, 28, 20), (140, 66, 48), (180, 100, 76), (225, 205, 190)],
              [(50, 32, 28), (112, 74, 62), (158, 116, 98), (220, 206, 192)],
              [(56, 44, 36), (124, 104, 86), (172, 152, 128), (226, 216, 200)]],
}


def fractal(n, rng, low, high, slope):
    """Periodic noise (n, n), mean 0 and deviation 1, with power ~ f**-slope between two frequencies (cycles a picture)."""
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(n, 1 / n), np.fft.fftfreq(n, 1 / n)))
    amp = np.where((f >= low) & (f <= high), np.maximum(f, 1) ** (-slope / 2), 0)
    x = np.fft.ifft2(np.fft.fft2(rng.standard_normal((n, n))) * amp).real
    return (x - x.mean()) / x.std()


def procedural(kind, n=512):
    """A drawn texture, uint8 (n, n, 3), always the same for the same kind. Not a photograph."""
    rng = np.random.default_rng({"dirt": 41, "sand": 42}[kind])
    if kind == "dirt":
        clods = fractal(n, rng, 10, 60, 1.6)
        g = 0.42 + 0.10 * fractal(n, rng, 1, 12, 2.2) + 0.10 * np.tanh(clods * 1.4) + 0.05 * fractal(n, rng, 60, 256, 0.6)
        g -= 0.18 * np.clip(fractal(n, rng, 14, 50, 1.0) - 1.5, 0, 1)
        pal = [(26, 18, 12), (92, 68, 46), (150, 118, 84), (206, 178, 142)]
    else:
        warp = fractal(n, rng, 1, 8, 2.4)
        y, x = np.mgrid[0:n, 0:n] / n
        ripples = np.sin(2 * math.pi * (18 * y + 4 * x) + 2.6 * warp)
        g = 0.66 + 0.05 * ripples + 0.02 * warp + 0.05 * fractal(n, rng, 50, 256, 0.2)
        pal = [(92, 74, 50), (158, 132, 94), (206, 182, 140), (240, 226, 196)]
    return np.rint(tint(np.clip(g, 0, 1), pal)).astype(np.uint8)


def tint(grey, palette):
    """Grey 0..1 to RGB 0..255 along a palette."""
    pal = np.asarray(palette, np.float32)
    return np.stack([np.interp(grey, (0, 0.35, 0.7, 1), pal[:, c]) for c in range(3)], -1)


class Ground:
    """The sources in memory. `split` is "train" (left three quarters) or "test" (right quarter, and whole held-out sources)."""

    def __init__(self, folder, split):
        self.split, self.items = split, {s: [] for s in SURFACES}
        for s in SOURCES:
            if s.get("held_out") and split == "train":
                continue
            rgb = cv2.imread(str(Path(folder) / f"{s['name']}.png"))[..., ::-1].astype(np.float32)
            if not s.get("held_out"):
                cut = rgb.shape[1] * 3 // 4
                rgb = rgb[:, :cut] if split == "train" else rgb[:, cut:]
            mid = math.sqrt(s["zoom"][0] * s["zoom"][1])
            if mid > 1.2:  # reduce once, well filtered, rather than blur at every patch
                rgb = cv2.resize(rgb, None, fx=1 / mid, fy=1 / mid, interpolation=cv2.INTER_AREA)
                s = s | {"zoom": [z / mid for z in s["zoom"]]}
            self.items[s["surface"]].append((s, np.ascontiguousarray(rgb)))

    def patch(self, n, rng, surface=None, source=None):
        """One patch (3, n, n) and its surface: scaled, turned, mirrored, tinted and lit at random."""
        surface = surface or SURFACES[rng.integers(len(SURFACES))]
        pool = self.items[surface] if source is None else [i for i in self.items[surface] if i[0]["name"] == source]
        s, im = pool[rng.integers(len(pool))]
        h, w = im.shape[:2]
        zoom = min(rng.uniform(*s["zoom"]), 0.999 * min(h, w) / n)  # source pixels a patch pixel
        straight = s.get("straight") or self.split == "test"
        turn = rng.normal(0, 0.06) if straight else rng.uniform(0, 2 * math.pi)
        if straight:
            turn += math.pi / 2 * rng.integers(2) if self.split == "train" else 0
        half = n * zoom / 2
        reach = half * (abs(math.cos(turn)) + abs(math.sin(turn)))
        if 2 * reach > min(h, w) - 1:
            turn, reach = math.pi / 2 * round(turn / (math.pi / 2)), half
        cx, cy = rng.uniform(reach, max(w - 1 - reach, reach + 1e-3)), rng.uniform(reach, max(h - 1 - reach, reach + 1e-3))
        c, sn, flip = math.cos(turn) * zoom, math.sin(turn) * zoom, 1 if rng.random() < 0.5 else -1
        m = np.array([[c * flip, -sn, 0], [sn * flip, c, 0]])
        m[:, 2] = [cx, cy] - m[:, :2] @ [(n - 1) / 2, (n - 1) / 2]
        x = cv2.warpAffine(im, m, (n, n), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101)
        return self._light(x, s, rng), surface

    def _light(self, x, s, rng):
        """Tint, recolour, gradient, soft shadow, gain: x is RGB 0..255, the answer (3, n, n) in -1..1."""
        n = x.shape[0]
        if s.get("grey"):
            g = np.clip((x[..., 0] / 255 - 0.5) * rng.uniform(0.85, 1.15) + 0.5 + rng.normal(0, 0.04), 0, 1)
            pals = PALETTES[s["surface"]]
            mix = rng.dirichlet([0.6] * len(pals))
            pal = sum(k * np.array(p, np.float32) for k, p in zip(mix, pals))
            x = tint(g, pal * rng.uniform(0.88, 1.12, (1, 3)) + rng.normal(0, 5, (4, 3)))
        else:
            grey = x.mean(-1, keepdims=True)
            x = grey + (x - grey) * (rng.uniform(0.1, 0.5) if s.get("recolour") else rng.uniform(0.7, 1.2))
            x = x * (1 + rng.normal(0, 0.06, (1, 1, 3)))
            if s["surface"] == "wood":
                x = x * (1 + rng.uniform(0, 0.25) * np.array([0.5, 0.1, -0.5]))
        yy, xx = np.mgrid[0:n, 0:n] / n - 0.5
        a = rng.uniform(0, 2 * math.pi)
        light = rng.uniform(0.75, 1.2) * (1 + rng.uniform(0, 0.35) * (math.cos(a) * xx + math.sin(a) * yy))
        if rng.random() < 0.2:  # the soft edge of a shadow
            a, d, soft = rng.uniform(0, 2 * math.pi), rng.uniform(-0.3, 0.3), rng.uniform(0.01, 0.08)
            edge = 1 / (1 + np.exp(-np.clip((math.cos(a) * xx + math.sin(a) * yy - d) / soft, -40, 40)))
            light = light * (1 - rng.uniform(0.2, 0.5) * edge)
        x = np.clip(x * light[..., None], 0, 255)
        return np.ascontiguousarray((x / 127.5 - 1).transpose(2, 0, 1).astype(np.float32))


def mask(n, rng):
    """A random hole: strokes as leashes make, a blob or box, specks; grown a little, as the mask recipe does."""
    m = np.zeros((n, n), np.uint8)
    k = n / 128
    for _ in range(rng.integers(1, 3)):
        p = np.cumsum(rng.normal(0, 0.13, (6, 2)) * n, 0)
        p = (p - p.mean(0) + rng.uniform(0.25, 0.75, 2) * n)
        t = np.linspace(0, 1, 40)
        b = sum(math.comb(5, i) * t[:, None] ** i * (1 - t[:, None]) ** (5 - i) * p[i] for i in range(6))
        cv2.polylines(m, [np.rint(b).astype(np.int32)], False, 255, int(rng.integers(8, 26) * k))
    if rng.random() < 0.45:
        c, r = rng.uniform(0.3, 0.7, 2) * n, rng.uniform(0.1, 0.27, 2) * n
        if rng.random() < 0.5:
            cv2.ellipse(m, tuple(map(int, c)), tuple(map(int, r)), float(rng.uniform(0, 180)), 0, 360, 255, -1)
        else:
            cv2.rectangle(m, tuple(map(int, c - r)), tuple(map(int, c + r)), 255, -1)
    if rng.random() < 0.1:
        m[:, : int(n * rng.uniform(0.2, 0.5))] = 255
        m = np.rot90(m, rng.integers(4)).copy()
    if rng.random() < 0.2:
        for _ in range(rng.integers(1, 8)):
            cv2.circle(m, tuple(int(v) for v in rng.integers(0, n, 2)), int(rng.integers(2, 6) * k), 255, -1)
    return (m > 0).astype(np.float32)
