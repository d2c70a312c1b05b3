"Worlds of the page 501_confounding, several of which serve other pages too."
from alarm_worlds import Simulated, Words, fitted, given
import numpy as np, pandas as pd
import causal_prompts as cp
from causal_prompts.core import rng
from causal_prompts.worlds import World

def world(name, seed, kind="causal", n_queries=300, per=4, **kw): return fitted(World.preset(name, seed=seed, prompts_per_query=per), kind, n_queries=n_queries, seed=seed, **kw)

def dml(log): return cp.CausalReward(learner="kernel", folds=0, encoder=Words(), baseline=World.baseline).fit(log)

def unadjusted(name, seed, n_queries=800):
    "Difficulty stands in the log and is not adjusted for."
    log = World.preset(name, seed=seed, prompts_per_query=1).log(n_queries=n_queries, n_prompts=12, seed=seed, covariates=True)
    return dml(cp.Triplets(log.frame, covariates=[]))

def u_shaped(seed, n=1200, k=8, sure=.95):
    "Choice and score both depend on how far a query is from middling length."
    w = World(visible=False, seed=seed)
    q, pool, r = w.queries(n, seed), w.prompts(k, seed), rng(seed, "u-shaped")
    hard = abs(q["query"].str.split().str.len().rank(pct=True).to_numpy() - .5) > .25
    gain = w.quality(pool) - w.quality(pool[:1])
    good = gain.argsort().argsort() >= k // 2
    share = np.where(good == hard[:, None], sure, 1 - sure)
    i = (share.cumsum(1) > r.random((n, 1)) * share.sum(1, keepdims=True)).argmax(1)
    return dml(cp.Triplets(pd.DataFrame(dict(query=q["query"], prompt=np.array(pool)[i], score=(r.random(n) < .5 + gain[i] - .5 * (hard - .5)).astype(float)))))

WORLDS = {
    "randomised": Simulated(lambda seed: world("randomised", seed)),
    "randomised, naive": Simulated(lambda seed: world("randomised", seed, "naive")),
    "confounded, naive": Simulated(lambda seed: world("confounded-visible", seed, "naive"),
        "confounded-visible (confounding 1), judged for the naive model, 300 queries x 4; clean: randomised, naive model"),
    "visible trait, adjusted": Simulated(lambda seed: given(unadjusted("confounded-visible", seed), also="difficulty")),
    "hidden trait, unadjusted": Simulated(lambda seed: given(unadjusted("confounded-hidden", seed), also="difficulty"),
        "confounded-hidden, difficulty logged but not adjusted for, 800 queries x 1, dml; clean: the same with visible difficulty", " after adjusting"),
    "confounded, adjusted": Simulated(lambda seed: world("confounded-visible", seed, n_queries=500, per=1)),
    "U-shaped, adjusted": Simulated(lambda seed: u_shaped(seed),
        "choice and score U-shaped in the query's length (19 to 1 odds), 1,200 queries x 1, dml; clean: confounded-visible, 500 x 1, dml", " after adjusting"),
    "U-shaped, 2,000 queries, adjusted": Simulated(lambda seed: u_shaped(seed, 2000),
        "choice and score U-shaped in the query's length (19 to 1 odds), 2,000 queries x 1, dml; clean: confounded-visible, 500 x 1, dml"),
    "hidden confounding": Simulated(lambda seed: world("confounded-hidden", seed), "confounded-hidden (confounding 1), 300 queries x 4; clean: randomised"),
    "randomised, 400 queries": Simulated(lambda seed: world("randomised", seed, n_queries=400)),
    "hidden confounding, 400 queries": Simulated(lambda seed: world("confounded-hidden", seed, n_queries=400), "confounded-hidden (confounding 1), 400 queries x 4; clean: randomised"),
}
