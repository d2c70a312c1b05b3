"Tasks: what is refused before a call is paid for, messages that hold what they should and nothing twice, grades that are never made up, loaders of the original formats."
import asyncio, json, math, re, subprocess, sys, threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from causal_prompts import benchmarks
from causal_prompts.benchmarks import TASKS, load_task
from causal_prompts.core import content_id, mean_interval
from causal_prompts.graders import Grade, exact, judge, number
from causal_prompts.llm import LLM
from causal_prompts.serve import serve_world
from causal_prompts.tasks import Task, query_text, with_examples, world_task
from causal_prompts.triplets import Triplets
from causal_prompts.worlds import World

ITEMS = pd.DataFrame([("What is 2 + 3?", "5"), ("What is 4 + 4?", "8"), ("What is 9 - 1?", "8")], columns=["query", "reference"])
def make(**changed): return Task(**dict(name="sums", items=ITEMS, grade=number(), baseline="Solve it.") | changed)


# ---- a task

def test_a_task_of_ones_own_takes_five_lines():
    items = pd.DataFrame([("Capital of Peru?", "Lima"), ("Capital of Ghana?", "Accra")], columns=["query", "reference"])
    def grade(reply, item): return item["reference"] in reply
    task = Task("capitals", items, grade, "Answer in one word.")
    assert [task.score("It is Lima", i).score for i in task] == [1, 0]
    assert task.messages(task.baseline, task.items.iloc[0]) == [dict(role="user", content="Answer in one word.\n\nCapital of Peru?")]

def test_items_get_ids_and_the_users_frame_stays_as_it_was():
    before = ITEMS.copy()
    task = make()
    assert task.items["query_id"].tolist() == [content_id(q) for q in ITEMS["query"]] and len(task) == 3 and ITEMS.equals(before)
    assert make(items=ITEMS.assign(query_id=[7, 8, 9])).items["query_id"].tolist() == ["7", "8", "9"]
    assert make(items=ITEMS.set_index(pd.Index([5, 5, 5]))).items.index.tolist() == [0, 1, 2]
    assert "3 queries, graded by number" in repr(task)

@pytest.mark.parametrize("changed, kind, message", [
    (dict(items=[]), TypeError, "DataFrame"), (dict(items=ITEMS[:0]), ValueError, "at least one query"), (dict(items=ITEMS.drop(columns="query")), ValueError, r"columns \['query'\]"),
    (dict(items=ITEMS.drop(columns="reference")), ValueError, r"columns \['reference'\].*rename yours"), (dict(items=ITEMS.assign(reference=["5", None, "8"])), ValueError, "'reference' in every row, got none in 1 of 3 rows, the first at position 1"),
    (dict(items=ITEMS.assign(query=["a", " ", "c"])), ValueError, r"items.query\[1\]"), (dict(items=ITEMS.assign(query=["a", 2, "c"])), TypeError, r"items.query\[1\] must be a text, got int"), (dict(items=pd.concat([ITEMS, ITEMS[:1]])), ValueError, "1 copies, e.g. 'What is 2"),
    (dict(items=ITEMS.assign(query_id=["a", "a", "b"])), ValueError, "1 copies"), (dict(items=ITEMS.assign(query_id=["a", None, "b"])), ValueError, "query_id must be given in every row"), (dict(grade="exact"), TypeError, "grade must be a function"), (dict(baseline=" "), ValueError, "baseline"),
    (dict(baseline=["a", "b"]), TypeError, "baseline must be one text"), (dict(name=""), ValueError, "name"), (dict(fields=("table",)), ValueError, r"columns \['table'\]"), (dict(baseline="See {table}. {query}"), ValueError, r"names \['table'\].*<table>"), (dict(baseline="See {{ table }}."), ValueError, r"\['table'\]"),
    (dict(examples=[("what is  2 + 3?", "5")]), ValueError, "must not be among the queries"), (dict(examples=[("a",)]), ValueError, r"examples\[0\] must be a pair"), (dict(examples=[("a", "")]), ValueError, r"examples\[0\]\[1\]"), (dict(items=ITEMS.assign(messages=[[dict(content="x")]] * 3)), ValueError, "dict with a role"),
])
def test_what_would_go_wrong_later_is_refused(changed, kind, message):
    with pytest.raises(kind, match=message): make(**changed)

def test_a_grader_that_needs_no_reference_gets_none():
    assert make(items=ITEMS[["query"]], grade=lambda reply, item: len(reply) < 9).score("short", make().items.iloc[0]).score == 1

@pytest.mark.parametrize("baseline", [r"Put it in \boxed{answer}.", r"As \frac{ab}{cd} and x_{ij}, $\text{so}$", 'As JSON {"answer": 1} or {a, b} or {}', "f(x) = {x}", "{query} {{query}} { query }"])
def test_other_braces_are_no_placeholders(baseline): assert make(baseline=baseline).baseline == baseline

def test_one_text_may_stand_for_two_queries_with_ids():
    task = make(items=pd.DataFrame(dict(query_id=["a", "b"], query="What is the mean?", table=["1,2", "3,5"], reference=["1.5", "4"])), fields="table", baseline="{table}\n{query}")
    assert [task.messages(task.baseline, i)[0]["content"] for i in task] == ["1,2\nWhat is the mean?", "3,5\nWhat is the mean?"]
    frame = pd.DataFrame([dict(i, prompt=p, score=1.) for i in task for p in ("x", "y")])
    with pytest.warns(UserWarning): assert len(Triplets(frame[["query_id", "query", "prompt", "score"]]).queries) == 2


# ---- subsets

def test_take_head_and_draw():
    task = make(items=pd.DataFrame(dict(query=[f"What is {i} + 1?" for i in range(60)], reference=[str(i + 1) for i in range(60)], level=np.arange(60) % 3)), examples=[("What is 1 + 100?", "101")])
    assert task.head(5).items["reference"].tolist() == list("12345") and task.head(5).examples == task.examples
    ids = task.items["query_id"]
    assert task.take([ids[7], ids[3]]).items["query_id"].tolist() == [ids[3], ids[7]] and len(task.take(task.items["level"] == 2)) == 20
    drawn = task.draw(6, by="level")
    assert drawn.items["level"].value_counts().to_dict() == {0: 6, 1: 6, 2: 6}
    shuffled = replace(task, items=task.items.sample(frac=1, random_state=1))
    assert {*task.draw(9).items["query"]} == {*shuffled.draw(9).items["query"]} != {*task.draw(9, seed=1).items["query"]}
    for wrong, message in ((lambda: task.take(["nowhere"]), "1 others, e.g. 'nowhere'"), (lambda: task.take([True]), "one entry a query"), (lambda: task.draw(0), "n must be"), (lambda: task.draw(61), "n=61 with 60"), (lambda: task.draw(21, by="level"), "of each level, got n=21"), (lambda: task.draw(1, by="kind"), "by must be a column")):
        with pytest.raises(ValueError, match=message): wrong()

def test_draws_are_the_same_in_another_process():
    code = "import pandas as pd; from causal_prompts.tasks import Task; print(*Task('t', pd.DataFrame(dict(query=[f'q{i}' for i in range(50)])), len, 'p').draw(5).items['query'])"
    here = Task("t", pd.DataFrame(dict(query=[f"q{i}" for i in range(50)])), len, "p").draw(5).items["query"]
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == [*here]


# ---- messages

def content(prompt, fields=("query",), **item):
    item = dict(query="Q?") | item
    task = make(items=pd.DataFrame([{k: v for k, v in item.items()}]).assign(reference="1"), fields=fields)
    m, = task.messages(prompt, task.items.iloc[0])
    assert m["role"] == "user"
    return m["content"]

@pytest.mark.parametrize("prompt, text", [
    ("Solve.", "Solve.\n\nQ?"), ("Solve.\n\n", "Solve.\n\nQ?"), ("{query}", "Q?"), ("Solve {query} now", "Solve Q? now"), ("{ query } and {{query}} and {{ query }}", "Q? and Q? and Q?"), (r"\boxed{x} {query}", r"\boxed{x} Q?"), ('{"a": 1}', '{"a": 1}\n\nQ?'), ("{}", "{}\n\nQ?"), ("{other}", "{other}\n\nQ?"), ("{query", "{query\n\nQ?"), ("%s $query", "%s $query\n\nQ?"), ("", "Q?"),
])
def test_the_query_stands_where_the_template_says_or_at_the_end(prompt, text): assert content(prompt) == text

def test_inserted_text_is_not_expanded_again():
    evil = "{table} {query} {{table}} \\g<1> \\1"
    assert content("{query} | {table}", ("table",), query=evil, table="{query}") == evil + " | {query}"
    assert content("{table}", ("table",), query=evil, table="T") == "T\n\n" + evil

def test_values_that_are_no_texts():
    assert content("{table}|{n}|{x}|{query}", ("table", "n", "x"), table=None, n=3, x={"ä": [1, np.int64(2)]}) == '|3|{"ä": [1, 2]}|Q?'
    assert content("{table}|{query}", ("table",), table=float("nan")) == "|Q?"
    with pytest.raises(TypeError, match="one text, got list"): make().messages(["a"], ITEMS.iloc[0])

def test_a_conversation_follows_the_prompt_and_is_sent_whole():
    talk = [dict(role="user", content=[dict(type="text", text="See"), dict(type="image_url", image_url=dict(url="data:image/png;base64,AAAA"))]), dict(role="assistant", content=None, tool_calls=[dict(id="1", type="function", function=dict(name="f", arguments="{}"))]), dict(role="tool", tool_call_id="1", content="ok")]
    task = make(items=pd.DataFrame(dict(messages=[talk, json.dumps(talk[:1]), None], query=[None, None, "plain"], reference="1")))
    assert task.items["query"].tolist() == [query_text(talk), query_text(talk[:1]), "plain"]
    assert task.messages("Be {x} brief.", task.items.iloc[0]) == [dict(role="system", content="Be {x} brief."), *talk]
    assert task.messages("On {query}", task.items.iloc[1]) == [dict(role="system", content="On " + query_text(talk[:1])), talk[0]]
    assert task.messages("P", task.items.iloc[2]) == [dict(role="user", content="P\n\nplain")]
    sent = task.messages("P", task.items.iloc[0]); sent[1]["role"] = "changed"
    assert task.items["messages"][0][0]["role"] == "user"

def test_a_conversation_survives_a_file_of_columns(tmp_path):
    talk = [dict(role="user", content=[dict(type="text", text="See"), image("https://x.org/a.png")]), dict(role="user", content=[dict(type="text", text="this")], name="ann")]
    task = make(items=pd.DataFrame(dict(messages=[talk, talk[:1]], reference="1")))
    task.items.to_parquet(tmp_path/"items.parquet")
    again = make(items=pd.read_parquet(tmp_path/"items.parquet"))
    assert [again.messages("P", i) for i in again] == [task.messages("P", i) for i in task] and again.items["query"].tolist() == task.items["query"].tolist()

def test_examples_are_part_of_the_prompt():
    pairs = [("1+1", "2"), ("2+2 {table}", "4\n")]
    text = with_examples("Solve.", pairs, names=("Problem", "Solution"))
    assert text == "Solve.\n\nProblem: 1+1\nSolution: 2\n\nProblem: 2+2 {table}\nSolution: 4\n\nProblem: {query}" and with_examples("Solve.", ()) == "Solve."
    assert with_examples("Solve: {query}", pairs[:1]) == "Query: 1+1\nAnswer: 2\n\nSolve: {query}"
    assert content(text).endswith("Problem: Q?") and content(text).count("Q?") == 1
    with pytest.raises(ValueError, match="without {query}"): with_examples("Solve.", [("what is {query}", "x")])


# ---- conversations as text

def say(content, role="user", **more): return dict(role=role, content=content, **more)
def image(url="data:image/png;base64,AAAA", **more): return dict(type="image_url", image_url=dict(url=url), **more)

@pytest.mark.parametrize("messages, text", [
    ([say("Hi")], "Hi"), ([say("Be nice", "system"), say("Be nicer", "developer"), say("Hi")], "Hi"), ([say("Hi"), say("Hello", "assistant"), say("Bye")], "user: Hi\nassistant: Hello\nuser: Bye"), ([say([dict(type="text", text="a"), dict(type="text", text="b")])], "a\nb"), ([say([dict(type="input_text", text="a")])], "a"),
    ([say([image("https://x.org/a/cat%20one.png?sig=SECRET")])], "[image: cat one.png]"), ([say([image(alt="a cat")])], "[image: a cat]"), ([say([dict(type="image_url", image_url=dict(url="data:image/png;base64,AAAA", alt_text="a  cat"))])], "[image: a cat]"), ([say([dict(type="input_image", image_url="https://x.org/b.png")])], "[image: b.png]"),
    ([say([dict(type="file", file=dict(filename="a.pdf", file_data="data:application/pdf;base64,BBBB"))])], "[file: a.pdf]"), ([say("x"), say(None, "assistant", tool_calls=[dict(function=dict(name="f", arguments='{"a": 1}')), dict(function=dict(name="g", arguments=dict(b=2)))]), say("r", "tool", tool_call_id="1")], 'user: x\nassistant: f({"a": 1})\ng({"b": 2})\ntool: r'),
    ([say("x"), say(None, "assistant", function_call=dict(name="f", arguments="{}"))], "user: x\nassistant: f({})"), (json.dumps([say("Hi")]), "Hi"), (np.array([say("Hi")]), "Hi"), ([say("x"), say("", "assistant")], "x"),
])
def test_query_text(messages, text): assert query_text(messages) == text

SECRETS = [image(), image("https://x.org/a.png?key=AAAA"), dict(type="input_audio", input_audio=dict(data="AAAA" * 9, format="wav")), dict(type="file", file=dict(file_data="data:application/pdf;base64,AAAA")), dict(type="image", source=dict(type="base64", data="AAAA" * 9)), dict(type="text", text="see ![x](data:image/png;base64,AAAA)"), dict(type="new_thing", blob="AAAA" * 9)]
@pytest.mark.parametrize("part", SECRETS, ids=lambda p: p["type"])
def test_data_never_reach_the_text(part):
    text = query_text([say([part, dict(type="text", text="t")])])
    assert "AAAA" not in text and len(text) < 60 and re.search(r"\[[\w: .]+\]", text)

def test_two_images_differ_and_may_be_left_out():
    a, b = (query_text([say([dict(type="text", text="What is it?"), image(f"data:image/png;base64,{d}")])]) for d in ("AAAA", "BBBB"))
    assert a != b and a == query_text([say([dict(type="text", text="What is it?"), image("data:image/png;base64,AAAA")])]) and query_text([say([dict(type="text", text="t"), image()])], images="") == "t"
    assert query_text([say([image()])], images="[picture]").startswith("[picture: ")
    talk = [say("x"), say(None, "assistant", tool_calls=[dict(function=dict(name="f", arguments="{}"))]), say("r", "tool")]
    assert query_text(talk, tools=False) == "x"

@pytest.mark.parametrize("messages, kind, message", [("no json", ValueError, "or its JSON, got the text 'no json'"), ([], TypeError, "list of"), (None, TypeError, "list of"), ([dict(content="x")], ValueError, r"messages\[0\] must be a dict with a role"), ([say("x", "system")], ValueError, "besides system messages"), ([say("")], ValueError, "besides system")])
def test_no_conversation_is_refused(messages, kind, message):
    with pytest.raises(kind, match=message): query_text(messages)


# ---- grades

GRADERS = {
    "number": (lambda r, i: .5, Grade(.5)), "bool": (lambda r, i: True, Grade(1.)), "grade": (lambda r, i: Grade(.25, "so"), Grade(.25, "so")), "numpy": (lambda r, i: np.float64(.5), Grade(.5)), "raises": (lambda r, i: i["nothing"], "error: KeyError"), "none": (lambda r, i: None, "error: TypeError.*every branch"),
    "high": (lambda r, i: 5, "error: ValueError.*got 5"), "nan": (lambda r, i: float("nan"), "the grader gave nan"), "text": (lambda r, i: "1", "error: TypeError"), "async": (None, Grade(.75)), "async raises": (None, "error: ZeroDivisionError"), "returns a coroutine": (None, Grade(.75)),
}
async def later(reply, item): await asyncio.sleep(0); return .75
async def broken(reply, item): return 1 / 0
GRADERS |= {"async": (later, Grade(.75)), "async raises": (broken, "error: ZeroDivisionError"), "returns a coroutine": (lambda r, i: later(r, i), Grade(.75))}

@pytest.mark.parametrize("name", GRADERS)
def test_what_a_grader_returns_is_a_grade_and_no_error_is_a_zero(name):
    grade, wanted = GRADERS[name]
    task = make(grade=grade)
    item = task.items.iloc[0]
    async def inside(): return task.score("r", item), await task.agrade("r", item)
    for got in (task.score("r", item), asyncio.run(task.agrade("r", item)), *asyncio.run(inside())):
        assert got == wanted if isinstance(wanted, Grade) else math.isnan(got.score) and re.match(wanted, got.why), got

@pytest.mark.parametrize("reply", [None, 5, b"5"])
def test_a_reply_that_never_came_has_no_score(reply):
    got = make().score(reply, ITEMS.iloc[0])
    assert math.isnan(got.score) and "must be a text" in got.why

def test_slow_graders_do_not_wait_for_each_other():
    meet = threading.Barrier(3, timeout=60)
    task = make(grade=lambda reply, item: meet.wait() >= 0)
    async def all_three(): return await asyncio.gather(*[task.agrade("r", i) for i in task])
    assert [g.score for g in asyncio.run(all_three())] == [1, 1, 1]

def test_a_cancelled_grade_is_cancelled_and_not_missing():
    async def forever(reply, item): await asyncio.sleep(3600)
    async def run():
        job = asyncio.ensure_future(make(grade=forever).agrade("r", ITEMS.iloc[0]))
        await asyncio.sleep(0); job.cancel()
        return await job
    with pytest.raises(asyncio.CancelledError): asyncio.run(run())

def test_an_llm_judges_a_task():
    class Judge:
        status = "ok"
        async def ask(self, messages, replicate=0): self.text = "Score: 5" if "Lima" in messages[1]["content"].split("<reply-")[1] else "Score: 2"; return self
    task = Task("essay", pd.DataFrame(dict(query=["Write of Peru."])), judge(Judge(), "Does it name the capital?"), "Write.")
    assert [task.score(r, task.items.iloc[0]).score for r in ("Lima is big.", "Peru is big.")] == [1, .25]


# ---- loaders, on small data made here in the original formats

GSM = [dict(question=f"Ann has {i} pens and buys {i + 1000}. How many has she?", answer=f"She has {i}+{i + 1000}=<<{i}+{i + 1000}={2 * i + 1000}>>{2 * i + 1000} pens.\nThat is all.\n#### {2 * i + 1000:,}") for i in range(12)]
MATHS = [dict(problem=f"Find half of ${i}$.", solution=rf"It is $\boxed{{\frac{{{i}}}{{2}}}}$.", level=f"Level {1 + i % 5}", type="Prealgebra") for i in range(11)] + [dict(problem="Find $x$.", solution=r"\fbox{x}", level="Level ?", type="Algebra")]

def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path

@pytest.fixture
def gsm(tmp_path): return lines(tmp_path/"gsm"/"test.jsonl", GSM)

def test_gsm8k(gsm, capsys):
    task = load_task("gsm8k", gsm)
    assert task.items["reference"][3] == "1,006" and task.items["level"].eq(2).all() and task.baseline and len(task) == 12 and "solution" not in task.items
    assert task.score("So 3 + 1003 = 1006 pens.\n#### 1006", task.items.iloc[3]).score == 1 and task.score("#### 1007", task.items.iloc[3]).score == 0
    assert task.source["sha256"] in capsys.readouterr().err and task.source["records"] == 12
    assert len(load_task("gsm8k", gsm.parent, sha256=task.source["sha256"])) == 12 and not capsys.readouterr().err
    with pytest.raises(ValueError, match="SHA-256 abc, got .*another version"): load_task("gsm8k", gsm, sha256="abc")

def test_subsets_and_examples_never_meet(gsm):
    task = load_task("gsm8k", gsm, n=5, examples=3, seed=1)
    assert len(task) == 5 and len(task.examples) == 3 and not {q for q, _ in task.examples} & {*task.items["query"]} and "<<" not in task.examples[0][1] and "####" in task.examples[0][1]
    again = load_task("gsm8k", lines(gsm.parent/"turned"/"test.jsonl", GSM[::-1]), n=5, examples=3, seed=1)
    assert {*again.items["query"]} == {*task.items["query"]} and {*again.examples} == {*task.examples} and again.source["sha256"] == task.source["sha256"]
    assert {*load_task("gsm8k", gsm, n=5, examples=3, seed=2).items["query"]} != {*task.items["query"]}

def test_math_in_three_forms(tmp_path):
    for i, r in enumerate(MATHS):
        file = tmp_path/"MATH"/"test"/r["type"].lower()/f"{i}.json"
        file.parent.mkdir(parents=True, exist_ok=True); file.write_text(json.dumps(r))
    lines(tmp_path/"train"/"algebra"/"0.json", [dict(MATHS[0], problem="Not this.")])
    pd.DataFrame(MATHS).to_parquet(tmp_path/"math.parquet")
    made = [load_task("math", p) for p in (tmp_path/"MATH", lines(tmp_path/"math.jsonl", MATHS), tmp_path/"math.parquet")]
    assert len({t.source["sha256"] for t in made}) == 1 and len({frozenset(t.items["query"]) for t in made}) == 1
    task = made[1]
    assert task.baseline == "Solve the following math problem." and task.items["level"][:6].tolist() == [1, 2, 3, 4, 5, 1] and np.isnan(task.items["level"][11]) and task.items["reference"][11] == "x" and task.items["subject"][11] == "Algebra"
    assert task.score(r"\boxed{1.5}", task.items.iloc[3]).score == 1 and task.draw(2, by="level").items["level"].value_counts().eq(2).all()

def test_what_cannot_be_used_is_left_out_and_counted(tmp_path):
    rows = [*GSM, GSM[0], dict(question="No end?", answer="It has no mark"), dict(question="Words?", answer="#### a few"), dict(question=" ", answer="#### 3")]
    with pytest.warns(UserWarning) as said: task = load_task("gsm8k", lines(tmp_path/"a.jsonl", rows[:-1]))
    assert len(task) == 12 and [re.sub(",? e.g.*", "", str(w.message)) for w in said] == ["gsm8k: 1 of 15 records are left out as copies of another", "gsm8k: 2 of 15 records are left out as without an answer that can be graded"]
    with pytest.raises(ValueError, match="none of 1"), pytest.warns(UserWarning): load_task("gsm8k", lines(tmp_path/"b.jsonl", rows[-3:-2]))

BBH = dict(boolean_expressions=("not True is", "False", "Answer: False", "True"), navigate=("Do you return?", "No", "So the answer is No.", "Yes and No"), sports_understanding=("Plausible?", "yes", "Yes.", "no"), formal_fallacies=("Is it valid?", "invalid", "deductively invalid", "valid"), web_of_lies=("Does Ann tell the truth?", "Yes", "**Yes**", "No"),
           causal_judgement=("Did he cause it?", "No", "No", "Yes"), dyck_languages=("Complete the rest of the sequence. Input: [ { [", "] } ]", "[ { [ ] } ]", "] ]"), word_sorting=("Sort: pear fig", "fig pear", "1. fig\n2. pear", "pear fig"), multistep_arithmetic_two=("((-1 + 2)) =", "-123", "Answer: −123", "123"), object_counting=("I have a fig. How many?", "8", "eight? No: 8", "9"))
@pytest.mark.parametrize("name", [t for t in TASKS if t.startswith("bbh:")])
def test_every_bbh_task_has_its_grader(name, tmp_path):
    part = name.removeprefix("bbh:")
    query, target, right, wrong = BBH.get(part, ("Which one?\nOptions:\n(A) The red book\n(B) The blue book\n(C) The green book", "(B)", "It must be (B).", "(C)"))
    (tmp_path/f"{part}.json").write_text(json.dumps(dict(canary="x", examples=[dict(input=query, target=target), dict(input=query + " Again", target=target)])))
    task = load_task(name, tmp_path)
    item = task.items.iloc[0]
    assert len(task) == 2 and task.score(right, item).score == 1 and task.score(wrong, item).score == 0 and task.score(target.strip("()"), item).score == 1
    if target == "(B)": assert item["options"] == ["The red book", "The blue book", "The green book"] and task.score("The blue book", item).score == 1 and task.score("(A)", item).score == 0

def test_there_are_27_of_them(): assert len(TASKS) == 29 and len(set(TASKS)) == 29

@pytest.mark.parametrize("call, kind, message", [
    (lambda p: load_task("gsm9k"), ValueError, "name must be one of gsm8k, math, bbh"), (lambda p: load_task("bbh:nothing"), ValueError, "bbh:word_sorting"), (lambda p: load_task("gsm8k", p/"nowhere"), FileNotFoundError, r"test.jsonl, test.json, test.parquet or test/<subject>/<number>.json, got 'nowhere', which does not exist"), (lambda p: load_task("bbh:navigate", p), FileNotFoundError, r"navigate.jsonl, navigate.json"),
    (lambda p: load_task("gsm8k", lines(p/"x.jsonl", [dict(question="q")])), ValueError, r"record 0 without \['answer'\]"), (lambda p: load_task("gsm8k", lines(p/"y.json", [{}, {}])), ValueError, r"y.json: 1 problem\n.*no whole JSON"), (lambda p: load_task("gsm8k", p/"bad.jsonl"), ValueError, r"bad.jsonl: 1 problem\n.*a torn last line"), (lambda p: load_task("gsm8k", revision="main"), ValueError, "full commit hash of openai/gsm8k.*got 'main'"),
    (lambda p: load_task("gsm8k", repo="someone/else"), ValueError, "full commit hash of someone/else.*got None"),
])
def test_loading_says_what_is_wrong(call, kind, message, tmp_path):
    (tmp_path/"bad.jsonl").write_text('{"question": ')
    with pytest.raises(kind, match=message): call(tmp_path)

def test_the_hub_path_reads_with_datasets_and_names_a_way_out(tmp_path, monkeypatch):
    import datasets
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path/"cache")
    repo = tmp_path/"repo"
    (repo/"main").mkdir(parents=True)
    pd.DataFrame(GSM).assign(extra=1).to_parquet(repo/"main"/"test-00000-of-00001.parquet")
    (repo/"README.md").write_text("---\nconfigs:\n- config_name: main\n  data_files:\n  - split: test\n    path: main/test-*\n---\n")
    task = load_task("gsm8k", repo=str(repo), revision="0" * 40)
    assert len(task) == 12 and task.source["sha256"] == load_task("gsm8k", lines(tmp_path/"test.jsonl", GSM)).source["sha256"] and task.source["revision"] == "0" * 40
    with pytest.raises(ConnectionError, match=r"tried to load openai/gsm8k \(main; split 'test'; revision 740312add88f\).*pass path="): load_task("gsm8k")

def test_known_revisions_are_full_hashes():
    assert all(re.fullmatch("[0-9a-f]{40}", s.revision) for s in benchmarks._SOURCES.values())


# ---- a served world

def test_a_served_world_answers_its_task_as_often_as_it_says():
    world = World(seed=3)
    task = world_task(world, 150, seed=2)
    assert len(task) == 150 and len(task.examples) == 4 and task.items.groupby("level").size().sum() == 150 and {*task.items["level"]} <= {*range(6)}
    best = with_examples(world.baseline + " Work through the task step by step before you answer.", task.examples[:2])
    with serve_world(world) as server:
        llm = LLM("world", server.base_url, api_key="none")
        for prompt in (task.baseline, best):
            replies = llm.ask_all([task.messages(prompt, i) for i in task])
            grades = [task.score(r.text, i) for r, i in zip(replies, task)]
            assert [g.score for g in grades] == [float(r.text.endswith(f"Answer: {i['reference']}")) for r, i in zip(replies, task)]
            seen = mean_interval([g.score for g in grades])
            assert abs(seen["mean"] - world.value(task.items["query"], [prompt]).mean()) < 4 * seen["se"]

def test_world_tasks_are_reproducible():
    a, b = (world_task(World(seed=3), 20, seed=2) for _ in range(2))
    assert a.items.equals(b.items) and a.examples == b.examples and not {*world_task(World(seed=3), 20, seed=5).items["query_id"]} == {*a.items["query_id"]}
