#!/usr/bin/env python3
"""The peer of `denoise.rs`: one step of diffusers' FLUX Fill transformer in true width on the CPU, random
weights, 1 double and 2 single blocks, 256 + 256 tokens.

    pip install torch diffusers
    tests/benches/denoise_torch.py [float32|bfloat16] [STEPS]

Prints wall and processor seconds of every step and the most memory that was in use. PyTorch in bfloat16 dies on
hosts that announce AMX and trap on it: ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 helps.
"""
import json
import os
import resource
import sys
import time

import torch
from diffusers import FluxTransformer2DModel

DTYPE = sys.argv[1] if len(sys.argv) > 1 else "float32"
STEPS = int(sys.argv[2]) if len(sys.argv) > 2 else 4
SIDE, TEXT = 16, 256

torch.set_num_threads(os.cpu_count() or 1)
torch.manual_seed(1)
dtype = getattr(torch, DTYPE)
with torch.device("meta"):
    model = FluxTransformer2DModel(
        in_channels=384, out_channels=64, num_layers=1, num_single_layers=2, guidance_embeds=True
    ).to(dtype)
model = model.to_empty(device="cpu").eval()
ids = torch.zeros(SIDE, SIDE, 3)
ids[..., 1] += torch.arange(SIDE)[:, None]
ids[..., 2] += torch.arange(SIDE)[None]
with torch.inference_mode():
    for parameter in model.parameters():
        parameter.uniform_(-0.02, 0.02)
    inputs = {
        "hidden_states": torch.randn(1, SIDE * SIDE, 384, dtype=dtype),
        "encoder_hidden_states": torch.randn(1, TEXT, 4096, dtype=dtype),
        "pooled_projections": torch.randn(1, 768, dtype=dtype),
        "timestep": torch.tensor([0.7], dtype=dtype),
        "guidance": torch.tensor([30.0]),
        "img_ids": ids.reshape(-1, 3),
        "txt_ids": torch.zeros(TEXT, 3),
    }
    steps = []
    for _ in range(STEPS):
        wall, cpu = time.perf_counter(), time.process_time()
        model(**inputs)
        steps.append({"wall_secs": time.perf_counter() - wall, "cpu_secs": time.process_time() - cpu})
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({"dtype": DTYPE, "steps": steps, "peak_mib": peak}))
