"Contracts of the confounding checks: quiet where nothing confounds, ringing where something does, and the numbers they quote."
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import causal_prompts as cp
from causal_prompts import agreement as ag, assignments, confounding as cf, nuisances
from causal_prompts.core import Finding, NotIdentifiedError, rng
from causal_prompts.inference import compared_prompts
from causal_prompts.residuals import residuals
from causal_prompts.grids import Grid
from causal_prompts.recordings import load_dataset
from causal_prompts.worlds import World
from fakes import Words

ENCODER = Words()


def causal(log, **kw): return cp.CausalReward(learner="kernel", folds=0, encoder=ENCODER, **dict(baseline=World.baseline) | kw).fit(log)
def naive(log, **kw): return cp.NaiveReward("ridge", encoder=ENCODER, **dict(baseline=World.baseline) | kw).fit(log)
def log_of(name, seed=0, n_queries=300, per=4, **kw): return World.preset(name, seed=seed, prompts_per_query=per).log(n_queries=n_queries, n_prompts=12, seed=seed, **kw)


@pytest.fixture(scope="module")
def logs():
    return dict(random=log_of("randomised"), visible=log_of("confounded-visible"), hidden=log_of("confounded-hidden"), single=log_of("confounded-visible", n_queries=500, per=1))


@pytest.fixture(scope="module")
def rewards(logs): return {k: (causal(l), naive(l)) for k, l in logs.items()}


@pytest.fixture(scope="module")
def crossed():
    return causal(World(prompts_per_query=4).log(60, n_prompts=4))


CHECKS = [cf.balance, assignments.assignment, ag.naive_gap, ag.fold_gap, ag.within_between]


# ---- what every finding is

@pytest.mark.parametrize("check", CHECKS)
def test_findings_are_complete_and_repeatable(check, rewards):
    for name in ("random", "hidden"):
        a, b = check(rewards[name][0]), check(rewards[name][0])
        assert isinstance(a, Finding) and a.threshold and a.reading.count("\n") == 0
        assert bool(a.advice) == (a.verdict != "ok")
        assert json.dumps(a.to_dict()) == json.dumps(b.to_dict())
        back = Finding.from_dict(json.loads(json.dumps(a.to_dict())))
        assert back.plot() is not None and back.reading == a.reading


@pytest.fixture(scope="module")
def quiet(): return [model(log_of("randomised", seed)) for seed in (1, 2) for model in (causal, naive)]


@pytest.mark.parametrize("check", CHECKS)
def test_nothing_rings_in_a_randomised_log(check, quiet): assert [check(m).verdict for m in quiet] == ["ok"] * 4


# ---- balance

def test_balance_before_is_the_plain_correlation_and_naive_adjusts_nothing(rewards):
    model = rewards["visible"][1]
    f, r = cf.balance(model), residuals(model)
    pairs = pd.DataFrame(f.facts["pairs"]).set_index(["component", "trait"])
    words = np.log1p(np.array([len(t.split()) for t in r.rows.queries], float))[r.rows.q]
    assert pairs.before[("prompt component 2", "words in the query")] == pytest.approx(np.corrcoef(r.raw_t[:, 1], words)[0, 1])
    assert np.allclose(pairs.before, pairs.after)
    assert f.verdict == "stop" and f.facts["flagged"] > 0 and f.table.before.is_monotonic_decreasing
    assert f.table.spread[f.table.trait == "words in the query"].item() == pytest.approx(words.std(ddof=1))


def test_balance_is_exact_within_queries_and_says_so(rewards):
    f = cf.balance(rewards["visible"][0])
    assert f.verdict == "ok" and f.facts["after"] < 1e-12 and f.facts["before"] > .2 and "by construction" in f.details


def test_balance_returns_after_adjusting_for_the_text(rewards):
    f = cf.balance(rewards["single"][0])
    assert f.verdict == "ok" and f.facts["after"] < .15 and f.facts["before"] > .25
    assert cf.balance(rewards["single"][1]).verdict == "stop"


def test_balance_sees_an_unadjusted_column():
    log = log_of("confounded-hidden", n_queries=500, per=1, covariates=True)
    blind = causal(cp.Triplets(log.frame, covariates=[]))
    assert cf.balance(blind).verdict == "ok"
    f = cf.balance(blind, also="difficulty")
    assert f.verdict == "caution" and f.table.trait[0] == "difficulty" and "covariates" in f.advice
    assert f.table.p[0] <= .01 and f.table.after[0] > .95 * f.table.before[0]
    with pytest.raises(ValueError, match=r"also must name columns of the log, got \['nope'\]"): cf.balance(blind, also=["nope"])


def test_balance_after_a_column_was_told_is_what_chance_gives():
    """The largest of many correlations is not 0 under chance: what is left is held against what shuffled rows give, in
    every seed, and its mean over seeds against a bound that a column half adjusted for would break."""
    left = []
    for seed in range(3):
        f = cf.balance(causal(log_of("confounded-hidden", seed=seed, n_queries=500, per=1, covariates=True)))
        first = f.table.iloc[0]
        assert f.verdict == "ok" and first.trait == "difficulty" and first.before > .3
        assert first.after < first.chance and first.p > .05
        left.append(first.after)
    assert np.mean(left) < .14


def test_balance_within_sees_what_differs_between_the_draws_of_a_query(logs):
    f = logs["random"].frame.copy()
    f["shift"] = (f.prompt.str.len() + rng(0, "noise").normal(0, 20, len(f)) > f.prompt.str.len().median()).map({True: "day", False: "night"})
    f["when"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(len(f)), unit="h")
    model = causal(cp.Triplets(f))
    assert cf.balance(model).verdict == "ok"
    g = cf.balance(model, also=["shift", "when"])
    assert g.verdict == "caution" and "differ within a query" in g.details


def test_weighting_balances_and_wrong_propensities_stop():
    log = log_of("confounded-visible", n_queries=800, per=1, propensities=True)
    model = causal(log)
    assert model.route_ == "weighted" and cf.balance(model).verdict == "ok" and assignments.assignment(model).verdict == "ok" and nuisances.nuisance(model).verdict == "ok"
    even = cp.Triplets(log.frame.assign(propensity=1 / 12))
    assert causal(even).route_ == "dml" and "contradict" in causal(even).why_
    wrong = causal(even, route="weighted")
    assert wrong.identification_.verdict == "stop"
    assert cf.balance(wrong).verdict == "stop" and assignments.assignment(wrong).verdict == "caution"


def test_sign_flips_keep_their_level_over_many_looks():
    p = []
    for seed in range(60):
        r = np.random.default_rng(seed)
        S = r.normal(size=(80, 40)) * r.exponential(size=(80, 1)) # queries of unequal weight, pairs that move together
        p.append(cf._sign_chance(S + S[:, :1], r)[0].min())
    assert .2 < np.mean(np.array(p) <= .5) < .8 and np.mean(np.array(p) <= .05) <= .15
    assert cf._sign_chance(np.zeros((50, 3)), np.random.default_rng(0))[0].tolist() == [1., 1., 1.]
    many = np.random.default_rng(1).normal(size=(4000, 5)) + [0, 0, 0, 0, .15]
    assert (cf._sign_chance(many, np.random.default_rng(2))[0] <= .01).tolist() == [False] * 4 + [True]


# ---- assignment

def test_assignment_by_route(rewards):
    assert assignments.assignment(rewards["visible"][1]).verdict == "stop"
    within = assignments.assignment(rewards["visible"][0])
    assert within.verdict == "ok" and within.facts["p_raw"] <= .01 and "does no harm" in within.details
    left = assignments.assignment(rewards["single"][0])
    assert left.verdict == "ok" and left.facts["p_raw"] <= .01 < left.facts["p_left"] and "can no longer" in left.details
    hidden = assignments.assignment(rewards["hidden"][1])
    assert hidden.verdict == "ok" and "does not make the choice random" in hidden.details
    with pytest.raises(ValueError, match="permutations must be a whole number >= 99"): assignments.assignment(rewards["hidden"][0], permutations=20)


def test_ridge_predictions_and_auc_are_those_of_sklearn():
    from sklearn.linear_model import Ridge
    r = np.random.default_rng(0)
    X, fold = r.normal(size=(90, 6)), np.arange(90) % 3
    A = X @ r.normal(size=(6, 2)) + r.normal(size=(90, 2))
    P = assignments._ridges(X, fold, penalties=(.1,))(A)[0]
    for k in range(3):
        assert np.allclose(P[fold == k], Ridge(9., fit_intercept=False).fit(X[fold != k], A[fold != k]).predict(X[fold == k]))
    met = A[:, 0] > 0
    assert assignments._rank_auc(P[:, 0], met)[0] == pytest.approx(roc_auc_score(met, P[:, 0])) and assignments._rank_auc(P[:, 0], met)[1] < 1e-6
    signed, each, best = assignments._signed_r2(P[None], A)
    assert each[0, 1] == pytest.approx((P[:, 1] @ A[:, 1])**2 / (P[:, 1] @ P[:, 1]) / (A[:, 1] @ A[:, 1]))
    two = assignments._signed_r2(np.concatenate([P, P[:, ::-1]], 1)[None], np.c_[A, A[:, ::-1]], 2)[0]
    assert two == pytest.approx([signed[0]] * 2)


def test_a_crossed_log_has_no_choice_to_predict(crossed):
    f = assignments.assignment(crossed)
    assert f.verdict == "ok" and "same prompts" in f.details and f.plot() is not None
    for check in (ag.fold_gap, ag.within_between):
        with pytest.raises(NotIdentifiedError, match="Every query received the same prompts"): check(crossed)
    assert ag.naive_gap(crossed).verdict == "ok"


# ---- nuisance

def u_shaped(seed=0, n=2000, k=8):
    w = World(visible=False, seed=seed)
    q, pool, r = w.queries(n, seed), w.prompts(k, seed), rng(seed, "u-shaped")
    hard = abs(q["query"].str.split().str.len().rank(pct=True).to_numpy() - .5) > .25
    gain = w.quality(pool) - w.quality(pool[:1])
    share = np.where((gain.argsort().argsort() >= k // 2) == hard[:, None], .95, .05)
    i = (share.cumsum(1) > r.random((n, 1)) * share.sum(1, keepdims=True)).argmax(1)
    return cp.Triplets(pd.DataFrame(dict(query=q["query"], prompt=np.array(pool)[i], score=(r.random(n) < .5 + gain[i] - .5 * (hard - .5)).astype(float))))


def test_a_shape_that_ridge_cannot_read_rings_twice():
    model = causal(u_shaped())
    f = nuisances.nuisance(model)
    assert f.verdict == "caution" and f.facts["p_score"] <= .01 and f.facts["p_prompt"] <= .01 and "flexible" in f.advice
    assert assignments.assignment(model).verdict == "caution"


def test_nuisance_is_quiet_and_quotes_held_out_r2(rewards):
    model = rewards["single"][0]
    f, r = nuisances.nuisance(model), residuals(model)
    assert f.verdict == "ok"
    t = f.table.set_index(["target", "learner"])
    plain = nuisances._plain_mean(r.rows, r.rows.y)
    assert t.R2[("score", model.nuisance_)] == pytest.approx(1 - np.sum(r.y**2) / np.sum((r.rows.y - plain)**2))
    assert (t.lo < t.R2).all() and (t.R2 < t.hi).all()


def test_nuisance_interval_has_the_spread_of_the_bootstrap():
    r = np.random.default_rng(0)
    q = np.repeat(np.arange(150), 3)
    plain = r.exponential(size=150) * 3; loss = plain * r.uniform(.4, 1.2, 150)
    boot = [1 - loss[i].sum() / plain[i].sum() for i in r.integers(150, size=(2000, 150))]
    assert nuisances._explained(loss, plain, .05)["se"] == pytest.approx(np.std(boot), rel=.1)


def test_nuisance_does_not_apply_where_nothing_is_learned(rewards):
    with pytest.raises(NotIdentifiedError, match="query's own mean"): nuisances.nuisance(rewards["random"][0])
    with pytest.raises(NotIdentifiedError, match="adjusts for nothing"): nuisances.nuisance(rewards["random"][1])


# ---- averages beside effects

def test_naive_gap_quotes_the_two_models_own_averages(rewards):
    a, b = rewards["hidden"]
    f = ag.naive_gap(a)
    t = f.table.set_index("prompt")
    for model, column in ((a, "causal"), (b, "naive")):
        own = model.average_effect().set_index("prompt").drop(index=World.baseline)
        assert np.allclose(t[column].reindex(own.index), own.effect)
        d = f.data[f.data.group == column].set_index("prompt").reindex(own.index)
        assert np.allclose(d.lo, own.lo) and np.allclose(d.hi, own.hi)
    assert np.allclose(t.gap, t.naive - t.causal)


def test_naive_gap_rings_and_the_blame_follows_the_model(rewards):
    a, b = ag.naive_gap(rewards["hidden"][0]), ag.naive_gap(rewards["hidden"][1])
    assert a.verdict == "caution" and b.verdict == "stop" and a.facts["p"] == b.facts["p"] < 1e-4
    assert b.facts["route"] == "within" and list(a.data.group.unique()) == ["naive", "causal"]
    assert ag.naive_gap(rewards["single"][0]).facts["route"] == "dml"


def test_paired_intervals_are_those_of_resampled_queries(logs):
    model = causal(logs["hidden"])
    f, r = ag.naive_gap(model), rng(0, "boot")
    plain, own = residuals(model, route="naive"), residuals(model)
    cols = compared_prompts(own.rows, own.rows.prompts.index(World.baseline))
    on = (own.rows.p[:, None] == cols).astype(float)
    C, N, y = own.strip(on), plain.strip(on), plain.y
    rows_of = [np.flatnonzero(own.rows.cluster == c) for c in range(own.rows.cluster.max() + 1)]
    gaps = []
    for _ in range(150):
        i = np.concatenate([rows_of[c] for c in r.integers(len(rows_of), size=len(rows_of))])
        gaps.append(np.linalg.lstsq(N[i] - N[i].mean(0), y[i] - y[i].mean(), rcond=None)[0] - np.linalg.lstsq(C[i], own.y[i], rcond=None)[0])
    t = f.table.set_index("prompt").reindex([own.rows.prompts[c] for c in cols])
    se = (t.hi - t.lo) / 2 / 2
    assert np.median(np.std(gaps, axis=0) / se) == pytest.approx(1, abs=.15)


def test_prompts_met_once_do_not_stand_in_for_the_baseline(logs):
    f = logs["random"].frame.copy()
    few = f.index[::7]
    f.loc[few, "prompt"] = [f"A prompt of its own, number {i}." for i in range(len(few))]
    f.loc[few, "score"] = 0.
    model = causal(cp.Triplets(f[["query", "prompt", "score"]]))
    whole, rest = ag.naive_gap(model).table.set_index("prompt"), f.drop(few)
    gap = rest.groupby("prompt").score.mean() - rest.score[rest.prompt == World.baseline].mean()
    assert np.allclose(whole.naive, gap.reindex(whole.index))


def test_many_rare_prompts_are_judged_along_their_components():
    log = World.preset("confounded-visible", prompts_per_query=1).log(n_queries=300, n_prompts=100)
    f = ag.naive_gap(causal(log, baseline=None))
    assert f.facts["tested"] == "5 prompt components" and len(f.data.prompt.unique()) <= 12


# ---- hidden traits

def test_hidden_traits_ring_and_the_verdict_follows_the_route(rewards, logs):
    within, plain = rewards["hidden"]
    dml = causal(logs["hidden"], route="dml")
    for check in (ag.within_between, ag.fold_gap):
        assert [check(m).verdict for m in (within, plain, dml)] == ["caution", "stop", "stop"]
        assert "single prompt" in check(within).advice
    t = ag.within_between(within).table.set_index("direction")
    assert t.between["learned direction"] < 0 < t.gap["learned direction"] and np.allclose(t.gap, t.within - t.between)


def test_visible_confounding_is_no_hidden_trait(rewards):
    assert ag.naive_gap(rewards["visible"][0]).verdict == "caution"
    assert ag.within_between(rewards["visible"][0]).verdict == "ok" and ag.fold_gap(rewards["visible"][0]).verdict == "ok"


def test_row_folds_learn_the_level_and_only_then(rewards):
    quiet, rings = (ag.fold_gap(rewards[k][0]) for k in ("random", "hidden"))
    assert rings.facts["R2_prompt"][1] - rings.facts["R2_prompt"][0] > .03 > quiet.facts["R2_prompt"][1] - quiet.facts["R2_prompt"][0]
    assert abs(rings.facts["gap"]) > 3 * abs(quiet.facts["gap"])


def test_a_querys_other_rows_are_other_prompts_in_other_folds():
    q, fold = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 0, 1, 0])
    E = np.array([[1.], [2.], [4.], [10.], [20.], [7.]])
    L = ag._level_elsewhere(E, q, fold)[:, 0]
    assert L[5] == 0 and L[0] / L[1] == pytest.approx(6 / (2 + L_shrink(E, q)) / (1 / (1 + L_shrink(E, q)))) and L[1] == L[2]


def L_shrink(E, q):
    e = E[:, 0] - E.mean(); n = np.bincount(q)
    a = np.clip((np.bincount(q, e)**2 - np.bincount(q, e**2)).sum() / (n * (n - 1)).sum() / e.var(), .02, .9)
    return (1 - a) / a


def test_repeated_draws_of_a_prompt_do_not_give_it_away():
    for seed in range(2):
        log = World.preset("randomised", seed=seed, repeats=2, prompts_per_query=3).log(n_queries=200, n_prompts=12, seed=seed)
        f = ag.fold_gap(causal(log))
        assert f.verdict == "ok" and f.facts["R2_prompt"][1] < .1


def test_hidden_checks_need_queries_that_repeat(rewards):
    for check in (ag.fold_gap, ag.within_between):
        with pytest.raises(NotIdentifiedError, match="No query received two prompts"): check(rewards["single"][0])
    few = log_of("randomised", n_queries=15)
    with pytest.raises(NotIdentifiedError, match="At least 20 queries must have received two prompts, got 15"): ag.within_between(causal(few))


# ---- the paper's model, and recorded outcomes

def test_the_papers_model_is_judged_by_double_machine_learning(logs):
    from econml.dml import LinearDML
    model = cp.CPOReward(d_x=5, d_t=2, estimator=LinearDML(model_y="linear", model_t="linear", random_state=0), encoder=ENCODER, baseline=World.baseline).fit(logs["hidden"])
    assert ag.within_between(model).verdict == "stop" and nuisances.nuisance(model).facts["route"] == "dml" and cf.balance(model).verdict == "ok"


@pytest.mark.recorded
@pytest.mark.filterwarnings("ignore:2 of 30 prompts equal another")
def test_recorded_outcomes_under_two_policies():
    grid = Grid(load_dataset("sst2-opt27b", score="score_calibrated"))
    some = Grid(cp.Triplets(grid.log.frame[grid.log.frame.prompt_id.isin(grid.log.frame.prompt_id.unique()[:30]) & grid.log.frame.query_id.isin(grid.log.frame.query_id.unique()[:400])]))
    for policy, rings in (("random", False), ("better-to-harder", True)):
        log = some.replay(policy, k=4)
        model = causal(cp.Triplets(log.frame[["query", "prompt", "score"]]), baseline=None)
        assert [c(model).verdict != "ok" for c in (ag.naive_gap, ag.within_between)] == [rings, rings]
