"""Before an install: where no GPU is found, PyTorch's CPU build from PyTorch's own index, if that can be reached: `python .ci/torch_build.py`. Says what it does, and never fails: what it leaves alone, the install takes from the usual registry, on Linux with CUDA."""
import os, re, shutil, subprocess, sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
INDEX = "https://download.pytorch.org/whl/cpu" # another one, or none at all: TORCH_INDEX
PATIENCE = 5 # seconds for the driver, and for each answer of the index
NVIDIA = Path("/proc/driver/nvidia/gpus")


def gpu() -> str:
    "What says that there is a GPU that PyTorch's CUDA build can use; empty where nothing does."
    if NVIDIA.is_dir() and any(NVIDIA.iterdir()): return f"{NVIDIA} lists one"
    if not (tool := shutil.which("nvidia-smi")): return ""
    try: said = subprocess.run([tool, "-L"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
    except (OSError, subprocess.SubprocessError): return ""
    return said.stdout.splitlines()[0] if said.returncode == 0 and said.stdout.startswith("GPU ") else ""


def pinned(constraints: Path = ROOT/"constraints.txt") -> str:
    return re.search(r"^torch==(\S+)$", constraints.read_text(encoding="utf-8"), re.MULTILINE)[1]


def missing(index: str, wanted: str) -> str:
    "Why the index cannot give the CPU build of this version for this Python; empty where it can."
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    try:
        with urlopen(f"{index}/torch/", timeout=PATIENCE) as answer: page = answer.read(50_000_000).decode(errors="replace")
    except (URLError, OSError, ValueError) as e: return f"{index} cannot be reached ({getattr(e, 'reason', None) or e})"
    if re.search(rf"torch-{re.escape(wanted)}(%2B|\+)cpu-{tag}-{tag}-\w*linux", page): return ""
    return f"{index} has no CPU build of {wanted} for {tag}"


def install(index: str, wanted: str) -> str:
    "Install the build alone, since its requirements come with the rest from the usual registry; why it went wrong, else empty."
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-qq", "--no-deps", "--timeout", "15", "--retries", "1", "--index-url", index]
    try: done = subprocess.run([*pip, f"torch=={wanted}+cpu"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=900)
    except subprocess.TimeoutExpired: return f"{index} took more than 15 minutes"
    return "" if done.returncode == 0 else f"pip could not install it ({(done.stderr.strip().splitlines() or ['no word why'])[-1]})"


def choose(index: str, platform: str = sys.platform) -> str:
    "Install the CPU build where it is the right one and can be had; what was done, in a sentence."
    try: return f"PyTorch {version('torch')} is here already"
    except PackageNotFoundError: pass
    if platform != "linux": return "PyTorch: the usual build, which here carries no CUDA"
    if found := gpu(): return f"PyTorch: the usual build, with CUDA, since there is a GPU ({found})"
    if not index: return "PyTorch: the usual build, as TORCH_INDEX is empty"
    wanted = pinned()
    if why := missing(index, wanted) or install(index, wanted):
        return f"PyTorch: no GPU is found, but {why}; so the usual build comes, which on Linux carries some 4 GB of CUDA (docs/install.md)"
    return f"PyTorch {wanted}: no GPU is found, so the CPU build has come from {index}"


if __name__ == "__main__": print(choose(os.environ.get("TORCH_INDEX", INDEX).rstrip("/")))
