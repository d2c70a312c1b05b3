"What an install needs: the modules import no more than the core requirements name, much works without PyTorch, the error for a missing package names the remedy, and set-up takes PyTorch's CPU build only where it should."
import ast, configparser, http.server, importlib.util, json, os, re, subprocess, sys, threading, time, zipfile
from pathlib import Path

import numpy as np
import pytest

from causal_prompts import core
from causal_prompts.embeddings import TextEncoder
from causal_prompts.hashed_words import default_encoder, HashedWords

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "sentence_transformers", "tokenizers", "safetensors", "huggingface_hub", "econml", "dowhy", "jupyterlab", "nbdev")
NAMED = {"sklearn": "scikit-learn", "yaml": "PyYAML", "sentence_transformers": "sentence-transformers"} # module -> package
BROUGHT = {"IPython", "dateutil", "requests", "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub"} # by packages that are named: ipywidgets, pandas, pooch, sentence-transformers
OPTIONAL = {"gguf", "xgboost", "pyDOE3", "openpyxl", "datasets", "distributed", "onnxruntime", "zstandard"} # an error names the extra or the package

def settings():
    parser = configparser.ConfigParser(delimiters=["="])
    parser.read(ROOT/"settings.ini", encoding="utf-8")
    return parser["DEFAULT"]

def package(requirement): return re.match(r"[\w.-]+", requirement)[0]

def core_requirements(): return settings()["requirements"].split()

def imported():
    "Packages that modules import -> the modules."
    found = {}
    for file in (ROOT/"causal_prompts").glob("[!_]*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names: found.setdefault(name.partition(".")[0], set()).add(file.stem)
    return {name: where for name, where in found.items() if name not in sys.stdlib_module_names and name != "causal_prompts"}

# ---- requirements

def test_modules_import_what_the_core_names_and_extras_where_they_say_so():
    named = {package(r) for r in core_requirements()}
    assert {name: where for name, where in imported().items() if NAMED.get(name, name) not in named | BROUGHT | OPTIONAL} == {}
    assert named.isdisjoint({"jupyterlab", "nbdev"}), "they show and make notebooks; no module needs them"

def test_extras_hold_what_the_core_does_not():
    extras = {k.removesuffix("_requirements"): {package(r) for r in v.split()} for k, v in settings().items() if k.endswith("_requirements")}
    assert "jupyterlab" in extras["notebooks"] and {"jupyterlab", "nbdev"} <= extras["dev"]
    assert set(re.findall(r"^\| `(\w+)`", (ROOT/"docs"/"install.md").read_text(encoding="utf-8"), re.MULTILINE)) | {"ray", "dask"} == set(extras), "docs/install.md has a row for each"

def test_the_light_list_is_the_core_without_three():
    light = [line for line in (ROOT/"light.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert set(core_requirements()) - set(light) == set(core.LEFT_OUT.values())
    assert set(light) <= set(core_requirements())


# ---- without the heavy packages

WITHOUT = f"""
import sys
for name in {HEAVY}: sys.modules[name] = None # the import system then says: no module of this name
"""

def without(code, tmp_path):
    "What a fresh interpreter without the heavy packages prints, as JSON on its last line."
    env = os.environ | dict(PYTHONPATH=str(ROOT), CAUSAL_PROMPTS_CACHE=str(tmp_path/"cache"), OMP_NUM_THREADS="1", MPLBACKEND="Agg")
    done = subprocess.run([sys.executable, "-c", WITHOUT + code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr

def test_reading_design_averages_and_collecting_need_no_torch(tmp_path):
    code = """
import json
import causal_prompts as cp
for module in cp._MODULES: getattr(cp, module)
world = cp.World.preset("confounded-hidden")
world.log(n_queries=80, n_prompts=5).frame[["query", "prompt", "score"]].to_csv("log.csv", index=False)
log = cp.read("log.csv")
table = cp.CausalReward(baseline=world.baseline, folds=0).fit(log).average_effect()
task = cp.tasks.world_task(world, n=12)
with cp.serve_world(world) as server:
    plan = cp.collecting.plan(task, world.prompts(4), design="random", k=2)
    got = cp.collecting.run(plan, cp.LLM("world", server.base_url, dict(max_tokens=60, seed=0)), show=False).triplets()
print(json.dumps(dict(rows=len(log), design=log.design().verdict, effects=table.set_index("prompt")["effect"].to_dict(), collected=len(got))))
"""
    said, warned = without(code, tmp_path)
    assert said["rows"] == 320 and said["design"] == "ok" and said["collected"] == 36
    assert "pip install 'sentence-transformers>=5.1'" in " ".join(warned.split())
    from causal_prompts import CausalReward, read, World
    here = CausalReward(encoder=HashedWords(32), baseline=World.preset("confounded-hidden").baseline, folds=0).fit(read(tmp_path/"log.csv"))
    assert said["effects"] == pytest.approx(here.average_effect().set_index("prompt")["effect"].to_dict()), "averages within queries do not depend on vectors"

def test_what_needs_a_package_that_is_not_there_names_the_remedy(tmp_path):
    code = """
import json
import causal_prompts as cp
from causal_prompts.embeddings import TextEncoder
from causal_prompts.two_prompts import made_estimator
from causal_prompts.weights import load_weights, Weights
from pathlib import Path
def said(act):
    try: act()
    except Exception as e: return [type(e).__name__, str(e)]
asked = dict(encoder=lambda: TextEncoder(cache=False).encode("a"), model=lambda: load_weights(Weights("m", Path("m.gguf"), "0")), econml=lambda: made_estimator(None, 0), dowhy=lambda: cp.graph.PromptGraph("kind").paths())
print(json.dumps({name: said(act) for name, act in asked.items()}))
"""
    said, _ = without(code, tmp_path)
    for name, gone in dict(encoder="sentence_transformers", model="torch", econml="econml", dowhy="dowhy").items():
        assert said[name] == ["ImportError", f"{gone} must be installed for this, got no package {gone}; pip install '{core.LEFT_OUT[gone]}'"]

def test_a_fault_inside_a_package_is_not_called_a_missing_package(tmp_path, monkeypatch):
    (tmp_path/"econml").mkdir()
    (tmp_path/"econml"/"__init__.py").write_text("import a_module_that_nobody_has")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [m for m in sys.modules if m.partition(".")[0] == "econml"]: monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError, match="No module named 'a_module_that_nobody_has'"): core.import_quietly("econml")

def test_the_default_encoder_is_the_text_model_where_it_is_installed(monkeypatch):
    assert isinstance(default_encoder(), TextEncoder)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.warns(UserWarning, match="compared by hashed words.*pip install 'sentence-transformers>=5.1'"): found = default_encoder()
    E = found.encode(["Think step by step.", "", "!"], role="query")
    assert isinstance(found, HashedWords) and E.shape == (3, 256) and np.allclose(np.linalg.norm(E, axis=1), 1)


# ---- which build of PyTorch

@pytest.fixture
def builds(monkeypatch, tmp_path):
    "The script, on a machine without a GPU and without torch, whose pin is of a version that does not exist."
    spec = importlib.util.spec_from_file_location("torch_build", ROOT/".ci"/"torch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "NVIDIA", tmp_path/"none")
    monkeypatch.setattr(module, "PATIENCE", 1)
    monkeypatch.setattr(module, "pinned", lambda: "0.0.7")
    def absent(name): raise module.PackageNotFoundError(name)
    monkeypatch.setattr(module, "version", absent)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    return module

def tool(tmp_path, text):
    "An nvidia-smi that does as told."
    file = tmp_path/"nvidia-smi"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return lambda name: str(file)

WHEEL = f"torch-0.0.7+cpu-cp{sys.version_info.major}{sys.version_info.minor}-cp{sys.version_info.major}{sys.version_info.minor}-linux_x86_64.whl"

@pytest.fixture
def index(tmp_path):
    "An index of packages on this machine that has the CPU build, an empty package; with the pages that were asked for."
    asked, state = [], dict(page=f'<a href="../files/{WHEEL.replace("+", "%2B")}">{WHEEL}</a>', wait=0)
    with zipfile.ZipFile(tmp_path/WHEEL, "w") as z:
        about = "torch-0.0.7+cpu.dist-info"
        z.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 0.0.7+cpu\n")
        z.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {WHEEL.split('+cpu-')[1].removesuffix('.whl')}\n")
        z.writestr(f"{about}/RECORD", "")
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            time.sleep(state["wait"])
            body = (tmp_path/WHEEL).read_bytes() if self.path.endswith(".whl") else state["page"].encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream" if self.path.endswith(".whl") else "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try: self.wfile.write(body)
            except OSError: pass # who asked has gone
        def log_message(self, *args): pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/whl/cpu", asked, state
    server.shutdown(), server.server_close()

def test_where_no_gpu_is_found_the_cpu_build_is_installed(builds, index, tmp_path, monkeypatch):
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"): monkeypatch.delenv(name, raising=False)
    for name, value in dict(PIP_CONFIG_FILE=os.devnull, PIP_TARGET=str(tmp_path/"site"), PIP_CACHE_DIR=str(tmp_path/"kept")).items(): monkeypatch.setenv(name, value)
    if sys.platform != "linux": pytest.skip("the file of the CPU build is one of Linux")
    assert builds.choose(index[0], "linux") == f"PyTorch 0.0.7: no GPU is found, so the CPU build has come from {index[0]}"
    assert (tmp_path/"site"/"torch-0.0.7+cpu.dist-info").is_dir()
    assert [p for p in index[1] if "torch" not in p] == [], "of this index nothing but torch is asked"

@pytest.mark.parametrize("says, found", [("echo 'GPU 0: NVIDIA T4 (UUID: GPU-1)'", True), ("echo 'No devices were found'; exit 6", False), ("exec sleep 60", False)])
def test_a_driver_that_names_a_gpu_keeps_the_usual_build(builds, index, tmp_path, monkeypatch, says, found):
    monkeypatch.setattr(builds.shutil, "which", tool(tmp_path, says))
    installed = []
    monkeypatch.setattr(builds, "install", lambda *a: installed.append(a) or "")
    said = builds.choose(index[0], "linux")
    assert ("with CUDA, since there is a GPU (GPU 0: NVIDIA T4" in said) == found and bool(installed) != found and bool(index[1]) != found

def test_a_gpu_that_the_kernel_lists_keeps_the_usual_build(builds, tmp_path, monkeypatch):
    (tmp_path/"gpus"/"0000:01:00.0").mkdir(parents=True)
    monkeypatch.setattr(builds, "NVIDIA", tmp_path/"gpus")
    assert "since there is a GPU" in builds.choose("http://127.0.0.1:1", "linux")

@pytest.mark.parametrize("change, why", [
    (dict(wait=3), "cannot be reached (timed out)"), (dict(page="torch-0.0.6%2Bcpu-cp311-cp311-linux_x86_64.whl"), "has no CPU build of 0.0.7 for cp3"),
    (dict(page=WHEEL.replace("0.0.7", "0x0y7")), "has no CPU build of 0.0.7"), (dict(page=WHEEL.replace("linux", "win")), "has no CPU build of 0.0.7")])
def test_an_index_that_cannot_give_it_is_left_and_said(builds, index, monkeypatch, change, why):
    index[2].update(change)
    monkeypatch.setattr(builds, "install", lambda *a: pytest.fail("nothing is installed"))
    start = time.perf_counter()
    said = builds.choose(index[0], "linux")
    assert said.startswith("PyTorch: no GPU is found, but ") and why in said and "so the usual build comes" in said
    assert time.perf_counter() - start < 3, "it waits no longer than its patience"

def test_no_index_and_a_failing_pip_are_said(builds, index, monkeypatch):
    assert "cannot be reached" in builds.choose("http://127.0.0.1:1", "linux")
    assert builds.choose("", "linux") == "PyTorch: the usual build, as TORCH_INDEX is empty"
    assert "carries no CUDA" in builds.choose(index[0], "darwin") and index[1] == []
    monkeypatch.setattr(builds.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 1, "", "much\nERROR: disk full\n"))
    assert "pip could not install it (ERROR: disk full); so the usual build comes" in builds.choose(index[0], "linux")

def test_what_is_installed_stays(builds, index, monkeypatch):
    monkeypatch.setattr(builds, "version", lambda name: "2.0")
    assert builds.choose(index[0], "linux") == "PyTorch 2.0 is here already" and index[1] == []

def test_the_pin_is_of_torch_and_holds_for_its_cpu_build(builds):
    from packaging.specifiers import SpecifierSet
    spec = importlib.util.spec_from_file_location("torch_build_itself", ROOT/".ci"/"torch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    wanted = module.pinned()
    assert wanted in (ROOT/"constraints.txt").read_text() and SpecifierSet(f"=={wanted}").contains(f"{wanted}+cpu")
    for page in ("README.md", "docs/install.md"): assert f"pip install torch=={wanted} --index-url {module.INDEX}" in (ROOT/page).read_text(encoding="utf-8"), "the line for pip users"
