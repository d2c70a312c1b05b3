import numpy as np
import pandas as pd
from alarm_worlds import Simulated, Words, fitted, given
import causal_prompts as cp
from causal_prompts.core import rng
from causal_prompts.triplets import Triplets
from causal_prompts.worlds import World

FOREIGN = ["The cat sat on the mat and watched the rain fall over the harbour all afternoon.", "Löse bitte die folgende Aufgabe und erkläre jeden Schritt auf Deutsch.",
           "Write a poem about the sea in the style of an old sailor.", "Résous le problème suivant étape par étape.", "Translate this menu into Japanese, keeping the prices."]


def random(seed, n_queries=300, **kw): return fitted(World.preset("randomised", seed=seed), kind="naive", n_queries=n_queries, seed=seed, **kw)


def torn(seed, n_queries=600): return fitted(World.preset("no-overlap", seed=seed), kind="naive", n_queries=n_queries, seed=seed)


def follows(seed, n_queries=600, n_prompts=12, slip=.02):
    "The prompt is read off the query's difficulty, but for a few slips."
    world = World.preset("randomised", seed=seed)
    q, pool = world.queries(n_queries, seed), world.prompts(n_prompts, seed)
    at = (q["difficulty"] * (n_prompts - 1)).round().astype(int).to_numpy()
    r = rng(seed, "slips")
    at = np.where(r.random(n_queries) < slip, r.integers(n_prompts, size=n_queries), at)
    score = world.value(q["query"], pool)[np.arange(n_queries), at] > r.random(n_queries)
    return cp.NaiveReward("ridge", encoder=Words()).fit(Triplets(pd.DataFrame(dict(query=q["query"], prompt=np.array(pool, object)[at], score=score.astype(float)))))


def fresh(seed, reward): return [p for p in World.preset("randomised", seed=seed).prompts(40, seed + 1000) if p not in set(reward.prompts_.prompt)][:5]


def proposed(seed, texts=None):
    reward = random(seed, n_prompts=24)
    return given(reward, fresh(seed, reward)[: 5 if texts is None else 4] + (texts or []))


WORLDS = {
    "many rows of few prompts": Simulated(lambda seed: World.preset("randomised", seed=seed).log(n_queries=2500, n_prompts=8, seed=seed)),
    "few rows of many prompts": Simulated(lambda seed: World.preset("randomised", seed=seed).log(n_queries=300, n_prompts=40, seed=seed),
        "300 queries x 4 prompts of 40 (clean: 2,500 queries x 4 of 8)"),
    "no overlap": Simulated(lambda seed: torn(seed), "no-overlap, 600 queries x 1, 12 prompts"),
    "no overlap, 1,000 queries": Simulated(lambda seed: torn(seed, 1000), "no-overlap, 1,000 queries x 1, 12 prompts"),
    "randomised, one prompt a query": Simulated(lambda seed: random(seed, 600, prompts_per_query=1)),
    "prompt follows the query": Simulated(lambda seed: follows(seed),
        "prompt read off the query's difficulty but for 2% slips, 600 queries x 1 (clean: randomised, 600 x 1)"),
    "proposals like the log's": Simulated(lambda seed: proposed(seed)),
    "foreign proposals": Simulated(lambda seed: proposed(seed, [FOREIGN[seed % 5], FOREIGN[(seed + 1) % 5]]),
        "two prompts on another matter or in another language among four of the log's own making, 24 logged prompts"),
}
