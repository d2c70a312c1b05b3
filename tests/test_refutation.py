"Refutation: what must be 0 is 0, the formulas hold, every alarm flags and keeps quiet where it should."
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from causal_prompts import placebos as pl, refutation as m, sensitivity_analysis as sa, shuffles as sh
from causal_prompts.causal import CausalReward
from causal_prompts.core import Finding, NotIdentifiedError
from causal_prompts.inference import contrasts
from causal_prompts.naive import NaiveReward
from causal_prompts.placebos import placebo_outcomes, placebo_prompts
from causal_prompts.refutation import refute
from causal_prompts.residuals import residuals
from causal_prompts.sensitivity_analysis import confounding_bias, robustness_value, sensitivity
from causal_prompts.shuffles import shuffled_prompts
from causal_prompts.triplets import Triplets
from causal_prompts.worlds import World
from fakes import Words

pytestmark = pytest.mark.filterwarnings("ignore:.*query ids share.*")
THANKS = World().rephrasings["thanks"]


def fit(log, kind="causal", **kw):
    if kind == "naive": return NaiveReward("ridge", encoder=Words(), baseline=World.baseline).fit(log)
    return CausalReward(learner="kernel", folds=0, encoder=Words(), baseline=World.baseline, **kw).fit(log)

def world_log(preset, seed=0, n_queries=300, n_prompts=12, covariates=False, propensities=False, **kw):
    return World.preset(preset, seed=seed, **kw).log(n_queries=n_queries, n_prompts=n_prompts, seed=seed, covariates=covariates, propensities=propensities)

def thanked(seed=0, n=300, k=4, P=6):
    "A sentence that cannot matter goes to harder queries."
    world = World(visible=False, seed=seed)
    plain = [p for p in world.prompts(20 * P, seed) if not world.parse([p]).thanks[0]][:P]
    q, pool, r = world.queries(n, seed), plain + [f"{p} {THANKS[0]}" for p in plain], np.random.default_rng(seed)
    polite = r.random((n, k)) < (.1 + .8 * q.difficulty.to_numpy())[:, None]
    j = np.argsort(r.random((n, P)), 1)[:, :k] + P * polite
    return Triplets(pd.DataFrame(dict(query=np.repeat(q["query"], k), prompt=np.array(pool, object)[j.ravel()], score=world.draw(q["query"], pool, seed=seed)[np.arange(n)[:, None], j, 0].ravel())))

def four_prompts(confounding, seed=0, n=1200):
    world = World(confounding=confounding, prompts_per_query=1, seed=seed)
    say, q = world.rephrasings, world.queries(n, seed)
    pool = [World.baseline, *(" ".join([World.baseline, *[say[i][0] for i in ideas]]) for ideas in (("steps", "check", "format"), ("analogy", "brief"), ("role",)))]
    pi, r = world.propensity(q["query"], pool), np.random.default_rng(seed)
    j = (r.random((n, 1)) > pi.cumsum(1)).sum(1).clip(0, 3)
    return Triplets(pd.DataFrame(dict(query=q["query"], prompt=np.array(pool, object)[j], score=world.draw(q["query"], pool, seed=seed)[np.arange(n), j, 0])))

@pytest.fixture(scope="module")
def within(): return fit(world_log("randomised"))

@pytest.fixture(scope="module")
def hidden_naive(): return fit(world_log("confounded-hidden"), "naive")

@pytest.fixture(scope="module")
def single(): return fit(world_log("randomised", prompts_per_query=1, n_queries=600))

@pytest.fixture(scope="module")
def chosen(): return fit(four_prompts(1))

def sound(f, draw=True):
    assert isinstance(f, Finding) and f.threshold and f.reading and len(f.table) and (f.verdict in ("ok", "not shown") or f.advice)
    Finding.from_dict(f.to_dict())
    if draw: f.plot()


# --- shuffles

def test_a_shuffle_swaps_prompts_inside_the_query_and_nothing_else(within):
    r = residuals(within)
    where, draw = sh.prompt_shuffler(r)
    p = draw(np.random.default_rng(0))
    assert where == "within" and (p != r.rows.p).mean() > .5
    for g in range(0, 300, 37): assert sorted(p[r.rows.q == g]) == sorted(r.rows.p[r.rows.q == g])

def test_rows_of_one_text_and_prompt_move_together_whatever_their_ids():
    log = world_log("randomised", prompts_per_query=1, n_queries=120)
    twice = pd.concat([log.frame.assign(query_id=log.frame.query_id + f"-{i}") for i in range(2)])[["query_id", "query", "prompt", "score"]]
    r = residuals(fit(Triplets(twice), "naive"))
    where, draw = sh.prompt_shuffler(r)
    p = draw(np.random.default_rng(0))
    assert where == "across" and (p != r.rows.p).any() and pd.Series(p).groupby(r.rows.q).nunique().max() == 1

def test_ids_that_share_a_handful_of_texts_are_shuffled_by_id():
    log = world_log("randomised", n_queries=60)
    few = log.frame.assign(query=np.array(["one text", "another text"])[pd.factorize(log.frame.query_id)[0] % 2])[["query_id", "query", "prompt", "score"]]
    r = residuals(fit(Triplets(few)))
    p = sh.prompt_shuffler(r)[1](np.random.default_rng(0))
    assert all(sorted(p[r.rows.g == g]) == sorted(r.rows.p[r.rows.g == g]) for g in range(60)) and (p != r.rows.p).mean() > .4

def test_swaps_across_stay_in_the_model():
    log = world_log("randomised", prompts_per_query=1, n_queries=200)
    f = log.frame.assign(model=np.where(np.arange(200) < 100, "a", "b"))
    f.loc[f.model == "a", "prompt"] = f.prompt + " Now."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        r = residuals(fit(Triplets(f[["query", "prompt", "score", "model"]])))
    p = sh.prompt_shuffler(r)[1](np.random.default_rng(0))
    assert all(sorted(p[r.rows.level == l]) == sorted(r.rows.p[r.rows.level == l]) for l in (0, 1)) and (p != r.rows.p).any()

def test_shuffled_prompts_quiet_and_ringing(within, hidden_naive):
    ok, bad = shuffled_prompts(within), shuffled_prompts(hidden_naive)
    assert ok.verdict == "ok" and ok.facts["coverage"] > .9 and ok.facts["where"] == "within"
    assert bad.verdict == "stop" and bad.facts["bias"] > 1 and bad.facts["p"] < .01
    sound(ok), sound(bad)
    assert shuffled_prompts(within, random_state=0).facts == ok.facts != shuffled_prompts(within, random_state=1).facts

def test_lost_clusters_make_intervals_too_short():
    log = world_log("randomised", prompts_per_query=1, n_queries=400)
    rows = lambda k: Triplets(pd.concat([log.frame.assign(query_id=log.frame.query_id + f"-{i}") for i in range(k)])[["query_id", "query", "prompt", "score"]])
    ok, bad = shuffled_prompts(fit(rows(1), "naive")), shuffled_prompts(fit(rows(3), "naive"))
    assert ok.verdict == "ok" and bad.verdict != "ok" and "too small" in bad.details
    assert bad.facts["spread"] == pytest.approx(np.sqrt(3), rel=.2) and "query_id" in bad.advice

def test_the_test_of_coverage_keeps_its_level():
    r = np.random.default_rng(0)
    p = [sh._misses_more(r.binomial(11, .05, 20) / 11, .05, 11) for _ in range(2000)]
    assert np.mean(np.array(p) < .01) < .02 and sh._misses_more(r.binomial(11, .2, 20) / 11, .05, 11) < .01

def test_shuffles_are_refused_when_few(within):
    with pytest.raises(ValueError, match="shuffles must be at least 3, got 2"): shuffled_prompts(within, 2)
    with pytest.raises(ValueError, match="simulations must be at least 20, got 5"): refute(within, simulations=5)


# --- placebo prompts

def test_pairs_are_found_by_sentence_by_wording_and_by_punctuation():
    rows = lambda prompts: type("R", (), dict(p=np.arange(len(prompts)), prompts=prompts))
    assert pl._twin_pairs(rows(["Do it.", "Do it. Thanks a lot!", "Go.", "do  it. THANKS a lot!"]), ["Thanks a lot!"]).tolist() == [[1, 0], [3, 0]]
    assert pl._twin_pairs(rows(["Do it.", "do it", "Do it, now", "Go"]), None).tolist() == [[0, 1]]
    assert pl._twin_pairs(rows(["Do it. Step by step.", "Do it. One at a time.", "Do it."]), dict(steps=["Step by step.", "One at a time."])).tolist() in ([[0, 1]], [[1, 0]])

@pytest.mark.parametrize("kind", ["causal", "naive"])
def test_a_pair_has_the_contrast_of_the_estimators(kind):
    reward = fit(thanked(), kind)
    t = placebo_prompts(reward, THANKS, alpha=.05).table.query("prompt != 'all'")
    r = residuals(reward)
    for row in t.itertuples():
        c = contrasts(r.rows, r.y, r.rows.prompts.index(row.against)).set_index("prompt").loc[row.prompt]
        assert np.allclose([row.effect, row.se, row.lo, row.hi], c[["effect", "se", "lo", "hi"]].astype(float), rtol=1e-6, atol=1e-9)

def test_placebo_prompts_quiet_and_ringing():
    log = thanked()
    ok, bad = placebo_prompts(fit(log), THANKS), placebo_prompts(fit(log, "naive"), THANKS)
    assert ok.verdict == "ok" and bad.verdict == "stop" and bad.facts["pairs"] == 6 and bad.facts["largest"] < 0
    sound(ok), sound(bad)

def test_no_pair_says_what_to_collect(within):
    with pytest.raises(NotIdentifiedError, match="add a placebo sentence"): placebo_prompts(within)
    with pytest.raises(NotIdentifiedError, match="sentences are taken out"): placebo_prompts(within, ["Never said."])

def test_pairs_that_never_met_a_common_query_are_not_compared():
    q = [f"query number {i} of many" for i in range(40)]
    frame = pd.DataFrame([dict(query=q[i], prompt=p, score=float((i * 7 + len(p)) % 3 == 0)) for i in range(40) for p in (["A", "B"] if i < 20 else ["a!", "C"])])
    with pytest.raises(NotIdentifiedError, match="none of them can be compared"): placebo_prompts(CausalReward(learner="kernel", folds=0, encoder=Words(), baseline="A").fit(Triplets(frame)))


# --- placebo outcomes

def test_placebo_outcomes_quiet_and_ringing(single):
    bad = placebo_outcomes(fit(world_log("confounded-visible", n_queries=600), "naive"))
    ok = placebo_outcomes(single)
    assert ok.verdict == "ok" and bad.verdict == "stop" and bad.facts["trait"] == "query length" and bad.facts["explained"] > .1
    sound(ok), sound(bad)

def test_the_trait_is_left_out_of_what_is_held_fixed(single):
    r = residuals(single)
    traits, H = pl._placebo_traits(single, r)
    F, drop = traits["query length"]
    held, free = r.strip(F), pl.strip_without(r, H, drop)(F)
    assert len(drop) and held.var() < .3 * free.var()
    far = np.setdiff1d(np.arange(H.shape[1] - 15, H.shape[1]), drop)
    z = lambda v: (v - v.mean()) / (v.std() or np.inf)
    assert max(abs(z(H[:, j]) @ z(F[:, 0])) / len(F) for j in far) <= .8

def test_covariates_are_outcomes_too_and_a_leak_is_named():
    log = world_log("randomised", prompts_per_query=1, n_queries=500, covariates=True)
    ok = placebo_outcomes(fit(log))
    assert ok.verdict == "ok" and {"difficulty", "kind", "query length"} <= set(ok.table.trait)
    leak = log.frame.assign(cost=log.frame.prompt.str.len() / 100 + np.random.default_rng(0).normal(size=500))[["query", "prompt", "score", "cost"]]
    bad = placebo_outcomes(fit(Triplets(leak, covariates=["cost"])))
    assert bad.verdict == "caution" and bad.facts["trait"] == "cost" and "does not stand for it" in bad.details

def test_inside_a_query_traits_are_constant(within):
    with pytest.raises(NotIdentifiedError, match="Inside a query all its traits are constant"): placebo_outcomes(within)

def test_inside_a_query_draw_level_covariates_serve():
    log = world_log("randomised")
    r = np.random.default_rng(0)
    f = log.frame[["query", "prompt", "score"]].assign(hour=r.random(len(log)), after=log.frame.prompt.str.len() / 50 + r.normal(size=len(log)))
    out = placebo_outcomes(fit(Triplets(f, covariates=["hour", "after"])))
    t = out.table.set_index("trait")
    assert out.verdict == "stop" and t.alarm["after"] and not t.alarm["hour"] and "written after the prompt" in out.details


# --- one contrast

@pytest.mark.parametrize("name", ["within", "single", "hidden_naive", "chosen"])
def test_the_scalar_contrast_is_the_average_effect(name, request):
    reward = request.getfixturevalue(name)
    r = residuals(reward)
    f = m.regression(r, sh.baseline_number(reward, r.rows), .05)
    own = reward.average_effect().set_index("prompt")
    for j, row in f.table.iterrows():
        d = m.scalar_treatment(f, j)
        assert (r.rows.w * d) @ r.y / ((r.rows.w * d) @ d) == pytest.approx(row.effect, abs=1e-8) == pytest.approx(own.effect[row.prompt], abs=1e-8)
        assert (r.rows.w * d) @ d == pytest.approx(1 / f.B[j, j])

def test_refute_quiet_and_ringing(within, hidden_naive):
    ok, bad = refute(within), refute(hidden_naive)
    assert ok.verdict in ("ok", "not shown") and bad.verdict == "stop" and abs(bad.facts["off"]) > 3 and "not centred" in bad.details
    assert ok.facts["dowhy"] == pytest.approx(ok.facts["effect"], abs=1e-6) and .7 < ok.facts["ratio"] < 1.3
    sound(ok), sound(bad)
    assert len(ok.data) == 100 and np.ptp(ok.data.effect) > 0

def test_a_named_contrast_is_refuted_by_its_own_null(within):
    name = within.average_effect().prompt[3]
    f = refute(within, name, simulations=20)
    assert f.facts["prompt"] == name and f.facts["named"] and f.facts["p"] == (1 + (f.data.effect.abs() >= abs(f.facts["effect"])).sum()) / 21
    with pytest.raises(ValueError, match="prompt must be one of the 11 prompts"): refute(within, "never logged")

def test_halves_see_rows_that_travel_together():
    log = world_log("randomised", prompts_per_query=1, n_queries=400)
    rows = Triplets(pd.concat([log.frame.assign(query_id=log.frame.query_id + f"-{i}") for i in range(3)])[["query_id", "query", "prompt", "score"]])
    f = refute(fit(rows, "naive"))
    assert f.verdict != "ok" and f.facts["ratio"] == pytest.approx(np.sqrt(3), rel=.25) and "halves" in f.details

def test_a_placebo_that_does_not_vary_is_not_a_pass():
    row = pd.Series(dict(effect=.1, se=.05))
    dw = dict(estimate=.1, placebo=0., placebo_p=np.nan, common=.1, common_p=.5)
    null = np.random.default_rng(0).normal(0, .05, 50)
    t, _ = m._refuter_rows(row, "within", null - null.mean(), np.abs(null) / .05, .1 + null, dw, True)
    assert t.alarm.tolist() == [False, True, False, False] and "did not vary" in t.reads_as[1]

def test_dowhys_refuters_of_the_scalar_vary():
    r = np.random.default_rng(0)
    d = r.normal(size=200); y = .3 * d + r.normal(size=200)
    out = m.dowhy_refuters(y, d, 20, 0)
    assert np.isfinite(out["placebo_p"]) and out["placebo"] != 0 and out["estimate"] == pytest.approx(np.polyfit(d, y, 1)[0], abs=1e-8) and abs(out["common"] - out["estimate"]) < .02


# --- sensitivity: identities

def _ls(v, *on):
    A = np.column_stack([np.ones(len(v)), *on])
    return v - A @ np.linalg.lstsq(A, v, rcond=None)[0]

def test_a_cause_of_the_stated_shares_moves_the_estimate_by_the_stated_bias():
    r = np.random.default_rng(0)
    n, want_d, want_y = 400, .12, .2
    x, d0, y0 = r.normal(size=(3, n))
    d = d0 + .5 * x; y = .4 * d + x + y0
    rd = _ls(d, x); ry = _ls(y, d, x); rd, ry = rd / np.linalg.norm(rd), ry / np.linalg.norm(ry)
    rest = _ls(r.normal(size=n), d, y, x); rest /= np.linalg.norm(rest)
    a = np.sqrt(want_d); b = np.sqrt(want_y * (1 - want_d))
    z = a * rd + b * ry + np.sqrt(1 - a**2 - b**2) * rest # partial R2 with d given x, and with y given d and x, exactly
    dz, yz = _ls(d, x, z), _ls(y, d, x, z)
    assert 1 - dz @ dz / (_ls(d, x) @ _ls(d, x)) == pytest.approx(want_d) and 1 - yz @ yz / (_ls(y, d, x) @ _ls(y, d, x)) == pytest.approx(want_y)
    short = _ls(d, x) @ _ls(y, x) / (_ls(d, x) @ _ls(d, x))
    long = dz @ _ls(y, x, z) / (dz @ dz)
    scale = np.linalg.norm(_ls(y, d, x)) / np.linalg.norm(_ls(d, x))
    assert short - long == pytest.approx(confounding_bias(scale, want_d, want_y), rel=1e-9)

def test_the_robustness_value_is_where_the_bias_is_the_estimate():
    for est, scale in ((.1, .8), (.5, .3), (2., 1.)):
        rv = robustness_value(est / scale)
        assert confounding_bias(scale, rv, rv) == pytest.approx(est)
    assert robustness_value(0) == 0 == robustness_value(-.3)
    t, df = 4.18, 783 # the published example: Darfur, t = 4.18 on 783 degrees of freedom, RV = 13.9%, RV at the 5% level = 7.6%
    assert robustness_value(t / np.sqrt(df)) == pytest.approx(.139, abs=5e-4)
    assert robustness_value(t / np.sqrt(df) - stats.t.ppf(.975, df - 1) / np.sqrt(df - 1)) == pytest.approx(.076, abs=5e-4)

@pytest.mark.parametrize("k", [.5, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_cause_k_times_as_strong_as_a_trait_stays_within_its_bound(k, sign):
    "x is the trait, z the cause: z explains k times as much of d, and of y given d, as x does; then z's shares given x are the bound, or less."
    from scipy.optimize import brentq
    x, z, d0, y0 = np.random.default_rng(0).normal(size=(4, 200))
    orth = np.linalg.qr(np.column_stack([np.ones(200), x, z, d0, y0]))[0].T
    x, z, d0, y0 = orth[1:] # centred, of unit length, at right angles
    d = .4 * x + .4 * np.sqrt(k) * z + d0
    share = lambda v, w, *on: 1 - np.sum(_ls(v, w, *on)**2) / np.sum(_ls(v, *on)**2)
    outcome = lambda c: .7 * d + .3 * x + c * z + y0
    c = brentq(lambda c: share(outcome(c), z, d) - k * share(outcome(c), x, d), 0, 3 * sign) if k * share(outcome(0), x, d) > share(outcome(0), z, d) else 0
    y = outcome(c)
    bound_d, bound_y = sa._bounds(share(d, x), share(y, x, d), k, True)
    assert share(y, z, d) == pytest.approx(k * share(y, x, d)) and share(d, z, x) == pytest.approx(float(bound_d))
    assert share(y, z, d, x) <= bound_y + 1e-9
    if sign < 0: assert share(y, z, d, x) < bound_y

def test_bounds_that_no_cause_can_have():
    assert np.isnan(sa._bounds(.4, .1, 3, True)[0]) and sa._bounds(.2, .1, 2, False) == (.4, .2) and np.isnan(sa._bounds(.6, .1, 2, False)[0])

def test_the_table_holds_the_closed_forms(chosen):
    f = sensitivity(chosen)
    r = residuals(chosen)
    g = m.regression(r, sh.baseline_number(chosen, r.rows), .05)
    for j, row in g.table.iterrows():
        d = m.scalar_treatment(g, j)
        e = r.y - g.C @ g.table.effect.to_numpy()
        scale = np.linalg.norm(e) / np.linalg.norm(d)
        told = f.table.set_index("prompt").loc[row.prompt]
        assert told.rv == pytest.approx(robustness_value(abs(row.effect) / scale))
        assert confounding_bias(scale, told.rv_alpha, told.rv_alpha) == pytest.approx(max(0, max(row.lo, -row.hi)), abs=1e-9)
        other = np.delete(np.arange(len(g.cols)), j) # the partial R2 of prompt and score, by hand
        y1, d1 = (v - g.C[:, other] @ np.linalg.lstsq(g.C[:, other], v, rcond=None)[0] for v in (r.y, g.C[:, j]))
        r2 = (y1 @ d1)**2 / (y1 @ y1) / (d1 @ d1)
        assert told.rv == pytest.approx(robustness_value(np.sqrt(r2 / (1 - r2))))

def test_a_left_out_linear_confounder_is_its_own_measure():
    "For the naive model a recorded trait may be the unobserved confounder: the bound of once as strong covers what adjusting for it does."
    r = np.random.default_rng(0)
    n = 4000
    x = r.normal(size=n)
    p = (x + r.normal(size=n) > 0).astype(int)
    frame = pd.DataFrame(dict(query=[f"query number {i}" for i in range(n)], prompt=np.array(["Answer.", "Think."])[p], score=.5 + .2 * x + .1 * r.normal(size=n), x=x))
    reward = NaiveReward("ridge", encoder=Words(), baseline="Answer.").fit(Triplets(frame, score_range=(-3, 4)))
    f = sensitivity(reward)
    bench = f.facts["benchmarks"]["x"]
    d, y = sa._bounds(bench["r2_prompt"], bench["r2_score"], 1, False)
    true = f.facts["effect"] - (_ls(p, x) @ _ls(frame.score, x)) / (_ls(p, x) @ _ls(p, x))
    assert confounding_bias(f.facts["scale"], d, y) == pytest.approx(true, rel=.05) and f.verdict == "caution" and f.facts["strongest"] in ("x", "all that the text shows")

def test_sensitivity_quiet_and_ringing(chosen):
    ok = sensitivity(fit(four_prompts(0)))
    bad = sensitivity(chosen)
    assert ok.verdict == "ok" and ok.facts["standing"] >= 1 and ok.facts["fragile"] == 0
    assert bad.verdict == "caution" and bad.facts["strongest"] == "all that the text shows" and bad.facts["fragile"] >= 1
    assert (bad.table.left[bad.table.fragile] <= 0).all() and bad.data.label.str.contains("1 x").any()
    sound(ok), sound(bad)

def test_sensitivity_where_queries_are_held_fixed_and_where_propensities_are_known(within):
    f = sensitivity(within)
    assert f.verdict == ("ok" if f.facts["standing"] else "not shown") and "differs between draws of one query" in f.details and f.facts["benchmarks"] == {}
    f.plot()
    w = sensitivity(fit(world_log("confounded-hidden", prompts_per_query=1, n_queries=500, n_prompts=6, propensities=True)))
    assert w.verdict == ("ok" if w.facts["standing"] else "not shown") and w.facts["route"] == "weighted" and "no such cause" in w.details

def test_a_draw_level_covariate_is_a_measure_within_queries():
    log = world_log("randomised", n_prompts=4)
    r = np.random.default_rng(0)
    heat = (log.frame.prompt == log.frame.prompt.iloc[0]) * 1.5 + r.normal(size=len(log))
    f = log.frame[["query", "prompt", "score"]].assign(heat=heat, score=(log.frame.score + .3 * heat).clip(-3, 4))
    out = sensitivity(fit(Triplets(f, score_range=(-3, 4), covariates=["heat"])))
    assert set(out.facts["benchmarks"]) == {"heat"} and out.table.r2_prompt.max() > .1

def test_nothing_to_explain_away():
    world = World(confounding=0, prompts_per_query=1)
    q = world.queries(300)["query"]
    frame = pd.DataFrame(dict(query=q, prompt=np.array(["Answer now.", "Think first.", "Explain it."])[np.arange(300) % 3], score=np.random.default_rng(0).integers(0, 2, 300).astype(float)))
    f = sensitivity(CausalReward(learner="kernel", folds=0, encoder=Words(), baseline="Answer now.").fit(Triplets(frame)))
    assert f.verdict == "not shown" and f.reading.startswith("No effect could be shown") and "nothing to explain away" in f.details
    with pytest.raises(ValueError, match="strengths must be numbers > 0"): sensitivity(fit(four_prompts(0, n=200)), strengths=())

def test_the_papers_estimator_is_checked_by_the_dml_route():
    from sklearn.base import BaseEstimator
    class Flat(BaseEstimator):
        def fit(self, Y, T, X=None, groups=None): self.d = T.shape[1]; return self
        def const_marginal_effect(self, X): return np.zeros((len(X), self.d))
    from causal_prompts.cpo import CPOReward
    reward = CPOReward(estimator=Flat(), encoder=Words(), baseline=World.baseline).fit(world_log("randomised", prompts_per_query=1, n_queries=300, n_prompts=6))
    assert sensitivity(reward).facts["route"] == "dml" and shuffled_prompts(reward, 5).facts["where"] == "across"
