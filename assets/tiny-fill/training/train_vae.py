#!/usr/bin/env python3
"""Train the VAE's decoder (the encoder is principal components and is not trained).

    python train_vae.py --sources sources --out work --minutes 20

Writes work/vae.pt every 200 steps and resumes from it: run it again with the same --out for more minutes.
Loss: L1 of pixels, of differences between neighbours, of 8x8 block means (colour and light), and of the local
energy in four Laplacian bands, which keeps fine texture that the latents do not carry from being blurred away.
"""
import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import data
import model


def bands(x):
    """Laplacian bands of the luma of (b, 3, n, n): three finest levels."""
    y, out = x.mean(1, keepdim=True), []
    for _ in range(3):
        low = F.avg_pool2d(y, 2)
        out.append(y - F.interpolate(low, scale_factor=2, mode="bilinear"))
        y = low
    return out


def loss_of(x, y):
    d = lambda t: (t[..., 1:, :] - t[..., :-1, :], t[..., 1:] - t[..., :-1])
    l1 = (x - y).abs().mean()
    grad = sum((a - b).abs().mean() for a, b in zip(d(x), d(y)))
    low = (F.avg_pool2d(x, 8) - F.avg_pool2d(y, 8)).abs().mean()
    energy = 0
    for a, b in zip(bands(x), bands(y)):
        e = lambda t: (F.avg_pool2d(t * t, 8, 4) + 1e-4).sqrt()
        energy = energy + (e(a) - e(b)).abs().mean()
    return l1 + 0.5 * grad + 2 * low + 1.0 * energy, dict(l1=l1, grad=grad, low=low, energy=energy)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--sources", type=Path, default=Path("sources"))
    ap.add_argument("--out", type=Path, default=Path("work"))
    ap.add_argument("--minutes", type=float, default=20, help="how long this run trains; the rate falls over it")
    ap.add_argument("--size", type=int, default=96)
    ap.add_argument("--batch", type=int, default=8)
    ap.add_argument("--rate", type=float, default=1e-3)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    ground = data.Ground(args.sources, "train")
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    dec, path, step = model.Decoder(), args.out / "vae.pt", 0
    if path.exists():
        saved = torch.load(path)
        dec.load_state_dict(saved["decoder"])
        rows, mean, step = saved["rows"], saved["mean"], saved["step"]
    else:
        rng = np.random.default_rng(args.seed)
        x = torch.from_numpy(np.stack([ground.patch(128, rng)[0] for _ in range(600)]))
        rows, mean, std = model.principal_components(x)
        model.set_decoder(dec, rows, mean, torch.Generator().manual_seed(args.seed))
        with torch.no_grad():
            x = x[::20]
            z = model.encode(x, rows, mean)
            y = (z.flatten(2).transpose(1, 2) @ torch.linalg.pinv(rows).T + mean).reshape(-1, 16, 16, 8, 8, 3)
            y = y.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)
            print("latent deviations", [round(v, 2) for v in std.tolist()])
            print(f"L1 of the components' own inverse {(y - x).abs().mean():.4f}, of block means {(dec(z) - x).abs().mean():.4f}", flush=True)
    opt = torch.optim.AdamW(dec.parameters(), args.rate, betas=(0.9, 0.98), weight_decay=0)
    if path.exists() and "opt" in saved:
        opt.load_state_dict(saved["opt"])
    rng = np.random.default_rng([args.seed, step])
    start, mean_loss = time.time(), {}

    def save():
        torch.save(dict(decoder=dec.state_dict(), rows=rows, mean=mean, step=step, opt=opt.state_dict()), path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)

    save()  # the components are in it, so that the transformer can start
    while (done := (time.time() - start) / (args.minutes * 60)) < 1:
        rate = args.rate * min(1, (step + 1) / 60) * (0.5 + 0.5 * math.cos(math.pi * done) + 0.01)
        for g in opt.param_groups:
            g["lr"] = rate
        x = torch.from_numpy(np.stack([ground.patch(args.size, rng)[0] for _ in range(args.batch)]))
        z = model.encode(x, rows, mean)
        y = dec(z + 0.02 * torch.randn_like(z))
        loss, parts = loss_of(x, y)
        opt.zero_grad()
        loss.backward()
        dec.keep_colour()
        torch.nn.utils.clip_grad_norm_(dec.parameters(), 1.0)
        opt.step()
        step += 1
        for k, v in parts.items():
            mean_loss[k] = mean_loss.get(k, v.item()) * 0.96 + v.item() * 0.04
        if step % 25 == 0:
            print(step, f"{time.time() - start:.0f} s", {k: round(v, 4) for k, v in mean_loss.items()}, flush=True)
        if step % 200 == 0:
            save()
    save()


if __name__ == "__main__":
    main()
