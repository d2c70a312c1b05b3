"A finished `cp.optimize` played back: effects as the result has them, every step from the result alone, and what a search that found nothing shows."
import warnings
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import causal_prompts as cp
from causal_prompts.core import rng
from causal_prompts.fresh_gains import FINALIST_COLUMNS, Gain
from causal_prompts.search_replay import effects_by_round, Played, ROUND_VIEWS, rounds_of, SearchReplay, steps_of
from causal_prompts.tasks import world_task
from causal_prompts.views import Evidence, png
from causal_prompts.world_answers import asked, solve
from causal_prompts.world_texts import IDEAS
from causal_prompts.worlds import World

WORLD = World.preset("compositional", seed=3)
SENTENCES = {idea: IDEAS[idea][0] for idea in ("steps", "check", "example", "role", "analogy")}


def answers(messages):
    query, prompt = asked(messages)
    return f"Answer: {solve(WORLD, query, prompt, rng(0, prompt, query))[1]}"

def broken(messages): raise RuntimeError("down")

@pytest.fixture(scope="module")
def result(): return cp.optimize(world_task(WORLD, n=120), answers, parts=SENTENCES, calls=240, show=False)

@pytest.fixture(scope="module")
def nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cp.optimize(world_task(WORLD, n=40), lambda messages: "Answer: none", parts=SENTENCES, calls=60, show=False)

def view(result, step, part=""): return ROUND_VIEWS[steps_of(result)[step - 1][0]](Evidence(result), Played(step, part))


# ---- rounds

def test_after_the_last_round_effects_are_those_of_the_result(result):
    last = effects_by_round(result).query("round == 2").set_index("id")
    own = result.effects.set_index("id").loc[last.index]
    for column in ("effect", "lo", "hi", "se", "q"): assert last[column].to_numpy() == pytest.approx(own[column].to_numpy(), abs=1e-12)
    assert list(last["part"]) == list(own["part"]) and len(last) == len(result.effects)

def test_a_round_knows_nothing_of_later_ones(result):
    frame = result.log.frame.copy()
    later = frame["stage"] == 2
    frame.loc[later, "score"] = 1 - frame.loc[later, "score"]
    turned = replace(result, log=cp.Triplets(frame, result.log.score_range, adaptive=True))
    first, other = (effects_by_round(r) for r in (result, turned))
    def of(table, k): return table[table["round"] == k].set_index("id")["effect"].sort_index()
    assert of(first, 1).to_numpy() == pytest.approx(of(other, 1).to_numpy()) and not np.allclose(of(first, 2), of(other, 2))

def test_intervals_grow_narrower(result):
    width = effects_by_round(result).assign(width=lambda t: t["hi"] - t["lo"]).groupby("round")["width"].mean()
    assert rounds_of(result) == [1, 2] and width[2] < .9 * width[1]

def test_how_often_a_sentence_was_drawn_is_counted_in_the_answers(result):
    table, frame = effects_by_round(result).set_index(["round", "id"]), result.log.frame
    for stage in (1, 2):
        own = frame[frame["stage"] == stage]
        for idea, text in SENTENCES.items(): assert table.loc[(stage, idea), "drawn"] == pytest.approx(own["prompt"].str.contains(text, regex=False).mean())


# ---- steps

def test_every_step_has_a_question_a_picture_a_reading_and_what_to_do(result):
    seen = set()
    assert [kind for kind, _ in steps_of(result)] == ["round", "round", "budget", "fresh", "decision"]
    for step in range(1, 6):
        v = view(result, step)
        assert v.place.startswith(f"Step {step} of 5: ") and v.question.endswith("?") and v.fails and v.threshold and len(v.table)
        assert any(c.isdigit() for c in v.reading) and v.to_dict()["facts"]
        seen.add(png(v))
    assert len(seen) == 5 and not plt.get_fignums()

def test_the_budget_is_the_ledger(result):
    v = view(result, 3)
    once = result.ledger[result.ledger["paid"] == "once"]
    assert v.facts == dict(requests=once["requests"].sum(), lost=0) and v.table["share"].sum() == pytest.approx(1) and v.verdict == "ok"
    ledger = result.ledger.copy()
    ledger.loc[0, "answers"] -= 20
    assert view(replace(result, ledger=ledger), 3).verdict == "caution"
    early = view(replace(result, unfinished="money spent."), 3)
    assert early.verdict == "stop" and early.advice == "It ended early: money spent."

def test_the_finalists_stand_beside_what_was_predicted(result):
    v, best = view(result, 4), result.finalists.iloc[0]
    assert f"{best['gain']:+.2f}" in v.reading and f"{best['predicted']:+.2f}" in v.reading and v.facts["drift"] == pytest.approx(best["predicted"] - best["gain"])
    assert (v.verdict == "ok") == result.finalists["shown"].any() and set(v.data["by"]) == {"predicted by the log", "fresh queries"}
    unasked = result.finalists.assign(n=0, gain=np.nan, lo=-1., hi=1., combined=np.nan, shown=False)
    v = view(replace(result, finalists=unasked), 4)
    assert v.verdict == "stop" and "No fresh query was asked" in v.reading and set(v.data["by"]) == {"predicted by the log"} and png(v)

def test_the_decision_says_what_raw_means_would_have_taken(result):
    v = view(result, 5)
    means = result.log.frame.groupby("prompt")["score"].agg(["mean", "size"])
    first = v.table.iloc[0]
    assert first["score"] == means["mean"].max() and first["n"] == means.loc[means["mean"] == means["mean"].max(), "size"].max() and np.isnan(first["lo"])
    own = v.table.set_index("what")["score"]
    assert own["finalist 1, fresh queries"] - own["baseline, fresh queries"] == pytest.approx(result.finalists["gain"].iloc[0])
    assert v.table.loc[v.table["chosen"], "prompt"].tolist() == [result.prompt] and v.verdict == result.answer.verdict


# ---- searches that found nothing, or were never asked

def test_a_search_that_learned_nothing_has_no_rounds(nothing):
    assert nothing.reward is None and [kind for kind, _ in steps_of(nothing)] == ["budget", "decision"]
    replay = SearchReplay(nothing)
    replay.next.click()
    assert replay.error is None and replay.view.verdict == "caution" and "Keep the baseline" in replay.view.reading
    assert replay.controls["part"].options == (("all of them", ""),)

def test_a_search_without_a_log_has_a_budget_and_a_decision():
    task = world_task(WORLD, n=20)
    costs = pd.DataFrame([dict(use="log, stage 1", requests=16, answers=0, tokens_in=0, tokens_out=0, money=0., paid="once")])
    down = cp.search_results.Result(task, task.baseline, Gain(0., 0., 0.), pd.DataFrame(columns=FINALIST_COLUMNS), costs, unfinished="no answer")
    replay = SearchReplay(down)
    assert replay.view.verdict == "stop"
    replay.next.click()
    assert replay.error is None and "Keep the baseline" in replay.view.reading


# ---- the widget

def test_controls_change_what_is_shown(result):
    s = SearchReplay(result)
    assert s.back.disabled and len(s.controls["part"].options) == 6
    pictures = [s.png]
    for _ in range(4): s.next.click(); pictures.append(s.png)
    assert s.next.disabled and len(set(pictures)) == 5 and s.error is None
    s.controls["step"].value, s.controls["part"].value = 2, "check"
    assert len(s.view.table) == 2 and "Check your" in s.view.reading and s.png not in pictures
    assert s.view.reading.split(" ")[0] in s.figure.value, "the reading is the picture's text"
    assert s.static().view is s.view

def test_a_replay_asks_no_model(result, monkeypatch):
    monkeypatch.setattr(cp.llm.LLM, "ask_all", broken)
    s = SearchReplay(result)
    for _ in range(4): s.next.click(); assert s.error is None

def test_nothing_is_estimated_twice(result, monkeypatch):
    s, asked = SearchReplay(result), []
    monkeypatch.setattr("causal_prompts.search_replay.part_effects", lambda *a: asked.append(a))
    for _ in range(4): s.next.click()
    s.controls["step"].value = 1
    assert s.error is None and not asked

def test_what_is_no_search_is_refused():
    with pytest.raises(TypeError, match="found must be what cp.optimize or cp.search returned, got World"): SearchReplay(WORLD)
