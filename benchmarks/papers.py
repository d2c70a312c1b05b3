"""Is the gain of arXiv 2602.01711 (CPO) over a non-causal model deconfounding? The same models on logs without confounding and with it.

    python benchmarks/papers.py                       # all that is missing, about two hours on one core; nothing but the tables where the results are complete
    python benchmarks/papers.py --parts worlds --fresh --out some.json

Recorded grids of real LLMs, split and replayed as in benchmarks/ranking.py: `crossed` keeps a few queries under every prompt (the paper's own design),
`random 5`, `better-to-harder 5` and `harder-to-easy 5` keep five prompts of every query. Worlds with exact truth add what no recording has: difficulty that
the text shows, or hides. Rows that benchmarks/results/ranking.json already holds are read, not run again. Two models are there to take the claim apart:
the paper's forest with nothing subtracted (no deconfounding), and boosting on the score minus its query's mean (no forest).
Prints tables, writes benchmarks/results/papers.json after every fit.
"""
import argparse, json, time, warnings
from pathlib import Path

import numpy as np
import pandas as pd

import causal_prompts as cp
import ranking
from causal_prompts.core import rng

SETS, ROWS = ["sst2-opt27b", "gsm8k-gpt35"], 2800 # rows of a crossed log, about those of the others
DESIGNS = ["crossed", "random 5", "better-to-harder 5", "harder-to-easy 5"]
WORLDS = { # name -> (settings, queries)
    "random, 4 a query": (dict(confounding=0., prompts_per_query=4), 400), "visible, 4 a query": (dict(visible=True, prompts_per_query=4), 400), "hidden, 4 a query": (dict(visible=False, prompts_per_query=4), 400),
    "visible, 1 a query": (dict(visible=True, prompts_per_query=1), 1600), "hidden, 1 a query": (dict(visible=False, prompts_per_query=1), 1600)}
MEANS, DEMEANED, PLAIN, PAPER = "prompt means of the log", "boosting, query mean subtracted", "CPO, nothing subtracted", "CPO, as in the paper"
FOLDS = ["CPO, het, row folds", "CPO, het"] # cross-fitting by row and by query: of interest where the log is confounded
SLOW = [PLAIN, PAPER, *FOLDS]
PAIRS = [(PAPER, "naive boosting"), (PAPER, PLAIN), ("CPO, het, row folds", "CPO, het"), (DEMEANED, "naive boosting"), ("causal, kernel", "naive boosting"), ("causal, kernel", PAPER), ("causal, kernel", "kernel, text adjusted")]
OUT = ranking.OUT.parent/"papers.json"


class Means:
    "A prompt is worth its mean in the log, whoever the query is."
    def fit(self, log): self.means = log.frame.groupby("prompt")["score"].mean(); return self
    def effect(self, queries, prompts): return np.tile(self.means.reindex(prompts).to_numpy(), (len(queries), 1))

class Demeaned(cp.NaiveReward):
    "The naive model, asked for the score minus the mean score of its query."
    def fit(self, log):
        f = log.frame
        return super().fit(cp.Triplets(f.assign(score=f["score"] - f.groupby("query_id")["score"].transform("mean")), score_range=(-1, 1)))

def nothing_subtracted(seed):
    "The paper's forest; expected score and expected prompt are overall means."
    from econml.dml import CausalForestDML
    from sklearn.dummy import DummyRegressor
    return CausalForestDML(model_y=DummyRegressor(), model_t=DummyRegressor(), random_state=seed)

def models(seed):
    known = ranking.models(seed)
    own = {MEANS: Means, DEMEANED: lambda: Demeaned("boosting", random_state=seed), "kernel, text adjusted": lambda: cp.CausalReward("dml", "kernel", folds=0, random_state=seed),
           PLAIN: lambda: cp.CPOReward(estimator=nothing_subtracted(seed), random_state=seed), "CPO, het, row folds": lambda: cp.CPOReward(criterion="het", random_state=seed)}
    order = ["naive boosting", MEANS, DEMEANED, PLAIN, PAPER, "CPO, het, row folds", "CPO, het", "kernel, text adjusted", "causal, kernel"]
    return {name: (known | own)[name] for name in order}


def crossed(train, seed):
    "A few queries under every prompt."
    f, n = train.frame, ROWS // train.prompts.shape[0]
    keep = rng(seed, "crossed").choice(f["query_id"].unique(), n, replace=False)
    return cp.Triplets(f.loc[f["query_id"].isin(keep), ["query_id", "query", "prompt_id", "prompt", "score"]])

def recorded(name, design, split):
    "The log, the held-out queries, the prompts, the grid of their scores, which prompts the log has seen."
    train, test = cp.load_dataset(name).split(queries=.4, prompts=.3, seed=split)
    values, queries, prompts = ranking.cells(test)
    log = crossed(train, split) if design == "crossed" else ranking.replay(train, design.removesuffix(" 5"), 5, False, split)
    return log, list(queries), list(prompts), values.to_numpy(), prompts.index.isin(train.prompts.prompt_id)

def written(name, design, seed):
    "The same from a world: new queries, the log's 40 prompts and 40 others, exact expected scores."
    settings, n = WORLDS[design]
    world = cp.World(seed=seed, **settings)
    log, queries = world.log(n_queries=n), list(world.queries(200, seed=99)["query"])
    prompts = list(dict.fromkeys([*log.prompts["prompt"], *world.prompts(60, seed=99)]))[:80]
    return log, queries, prompts, world.value(queries, prompts), np.isin(prompts, log.prompts["prompt"])

def scores(predicted, values, seen):
    "As in ranking.py; a model that cannot say anything of new prompts is judged on the seen ones."
    if np.isfinite(predicted).all(): return ranking.scores(predicted, values, seen)
    return ranking.scores(predicted[:, seen], values[:, seen], np.ones(seen.sum(), bool))

def one(name, design, split, wanted, done):
    "Every wanted model that is not done yet, on one log."
    todo = {m: make for m, make in models(split).items() if m in wanted and (name, design, split, m) not in done}
    out = [DEMEANED] * design.endswith("1 a query") + FOLDS * (name == "world" or design in DESIGNS[:2]) # of one row the query's mean is the row itself
    for m in out: todo.pop(m, None)
    if not todo: return
    log, queries, prompts, values, seen = (written if name == "world" else recorded)(name, design, split)
    for label, make in todo.items():
        began = time.perf_counter()
        reward = make().fit(log)
        seconds = time.perf_counter() - began
        yield dict(set=name, policy=design, split=split, model=label, rows=len(log), seconds=seconds, **scores(reward.effect(queries, prompts), values, seen))

def known(path=ranking.OUT):
    "Rows of the ranking benchmark that belong here."
    return [r | dict(source="ranking.json") for r in json.loads(path.read_text()) if r["set"] in SETS and r["policy"] in DESIGNS and r["model"] in models(0)] if path.exists() else []


def paired(records):
    "Differences between models on the same splits, with 95% t intervals over splits (which overlap, so read them as a guide)."
    f, rows = pd.DataFrame(records), []
    for (s, p), g in f.groupby(["set", "policy"], sort=False):
        for a, b in PAIRS:
            gap = lambda c: ranking.interval(g[g.model == a].set_index("split")[c] - g[g.model == b].set_index("split")[c])
            n = len(set(g.split[g.model == a]) & set(g.split[g.model == b]))
            if n > 1: rows.append(dict(set=s, policy=p, what=f"{a} less {b}", tau_new=gap("tau new"), tau_seen=gap("tau seen"), value=gap("value"), splits=n))
    return pd.DataFrame(rows)

def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("--parts", nargs="*", default=["recorded", "worlds"]); a.add_argument("--sets", nargs="*", default=SETS)
    a.add_argument("--splits", type=int, default=5, help="for the quick models"); a.add_argument("--slow-splits", type=int, default=3, help="for the forests, tens of seconds a fit")
    a.add_argument("--out", type=Path, default=OUT); a.add_argument("--fresh", action="store_true", help="forget the rows in --out")
    a = a.parse_args()
    warnings.simplefilter("ignore")
    records = json.loads(a.out.read_text()) if a.out.exists() and not a.fresh else known()
    done = {(r["set"], r["policy"], r["split"], r["model"]) for r in records}
    grids = [(s, d) for s in a.sets for d in DESIGNS if "recorded" in a.parts] + [("world", w) for w in WORLDS if "worlds" in a.parts]
    for split in range(max(a.splits, a.slow_splits)):
        wanted = [m for m in models(0) if split < (a.slow_splits if m in SLOW else a.splits)]
        for name, design in grids:
            for r in one(name, design, split, wanted, done):
                records.append(r)
                a.out.write_text(json.dumps(records, indent=0))
                print(f"{name}, {design}, split {split}, {r['model']}: {r['seconds']:.1f} s", flush=True)
    order = {k: i for i, k in enumerate([*models(0)])}
    records.sort(key=lambda r: order[r["model"]])
    for name, design in grids:
        print(ranking.table([r for r in records if (r["set"], r["policy"]) == (name, design)]).to_string(index=False), "\n")
    print(paired(records).to_string(index=False))


if __name__ == "__main__": main()
