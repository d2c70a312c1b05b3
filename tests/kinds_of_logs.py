"Ten logs of different kinds: each makes a study, its parts and checks say other things."
import warnings

import numpy as np
import pandas as pd

from causal_prompts.recordings import load_dataset
from causal_prompts.triplets import Triplets
from causal_prompts.worlds import World


def quietly(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore") # few queries
        return make()


def recorded(name, queries=70, prompts=6, k=4, seed=0):
    "Some queries of a recorded grid, each under some of its prompts, drawn at random."
    random, frame = np.random.default_rng(seed), load_dataset(name).frame
    texts = list(frame["prompt"].unique()[:prompts])
    frame = frame[frame["prompt"].isin(texts) & frame["query_id"].isin(frame["query_id"].unique()[:queries])]
    drawn = frame.assign(u=random.random(len(frame))).sort_values("u").groupby("query_id").head(k)
    return Triplets(drawn.drop(columns="u").sort_index())


def plain(n, prompts, k, effect, scale=1., names=False, seed=0):
    "A randomized log; the expected score rises from prompt to prompt."
    random, rows = np.random.default_rng(seed), []
    for i in range(n):
        for p in random.permutation(prompts)[:k]:
            text = f"v{p}" if names else f"Solve it. Way {p}, {'please' if p % 2 else 'now'}."
            rows.append((f"How many apples are {i} and {i % 7}?", text, scale * (random.random() < .3 + effect * p / max(1, prompts - 1))))
    return Triplets(pd.DataFrame(rows, columns=["query", "prompt", "score"]), score_range=(0, scale))


def false_propensities():
    frame = World.preset("confounded-visible", seed=4).log(200, prompts_per_query=1, n_prompts=6, seed=4).frame
    return Triplets(frame[["query", "prompt", "score"]].assign(propensity=1 / 6))


def of_world(name, seed, *given, **settings):
    world = World.preset(name, seed=seed)
    return world.log(*given, seed=seed, **settings)


LOGS = { # name -> how it is made
    "better prompts went to harder queries": lambda: of_world("confounded-hidden", 1, 120, prompts_per_query=4, n_prompts=8),
    "parts drawn at random": lambda: of_world("compositional", 2, 120, prompts_per_query=4, n_prompts=12),
    "one prompt a query": lambda: of_world("confounded-visible", 3, 200, prompts_per_query=1, n_prompts=6, covariates=True),
    "recorded propensities": lambda: of_world("randomised", 5, 200, prompts_per_query=1, n_prompts=6, propensities=True),
    "propensities that do not hold": false_propensities,
    "no effect": lambda: plain(60, 6, 3, 0.),
    "two prompts, points from 0 to 100": lambda: plain(50, 2, 2, -.5, scale=100.),
    "prompts as names": lambda: plain(60, 5, 3, .6, names=True),
    "a sentiment task of a real model": lambda: recorded("smol-sentiment"),
    "a place task of a real model": lambda: recorded("smol-place"),
}


def made(name): return quietly(LOGS[name])
