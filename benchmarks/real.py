"""Do the papers' claims hold on a real model? Grids of its answers, of which every cell is known, replayed as four kinds of logs.

    python benchmarks/real.py                                    # all that is missing, about half an hour on two cores
    python benchmarks/real.py --grids place --splits 2 --parts a e
    python benchmarks/real.py --parts live                       # asks the model on this machine some 5,000 questions

The recordings that ship (smol-place, smol-sentiment, smol-topic) hold a score for every query under every prompt. A log is what one of four
policies would have left of such a grid: prompts drawn at random, better prompts sent to harder queries, the same with one prompt a query, and a
race that drops prompts as it goes. Models see query, prompt and score, nothing else; the truth is the grid's own cells.
a: order of prompts on held-out queries, of prompts in the log and of prompts held out too. b: the same by the size of the log. c: by the number of
components. d: what the components of the prompts are. e: effects of parts. f: do 95% intervals of prompts hold the truth? g: what is the chosen
prompt worth? live: propensities, stability and a shifted fresh set, on questions asked now. The paper's forest takes ten seconds a thousand rows,
so it is run on some of the splits (`SLOW`) and on logs of at most 2,000 rows.
Writes benchmarks/results/real.json after every step and goes on from there; a grid that was recorded anew is measured anew.
"""
import argparse, hashlib, json, os, platform, re, time, warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
from joblib import Parallel, delayed

import causal_prompts as cp
import real_live
from real_live import plain
from causal_prompts.core import whole_file
from causal_prompts.grids import Grid, quiet_log
from causal_prompts.inference import contrasts
from causal_prompts.measures import tau_b
from causal_prompts.part_effects import part_effects
from causal_prompts.parts import Parts
from causal_prompts.patterns import latent_treatments
from causal_prompts.prompt_sets import prompt_bank
from causal_prompts.routes import Route
from causal_prompts.rows import expected_score
from causal_prompts.transport import aucs
from papers import Demeaned, Means
from ranking import cells

OUT = Path(__file__).parent/"results"/"real.json"
GRIDS = ["place", "sentiment", "topic"]
LOGGINGS = { # name -> policy of `Grid.replay`, prompts a query
    "random": ("random", 8), "better to harder": ("better-to-harder", 8),
    "one a query": ("better-to-harder", 1), "adaptive": ("adaptive", 8)}
SLOW = dict(a=5, b=1, c=2) # splits on which the paper's forest is run
SIZES = [500, 1000, 2000, 4000, 8000]
COMPONENTS = [(10, 5), (15, 10), (20, 10), (25, 15), (40, 20), (80, 40)] # of queries and of prompts, the paper's Table 7
BASELINE = "f00" # the question alone


# ---- logs

def replay(grid, logging, seed, k=None):
    "The log that a policy would have left of a grid, without what the models are not to know."
    policy, usual = LOGGINGS[logging]
    log = grid.replay(policy, k=min(k or usual, grid.values.shape[1]), seed=seed)
    return quiet_log(log.frame[["query_id", "query", "prompt_id", "prompt", "score"]], adaptive=log.adaptive)

def held_out(name, split):
    "The training grid, and of the held-out queries: values, texts, prompts, which prompts the training grid has."
    train, test = cp.load_dataset(f"smol-{name}").split(queries=.4, prompts=.3, seed=split)
    values, queries, prompts = cells(test)
    return Grid(train), values.to_numpy(), list(queries), list(prompts), prompts.index.isin(train.prompts["prompt_id"])

def models(part, split, d=None):
    "name -> an unfitted model; d: components of queries and of prompts, None: the usual."
    sized = {} if d is None else dict(d_x=d[0], d_t=d[1])
    out = dict(causal=cp.CausalReward(random_state=split, **sized), naive=cp.NaiveReward(random_state=split, **sized))
    if split < SLOW[part]: out["CPO"] = cp.CPOReward(random_state=split, **sized)
    return out


# ---- a, b, c: order

def order(effect, values, seen):
    "tau-b and AUC query by query, tau-b of the prompts' means; on the third of the queries that is hardest; score of the choice."
    hard = values.mean(1) <= np.quantile(values.mean(1), 1/3)
    def tau(predicted, observed): return float(np.nanmean(tau_b(predicted, observed)))
    choice = np.where(np.isnan(effect), -np.inf, effect).argmax(1)
    out = dict(value=values[np.arange(len(values)), choice].mean())
    for which, at in (("seen", seen), ("new", ~seen)):
        E, V = effect[:, at], values[:, at]
        if np.isnan(E).any(): continue # a model that knows nothing of new prompts
        out |= {f"tau {which}": tau(E, V), f"hard {which}": tau(E[hard], V[hard]), f"means {which}": tau(E.mean(0), V.mean(0))}
        ranked = areas(E, V)
        out |= {f"AUC {which}": np.nanmean(ranked), f"AUC hard {which}": np.nanmean(ranked[hard]), f"defined hard {which}": np.isfinite(ranked[hard]).mean()}
    return out

def areas(predicted, observed):
    "(n,) for each query the chance that a prompt with score 1 is put before one with score 0, ties half; NaN where all scores are alike."
    right = observed.T == 1
    return np.where(right.any(0) & ~right.all(0), aucs(right, predicted.T), np.nan)

def fitted_order(model, log, held):
    "What a model that is fitted to a log makes of the held-out queries; `seen` are the prompts of the log."
    _, values, queries, prompts, _ = held
    start, seen = time.perf_counter(), np.isin(prompts, list(log.prompts["prompt"]))
    effect = np.asarray(model.fit(log).effect(queries, prompts))
    return dict(rows=len(log), seconds=time.perf_counter() - start, seen=int(seen.sum()), **order(effect, values, seen))

def part_a(name, split):
    "Held-out order of prompts by each model, under each logging."
    held, rows = held_out(name, split), []
    for logging in LOGGINGS:
        log = replay(held[0], logging, split)
        some = models("a", split) | {"prompt means of the log": Means()}
        if LOGGINGS[logging][1] > 1: some["naive, query mean subtracted"] = Demeaned(random_state=split)
        rows += [dict(logging=logging, model=m, **fitted_order(model, log, held)) for m, model in some.items()]
    return rows + [dict(logging="all cells", model="prompt means of the training grid", **fitted_order(Means(), held[0].log, held))]

def part_b(name, split):
    "The same by the size of the log: more prompts a query."
    held, rows = held_out(name, split), []
    for logging in ("random", "better to harder"):
        for size in SIZES:
            log = replay(held[0], logging, split, round(size / len(held[0].values)))
            some = {m: model for m, model in models("b", split).items() if m != "CPO" or size <= 2000}
            rows += [dict(logging=logging, model=m, size=size, **fitted_order(model, log, held)) for m, model in some.items()]
    return rows

def part_c(name, split):
    "The same by the number of components."
    held = held_out(name, split)
    log, rows = replay(held[0], "random", split), []
    for d in COMPONENTS:
        rows += [dict(logging="random", model=m, d_x=d[0], d_t=d[1], **fitted_order(model, log, held)) for m, model in models("c", split, d).items()]
    return rows


# ---- d, e: components and parts

def part_d(name, split):
    "What the components of the prompts go with, and what of the prompts' means components and parts explain; once a grid."
    grid = Grid(cp.load_dataset(f"smol-{name}"))
    reward = cp.CausalReward().fit(replay(grid, "random", split))
    held = {p: "|".join(map(re.escape, texts)) for p, texts in wordings(name).items()}
    rows = []
    for kind, patterns in (("parts", held | {"examples": r"\nAnswer: "}), ("twenty patterns", None)):
        found = latent_treatments(reward, patterns)
        clearest = found.data.sort_values("p").head(5)
        rows += [dict(kind=kind, what="counts", **found.facts)]
        rows += [dict(kind=kind, what="clearest", **r) for r in clearest[["pattern", "component", "r", "holm"]].to_dict("records")]
        worth = found.table[found.table["holm_effect"] < .05][["pattern", "effect", "lo", "hi", "holm_effect"]]
        rows += [dict(kind=kind, what="effect", **r) for r in worth.to_dict("records")]
    return rows

def wordings(name):
    "part -> its texts, for the parts that are in or out."
    table = prompt_bank(name).parts
    return {row.part: list(row.wordings) for row in table.itertuples() if row.part != "ask"}

def by_route(log):
    "route -> the rows it opens and their residual scores, for the routes that the log allows to compute."
    opened = {str(route): route.open(log) for route in Route.computable(log)}
    return {name: (rows, rows.y - expected_score(rows)[0]) for name, rows in opened.items()}

def part_e(name, split):
    "Effects of parts by each route, from the designed prompts alone, against the grid's."
    log = cp.load_dataset(f"smol-{name}")
    grid = Grid(log.take((log.frame["family"] == "fraction").to_numpy()))
    held = grid.log.frame.drop_duplicates("prompt_id").set_index("prompt_id")["parts"].map(json.loads)[grid.quality.index]
    has = {part: held.map(lambda some: part in some) for part in wordings(name)}
    truth = {part: grid.quality[there].mean() - grid.quality[~there].mean() for part, there in has.items()}
    named, rows = {text: part for part, texts in wordings(name).items() for text in texts}, []
    for logging in LOGGINGS:
        log = replay(grid, logging, split)
        parts = Parts.of(log.prompts["prompt"], named=wordings(name))
        for route, (opened, y) in by_route(log).items():
            table = part_effects(opened, y, parts)
            table = table.assign(of=table["text"].map(named)).dropna(subset=["of", "effect"])
            found = table[["of", "effect", "lo", "hi"]].to_dict("records")
            rows += [dict(logging=logging, route=route, rows=len(log), truth=truth[r["of"]], **r) for r in found]
    return rows


# ---- f, g: intervals and choices

def part_f(name, split):
    "Do 95% intervals of prompts over the question alone hold the grid's difference?"
    grid, rows = Grid(cp.load_dataset(f"smol-{name}")), []
    text = grid.log.prompts.set_index("prompt_id")["prompt"]
    truth = (grid.quality - grid.quality[BASELINE]).drop(BASELINE)
    for logging in LOGGINGS:
        log = replay(grid, logging, split)
        if text[BASELINE] not in set(log.prompts["prompt"]): continue # with one prompt a query it may be drawn for none
        for route, (opened, y) in by_route(log).items():
            table = contrasts(opened, y, opened.prompts.index(text[BASELINE])).set_index("prompt").reindex(text[truth.index])
            told = table.assign(truth=truth.to_numpy()).dropna(subset="se")
            covered = (told["lo"] <= told["truth"]) & (told["truth"] <= told["hi"])
            row = dict(logging=logging, route=route, rows=len(log), asked=len(table), told=len(told), held=int(covered.sum()))
            if len(told) > 2: row |= dict(half=((told["hi"] - told["lo"]) / 2).median(), bias=(told["effect"] - told["truth"]).mean(), slope=np.polyfit(told["truth"], told["effect"], 1)[0])
            rows.append(row)
    return rows

def chosen(reward, log, queries, prompts):
    "way -> (n_queries,) numbers of the prompts chosen: one for all by the mean, by its lower bound, one a query, by its lower bound."
    known = list(log.queries["query"])
    mean, n = reward.effect(known, prompts).mean(0), len(queries)
    out = {"one, mean": np.full(n, mean.argmax()), "one a query, mean": reward.effect(queries, prompts).argmax(1)}
    if not reward.has_interval: return out
    se = reward.average_se(known, reward.encode(known, "query"), np.full(len(known), 1 / len(known)), prompts)
    lower = reward.effect_interval(queries, prompts)[0]
    return out | {"one, lower bound": np.full(n, (mean - 1.96 * se).argmax()), "one a query, lower bound": lower.argmax(1)}

def part_g(name, split):
    "What the chosen prompt scores on held-out queries; every prompt is in the training grid."
    train, test = cp.load_dataset(f"smol-{name}").split(queries=.4, seed=split)
    values, queries, prompts = cells(test)
    V, grid, rows = values.to_numpy(), Grid(train), []
    def worth(choice): return V[np.arange(len(V)), choice].mean()
    for logging in LOGGINGS:
        log = replay(grid, logging, split)
        for m, model in dict(causal=cp.CausalReward(random_state=split), naive=cp.NaiveReward(random_state=split)).items():
            ways = chosen(model.fit(log), log, list(queries), list(prompts))
            rows += [dict(logging=logging, model=m, way=way, value=worth(choice)) for way, choice in ways.items()]
        means = log.frame.groupby("prompt_id")["score"].mean().reindex(values.columns).to_numpy()
        rows.append(dict(logging=logging, model="best mean of the log", way="one, mean", value=V[:, np.nanargmax(means)].mean()))
    best = grid.quality.reindex(values.columns).to_numpy().argmax()
    known = {"random prompt": V.mean(), "best single in the training grid": V[:, best].mean(), "best single, hindsight": V.mean(0).max(), "oracle a query": V.max(1).mean()}
    return rows + [dict(logging="all cells", model=m, value=v) for m, v in known.items()]

# ---- running and keeping

PARTS = dict(a=part_a, b=part_b, c=part_c, d=part_d, e=part_e, f=part_f, g=part_g)

def one_step(part, name, split):
    "The rows of one part on one split of one grid."
    warnings.simplefilter("ignore")
    return part, name, split, [dict(part=part, grid=name, split=split, **row) for row in PARTS[part](name, split)]

def fingerprint(name):
    "What a grid says, in sixteen digits."
    cells = cp.load_dataset(f"smol-{name}").frame[["query", "prompt", "score"]]
    return hashlib.sha256(cells.to_csv(index=False).encode()).hexdigest()[:16]

def kept(path):
    "What is known already of the grids as they are now."
    found = json.loads(path.read_text()) if path.exists() else dict(grids={}, done=[], rows=[], live=None)
    now = {name: fingerprint(name) for name in GRIDS}
    good = {name for name in GRIDS if found["grids"].get(name) == now[name]}
    live = found["live"] if "place" in good else None
    return dict(grids=now, done=[d for d in found["done"] if d[1] in good], rows=[r for r in found["rows"] if r["grid"] in good], live=live)

def keep(path, found):
    found["rows"].sort(key=lambda r: (r["part"], GRIDS.index(r["grid"]), r["split"]))
    found["done"].sort()
    about = dict(python=platform.python_version(), package=cp.__version__)
    lines = ",\n".join(json.dumps(r) for r in found["rows"])
    head = json.dumps(dict(about=about, grids=found["grids"], done=found["done"], live=found["live"]))
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as part: Path(part).write_text(f'{head[:-1]}, "rows": [\n{lines}\n]}}\n')

def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("--grids", nargs="*", default=GRIDS, choices=GRIDS)
    a.add_argument("--parts", nargs="*", default=[*PARTS, "live"], choices=[*PARTS, "live"])
    a.add_argument("--splits", type=int, default=10)
    a.add_argument("--jobs", type=int, default=2, help="processes")
    a.add_argument("--out", type=Path, default=OUT)
    a = a.parse_args()
    found = kept(a.out)
    steps = [(p, n, s) for p in PARTS if p in a.parts for s in range(1 if p == "d" else a.splits) for n in a.grids if [p, n, s] not in found["done"]]
    start = time.time()
    for part, name, split, rows in Parallel(a.jobs, return_as="generator_unordered")(delayed(one_step)(*s) for s in steps):
        found["rows"] += [plain(row) for row in rows]
        found["done"].append([part, name, split])
        keep(a.out, found)
        print(f"{time.time() - start:6.0f} s: {part}, {name}, split {split}", flush=True)
    if "live" not in a.parts: return
    for found["live"] in real_live.steps(found["live"], a.jobs): keep(a.out, found)


if __name__ == "__main__": main()
