"Does what was learned hold elsewhere: curves with honest bands, hard queries without selection, promises kept, drift seen and not invented."
import json, warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score

from causal_prompts import difficulty, learning_curve, monitoring, prompt_contrasts, transport as tp
from causal_prompts.causal import CausalReward
from causal_prompts.core import Finding, mean_interval, NotIdentifiedError, rng
from causal_prompts.difficulty import hard_subset
from causal_prompts.grids import Grid
from causal_prompts.recordings import load_dataset
from causal_prompts.learning_curve import data_size
from causal_prompts.monitoring import drift
from causal_prompts.naive import NaiveReward
from causal_prompts.prompt_contrasts import PromptContrasts
from causal_prompts.transport import shift
from causal_prompts.triplets import Triplets
from causal_prompts.worlds import World
from fakes import Words

WORLD = World.preset("randomised")
POOL = WORLD.prompts(12)


def flat(lo, hi): return lambda queries, prompts: np.tile(np.linspace(lo, hi, len(prompts)), (len(queries), 1))

def inverted(queries, prompts): return 2 * WORLD.value(queries, POOL[:1]) - WORLD.value(queries, prompts)

def late(queries, prompts):
    second = np.arange(len(queries))[:, None] >= len(queries) / 2
    return np.where(second, inverted(queries, prompts), WORLD.value(queries, prompts))

def level(queries): return np.array(WORLD.kind_and_difficulty(queries)[1])

def scored(n=400, k=6, seed=0, value=WORLD.value, kinds=None, base=True, **columns):
    "Queries under the baseline and k - 1 other prompts at random; columns are functions of the row's query number."
    q, r = WORLD.queries(5 * n if kinds else n, 100 + seed), np.random.default_rng(seed)
    q = (q[q["kind"].isin(kinds)] if kinds else q).head(n)
    i, j = np.array([(i, j) for i in range(n) for j in ([0] if base else []) + list(1 + r.permutation(len(POOL) - 1)[: k - 1])]).T
    score = (r.random(len(i)) < np.clip(value(list(q["query"]), POOL), 0, 1)[i, j]).astype(float)
    return Triplets(pd.DataFrame(dict(query=q["query"].to_numpy()[i], prompt=np.array(POOL)[j], score=score) | {c: f(i) for c, f in columns.items()}))


class StandIn:
    "Effects of known quality, the same for every query."
    name = "stand-in"
    def __init__(self, shrinks=0., stays=0.): self.shrinks, self.stays = shrinks, stays

    def fit(self, log):
        self.log_, self.prompts_, self.baseline_, self.encoder_ = log, log.prompts, POOL[0], Words()
        fades, fixed = (rng(0, of).normal(size=len(POOL)) for of in ("fades", "fixed"))
        self.effects = pd.Series(np.linspace(0, .6, len(POOL)) + self.shrinks / np.sqrt(len(log)) * fades + self.stays * fixed, index=POOL)
        return self

    def effect(self, queries, prompts): return np.tile(self.effects[list(prompts)], (len(queries), 1))
    def encode(self, texts, role): return self.encoder_.encode(texts, role)


@pytest.fixture(scope="module")
def reward(): return CausalReward(learner="kernel", folds=0, parts=None, encoder=Words(), baseline=POOL[0]).fit(scored())

@pytest.fixture(scope="module")
def flat_log(): return scored(400, seed=3, value=flat(.2, .8))


def drawn(f):
    "The finding survives JSON and draws itself."
    Finding.from_dict(json.loads(json.dumps(f.to_dict()))).plot()
    return f


# data size

def test_a_crossover_is_found_where_there_is_one_and_in_its_direction(flat_log):
    models = dict(causal=StandIn(shrinks=3.), naive=StandIn(stays=.4))
    f = drawn(data_size(flat_log, sizes=(.02, .1, 1.), splits=5, models=models))
    c = f.facts["crossover"]
    assert c and c["first_ahead_above"] and c["lo"] <= c["at"] <= c["hi"] and "naive leads on few triplets and causal on many" in f.details
    assert f.table["difference"].iloc[0] < 0 < f.table["difference"].iloc[-1] and f.verdict == "ok"
    assert set(f.data["model"]) == {"causal", "naive"} and (f.data["lo"] < f.data["hi"]).all()
    g = data_size(flat_log, sizes=(.02, .1, 1.), splits=5, models=dict(reversed(models.items())))
    assert g.facts["crossover"]["first_ahead_above"] is False and np.isclose(g.facts["crossover"]["at"], c["at"])
    assert g.verdict == "caution" and "take naive" not in g.advice and "take causal" in g.advice


def test_no_crossover_is_said_plainly(flat_log):
    f = data_size(flat_log, sizes=(.1, 1.), splits=3, models=dict(good=StandIn(), bad=StandIn(stays=.5)))
    assert f.facts["crossover"] is None and "No crossover is shown: good leads at" in f.details and "at every size" in f.details
    f = data_size(flat_log, sizes=(.1, 1.), splits=3, models=dict(a=StandIn(), b=StandIn()))
    assert "at no size are the two distinguished" in f.details and f.verdict == "ok"


def test_one_sign_change_of_a_noisy_curve_is_no_crossover():
    d = dict(mean=np.array([-.01, .02, .1]), se=np.full(3, .02), df=np.full(3, 20.), query=np.zeros((5, 3)), split=np.zeros((3, 3)))
    assert learning_curve._crossover(np.array([10., 100., 1000.]), d, np.array([.6, .3, .001]), .05, 0) is None
    assert learning_curve._crossing(np.array([10., 1000.]), [[-1., 1.], [1., 2.], [-2., -1.]], 1).tolist() == pytest.approx([100., 10., 1000.])


def test_intervals_over_splits_cover_though_the_splits_share_their_rows():
    "A result that is the mean of a trait of the training queries plus that of another trait of the held-out ones."
    r, N, S, hit, narrow = np.random.default_rng(0), 200, 5, [], []
    for _ in range(400):
        a, b = r.normal(size=N), r.normal(size=N)
        values, ids, trains = [], [], []
        for _ in range(S):
            order = r.permutation(N)
            train, test = order[:120], order[120:]
            values.append((a[train].mean() + b[test])[:, None]); ids.append(test); trains.append(set(train))
        out = learning_curve._across(values, ids, learning_curve._mean_overlap([set(i) for i in ids]), np.array([learning_curve._mean_overlap(trains)]))
        t = stats.t.ppf(.975, out["df"]) * out["se"]
        hit.append(abs(out["mean"][0]) <= t[0])
        between = np.std([v.mean() for v in values], ddof=1) / np.sqrt(S)
        narrow.append(abs(out["mean"][0]) <= stats.t.ppf(.975, S - 1) * between)
    assert .91 <= np.mean(hit) <= .99
    assert np.mean(narrow) < .85, "taking the splits for independent must be seen to fail, or this test shows nothing"


def test_data_size_takes_a_reward_or_a_log_and_a_test_of_its_own(reward):
    f = data_size(reward, sizes=(.2, .6), splits=2)
    assert list(f.table.columns[3:5]) == ["causal", "naive"] and f.table["triplets"].is_monotonic_increasing
    log, full = scored(80, k=4), scored(80, k=12)
    m = dict(a=StandIn(), b=StandIn(stays=.3))
    f = data_size(log, sizes=(1.,), splits=3, models=m, test=full)
    assert f.facts["queries"] <= 80
    assert f.to_dict() == data_size(log, sizes=(1.,), splits=3, models=m, test=full).to_dict()


def test_data_size_refuses_what_it_cannot_do(reward):
    with pytest.raises(ValueError, match="sizes must be shares"): data_size(reward, sizes=(0, 2.))
    with pytest.raises(ValueError, match="splits must be at least 2"): data_size(reward, splits=1)
    with pytest.raises(ValueError, match="models must be a dict of two"): data_size(reward, models=dict(a=StandIn()))
    with pytest.raises(TypeError, match="a Triplets or a fitted reward"): data_size(CausalReward())
    one = World.preset("confounded-visible").log(60)
    with pytest.raises(NotIdentifiedError, match="two different prompts"): data_size(one, models=dict(a=StandIn(), b=StandIn()))


@pytest.mark.recorded
def test_on_a_recorded_confounded_log_the_causal_model_leads():
    grid = Grid(load_dataset("sst2-opt27b"))
    log = grid.replay("better-to-harder", k=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log = Triplets(log.frame.drop(columns="propensity"))
    m = dict(causal=CausalReward(learner="kernel", folds=0, encoder=Words()), naive=NaiveReward("lightgbm", encoder=Words()))
    f = data_size(log, sizes=(.3,), splits=2, models=m, test=grid.log.take(np.arange(len(grid.log)) % 5 == 0))
    assert f.verdict == "ok" and f.facts["difference"][0] > 0


# hard queries

def pair(seed, value):
    good, bad = (s.fit(scored(30, seed=99, value=value)) for s in (StandIn(), StandIn(stays=.5)))
    test = scored(500, k=10, seed=seed, value=value)
    own = 1 - test.frame.groupby("query_id", sort=False)["score"].mean().to_numpy()
    return good, bad, test, own


def test_hard_by_ones_own_scores_invents_a_difference_and_a_difficulty_from_elsewhere_does_not():
    "All queries are equally hard; prompts succeed with chances .6 to 1."
    naive_way, ours = [], []
    for seed in range(8):
        good, bad, test, own = pair(seed, flat(.6, 1.))
        lead = "stand-in (first) minus stand-in (second) hardest minus rest"
        naive_way.append(hard_subset(good, test, difficulty=own, rival=bad))
        ours.append(hard_subset(good, test, difficulty=np.random.default_rng(seed).random(500), rival=bad).facts[lead])
    invented = [f.facts[lead]["value"] for f in naive_way]
    assert mean_interval(invented)["lo"] > .01, "the naive way invents a larger lead on hard queries"
    assert all(f.verdict == "caution" and "made from the scores" in f.advice for f in naive_way)
    m = mean_interval([d["value"] for d in ours])
    assert m["lo"] < 0 < m["hi"] and abs(m["mean"]) < .01
    assert all(d["lo"] < 0 < d["hi"] for d in ours)


def test_predicted_difficulty_knows_nothing_of_the_test_scores_and_something_of_the_queries(reward):
    test = scored(300, k=8, seed=2)
    f = test.frame
    again = Triplets(f.assign(score=np.random.default_rng(0).permutation(f["score"])))
    a, b = (difficulty._difficulty_of(reward, t, None)[0] for t in (test, again))
    assert (a == b).all() and np.corrcoef(a, level(list(test.queries["query"])))[0, 1] > .5
    mixed = Triplets(pd.concat([f, reward.log_.frame.iloc[:600]])[["query", "prompt", "score"]])
    assert (difficulty._predicted_difficulty(reward, mixed)[:300] != a.to_numpy()).any(), "training queries that stand in the test are left out"


def test_hard_subset_is_quiet_on_equal_effects_and_rings_where_hard_queries_differ(reward):
    hard = lambda q, p: np.where(level(q)[:, None] > .6, inverted(q, p), WORLD.value(q, p))
    diff = dict(difficulty=lambda i: np.round(level(list(WORLD.queries(400, 107)["query"])), 3)[i])
    f = drawn(hard_subset(reward, scored(seed=7, k=12, **diff)))
    assert f.verdict == "ok" and "the column 'difficulty'" in f.details and .2 < f.facts["share"] < .5
    assert f.facts["score_hard"] < f.facts["score_rest"]
    g = hard_subset(reward, scored(seed=7, k=12, value=hard, **diff))
    assert g.verdict == "stop" and g.facts["causal hardest minus rest"]["hi"] < 0
    assert hard_subset(reward, scored(seed=7, k=12, value=hard)).verdict != "ok", "difficulty predicted from the text serves too"


def test_a_naive_reward_is_compared_with_the_causal_one(reward):
    naive = NaiveReward("ridge", encoder=Words(), baseline=POOL[0]).fit(reward.log_)
    assert set(hard_subset(naive, scored(150, k=8, seed=4)).table["what"]) == {"naive", "causal", "naive minus causal"}


def test_the_hardest_part_keeps_ties_together():
    assert difficulty._hardest(np.repeat([0, .2, .4, .6, .8, 1.], 10), 1 / 3).sum() == 20
    assert difficulty._hardest(np.arange(300.), .1).sum() == 30
    with pytest.raises(NotIdentifiedError, match="equally difficult"): difficulty._hardest(np.ones(9), .3)


def test_hard_subset_refuses(reward):
    test = scored(60, k=8, seed=5, row=lambda i: np.arange(len(i)))
    with pytest.raises(ValueError, match="share must be in"): hard_subset(reward, test, share=1)
    with pytest.raises(ValueError, match="must be 60 finite numbers"): hard_subset(reward, test, difficulty=[1, 2])
    with pytest.raises(ValueError, match="must name a column"): hard_subset(reward, test, difficulty="nope")
    with pytest.raises(ValueError, match="constant within a query"): hard_subset(reward, test, difficulty="row")
    with pytest.raises(NotFittedError, match="call .fit"): hard_subset(CausalReward(), test)


# shift

def test_on_a_full_grid_a_contrast_is_the_plain_paired_difference():
    log = scored(60, k=12)
    e = PromptContrasts(log)
    a = np.zeros(12); a[[1, 2]], a[0] = .5, -1
    got = e.contrast(a, log.frame["score"], .05)
    wide = log.frame.pivot(index="query_id", columns="prompt", values="score")[e.prompts].to_numpy()
    want = mean_interval(wide[:, [1, 2]].mean(1) - wide[:, 0])
    for k in ("mean", "se", "lo", "hi"): assert np.isclose(got[k], want[k]), k


def test_contrasts_cover_in_a_sparse_log():
    truth, hit = WORLD.value(list(WORLD.queries(2000, 9)["query"]), POOL).mean(0), []
    a = np.zeros(12); a[[3, 4, 5]], a[0] = 1 / 3, -1
    for seed in range(60):
        e = PromptContrasts(scored(120, k=4, seed=seed))
        at = pd.Series(a, index=POOL).reindex(e.prompts).to_numpy()
        c = e.contrast(at, e.frame["score"], .1)
        hit.append(c["lo"] <= a @ truth <= c["hi"])
    assert .8 <= np.mean(hit) <= .98


def test_many_areas_under_the_curve_at_once_are_those_of_scikit_learn():
    r = np.random.default_rng(0)
    label, score = r.integers(0, 2, (60, 8)), r.integers(0, 9, (60, 8)) # with ties
    assert np.allclose(tp.aucs(label, score), [roc_auc_score(*at) for at in zip(label.T, score.T)], rtol=0, atol=1e-12)


def test_shift_is_quiet_on_the_same_source_and_rings_on_changed_effects_and_other_queries(reward):
    f = drawn(shift(reward, scored(600, seed=11)))
    assert f.verdict == "ok" and f.facts["gain"]["mean"] > 0 and f.facts["queries"]["auc"] < .6 and f.advice == ""
    g = shift(reward, scored(900, seed=11, value=inverted))
    assert g.verdict == "stop" and g.facts["gap"]["hi"] < 0 and not g.facts["queries_differ"] and "the effects that changed" in g.advice
    h = shift(reward, scored(300, seed=11, kinds=["logic", "dates"]))
    assert h.verdict != "ok" and h.facts["queries_differ"] and h.facts["queries"]["p"] <= .01


def test_shift_rings_for_a_naive_promise_made_from_a_confounded_log():
    w = World.preset("confounded-hidden")
    pool, r = w.prompts(12), np.random.default_rng(0)
    log = w.log(600, n_prompts=12)
    q = w.queries(500, 77)
    i, j = np.indices((500, 12)).reshape(2, -1)
    fresh = Triplets(pd.DataFrame(dict(query=q["query"].to_numpy()[i], prompt=np.array(pool)[j], score=(r.random(6000) < w.value(list(q["query"]), pool)[i, j]).astype(float))))
    naive, causal = NaiveReward("ridge", encoder=Words(), baseline=pool[0]).fit(log), CausalReward(learner="kernel", folds=0, encoder=Words(), baseline=pool[0]).fit(log)
    assert shift(causal, fresh).verdict == "ok"
    f = shift(naive, fresh)
    assert f.facts["over_best"]["hi"] < 0 or f.verdict != "ok", "the naive choice must be seen to lose"


def test_the_best_of_the_fresh_set_is_not_flattered():
    same, split, flattered = flat(.5, .5), [], []
    for seed in range(40):
        log = scored(40, k=12, seed=seed, value=same)
        e = PromptContrasts(log)
        split.append(prompt_contrasts.best_of_half(e, log, pd.Series(.5, index=POOL[3:5]), POOL[0], 2, .05, np.random.default_rng(seed))[0]["mean"])
        m = log.frame.groupby("prompt")["score"].mean()
        flattered.append(m.drop(POOL[0]).nlargest(2).mean() - m[POOL[0]])
    assert abs(np.mean(split)) < .04 < np.mean(flattered)


def test_shift_without_the_baseline_compares_with_the_mean_prompt(reward):
    f = shift(reward, scored(300, seed=12, base=False))
    assert f.facts["baseline"] is None and "the mean prompt" in f.details and "random prompt" not in set(f.table["what"])


def test_shift_refuses(reward):
    with pytest.raises(ValueError, match="not trained on"): shift(reward, reward.log_)
    with pytest.raises(NotFittedError): shift(CausalReward(), reward.log_)
    with pytest.raises(TypeError, match="fresh must be a Triplets"): shift(reward, reward.log_.frame)
    f = scored(50, seed=13).frame
    with pytest.raises(NotIdentifiedError, match="choosing needs 2"): shift(reward, Triplets(f[f["prompt"].isin(POOL[:2])]))
    with pytest.raises(NotIdentifiedError, match="No chain of fresh queries"):
        two = pd.concat([f[f["prompt"] == POOL[0]].iloc[:20], f[f["prompt"].isin(POOL[1:]) & ~f["query"].isin(f["query"].unique()[:20])]])
        shift(reward, Triplets(two))


# drift

def test_drift_is_quiet_on_the_same_source_and_stops_where_effects_have_turned(reward):
    f = drawn(drift(reward, scored(900, seed=21)))
    assert f.verdict == "not shown" and f.facts["gain"]["mean"] > 0 and len(f.table) == 6 and f.table["inside"][1:].all()
    g = drift(reward, scored(900, seed=21, value=inverted))
    assert g.verdict == "stop" and g.facts["gain"]["hi"] < 0 and "baseline" in g.advice


def test_a_promise_not_kept_is_a_caution():
    log = scored(800, value=flat(.2, .9))
    strong = CausalReward(learner="kernel", folds=0, encoder=Words(), baseline=POOL[0]).fit(log)
    f = drift(strong, scored(500, seed=22, value=flat(.4, .6)), prompts=POOL[-3:])
    assert f.verdict == "caution" and f.facts["gain"]["lo"] > 0 and f.facts["gap"]["hi"] < 0


def test_one_bad_prompt_does_not_hide_in_the_mean(reward):
    value = lambda q, p: WORLD.value(q, p) + np.where(np.array(p)[None] == POOL[5], -.3, .05)
    f = drift(reward, scored(500, seed=23, value=value), prompts=POOL[3:8])
    assert POOL[5] in f.facts["worse"] and f.verdict != "ok"


def test_where_no_query_met_both_they_are_compared_between_queries(reward):
    f = scored(800, k=12, seed=24, value=inverted).frame
    new = drift(reward, Triplets(f)).table["what"][1]
    half = set(f["query"].unique()[:400])
    split = Triplets(f[(f["prompt"] == np.where(f["query"].isin(half), POOL[0], new))])
    d = drift(reward, split)
    assert not d.facts["paired"] and "traffic was split at random" in d.details
    y = [split.frame.loc[split.frame["prompt"] == p, "score"] for p in (new, POOL[0])]
    assert np.isclose(d.facts["gain"]["mean"], y[0].mean() - y[1].mean())
    assert np.isclose(d.facts["gain"]["se"], np.sqrt(sum(v.var() / len(v) for v in y)))


def test_evidence_rings_rarely_under_the_null_however_often_one_looks():
    r, var = np.random.default_rng(0), np.full(16, .05**2)
    m = r.normal(0, .05, (1500, 16))
    assert np.mean([monitoring._evidence(x, var)[0].max() >= 20 for x in m]) <= .05
    every_week = m.cumsum(1) / np.sqrt(.05**2 * np.arange(1, 17)) < -stats.norm.ppf(.95)
    assert every_week.any(1).mean() > .15, "a fixed interval, looked at every week, must be seen to fail"
    turned = np.r_[np.full(8, .1), np.full(8, -.12)]
    out = [monitoring._evidence(turned + x, var) for x in m[:200]]
    assert np.mean([e.max() >= 100 for e, _ in out]) > .95 and abs(np.median([s for _, s in out]) - 8) <= 1
    assert monitoring._evidence(np.array([0.]), np.array([1e9]))[0][0] == pytest.approx(1, abs=1e-3), "a bet that saw nothing stands at 1"


def test_over_time_a_late_loss_rings_and_a_steady_gain_does_not(reward):
    week = dict(week=lambda i: i * 10 // (i.max() + 1))
    f = drawn(drift(reward, scored(2000, seed=25, value=late, **week), time="week"))
    assert f.verdict == "stop" and f.facts["since"] in (5, 6, 7) and len(f.data) == 10
    assert drift(reward, scored(1000, seed=25, **week), time="week").verdict == "ok"
    days = dict(day=lambda i: pd.Timestamp("2024-01-01") + pd.to_timedelta(i, "D"))
    g = drift(reward, scored(1000, seed=25, **days), time="day")
    assert g.verdict == "ok" and len(g.data) == 10


def test_drift_refuses(reward):
    with pytest.raises(NotIdentifiedError, match="no scored row of the baseline"): drift(reward, scored(100, seed=26, base=False))
    log = scored(100, seed=26)
    with pytest.raises(NotIdentifiedError, match="no scored row of 'never seen'"): drift(reward, log, prompts=["never seen"])
    with pytest.raises(ValueError, match="time must name a column"): drift(reward, log, time="week")
    with pytest.raises(ValueError, match="at least two batches"): drift(reward, scored(100, seed=26, week=lambda i: 0 * i), time="week")
    with pytest.raises(ValueError, match="not trained on"): drift(reward, reward.log_)
    only = Triplets(log.frame[log.frame["prompt"] == POOL[0]])
    with pytest.raises(NotIdentifiedError, match="no scored row of an optimized prompt"): drift(reward, only)
    with pytest.raises(TypeError, match="fresh must be a Triplets"): drift(reward, log.frame)
