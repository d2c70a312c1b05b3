"""Do 95% intervals hold the truth in 95 of 100 logs? Worlds whose truth is exact, logged again and again.

    python benchmarks/interval_coverage.py [--quick] [--reps 200] [--queries 500] [--prompts 20] [--logs "randomised, 4 a query" ...] [--jobs 1]

Each replication draws queries from a pool (embedded once), prompts from another, lets the world's policy choose and its grader score, fits `CausalReward(learner="kernel", folds=0)` with the route that the log calls for, and counts which
intervals hold the truth: of `average_effect` for the prompts of the log (truth: the mean of the exact effects over the replication's queries), and of `effect_interval` for single pairs, on queries of the log and on new ones, for prompts
of the log and for new ones. In logs where prompts are rarely given (to `FEW` queries on average: the baseline, or half of the others, which alone are then counted) the averages alone are asked for: their intervals rest on few queries.
Beside them the naive average, the difference of two raw means. Rows of one replication hang together, so the interval of a coverage counts replications. Prints a table and, where a coverage is not 93 to 97%,
says so in words; writes benchmarks/results/interval_coverage.json. (The name is long because a script coverage.py would hide the package that numba imports, for every script of this folder.)"""
import argparse, json, os, platform, time, warnings
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from causal_prompts import CausalReward, NaiveReward, Triplets, World
from causal_prompts.embeddings import TextEncoder
from causal_prompts.core import mean_interval, progress, rng
from causal_prompts.inference import contrasts
from causal_prompts.worlds import systematic_sample

OUT = Path(__file__).parent/"results"/"interval_coverage.json"
RANGE = .93, .97
POOL = dict(queries=1500, prompts=200)
FEW = 8 # queries that a rarely given prompt meets on average
LOGS = { # name: preset, prompts a query, what is recorded beside query, prompt and score; optionally which prompts are rarely given
    "randomised, 4 a query": ("randomised", 4, None),
    "randomised, 1 a query": ("randomised", 1, None),
    "confounded, visible, 1 a query": ("confounded-visible", 1, None),
    "confounded, visible, 1 a query, difficulty recorded": ("confounded-visible", 1, "difficulty"),
    "confounded, visible, 1 a query, propensities recorded": ("confounded-visible", 1, "propensity"),
    "confounded, hidden, 4 a query": ("confounded-hidden", 4, None),
    "confounded, visible, 1 a query, difficulty recorded, baseline rare": ("confounded-visible", 1, "difficulty", "baseline"),
    "confounded, visible, 1 a query, difficulty recorded, arms rare": ("confounded-visible", 1, "difficulty", "arms"),
    "confounded, visible, 1 a query, propensities recorded, baseline rare": ("confounded-visible", 1, "propensity", "baseline"),
    "confounded, visible, 1 a query, propensities recorded, arms rare": ("confounded-visible", 1, "propensity", "arms"),
    "confounded, hidden, 4 a query, baseline rare": ("confounded-hidden", 4, None, "baseline"),
    "confounded, hidden, 4 a query, arms rare": ("confounded-hidden", 4, None, "arms"),
    "confounded, hidden, 1 a query": ("confounded-hidden", 1, None), # not identified: no method can, the row shows by how much it fails
}
NOT_IDENTIFIED = {"confounded, hidden, 1 a query"}
WHAT = {"average": "average effect", "naive": "average effect, naive", "logged": "single effects", "new queries": "single effects, new queries", "new prompts": "single effects, new prompts and queries"}


class Known:
    "Vectors of a pool of texts, embedded before the replications begin."
    def __init__(self, texts): self.vectors = dict(zip(texts, TextEncoder().encode(texts)))
    def encode(self, texts, role="prompt"): return np.stack([self.vectors[t] for t in texts])


def pools(presets):
    "For each preset its world, queries, prompts, exact effects over the baseline prompt, and an encoder."
    out = {}
    for preset in presets:
        world = World.preset(preset)
        q, prompts = world.queries(POOL["queries"], seed=1), world.prompts(POOL["prompts"], seed=1)
        out[preset] = dict(world=world, q=q, prompts=np.array(prompts, object), effect=world.effect(q["query"], prompts), encoder=Known([*q["query"], *prompts]))
    return out


def rarely(pi, cols):
    "Propensities with these prompts given to `FEW` queries on average; the others take what is freed, none of them more than 1."
    out = pi.copy()
    out[:, cols] *= np.minimum(1, FEW / pi[:, cols].sum(0))
    rest = np.setdiff1d(np.arange(pi.shape[1]), cols)
    room = 1 - pi[:, rest]
    out[:, rest] += room * ((pi - out).sum(1) / room.sum(1))[:, None]
    return out


def rare_prompts(rare, n_prompts):
    "Which prompts of a log are rarely given: the baseline stands first."
    return {None: np.zeros(0, int), "baseline": np.array([0]), "arms": np.arange(1, 1 + n_prompts // 2)}[rare]


def one_log(pool, k, recorded, n_queries, n_prompts, seed, rare=None):
    "A log of this pool, and the numbers in the pool of its queries and prompts; the baseline prompt is always among them."
    r, world = rng(seed, "replication"), pool["world"]
    at, cols = r.choice(len(pool["q"]), n_queries, replace=False), np.r_[0, 1 + r.choice(len(pool["prompts"]) - 1, n_prompts - 1, replace=False)]
    q, prompts = pool["q"].iloc[at], pool["prompts"][cols]
    pi = rarely(world.propensity(q["query"], prompts, k), rare_prompts(rare, n_prompts))
    i, j = systematic_sample(pi, r)
    score = world.draw(q["query"], prompts, seed=seed)[i, j, 0]
    frame = pd.DataFrame(dict(query=q["query"].to_numpy()[i], prompt=prompts[j], score=score))
    if recorded == "propensity": frame["propensity"] = pi[i, j]
    if recorded == "difficulty": frame["difficulty"] = q["difficulty"].to_numpy()[i]
    return Triplets(frame), at, cols


def counted(est, lo, hi, truth, **more):
    "A table of intervals: held the truth or not, error, width; what is not finite is a failure."
    est, lo, hi, truth = (np.asarray(v, float).ravel() for v in (est, lo, hi, truth))
    ok = np.isfinite(est) & np.isfinite(lo) & np.isfinite(hi)
    return pd.DataFrame(dict(hit=np.where(ok, (lo <= truth) & (truth <= hi), np.nan), est=np.where(ok, est, np.nan), truth=truth, width=np.where(ok, hi - lo, np.nan), failed=~ok, **more))


def summed(t):
    "What a replication contributes: sums over its intervals, so that nothing large is kept."
    s = t[~t["failed"]]
    return dict(n=len(t), failed=int(t["failed"].sum()), hit=s["hit"].sum(), error=(s["est"] - s["truth"]).sum(), square=((s["est"] - s["truth"])**2).sum(), width=s["width"].sum(),
                tt=(s["truth"]**2).sum(), et=(s["est"] * s["truth"]).sum())


def replication(pool, k, recorded, n_queries, n_prompts, seed, rare=None):
    "One log, one fit, every kind of interval; a fit that raises fails all of them."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try: return fitted(pool, k, recorded, n_queries, n_prompts, seed, rare)
        except (ValueError, np.linalg.LinAlgError) as e: return dict(seed=seed, error=f"{type(e).__name__}: {e}")


def averages(pool, log, at, asked, seed):
    "The average effects alone, which need no model of the prompts: the residuals of a route and their contrasts."
    start, texts, out = time.perf_counter(), pool["prompts"], {}
    how = dict(baseline=pool["world"].baseline, encoder=pool["encoder"])
    met = [c for c in asked if texts[c] in set(log.prompts["prompt"])]
    for name, model in (("average", CausalReward(folds=0, **how)), ("naive", NaiveReward("ridge", **how))):
        rows, y = model.open(log).residuals()
        if model.baseline_ not in rows.prompts: raise ValueError("the baseline was given to no query")
        t = contrasts(rows, y, rows.prompts.index(model.baseline_)).set_index("prompt").reindex(texts[met])
        out[name] = summed(counted(t["effect"], t["lo"], t["hi"], pool["effect"][np.ix_(at, met)].mean(0)))
        if name == "average": route, seconds = model.route_, time.perf_counter() - start
    return dict(seed=seed, route=route, seconds=seconds, **out)


def fitted(pool, k, recorded, n_queries, n_prompts, seed, rare=None, some=100, fresh=20):
    log, at, cols = one_log(pool, k, recorded, n_queries, n_prompts, seed, rare)
    start = time.perf_counter()
    base = pool["world"].baseline
    if rare: return averages(pool, log, at, cols[rare_prompts(rare, n_prompts)] if rare == "arms" else cols[1:], seed)
    reward = CausalReward(learner="kernel", folds=0, baseline=base, encoder=pool["encoder"]).fit(log)
    seconds = time.perf_counter() - start
    naive = NaiveReward("ridge", baseline=base, encoder=pool["encoder"]).fit(log)
    texts, effect, r = pool["prompts"], pool["effect"], rng(seed, "asked")
    seen = cols[1:]
    met = [c for c in seen if texts[c] in set(log.prompts["prompt"])]
    out = {}
    for name, t in (("average", reward.average_effect(list(texts[met]))), ("naive", naive.average_effect(list(texts[met])))):
        compared = (t["how"] == "compared in the log").to_numpy()
        out[name] = counted(*(t[c].astype(float).where(compared) for c in ("effect", "lo", "hi")), effect[np.ix_(at, met)].mean(0))
    others, unseen = np.setdiff1d(np.arange(len(pool["q"])), at), np.setdiff1d(np.arange(1, len(texts)), cols)
    asked = {"logged": (r.choice(at, min(some, len(at)), replace=False), np.array(met)), "new queries": (r.choice(others, some, replace=False), np.array(met)),
             "new prompts": (r.choice(others, some, replace=False), r.choice(unseen, fresh, replace=False))}
    for name, (q, p) in asked.items():
        queries, prompts = list(pool["q"]["query"].iloc[q]), list(texts[p])
        out[name] = counted(reward.effect(queries, prompts), *reward.effect_interval(queries, prompts), effect[np.ix_(q, p)])
    return dict(seed=seed, route=reward.route_, seconds=seconds, **{k: summed(t) for k, t in out.items()})


def row(runs, what):
    "Coverage over replications with its interval, bias, slope on the truth, error, width, failures."
    good = [r for r in runs if what in r]
    t = pd.DataFrame([r[what] for r in good])
    n = (t["n"] - t["failed"]).to_numpy(float)
    raised = len(runs) - len(good)
    per = t["n"].mean() if len(t) else np.nan
    share = (t["failed"].sum() + raised * per) / (t["n"].sum() + raised * per) if len(t) else 1.
    if not len(t) or not n.sum(): return dict(coverage=np.nan, lo=np.nan, hi=np.nan, bias=np.nan, slope=np.nan, rmse=np.nan, width=np.nan, failed=share, reps=len(good))
    mean = t["hit"].sum() / n.sum()
    half = mean_interval((t["hit"] - mean * n) / n.mean()) # a ratio of sums: the replications' deviations from it
    half = half["hi"] - half["mean"]
    return dict(coverage=mean, lo=max(0., mean - half), hi=min(1., mean + half), bias=t["error"].sum() / n.sum(), slope=t["et"].sum() / t["tt"].sum(), rmse=np.sqrt(t["square"].sum() / n.sum()), width=t["width"].sum() / n.sum(), failed=share, reps=len(good))


def verdict(name, what, r):
    "A sentence where the coverage is not 93 to 97%; empty where it is, and for the naive intervals, which are there for comparison."
    if what == "naive": return ""
    if not np.isfinite(r["coverage"]): return f"{name}, {WHAT[what]}: no interval at all."
    if RANGE[0] <= r["coverage"] <= RANGE[1]: return ""
    side, bound = ("below", RANGE[0]) if r["coverage"] < RANGE[0] else ("above", RANGE[1])
    sure = "as does its whole interval" if (r["hi"] < bound if side == "below" else r["lo"] > bound) else "its interval reaches into it"
    why = "; not identified, as expected" if name in NOT_IDENTIFIED else ""
    return f"{name}, {WHAT[what]}: {r['coverage']:.1%} ({r['lo']:.1%} to {r['hi']:.1%}) lies {side} 93 to 97%, {sure}{why}."


def merged(new):
    "The new rows among those that stand in the file already, in the order of `LOGS`."
    old = json.loads(OUT.read_text()) if OUT.exists() else dict(logs={}, outside=[], errors=[])
    about = lambda said: any(said.startswith(f"{n}, {w}") for n in new["logs"] for w in [*WHAT.values(), "replication"])
    logs = {n: (new["logs"] | {k: v for k, v in old["logs"].items() if k not in new["logs"]}).get(n) for n in LOGS}
    return new | dict(logs={n: t for n, t in logs.items() if t}, **{k: [s for s in old[k] if not about(s)] + new[k] for k in ("outside", "errors")})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reps", type=int, default=200)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--prompts", type=int, default=20, help="prompts in a log, the baseline included")
    parser.add_argument("--first", type=int, default=0, help="seed of the first replication; another than 0 to try things out, written nowhere")
    parser.add_argument("--logs", nargs="+", choices=list(LOGS), default=list(LOGS))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="four replications of 200 queries: a smoke test, written nowhere")
    args = parser.parse_args()
    if args.quick: args.reps, args.queries = 4, 200
    if not 10 <= args.queries <= POOL["queries"] - 200: parser.error(f"--queries must lie in 10 to {POOL['queries'] - 200}")
    if not 2 <= args.prompts <= POOL["prompts"] - 50: parser.error(f"--prompts must lie in 2 to {POOL['prompts'] - 50}")
    pool = pools({LOGS[name][0] for name in args.logs})
    print(f"{args.reps} replications, {args.queries} queries, {args.prompts} prompts; nominal coverage 95%\n")
    print(f"{'':<44}{'coverage':>9}{'interval':>15}{'bias':>8}{'slope':>7}{'rmse':>7}{'width':>7}{'failed':>8}")
    tables, said, errors = {}, [], []
    for name in args.logs:
        preset, k, recorded, *rare = LOGS[name]
        start = time.perf_counter()
        runs = Parallel(n_jobs=args.jobs)(delayed(replication)(pool[preset], k, recorded, args.queries, args.prompts, seed, *rare) for seed in progress(range(args.first, args.first + args.reps), name))
        rows = tables[name] = {what: row(runs, what) for what in list(WHAT)[: 2 if rare else None]}
        good = [r for r in runs if "error" not in r]
        errors += [f"{name}, replication {r['seed']}: {r['error']}" for r in runs if "error" in r]
        fit = np.median([r["seconds"] for r in good]) if good else np.nan
        print(f"{name} (route {', '.join(sorted({r['route'] for r in good})) or 'none'}; a fit takes {fit:.2f} s; {time.perf_counter() - start:.0f} s in all)")
        for what, r in rows.items():
            print(f"  {WHAT[what]:<42}{r['coverage']:>9.1%}{format(r['lo'], '.1%') + ' - ' + format(r['hi'], '.1%'):>15}{r['bias']:>+8.3f}{r['slope']:>7.2f}{r['rmse']:>7.3f}{r['width']:>7.3f}{r['failed']:>8.1%}", flush=True)
            said += [verdict(name, what, r)]
    print("\nbias: mean of estimate minus truth. slope: of the estimates on the truth through the origin; 1 is right, below 1 shrunken, below 0 upside down. failed: asked for, and no finite interval came.")
    said = [s for s in said if s]
    print("\nNot 93 to 97%:" if said else "\nEvery coverage lies in 93 to 97%.", *said, sep="\n  ")
    if errors: print(f"\n{len(errors)} fits raised:", *errors[:10], sep="\n  ")
    if args.quick or args.first: return
    OUT.parent.mkdir(exist_ok=True)
    about = dict(python=platform.python_version(), system=platform.system(), replications=args.reps, queries=args.queries, prompts=args.prompts, nominal=.95, wanted=RANGE)
    clean = lambda v: None if isinstance(v, float) and not np.isfinite(v) else v.item() if isinstance(v, np.generic) else v
    rows = {n: {w: {k: clean(v) for k, v in r.items()} for w, r in t.items()} for n, t in tables.items()}
    OUT.write_text(json.dumps(merged(dict(about=about, logs=rows, outside=said, errors=errors)), indent=1) + "\n")
    print(f"\nwritten to benchmarks/results/{OUT.name}")


if __name__ == "__main__": main()
