"Collecting: designs with the probabilities they claim, missing kept missing, stop and resume, SIGKILL at any moment, what is missing and what was retried."
import json, multiprocessing, random, re, time, warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fakes import Words

from causal_prompts.causal import CausalReward
from causal_prompts.chat_format import request_id
from causal_prompts.collecting import Collection, plan, run
from causal_prompts.connection import Limits
from causal_prompts.core import content_id, mean_interval
from causal_prompts.graders import Grade
from causal_prompts.llm import LLM
from causal_prompts.naive import NaiveReward
from causal_prompts.pools import single_edits
from causal_prompts.record import Record
from causal_prompts.replies import CallError
from causal_prompts.serve import serve_world
from causal_prompts.tasks import Task, world_task
from causal_prompts.triplets import Triplets
from causal_prompts.world_texts import IDEAS
from causal_prompts.worlds import World
from test_llm import answer, error, stub

WORLD = World.preset("confounded-hidden")
SETTINGS = dict(max_tokens=100, seed=0)


def toy(n=40, grade=lambda reply, item: float(reply.strip() == item["reference"]), **kw):
    return Task("toy", pd.DataFrame(dict(query=[f"question {i}" for i in range(n)], reference=[str(i) for i in range(n)], level=[i % 4 for i in range(n)])), grade, "Answer.", **kw)

def model(server, record=None, **limits):
    return LLM("m", getattr(server, "base_url", None) or server.url, SETTINGS, record=Record() if record is None else record, limits=Limits(**dict(tries=4, timeout=10) | limits), alias="here")


# ---- designs

def test_a_cross_asks_everything_once():
    p = plan(toy(), ["A", "B", "C"], "cross")
    assert len(p) == 40 * 4 and (p.cells["propensity"] == 1).all() and not p.cells[["query_id", "prompt_id"]].duplicated().any() and set(p.prompts["prompt"]) == {"Answer.", "A", "B", "C"}

def test_a_random_design_deals_k_to_each_and_the_baseline_to_all():
    p = plan(toy(), [*"ABCDEF"], "random", k=2)
    assert (p.cells.groupby("query_id").size() == 3).all()
    base = p.cells["prompt_id"] == content_id("Answer.")
    assert base.sum() == 40 and (p.cells.loc[base, "propensity"] == 1).all() and np.allclose(p.cells.loc[~base, "propensity"], 2 / 6)
    alone = plan(toy(), [*"ABCDEF"], "random", k=2, baseline=False)
    assert (alone.cells.groupby("query_id").size() == 2).all() and len(alone.prompts) == 6

def test_the_baseline_among_the_prompts_is_no_second_prompt():
    p = plan(toy(), ["A", "Answer.", "B"], "cross")
    assert len(p.prompts) == 3 and len(p) == 120

@pytest.mark.parametrize("design", ["random", "stratified", "pairs"])
def test_prompts_are_met_as_often_as_the_propensity_says(design):
    task, n = toy(24), 250
    prompts = single_edits(["A one.", "B two.", "C three."], dict(x="Be brief.", y="Be kind.")).drop(index=4).reset_index(drop=True) if design == "pairs" else [*"ABCDE"]
    cells = pd.concat(plan(task, prompts, design, k=2, random_state=s).cells for s in range(n))
    met = cells.groupby("prompt_id").agg(said=("propensity", "mean"), spread=("propensity", "std"), seen=("propensity", "size"))
    assert (met["spread"] < 1e-12).all()
    se = np.sqrt(met["said"] * (1 - met["said"]) / (24 * n))
    assert (abs(met["seen"] / (24 * n) - met["said"]) <= 4 * se + 1e-9).all()

def test_a_stratified_design_is_balanced_in_every_level_where_a_random_one_is_not():
    def spread(design):
        p = plan(toy(100), [*"ABCDE"], design, k=2)
        level = p.cells["query_id"].map(p.task.items.set_index("query_id")["level"])
        counts = p.cells[p.cells["propensity"] < 1].groupby([level, "prompt_id"]).size().unstack(fill_value=0)
        return (counts.max(axis=1) - counts.min(axis=1)).max()
    assert spread("stratified") <= 1 < spread("random")

def test_pairs_are_dealt_whole():
    pairs = single_edits(["A.", "B."], dict(x="Be brief.", y="Be kind."))
    p = plan(toy(), pairs, "pairs", k=1)
    met = p.cells.groupby("query_id")["prompt_id"].agg(set)
    assert len(p.pairs) == 40 and all(met[r.query_id] == {r.prompt_id, r.edited_id} for r in p.pairs.itertuples())
    two = plan(toy(), pairs, "pairs", k=2) # pairs that share a base ask it once
    assert len(two.pairs) == 80 and not two.cells[["query_id", "prompt_id"]].duplicated().any() and len(two.cells) < 160

def test_the_gain_of_a_sentence_is_read_pair_by_pair():
    pairs = single_edits(["A.", "B."], dict(good="Be right.", none="Be kind."))
    with stub(lambda n, b: answer(re.search(r"question (\d+)", b["messages"][0]["content"])[1] if "Be right." in b["messages"][0]["content"] else "?")) as server:
        got = run(plan(toy(), pairs, "pairs", k=2), model(server), show=False)
    t = got.pairs()
    assert len(t) == 80 and (t["gain"] == (t["edit"] == "good")).all() and (t["without"] == 0).all()
    with pytest.raises(ValueError, match="pairs need the design 'pairs', got 'cross'"): Collection(plan(toy(), ["A"], "cross"), got.table).pairs()

def test_a_task_that_grows_asks_only_for_what_is_new():
    for design in ("random", "cross"):
        old, new = (plan(toy(n), [*"ABCDE"], design, k=2) for n in (20, 30))
        cells = lambda p: set(p.cells[["query_id", "prompt_id"]].itertuples(index=False, name=None))
        assert cells(old) < cells(new)

def test_repeats_and_the_order_by_query():
    p = plan(toy(), [*"AB"], "cross", repeats=3)
    assert len(p) == 360 and set(p.cells["repeat"]) == {0, 1, 2}
    ids = p.cells["query_id"].to_numpy()
    assert (ids[1:] != ids[:-1]).sum() == 39 # all cells of a query together
    assert list(dict.fromkeys(ids)) != list(p.task.items["query_id"]) # the queries in an order drawn by chance
    again = plan(toy(), [*"AB"], "cross", repeats=3)
    assert again.cells.equals(p.cells) and not plan(toy(), [*"AB"], "cross", repeats=3, random_state=1).cells.equals(p.cells)

@pytest.mark.parametrize("kw, match", [
    (dict(design="latin"), "design must be one of"), (dict(k=0), "k must be a whole number from 1 to 3"), (dict(k=4), "from 1 to 3"), (dict(k=2.5), "whole number"), (dict(repeats=0), "repeats must be"),
    (dict(design="pairs"), "takes the table that pools.single_edits makes"), (dict(design="stratified", level="hardness"), "needs the column 'hardness'"), (dict(prompts=["A", "A"]), "every prompt must be there once|a prompt_id of its own"), (dict(prompts=pd.DataFrame(dict(prompt=["A", "B"], prompt_id=["1", "1"]))), "must have a prompt_id of its own, got '1' twice"),
    (dict(prompts=pd.DataFrame(dict(text=["A"]))), "must have a column prompt"), (dict(prompts=["A", " "]), "with something in it"), (dict(random_state=-1), "random_state")])
def test_senseless_plans(kw, match):
    with pytest.raises((ValueError, TypeError), match=match): plan(toy(), **dict(prompts=[*"ABC"], k=2) | kw)


# ---- cost

def test_the_cost_is_said_before_and_holds_after():
    p = plan(world_task(WORLD, n=30), WORLD.prompts(6), k=2)
    with serve_world(WORLD) as server:
        llm = LLM("world", server.base_url, SETTINGS, price=(1., 4.), record=Record())
        before = p.cost(llm, answer=25)
        got = run(p, llm, show=False)
        assert list(before.table["calls"]) == [90, 90] and before.verdict == "ok" and "90 calls" in before.reading
        assert got.table["cost"].sum() <= before.table["money"][1] and .3 < got.table["cost"].sum() / before.table["money"][0] < 3
        after = p.cost(llm)
        assert after.table["calls"][0] == 0 and "90 more are in the record already" in after.reading
    capped = p.cost(LLM("world", "http://127.0.0.1:1/v1", SETTINGS, record=Record(calls=10)))
    assert capped.verdict == "caution" and "cap on calls" in capped.advice and "unknown" in capped.reading


# ---- the log

def test_a_collected_log_recovers_the_truth_where_a_log_that_was_steered_misleads():
    p = plan(world_task(WORLD, n=500), WORLD.prompts(6), k=2)
    with serve_world(WORLD) as server: log = run(p, model(server, concurrency=32), show=False).triplets()
    d = log.design().facts
    assert d["known_propensity"] and d["n_missing"] == 0 and log.covariates == ["level", "difficulty"]
    f, base = log.frame, content_id(WORLD.baseline)
    y0 = f[f["prompt_id"] == base].set_index("query_id")["score"]
    steered = WORLD.log(n_queries=2000, n_prompts=6).frame
    off, ok = 0, 0
    for pid, g in f[f["prompt_id"] != base].groupby("prompt_id"):
        prompt = g["prompt"].iloc[0]
        truth = WORLD.effect(list(log.queries["query"]), [prompt]).mean()
        est = mean_interval(g["score"].to_numpy() - y0.loc[g["query_id"]].to_numpy(), g["query_id"])
        ok += abs(est["mean"] - truth) <= 3 * est["se"]
        n = mean_interval(steered.loc[steered["prompt"] == prompt, "score"])
        n0 = mean_interval(steered.loc[steered["prompt"] == WORLD.baseline, "score"])
        off += abs(n["mean"] - n0["mean"] - truth) > 3 * np.hypot(n["se"], n0["se"])
    assert ok == 5 and off >= 3

def test_a_failed_call_is_missing_and_never_zero():
    with stub(lambda n, b: error(500) if "question 7" in b["messages"][0]["content"] else answer("0")) as server:
        got = run(plan(toy(10), ["A"], "cross"), model(server, tries=2), show=False)
    t = got.table.set_index(["query", "prompt"])
    assert t.loc["question 7", "score"].isna().all() and (t.loc["question 7", "status"] == "error").all() and t["score"].notna().sum() == 18
    log = got.triplets()
    assert log.frame["score"].isna().sum() == 2 and len(log) == 20 and log.design().facts["n_missing"] == 2

def test_refusals_and_cut_answers_are_scored_and_can_be_left_out():
    def script(n, b):
        i = int(b["messages"][0]["content"].split()[-1])
        return answer(None, refusal="I cannot.") if i == 0 else answer("1", "length") if i == 1 else answer(str(i))
    with stub(script) as server: got = run(plan(toy(10), ["A"], "cross", baseline=False), model(server), show=False)
    t = got.table.set_index("query")
    assert t.loc["question 0", ["score", "status"]].tolist() == [0., "refused"] and t.loc["question 1", ["score", "status"]].tolist() == [1., "limit"]
    missing = lambda **kw: set(got.triplets(**kw).frame.pipe(lambda f: f.loc[f["score"].isna(), "query"]))
    assert missing() == set() and missing(refused="missing") == {"question 0"} and missing(limit="missing") == {"question 1"}
    with pytest.raises(ValueError, match="limit must be 'score' or 'missing', got 'drop'"): got.triplets(limit="drop")

def test_columns_that_came_after_are_no_covariates():
    with stub([answer("1")]) as server: got = run(plan(toy(10), ["A"], "cross"), model(server), show=False)
    log = got.triplets()
    assert log.covariates == ["level"] and not {"status", "tries", "why", "reference", "tokens_out"} & {*log.frame}
    with pytest.raises(ValueError, match=r"known before the prompt was assigned, got \['reference'\]"): got.triplets(covariates=["reference"])

def test_a_grader_that_fails_leaves_a_hole_which_the_next_run_fills():
    broken = [True]
    def grade(reply, item):
        if broken[0]: raise RuntimeError("out of order")
        return 1.
    task, record = toy(5, grade), Record()
    with stub([answer("x")]) as server:
        got = run(plan(task, ["A"], "cross", baseline=False), model(server, record), show=False)
        assert got.table["score"].isna().all() and got.table["why"].str.contains("error: RuntimeError: out of order").all() and (got.table["status"] == "ok").all()
        broken[0] = False
        again = run(plan(task, ["A"], "cross", baseline=False), model(server, record), show=False)
        assert (again.table["score"] == 1).all() and len(server.seen) == 5

def test_grades_are_kept_and_another_version_of_the_grader_grades_again():
    calls, record = [], Record()
    def grade(reply, item): calls.append(1); return Grade(.5, "half")
    with stub([answer("x")]) as server:
        for version, n in (("1", 5), ("1", 5), ("2", 10)):
            got = run(plan(toy(5, grade, grader_version=version), ["A"], "cross", baseline=False), model(server, record), show=False)
            assert len(calls) == n and (got.table["why"] == "half").all() and len(server.seen) == 5

def test_a_corrected_reference_is_graded_again_and_equal_texts_are_not_mixed_up():
    record = Record()
    items = pd.DataFrame(dict(query_id=["1", "2"], query=["2 + 3?"] * 2, reference=["6", "5"]))
    same = lambda refs: Task("sums", items.assign(reference=refs), lambda reply, item: float(reply == item["reference"]), "Answer.")
    with stub([answer("5")]) as server:
        def scores(refs): return run(plan(same(refs), ["A"], "cross", baseline=False), model(server, record), show=False).table.sort_values("query_id")["score"].tolist()
        assert scores(["6", "5"]) == [0., 1.] and scores(["6", "5"]) == [0., 1.] and scores(["5", "6"]) == [1., 0.]
        assert len(server.seen) == 1 # one text under one prompt is one request

def test_a_grader_that_cannot_work_ends_the_run_soon_and_says_why():
    def grade(reply, item): raise ValueError("the reference must be a letter")
    with stub([answer("x")]) as server, pytest.warns(UserWarning, match="10 answers in a row could not be graded, the last because of 'error: ValueError: the reference must be a letter'"):
        got = run(plan(toy(200, grade), ["A"], "cross"), model(server, concurrency=2), show=False)
        assert len(server.seen) < 60 and "could not be graded, most often because of" in got.missing().details

def test_a_judge_without_a_budget_stops_the_run_and_leaves_no_holes():
    judge_record = Record(calls=5)
    with stub([answer("1")]) as server:
        judge = LLM("j", server.url, record=judge_record)
        async def grade(reply, item): return float((await judge.ask(f"{reply} {item['query']}")).text)
        with pytest.warns(UserWarning, match="stopped with .* the budget must leave room"): got = run(plan(toy(50, grade), ["A"], "cross"), model(server), show=False)
    assert got.stopped and 5 <= got.table["score"].notna().sum() <= 10 and 5 <= got.table["status"].eq("ok").sum() < 60 and got.table["status"].eq("not asked").any()

def test_a_run_that_stops_keeps_what_earlier_runs_answered(tmp_path):
    p, down = plan(toy(60), ["A"], "cross"), [False]
    def script(n, b): return error(503) if down[0] or "question 5" in b["messages"][0]["content"] else answer("1")
    with stub(script) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        llm = model(server, Record(tmp_path/"r.jsonl"), tries=1)
        first = run(p, llm, give_up=1000, show=False); llm.record.close()
        n = int(first.table["score"].notna().sum())
        down[0] = True
        second = run(p, model(server, Record(tmp_path/"r.jsonl"), tries=1), give_up=3, show=False)
    assert 0 < n < 120 and second.stopped and int(second.table["score"].notna().sum()) == n and "raise give_up=" in second.stopped

def test_an_offline_record_gives_what_it_holds(tmp_path):
    p = plan(toy(20), ["A"], "cross")
    with stub([answer("1")]) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        llm = model(server, Record(tmp_path/"r.jsonl", calls=15)); run(p, llm, show=False); llm.record.close()
        off = run(p, LLM("m", settings=SETTINGS, alias="here", record=Record(tmp_path/"r.jsonl", offline=True)), show=False)
    assert off.table["score"].notna().sum() == 15 and off.table["status"].eq("not asked").sum() == 25 and off.stopped == "the record is offline"

def test_requests_that_a_server_rejects_are_no_outage():
    with stub(lambda n, b: error(400) if "question 1" in b["messages"][0]["content"] else answer("1")) as server:
        assert not run(plan(toy(60), [*"ABCDEF"], "cross"), model(server), give_up=20, show=False).stopped

def test_an_offline_record_gives_the_log_again(tmp_path):
    p = plan(toy(8), ["A"], "cross")
    with stub([answer("3")]) as server:
        llm = model(server, Record(tmp_path/"r.jsonl"))
        first = run(p, llm, show=False); llm.record.close()
    again = run(p, LLM("m", settings=SETTINGS, alias="here", record=Record(tmp_path/"r.jsonl", offline=True)), show=False)
    same = ["query_id", "prompt_id", "repeat", "score", "status", "why", "tokens_in"]
    assert again.table[same].equals(first.table[same])

def test_a_conversation_with_pictures_and_tools_is_stored_read_embedded_and_analysed(tmp_path):
    def item(i): return [dict(role="user", content=[dict(type="text", text=f"What does picture {i} show?"), dict(type="image_url", image_url=dict(url="data:image/png;base64," + "A" * 3000))]),
                         dict(role="assistant", content=None, tool_calls=[dict(id="c1", type="function", function=dict(name="look", arguments=json.dumps(dict(at=i))))]),
                         dict(role="tool", tool_call_id="c1", content=f"a cat on chair {i}"), dict(role="user", content="And now?")]
    task = Task("pictures", pd.DataFrame(dict(messages=[item(i) for i in range(60)], reference=["cat"] * 60)), lambda reply, i: float(reply == "cat"), "You describe pictures.")
    with stub(lambda n, b: answer("cat" if "care" in b["messages"][0]["content"] or n % 2 else "dog")) as server:
        llm = model(server, Record(tmp_path/"r.jsonl"))
        log = run(plan(task, ["You describe pictures with care.", "You look at pictures."], "cross"), llm, show=False).triplets()
        llm.record.close()
        assert server.seen[0]["body"]["messages"][0]["role"] == "system" and len(server.seen[0]["body"]["messages"]) == 5
    assert "AAAA" not in (tmp_path/"r.jsonl").read_text()
    text = log.frame["query"].iloc[0]
    assert "What does picture" in text and "look(" in text and "a cat on chair" in text and "AAAA" not in text
    log.write(tmp_path/"log.parquet")
    log = Triplets.read(tmp_path/"log.parquet")
    assert json.loads(log.frame["messages"][0])[0]["role"] == "user" and log.covariates == []
    e = CausalReward(encoder=Words(), baseline="You describe pictures.", learner="kernel", folds=0).fit(log).average_effect().set_index("prompt")["effect"]
    assert e["You describe pictures with care."] > .3


# ---- stopping and going on

def test_a_cap_stops_cleanly_and_a_higher_one_goes_on(tmp_path):
    p = plan(world_task(WORLD, n=40), WORLD.prompts(5), k=2)
    with serve_world(WORLD) as server:
        one = model(server, Record(tmp_path/"r.jsonl", calls=50))
        with pytest.warns(UserWarning, match=r"stopped with 50 of 120 cells: the budget must leave room"): first = run(p, one, show=False)
        assert first.stopped and first.table["status"].eq("not asked").sum() == 70 and len(first.triplets()) == 50
        done = first.triplets().frame.groupby("query_id").size()
        assert (done == 3).mean() > .6 # most of what was begun is complete: the queries come one after another
        one.record.close()
        rest = run(p, model(server, Record(tmp_path/"r.jsonl", calls=120)), show=False)
        assert not rest.stopped and rest.table["score"].notna().all() and len(server.requests) == 120 and max(Counter(r["id"] for r in server.requests).values()) == 1

def test_a_resumed_log_is_the_log_that_would_have_been(tmp_path):
    p = plan(world_task(WORLD, n=30), WORLD.prompts(5), k=2)
    with serve_world(WORLD) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = run(p, model(server), show=False).triplets().frame
        for cap in (20, 45, 1000):
            llm = model(server, Record(tmp_path/"r.jsonl", calls=cap)); parts = run(p, llm, show=False); llm.record.close()
    assert parts.triplets().frame.equals(whole)

def test_an_outage_stops_the_run_and_the_rest_is_not_asked(tmp_path):
    up = [True]
    with stub(lambda n, b: answer("1") if up[0] and n < 30 else error(503)) as server:
        p, llm = plan(toy(100), ["A"], "cross"), model(server, tries=2, concurrency=4)
        with pytest.warns(UserWarning, match="10 cells in a row got no answer"): got = run(p, llm, give_up=10, show=False)
        n = got.table["status"].value_counts()
        assert n["ok"] == 30 and 10 <= n["error"] <= 10 + 20 and n["not asked"] >= 130 and len(server.seen) < 100

def test_scattered_failures_are_no_outage():
    with stub(lambda n, b: error(400) if n % 3 else answer("1")) as server:
        assert not run(plan(toy(60), ["A"], "cross"), model(server), give_up=20, show=False).stopped

def test_a_wrong_key_is_an_error_and_not_a_log_of_holes():
    with stub([error(401)]) as server, pytest.raises(CallError, match="must accept this key"): run(plan(toy(), ["A"], "cross"), model(server), show=False)

NO_CREDIT, NO_SETTING = error(402, "Insufficient credits. Add more"), error(400, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "unsupported_parameter")

@pytest.mark.parametrize("bad, remedy", [(NO_CREDIT, "fill the account or raise its limit"), (NO_SETTING, "pass max_completion_tokens in settings instead of max_tokens"), ((200, dict(error=dict(code=402, message="Insufficient credits")), {}), "fill the account")])
def test_no_credit_and_a_refused_setting_stop_at_once_with_what_to_do(bad, remedy):
    with stub([bad]) as server, pytest.warns(UserWarning, match=f"stopped with 0 of 400 cells: .*{remedy}"):
        got = run(plan(toy(100), [*"ABC"], "cross"), model(server, concurrency=4), show=False)
    assert remedy in got.stopped and len(server.seen) <= 4 and (got.table["status"] == "not asked").all()
    with pytest.raises(ValueError, match=remedy): got.triplets()

def test_an_account_that_runs_dry_leaves_what_was_answered_and_goes_on_when_filled(tmp_path):
    dry = [True]
    with stub(lambda n, b: NO_CREDIT if dry[0] and n >= 30 else answer("1")) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        p, llm = plan(toy(100), ["A"], "cross"), model(server, Record(tmp_path/"r.jsonl"), concurrency=4)
        first = run(p, llm, show=False); llm.record.close()
        assert "fill the account" in first.stopped and first.table["score"].notna().sum() == 30 and len(server.seen) <= 34
        dry[0] = False
        again = run(p, model(server, Record(tmp_path/"r.jsonl")), show=False)
        assert not again.stopped and again.table["score"].notna().all() and len(server.seen) <= 30 + 4 + 170

def test_a_key_that_ends_on_the_way_stops_the_run_and_keeps_the_log():
    with stub(lambda n, b: error(401, "expired") if n >= 20 else answer("1")) as server, pytest.warns(UserWarning, match="must accept this key"):
        got = run(plan(toy(100), ["A"], "cross"), model(server, concurrency=4), show=False)
    assert got.table["score"].notna().sum() == 20 and len(got.triplets()) == 20

def test_a_server_that_turns_away_everything_stops_the_run_and_one_that_does_so_later_does_not():
    with stub([error(422, "no such thing")]) as server, pytest.warns(UserWarning, match="the first 62 cells were all turned away, the last because of .*no such thing"):
        got = run(plan(toy(200), [*"ABC"], "cross"), model(server, concurrency=2), show=False)
        assert got.stopped and 62 <= len(server.seen) < 100
    with stub(lambda n, b: error(422) if n else answer("1")) as server: assert not run(plan(toy(40), [*"ABC"], "cross"), model(server, concurrency=1), give_up=20, show=False).stopped

def test_answers_in_parts_are_scored_at_one_request_each_and_unknown_forms_are_missing():
    parts = lambda text: [dict(type="thinking", thinking=[dict(type="text", text="hm")]), dict(type="text", text=text)]
    def script(n, b):
        i = int(re.search(r"question (\d+)", b["messages"][0]["content"])[1])
        return answer([dict(type="image_url", image_url=dict(url="x"))] if i == 3 else parts(str(i)))
    with stub(script) as server: got = run(plan(toy(10), ["A"], "cross"), model(server), show=False)
    t = got.table.set_index("query")["score"]
    assert t.drop("question 3").eq(1).all() and t["question 3"].isna().all() and len(server.seen) == 20


# ---- SIGKILL

def _serving(pipe):
    with serve_world(WORLD, latency=.03) as server:
        pipe.send(server.base_url); pipe.recv()
        pipe.send([(r["id"], r["status"]) for r in server.requests])

def _cells(): return plan(world_task(WORLD, n=40), WORLD.prompts(8), k=7)

def _collecting(path, url):
    llm = LLM("world", url, SETTINGS, record=Record(path), limits=Limits(concurrency=4), alias="here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(_cells(), llm, show=False).table.to_pickle(f"{path}.table")

def test_fifty_sigkills_lose_nothing_and_double_nothing_but_what_was_in_flight(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["causal_prompts.collecting", "causal_prompts.causal", "openai", "filelock", "test_collect"])
    ours, theirs = context.Pipe()
    server, r, path = context.Process(target=_serving, args=(theirs,), daemon=True), random.Random(0), tmp_path/"r.jsonl"
    server.start()
    url, killed, kept = ours.recv(), 0, 0
    while killed < 50:
        p = context.Process(target=_collecting, args=(path, url))
        p.start()
        if path.exists() and kept > 250: time.sleep(r.uniform(.05, .35))
        else: # some calls of each run shall get through
            size = path.stat().st_size if path.exists() else 0
            while p.is_alive() and (not path.exists() or path.stat().st_size == size): time.sleep(.01)
            time.sleep(r.uniform(0, .12))
        p.kill(); p.join(); killed += p.exitcode == -9
        if p.exitcode == 0: break
        kept = sum(b'"kind":"reply"' in l and l.endswith(b"\n") for l in path.read_bytes().splitlines(keepends=True)) if path.exists() else 0
    assert killed >= 30 # a run may have ended before the fiftieth
    last = context.Process(target=_collecting, args=(path, url)); last.start(); last.join()
    assert last.exitcode == 0
    ours.send("stop")
    sent = Counter(i for i, status in ours.recv() if status == 200)
    server.join(10)

    table, lines = pd.read_pickle(f"{path}.table"), [json.loads(l) for l in path.read_text().splitlines()]
    replies = [l["key"] for l in lines if l["kind"] == "reply"]
    assert table["score"].notna().all() and len(table) == len(_cells()) == 320
    assert len(replies) == len(set(replies)) == 320 # no answer kept twice, none lost
    assert sum(n - 1 for n in sent.values()) <= 4 * killed # only what was in flight at a kill was asked again
    with serve_world(WORLD) as calm: # and the log is the one that an undisturbed run makes
        whole = run(_cells(), LLM("world", calm.base_url, SETTINGS, alias="here"), show=False).table
    assert table[["query_id", "prompt_id", "repeat", "score"]].equals(whole[["query_id", "prompt_id", "repeat", "score"]])


# ---- what is missing, what was retried

def chance(*names):
    "A number in [0, 1) that depends on the names alone."
    return int(content_id(*names), 16) / 16**16

def collected(score, status=lambda *_: "ok", tries=lambda *_: 1, n=60, prompts="ABCD"):
    "A collection made by hand: score, status and tries are functions of (query_id, prompt)."
    p = plan(toy(n), [*prompts], "cross", baseline=False)
    cells = list(zip(p.cells["query_id"], p.cells["prompt_id"].map(p.prompts.set_index("prompt_id")["prompt"])))
    t = p.cells.assign(query="q", prompt=[c[1] for c in cells], tries=[tries(*c) for c in cells], status=[status(*c) for c in cells], score=[score(*c) for c in cells])
    t.loc[t["status"] == "error", "score"] = np.nan
    return Collection(p, t)

def test_missing_under_one_prompt_rings_and_missing_at_random_does_not():
    lost = lambda share, s: collected(lambda *_: 1., lambda q, p: "error" if chance(s, q, p) < share(p) else "ok").missing()
    even, uneven = [lost(lambda p: .03, s) for s in range(20)], [lost(lambda p: .12 * (p == "C"), s) for s in range(20)]
    assert sum(f.verdict != "ok" for f in even) <= 3 and sum(f.verdict != "ok" for f in uneven) >= 18
    assert uneven[0].table["prompt"][0] == "C" and "by prompt" in uneven[0].details

def test_much_missing_rings_even_if_evenly():
    f = collected(lambda *_: 1., lambda q, p: "error" if chance(q, p) < .2 else "ok").missing()
    assert f.verdict == "caution" and "Run again" in f.advice

def test_nothing_missing_is_said():
    f = collected(lambda *_: 1.).missing()
    assert f.verdict == "ok" and f.facts["p"] is None and "No answer is missing" in f.details

def test_retried_answers_that_score_worse_ring_and_like_ones_do_not():
    def judged(harm, s):
        retried = lambda q, p: chance("tries", s, q, p) < .3
        right = lambda q, p: .3 + .4 * chance("query", q) + .1 * (p == "A") - harm * retried(q, p)
        return collected(lambda q, p: float(chance("score", s, q, p) < right(q, p)), tries=lambda q, p: 1 + retried(q, p), n=150).retries()
    clean, harmed = [judged(0, s) for s in range(20)], [judged(.25, s) for s in range(20)]
    assert sum(f.verdict != "ok" for f in clean) <= 3 and sum(f.verdict != "ok" for f in harmed) >= 18
    assert abs(np.mean([f.facts["effect"] for f in harmed]) + .25) < .03 and abs(np.mean([f.facts["effect"] for f in clean])) < .03

def test_hard_queries_that_are_retried_more_often_do_not_ring():
    "A plain comparison of means would: it blames the retries for the queries."
    hard = lambda q: int(q, 16) % 2
    c = collected(lambda q, p: float(chance(q, p) < (.2 if hard(q) else .8)), tries=lambda q, p: 1 + (chance("again", q, p) < (.6 if hard(q) else .1)), n=200)
    t = c.table.assign(again=c.table["tries"] > 1).groupby("again")["score"].mean()
    assert t[False] - t[True] > .2 and c.retries().verdict == "ok"

def test_hard_cells_that_are_retried_more_often_do_not_ring_where_there_are_repeats():
    hard = lambda q, p: chance("cell", q, p) < .5
    p = plan(toy(60), [*"ABCD"], "cross", baseline=False, repeats=4)
    cells = list(zip(p.cells["query_id"], p.cells["prompt_id"], p.cells["repeat"]))
    t = p.cells.assign(prompt="p", query="q", status="ok", tries=[1 + (chance("again", *c) < (.6 if hard(*c[:2]) else .1)) for c in cells], score=[float(chance("score", *c) < (.2 if hard(*c[:2]) else .8)) for c in cells])
    assert Collection(p, t).retries().verdict == "ok"

def test_retries_in_a_handful_of_queries_are_not_judged():
    stormy = set(plan(toy(300), [*"ABCDE"], "cross", baseline=False).cells["query_id"].unique()[:6])
    f = collected(lambda q, p: float(chance(q, p) < .5), tries=lambda q, p: 1 + (q in stormy and chance("t", q, p) < .5), n=300, prompts="ABCDE").retries()
    assert f.verdict == "ok" and "queries hold both kinds, too few to compare" in f.reading

def test_few_retries_are_not_judged():
    f = collected(lambda *_: 1.).retries()
    assert f.verdict == "ok" and "too few to compare" in f.reading
