"Ranking and choice on held-out queries: the numbers are the textbook's, the comparisons honest, the refusals clear."
import json, warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau
from sklearn.exceptions import NotFittedError

from causal_prompts.causal import CausalReward
from causal_prompts.core import Finding, mean_interval, NotIdentifiedError
from causal_prompts.evaluation import compare, ranking
from causal_prompts.measures import by_query, resplit_interval, tau_b
from causal_prompts.naive import NaiveReward
from causal_prompts.triplets import Triplets
from causal_prompts.grids import Grid
from causal_prompts.worlds import World
from fakes import Ideas


class Known:
    "A reward with given effects: a function (queries, prompts) -> (n_q, n_p)."
    def __init__(self, effect, log, name="known", baseline=None):
        self.effect, self.log_, self.prompts_, self.name = effect, log, log.prompts, name
        self.baseline_ = baseline or log.frame["prompt"].iloc[0]

    def average_effect(self, prompts=None, alpha=.05):
        p = self.prompts_
        return pd.DataFrame(dict(prompt=p["prompt"], effect=self.effect(list(self.log_.queries["query"]), list(p["prompt"])).mean(0), n=p["n"]))


def known(effect, **kw):
    "A `Known` whose training log shares no query with any test."
    frame = pd.DataFrame([(f"training {i}", p, float(i % 2)) for i in range(12) for p in ("a", "b", "c")], columns=["query", "prompt", "score"])
    return Known(effect, Triplets(frame), **kw)


def log_of(scores, prompts=None, **columns):
    "A crossed log from an array (n_q, n_p) or (n_q, n_p, repeats); NaN cells are left out."
    scores = np.asarray(scores, float)
    scores = scores[..., None] if scores.ndim == 2 else scores
    prompts = prompts or [chr(97 + j) for j in range(scores.shape[1])]
    rows = [(f"query {i}", prompts[j], scores[i, j, r]) for i, j, r in np.ndindex(*scores.shape) if np.isfinite(scores[i, j, r])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Triplets(pd.DataFrame(rows, columns=["query", "prompt", "score"]).assign(**columns))


def by_letter(values):
    "Effects that depend on the prompt only."
    return lambda queries, prompts: np.tile([values[p] for p in prompts], (len(queries), 1)).astype(float)


ABC = by_letter(dict(a=.3, b=.2, c=.1, d=0.))


@pytest.fixture(scope="module")
def confounded():
    "Rewards fitted to a confounded log of a hidden world, and held-out queries with four draws a cell."
    world = World.preset("confounded-hidden", repeats=4)
    train, test = world.log(300, prompts_per_query=16, n_prompts=16).split(queries=.4, seed=1)
    logged = Grid(train).replay("better-to-harder", k=4)
    truth = Known(world.effect, logged, "truth", world.baseline)
    return truth, CausalReward(route="within", learner="kernel", folds=0, encoder=Ideas()).fit(logged), NaiveReward("lightgbm", encoder=Ideas()).fit(logged), test, world


# tau-b

def test_tau_b_is_scipys_with_and_without_ties():
    r = np.random.default_rng(0)
    for P in (2, 3, 7, 40):
        for predicted in (r.normal(size=(30, P)), r.integers(0, 3, (30, P))):
            for observed in (r.normal(size=(30, P)), r.integers(0, 2, (30, P))):
                theirs = np.array([kendalltau(p, o).statistic for p, o in zip(predicted, observed)])
                ours, defined = tau_b(predicted, observed), observed.max(1) > observed.min(1)
                assert (np.isnan(ours) == ~defined).all()
                assert np.allclose(ours[defined], np.nan_to_num(theirs[defined]), atol=1e-12)


def test_equal_scores_are_undefined_and_equal_predictions_are_zero():
    assert np.isnan(tau_b([[1, 2, 3]], [[.5, .5, .5]])[0]) and tau_b([[1, 1, 1]], [[0, 1, 0]])[0] == 0
    third = 1 / 3
    assert tau_b([[.1 + .2, .3]], [[0, 1]])[0] == 0, "rounding errors are no order"
    assert np.isnan(tau_b([[1, 2]], [[third * 3, 1.]])[0])


# groups, counts

def test_left_out_queries_are_counted_and_the_mean_is_over_the_others():
    scores = np.array([[1, 0, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0], [np.nan, np.nan, 1], [1, 1, 0]])
    found = ranking(known(ABC), log_of(scores))
    taus = [kendalltau([.3, .2, .1], s).statistic for s in scores[[0, 1, 5]]]
    assert found.facts["tau"]["mean"] == pytest.approx(np.mean(taus)) and found.facts["tau"]["n"] == 3
    assert (found.facts["flat"], found.facts["single"], found.facts["ranked"], found.facts["groups"]) == (2, 1, 3, 6)
    assert "2 left out because all their scores are equal" in found.details and "1 because they were scored under one prompt" in found.details
    assert found.facts["score"]["n"] == 5, "a query with equal scores still has a choice"


def test_a_model_that_cannot_tell_prompts_apart_counts_as_zero_and_chooses_at_random():
    r = np.random.default_rng(1)
    found = ranking(known(lambda q, p: np.zeros((len(q), len(p)))), log_of(r.integers(0, 2, (40, 4))))
    k = found.facts
    assert k["tau"]["mean"] == 0 and k["tied"] == k["ranked"] > 20 and "equal predictions count as 0" in found.details
    assert k["gains"]["random prompt"]["mean"] == 0 and found.verdict == "not shown"


def test_missing_scores_are_missing_not_zero():
    scores = np.array([[1, 0, np.nan]] * 6 + [[0, 1, 0]] * 6)
    kept = log_of(np.nan_to_num(scores, nan=0.))
    frame = kept.frame.copy()
    frame.loc[frame["query"].isin([f"query {i}" for i in range(6)]) & (frame["prompt"] == "c"), "score"] = np.nan
    assert ranking(known(ABC), Triplets(frame)).facts["tau"] == ranking(known(ABC), log_of(scores)).facts["tau"]


def test_repeats_are_averaged_before_ranking():
    found = by_query(known(ABC), log_of([[[1, 1], [1, 0], [0, 0]]] * 10))
    assert (found["tau"] == 1).all() and (found["score"] == 1).all() and np.allclose(found["random"], .5)


def test_models_and_tasks_are_groups_of_their_own_clustered_by_query():
    f = log_of([[1, 0, 0], [0, 1, 1]] * 6).frame
    both = pd.concat([f.assign(model="m1"), f.assign(model="m2", score=1 - f["score"])])
    found = ranking(known(ABC), Triplets(both))
    assert found.facts["ranked"] == 24 and found.facts["tau"]["clusters"] == 12 and abs(found.facts["tau"]["mean"]) < 1e-12
    assert "groups (query, model, task)" in found.details


def test_seen_and_new_prompts_are_told_apart():
    scores = np.random.default_rng(2).random((30, 4))
    rows = ranking(known(ABC), log_of(scores)).table.query("measure == 'tau-b'").set_index("what")
    assert rows.loc["prompts seen in training", "value"] == pytest.approx(np.mean([kendalltau([3, 2, 1], s[:3]).statistic for s in scores]))
    assert rows.loc["new prompts", "n"] == 0, "one new prompt alone has no order"
    only = ranking(known(ABC), log_of(scores[:, :3])).table
    assert not only["what"].isin(["new prompts", "prompts seen in training"]).any() and only["note"].iloc[0] == "all of them seen in training"


# the honest comparisons

def test_every_comparison_stands_beside_the_choice(confounded):
    _, causal, _, test, _ = confounded
    found = ranking(causal, test)
    rows = found.table[found.table["measure"] == "score"].set_index("what")
    assert list(rows.index) == ["this model's choice", "random prompt", "best single prompt", "best single prompt, raw mean", "baseline prompt", "oracle", "noise ceiling"]
    assert (rows["n"] == len(test.queries)).all() and (rows["lo"] < rows["hi"]).all()
    assert np.allclose(rows["gain"].iloc[1:6], rows["value"].iloc[0] - rows["value"].iloc[1:6]), "on a full grid a paired gain is the difference of the means"
    assert ((rows["gain_lo"] <= rows["gain"]) & (rows["gain"] <= rows["gain_hi"])).iloc[1:].all()
    assert rows.loc["oracle", "value"] == pytest.approx(test.frame.groupby(["query_id", "prompt_id"])["score"].mean().groupby("query_id").max().mean())
    raw = causal.prompts_.loc[causal.prompts_["mean"].idxmax(), "prompt"]
    assert rows.loc["best single prompt, raw mean", "value"] == pytest.approx(test.where(prompt=raw).frame["score"].mean())
    assert isinstance(found, Finding) and found.plot().axes
    assert Finding.from_dict(json.loads(json.dumps(found.to_dict()))).facts["gains"].keys() == found.facts["gains"].keys()


def test_a_best_prompt_per_task_is_found_on_train_and_scored_on_test():
    train = pd.DataFrame([(f"t {task} {i}", p, float(p == best), task) for task, best in (("x", "a"), ("y", "b")) for i in range(6) for p in "ab"], columns=["query", "prompt", "score", "task"])
    test = pd.DataFrame([(f"q {task} {i}", p, float(p == best), task) for task, best in (("x", "a"), ("y", "b")) for i in range(10) for p in "ab"], columns=["query", "prompt", "score", "task"])
    found = ranking(Known(ABC, Triplets(train)), Triplets(test))
    assert found.facts["gains"]["best prompt per task"]["mean"] == pytest.approx(-.5)
    assert found.table.set_index("what").loc["best prompt per task", "value"] == 1 and found.facts["strongest"] == "best prompt per task" and found.verdict == "not shown"
    test["kind"], train["kind"] = test["task"], train["task"]
    by = ranking(Known(ABC, Triplets(train.drop(columns="task"))), Triplets(test.drop(columns="task")), by="kind")
    assert "best prompt per kind" in by.facts["gains"]
    with pytest.raises(ValueError, match="by must be a column of both logs, got 'colour'"): ranking(known(ABC), log_of(np.eye(3)), by="colour")


def test_per_level_choice_uses_the_models_own_average_effects(confounded):
    _, causal, _, test, world = confounded
    kind = dict(zip(test.queries["query"], np.array(list("uvwxy"))[world.kind_and_difficulty(test.queries["query"])[0]]))
    train = causal.log_.frame
    train = Triplets(train.assign(kind=np.array(list("uvwxy"))[world.kind_and_difficulty(train["query"])[0]]))
    fit = CausalReward(route="within", learner="kernel", folds=0, encoder=Ideas()).fit(train)
    note = ranking(fit, Triplets(test.frame.assign(kind=test.frame["query"].map(kind))), by="kind").table.set_index("what").loc["best prompt per kind", "note"]
    assert note == "by average effect on the training log, 5 levels"


def test_best_prompts_need_enough_rows():
    rows = [(f"training {i}", p, s) for i in range(10) for p, s in (("a", .4), ("b", .6))] + [("training 0", "c", 1.)]
    found = ranking(Known(by_letter(dict(a=0, b=.1, c=.9)), Triplets(pd.DataFrame(rows, columns=["query", "prompt", "score"]))), log_of(np.random.default_rng(0).random((20, 3))))
    notes = found.table.set_index("what")["note"]
    assert notes["best single prompt"].endswith("'b'") and notes["best single prompt, raw mean"].endswith("'b'")


def test_an_incomplete_log_is_said_to_be_one():
    r = np.random.default_rng(4)
    scores = np.where(r.random((60, 3)) < .7, r.random((60, 3)), np.nan)
    found = ranking(known(ABC), log_of(scores))
    rows = found.table.set_index("what")
    scored = np.isfinite(scores).sum(1) > 1
    assert rows.loc["best single prompt", "n"] == (np.isfinite(scores[:, 0]) & scored).sum() < scored.sum() == rows.loc["one order for all queries", "n"]
    assert "scored for" in rows.loc["best single prompt", "note"] and rows.loc["one order for all queries", "gain"] == pytest.approx(0)
    at = np.isfinite(scores[:, 0]) & scored
    assert rows.loc["best single prompt", "value"] == pytest.approx(scores[at, 0].mean()), "only the queries where it was scored"
    assert "restricted to the prompts each query was scored under" in found.details and "nothing is said of prompts a query did not receive" in found.details
    drawn = ranking(known(ABC), log_of(scores, propensity=.7)).details
    assert "recorded probabilities." in drawn and "nothing is said" not in drawn
    searched = Triplets(log_of(scores).frame, adaptive=True)
    assert "chosen by a search" in ranking(known(ABC), searched).details
    assert "restricted" not in ranking(known(ABC), log_of(r.random((60, 3)))).reading


def test_prompts_that_the_test_log_lacks_are_reported_not_invented():
    found = ranking(known(ABC, baseline="zero"), log_of(np.random.default_rng(0).random((20, 2)), prompts=["c", "d"]))
    rows = found.table.set_index("what")
    assert rows.loc["baseline prompt", "n"] == 0 and np.isnan(rows.loc["baseline prompt", "value"]) and rows.loc["baseline prompt", "note"] == "not scored for any test query"
    assert "baseline prompt" not in found.facts["gains"] and found.plot().axes
    fresh = ranking(known(by_letter(dict(a=0, b=0, c=0, x=1, y=0))), log_of(np.random.default_rng(0).random((20, 2)), prompts=["x", "y"]))
    assert fresh.facts["tau"]["n"] == 20 and fresh.facts["strongest"] == "random prompt" and fresh.table["note"].iloc[0] == "all of them new"


# noise

def test_the_noise_ceiling_is_what_theory_says():
    r = np.random.default_rng(5)
    p = np.clip(r.normal(.5, .25, (1500, 5)), .02, .98)
    half = lambda: r.binomial(3, p) / 3
    a, b = half(), half()
    rows = ranking(known(by_letter(dict(zip("abcde", range(5))))), log_of((r.random((1500, 5, 6)) < p[..., None]))).table
    ceiling = rows[rows["what"] == "noise ceiling"].set_index("measure")
    tau = np.nanmean([np.nanmean(tau_b(a, b)), np.nanmean(tau_b(b, a))])
    best = a == a.max(1, keepdims=True)
    value = ((best * p).sum(1) / best.sum(1)).mean()
    assert 0 < ceiling.loc["tau-b", "value"] < 1 and ceiling.loc["tau-b", "value"] == pytest.approx(tau, abs=.03)
    assert ceiling.loc["score", "value"] == pytest.approx(value, abs=.015) and value < p.max(1).mean(), "choosing by few draws falls short of the best"
    assert rows.set_index("what").loc["oracle", "value"] > p.max(1).mean() + .02, "the oracle is biased upward"


def test_the_noise_ceiling_of_pure_noise_is_nothing_and_without_repeats_there_is_none():
    r = np.random.default_rng(6)
    rows = ranking(known(ABC), log_of(r.integers(0, 2, (400, 4, 4)))).table.set_index(["measure", "what"])
    assert rows.loc[("tau-b", "noise ceiling"), "lo"] < 0 < rows.loc[("tau-b", "noise ceiling"), "hi"]
    assert rows.loc[("score", "noise ceiling"), "lo"] < .5 < rows.loc[("score", "noise ceiling"), "hi"]
    assert "noise ceiling" not in list(ranking(known(ABC), log_of(r.integers(0, 2, (40, 4)))).table["what"])
    some = r.integers(0, 2, (40, 4, 2)).astype(float)
    some[10:, :, 1] = np.nan
    partly = ranking(known(ABC), log_of(some)).table.set_index(["measure", "what"]).loc[("score", "noise ceiling")]
    assert partly["n"] == 10 and "10 of 40 queries have repeated draws" in partly["note"]


# known truth

def test_the_truth_ranks_better_than_the_naive_model_on_a_confounded_log(confounded):
    truth, causal, naive, test, _ = confounded
    t, n = ranking(truth, test), ranking(naive, test)
    assert t.facts["tau"]["lo"] > 0 and t.facts["tau"]["mean"] > n.facts["tau"]["mean"] + .05 and t.facts["gains"]["random prompt"]["lo"] > 0
    assert t.facts["gains"]["best single prompt, raw mean"]["lo"] > 0, "the raw means were misled by the policy"
    found = compare(truth, naive, test)
    assert found.verdict == "ok" and found.facts["all prompts"]["lo"] > 0 and "truth better" in found.details
    assert compare(causal, naive, test).facts["all prompts"]["mean"] > 0


def test_a_ranking_upside_down_is_stopped(confounded):
    truth, _, _, test, world = confounded
    found = ranking(Known(lambda q, p: -world.effect(q, p), truth.log_), test)
    assert found.verdict == "stop" and found.facts["tau"]["hi"] < 0


def test_a_choice_by_query_that_beats_every_plain_one_is_ok():
    scores = np.tile([[1., 0, 0], [0, 1, 0], [0, 0, 1]], (10, 1))
    right = lambda q, p: np.array([[float("abc"[int(t.split()[1]) % 3] == x) if t.startswith("query") else 0. for x in p] for t in q])
    found = ranking(known(right), log_of(scores))
    assert found.verdict == "ok" and found.facts["tau"]["mean"] == 1 and found.facts["score"]["mean"] == 1


def test_the_interval_of_tau_covers_over_seeds():
    world, prompts = World(visible=False), World().prompts(8)
    def tau(n, seed):
        q = world.queries(n, seed)
        scores = np.random.default_rng(seed).random((n, 8)) < world.value(q["query"], prompts)
        c = pd.DataFrame(dict(query=np.repeat(q["query"], 8), prompt=prompts * n, score=scores.ravel().astype(float)))
        truth = known(lambda a, b: world.effect([t for t in a], b) if not a[0].startswith("training") else np.zeros((len(a), len(b))))
        return ranking(truth, Triplets(c)).facts["tau"]
    mean = tau(3000, 1000)["mean"]
    hits = [t["lo"] <= mean <= t["hi"] for t in (tau(60, s) for s in range(60))]
    assert mean > .1 and np.mean(hits) >= .87


# two models

def test_compare_pairs_by_query_and_is_antisymmetric(confounded):
    truth, causal, naive, test, _ = confounded
    ab, ba = compare(causal, naive, test), compare(naive, causal, test)
    assert np.allclose(ab.table["difference"], -ba.table["difference"]) and list(ab.table.columns[2:4]) == ["causal", "naive"]
    a, b = by_query(causal, test), by_query(naive, test)
    d = (a["tau"] - b["tau"]).dropna()
    assert ab.facts["all prompts"]["mean"] == pytest.approx(d.mean()) and ab.facts["all prompts"]["n"] == len(d)
    assert ab.facts["all prompts"]["se"] == pytest.approx(d.std(ddof=1) / np.sqrt(len(d)), rel=1e-6)
    same = compare(causal, causal, test)
    assert same.verdict == "not shown" and same.facts["names"] == ["causal (first)", "causal (second)"] and same.facts["all prompts"]["mean"] == 0 and same.plot().axes


def test_compare_says_when_the_training_logs_differ(confounded):
    truth, causal, naive, test, _ = confounded
    with pytest.warns(UserWarning, match="trained on different logs"): compare(causal, known(lambda q, p: np.zeros((len(q), len(p)))), test)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare(causal, naive, test)


# refusals

def test_queries_of_the_training_log_are_a_warning_or_an_error(confounded):
    _, causal, naive, test, _ = confounded
    with pytest.raises(ValueError, match="must hold queries the model was not trained on, got 180 queries that are all in the training log of 'causal'"): ranking(causal, causal.log_)
    with pytest.raises(ValueError, match="must hold queries"): compare(naive, causal, causal.log_)
    cols = ["query", "prompt", "score"]
    mixed = Triplets(pd.concat([test.frame[cols], causal.log_.frame[cols].head(40)]))
    with pytest.warns(UserWarning, match=r"10 of 130 test queries are in the training log"): found = ranking(causal, mixed)
    assert found.facts["known"] == 10 and "10 of the queries were in the training log" in found.details
    with pytest.warns(UserWarning, match="partly memory"): compare(causal, naive, mixed)


def test_known_queries_under_new_prompts_are_a_fair_test(confounded):
    _, causal, _, _, world = confounded
    queries = list(causal.log_.queries["query"][:60])
    fresh = [p for p in world.prompts(40, seed=3) if p not in set(causal.prompts_["prompt"])][:10]
    scores = (np.random.default_rng(0).random((60, 10)) < world.value(queries, fresh)).astype(float)
    log = Triplets(pd.DataFrame(dict(query=np.repeat(queries, 10), prompt=fresh * 60, score=scores.ravel())))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ranking(causal, log)
    assert found.facts["known"] == 60 and found.table["note"].iloc[0] == "all of them new"


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(NotFittedError, match="call .fit"): ranking(CausalReward(), log_of(np.eye(3)))
    with pytest.raises(NotFittedError, match="NaiveReward is not fitted"): compare(known(ABC), NaiveReward(), log_of(np.eye(3)))
    with pytest.raises(TypeError, match="reward must be a reward model"): ranking("causal", log_of(np.eye(3)))
    with pytest.raises(TypeError, match="test must be a Triplets, got DataFrame"): ranking(known(ABC), log_of(np.eye(3)).frame)
    with pytest.raises(NotIdentifiedError, match="under one prompt only"): ranking(known(ABC), log_of(np.random.default_rng(0).random((12, 1))))
    one_each = np.where(np.arange(12)[:, None] % 3 == np.arange(3), np.random.default_rng(0).random((12, 3)), np.nan)
    with pytest.raises(NotIdentifiedError, match="No query of the test log was scored under two different prompts"): ranking(known(ABC), log_of(one_each))
    flat = np.repeat(np.arange(12)[:, None] % 2, 3, axis=1)
    with pytest.raises(NotIdentifiedError, match="Every one of the 12 test queries has equal scores"): ranking(known(ABC), log_of(flat))
    with pytest.raises(NotIdentifiedError, match="Every one of the 12 test queries"): compare(known(ABC), known(ABC), log_of(flat))
    with pytest.raises(ValueError, match="predicted effects must be finite, got 36 of 36"): ranking(known(lambda q, p: np.full((len(q), len(p)), np.nan)), log_of(np.random.default_rng(0).random((12, 3))))


# ---- several splits of one log

@pytest.mark.parametrize("held_out, splits", [(.4, 10), (.3, 10)])
def test_the_interval_over_splits_of_one_log_holds_the_truth_where_the_usual_one_does_not(held_out, splits):
    r, n = np.random.default_rng(0), 100
    def over_splits():
        numbers = r.normal(size=n)
        return [r.permutation(numbers)[:round(held_out * n)].mean() for _ in range(splits)]
    drawn = [over_splits() for _ in range(1000)]
    def coverage(interval): return np.mean([i["lo"] <= 0 <= i["hi"] for i in map(interval, drawn)])
    assert coverage(mean_interval) < .8 and .93 < coverage(lambda values: resplit_interval(values, held_out)) < .99
    small = np.mean([resplit_interval(values, held_out)["p"] < .05 for values in drawn])
    assert small == pytest.approx(1 - coverage(lambda values: resplit_interval(values, held_out)))

def test_one_split_has_a_mean_and_no_interval():
    one = resplit_interval([.3, np.nan], .4)
    assert one["mean"] == .3 and one["n"] == 1 and np.isnan([one[k] for k in ("lo", "hi", "p")]).all()
    with pytest.raises(ValueError, match=r"held_out must lie in \(0, 1\), got 40"): resplit_interval([.3, .4], 40)
