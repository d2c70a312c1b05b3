"Leftovers and the calculations on them: identities, the paired error against brute force, the size of the joint test."
import copy, pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

import causal_prompts as cp
from causal_prompts.agreement import naive_gap, within_between
from causal_prompts.calibration import calibration
from causal_prompts.checks import CHECKS
from causal_prompts.core import Finding, NotIdentifiedError
from causal_prompts.diagnostics import checkup
from causal_prompts.holding_out import LOOKED_AT, some_queries
from causal_prompts.inference import contrasts, holm, residual_indicators, spread_kept
from causal_prompts.placebos import placebo_prompts
from causal_prompts.refutation import refute
from causal_prompts.residuals import joint_test, learned_direction, looks_at_part, prompt_slopes, residuals, ROUTES, slopes
from causal_prompts.rewards import Reward
from causal_prompts.routes import Route
from fakes import Words


@pytest.fixture(scope="module")
def reward():
    world = cp.World.preset("confounded-hidden")
    return cp.CausalReward(learner="kernel", folds=0, encoder=Words(), baseline=world.baseline).fit(world.log(n_queries=300, n_prompts=12, seed=1, propensities=True))


@pytest.mark.parametrize("route", [r for r in ROUTES if r != "between"])
def test_strip_leaves_what_the_route_left_of_the_components(reward, route):
    r = residuals(reward, route=route)
    assert np.allclose(r.strip(r.raw_t), r.t) and len(r.y) == len(r.raw_y) == len(reward.log_) and r.t.shape == (len(r.y), 5)
    assert np.allclose(r.raw_t.std(0), 1)

def test_within_leaves_nothing_of_a_query(reward):
    r = residuals(reward, route="within")
    assert np.allclose(np.bincount(r.rows.g, r.y), 0) and np.allclose(r.strip(r.rows.cluster.astype(float)), 0)

def test_between_holds_one_row_a_query_and_is_what_dml_leaves_of_its_mean(reward):
    b, d = residuals(reward, route="between"), residuals(reward, route="dml")
    assert len(b.y) == 300 and np.allclose(b.y, np.bincount(d.rows.g, d.y) / np.bincount(d.rows.g))
    assert np.allclose(b.strip(d.raw_t), b.t)

def test_a_regression_on_prompt_indicators_is_the_contrast_table(reward):
    r = residuals(reward, route="within")
    base = r.rows.prompts.index(reward.baseline_)
    cols = [i for i in range(len(r.rows.prompts)) if i != base]
    got = slopes(r.y, r.strip((r.rows.p[:, None] == np.array(cols)).astype(float)), r.rows.cluster, spent=len(np.unique(r.rows.g)))
    t = contrasts(r.rows, r.y, base).iloc[cols]
    assert np.allclose(got["beta"], t.effect) and np.allclose(np.sqrt(np.diag(got["cov"])), t.se)

def test_the_influence_of_a_query_is_what_leaving_it_out_changes():
    r = np.random.default_rng(0)
    cluster, t = np.repeat(np.arange(400), 3), r.normal(size=(1200, 2))
    y = t @ [1, -1] + r.normal(size=400)[cluster] + r.normal(size=1200)
    full = slopes(y, t, cluster)
    for q in (0, 17, 399):
        keep = cluster != q
        without = slopes(y[keep], t[keep], np.unique(cluster[keep], return_inverse=True)[1])
        assert np.allclose(full["beta"] - without["beta"], full["psi"][q], atol=2e-4)

def test_the_joint_test_keeps_its_level_and_finds_a_shift():
    p = {0.: [], .25: []}
    for seed in range(400):
        r = np.random.default_rng(seed)
        x = r.normal(size=(60, 4)) @ np.array([[1, .8, 0, 0], [0, .6, 0, 0], [0, 0, 1, 0], [0, 0, 0, 3.]])
        for shift in p:
            z = x + shift * np.array([1, 1, 1, 3.])
            p[shift].append(joint_test(z.mean(0), (z - z.mean(0)) / 60)["p"])
    assert abs(np.mean(np.array(p[0.]) < .05) - .05) < 3 * np.sqrt(.05 * .95 / 400) and np.mean(np.array(p[.25]) < .05) > .3

def test_a_direction_that_repeats_another_costs_no_degree_of_freedom():
    psi = np.random.default_rng(0).normal(size=(50, 2)) / 50
    one, both = joint_test([.2, .1], psi), joint_test([.2, .1, .3], np.c_[psi, psi.sum(1)])
    assert both["df"] == one["df"] and np.isclose(one["p"], both["p"])

def test_holm_is_the_textbook_rule():
    assert np.allclose(holm([.03, .01, np.nan, .02]), [.04, .03, np.nan, .04], equal_nan=True)
    from statsmodels.stats.multitest import multipletests
    for n in (1, 2, 7, 40):
        p = np.random.default_rng(n).random(n).round(1) ** 3 # with ties
        assert np.allclose(holm(p), multipletests(p, method="holm")[1])

def test_the_learned_direction_is_blind_to_its_own_rows():
    world = cp.World.preset("randomised", confounding=0.)
    log = world.log(n_queries=200, n_prompts=12, seed=0)
    frame = log.frame.assign(score=np.random.default_rng(1).integers(0, 2, len(log)).astype(float))
    reward = cp.CausalReward(learner="kernel", folds=0, encoder=Words()).fit(cp.Triplets(frame[["query_id", "query", "prompt", "score"]]))
    r = residuals(reward)
    found = slopes(r.y, r.strip(learned_direction(reward, r)), r.rows.cluster)
    assert abs(found["beta"][0]) < 3 * np.sqrt(found["cov"][0, 0])

class Renamed(cp.NaiveReward): name = "mine"

class Declared(Reward):
    "Each prompt's mean score, and what it declares."
    name = "own mean"
    def __init__(self, encoder=None, baseline=None): self.encoder, self.baseline = encoder, baseline
    def fit(self, log):
        self.means_ = self.open(log).prompts_.groupby("prompt")["mean"].mean()
        return self
    def levels(self, queries, prompts): return np.tile(self.means_.reindex(prompts).fillna(self.means_.mean()).to_numpy(), (len(queries), 1))

class Plain(Declared): route_ = "naive"
class Within(Declared): route_ = "within"
class Misspelt(Declared): route_ = "Within"

def test_another_name_is_no_other_route(reward):
    log = reward.log_
    plain, mine, own = (m.fit(log) for m in (cp.NaiveReward("ridge", encoder=Words()), Renamed("ridge", encoder=Words()), Plain(encoder=Words())))
    assert Route.declared_by(plain) == Route.declared_by(mine) == Route.declared_by(own) == "naive"
    assert np.allclose(residuals(mine).y, residuals(plain).y) and np.allclose(residuals(own).t, residuals(plain).t)
    assert np.allclose(own.average_effect().effect, plain.average_effect().effect)
    inside, causal = Within(encoder=Words()).fit(log), cp.CausalReward("within", learner="kernel", folds=0, encoder=Words()).fit(log)
    assert residuals(inside).route == "within" and np.allclose(inside.average_effect().effect, causal.average_effect().effect)

def test_a_misspelt_route_is_refused_at_fit(reward):
    with pytest.raises(ValueError, match="Misspelt must declare what its effects hold fixed, got route_='Within'; set route_ in the class"):
        Misspelt(encoder=Words()).fit(reward.log_)

@pytest.mark.parametrize("late", [None, "Within"])
def test_a_model_that_declares_no_route_is_refused(reward, late):
    model, own = Declared, Declared(encoder=Words()).fit(reward.log_)
    own.route_ = late # what was set after the fit is looked at when it is asked
    assert own.effect(["a query"], ["a prompt"]).shape == (1, 1), "predictions ask for no route"
    for ask in (Route.declared_by, residuals, lambda m: residuals(m, route="naive"), checkup, lambda m: m.average_effect()):
        with pytest.raises(ValueError, match=rf"{model.__name__} must declare what its effects hold fixed.* set route_ in the class"): ask(own)
    own.route_ = "naive"
    assert residuals(own).route == "naive"

def test_a_model_that_was_not_fitted_says_so():
    with pytest.raises(NotFittedError, match="is not fitted"): Route.declared_by(cp.CausalReward())

def test_routes_of_the_models(reward):
    log = reward.log_
    assert Route.declared_by(cp.NaiveReward("ridge", encoder=Words()).fit(log)) == "naive" and Route.declared_by(reward) in ("within", "weighted")

def test_a_refit_forgets_the_old_leftovers(reward):
    half = cp.CausalReward(learner="kernel", folds=0, encoder=Words()).fit(reward.log_)
    before = residuals(half, route="within").y
    half.fit(reward.log_.take(np.arange(600)))
    assert len(residuals(half, route="within").y) == 600 < len(before)

def test_what_a_log_does_not_allow_is_said():
    world = cp.World.preset("confounded-visible")
    reward = cp.CausalReward(learner="kernel", folds=0, encoder=Words()).fit(world.log(n_queries=200, n_prompts=6, prompts_per_query=1))
    with pytest.raises(NotIdentifiedError, match="No propensity"): residuals(reward, route="weighted")
    with pytest.raises(NotIdentifiedError, match="two prompts"): residuals(reward, route="within")
    with pytest.raises(ValueError, match="route must be one of"): residuals(reward, route="magic")

def test_an_unfitted_reward_is_refused_and_prompts_that_look_alike_have_no_components(reward):
    with pytest.raises(NotFittedError, match="fitted"): residuals(cp.CausalReward())
    class Flat:
        def encode(self, texts, role="prompt"): return Words().encode(texts) if role == "query" else np.tile(np.eye(8)[0], (len(texts), 1))
    alike = cp.NaiveReward("ridge", encoder=Flat()).fit(reward.log_)
    assert residuals(alike, route="dml").t.shape == (len(reward.log_), 0)


# ---- a part of a large log

COSTLY = ["nuisance", "naive gap", "fold gap", "within and between", "shuffled prompts", "placebo prompts", "placebo outcomes", "refuters", "sensitivity",
          "embedding stability", "calibration", "coverage"]


@pytest.fixture(scope="module")
def large():
    world = cp.World.preset("confounded-hidden")
    return cp.CausalReward(learner="kernel", folds=0, encoder=Words(), baseline=world.baseline).fit(world.log(n_queries=10_000, n_prompts=8, prompts_per_query=4))


def test_a_part_is_whole_queries_about_as_many_rows_as_asked_for_and_never_fewer_than_200_queries():
    sizes = np.random.default_rng(0).integers(1, 9, 20_000)
    query = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    kept = some_queries(query)
    assert (np.bincount(query[kept], minlength=len(sizes)) == np.where(np.isin(np.arange(len(sizes)), query[kept]), sizes, 0)).all()
    assert abs(kept.sum() / LOOKED_AT - 1) < .05 and (some_queries(query) == kept).all() and (some_queries(query, 1) != kept).any()
    many_rows = np.repeat(np.arange(2000), 500)
    assert len(np.unique(many_rows[some_queries(many_rows)])) == 200
    assert some_queries(query[:LOOKED_AT]).all() and some_queries(np.repeat(np.arange(200), 1000)).all()


def test_up_to_the_threshold_a_check_sees_the_reward_itself(reward):
    seen = []
    @looks_at_part
    def look(reward, random_state=0):
        seen.append(reward)
        return refute.__wrapped__(reward, simulations=20)
    found = look(reward)
    assert seen == [reward] and "Looked at" not in found.details and "looked_at" not in found.facts


def test_every_check_that_refits_or_shuffles_looks_at_a_part(large):
    seen = {}
    for name in COSTLY:
        check = CHECKS[name].function
        assert check.__wrapped__.__name__ == check.__name__, name
    @looks_at_part
    def look(reward, random_state=0):
        seen[random_state] = reward
        return refute.__wrapped__(reward, simulations=20)
    found = look(large, random_state=3)
    part = seen[3]
    assert len(part.log_) == LOOKED_AT and len(large.log_) == 40_000 and large.residuals()[0] is not part.residuals()[0]
    assert found.details.endswith("Looked at 5,000 of 10,000 queries, drawn at random (20,000 of 40,000 rows); the numbers are theirs.")
    assert found.facts["looked_at"] == dict(rows=20_000, of_rows=40_000) and "5,000 queries)" in found.details
    look(large, random_state=3)
    assert seen[3] is part, "the rows of a part are made once"
    look(large)
    assert set(seen[0].log_.frame["query_id"]) != set(part.log_.frame["query_id"])


@looks_at_part
def what_is_judged(reward, prompt=None, random_state=0):
    "A check that tells what it was given."
    return Finding("What is judged?", pd.DataFrame(), "ok", "A part.", "", "", dict(reward=reward))


@pytest.mark.parametrize("again", [lambda r: r, copy.copy], ids=["itself", "a copy"])
def test_a_refit_forgets_the_part_of_the_former_model(large, again):
    log = large.log_
    assert log.scored is log, "the same log object is opened again"
    first = cp.CausalReward("within", learner="kernel", folds=0, encoder=Words(), baseline=large.baseline_).fit(log)
    before = what_is_judged(first).facts["reward"]
    second = again(first).set_params(route="dml").fit(log)
    after = what_is_judged(second).facts["reward"]
    assert after.route_ == second.route_ == "dml" and after.model_ is second.model_ and before.route_ == "within"
    if second is not first: assert what_is_judged(first).facts["reward"] is before, "the fit of a copy leaves the parts of the first"


def test_a_pickle_holds_no_part(large):
    bare = len(pickle.dumps(cp.CausalReward(learner="kernel", folds=0, encoder=Words(), baseline=large.baseline_).fit(large.log_)))
    what_is_judged(large)
    assert len(pickle.dumps(large)) < 1.05 * bare


LATIN, GREEK, TWIN = "Answer in Latin.", "Answer in Greek.", "Answer in Greek!"

@pytest.fixture(scope="module")
def rare(large):
    "The large log where a baseline and two twins were met by 60 queries each, none of which is drawn."
    frame = large.log_.frame.copy()
    query = pd.factorize(frame["query_id"])[0]
    others = frame[~some_queries(query)].groupby("query_id", sort=False).head(1).index # a row of each query that is not drawn
    for k, text in enumerate((LATIN, GREEK, TWIN)): frame.loc[others[60 * k:60 * (k + 1)], "prompt"] = text
    log = cp.Triplets(frame[["query_id", "query", "prompt", "score"]])
    return cp.CausalReward("within", learner="kernel", folds=0, encoder=Words(), baseline=LATIN).fit(log)


def test_a_part_holds_the_baseline_and_says_how(rare):
    found = refute(rare, simulations=20)
    table = rare.average_effect().set_index("prompt")
    part, whole = found.facts, table.loc[found.facts["prompt"]]
    assert (what_is_judged(rare).facts["reward"].log_.frame["prompt"] == LATIN).sum() == 60
    assert abs(part["effect"] - whole.effect) < 3.3 * whole.se, "over the same baseline"
    assert found.details.endswith("Looked at 5,060 of 10,000 queries, drawn at random but for 60 that received the baseline or the prompt asked for "
                                  "(20,240 of 40,000 rows); the numbers are theirs.")


def test_a_part_holds_a_prompt_that_was_asked_for(rare):
    found, whole = refute(rare, prompt=GREEK, simulations=20), rare.average_effect().set_index("prompt").loc[GREEK]
    assert found.facts["prompt"] == GREEK and "but for 120 that received" in found.details
    assert abs(found.facts["effect"] - whole.effect) < 3.3 * whole.se
    assert what_is_judged(rare, prompt=GREEK).facts["reward"] is what_is_judged(rare, prompt=GREEK).facts["reward"] is not what_is_judged(rare).facts["reward"]


def test_enough_queries_of_a_rare_prompt_are_taken_not_all(large):
    "The baseline of this log is met by half of the queries: none is added."
    assert len(what_is_judged(large).facts["reward"].log_) == LOOKED_AT == len(what_is_judged(large, prompt=large.log_.prompts["prompt"][3]).facts["reward"].log_)


def test_what_a_part_cannot_show_is_said_to_be_of_the_part(rare, reward):
    said = r"Looked at 5,060 of 10,000 queries, drawn at random"
    with pytest.raises(NotIdentifiedError, match="No two prompts of the log become equal.*" + said) as of_twins: placebo_prompts(rare)
    assert "Looked at" in of_twins.value.reason, "which is what a checkup shows"
    with pytest.raises(ValueError, match="compared with the baseline in this log.*" + said): refute(rare, prompt="Answer in Finnish.", simulations=20)
    with pytest.raises(ValueError) as of_all: refute(reward, prompt="Answer in Finnish.", simulations=20)
    assert "Looked at" not in str(of_all.value)


def test_a_log_that_is_a_sample_of_files_is_said_to_be_one(reward, large):
    for model, rows in ((reward, len(reward.log_)), (large, len(large.log_))):
        few = copy.copy(model)
        few.dataset_ = dict(rows=rows, queries=1)
        assert what_is_judged(few).reading == what_is_judged(model).reading, "a log of all rows is no sample"
        few.dataset_ = dict(rows=10 * rows, queries=1)
        assert what_is_judged(few).details == what_is_judged(model).details + f" log_ is a sample of {rows:,} of {10 * rows:,} rows."


def _agree(part, se_part, full, se_full):
    "Two estimates, one from a part of the other's queries: their difference has the variance that the part has more (Hausman 1978)."
    assert se_full < se_part < 2 * se_full, "half of the queries: errors about 1.4 times as large"
    assert abs(part - full) < 3.3 * np.sqrt(se_part**2 - se_full**2)


def test_a_part_agrees_with_the_whole_within_its_error(large):
    whole = refute.__wrapped__(large, simulations=20).facts
    part = refute(large, prompt=whole["prompt"], simulations=20).facts
    _agree(part["effect"], part["se"], whole["effect"], whole["se"])
    part, whole = (check(large).facts for check in (calibration, calibration.__wrapped__))
    _agree(part["slope"], part["se_query"], whole["slope"], whole["se_query"])
    for check, gap, label in ((naive_gap, "gap", "prompt"), (within_between, "gap", "direction")):
        part, whole = (found.table.set_index(label) for found in (check(large), check.__wrapped__(large)))
        for row in whole.index[:3]:
            half = [(t.hi[row] - t.lo[row]) / 3.92 for t in (part, whole)]
            _agree(part[gap][row], half[0], whole[gap][row], half[1])


def test_sparse_effects_are_the_dense_ones():
    r = np.random.default_rng(2)
    log = cp.World.preset("randomised").log(n_queries=200, n_prompts=30, prompts_per_query=3, propensities=True)
    reward = cp.CausalReward(learner="kernel", folds=0, encoder=Words()).fit(log)
    for route in ("within", "naive", "weighted", "dml"):
        res = residuals(reward, route=route)
        cols = np.sort(r.permutation(len(res.rows.prompts) - 1)[:20]) + 1 # others than these and the baseline occur
        dense = slopes(res.y, residual_indicators(res.rows, cols, 0), res.rows.cluster, res.rows.w, left=spread_kept(res.rows))
        few = prompt_slopes(res, cols, 0)
        for name in ("beta", "psi", "cov"): np.testing.assert_allclose(few[name], dense[name], rtol=1e-7, atol=1e-12)
