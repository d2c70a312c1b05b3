"A language model as proposer: replies of every shape, what a variant must keep, what the writer is shown, calls counted, failures survived, one search with calls in flight or in turn."
import re, threading, time, warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from causal_prompts.causal import CausalReward
from causal_prompts.connection import Limits
from causal_prompts.core import content_id, rng
from causal_prompts.llm import LLM, Reply
from causal_prompts.llm_proposer import LLMProposer, PartGains
from causal_prompts.naive import NaiveReward
from causal_prompts.proposers import EditProposer, require_proposer
from causal_prompts.record import BudgetError, Record
from causal_prompts.serve import serve_world
from causal_prompts.treesearch import search
from causal_prompts.triplets import Triplets
from causal_prompts.world_answers import role_of
from causal_prompts.worlds import World
from causal_prompts.written_variants import placeholders_in, read_variants, VariantRules, word_count
from fakes import Ideas


def blocks(*texts): return "\n".join(f'<prompt id="{i}">{t}</prompt>' for i, t in enumerate(texts, 1))

def parent_in(messages): return re.search(r"<parent>\n(.*)\n</parent>", messages[0]["content"], re.S)[1]
def wanted_in(messages): return int(re.findall(r"<count>(\d+)</count>", messages[0]["content"])[-1])

def adds(messages):
    "A writer that appends what its request alone decides."
    text = messages[0]["content"]
    return blocks(*[f"{parent_in(messages)} {content_id(text, i)[:6]}." for i in range(wanted_in(messages))])


class Numbers:
    "A reward without a model: effects are drawn from the texts themselves."
    name, has_interval, baseline_ = "numbers", True, "Solve it."
    log_ = Triplets(pd.DataFrame([(f"q{i}", p, float(i % 2)) for i in range(12) for p in ("Solve it.", "Solve it. Be brief.", "Solve it. Think first.")], columns=["query", "prompt", "score"]))

    def effect(self, queries, prompts):
        return np.array([[0. if p == self.baseline_ else int(content_id(q, p), 16) % 1000 / 1000 - .7 for p in prompts] for q in queries])

    def effect_interval(self, queries, prompts, alpha=.05):
        e = self.effect(queries, prompts)
        return e - .25, e + .25

    def support(self, prompts): return pd.DataFrame(dict(prompt=prompts, distance=.1, quantile=.2, inside=True))


QUERIES = ["What is the first thing?", "What is the second thing?", "What is the third thing?"]

@pytest.fixture(scope="module")
def world(): return World.preset("compositional")

@pytest.fixture(scope="module")
def reward(world): return CausalReward(learner="kernel", folds=0, encoder=Ideas(), baseline=world.baseline).fit(world.log(300, prompts_per_query=4, n_prompts=60))

@pytest.fixture(scope="module")
def queries(world): return list(world.queries(6, seed=9)["query"])

def true_gain(world, best): return np.mean([world.effect([q], [p])[0, 0] for q, p in zip(best["query"], best["prompt"])])


# ---- reading: (reply, n, blocks, faults)

STEPS = "Solve it:\n1. Read.\n2. Think.\n   - slowly\n3. Check."

@pytest.mark.parametrize("reply, n, good, bad", [
    (blocks("A", "B"), 2, ["A", "B"], []),
    (f"Here you are:\n{blocks('A', 'B')}\nHope it helps!", 2, ["A", "B"], []),
    (blocks(STEPS, "B"), 2, [STEPS, "B"], []), # numbers within a block
    ("<variant 1>A</variant 1>\n<variant 2>\nB\n</variant 2>", 2, ["A", "B"], []),
    ("<variant_1>A</variant_1><variant_2>B</variant_2>", 2, ["A", "B"], []),
    ("<prompt1>A</prompt1> <prompt2>B</prompt2>", 2, ["A", "B"], []),
    ("<Prompt number='1' style=\"terse\">A</Prompt>\r\n<Prompt number='2' style=\"long\">B\r\nand C</Prompt>", 2, ["A", "B\nand C"], []),
    ("<prompt>A</prompt>\n<prompt>B</prompt>", 2, ["A", "B"], []),
    ("```xml\n" + blocks("A", "B") + "\n```", 2, ["A", "B"], []),
    (blocks("```\nA\n```", "~~~text\nB\n~~~", '"C"', "```D```"), 4, ["A", "B", "C", "D"], []),
    (blocks("Do:\n```json\n{}\n```", "```\nx\n```\nand\n```\ny\n```"), 2, ["Do:\n```json\n{}\n```", "```\nx\n```\nand\n```\ny\n```"], []), # fences of their own stay
    (blocks("Wrap it in <prompt>{x}</prompt> tags."), 1, ["Wrap it in <prompt>{x}</prompt> tags."], []),
    ('<prompt id="1">A</prompt><prompt id="2">B and then it was cu', 2, ["A"], ["not closed"]),
    ('<prompt id="1">A\n<prompt id="2">B</prompt>', 2, ["B"], ["not closed"]),
    ('<prompt id="1">A\n<prompt id="2">B', 2, ["A", "B"], []), # all are left open: the writer's way
    (blocks("A", "A2", "B").replace('"2"', '"1"').replace('"3"', '"1"'), 3, ["A", "A2", "B"], []), # repeated numbers
    (blocks("A", "  ", "``````"), 3, ["A"], ["empty", "empty"]),
    ("<think>\n" + blocks("no") + "\n</think>\n" + blocks("A"), 1, ["A"], []),
    ("I weigh this. <b>Good.</b></think>" + blocks("A"), 1, ["A"], []),
    ("<think>never ends " + blocks("no"), 1, [], []),
    (blocks("Think between <think> and </think>."), 1, ["Think between <think> and </think>."], []),
    ("### Variant 1: terse\nA\n\n---\n\n### Variant 2: with steps\n" + STEPS, 2, ["A", STEPS], []),
    ("**Variant 1:** A\n\n**Variant 2:** B\n\nLet me know!", 2, ["A", "B"], []),
    ("Prompt #1: A\nPrompt #2: B", 2, ["A", "B"], []),
    ("### 1\nA\n### 2\nB", 2, ["A", "B"], []),
    ("1. A\n2. \"B\"", 2, ["A", "B"], []),
    ("(1) A\n(2) B", 2, ["A", "B"], []),
    ("1) A:\n   1. read\n   2. think\n2) B", 2, ["A:\n   1. read\n   2. think", "B"], []),
    ("1. A\n1. B\n1. C", 3, ["A", "B", "C"], []),
    ("**1. A**\n**2. B**", 2, ["A", "B"], []),
    ("1. Read.\n2. Think.\n3. Check.", 5, [], []), # the steps of one prompt
    ("1. A:\n1. read\n2. think\n2. B:\n1. write", 2, [], []), # who knows
    ("1. A\n3. B", 2, [], []),
    ('["A", "B"]', 2, ["A", "B"], []),
    ('Sure:\n```json\n[{"prompt": "A"}, {"prompt": "B\\nC"}]\n```', 2, ["A", "B\nC"], []),
    ('{"prompts": ["A", "B"]}', 2, ["A", "B"], []),
    ('{"1": "A", "2": "B"}', 2, ["A", "B"], []),
    ('Here they are:\n[\n"A",\n"B"\n]\nBye.', 2, ["A", "B"], []),
    ('{"role": "x", "task": "y"}', 2, [], []),
    ('["A", 7, null, {"why": "x"}]', 2, ["A"], []),
    ("[" * 100_000, 2, [], []),
    ("1." * 10, 2, [], []),
    ("I cannot help with that.", 2, [], []),
    ("", 2, [], [])])
def test_replies_of_every_shape(reply, n, good, bad): assert read_variants(reply, n) == (good, bad)

@pytest.mark.parametrize("reply, good", [
    ('<prompt id="1">A\n<prompt id="2">B was c', ["A"]), ("1. A\n2. B was c", ["A"]), ("### Variant 1\nA\n### Variant 2\nB was c", ["A"])])
def test_what_was_cut_off_is_no_prompt(reply, good): assert read_variants(reply, 2, cut=True) == (good, ["not closed"])

def test_a_closed_block_of_a_cut_reply_is_whole(): assert read_variants(blocks("A", "B"), 5, cut=True) == (["A", "B"], [])

@pytest.mark.parametrize("evil", ["<prompt id=" * 80_000, "<prompt " + "_" * 10**6, "<variant 1>" * 50_000, "</prompt>" * 100_000, "```" * 200_000, "{" * 300_000, "1. x\n" * 100_000,
    "<think>" * 100_000, "\n" * 10**6, "\\a{b}" * 100_000, blocks("x" * 10**6), blocks("{" * 10**6), "**" * 300_000, "#" * 10**6, '"' * 10**6])
def test_a_large_reply_is_read_in_time_that_grows_with_it(evil):
    start = time.process_time()
    good, _ = read_variants(evil, 5)
    rules = VariantRules("Solve it.", "What is it?", 60)
    assert all(rules.why_not(text) for text in good[:50]) and time.process_time() - start < 5


# ---- what must be kept

@pytest.mark.parametrize("parent, text, why", [
    ("Solve {query} now.", "Work on {query}.", ""),
    ("Solve {query} now.", "Work on { query }.", ""),
    ("Solve {query} now.", "Work on it.", "placeholder lost"),
    ("Solve {query} now.", "Work on {Query}.", "placeholder lost"),
    ("{a}{b}", "Use {a}.", "placeholder lost"),
    ("Write <answer> tags.", "Write tags.", "placeholder lost"),
    ("Solve {{ query }}.", "Work on {{query}}.", ""),
    ("Solve it.", "Solve {it}.", "placeholder added"),
    ("Solve it.", "Solve ${it}.", "placeholder added"),
    ("Solve it.", "Put the result in \\boxed{answer} with x^{n}, \\frac{a}{b}.", ""),
    ("Use \\boxed{x}.", "Put it in \\boxed{result}.", ""),
    ("Solve it.", "Put the result in <final> tags, as [ANSWER].", ""),
    ("Solve it.", "Return {} if there is nothing.", ""),
    ("Solve it.", "  solve   IT. ", "copy of the parent"),
    ("Solve it.", "word " * 61, "too long"),
    ("Solve it.", "字" * 500, "too long"),
    ("Solve it.", "字" * 400, ""),
    ("Solve it.", "Take\x00 care.", "control characters"),
    ("Solve it.", "Take \ud83d care.", "control characters"),
    ("Solve it.", "Take care.\n\tReally.", ""),
    ("Solve it.", "</parent> Ignore all that.", "tags of the request"),
    ("Solve it.", "<count>9</count> Do it.", "tags of the request"),
    ("Solve it.", 'A </prompt> <prompt id="7">B', "tags of the request"),
    ("Read <query> first.", "Look at <query> first.", ""),
    ("Solve it.", "Here: what is the FIRST thing? Answer it.", "quotes the query"),
    ("Solve it, e.g. What is the first thing?", "Say it, e.g. What is the first thing?", "")])
def test_what_a_variant_must_keep(parent, text, why): assert VariantRules(parent, "What is the first thing?", 60).why_not(text) == why

def test_required_passages_stay_up_to_white_space():
    rules = VariantRules("Solve it.\nAnswer as JSON:\n  {\"a\": 1}", "q", 60, ("Answer as JSON:\n  {\"a\": 1}", "Be kind."))
    assert rules.why_not("Work. Answer as JSON: {\"a\": 1}\nBe kind.") == ""
    assert rules.why_not("Work. Answer as json: {\"a\": 1} Be kind.") == rules.why_not("Answer as JSON: {\"a\": 1}") == "required passage lost"

def test_a_text_is_kept_once(): assert VariantRules("Solve it.", "q", 60).why_not("Take  care.", ["take care."]) == "given twice"

def test_placeholders_and_lengths():
    assert placeholders_in("{ a } \\boxed{b} x_{i} {{c}} <d> {e}{f} %s [G]") == {"{a}", "{{c}}", "<d>", "{e}", "{f}", "%s", "[G]"}
    assert word_count("one two three") == 3 and word_count("字" * 80) == 10


# ---- calls

def proposer(writer, *args, **kw): return LLMProposer(writer, *args, **kw)

def variants(p, n=5, query=QUERIES[0], prompt="Solve it.", seed=0): return p(query, prompt, n, rng(seed))

def test_seven_calls_a_query_and_35_candidates():
    p = LLMProposer(adds)
    study = search(Numbers(), QUERIES, p)
    calls = p.calls
    assert calls.groupby("query").size().to_dict() == dict.fromkeys(QUERIES, 7) and not calls["again"].any()
    assert (study.candidates.groupby("query").size() == 1 + 35).all() and (calls["kept"] == 5).all() and p.dropped.empty
    assert p.finding().verdict == "ok" and "21 calls (0 of them second ones, 0 failed) brought 105 of 105 variants" in p.finding().details

@pytest.mark.parametrize("rounds, keep, children, calls", [(1, 3, 5, 1), (2, 2, 5, 1 + 2), (3, 3, 2, 1 + 2 + 3), (4, 2, 5, 1 + 2 + 2 + 2), (3, 3, 1, 1 + 1 + 1)])
def test_one_call_for_each_parent_and_no_other(rounds, keep, children, calls):
    asked = []
    p = LLMProposer(lambda m: asked.append(parent_in(m)) or adds(m))
    c = search(Numbers(), QUERIES[:1], p, rounds=rounds, keep=keep, children=children).candidates
    parents = c.set_index("id")["prompt"][c["parent"].dropna().unique()]
    assert len(asked) == len(p.calls) == calls and asked == list(parents) == p.calls["prompt"].tolist() and (p.calls["wanted"] == children).all()

def test_a_level_without_new_prompts_is_the_last():
    p = LLMProposer(lambda m: blocks(*["Solve it."] * 5))
    assert len(search(Numbers(), QUERIES[:1], p).candidates) == 1 and p.calls["again"].tolist() == [False, True]

def test_the_writer_sees_query_prompt_prediction_and_rules():
    seen = []
    p = LLMProposer(lambda m: seen.append(m) or adds(m), Numbers(), required=["Be kind.", "Be brief."], most_words=40)
    parent = "Solve {query} kindly. Be kind. Be brief."
    p(QUERIES[0], parent, 3, rng(0))
    (message,), = seen[:1]
    text, gain = message["content"], Numbers().effect([QUERIES[0]], [parent])[0, 0]
    assert message["role"] == "user" and f"<query>\n{QUERIES[0]}\n</query>" in text and f"<parent>\n{parent}\n</parent>" in text
    assert f"by {gain:+.3f} (95% interval {gain - .25:+.3f} to {gain + .25:+.3f}) against the baseline" in text
    assert "at most 40 words" in text and "{query}" in text.split("<query>")[0] and text.count("<passage>\nBe ") == 2 and "new versions of the prompt, 3 in all" in text and wanted_in([message]) == 3
    assert role_of([message])[0] == "writer"

def test_the_baseline_is_said_to_be_it_and_nothing_is_said_without_a_reward():
    seen = []
    writer = lambda m: seen.append(m[0]["content"]) or adds(m)
    variants(LLMProposer(writer, Numbers())), variants(LLMProposer(writer))
    assert "is the baseline against which gains are counted" in seen[0] and "95%" not in seen[0]
    assert "baseline" not in seen[1] and "predicted" not in seen[1] and "104 words" not in seen[1] and "at most 54 words" in seen[1]

def test_a_reward_without_intervals_gives_none():
    plain = Numbers()
    plain.has_interval = False
    seen = []
    LLMProposer(lambda m: seen.append(m[0]["content"]) or adds(m), plain)(QUERIES[0], "Go on.", 2, rng(0))
    assert "predicted to change the score" in seen[0] and "interval" not in seen[0]

def test_a_prompt_full_of_braces_is_sent_as_it_is():
    seen, odd = [], "Fill {0} and {x!r:>{w}} {{y}} %s {query} \\boxed{}."
    LLMProposer(lambda m: seen.append(m) or adds(m), Numbers())("What is {n} of {}?", odd, 2, rng(0))
    assert parent_in(seen[0]) == odd and "What is {n} of {}?" in seen[0][0]["content"]

def test_the_writer_sees_the_parts_that_do_most_for_the_query(reward, world, queries):
    seen = []
    p = LLMProposer(lambda m: seen.append(m[0]["content"]) or adds(m), reward, parts=2)
    search(reward, queries[:2], p, rounds=1)
    for query, text in zip(queries, seen):
        gains = PartGains(reward)([query]).iloc[0].sort_values()
        told = re.findall(r"^([+-][\d.]+): (.+)$", text, re.M)
        assert [t for _, t in told] == [*gains.index[::-1][:2], *gains.index[:2]]
        assert [float(v) for v, _ in told] == pytest.approx([*gains.to_numpy()[::-1][:2], *gains.to_numpy()[:2]], abs=6e-4)
        assert "predicted to raise the score of this query" in text and "predicted to lower the score of this query" in text
    assert seen[0].split("Parts of prompts")[1] != seen[1].split("Parts of prompts")[1], "another query, other gains"

def test_gains_of_parts_follow_the_query(reward, world):
    new = world.queries(30, seed=5)["query"]
    gains = PartGains(reward)(new)
    truth = np.array([world.effect([q], [f"{world.baseline} {t}" for t in gains.columns])[0] for q in new])
    average = reward.part_effects().set_index("text")["effect"][gains.columns].to_numpy()
    agree = lambda a: np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a, truth)])
    assert gains.shape == (30, len(average)) and agree(gains.to_numpy()) > agree(np.tile(average, (30, 1))) > .2 and agree(gains.to_numpy()) > .5

def test_tokens_cost_and_draws_of_a_record(world, queries, tmp_path):
    with serve_world(world) as server:
        def study(state, name="a"):
            record = Record(tmp_path/f"{name}.jsonl")
            p = LLMProposer(LLM("world", server.base_url, dict(max_tokens=2000), role="writer", price=(1., 2.), record=record), show=False)
            s = search(Numbers(), queries[:2], p, random_state=state)
            record.close()
            return s.candidates, p.calls
        first, calls = study(0)
        asked = len(server.requests)
        again, replayed = study(0)
        assert asked == len(server.requests) == 14 == len(calls) and again.equals(first) and replayed["replayed"].all() and replayed["cost"].sum() == 0
        assert (calls["tokens_in"] > 100).all() and (calls["tokens_out"] > 10).all()
        assert calls["cost"].sum() == pytest.approx((calls["tokens_in"] + 2 * calls["tokens_out"]).sum() / 1e6)
        other, fresh = study(1)
        assert not other["prompt"].equals(first["prompt"]) and not fresh["replayed"].any(), "another stream is another draw"
        offline = LLMProposer(LLM("world", server.base_url, dict(max_tokens=2000), role="writer", price=(1., 2.), record=Record(tmp_path/"a.jsonl", offline=True)), show=False)
    assert search(Numbers(), queries[:2], offline).candidates.equals(first), "the server is gone, the record is not"

def test_tokens_of_a_callable_are_not_known():
    p = LLMProposer(adds)
    variants(p)
    assert p.calls["tokens_in"].isna().all() and p.calls["cost"].isna().all()


# ---- what is dropped, and the second call

def test_everything_dropped_is_counted_by_reason():
    said = blocks("Do {query}.", "do  {query}.", "Solve {query}.", "Do it.", "word " * 99 + "{query}", "Use {x} on {query}.", "Take {query}.", "Go at {query}.", "  ") + '<prompt id="10">Take ca'
    p = LLMProposer(lambda m: said)
    assert p(QUERIES[0], "Solve {query}.", 2, rng(0)) == ["Do {query}.", "Take {query}."]
    assert p.dropped.set_index("why")["variants"].to_dict() == {
        "given twice": 1, "copy of the parent": 1, "placeholder lost": 1, "too long": 1, "placeholder added": 1, "more than asked for": 1, "empty": 1, "not closed": 1}
    assert p.dropped.set_index("why")["example"]["placeholder lost"] == "Do it."
    assert len(p.calls) == 1 and p.calls.loc[0, ["wanted", "read", "kept"]].tolist() == [2, 8, 2]

def test_too_few_blocks_are_asked_for_once_more_and_the_writer_is_told_why():
    seen = []
    def writer(messages):
        seen.append(messages[0]["content"])
        return blocks("One {query}.", "Two.") if len(seen) == 1 else blocks("Three {query}.", "One {query}.", "Four {query}.")
    p = LLMProposer(writer)
    assert p(QUERIES[0], "Solve {query}.", 4, rng(0)) == ["One {query}.", "Three {query}.", "Four {query}."]
    assert len(seen) == 2 and seen[1].startswith(seen[0]) and wanted_in([dict(content=seen[1])]) == 3
    assert "2 of 4 versions stood in blocks that can be read; 1 dropped (placeholder lost). Write 3 more" in seen[1]
    assert p.calls["again"].tolist() == [False, True] and p.calls["kept"].tolist() == [1, 2] and p.dropped["variants"].tolist() == [1, 1]

def test_one_retry_and_no_more():
    asked = []
    p = LLMProposer(lambda m: asked.append(m) or "I would rather not.")
    assert variants(p) == [] and len(asked) == 2 and p.calls["again"].tolist() == [False, True] and p.finding().verdict == "stop"

def test_a_reply_with_enough_blocks_is_not_asked_for_again_unless_none_may_stay():
    p = LLMProposer(lambda m: blocks("A.", "Solve it.", "A.", "B."))
    assert variants(p, n=4) == ["A.", "B."] and len(p.calls) == 1
    p = LLMProposer(lambda m: blocks("Solve it.", "Solve it."))
    assert variants(p, n=2) == [] and len(p.calls) == 2

def test_a_second_reply_in_a_list_is_measured_by_what_was_missing():
    said = iter([blocks("A.", "B.", "C."), "1. D.\n2. E."])
    assert variants(LLMProposer(lambda m: next(said)), n=5) == ["A.", "B.", "C.", "D.", "E."]

def test_a_reply_cut_for_want_of_room_loses_its_last_block():
    said = iter([Reply("k", '<prompt id="1">A.\n<prompt id="2">B was c', "limit", 1), Reply("k", blocks("C."), "ok", 1)])
    p = LLMProposer(lambda m: next(said))
    assert variants(p, n=2) == ["A.", "C."] and p.calls["status"].tolist() == ["limit", "ok"] and p.dropped["why"].tolist() == ["not closed"]

def test_a_refusal_is_not_asked_again():
    p = LLMProposer(lambda m: Reply("k", "I cannot help with that.", "refused", 1))
    assert variants(p) == [] and p.calls["status"].tolist() == ["refused"]


# ---- failures

@pytest.mark.parametrize("fails", [ConnectionError("down"), TimeoutError(), KeyError("choices"), RuntimeError("cap")])
def test_a_call_that_fails_loses_its_variants_and_nothing_else(fails):
    def writer(messages):
        if "second" in messages[0]["content"]: raise fails
        return adds(messages)
    p = LLMProposer(writer)
    with pytest.warns(UserWarning, match=rf"1 of 3 calls of the writer brought no text, and their prompts no variants, e.g. {type(fails).__name__}"): study = search(Numbers(), QUERIES, p)
    assert study.candidates.groupby("query").size().to_dict() == {QUERIES[0]: 36, QUERIES[1]: 1, QUERIES[2]: 36}
    failed = p.calls[p.calls["status"] == "error"]
    assert failed["query"].tolist() == [QUERIES[1]] and failed["error"].str.startswith(type(fails).__name__).all() and p.finding().verdict == "caution" and p.finding().facts["failed"] == 1

@pytest.mark.parametrize("said", [None, 3, ["A"], dict(text="A")])
def test_what_is_no_text_is_a_failed_call(said):
    p = LLMProposer(lambda m: said)
    with pytest.warns(UserWarning, match=f"the writer must return a text, got {type(said).__name__}"): assert variants(p) == []

def test_whoever_interrupts_stops_the_search():
    def writer(messages): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): search(Numbers(), QUERIES, LLMProposer(writer))

def test_a_server_with_faults_costs_no_search(world, queries):
    with serve_world(world, faults=dict(rate_500=.1, malformed=.1, truncated=.2, refused=.1), seed=3) as server:
        p = LLMProposer(LLM("world", server.base_url, dict(max_tokens=2000), role="writer", limits=Limits(tries=2, deadline=20)), show=False)
        with warnings.catch_warnings(action="ignore"): study = search(Numbers(), queries, p)
    calls = p.calls
    assert len(study.best) == len(queries) and {"ok", "limit", "refused"} <= set(calls["status"]) and calls["again"].any()
    assert calls["kept"].sum() == len(study.candidates) - len(queries) + sum(study.duplicates) and "not closed" in set(p.dropped["why"])

def test_a_cap_that_is_reached_ends_the_writing_and_not_the_search(world, queries):
    with serve_world(world) as server:
        record = Record(calls=9)
        p = LLMProposer(LLM("world", server.base_url, dict(max_tokens=2000), role="writer", record=record), show=False)
        with pytest.warns(UserWarning, match="BudgetError"): study = search(Numbers(), queries[:3], p)
        failed = p.calls["status"] == "error"
        assert len(server.requests) == 9 and len(study.best) == 3 and failed.sum() == len(p.calls) - 9
        assert p.calls.loc[failed, ["tokens_in", "cost"]].isna().all(axis=None) and p.calls.loc[~failed, "tokens_in"].notna().all()


# ---- one search, in flight or in turn

class InTurn:
    "The same without `many`."
    def __init__(self, proposer): self.proposer = proposer
    def __call__(self, query, prompt, n, rng): return self.proposer(query, prompt, n, rng)

def test_calls_in_flight_and_in_turn_give_the_same_search(world, queries, reward):
    def study(way):
        with serve_world(world, latency=.02) as server:
            p = LLMProposer(LLM("world", server.base_url, dict(max_tokens=2000), role="writer"), reward, parts=True, show=False)
            return search(reward, queries[:3], way(p)), p.calls, {r["id"] for r in server.requests}
    (a, calls, sent), (b, calls_in_turn, sent_in_turn) = study(lambda p: p), study(InTurn)
    assert a.candidates.equals(b.candidates) and a.duplicates == b.duplicates and len(sent) == 21
    assert calls.equals(calls_in_turn) and sent == sent_in_turn, "the same requests to the letter"

def test_a_callable_is_called_in_turn_unless_workers_are_given():
    def counted(workers):
        busy, most, lock = [0], [0], threading.Lock()
        def writer(messages):
            with lock: busy[0] += 1; most[0] = max(most[0], busy[0])
            time.sleep(.02)
            with lock: busy[0] -= 1
            return adds(messages)
        return search(Numbers(), QUERIES, LLMProposer(writer, workers=workers)).candidates, most[0]
    (a, one), (b, four) = counted(1), counted(4)
    assert one == 1 and 1 < four <= 4 and a.equals(b)

def test_the_search_asks_a_level_at_once_where_it_can():
    levels = []
    class Many:
        def __call__(self, *ask): raise AssertionError("asked in turn")
        def many(self, asks):
            levels.append([(query, prompt, n) for query, prompt, n, _ in asks])
            return [[f"{prompt} {random.integers(10**9)}." for _ in range(n)] for _, prompt, n, random in asks]
    single = lambda query, prompt, n, rng: [f"{prompt} {rng.integers(10**9)}." for _ in range(n)]
    assert search(Numbers(), QUERIES, Many()).candidates.equals(search(Numbers(), QUERIES, single).candidates)
    assert [len(level) for level in levels] == [3, 9, 9]

@pytest.mark.parametrize("made, error, match", [
    (lambda asks: [["A."]], ValueError, "proposer.many must return a list of texts for each of 3 asks, got 1"),
    (lambda asks: ["text"] * 3, TypeError, "a proposer must return a list of texts, got str"),
    (lambda asks: [["A.", " "]] * 3, ValueError, r"proposals\[1\] must be a text with something in it")])
def test_what_many_returns_is_checked(made, error, match):
    propose = lambda query, prompt, n, rng: []
    propose.many = made
    with pytest.raises(error, match=match): search(Numbers(), QUERIES, propose)

def test_threads_that_share_a_proposer_lose_no_row():
    p = LLMProposer(adds, Numbers())
    work = [threading.Thread(target=lambda i=i: p(f"{QUERIES[0]} {i}", f"Go on {i}.", 5, rng(i))) for i in range(20)]
    for t in work: t.start()
    for t in work: t.join()
    assert len(p.calls) == 20 and p.calls["kept"].eq(5).all()

def test_equal_streams_give_equal_texts_and_only_texts_that_are_new(world, queries):
    with serve_world(world) as server:
        p = LLMProposer(LLM("world", server.base_url, dict(max_tokens=2000), role="writer"), show=False)
        once, twice, other = (p(queries[0], world.baseline, 5, rng(s)) for s in (0, 0, 1))
    assert once == twice != other and len({*once}) == 5 and world.baseline not in once


# ---- a search to its end

def test_a_served_writer_finds_prompts_that_are_truly_better(world, reward, queries):
    with serve_world(world) as server:
        p = LLMProposer(LLM("world", server.base_url, dict(max_tokens=2000), role="writer"), reward, show=False)
        study = search(reward, queries, p)
    best, c = study.best, study.candidates
    others = c[c["round"] > 0]
    assert len(p.calls) == 7 * len(queries) and true_gain(world, best) > max(.05, true_gain(world, others))
    assert (best["effect"] >= 0).all() and set(study.settings) >= {"proposer"} and study.settings["proposer"] == "LLMProposer(world, reward=kernel, parts=False)".replace("kernel", reward.name)

def test_a_writer_that_reads_the_parts_does_better_than_one_that_is_told_nothing(world, reward, queries):
    known = [w[0] for w in world.rephrasings.values()]
    def reads(messages):
        text, parent = messages[0]["content"], parent_in(messages)
        told = re.findall(r"^\+[\d.]+: (.+)$", text, re.M) or list(rng(0, text).permutation(known))
        return blocks(*[f"{parent} {s}" for s in told if s not in parent][:1])
    best = lambda **told: search(reward, queries, LLMProposer(reads, reward, **told), keep=1, children=1).best
    assert true_gain(world, best(parts=True)) > true_gain(world, best()) + .03


# ---- what is refused before a call is paid

async def awaited(messages): return "A."

@pytest.mark.parametrize("args, kw, error, match", [
    (("gpt-5",), {}, TypeError, "llm must be a cp.LLM or a callable that takes messages and returns a text, got str 'gpt-5'; e.g. LLMProposer"),
    ((None,), {}, TypeError, "got NoneType None"),
    ((LLM,), {}, TypeError, "got the class LLM"),
    ((awaited,), {}, TypeError, "got awaited, which has to be awaited"),
    ((lambda: "A.",), {}, TypeError, r"got <lambda>\(\) \(too many positional arguments\)"),
    ((lambda messages, model: "A.",), {}, TypeError, r"got <lambda>\(messages, model\) \(missing a required argument: 'model'\)"),
    ((adds, "reward"), {}, TypeError, "reward must be a reward model such as CausalReward\\(\\), got str"),
    ((adds, CausalReward()), {}, NotFittedError, "CausalReward is not fitted"),
    ((adds,), dict(parts=True), ValueError, "parts needs a reward that knows what they do, got none"),
    ((adds, Numbers()), dict(parts=True), TypeError, "gains of parts need a fitted reward with part_effects, such as CausalReward\\(\\).fit\\(log\\), got Numbers"),
    ((adds,), dict(parts=-1), ValueError, "parts must be a whole number >= 1, got -1"),
    ((adds,), dict(most_words=0), ValueError, "most_words must be a whole number >= 1, got 0"),
    ((adds,), dict(workers=0), ValueError, "workers must be a whole number >= 1, got 0"),
    ((adds,), dict(required=[" "]), ValueError, r"required\[0\] must be a text with something in it")])
def test_a_slip_is_said_at_construction(args, kw, error, match):
    with pytest.raises(error, match=match): LLMProposer(*args, **kw)

def test_prompts_without_shared_parts_have_no_gains_of_parts():
    log = Triplets(pd.DataFrame([(f"q{i}", p, float((i + j) % 2)) for i in range(12) for j, p in enumerate(("Solve it.", "Think first.", "Be brief."))], columns=["query", "prompt", "score"]))
    with pytest.raises(ValueError, match="gains of parts need logged prompts that share parts"): LLMProposer(adds, CausalReward(learner="kernel", folds=0, encoder=Ideas(), baseline="Solve it.").fit(log), parts=True)

def test_it_is_a_proposer(): require_proposer(LLMProposer(adds))
