"""How well do reward models rank prompts for queries they have not seen? Recorded grids of real LLMs, replayed under logging policies.

    python benchmarks/ranking.py                  # everything, about an hour on 2 cores
    python benchmarks/ranking.py --sets sst2-opt27b --splits 5

Each split holds out 40% of the queries and 30% of the prompts together. The rest of the grid is replayed under a logging policy (propensities
are then hidden from the models), the models are fitted on that log, and Kendall's tau-b is taken per held-out query against the grid's own
cells, over the prompts the log has seen and over those it has not. Prints a table, writes benchmarks/results/ranking.json after every fit.
"""
import argparse, json, time, warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import causal_prompts as cp
from causal_prompts.measures import tau_b

SETS = ["sst2-opt27b", "gsm8k-gpt35", "gsm8k-llama2", "svamp-llama2", "mawps-llama2"]
POLICIES = { # name -> (policy, prompts a query, record the difficulty)
    "random 5": ("random", 5, False), "random 20": ("random", 20, False), "better-to-harder 5": ("better-to-harder", 5, False),
    "one a query": ("better-to-harder", 1, False), "one, difficulty recorded": ("better-to-harder", 1, True)}
OUT = Path(__file__).parent/"results"/"ranking.json"


def models(seed):
    return {"naive boosting": lambda: cp.NaiveReward("boosting", random_state=seed), "CPO, as in the paper": lambda: cp.CPOReward(random_state=seed),
            "CPO, het": lambda: cp.CPOReward(criterion="het", grouped=True, random_state=seed),
            "causal, kernel": lambda: cp.CausalReward(learner="kernel", folds=0, random_state=seed), "causal, auto": lambda: cp.CausalReward(random_state=seed)}


def cells(log):
    "The grid of mean scores, queries x prompts, and their texts."
    values = cp.grids.Grid(log).values
    texts = lambda frame, key, text: frame.drop_duplicates(key).set_index(key)[text]
    return values, texts(log.frame, "query_id", "query")[values.index], texts(log.frame, "prompt_id", "prompt")[values.columns]


def replay(train, policy, k, difficulty, seed):
    grid = cp.grids.Grid(train)
    log = grid.replay(policy, k=min(k, grid.values.shape[1]), seed=seed)
    base = ["query_id", "query", "prompt_id", "prompt", "score"]
    frame = log.frame[base].copy()
    if difficulty: frame["difficulty"] = frame["query_id"].map(grid.difficulty)
    return cp.Triplets(frame)


def scores(predicted, values, seen):
    "tau-b over seen and new prompts, and the mean score of the chosen prompt."
    out = {}
    for name, cols in (("seen", seen), ("new", ~seen)):
        if cols.sum() > 1: out[f"tau {name}"] = float(np.nanmean(tau_b(predicted[:, cols], values[:, cols])))
    out["value"] = float(values[np.arange(len(values)), predicted.argmax(1)].mean())
    return out


def one(name, policy, split, chosen):
    "All models on one split of one set under one policy: a list of records."
    log = cp.load_dataset(name)
    train, test = log.split(queries=.4, prompts=.3, seed=split)
    values, queries, prompts = cells(test)
    seen = prompts.index.isin(train.prompts.prompt_id)
    logged = replay(train, *POLICIES[policy], seed=split)
    V, out = values.to_numpy(), []
    for label, make in models(split).items():
        if label not in chosen: continue
        began = time.perf_counter()
        reward = make().fit(logged)
        seconds = time.perf_counter() - began
        record = dict(set=name, policy=policy, split=split, model=label, rows=len(logged), seconds=seconds, **scores(reward.effect(list(queries), list(prompts)), V, seen))
        if hasattr(reward, "route_"): record |= dict(route=reward.route_, learner=getattr(reward, "learner_", ""))
        out.append(record)
    full, ids = train.frame.groupby("prompt_id")["score"].mean(), prompts.index
    order = np.tile(full.reindex(ids).to_numpy(), (len(V), 1))
    best = dict(set=name, policy=policy, split=split, model="grid: training queries' means", rows=len(train))
    best["tau seen"] = float(np.nanmean(tau_b(order[:, seen], V[:, seen])))
    best["value"] = float(V[:, np.nanargmax(order[0])].mean())
    out += [best, dict(set=name, policy=policy, split=split, model="grid oracle", value=float(V.max(1).mean())), dict(set=name, policy=policy, split=split, model="random prompt", value=float(V.mean()))]
    return out


def interval(v):
    v = np.asarray(v, float); v = v[np.isfinite(v)]
    if not len(v): return ""
    half = stats.t.ppf(.975, len(v) - 1) * v.std(ddof=1) / np.sqrt(len(v)) if len(v) > 1 else np.nan
    return f"{v.mean():+.3f} ±{half:.3f}"


def table(records):
    f = pd.DataFrame(records)
    rows = []
    for (s, p, m), g in f.groupby(["set", "policy", "model"], sort=False):
        naive = f[(f.set == s) & (f.policy == p) & (f.model == "naive boosting")].set_index("split")
        gap = lambda c: interval(g.set_index("split")[c] - naive[c]) if c in g and m != "naive boosting" and g[c].notna().any() else ""
        mid = lambda c: f"{g[c].mean():.3f}" if c in g and g[c].notna().any() else ""
        rows.append(dict(set=s, policy=p, model=m, tau_new=mid("tau new"), new_minus_naive=gap("tau new"), tau_seen=mid("tau seen"), seen_minus_naive=gap("tau seen"),
                         value=mid("value"), fit_s=f"{g.seconds.median():.2f}" if g.seconds.notna().any() else "", splits=len(g)))
    return pd.DataFrame(rows)


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("--sets", nargs="*", default=SETS); a.add_argument("--policies", nargs="*", default=list(POLICIES))
    a.add_argument("--models", nargs="*", default=list(models(0))); a.add_argument("--splits", type=int, default=5)
    a.add_argument("--out", type=Path, default=OUT); a.add_argument("--append", action="store_true", help="add to the records in --out")
    a = a.parse_args()
    warnings.simplefilter("ignore")
    records = json.loads(a.out.read_text()) if a.append and a.out.exists() else []
    a.out.parent.mkdir(exist_ok=True, parents=True)
    for name in a.sets:
        for policy in a.policies:
            if policy == "random 20" and name != "sst2-opt27b": continue
            for split in range(a.splits):
                records += one(name, policy, split, a.models)
                a.out.write_text(json.dumps(records, indent=0))
            print(table([r for r in records if r["set"] == name and r["policy"] == policy]).to_string(index=False), "\n", flush=True)
    f = pd.DataFrame(records)
    both = f.pivot_table(index=["set", "policy", "split"], columns="model", values="seconds")
    for fast in ("causal, kernel", "causal, auto"):
        if {"CPO, as in the paper", fast} <= set(both):
            r = (both["CPO, as in the paper"] / both[fast]).dropna()
            print(f"fit time, CPO as in the paper over {fast}: median ratio {r.median():.0f}, min {r.min():.0f}, max {r.max():.0f}, {len(r)} fits in the same runs")


if __name__ == "__main__": main()
