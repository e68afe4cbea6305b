#!/bin/sh
# Everything from the sources to the tables; run it again to go on after an interruption (training adds its minutes).
# Minutes are those of two quiet CPU cores.
set -e
cd "$(dirname "$0")"
test -d sources || python fetch_sources.py --out sources
python train_vae.py --minutes "${VAE_MINUTES:-30}" --size 64 --batch 8 --rate 2e-3
python train.py --stage base --minutes "${BASE_MINUTES:-60}" --size 96 --batch 12 --end 0.3
python train.py --stage base --minutes "${LARGE_MINUTES:-60}" --size 128 --batch 8 --large 0.15 --rate 6e-4 --end 0.05
python export.py --out ..
python evaluate.py --model .. --sheets ..
