"""Why does `cp.optimize` not find the whole gain of the best set: how much could any analysis find with as many calls, and what does each of its settings cost?

    python benchmarks/sentence_designs.py                       # all parts, about ten minutes on one core
    python benchmarks/sentence_designs.py --parts frontier limits --quick --out FILE

The worlds are those of `optimize.py` with effect size 1.7, their seeds from 1000 on: no setting was chosen on them. Parts:
`present`: the rows of `optimize.py` for these seeds.
`frontier`: share of the best set's gain against idle sentences, where a sentence is left out unless it is k standard errors above nothing.
`limits`: what an analyst could choose who knows the twelve effects of the world and only not which sentence has which, from all calls, without confirmation.
`losses`: the present rule with one of its settings changed, on the same worlds.
`confirm`: other shares of the calls for the confirmation, also in worlds of effect size 1.
`each`: shares of the gain of the best set of each query, of one prompt and of routers.
All but `present` and `each` draw the log as arrays: what sentences a prompt holds, drawn as `factorial` does, and scores by the world's exact chances; the effects are those of `shrunk_effects`. Writes benchmarks/results/sentence_designs.json."""
import argparse, json, time, warnings
from collections import namedtuple
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

import causal_prompts as cp
from causal_prompts.call_shares import call_shares, split_queries
from causal_prompts.core import rng
from causal_prompts.fresh_gains import chosen_finalist, finalist_table, paired_interval
from causal_prompts.routed_gains import routed_gains, routed_plan, router_choices, router_for
from causal_prompts.sentence_parts import bank_of, frame_of, gathered_sentences, new_sentences
from causal_prompts.set_rounds import finalist_sets, reward_of_sets, round_plan, shrunk_effects
from causal_prompts.stages import join_stages
from causal_prompts.tasks import world_task
from causal_prompts.world_answers import prompt_variants
from causal_prompts.world_texts import BASELINE, IDEAS, KINDS
from causal_prompts.worlds import World
from optimize import NAMED, one_run, scored, summary

OUT = Path(__file__).parent/"results"/"sentence_designs.json"
FIRST = 1000 # seed of the first world
EFFECT = 1.7
WAYS = ("named", "writer")
WORLDS = dict(present=24, losses=240, confirm=120, frontier={600: 240, 1200: 96, 2400: 96, 5000: 48, 10_000: 24, 20_000: 24, 40_000: 24},
              limits=dict(named={408: 48, 600: 96, 1200: 24, 2400: 24}, writer={600: 48, 2400: 24}), each={600: 24, 2400: 6, 10_000: 2})
LEAST = (-.5, 0., .5, 1., 2., 3.) # standard errors above nothing
TO_CONFIRM = (.1, .2, .3, .4, .5) # of the calls
EYE = np.eye(12)
KNOWS = ("apart", "ideas", "chances") # how much the best analyst knows: the sizes of the twelve effects; that each idea has its size and rewordings bring nothing; the chances of each kind of query at its difficulty
PRICES = (0., .1, .3, 1.) # of an idle sentence in the prompt, in gains of the best set
SHARED = .03 # variance of queries over that of answers, as in these worlds


# ---- the truth

Truth = namedtuple("Truth", "effects extra pair base idle harmful best each") # (5, 12) and (5,) gains by kind of query, (5, 6) base chances, (12,) flags, gains of the best set and of the best set of each kind

@lru_cache
def truth(effect=EFFECT) -> Truth:
    "The effects of a world, the same for all seeds."
    world = World.preset("compositional", effect_size=effect)
    ideas, both = world.ideas, world.interaction.iloc[0]
    pair = [list(IDEAS).index(idea) for idea in both["ideas"].split(" + ")]
    base = world.expected_scores(np.repeat(np.arange(5), 6), np.tile(np.arange(6) / 5, 5), world.parse([BASELINE])).reshape(5, 6)
    found = Truth(ideas[KINDS].to_numpy(float).T, both[KINDS].to_numpy(float), pair, base, ideas["placebo"].to_numpy(), (ideas["mean"] < -1e-9).to_numpy(), 0., 0.)
    gains = gains_by_kind(np.array(list(product((0, 1), repeat=12))), found)
    return found._replace(best=float(gains.mean(1).max()), each=float(gains.max(0).mean()))


def gains_by_kind(has, known) -> np.ndarray: # (..., 5)
    "Gains of sets of ideas, (..., 12), on each kind of query."
    return has @ known.effects.T + (has[..., known.pair[0]] * has[..., known.pair[1]])[..., None] * known.extra


def held_ideas(X, ideas) -> np.ndarray: # (n, 12) of zeros and ones
    "Which ideas sets of sentences hold; `ideas`: that of each sentence."
    return np.minimum(X @ EYE[ideas], 1.)


def judged_set(chosen, ideas, effect=EFFECT) -> dict:
    "A set of sentences, judged."
    known, has = truth(effect), held_ideas(chosen[None] * 1., ideas)[0]
    useful = np.isin(np.arange(12), ideas) & (known.effects.mean(0) > 1e-9)
    share, reachable = (float(gains_by_kind(h, known).mean() / known.best) for h in (has, useful * 1.))
    return dict(share=share, reachable=reachable, idle=float(has @ known.idle), harmful=float(has @ known.harmful), again=float(chosen.sum() - has.sum()), some_idle=float(has @ known.idle > 0))


# ---- logs as arrays

Log = namedtuple("Log", "X y query kind base") # (n, k) sentences, (n,) scores, codes of queries, kinds, chances without a sentence

@lru_cache(4096)
def writer_ideas(seed, n=24, more=4) -> tuple: # (n,), (more,) ideas of the sentences
    "What the served world's writer proposes before the first half of the log, and after it; as `optimize.sentences`, without its texts."
    where = {text: i for i, own in enumerate(IDEAS.values()) for text in own}
    write = lambda n, draw: [text.replace(BASELINE, "").strip() for text in prompt_variants(BASELINE, n, rng(seed, "writer", draw, n))]
    texts = gathered_sentences(lambda known, draw: write(8, draw), n)
    return np.array([where[t] for t in texts]), np.array([where[t] for t in new_sentences(write(more, 99), texts)] if more else [], int)


def drawn_sets(n_queries, per_query, chances, random) -> np.ndarray: # (n_queries * per_query, k)
    "Sets for each query, every sentence in as even a share of them as can be: as `factorial` draws."
    U = (random.random((n_queries, per_query, len(chances))).argsort(1) + random.random((n_queries, per_query, len(chances)))) / per_query
    return (U < chances).reshape(-1, len(chances)) * 1.


def log_of(X, ideas, per_query, random, effect=EFFECT) -> Log:
    "Scores of sets, each query asked `per_query` times in a row."
    known, n = truth(effect), len(X) // per_query
    kind, level, query = random.integers(5, size=n), random.integers(6, size=n), np.repeat(np.arange(n), per_query)
    base = known.base[kind, level][query]
    chance = base + gains_by_kind(held_ideas(X, ideas), known)[np.arange(len(X)), kind[query]]
    return Log(X, (random.random(len(X)) < chance) * 1., query, kind[query], base)


def simulated(seed, way="named", calls=600, cells=None, per_query=8, on_average=7., sentences=24, more=4, share=.5, effect=EFFECT) -> tuple: # Log, ideas
    "The log of a search: two halves, the second with the sentences that the writer has added. cells: None as `call_shares` splits; on_average: sentences of a prompt where there are more than twice as many, else the share."
    random, cells = rng(seed, "designs", way, calls), sum(call_shares(calls).logs) if cells is None else cells
    first, new = (np.arange(12), np.zeros(0, int)) if way == "named" else writer_ideas(seed, sentences, more)
    ideas, n = np.r_[first, new], cells // per_query
    halves = [(n // 2, len(first)), (n - n // 2, len(ideas))]
    X = [np.pad(drawn_sets(m, per_query, np.full(k, share if k <= 14 else min(on_average / k, .9)), random), ((0, 0), (0, len(ideas) - k))) for m, k in halves]
    return log_of(np.vstack(X), ideas, per_query, random, effect), ideas


def effects_of(log, ideas, typical=.05, grouped=False, around_mean=False) -> tuple: # (k,) means, (k,) standard errors
    "Effects of the sentences. grouped: which of them say the same is known; around_mean: drawn towards a mean that is learned too."
    X, A = log.X, np.eye(len(ideas))
    if grouped: # one effect an idea, given to the first of its sentences
        own, first = np.unique(ideas, return_index=True)
        X, A = held_ideas(X, ideas)[:, own], np.eye(len(ideas))[:, first]
    elif around_mean: X, A = np.c_[X, X.sum(1)], np.c_[A, np.ones(len(A))]
    mean, cov = shrunk_effects(X, log.y, log.query, typical)
    return A @ mean, np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", A, cov, A), 0))


# ---- the best analyst

def freed(F, query) -> np.ndarray:
    "Columns freed of most of what the answers to one query share, and of the mean."
    n = np.bincount(query)
    means = np.array([np.bincount(query, f) for f in F.T]).T / n[:, None]
    F = F - (1 - 1 / np.sqrt(1 + SHARED * n))[query][:, None] * means[query]
    return F - F.mean(0)


def chances_of(log) -> tuple: # (n, 12) effects, (n,) of the two together, (n,) without any
    "What ideas add to the chance of what was scored, right or wrong, by the kind and difficulty of each query."
    known, right = truth(), log.y > 0
    sign = np.where(right, 1., -1.)
    return sign[:, None] * known.effects[log.kind], sign * known.extra[log.kind], np.where(right, log.base, 1 - log.base)


def by_chances(log):
    "Log likelihood of a guess at the ideas by the chances of each query."
    (effects, extra, start), (i, j) = chances_of(log), truth().pair
    def value(guess):
        H = held_ideas(log.X, guess)
        return np.log(start + np.einsum("ij,ij->i", H, effects) + H[:, i] * H[:, j] * extra).sum()
    return value


def by_means(log, apart):
    "Log likelihood by mean effects with normal errors of the log's own size. apart: every sentence has one of the twelve effects for itself; else one each, and two of them help each other."
    known, (a, b), k = truth(), np.triu_indices(log.X.shape[1], 1), log.X.shape[1]
    Z = freed(np.c_[log.y, log.X, log.X[:, a] * log.X[:, b]], log.query)
    left = Z[:, 0] - Z[:, 1:k + 1] @ np.linalg.lstsq(Z[:, 1:k + 1], Z[:, 0], rcond=None)[0]
    var, means, extra, G = left @ left / (len(left) - k - 1), known.effects.mean(0), known.extra.mean(), Z.T @ Z
    where = np.zeros((k, k), int)
    where[a, b] = where[b, a] = np.arange(len(a)) + k + 1
    def value(guess):
        w, at = means[guess], [*range(1, k + 1)]
        if not apart:
            w, at = np.r_[w, extra], [*at, where[guess.argsort()[known.pair[0]], guess.argsort()[known.pair[1]]]]
        return (w @ G[at, 0] - w @ G[np.ix_(at, at)] @ w / 2) / var
    return value


def named_ideas(log, ideas, knows, random, steps=5000, keep=250) -> np.ndarray: # (keep, k)
    "Draws of which idea each named sentence is: two change places, or where each has an effect for itself one gets another."
    apart, k = knows == "apart", len(ideas)
    value, now, kept = by_chances(log) if knows == "chances" else by_means(log, apart), ideas.copy(), []
    first, further, other, chance = random.integers(k, size=steps), random.integers(1, k, size=steps), random.integers(12, size=steps), np.log(random.random(steps))
    at, wanted = value(now), set(np.linspace(steps // 5, steps - 1, keep).astype(int))
    for step, (i, j) in enumerate(zip(first, (first + further) % k)):
        new = now.copy()
        if apart and step % 2: new[i] = other[step]
        else: new[[i, j]] = now[[j, i]]
        if chance[step] < (then := value(new)) - at: now, at = new, then
        if step in wanted: kept.append(now)
    return np.array(kept)


def written_ideas(log, ideas, random, sweeps=200) -> np.ndarray: # (draws, k)
    "Draws of which idea each of a writer's sentences is, one sentence after the other given the rest; an idea has three wordings."
    (effects, extra, start), (a, b), now, kept = chances_of(log), truth().pair, ideas.copy(), []
    rows = [np.flatnonzero(x) for x in log.X.T]
    counts = log.X @ EYE[now] # of sentences that say an idea
    for _ in range(sweeps):
        for j, at in enumerate(rows):
            counts[at, now[j]] -= 1
            held, own, both = counts[at] > .5, effects[at], extra[at]
            more = ~held * own
            more[:, a] += ~held[:, a] * held[:, b] * both
            more[:, b] += ~held[:, b] * held[:, a] * both
            without = start[at] + (held * own).sum(1) + held[:, a] * held[:, b] * both
            left = 3. - np.bincount(np.delete(now, j), minlength=12)
            fit = np.log(without[:, None] + more).sum(0) + np.log(np.maximum(left, 1e-300))
            chance = np.exp(fit - fit.max()).cumsum()
            now[j] = np.searchsorted(chance, random.random() * chance[-1])
            counts[at, now[j]] += 1
        kept.append(now.copy())
    return np.array(kept[sweeps // 5:])


def possible_ideas(log, ideas, way, knows, seed) -> np.ndarray: # (draws, k)
    "Draws of which idea each sentence is. Under the prior the truth is such a draw itself, so the chain starts there."
    random = rng(seed, "chain", way, knows)
    return written_ideas(log, ideas, random) if way == "writer" else named_ideas(log, ideas, knows, random)


def expected(sets, one_hot, known, apart, kind) -> tuple: # (n, draws) gains, (n, draws) is an idle idea held?
    "What sets of sentences come to for each draw of their ideas."
    has = np.tensordot(sets, one_hot, (1, 1)) # (n, draws, 12)
    if apart: return has @ known.effects.mean(0), (has @ known.idle) > 0
    has = np.minimum(has, 1.)
    gains = gains_by_kind(has, known)
    return gains.mean(-1) if kind is None else gains[..., kind], (has @ known.idle) > 0


def best_guess(draws, price=0., kind=None, apart=False) -> np.ndarray: # (k,) booleans
    "The set with the largest expected gain less the price of holding an idle sentence, one sentence changed at a time."
    known, one_hot, chosen, best = truth(), np.eye(12)[draws], np.zeros(draws.shape[1]), 0.
    while True:
        sets = np.abs(chosen - np.eye(len(chosen)))
        gains, idle = expected(sets, one_hot, known, apart, kind)
        worth = gains.mean(1) - price * known.best * idle.mean(1)
        if worth.max() <= best + 1e-12: return chosen > 0
        chosen, best = sets[worth.argmax()], worth.max()


# ---- parts

def spread(rows, **about) -> dict:
    "Means, and their standard errors."
    f = pd.DataFrame(rows)
    return about | {name: float(f[name].mean()) for name in f} | {f"{name}_se": float(f[name].std() / len(f)**.5) for name in f} | dict(worlds=len(f))


def seeds(n, quick): return range(FIRST, FIRST + (3 if quick else n))


def present(quick):
    "The rows of `optimize.py` for fresh seeds."
    for way, calls in product(WAYS, (120, 300, 600)):
        runs = [one_run(way, EFFECT, calls, seed) for seed in seeds(WORLDS["present"], quick)]
        yield dict(way=way, calls=calls) | summary(runs)


def frontier(quick):
    "Share against idle sentences."
    for way, (calls, n) in product(WAYS, WORLDS["frontier"].items()):
        found = [(ideas, *effects_of(log, ideas)) for log, ideas in (simulated(seed, way, calls) for seed in seeds(n, quick))]
        for k in LEAST: yield spread([judged_set(mean > k * se, ideas) for ideas, mean, se in found], way=way, calls=calls, k=k)


def limits(quick):
    "What could be chosen from all calls."
    for way, knows in product(WAYS, KNOWS):
        if way == "writer" and knows != "chances": continue # the effects of rewordings do not add up
        for calls, n in WORLDS["limits"][way].items():
            found, apart = [], knows == "apart"
            for seed in seeds(n, quick):
                log, ideas = simulated(seed, way, calls, cells=calls)
                found.append((ideas, possible_ideas(log, ideas, way, knows, seed)))
            for price in PRICES: yield spread([judged_set(best_guess(draws, price, apart=apart), ideas) for ideas, draws in found], way=way, calls=calls, knows=knows, price=price)
            if knows == "chances": yield spread([each_kind(draws, ideas) for ideas, draws in found], way=way, calls=calls, knows=knows, price=None)


def each_kind(draws, ideas) -> dict:
    "Share of the gain of the best set of each query, of a best guess for each kind."
    has = held_ideas(np.array([best_guess(draws, kind=kind) for kind in range(5)]) * 1., ideas)
    return dict(share=float(np.diagonal(gains_by_kind(has, truth())).mean() / truth().each))


CHANGES = dict( # what: the settings of the log, those of the analysis
    named={"as it is": ({}, {}), "all calls to the log": (dict(cells=600), {}), "120 calls to confirm": (dict(cells=464), {}), "300 calls to confirm": (dict(cells=288), {}),
           "a sentence in .3 of the prompts": (dict(share=.3), {}), "a sentence in .7 of the prompts": (dict(share=.7), {}), "4 prompts a query": (dict(per_query=4), {}), "16 prompts a query": (dict(per_query=16), {}),
           "effects of .02 typical": ({}, dict(typical=.02)), "effects of .1 typical": ({}, dict(typical=.1)), "effects of .2 typical": ({}, dict(typical=.2)), "towards a mean that is learned": ({}, dict(around_mean=True))},
    writer={"as it is": ({}, {}), "all calls to the log": (dict(cells=600), {}), "28 sentences from the start": (dict(sentences=28, more=0), {}), "no sentences added": (dict(more=0), {}),
            **{f"{n} sentences, none added": (dict(sentences=n, more=0), {}) for n in (12, 16, 32, 36)}, **{f"{n} sentences a prompt": (dict(on_average=float(n)), {}) for n in (4, 10, 14)},
            "rewordings known": ({}, dict(grouped=True)), "effects of .02 typical": ({}, dict(typical=.02)), "effects of .1 typical": ({}, dict(typical=.1)), "effects of .2 typical": ({}, dict(typical=.2)), "towards a mean that is learned": ({}, dict(around_mean=True)),
            "all calls, rewordings known": (dict(cells=600), dict(grouped=True))})

def losses(quick):
    "The present rule with one setting changed, and the difference on the same worlds."
    for way, changes in CHANGES.items():
        base = None
        for what, (design, analysis) in changes.items():
            found = []
            for seed in seeds(WORLDS["losses"], quick):
                log, ideas = simulated(seed, way, **design)
                found.append(judged_set(effects_of(log, ideas, **analysis)[0] > 0, ideas))
            shares = np.array([row["share"] for row in found])
            if base is None: base = shares
            yield spread(found, way=way, what=what) | dict(more=float((shares - base).mean()), more_se=float((shares - base).std(ddof=1) / len(base)**.5))


def confirmed(seed, way, effect, calls, fresh) -> dict:
    "The present rule with so many calls for the confirmation: the set that looks best, and what is returned."
    cells, random = calls - fresh - int(np.ceil(.02 * calls)), rng(seed, "confirmed", way, calls, fresh)
    log, ideas = simulated(seed, way, calls, cells=cells, per_query=8 if cells >= 96 else 4, effect=effect)
    chosen = effects_of(log, ideas)[0] > 0
    row = judged_set(chosen, ideas, effect)
    pairs = log_of(np.repeat([chosen * 0., chosen * 1.], fresh // 2, 0)[np.arange(fresh // 2 * 2).reshape(2, -1).T.ravel()], ideas, 2, random, effect)
    shown = bool(chosen.any() and paired_interval(pairs.y[1::2] - pairs.y[::2])["lo"] > 0)
    return dict(promising=row["share"], shown=float(shown), returned=row["share"] * shown)


def confirm(quick):
    "Shares of the calls for the confirmation: promising, shown and returned; and more than with the present share on the same worlds, others for each effect size."
    for way, effect, calls in product(WAYS, (EFFECT, 1.), (120, 300, 600)):
        present = call_shares(calls).fresh
        tables = {fresh: pd.DataFrame([confirmed(seed + 500 * (effect != EFFECT), way, effect, calls, fresh) for seed in seeds(WORLDS["confirm"], quick)]) for fresh in sorted({present, *(int(calls * s) // 2 * 2 for s in TO_CONFIRM)})}
        for fresh, f in tables.items():
            more = f["returned"] - tables[present]["returned"]
            yield spread(f, way=way, effect_size=effect, calls=calls, fresh=fresh, present=fresh == present) | dict(more=float(more.mean()), more_se=float(more.std() / len(more)**.5))


# ---- each query

def learned(calls, seed) -> dict:
    "The steps of a search with named sentences up to its reward and its finalist."
    world, n = World.preset("compositional", seed=seed, effect_size=EFFECT), max(200, calls // 3)
    task, shares = world_task(world, n=n, seed=seed), call_shares(calls, n_queries=n)
    parts, fresh = split_queries(task, shares, seed)
    bank = bank_of(frame_of(task.baseline), NAMED)
    log = join_stages(*[scored(world, round_plan(parts[s - 1], bank, shares.logs[s - 1], shares.per_query, s, seed), seed, "scores", s) for s in (1, 2)])
    reward = reward_of_sets(log, bank, task.baseline, None, seed)
    items = pd.concat([part.items for part in parts]).drop_duplicates("query_id")
    return dict(world=world, task=task, shares=shares, fresh=fresh, bank=bank, reward=reward, items=items, finalists=finalist_sets(reward, bank, task.baseline, 1), seed=seed)


def routed(s, per) -> tuple: # the router, and what a search returns: a router or a prompt
    "A router among the sets of a search, and what its confirmation leaves of it."
    base, finalists = s["task"].baseline, s["finalists"][s["finalists"]["effect"] > s["finalists"]["se"]]
    router = router_for(s["reward"], s["bank"], s["items"], finalists["prompt"].iloc[0] if len(finalists) else base, per, s["seed"])
    chosen = router_choices(router, s["fresh"].items, per)
    made = routed_plan(s["fresh"], [base, *finalists["prompt"]], chosen, s["shares"].fresh, s["seed"])
    got = scored(s["world"], made, s["seed"], "fresh", per).frame
    scores = got.pivot(index="query_id", columns="prompt", values="score").reindex(columns=list(dict.fromkeys([base, *finalists["prompt"], *router.prompts])))
    table = finalist_table(scores, base, finalists, .05 * max(len(finalists), 1) / (len(finalists) + 1))
    shown = routed_gains(scores, chosen, base, router.fallback, .05 / (len(finalists) + 1)).shown
    return router, router if shown else chosen_finalist(table, base)[0]


def each_query(calls, seed) -> dict:
    "Shares of the gain of the best set of each query, on new queries."
    s = learned(calls, seed)
    items = s["world"].queries(400, seed + 10_000)
    def share(found, per):
        prompts = [found] * len(items) if isinstance(found, str) else list(router_choices(found, items, per).values())
        names = list(dict.fromkeys(prompts))
        has, kind = s["world"].parse(names).to_numpy() * 1., np.array([KINDS.index(k) for k in items["kind"]])
        return float(gains_by_kind(has, truth())[[names.index(p) for p in prompts], kind].mean() / best[kind].mean())
    best = gains_by_kind(np.array(list(product((0, 1), repeat=12))), truth()).max(0)
    row = dict(one=share(s["finalists"]["prompt"].iloc[0] if len(s["finalists"]) else BASELINE, "query"))
    for per in ("query", "kind"):
        router, returned = routed(s, per)
        row |= {f"router_{per}": share(router, per), f"returned_{per}": share(returned, per), f"shown_{per}": float(not isinstance(returned, str))}
    return row


def each(quick):
    "One prompt, routers and what is returned, beside the best set of each query."
    for calls, n in WORLDS["each"].items():
        if quick and calls > 600: continue
        yield spread([each_query(calls, seed) for seed in seeds(n, quick)], calls=calls)


PARTS = dict(present=present, frontier=frontier, limits=limits, losses=losses, confirm=confirm, each=each)

def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--parts", nargs="+", default=[*PARTS], choices=[*PARTS])
    ask.add_argument("--quick", action="store_true", help="three worlds")
    ask.add_argument("--out", type=Path, default=OUT)
    asked = ask.parse_args()
    warnings.filterwarnings("ignore")
    found = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else {}
    found |= dict(version=cp.__version__, best=truth().best, each_best=truth().each, effects=dict(zip(IDEAS, truth().effects.mean(0).tolist())))
    for part in asked.parts:
        start, found[part] = time.process_time(), []
        for row in PARTS[part](asked.quick):
            found[part].append(row)
            asked.out.write_text(json.dumps(found, indent=0), encoding="utf-8")
            print(part, {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, f"{time.process_time() - start:.0f} s", flush=True)


if __name__ == "__main__": main()
