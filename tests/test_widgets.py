"Widgets without a browser: views are pure, every control changes what is shown, errors surface, nothing is computed twice."
import base64, io
from dataclasses import FrozenInstanceError, replace
from html import escape
from types import SimpleNamespace

import ipywidgets as W
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from causal_prompts import confounding_steps, effect_views, step_views
from causal_prompts.causal import CausalReward
from causal_prompts.confounding_steps import ConfoundingSteps, VIEWS
from causal_prompts.core import as_markdown, Finding, NotIdentifiedError
from causal_prompts.effect_views import effect_view, routes, stand_in
from causal_prompts.inference import contrasts
from causal_prompts.naive import NaiveReward
from causal_prompts.one_contrast import adjustments, Contrast, contrast, start_state
from causal_prompts.positivity_explorer import PAGES, Positivity, positivity_view, PositivityExplorer
from causal_prompts.proposers import EditProposer
from causal_prompts.residuals import residuals
from causal_prompts.routes import Route
from causal_prompts.step_views import explained, outcome_residuals, naive_view, outcome_view, STEPS, treatment_view
from causal_prompts.tree_replay import _search_verdict, Replay, search_view
from causal_prompts.treesearch import search
from causal_prompts.triplets import Triplets
from causal_prompts.views import Evidence, Page, png, View
from causal_prompts.widgets import SearchReplay
from causal_prompts.worlds import World
from fakes import Ideas, Words


def fit(world, n=300, kind=CausalReward, n_prompts=6, seed=0, **log):
    made = dict(learner="kernel", folds=0) if kind is CausalReward else dict(learner="ridge")
    return kind(encoder=Words(), baseline=world.baseline, **made).fit(world.log(n, n_prompts=n_prompts, seed=seed, **log))

@pytest.fixture(scope="module")
def world(): return World.preset("confounded-hidden")

@pytest.fixture(scope="module")
def reward(world): return fit(world, propensities=True)

@pytest.fixture(scope="module")
def evidence(reward): return Evidence(reward)

@pytest.fixture(scope="module")
def state(reward): return replace(start_state(reward), adjust="within")

@pytest.fixture(scope="module")
def study(world): return search(fit(world, n_prompts=40, prompts_per_query=8), world.queries(3, seed=9)["query"], EditProposer(world.rephrasings))

@pytest.fixture(autouse=True)
def light(monkeypatch):
    "Twenty shuffles are enough to see the page."
    whole = effect_views.refute
    monkeypatch.setattr(effect_views, "refute", lambda reward, prompt: whole(reward, prompt, simulations=20))


# ---- one contrast

@pytest.mark.parametrize("route", list(Route.by_assumption()))
def test_a_contrast_is_the_slope_of_its_residuals_and_agrees_with_contrasts(reward, state, route):
    c, r = contrast(reward, state.prompt, state.baseline, route), residuals(reward, route=route)
    t = contrasts(r.rows, r.y, r.rows.prompts.index(state.baseline)).set_index("prompt").loc[state.prompt]
    slope = (c.w * c.t) @ c.y / ((c.w * c.t) @ c.t)
    used = len(np.unique(c.cluster))
    assert slope == pytest.approx(t.effect, abs=1e-9) and c.effect == t.effect
    assert np.sqrt((c.psi**2).sum() * used / (used - 1)) == pytest.approx(t.se, rel=1e-9)


def test_the_reward_s_own_route_gives_its_average_effect(reward, state):
    own = contrast(reward, state.prompt, reward.baseline_)
    assert own.route == reward.route_ and own.effect == pytest.approx(reward.average_effect([state.prompt])["effect"][0])


def test_the_naive_contrast_is_the_difference_of_means(reward, state):
    mean = reward.log_.frame.groupby("prompt")["score"].mean()
    assert contrast(reward, state.prompt, state.baseline, "naive").effect == pytest.approx(mean[state.prompt] - mean[state.baseline])


def test_within_recovers_what_naive_misses(world):
    big = fit(world, 1500)
    gain = pd.Series(world.effect(big.log_.queries["query"], world.prompts(6)).mean(0), index=world.prompts(6))
    best = gain.idxmax()
    own, naive = (contrast(big, best, world.baseline, r) for r in ("within", "naive"))
    assert abs(own.effect - gain[best]) < 3 * own.se and naive.effect < gain[best] - 2 * naive.se


def test_a_contrast_says_what_is_wrong(reward, state):
    with pytest.raises(ValueError, match="two different prompts, got .* twice; choose another"): contrast(reward, state.prompt, state.prompt)
    with pytest.raises(ValueError, match="baseline must be a prompt of the log, got 'never seen'"): contrast(reward, state.prompt, "never seen")


def test_only_what_the_log_allows_is_offered(reward, world):
    assert adjustments(reward) == ["naive", "dml", "within", "weighted"]
    single = fit(World.preset("confounded-visible"))
    assert adjustments(single) == ["naive", "dml"]
    with pytest.raises(NotIdentifiedError, match="No propensity"): contrast(reward_without(reward), start_state(reward).prompt, world.baseline, "weighted")

def reward_without(reward):
    "The same log without its propensities."
    return CausalReward(learner="kernel", folds=0, encoder=Words(), baseline=reward.baseline_).fit(Triplets(reward.log_.frame.drop(columns="propensity")))


@pytest.mark.parametrize("route", list(Route.by_assumption()))
def test_a_stand_in_has_the_residuals_of_its_route(reward, state, route):
    s = stand_in(reward, state.prompt, route)
    r, own = residuals(s), residuals(reward, route=route)
    assert r.route == route and np.allclose(r.y, own.y) and s.baseline_ == state.prompt
    assert reward.baseline_ != state.prompt and reward.route_ == residuals(reward).route, "the reward itself stays as it was"


# ---- views

def test_every_step_is_a_finding_with_question_figure_reading_and_what_to_do(evidence, state):
    seen = set()
    for i, view in enumerate(VIEWS, 1):
        v = view(evidence, state)
        assert isinstance(v, Finding) and v.place == f"Step {i} of 6: {STEPS[i - 1][0]}" and v.question.endswith("?") and v.fails and v.threshold and len(v.table)
        assert any(c.isdigit() for c in v.reading) and v.to_dict()["facts"]
        seen.add(png(v))
    assert len(seen) == 6 and not plt.get_fignums(), "six pictures, and no figure left open"


def test_views_change_neither_state_nor_evidence(evidence, state):
    before = replace(state)
    first = [view(evidence, state).reading for view in VIEWS]
    assert first == [view(evidence, state).reading for view in VIEWS] and state == before
    with pytest.raises(FrozenInstanceError): state.step = 3


def test_nothing_is_computed_twice(evidence, state):
    e = evidence
    for view in VIEWS: view(e, state)
    kept = dict(e._kept)
    for view in (*VIEWS, *VIEWS[::-1]): view(e, state)
    assert {k: id(v) for k, v in e._kept.items()} == {k: id(v) for k, v in kept.items()}


def test_a_refusal_is_kept_too(reward):
    calls = []
    def refuse(reward): calls.append(1); raise NotIdentifiedError("No.", "nothing.")
    e = Evidence(reward)
    for _ in range(3):
        with pytest.raises(NotIdentifiedError, match="No."): e.get(refuse)
    assert len(calls) == 1


def test_the_naive_picture_is_fair_only_in_a_crossed_or_randomised_log(world):
    crossed = fit(World(confounding=0, prompts_per_query=6), 60)
    assert naive_view(Evidence(crossed), start_state(crossed)).verdict == "ok"
    drawn = fit(World(confounding=0, prompts_per_query=1), 300, propensities=True)
    assert naive_view(Evidence(drawn), start_state(drawn)).verdict == "ok"
    seen = fit(World.preset("confounded-visible"), 400)
    v = naive_view(Evidence(seen), start_state(seen))
    assert v.verdict == "stop" and "can be predicted from the query" in v.reading


@pytest.mark.parametrize("seed", range(3))
def test_the_effect_page_stops_where_a_route_that_assumes_less_disagrees(world, seed):
    e = Evidence(fit(world, 900, seed=seed))
    gain = pd.Series(world.quality(world.prompts(6, seed)), index=world.prompts(6, seed))
    s = replace(start_state(e.reward), prompt=gain.idxmax(), baseline=gain.idxmin())
    assert effect_view(e, replace(s, adjust="within")).verdict == "ok"
    for wrong in ("naive", "dml"):
        v = effect_view(e, replace(s, adjust=wrong))
        assert v.verdict == "stop" and "believe that one" in v.reading


@pytest.mark.parametrize("seed", range(3))
def test_the_effect_page_is_quiet_in_a_crossed_log(seed):
    e = Evidence(fit(World(confounding=0, prompts_per_query=6, seed=seed), 150, seed=seed))
    for a in ("naive", "within"): assert effect_view(e, replace(start_state(e.reward), adjust=a)).verdict == "ok"


def test_routes_are_paired(evidence, state):
    t = routes(evidence, state).set_index("adjust")
    assert t.difference["within"] == 0 and t.difference["naive"] == pytest.approx(t.effect["naive"] - t.effect["within"])
    apart = np.hypot(*[(t.hi - t.lo)[k] / 3.92 for k in ("naive", "within")])
    assert 0 < t.difference_se["naive"] < apart


def test_expectations_show_the_harder_queries(world):
    big = Evidence(fit(world, 1200))
    gain = pd.Series(world.quality(world.prompts(6)), index=world.prompts(6))
    v = outcome_view(big, replace(start_state(big.reward), prompt=gain.idxmax(), baseline=gain.idxmin(), adjust="within"))
    assert v.facts["gap"] < -.05 and v.facts["explained"] > 0, "better prompts were used on queries of which less was expected"
    nothing = outcome_view(big, replace(start_state(big.reward), adjust="naive"))
    assert nothing.facts["explained"] == pytest.approx(0, abs=1e-9) and nothing.verdict == "caution" and png(nothing)


def test_explained_is_corrected_for_the_means_that_were_fitted():
    rng = np.random.default_rng(0)
    cluster, y = np.repeat(np.arange(500), 4), rng.normal(size=2000)
    mean = (np.bincount(cluster, y) / 4)[cluster]
    c = Contrast(Route.of("within"), 0, 0, 0, 0, y - mean, y, np.ones(2000), cluster, y > 0, y < 0, mean, np.zeros((500, 1)))
    assert abs(explained(c, y)) < .05 and 1 - np.var(y - mean) / np.var(y) > .2


def test_little_choice_left_is_said(reward, state):
    c = contrast(reward, state.prompt, state.baseline, "within")
    assert outcome_residuals(c, c) == pytest.approx(dict(share=1., queries=outcome_residuals(c, c)["queries"], heaviest=outcome_residuals(c, c)["heaviest"]))
    pinned = replace(c, t=np.where(c.cluster < 5, c.t, 0.))
    found = outcome_residuals(pinned, c)
    assert found["queries"] <= 5 and step_views._left_verdict(found) == "stop"
    assert step_views._left_verdict(dict(share=.1, queries=400)) == "caution" and step_views._left_verdict(dict(share=.9, queries=400)) == "ok"
    assert treatment_view(Evidence(reward), state).verdict == "ok"


def test_the_graph_page_judges_the_chosen_adjustment(evidence, state):
    verdicts = {a: VIEWS[1](evidence, replace(state, adjust=a)).verdict for a in Route.by_assumption()}
    assert verdicts["within"] == verdicts["weighted"] == "ok" and verdicts["dml"] == "caution"


# ---- the shell, without IPython

def moved(shell, act):
    "Whether the picture became another one."
    before = shell.png
    act()
    assert shell.error is None, shell.error
    assert base64.b64encode(shell.png).decode() in shell.figure.value and shell.note.value == ""
    return shell.png != before

def set_to(control, value): return lambda: setattr(control, "value", value)


@pytest.fixture
def steps(reward, evidence):
    s = ConfoundingSteps(reward, adjust="within")
    s.evidence = evidence
    return s


def test_next_and_back_walk_all_steps_and_lock_only_at_the_ends(steps):
    assert steps.back.disabled and not steps.next.disabled
    for i in range(2, 7):
        assert moved(steps, steps.next.click) and steps.state.step == i and f"Step {i} of 6" in steps.head.value and not steps.back.disabled
    assert steps.next.disabled and moved(steps, steps.back.click) and steps.state.step == 5


def test_next_stays_open_on_a_stop(world):
    s = ConfoundingSteps(fit(World.preset("confounded-visible"), 400))
    assert s.view.verdict == "stop" and not s.next.disabled and ">stop<" in s.head.value and "border-left:5px" in s.text.value
    s.next.click()
    assert s.state.step == 2 and s.error is None


@pytest.mark.parametrize("step", range(1, 7))
def test_every_control_matters(steps, step):
    steps.controls["step"].value = step
    others = [p for _, p in steps.controls["prompt"].options if p not in (steps.state.prompt, steps.state.baseline)]
    named = {"prompt": others[0], "baseline": others[1]}
    for name, value in named.items():
        reading = steps.view.reading
        changed = moved(steps, set_to(steps.controls[name], value))
        assert (changed or step == 2) and (steps.view.reading != reading or step == 2 or name == "baseline"), f"{name} at step {step}"
    reading = steps.view.reading
    changed = moved(steps, set_to(steps.controls["adjust"], "dml"))
    assert (changed and steps.view.reading != reading) or step in (1, 2) and (step == 1 or steps.view.reading != reading)


def test_what_to_do_if_it_fails_is_always_there(steps):
    for i in range(1, 7):
        steps.controls["step"].value = i
        assert "If it fails:" in steps.text.value and STEPS[i - 1][2][:30] in steps.text.value
        assert ("border-left:5px" in steps.text.value) == (steps.view.verdict != "ok")


def test_an_error_is_shown_and_leaves_no_stale_picture(steps):
    steps.controls["baseline"].value = steps.state.prompt
    assert isinstance(steps.error, ValueError) and 'role="alert"' in steps.note.value and "two different prompts" in steps.note.value
    assert steps.figure.value == steps.text.value == steps.table.value == steps.head.value == "" and steps.view is None
    with pytest.raises(ValueError, match="two different prompts"): steps.static()
    assert moved(steps, set_to(steps.controls["baseline"], steps.evidence.reward.baseline_)) and steps.view is not None


def test_an_error_deep_inside_is_shown(steps, monkeypatch):
    monkeypatch.setattr(confounding_steps, "VIEWS", (lambda evidence, state: 1 / 0,) * 6)
    steps.next.click()
    assert "ZeroDivisionError: division by zero" in steps.note.value and isinstance(steps.error, ZeroDivisionError)


def test_a_picture_that_cannot_be_drawn_is_an_error_too(steps, monkeypatch):
    monkeypatch.setattr(confounding_steps, "VIEWS", (lambda evidence, state: View("?", pd.DataFrame(dict(a=[1])), "ok", "r", form=("no such form", {})),) * 6)
    steps.next.click()
    assert "no such form" in steps.note.value


def test_what_does_not_apply_is_said_in_its_own_words(steps, monkeypatch):
    def refuse(evidence, state): raise NotIdentifiedError("One prompt only.", "its mean.")
    monkeypatch.setattr(confounding_steps, "VIEWS", (refuse,) * 6)
    steps.next.click()
    assert "This does not apply here: One prompt only." in steps.note.value and "Error" not in steps.note.value


def walk(w):
    yield w
    for c in getattr(w, "children", ()): yield from walk(c)

@pytest.fixture
def shells(steps, reward, study): return [steps, PositivityExplorer(reward), SearchReplay(study)]


def test_every_control_has_a_label_a_tooltip_and_answers_once(shells):
    for s in shells:
        for w in walk(s):
            if isinstance(w, (W.Dropdown, W.IntSlider, W.FloatSlider, W.Text, W.Checkbox, W.Button)): assert w.description and w.tooltip and w.tabbable is not False, w
            if isinstance(w, (W.IntSlider, W.FloatSlider, W.Text)): assert w.continuous_update is False
        assert not any(isinstance(w, W.Output) for w in walk(s)) and s.figure.layout.height is None and s.figure.layout.min_height.endswith("px")


def test_the_object_itself_is_what_is_shown(shells, monkeypatch):
    for s in shells:
        monkeypatch.setenv("IN_TEST", "1")
        assert s._repr_mimebundle_() == {"text/plain": repr(s)}, "a run that stores outputs stores one line"
        monkeypatch.delenv("IN_TEST")
        bundle = s._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in bundle and type(s).__name__ in bundle["text/plain"] and s.view.place in repr(s)


def test_pictures_speak_to_those_who_do_not_see_them(shells):
    for s in shells:
        assert f'alt="{escape(s.view.reading)}"' in s.figure.value
        assert Image.open(io.BytesIO(s.png)).size[0] > 300


def test_a_static_page_has_figure_table_and_text(shells, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    for s in shells:
        page = s.static()
        assert isinstance(page, Page) and page.figure.axes and page.table is s.view.table and s.view.reading in repr(page)
        page._ipython_display_()
        assert s.view.fails in shown[-2].data and shown[-1].data == png(s.view, dpi=80)
    assert not plt.get_fignums()


def test_texts_from_the_log_are_escaped():
    draw = np.random.default_rng(0)
    f = pd.DataFrame([dict(query=f"q{i}", prompt=p, score=float(draw.integers(2))) for i in range(40) for p in ("<b>bold</b> & \"quoted\"", "plain", "<script>alert(1)</script>")])
    s = ConfoundingSteps(CausalReward(learner="kernel", folds=0, encoder=Words()).fit(Triplets(f)))
    for part in (s.head, s.text, s.table, s.figure): assert "<script>" not in part.value and "<b>" not in part.value
    assert "&lt;" in s.table.value


def test_any_reward_model_will_do(world):
    s = ConfoundingSteps(fit(world, kind=NaiveReward))
    assert s.state.adjust == "naive"
    for i in range(2, 7):
        s.next.click()
        assert s.error is None, (i, s.error)


def test_a_log_with_one_prompt_worth_comparing_is_refused(world):
    alone = SimpleNamespace(log_=Triplets(pd.DataFrame(dict(query=["a", "b", "c"], prompt=["x", "x", "y"], score=[0., 1., 1.]))), baseline_="x", name="naive")
    with pytest.raises(NotIdentifiedError, match="Fewer than two prompts"): start_state(alone)


# ---- positivity

@pytest.fixture(scope="module")
def thin(): return Evidence(fit(World.preset("no-overlap"), 500))


def test_every_page_of_the_explorer(thin):
    views = [positivity_view(thin, Positivity(page=i, proposed="Sing a song about whales.")) for i in range(1, 6)]
    assert [v.place for v in views] == [f"Page {i} of 5: {PAGES[i - 1][0]}" for i in range(1, 6)] and len({png(v) for v in views}) == 5
    assert views[0].verdict != "ok" and views[2].verdict != "ok", "half of the pairs could never meet"
    assert views[4].verdict == "stop" and "unlike any in the log" in views[4].reading


def test_a_known_prompt_is_no_extrapolation_and_a_randomised_log_has_no_gaps(world):
    e = Evidence(fit(World.preset("randomised"), 400))
    assert positivity_view(e, Positivity(page=5, proposed=world.baseline)).verdict == "ok"
    for page in (1, 2, 3): assert positivity_view(e, Positivity(page=page)).verdict == "ok"


def test_one_prompt_and_one_component(thin):
    prompt = thin.reward.baseline_
    one, part = (positivity_view(thin, Positivity(what=w)) for w in (prompt, "component 2"))
    whole = positivity_view(thin, Positivity())
    assert one.table.prompt.tolist() == [prompt] and one.reading != whole.reading and 0 < part.facts["left"] <= 1 and len({png(v) for v in (one, part, whole)}) == 3
    assert f"{whole.table.set_index('prompt').supported[prompt]:.0%} of the queries" in one.reading
    assert set(positivity_view(thin, Positivity(what=prompt, page=3)).table["prompts"]) == {prompt}
    with pytest.raises(ValueError, match="components, got component 60; choose a smaller one"): positivity_view(thin, Positivity(what="component 60"))


def test_the_explorer_s_controls(thin):
    s = PositivityExplorer(thin.reward)
    s.evidence = thin
    assert moved(s, set_to(s.controls["floor"], .3)) and moved(s, set_to(s.controls["what"], thin.reward.baseline_)) and moved(s, set_to(s.controls["what"], "component 1"))
    for _ in range(3): assert moved(s, s.next.click)
    assert moved(s, set_to(s.controls["components"], 2)) and len(s.view.table) == 4
    s.next.click()
    assert s.next.disabled and moved(s, set_to(s.controls["proposed"], "Sing a song about whales.")) and s.view.verdict == "stop"
    s.controls["proposed"].value = "  "
    assert "type a prompt into the box" in s.note.value


# ---- the search

def test_the_tree_grows_round_by_round(study):
    tree = study.tree(1)
    for k in range(4):
        v = search_view(study, Replay(query=1, round=k))
        assert set(v.table["id"]) == set(tree.loc[tree["round"] == k, "id"]) and len(v.data) == (tree["round"] <= k).sum() and v.place == f"Round {k} of 3" and png(v)
    assert v.facts["best"] == tree.loc[tree["rank"] == 1, "id"].item() and v.facts["gain"] == pytest.approx(study.best["effect"][1])


def test_only_inside_the_support(study):
    for q in range(3): assert search_view(study, Replay(q, 3, inside=True)).facts["gain"] == pytest.approx(study.winners(inside=True)["effect"][q])


def test_the_search_is_judged_as_the_study_judges():
    base = dict(round=1, lo=.1, hi=.3, inside=True)
    judge = lambda state=Replay(round=1), **kw: _search_verdict(pd.Series(base | kw), state)[0]
    assert judge() == "ok" and judge(inside=False) == "caution" and judge(lo=-.1) == "stop" and judge(round=0) == "stop" and judge(lo=np.nan) == "caution" and judge(Replay(), round=0) == "caution"


def test_the_replay_s_controls(study):
    s = SearchReplay(study)
    assert s.back.disabled
    for _ in range(3): assert moved(s, s.next.click)
    assert s.next.disabled and moved(s, set_to(s.controls["query"], 2)) and moved(s, set_to(s.controls["round"], 1))
    outside = next(q for q in range(3) if not study.best["inside"][q]) if not study.best["inside"].all() else None
    s.controls["query"].value, s.controls["round"].value = outside or 0, 3
    assert moved(s, set_to(s.controls["inside"], True)) == (outside is not None)


def test_widgets_import_nothing_above_them_and_are_imported_by_none():
    from causal_prompts import widgets as top
    assert not {"report", "cli"} & set(vars(top))

@pytest.mark.parametrize("hostile", ["<script>x()</script>", "<img src=x onerror=x()>", "a* **b**", "[x](javascript:x())", "$x$ `y`", "\n\n# big"])
def test_a_page_that_stands_still_shows_texts_as_they_are(monkeypatch, hostile):
    import IPython.display
    shown = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    page = Page(View("Which?", pd.DataFrame(dict(prompt=[hostile])), "ok", hostile, hostile, hostile, place=hostile, fails=hostile))
    page._ipython_display_()
    place, *_, fails = shown[0].data.split("\n\n")
    assert place == f"*{as_markdown(hostile)}*" and fails == f"*If it fails:* {as_markdown(hostile)}"
    assert hostile not in shown[0].data
