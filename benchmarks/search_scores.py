"""What should a search go by? True gain of its winners by score (mean, lower end, chance) and by who gets a prompt (a query, a kind, all), and how long 1,000 queries take.

    python benchmarks/search_scores.py [--worlds 10]

Worlds whose truth is known, logs of 600 and 4,000 rows whose better prompts were used on harder queries or that were randomised; one fit a log, every search with the same proposer, 24 new queries. Writes benchmarks/results/search_scores.json."""
import argparse, json, os, platform, time, warnings
from pathlib import Path

import numpy as np
import pandas as pd

import causal_prompts as cp
from causal_prompts.core import mean_interval
from causal_prompts.proposers import EditProposer

OUT = Path(__file__).parent/"results"/"search_scores.json"
LOGS = dict(confounded="confounded-hidden", randomised="randomised")
SIZES = [(100, 6), (400, 10)] # queries, prompts a query
WAYS = [(score, per) for per in ("query", "kind", "all") for score in ("mean", "lower", "chance")]


def fitted(preset, seed, n, k):
    world = cp.World.preset(preset, seed=seed)
    return world, cp.CausalReward(baseline=world.baseline, folds=0).fit(world.log(n, prompts_per_query=k, n_prompts=100))

def gains(world, study, queries):
    "True gain of each query's prompt over the baseline."
    prompt_of = {query: prompt for prompt, (_, own) in zip(study.best["prompt"], study.groups) for query in own}
    return np.array([world.effect([q], [prompt_of[q]])[0, 0] for q in queries])

def one_world(log, seed, n, k):
    "A row a way to search."
    (world, reward), rows = fitted(LOGS[log], seed, n, k), []
    new = world.queries(24, seed=9)
    for score, per in WAYS:
        study = cp.search(reward, new, EditProposer(world.rephrasings), score=score, per=per)
        true = gains(world, study, new["query"])
        rows.append(dict(log=log, rows=n * k, seed=seed, score=score, per=per, true=true.mean(), harmed=(true < -.005).mean(), baseline=(study.best["round"] == 0).mean(), promised=study.best["effect"].mean()))
    return rows

def timed(n=1000):
    "Seconds of a search over many queries, texts embedded on the way."
    world, reward = fitted("confounded-hidden", 0, 400, 10)
    queries, begun, used = list(world.queries(n, seed=9)["query"]), time.perf_counter(), time.process_time()
    study = cp.search(reward, queries, EditProposer(world.rephrasings))
    return dict(queries=n, candidates=len(study.candidates), texts=study.candidates["prompt"].nunique(), seconds=round(time.perf_counter() - begun, 1), processor_seconds=round(time.process_time() - used, 1), cores=os.cpu_count(), load=round(os.getloadavg()[0], 1))

def summary(rows):
    "Means over worlds with 95% intervals of the true gain."
    out = []
    for names, own in pd.DataFrame(rows).groupby(["log", "rows", "per", "score"], sort=False):
        gain = mean_interval(own["true"])
        out.append(dict(zip(("log", "rows", "per", "score"), names)) | {k: round(gain[k], 4) for k in ("mean", "lo", "hi")} | own[["harmed", "baseline", "promised"]].mean().round(4).to_dict() | dict(worlds=len(own)))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=10)
    worlds = parser.parse_args().worlds
    warnings.simplefilter("ignore")
    rows = [row for n, k in SIZES for log in LOGS for seed in range(worlds) for row in one_world(log, seed, n, k)]
    found = dict(summary=summary(rows), search=timed(), rows=[{k: round(float(v), 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows], about=dict(python=platform.python_version(), package=cp.__version__))
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(pd.DataFrame(found["summary"]).to_string(index=False), found["search"], sep="\n")


if __name__ == "__main__": main()
