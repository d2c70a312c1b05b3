"""The gate: `make test` and the workflow run this. The first step that fails ends it, with the difference and the remedy.

What is generated is made again in a copy of the tree and compared file by file, so the gate needs no git and never repairs what it judges."""
import difflib, os, shutil, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ["nbs", ".ci", "settings.ini", "setup.py", "pyproject.toml", "causal_prompts/__init__.py"]
NOTEBOOKS, MODULES = "nbs/**/*.ipynb", "causal_prompts/*.py"


def copy_of_tree(to: Path):
    "What things are generated from, and nothing generated."
    for name in SOURCES:
        (to/name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT/name).is_dir(): shutil.copytree(ROOT/name, to/name, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__"))
        else: shutil.copy2(ROOT/name, to/name)


def environment(scratch: Path) -> dict:
    "This Python's commands first; no screen, no hub, no profile of the user's."
    fixed = dict(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", MPLBACKEND="Agg", HF_HUB_OFFLINE="1",
                 IPYTHONDIR=str(scratch/"ipython"), PYTHONUNBUFFERED="1")
    return os.environ | fixed


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


def main():
    with tempfile.TemporaryDirectory(prefix="gate-") as scratch:
        copy = Path(scratch).resolve()/"tree"
        env = environment(copy.parent)
        copy_of_tree(copy)

        def notebooks_are_clean():
            run("nbdev-clean", cwd=copy, env=env)
            same(copy, NOTEBOOKS, remedy="clean it with `make export`")

        def modules_are_exported():
            run("nbdev-export", cwd=copy, env=env)
            same(copy, MODULES, "nbs/llms.txt", "pyproject.toml", remedy="edit the notebook, never the module, then `make export`")

        def readme_is_generated():
            run(sys.executable, ".ci/readme.py", cwd=copy, env=env)
            same(copy, "README.md", "README_files/*", remedy="edit nbs/index.ipynb, never README.md, then `make readme`")

        def pages_are_short(): run(sys.executable, "tests/test_house.py", cwd=ROOT, env=env)

        threads = dict(OMP_NUM_THREADS=str(max(1, (os.cpu_count() or 2) // 2))) # two notebooks, or two files of tests, share the cores

        def notebooks_run():
            run("nbdev-test", "--n-workers", "2", "--do-print", "--timing", cwd=ROOT, env=threads | env)

        def tests_pass():
            two = ["-n", "2", "--dist", "loadfile"] if (os.cpu_count() or 1) > 1 else [] # files side by side: some wait for a browser or a server
            summary.append(run(sys.executable, "-m", "pytest", "-q", "--durations=15", *two, cwd=ROOT, env=threads | env))
            same(copy, NOTEBOOKS, MODULES, "README.md", remedy="running notebooks or tests changed it; write to a temporary folder instead")

        summary, seconds = [], {}
        for step in (notebooks_are_clean, modules_are_exported, readme_is_generated, pages_are_short, notebooks_run, tests_pass):
            name, start = step.__name__.replace("_", " "), time.perf_counter()
            print(f"\n== {name}", flush=True)
            step()
            seconds[name] = time.perf_counter() - start

    print(f"\nGATE PASSED in {sum(seconds.values()):.0f} s")
    for name, s in seconds.items(): print(f"  {name:<22}{s:6.1f} s")
    print(*summary)


if __name__ == "__main__": main()
