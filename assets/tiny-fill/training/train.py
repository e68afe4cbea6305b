#!/usr/bin/env python3
"""Train the transformer and the text encoders by flow matching, then distil guidance into them.

    python train.py --sources sources --out work --stage base --minutes 40
    python train.py --sources sources --out work --stage guidance --minutes 15

Needs work/vae.pt for the encoder's components. Writes work/<stage>.pt every 200 steps and resumes from it;
`guidance` starts from the averaged weights of `base` and uses them, frozen, as its teacher.

*base*: the prompt names a surface; in a third of the samples it is empty or production's sentence. What the hole
holds follows from the guidance g, drawn from 1 to 40, so that guidance means something without a second model:
in a third of the samples the prompt names another surface than the surroundings', and then the hole holds the
prompt's with probability 1 / (1 + (7 / g)**3.6) (1 % at 2, 12 % at 4, 78 % at 10, 98 % at 20), else the
surroundings'; above 15 the contrast and colour of the hole's ground grow, up to 1.6 times at 40: overdone.
*guidance* (classifier-free guidance distilled as in FLUX.1-dev): the target is v0 + w (v1 - v0), v0 the teacher's
velocity with an empty prompt, v1 with the prompt, w = 1 up to g = 10 and then growing to 2 at 40.
Times are logit-normal with mean 0.5, as sampling with the dynamic shift has more high noise than low.
"""
import argparse
import copy
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import data
import model

LOW, HIGH = 1.0, 40.0  # guidance values trained


def weight_of(g):
    return 1 + (g - 10).clamp(0) / 30


def follows_prompt(g):
    """Probability that a hole holds what the prompt names, where that is not what surrounds it."""
    return 1 / (1 + (7 / g) ** 3.6)


def overdone(x, g):
    """Ground (3, n, n) with more contrast and colour as guidance passes 15."""
    k = 1 + 0.6 * max(0.0, g - 15) / 25
    return np.clip(x.mean((1, 2), keepdims=True) + k * (x - x.mean((1, 2), keepdims=True)) + 0.4 * (k - 1) * (x - x.mean(0)), -1, 1)


class Batches:
    """Random batches of latents, conditioning, prompts."""

    def __init__(self, sources, out, split="train"):
        self.ground = data.Ground(sources, split)
        saved = torch.load(out / "vae.pt")
        self.rows, self.mean = saved["rows"], saved["mean"]

    def sample(self, count, n, rng, odd=0.33, plain=0.33):
        """z0 (b, tokens, 64), cond (b, tokens, 320), prompts, the hole's share of each token (b, tokens, 1), guidance (b,)."""
        xs, seen, ms, prompts, gs = [], [], [], [], []
        for _ in range(count):
            x, surface = self.ground.patch(n, rng)
            m = data.mask(n, rng)
            g = LOW * (HIGH / LOW) ** rng.random()
            inside, u = x, rng.random()
            named = surface
            if u < odd:
                other, named = self.ground.patch(n, rng)
                if rng.random() < follows_prompt(g):
                    inside = other
            prompts.append(["", model.PRODUCTION][rng.integers(2)] if odd <= u < odd + plain else model.prompt_for(named, rng))
            xs.append(np.where(m > 0, overdone(inside, g), x).astype(np.float32))
            seen.append(x * (1 - m))
            ms.append(m[None])
            gs.append(g)
        x, seen, m = (torch.from_numpy(np.stack(t)) for t in (xs, seen, ms))
        e = lambda t: model.pack(model.encode(t, self.rows, self.mean))
        pm = model.pack_mask(m)
        return e(x), torch.cat([e(seen), pm], -1), prompts, pm.mean(-1, keepdim=True), torch.tensor(gs, dtype=torch.float32)


def velocity(net, x, cond, t, text, pooled, guidance, side):
    """The transformer's velocity; side is the latents' height and width."""
    return net(hidden_states=torch.cat([x, cond], -1), encoder_hidden_states=text, pooled_projections=pooled, timestep=t,
               guidance=guidance, img_ids=model.image_ids(side, side), txt_ids=torch.zeros(model.T5_LEN, 3), return_dict=False)[0]


class Both(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.text = model.make_transformer(), model.Text()


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--sources", type=Path, default=Path("sources"))
    ap.add_argument("--out", type=Path, default=Path("work"))
    ap.add_argument("--stage", choices=["base", "guidance"], default="base")
    ap.add_argument("--minutes", type=float, default=40, help="how long this run trains")
    ap.add_argument("--batch", type=int, default=12, help="samples a worker")
    ap.add_argument("--size", type=int, default=128, help="pixels, a multiple of 16")
    ap.add_argument("--large", type=float, default=0.0, help="share of batches at 256 pixels, of a quarter as many samples")
    ap.add_argument("--rate", type=float, default=1.5e-3)
    ap.add_argument("--end", type=float, default=0.02, help="the rate falls to this share of --rate over the run")
    ap.add_argument("--workers", type=int, default=2, help="processes of one thread each; gradients are averaged")
    ap.add_argument("--seed", type=int, default=2)
    args = ap.parse_args()
    with tempfile.TemporaryDirectory() as meet:
        mp.spawn(work, (args, f"{meet}/workers"), nprocs=args.workers)


def work(rank, args, meet):
    """One process: its own batches, the common weights."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{meet}", rank=rank, world_size=args.workers)
    torch.manual_seed(args.seed)
    batches = Batches(args.sources, args.out)
    both, path, step, trained = Both(), args.out / f"{args.stage}.pt", 0, 0.0
    if path.exists():
        saved = torch.load(path)
        both.load_state_dict(saved["model"])
        step, trained = saved["step"], saved["minutes"]
    elif args.stage == "guidance":
        both.load_state_dict(torch.load(args.out / "base.pt")["ema"])
    teacher = None
    if args.stage == "guidance":
        teacher = Both().eval().requires_grad_(False)
        teacher.load_state_dict(torch.load(args.out / "base.pt")["ema"])
    ema = copy.deepcopy(both).eval().requires_grad_(False)
    if path.exists():
        ema.load_state_dict(saved["ema"])
    opt = torch.optim.AdamW(both.parameters(), args.rate, betas=(0.9, 0.98), weight_decay=0.01)
    if path.exists() and "opt" in saved:  # `restore.py` has none
        opt.load_state_dict(saved["opt"])
    rng, gen = np.random.default_rng([args.seed, step, rank]), torch.Generator().manual_seed((args.seed * 1000003 + step) * 64 + rank)
    if rank == 0:
        print(sum(p.numel() for p in both.net.parameters()), "parameters in the transformer,", sum(p.numel() for p in both.text.parameters()), "in the text encoders", flush=True)
    start, show, first = time.time(), None, step

    def save():
        if rank:
            return
        torch.save(dict(model=both.state_dict(), ema=ema.state_dict(), opt=opt.state_dict(), step=step,
                        minutes=trained + (time.time() - start) / 60), path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)

    done, params = 0.0, list(both.parameters())
    while done < 1:
        rate = args.rate * min(1, (step + 1) / 100, (step - first + 1) / 20) * (args.end + (1 - args.end) * (0.5 + 0.5 * math.cos(math.pi * done)))
        for g in opt.param_groups:
            g["lr"] = rate
        n, b = (256, args.batch // 4) if rng.random() < args.large else (args.size, args.batch)
        z0, cond, prompts, hole, g = batches.sample(b, n, rng)
        t = torch.sigmoid(torch.randn(b, generator=gen) + 0.5)
        noise = torch.randn(z0.shape, generator=gen)
        xt = z0 + t[:, None, None] * (noise - z0)
        target = noise - z0
        if teacher is not None:
            with torch.no_grad():
                text, pooled = teacher.text(prompts + [""] * b)
                two = lambda v: torch.cat([v, v])
                v1, v0 = velocity(teacher.net, two(xt), two(cond), two(t), text, pooled, two(g), n // 8).chunk(2)
                target = v0 + weight_of(g)[:, None, None] * (v1 - v0)
        text, pooled = both.text(prompts)
        v = velocity(both.net, xt, cond, t, text, pooled, g, n // 8)
        w = 0.1 + hole
        loss = ((v - target) ** 2 * w).sum() / (w.sum() * 64)
        opt.zero_grad()
        loss.backward()
        flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in params]
                         + [torch.tensor([(time.time() - start) / (args.minutes * 60), loss.item()])])
        dist.all_reduce(flat)
        flat /= args.workers
        for p, g_ in zip(params, flat[:-2].split([p.numel() for p in params])):
            p.grad = g_.view_as(p)
        done, shown = flat[-2].item(), flat[-1].item()
        torch.nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        opt.step()
        step += 1
        with torch.no_grad():
            k = min(0.99, step / (step + 20))
            for a, p in zip(ema.parameters(), both.parameters()):
                a.lerp_(p, 1 - k)
        show = shown if show is None else 0.97 * show + 0.03 * shown
        if step % 25 == 0 and rank == 0:
            print(step, f"{time.time() - start:.0f} s", f"loss {show:.4f}", flush=True)
        if step % 200 == 0:
            save()
    save()


if __name__ == "__main__":
    main()
