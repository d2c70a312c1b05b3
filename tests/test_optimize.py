"`cp.optimize`: calls never passed, the truth within its interval, the baseline where nothing is better, stop and resume, and the pages that it is made of."
import json, multiprocessing, os, re, signal, subprocess, sys, time, warnings
from collections import Counter
from contextlib import closing
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import causal_prompts as cp
from causal_prompts.call_shares import call_shares, split_queries
from causal_prompts.callables import as_llm, callable_id, callable_name
from causal_prompts.core import rng
from causal_prompts.fresh_gains import chosen_finalist, finalist_table, Gain, paired_interval
from causal_prompts.record import Record
from causal_prompts.sentence_parts import bank_of, frame_of, gathered_sentences, new_sentences, read_sentences, sentences_of, written_sentences
from causal_prompts.set_rounds import additive_values, first_chances, options_held, round_plan, sets_to_confirm, shrunk_effects
from causal_prompts.tasks import Task, world_task
from causal_prompts.world_answers import asked, solve
from causal_prompts.world_texts import IDEAS
from causal_prompts.worlds import World

WORLD = World.preset("compositional", seed=3)
TASK = world_task(WORLD, n=120)
SENTENCES = {idea: IDEAS[idea][0] for idea in ("steps", "check", "example", "role", "analogy")}


def answers(messages):
    query, prompt = asked(messages)
    return f"Answer: {solve(WORLD, query, prompt, rng(0, prompt, query))[1]}"

def search(llm=answers, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cp.optimize(TASK, llm, **dict(parts=SENTENCES, calls=240, show=False) | how)


# ---- a callable as a model

def test_a_callable_is_asked_through_the_record_once(tmp_path):
    seen = []
    def model(messages): seen.append(messages); return "7"
    with closing(Record(tmp_path/"r.jsonl")) as record:
        for _ in range(2): replies = as_llm(model, record).ask_all(["a", "b"], show=False)
        assert [r.text for r in replies] == ["7", "7"] and all(r.replayed for r in replies) and record.spent["calls"] == 2
    assert sorted(m[0]["content"] for m in seen) == ["a", "b"]

def test_a_coroutine_is_waited_for():
    async def model(messages): return messages[0]["content"].upper()
    assert as_llm(model).ask_all(["abc"], show=False)[0].text == "ABC"

def test_what_a_callable_raises_has_no_answer_and_a_broken_connection_is_tried_again():
    tries = Counter()
    def flaky(messages):
        tries["n"] += 1
        if tries["n"] == 1: raise ConnectionError("gone")
        return "7"
    llm = as_llm(flaky)
    assert llm.ask_all(["x"], show=False)[0].text == "7" and llm.record.spent["calls"] == 2
    def wrong(messages): raise KeyError("no")
    llm = as_llm(wrong)
    reply, = llm.ask_all(["x"], show=False)
    assert reply.status == "error" and "KeyError" in reply.error and llm.record.spent["calls"] == 1 # asked once: it would fail again
    assert "must return a text, got int" in as_llm(lambda messages: 7).ask_all(["x"], show=False)[0].error

def test_what_cannot_be_asked_is_refused_with_what_can():
    with pytest.raises(TypeError, match="writer must be a cp.LLM or a callable .*got the class dict"): as_llm(dict, name="writer")
    with pytest.raises(TypeError, match="llm must be a cp.LLM or a callable .*got 'gpt'"): as_llm("gpt")
    with pytest.raises(TypeError, match="llm must be .*missing a required argument"): as_llm(lambda a, b: a)

def test_a_callable_is_known_by_module_and_name():
    assert callable_name(partial(partial(answers))) == callable_name(answers) == f"{__name__}.answers"
    assert callable_name(WORLD).endswith("worlds.World")

def model_named(text, fraction=.5, count=0):
    def model(messages):
        nonlocal count
        count += 1
        return f"{text} {fraction}"
    return model

class Served:
    def __init__(self, name): self.name, self.asked, self.known = name, 0, {}
    def __call__(self, messages): self.asked += 1; self.known[len(self.known)] = messages; return self.name
    def told(self, messages): return self.name

def test_callables_of_one_name_that_differ_in_code_or_settings_are_two_models():
    a, b = model_named("a"), model_named("b")
    assert callable_name(a) == callable_name(b) and callable_id(a) != callable_id(b) and callable_id(a) == callable_id(model_named("a"))
    assert callable_id(model_named("a", .7)) != callable_id(a)
    assert callable_id(Served("a")) != callable_id(Served("b")) and callable_id(Served("a").told) != callable_id(Served("b").told) != callable_id(Served("b"))
    assert callable_id(lambda messages: "1") != callable_id(lambda messages: "2") and callable_id(partial(a, x=1)) != callable_id(partial(a, x=2))
    def wrapped(function): return lambda messages: function(messages)
    assert callable_id(wrapped(a)) != callable_id(wrapped(b)) # what a decorator hides
    assert as_llm(a).url != as_llm(b).url and callable_id(len) == callable_id(len)

def test_what_a_callable_holds_may_change_from_call_to_call():
    for model in (model_named("a"), Served("a")):
        before = callable_id(model)
        model([]); model([])
        assert callable_id(model) == before

class Holds:
    def __init__(self, **held): self.__dict__ |= held
    def __call__(self, messages): return "1"

@pytest.mark.parametrize("one, other", [
    (dict(temperature=0), dict(temperature=1)), (dict(settings={"model": "a"}), dict(settings={"model": "b"})), (dict(stops=["a"]), dict(stops=["b"])),
    (dict(inner=Holds(name="a")), dict(inner=Holds(name="b"))), (dict(lines={"a", "b"}), dict(lines={"a", "c"}))])
def test_settings_of_every_plain_kind_count(one, other):
    assert callable_id(Holds(**one)) == callable_id(Holds(**one)) != callable_id(Holds(**other))

def named(messages, n=3): return "1"
def named_too(messages, n=4): return "1"
def inner(messages): return (lambda: [c for c in "ab"])()
def inner_too(messages): return (lambda: [c for c in "ac"])()

def test_defaults_and_functions_within_functions_count_and_a_version_stands_for_all():
    assert callable_id(named) != callable_id(named_too) and callable_id(inner) != callable_id(inner_too)
    one, other = Holds(clock=time.time(), version="2"), Holds(clock=0., version="2")
    assert callable_id(one) == callable_id(other) == callable_id(one.__call__) != callable_id(Holds(clock=0., version="3"))

def test_a_callable_is_the_same_in_another_process():
    code = "from functools import partial; import test_optimize as t; h = t.Holds(a=object(), b={3, 'x', (1, 2)}, c=t.answers); print(t.callable_id(partial(t.named, h, f=t.answers)), t.callable_id(h), t.callable_id(t.answers))"
    path = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    said = {subprocess.run([sys.executable, "-c", code], env=os.environ | dict(PYTHONHASHSEED=seed, PYTHONPATH=path), capture_output=True, text=True, check=True).stdout for seed in ("1", "2")}
    assert len(said) == 1 and len(said.pop().split()) == 3

def test_a_model_that_is_loaded_at_the_first_call_goes_on_in_its_folder(tmp_path):
    class Lazy:
        model, asked = None, 0
        def __init__(self): self.model = None
        def __call__(self, messages):
            self.model = "loaded"
            Lazy.asked += 1
            return answers(messages)
    llm = Lazy()
    first = search(llm, calls=40, folder=tmp_path)
    asked = Lazy.asked
    assert search(llm, calls=40, folder=tmp_path).prompt == first.prompt and Lazy.asked == asked # the same object, later
    assert search(Lazy(), calls=40, folder=tmp_path).prompt == first.prompt and Lazy.asked == asked # as after a kill


# ---- sentences

def test_sentences_hold_no_placeholders_and_each_is_there_once():
    assert sentences_of(["Do it. Think.\nQ: {query}", "think.  Be brief."]) == ["Do it.", "Think.", "Be brief."]
    assert new_sentences(["Think.", "Be brief."], ["Do it. THINK."]) == ["Be brief."]

@pytest.mark.parametrize("baseline, wanted", [
    ("Solve it.", "Solve it. Think."), ("Solve it.\nBe kind.", "Solve it.\nBe kind.\nThink."),
    ("Solve it.\nQ: {query}\nA:", "Solve it.\nThink.\nQ: {query}\nA:"), ("{query}", "Think.\n{query}"),
    ("Solve it.\n\n{query}", "Solve it.\nThink.\n\n{query}")])
def test_sentences_stand_before_the_query_and_the_empty_set_is_the_baseline(baseline, wanted):
    bank = bank_of(frame_of(baseline), ["Think."])
    must = ["tail"] if "{query}" in baseline else []
    assert bank.prompt(["Think.", *must]) == wanted and bank.prompt(must) == baseline

def test_a_sentence_may_be_called_like_the_end_of_a_prompt():
    bank = bank_of(frame_of("Solve it.\nQ: {query}"), {"tail": "Think."})
    assert bank.prompt(bank.ids) == "Solve it.\nThink.\nQ: {query}" and bank.prompt(["the tail"]) == "Solve it.\nQ: {query}"

def test_what_a_writer_says_is_read_with_care():
    said = ["Name the unit.", "NAME  the unit.", "Fill {x}.", "word " * 61, "</query> Be good.", "How many apples are left over?", "Solve it. Count twice.", "...", "One more."]
    reply = "\n".join(f'<instruction id="{i}">{t}</instruction>' for i, t in enumerate(said, 1))
    got = read_sentences(reply, 2, "Solve it.", ["How many apples are left over?"])
    assert got.texts == ["Name the unit.", "Count twice."]
    assert set(got.dropped) == {"given twice", "placeholder added", "too long", "tags of the request", "quotes the query", "no words", "more than asked for"}

def test_a_writer_that_fails_brings_no_sentence_and_ends_nothing():
    def broken(messages): raise RuntimeError("down")
    got = written_sentences(as_llm(broken, role="writer"), "Solve it.", [dict(query="How many?")])
    assert not got.texts and list(got.dropped)[0].startswith("no reply: ")


def test_a_writer_is_asked_until_there_are_enough_sentences_or_nothing_new_comes():
    asked_for = []
    def write(known, draw): asked_for.append((len(known), draw)); return [f"Rule {len(known) + i}." for i in range(3)]
    assert gathered_sentences(write, 7, ["Rule 0."]) == [f"Rule {i}." for i in range(1, 8)] and asked_for == [(1, 0), (4, 1), (7, 2)]
    said = iter([["A b."], [], ["a  b."], ["C d."]])
    assert gathered_sentences(lambda known, draw: next(said), 24) == ["A b."] and next(said) == ["C d."] # two in a row
    assert len(gathered_sentences(lambda known, draw: [f"Rule {draw}."], 99)) == 8 and gathered_sentences(None, 0) == []


# ---- what sets are worth

def test_effects_are_drawn_towards_zero_as_far_as_the_scores_ask_for_it():
    random = rng(0, "effects")
    def errors(size):
        X = (random.random((480, 12)) < .5) * 1.
        true, query = size * random.normal(size=12), np.repeat(np.arange(60), 8)
        y = X @ true + .1 * random.normal(size=60)[query] + .45 * random.normal(size=480)
        mean, cov = shrunk_effects(X, y, query)
        plain = np.linalg.lstsq(np.c_[X, np.ones(480)], y, rcond=None)[0][:12]
        return [((mean - true)**2).mean(), ((plain - true)**2).mean(), (np.abs(mean - true) < 1.96 * np.sqrt(np.diag(cov))).mean()]
    small, large = (np.mean([errors(size) for _ in range(60)], 0) for size in (.03, .3))
    assert small[0] < .7 * small[1] and large[0] < 1.02 * large[1]
    assert small[2] > .92 and large[2] > .92

def test_the_gain_of_a_set_is_over_the_baseline_with_the_sentences_that_it_has():
    task = TASK.head(60)
    bank = bank_of(frame_of("Solve it."), {"good": ["Think.", "Think first."], "bad": "Guess."})
    base = bank.prompt(["bad"])
    made = round_plan(task, bank, 480, 8)
    table = made.cells.merge(made.prompts[["prompt_id", "prompt"]]).merge(task.items[["query_id", "query"]])
    chance = .5 + .15 * table["prompt"].str.contains("Think") - .15 * table["prompt"].str.contains("Guess")
    log = cp.Triplets(table.assign(score=(rng(0, "scores").random(len(table)) < chance) * 1.))
    values = additive_values(log, bank, base)
    gain, se = values.rate(values.columns_of([[0, 0], [0, 1], [1, 0], [2, 0]])) # nothing, bad, the wordings of good
    assert (np.abs(gain - [.15, 0, .3, .3]) < 3 * se + 1e-6).all() and se[1] < 1e-4 and (se[[0, 2, 3]] < .08).all()
    inside = bank_of(frame_of("Solve it."), {"a": ["Think.", "Think. Check it."]}) # a wording that holds another
    assert options_held(inside, ["Solve it.", "Solve it. Think.", "Solve it. Think. Check it."]).tolist() == [[0, 0], [1, 0], [0, 1]]
    found = sets_to_confirm(log, bank, base, 1)
    assert list(found["parts"].iloc[0]) == ["good"] and abs(found["effect"].iloc[0] - .3) < 3 * found["se"].iloc[0]

def test_of_many_sentences_a_prompt_holds_seven_on_average_and_the_log_says_so():
    few, many = (bank_of(frame_of("Solve it."), [f"Rule number {i} holds." for i in range(n)]) for n in (14, 24))
    assert first_chances(few) == {} and set(first_chances(many).values()) == {7 / 24}
    made = round_plan(TASK, many, 480, 8)
    held = many.presence(made.cells.merge(made.prompts[["prompt_id", "prompt"]])["prompt"]).to_numpy().sum(1)
    assert abs(held.mean() - 7) < .3 and all(abs(c - 7 / 24) < 1e-5 for c in json.loads(made.cells["inclusion"].iloc[0]).values())


# ---- shares of the calls

@pytest.mark.parametrize("calls", [40, 61, 120, 300, 600, 5000])
def test_no_stage_may_take_what_is_kept_for_the_confirmation(calls):
    shares = call_shares(calls, .2)
    assert shares.cap(1) <= shares.cap(2) <= calls - shares.fresh and shares.cap(3) == calls
    assert sum(shares.logs) + shares.fresh <= calls and shares.fresh == round(.2 * calls)

@pytest.mark.parametrize("calls, fresh", [(40, 16), (120, 48), (300, 120), (600, 180), (5000, 1000)])
def test_with_few_calls_more_of_them_go_to_fresh_queries(calls, fresh): assert call_shares(calls).fresh == fresh

def test_shares_refuse_what_cannot_be_split():
    with pytest.raises(ValueError, match="calls must be at least 40"): call_shares(39)
    for bad in (0, 1, "a", True):
        with pytest.raises(ValueError, match="confirm must be a share"): call_shares(600, bad)
    with pytest.raises(ValueError, match="at least 8 different queries, .* got 7"): split_queries(TASK.head(7), call_shares(100))
    with pytest.raises(ValueError, match="at least 8 different queries, .* got 7"): split_queries(repeated(TASK.head(7)), call_shares(100))

def repeated(task):
    "The task with every query under two ids, once with other white space."
    again = task.items.assign(query_id=[f"again {i}" for i in range(len(task))], query=task.items["query"] + "  ")
    return Task("twice", pd.concat([task.items, again], ignore_index=True), task.grade, task.baseline)

def test_one_question_over_many_passages_is_many_queries():
    items = pd.DataFrame(dict(query_id=[str(i) for i in range(60)], query="What is said?", passage=[f"Passage {i}." for i in range(60)], reference="1"))
    task = Task("passages", items, TASK.grade, "Read this. {passage}\n\n{query}", fields=("query", "passage"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logs, fresh = split_queries(task, call_shares(120, n_queries=60))
    assert len(fresh) + sum(map(len, logs)) > 30 and not {*fresh.items["passage"]} & {p for part in logs for p in part.items["passage"]}

def test_a_question_that_stands_there_twice_is_not_in_the_log_and_fresh_too():
    with pytest.warns(UserWarning, match="120 of 240 queries repeat another one in everything but the id; each counts once"):
        logs, fresh = split_queries(repeated(TASK), call_shares(600, n_queries=120), 1)
    assert not {*fresh.items["query"]} & {q for part in logs for q in part.items["query"]} and not fresh.items["query"].duplicated().any()

@pytest.mark.parametrize("n", [8, 30, 120])
def test_fresh_queries_are_never_in_the_log(n):
    task = TASK.head(n)
    logs, fresh = split_queries(task, call_shares(600, n_queries=n), 1)
    assert len(fresh) and not {*fresh.items["query_id"]} & {q for part in logs for q in part.items["query_id"]}


# ---- gains on fresh queries

@pytest.mark.parametrize("n", [6, 12, 60])
@pytest.mark.parametrize("p, q", [(.5, .5), (.4, .8), (.05, .95)])
def test_the_interval_of_a_gain_holds_for_few_queries(n, p, q):
    random = rng(0, "pairs", n, p)
    ends = [paired_interval((random.random(n) < q) * 1. - (random.random(n) < p)) for _ in range(1000)]
    assert np.mean([e["lo"] <= q - p <= e["hi"] for e in ends]) > .935

@pytest.mark.parametrize("n", [12, 24])
def test_few_pairs_show_a_gain_that_a_t_interval_misses(n):
    random = rng(0, "power", n)
    D = (random.random((1000, n)) < .8) * 1. - (random.random((1000, n)) < .45)
    centre = D.sum(1) / (n + 2)
    se = np.sqrt(((D**2).sum(1) + 2 - (n + 2) * centre**2) / (n + 1) / (n + 2))
    shown, by_t = np.mean([paired_interval(d)["lo"] > 0 for d in D]), np.mean(centre > stats.t.ppf(.975, n - 1) * se)
    assert shown > by_t + .05 and shown > dict([(12, .3), (24, .65)])[n]

def test_a_gain_of_nothing_has_an_interval_and_missing_scores_are_left_out():
    alike = paired_interval(np.zeros(12))
    assert alike["mean"] == 0 and alike["lo"] < 0 < alike["hi"] and paired_interval([1., np.nan, 0., 1.])["n"] == 3
    assert paired_interval([np.nan])["n"] == 0 and paired_interval([.5])["hi"] == 1.

def test_the_gain_of_the_chosen_finalist_holds_the_truth_though_it_was_chosen():
    "300 runs with two finalists and a log that promises too much: without the adjustment the best of two would be too good."
    held, taken, wrong = [], 0, 0
    for seed in range(300):
        random = rng(seed, "choice")
        chances = dict(zip("base a b".split(), [.5, *random.choice([.45, .5, .6, .75], 2)]))
        scores = pd.DataFrame({name: (random.random(60) < p) * 1. for name, p in chances.items()})
        promised = pd.DataFrame(dict(prompt=["a", "b"], effect=[chances["a"] - .5 + .05 * random.normal() + .03, chances["b"] - .5 + .05 * random.normal() + .03], se=.06))
        prompt, gain = chosen_finalist(finalist_table(scores, "base", promised), "base")
        true = chances[prompt] - .5
        held.append(gain.lo <= true <= gain.hi)
        taken, wrong = taken + (prompt != "base"), wrong + (true < 0)
    assert np.mean(held) >= .95 and taken > 100 and wrong <= 3

@pytest.mark.parametrize("n", [12, 60])
def test_where_nothing_helps_a_prompt_is_taken_in_one_run_of_forty_at_most_however_much_the_log_has_promised(n):
    taken, by_both = [], []
    for seed in range(2000):
        random = rng(seed, "nothing", n)
        scores = pd.DataFrame((random.random((n, 3)) < .5) * 1., columns=["base", "a", "b"])
        table = finalist_table(scores, "base", pd.DataFrame(dict(prompt=["a", "b"], effect=.15, se=.08)))
        taken.append(chosen_finalist(table, "base")[0] != "base")
        by_both.append((table["combined"] > .1).any())
    assert np.mean(taken) <= .03 and np.mean(by_both) > .4

def test_nothing_is_taken_that_is_not_shown():
    scores = pd.DataFrame(dict(base=[0., 1.] * 20, a=[1., 0.] * 20))
    table = finalist_table(scores, "base", pd.DataFrame(dict(prompt=["a"], effect=[.02], se=[.1])))
    assert chosen_finalist(table, "base") == ("base", Gain(0., 0., 0.)) and not table["shown"].any()


# ---- the search

@pytest.fixture(scope="module")
def found(): return search(confirm=.2)

def test_a_better_prompt_is_found_and_its_interval_holds_the_truth(found):
    base, prompt, best = WORLD.quality([TASK.baseline, found.prompt, " ".join([TASK.baseline, *(SENTENCES[i] for i in ("steps", "check", "example"))])])
    assert prompt - base >= .7 * (best - base) and found.gain.lo <= prompt - base <= found.gain.hi
    assert SENTENCES["analogy"] not in found.prompt and found.prompt.startswith(TASK.baseline)
    assert found.answer.verdict == "ok" and "Use the prompt" in repr(found) and not found.unfinished

def test_everything_asked_is_in_the_log_or_fresh_with_its_probability(found):
    once = found.ledger[found.ledger["paid"] == "once"]
    assert once["requests"].sum() <= 240 and once["requests"].sum() == len(found.log) + len(found.fresh)
    assert found.log.frame["propensity"].between(0, 1, inclusive="right").all() and sorted(found.log.frame["stage"].unique()) == [1, 2]
    assert not {*found.log.frame["query_id"]} & {*found.fresh["query_id"]}
    per_query = found.ledger[found.ledger["paid"] == "each query"].set_index("use")["tokens_in"]
    assert per_query["a query under the prompt"] > per_query["a query under the baseline"] > 0

def test_a_report_is_written(found, tmp_path):
    page = found.report(tmp_path/"r.html").read_text(encoding="utf-8")
    assert "Is there a better prompt?" in page and "What each sentence does" in page and "stage 1" in page
    assert len(found.effects) >= 5 and "```text" in found._repr_markdown_() and found.messages("2 + 2?")[0]["content"].endswith("2 + 2?")

def test_where_no_score_differs_the_baseline_is_kept():
    got = search(lambda messages: "Answer: none of it", calls=60)
    assert got.is_baseline and got.gain == Gain(0., 0., 0.) and got.reward is None and not len(got.finalists)
    assert "Keep the baseline" in repr(got) and got.effects.empty and got.promising == TASK.baseline

def test_calls_are_never_passed_and_a_failed_call_is_missing():
    sent, random = Counter(), np.random.default_rng(0)
    def failing(messages):
        sent["n"] += 1
        if random.random() < .25: raise KeyError("lost")
        return answers(messages)
    got = search(failing, calls=120)
    assert sent["n"] <= 120 and got.log.frame["score"].isna().any() and got.fresh["score"].isna().any()
    assert set(got.log.frame["score"].dropna()) <= {0., 1.} and got.log.frame["score"].isna().mean() > .1
    assert not got.unfinished

def test_retries_count_and_the_confirmation_keeps_its_share():
    sent, random = Counter(), np.random.default_rng(0)
    def broken(messages):
        sent["n"] += 1
        if random.random() < .2: raise ConnectionError("reset")
        return answers(messages)
    with_pauses = as_llm(broken)
    got = search(with_pauses, calls=100, parts={k: SENTENCES[k] for k in ("steps", "analogy")})
    assert sent["n"] <= 100 and got.ledger.loc[got.ledger["paid"] == "once", "requests"].sum() == sent["n"]
    assert got.fresh is None or len(got.fresh[got.fresh["status"] == "ok"]) >= 10

def test_an_interruption_returns_the_best_so_far_marked_unfinished(tmp_path):
    sent = Counter()
    def stopped(messages):
        sent["n"] += 1
        if sent["n"] == 150: os.kill(os.getpid(), signal.SIGINT)
        return answers(messages)
    got = search(stopped, folder=tmp_path, confirm=.2)
    assert "interrupted" in got.unfinished and got.fresh is None and np.isnan(got.gain.estimate) and "Unfinished" in repr(got)
    assert "Run it again with the same folder" in repr(got) and got.folder == str(tmp_path)
    again = search(stopped, folder=tmp_path, confirm=.2)
    assert not again.unfinished and again.fresh is not None and sent["n"] <= 240 + 8

def test_without_parts_a_writer_is_asked_until_nothing_new_comes_and_told_what_was_found():
    seen = []
    def writer(messages):
        seen.append(messages[0]["content"])
        return "\n".join(f'<instruction id="{i}">{t}</instruction>' for i, t in enumerate([[*SENTENCES.values()], [IDEAS["format"][0]]][len(seen) > 1]))
    got = search(writer=writer, parts=None, calls=120)
    assert len(seen) == 5 and "Right: " in seen[0] and "tried already" not in seen[0] # two that bring something, two that do not, one after the first log
    assert all(f"- {IDEAS['role'][0]}" in text for text in seen[1:]) and "answered wrongly most often" in seen[4] and "answered wrongly" not in seen[3]
    assert got.written["kept"] == 6 and got.ledger.set_index("use").at["writer", "requests"] == 5
    assert any(IDEAS["format"][0] in prompt for prompt in got.log.prompts["prompt"])

def test_without_parts_and_writer_sentences_of_prompts_and_general_ones_are_tried():
    task = Task("t", TASK.items, TASK.grade, f"{TASK.baseline} {IDEAS['analogy'][0]}")
    got = cp.optimize(task, answers, start=[IDEAS["steps"][0]], calls=80, show=False)
    texts = set(got.log.prompts["prompt"])
    for sentence in (IDEAS["analogy"][0], IDEAS["steps"][0], "List the facts that matter for the answer first."):
        held = [sentence in text for text in texts]
        assert any(held) and not all(held)

def test_the_writer_sees_other_queries_each_time_of_the_log_alone():
    seen = []
    def writer(messages):
        seen.append(messages[0]["content"])
        return f'<instruction id="1">{[*SENTENCES.values()][len(seen) - 1]}</instruction>' if len(seen) < 4 else ""
    got = search(writer=writer, parts=None, calls=400)
    shown = [{q for q in TASK.items["query"] if f"Query: {q}" in text} for text in seen]
    assert all(len(s) == 8 for s in shown[:3]) and len(set.union(*shown[:3])) > 10
    assert set.union(*shown) <= {*TASK.items["query"]} - {*got.fresh["query"]}

def test_tokens_are_one_budget_of_both_models():
    def writer(messages): return f'<instruction id="1">{SENTENCES["steps"]}</instruction>'
    got = search(writer=writer, parts=None, tokens=15_000, calls=120)
    spent = got.ledger.loc[got.ledger["paid"] == "once", ["tokens_in", "tokens_out"]].sum().sum()
    assert "tokens spent" in got.unfinished and 0 < spent <= 15_000 and got.ledger.set_index("use").at["writer", "tokens_in"] > 0
    assert "Its answers were kept nowhere" in repr(got)

def test_a_named_sentence_may_stand_within_a_longer_one_of_the_baseline():
    task = Task("t", TASK.items, TASK.grade, "Answer the question. Do not explain.")
    got = cp.optimize(task, answers, parts=["Explain.", SENTENCES["steps"]], calls=40, show=False)
    held = ["Explain." in text for text in got.log.prompts["prompt"]]
    assert any(held) and not all(held)
    for said in ("Do not explain.", "do  not explain.", "the question"):
        with pytest.raises(ValueError, match="parts must say what the baseline does not"): cp.optimize(task, answers, parts=[said], calls=40)

def test_caps_may_be_numbers_of_numpy():
    assert not search(calls=40, tokens=np.int64(10**6), money=np.float32(5)).unfinished

def test_what_is_lacking_is_said():
    few = cp.optimize(TASK.head(10), answers, parts=SENTENCES, calls=200, show=False)
    assert few.is_baseline and few.lacking == "queries" and "more queries" in repr(few)
    assert search(calls=40, parts={"role": SENTENCES["role"]}).lacking == "calls"

def test_money_is_one_budget_of_both_models():
    task_model = as_llm(answers)
    task_model.price = (0., 1000.)
    got = search(task_model, money=.25, calls=120)
    assert got.unfinished and "money" in got.unfinished and got.ledger["money"].sum() <= .25

def test_a_folder_belongs_to_one_search(tmp_path):
    search(lambda messages: "Answer: 1", calls=40, folder=tmp_path)
    with pytest.raises(ValueError, match="folder must hold no other search, got .* another llm and calls"): search(calls=60, folder=tmp_path)

@pytest.mark.parametrize("how, error", [
    (dict(per="sort"), "per must be 'all', 'query' or a column of the task's items, got 'sort'; there are .*'kind'"), (dict(money=0), "money must be above 0"), (dict(tokens=True), "tokens must be above 0"),
    (dict(per="query_id"), "per must be a column of at most 30 kinds, got 'query_id' with 120"), (dict(parts=["Use {x}."]), "parts must hold no placeholders"), (dict(parts=[TASK.baseline]), "parts must say what the baseline does not"), (dict(calls=10), "calls must be at least"),
    (dict(confirm=.9), "confirm must be a share")])
def test_arguments_are_refused_before_a_call_is_paid_or_a_folder_made(how, error, tmp_path):
    with pytest.raises(ValueError, match=error): search(lambda messages: 1 / 0, folder=tmp_path/"run", **how)
    assert not (tmp_path/"run").exists()

def test_a_file_is_no_folder(tmp_path):
    (tmp_path/"run").write_text("")
    with pytest.raises(NotADirectoryError, match="folder must be a folder, got the file 'run'"): search(lambda messages: 1 / 0, folder=tmp_path/"run")

def test_a_task_is_needed():
    with pytest.raises(TypeError, match="task must be a cp.Task, got DataFrame"): cp.optimize(TASK.items, answers)


# ---- a prompt for each query or kind

OPPOSED = dict(think="Think step by step.", word="Answer in one word.", gentle="Be kind.")
KINDS = Task("two kinds", pd.DataFrame([dict(kind=("review", "sum")[i % 2], reference="yes",
    query=f"What is {i} plus {7 * i % 50}?" if i % 2 else f"Is this review good or bad: film number {i} was {i % 7} hours long") for i in range(200)]),
    lambda reply, item: float(reply == "yes"), "Answer the question.")

def opposed(text):
    "Chance of a right answer where sums gain by what harms reviews."
    sign = 1 if "plus" in text else -1
    return .5 + .4 * sign * (OPPOSED["think"] in text) - .4 * sign * (OPPOSED["word"] in text)

def routed_search(per, model=lambda messages: "yes" if rng(0, messages[0]["content"]).random() < opposed(messages[0]["content"]) else "no", **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cp.optimize(KINDS, model, **dict(parts=OPPOSED, calls=600, per=per, show=False) | how)

@pytest.fixture(scope="module", params=["query", "kind"])
def routed(request): return request.param, routed_search(request.param)

def test_where_kinds_want_opposite_things_the_router_is_recommended_and_its_interval_holds_the_truth(routed):
    per, got = routed
    new = pd.DataFrame([dict(query_id=str(i), kind=("review", "sum")[i % 2], query=f"What is {i} plus {7 * i % 50}?" if i % 2 else f"Is this review good or bad: film number {i} was {i % 7} hours long") for i in range(1000, 1200)])
    took = got.router.choices(list(new["query"]), None if per == "query" else list(new["kind"]))["prompt"]
    true = np.mean([opposed(f"{p} {q}") - opposed(f"{KINDS.baseline} {q}") for p, q in zip(took, new["query"])])
    assert got.is_routed and true > .25 and got.routed.gain.lo <= true <= got.routed.gain.hi
    assert got.answer.verdict == "ok" and "Use the router" in repr(got) and ".router .routed" in repr(got)
    assert got.messages(new["query"][1], "sum") == got.router(new["query"][1], "sum") and OPPOSED["think"] in got.messages(new["query"][1], "sum")[0]["content"]
    assert max(abs(np.mean([opposed(f"{p} {q}") - .5 for q in new["query"]])) for p in got.router.prompts) < .01 # no single prompt gains anything

def test_the_calls_of_a_router_s_confirmation_are_within_the_cap(routed, tmp_path):
    _, got = routed
    assert got.ledger.loc[got.ledger["paid"] == "once", "requests"].sum() <= 600 and len(got.fresh) <= call_shares(600).fresh
    assert not {*got.fresh["query_id"]} & {*got.log.frame["query_id"]} and got.fresh.groupby("query_id")["prompt"].nunique().max() <= 3
    assert "One prompt for each query?" in got.report(tmp_path/"r.html").read_text(encoding="utf-8")

def test_where_all_queries_gain_alike_the_single_prompt_is_recommended():
    got = routed_search("kind", lambda messages: "yes" if rng(1, messages[0]["content"]).random() < .4 + .5 * (OPPOSED["think"] in messages[0]["content"]) else "no")
    assert not got.is_routed and OPPOSED["think"] in got.prompt and got.gain.lo > 0 and "is not shown to be better" in repr(got) and got.answer.verdict == "ok"
    assert OPPOSED["think"] in got.messages("What is 1 plus 2?", "sum")[0]["content"]

def test_where_nothing_helps_the_baseline_is_kept_though_a_router_was_asked_for():
    got = routed_search("query", lambda messages: "yes" if rng(2, messages[0]["content"]).random() < .5 else "no", calls=200)
    assert got.is_baseline and not got.is_routed and "Keep the baseline" in repr(got)
    assert routed_search("query", lambda messages: "no", calls=60).router is None

def test_without_asking_for_one_there_is_no_router(found): assert found.router is None and found.routed is None and ".router" not in repr(found)

def test_a_routed_search_that_was_interrupted_goes_on_and_asks_nothing_twice(tmp_path):
    sent = Counter()
    def stopped(messages):
        sent["n"] += 1
        if sent["n"] == 200: os.kill(os.getpid(), signal.SIGINT) # in the confirmation
        return "yes" if rng(0, messages[0]["content"]).random() < opposed(messages[0]["content"]) else "no"
    first = routed_search("kind", stopped, calls=240, folder=tmp_path)
    assert "interrupted" in first.unfinished
    again = routed_search("kind", stopped, calls=240, folder=tmp_path)
    assert not again.unfinished and again.routed.n > 10 and sent["n"] <= 240 + 8
    with pytest.raises(ValueError, match="another per"): routed_search("query", stopped, calls=240, folder=tmp_path)


def test_the_bar_says_spend_time_left_and_the_best_so_far_with_its_interval(capsys, monkeypatch):
    notes = []
    monkeypatch.setattr("tqdm.std.tqdm.set_postfix_str", lambda self, text, **_: notes.append(text))
    routed_search("all", calls=120, show=True)
    assert notes[0].startswith("step 1 of 3, best so far the baseline; ") and "tokens, 0 without answer" in notes[0]
    assert re.match(r"step [23] of 3, best so far [+-]\d\.\d\d \([+-]\d\.\d\d to [+-]\d\.\d\d\); ", next(n for n in notes if n.startswith("step 2")))
    notes.clear()
    routed_search("all", calls=120) # no bar, nothing worked out for it
    assert all("best so far the baseline" in n for n in notes if n.startswith("step 2"))


# ---- kill -9

def _searching(folder):
    def slow(messages):
        time.sleep(.02)
        with open(f"{folder}.asked", "a") as f: f.write("x")
        return answers(messages)
    prompt = search(slow, calls=200, folder=folder).prompt
    with open(f"{folder}.prompt", "w") as f: f.write(prompt)

def _after_kills(folder, kills):
    "The prompt, how often the model was asked, and the record, of a search that was killed when the model had been asked so often."
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["causal_prompts.optimizing", "openai", "filelock", "test_optimize"])
    asked = folder.with_name(f"{folder.name}.asked")
    for least in [*kills, None]:
        p = context.Process(target=_searching, args=(folder,))
        p.start()
        while least and p.is_alive() and (not asked.exists() or asked.stat().st_size < least): time.sleep(.005)
        if least: p.kill()
        p.join()
        assert p.exitcode == (-9 if least else 0)
    lines = [json.loads(line) for line in (folder/"calls.jsonl").read_text().splitlines()]
    return folder.with_name(f"{folder.name}.prompt").read_text(), asked.stat().st_size, lines

def test_killed_at_any_moment_and_run_again_the_prompt_is_the_same(tmp_path):
    whole, *_ = _after_kills(tmp_path/"whole", [])
    killed, n, lines = _after_kills(tmp_path/"killed", [30, 110])
    replies = [line["key"] for line in lines if line["kind"] == "reply"]
    assert killed == whole and len(replies) == len({*replies})
    assert n <= 200 and sum(line["kind"] == "sent" for line in lines) <= 200


# ---- what a review has found

def test_fresh_queries_are_drawn_from_all_kinds_though_the_items_are_sorted_by_kind():
    "Two finalists ask fewer fresh queries than were set aside; which of them must not depend on their place."
    items = pd.DataFrame([dict(query=f"{kind} {i:03d}?", reference="x", kind=kind) for kind in "ABC" for i in range(300)])
    def model(messages):
        query, prompt = messages[-1]["content"][-6:], messages[-1]["content"]
        p = .4 + ("Think" in prompt) * (-.3 if query[0] == "C" else .4) + ("Check" in prompt) * .1
        return "x" if rng(0, prompt, query).random() < p else "y"
    task = Task("sorted", items, cp.graders.exact(), "Answer.")
    got = cp.optimize(task, model, parts=["Think step by step.", "Check your result.", "Write a poem first."], calls=1800, show=False)
    kinds = got.fresh.drop_duplicates("query_id")["query"].str[0].value_counts()
    assert len(kinds) == 3 and kinds.min() > .6 * kinds.mean()

def test_a_model_that_never_answers_ends_the_search_and_says_why():
    def dead(messages): raise ValueError("boom")
    got = search(dead, calls=60)
    assert "no answer came" in got.unfinished and "boom" in got.unfinished and got.is_baseline and "check the grader" not in got.answer.reading

def test_a_folder_belongs_to_the_settings_of_its_models(tmp_path):
    llm = as_llm(answers)
    search(llm, calls=60, folder=tmp_path)
    from dataclasses import replace
    with pytest.raises(ValueError, match="with another llm; run with the same arguments"): search(replace(llm, settings=dict(max_tokens=7)), calls=60, folder=tmp_path)

def test_one_sentence_has_a_result_without_effects(tmp_path):
    got = search(parts=[SENTENCES["steps"]], calls=120)
    assert got.parts is None and not len(got.effects)
    got.report(tmp_path/"r.html")
    assert (tmp_path/"r.html").stat().st_size > 1000

def test_an_interruption_while_the_writer_is_asked_returns_what_there_is():
    def writer(messages): os.kill(os.getpid(), signal.SIGINT); time.sleep(1); return ""
    got = search(parts=None, writer=writer, calls=120)
    assert got.unfinished == "it was interrupted" and got.is_baseline

def test_fresh_queries_without_an_answer_are_told_and_make_the_verdict_a_caution():
    def patchy(messages):
        query, prompt = asked(messages)
        if len(query) % 3 and "step by step" in prompt: raise ValueError("filtered")
        return answers(messages)
    got = search(patchy, calls=300)
    assert got.fresh["score"].isna().mean() > .2 and got.answer.verdict == "caution"
    assert not len(got.finalists) or "have no answer under one of the two" in got.answer.reading

@pytest.mark.parametrize("parts, match", [
    (["Restate {query} first.", "Be brief."], "parts must hold no placeholders, got 'Restate {query} first.'"),
    ([TASK.baseline, "Be brief."], "parts must say what the baseline does not, got")])
def test_named_sentences_are_checked(parts, match):
    with pytest.raises(ValueError, match=match): search(parts=parts)
