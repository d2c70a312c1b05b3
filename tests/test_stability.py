"Stability, calibration, coverage: quiet in clean worlds, ringing in broken ones, and the arithmetic behind the verdicts."
import json, re

import numpy as np
import pandas as pd
import pytest

from causal_prompts import calibration, components, coverage, patterns, refits, stability
from causal_prompts.causal import CausalReward
from causal_prompts.core import content_id, Finding, NotIdentifiedError
from causal_prompts.naive import NaiveReward
from causal_prompts.residuals import residuals
from causal_prompts.world_texts import IDEAS
from causal_prompts.worlds import World
from causal_prompts.rows import rows_kept
from fakes import Ideas, Words


class Cached:
    "Each text encoded once."
    def __init__(self, inner): self.inner, self.seen = inner, {}
    def encode(self, texts, role="prompt"):
        new = [t for t in dict.fromkeys(texts) if (t, role) not in self.seen]
        if new: self.seen |= {(t, role): e for t, e in zip(new, self.inner.encode(new, role=role))}
        return np.stack([self.seen[t, role] for t in texts])
    def __deepcopy__(self, memo): return self

class Dice:
    "Every text a random point."
    def encode(self, texts, role="prompt"): return np.stack([np.random.default_rng(int(content_id(t), 16)).normal(size=64) / 8 for t in texts])

class Same:
    "Every prompt the same point."
    def encode(self, texts, role="prompt"): return Words().encode(["one text"] * len(texts) if role == "prompt" else texts)

class Loud(CausalReward):
    "Effects tripled."
    def levels(self, queries, prompts): return 3 * super().levels(queries, prompts)

class Short(CausalReward):
    "Intervals of a third of their width."
    def effect_interval(self, queries, prompts, alpha=.05):
        lo, hi = super().effect_interval(queries, prompts, alpha=alpha)
        return lo + (hi - lo) / 3, hi - (hi - lo) / 3


def fitted(preset="randomised", make=CausalReward, n=300, prompts=12, seed=0, encoder=Words, log=(), **world):
    w = World.preset(preset, seed=seed, **world)
    kw = dict(learner="kernel", folds=0) if issubclass(make, CausalReward) else dict(learner="ridge")
    return make(**kw, encoder=Cached(encoder()), baseline=w.baseline).fit(w.log(n_queries=n, n_prompts=prompts, seed=seed, **dict(log)))

def turned(reward, make):
    "The same fitted reward as another class."
    out = make(**reward.get_params())
    out.__dict__.update(reward.__dict__)
    return out

@pytest.fixture(scope="module")
def clean(): return fitted(n=600)

@pytest.fixture(scope="module")
def wide(): return fitted(n=800, prompts=40, encoder=Ideas, seed=1)


# ---- calibration

def test_calibration_is_quiet_for_the_kernel_and_scales_with_the_effects(clean):
    a, b = calibration.calibration(clean), calibration.calibration(turned(clean, Loud))
    assert a.verdict == "ok" and b.verdict in ("caution", "stop")
    assert b.facts["slope"] == pytest.approx(a.facts["slope"] / 3) and b.facts["autoc"]["mean"] == pytest.approx(a.facts["autoc"]["mean"])
    assert a.facts["se"] >= a.facts["se_query"] and a.table["n"].sum() == len(clean.log_)
    assert (np.diff(a.table["predicted"]) > 0).all() and a.facts["autoc"]["lo"] > 0

@pytest.mark.parametrize("seed", [1, 2])
def test_calibration_rings_for_boosting_on_a_confounded_log(seed):
    w = World.preset("confounded-hidden", seed=seed)
    naive = NaiveReward("lightgbm", encoder=Cached(Words()), baseline=w.baseline).fit(w.log(n_queries=300, n_prompts=12, seed=seed))
    f = calibration.calibration(naive)
    assert f.verdict != "ok" and f.facts["route"] == "within" and f.facts["folds"] == 2 and f.facts["slope"] < .6
    assert calibration.calibration(fitted("confounded-hidden", seed=seed)).verdict in ("ok", "not shown")

def test_out_of_fold_means_out_of_fold(clean):
    r = residuals(clean, 1)
    fit = refits.refit(clean, r, r.rows.q % 2 == 0)
    assert fit.model_ is not clean.model_ and fit.log_ is clean.log_
    at = np.flatnonzero(r.rows.q % 2 == 1)
    pairs = [fit.effect([r.rows.queries[r.rows.q[i]]], [r.rows.prompts[r.rows.p[i]]])[0, 0] for i in at[:5]]
    assert refits.predicted_at(fit, r.rows, at)[:5] == pytest.approx(pairs)
    left = refits.predictions_left(fit, r, at, None)
    assert np.abs(np.bincount(r.rows.g[at], left)).max() < 1e-9 # what a query expects is taken off

def test_expected_predictions_are_taken_off_by_assignment_where_queries_do_not_repeat():
    w = World.preset("randomised", seed=1, prompts_per_query=1)
    log = w.log(n_queries=300, n_prompts=6, seed=1, propensities=True)
    reward = CausalReward(learner="kernel", folds=0, encoder=Cached(Words()), baseline=w.baseline).fit(log)
    assert reward.route_ == "weighted"
    r = residuals(reward, 1)
    left = refits.predictions_left(reward, r, np.arange(len(r.y)), refits.every_indicator(r))
    S, share = reward.effect(r.rows.queries, r.rows.prompts), np.bincount(r.rows.p, r.rows.w) / r.rows.w.sum()
    assert left == pytest.approx(S[r.rows.q, r.rows.p] - S[r.rows.q] @ share)
    assert np.isfinite(calibration.calibration(reward, folds=2).facts["slope"])

def test_a_model_without_effects_has_nothing_to_calibrate(clean):
    class Flat(CausalReward):
        def levels(self, queries, prompts): return np.zeros((len(queries), len(prompts)))
    with pytest.raises(NotIdentifiedError, match="same effect for every prompt"): calibration.calibration(turned(clean, Flat))

def test_the_slope_verdicts():
    say = lambda lo, hi: calibration._calibration_verdict(dict(slope=(lo + hi) / 2, lo=lo, hi=hi), .2)[0]
    assert [say(.1, 1.5), say(.5, .9), say(.2, .7), say(-.2, .7), say(1.3, 2), say(1.1, 2), say(-1, 3)] == ["ok", "ok", "caution", "stop", "caution", "ok", "not shown"]

def test_the_uplift_curve_ends_at_the_mean(clean):
    d = calibration.calibration(clean).data
    assert d.loc[d["share"] == 1, "gain"].abs().max() < 1e-9 and set(d["curve"]) == {"observed", "predicted"}


# ---- coverage

def test_coverage_is_quiet_for_the_kernel_and_finds_the_factor(clean):
    a, b = coverage.coverage(clean), coverage.coverage(turned(clean, Short))
    assert a.verdict == "ok" and b.verdict != "ok" and "Multiply" in b.advice
    for k in ("average", "kind"): assert b.facts[k]["factor"] == pytest.approx(3 * a.facts[k]["factor"], rel=.02)
    assert (b.table["corrected"] - b.table["covered"]).min() >= 0 and b.table["interval_alone"].max() < .9
    assert (a.table["lo"] <= a.table["covered"]).all() and (a.table["covered"] <= a.table["hi"]).all()

def test_coverage_needs_intervals():
    with pytest.raises(NotIdentifiedError, match="no interval for single effects"): coverage.coverage(fitted(make=NaiveReward))

def test_factor_and_coverage_of_known_differences():
    r = np.random.default_rng(0)
    def part(true):
        V, S = np.diag(np.full(40, 1.)), np.diag(np.full(40, .3))
        return coverage._pair(r.normal(size=40) * np.sqrt(true**2 + .3), S, V)
    right, wrong = [part(1.) for _ in range(6)], [part(2.) for _ in range(6)]
    rows, f = coverage._coverage_rows("x", right, .01)
    assert f["lo"] < 1 < f["hi"] and abs(f["factor"] - 1) < .2 and rows[0]["independent"] == pytest.approx(200) and abs(rows[2]["covered"] - .95) < .05
    rows, f = coverage._coverage_rows("x", wrong, .01)
    assert 1 < f["lo"] < 2 < f["hi"] and rows[2]["covered"] < .8 < rows[2]["corrected"] and rows[2]["interval_alone"] < .75

def test_claimed_variance_is_the_posterior_variance_of_an_average(clean):
    "All kept queries weigh alike, so the claim must equal the reward's own variance of an average effect."
    r = residuals(clean, 1)
    C, cols = refits.common_indicators(r)
    S = np.zeros((1, len(cols))); i, j = 1, 0
    code = clean.model_.code(r.rows.prompts, r.rows.E_p)
    on = np.arange(len(r.y))
    L = coverage._claim_kernel(clean, r, None, dict(on=on, weights=np.eye(len(on))[:7]))
    m = clean.model_
    R = r.strip(code[r.rows.p])[:7]
    x = m.fx.transform(r.rows.queries, r.rows.E_q)[r.rows.q[:7]]
    k = [*range(min(m.d_i, m.fp.width)), *(m.fp.width + len(m.seen) + m.made_of.crossed)] # smooth features, parts and families
    assert L == pytest.approx(np.c_[R, (R[:, k, None] * x[:, None]).reshape(7, -1)])
    assert L @ m.w == pytest.approx(refits.predictions_left(clean, r, on, None)[:7])

def test_a_forest_is_compared_by_its_own_widths():
    class Fake(NaiveReward):
        has_interval = True
        def effect_interval(self, queries, prompts, alpha=.05): t = self.effect(queries, prompts); return t - 1e-4, t + 1e-4
    f = coverage.coverage(fitted(make=Fake, n=400))
    assert f.verdict != "ok" and f.facts["average"]["lo"] > 1


# ---- embedding stability

def test_stable_where_there_are_effects_and_the_vectors_carry_them(wide):
    f = stability.embedding_stability(wide)
    t = f.table.set_index("ranking")
    assert f.verdict == "ok" and f.facts["p"]["effects"] <= .05 and f.facts["p"]["alike"] <= .05 and f.facts["new_prompts"] > .2
    assert (t["nine_tenths"] > t["halves"]).all() and t["new_prompts"].isna().sum() == 1
    assert "p = " in f.details and stability.embedding_stability(wide).table.equals(f.table)

@pytest.mark.parametrize("encoder", [Dice, Same])
def test_the_encoder_is_blamed_where_vectors_say_nothing(encoder, recwarn):
    f = stability.embedding_stability(fitted(n=800, prompts=40, encoder=encoder, seed=2))
    assert f.verdict == "caution" and f.facts["cause"] == "encoder" and "encoder" in f.details
    assert f.table["halves"].iloc[-1] > .1 # tried prompts keep their own effects

@pytest.mark.parametrize("seed", [0, 1])
def test_noise_is_called_noise_and_no_encoder_is_blamed(seed):
    f = stability.embedding_stability(fitted(n=300, noise=1., seed=seed))
    assert f.facts["cause"] == "noise" and f.verdict == "caution" and "may be noise" in f.details
    assert f.table["nine_tenths"].min() > .5 # what a rule on nine tenths would have passed

def test_the_truncation_is_blamed_where_few_components_are_kept():
    w = World.preset("randomised", seed=1)
    log = w.log(n_queries=1200, n_prompts=12, seed=1)
    few, all_ = (NaiveReward("ridge", d_t=d, encoder=Cached(Ideas()), baseline=w.baseline).fit(log) for d in (1, 15))
    assert stability.embedding_stability(few).facts["cause"] == "truncation" and stability.embedding_stability(all_).verdict == "ok"

def test_translations_of_tau():
    assert stability._full_size(0) == 0 and stability._full_size(-.3) == 0 and stability._full_size(1) == pytest.approx(1) and .3 < stability._full_size(.2) < .4
    assert stability._noise_free(.2, 1.) == pytest.approx(.2) and stability._noise_free(.2, .3) > .3 and stability._noise_free(-.1, .3) < 0

def test_too_few_prompts():
    with pytest.raises(NotIdentifiedError, match="three prompts must have been used on four queries"): stability.embedding_stability(fitted(n=60, prompts=2, prompts_per_query=2))


# ---- dimensions

def test_dimensions_hold_the_own_setting_and_clip_the_rest(clean):
    f = components.dimensions(clean, d_x=(2, 6, 500), d_t=(1, 3, 99), kind="linear", splits=2)
    t = f.table
    assert f.verdict == "ok" and t["own"].sum() == 1 and t["d_t"].max() == 8 and t["d_x"].max() == 359
    assert t["kept_t"].between(0, 1 + 1e-9).all() and t["treatment_left"].between(.5, 1).all() and set(f.facts["inverted_u"]) == {"d_x", "d_t"}
    assert "inverted U" in f.details and t["worse_than_best"].min() >= 0

def test_dimensions_of_a_log_with_the_kernel(clean):
    f = components.dimensions(clean.log_, d_x=(3,), d_t=(2, 6), splits=1, encoder=clean.encoder)
    assert f.facts["kind"] == "kernel" and "d_x" not in f.facts["inverted_u"] or f.facts["inverted_u"]["d_t"]["p"] <= 1
    assert len(f.table) == 3

def test_dimensions_flag_a_setting_that_is_clearly_worse():
    w = World.preset("randomised", seed=0)
    bad = NaiveReward("ridge", d_t=1, d_x=2, encoder=Cached(Ideas()), baseline=w.baseline).fit(w.log(n_queries=2000, prompts_per_query=6, n_prompts=12, seed=0))
    f = components.dimensions(bad, d_x=(2,), d_t=(1, 8))
    assert f.verdict == "caution" and "Fit again with" in f.advice

def test_dimensions_where_queries_do_not_repeat():
    f = components.dimensions(fitted("confounded-visible", n=1200), d_x=(2, 20), d_t=(2, 6), kind="linear", splits=1)
    t = f.table.set_index(["d_x", "d_t"])
    assert "explained" in f.table and t.loc[(20, 6), "treatment_left"] < 1

def test_linear_model_is_the_ridge_it_says(clean):
    r = residuals(clean, 1)
    m = components._Linear(3, 2).fit(rows_kept(r.rows, np.ones(len(r.y), bool)))
    qs, ps = r.rows.queries[:4], r.rows.prompts[:5]
    Z, X = m.z.transform(ps, r.rows.E_p[:5]), m._x(qs, r.rows.E_q[:4])
    F = np.array([[np.outer(z, x).ravel() for z in Z] for x in X])
    assert m.score(qs, r.rows.E_q[:4], ps, r.rows.E_p[:5]) == pytest.approx(F @ m.w)
    D = F - F[:, :1]
    assert m.variance(qs, r.rows.E_q[:4], ps, r.rows.E_p[:5], ps[0], r.rows.E_p[:1]) == pytest.approx(np.einsum("qpi,ij,qpj->qp", D, m.cov, D), abs=1e-12)

def test_dimensions_errors(clean):
    with pytest.raises(ValueError, match="kind must be 'kernel' or 'linear', got 'forest'"): components.dimensions(clean, kind="forest")
    with pytest.raises(NotIdentifiedError, match="at least 20 queries and 6 prompts"): components.dimensions(fitted(n=40, prompts=4))


# ---- latent treatments

def test_twenty_patterns_that_compile(): assert len(patterns.PATTERNS) == 20 and all(re.compile(p) for p in patterns.PATTERNS.values())

@pytest.mark.parametrize("text, holds", [
    ("Think step by step.", ["chain of thought"]), ("You are a lawyer.", ["role"]), ("Answer in at most ten words.", ["output type or length"]),
    ("Do not use the word 'very'.", ["forbidden or preferred words"]), ("Double-check your result.", ["self-evaluation"]), ("Break the problem down into parts.", ["decomposition"]),
    ("Return JSON.", ["format strictness"]), ("If you are not sure, say so.", ["preconditions", "uncertainty"]), ("Try several approaches.", ["several ways"]), ("Cite your sources.", ["source reliability"]),
    ("Explain it to beginners.", ["audience"]), ("State the underlying principle.", ["abstraction"]), ("Common mistakes: adding twice.", ["negative examples"]), ("Thank you!", ["tone", "rhetoric"]),
    ("Solve the task below.", []), ("What is the capital of France?", [])])
def test_patterns_by_rule(text, holds): assert [c for c, v in patterns.patterns_of([text]).iloc[0].items() if v] == holds

def test_patterns_read_the_ideas_of_the_world():
    has = {k: patterns.patterns_of(v) for k, v in IDEAS.items()}
    for idea, pattern in dict(steps="chain of thought", check="self-evaluation", example="examples", format="format strictness", restate="abstraction", brief="output type or length", role="role", thanks="tone", analogy="rhetoric").items():
        assert has[idea][pattern].all(), idea

def test_names_are_corrected_for_every_look(wide):
    f = patterns.latent_treatments(wide)
    k = f.facts
    assert k["tests"] == k["patterns"] * 8 == len(f.data) and k["holm"] <= k["bh"] <= k["plain"] and str(k["tests"]) in f.details
    assert (f.data["holm"] >= f.data["p"]).all() and (f.data["bh"] <= f.data["holm"] + 1e-12).all() and k["holm"] >= 1
    chance = patterns.latent_treatments(fitted(n=300, prompts=40, encoder=Dice))
    assert chance.facts["holm"] == 0 and "unnamed" in chance.advice

def test_pattern_effects_find_what_moves_the_score(wide):
    f = patterns.latent_treatments(wide, patterns=dict(steps="step", polite="thank|grateful|Kindly"))
    t = f.table.set_index("pattern")
    assert t.loc["steps", "effect"] > .04 and t.loc["steps", "holm_effect"] < .05 and t.loc["polite", "holm_effect"] > .05 and "family" not in f.table

def test_patterns_of_ones_own_must_be_rules(wide):
    with pytest.raises(ValueError, match="must be a regular expression"): patterns.latent_treatments(wide, patterns=dict(bad="("))
    with pytest.raises(ValueError, match="at least one regular expression"): patterns.latent_treatments(wide, patterns={})
    with pytest.raises(NotIdentifiedError, match="two prompts show it and two do not"): patterns.latent_treatments(wide, patterns=dict(never="zzz"))


# ---- all of them

def test_findings_travel_as_json_and_draw(wide):
    for f in (calibration.calibration(wide, folds=2), coverage.coverage(wide, folds=3), stability.embedding_stability(wide, splits=4), components.dimensions(wide, d_x=(2, 6), d_t=(2, 6), splits=1, kind="linear"), patterns.latent_treatments(wide)):
        again = Finding.from_dict(json.loads(json.dumps(f.to_dict())))
        assert again.reading == f.reading and again.plot() is not None and f.threshold
        assert f.advice or f.verdict in ("ok", "not shown")
