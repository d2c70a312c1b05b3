"Contracts of benchmarks/choice.py: choices are right where the answer is known, the ceiling knows luck from skill, and a second run goes on where the first stands."
import json, sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import causal_prompts as cp
from causal_prompts.core import rng
from fakes import Words

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/"benchmarks"))
import choice

PROMPTS = [f"Prompt number {i}: {w}." for i, w in enumerate(("think", "count", "sing", "check", "guess", "wait"))]


def grid(repeats=1, noise=0., n=60):
    "A full grid of known chances: the prompt that is best for a kind of query is right, the others are not; a share of the answers is turned."
    random = rng(0, "grid", repeats)
    rows = [dict(query_id=f"q{i}", query=f"question number {i} of kind {i % 2}", kind="ab"[i % 2], prompt_id=f"p{j}", prompt=p, repeat=r,
                 score=float((j in (0, 1 + i % 2)) != (random.random() < noise))) for i in range(n) for j, p in enumerate(PROMPTS) for r in range(repeats)]
    return cp.Triplets(pd.DataFrame(rows))


# ---- choices

def test_a_choice_a_kind_is_the_best_of_its_kind_and_of_all_where_the_kind_is_new():
    V = np.array([[1., 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, .5]])
    found = choice.by_kind(lambda at: V[at].mean(0), np.array(["a", "a", "a", "b"]), ["b", "a", "never seen"])
    assert found.tolist() == [1, 0, 0]

def test_a_prompt_that_was_not_logged_is_not_chosen_by_raw_means():
    values = pd.DataFrame([[np.nan, .2, .1], [np.nan, .4, np.nan]], index=["x", "y"])
    found = choice.raw_chosen(values, pd.Series(dict(x="a", y="b")), ["a", "b"])
    assert found["one, mean"].tolist() == [1, 1] and found["one a kind, mean"].tolist() == [1, 1]

def test_kinds_are_worth_knowing_where_they_matter():
    s = choice.Split(grid(), 0)
    known = {(r["by"], r["way"]): r["value"] for r in choice.known(s)}
    assert known["all training cells", "one, mean"] == 1 == known["oracle a query", ""] and known["random prompt", ""] == pytest.approx(2 / 6)
    less = grid().frame[lambda t: t["prompt_id"] != "p0"] # without the prompt that is right for both kinds
    known = {(r["by"], r["way"]): r["value"] for r in choice.known(choice.Split(cp.Triplets(less), 0))}
    assert known["all training cells", "one a kind, mean"] == 1 == known["best per kind, hindsight", ""] and known["all training cells", "one, mean"] < .7

def test_held_out_queries_are_not_in_the_grid_that_is_logged():
    s = choice.Split(grid(), 3)
    assert len(s.queries) == 24 and not set(s.queries) & set(s.grid.log.frame["query"])


# ---- the ceiling

def test_the_ceiling_is_the_oracle_where_answers_repeat_and_less_where_they_are_noise():
    same = choice.Split(grid(repeats=4), 0)
    assert same.ceiling() == (1, 1) and same.V.max(1).mean() == 1
    noisy = choice.Split(grid(repeats=4, noise=.5), 0)
    assert noisy.ceiling()[0] == pytest.approx(.5, abs=.12) and noisy.V.max(1).mean() > .7
    assert np.isnan(choice.Split(grid(), 0).ceiling()).all()

def test_the_ceiling_looks_at_queries_that_were_asked_twice_under_every_prompt():
    frame = grid(repeats=2).frame
    once = (frame["repeat"] == 1) & (frame["query_id"].str[1:].astype(int) > 20)
    some = choice.Split(cp.Triplets(frame[~once]), 0)
    assert some.ceiling() == (1, 1), "the others have one answer, and say nothing"
    assert np.isnan(choice.Split(cp.Triplets(frame[~((frame["repeat"] == 1) & (frame["prompt_id"] == "p3"))]), 0).ceiling()).all()


# ---- drift

def test_a_right_prediction_does_not_drift_and_a_lucky_one_does():
    s = SimpleNamespace(V=rng(0, "drift").random((50, 30)))
    exact = s.V.mean(0) - s.V.mean()
    right = choice.drift(s, "random", "x", "mean", exact)
    assert [r["top"] for r in right] == [1, 5, 20] and all(r["predicted"] == pytest.approx(r["observed"]) for r in right) and right[0]["observed"] == pytest.approx(exact.max())
    lucky = choice.drift(s, "random", "x", "mean", exact + rng(1, "luck").normal(size=30))
    assert lucky[0]["predicted"] > 1 + lucky[0]["observed"]
    assert choice.drift(s, "random", "x", "lower bound", exact, -exact)[0]["observed"] == pytest.approx(exact.min())

def test_what_was_not_logged_comes_last():
    s = SimpleNamespace(V=np.array([[1., 0, 0, .5, .5, .5]]))
    assert choice.drift(s, "random", "x", "mean", np.array([np.nan, .3, .2, .1, 0, -.1]))[0]["predicted"] == .3


# ---- a step

@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(choice.cp, "load_dataset", lambda name: grid())
    made = choice.Split.models
    def models(self, parts="auto"): return {name: model.set_params(encoder=Words()) for name, model in made(self, parts).items()}
    monkeypatch.setattr(choice.Split, "models", models)

def test_a_step_has_every_way_under_both_logs(small):
    name, split, _, rows = choice.one_step("svamp-llama2", 1)
    logged = pd.DataFrame([r for r in rows if r["part"] == "logged"])
    assert name == "svamp-llama2" and {r["split"] for r in rows} == {1} and not any(r["part"] == "recombined" for r in rows)
    ways = {(by, way) for by, way in zip(logged["by"], logged["way"])}
    both = {f"{which}, {how}" for which in ("one", "one a kind", "one a query") for how in ("mean", "lower bound")}
    assert {way for by, way in ways if by == "causal"} == both and {way for by, way in ways if by == "naive"} == {w for w in both if w.endswith("mean")}
    assert (logged.groupby("logging").size() == len(ways)).all() and logged["value"].between(0, 1).all()
    assert logged.query("logging == 'random' and by == 'causal' and way == 'one, mean'")["value"].item() == 1, "the prompt that is right for both kinds"
    assert json.loads(json.dumps(rows)) == rows

def test_recombined_prompts_are_not_in_the_log(monkeypatch):
    seen, real = [], choice.replay
    monkeypatch.setattr(choice, "replay", lambda g, logging, split: seen.append(set(real(g, logging, split).frame["prompt"])) or real(g, logging, split))
    def first(reward, log, queries, prompts):
        seen.append(set(prompts))
        return {"one, mean": np.zeros(len(queries), int)}
    monkeypatch.setattr(choice, "chosen", first)
    made = choice.Split.models
    monkeypatch.setattr(choice.Split, "models", lambda self, parts="auto": {"causal": made(self, parts)["causal"].set_params(encoder=Words())})
    log = cp.load_dataset("smol-place")
    rows = choice.recombined(choice.Split(log, 0), "smol-place")
    logged, mine, new, both = seen[:4]
    assert logged <= mine and not logged & new and mine | new == both and len(mine) == len(new) == 32
    assert {r["among"] for r in rows} == {"logged", "new", "both"} and {r["part"] for r in rows} == {"recombined"}


# ---- running and keeping

def test_a_second_run_goes_on_where_the_first_stands(small, tmp_path, monkeypatch):
    out, asked = tmp_path/"choice.json", []
    monkeypatch.setattr(choice, "at_hand", lambda: ["smol-place", "svamp-llama2"])
    monkeypatch.setattr(choice, "one_step", lambda name, split: asked.append((name, split)) or (name, split, 0., [dict(set=name, split=split, part="known", by="x", way="", value=.5)]))
    def run(*more): monkeypatch.setattr(sys, "argv", ["choice.py", "--out", str(out), *more]); choice.main()
    run("--splits", "1")
    run("--splits", "2")
    assert asked == [("smol-place", 0), ("svamp-llama2", 0), ("smol-place", 1), ("svamp-llama2", 1)]
    monkeypatch.setattr(choice, "at_hand", lambda: ["smol-place"])
    monkeypatch.setattr(choice, "fingerprint", lambda name: "another")
    found = choice.kept(out)
    assert found["done"] == [["svamp-llama2", 0], ["svamp-llama2", 1]] == [[r["set"], r["split"]] for r in found["rows"]], "changed: measured anew; not at hand: kept"

def test_the_results_are_of_the_recordings_that_ship():
    found = json.loads(choice.OUT.read_text(encoding="utf-8"))
    for name in choice.SHIPPED:
        assert found["sets"][name] == choice.fingerprint(name), "run `python benchmarks/choice.py`"
        assert {d[1] for d in found["done"] if d[0] == name} == {*range(10)}
