import warnings
import numpy as np
import pandas as pd
from alarm_worlds import fitted
from alarm_worlds import Words
import causal_prompts as cp
from causal_prompts.core import rng
from causal_prompts.positivity import extrapolation, gaps, overlap, residual_variance
from causal_prompts.power_analysis import power
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
    return extrapolation(reward, fresh(seed, reward)[: 5 if texts is None else 4] + (texts or []))


ALARMS = [
    dict(alarm="power", strength="300 queries x 4 prompts of 40 (clean: 2,500 queries x 4 of 8)",
         clean=lambda seed: power(World.preset("randomised", seed=seed).log(n_queries=2500, n_prompts=8, seed=seed)),
         broken=lambda seed: power(World.preset("randomised", seed=seed).log(n_queries=300, n_prompts=40, seed=seed))),
    dict(alarm="overlap", strength="no-overlap, 600 queries x 1, 12 prompts", clean=lambda seed: overlap(random(seed)), broken=lambda seed: overlap(torn(seed))),
    dict(alarm="gaps", strength="no-overlap, 1,000 queries x 1, 12 prompts", clean=lambda seed: gaps(random(seed)), broken=lambda seed: gaps(torn(seed, 1000))),
    dict(alarm="residual_variance", strength="prompt read off the query's difficulty but for 2% slips, 600 queries x 1 (clean: randomised, 600 x 1)",
         clean=lambda seed: residual_variance(random(seed, 600, prompts_per_query=1)), broken=lambda seed: residual_variance(follows(seed))),
    dict(alarm="extrapolation", strength="two prompts on another matter or in another language among four of the log's own making, 24 logged prompts",
         clean=lambda seed: proposed(seed), broken=lambda seed: proposed(seed, [FOREIGN[seed % 5], FOREIGN[(seed + 1) % 5]])),
]
