"The graph of a log: what DoWhy identifies, which route a log offers, and one contrast through DoWhy."
import json, logging, os, subprocess, sys, warnings
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from causal_prompts.core import Finding, NotIdentifiedError
from causal_prompts.graph import BACKDOOR, KNOWN, NONE, PromptGraph, WITHIN
from causal_prompts.triplets import Triplets
from causal_prompts.two_prompts import fit_dowhy
from causal_prompts.worlds import World

STEPS, PLAIN = "Think step by step, then answer.", "Answer the question."
GAIN = .1

def made(n=600, per=1, confounded=True, keep=("difficulty",), seed=0, effect=GAIN, **kwargs):
    "A log by hand: harder queries get STEPS more often, STEPS brings `effect`."
    r = np.random.default_rng(seed)
    d = r.uniform(size=n)
    i = np.repeat(np.arange(n), per)
    p = 1 / (1 + np.exp(-6 * (d[i] - .5))) if confounded else np.full(len(i), .5)
    t = (r.uniform(size=len(i)) < p).astype(int)
    y = np.clip(.75 - .5 * d[i] + effect * t + r.normal(0, .08, len(i)), 0, 1)
    frame = pd.DataFrame(dict(query=[f"question {k}" for k in i], prompt=np.array([PLAIN, STEPS])[t], score=y, difficulty=d[i], propensity=np.where(t, p, 1 - p)))
    return Triplets(frame.drop(columns=[c for c in ("difficulty", "propensity") if c not in keep]), **kwargs)

def noise(log, d=2): return np.random.default_rng(9).normal(size=(len(log.queries), d))

# ---- the graph

def test_backdoor_set_is_everything_recorded_before_the_choice():
    g = PromptGraph(covariates=("difficulty", "kind"), draw="day", after="seconds", models=True, hidden=False)
    assert g.backdoor_set() == ["query embedding", "difficulty", "kind", "model", "day"]

def test_hidden_difficulty_leaves_no_backdoor_set_and_the_open_path_is_named():
    g = PromptGraph("difficulty")
    assert g.backdoor_set() is None
    assert g.open_paths == ["prompt ← logging policy ← hidden difficulty → score"]
    t = g.paths()
    assert t.path[t.open].tolist() == g.open_paths and "prompt ← logging policy ← difficulty → score" in set(t.path[~t.open])

def test_open_paths_without_covariates_are_those_of_the_whole_graph():
    for g in (PromptGraph(("a", "b"), draw="c", models=True), PromptGraph(("a", "b"), hidden=False), PromptGraph("a", adaptive=True), PromptGraph("a", within=True, adaptive=True)):
        t = g.paths()
        assert t.path[t.open.astype(bool)].tolist() == g.open_paths

@pytest.mark.parametrize("graph, held", [
    (PromptGraph(propensity=True), ["query embedding", "logging policy"]), # the policy's probabilities stand for what it looked at
    (PromptGraph(within=True), []), (PromptGraph("difficulty", within=True, draw="day"), ["day"]),
    (PromptGraph(within=True, adaptive=True), None), (PromptGraph(hidden=False, adaptive=True), ["query embedding"])])
def test_each_route_in_the_graph(graph, held): assert graph.backdoor_set() == held

def test_many_columns_with_the_same_arrows_are_as_quick_as_one():
    import time
    names = [f"column {i}" for i in range(40)]
    start = time.perf_counter()
    assert PromptGraph(names).backdoor_set() is None and PromptGraph(names, hidden=False).backdoor_set() == ["query embedding", *names]
    assert PromptGraph(names, draw=["a", "b"], after=["c", "d"], adaptive=True, hidden=False).backdoor_set() == ["query embedding", *names, "a", "b"]
    assert PromptGraph(names).open_paths == PromptGraph().open_paths
    assert time.perf_counter() - start < 10 # subset by subset, DoWhy takes half a minute for the first

def test_dowhy_agrees_with_d_separation():
    import networkx as nx
    for g in (PromptGraph(("a", "b"), hidden=False), PromptGraph(("a", "b")), PromptGraph(propensity=True), PromptGraph(within=True, adaptive=True), PromptGraph("a", after="b", hidden=False, adaptive=True)):
        dag, held = g.networkx(), g.backdoor_set()
        assert nx.is_directed_acyclic_graph(dag)
        recorded = {n.node for n in g.nodes.itertuples() if n.recorded} - {"query", "prompt", "score", *g.after}
        dag.remove_edges_from(list(dag.out_edges("prompt")))
        assert nx.is_d_separator(dag, {"prompt"}, {"score"}, recorded if held is None else set(held)) == (held is not None)

def test_nodes_and_edges_speak_of_the_same_things():
    g = PromptGraph(("a", "b"), draw="c", after="d", models=True, adaptive=True, propensity=True)
    assert set(g.edges.source) | set(g.edges.target) == set(g.nodes.node) and g.nodes.node.is_unique
    assert set(g.nodes.role) == {"treatment", "outcome", "observed", "hidden"}
    assert dict(zip(g.nodes.node, g.nodes.recorded))["hidden difficulty"] == False # noqa: E712

@pytest.mark.parametrize("graph", [PromptGraph(), PromptGraph(("difficulty", "kind", "steps"), draw=("day", "user"), after=("seconds", "tokens"), models=True, adaptive=True),
                                   PromptGraph(("difficulty", "kind"), hidden=False, propensity=True), PromptGraph(within=True, adaptive=True, draw="day")])
def test_labels_do_not_overlap(graph):
    fig = graph.plot()
    fig.canvas.draw()
    boxes = [t.get_window_extent().padded(5) for t in fig.axes[0].texts if t.get_text()]
    assert len(boxes) >= 4 and not [1 for a, b in combinations(boxes, 2) if a.overlaps(b)]

def test_slips_in_a_graph():
    with pytest.raises(ValueError, match="one role, got .'day'."): PromptGraph("day", draw="day")
    with pytest.raises(ValueError, match="named like a node of the graph, got .'prompt'."): PromptGraph("prompt")
    with pytest.raises(ValueError, match="hidden must be True, False or 'used', got 'maybe'"): PromptGraph(hidden="maybe")

# ---- a log's graph

def test_from_log_fills_the_slots():
    base = made(60, per=2).frame.assign(day=np.arange(120) % 7, seconds=np.arange(120.), model=np.repeat(["a", "b"], 60))
    g = PromptGraph.from_log(Triplets(base, covariates=["difficulty", "day"], adaptive=True), after="seconds")
    assert g == PromptGraph("difficulty", draw="day", after="seconds", models=True, adaptive=True)
    assert PromptGraph.from_log(made(60, keep=("difficulty", "propensity")), hidden=False) == PromptGraph("difficulty", hidden=False, propensity=True)

def test_a_column_measured_after_the_choice_is_no_covariate():
    log = Triplets(made(60).frame.assign(seconds=np.arange(60.)))
    assert PromptGraph.from_log(log).covariates == ("difficulty", "seconds") # one row a query: nothing shows that it came later
    assert PromptGraph.from_log(log, after="seconds").covariates == ("difficulty",)
    with pytest.raises(ValueError, match="after must name columns of the log, got .'latency'."): PromptGraph.from_log(log, after="latency")

# ---- routes

def test_one_prompt_a_query_is_identified_only_on_a_condition():
    log = made()
    f = PromptGraph.from_log(log).identify(log)
    assert f.verdict == "caution" and f.facts["route"] == BACKDOOR and f.facts["identified"] == "if" and f.facts["backdoor_set"] is None
    assert "finds no backdoor set: prompt ← logging policy ← hidden difficulty → score stays open" in f.details
    assert "only if the query's embedding and the recorded covariates carry everything that both chose the prompt and moved the score" in f.details
    assert all(s in f.advice for s in ("propensity", "same query under at least two prompts", "covariate the policy used")) and len(f.facts["missing"]) == 3
    assert f.table.open.tolist() == ["no", "no", "if"]

def test_nothing_hidden_is_the_readers_word():
    log = made()
    f = PromptGraph.from_log(log, hidden=False).identify(log)
    assert (f.verdict, f.facts["route"], f.facts["backdoor_set"], f.facts["missing"]) == ("ok", BACKDOOR, ["query embedding", "difficulty"], [])
    assert "on your word" in f.details and "E{ E[Y | x, w, t]" in f.facts["formula"] and len(f.facts["assumptions"]) == 3

def test_a_policy_known_to_have_used_something_unrecorded():
    log = made(keep=())
    f = PromptGraph.from_log(log, hidden="used").identify(log)
    assert (f.verdict, f.facts["route"], f.facts["identified"], f.table.open.tolist()) == ("stop", NONE, "no", ["no", "no", "no"])
    assert "record the covariate the policy used" in f.advice and len(f.facts["missing"]) == 3

@pytest.mark.parametrize("hidden", [True, "used"])
def test_known_propensities(hidden):
    log = made(keep=("propensity",))
    f = PromptGraph.from_log(log, hidden=hidden).identify(log)
    assert (f.verdict, f.facts["route"], f.advice) == ("ok", KNOWN, "") and "weighting by 1/propensity" in f.details and "every prompt compared could be drawn" in f.details

def test_a_tiny_propensity_is_named():
    frame = made(keep=("propensity",)).frame
    log = Triplets(frame.assign(propensity=np.where(np.arange(len(frame)) == 5, .0004, frame.propensity)))
    f = PromptGraph.from_log(log).identify(log)
    assert (f.verdict, f.facts["route"]) == ("caution", KNOWN) and "the smallest is 0.0004" in f.details

@pytest.mark.parametrize("hidden", [True, "used"])
def test_within_query(hidden):
    log = made(300, per=3, keep=())
    f = PromptGraph.from_log(log, hidden=hidden).identify(log)
    assert (f.verdict, f.facts["route"]) == ("ok", WITHIN) and f"{f.facts['n_multi']} queries" in f.details
    assert all(s in f.details for s in ("adds the same to the score", "does not spill over", "luck of that query's other draws"))

def test_what_differs_between_draws_must_be_held_fixed_inside_a_query():
    frame = made(300, per=3, keep=()).frame
    log = Triplets(frame.assign(day=np.arange(len(frame)) % 7), covariates=["day"])
    f = PromptGraph.from_log(log).identify(log)
    assert (f.verdict, f.facts["route"]) == ("ok", WITHIN) and "(day must be held fixed as well" in f.details

def test_an_adaptive_log_breaks_the_within_query_route():
    log = made(300, per=3, keep=(), adaptive=True)
    f = PromptGraph.from_log(log).identify(log)
    assert (f.verdict, f.facts["route"]) == ("caution", WITHIN) and "prompt ← logging policy ← earlier scores → score stays open inside a query" in f.details and "before any of them is scored" in f.advice
    log = made(300, per=3, keep=("propensity",), adaptive=True)
    f = PromptGraph.from_log(log).identify(log)
    assert (f.verdict, f.facts["route"]) == ("caution", KNOWN) and "given the history" in f.details

def test_a_few_repeated_queries_do_not_speak_for_a_log():
    single = made(500, keep=()).frame
    twice = single.iloc[:40].assign(prompt=single.prompt.iloc[:40].map({STEPS: PLAIN, PLAIN: STEPS}))
    log = Triplets(pd.concat([single, twice])[["query", "prompt", "score"]])
    f = PromptGraph.from_log(log).identify(log)
    assert f.facts["route"] == BACKDOOR and f.facts["n_multi"] == 40 and f.verdict == "caution"
    f = PromptGraph.from_log(log, hidden="used").identify(log)
    assert f.facts["route"] == WITHIN and f.verdict == "caution" and "these are few" in f.details

def test_nothing_to_compare():
    log = Triplets(made(60).frame.assign(prompt=PLAIN)[["query", "prompt", "score"]])
    f = PromptGraph.from_log(log).identify(log)
    assert (f.verdict, f.facts["route"]) == ("stop", NONE) and "one prompt only" in f.details and "still serves for" in f.advice

def test_a_design_asked_before_is_used():
    log = made()
    facts = log.design(permutations=19).facts
    faked = Finding("d", pd.DataFrame(), "ok", "", facts=facts | dict(kind="repeated", n_multi=333, share_multi=.555))
    assert "333 queries (56%)" in PromptGraph.from_log(log).identify(log, design=faked).details

def test_graph_and_log_must_match():
    log = made(60)
    with pytest.raises(ValueError, match="must stand in the log, got .'kind'."): PromptGraph("kind").identify(log)
    with pytest.raises(ValueError, match="needs the log's column 'propensity', got none"): PromptGraph(propensity=True).identify(log)
    with pytest.raises(ValueError, match="agree on adaptive, got True and False"): PromptGraph(adaptive=True).identify(log)

def test_findings_survive_json():
    log = made(keep=("difficulty", "propensity"))
    g = PromptGraph.from_log(log)
    for f in (g.identify(log), g.estimate(log, STEPS, PLAIN, query_features=noise(log))):
        again = Finding.from_dict(json.loads(json.dumps(f.to_dict())))
        assert again.reading == f.reading and again.facts == f.facts and again.table.equals(f.table)

# ---- DoWhy

def test_dowhy_model_has_columns_for_nodes_and_the_rest_unobserved(caplog):
    log = made(keep=("difficulty", "propensity"))
    g = PromptGraph.from_log(log, hidden=False)
    frame = g.contrast(log, STEPS, PLAIN, query_features=noise(log))
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        model = g.dowhy(frame)
        estimand = model.identify_effect(method_name="maximal-adjustment")
    held = sorted(estimand.get_backdoor_variables("backdoor"))
    assert [c for c in held if "__bend_" not in c] == ["w_difficulty", "x_0", "x_1"] and not caplog.records
    assert {c for c in held if "__bend_" in c} == {c for c in frame if c.startswith("w_difficulty__bend_")} != set()
    assert logging.getLogger("dowhy.causal_model").level == logging.NOTSET
    assert {c for c in model._data if "__bend_" not in c} == {"prompt", "score", "x_0", "x_1", "w_difficulty"}

def test_a_prompt_may_be_a_vector():
    r = np.random.default_rng(0)
    frame = pd.DataFrame(r.normal(size=(80, 6)), columns=["x_0", "x_1", "z_0", "z_1", "w_difficulty", "score"])
    model = PromptGraph("difficulty", hidden=False).dowhy(frame, treatment=["z_0", "z_1"])
    assert sorted(model.identify_effect(method_name="maximal-adjustment").get_backdoor_variables("backdoor")) == ["w_difficulty", "x_0", "x_1"]
    with pytest.raises(ValueError, match="must be columns of the frame, got .'z_9'."): PromptGraph().dowhy(frame, treatment="z_9")

def test_a_column_named_like_a_helper_is_kept_apart():
    log = Triplets(made().frame.assign(weight=np.arange(600.) % 5)[["query", "prompt", "score", "weight"]])
    g = PromptGraph.from_log(log, hidden=False)
    model = g.dowhy(g.contrast(log, STEPS, PLAIN, query_features=noise(log)))
    assert "w_weight" in model._data and "weight" not in model._data

def test_without_a_backdoor_set_nothing_is_estimated():
    log = made()
    g = PromptGraph.from_log(log)
    frame = g.contrast(log, STEPS, PLAIN, query_features=noise(log))
    with pytest.raises(NotIdentifiedError, match="finds no backdoor set"): fit_dowhy(g.dowhy(frame), None)
    with pytest.raises(NotIdentifiedError, match="columns x_"): fit_dowhy(replace(g, hidden=False).dowhy(frame.drop(columns=["x_0", "x_1"])), None)

# ---- one contrast

def own_fit(frame, modifiers, weight=None):
    "The same estimator without DoWhy."
    from econml.dml import LinearDML
    from sklearn.linear_model import LogisticRegression, RidgeCV
    own = LinearDML(model_y=RidgeCV(np.logspace(-2, 4, 13)), model_t=LogisticRegression(max_iter=1000), discrete_treatment=True, cv=5, random_state=0)
    W = frame[sorted(c for c in frame if c[:2] in ("x_", "w_"))]
    return own.fit(frame.score, frame.prompt, X=frame[modifiers], W=W, groups=frame.query_id, sample_weight=weight)

@pytest.mark.parametrize("keep", [("difficulty",), ("propensity",)])
def test_estimate_is_econmls_own(keep):
    log = made(per=2, keep=keep)
    g = PromptGraph.from_log(log)
    frame = g.contrast(log, STEPS, PLAIN, query_features=noise(log))
    modifiers = [c for c in frame if c[:2] in ("x_", "w_") and "__bend_" not in c]
    weight = frame.weight.to_numpy() if "propensity" in keep else None
    theta = own_fit(frame, modifiers, weight).effect(frame[modifiers], T0=0, T1=1)
    f = g.estimate(log, STEPS, PLAIN, query_features=noise(log))
    assert abs(np.average(theta, weights=weight) - f.facts["effect"]) < 1e-9

def test_interval_is_econmls_where_queries_are_seen_once():
    log = made(800)
    g = PromptGraph.from_log(log)
    frame = g.contrast(log, STEPS, PLAIN, query_features=noise(log))
    modifiers = ["w_difficulty"]
    lo, hi = own_fit(frame, modifiers).ate_interval(frame[modifiers], T0=0, T1=1)
    f = g.estimate(log, STEPS, PLAIN, query_features=noise(log), modifiers=modifiers).facts
    assert abs((f["hi"] - f["lo"]) / (hi - lo) - 1) < .05

def test_interval_counts_queries_not_rows():
    once = made(400)
    thrice = Triplets(pd.concat([once.frame.drop(columns="repeat")] * 3))
    se = [PromptGraph.from_log(l).estimate(l, STEPS, PLAIN, query_features=noise(l)).facts for l in (once, thrice)]
    assert se[1]["rows"] == 3 * se[0]["rows"] and se[1]["queries"] == se[0]["queries"] and .9 < se[1]["se"] / se[0]["se"] < 1.15

def test_recovers_what_the_naive_difference_misses():
    log = made(1500)
    f = PromptGraph.from_log(log).estimate(log, STEPS, PLAIN, query_features=noise(log)).facts
    assert abs(f["effect"] - GAIN) < 3 * f["se"] and f["se"] < .01
    assert abs(f["naive"] - GAIN) > .1
    log = made(1500, confounded=False, keep=())
    f = PromptGraph.from_log(log).estimate(log, STEPS, PLAIN, query_features=noise(log)).facts
    assert abs(f["effect"] - GAIN) < 3 * f["se"] and abs(f["naive"] - GAIN) < .04

def test_known_propensities_recover_it_with_difficulty_hidden():
    log = made(1500, keep=("propensity",))
    f = PromptGraph.from_log(log).estimate(log, STEPS, PLAIN, query_features=noise(log))
    assert f.verdict == "ok" and abs(f.facts["effect"] - GAIN) < 3 * f.facts["se"] and abs(f.facts["naive"] - GAIN) > .1
    assert f.facts["worth"] < f.facts["rows"] and f.table.estimate.tolist() == ["naive", "weighted", "adjusted"]

def test_the_comparison_within_a_query_judges_the_adjusted_one():
    log = made(600, per=3, keep=())
    f = PromptGraph.from_log(log, hidden=False).estimate(log, STEPS, PLAIN, query_features=noise(log))
    assert f.verdict == "stop" and "believe the comparison within a query" in f.details
    within = f.table.set_index("estimate").loc["within query"]
    assert abs(within.effect - GAIN) < 3 * within.se
    log = made(600, per=3)
    f = PromptGraph.from_log(log).estimate(log, STEPS, PLAIN, query_features=noise(log))
    assert f.verdict == "ok" and "which agrees" in f.details
    log = made(600, per=3, adaptive=True)
    assert PromptGraph.from_log(log).estimate(log, STEPS, PLAIN, query_features=noise(log)).verdict == "caution"

def test_verdict_without_a_judge():
    log = made(keep=())
    say = lambda hidden: PromptGraph.from_log(log, hidden=hidden).estimate(log, STEPS, PLAIN, query_features=noise(log)).verdict
    assert [say(h) for h in (True, False, "used")] == ["caution", "ok", "stop"]

@pytest.mark.parametrize("preset, per, size", [("randomised", 2, 4), ("confounded-hidden", 3, 8), ("confounded-visible", 1, 4)])
def test_worlds(preset, per, size):
    world = World.preset(preset)
    log = world.log(2000, per, size, covariates=True)
    ranked = log.prompts.assign(truth=world.quality(list(log.prompts.prompt))).sort_values("truth")
    worst, best = ranked.prompt.iloc[0], ranked.prompt.iloc[-1]
    truth = world.effect(list(log.queries["query"]), [best], worst).mean()
    told = PromptGraph.from_log(log).estimate(log, best, worst, query_features=noise(log)).table.set_index("estimate")
    naive, adjusted = told.loc["naive"], told.loc["adjusted"]
    assert abs(adjusted.effect - truth) < 3 * adjusted.se < .2
    assert (abs(naive.effect - truth) < 3 * naive.se) == (preset == "randomised")

def test_estimators_by_class_and_instance():
    from econml.dml import CausalForestDML, LinearDML
    from econml.metalearners import TLearner
    from sklearn.linear_model import LogisticRegression, RidgeCV
    log = made(1000)
    g = PromptGraph.from_log(log)
    mine = LinearDML(model_y=RidgeCV(), model_t=LogisticRegression(), discrete_treatment=True, random_state=1)
    say = lambda e: g.estimate(log, STEPS, PLAIN, estimator=e, query_features=noise(log), modifiers=["w_difficulty"])
    for e in (mine, CausalForestDML(model_y=RidgeCV(), model_t=LogisticRegression(), discrete_treatment=True, n_estimators=100, random_state=0), TLearner(models=RidgeCV())):
        f = say(e)
        assert abs(f.facts["effect"] - GAIN) < .04 and f.facts["estimator"] == type(e).__name__
        if isinstance(e, CausalForestDML): forest = f
    assert "no interval" in f.details and np.isnan(f.facts["lo"]) and f.verdict == "caution" # the T-learner has none
    assert "no interval, as TLearner gives none" in f.details, "and the reader learns why"
    said = lambda f: f.table.set_index("estimate")["interval"]
    assert said(f)["adjusted"] == "none: TLearner gives none" and said(f)["naive"] == "clustered by query"
    assert said(forest)["adjusted"] == "takes rows as independent" and said(say(mine))["adjusted"] == "clustered by query"
    with pytest.raises(AttributeError, match="_d_t_in"): mine.effect(np.zeros((1, 1)), T0=0, T1=1) # not fitted: a copy was
    assert abs(say(LinearDML).facts["effect"] - say(None).facts["effect"]) < 1e-12

def test_prompts_by_id_and_an_encoder():
    class Letters:
        def encode(self, texts, role="query"):
            assert role == "query"
            return np.array([[t.count(c) for c in "0123456789"] for t in texts], float)
    log = made(300)
    ids = log.prompts.set_index("prompt").prompt_id
    g = PromptGraph.from_log(log)
    frame = g.contrast(log, ids[STEPS], PLAIN, encoder=Letters(), components=3)
    assert [c for c in frame if c.startswith("x_")] == ["x_0", "x_1", "x_2"] and (frame.prompt == (log.frame.prompt == STEPS).astype(int)).all()

def test_covariates_of_every_kind():
    frame = made(200, keep=()).frame.assign(level=np.where(np.arange(200) % 7 == 0, np.nan, np.arange(200) % 3), kind=np.array(["a", "b", "c", None], object)[np.arange(200) % 4], same="x", flag=np.arange(200) % 2 == 0)
    log = Triplets(frame)
    g = PromptGraph.from_log(log, hidden=False)
    out = g.contrast(log, STEPS, PLAIN, query_features=noise(log))
    W = out[[c for c in out if c.startswith("w_")]]
    assert {"w_level", "w_level__missing", "w_flag"} <= set(W) and sum(c.startswith("w_kind__") for c in W) == 3 and not any("same" in c for c in W)
    assert np.isfinite(W.to_numpy()).all() and np.allclose(W.mean(), 0) and np.allclose(W.std(ddof=0), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f = g.estimate(log, STEPS, PLAIN, query_features=noise(log), modifiers=["w_level"])
    assert set(W) <= set(f.facts["backdoor_set"])

def test_missing_scores_are_left_out():
    frame = made(300).frame
    frame.loc[::4, "score"] = np.nan
    log = Triplets(frame)
    f = PromptGraph.from_log(log).estimate(log, STEPS, PLAIN, query_features=noise(log))
    assert f.facts["rows"] == 225

def test_refusals_of_a_contrast():
    log = made(60)
    g = PromptGraph.from_log(log)
    with pytest.raises(ValueError, match="treated must be a prompt of the log.*nearest are .'Think step by step, then answer.'"): g.estimate(log, "Think step by step and answer.", PLAIN)
    with pytest.raises(ValueError, match="two different prompts"): g.estimate(log, STEPS, STEPS)
    with pytest.raises(ValueError, match=r"shape \(n_queries, d\) = \(60, d\).*got shape \(59, 2\)"): g.estimate(log, STEPS, PLAIN, query_features=noise(log)[1:])
    with pytest.raises(ValueError, match="varies between the contrast's queries, got 2 columns without variation"): g.estimate(log, STEPS, PLAIN, query_features=np.ones((60, 2)))
    few = log.take(np.r_[np.flatnonzero(log.frame.prompt == STEPS)[:12], np.flatnonzero(log.frame.prompt == PLAIN)])
    with pytest.raises(ValueError, match="at least 20 scored rows, got 12 under treated and"): PromptGraph.from_log(few).estimate(few, STEPS, PLAIN, query_features=noise(few))

# ---- in another process

SCRIPT = """
import sys
from causal_prompts.graph import PromptGraph
PromptGraph('difficulty').plot()
assert not {'dowhy', 'econml', 'torch'} & set(sys.modules), 'imported too early'
PromptGraph('difficulty').backdoor_set()
assert 'econml' not in sys.modules and 'torch' not in sys.modules, 'identification needs no estimator'
sys.path.insert(0, sys.argv[1])
from test_graph import made, noise, STEPS, PLAIN
log = made(200)
print(repr(PromptGraph.from_log(log).estimate(log, STEPS, PLAIN, query_features=noise(log, 12)).facts['effect']))
"""

def test_imports_are_late_and_numbers_do_not_depend_on_the_process():
    other = subprocess.run([sys.executable, "-c", SCRIPT, str(Path(__file__).parent)], env=os.environ | dict(PYTHONHASHSEED="20"), capture_output=True, text=True, timeout=120)
    assert (other.returncode, other.stderr) == (0, "")
    log = made(200)
    assert float(other.stdout) == PromptGraph.from_log(log).estimate(log, STEPS, PLAIN, query_features=noise(log, 12)).facts["effect"]
