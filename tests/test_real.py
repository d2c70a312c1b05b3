"Contracts of benchmarks/real.py: what it keeps is of the recordings that ship, its measures are right where the answer is known, and it goes on where it stands."
import json, sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/"benchmarks"))
import real, real_live


def test_the_results_are_of_the_recordings_that_ship():
    found = json.loads(real.OUT.read_text())
    assert found["grids"] == {name: real.fingerprint(name) for name in real.GRIDS}, "run `python benchmarks/real.py`"
    assert {d[0] for d in found["done"]} == {*real.PARTS} and {d[1] for d in found["done"]} == {*real.GRIDS} and found["live"]["rows"]


def test_the_truth_is_in_order_with_itself():
    r = np.random.default_rng(0)
    values, seen = (r.random((30, 12)) < r.random((30, 1))).astype(float), np.arange(12) < 8
    right, upside = real.order(values, values, seen), real.order(-values, values, seen)
    for name in ("tau seen", "tau new", "hard seen"): assert right[name] == pytest.approx(1) and upside[name] == pytest.approx(-1)
    assert right["value"] == values.max(1).mean() > upside["value"]


def test_a_model_without_a_word_on_new_prompts_is_judged_on_the_others():
    values = np.eye(4)[[0, 1, 2, 3, 0]]
    assert not any("new" in name for name in real.order(np.where(np.arange(4) < 3, values, np.nan), values, np.arange(4) < 3))


def test_areas_know_no_ceiling_where_tau_b_has_one():
    "Right orders of few or of many successes: AUC is 1, tau-b is not, and depends on how many there are."
    values = (np.arange(12)[None] < np.array([[1], [6], [12]])).astype(float)
    exact = -np.arange(12.)[None] + np.zeros((3, 1))
    found = real.areas(exact, values)
    assert found[:2] == pytest.approx(1) and np.isnan(found[2])
    one, six, _ = real.tau_b(exact, values)
    assert one < .45 < .7 < six < .8
    r = np.random.default_rng(0)
    predicted, observed = r.integers(0, 4, (5, 12)).astype(float), r.integers(0, 2, (5, 12)).astype(float)
    assert real.areas(predicted, observed) == pytest.approx([roc_auc_score(o, p) for p, o in zip(predicted, observed)])


def test_prompts_are_seen_if_the_log_holds_them():
    held = real.held_out("place", 0)
    log = real.replay(held[0], "one a query", 0)
    row = real.fitted_order(real.Means(), log, held)
    assert row["seen"] == log.prompts["prompt"].nunique() < held[4].sum() and np.isfinite(row["tau seen"]) and "tau new" not in row


@pytest.mark.parametrize("logging", real.LOGGINGS)
def test_models_see_query_prompt_and_score(logging):
    grid = real.held_out("place", 0)[0]
    log = real.replay(grid, logging, 0)
    assert len(log) == real.LOGGINGS[logging][1] * len(grid.values) and log.adaptive == (logging == "adaptive")
    assert {*log.frame} <= {"query_id", "query", "prompt_id", "prompt", "score", "repeat"}


def test_better_prompts_meet_harder_queries():
    grid = real.held_out("place", 0)[0]
    def lean(logging):
        frame = real.replay(grid, logging, 0).frame
        return np.corrcoef(frame["query_id"].map(grid.difficulty), frame["prompt_id"].map(grid.quality))[0, 1]
    assert lean("better to harder") > .3 > abs(lean("random")) * 3


def test_effects_of_parts_are_held_against_all_cells():
    rows = pd.DataFrame(real.part_e("place", 0))
    assert {*rows["of"]} == {*real.wordings("place")} and rows.groupby("of")["truth"].nunique().eq(1).all()
    assert {*rows.loc[rows["logging"] == "one a query", "route"]} == {"naive", "dml"}


def test_rows_of_another_recording_are_forgotten(tmp_path):
    now = {name: real.fingerprint(name) for name in real.GRIDS}
    rows = [dict(part="a", grid=name, split=0) for name in real.GRIDS]
    found = dict(grids=now | dict(topic="another"), done=[["a", name, 0] for name in real.GRIDS], rows=rows, live=dict(rows=[1]))
    real.keep(tmp_path/"real.json", found)
    again = real.kept(tmp_path/"real.json")
    assert again["done"] == [["a", "place", 0], ["a", "sentiment", 0]] and again["rows"] == rows[:2] and again["live"] and again["grids"] == now
    real.keep(tmp_path/"real.json", found | dict(grids=now | dict(place="another")))
    assert real.kept(tmp_path/"real.json")["live"] is None


def test_fresh_queries_are_not_those_of_the_recording():
    known = set(real_live.recorded().log.queries["query"])
    for which in real_live.SEEDS:
        items = real_live.fresh(which).items
        assert len(items) == real_live.QUERIES and not known & set(items["query"])
    assert {*items["kind"]} == {"moved", "office"} and items["difficulty"].min() >= 2
    assert not set(real_live.unseen(200)) & set(real_live.prompt_texts())


def test_answers_that_are_kept_become_a_log():
    q, p = real_live.assigned(0)
    log = real_live.as_log(dict(query=q.tolist(), prompt=p.tolist(), score=[1.] * len(q)))
    assert len(log) == real_live.QUERIES * real_live.EACH and (log.frame.groupby("query_id")["prompt"].nunique() == real_live.EACH).all()
    assert list(log.frame["prompt"]) == list(real_live.prompt_texts().iloc[p])
