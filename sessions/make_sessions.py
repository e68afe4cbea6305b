#!/usr/bin/env python3
"""Draw the two stand-in sessions: a ground picture with a leash or a hand over it, its mask, and the clean picture.

    python make_sessions.py --sources SOURCES [--out .] [--megapixels 12 --only leash-on-grass]

SOURCES is the folder that `assets/tiny-fill/training/fetch_sources.py` writes. Only the two sources that training
never saw are used: `grass-held-out` (dm_control, Apache-2.0) and `stone-held-out` (SuperTuxKart, public domain).
Each session gets `image.png`, `mask.png`, `expected.png` (8-bit, sRGB) and `session.ron`. With --megapixels a
session of that size is made for tests of large pictures; it is not kept in the repository.
"""
import argparse
import math
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT = 1152, 896

NOTES = {
    "leash-on-grass": (
        "grass where the leash was, in the same colour and light, nothing else",
        "A stand-in made by sessions/make_sessions.py, not a production session: the leash and its shadow are drawn over "
        "a grass texture that the embedded model never saw (dm_control, Apache-2.0)."),
    "hand-on-paving-edge": (
        "stone paving and grass meeting in a straight edge under where the hand was, the shadow's border unbroken",
        "A stand-in made by sessions/make_sessions.py, not a production session, and harder than the embedded model can "
        "do: two surfaces and a shadow's border meet under the hand (stone: SuperTuxKart, public domain; grass: "
        "dm_control, Apache-2.0; neither was trained on)."),
}


def ground(path, width, height, zoom, rng):
    """A seamless texture enlarged and repeated to (height, width, 3), float 0..255, from a random start."""
    im = cv2.imread(str(path))[..., ::-1].astype(np.float32)
    tile = cv2.resize(np.pad(im, ((8, 8), (8, 8), (0, 0)), mode="wrap"), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LANCZOS4)
    edge = round(8 * zoom)
    tile = tile[edge:-edge, edge:-edge]
    y, x = rng.integers(tile.shape[0]), rng.integers(tile.shape[1])
    tile = np.roll(tile, (-y, -x), (0, 1))
    reps = (-(-height // tile.shape[0]), -(-width // tile.shape[1]), 1)
    return np.tile(tile, reps)[:height, :width]


def curve(points, count=200):
    """A smooth curve through control points (Bernstein basis), (count, 2)."""
    p, t = np.asarray(points, np.float64), np.linspace(0, 1, count)[:, None]
    n = len(p) - 1
    return sum(math.comb(n, i) * t ** i * (1 - t) ** (n - i) * p[i] for i in range(n + 1))


def stroke(shape, line, width):
    """Anti-aliased coverage 0..1 of a thick line, drawn at twice the size."""
    m = np.zeros((shape[0] * 2, shape[1] * 2), np.uint8)
    cv2.polylines(m, [np.rint(line * 2).astype(np.int32)], False, 255, max(1, round(width * 2)), cv2.LINE_AA)
    return cv2.resize(m, (shape[1], shape[0]), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def over(im, alpha, colour):
    return im * (1 - alpha[..., None]) + np.asarray(colour, np.float32) * alpha[..., None]


def shadow(im, alpha, shift, soft, depth):
    """Darken where the shape's shadow falls."""
    m = np.float32([[1, 0, shift[0]], [0, 1, shift[1]]])
    s = cv2.GaussianBlur(cv2.warpAffine(alpha, m, alpha.shape[::-1]), (0, 0), soft)
    return im * (1 - depth * s[..., None]), s


def rough_mask(alpha, shade, rng, k):
    """A mask as segmenters write it: grey edges, a little short of the object in places, specks far from it."""
    h, w = alpha.shape
    wob = cv2.GaussianBlur(rng.standard_normal((h, w)).astype(np.float32), (0, 0), 9 * k)
    soft = cv2.GaussianBlur(np.maximum(alpha, 0.9 * (shade > 0.45)), (0, 0), 2.2 * k)
    m = 1 / (1 + np.exp(-(soft - 0.42 + 0.10 * wob / wob.std()) * 9))
    for _ in range(70):  # specks: most under 50 px, some grey, a few nearly large enough to stay
        x, y, r = rng.integers(w), rng.integers(h), rng.choice([1, 1, 1, 2, 2, 3, 4]) * k
        cv2.circle(m, (int(x), int(y)), max(1, int(r)), float(rng.uniform(0.3, 1)), -1, cv2.LINE_AA)
    inside = np.argwhere(m > 0.9)
    for y, x in inside[rng.integers(len(inside), size=12)]:  # pinholes
        cv2.circle(m, (int(x), int(y)), max(1, int(rng.integers(1, 3) * k)), 0.0, -1, cv2.LINE_AA)
    m[m < 0.08] = 0
    return np.rint(np.clip(m, 0, 1) * 255).astype(np.uint8)


def leash(sources, width, height, rng):
    """Grass with a red strap across it that ends in a metal clip. Returns clean, dirty, mask."""
    k = width / WIDTH
    clean = ground(sources / "grass-held-out.png", width, height, 2 * k, rng)
    y, x = np.mgrid[0:height, 0:width]
    clean = clean * (1.08 - 0.22 * x / width + 0.10 * y / height)[..., None] * [1.02, 1.0, 0.94]
    line = curve(np.array([(470, -40), (420, 210), (760, 190), (700, 420), (520, 520), (560, 600)]) * k)
    strap = stroke(clean.shape, line, 30 * k)
    metal = np.maximum(stroke(clean.shape, line[-1] + curve(np.array([(0, -4), (4, 26), (10, 46)]) * k), 17 * k),
                       stroke(clean.shape, line[-1] + np.array([(12 * math.cos(a) + 14, 18 * math.sin(a) + 66) for a in np.linspace(0, 6.4, 60)]) * k, 7 * k))
    alpha = np.maximum(strap, metal)
    im, shade = shadow(clean, alpha, (9 * k, 13 * k), 7 * k, 0.55)
    im = over(im, strap, (158, 34, 40))
    normal = np.stack([-np.gradient(line[:, 1]), np.gradient(line[:, 0])], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    for side in (-1, 1):  # stitches
        for i in range(0, len(line) - 4, 6):
            im = over(im, stroke(clean.shape, (line + side * 11 * k * normal)[i:i + 4], 2 * k), (226, 196, 180)) if k <= 1.01 else im
    im = over(im, 0.35 * stroke(clean.shape, line - 4 * k * normal, 6 * k), (230, 120, 120))
    im = over(im, metal, (150, 152, 158))
    im = over(im, 0.7 * stroke(clean.shape, line[-1] + curve(np.array([(-3, 0), (1, 26), (7, 44)]) * k), 4 * k), (236, 238, 242))
    return clean, im, rough_mask(alpha, shade, rng, k)


def hand(sources, width, height, rng):
    """Paving beside grass under a slanting shadow, a hand over the edge. Returns clean, dirty, mask."""
    k = width / WIDTH
    stone = ground(sources / "stone-held-out.png", width, height, 1.8 * k, rng)
    grass = ground(sources / "grass-held-out.png", width, height, 2 * k, rng)
    y, x = np.mgrid[0:height, 0:width] / k
    edge = np.clip((x - 600 - 0.10 * (y - 448)) / 5 + 0.5 + 0.8 * cv2.GaussianBlur(rng.standard_normal(x.shape).astype(np.float32), (0, 0), 4 * k) * 4 * k, 0, 1)
    clean = stone * 0.95 * (1 - edge[..., None]) + grass * edge[..., None]
    dark = 1 / (1 + np.exp(-np.clip((y - 470 + 0.45 * (x - 576)) / 7, -40, 40)))
    clean = clean * (1.12 - 0.5 * dark)[..., None] * (1 - 0.04 * dark[..., None] * [1, 0.4, -0.4])
    pts = lambda *p: curve(np.array(p, np.float64) * k)
    parts = [(pts((1180, 250), (960, 300), (760, 400)), 118), (pts((780, 380), (720, 410), (665, 430)), 150),
             (pts((690, 372), (600, 330), (520, 345)), 44), (pts((660, 410), (560, 392), (460, 420)), 46),
             (pts((655, 455), (570, 462), (468, 492)), 44), (pts((670, 495), (600, 522), (520, 556)), 38),
             (pts((730, 350), (690, 290), (640, 262)), 48)]
    alpha = np.max([stroke(clean.shape, line, w * k) for line, w in parts], 0)
    im, shade = shadow(clean, alpha, (-16 * k, 24 * k), 11 * k, 0.5)
    inner = cv2.GaussianBlur(alpha, (0, 0), 16 * k)
    skin = np.array([214, 160, 132]) * (0.62 + 0.42 * inner)[..., None] * (1.05 - 0.22 * dark)[..., None]
    im = im * (1 - alpha[..., None]) + skin * alpha[..., None]
    for line, w in parts[2:]:
        crease = stroke(clean.shape, line + np.array([0, 0.42 * w * k]), 3 * k) * alpha
        im = over(im, 0.35 * crease, (120, 70, 56))
        tip = line[-1] - (line[-1] - line[-12]) * 0.3
        nail = stroke(clean.shape, np.stack([tip, line[-8]]), 0.5 * w * k) * alpha
        im = over(im, 0.5 * nail, (240, 206, 192))
    return clean, im, rough_mask(alpha, shade, rng, k)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--sources", type=Path, required=True)
    ap.add_argument("--out", type=Path, default=Path(__file__).parent)
    ap.add_argument("--megapixels", type=float, help="another size, same proportions")
    ap.add_argument("--only", choices=list(NOTES))
    args = ap.parse_args()
    k = math.sqrt(args.megapixels * 1e6 / (WIDTH * HEIGHT)) if args.megapixels else 1
    width, height = round(WIDTH * k), round(HEIGHT * k)
    for name, draw, seed in (("leash-on-grass", leash, 3), ("hand-on-paving-edge", hand, 4)):
        if args.only not in (None, name):
            continue
        rng = np.random.default_rng(seed)
        clean, im, mask = draw(args.sources, width, height, rng)
        grain = rng.normal(0, 1.2, (height, width, 1))  # the same in both, so that they differ only under the object
        to8 = lambda t: np.clip(np.rint(t + grain), 0, 255).astype(np.uint8)
        folder = args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, t in (("image.png", to8(im)[..., ::-1]), ("expected.png", to8(clean)[..., ::-1]), ("mask.png", mask)):
            cv2.imwrite(str(folder / file), t, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        expected, note = NOTES[name]
        (folder / "session.ron").write_text(
            f'(\n    schema: 1,\n    id: "{name}",\n    expected: "{expected}",\n    note: "{note}",\n)\n')
        print(name, im.shape, f"mask {(mask >= 128).mean():.1%}", {p.name: p.stat().st_size for p in sorted(folder.iterdir())})


if __name__ == "__main__":
    main()
