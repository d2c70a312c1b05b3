"""How often does each alarm ring where nothing is wrong, and how often where its own trouble is?

    python benchmarks/alarms.py [--logs 200] [--only balance overlap] [--family 50] [--jobs 2] [--seed 0] [--keep runs.jsonl]

An alarm is a verdict other than "ok". Every check of `cp.checkup` is run on clean logs (prompts given at random, or confounded in a way its route is made for) and on broken ones at the strength stated in the table. Goals: at most 5% false
alarms, at least 90% power. Intervals are Wilson's, over logs. A row misses a goal only where its interval lies wholly on the wrong side ("misses"); where it holds the goal and the share does not, the row says "unclear". `--family`
runs the whole checkup on that many clean logs and counts those in which anything rings. `--keep` writes each verdict to a file as it comes and takes up where an interrupted run stopped (use it with one state of the code). Texts are encoded by hashed words, so that two hundred logs take minutes and no model is loaded. Prints the table, writes benchmarks/results/alarms.json."""
import argparse, json, os, platform, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from alarm_worlds import alarms, family, one
from causal_prompts.core import progress

ALARMS = alarms()
OUT = Path(__file__).parent/"results"/"alarms.json"
GOAL = dict(clean=.05, broken=.90)


def wilson(k, n, z=1.96):
    "Interval of a share."
    if not n: return np.nan, np.nan
    mid, half = (k + z * z / 2) / (n + z * z), z * np.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    return max(0., mid - half), min(1., mid + half)


def against(world, lo, hi, share):
    "Whether a share meets its goal."
    if world == "clean": return "misses" if lo > GOAL["clean"] else "meets" if share <= GOAL["clean"] else "unclear"
    return "misses" if hi < GOAL["broken"] else "meets" if share >= GOAL["broken"] else "unclear"


def table(runs):
    rows = []
    for a in ALARMS:
        row = dict(check=a["alarm"], broken_by=a["strength"])
        for world in ("clean", "broken"):
            v = [r["verdict"] for r in runs if r["alarm"] == a["alarm"] and r["world"] == world]
            if not v: continue
            k, n = sum(x not in ("ok", "raised") for x in v), sum(x != "raised" for x in v)
            lo, hi = wilson(k, n)
            row |= {f"{world}_rang": k, f"{world}_logs": n, f"{world}_raised": len(v) - n, f"{world}_share": k / max(n, 1), f"{world}_lo": lo, f"{world}_hi": hi, f"{world}_goal": against(world, lo, hi, k / max(n, 1))}
        if len(row) > 2: rows.append(row)
    return pd.DataFrame(rows)


def kept(file, work, jobs, what, n, key):
    "Results of all jobs, those already in the file left undone."
    lines = file.read_text().splitlines() if file and file.exists() else []
    done = {k: r for r in map(json.loads, lines) if (k := key(r)) in set(jobs)}
    todo = [j for j in jobs if j not in done]
    for r in progress(Parallel(n, return_as="generator_unordered", batch_size=1)(delayed(work)(*j) for j in todo), what, total=len(todo)):
        done[key(r)] = r
        if file:
            with open(file, "a") as f: f.write(json.dumps(r) + "\n")
    return [done[j] for j in jobs]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--logs", type=int, default=200), p.add_argument("--only", nargs="*"), p.add_argument("--family", type=int, default=50)
    p.add_argument("--jobs", type=int, default=2), p.add_argument("--seed", type=int, default=0), p.add_argument("--keep", type=Path)
    a = p.parse_args()
    start, wanted = time.perf_counter(), [x["alarm"] for x in ALARMS if a.only is None or x["alarm"] in a.only]
    jobs = [(n, w, a.seed + k) for k in range(a.logs) for n in wanted for w in ("clean", "broken")]
    runs = kept(a.keep, one, jobs, "alarms", a.jobs, lambda r: (r.get("alarm"), r.get("world"), r["seed"]))
    whole = kept(a.keep, family, [(a.seed + k,) for k in range(a.family)], "family", a.jobs, lambda r: (r["seed"],) if "rang" in r else None)
    t = table(runs)
    errors = sorted({r["error"] for r in runs if "error" in r})
    made = dict(logs=a.logs, seed=a.seed, table=t.to_dict("records"), errors=errors, seconds=round(time.perf_counter() - start), machine=dict(python=platform.python_version(), cores=os.cpu_count()))
    if whole: made["family"] = dict(logs=len(whole), rang=sum(bool(w["rang"]) for w in whole), checks=max(w["ran"] for w in whole), by={n: sum(n in w["rang"] for w in whole) for n in sorted({n for w in whole for n in w["rang"]})})
    if a.only is None and a.logs >= 100: OUT.write_text(json.dumps(made, indent=1) + "\n")
    for r in t.to_dict("records"):
        print(f"{r['check']:<22} false {r['clean_rang']:>3}/{r['clean_logs']} ({r['clean_lo']:.1%} to {r['clean_hi']:.1%}, {r['clean_goal']})   rings {r['broken_rang']:>3}/{r['broken_logs']} ({r['broken_lo']:.1%} to {r['broken_hi']:.1%}, {r['broken_goal']})   {r['broken_by']}")
    if whole: print(f"whole checkup on {len(whole)} clean logs: {made['family']['rang']} with an alarm; {made['family']['by']}")
    if errors: print("raised:", *errors, sep="\n  ")
    print(f"{time.perf_counter() - start:.0f} s" + ("" if a.only is None and a.logs >= 100 else "; a partial run, nothing written"))


if __name__ == "__main__": main()
