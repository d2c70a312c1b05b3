"Contracts of benchmarks/peers: every task call is counted and none beyond the budget is answered, measures are right where the answer is known, the minimal forms keep to their budget."
import json, re, sys
from pathlib import Path

import numpy as np
import openai
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/"benchmarks"))
from peers import ledger, measures, own, run

from causal_prompts.world_answers import reference
from causal_prompts.world_texts import BASELINE, IDEAS
from causal_prompts.worlds import World

WORLD = World.preset("compositional", seed=3)
QUERIES = list(WORLD.queries(40)["query"])
GOOD = f"{BASELINE} {IDEAS['steps'][0]} {IDEAS['check'][1]}"
BAD = f"{BASELINE} {IDEAS['analogy'][0]} {IDEAS['role'][2]} {IDEAS['thanks'][0]}"
HTTP = openai.DefaultHttpxClient(limits=openai.DEFAULT_CONNECTION_LIMITS)


@pytest.fixture
def served():
    with ledger.Ledger(WORLD, budget=6, latency=0.).listen(0).start() as server: yield server

def ask(server, model, text, **settings):
    client = openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0, http_client=HTTP)
    return client.chat.completions.create(model=model, messages=[dict(role="system", content=BASELINE), dict(role="user", content=text)], **settings)

def spec(server, method, budget): return run.spec_of(WORLD, method, budget, 0) | dict(url=server.base_url)


# ---- the ledger

def test_a_request_for_several_answers_is_several_calls_and_none_passes_the_budget(served):
    ask(served, "task", QUERIES[0], n=4)
    with pytest.raises(openai.BadRequestError, match="budget of 6 task calls is spent"): ask(served, "task", QUERIES[0], n=3)
    ask(served, "task", QUERIES[1], n=2)
    with pytest.raises(openai.BadRequestError, match="is spent"): ask(served, "task", QUERIES[2])
    found = ledger.account(served.requests)
    assert found["calls"]["task"]["calls"] == served.spent == 6 and found["refused"] == 2 and found["failed"] == 0

def test_writers_and_calls_of_new_queries_are_counted_apart_and_are_not_of_the_budget(served):
    for name in ("writer", "writer", "task-query", "writer-query"): ask(served, name, QUERIES[0])
    found = ledger.account(served.requests)
    assert {name: c["calls"] for name, c in found["calls"].items()} == {"task": 0, "writer": 2, "task-query": 1, "writer-query": 1} and served.spent == 0

def test_the_name_of_the_model_says_who_answers(served):
    wants = f"Write a new prompt for this: {QUERIES[0]}"
    assert ask(served, "writer", wants).choices[0].message.content.startswith(BASELINE)
    assert ask(served, "writer", QUERIES[0]).choices[0].message.content.startswith(BASELINE)
    assert "Answer: " in ask(served, "task", wants).choices[0].message.content
    ask(served, "task", "Hello!") # nothing to answer: counted, and said
    assert ledger.account(served.requests)["misread"] == 1 and served.spent == 2
    with pytest.raises(openai.NotFoundError): ask(served, "other", QUERIES[0])

def test_what_is_not_answered_is_not_paid():
    with ledger.Ledger(WORLD, 5, 0., faults=dict(rate_429=1.)).listen(0).start() as server:
        for _ in range(7):
            with pytest.raises(openai.RateLimitError): ask(server, "task", QUERIES[0])
        assert server.spent == 0 and ledger.account(server.requests)["failed"] == 7

def test_money_and_tokens(served):
    reply = ask(served, "task", QUERIES[0])
    found = ledger.account(served.requests)
    assert found["calls"]["task"] == dict(calls=1, read=reply.usage.prompt_tokens, written=reply.usage.completion_tokens)
    assert found["money"] == pytest.approx((.15 * reply.usage.prompt_tokens + .6 * reply.usage.completion_tokens) / 1e6) and found["money_query"] == 0

def test_waves_are_the_longest_chain_of_answers():
    one_by_one, together, two_by_two = [(i, i + 1.) for i in range(5)], [(0., 1.)] * 5, [(i, i + 1.) for i in range(3) for _ in range(2)]
    assert [ledger.chain(x) for x in ([], one_by_one, together, two_by_two)] == [0, 5, 1, 3]
    assert ledger.chain([(0, 10), (1, 2), (2, 3), (3, 4)]) == 3 and ledger.busy_seconds([(0, 2), (1, 3), (5, 6)]) == 4
    assert ledger.wall_seconds(10., dict(busy=4., waves=20)) == pytest.approx(6 + 20 * .3)


# ---- the measures

def test_the_best_set_has_the_whole_gain_and_the_start_prompt_none():
    of = measures.limits(WORLD, tuple(QUERIES))
    V = WORLD.value(QUERIES, measures.SETS)
    best, each = measures.SETS[V.mean(0).argmax()], [measures.SETS[i] for i in V.argmax(1)]
    assert measures.judged(WORLD, QUERIES, dict(prompts=best))["share"] == pytest.approx(1)
    assert measures.judged(WORLD, QUERIES, dict(prompts=BASELINE))["share"] == 0
    found = measures.judged(WORLD, QUERIES, dict(prompts=each))
    assert found["share_each"] == pytest.approx(1) and found["share"] > 1 and found["value"] == pytest.approx(of["best_each"])
    assert measures.judged(WORLD, QUERIES, dict(prompts=BAD))["share"] < 0
    with pytest.raises(ValueError, match="one for each of 40 queries, got 1"): measures.value(WORLD, QUERIES, [GOOD])

def test_a_claim_is_held_against_the_exact_value():
    true, base = WORLD.value(QUERIES, [GOOD, BASELINE]).mean(0)
    found = measures.judged(WORLD, QUERIES, dict(prompts=GOOD, claimed_value=true + .1))
    assert found["claim_less_truth"] == pytest.approx(.1) and "held" not in found
    found = measures.judged(WORLD, QUERIES, dict(prompts=GOOD, claimed_gain=true - base - .05, lo=true - base - .1, hi=true - base - .01))
    assert found["claim_less_truth"] == pytest.approx(-.05) and found["held"] is False and found["claim"] == pytest.approx(true - .05)
    assert "claim" not in measures.judged(WORLD, QUERIES, dict(prompts=GOOD))

def test_harmful_and_idle_sentences():
    assert measures.sentences(WORLD, BAD) == dict(harmful=1, idle=2, ideas=3) and measures.sentences(WORLD, GOOD) == dict(harmful=0, idle=0, ideas=2)
    feeling = next(q for q in QUERIES if "sentiment" in q or "review" in q and "Is the review" in q)
    found = measures.sentences(WORLD, [f"{BASELINE} {IDEAS['steps'][1]}", BASELINE], [feeling, QUERIES[0]])
    assert found["harmful"] == .5 # steps help on the whole, and harm a review


# ---- runs

def test_what_a_run_is_told():
    told = run.spec_of(WORLD, "APE", 120, 0)
    known = {q for q, _ in told["train"] + told["val"]}
    assert len(known) == run.N_TRAIN + run.N_VAL and len(told["new"]) == run.N_EACH and not known & {*told["new"]}
    assert all(truth == reference(WORLD, q) for q, truth in told["train"]) and all(isinstance(q, str) for q in told["new"])

def test_children_see_no_keys(monkeypatch, tmp_path):
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "SOME_TOKEN"): monkeypatch.setenv(name, "secret")
    seen = run.child_variables(tmp_path)
    assert seen["OPENAI_API_KEY"] == "none" and "secret" not in seen.values() and seen["HOME"] == str(tmp_path)

def test_the_peers_are_pinned_and_litellm_far_from_the_stolen_releases():
    pins = dict(line.split("==") for line in (ROOT/"benchmarks/peers/constraints.txt").read_text().split())
    assert {*run.ASKED} <= {*pins} and "torch" not in pins
    version = tuple(map(int, pins["litellm"].split(".")))
    assert version < (1, 82, 7) or version >= (1, 90)

@pytest.mark.parametrize("method", ["APE", "PromptAgent", "PromptBreeder"])
def test_minimal_forms_keep_to_their_budget(method):
    with ledger.Ledger(WORLD, 60, 0.).listen(0).start() as server:
        answer = own.METHODS[method](own.Run(spec(server, method, 60)))
        found = ledger.account(server.requests)
    assert answer["prompts"].startswith(BASELINE) and 0 <= answer["claimed_value"] <= 1
    assert 20 <= found["calls"]["task"]["calls"] <= 60 and found["calls"]["writer"]["calls"] > 5 and not found["misread"]

def test_reflexion_asks_twice_a_new_query_and_never_of_the_budget():
    with ledger.Ledger(WORLD, 0, 0.).listen(0).start() as server:
        answer = own.reflexion(own.Run(spec(server, "Reflexion", 0)))
        found = ledger.account(server.requests)
    assert len(answer["prompts"]) == run.N_EACH and {n: c["calls"] for n, c in found["calls"].items()} == {"task": 0, "writer": 0, "task-query": run.N_EACH, "writer-query": run.N_EACH}

def test_the_papers_log_is_a_cross_within_the_budget(served):
    served.budget = 50
    log = own.crossed_log(own.Run(spec(served, "CPO", 50)))
    assert log.frame.groupby("query")["prompt"].nunique().tolist() == [7] * 7 and BASELINE in set(log.prompts["prompt"]) and served.spent == 49

def test_a_run_is_judged_and_a_failed_one_is_left_with_the_start_prompt(tmp_path, monkeypatch):
    row = run.one_run(sys.executable, "compositional", "CoT", 0, 1, False, tmp_path/"a", 120)
    assert row["share"] > 0 and row["calls"]["task"]["calls"] == 0 and "error" not in row
    monkeypatch.setattr(run, "spec_of", lambda *how: dict(method="PromptAgent"))
    row = run.one_run(sys.executable, "compositional", "PromptAgent", 60, 1, False, tmp_path/"b", 120)
    assert row["share"] == 0 and row["prompts"] == BASELINE and "KeyError" in row["error"]

def test_no_run_of_the_results_passed_its_budget_or_was_misread():
    if not run.OUT.exists(): pytest.skip("no results yet: python benchmarks/peers/run.py")
    rows = json.loads(run.OUT.read_text())["rows"]
    assert rows and all(r["calls"]["task"]["calls"] <= r["budget"] for r in rows) and not [r for r in rows if r["misread"]]
    assert len({tuple(r[k] for k in run.KEY) for r in rows}) == len(rows)
    table = run.summary(rows)
    assert table["value"].between(0, 1).all() and (table["share"] <= 1.0 + 1e-9)[table["share_each"].isna()].all()
