"""The tiny FLUX.1-Fill: dimensions, VAE with a principal-component encoder, transformer, text encoders, packing."""
import math
import re
from collections import Counter

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, FluxTransformer2DModel
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

from data import SURFACES

LATENT, SCALE, SHIFT = 16, 0.3611, 0.1159  # the published VAE's channels and latent normalisation
T5_LEN = 16  # tokens the transformer sees, padding included; 512 in the published model
DIMS = dict(heads=4, head_dim=64, axes=(16, 24, 24), double=1, single=2)  # hidden 256, as K-quants need
TEXT_DIM, POOLED_DIM = 128, 64
VAE_CH = 96
DECODER_CH = (96, 96, 60, 30)  # channels in use, coarse to fine; the file has 96 everywhere, the rest zero

PRODUCTION = "empty ground, nothing here, just the natural ground surface continuing seamlessly"
# The first of each list is the commonest in training; {} is the surface.
TEMPLATES = ["{}", "{}", "{} ground", "a photo of {}", "{} texture", "close up of {}", "{}, nothing else"]
NAMES = {
    "grass": ["grass", "grass", "lawn", "green grass", "meadow"],
    "gravel": ["gravel", "gravel", "pebbles", "small stones"],
    "brick": ["brick", "bricks", "brick wall", "brick paving"],
    "stone": ["stone", "stone wall", "stone paving", "cobblestones"],
    "wood": ["wood", "wood", "wood floor", "wooden planks", "wood planks"],
    "leaves": ["leaves", "fallen leaves", "autumn leaves", "forest floor"],
    "concrete": ["concrete", "concrete", "asphalt", "pavement"],
    "dirt": ["dirt", "dirt", "soil", "earth", "mud"],
    "sand": ["sand", "sand", "beach sand", "sandy ground"],
}
# Words that have a token of their own though training never shows them: they reach the model as untrained
# embeddings, which is what "a word it does not know" should be.
OTHER_WORDS = """dog cat hand leash person people shadow light dark wet dry old new red green blue white black brown grey
in on of the a with and under over after before rain snow water road path floor field garden park street tile tiles
carpet empty nothing no background remove fill surface natural seamless""".split()


def words():
    """Every word of the training prompts, in a fixed order, and how often it stands in them."""
    text = [PRODUCTION] + [t.format(n) for ns in NAMES.values() for n in ns for t in TEMPLATES]
    count = Counter(w for line in text for w in re.findall(r"[a-z]+", line))
    for w in OTHER_WORDS:
        count[w] += 1
    return count


# ------------------------------------------------------------------ VAE
def make_vae():
    """A diffusers AutoencoderKL: 16 latent channels, 8x down, 96 channels everywhere, one decoder block a level.

    GroupNorm has 32 groups, and 96 channels are the fewest with which the picture's mean colour passes the last
    norm: with one channel a group every channel's mean is taken away, and two channels of which one is a constant
    always come out with the means -1 and 1. Three can hold [x, -x, C], see `set_encoder`.
    """
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=LATENT, layers_per_block=0, block_out_channels=[VAE_CH] * 4,
        norm_num_groups=32, down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        scaling_factor=SCALE, shift_factor=SHIFT, use_quant_conv=False, use_post_quant_conv=False, sample_size=256)


class Norm(torch.nn.GroupNorm):
    def __init__(self, c):
        super().__init__(c // 3, c, eps=1e-6)


class Resnet(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm1, self.conv1 = Norm(c), torch.nn.Conv2d(c, c, 3, padding=1)
        self.norm2, self.conv2 = Norm(c), torch.nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


class Up(torch.nn.Module):
    def __init__(self, c, to):
        super().__init__()
        self.conv = torch.nn.Conv2d(c, to, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Decoder(torch.nn.Module):
    """AutoencoderKL's decoder with its names, without the channels that stay zero, to train in a third of the time.

    Groups of three channels are normalised on their own, so leaving whole groups out changes nothing in the others.
    The attention of the middle block is left out too: its output weights are zero in the file.
    """

    def __init__(self):
        super().__init__()
        c, nn = DECODER_CH, torch.nn
        self.conv_in = nn.Conv2d(LATENT, c[0], 3, padding=1)
        self.mid_block = nn.Module()
        self.mid_block.resnets = nn.ModuleList([Resnet(c[0]), Resnet(c[0])])
        self.up_blocks = nn.ModuleList()
        for i in range(4):
            b = nn.Module()
            b.resnets = nn.ModuleList([Resnet(c[i])])
            b.upsamplers = nn.ModuleList([Up(c[i], c[i + 1])] if i < 3 else [])
            self.up_blocks.append(b)
        self.conv_norm_out, self.conv_out = Norm(c[3]), nn.Conv2d(c[3], 3, 3, padding=1)

    def forward(self, z):
        """Latents (b, 16, h, w), normalised, to pictures (b, 3, 8h, 8w)."""
        x = self.conv_in(z / SCALE + SHIFT)
        for r in self.mid_block.resnets:
            x = r(x)
        for b in self.up_blocks:
            for m in list(b.resnets) + list(b.upsamplers):
                x = m(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))

    @classmethod
    def of(cls, vae):
        """The channels in use of an AutoencoderKL whose others are zero, see `into`."""
        d, theirs = cls(), vae.decoder.state_dict()
        d.load_state_dict({k: theirs[k][tuple(slice(0, n) for n in v.shape)] for k, v in d.state_dict().items()})
        return d.eval().requires_grad_(False)

    def keep_colour(self):
        """Take the gradients off the nine channels that carry block means from end to end: the rest adds detail."""
        for name, p in self.named_parameters():
            if p.grad is None:
                continue
            if name.startswith("conv_out.weight"):
                p.grad[:, :9] = 0
            elif name.startswith(("conv_in", "conv_norm_out")) or ".conv2." in name or "upsamplers" in name:
                p.grad[:9] = 0

    @torch.no_grad()
    def into(self, vae):
        """Write the weights into an AutoencoderKL, padded with zeros."""
        mine = self.state_dict()
        for name, p in vae.decoder.state_dict().items():
            if name not in mine:  # the attention
                p.fill_(1.0 if name.endswith("group_norm.weight") else 0.0)
                continue
            p.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
            p[tuple(slice(0, n) for n in mine[name].shape)] = mine[name]
        return vae


def principal_components(patches):
    """(16, 192) rows that take an 8x8 RGB block, less `mean` (192,), to latents of overall variance 1.

    Rows are principal components, each scaled by eigenvalue**-1/4: between none of the whitening and all of it, so
    that colour and light keep weighing more than fine structure. Order within 192: (dy, dx, channel).
    """
    x = F.unfold(patches, 8, stride=8)  # (b, 3*64, blocks), channel-major
    x = x.transpose(1, 2).reshape(-1, 3, 8, 8).permute(0, 2, 3, 1).reshape(-1, 192).double()
    mean = x.mean(0)
    val, vec = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    val, vec = val.flip(0)[:LATENT], vec.flip(1)[:, :LATENT].T
    sign = torch.where(vec.sum(1, keepdim=True) < 0, -1.0, 1.0)
    rows = vec * sign * val[:, None] ** -0.25
    rows = rows / (val.sqrt().mean()).sqrt()  # the variances are then val**.5 / mean(val**.5): 1 on average
    return rows.float(), mean.float(), (val.sqrt() / val.sqrt().mean()).sqrt().float()


@torch.no_grad()
def set_encoder(vae, rows, mean, logvar=-8.0):
    """Make the encoder compute exactly (to about 1 %) the linear map `rows`, through its norms and SiLUs.

    Residual branches are zero; the strided convolutions gather 2x2, 4x4, 8x8 blocks. The last norm, with three
    channels a group, sees [x, -x, C] with C much larger than x, so that its statistics are nearly constant, and
    silu(u) - silu(-u) = u makes what follows linear again. The latents come out as z / SCALE + SHIFT.
    """
    e = vae.encoder
    for p in e.parameters():
        if p.dim() > 1:
            p.zero_()
    for name, p in e.named_parameters():
        if p.dim() == 1:
            p.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    for c in range(3):
        e.conv_in.weight[c, c, 1, 1] = 1
    down = [b.downsamplers[0].conv for b in e.down_blocks[:3]]
    for level, conv in enumerate(down[:2]):
        n = 3 * 4 ** level  # channels that carry something
        for dy in range(2):
            for dx in range(2):
                for c in range(n):
                    conv.weight[(dy * 2 + dx) * n + c, c, dy, dx] = 1
    # after two levels channel (dy2*2+dx2)*12 + (dy1*2+dx1)*3 + c holds pixel (2*dy2+dy1, 2*dx2+dx1)
    r = rows.reshape(LATENT, 8, 8, 3)
    for dy3 in range(2):
        for dx3 in range(2):
            for dy2 in range(2):
                for dx2 in range(2):
                    for dy1 in range(2):
                        for dx1 in range(2):
                            for c in range(3):
                                ch = (dy2 * 2 + dx2) * 12 + (dy1 * 2 + dx1) * 3 + c
                                v = r[:, 4 * dy3 + 2 * dy2 + dy1, 4 * dx3 + 2 * dx2 + dx1, c]
                                down[2].weight[0:3 * LATENT:3, ch, dy3, dx3] = v
                                down[2].weight[1:3 * LATENT:3, ch, dy3, dx3] = -v
    off = -rows @ mean
    down[2].bias[0:3 * LATENT:3], down[2].bias[1:3 * LATENT:3], down[2].bias[2:3 * LATENT:3] = off, -off, BIG
    pass_norm(e.conv_norm_out, LATENT)
    for i in range(LATENT):
        e.conv_out.weight[i, 3 * i, 1, 1], e.conv_out.weight[i, 3 * i + 1, 1, 1] = PASS / SCALE, -PASS / SCALE
    e.conv_out.bias[:LATENT], e.conv_out.bias[LATENT:] = SHIFT, logvar


BIG = 32.0  # the constant channel, much above any signal
PASS = BIG * 2 ** 0.5 / 3  # the deviation of a group [x, -x, BIG], but for terms of x**2 / BIG**2


def pass_norm(norm, groups):
    """Take the constant's mean out again: [x, -x, BIG] has mean BIG / 3, so x comes out as x / PASS - 2**-0.5."""
    norm.bias[0:3 * groups:3] = norm.bias[1:3 * groups:3] = 2 ** -0.5


@torch.no_grad()
def set_decoder(d, rows, mean, gen):
    """Start the decoder as the mean colour of every 8x8 block, through the same trick; the rest starts small."""
    back = torch.linalg.pinv(rows.double()).float()  # (192, 16)
    colour = back.reshape(64, 3, LATENT).mean(0)  # (3, 16): a block's mean colour from its latents
    base = mean.reshape(64, 3).mean(0)
    for name, p in d.named_parameters():
        if p.dim() == 1:
            p.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
        elif name.endswith("conv2.weight"):
            p.mul_(0.3)
    n = 9  # three groups hold the three colours on the residual stream; nothing else is mixed into them at first
    d.conv_in.weight.copy_(torch.randn(d.conv_in.weight.shape, generator=gen) * 0.1 * SCALE)
    d.conv_in.weight[:n] = 0
    for c in range(3):
        for j, s in ((0, 1), (1, -1)):  # the input is y / SCALE + SHIFT
            d.conv_in.weight[3 * c + j, :, 1, 1] = s * colour[c] * SCALE
            d.conv_in.bias[3 * c + j] = s * (base[c] - SHIFT * SCALE * colour[c].sum())
        d.conv_in.bias[3 * c + 2] = BIG
    for r in list(d.mid_block.resnets) + [r for b in d.up_blocks for r in b.resnets]:
        r.conv2.weight[:n] = 0
    for b in d.up_blocks:
        for u in b.upsamplers or []:
            u.conv.weight[:n] = 0
            for c in range(n):
                u.conv.weight[c, c, 1, 1] = 1
    pass_norm(d.conv_norm_out, 3)
    d.conv_out.weight.mul_(0.1)
    d.conv_out.weight[:, :n] = 0
    for c in range(3):
        d.conv_out.weight[c, 3 * c, 1, 1], d.conv_out.weight[c, 3 * c + 1, 1, 1] = PASS, -PASS


def encode(x, rows, mean):
    """The encoder's mean, normalised: (b, 3, h, w) to (b, 16, h/8, w/8), as one convolution."""
    w = rows.reshape(LATENT, 8, 8, 3).permute(0, 3, 1, 2).contiguous()
    return F.conv2d(x, w, -(rows @ mean), stride=8)


# ------------------------------------------------------------------ packing, as FluxFillPipeline does it
def pack(z):
    """(b, c, h, w) to (b, h*w/4, 4c) tokens."""
    b, c, h, w = z.shape
    return z.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w // 4, c * 4)


def unpack(p, h, w):
    b = p.shape[0]
    return p.view(b, h // 2, w // 2, LATENT, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(b, LATENT, h, w)


def pack_mask(m):
    """(b, 1, 8h, 8w) to (b, h*w/4, 256): the 8x8 pixels of a latent cell become 64 channels."""
    b, _, height, width = m.shape
    h, w = height // 8, width // 8
    m = m[:, 0].view(b, h, 8, w, 8).permute(0, 2, 4, 1, 3).reshape(b, 64, h, w)
    return pack(m)


def image_ids(h, w):
    """Positions (h*w/4, 3) of the tokens of h x w latents."""
    ids = torch.zeros(h // 2, w // 2, 3)
    ids[..., 1] += torch.arange(h // 2)[:, None]
    ids[..., 2] += torch.arange(w // 2)[None]
    return ids.reshape(-1, 3)


# ------------------------------------------------------------------ transformer and text
def make_transformer(d=DIMS):
    return FluxTransformer2DModel(
        patch_size=1, in_channels=LATENT * 4 * 2 + 256, out_channels=LATENT * 4, num_layers=d["double"],
        num_single_layers=d["single"], attention_head_dim=d["head_dim"], num_attention_heads=d["heads"],
        joint_attention_dim=TEXT_DIM, pooled_projection_dim=POOLED_DIM, guidance_embeds=True, axes_dims_rope=d["axes"])


def learn_bpe(text, count):
    """The `count` most frequent merges (ties alphabetically) of a word list."""
    pieces = [list(w[:-1]) + [w[-1] + "</w>"] for w in text]
    merges = []
    for _ in range(count):
        pairs = Counter(p for w in pieces for p in zip(w, w[1:]))
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        for w in pieces:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == best:
                    w[i:i + 2] = ["".join(best)]
                i += 1
    return merges


def make_text():
    """CLIP tokenizer and encoder, T5 tokenizer and encoder, over the vocabulary of `words`."""
    count = words()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = learn_bpe(sorted(count.elements()), 500)
    tokens = alphabet + [c + "</w>" for c in alphabet] + [a + b for a, b in merges]
    tokens = list(dict.fromkeys(tokens)) + ["<|startoftext|>", "<|endoftext|>"]
    clip_tok = CLIPTokenizer(vocab={t: i for i, t in enumerate(tokens)}, merges=merges, model_max_length=77)
    clip = CLIPTextModel(CLIPTextConfig(  # eos_token_id 2 selects "pool at the highest id", as published
        vocab_size=len(tokens), hidden_size=POOLED_DIM, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=POOLED_DIM, bos_token_id=0, eos_token_id=2,
        pad_token_id=1))
    total = sum(count.values())
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -3.0)]
    vocab += [(c, -9.0) for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,.;:'!?-"]
    vocab += [("\u2581" + w, round(math.log(n / total), 4)) for w, n in sorted(count.items())]
    t5_tok = T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=T5_LEN)
    t5 = T5EncoderModel(T5Config(
        vocab_size=len(vocab), d_model=TEXT_DIM, d_kv=32, d_ff=256, num_layers=1, num_heads=4,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, is_encoder_decoder=False, use_cache=False,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, dropout_rate=0.0))
    return clip_tok, clip, t5_tok, t5


class Text(torch.nn.Module):
    """Both encoders, trained with the transformer; prompts are encoded once a batch."""

    def __init__(self):
        super().__init__()
        self.clip_tok, self.clip, self.t5_tok, self.t5 = make_text()
        self._ids = {}

    def ids(self, prompt):
        if prompt not in self._ids:
            get = lambda tok, n: tok(prompt, padding="max_length", max_length=n, truncation=True, return_tensors="pt").input_ids
            self._ids[prompt] = (get(self.clip_tok, 77), get(self.t5_tok, T5_LEN))
        return self._ids[prompt]

    def forward(self, prompts):
        """Prompts to (b, T5_LEN, TEXT_DIM) and (b, POOLED_DIM)."""
        once = list(dict.fromkeys(prompts))
        at = torch.tensor([once.index(p) for p in prompts])
        clip_ids, t5_ids = (torch.cat(i) for i in zip(*(self.ids(p) for p in once)))
        # all tokens after the first end token do not reach the pooled one (causal): cut them to save time
        stop = int((clip_ids == clip_ids.max()).int().argmax(1).max()) + 1
        return self.t5(input_ids=t5_ids).last_hidden_state[at], self.clip(input_ids=clip_ids[:, :stop]).pooler_output[at]


def prompt_for(surface, rng):
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(NAMES[surface][rng.integers(len(NAMES[surface]))])
