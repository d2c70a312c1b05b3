"""Prompts as parts: is the effect of a sentence found, is a combination that nobody tried scored, and is nothing lost where prompts share nothing?

    python benchmarks/parts.py                                  # everything, about an hour on one core
    python benchmarks/parts.py --only value --seeds 3 --calls 120 600

value: a factorial log of n calls on two simulated worlds (12 ideas, 5 kinds of queries, exact truth; the served one, in which difficulty matters more
than any prompt, and the compositional one), then the best of all 4,096 combinations by each model, for all queries and per query; gain over the seed
prompt as a share of what the best single combination gains. The oracle is told what nobody knows (kinds of the queries, how much effects, kinds and
queries vary): no model can be expected to do better with that log. effects: a confounded log (elaborate
prompts went to hard queries, and the difficulty is not recorded), effects of 12 ideas by each model and by raw means against the truth. coverage:
95% intervals of parts, of seen prompts and of combinations nobody tried, and of parts of few prompts that have effects of their own. kept: recorded grids of real LLMs, with the parts and without. agree: are observed effects
distinguished from those of randomised pairs as often as they should, where the route is sound, and where it is not?
Prints tables of means with 95% intervals over seeds, writes benchmarks/results/parts.json after every seed.
"""
import argparse, json, time, warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.feature_extraction.text import HashingVectorizer

import causal_prompts as cp
from causal_prompts.banks import Bank
from causal_prompts.factorial import factorial
from causal_prompts.measures import tau_b
from causal_prompts.naive import NaiveReward
from causal_prompts.part_pairs import part_pairs
from causal_prompts.stages import join_stages, next_plan, staged_effects
from causal_prompts.world_texts import BASELINE, IDEAS
from causal_prompts.worlds import PRESETS

OUT = Path(__file__).parent/"results"/"parts.json"
CALLS = [60, 120, 200, 300, 600, 1200]
GRIDS = ["sst2-opt27b", "gsm8k-gpt35", "gsm8k-llama2", "svamp-llama2", "mawps-llama2"]
BANK = Bank.of({idea: wordings[0] for idea, wordings in IDEAS.items()}, base=BASELINE)
SETS = [BANK.prompt(ids) for ids in BANK.sets(most=4096)]
WORLDS = {"served": dict(confounding=0, visible=False), "compositional": PRESETS["compositional"]}
WORDINGS = {text: idea for idea, texts in IDEAS.items() for text in texts}


def fitted(log, parts, route="auto"):
    return cp.CausalReward(route, learner="kernel", folds=0, baseline=BASELINE, parts=parts).fit(log)

def drawn(world, pairs, seed):
    "The log of a 0/1 score for every (query, prompt)."
    frame = pd.DataFrame(pairs, columns=["query", "prompt"])
    (q, queries), (p, prompts) = pd.factorize(frame["query"]), pd.factorize(frame["prompt"])
    values = world.value(list(queries), list(prompts))[q, p]
    return frame.assign(score=(np.random.default_rng(seed).random(len(frame)) < values).astype(float))

def logged(world, design, seed):
    "The scored log of a plan, with what it records of the draw."
    text = dict(zip(design.prompts["prompt_id"], design.prompts["prompt"]))
    pairs = [(q, text[p]) for q, p in zip(design.cells["query_id"], design.cells["prompt_id"])]
    recorded = design.cells[["propensity", "inclusion", "stage"]].reset_index(drop=True)
    return cp.Triplets(pd.concat([drawn(world, pairs, seed), recorded], axis=1))

def factorial_log(world, calls, seed):
    queries = world.queries(min(600, calls), seed)["query"]
    return logged(world, factorial(BANK, queries, calls, random_state=seed), seed)

def two_stages(world, calls, seed):
    "Half of the calls at random, the other half tilted to what seemed to help."
    queries, half = world.queries(min(600, calls), seed)["query"], calls // 2
    first = logged(world, factorial(BANK, queries, half, random_state=seed), seed)
    second = next_plan(BANK, staged_effects(first, BANK), queries, calls - half, random_state=seed)
    return join_stages(first, logged(world, second, seed + 5_000))


def least_squares(log, candidates):
    "Main effects of the ideas by ordinary least squares on the raw scores: (1, n) gains, alike for every query."
    has = lambda texts: np.asarray(BANK.presence(texts), float)
    X = np.c_[np.ones(len(log.frame)), has(log.frame["prompt"])]
    beta = np.linalg.lstsq(X, log.frame["score"].to_numpy(), rcond=None)[0]
    return (has(candidates) @ beta[1:])[None]

def best_logged(log, candidates):
    mean = log.frame.groupby("prompt")["score"].mean()
    return pd.Series(candidates).map(mean).fillna(-1).to_numpy()[None]

def oracle(world, log, queries, candidates):
    "Posterior mean of every idea's effect by kind under the prior that the world was written by, queries with a level of their own: (n_q, n)."
    has = lambda texts: np.asarray(BANK.presence(texts), float)
    by_kind = world.ideas.set_index("idea").loc[list(BANK.presence(candidates[:1]))].iloc[:, 2:-1].to_numpy(float)
    main, between = by_kind.mean(1).var(), (by_kind - by_kind.mean(1, keepdims=True)).var()
    kinds, f = world.kind_and_difficulty, log.frame
    X, kind, query = has(f["prompt"]), np.eye(5)[kinds(f["query"])[0]], pd.factorize(f["query"])[0]
    Z = np.c_[np.ones(len(X)), X, (X[:, :, None] * kind[:, None, :]).reshape(len(X), -1)]
    level = world.value(queries, [BASELINE]).var()
    noise = np.linalg.inv(.2 * np.eye(len(f)) + level * (query[:, None] == query))
    prior = np.repeat([1 / 10, 1 / main, 1 / between], [1, X.shape[1], X.shape[1] * 5])
    w = np.linalg.solve(Z.T @ noise @ Z + np.diag(prior), Z.T @ noise @ f["score"].to_numpy(float))
    effects = w[1:1 + X.shape[1]] + w[1 + X.shape[1]:].reshape(-1, 5).T[kinds(queries)[0]]
    return effects @ has(candidates).T

def ways(world, calls, seed, queries):
    "name -> scores of all sets."
    log, staged = factorial_log(world, calls, seed), lambda: two_stages(world, calls, seed)
    return {"best logged prompt": lambda: best_logged(log, SETS), "least squares on parts": lambda: least_squares(log, SETS),
            "reward, whole prompts": lambda: fitted(log, None).levels(queries, SETS), "reward, parts": lambda: fitted(log, "auto").levels(queries, SETS),
            "reward, parts, two stages": lambda: fitted(staged(), "auto").levels(queries, SETS), "oracle": lambda: oracle(world, log, queries, SETS)}

def value(seed, calls):
    "Share of the best combination's gain over the seed prompt, for each way of using the calls."
    out = []
    for name, settings in WORLDS.items():
        world = cp.World(**settings, seed=seed)
        queries = world.queries(200, seed + 10_000)["query"].tolist()
        V = world.value(queries, SETS)
        share = lambda v, seed_prompt=V[:, SETS.index(BASELINE)].mean(), best=V.mean(0).max(): (v - seed_prompt) / (best - seed_prompt)
        for n in calls:
            for way, scores in ways(world, n, seed, queries).items():
                start = time.perf_counter()
                S = scores()
                row = dict(part="value", seed=seed, world=name, calls=n, way=way, seconds=time.perf_counter() - start, single=share(V[:, S.mean(0).argmax()].mean()))
                if len(S) > 1: row["per query"] = share(V[np.arange(len(V)), S.argmax(1)].mean())
                out.append(row)
    return out


def raw_means(log, found):
    "Naive effect of each part: mean score of the rows with it minus that of the rows without."
    has = pd.DataFrame({idea: log.frame["prompt"].map(lambda p: any(t in p for t in IDEAS[idea])) for idea in found})
    y = log.frame["score"]
    return np.array([y[has[idea]].mean() - y[~has[idea]].mean() for idea in found])

def effects(seed, n_queries=1000, n_prompts=60):
    "Effects of the 12 ideas from a confounded log of 4,000 rows, and of 300 combinations that nobody tried."
    world = cp.World.preset("confounded-hidden", seed=seed)
    log = world.log(n_queries, n_prompts=n_prompts, seed=seed)
    rng = np.random.default_rng(seed + 1)
    unseen = list({" ".join([BASELINE, *[IDEAS[i][rng.integers(3)] for i in IDEAS if rng.random() < .5]]): 0 for _ in range(300)})
    queries = world.queries(200, seed + 10_000)["query"].tolist()
    V, out = world.effect(queries, unseen), []
    truth = world.ideas.set_index("idea")["mean"]
    by_hand = cp.parts.Parts.of(log.prompts["prompt"], same=WORDINGS)
    table = fitted(log, by_hand).part_effects().set_index("part")
    estimates = {"parts within query": table["effect"].reindex(truth.index).to_numpy(), "raw means": raw_means(log, list(truth.index))}
    for name, e in estimates.items():
        known = np.isfinite(e)
        out.append(dict(part="effects", seed=seed, way=name, correlation=np.corrcoef(e[known], truth[known])[0, 1],
                        rmse=np.sqrt(np.mean((e - truth)[known]**2)), known=int(known.sum())))
    models = {"reward, whole prompts": None, "reward, parts": "auto", "reward, wordings by hand": by_hand}
    predicted = {name: fitted(log, parts).effect(queries, unseen) for name, parts in models.items()}
    predicted["naive boosting"] = cp.NaiveReward("boosting", baseline=BASELINE, random_state=seed).fit(log).effect(queries, unseen)
    for name, S in predicted.items():
        gain = V[:, S.mean(0).argmax()].mean() / V.mean(0).max()
        out.append(dict(part="unseen", seed=seed, way=name, correlation=np.corrcoef(S.mean(0), V.mean(0))[0, 1],
                        tau=float(np.nanmean(tau_b(S, V))), gain=gain))
    return out


def coverage(seed, n_queries=300):
    "Do 95% intervals hold the truth: parts, logged prompts, combinations nobody tried; with few and with many prompts?"
    out = []
    for preset, n_prompts, more in (("confounded-hidden", 12, {}), ("confounded-hidden", 40, {}), ("confounded-visible", 40, dict(covariates=True))):
        world = cp.World.preset(preset, seed=seed)
        log = world.log(n_queries if preset != "confounded-visible" else 3 * n_queries, n_prompts=n_prompts, seed=seed, **more)
        queries = world.queries(100, seed + 10_000)["query"].tolist()
        new = [p for p in world.prompts(60, seed + 77)[1:] if p not in set(log.prompts["prompt"])]
        by_hand = cp.parts.Parts.of(log.prompts["prompt"], same=WORDINGS)
        for name, parts in (("whole prompts", None), ("parts", "auto"), ("wordings by hand", by_hand)):
            reward = fitted(log, parts)
            logged = [p for p in log.prompts["prompt"] if p != BASELINE]
            for kind, prompts in (("logged", logged), ("new", new)): out.append(held(world, reward, queries, prompts, dict(
                part="coverage", seed=seed, world=f"{preset}, {n_prompts} prompts", way=name, of=kind)))
        out.append(held_parts(world, fitted(log, by_hand), dict(part="coverage", seed=seed, world=f"{preset}, {n_prompts} prompts", way="part_effects", of="parts")))
    for name, size in (("served", 600), ("compositional", 600)):
        for bent in (0, 1):
            world = cp.World(**WORLDS[name], nonlinearity=bent, seed=seed)
            log = factorial_log(world, size, seed)
            reward, rng = fitted(log, "auto"), np.random.default_rng(seed)
            new = [SETS[i] for i in rng.choice(len(SETS), 60, replace=False) if SETS[i] not in set(log.prompts["prompt"])]
            where = dict(part="coverage", seed=seed, world=f"{name}, factorial, {size} calls" + ", saturating" * bent)
            out.append(held(world, reward, world.queries(100, seed + 10_000)["query"].tolist(), new, where | dict(way="parts", of="new")))
            out.append(held_parts(world, reward, where | dict(way="part_effects", of="parts")))
    return out + [row for n_prompts in (10, 28) for row in own_effects(seed, n_prompts)]

def own_effects(seed, n_prompts, own=.05, n_queries=120):
    "Prompts do more or less than their parts say (sd .05 points of score): intervals of the parts' coefficients, four prompts a query."
    rng, ideas = np.random.default_rng(seed), ["steps", "brief", "analogy", "role", "check"][: 4 + (n_prompts > 16)]
    truth = dict(zip(ideas, (.05, -.05, 0, .02, 0)))
    has = np.array(list(np.ndindex(*[2] * len(ideas))))[rng.permutation(2**len(ideas))[:n_prompts]]
    prompts = [" ".join([BASELINE, *[IDEAS[i][0] for i, on in zip(ideas, row) if on]]) for row in has]
    gain, slope, out = has @ np.array(list(truth.values())), rng.normal(0, .08, (n_queries, len(ideas))), []
    dealt = [(q, p) for q in range(n_queries) for p in rng.choice(n_prompts, 4, replace=False)]
    q, p = np.array(dealt).T
    base = rng.random(n_queries)[q] + gain[p] + (has[p] * slope[q]).sum(1) + rng.normal(0, .05, len(q))
    for sd, score in ((own, base + rng.normal(0, own, n_prompts)[p]), (0, base)):
        log = cp.Triplets(pd.DataFrame(dict(query=[f"query number {i}" for i in q], prompt=[prompts[j] for j in p], score=score)), score_range=(-9, 9))
        table = opened("within", log).part_effects().dropna(subset=["se"])
        true = table["part"].map(truth)
        out.append(dict(part="coverage", seed=seed, world=f"{n_prompts} prompts, own effects of sd {sd}", way="part_effects", of="coefficients",
                        average=((table["lo"] <= true) & (true <= table["hi"])).mean(), width=(table["hi"] - table["lo"]).mean(), known=len(table)))
    return out

def held(world, reward, queries, prompts, row):
    V, E = world.effect(queries, prompts), reward.encode(queries, "query")
    lo, hi = reward.effect_interval(queries, prompts)
    mean, se = reward.effect(queries, prompts).mean(0), reward.average_se(queries, E, np.full(len(queries), 1 / len(queries)), prompts)
    return row | dict(single=((lo <= V) & (V <= hi)).mean(), average=(abs(mean - V.mean(0)) <= 1.96 * se).mean(), width=(hi - lo).mean())

def held_parts(world, reward, row):
    "Truth of a part: its least-squares share of the logged prompts' true qualities, on the same rows and residuals."
    rows, _ = reward.residuals()
    table = reward.part_effects().dropna(subset=["se"])
    P, levels, _ = cp.part_effects.part_columns(rows, reward.parts_)
    columns = np.unique(cp.part_effects.grouped_columns(P[np.unique(rows.p)]))
    X = rows.route.residual(rows, P[rows.p][:, columns])
    V = world.value(rows.queries, rows.prompts)
    gain = (V - V.mean(1, keepdims=True))[rows.q, rows.p]
    beta = np.linalg.lstsq(X, rows.route.residual(rows, gain) if rows.route.within_query else gain, rcond=None)[0]
    truth = table["part"].map(dict(zip([levels[c] for c in columns], beta)))
    return row | dict(average=((table["lo"] <= truth) & (truth <= table["hi"])).mean(), width=(table["hi"] - table["lo"]).mean(), known=len(table))


def kept(seed, names=GRIDS, queries=400):
    "tau-b on held-out queries of recorded grids, over prompts that the log has seen and new ones, with the parts and without."
    out = []
    for name in names:
        grid = cp.grids.Grid(cp.load_dataset(name))
        rng = np.random.default_rng(seed)
        values = grid.values
        test = rng.random(len(values)) < .4
        new = rng.random(values.shape[1]) < .3
        new[values.shape[1] - 1] = False
        train = cp.Triplets(grid.replay("random", k=min(5, values.shape[1] - new.sum()), seed=seed).frame[["query_id", "query", "prompt_id", "prompt", "score"]])
        f = train.frame
        keep = f["query_id"].isin(values.index[~test]) & f["prompt_id"].isin(values.columns[~new])
        log = train.take(keep.to_numpy())
        texts = f.drop_duplicates("prompt_id").set_index("prompt_id")["prompt"].reindex(values.columns)
        asked = f.drop_duplicates("query_id").set_index("query_id")["query"].reindex(values.index[test])[:queries].dropna()
        known = texts.notna().to_numpy()
        for way, parts in (("whole prompts", None), ("parts", "auto")):
            reward = cp.CausalReward(learner="kernel", folds=0, parts=parts).fit(log)
            S, V = reward.levels(list(asked), list(texts[known])), values.loc[asked.index].to_numpy()[:, known]
            tau = lambda cols: float(np.nanmean(tau_b(S[:, cols], V[:, cols]))) if cols.sum() > 1 else np.nan
            out.append(dict(part="kept", seed=seed, grid=name, way=way, columns=int(sum(reward.model_.made_of.sizes)),
                            seen=tau(~new[known]), new=tau(new[known])))
    return out


def pairs_log(world, calls, seed, about):
    "A log of one pair of prompts a query, which differ in one of the ideas that it is about."
    queries, rng = world.queries(calls // 2, seed)["query"], np.random.default_rng(seed)
    pairs = part_pairs(BANK, parts=about, n=min(50 * len(about), calls // 2), random_state=seed)[["prompt", "edited"]].to_numpy()
    dealt = pairs[rng.integers(len(pairs), size=len(queries))]
    return cp.Triplets(drawn(world, [(q, p) for q, both in zip(queries, dealt) for p in both], seed))

def agree(seed, n_queries=1000, calls=(1200, 4800), about=("steps", "brief", "analogy", "role")):
    "p value of the test that observed effects of four ideas are those of randomised pairs, by the route of the observed log."
    world, out = cp.World.preset("confounded-hidden", seed=seed), []
    log = world.log(n_queries, n_prompts=60, seed=seed)
    observed = {route: opened(route, log) for route in ("within", "dml", "naive")}
    for n in calls:
        randomised = opened("within", pairs_log(world, n, seed + 10_000, list(about)))
        for route, reward in observed.items():
            found = cp.effects_agree(reward, randomised).facts
            tables = cp.effects_agree(reward.part_effects(), randomised.part_effects(), match="part", score_range=(0, 1)).facts
            out.append(dict(part="agree", seed=seed, way=route, pairs=n // 2, stop=float(found["p"] <= .01), told_apart=float(found["p"] <= .05),
                            by_tables=float(tables["p"] <= .05), visible=found["visible"], largest=found["largest"], shared=found["parts"]))
    return out

class Words:
    "A bag of words hashed to 64 numbers: enough where a difficulty is hidden from the text, and many seeds are wanted."
    def encode(self, texts, role="prompt"): return HashingVectorizer(n_features=64).transform(texts).toarray().astype(np.float32)

def opened(route, log):
    "A reward as far as effects of parts need it, wordings put together by hand: no model of whole prompts is fitted."
    how = dict(encoder=Words(), baseline=BASELINE)
    reward = NaiveReward(**how) if route == "naive" else cp.CausalReward(route, learner="kernel", folds=0, **how)
    reward.parts = cp.parts.Parts.of(log.prompts["prompt"], same=WORDINGS)
    reward.open(log)
    return reward


PARTS = dict(value=value, effects=effects, coverage=coverage, kept=kept, agree=agree)
BY = dict(agree=["way", "pairs"], value=["world", "calls", "way"], effects=["way"], unseen=["way"], coverage=["world", "way", "of"], kept=["grid", "way"])

def summary(rows):
    "Mean and 95% interval over seeds of every number, by what was varied."
    for part, given in rows.groupby("part", sort=False):
        numbers = [c for c in given if c not in ("seed", "part", *BY[part]) and given[c].notna().any()]
        g = given.groupby(BY[part], sort=False)[numbers]
        half = stats.t.ppf(.975, (g.count() - 1).clip(lower=1)) * g.sem()
        print(f"\n{part} ({given['seed'].nunique()} seeds)\n", (g.mean().round(3).astype(str) + " ±" + half.round(3).astype(str)).to_string())


def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    ask.add_argument("--seeds", type=int, default=20)
    ask.add_argument("--calls", type=int, nargs="+", default=CALLS)
    ask.add_argument("--out", type=Path, default=OUT)
    asked = ask.parse_args()
    warnings.simplefilter("ignore")
    rows = json.loads(asked.out.read_text())["rows"] if asked.out.exists() else []
    rows = [r for r in rows if r["part"] not in asked.only and not ("effects" in asked.only and r["part"] == "unseen")]
    for part in asked.only:
        for seed in range(asked.seeds):
            try: rows += value(seed, asked.calls) if part == "value" else PARTS[part](seed)
            except FileNotFoundError as e: print(f"{part}: skipped, {e}"); break # no recorded grids at hand
            asked.out.write_text(json.dumps(dict(version=cp.__version__, rows=rows), indent=0, default=float))
        print(f"{part} done", flush=True)
    summary(pd.DataFrame(rows))


if __name__ == "__main__": main()
