#!/usr/bin/env python3
"""Collect the ground pictures named in `sources.json` into one folder, as `<name>.png`, 8-bit RGB.

    python fetch_sources.py --out sources [--deb supertuxkart-data_*.deb] [--wheel dm_control-*.whl]

Three packages hold all photographs; nothing else is fetched:
* `scikit-image` (PyPI), installed: `data.grass`, `data.gravel`, `data.brick`;
* `supertuxkart-data` (Debian, 1.4+dfsg): only files that its `copyright` gives as CC0 or public domain;
  without --deb the script runs `apt-get download supertuxkart-data` (630 MB);
* `dm_control` (PyPI, 1.0.50): one picture, Apache-2.0; without --wheel the script runs `pip download`.

Procedural textures are drawn by `data.py` from fixed seeds.
"""
import argparse
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import cv2
import numpy as np

import data


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--out", type=Path, default=Path("sources"))
    ap.add_argument("--deb", type=Path)
    ap.add_argument("--wheel", type=Path)
    args = ap.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        if args.deb is None:
            subprocess.run(["apt-get", "download", "supertuxkart-data"], cwd=tmp, check=True)
            args.deb = next(tmp.glob("supertuxkart-data*.deb"))
        if args.wheel is None:
            subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(tmp), "dm_control==1.0.50"], check=True)
            args.wheel = next(tmp.glob("dm_control*.whl"))
        subprocess.run(["dpkg-deb", "-x", str(args.deb), str(tmp / "deb")], check=True)
        for s in json.loads((Path(__file__).parent / "sources.json").read_text()):
            if s["from"] == "scikit-image":
                import skimage.data
                rgb = np.repeat(getattr(skimage.data, s["path"].split(".")[1])()[..., None], 3, -1)
            elif s["from"] == "supertuxkart-data":
                raw = (tmp / "deb/usr/share/games/supertuxkart/data" / s["path"]).read_bytes()
                rgb = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            elif s["from"] == "dm-control":
                raw = zipfile.ZipFile(io.BytesIO(args.wheel.read_bytes())).read(s["path"])
                rgb = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            else:
                rgb = data.procedural(s["path"])
            cv2.imwrite(str(args.out / f"{s['name']}.png"), rgb[..., ::-1])
            print(s["name"], rgb.shape)


if __name__ == "__main__":
    main()
