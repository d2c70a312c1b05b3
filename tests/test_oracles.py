"Numbers of this package against those of others that know nothing of it: pyfixest (fixed effects, clustered errors) and coba (off-policy values of a policy)."
import numpy as np
import pandas as pd
import pyfixest as pf
import pytest
from scipy import sparse

import causal_prompts as cp
from causal_prompts.evaluation import ranking
from causal_prompts.inference import clustered, contrasts
from causal_prompts.prompt_contrasts import PromptContrasts
from causal_prompts.rows import expected, Rows
from fakes import Words


def fixed_effects(rows, y, base):
    "Effects and clustered errors of a regression of the scores on prompts and query fixed effects."
    frame = pd.DataFrame(dict(score=y, prompt=[f"p{i:02d}" for i in rows.p], query=rows.g, cluster=rows.cluster))
    found = pf.feols(f"score ~ i(prompt, ref='p{base:02d}') | query", frame, vcov=dict(CRV1="cluster")).tidy()
    at = found.index.str.extract(r"p(\d\d)")[0].astype(int)
    return pd.DataFrame(dict(effect=found["Estimate"].to_numpy(), se=found["Std. Error"].to_numpy()), index=at.to_numpy())


@pytest.mark.parametrize("seed", range(3))
def test_effects_within_queries_are_those_of_a_fixed_effects_regression(seed):
    world = cp.World.preset("confounded-hidden", seed=seed)
    log = world.log(n_queries=400, n_prompts=8, prompts_per_query=3, seed=seed)
    reward = cp.CausalReward(route="within", learner="kernel", folds=0, encoder=Words(), baseline=world.baseline).fit(log)
    rows, y = reward.residuals()
    base = rows.prompts.index(world.baseline)
    ours = contrasts(rows, y, base).drop(index=base)
    theirs = fixed_effects(rows, rows.y, base)
    np.testing.assert_allclose(ours.effect, theirs.effect.loc[ours.index], atol=1e-9)
    ratio = ours.se / theirs.se.loc[ours.index]
    assert ratio.between(.9, 1.2).all(), "CR2 and a prior on few queries differ from CR1 by little where queries are many"


def many_prompts(seed, n_q=2000, k=60):
    "Rows of many prompts, four a query, and their residual scores: the better prompts were used on the harder queries."
    r = np.random.default_rng(seed)
    hard = r.normal(size=n_q)
    p = np.argsort(-r.gumbel(size=(n_q, k)) - hard[:, None] * np.linspace(-1, 1, k), axis=1)[:, :4].ravel()
    q = np.repeat(np.arange(n_q), 4)
    y = np.where(r.random(len(q)) < .5 - .1 * np.tanh(hard[q]) + .2 * p / k, 1., 0.)
    return Rows(queries=[f"query {i}" for i in range(n_q)], prompts=[f"prompt {i}" for i in range(k)], E_q=None, E_p=None, q=q, p=p, y=y, g=q, cluster=q,
                w=np.ones(len(q)), level=np.zeros(len(q), int), route="within")


@pytest.mark.parametrize("seed", range(2))
def test_effects_of_many_prompts_are_those_of_a_fixed_effects_regression(seed):
    rows = many_prompts(seed)
    ours = contrasts(rows, rows.y - expected(rows, rows.y), 0).drop(index=0)
    theirs = fixed_effects(rows, rows.y, 0)
    np.testing.assert_allclose(ours.effect, theirs.effect.loc[ours.index], atol=1e-9)
    ratio = ours.se / theirs.se.loc[ours.index]
    assert ratio.between(.97, 1.1).all() and abs(ratio.mean() - 1) < .03, "CR1 and CR2 agree where every prompt was used on over fifty queries"


def test_errors_of_weighted_means_are_the_jackknife_of_weighted_least_squares():
    rows = many_prompts(3, n_q=100, k=15)
    w = np.random.default_rng(3).uniform(.2, 4, len(rows.y))
    frame = pd.DataFrame(dict(score=rows.y, prompt=[f"p{i:02d}" for i in rows.p], query=rows.q, w=w / w.mean()))
    theirs = pf.feols("score ~ i(prompt, ref='p00')", frame, weights="w", vcov=dict(CRV3="query"), ssc=pf.ssc(k_adj=False, G_adj=False)).tidy().iloc[1:]
    indicators = sparse.csr_matrix(np.eye(15)[rows.p][:, 1:])
    fit = clustered(indicators, rows.y - np.average(rows.y, weights=w), rows.cluster, frame["w"].to_numpy(), constant=True, taken=indicators.T @ w / w.sum())
    np.testing.assert_allclose(fit["beta"], theirs["Estimate"], atol=1e-9)
    np.testing.assert_allclose(np.sqrt((fit["psi"]**2).sum(0)), theirs["Std. Error"], rtol=1e-8)


def test_raw_means_differ_from_the_oracle_where_the_choice_is_confounded():
    world = cp.World.preset("confounded-hidden")
    log = world.log(n_queries=400, n_prompts=8, prompts_per_query=3)
    reward = cp.CausalReward(route="within", learner="kernel", folds=0, encoder=Words(), baseline=world.baseline).fit(log)
    rows, _ = reward.residuals()
    base = rows.prompts.index(world.baseline)
    means = np.bincount(rows.p, rows.y) / np.bincount(rows.p)
    theirs = fixed_effects(rows, rows.y, base)
    assert np.abs((means - means[base])[theirs.index] - theirs.effect).max() > .1


# --- coba

class Played:
    "Interactions as an environment of coba."
    params = {}
    def __init__(self, interactions): self.interactions = interactions
    def read(self): return iter(self.interactions)

class Policy:
    "A policy without learning: query -> prompt."
    params = {}
    def __init__(self, choice): self.choice = choice
    def predict(self, context, actions): return dict(action_prob=(self.choice[context], 1.))

def coba_value(interactions, choice, how):
    "The value of a policy by coba: 'ips' from logged rows and their probabilities, 'on' where every action's reward is known."
    evaluators = pytest.importorskip("coba.evaluators", reason="coba judges policies here; it comes with the dev extra")
    judge = evaluators.SequentialCB(record="reward", learn=None, eval=how, seed=1)
    return np.mean([out["reward"] for out in judge.evaluate(Played(interactions), Policy(choice))])

def self_normalised(frame, score, prompt):
    "coba's inverse propensity value of always playing a prompt, over the same value of a reward that is always 1."
    def value(rewards):
        columns = zip(frame["query"], frame["prompt"], map(float, rewards), frame["propensity"])
        rows = [dict(context=q, action=p, reward=y, probability=pi, actions=list(frame["prompt"].unique())) for q, p, y, pi in columns]
        return coba_value(rows, dict.fromkeys(frame["query"], prompt), "ips")
    return value(score) / value(np.ones(len(frame)))

@pytest.fixture(scope="module")
def lottery():
    "A world whose policy sends better prompts to harder queries with known probabilities, and its log of one prompt a query."
    world = cp.World.preset("confounded-visible", prompts_per_query=1)
    return world, world.log(n_queries=800, n_prompts=6, propensities=True)

def test_contrasts_between_queries_are_inverse_propensity_values_of_constant_policies(lottery):
    world, log = lottery
    frame, ours = log.frame, PromptContrasts(log)
    values = pd.Series({p: self_normalised(frame, frame["score"], p) for p in ours.prompts})
    theirs = (values - values[world.baseline]).drop(world.baseline)
    row = np.eye(len(ours.prompts))[[ours.prompts.index(p) for p in [world.baseline, *theirs.index]]]
    found = [ours.contrast(a - row[0], frame["score"], .05)["mean"] for a in row[1:]]
    np.testing.assert_allclose(found, theirs, atol=1e-9)
    raw = frame.groupby("prompt")["score"].mean()
    assert np.abs(raw[theirs.index] - raw[world.baseline] - theirs).max() > .05, "and not differences of raw means"

def test_average_effects_of_the_weighted_route_are_inverse_propensity_values_of_residuals(lottery):
    world, log = lottery
    reward = cp.CausalReward("weighted", learner="kernel", folds=0, encoder=Words(), baseline=world.baseline).fit(log)
    left = reward.residuals()[1]
    values = pd.Series({p: self_normalised(reward.log_.frame, left, p) for p in log.prompts["prompt"]})
    ours = reward.average_effect().set_index("prompt")["effect"]
    np.testing.assert_allclose(ours, (values - values[world.baseline])[ours.index], atol=1e-9)

def test_the_score_of_the_models_choice_is_its_value_as_a_policy_where_every_prompt_was_scored(lottery):
    world, log = lottery
    reward = cp.CausalReward("weighted", learner="kernel", folds=0, encoder=Words(), baseline=world.baseline).fit(log)
    full = world.log(n_queries=150, n_prompts=6, prompts_per_query=6, seed=5)
    prompts = list(full.prompts["prompt"])
    scores = full.frame.pivot(index="query", columns="prompt", values="score")[prompts]
    rows = [dict(context=q, actions=prompts, rewards=list(y)) for q, y in zip(scores.index, scores.to_numpy(float))]
    best = reward.best(list(scores.index), prompts).set_index("query")["prompt"]
    table = ranking(reward, full).table.set_index("what")["value"]
    assert best.nunique() > 1 and table["this model's choice"] == pytest.approx(coba_value(rows, best, "on"), abs=1e-12)
    assert table["baseline prompt"] == pytest.approx(coba_value(rows, dict.fromkeys(scores.index, world.baseline), "on"), abs=1e-12)
