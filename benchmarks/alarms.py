"""How often does each check flag where nothing is wrong, and how often where its own trouble is?

    python benchmarks/alarms.py [--logs 200] [--only balance overlap] [--family 50] [--jobs 2] [--seed 0] [--keep runs.jsonl]

An alarm is the verdict "caution" or "stop". Every check in the list (`causal_prompts.checks`) is run in the clean worlds it names (prompts given at
random, or confounded in a way its route is made for) and in the broken ones, at the strength stated in the table; beside them the check of
recorded propensities. Goals: at most 5% false alarms, at least 90% power. Intervals are Wilson's, over logs. A row misses a goal only where its
interval lies wholly on the wrong side ("misses"); where it holds the goal and the share does not, the row says "unclear". `--family` runs the
whole checkup on that many clean logs and counts those in which anything flags. `--keep` writes each verdict to a file as it comes and takes up
where an interrupted run stopped (use it with one state of the code). Texts are encoded by hashed words, so that two hundred logs take minutes and
no model is loaded. Prints the table, writes benchmarks/results/alarms.json."""
import argparse, json, os, platform, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

from alarm_worlds import alarms, family, one
from causal_prompts.core import progress

ALARMS = alarms()
OUT = Path(__file__).parent/"results"/"alarms.json"
GOAL = dict(clean=.05, broken=.90)


def wilson(k, n, z=1.96):
    "Interval of a share."
    if not n: return np.nan, np.nan
    lo, hi = proportion_confint(k, n, alpha=2 * norm.sf(z), method="wilson")
    return max(0., float(lo)), min(1., float(hi))


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
            k, n = sum(x not in ("ok", "not shown", "raised") for x in v), sum(x != "raised" for x in v)
            lo, hi = wilson(k, n)
            share = k / max(n, 1)
            found = dict(rang=k, logs=n, raised=len(v) - n, share=share, lo=lo, hi=hi, goal=against(world, lo, hi, share))
            row |= {f"{world}_{name}": value for name, value in found.items()}
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


def asked():
    "What the command line says."
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--logs", type=int, default=200)
    p.add_argument("--only", nargs="*")
    p.add_argument("--family", type=int, default=50)
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--keep", type=Path)
    return p.parse_args()


def of_family(whole):
    "In how many clean logs anything flagged, and what."
    rang = sorted({name for w in whole for name in w["rang"]})
    return dict(logs=len(whole), rang=sum(bool(w["rang"]) for w in whole), checks=max(w["ran"] for w in whole),
                by={name: sum(name in w["rang"] for w in whole) for name in rang})


def line(r):
    "A row of the table, to be read on a screen."
    def rang(world, word): return (f"{word} {r[f'{world}_rang']:>3}/{r[f'{world}_logs']} ({r[f'{world}_lo']:.1%} to "
                                   f"{r[f'{world}_hi']:.1%}, {r[f'{world}_goal']})")
    return f"{r['check']:<22} {rang('clean', 'false')}   {rang('broken', 'rings')}   {r['broken_by']}"


def main():
    a, start = asked(), time.perf_counter()
    wanted = [x["alarm"] for x in ALARMS if a.only is None or x["alarm"] in a.only]
    jobs = [(n, w, a.seed + k) for k in range(a.logs) for n in wanted for w in ("clean", "broken")]
    runs = kept(a.keep, one, jobs, "alarms", a.jobs, lambda r: (r.get("alarm"), r.get("world"), r["seed"]))
    seeds = [(a.seed + k,) for k in range(a.family)]
    whole = kept(a.keep, family, seeds, "family", a.jobs, lambda r: (r["seed"],) if "rang" in r else None)
    rows, errors = table(runs).to_dict("records"), sorted({r["error"] for r in runs if "error" in r})
    made = dict(logs=a.logs, seed=a.seed, table=rows, errors=errors, seconds=round(time.perf_counter() - start),
                machine=dict(python=platform.python_version(), cores=os.cpu_count()))
    if whole: made["family"] = of_family(whole)
    complete = a.only is None and a.logs >= 100
    if complete: OUT.write_text(json.dumps(made, indent=1) + "\n")
    for r in rows: print(line(r))
    if whole: print(f"whole checkup on {len(whole)} clean logs: {made['family']['rang']} with an alarm; {made['family']['by']}")
    if errors: print("raised:", *errors, sep="\n  ")
    print(f"{time.perf_counter() - start:.0f} s" + ("" if complete else "; a partial run, nothing written"))


if __name__ == "__main__": main()
