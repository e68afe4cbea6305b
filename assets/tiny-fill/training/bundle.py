"""Reading and writing the published layout: BFL tensor names, safetensors, GGUF.

`load` turns a folder such as `assets/tiny-fill` back into diffusers modules, with the transformer from any of its
files, dequantized exactly to float32.
"""
import json
import logging
from pathlib import Path

import gguf
import numpy as np
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5Tokenizer

GQ = gguf.GGMLQuantizationType
HIPREC = ("img_in.", "txt_in.", "time_in.", "vector_in.", "guidance_in.", "final_layer.")
logging.getLogger("gguf").setLevel(logging.ERROR)


def transformer_to_bfl(sd, double, single):
    """diffusers' FluxTransformer2DModel state dict -> the names of flux1-fill-dev.safetensors."""
    out = {}

    def put(new, *old, swap=False):
        for kind in ("weight", "bias"):
            t = torch.cat([sd[f"{o}.{kind}"] for o in old])
            if swap:  # diffusers: (scale, shift); BFL: (shift, scale)
                t = torch.cat(t.chunk(2)[::-1])
            out[f"{new}.{kind}"] = t

    emb = "time_text_embed"
    for new, old in (("time_in", "timestep_embedder"), ("guidance_in", "guidance_embedder"), ("vector_in", "text_embedder")):
        put(f"{new}.in_layer", f"{emb}.{old}.linear_1")
        put(f"{new}.out_layer", f"{emb}.{old}.linear_2")
    put("img_in", "x_embedder")
    put("txt_in", "context_embedder")
    put("final_layer.linear", "proj_out")
    put("final_layer.adaLN_modulation.1", "norm_out.linear", swap=True)
    for i in range(double):
        s, b = f"transformer_blocks.{i}", f"double_blocks.{i}"
        put(f"{b}.img_mod.lin", f"{s}.norm1.linear")
        put(f"{b}.txt_mod.lin", f"{s}.norm1_context.linear")
        put(f"{b}.img_attn.qkv", *[f"{s}.attn.to_{x}" for x in "qkv"])
        put(f"{b}.txt_attn.qkv", *[f"{s}.attn.add_{x}_proj" for x in "qkv"])
        put(f"{b}.img_attn.proj", f"{s}.attn.to_out.0")
        put(f"{b}.txt_attn.proj", f"{s}.attn.to_add_out")
        put(f"{b}.img_mlp.0", f"{s}.ff.net.0.proj")
        put(f"{b}.img_mlp.2", f"{s}.ff.net.2")
        put(f"{b}.txt_mlp.0", f"{s}.ff_context.net.0.proj")
        put(f"{b}.txt_mlp.2", f"{s}.ff_context.net.2")
        for side, q, k in (("img", "norm_q", "norm_k"), ("txt", "norm_added_q", "norm_added_k")):
            out[f"{b}.{side}_attn.norm.query_norm.scale"] = sd[f"{s}.attn.{q}.weight"]
            out[f"{b}.{side}_attn.norm.key_norm.scale"] = sd[f"{s}.attn.{k}.weight"]
    for i in range(single):
        s, b = f"single_transformer_blocks.{i}", f"single_blocks.{i}"
        put(f"{b}.modulation.lin", f"{s}.norm.linear")
        put(f"{b}.linear1", *[f"{s}.attn.to_{x}" for x in "qkv"], f"{s}.proj_mlp")
        put(f"{b}.linear2", f"{s}.proj_out")
        out[f"{b}.norm.query_norm.scale"] = sd[f"{s}.attn.norm_q.weight"]
        out[f"{b}.norm.key_norm.scale"] = sd[f"{s}.attn.norm_k.weight"]
    return {k: v.contiguous() for k, v in out.items()}


def vae_to_bfl(sd, levels=4):
    """diffusers' AutoencoderKL state dict -> the names of ae.safetensors."""
    out = {}
    for k, v in sd.items():
        p = k.split(".")
        side = p[0]
        if p[1] == "mid_block" and p[2] == "resnets":
            new = [side, "mid", f"block_{int(p[3]) + 1}"] + p[4:]
        elif p[1] == "mid_block":
            leaf = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}[p[4]]
            new = [side, "mid", "attn_1", leaf, p[-1]]
            if v.dim() == 2:
                v = v[:, :, None, None]
        elif p[1] in ("down_blocks", "up_blocks"):
            level = int(p[2]) if p[1] == "down_blocks" else levels - 1 - int(p[2])
            half = p[1][:-7]
            new = [side, half, str(level)]
            new += ["block"] + p[4:] if p[3] == "resnets" else [f"{half}sample"] + p[5:]
        elif p[1] == "conv_norm_out":
            new = [side, "norm_out"] + p[2:]
        else:
            new = p
        out[".".join("nin_shortcut" if x == "conv_shortcut" else x for x in new)] = v.contiguous()
    return out


def invert(forward, module, tensors):
    """Load `tensors` (BFL names) into a diffusers module, by sending element numbers through `forward`."""
    numbers, at = {}, 0
    for k, v in module.state_dict().items():
        numbers[k] = torch.arange(at, at + v.numel()).reshape(v.shape)
        at += v.numel()
    flat = torch.full((at,), float("nan"))
    for name, idx in forward(numbers).items():
        flat[idx.flatten()] = tensors[name].float().flatten()
    assert not flat.isnan().any(), "a tensor is missing"
    module.load_state_dict({k: flat[i.flatten()].reshape(i.shape) for k, i in numbers.items()})
    return module.eval().requires_grad_(False)


def quantize_q5_k(x):
    """Round-to-nearest Q5_K (no error search as in ggml, but a valid encoding).

    Super-block of 256: f16 d, f16 dmin, 12 bytes of 6-bit scales/mins for 8 sub-blocks of 32, 32 bytes of 5th bits,
    128 bytes of nibbles; value = d*sc*q - dmin*m.
    """
    rows = x.reshape(-1, 8, 32).astype(np.float32)
    lo = np.minimum(rows.min(-1), 0)
    scale, minv = (rows.max(-1) - lo) / 31, -lo
    d = (scale.max(-1) / 63).astype(np.float16)
    dmin = (minv.max(-1) / 63).astype(np.float16)
    safe = lambda a: np.where(a == 0, 1, a).astype(np.float32)[..., None]
    sc = np.clip(np.rint(scale / safe(d)), 0, 63).astype(np.uint8)
    m = np.clip(np.rint(minv / safe(dmin)), 0, 63).astype(np.uint8)
    step = d.astype(np.float32)[:, None] * sc
    base = dmin.astype(np.float32)[:, None] * m
    q = np.clip(np.rint((rows + base[..., None]) / safe(step)), 0, 31).astype(np.uint8)
    packed = np.concatenate([
        (sc[:, :4] & 63) | ((sc[:, 4:] >> 4) << 6),
        (m[:, :4] & 63) | ((m[:, 4:] >> 4) << 6),
        (sc[:, 4:] & 15) | ((m[:, 4:] & 15) << 4)], axis=1)
    qh = np.zeros((len(q), 32), np.uint8)
    for sub in range(8):
        qh |= (q[:, sub] >> 4) << sub
    low = q & 15
    qs = (low[:, 0::2] | (low[:, 1::2] << 4)).reshape(len(q), 128)
    raw = np.concatenate([d[:, None].view(np.uint8), dmin[:, None].view(np.uint8), packed, qh, qs], axis=1)
    return np.ascontiguousarray(raw.reshape(x.shape[0], -1))


def write_gguf(path, tensors, kind):
    """As the community's converter writes it: 1-D F32; embedders and last layer BF16; all other 2-D weights `kind`."""
    w = gguf.GGUFWriter(str(path), "flux")
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for name, t in tensors.items():
        a = t.float().numpy()
        k = GQ.F32 if a.ndim == 1 else GQ.BF16 if name.startswith(HIPREC) else kind
        w.add_tensor(name, quantize_q5_k(a) if k == GQ.Q5_K else gguf.quants.quantize(a, k), raw_dtype=k)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def read_gguf(path):
    return {t.name: torch.from_numpy(gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
                                     .reshape(tuple(int(n) for n in reversed(t.shape))).copy())
            for t in gguf.GGUFReader(str(path)).tensors}


class Bundle:
    """A model folder in the published layout, as float32 diffusers and transformers modules."""

    def __init__(self, folder):
        self.folder = folder = Path(folder)
        config = lambda name: {k: v for k, v in json.loads((folder / name / "config.json").read_text()).items() if k[0] != "_"}
        self.vae = AutoencoderKL.from_config(config("vae"))
        invert(lambda sd: vae_to_bfl(sd), self.vae, load_file(folder / "ae.safetensors"))
        self.dims = config("transformer")
        self.clip_tok = CLIPTokenizer(vocab=str(folder / "tokenizer/vocab.json"), merges=str(folder / "tokenizer/merges.txt"), model_max_length=77)
        self.t5_tok = T5Tokenizer.from_pretrained(folder / "tokenizer_2")
        self.clip = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval().requires_grad_(False)
        self.t5 = T5EncoderModel.from_pretrained(folder / "text_encoder_2", dtype=torch.float32).eval().requires_grad_(False)

    def transformer(self, file):
        """The transformer from `flux1-fill-tiny.safetensors` or one of the GGUF files."""
        path = self.folder / file
        tensors = read_gguf(path) if path.suffix == ".gguf" else load_file(path)
        forward = lambda sd: transformer_to_bfl(sd, self.dims["num_layers"], self.dims["num_single_layers"])
        return invert(forward, FluxTransformer2DModel.from_config(self.dims), tensors)

    @torch.no_grad()
    def prompt(self, text):
        """(1, T5 length, width) and (1, pooled width)."""
        ids = lambda tok: tok(text, padding="max_length", max_length=tok.model_max_length, truncation=True, return_tensors="pt").input_ids
        return self.t5(input_ids=ids(self.t5_tok)).last_hidden_state, self.clip(input_ids=ids(self.clip_tok)).pooler_output
