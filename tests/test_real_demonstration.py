"The demonstration on a model that answers: the choice is told as the prediction it is, fresh queries decide, nothing better is said to be nothing better, no call is made twice."
import json, os, re, signal, subprocess, sys, time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fakes import Words
from scipy import stats
from test_llm import answer, error, stub
from tiny_model import tiny_model

from causal_prompts import real_demonstration as demo
from causal_prompts.banks import Bank
from causal_prompts.cli import main
from causal_prompts.confirmation import confirmed, LEAST_FRESH
from causal_prompts.connection import Limits
from causal_prompts.core import content_id, mean_interval, rng
from causal_prompts.llm import LLM
from causal_prompts.real_demonstration import real_sections
from causal_prompts.record import Record
from causal_prompts.reporting import as_text
from causal_prompts.tasks import Task
from causal_prompts.triplets import Triplets

ROOT = Path(__file__).resolve().parents[1]
BANK = Bank.of(dict(nice="Be kind.", ask="Which number?", brief="Answer briefly.", verse="Answer in verse.", care="Take care.", steps="Think in steps."), required=["ask"], separator=" ")
WHOLE, BARE = BANK.prompt(BANK.ids), "Which number?"
PROMPTS = dict(whole=WHOLE, bare=BARE, chosen="Which number? Answer briefly.")


def toy(n, first=0, baseline=WHOLE):
    "Queries whose answer is their number; a reply is right or wrong."
    items = pd.DataFrame(dict(query=[f"question {i}" for i in range(first, first + n)], reference=[str(i) for i in range(first, first + n)]))
    return Task("toy", items, lambda reply, item: float(reply == item["reference"]), baseline)

def chance(prompt, effects, base): return base + sum(e for part, e in effects.items() if BANK.parts.set_index("part").loc[part, "wordings"][0] in prompt)

def replies(effects, base, seed=0):
    "A model whose replies are right with a chance that depends on the sentences of the prompt; the same to the same request."
    def script(n, body):
        text = body["messages"][0]["content"]
        luck = int(content_id(str(seed), text)[:12], 16) / 16**12
        return answer(re.search(r"question (\d+)", text)[1] if luck < chance(text, effects, base) else "?")
    return script

def llm_at(server, record=None, **limits):
    return LLM("m", server.url, dict(temperature=0, max_tokens=24), record=Record() if record is None else record, limits=Limits(**dict(concurrency=16, tries=1, timeout=20) | limits), alias="here")

def shown(script, n=60, fresh=60, seed=0, said=None, bank=BANK):
    "Heading -> items of a demonstration with a model that is a script, and the requests that it got."
    with stub(script) as server:
        say, whole = (lambda what: None) if said is None else said.append, bank.prompt(bank.ids)
        sections = {head: items for head, *items in real_sections(bank, toy(n, 0, whole), toy(fresh, n, whole), llm_at(server), seed, say, Words(), show=False)}
    return sections, [r["body"]["messages"][0]["content"] for r in server.seen]

def gain_of(answer, of, over): return next(g for g in answer.facts["gains"] if (g["of"], g["over"]) == (of, over))


# ---- fresh queries decide

def drawn(seed, n, whole, bare, chosen):
    "Scores of three prompts with these expectations, harder and easier queries among them."
    random = rng(seed, "fresh")
    p = np.array([whole, bare, chosen]) + random.uniform(-.2, .2, (n, 1))
    return pd.DataFrame((random.random((n, 3)) < p).astype(float), columns=["whole", "bare", "chosen"])

@pytest.mark.parametrize("n", [24, 120])
def test_both_intervals_together_hold_the_true_gains_in_19_of_20_demonstrations(n):
    found = [confirmed(drawn(seed, n, .4, .5, .55), PROMPTS) for seed in range(500)]
    held = [[g["lo"] <= t <= g["hi"] for g, t in zip(f.facts["gains"], (.15, .05))] for f in found]
    assert .94 <= np.mean(np.all(held, axis=1)) <= .985
    assert abs(np.mean(held, axis=0) - .975).max() < .02

def test_a_false_better_comes_up_in_two_and_a_half_of_a_hundred_at_most():
    used = [confirmed(drawn(seed, 120, .5, .5, .5), PROMPTS).facts["use"] for seed in range(1000)]
    assert .003 < np.mean([u != "whole" for u in used]) < .025 # two intervals of 97.5%, one side of each; the second alone changes nothing
    alone = [confirmed(drawn(seed, 120, .5, .5, .5)[["whole", "bare"]], PROMPTS).facts["use"] for seed in range(1000)]
    assert .012 < np.mean([u == "bare" for u in alone]) < .036

def test_a_gain_is_the_paired_difference_and_what_is_missing_is_left_out_of_it():
    scores = drawn(0, 60, .3, .4, .7)
    scores.loc[:9, "bare"], scores.loc[5:14, "chosen"] = np.nan, np.nan
    answer = confirmed(scores, PROMPTS)
    for over, n in (("whole", 50), ("bare", 45)):
        g, plain = gain_of(answer, "chosen", over), mean_interval(scores["chosen"] - scores[over], alpha=.025)
        assert g["n"] == plain["n"] == n and [g[k] for k in ("mean", "lo", "hi")] == pytest.approx([plain[k] for k in ("mean", "lo", "hi")])
    assert gain_of(answer, "chosen", "whole")["mean"] != pytest.approx((scores["chosen"].fillna(0) - scores["whole"]).mean())

def exactly(whole, bare, chosen, n=100):
    "Scores with these shares of right answers, the right ones on the same queries as far as they go."
    return pd.DataFrame({k: (np.arange(n) < v * n).astype(float) for k, v in dict(whole=whole, bare=bare, chosen=chosen).items() if v is not None})

@pytest.mark.parametrize("shares, use, verdict, said", [
    ((.3, .4, .6), "chosen", "ok", r"^Use the chosen prompt: \+0\.30 over the whole one.*\n'Which number\? Answer briefly\.'\nOn 100 fresh .*97\.5% interval.*over the bare question \(.*\): better"),
    ((.3, .6, .6), "chosen", "ok", r"^Use the chosen prompt.*(.|\n)*over the bare question \(not one of 100 scores differs\): the same"),
    ((.3, .58, .6), "chosen", "ok", r"^Use the chosen prompt.*(.|\n)*\+0\.02 over the bare question .*: not shown to be better"),
    ((.3, .8, .6), "bare", "ok", r"^Just ask: the chosen prompt is better than the whole one \(\+0\.30.*the bare question better than both \(\+0\.20.*\n'Which number\?'\n"),
    ((.5, .3, .52), "whole", "caution", r"^Keep the whole prompt: the chosen prompt is not shown to be better\.\n(.|\n)*Next: ask about more queries"),
    ((.5, .8, .52), "whole", "caution", r"^Keep the whole prompt: the chosen prompt is not shown to be better, and worse than the bare question\.\n(.|\n)*Next: compare the bare question with the whole prompt"),
    ((.5, .1, .2), "whole", "caution", r"^Keep the whole prompt: the chosen prompt is worse\.\n(.|\n)*Next: try other sentences"),
    ((.5, .5, .5), "whole", "caution", r"^Keep the whole prompt: the chosen prompt scores the same on every query\.\n"),
    ((.3, .6, None), "bare", "ok", r"^Just ask: the bare question scores \+0\.30 over the whole prompt.*\n'Which number\?'\n.*\(95% interval"),
    ((.5, .3, None), "whole", "caution", r"^Keep the whole prompt: the bare question is worse\.\nOn 100 fresh"),
    ((.3, None, .6), "chosen", "ok", r"^Use the chosen prompt.*\n.*\n.*\(95% interval [^)]*\)\.\n")])
def test_the_answer_follows_from_the_comparisons(shares, use, verdict, said):
    answer = confirmed(exactly(*shares), PROMPTS)
    assert (answer.facts["use"], answer.verdict, answer.facts["prompt"]) == (use, verdict, PROMPTS[use])
    assert re.search(said, answer.reading), answer.reading
    assert len(answer.table) == len(answer.facts["gains"]) == (2 if None not in shares else 1)

def test_few_fresh_queries_give_no_interval_and_no_claim():
    few = exactly(0, 0, 1, LEAST_FRESH - 1) # all of them right, which looks very sure
    answer = confirmed(few, PROMPTS, dict(effect=.3, lo=.1, hi=.5))
    assert answer.facts["use"] == "whole" and answer.verdict == "caution" and np.isnan(answer.facts["gains"][0]["lo"])
    assert "none: fewer than 20 queries were answered under both" in answer.reading and "Next: run it again" in answer.reading
    assert confirmed(exactly(0, 0, 1, LEAST_FRESH), PROMPTS).facts["use"] == "chosen"
    nothing = confirmed(exactly(.3, .4, .6).assign(chosen=np.nan), PROMPTS)
    assert nothing.facts["use"] == "whole" and "no query was answered under both" in nothing.reading and "nan" not in nothing.reading
    as_text([("The answer", nothing)]), nothing.plot()

@pytest.mark.parametrize("columns", [["whole"], ["chosen", "bare"], ["whole", "bare", "other"]])
def test_scores_under_other_names_are_refused(columns):
    with pytest.raises(ValueError, match="scores must have the columns 'whole' and 'bare' or 'chosen' or both"): confirmed(pd.DataFrame(dict.fromkeys(columns, [0., 1.])), PROMPTS)


# ---- the choice

def simulated(seed, effects, base=.5, n=40):
    "A log of random halves, made without a model, and the reward learned from it."
    task, random = toy(n), rng(seed, "log")
    cells = demo._parts_plan_of(task, BANK, seed)
    text = cells.prompts.set_index("prompt_id")["prompt"]
    frame = cells.cells.assign(query=cells.cells["query_id"].map(task.items.set_index("query_id")["query"]), prompt=cells.cells["prompt_id"].map(text))
    p = [chance(prompt, effects, base) for prompt in frame["prompt"]]
    log = Triplets(frame.assign(score=(random.random(len(frame)) < p).astype(float))[["query_id", "query", "prompt_id", "prompt", "repeat", "propensity", "score"]])
    return demo._reward_of_parts(log, BANK, WHOLE, seed, Words())

@pytest.fixture(scope="module")
def null_worlds(): return [demo._predicted_of_sets(simulated(seed, {}), BANK) for seed in range(10)]

def test_where_nothing_matters_the_winners_prediction_is_too_high_and_its_wide_interval_holds_the_truth(null_worlds):
    best = pd.DataFrame([gains.loc[gains["effect"].idxmax()] for gains in null_worlds])
    assert best["effect"].mean() > 3 * best["effect"].sem() # of gains that are all zero
    held = [(gains["lo"] <= 0).all() and (gains["hi"] >= 0).all() for gains in null_worlds]
    assert np.mean(held) > .9 and ((best["lo"] <= 0) & (best["hi"] >= 0)).all()

def test_the_interval_is_widened_for_all_sets(null_worlds):
    gains = null_worlds[0]
    assert len(gains) == BANK.n_sets - 1 and WHOLE not in set(gains["prompt"])
    half = stats.t.ppf(1 - .05 / 2 / len(gains), 39) * gains["se"] # 40 queries
    assert np.allclose(gains["hi"] - gains["effect"], half) and np.allclose(gains["effect"] - gains["lo"], half)

def test_few_queries_give_a_prediction_without_an_interval():
    reward = simulated(0, {}, n=demo.LEAST_LOGGED - 1)
    best = demo._most_promising(reward, BANK)
    assert np.isnan([best["lo"], best["hi"]]).all() and np.isfinite(best["effect"])
    assert "no interval: the log has fewer than 40 queries" in demo._choice_items(BANK, dict(whole=WHOLE, bare=BARE), best)[0]
    assert np.isfinite(demo._most_promising(simulated(0, {}, n=demo.LEAST_LOGGED), BANK)["lo"])

def test_sets_that_the_log_holds_are_predicted_like_the_others():
    reward = simulated(0, dict(verse=-.3))
    gains, contrasts = demo._predicted_of_sets(reward, BANK).set_index("prompt"), reward.average_effect().set_index("prompt")
    seen = contrasts.index[(contrasts["how"] == "compared in the log") & (contrasts.index != WHOLE)]
    assert len(seen) and (gains.loc[seen, "se"] < contrasts.loc[seen, "se"]).mean() > .9 # what few queries say of a set is far less sure
    assert gains.loc[seen, "se"].max() < 2 * gains["se"].median()


# ---- the whole demonstration with a model whose truth is known

@pytest.fixture(scope="module")
def helped(): return shown(replies(dict(brief=.3, verse=-.4), .5), n=80, fresh=120)

def test_a_sentence_that_helps_and_one_that_hurts_are_found_and_the_gain_holds_on_fresh_queries(helped):
    sections, _ = helped
    assert list(sections) == ["The log", "What each sentence does", "A better prompt?", "On fresh queries", "The answer"]
    effects = sections["What each sentence does"][0].table.set_index("part")
    assert effects.index[effects["lo"] > 0].tolist() == ["Answer briefly."] and effects.index[effects["hi"] < 0].tolist() == ["Answer in verse."]
    answer = sections["The answer"][0]
    chosen = answer.facts["prompt"]
    assert answer.facts["use"] == "chosen" and answer.verdict == "ok" and "Answer briefly." in chosen and "verse" not in chosen
    truth = {"whole": .4, "bare": .3} # without the verse; with the brevity
    for g in answer.facts["gains"]: assert g["lo"] <= truth[g["over"]] <= g["hi"] and g["said"] == "better" and g["n"] == 120
    assert answer.facts["predicted"]["lo"] <= .4 <= answer.facts["predicted"]["hi"]

def test_the_choice_is_told_as_a_prediction_widened_for_the_choice_with_the_prompt_in_full(helped):
    sections, _ = helped
    said, prompt, without = sections["A better prompt?"]
    predicted = sections["The answer"][0].facts["predicted"]
    assert prompt == sections["The answer"][0].facts["prompt"] and "'Answer in verse.'" in without
    assert f"Of {BANK.n_sets - 1} other sets" in said and f"widened for {BANK.n_sets - 1} comparisons" in said and "fresh queries have the last word" in said
    assert f"{predicted['effect']:+.2f} (95% interval {predicted['lo']:+.2f} to {predicted['hi']:+.2f}" in said
    picture = sections["The answer"][0].data
    assert picture["comparison"].tolist() == ["predicted: chosen prompt over whole prompt", "chosen prompt over whole prompt", "chosen prompt over bare question"]

def test_numbers_of_the_sections_agree(helped):
    sections, asked = helped
    said, table = sections["On fresh queries"]
    mean = table.set_index("prompt")["mean_score"]
    for g in sections["The answer"][0].facts["gains"]: assert g["mean"] == pytest.approx(mean["chosen prompt"] - mean["bare question" if g["over"] == "bare" else "whole prompt"])
    assert "120 queries" in said and "97.5% each" in said and "Bonferroni" in said and list(table["queries"]) == [120] * 3
    assert len(asked) == 5 * 80 + 3 * 120 and len(set(asked[400:])) == 3 * 120
    log_queries, fresh_queries = ({int(re.search(r"question (\d+)", text)[1]) for text in part} for part in (asked[:400], asked[400:]))
    assert not log_queries & fresh_queries

def test_where_chance_alone_decides_the_whole_prompt_stays():
    answers = [shown(replies({}, .5, seed), n=40, fresh=60, seed=seed)[0]["The answer"][0] for seed in range(3)]
    for answer in answers:
        assert answer.facts["use"] == "whole" and answer.verdict == "caution" and answer.reading.startswith("Keep the whole prompt") and "'" not in answer.reading.splitlines()[1]

@pytest.mark.parametrize("text", ["?", None])
def test_a_model_that_no_sentence_moves_gives_nothing_to_choose(text):
    sections, asked = shown(lambda n, body: answer(text or re.search(r"question (\d+)", body["messages"][0]["content"])[1]), n=20, fresh=30)
    assert list(sections) == ["The log", "A better prompt?", "On fresh queries", "The answer"]
    assert "no sentence changes anything" in sections["A better prompt?"][0]
    end = sections["The answer"][0]
    assert end.facts["use"] == "whole" and end.facts["predicted"] is None and "the bare question scores the same on every query" in end.reading
    assert len(asked) == 5 * 20 + 2 * 30 and len(set(asked[100:])) == 2 * 30

def test_a_choice_that_is_the_bare_question_is_asked_once():
    bank = Bank.of(dict(ask="Which number?", verse="Answer in verse.", steps="Think in steps."), required=["ask"], separator=" ")
    sections, asked = shown(replies(dict(verse=-.4, steps=-.4), .9), n=60, fresh=60, bank=bank)
    said, that, prompt = sections["A better prompt?"]
    assert said.startswith("Of 3 other sets") and that == "It is the bare question." and prompt == BARE and len(asked) == 5 * 60 + 2 * 60 and len(set(asked[300:])) == 2 * 60
    end = sections["The answer"][0]
    assert end.facts["use"] == "bare" and end.reading.startswith("Just ask: the bare question scores +0.") and len(end.facts["gains"]) == 1 and end.facts["predicted"]["effect"] > 0
    assert "95% interval" in end.reading and "an interval of 95%" in sections["On fresh queries"][0]

def test_where_every_sentence_helps_the_whole_prompt_is_compared_with_just_asking():
    sections, asked = shown(replies({part: .17 for part in BANK.ids if part != "ask"}, .1), n=80, fresh=60)
    said, that, prompt = sections["A better prompt?"]
    assert said.startswith(f"None of {BANK.n_sets - 1} other sets of sentences is predicted to be better") and prompt == BARE and len(asked) == 5 * 80 + 2 * 60
    end = sections["The answer"][0]
    assert end.reading.startswith("Keep the whole prompt: the bare question is worse.") and end.facts["predicted"] is None

def test_calls_that_failed_are_missing_and_no_zeros():
    right = replies({}, 1.)
    def script(n, body):
        text = body["messages"][0]["content"]
        return error(422) if int(content_id(text)[:4], 16) % 5 == 0 else right(n, body)
    sections, _ = shown(script, n=30, fresh=40)
    said, table = sections["The log"][0], sections["On fresh queries"][1]
    assert int(re.search(r"; (\d+) are missing", said)[1]) > 15
    assert (table["queries"] < 40).all() and (table["mean_score"] == 1).all() # what was answered was right
    gains = sections["The answer"][0].facts["gains"]
    assert all(g["mean"] == 0 and g["n"] < 40 for g in gains)

def test_replies_that_were_cut_are_counted_and_graded():
    def script(n, body):
        text = body["messages"][0]["content"]
        return answer(re.search(r"question (\d+)", text)[1] if "verse" not in text else "Shall I", finish="length" if "verse" in text else "stop")
    sections, asked = shown(script, n=30, fresh=30)
    cut = sum("verse" in text for text in asked[:150])
    assert f"{cut} of 150 replies were cut at 24 tokens." in sections["The log"][0]
    table = sections["On fresh queries"][1].set_index("prompt")
    assert table.loc["whole prompt", ["cut", "queries", "mean_score"]].tolist() == [30, 30, 0] and table.loc["bare question", "cut"] == 0

def test_what_is_being_done_is_said():
    said = []
    shown(replies(dict(verse=-.4), .7), n=20, fresh=20, said=said)
    assert said[0] == "log: 100 calls" and re.fullmatch(r"log: [\d.]+ calls a second", said[1]) and "learning" in said[2] and said[3].startswith("fresh queries: ") and len(said) == 5

def test_answers_in_the_record_are_not_asked_for_again(tmp_path):
    first, said, script = [], [], replies(dict(verse=-.4), .7)
    record = Record(tmp_path/"calls.jsonl")
    with stub(script) as server: # it stops in the middle
        with pytest.raises(KeyboardInterrupt):
            for _, *_ in real_sections(BANK, toy(20), toy(20, 20), llm_at(server, record), 0, first.append, Words(), show=False):
                if len(first) > 2: raise KeyboardInterrupt
        asked = len(server.seen)
    record.close()
    again = Record(tmp_path/"calls.jsonl")
    with stub(script) as server:
        sections = list(real_sections(BANK, toy(20), toy(20, 20), llm_at(server, again), 0, said.append, Words(), show=False))
        assert asked == 100 and said[0] == "log: 0 calls (100 more are in the record)" and len(server.seen) == 20 * len(sections[-2][2])
    again.close()

def test_a_task_whose_baseline_is_the_bare_question_is_refused():
    with pytest.raises(ValueError, match="the baseline of the task must hold sentences that can be left out, got the bare question"):
        next(real_sections(BANK, replace(toy(20), baseline=BARE), toy(20, 20), None))


# ---- the command

@pytest.fixture(scope="module")
def folder(tmp_path_factory): return tiny_model(tmp_path_factory.mktemp("hub")/"tiny", window=1024)

SMALL = ("demo", "--real", "--calls", "50", "--fresh", "20", "--model")

def lines_of(out): return [json.loads(line) for line in (out/"calls.jsonl").read_text().splitlines()]

def answered(out): return [line["key"] for line in lines_of(out) if "text" in line]

def test_the_command_prints_and_writes_and_says_how_to_go_on(folder, tmp_path, capsys):
    assert main([*SMALL, str(folder), "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "loading the model" in err and "log: 50 calls" in err and "fresh queries: 40 calls" in err and "replies were cut at 24 tokens" in " ".join(out.split())
    end = out[out.index("The answer\n"):]
    assert "Keep the whole prompt" in end and end.index("Report:") < end.index(f"causal-prompts demo --real --calls 100 --fresh 40 --seed 1 --model {folder} --out {tmp_path}\n") < end.index("causal-prompts collect --task FILE")
    page = (tmp_path/"report.html").read_text()
    assert page.index("Keep the whole prompt") < page.index("<figure>") < page.index("<details") < page.index("The log")
    keys = answered(tmp_path)
    assert len(keys) == len(set(keys)) == 90
    assert main([*SMALL, str(folder), "--out", str(tmp_path)]) == 0
    assert "log: 0 calls (50 more are in the record)" in capsys.readouterr().err and answered(tmp_path) == keys

def test_answers_of_another_model_of_the_same_name_do_not_count(folder, tmp_path, capsys):
    other = tiny_model(tmp_path/"tiny", window=1024, seed=1)
    for model in (folder, other): assert main([*SMALL, str(model), "--out", str(tmp_path/"out")]) == 0
    assert len(set(answered(tmp_path/"out"))) == 180

def test_a_demonstration_that_was_killed_goes_on_where_it_stopped(folder, tmp_path, capsys):
    command = [sys.executable, "-m", "causal_prompts.cli", *SMALL, str(folder), "--out", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | dict(PYTHONPATH=str(ROOT)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 300
        while not ((tmp_path/"calls.jsonl").exists() and (tmp_path/"calls.jsonl").read_bytes().count(b'"text"')):
            assert process.poll() is None and time.monotonic() < end, "it never asked"
            time.sleep(.005)
    finally: process.send_signal(signal.SIGKILL); process.wait()
    before = (tmp_path/"calls.jsonl").read_bytes().count(b'"text"')
    assert 0 < before < 90
    assert main([*SMALL, str(folder), "--out", str(tmp_path)]) == 0
    keys = answered(tmp_path)
    assert len(keys) == len(set(keys)) == 90 and (tmp_path/"report.html").exists()

@pytest.mark.parametrize("flags, match", [
    (["--real", "--calls", "10"], "--calls must be a whole number >= 50, five for each query of the log, got 10"),
    (["--real", "--fresh", "5"], "--fresh must be a whole number >= 20, below which no gain can be confirmed, got 5"),
    (["--real", "--queries", "60"], "--queries does nothing with --real, got 60; leave it out"),
    (["--calls", "60"], "--calls does nothing without --real, got 60; leave it out"), (["--model", "x.gguf"], "--model does nothing without --real")])
def test_numbers_that_say_nothing_and_flags_that_do_nothing_are_refused(flags, match, tmp_path, capsys):
    assert main(["demo", *flags, "--out", str(tmp_path)]) == 2
    assert match in capsys.readouterr().err and not (tmp_path/"report.html").exists()

def test_an_interrupt_says_what_is_kept(folder, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt
        yield
    monkeypatch.setattr(demo, "real_sections", interrupted)
    assert main([*SMALL, str(folder), "--out", str(tmp_path)]) == 130
    assert "what was answered is kept in" in capsys.readouterr().err
