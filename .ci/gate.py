"""The gate: `make test` and the workflow run this. The first step that fails ends it, with the difference and the remedy. `make check` runs `python .ci/gate.py --quick`: no notebook, and of the tests those without the mark `slow`.

What is generated is made again in a copy of the tree and compared file by file, so the gate needs no git and never repairs what it judges. Notebooks and tests run in a second copy, far from any recorded data, as a stranger's would;
where recorded data are at hand, what looks at them runs once more with them."""
import difflib, json, os, re, shutil, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ["nbs", "docs", ".ci", "settings.ini", "setup.py", "pyproject.toml", "CONTRIBUTING.md", "causal_prompts/__init__.py"]
NOTEBOOKS, MODULES = "nbs/**/*.ipynb", "causal_prompts/*.py"
ASIDE = [".git", ".venv", "build", "dist", "collected", "out", ".ipynb_checkpoints", "__pycache__", ".pytest_cache", "*.egg-info"]
LOOKS = re.compile(r"data_folder\(|load_dataset\(|load_table\(|dataset_file\(") # what a notebook says that looks for recorded data


def copy_of_tree(to: Path):
    "What things are generated from, and nothing generated but the table in CONTRIBUTING.md, which is made again in its place."
    for name in SOURCES:
        (to/name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT/name).is_dir(): shutil.copytree(ROOT/name, to/name, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__"))
        else: shutil.copy2(ROOT/name, to/name)


def environment(scratch: Path, tree: Path) -> dict:
    "This Python's commands and that tree's package first; no screen, no hub, no profile of the user's, no recorded data."
    fixed = dict(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", MPLBACKEND="Agg", HF_HUB_OFFLINE="1",
                 CAUSAL_PROMPTS_CACHE=str(Path(sys.prefix)/"cache"), # beside the installed packages: the weights of the local model are fetched once
                 IPYTHONDIR=str(scratch/"ipython"), PYTHONUNBUFFERED="1", PYTHONPATH=str(tree))
    return {k: v for k, v in os.environ.items() if k != "CAUSAL_PROMPTS_DATA"} | fixed


def recorded_data() -> str:
    "The folder of recorded data that this tree sees; empty where there is none."
    code = "from causal_prompts.recordings import data_folder; print(data_folder() or '')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | dict(PYTHONPATH=str(ROOT)), text=True, capture_output=True)
    if done.returncode: sys.exit(f"\nGATE FAILED: looking for recorded data:\n{done.stderr}")
    return done.stdout.strip()


def looking(tree: Path) -> list:
    "The notebooks that look for recorded data, outside what they export."
    def looks(cell): return cell["cell_type"] == "code" and "#| export" not in "".join(cell["source"]) and LOOKS.search("".join(cell["source"]))
    return [n for n, f in files(tree, [NOTEBOOKS]).items() if any(map(looks, json.loads(f.read_text(encoding="utf-8"))["cells"]))]


def run(*command: str, cwd: Path, env: dict) -> str:
    "Run a command, show what it says while it says it, and hand back the last line."
    print("$", " ".join(command), flush=True)
    last = ""
    with subprocess.Popen(command, cwd=cwd, env=env, text=True, errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    if process.returncode: sys.exit(f"\nGATE FAILED: `{' '.join(command)}` ended with {process.returncode}")
    return last


def files(base: Path, patterns) -> dict:
    found = {f.relative_to(base).as_posix(): f for p in patterns for f in base.glob(p) if f.is_file()}
    return {name: f for name, f in found.items() if ".ipynb_checkpoints" not in name}


def same(copy: Path, *patterns: str, remedy: str):
    "The tree holds, byte for byte, what was made in the copy; else the names, the first difference and what to do."
    here, made = files(ROOT, patterns), files(copy, patterns)
    differ = [n for n in sorted({*here, *made}) if n not in here or n not in made or here[n].read_bytes() != made[n].read_bytes()]
    if not differ: return
    for name in differ: print(f"differs: {name}" + ("" if name in made else " (nothing makes it)") + ("" if name in here else " (missing in the tree)"))
    text = [f[differ[0]].read_text(encoding="utf-8", errors="replace").splitlines() if differ[0] in f else [] for f in (here, made)]
    shown = list(difflib.unified_diff(*text, "in the tree", "made again", lineterm="", n=1))
    print(*[line[:160] for line in shown[:60]], *(["..."] if len(shown) > 60 else []), sep="\n")
    sys.exit(f"\nGATE FAILED: {', '.join(differ[:5])}: {remedy}")


def main(quick=False):
    with tempfile.TemporaryDirectory(prefix="gate-") as scratch:
        Path(scratch).chmod(0o755) # the sandbox's tests go in as an ordinary user too
        copy, far = Path(scratch).resolve()/"tree", Path(scratch).resolve()/"far"
        env = environment(copy.parent, far)
        copy_of_tree(copy)
        shutil.copytree(ROOT, far, ignore=shutil.ignore_patterns(*ASIDE))
        threads = env | dict(OMP_NUM_THREADS=str(max(1, (os.cpu_count() or 2) // 2))) # two notebooks, or two files of tests, share the cores
        two = ["-n", "2", "--dist", "loadfile"] if (os.cpu_count() or 1) > 1 else [] # files side by side: some wait for a browser or a server
        data = "" if quick else recorded_data()
        summary, seconds = [], {}

        def notebooks_are_clean():
            run("nbdev-clean", cwd=copy, env=env)
            same(copy, NOTEBOOKS, remedy="clean it with `make export`")

        def modules_are_exported():
            run("nbdev-export", cwd=copy, env=env)
            run(sys.executable, ".ci/entered.py", cwd=copy, env=env)
            same(copy, MODULES, "nbs/llms.txt", "pyproject.toml", remedy="edit the notebook, never the module, then `make export`")

        def stub_is_generated():
            run(sys.executable, ".ci/stub.py", cwd=copy, env=env | dict(PYTHONPATH=str(copy)))
            same(copy, "causal_prompts/__init__.pyi", remedy="`make export` writes it")

        def readme_is_generated():
            run(sys.executable, ".ci/readme.py", cwd=copy, env=env)
            same(copy, "README.md", "README_files/*", remedy="edit nbs/index.ipynb, never README.md, then `make readme`")
            same(copy, "docs/glossary.md", remedy="its entries stand in nbs/013_glossary.ipynb: `make readme`")
            same(copy, "CONTRIBUTING.md", remedy="its table of pages is made from their titles: `make readme`")

        def pages_are_short(): run(sys.executable, "tests/test_house.py", cwd=far, env=env)

        def weights_are_at_hand(): run(sys.executable, "-c", "from causal_prompts.weights import fetch_weights; print(fetch_weights().path)", cwd=far, env=env)

        def notebooks_run(): run("nbdev-test", "--n-workers", "2", "--do-print", "--timing", cwd=far, env=threads)

        def tests_pass():
            said = run(sys.executable, "-m", "pytest", "-q", "--durations=15", *two, cwd=far, env=threads)
            summary.append(f"without recorded data: {said}")

        def quick_tests_pass():
            said = run(sys.executable, "-m", "pytest", "-q", "-m", "not slow", "--durations=5", *two, cwd=far, env=threads)
            summary.append(f"{said}\nthe gate itself is `make test`: notebooks, and the tests left out here")

        def notebooks_run_with_recorded_data():
            for name in looking(far): run("nbdev-test", name, "--do-print", "--timing", cwd=far, env=threads | dict(CAUSAL_PROMPTS_DATA=data))

        def tests_pass_with_recorded_data():
            said = run(sys.executable, "-m", "pytest", "-q", "-m", "recorded", cwd=far, env=threads | dict(CAUSAL_PROMPTS_DATA=data))
            summary.append(f"with recorded data: {len(looking(far))} notebooks, {said}")

        def nothing_has_changed():
            for tree in (copy, far): same(tree, NOTEBOOKS, MODULES, "README.md", remedy="running notebooks or tests changed it; write to a temporary folder instead")

        steps = [notebooks_are_clean, modules_are_exported, stub_is_generated, readme_is_generated, pages_are_short, weights_are_at_hand, notebooks_run, tests_pass]
        if quick: steps = [*steps[:5], quick_tests_pass]
        elif data: steps += [notebooks_run_with_recorded_data, tests_pass_with_recorded_data]
        else: summary.append(f"with recorded data: not run, there are none here; {len(looking(far))} notebooks and the tests marked `recorded` look at them")
        for step in [*steps, nothing_has_changed]:
            name, start = step.__name__.replace("_", " "), time.perf_counter()
            print(f"\n== {name}", flush=True)
            step()
            seconds[name] = time.perf_counter() - start

    print(f"\n{'CHECK' if quick else 'GATE'} PASSED in {sum(seconds.values()):.0f} s")
    for name, s in seconds.items(): print(f"  {name:<34}{s:6.1f} s")
    print(*summary, sep="\n")


if __name__ == "__main__": main("--quick" in sys.argv[1:])
