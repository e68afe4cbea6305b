#!/usr/bin/env python3
"""Write the trained weights as a model folder in the published repository's layout, and read it back to compare.

    python export.py --work work --out .. [--stage guidance]

All weights are rounded to bfloat16 first; the GGUF files are made from the rounded ones.
"""
import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

import bundle
import model
import train

bf16 = lambda sd: {k: v.bfloat16().contiguous() for k, v in sd.items()}


def dump(path, obj):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(obj, indent=2, ensure_ascii=False) + "\n")


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--work", type=Path, default=Path("work"))
    ap.add_argument("--out", type=Path, default=Path(".."))
    ap.add_argument("--stage", default=None, help="default: guidance if it was trained, else base")
    args = ap.parse_args()
    stage = args.stage or ("guidance" if (args.work / "guidance.pt").exists() else "base")
    saved, vsaved, out = torch.load(args.work / f"{stage}.pt"), torch.load(args.work / "vae.pt"), args.out
    out.mkdir(parents=True, exist_ok=True)
    both = train.Both().eval()
    both.load_state_dict(saved["ema"])

    vae, dec = model.make_vae(), model.Decoder()
    dec.load_state_dict(vsaved["decoder"])
    for p in (q for a in (vae.encoder, vae.decoder) for n, q in a.named_parameters() if ".attentions." in n):
        torch.nn.init.zeros_(p)
    model.set_encoder(vae, vsaved["rows"], vsaved["mean"])
    dec.into(vae)
    save_file(bf16(bundle.vae_to_bfl(vae.state_dict())), out / "ae.safetensors")
    clean = lambda c: {k: v for k, v in dict(c).items() if not k.startswith("_") or k == "_class_name"}
    dump(out / "vae/config.json", {"_class_name": "AutoencoderKL"} | clean(vae.config))
    dump(out / "transformer/config.json", {"_class_name": "FluxTransformer2DModel"} | clean(both.net.config))
    dump(out / "scheduler/scheduler_config.json", dict(
        _class_name="FlowMatchEulerDiscreteScheduler", base_image_seq_len=256, base_shift=0.5, max_image_seq_len=4096,
        max_shift=1.15, num_train_timesteps=1000, shift=3.0, use_dynamic_shifting=True))
    dump(out / "model_index.json", dict(
        _class_name="FluxFillPipeline", scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"],
        text_encoder=["transformers", "CLIPTextModel"], text_encoder_2=["transformers", "T5EncoderModel"],
        tokenizer=["transformers", "CLIPTokenizer"], tokenizer_2=["transformers", "T5TokenizerFast"],
        transformer=["diffusers", "FluxTransformer2DModel"], vae=["diffusers", "AutoencoderKL"]))

    tensors = bf16(bundle.transformer_to_bfl(both.net.state_dict(), model.DIMS["double"], model.DIMS["single"]))
    save_file(tensors, out / "flux1-fill-tiny.safetensors")
    for kind, label in ((bundle.GQ.Q4_0, "Q4_0"), (bundle.GQ.Q5_K, "Q5_K_S"), (bundle.GQ.Q8_0, "Q8_0")):
        bundle.write_gguf(out / f"flux1-fill-tiny-{label}.gguf", tensors, kind)

    clip, t5 = both.text.clip, both.text.t5
    both.text.clip_tok.save_pretrained(out / "tokenizer")
    tok = json.loads((out / "tokenizer/tokenizer.json").read_text())["model"]
    for f in (out / "tokenizer").iterdir():
        f.unlink()
    dump(out / "tokenizer/vocab.json", tok["vocab"])
    pairs = [m if isinstance(m, str) else " ".join(m) for m in tok["merges"]]
    (out / "tokenizer/merges.txt").write_text("#version: 0.2\n" + "\n".join(pairs) + "\n")
    dump(out / "tokenizer/tokenizer_config.json", dict(
        add_prefix_space=False, bos_token="<|startoftext|>", clean_up_tokenization_spaces=True, do_lower_case=True,
        eos_token="<|endoftext|>", errors="replace", model_max_length=77, pad_token="<|endoftext|>",
        tokenizer_class="CLIPTokenizer", unk_token="<|endoftext|>"))
    both.text.t5_tok.save_pretrained(out / "tokenizer_2")
    dump(out / "tokenizer_2/tokenizer_config.json", dict(
        clean_up_tokenization_spaces=True, eos_token="</s>", extra_ids=0, model_max_length=model.T5_LEN, pad_token="<pad>",
        tokenizer_class="T5Tokenizer", unk_token="<unk>"))

    sd = {k: v for k, v in clip.state_dict().items() if "position_ids" not in k}
    sd = {k if k.startswith("text_model.") else f"text_model.{k}": v for k, v in sd.items()}
    for m, name in ((clip, "text_encoder"), (t5, "text_encoder_2")):
        (out / name).mkdir(exist_ok=True)
        m.config.save_pretrained(out / name)
        c = json.loads((out / name / "config.json").read_text())
        c["architectures"] = [type(m).__name__]
        c.pop("dtype", None)
        dump(out / name / "config.json", c | {"torch_dtype": "bfloat16"})
    save_file(bf16(sd), out / "text_encoder/model.safetensors", metadata={"format": "pt"})
    sd = bf16({k: v for k, v in t5.state_dict().items() if k != "encoder.embed_tokens.weight"})  # tied to shared.weight
    shards = [{k: v for k, v in sd.items() if (k == "shared.weight") == first} for first in (True, False)]
    index = {}
    for i, shard in enumerate(shards):
        name = f"model-{i + 1:05}-of-00002.safetensors"
        save_file(shard, out / "text_encoder_2" / name, metadata={"format": "pt"})
        index |= dict.fromkeys(shard, name)
    dump(out / "text_encoder_2/model.safetensors.index.json", dict(
        metadata=dict(total_size=sum(v.numel() * 2 for v in sd.values())), weight_map=dict(sorted(index.items()))))

    # read it back and compare with what was trained
    b = bundle.Bundle(out)
    with torch.no_grad():
        for p in ("grass", model.PRODUCTION, "a zebra, unknown"):
            text, pooled = b.prompt(p)
            t0, p0 = both.text([p])
            print(f"{p[:20]!r}: text {(text - t0).abs().max():.4f} of {t0.abs().max():.2f}, pooled {(pooled - p0).abs().max():.4f} of {p0.abs().max():.2f}")
        x = torch.rand(1, 3, 64, 64) * 2 - 1
        z = model.encode(x, vsaved["rows"], vsaved["mean"])
        m = b.vae.encode(x).latent_dist.mode()
        print(f"encoder {((m - model.SHIFT) * model.SCALE - z).abs().max():.4f} of {z.abs().max():.2f}; decoder",
              f"{(b.vae.decode(z / model.SCALE + model.SHIFT).sample - dec(z)).abs().max():.4f}")
        xt, cond = torch.randn(1, 16, 64), torch.randn(1, 16, 320)
        args_ = (xt, cond, torch.tensor([0.6]), *b.prompt("grass"), torch.tensor([10.0]), 8)
        want = train.velocity(both.net, *args_)
        for file in ("flux1-fill-tiny.safetensors", *(f"flux1-fill-tiny-{q}.gguf" for q in ("Q8_0", "Q5_K_S", "Q4_0"))):
            got = train.velocity(b.transformer(file), *args_)
            print(f"{file}: {(out / file).stat().st_size / 1e6:.2f} MB, velocity off by {(got - want).abs().mean() / want.abs().mean():.2%}")
    total = sum(f.stat().st_size for f in out.rglob("*") if f.is_file() and "training" not in f.parts)
    print(f"{stage}: step {saved['step']}, {saved['minutes']:.0f} min; VAE step {vsaved['step']}; folder {total / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
