"""What is a prompt worth that was chosen by a log? Recorded grids, of which every cell is known, on queries that had no part in the choice.

    python benchmarks/choice.py                                       # all that is missing
    python benchmarks/choice.py --sets smol-place svamp-llama2 --splits 2

The recordings that ship, and those of other models where they are at hand (CAUSAL_PROMPTS_DATA, or shared/data above the tree). A split holds out
40% of the queries. Of the others one of two policies leaves a log, eight prompts a query at most; from it a prompt is chosen for all queries, one for
each kind of query (recordings that ship have kinds) or one for each query, by the mean prediction or by its lower end. What a choice is worth is the
mean of the grid's own cells on the held-out queries.
logged: every prompt may be in the log. recombined: the log holds half of the 64 designed prompts of a recording that ships; the other half are other
combinations of the same sentences. drift: of the K prompts that are predicted to be best for all queries, the predicted and the observed value, both
over the mean of all prompts.
Writes benchmarks/results/choice.json after every step and goes on from there; a set that has changed is measured anew, one that is not at hand is kept.
"""
import argparse, hashlib, json, os, platform, time, warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import pandas as pd
from joblib import delayed, Parallel

import causal_prompts as cp
from causal_prompts.core import whole_file
from causal_prompts.grids import Grid
from causal_prompts.parts import Parts
from causal_prompts.recordings import dataset_file
from ranking import cells, SETS as OF_OTHERS
from real import chosen, replay, wordings
from real_live import plain

OUT = Path(__file__).parent/"results"/"choice.json"
SHIPPED = ["smol-place", "smol-sentiment", "smol-topic"]
SETS = [*SHIPPED, *OF_OTHERS]
LOGGINGS = ["random", "better to harder"]
HELD_OUT = .4
TOP = [1, 5, 20] # K of the drift


# ---- choices

def averages(reward, queries, prompts, k=0.):
    "(n_prompts,) mean predicted gains over some queries, less k standard errors."
    mean = reward.effect(queries, prompts).mean(0)
    if not k: return mean
    return mean - k * reward.average_se(queries, reward.encode(queries, "query"), np.full(len(queries), 1 / len(queries)), prompts)

def by_kind(rate, known, kinds):
    "(n_queries,) choices, one a kind; rate: some queries of the log, by number -> (n_prompts,) scores."
    best = {kind: int(np.nanargmax(rate(np.flatnonzero(known == kind)))) for kind in np.unique(known)}
    overall = int(np.nanargmax(rate(np.arange(len(known))))) # of a kind that the log has not met
    return np.array([best.get(kind, overall) for kind in kinds])

def kinds_chosen(reward, log, kind_of, kinds, prompts):
    "way -> choices, one a kind."
    texts = log.queries["query"].to_numpy()
    known = kind_of[texts].to_numpy()
    ways = {"one a kind, mean": 0.} | ({"one a kind, lower bound": 1.96} if reward.has_interval else {})
    return {way: by_kind(lambda at: averages(reward, list(texts[at]), prompts, k), known, kinds) for way, k in ways.items()}

def raw_chosen(values, kind_of, kinds):
    "way -> choices by raw means. values: (queries x prompts) with holes where nothing was logged, queries by their text."
    n, V = len(kinds) if kinds is not None else 1, values.to_numpy()
    def rate(at): # a prompt that nothing was logged of is not chosen
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            mean = np.nanmean(V[at], axis=0)
        return np.where(np.isnan(mean), -np.inf, mean)
    out = {"one, mean": np.full(n, rate(np.arange(len(V))).argmax())}
    return out if kinds is None else out | {"one a kind, mean": by_kind(rate, kind_of[values.index].to_numpy(), kinds)}


# ---- one split

class Split:
    "A grid, split by queries: what may be logged of it, and the cells on which choices are judged."
    def __init__(self, log, split):
        train, self.test = log.split(queries=HELD_OUT, seed=split)
        self.split, self.grid = split, Grid(train)
        values, queries, prompts = cells(self.test)
        self.V, self.ids, self.queries, self.prompts = values.to_numpy(), values.columns, list(queries), list(prompts)
        kind = log.frame.drop_duplicates("query").set_index("query").get("kind")
        self.kind_of, self.kinds = kind, None if kind is None else kind[self.queries].to_numpy()

    def worth(self, choice): return float(self.V[np.arange(len(self.V)), np.resize(choice, len(self.V))].mean())

    def table(self, log):
        "(queries x prompts) what was logged, queries by their text."
        return log.frame.pivot_table(index="query", columns="prompt", values="score", sort=False).reindex(columns=self.prompts)

    def models(self, parts="auto"):
        return dict(causal=cp.CausalReward(random_state=self.split, parts=parts), naive=cp.NaiveReward(random_state=self.split))

    def ceiling(self):
        "Choose for each query by every second draw of its cells, and judge by the others, both ways; and the best single prompt on these queries. NaN where draws do not repeat."
        draw = self.test.frame.groupby(["query_id", "prompt_id"]).cumcount() % 2
        if not draw.any(): return np.nan, np.nan
        a, b = (self.test.frame[draw == i].pivot_table(index="query_id", columns="prompt_id", values="score") for i in (0, 1))
        a, b = (half.reindex(index=b.index, columns=a.columns).to_numpy() for half in (a, b))
        whole = ~np.isnan(a + b).any(1) # queries that were asked twice under every prompt
        if not whole.any(): return np.nan, np.nan
        a, b = a[whole], b[whole]
        at = np.arange(len(a))
        return (b[at, a.argmax(1)].mean() + a[at, b.argmax(1)].mean()) / 2, (a + b).mean(0).max() / 2


def known(s):
    "What needs no log: chance, the training grid's own best, and what nobody can know beforehand."
    whole = raw_chosen(s.table(s.grid.log), s.kind_of, s.kinds)
    best_kind = {} if s.kinds is None else {"best per kind, hindsight": s.worth(by_kind(lambda at: s.V[at].mean(0), s.kinds, s.kinds))}
    values = {"random prompt": s.V.mean(), "best single, hindsight": s.V.mean(0).max(), "oracle a query": s.V.max(1).mean()} | best_kind
    values |= dict(zip(["noise ceiling", "best single where answers repeat"], s.ceiling()))
    rows = [dict(by="all training cells", way=way, value=s.worth(choice)) for way, choice in whole.items()]
    return rows + [dict(by=name, way="", value=float(v)) for name, v in values.items() if np.isfinite(v)]


def logged(s):
    "Choices and drift by the log of each policy."
    rows = []
    for logging in LOGGINGS:
        log = replay(s.grid, logging, s.split)
        raw = s.table(log)
        ways = {("best mean of the log", way): choice for way, choice in raw_chosen(raw, s.kind_of, s.kinds).items()}
        rows += drift(s, logging, "best mean of the log", "mean", raw.mean().to_numpy() - np.nanmean(raw.mean()))
        for name, model in s.models().items():
            model.fit(log)
            ways |= {(name, way): choice for way, choice in chosen(model, log, s.queries, s.prompts).items()}
            if s.kinds is not None: ways |= {(name, way): choice for way, choice in kinds_chosen(model, log, s.kind_of, s.kinds, s.prompts).items()}
            rows += predicted_drift(s, logging, name, model, log)
        rows += [dict(part="logged", logging=logging, by=by, way=way, value=s.worth(choice)) for (by, way), choice in ways.items()]
    return rows


def predicted_drift(s, logging, name, model, log):
    "Drift of the prompts that a model puts first, by its mean and by the lower end."
    queries = list(log.queries["query"])
    mean = averages(model, queries, s.prompts)
    rows = drift(s, logging, name, "mean", mean - mean.mean())
    if not model.has_interval: return rows
    return rows + drift(s, logging, name, "lower bound", mean - mean.mean(), averages(model, queries, s.prompts, 1.96))


def drift(s, logging, by, way, predicted, order=None):
    "Predicted and observed value of the first K of an order, both over the mean of all prompts."
    first = np.argsort(-np.nan_to_num(predicted if order is None else order, nan=-np.inf), kind="stable")
    seen = s.V.mean(0) - s.V.mean()
    return [dict(part="drift", logging=logging, by=by, way=way, top=k, predicted=float(np.mean(predicted[first[:k]])), observed=float(seen[first[:k]].mean()))
            for k in TOP if k < len(first)]


def recombined(s, name):
    "Choices among prompts of the log, and among other combinations of their sentences."
    designed = s.grid.log.frame.loc[s.grid.log.frame["family"] == "fraction", "prompt"].unique()
    own = set(designed[np.random.default_rng(s.split).permutation(len(designed))[:len(designed) // 2]])
    half = Grid(s.grid.log.take(s.grid.log.frame["prompt"].isin(own).to_numpy()))
    among = {"logged": [p in own for p in s.prompts], "new": [p in set(designed) - own for p in s.prompts], "both": [p in set(designed) for p in s.prompts]}
    parts, rows = Parts.of(list(designed), named=wordings(name.removeprefix("smol-"))), []
    for logging in LOGGINGS:
        log = replay(half, logging, s.split)
        raw = s.table(log)
        rows.append(dict(logging=logging, among="logged", by="best mean of the log", way="one, mean", value=s.worth(raw_chosen(raw, None, None)["one, mean"])))
        for model, reward in s.models(parts).items():
            reward.fit(log)
            for which, mask in among.items():
                at = np.flatnonzero(mask)
                ways = chosen(reward, log, s.queries, [s.prompts[i] for i in at])
                rows += [dict(logging=logging, among=which, by=model, way=way, value=s.worth(at[choice])) for way, choice in ways.items()]
    bounds = {which: s.V[:, mask] for which, mask in among.items()}
    rows += [dict(logging="", among=which, by=by, way="", value=float(v)) for which, V in bounds.items()
             for by, v in (("random prompt", V.mean()), ("best single, hindsight", V.mean(0).max()), ("oracle a query", V.max(1).mean()))]
    return [dict(part="recombined") | row for row in rows]


def one_step(name, split):
    "All rows of one split of one set."
    warnings.simplefilter("ignore")
    s, start = Split(cp.load_dataset(name), split), time.perf_counter()
    rows = [dict(part="known") | row for row in known(s)] + logged(s) + (recombined(s, name) if name in SHIPPED else [])
    return name, split, time.perf_counter() - start, [dict(set=name, split=split) | plain(row) for row in rows]


# ---- running and keeping

def fingerprint(name):
    "What a set says, in sixteen digits."
    return hashlib.sha256(cp.load_dataset(name).frame[["query", "prompt", "score"]].to_csv(index=False).encode()).hexdigest()[:16]

def at_hand(): return [name for name in SETS if dataset_file(name) is not None]

def kept(path):
    "What is known already of the sets as they are now, and of those that are not at hand."
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else dict(sets={}, done=[], rows=[])
    now = found["sets"] | {name: fingerprint(name) for name in at_hand()}
    good = {name for name in now if found["sets"].get(name) == now[name]}
    return dict(sets=now, done=[d for d in found["done"] if d[0] in good], rows=[r for r in found["rows"] if r["set"] in good])

def keep(path, found):
    found["rows"].sort(key=lambda r: (SETS.index(r["set"]), r["split"])) # stable: a step's rows keep their order
    found["done"].sort(key=lambda d: (SETS.index(d[0]), d[1]))
    about = dict(python=platform.python_version(), package=cp.__version__)
    head, lines = json.dumps(dict(about=about, sets=found["sets"], done=found["done"])), ",\n".join(json.dumps(r) for r in found["rows"])
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as part: Path(part).write_text(f'{head[:-1]}, "rows": [\n{lines}\n]}}\n', encoding="utf-8")

def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("--sets", nargs="*", default=None, choices=SETS, help="all that are at hand")
    a.add_argument("--splits", type=int, default=10)
    a.add_argument("--jobs", type=int, default=1, help="processes")
    a.add_argument("--out", type=Path, default=OUT)
    a = a.parse_args()
    found = kept(a.out)
    steps = [(name, split) for split in range(a.splits) for name in a.sets or at_hand() if [name, split] not in found["done"]]
    for name, split, seconds, rows in Parallel(a.jobs, return_as="generator_unordered")(delayed(one_step)(*step) for step in steps):
        found["rows"] += rows
        found["done"].append([name, split])
        keep(a.out, found)
        print(f"{name}, split {split}: {seconds:.0f} s", flush=True)


if __name__ == "__main__": main()
