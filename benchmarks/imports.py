"""What an import costs: `import causal_prompts`, then the first use of each public name, each in a fresh interpreter with a warm disk cache.

    python benchmarks/imports.py [--runs 5]

Prints a table and the heaviest packages behind each figure; writes benchmarks/results/imports.json. Times are those of `python -X importtime`: the interpreter's own start is not in them."""
import argparse, json, os, platform, re, statistics, subprocess, sys
from collections import Counter
from pathlib import Path

import causal_prompts

OUT = Path(__file__).parent/"results"/"imports.json"
LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|(\s+)(\S+)")
HEAVY = ["torch", "econml", "dowhy", "sentence_transformers", "lightgbm", "sklearn", "pandas"]
LIMIT = 2. # seconds: what `import causal_prompts` may take


def import_times(code: str) -> Counter:
    "Seconds spent in the modules of each top-level package while the code runs in a fresh interpreter, start-up left out."
    mark = "import sys; sys.stderr.write('-- mark --\\n'); "
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", mark + code], capture_output=True, text=True)
    if done.returncode: sys.exit(f"`{code}` failed:\n{done.stderr[-600:]}")
    own = Counter()
    for spent, _, _, name in LINE.findall(done.stderr.split("-- mark --")[1]): own[name.split(".")[0]] += int(spent) / 1e6
    return own


def measure(code: str, runs: int) -> dict:
    "Median, least and most of the total over the runs; the heaviest packages by their median."
    import_times(code) # warms the disk cache and the byte code
    found = [import_times(code) for _ in range(runs)]
    totals = [sum(f.values()) for f in found]
    packages = {p: statistics.median(f[p] for f in found) for p in set().union(*found)}
    heaviest = {p: round(s, 4) for p, s in sorted(packages.items(), key=lambda kv: -kv[1])[:4]}
    return dict(median=round(statistics.median(totals), 4), min=round(min(totals), 4), max=round(max(totals), 4), heaviest=heaviest, loads=[h for h in HEAVY if h in packages])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    tasks = {"import causal_prompts": "import causal_prompts"}
    tasks |= {name: f"from causal_prompts import {name}" for name in causal_prompts.__all__ if name != "__version__"}
    print(f"{'seconds':<24}{'median':>8}{'min':>8}{'max':>8}  heaviest packages")
    rows = {}
    for label, code in tasks.items():
        r = rows[label] = measure(code, runs)
        shown = ", ".join(f"{p} {s:.2f}" for p, s in r["heaviest"].items() if s >= .01)
        print(f"{label:<24}{r['median']:>8.3f}{r['min']:>8.3f}{r['max']:>8.3f}  {shown}", flush=True)
    OUT.parent.mkdir(exist_ok=True)
    about = dict(python=platform.python_version(), system=platform.system(), cores=os.cpu_count(), runs=runs, limit=LIMIT)
    OUT.write_text(json.dumps(dict(about=about, seconds=rows), indent=1) + "\n")
    light = rows["import causal_prompts"]
    print(f"\nimport causal_prompts: {light['median']:.3f} s of {LIMIT:g} s allowed; loads {', '.join(light['loads']) or 'none of ' + ', '.join(HEAVY)}")


if __name__ == "__main__": main()
