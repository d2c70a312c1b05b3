"Alarms of the page 106_design: recorded probabilities that are true to the choices, and some that are not."
import numpy as np, pandas as pd
import causal_prompts as cp
from causal_prompts.core import rng
from causal_prompts.worlds import World

def chosen(seed, policy, n=600, k=8, draws=1, stated=None, models=1, forget=1.):
    "A log whose prompts are drawn from `policy(difficulty, r, k, i)`, each with the probability of its draw, or with what `stated` makes of the probabilities and the choice."
    w, r = World.preset("confounded-visible", seed=seed), rng(seed, "chosen")
    q, pool, rows = w.queries(n, seed), w.prompts(k, seed), []
    value = w.value(q["query"], pool)
    for i, hard in enumerate(q["difficulty"]):
        for d in range(draws):
            p = policy(hard, r, k, i)
            j = r.choice(k, p=p)
            rows.append((q["query"][i], pool[j], float(value[i, j] > r.random()), p[j] if stated is None else stated(p, j), f"model {i % models}"))
    return cp.Triplets(pd.DataFrame(rows, columns=["query", "prompt", "score", "propensity", "model"]))

def even(hard, r, k, i): return np.full(k, 1 / k)

def soft(hard, r, k, i, sharp=3.):
    "Harder queries get later prompts."
    z = sharp * hard * np.linspace(-1, 1, k)
    return np.exp(z) / np.exp(z).sum()

def greedy(hard, r, k, i, eps=.1):
    "The favourite follows the difficulty; the rest is shared out evenly."
    p = np.full(k, eps / k)
    p[int(hard * (k - 1e-9))] += 1 - eps
    return p

class Thompson:
    "Beta posteriors of each prompt, learned from made-up successes; the probabilities by simulation."
    def __init__(self, k=8): self.a, self.b = np.ones(k), np.ones(k)
    def __call__(self, hard, r, k, i):
        best = r.beta(self.a, self.b, (400, k)).argmax(1)
        p = (np.bincount(best, minlength=k) + .5) / (400 + .5 * k)
        j = r.choice(k, p=p)
        win = r.random() < .3 + .4 * j / k
        self.a[j] += win; self.b[j] += 1 - win
        return p

def clean(seed):
    how = [lambda: chosen(seed, even, 300), lambda: chosen(seed, soft), lambda: chosen(seed, greedy), lambda: chosen(seed, Thompson()), lambda: chosen(seed, soft, 40, 4),
           lambda: chosen(seed, even, 400, models=3), lambda: World.preset("confounded-visible", seed=seed).log(n_queries=300, n_prompts=12, seed=seed, propensities=True),
           lambda: chosen(seed, greedy, 150, 4), lambda: chosen(seed, soft, 200, draws=3), lambda: chosen(seed, soft, 1500, 12)]
    return how[seed % len(how)]()

def broken(seed):
    how = [lambda: chosen(seed, soft, 800, stated=lambda p, j: 1 / len(p)), lambda: chosen(seed, greedy, 800, stated=lambda p, j: 1 / len(p)), lambda: chosen(seed, soft, stated=lambda p, j: p.max()),
           lambda: chosen(seed, greedy, stated=lambda p, j: p.max()), lambda: chosen(seed, even, 300, stated=lambda p, j: .5 * p[j]), lambda: chosen(seed, even, 300, stated=lambda p, j: min(1., 3 * p[j])),
           lambda: chosen(seed, greedy, stated=lambda p, j: 1.)]
    return how[seed % len(how)]()

def several(seed):
    "Four different prompts a query, drawn without replacement, each with the probability of being among the four."
    return World.preset("confounded-visible", seed=seed, prompts_per_query=4).log(n_queries=300, n_prompts=12, seed=seed, propensities=True)

def several_halved(seed):
    "The same draws, each recorded with half its probability."
    log = several(seed)
    return cp.Triplets(log.frame.assign(propensity=log.frame["propensity"] / 2))

# of the log itself, so no check of a checkup
ALARMS = [dict(alarm="recorded propensities", strength="a share of traffic (1/8) where harder queries got later prompts, 800 queries; the favourite's probability; half or three times the true ones; 1 in every row",
               clean=lambda seed: clean(seed).propensity_check(), broken=lambda seed: broken(seed).propensity_check()),
          dict(alarm="recorded propensities (several prompts)", strength="300 queries x 4 of 12 prompts drawn without replacement, recorded as half the probability of being among the four; clean: that probability",
               clean=lambda seed: several(seed).propensity_check(), broken=lambda seed: several_halved(seed).propensity_check())]
