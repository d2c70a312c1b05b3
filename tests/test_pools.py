"Prompt pools: blocks read without losing any in silence, twins, the tree, example sets, toggles, single edits."
import re
from collections import Counter

import pytest

from causal_prompts.connection import Limits
from causal_prompts.core import content_id
from causal_prompts.llm import LLM, Reply
from causal_prompts.pools import _Seen, example_sets, expand, pair, parse_prompts, placeholders, Pool, single_edits
from causal_prompts.pools import toggles
from causal_prompts.record import Record
from causal_prompts.serve import serve_world
from causal_prompts.tasks import with_examples
from causal_prompts.world_texts import BASELINE, IDEAS
from causal_prompts.worlds import World


class Writer:
    "A writer that says what it is told to."
    def __init__(self, script): self.script, self.asked, self.limits, self.record = script, [], Limits(), Record()
    async def ask(self, text, replicate=0):
        self.asked.append((text, replicate))
        said = self.script(re.search(r"<parent>\n(.*)\n</parent>", text, re.S)[1], replicate)
        return said if isinstance(said, Reply) else Reply("k", said, "ok", 1)

def blocks(*texts): return "\n".join(f'<prompt id="{i}">{t}</prompt>' for i, t in enumerate(texts, 1))


# ---- reading

@pytest.mark.parametrize("text, good, bad", [
    (blocks("A", "B"), ["A", "B"], []),
    (f"Here you are:\n{blocks('A', 'B')}\nHope it helps!", ["A", "B"], []),
    (blocks("A", "B", "C"), ["A", "B"], []),
    (blocks("A"), ["A"], ["a block missing"]),
    ("", [], ["a block missing"] * 2),
    ("1. A\n2. B", [], ["a block missing"] * 2),
    ('<prompt id="1">A</prompt><prompt id="2">B and then it was cut', ["A"], ["a block without an end"]),
    ('<prompt id="1">A <prompt id="2">B</prompt>', ["B"], ["a block without an end"]),
    (blocks("A", "  "), ["A"], ["an empty block"]),
    (blocks("A", "<parent>x</parent>"), ["A"], ["tags inside a block"]),
    ("<PROMPT>A</PROMPT>\n<prompt>\nB\nover two lines\n</prompt>", ["A", "B\nover two lines"], []),
    (blocks("```\nA\n```", "```text\nB\n```"), ["A", "B"], []),
    (blocks("A < B and B > C", "if x<y"), ["A < B and B > C", "if x<y"], [])])
def test_blocks_are_prompts_or_have_a_reason(text, good, bad): assert parse_prompts(text, 2) == (good, bad)

def test_placeholders_must_survive():
    assert placeholders("a {query} b {{ table }} \\frac{a}{query }", ("query", "table")) == ["{query }", "{query}", "{{ table }}"]
    good, bad = parse_prompts(blocks("Do {query} well", "Do it well", "Do {query} and {query}", "Do {Query}"), 4, "Solve {query}")
    assert good == ["Do {query} well"] and bad == ["placeholders changed"] * 3


# ---- twins

def test_twins():
    seen = _Seen(.9)
    long = "Read the question with care, list what is given, then work in small steps and say the result."
    assert seen.twin_of(long) is None
    assert seen.twin_of(long.upper().replace(",", " ;")) == long
    assert seen.twin_of(long + " Thank you kindly for that.") is None
    assert seen.twin_of(" ".join([long] * 3) + " x") is None
    thirty = " ".join(f"word{i}" for i in range(60))
    assert seen.twin_of(thirty) is None and seen.twin_of(thirty + " more") == thirty
    assert _Seen(1).twin_of(thirty) is None and seen.twin_of("不要") is None and seen.twin_of("要不") is None

def test_twins_can_be_switched_off_but_copies_go():
    seen = _Seen(1)
    t = " ".join(f"word{i}" for i in range(60))
    assert seen.twin_of(t) is None and seen.twin_of(t + " more") is None and seen.twin_of(t.title()) == t and seen.twin_of("Return 1!") is None and seen.twin_of("Return -1.") is None
    assert _Seen(.9).twin_of("Return 1!") is None


# ---- the tree

def test_a_tree_grows_level_by_level_and_knows_its_parents():
    writer = Writer(lambda parent, draw: blocks(f"{parent} left", f"{parent} right"))
    pool = expand("Solve {query}:", writer, n=12, show=False)
    t = pool.table.set_index("prompt_id")
    assert len(pool) == 12 and list(t["depth"]) == [0] + [1] * 2 + [2] * 4 + [3] * 5 and pool.dropped.empty
    assert all(t.loc[r.parent_id, "prompt"] == r.prompt.rsplit(" ", 1)[0] for r in t.itertuples() if r.depth)
    assert len(writer.asked) == 1 + 2 + 3 and pool.finding().verdict == "ok" # 3 parents suffice for the last 5

def test_a_malformed_answer_is_asked_for_once_more_and_then_reported():
    def script(parent, draw): return "Sorry." if draw == 0 else blocks(parent + " one")
    writer = Writer(script)
    pool = expand("Go.", writer, n=3, show=False)
    assert [d for _, d in writer.asked[:2]] == [0, 1]
    assert list(pool.table["prompt"]) == ["Go.", "Go. one", "Go. one one"] and list(pool.dropped["why"]) == ["a block missing"] * 2

def test_a_second_answer_that_is_worse_does_not_cost_the_first():
    pool = expand("Go.", Writer(lambda p, draw: blocks(p + " one") if draw == 0 else "Sorry."), n=2, show=False)
    assert pool.prompts == ["Go.", "Go. one"]

def test_copies_are_dropped_counted_and_a_dry_level_ends_it():
    pool = expand("Go.", Writer(lambda p, draw: blocks("Go!", "Come.")), n=50, show=False)
    assert pool.prompts == ["Go.", "Come."] and Counter(pool.dropped["why"]) == {"near copy of another": 3}
    f = pool.finding()
    assert f.verdict == "caution" and "2 of 50 prompts" in f.details and "3 for near copy" in f.details

def test_no_answer_is_no_prompt():
    pool = expand("Go.", Writer(lambda p, draw: Reply("k", "", "error", 3, error="503")), n=5, show=False)
    assert len(pool) == 1 and "no answer (503)" in set(pool.dropped["why"])

def test_a_world_writes_a_pool_twice_the_same_and_never_pays_twice(tmp_path):
    with serve_world(World.preset("randomised")) as server:
        made = []
        for _ in range(2):
            writer = LLM("world", server.base_url, dict(max_tokens=800, seed=0), role="writer", record=Record(tmp_path/"w.jsonl"))
            made.append(expand(BASELINE, writer, n=30, show=False)); writer.record.close()
        assert made[0].table.equals(made[1].table) and len(made[0]) == 30
        assert len({r["id"] for r in server.requests}) == len(server.requests)

@pytest.mark.parametrize("kw", [dict(n=0), dict(variants=0)])
def test_senseless_trees(kw):
    with pytest.raises(ValueError, match="must be at least 1"): expand("Go.", Writer(lambda *_: ""), **kw)


# ---- examples, toggles, edits

PAIRS = [(f"q{i}", f"a{i}") for i in range(6)]

def test_example_sets_differ_and_have_the_sizes_asked_for():
    sets = example_sets(PAIRS, n=20, sizes=(1, 2, 3))
    assert len(sets) == 20 == len({frozenset(s) for s in sets}) and {len(s) for s in sets} == {1, 2, 3} and sets == example_sets(PAIRS, 20, (1, 2, 3))
    assert len(example_sets(PAIRS[:2], n=50, sizes=(1, 2))) == 3 # there are no more
    with pytest.raises(ValueError, match="examples must hold at least one"): example_sets([], 3)

def test_pairs_of_instructions_and_sets():
    t = pair(["A", "B", "C"], example_sets(PAIRS, 4), n=13)
    assert len(t) == 13 == t["prompt"].nunique() and t["examples"].iloc[0] == -1 and t["prompt"].iloc[0] == "A"
    assert set(zip(t["instruction"], t["examples"])) == {("A", -1), *((i, s) for i in "ABC" for s in range(4))}
    assert t["prompt"].iloc[1] == with_examples(t["instruction"].iloc[1], example_sets(PAIRS, 4)[t["examples"].iloc[1]])
    with pytest.raises(ValueError, match=r"at most 1 \+ instructions x sets = 13, got 14"): pair(["A", "B", "C"], example_sets(PAIRS, 4), n=14)

def test_toggles_cross_all_parts():
    t = toggles(["X", "Y"], dict(c="Constraints: {constraints}", d="Table: {table}"))
    assert len(t) == 8 == t["prompt"].nunique() and t["c"].sum() == 4 and all(("Constraints" in p) == c and ("Table" in p) == d for p, c, d in zip(t["prompt"], t["c"], t["d"]))
    with pytest.raises(ValueError, match="parts must name at least one"): toggles(["X"], {})

def test_single_edits_differ_in_one_sentence_and_skip_what_is_there():
    t = single_edits(["Go.", "Go. Check it!"], dict(check="Check it.", thanks="Thank you."))
    assert list(zip(t["prompt"], t["edit"])) == [("Go.", "check"), ("Go.", "thanks"), ("Go. Check it!", "thanks")]
    assert all(e == f"{p} {dict(check='Check it.', thanks='Thank you.')[k]}" for p, e, k in zip(t["prompt"], t["edited"], t["edit"]))
    assert len(single_edits(["Go.", "Run."], {k: v[0] for k, v in IDEAS.items()}, n=5)) == 5
    assert len(single_edits(["Rethink it all."], dict(a="Think it."))) == 1 # a word within a word is no word
    with pytest.raises(ValueError, match="at most 1, the pairs there are, got 2"): single_edits(["Go."], dict(a="X."), n=2)
    with pytest.raises(ValueError, match="a sentence that some prompt lacks"): single_edits(["Go. X."], dict(a="X."))
