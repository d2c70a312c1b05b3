"""Importers of evaluations on files that the tools wrote (tests/fixtures/make), whole and spoiled."""
import gzip, json, re, shutil, tempfile, warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from causal_prompts import eval_importers as ev
from causal_prompts import reading, tool_logs
from causal_prompts.core import LogError
from causal_prompts.triplets import Triplets

FILES = Path(__file__).parent/"fixtures"
BRIEF, FRIENDLY = "Answer in one line.", "Answer kindly and at length."
TEXTS = dict(brief=BRIEF, friendly=FRIENDLY)
ASKED = {"When do you open?", "Is parking free?", "Can I bring my dog?", "Where is the lift?", "How do I get a refund?"}
SHORT = dict(brief=[.5, .25, 1., .25, .17], friendly=[.12, .12, .12, np.nan, .12]) # one divided by the words of an answer
pytestmark = pytest.mark.filterwarnings("ignore:the log has .* an interval needs many:UserWarning", "ignore:100.0% of the scores are:UserWarning")


def refused(says): return pytest.raises(LogError, match=re.compile(says, re.S))

def data(name): return json.loads((FILES/name).read_text())

def written(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path

def means(log): return {p: round(float(m), 4) for p, m in log.frame.groupby("prompt")["score"].mean().items()}

def both(tool, ending=".csv"): return [FILES/tool/f"{n}{ending}" for n in TEXTS]

def every():
    "A log of the ten answers from each tool: four of five right in one line, none of four kindly."
    return dict(
        deepeval=ev.deepeval(FILES/"deepeval/runs", score="Correct"), ragas=ev.ragas(both("ragas"), score="exact_match", prompt=TEXTS),
        openai_evals=ev.openai_evals(FILES/"openai_evals/output_items.jsonl", score="correct"), langsmith=ev.langsmith(both("langsmith"), score="correct", prompt=TEXTS))


# ---- all of them

@pytest.mark.parametrize("tool", ["deepeval", "ragas", "openai_evals", "langsmith"])
def test_each_log_has_its_rows_queries_prompts_and_means(tool, tmp_path):
    log = every()[tool]
    ends = "\n\n{query}" if tool == "deepeval" else ""
    assert len(log) == 10 and set(log.queries["query"]) == ASKED and log.frame["repeat"].eq(0).all()
    assert means(log) == {BRIEF + ends: .8, FRIENDLY + ends: 0.}
    lost = log.frame[log.frame["score"].isna()]
    assert lost[["query", "prompt"]].values.tolist() == [["Where is the lift?", FRIENDLY + ends]] and lost["error"].str.contains("timed out|not scored").all()
    assert Triplets.read(log.write(tmp_path/"log.parquet")).frame.equals(log.frame)

@pytest.mark.parametrize("read, got", [
    (lambda: ev.deepeval(FILES/"deepeval/runs"), "Correct, Short"), (lambda: ev.deepeval(FILES/"deepeval/runs", score="Polite"), "no 'Polite'; there are Correct, Short"),
    (lambda: ev.ragas(both("ragas"), prompt=TEXTS), "exact_match, non_llm_string_similarity"), (lambda: ev.ragas(both("ragas"), "polite", TEXTS), "no 'polite'; there are exact_match"),
    (lambda: ev.openai_evals(FILES/"openai_evals/output_items.jsonl"), "correct, short"), (lambda: ev.openai_evals(FILES/"openai_evals/brief.jsonl", "polite"), "no 'polite'; there are correct"),
    (lambda: ev.langsmith(both("langsmith"), prompt=TEXTS), "correct, short"), (lambda: ev.langsmith(both("langsmith"), "polite", prompt=TEXTS), "no 'polite'; there are correct, short"),
    (lambda: ev.helm(FILES/"helm"), "exact_match, quasi_exact_match"), (lambda: ev.helm(FILES/"helm", "polite"), "no 'polite'; there are exact_match")])
def test_of_several_scores_one_is_named(read, got):
    with refused(rf"column 'score': got.*{got}.*name one with score="): read()

@pytest.mark.parametrize("read", [lambda: ev.ragas(both("ragas"), "exact_match"), lambda: ev.langsmith(both("langsmith"), "correct"), lambda: ev.deepeval(spoiled(lambda run: run.update(prompts=[])), "Correct")])
def test_what_does_not_record_the_prompt_asks_for_it(read):
    with refused("column 'prompt': got no prompt.*give the template with prompt="): read()

def spoiled(change, name="deepeval/latest_test_run.json", wrapped="testRunData"):
    "A run of deepeval, changed, in a file."
    raw = data(name)
    change(raw[wrapped])
    return written(Path(tempfile.mkdtemp())/"run.json", raw)

def test_a_dict_of_prompts_must_name_the_file():
    with refused("prompts for brief; give one for 'friendly.csv'"): ev.ragas(both("ragas"), "exact_match", dict(brief=BRIEF))

@pytest.mark.parametrize("tool, file, read", [
    ("deepeval", "latest_test_run.json", lambda p: ev.deepeval(p, "Correct")), ("ragas", "brief.csv", lambda p: ev.ragas(p, "exact_match", BRIEF)), ("ragas", "brief.jsonl", lambda p: ev.ragas(p, "exact_match", BRIEF)),
    ("openai_evals", "brief.jsonl", lambda p: ev.openai_evals(p)), ("langsmith", "friendly.csv", lambda p: ev.langsmith(p, "correct", prompt=BRIEF))])
def test_a_file_cut_in_a_row_is_refused_and_a_gzipped_one_read(tool, file, read, tmp_path):
    whole = (FILES/tool/file).read_bytes()
    (tmp_path/file).write_bytes(whole[:-30])
    with refused("cut off|close the quotation mark|complete the row"): read(tmp_path/file)
    (tmp_path/f"{file}.gz").write_bytes(gzip.compress(whole))
    assert read(tmp_path/f"{file}.gz").frame.equals(read(FILES/tool/file).frame)
    (tmp_path/f"cut-{file}.gz").write_bytes(gzip.compress(whole)[:-30])
    with refused("cannot be read"): read(tmp_path/f"cut-{file}.gz")
    (tmp_path/f"empty-{file}").write_text("")
    with refused("an empty file"): read(tmp_path/f"empty-{file}")

def test_a_missing_file_and_a_folder_without_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there must be a file at .*nowhere.json"): ev.deepeval(tmp_path/"nowhere.json")
    with pytest.raises(FileNotFoundError, match=r"the folder must hold test_run_\*.json, got none"): ev.deepeval(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"per_instance_stats.json, got none"): ev.helm(tmp_path)


# ---- deepeval

def test_deepeval_second_metric_and_latest_run():
    log = ev.deepeval(FILES/"deepeval/latest_test_run.json", score="Short")
    assert log.frame["score"].tolist() == pytest.approx(SHORT["friendly"], nan_ok=True) and set(log.frame["model"]) == {"small"}
    counts = data("deepeval/latest_test_run.json")["testRunData"]
    told = next(m for m in counts["metricsScores"] if m["metric"] == "Short")
    assert (log.frame["score"].notna().sum(), log.frame["score"].isna().sum()) == (len(told["scores"]), told["errors"]) == (4, 1)

def case(i, question, score, other=1., **more): return dict(name=f"test_case_{i}", input=question, actualOutput="x", success=True, order=i, metricsData=[dict(name="Relevancy", score=score, success=True), dict(name="Faithful", score=other, success=True)], **more)

def run_of(*cases, **more): return dict(testRunData=dict(testFile="t.py", testCases=list(cases), conversationalTestCases=[], metricsScores=[], prompts=[], **more))

def test_deepeval_without_a_prompt_takes_the_one_given(tmp_path):
    path = written(tmp_path/"latest_test_run.json", run_of(case(0, "Open?", 1.), case(1, "Free?", .2), case(2, "Phone?", .6), testPassed=2, testFailed=1))
    log = ev.deepeval(path, "Relevancy", "Be brief.")
    assert len(log) == 3 and log.frame["score"].mean() == pytest.approx(.6) and list(log.prompts["prompt"]) == ["Be brief."]
    assert ev.deepeval(path, "Faithful", lambda c: "Be brief.").frame["score"].eq(1).all()

def test_deepeval_logged_texts_and_variables(tmp_path):
    logged = run_of(case(0, "Open?", 1.), hyperparameters={"Prompt Template": "Be {{ tone }}", "Model": "m"})
    assert list(ev.deepeval(written(tmp_path/"a.json", logged), "Faithful").prompts["prompt"]) == ["Be {query}"]
    logged["testRunData"]["prompts"] = [dict(alias="a", text_template="{context} and {input}")]
    log = ev.deepeval(written(tmp_path/"b.json", logged), "Faithful")
    assert list(log.prompts["prompt"]) == ["{context} and {query}"] and set(log.frame["model"]) == {"m"}
    logged["testRunData"]["prompts"] = [dict(alias="a", text_template="{one} and {two}")]
    with refused(r"variables one, two; give it with \{query\} in it as prompt="): ev.deepeval(written(tmp_path/"c.json", logged), "Faithful")
    logged["testRunData"]["prompts"] = [dict(alias="a", text_template="x"), dict(alias="b", text_template="y")]
    with refused("no prompt"): ev.deepeval(written(tmp_path/"d.json", logged), "Faithful")

def test_deepeval_result_object_and_repeats(tmp_path):
    result = dict(test_results=[dict(name="a", input="Open?", success=True, metrics_data=[dict(name="m", score=s)]) for s in (1., 0.)], confident_link=None)
    log = ev.deepeval(written(tmp_path/"r.json", result), prompt="p", covariates="name")
    assert log.frame[["query", "repeat", "score"]].values.tolist() == [["Open?", 0, 1.], ["Open?", 1, 0.]]

def test_deepeval_says_where_totals_differ(tmp_path):
    def lose(run): run["testCases"].pop(0)
    with pytest.warns(UserWarning, match="the file says test cases 5, its rows give 4; it may be cut short"): ev.deepeval(spoiled(lose), "Correct")
    def change(run): run["testCases"][0]["metricsData"][0]["score"] = 1.
    with pytest.warns(UserWarning, match="the file says mean of Correct 0, its rows give 0.25"): ev.deepeval(spoiled(change), "Correct")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*the file says")
        ev.deepeval(FILES/"deepeval/runs", score="Correct")

def test_deepeval_keeps_missing_missing(tmp_path):
    cases = [case(0, "a", 1.), case(1, "b", None), case(2, "c", float("nan")), case(3, "d", 0., extra=1), dict(case(4, "e", 1.), metricsData=None)]
    cases[3]["metricsData"][0]["error"] = "the judge timed out"
    log = ev.deepeval(written(tmp_path/"r.json", run_of(*cases)), "Relevancy", "p")
    assert log.frame["score"].notna().tolist() == [True, False, False, False, False] and log.frame["error"].tolist()[3] == "the judge timed out"

def test_deepeval_refuses_what_is_no_single_query(tmp_path):
    talk = run_of()
    talk["testRunData"]["conversationalTestCases"] = [dict(name="c", turns=[], metricsData=[])]
    with refused("conversations"): ev.deepeval(written(tmp_path/"a.json", talk), "m", "p")
    with refused("no test cases"): ev.deepeval(written(tmp_path/"b.json", dict(results=[])), "m", "p")
    twice = case(0, "a", 1.)
    twice["metricsData"][1]["name"] = "Relevancy"
    with refused("two metrics of one name"): ev.deepeval(written(tmp_path/"c.json", run_of(twice)), "Relevancy", "p")
    with refused(r"the score 'good'"): ev.deepeval(written(tmp_path/"d.json", run_of(case(0, "a", "good"))), "Relevancy", "p")


# ---- ragas

def test_ragas_tables_in_each_form_are_one_log(tmp_path):
    first = ev.ragas(both("ragas"), "non_llm_string_similarity", TEXTS).frame
    assert first["score"].tolist() == pytest.approx([1, 1, .07, 1, 1, .05, .23, .21, np.nan, .21], nan_ok=True)
    assert ev.ragas(both("ragas", ".jsonl"), "non_llm_string_similarity", TEXTS).frame.equals(first)
    for n in TEXTS: pd.read_csv(FILES/f"ragas/{n}.csv").to_parquet(tmp_path/f"{n}.parquet")
    assert ev.ragas([tmp_path/f"{n}.parquet" for n in TEXTS], "non_llm_string_similarity", TEXTS).frame.equals(first)

def test_ragas_old_names_and_a_prompt_column(tmp_path):
    old = pd.DataFrame(dict(question=["a?", "b?"], answer="x", contexts="['c']", ground_truth="y", faithfulness=[1., .5], prompt=["p", "q"]))
    old.to_csv(tmp_path/"old.csv", index=False)
    log = ev.ragas(tmp_path/"old.csv", covariates="ground_truth")
    assert log.frame[["query", "prompt", "score"]].values.tolist() == [["a?", "p", 1.], ["b?", "q", .5]] and log.covariates == ["ground_truth"]

def test_ragas_refuses_conversations_and_tables_without_a_metric(tmp_path):
    talk = [dict(user_input=[dict(content="Hi", type="human")], reference="x", m=1.)]
    with refused("the user_input .*single turns"): ev.ragas(written(tmp_path/"talk.json", talk), "m", "p")
    with refused("nothing to take as score"): ev.ragas(written(tmp_path/"none.json", [dict(user_input="a", response="b", reference="c")]), prompt="p")


# ---- OpenAI evals

def test_oaieval_log_counts_an_empty_answer_as_the_tool_does():
    log = ev.openai_evals(both("openai_evals", ".jsonl"))
    assert means(log) == {BRIEF: .8, FRIENDLY: 0.} and log.frame["score"].notna().all() and set(log.queries["query"]) == ASKED
    assert set(log.frame["model"]) == {"small"} and set(log.frame["task"]) == {"support-brief", "support-friendly"}

def events(name="brief"): return [json.loads(l) for l in (FILES/f"openai_evals/{name}.jsonl").read_text().splitlines()]

def lines(path, rows): return written(path, "\n".join(map(json.dumps, rows)) + "\n")

def test_oaieval_samples_without_a_match_are_missing_and_totals_are_checked(tmp_path):
    rows = [e for e in events() if not (e.get("type") == "match" and e["sample_id"].endswith(".1"))]
    with pytest.warns(UserWarning, match="the file says mean of correct 0.8, its rows give 0.75"): log = ev.openai_evals(lines(tmp_path/"a.jsonl", rows))
    assert log.frame.set_index("query")["score"].isna().sum() == 1 and log.frame["error"].dropna().tolist() == ["not scored"]
    failed = next(e for e in events() if e.get("type") == "match")
    rows = [dict(e, type="error", data=dict(type="Timeout", message="too slow")) if e == failed else e for e in events()]
    with pytest.warns(UserWarning, match="the file says"): log = ev.openai_evals(lines(tmp_path/"b.jsonl", rows))
    assert log.frame["error"].dropna().tolist() == ["too slow"]

def test_oaieval_metrics_of_other_graders(tmp_path):
    rows = [e | dict(type="metrics", data=dict(f1_score=.5, note="x")) if e.get("type") == "match" else e for e in events()]
    assert ev.openai_evals(lines(tmp_path/"a.jsonl", rows)).frame["score"].eq(.5).all()
    two = rows + [r for r in rows if r.get("type") == "metrics"]
    with refused(r"several events of one sample with \['f1_score'\]"): ev.openai_evals(lines(tmp_path/"b.jsonl", two))

def test_oaieval_texts_that_hold_the_query(tmp_path):
    rows = events()
    for e in rows:
        if e.get("type") == "sampling": e["data"]["prompt"] = "Q: {}\nA:".format(e["data"]["prompt"][1]["content"])
    path = lines(tmp_path/"text.jsonl", rows)
    with pytest.warns(UserWarning, match="taken for the query as a whole; .*give prompt="): whole = ev.openai_evals(path)
    assert list(whole.prompts["prompt"]) == ["{query}"] and "Q: Is parking free?\nA:" in set(whole.queries["query"])
    log = ev.openai_evals(path, prompt="Q: {query}\nA:")
    assert set(log.queries["query"]) == ASKED and list(log.prompts["prompt"]) == ["Q: {query}\nA:"]
    with refused("the text 'Q: .*give a prompt="): ev.openai_evals(path, prompt="Frage: {query}")

def test_output_items_with_the_question_inside_a_message(tmp_path):
    rows = [json.loads(l) for l in (FILES/"openai_evals/output_items.jsonl").read_text().splitlines()]
    for r in rows: r["sample"]["input"][1]["content"] = f"Question: {r['datasource_item']['question']} Answer:"
    log = ev.openai_evals(lines(tmp_path/"a.jsonl", rows), "correct", covariates="answer")
    assert set(log.queries["query"]) == ASKED and set(log.prompts["prompt"]) == {f"{p}\n\nQuestion: {{query}} Answer:" for p in (BRIEF, FRIENDLY)}
    pages = dict(object="list", data=rows, has_more=False)
    assert ev.openai_evals(written(tmp_path/"b.json", pages), "correct").frame["score"].count() == 9

def test_what_is_no_log_of_openai(tmp_path):
    with refused("neither events nor output items"): ev.openai_evals(lines(tmp_path/"a.jsonl", [dict(a=1)]))
    with refused("no event of a sample"): ev.openai_evals(lines(tmp_path/"b.jsonl", events()[:2]))


# ---- HELM

def test_helm_rows_and_means():
    log = ev.helm(FILES/"helm", "exact_match", covariates="split")
    assert means(log) == {f"{BRIEF}\n\nQuestion: {{query}}": .75, f"{FRIENDLY}\n\nQuestion: {{query}}\nThank you": 0.}
    assert set(log.queries["query"]) == {"Repeat: open", "Repeat: parking", "Opposite: open", "Repeat: lift"} and set(log.frame["model"]) == {"simple/model1"}
    assert log.frame[log.frame["score"].eq(0) & log.frame["prompt"].str.startswith(BRIEF)]["query"].tolist() == ["Opposite: open"]
    assert ev.helm(FILES/"helm/words_style=brief,model=simple_model1", "exact_match").frame["score"].sum() == 3

@pytest.fixture
def run(tmp_path): return Path(shutil.copytree(FILES/"helm/words_style=brief,model=simple_model1", tmp_path/"run"))

def changed(run, name, change):
    value = json.loads((run/name).read_text())
    change(value)
    (run/name).write_text(json.dumps(value))

def test_helm_failed_requests_and_lost_instances_are_missing(run):
    changed(run, "scenario_state.json", lambda s: s["request_states"][0]["result"].update(success=False, error="rate limit"))
    with pytest.warns(UserWarning, match="the file says mean of exact_match 0.75, its rows give 0.666667"): log = ev.helm(run, "exact_match")
    assert log.frame["error"].dropna().tolist() == ["rate limit"] and len(log) == 4
    changed(run, "per_instance_stats.json", lambda s: s.pop(1))
    with pytest.warns(UserWarning, match="the file says"): assert ev.helm(run, "exact_match").frame["error"].dropna().tolist() == ["rate limit", "not scored"]

def test_helm_needs_both_files(run):
    (run/"scenario_state.json").unlink()
    with pytest.raises(FileNotFoundError, match="a run's folder must hold scenario_state.json, got 'run' without"): ev.helm(run)

def test_helm_choices_belong_to_the_query(run):
    def choices(state):
        state["adapter_spec"] |= dict(method="multiple_choice_joint", output_prefix="Answer: ")
        for i, s in enumerate(state["request_states"]): s["request"]["prompt"] = f"Take one.\n\nQuestion: {s['instance']['input']['text']}\nA. yes {i}\nB. no\nAnswer:"
    changed(run, "scenario_state.json", choices)
    log = ev.helm(run, "exact_match")
    assert list(log.prompts["prompt"]) == ["Take one.\n\nQuestion: {query}\nAnswer:"] and "Repeat: lift\nA. yes 3\nB. no" in set(log.queries["query"])

def test_helm_books_are_no_scores(run):
    with refused("no 'num_completion_tokens'; there are exact_match"): ev.helm(run, "num_completion_tokens")


# ---- LangSmith

def test_langsmith_errors_win_over_scores(tmp_path):
    frame = pd.read_csv(FILES/"langsmith/friendly.csv")
    frame["feedback.correct"] = frame["feedback.correct"].fillna(0.) # as an evaluator would have it that takes no answer for a wrong one
    frame.to_csv(tmp_path/"filled.csv", index=False)
    log = ev.langsmith(tmp_path/"filled.csv", "correct", prompt="p", covariates="reference.answer")
    assert log.frame["score"].count() == 4 and log.frame["error"].dropna().str.contains("timed out").all()

def test_langsmith_other_spellings_and_several_inputs(tmp_path):
    frame = pd.read_csv(FILES/"langsmith/brief.csv").rename(columns={"inputs.question": "input.question"}).assign(**{"input.style": "x"})
    frame.to_csv(tmp_path/"a.csv", index=False)
    assert set(ev.langsmith(tmp_path/"a.csv", "correct", prompt="p").queries["query"]) == ASKED
    frame = frame.rename(columns={"input.question": "input.a"})
    frame.to_csv(tmp_path/"b.csv", index=False)
    with refused("column 'query': got items in which no one field is the query.*name it with query="): ev.langsmith(tmp_path/"b.csv", "correct", prompt="p")
    assert set(ev.langsmith(tmp_path/"b.csv", "correct", "a", "p").queries["query"]) == ASKED

def test_langsmith_feedback_in_words(tmp_path):
    frame = pd.read_csv(FILES/"langsmith/brief.csv").assign(**{"feedback.correct": ["yes", "no", "True", "pass", None]})
    frame.to_csv(tmp_path/"a.csv", index=False)
    assert ev.langsmith(tmp_path/"a.csv", "correct", prompt="p").frame["score"].tolist() == pytest.approx([1, 0, 1, 1, np.nan], nan_ok=True)


# ---- what they have in common

def test_conversations_belong_to_the_query_and_examples_to_the_prompt():
    say = lambda role, text: dict(role=role, content=text)
    shots = [say("user", "1+1"), say("assistant", "2")]
    few = [[say("system", "Add."), *shots, say("user", q)] for q in ("2+2", "3+3")]
    assert reading.chats(few) == [("2+2", "Add.\n\n1+1\n\n2"), ("3+3", "Add.\n\n1+1\n\n2")]
    talk = [[say("system", "Help."), say("user", a), say("assistant", "yes?"), say("user", "go on")] for a in ("cats", "dogs")]
    assert reading.chats(talk) == [("cats\n\nyes?\n\ngo on", "Help."), ("dogs\n\nyes?\n\ngo on", "Help.")]
    assert reading.chats([[], [say("assistant", "x")], None]) == [(None, None)] * 3

def test_messages_of_other_makers():
    assert reading.turns([dict(type="human", content="a"), {"message.role": "ai", "message.content": "b"}, dict(role="developer", content="c")]) == [("user", "a"), ("assistant", "b"), ("system", "c")]
    two = [[dict(role="user", content=[dict(type="text", text="What is this?"), dict(type="image_url", image_url=dict(url=u))])] for u in ("cat.png", "dog.png")]
    (cat, _), (dog, _) = reading.chats(two)
    assert cat != dog and cat.startswith("What is this?\n[image_url ")

@pytest.mark.parametrize("value, score", [(True, 1.), (np.bool_(False), 0.), ("yes", 1.), ("0.5", .5), (3, 3.), (None, np.nan), ("", np.nan), ("nan", np.nan)])
def test_scores_that_can_be_read(value, score): assert tool_logs.scored(value, None, "f")["score"] == pytest.approx(score, nan_ok=True)

@pytest.mark.parametrize("value", ["good", [1.], dict(a=1)])
def test_scores_that_cannot(value):
    with refused("the score .*name a score that is a number or a truth value"): tool_logs.scored(value, None, "f")

@pytest.mark.parametrize("template, name, ours", [("{{q}} x", None, "{query} x"), ("{q}", None, "{query}"), ("no holes", None, "no holes"), ("{a} {question}", None, "{a} {query}"), ("{a} {b}", "b", "{a} {query}"), ('{"k": 1} {{ x }}', None, '{"k": 1} {query}')])
def test_variables_of_templates(template, name, ours): assert reading.with_query(template, name, "f") == ours

def test_a_folder_of_tables_in_one_form_is_read_once(tmp_path):
    for n in TEXTS: shutil.copy(FILES/f"ragas/{n}.jsonl", tmp_path)
    lines = ev.ragas(tmp_path, score="exact_match", prompt=TEXTS).frame
    assert len(lines) == 10
    for n in TEXTS: shutil.copy(FILES/f"ragas/{n}.csv", tmp_path)
    assert ev.ragas(tmp_path, score="exact_match", prompt=TEXTS).frame.equals(lines)
    assert reading.tables_in([tmp_path/"brief.csv"]) == [tmp_path/"brief.csv"]
