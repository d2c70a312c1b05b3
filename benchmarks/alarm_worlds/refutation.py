"Worlds of the pages on placebos, shuffles, refutation and sensitivity."
import numpy as np
import pandas as pd
from alarm_worlds import Simulated, Words, fitted, given

import causal_prompts as cp
from causal_prompts.triplets import Triplets
from causal_prompts.worlds import World

THANKS = World().rephrasings["thanks"]


def fit(log, kind="causal"):
    make = dict(causal=lambda **k: cp.CausalReward(learner="kernel", folds=0, **k), naive=lambda **k: cp.NaiveReward("ridge", **k))[kind]
    return make(encoder=Words(), baseline=World.baseline).fit(log)


def copied(seed, times):
    "Every row `times` times, under query ids of its own."
    log = World.preset("randomised", seed=seed, prompts_per_query=1).log(n_queries=500, n_prompts=12, seed=seed)
    f = pd.concat([log.frame.assign(query_id=log.frame.query_id + f"-{i}") for i in range(times)])
    return fit(Triplets(f[["query_id", "query", "prompt", "score"]]))


def thanked(seed, n_queries=300, per_query=4, n_prompts=6):
    "A sentence that cannot matter goes to harder queries."
    world = World(visible=False, seed=seed)
    plain = [p for p in world.prompts(20 * n_prompts, seed) if not world.parse([p]).thanks[0]][:n_prompts]
    queries, pool, r = world.queries(n_queries, seed), plain + [f"{p} {THANKS[0]}" for p in plain], np.random.default_rng(seed)
    polite = r.random((n_queries, per_query)) < (.1 + .8 * queries.difficulty.to_numpy())[:, None]
    j = np.argsort(r.random((n_queries, n_prompts)), 1)[:, :per_query] + n_prompts * polite
    score = world.draw(queries["query"], pool, seed=seed)[np.arange(n_queries)[:, None], j, 0]
    return Triplets(pd.DataFrame(dict(query=np.repeat(queries["query"], per_query), prompt=np.array(pool, object)[j.ravel()], score=score.ravel())))


def four_prompts(confounding, seed, n_queries=1800):
    "Four prompts with large differences, one a query."
    world = World(confounding=confounding, prompts_per_query=1, seed=seed)
    say, queries = world.rephrasings, world.queries(n_queries, seed)
    pool = [World.baseline, *(" ".join([World.baseline, *[say[i][0] for i in ideas]]) for ideas in (("steps", "check", "format"), ("analogy", "brief"), ("role",)))]
    pi, r = world.propensity(queries["query"], pool), np.random.default_rng(seed)
    j = (r.random((n_queries, 1)) > pi.cumsum(1)).sum(1).clip(0, 3)
    score = world.draw(queries["query"], pool, seed=seed)[np.arange(n_queries), j, 0]
    return Triplets(pd.DataFrame(dict(query=queries["query"], prompt=np.array(pool, object)[j], score=score)))


def single(preset, seed, kind="causal", n_queries=600):
    return fitted(World.preset(preset, seed=seed, prompts_per_query=1), kind, n_queries=n_queries, seed=seed)


WORLDS = {
    "hidden confounding, naive": Simulated(lambda seed: fitted(World.preset("confounded-hidden", seed=seed), "naive", seed=seed),
        "confounded-hidden (confounding 1), judged for the naive model, 300 queries x 4"),
    "rows logged once": Simulated(lambda seed: copied(seed, 1)),
    "rows logged three times": Simulated(lambda seed: copied(seed, 3), "every row logged three times under query ids of its own, 500 queries x 1", " (short intervals)"),
    "thanks to hard queries": Simulated(lambda seed: given(fit(thanked(seed)), THANKS)),
    "thanks to hard queries, naive": Simulated(lambda seed: given(fit(thanked(seed), "naive"), THANKS),
        "thanks go to harder queries (probability .1 to .9, difficulty hidden), judged for the naive model, 300 queries x 4"),
    "randomised, 600 x 1": Simulated(lambda seed: single("randomised", seed)),
    "confounded, 600 x 1, naive": Simulated(lambda seed: single("confounded-visible", seed, "naive"), "confounded-visible (confounding 1), judged for the naive model, 600 queries x 1"),
    "four prompts at random": Simulated(lambda seed: fit(four_prompts(0, seed))),
    "four prompts, confounded": Simulated(lambda seed: fit(four_prompts(1, seed)),
        "prompts chosen by a visible difficulty (confounding 1), four prompts with large differences, judged by dml, 1,800 queries x 1"),
}
