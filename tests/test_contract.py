"What a model of one's own is owed: the example of CONTRIBUTING.md goes through the whole interface, or is refused with what is missing; so are proposers, importers and tasks of one's own."
from copy import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import causal_prompts as cp
from causal_prompts import benchmarks
from causal_prompts.benchmarks import load_task
from causal_prompts.confounding_steps import ConfoundingSteps
from causal_prompts.core import LogError
from causal_prompts.coverage import coverage
from causal_prompts.diagnostics import checkup
from causal_prompts.evaluation import ranking
from causal_prompts.inference import contrasts
from causal_prompts.kernel import ProductKernel
from causal_prompts.prompt_contrasts import promise_variance
from causal_prompts.refits import judged, refit
from causal_prompts.reporting import report
from causal_prompts.residuals import residuals, row_source
from causal_prompts.rewards import Reward
from causal_prompts.routes import Backdoor, Between, Nothing, Route, Weighted, Within
from causal_prompts.stability import embedding_stability
from causal_prompts.tool_logs import as_log
from causal_prompts.treesearch import search
from fakes import Words, examples

@pytest.fixture(scope="module")
def world(): return cp.World.preset("confounded-hidden")

@pytest.fixture(scope="module")
def log(world): return world.log(n_queries=200, n_prompts=6, prompts_per_query=3, seed=1)

@pytest.fixture(scope="module")
def reward(world, log): return examples()["OwnMean"](encoder=Words(), baseline=world.baseline).fit(log)


def test_effect_support_and_best_follow_from_levels(reward, log):
    prompts = list(log.prompts.prompt)
    effect = reward.effect(["one query", "another"], [*prompts, "a prompt nobody tried"])
    assert effect.shape == (2, len(prompts) + 1) and np.isfinite(effect).all()
    assert effect[0, prompts.index(reward.baseline_)] == 0
    assert reward.support(prompts).inside.all()
    assert (reward.best(["one query"]).prompt == prompts[effect[0, :-1].argmax()]).all()

def test_its_average_effects_are_the_contrasts_of_its_route(reward, log, world):
    table = reward.average_effect()
    rows, y = reward.residuals()
    expected = contrasts(rows, y, rows.prompts.index(world.baseline)).set_index("prompt").effect
    assert rows.route == "naive" and np.allclose(table.set_index("prompt").effect, expected)
    means = log.frame.groupby("prompt").score.mean()
    assert np.allclose(table.set_index("prompt").effect, (means - means[world.baseline])[table.prompt])
    new = reward.average_effect(["a prompt nobody tried"]).iloc[0]
    assert new.how == "not in the log, predicted" and np.isfinite(new.effect) and np.isnan(new.se)

@pytest.mark.parametrize("route", [Nothing, Within, Backdoor])
def test_another_declaration_is_another_route(world, log, route):
    OwnMean = examples()["OwnMean"]
    class Declared(OwnMean): route_ = route.name
    mine = Declared(encoder=Words(), baseline=world.baseline).fit(log)
    rows = route().open(mine)
    left = route().residual(rows, rows.y)
    assert Route.declared_by(mine) == route.name and mine.residuals()[0].route == route.name
    if not route.learns_score: assert np.allclose(mine.residuals()[1], left)
    assert mine.average_effect().effect.notna().all()

def test_it_is_ranked_searched_checked_and_reported(reward, world, tmp_path):
    fresh = world.log(n_queries=60, n_prompts=6, prompts_per_query=3, seed=2)
    ranks = ranking(reward, fresh)
    study = search(reward, ["one query"], proposer=examples()["politer"], rounds=1, children=2)
    found = checkup(reward, only=["balance", "assignment", "placebo prompts", "encoder"])
    assert ranks.verdict in ("ok", "not shown", "caution", "stop") and len(study.candidates)
    assert not found.skipped.why.str.startswith("FAILED").any() if len(found.skipped) else True
    path = report(found.sections(), tmp_path/"report.html", lead=found.summary)
    assert "own mean" in Path(path).read_text(encoding="utf-8")

def test_the_checkup_breaks_on_none_of_its_checks(reward, recwarn):
    found = checkup(reward, skip=["embedding stability", "latent treatments", "refuters"])
    assert list(found.skipped.loc[found.skipped.why.str.startswith("FAILED"), "why"]) == []
    assert len(found) > 8

def test_what_it_does_not_give_is_refused_by_name(reward, tmp_path):
    with pytest.raises(ValueError, match=r"OwnMean has no state\(\) and cannot be saved without pickle"): reward.save(tmp_path/"r.zip")
    with pytest.raises(ValueError, match="OwnMean has no interval"): reward.effect_interval(["q"], ["p"])
    class Bare(Reward):
        name, route_, encoder, baseline = "bare", "naive", Words(), None
        def fit(self, log): return self.open(log)
    bare = Bare().fit(reward.log_)
    for ask in (lambda: bare.effect(["q"], ["p"]), lambda: bare.best(["q"]), lambda: bare.average_effect(["new"])):
        with pytest.raises(NotImplementedError, match=r"Bare must define levels\(queries, prompts\)"): ask()
    assert bare.average_effect().effect.notna().all(), "averages of logged prompts need no predictions"

def of_ones_own(**also):
    "A model as a newcomer writes it, with what he forgot."
    class Mine(Reward):
        name, route_ = "mine", also.pop("route_", "naive")
        def __init__(self, encoder=None, baseline=None): self.encoder, self.baseline = encoder, baseline
        def fit(self, log): return self.open(log)
    for name, value in also.items(): setattr(Mine, name, value)
    return Mine

def forgets_return(self, log): self.open(log)
def forgets_open(self, log): return self
def gives_another(self, log): return "fitted"

@pytest.mark.parametrize("fit, match", [
    (forgets_return, r"Slip.fit must return self, got NoneType; end it with `return self`"), (gives_another, "Slip.fit must return self, got str"),
    (forgets_open, r"Slip.fit must open the log, got none opened; begin it with `self.open\(log\)`")])
def test_a_fit_that_forgets_what_it_owes_is_refused_when_it_is_called(fit, match, log):
    Slip = type("Slip", (of_ones_own(),), dict(fit=fit, __init__=of_ones_own().__init__))
    with pytest.raises(TypeError, match=match): Slip(Words()).fit(log)

@pytest.mark.parametrize("route", ["whitin", "between", 3])
def test_a_route_that_there_is_not_is_refused_at_fit(route, log):
    with pytest.raises(ValueError, match=rf"Mine must declare what its effects hold fixed, got route_={route!r}; set route_ in the class .* 'within' \(the query itself\)"):
        of_ones_own(route_=route)(Words()).fit(log)

def test_a_model_without_an_encoder_or_a_baseline_is_told_to_take_them(log):
    with pytest.raises(TypeError, match=r"Mine must have the attributes encoder and baseline, got no encoder and no baseline; take them in __init__\(self, encoder=None, baseline=None\)"):
        of_ones_own(__init__=lambda self: None)().fit(log)
    def only_encoder(self, encoder=None): self.encoder = encoder
    with pytest.raises(TypeError, match="got no baseline; take them"): of_ones_own(__init__=only_encoder)(Words()).fit(log)

def test_an_interval_that_is_promised_is_to_be_given(log):
    with pytest.raises(TypeError, match=r"Mine says has_interval = True and must define effect_interval\(queries, prompts, alpha\) -> \(lo, hi\), got none"):
        of_ones_own(has_interval=True)(Words()).fit(log)
    given = of_ones_own(has_interval=True, effect_interval=lambda self, queries, prompts, alpha=.05: None)
    assert given(Words()).fit(log).has_interval

@pytest.mark.parametrize("model", [of_ones_own(), cp.NaiveReward])
def test_a_warning_of_a_fit_points_at_the_line_that_called_it(model, log):
    with pytest.warns(UserWarning, match="is not among the log's prompts") as caught: model(encoder=Words(), baseline="A prompt nobody tried.").fit(log)
    assert {w.filename for w in caught if "not among" in str(w.message)} == {__file__}

@pytest.mark.parametrize("proposer, match", [
    (lambda prompt, n: [prompt], r"proposer must be callable as \(query, prompt, n, rng\) and return texts, got <lambda>\(prompt, n\) \(too many positional arguments\); rng is a numpy"),
    (lambda query, prompt, n, rng, temperature: [prompt], "missing a required argument: 'temperature'"), (lambda *, query, prompt, n, rng: [prompt], "too many positional")])
def test_a_proposer_that_takes_something_else_is_refused_before_the_search(reward, proposer, match):
    with pytest.raises(TypeError, match=match): search(reward, ["one query"], proposer=proposer)

@pytest.mark.parametrize("row, match", [
    (dict(query="q", prompt="p"), r"cards\.jsonl \(rows counted from 0\)[\s\S]*row 1, column 'score': got no score, only query, prompt; give every row"), (dict(prompt="p", score=1., error=None), "row 1, column 'query': got no query, only prompt, score, error"),
    (dict(question="q", item=dict(id=7)), "no query, prompt, score, only question, item, made from")])
def test_rows_of_an_importer_that_lack_a_field_are_told_by_field_and_row(row, match):
    with pytest.raises(LogError, match=match): as_log([dict(query="q", prompt="p", score=1.), row], "cards.jsonl")

@pytest.mark.parametrize("rows, match", [(pd.DataFrame(dict(query=["q"])), "rows must be a list of dicts, got a DataFrame of .*; of a table, give table.to_dict"), ([("q", "p", 1.)], r"got a list of \['tuple'\]")])
def test_rows_of_another_kind_are_refused(rows, match):
    with pytest.raises(TypeError, match=match): as_log(rows, "cards.jsonl")

def test_a_benchmark_that_nobody_knows_is_told_what_there_are(monkeypatch):
    with pytest.raises(ValueError, match="name must be one of gsm8k, math, bbh:boolean_expressions, .*, got 'gms8k'"): load_task("gms8k")
    monkeypatch.setattr(benchmarks, "TASKS", [*benchmarks.TASKS, "capitals"])
    with pytest.raises(ValueError, match="the benchmark 'capitals' must have its source in _SOURCES, got gsm8k, math, bbh; enter it there, or make a Task"): load_task("capitals")

def test_the_same_model_can_be_fitted_to_another_log(reward, log):
    again = reward.refitted(log.take(np.arange(len(log)) < 300))
    assert again is not reward and len(again.log_) == 300 < len(reward.log_) and again.baseline_ == reward.baseline_

def test_the_route_by_which_effects_are_judged(reward, log, world):
    assert reward.sound_route == "within"
    causal = cp.CausalReward("dml", learner="kernel", folds=0, encoder=Words(), baseline=world.baseline).fit(log)
    assert causal.sound_route == "dml" and causal.sound_route.learns_prompt


def test_levels_of_another_shape_are_refused(log, world):
    class Turned(Reward):
        name, route_ = "turned", "naive"
        def __init__(self, encoder=None, baseline=None): self.encoder, self.baseline = encoder, baseline
        def fit(self, log): return self.open(log)
        def levels(self, queries, prompts): return np.zeros((len(prompts), len(queries)))
    model = Turned(Words(), world.baseline).fit(log)
    with pytest.raises(ValueError, match=r"Turned.levels must give \(queries, prompts\) = \(2, 4\) scores, got \(4, 2\)"): model.effect(["a", "b"], ["x", "y", "z"])

def test_the_baseline_is_the_prompt_called_so_else_the_one_logged_most_often(log):
    frame = log.frame.assign(prompt_id=log.frame["prompt"].map({p: f"v{i}" for i, p in enumerate(log.prompts["prompt"])}))
    rare = frame["prompt"].value_counts().index[-1]
    named = cp.Triplets(frame.assign(prompt_id=frame["prompt_id"].mask(frame["prompt"] == rare, "the baseline")))
    OwnMean = examples()["OwnMean"]
    assert OwnMean(encoder=Words()).fit(named).baseline_ == rare == cp.study_inputs.baseline_of(named)[0]
    assert OwnMean(encoder=Words()).fit(cp.Triplets(frame)).baseline_ == frame["prompt"].value_counts().index[0] or frame["prompt"].value_counts().iloc[:2].nunique() == 1

def test_a_route_of_ones_own_goes_through_the_checks_in_the_words_of_its_kind(reward, monkeypatch):
    monkeypatch.setattr(Route, "kinds", dict(Route.kinds))
    class Nearby(Backdoor):
        name, title = "nearby", "queries nearby"
    assert Route.of("nearby").choose({"naive": 1, "dml": 2}) == 2 and Within().choose({"within": 3}) == 3
    with pytest.raises(StopIteration): Nothing().choose({"within": 3})
    monkeypatch.setattr(type(reward), "route_", "nearby")
    found = checkup(reward, only=["balance", "assignment", "placebo outcomes", "within and between"])
    assert not len(found.skipped) or not found.skipped["why"].str.startswith("FAILED").any()

def test_a_route_of_ones_own_says_which_logs_open_it_and_stands_where_its_assumptions_put_it(world, monkeypatch):
    monkeypatch.setattr(Route, "kinds", dict(Route.kinds))
    drawn, bare = (world.log(n_queries=120, n_prompts=4, prompts_per_query=2, propensities=told) for told in (True, False))
    assert [o.route for o in Route.open_for(drawn, wrong="")] == ["weighted", "within", "dml"] and [o.route for o in Route.open_for(drawn, wrong="They do not hold.")] == ["within", "dml"]
    assert Route.computable(drawn) == ["naive", "dml", "within", "weighted"]
    class Lottery(Nothing):
        name, title, assumes = "lottery", "one lottery", 1.5
        def opens(self, log, facts, wrong): return "one lottery chose" if facts["known_propensity"] else ""
        def computes(self, log): return "propensity" in log.frame
    assert [(o.route, bool(o.why)) for o in Route.open_for(drawn, wrong="")] == [("weighted", True), ("lottery", True), ("within", True), ("dml", True)]
    assert [o.route for o in Route.open_for(bare)] == ["within", "dml"]
    assert Route.computable(drawn) == ["naive", "dml", "within", "lottery", "weighted"] and Route.computable(bare) == ["naive", "dml", "within"]
    assert Route.titled("one lottery") == "lottery"

def test_a_route_of_ones_own_stands_in_the_graph_and_among_the_steps(reward, log, world, monkeypatch):
    monkeypatch.setattr(Route, "kinds", dict(Route.kinds))
    class Nearby(Backdoor):
        name, title, assumes = "nearby", "queries nearby", 2.5
    table = cp.graph.PromptGraph.from_log(log).identify(log).table.set_index("route")
    assert list(table.index) == [kind.title for kind in (Weighted, Within, Nearby, Backdoor)] and table.loc[Nearby.title, "open"] == table.loc[Backdoor.title, "open"]
    steps = ConfoundingSteps(reward, adjust="nearby")
    for _ in range(4): steps.next.click()
    assert steps.error is None and "query traits" in steps.view.reading and steps.view.facts["effect"] != 0

def test_a_ranker_without_a_race_predicts_points_of_the_score(world):
    log = world.log(n_queries=300, n_prompts=6, prompts_per_query=6)
    model = cp.CausalReward(learner="ranker", folds=0, encoder=Words(), baseline=world.baseline).fit(log)
    assert model.model_.slope != 1 and np.abs(model.effect(log.queries["query"], log.prompts["prompt"])).max() <= 1


# --- abilities beyond the contract are declared, and asked for by their names

OwnMean = examples()["OwnMean"]

class OwnKernel(OwnMean):
    "The example with a learner whose weights have a posterior, and everything that it can do with it declared."
    route_, component_kind, has_interval, refits_rows, takes_routes = "within", "kernel", True, True, True

    def fit(self, log):
        self.open(log)
        rows, left = self.residuals()
        self.learner_ = ProductKernel(10, 4).fit(rows, rows.y - left)
        return self

    def levels(self, queries, prompts):
        return self.learner_.score(queries, self.encode(queries, "query"), prompts, self.encode(prompts, "prompt"))

    def effect_interval(self, queries, prompts, alpha=.05):
        base = [self.baseline_]
        v = self.learner_.variance(queries, self.encode(queries, "query"), prompts, self.encode(prompts, "prompt"), base[0], self.encode(base, "prompt"))
        effect, half = self.effect(queries, prompts), stats.norm.ppf(1 - alpha / 2) * np.sqrt(v)
        return effect - half, effect + half

    @property
    def posterior(self): return self.learner_

    def refitted_rows(self, rows, m):
        out = copy(self)
        out.learner_ = ProductKernel(10, 4).fit(rows, m)
        return out

@pytest.fixture(scope="module")
def big(world): return world.log(n_queries=300, n_prompts=10, prompts_per_query=4, seed=3)

@pytest.fixture(scope="module")
def able(world, big): return OwnKernel(encoder=Words(), baseline=world.baseline).fit(big)

@pytest.fixture(scope="module")
def plain(world, big): return OwnMean(encoder=Words(), baseline=world.baseline).fit(big)

def test_declared_components_and_posterior_enter_the_stability_of_the_ranking(able, plain):
    ours, theirs = (embedding_stability(model, splits=3, draws=19).table["ranking"].tolist() for model in (able, plain))
    assert ours[-1] == "the model: components and indicators" and theirs[-1].startswith("all ")

def test_declared_components_choose_what_is_swept(able, plain, monkeypatch):
    import causal_prompts.components as page
    seen = []
    monkeypatch.setattr(page, "_swept", lambda reward, judge, kind, *_: seen.append(kind) or ())
    monkeypatch.setattr(page, "_dimensions_finding", lambda judge, kind, alpha: kind)
    assert [page.dimensions(model) for model in (able, plain)] == seen == ["kernel", "linear"]
    class Round(OwnMean): component_kind = "round"
    with pytest.raises(ValueError, match="kind must be 'kernel' or 'linear', got 'round'"): page.dimensions(Round(Words(), plain.baseline_).fit(plain.log_))

def test_the_error_of_a_promise_is_the_models_where_it_has_a_posterior_else_the_logs(able, plain, big):
    frame = big.frame[big.frame["prompt"] == big.prompts["prompt"].iloc[3]]
    h = np.full(len(frame), 1 / len(frame))
    queries, base = frame["query"].unique().tolist(), [able.baseline_]
    share = frame["query"].value_counts(normalize=True)[queries].to_numpy()
    vectors = [able.encode(texts, role) for texts, role in ((queries, "query"), (frame["prompt"].iloc[:1], "prompt"), (base, "prompt"))]
    exact = able.posterior.mean_variance(queries, vectors[0], share, frame["prompt"].iloc[:1].tolist(), vectors[1], base[0], vectors[2])
    assert promise_variance(able, frame, h) == pytest.approx(exact[0])
    assert promise_variance(plain, frame, h) != pytest.approx(exact[0]) and promise_variance(plain, frame, h) > 0

def test_a_model_that_can_be_fitted_to_rows_is_and_another_to_a_part_of_the_log(able, plain):
    for model, rows in ((able, len(able.log_)), (plain, len(plain.log_) // 2)):
        keep = np.arange(len(model.log_)) < len(model.log_) // 2
        again = refit(model, judged(model), keep)
        assert type(again) is type(model) and again is not model and len(again.log_) == rows
    assert able.posterior is not refit(able, judged(able), keep).posterior
    class Promising(OwnMean): refits_rows = True
    promising = Promising(Words(), plain.baseline_).fit(plain.log_)
    with pytest.raises(NotImplementedError, match=r"Promising must define refitted_rows\(rows, m\) where it says refits_rows = True, got none"): refit(promising, judged(promising), keep)

def test_the_intervals_of_a_posterior_are_held_against_other_queries(able):
    found = coverage(able)
    assert found.verdict in ("ok", "not shown", "caution", "stop") and np.isfinite(found.table.select_dtypes(float).to_numpy()).any()

def test_a_model_that_takes_routes_stands_for_itself_where_routes_are_tried(able, plain):
    assert row_source(able) is able and isinstance(row_source(plain), cp.CausalReward)
    tried = copy(able)
    tried.route_ = "naive"
    assert np.allclose(tried.residuals()[1], able.residuals("naive")[1]) and tried.residuals()[0].route == "naive"

def test_a_route_of_means_says_of_which_residuals(reward, monkeypatch):
    monkeypatch.setattr(Route, "kinds", dict(Route.kinds))
    class Means(Between):
        name, mean_of = "means", Nothing
    r, rows = residuals(reward, route="means"), residuals(reward, route="naive")
    n = len(np.unique(rows.rows.g))
    assert len(r.y) == len(r.t) == n < len(rows.y) and np.allclose(r.y, np.bincount(rows.rows.g, rows.y) / np.bincount(rows.rows.g))
