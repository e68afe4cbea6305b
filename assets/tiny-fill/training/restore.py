#!/usr/bin/env python3
"""Make checkpoints from the shipped weights, to train on where those of the first training are gone.

    python restore.py --model .. --out work

Writes work/vae.pt and work/base.pt with the weights as they stand in the files (rounded to bfloat16) and fresh
optimizer states; existing checkpoints are kept.
"""
import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file

import bundle
import model
import train


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--model", type=Path, default=Path(".."))
    ap.add_argument("--out", type=Path, default=Path("work"))
    ap.add_argument("--step", type=int, required=True, help="steps that the shipped transformer had, see MODEL.md; seeds follow from it")
    ap.add_argument("--vae-step", type=int, required=True, help="the same of the decoder")
    ap.add_argument("--minutes", type=float, required=True, help="minutes that the shipped transformer had")
    args = ap.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.out / "vae.pt").exists():
        # the encoder is `set_encoder`'s: its third strided convolution holds the components and their offset
        ae = load_file(args.model / "ae.safetensors")
        w, b = ae["encoder.down.2.downsample.conv.weight"].float(), ae["encoder.down.2.downsample.conv.bias"].float()
        r = torch.zeros(model.LATENT, 8, 8, 3)
        for ch in range(48):  # as `set_encoder` numbers them: (dy2, dx2, dy1, dx1, colour)
            (dy2, dx2, dy1, dx1), c = (ch // 24, ch // 12 % 2, ch // 6 % 2, ch // 3 % 2), ch % 3
            for dy3 in range(2):
                for dx3 in range(2):
                    r[:, 4 * dy3 + 2 * dy2 + dy1, 4 * dx3 + 2 * dx2 + dx1, c] = w[0:3 * model.LATENT:3, ch, dy3, dx3]
        rows = r.reshape(model.LATENT, 192)
        mean = -(torch.linalg.pinv(rows.double()) @ b[0:3 * model.LATENT:3].double()).float()
        decoder = model.Decoder.of(bundle.Bundle(args.model).vae).state_dict()
        torch.save(dict(decoder=decoder, rows=rows, mean=mean, step=args.vae_step), args.out / "vae.pt")
    if not (args.out / "base.pt").exists():
        b, both = bundle.Bundle(args.model), train.Both()
        both.net.load_state_dict(b.transformer("flux1-fill-tiny.safetensors").state_dict())
        both.text.clip.load_state_dict(b.clip.state_dict())
        both.text.t5.load_state_dict(b.t5.state_dict())
        state = both.state_dict()
        torch.save(dict(model=state, ema=state, step=args.step, minutes=args.minutes), args.out / "base.pt")


if __name__ == "__main__":
    main()
