"Power keeps its word; every alarm flags in its broken world and is silent in its clean one; refusals say why."
import json, warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.exceptions import NotFittedError

import causal_prompts as cp
from causal_prompts import cell_counts, positivity as ps, power_analysis, propensities
from causal_prompts.core import NotIdentifiedError, rng
from causal_prompts.extrapolation import extrapolation
from causal_prompts.inference import contrasts
from causal_prompts.rows import expected
from fakes import Words

FOREIGN = ["Löse bitte die folgende Aufgabe und erkläre jeden Schritt auf Deutsch.", "Write a poem about the sea in the style of an old sailor."]


def fit(log, **kw):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cp.NaiveReward("ridge", encoder=Words(), **kw).fit(log)


def random_log(seed, n_queries=300, n_prompts=12, **kw): return cp.World.preset("randomised", seed=seed).log(n_queries=n_queries, n_prompts=n_prompts, seed=seed, **kw)


def torn_log(seed, n_queries=800, **kw): return cp.World.preset("no-overlap", seed=seed).log(n_queries=n_queries, n_prompts=12, seed=seed, **kw)


def follows(seed, n=600, slip=.02):
    "The prompt is read off the query's difficulty, but for a few slips."
    world = cp.World.preset("randomised", seed=seed)
    q, pool = world.queries(n, seed), world.prompts(12, seed)
    r, at = rng(seed, "slips"), (q["difficulty"] * 11).round().astype(int).to_numpy()
    at = np.where(r.random(n) < slip, r.integers(12, size=n), at)
    score = (world.value(q["query"], pool)[np.arange(n), at] > r.random(n)).astype(float)
    return q, pool, cp.Triplets(pd.DataFrame(dict(query=q["query"], prompt=np.array(pool, object)[at], score=score)))


@pytest.fixture(scope="module")
def clean(): return fit(random_log(0), baseline=cp.World.baseline)


@pytest.fixture(scope="module")
def torn(): return fit(torn_log(0, covariates=True), baseline=cp.World.baseline)


def causal(log):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cp.CausalReward(learner="kernel", folds=0, encoder=Words(), baseline=cp.World.baseline).fit(log)


# ---- power

def found(log, gain, prompt, base, times=150):
    "Share of redrawn logs of this design in which a gain of one prompt is found at level .05."
    rows, hits = power_analysis._design_rows(log), 0
    left = rows.y - expected(rows, rows.y)
    sd = np.sqrt(left @ left / (len(left) - len(np.unique(rows.g)) * (rows.route == "within")))
    at, b = rows.prompts.index(prompt), rows.prompts.index(base)
    for i in range(times):
        y = rng(1, "redrawn", i).normal(0, sd, len(left)) + gain * (rows.p == at)
        t = contrasts(rows, y - expected(rows, y), b).iloc[at]
        hits += t.lo > 0 or t.hi < 0
    return hits / times


@pytest.mark.parametrize("per_query", [1, 4])
def test_the_smallest_visible_effect_is_found_as_often_as_promised(per_query):
    log = random_log(3, 200, 8, prompts_per_query=per_query)
    f = power_analysis.power(log)
    row = f.table.iloc[len(f.table) // 2]
    assert abs(found(log, row.visible, row.prompt, f.facts["baseline"]) - .8) < .1
    assert abs(found(log, 0., row.prompt, f.facts["baseline"]) - .05) < .06


def test_power_before_and_after_fitting_agree():
    log = random_log(1)
    before, after = power_analysis.power(log, baseline=cp.World.baseline), power_analysis.power(causal(log))
    assert before.facts["route"] == after.facts["route"] == "within" and before.facts["baseline"] == cp.World.baseline
    assert after.facts["visible"] == pytest.approx(before.facts["visible"], rel=1e-6)


def test_error_is_the_textbook_one_for_two_prompts():
    r = rng(0, "two")
    frame = pd.DataFrame(dict(query=[f"question {i}" for i in range(400)], prompt=np.where(np.arange(400) < 100, "one prompt", "another prompt"), score=r.normal(0, 1, 400)))
    f = power_analysis.power(cp.Triplets(frame, score_range=(-5, 5)))
    y, p = frame.score.to_numpy(), (frame.prompt == "one prompt").to_numpy()
    assert f.table.se[0] == pytest.approx(stats.linregress(p.astype(float), y).stderr, rel=.1)
    assert f.table.visible[0] / f.table.se[0] == pytest.approx(stats.t.ppf(.975, 99) + stats.t.ppf(.8, 99))
    assert f.table.corrected[0] == f.table.visible[0] # one comparison needs no correction


def test_draws_of_one_answer_are_not_new_evidence():
    log = random_log(4, 150)
    again = pd.concat([log.frame.drop(columns=["query_id", "prompt_id"]).assign(repeat=i) for i in range(4)], ignore_index=True)
    a, b = power_analysis.power(log), power_analysis.power(cp.Triplets(again))
    assert b.facts["visible"] == pytest.approx(a.facts["visible"], rel=.12)


def test_verdict_of_power_follows_size_and_thresholds():
    small = power_analysis.power(random_log(0, 300, 40))
    assert small.verdict == "stop" and small.advice and power_analysis.power(random_log(0, 2500, 8)).verdict == "ok"
    assert power_analysis.power(random_log(0, 300, 40), caution=.8, stop=.9).verdict == "ok"
    assert list(small.facts["needed"]) == [1, 2, 5, 10] and small.facts["needed"][1] == pytest.approx(100 * small.facts["needed"][10], rel=.06)
    assert (small.table.corrected > small.table.visible).all()


def test_a_known_difficulty_does_not_lower_the_error_of_the_naive_comparison(torn):
    assert power_analysis.power(torn).facts["route"] == "weighted" and power_analysis.power(torn).facts["visible"] > 0


def test_power_refuses():
    with pytest.raises(ValueError, match="0 < alpha < power < 1"): power_analysis.power(random_log(0, 60), power=.01)
    with pytest.raises(TypeError, match="Triplets log or a fitted reward"): power_analysis.power(pd.DataFrame())
    with pytest.raises(NotFittedError): power_analysis.power(cp.NaiveReward())
    log = cp.Triplets(pd.DataFrame(dict(query=[f"q {i}" for i in range(30)], prompt=[f"p {i}" for i in range(30)], score=np.arange(30) / 30)))
    with pytest.raises(NotIdentifiedError, match="No prompt was used on two queries"): power_analysis.power(log)


# ---- overlap

def test_overlap_is_silent_where_chance_dealt_the_prompts():
    for seed in range(4):
        for per_query in (1, 4):
            f = ps.overlap(fit(random_log(seed, prompts_per_query=per_query)))
            assert f.verdict == "ok" and f.facts["supported"] > .99 and f.facts["kept"] > .9, (seed, per_query, f.reading)


def test_overlap_rings_where_kinds_are_kept_from_prompts():
    for seed in range(4):
        f = ps.overlap(fit(torn_log(seed, 600)))
        assert f.verdict == "caution" and f.facts["supported"] < .75 and f.advice


def test_the_worst_overlap_stops(torn): assert ps.overlap(torn, least=.9, wished=.95).verdict == "stop"


def test_propensities_follow_the_truth():
    world = cp.World.preset("confounded-visible", seed=1)
    reward = fit(world.log(n_queries=1200, n_prompts=12, seed=1, propensities=True))
    rows, _ = propensities.conditioned_rows(reward, 5, 0)
    E, inv, _ = propensities.learned_propensities(rows)
    truth = world.propensity([rows.queries[i] for i in rows.q], rows.prompts)
    assert np.allclose(E.sum(1), 1) and np.corrcoef(E[inv].ravel(), truth.ravel())[0, 1] > .7
    f = ps.overlap(reward)
    assert f.facts["recorded"] and {"kept", "kept recorded"} <= set(f.table) and "recorded propensities" in f.details
    w = 1 / reward.log_.frame.propensity.to_numpy()
    first = f.table.iloc[0]
    mine = w[(reward.log_.frame.prompt == first.prompt).to_numpy()]
    assert first["ess recorded"] == pytest.approx(mine.sum()**2 / (mine**2).sum())
    assert set(f.data.pairs) == {"pairs that were logged", "pairs that were not", "recorded, pairs that were logged"}


def test_propensities_are_held_out():
    "A query feature that is pure noise earns nothing."
    r = rng(0, "noise")
    H, N = np.c_[np.ones(300), r.normal(size=(300, 40))], np.eye(6)[r.integers(6, size=300)]
    level, out, penalty = propensities._held_out_odds(H, N, np.arange(300) % 5)
    assert penalty == 300. and propensities._loglik(level, N).sum() > propensities._loglik(level + out, N).sum() - 3


def test_overlap_refuses(clean):
    with pytest.raises(ValueError, match="fraction of the fair share"): ps.overlap(clean, floor=2)
    with pytest.raises(ValueError, match="folds must be"): ps.overlap(clean, folds=1)
    many = cp.Triplets(pd.DataFrame(dict(query=[f"question {i}" for i in range(420)], prompt=[f"prompt {i % 210}" for i in range(420)], score=np.arange(420) % 2.)))
    with pytest.raises(NotIdentifiedError, match="residual_variance"): ps.overlap(fit(many))
    with pytest.raises(NotFittedError): ps.overlap(cp.NaiveReward())


# ---- gaps

def test_gaps_are_silent_and_ring():
    for seed in range(4):
        assert ps.gaps(fit(random_log(seed))).verdict == "ok"
        f = ps.gaps(fit(torn_log(seed, 1000)))
        assert f.verdict != "ok" and f.facts["holes"] > 3 and f.table.hole.iloc[0]


def test_holes_are_where_the_policy_has_them():
    world, reward = cp.World.preset("no-overlap", seed=0), fit(torn_log(0, 1500, covariates=True))
    f = ps.gaps(reward, kinds="kind")
    log = reward.log_.frame
    truth = pd.DataFrame(world.propensity(list(log["query"]), list(reward.prompts_.prompt)), columns=cell_counts._own_words(list(reward.prompts_.prompt))).groupby("kind " + log["kind"].to_numpy()).mean()
    holes = f.table[f.table.hole]
    assert len(holes) >= 10 and all(truth.loc[h.kind, h.prompts] < 1e-3 for h in holes.itertuples())


def test_counts_are_hypergeometric():
    r = rng(0, "counts")
    met, kind = r.random((60, 3)) < [.1, .3, .6], np.arange(60) % 4
    met = met[met.any(1)]; kind = kind[: len(met)]
    met[:, 2] = met[:, :2].sum(1) < 1 # every query received one or two
    seen, mean, var = cell_counts._cell_counts(met[met.sum(1) == 1], kind[met.sum(1) == 1], 4)
    one, k = met[met.sum(1) == 1], np.bincount(kind[met.sum(1) == 1], minlength=4)
    for u in range(3):
        h = stats.hypergeom(len(one), int(one[:, u].sum()), k)
        assert np.allclose(mean[u], h.mean()) and np.allclose(var[u], h.var())
        assert np.all(np.abs(cell_counts._p_of_so_few(seen, mean, var)[u] - h.cdf(seen[u]))[h.mean() > 1] < .05)


def test_queries_are_the_unit():
    "Families of prompts assigned together, at random: no hole, although the rows of a query hang together."
    r, world = rng(0, "families"), cp.World.preset("randomised")
    q, pool = world.queries(400)["query"], world.prompts(24)
    fam = r.integers(6, size=400)
    frame = pd.DataFrame([dict(query=t, prompt=pool[4 * f + j], score=float(r.random() < .5)) for t, f in zip(q, fam) for j in range(4)])
    assert ps.gaps(fit(cp.Triplets(frame))).verdict == "ok"


def test_many_prompts_are_grouped_and_named():
    f = ps.gaps(fit(random_log(0, 120, 100)))
    assert f.data.prompts.nunique() <= 12 and f.verdict == "ok" and f.facts["cells"] <= 12 * 6


def test_names_are_the_words_that_set_apart():
    names = cell_counts._typical_words(["sum of apples", "sum of pears", "date of birth", "date of death"], np.array([0, 0, 1, 1]))
    assert names[0].startswith("sum") and names[1].startswith("date")
    assert cell_counts._typical_words(["1 2", "3"], np.array([0, 1])) == ["group 1", "group 2"]


def test_shared_openings_are_dropped():
    assert cell_counts._own_words(["Solve it.", "Solve it. Think hard.", "Solve it. Be brief."]) == ["Solve it.", "… Think hard.", "… Be brief."]
    assert cell_counts._own_words(["One way", "Another way"]) == ["One way", "Another way"]


def test_gaps_refuse(torn):
    with pytest.raises(ValueError, match="a column of the log"): ps.gaps(torn, kinds="colour")
    with pytest.raises(ValueError, match="number of groups >= 2"): ps.gaps(torn, kinds=1)
    with pytest.raises(ValueError, match="constant within a query"): ps.gaps(fit(random_log(0, 60)), kinds="score")
    with pytest.raises(NotIdentifiedError, match="40 different query texts"): ps.gaps(fit(random_log(0, 30)))


# ---- leftover variance

def test_within_a_query_a_known_share_is_left():
    f = ps.residual_variance(causal(random_log(0)))
    assert f.verdict == "ok" and f.facts["route"] == "within"
    assert np.mean(f.facts["components"]) == pytest.approx(.75 * 12 / 11, abs=.04) # 4 drawn without replacement from 12


def test_leftover_is_whole_where_chance_dealt_and_gone_where_the_query_decides():
    for seed in range(3):
        free = ps.residual_variance(fit(random_log(seed, 400, prompts_per_query=1)))
        assert free.verdict == "ok" and free.facts["joint"] > .9
        pinned = ps.residual_variance(fit(follows(seed, slip=.005)[2]))
        assert pinned.verdict != "ok" and pinned.facts["worst"] < .05 and pinned.advice
        assert min(pinned.facts["components"]) >= pinned.facts["worst"] - 1e-9
    assert ps.residual_variance(fit(follows(0, slip=.005)[2]), least=.3).verdict == "stop"


def test_a_prompt_a_row_is_judged_by_components():
    q = cp.World().queries(260)["query"]
    f = ps.residual_variance(fit(cp.Triplets(pd.DataFrame(dict(query=q, prompt=cp.World().prompts(260), score=np.arange(260) % 2.)))))
    assert f.verdict == "ok" and f.facts["joint"] > .9


# ---- extrapolation

def test_prompts_of_the_same_making_are_inside_and_strange_ones_outside():
    for seed in range(4):
        reward = fit(random_log(seed, 200, 24))
        fresh = [p for p in cp.World.preset("randomised", seed=seed).prompts(40, 77) if p not in set(reward.prompts_.prompt)][:4]
        assert extrapolation(reward, fresh).verdict == "ok"
        f = extrapolation(reward, fresh + FOREIGN)
        assert f.verdict == "caution" and f.facts["outside"] and set(f.facts["outside"]) <= set(FOREIGN) and f.advice
        assert f.table.prompt.tolist() == fresh + FOREIGN # in the order given, never ranked
    assert extrapolation(reward, FOREIGN[:1]).verdict == "stop"


def test_a_known_prompt_is_outside_for_queries_that_never_met_it():
    for seed in range(3):
        q, pool, log = follows(seed, slip=.005)
        reward = fit(log)
        ask = lambda d: extrapolation(reward, pool[-1:], queries=q[q.difficulty == d]["query"].tolist()).table.iloc[0]
        assert ask(1).verdict == "inside" and ask(1).inside_share > .9
        assert ask(0).verdict == "extrapolation" and ask(0).distance == 0


def test_extrapolation_refuses(clean):
    with pytest.raises(NotIdentifiedError, match="at least 4"): extrapolation(fit(random_log(0, 100, 3, prompts_per_query=1)), ["New."])
    with pytest.raises(ValueError, match="prompts must hold at least one"): extrapolation(clean, [])


# ---- all of them

def test_every_finding_draws_stores_and_repeats(clean, torn):
    for reward in (clean, torn):
        for make in (power_analysis.power, ps.overlap, ps.gaps, ps.residual_variance, lambda r: extrapolation(r, FOREIGN)):
            f = make(reward)
            back = cp.Finding.from_dict(json.loads(json.dumps(f.to_dict())))
            assert back.plot() is not None and f.threshold and f.reading.count(".") and (f.verdict == "ok" or f.advice)
            assert make(reward).reading == f.reading == back.reading


def test_a_refitted_reward_is_judged_anew():
    reward = fit(torn_log(0, 600))
    assert ps.overlap(reward).verdict == "caution"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reward.fit(random_log(0))
    assert ps.overlap(reward).verdict == "ok"


@pytest.mark.filterwarnings("ignore")
def test_the_paper_s_model_is_judged_too():
    reward = cp.CPOReward(encoder=Words(), d_x=5, d_t=2, estimator=__import__("econml.dml", fromlist=["LinearDML"]).LinearDML(random_state=0)).fit(torn_log(0, 400))
    assert power_analysis.power(reward).facts["route"] == "dml" and ps.overlap(reward).verdict == "caution"
