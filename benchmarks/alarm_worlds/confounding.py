"Alarms of the page 07a_confounding: a clean and a broken world for each."
from alarm_worlds import fitted
from alarm_worlds import Words
import numpy as np, pandas as pd
import causal_prompts as cp
from causal_prompts.confounding import assignment, balance, fold_gap, naive_gap, nuisance, within_between
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

ALARMS = [
    dict(alarm="balance", strength="confounded-visible (confounding 1), judged for the naive model, 300 queries x 4; clean: randomised, naive model",
         clean=lambda seed: balance(world("randomised", seed, "naive")), broken=lambda seed: balance(world("confounded-visible", seed, "naive"))),
    dict(alarm="balance after adjusting", strength="confounded-hidden, difficulty logged but not adjusted for, 800 queries x 1, dml; clean: the same with visible difficulty",
         clean=lambda seed: balance(unadjusted("confounded-visible", seed), also="difficulty"), broken=lambda seed: balance(unadjusted("confounded-hidden", seed), also="difficulty")),
    dict(alarm="assignment", strength="confounded-visible (confounding 1), naive model, 300 queries x 4; clean: randomised, naive model",
         clean=lambda seed: assignment(world("randomised", seed, "naive")), broken=lambda seed: assignment(world("confounded-visible", seed, "naive"))),
    dict(alarm="assignment after adjusting", strength="choice and score U-shaped in the query's length (19 to 1 odds), 1,200 queries x 1, dml; clean: confounded-visible, 500 x 1, dml",
         clean=lambda seed: assignment(world("confounded-visible", seed, n_queries=500, per=1)), broken=lambda seed: assignment(u_shaped(seed))),
    dict(alarm="nuisance", strength="choice and score U-shaped in the query's length (19 to 1 odds), 2,000 queries x 1, dml; clean: confounded-visible, 500 x 1, dml",
         clean=lambda seed: nuisance(world("confounded-visible", seed, n_queries=500, per=1)), broken=lambda seed: nuisance(u_shaped(seed, 2000))),
    dict(alarm="naive_gap", strength="confounded-hidden (confounding 1), 300 queries x 4; clean: randomised",
         clean=lambda seed: naive_gap(world("randomised", seed)), broken=lambda seed: naive_gap(world("confounded-hidden", seed))),
    dict(alarm="fold_gap", strength="confounded-hidden (confounding 1), 400 queries x 4; clean: randomised",
         clean=lambda seed: fold_gap(world("randomised", seed, n_queries=400)), broken=lambda seed: fold_gap(world("confounded-hidden", seed, n_queries=400))),
    dict(alarm="within_between", strength="confounded-hidden (confounding 1), 300 queries x 4; clean: randomised",
         clean=lambda seed: within_between(world("randomised", seed)), broken=lambda seed: within_between(world("confounded-hidden", seed))),
]
# clean in another sense: confounded, but the text shows it (reported, not required)
ALSO = [
    dict(alarm="fold_gap, visible confounding", clean=lambda seed: fold_gap(world("confounded-visible", seed, n_queries=400))),
    dict(alarm="within_between, visible confounding", clean=lambda seed: within_between(world("confounded-visible", seed))),
    dict(alarm="within_between, dml, visible confounding", clean=lambda seed: within_between(world("confounded-visible", seed, reward=dict(strategy="dml")))),
    dict(alarm="naive_gap, randomised, single, dml", clean=lambda seed: naive_gap(world("randomised", seed, n_queries=1000, per=1))),
    dict(alarm="nuisance, randomised, 300 x 1, dml", clean=lambda seed: nuisance(world("randomised", seed, per=1))),
    dict(alarm="assignment, randomised, 300 x 1, dml", clean=lambda seed: assignment(world("randomised", seed, per=1))),
    dict(alarm="balance, weighted, visible", clean=lambda seed: balance(world("confounded-visible", seed, n_queries=600, per=1, propensities=True))),
    dict(alarm="assignment, weighted, visible", clean=lambda seed: assignment(world("confounded-visible", seed, n_queries=600, per=1, propensities=True))),
    dict(alarm="nuisance, weighted, visible", clean=lambda seed: nuisance(world("confounded-visible", seed, n_queries=600, per=1, propensities=True))),
]
