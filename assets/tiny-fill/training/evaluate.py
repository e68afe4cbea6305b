#!/usr/bin/env python3
"""Measure the model folder on ground that training never saw; write the tables of MODEL.md and the sample sheets.

    python evaluate.py --model .. --sources sources --sessions ../../../sessions --out work/eval --sheets .. --parts table,quants,sheets

*table*: per surface, `--count` held-out patches of 128x128 with random holes (8 to 35 % of the patch), filled by the
model (guidance 10, `--steps` steps, fixed seeds; `--prompt`: production's sentence, empty, or the surface's noun) and by the simple methods. Rows already
in `--out` are kept, so that quants and surfaces can be measured one after the other. All figures are of the hole only,
with everything else the clean picture's:
  L1        mean absolute error, 8-bit levels
  Gabor     ||G - G*|| / ||G*||, G the Gram matrix over the hole of 48 Gabor filters (4 wavelengths, 6 directions,
            even and odd) on the luma, * the clean picture's; near 1 for a smooth fill
  spectrum  mean absolute difference of log10 radial power, 20 rings, of the luma windowed by the softened hole
  contrast  the luma's deviation in the hole over the clean picture's, median over patches: 1 is right, 0 is flat
*quants*: mean absolute error of the final latents against the unquantized weights, three pictures, five seeds.
*sheets*: samples.jpg (24 fills chosen by seed) and axes.jpg (prompts and guidance).
"""
import argparse
import json
import math
from pathlib import Path

import cv2
import numpy as np
import torch

import bundle
import data
import model

STEPS = 28
FILES = {"Q4_0": "flux1-fill-tiny-Q4_0.gguf", "Q5_K_S": "flux1-fill-tiny-Q5_K_S.gguf", "Q8_0": "flux1-fill-tiny-Q8_0.gguf"}
FULL = "flux1-fill-tiny.safetensors"


def gabor_bank():
    out = []
    for wave in (3, 5, 8, 13):
        r = int(wave * 1.2) + 1
        y, x = np.mgrid[-r:r + 1, -r:r + 1].astype(np.float64)
        for k in range(6):
            a = math.pi * k / 6
            u = x * math.cos(a) + y * math.sin(a)
            env = np.exp(-(x * x + y * y) / (2 * (0.45 * wave) ** 2))
            for f in (np.cos, np.sin):
                g = env * f(2 * math.pi * u / wave)
                g -= env * g.sum() / env.sum()
                out.append(g / np.abs(g).sum())
    return out


BANK = gabor_bank()


def luma(x):
    """(3, n, n) in -1..1 to (n, n) in 0..255."""
    return ((x * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(0) + 1) * 127.5


def gram(y, m):
    """Over the hole `m` of the luma `y`; only the hole's box and the filters' reach around it are filtered."""
    ys, xs = np.nonzero(m)
    y0, y1, x0, x1 = max(ys.min() - 17, 0), ys.max() + 18, max(xs.min() - 17, 0), xs.max() + 18
    y, m = np.ascontiguousarray(y[y0:y1, x0:x1], np.float32), m[y0:y1, x0:x1]
    r = np.stack([cv2.filter2D(y, cv2.CV_32F, g, borderType=cv2.BORDER_REFLECT_101)[m] for g in BANK]).astype(np.float64)
    return r @ r.T / r.shape[1]


def rings(y, m):
    w = cv2.GaussianBlur(m.astype(np.float64), (0, 0), 1.5) * m
    y = (y - (y * w).sum() / w.sum()) * w
    p = np.abs(np.fft.fft2(y)) ** 2 / (w * w).sum()
    n = len(y)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n)))
    at = np.minimum((f * 40).astype(int), 20)
    return np.log10(np.bincount(at.ravel(), p.ravel(), 21)[:20] / np.bincount(at.ravel(), minlength=21)[:20] + 1e-2)


def reference(clean, m):
    """What `measure` needs of the clean picture: its luma, Gram matrix and rings."""
    a = luma(clean)
    return a, gram(a, m > 0), rings(a, m > 0)


def measure(clean, fill, m, ref):
    m = m > 0
    (a, g, r), b = ref, luma(np.where(m, fill, clean))
    return dict(L1=float(np.abs(clean - np.where(m, fill, clean))[:, m].mean() * 127.5),
                Gabor=float(np.linalg.norm(gram(b, m) - g) / np.linalg.norm(g)),
                spectrum=float(np.abs(r - rings(b, m)).mean()), contrast=float(b[m].std() / max(a[m].std(), 1e-3)))


def hole(n, rng, low=0.08, high=0.35):
    while not low <= (m := data.mask(n, rng)).mean() <= high:
        pass
    return m


def inpaint(x, m, how):
    im = np.rint((x.transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8)
    return cv2.inpaint(im, (m > 0).astype(np.uint8), 3, how).transpose(2, 0, 1).astype(np.float32) / 127.5 - 1


def sigmas(tokens, steps):
    """The pipeline's: linear from 1 to 1/steps, shifted by mu(tokens), and a last 0."""
    s, mu = torch.linspace(1, 1 / steps, steps), 0.5 + 0.65 / 3840 * (tokens - 256)
    return torch.cat([math.exp(mu) / (math.exp(mu) + 1 / s - 1), torch.zeros(1)])


@torch.no_grad()
def latents(b, net, x, m, prompts, guidance, seed, steps=STEPS):
    """Final packed latents for pictures (b, 3, n, n) and holes (b, 1, n, n), as FluxFillPipeline makes them."""
    n = x.shape[-1]
    seen = (b.vae.encode(x * (1 - m)).latent_dist.mode() - model.SHIFT) * model.SCALE
    cond = torch.cat([model.pack(seen), model.pack_mask(m)], -1)
    text, pooled = (torch.cat(t) for t in zip(*(b.prompt(p) for p in prompts)))
    gen = torch.Generator().manual_seed(seed)
    z = model.pack(torch.randn(len(x), 16, n // 8, n // 8, generator=gen))
    s = sigmas(z.shape[1], steps)
    ids, tids = model.image_ids(n // 8, n // 8), torch.zeros(text.shape[1], 3)
    g = torch.as_tensor(guidance, dtype=torch.float32).expand(len(x))
    for i in range(steps):
        v = net(hidden_states=torch.cat([z, cond], -1), encoder_hidden_states=text, pooled_projections=pooled,
                timestep=s[i].expand(len(x)), guidance=g, img_ids=ids, txt_ids=tids, return_dict=False)[0]
        z = z + (s[i + 1] - s[i]) * v
    return z


@torch.no_grad()
def decode(b, z, n):
    return b.decoder(model.unpack(z, n // 8, n // 8)).clamp(-1, 1).numpy()


@torch.no_grad()
def through(b, x):
    """The VAE alone: its reconstruction of the clean picture."""
    return b.decoder((b.vae.encode(x).latent_dist.mode() - model.SHIFT) * model.SCALE).clamp(-1, 1).numpy()


def wording(args, surface):
    return {"production": model.PRODUCTION, "empty": "", "noun": surface}[args.prompt]


def rows_of(b, nets, ground, surface, known, args):
    """The methods of one surface that are not in `known`: name to mean measures."""
    rng = np.random.default_rng([args.seed, model.SURFACES.index(surface)])
    rows = {}
    for at in range(0, args.count, 20):
        k = min(20, args.count - at)
        clean = np.stack([ground.patch(128, rng, surface)[0] for _ in range(k)])
        m = np.stack([hole(128, rng) for _ in range(k)])
        x, mt, refs = torch.from_numpy(clean), torch.from_numpy(m)[:, None], [reference(c, h) for c, h in zip(clean, m)]
        fill = lambda net: decode(b, latents(b, net, x, mt, [wording(args, surface)] * k, 10.0, 1000 + at, args.steps), 128)
        simple = lambda how: [inpaint(c, h, how) for c, h in zip(clean, m)]
        methods = {"VAE alone (floor)": lambda: through(b, x)} | {f"model, {q}, {args.prompt}": lambda net=net: fill(net) for q, net in nets.items()}
        methods |= {"Telea": lambda: simple(cv2.INPAINT_TELEA), "Navier-Stokes": lambda: simple(cv2.INPAINT_NS),
                    "mean colour": lambda: [np.broadcast_to(c[:, h == 0].mean(1)[:, None, None], c.shape) for c, h in zip(clean, m)]}
        for name in methods.keys() - known:
            f = methods[name]()
            rows.setdefault(name, []).extend(measure(clean[i], f[i], m[i], refs[i]) for i in range(k))
    return {name: {key: float((np.median if key == "contrast" else np.mean)([r[key] for r in rs])) for key in rs[0]}
            for name, rs in rows.items()}


def table(b, ground, args):
    nets = {k: b.transformer(FILES[k]) for k in args.quants.split(",")}
    for surface in args.surfaces.split(","):
        path = args.out / f"table-{surface}.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        known |= rows_of(b, nets, ground, surface, known.keys(), args)
        path.write_text(json.dumps(known, indent=1))
        print(surface, {n: {k: round(v, 2) for k, v in r.items()} for n, r in known.items()}, flush=True)
    order = [f"model, {q}, {p}" for p in ("production", "empty", "noun") for q in FILES] + ["VAE alone (floor)", "Telea", "Navier-Stokes", "mean colour"]
    result = {s: json.loads(p.read_text()) for s in model.SURFACES if (p := args.out / f"table-{s}.json").exists()}
    order = [n for n in order if any(n in r for r in result.values())]
    lines, show = [], lambda r, key, digits: f"{r[key]:.{digits}f}" if r else ""
    for key, digits in (("L1", 1), ("Gabor", 2), ("spectrum", 2), ("contrast", 2)):
        lines += [f"\n**{key}**\n", "| | " + " | ".join(result) + " |", "|---|" + "---:|" * len(result)]
        lines += [f"| {n} | " + " | ".join(show(result[s].get(n), key, digits) for s in result) + " |" for n in order]
    (args.out / "table.md").write_text("\n".join(lines) + "\n")


def sessions(args, ground):
    """Three pictures at 256x256 with their holes: both sessions cut to the mask's box with a margin, and held-out brick."""
    out = []
    for name in ("leash-on-grass", "hand-on-paving-edge"):
        im = cv2.imread(str(args.sessions / name / "image.png"))[..., ::-1]
        m = (cv2.imread(str(args.sessions / name / "mask.png"), 0) >= 128).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(m)
        keep = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= 500]
        m = cv2.dilate(np.isin(labels, keep).astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (21, 21)))
        ys, xs = np.nonzero(m)
        side = min(int(max(np.ptp(xs), np.ptp(ys)) * 1.3), *m.shape)
        x0 = int(np.clip((xs.min() + xs.max()) / 2 - side / 2, 0, m.shape[1] - side))
        y0 = int(np.clip((ys.min() + ys.max()) / 2 - side / 2, 0, m.shape[0] - side))
        cut = lambda t: cv2.resize(t[y0:y0 + side, x0:x0 + side].astype(np.float32), (256, 256), interpolation=cv2.INTER_AREA)
        out.append((cut(im).transpose(2, 0, 1) / 127.5 - 1, (cut(m) >= 0.5).astype(np.float32)))
    rng = np.random.default_rng(9)
    out.append((ground.patch(256, rng, "brick")[0], hole(256, rng)))
    return torch.from_numpy(np.stack([x for x, _ in out]).astype(np.float32)), torch.from_numpy(np.stack([m for _, m in out]))[:, None]


def quants(b, ground, args):
    x, m = sessions(args, ground)
    prompts = [model.PRODUCTION] * 3
    full = b.transformer(FULL)
    nets = {k: b.transformer(f) for k, f in FILES.items()}
    error = {k: [] for k in nets}
    for seed in range(5):
        want = latents(b, full, x, m, prompts, 10.0, seed, args.steps)
        for k, net in nets.items():
            error[k].append((latents(b, net, x, m, prompts, 10.0, seed, args.steps) - want).abs().mean((1, 2)).tolist())
    lines = ["| | leash-on-grass | hand-on-paving-edge | brick | mean |", "|---|---:|---:|---:|---:|"]
    for k, e in error.items():
        e = np.array(e)
        lines.append(f"| {k} | " + " | ".join(f"{v:.4f}" for v in e.mean(0)) + f" | {e.mean():.4f} |")
    print("\n".join(lines))
    (args.out / "quants.md").write_text("\n".join(lines) + "\n")


u8 = lambda x: np.rint((np.asarray(x).transpose(1, 2, 0) + 1) * 127.5).clip(0, 255).astype(np.uint8)


def sheets(b, ground, args):
    net = b.transformer(FILES["Q8_0"])
    rng = np.random.default_rng(args.seed + 24)
    clean, m, names = [], [], []
    for i in range(24):
        names.append(model.SURFACES[i % 9])
        clean.append(ground.patch(128, rng, names[-1])[0])
        m.append(hole(128, rng))
    x, mt = torch.from_numpy(np.stack(clean)), torch.from_numpy(np.stack(m))[:, None]
    fill = decode(b, latents(b, net, x, mt, [wording(args, n) for n in names], 10.0, args.seed, args.steps), 128)
    rec, cells = through(b, x), []
    for i in range(24):
        h = m[i] > 0
        tel = inpaint(clean[i], m[i], cv2.INPAINT_TELEA)
        masked = u8(clean[i])
        masked[h] = (255, 0, 255)
        cells.append(np.concatenate([masked, u8(np.where(h, fill[i], clean[i])), u8(clean[i]), u8(np.where(h, rec[i], clean[i])), u8(tel)], 1))
    cells = [np.pad(c, ((2, 2), (2, 6), (0, 0)), constant_values=128) for c in cells]
    cv2.imwrite(str(args.sheets / "samples.jpg"), np.concatenate([np.concatenate(cells[i::3], 0) for i in range(3)], 1)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])

    xs, ms = sessions(args, ground)
    x, h, rows = xs[:1], ms[:1], []
    prompts = [model.PRODUCTION, "", "grass", "gravel", "sand", "leaves"]
    for g in (2.0, 4.0, 10.0, 20.0, 30.0):
        k = len(prompts)
        f = decode(b, latents(b, net, x.repeat(k, 1, 1, 1), h.repeat(k, 1, 1, 1), prompts, g, 42, args.steps), 256)
        rows.append(np.concatenate([u8(np.where(h[0, 0].numpy() > 0, i, x[0].numpy())) for i in f], 1))
    sheet = np.concatenate(rows, 0)
    cv2.imwrite(str(args.sheets / "axes.jpg"), cv2.resize(sheet, None, fx=0.625, fy=0.625, interpolation=cv2.INTER_AREA)[..., ::-1],
                [cv2.IMWRITE_JPEG_QUALITY, 85])


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--model", type=Path, default=Path(".."))
    ap.add_argument("--sources", type=Path, default=Path("sources"))
    ap.add_argument("--sessions", type=Path, default=Path("../../../sessions"))
    ap.add_argument("--out", type=Path, default=Path("work/eval"))
    ap.add_argument("--sheets", type=Path, default=Path(".."))
    ap.add_argument("--parts", default="table,quants,sheets")
    ap.add_argument("--surfaces", default=",".join(model.SURFACES))
    ap.add_argument("--quants", default="Q4_0,Q5_K_S,Q8_0")
    ap.add_argument("--count", type=int, default=100)
    ap.add_argument("--prompt", choices=["production", "empty", "noun"], default="production")
    ap.add_argument("--steps", type=int, default=STEPS)
    ap.add_argument("--seed", type=int, default=7)
    args = ap.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    args.sheets.mkdir(parents=True, exist_ok=True)
    b, ground = bundle.Bundle(args.model), data.Ground(args.sources, "test")
    b.decoder = model.Decoder.of(b.vae)
    for part in args.parts.split(","):
        dict(table=table, quants=quants, sheets=sheets)[part](b, ground, args)


if __name__ == "__main__":
    main()
