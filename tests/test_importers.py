"""Importers on files that the tools themselves wrote (tests/fixtures/make), and the exporters."""
import json, pickle, re, shutil, warnings, zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causal_prompts import from_inspect, from_lm_eval, importers as im, messages, sources
from causal_prompts.core import LogError, content_id
from causal_prompts.triplets import Triplets

FILES = Path(__file__).parent/"fixtures"
BASE = "Solve the task below."
BRIEF, ANALOGY = f"{BASE} Answer with the result only, no explanation.", f"{BASE} Explain your answer with a playful analogy."
ITEMS = json.loads((FILES/"openai_batch/items.json").read_text())
pytestmark = [pytest.mark.filterwarnings("ignore:the log has .* an interval needs many:UserWarning"), pytest.mark.filterwarnings("ignore:100.0% of the scores are:UserWarning")]


def refused(says): return pytest.raises(LogError, match=re.compile(says, re.S))

def data(name): return json.loads((FILES/name).read_text())

def batch(**how):
    reference = {i["query"]: i["reference"] for i in ITEMS}
    grade = lambda reply, item: reply.endswith(f"Answer: {item['reference']}")
    how = dict(grade=grade, references=reference, prompt=[f"{BASE}\n\n{{query}}", "{query}"]) | how
    return im.openai_batch(FILES/"openai_batch/input.jsonl", [FILES/"openai_batch/output.jsonl", FILES/"openai_batch/errors.jsonl"], **how)

def every():
    "A log from each tool."
    sets = data("gepa/sets.json")
    return dict(
        promptfoo=im.promptfoo(FILES/"promptfoo/results.json"), inspect=im.inspect(FILES/"inspect", scorer="match"), lm_eval=im.lm_eval(FILES/"lm_eval", filter="strict"), mlflow=im.mlflow(FILES/"mlflow/traces.jsonl"),
        openai_batch=batch(), dspy=im.dspy(FILES/"dspy/evaluate.json", prompt=BASE), gepa=im.gepa(FILES/"gepa/result.json", sets["valset"], failure_score=None), promptolution=im.promptolution(cache()))

def cache(): return {(p, x, y): s for p, x, y, s in data("promptolution/cache.json")}

@pytest.fixture(scope="module")
def logs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return every()


# ---- all of them

def test_each_log_is_what_later_pages_take_and_survives_writing(logs, tmp_path):
    for tool, log in logs.items():
        assert isinstance(log, Triplets) and log.frame["query_id"].map(len).eq(16).all()
        again = Triplets.read(log.write(tmp_path/f"{tool}.parquet"))
        assert again.frame.equals(log.frame) and again.adaptive == log.adaptive, tool

def test_searches_are_adaptive_and_their_design_says_so(logs):
    for tool, log in logs.items():
        assert log.adaptive == (tool in ("gepa", "promptolution"))
        said = log.design(permutations=0)
        assert ("A search chose the prompts" in said.reading) == log.adaptive == said.facts["adaptive"], tool

def test_the_same_item_has_the_same_id_in_every_tool(logs):
    ids = {content_id(i["query"]) for i in ITEMS}
    for tool in set(logs) - {"promptolution"}: assert set(logs[tool].frame["query_id"]) <= ids, tool

def test_no_query_stands_in_a_prompt(logs):
    for tool, log in logs.items():
        assert not [p for p in log.prompts["prompt"] for q in log.queries["query"] if q in p], tool

def test_what_failed_is_missing_and_says_why(logs):
    for tool, words in dict(promptfoo="500 Internal Server Error", inspect="InternalServerError", lm_eval="empty reply", mlflow="InternalServerError", openai_batch="server had an error", dspy="failed call").items():
        f = logs[tool].frame
        gone = f["score"].isna()
        assert gone.any() and f["error"].notna().equals(gone) and f.loc[gone, "error"].str.contains(words).any(), tool

def test_templates_of_two_tools_are_one_prompt(logs):
    assert f"{BASE}\n\n{{query}}" in set(logs["promptfoo"].prompts["prompt"]) & set(logs["lm_eval"].prompts["prompt"]) & set(logs["mlflow"].prompts["prompt"]) & set(logs["openai_batch"].prompts["prompt"])


# ---- promptfoo

def test_promptfoo_counts_scores_and_errors():
    log, raw = im.promptfoo(FILES/"promptfoo/results.json"), data("promptfoo/results.json")["results"]
    f, stats = log.frame, raw["stats"]
    assert (len(f), len(log.queries), len(log.prompts)) == (36, 3, 3) and sorted(f["repeat"].unique()) == [0, 1]
    assert (f["score"].eq(1).sum(), f["score"].eq(0).sum(), f["score"].isna().sum()) == (stats["successes"], stats["failures"], stats["errors"]) == (20, 10, 6)
    assert list(log.prompts["prompt"]) == [f"{p}\n\n{{query}}" for p in (BASE, BRIEF, ANALOGY)] and set(f["model"]) == {"openai:chat:small", "openai:chat:large"}
    for r in raw["results"]:
        rows = f[(f["query"] == r["vars"]["query"]) & (f["model"] == r["provider"]["id"]) & (f["prompt"] == r["prompt"]["label"].replace("{{query}}", "{query}"))]
        assert (np.nan if r["failureReason"] == 2 else r["score"]) in list(rows["score"]) or rows["score"].isna().any()

def test_naive_pass_rates_would_blame_prompts_for_the_server():
    f = im.promptfoo(FILES/"promptfoo/results.json").frame
    naive, ours = f["score"].fillna(0).groupby(f["prompt"]).mean(), f.groupby("prompt")["score"].mean()
    assert ours.tolist() == pytest.approx([2 / 3] * 3) # three prompts of equal worth ...
    assert naive[f"{ANALOGY}\n\n{{query}}"] == pytest.approx(2 / 3) and (naive.sort_values().iloc[:2] == .5).all() # ... of which two met the failing calls

def test_promptfoo_asks_which_variable_where_two_could_be_it(tmp_path):
    raw = data("promptfoo/results.json")
    for h in raw["results"]["prompts"]: h["raw"] += " {{reference}}"
    path = tmp_path/"two.json"
    path.write_text(json.dumps(raw))
    with refused(r"two.json.*2 variables of the prompts that could be the query, \['query', 'reference'\].*query="): im.promptfoo(path)
    log = im.promptfoo(path, query="query", covariates="reference")
    assert log.prompts["prompt"].str.endswith("{query} [reference]").all() and log.covariates == ["model", "reference"]
    assert set(im.promptfoo(path, query=lambda v: v["query"].upper()).frame["query"]) == {i["query"].upper() for i in ITEMS[:3]}

def test_promptfoo_named_scores(tmp_path):
    raw = data("promptfoo/results.json")
    for k, r in enumerate(raw["results"]["results"]): r["namedScores"] = dict(tone=.25) if k % 2 else {}
    (tmp_path/"named.json").write_text(json.dumps(raw))
    assert im.promptfoo(tmp_path/"named.json", score="tone").frame["score"].dropna().eq(.25).all()


# ---- Inspect

def test_inspect_reads_zstd_stored_parts_and_json_alike():
    log = im.inspect(FILES/"inspect", scorer="match", covariates="words")
    n = log.frame.groupby("prompt")["score"].agg(["size", "count", "sum"])
    assert n.loc[BASE].tolist() == [8, 7, 6] and n.loc[BRIEF].tolist() == [4, 3, 2] and n.loc[f"{ANALOGY}\n\n{{query}}", "size"] == 4
    assert set(log.frame["task"]) == {"world"} and set(log.frame["model"]) == {"openai/small"} and log.covariates == ["words"]
    assert (log.frame["words"] == log.frame["query"].str.split().str.len()).all()

def test_inspect_numbers_epochs():
    f = im.inspect(FILES/"inspect/plain.eval", scorer="includes").frame
    assert f.groupby("query")["repeat"].apply(sorted).eq([[0, 1]] * 4).all()
    assert f[f["score"].isna()][["query", "repeat"]].values.tolist() == [[ITEMS[3]["query"], 1]]

def test_inspect_values_and_scorers(tmp_path):
    with refused(r"plain.eval.*the scorers \['match', 'includes'\].*scorer="): im.inspect(FILES/"inspect/plain.eval")
    log = data("inspect/templated.json")
    values = ["C", "P", "N", dict(a=.5, b="yes")]
    for s, v in zip(log["samples"], values): s["scores"] = dict(match=dict(value=v)) if not s.get("error") else {}
    scored = [s for s in log["samples"] if not s.get("error")][:3]
    (tmp_path/"x.json").write_text(json.dumps(log | dict(samples=scored)))
    assert im.inspect(tmp_path/"x.json").frame["score"].tolist() == [1., .5, 0.]
    scored[0]["scores"] = dict(match=dict(value=values[3]))
    scored[1]["scores"], scored[2]["scores"]["match"]["value"] = {}, float("nan")
    (tmp_path/"y.json").write_text(json.dumps(log | dict(samples=scored)))
    with refused("several values of match: a, b.*value="): im.inspect(tmp_path/"y.json")
    f = im.inspect(tmp_path/"y.json", value="b").frame
    assert f["score"].iloc[0] == 1 and f["score"].isna().sum() == 2 and "not scored" in set(f["error"])

def test_inspect_input_of_several_messages(tmp_path):
    log = data("inspect/templated.json")
    s = log["samples"][0] | dict(error=None, scores=dict(match=dict(value="C")), input=[dict(role="system", content="Be kind."), dict(role="user", content="One?"), dict(role="assistant", content="1"), dict(role="user", content="Two?")])
    s["messages"] = [*s["input"], dict(role="assistant", content="2")]
    (tmp_path/"x.json").write_text(json.dumps(log | dict(samples=[s])))
    row = im.inspect(tmp_path/"x.json").frame.iloc[0]
    assert row["query"] == "One?\n\n1\n\nTwo?" and row["prompt"] == "Be kind."

def test_inspect_sample_that_failed_before_its_prompt_has_that_of_the_log(tmp_path):
    log = data("inspect/templated.json")
    log["samples"][-1] |= dict(messages=[], error=dict(message="no sandbox"), scores={})
    (tmp_path/"x.json").write_text(json.dumps(log))
    f = im.inspect(tmp_path/"x.json", scorer="match").frame
    assert len(f) == 4 and f["prompt"].nunique() == 1 and (f["error"] == "no sandbox").sum() == 1

def test_inspect_damaged_member_is_named(tmp_path):
    raw = bytearray((FILES/"inspect/plain.eval").read_bytes())
    with zipfile.ZipFile(FILES/"inspect/plain.eval") as z: info = z.getinfo("samples/1_epoch_1.json")
    raw[info.header_offset + 80] ^= 0xff
    (tmp_path/"bad.eval").write_bytes(raw)
    with refused("bad.eval.*member samples/1_epoch_1.json that cannot be read.*damaged"): im.inspect(tmp_path/"bad.eval", scorer="match")

def test_inspect_log_of_a_run_that_was_stopped(tmp_path):
    with zipfile.ZipFile(FILES/"inspect/plain.eval") as z: names = [i for i in z.namelist() if i == "_journal/start.json" or i.startswith("samples/2")]
    head, samples = from_inspect.zip_log(FILES/"inspect/plain.eval")
    with zipfile.ZipFile(tmp_path/"part.eval", "w", zipfile.ZIP_DEFLATED) as z: # older logs are deflated; no header.json before the end
        z.writestr("_journal/start.json", json.dumps({k: head[k] for k in ("version", "eval", "plan")}))
        for s in samples[:3]: z.writestr(f"samples/{s['id']}_epoch_{s['epoch']}.json", json.dumps(s))
    assert len(names) == 3 and len(im.inspect(tmp_path/"part.eval", scorer="match")) == 3

def test_inspect_resolves_attachments(tmp_path):
    log = data("inspect/templated.json")
    s = next(s for s in log["samples"] if not s.get("error"))
    text = s["input"]
    s |= dict(input="attachment://abc", attachments=dict(abc=text), messages=[dict(role="user", content=f"{BASE}\n\nattachment://abc")])
    (tmp_path/"x.json").write_text(json.dumps(log | dict(samples=[s])))
    row = im.inspect(tmp_path/"x.json", scorer="match").frame.iloc[0]
    assert row["query"] == text and row["prompt"] == f"{BASE}\n\n{{query}}"


# ---- lm-evaluation-harness

def harness(**how):
    with pytest.warns(UserWarning, match="4 of 24 replies are empty"): return im.lm_eval(FILES/"lm_eval", **how)

def test_lm_eval_counts_and_prompts():
    log = harness(filter="strict", covariates="words")
    assert (len(log), len(log.queries)) == (24, 8) and set(log.prompts["prompt"]) == {f"{BASE}\n\n{{query}}", f"{BRIEF}\n\n{{query}}", ANALOGY} # a description is sent as the system's message
    assert set(log.frame["model"]) == {"small"} and set(log.frame["task"]) == {"world"} and log.covariates == ["words"]
    assert log.design(permutations=0).facts["kind"] != "single" # variants of one data set can be compared
    for f in sorted((FILES/"lm_eval").glob("samples_*")):
        rows = [r for r in map(json.loads, f.read_text().splitlines()) if r["filter"] == "strict"]
        kept = log.frame[log.frame["prompt"].str.startswith({"plain": f"{BASE}\n", "brief": BRIEF, "described": ANALOGY}[f.name.split("_")[2]])].set_index("query")["score"]
        for r in rows: assert np.isnan(kept[r["doc"]["question"]]) if r["resps"] == [[""]] else kept[r["doc"]["question"]] == r["exact_match"]

def test_lm_eval_empty_replies_can_be_kept():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="the log has")
        log = im.lm_eval(FILES/"lm_eval", filter="strict", empty="scored")
    assert log.frame["score"].notna().all() and harness(filter="strict").frame["score"].isna().sum() == 4
    with pytest.raises(ValueError, match="empty must be 'missing' or 'scored', got 'zero'"): im.lm_eval(FILES/"lm_eval", empty="zero")

def test_lm_eval_filters_differ_and_must_be_named():
    with refused(r"several filters, \['strict', 'loose'\].*filter="): im.lm_eval(FILES/"lm_eval")
    strict, loose = harness(filter="strict"), harness(filter="loose")
    assert strict.frame["score"].sum() > loose.frame["score"].sum()

def test_lm_eval_without_the_results_file(tmp_path):
    path = tmp_path/"samples_mine.jsonl"
    shutil.copy(next((FILES/"lm_eval").glob("samples_world_plain*")), path)
    with pytest.warns(UserWarning, match="samples_mine.jsonl: 1 of 8"): log = im.lm_eval(path, filter="strict", model="m", task="t")
    assert set(log.frame["model"]) == {"m"} and list(log.prompts["prompt"]) == [f"{BASE}\n\n{{query}}"]
    with refused("whose query does not stand in what was sent.*prompt="): im.lm_eval(path, filter="strict", query=lambda d: "Q: " + d["question"])
    with pytest.warns(UserWarning, match="1 of 8"): assert im.lm_eval(path, filter="strict", query=lambda d: "Q: " + d["question"], prompt=BASE).prompts["prompt"].tolist() == [BASE]

def test_own_prompts_for_every_query_are_suspicious(tmp_path):
    path, out = next((FILES/"lm_eval").glob("samples_world_plain*")), []
    for k, r in enumerate(map(json.loads, path.read_text().splitlines())):
        r["arguments"]["gen_args_0"]["arg_0"] = [f"Example {k}. Question: {r['doc']['question']}"]
        out.append(json.dumps(r))
    (tmp_path/"samples_x.jsonl").write_text("\n".join(out))
    with pytest.warns(UserWarning, match="each of the 8 prompts was used on one query only"): im.lm_eval(tmp_path/"samples_x.jsonl", filter="strict")

def test_lm_eval_example_turns_belong_to_the_prompt():
    sent = from_lm_eval.sent_messages(dict(gen_args_0=dict(arg_0=json.dumps([dict(role="user", content="2 + 2?"), dict(role="assistant", content="4"), dict(role="user", content="3 + 9?")]), arg_1={})))
    assert im.template_of(sent, "3 + 9?") == "2 + 2?\n\n4"
    assert from_lm_eval.sent_messages([["plain text", {}]]) == [dict(role="user", content="plain text")]


# ---- MLflow

def test_mlflow_errors_are_not_zeros():
    log, traces = im.mlflow(FILES/"mlflow/traces.jsonl"), [json.loads(l) for l in (FILES/"mlflow/traces.jsonl").read_text().splitlines()]
    failed = [t for t in traces if t["info"]["state"] == "ERROR"]
    assert len(failed) == 2 and all(a["feedback"]["value"] == 0 for t in failed for a in t["info"]["assessments"] if "feedback" in a) # what the tool says of them
    assert (len(log), len(log.queries), log.frame["score"].isna().sum(), set(log.frame["model"])) == (12, 4, 2, {"small"})
    assert set(log.prompts["prompt"]) == {f"{p}\n\n{{query}}" for p in (BASE, BRIEF, ANALOGY)}
    assert log.frame["score"].sum() == sum(a["feedback"]["value"] for t in traces for a in t["info"]["assessments"] if "feedback" in a)

def test_mlflow_table_of_an_evaluation_with_linked_prompts():
    texts = {f"world/{k}": f"{p}\n\n{{{{query}}}}" for k, p in enumerate((BASE, BRIEF, ANALOGY), 1)}
    traced, table = im.mlflow(FILES/"mlflow/traces.jsonl").frame, im.mlflow(FILES/"mlflow/result_df.json", prompt=texts).frame
    key = ["query", "prompt"]
    both = traced.merge(table, on=key)
    assert len(both) == 12 and both["score_x"].equals(both["score_y"])
    chats = {k: [dict(role="system", content="Be kind."), dict(role="user", content=v)] for k, v in texts.items()}
    assert im.mlflow(FILES/"mlflow/result_df.json", prompt=chats).prompts["prompt"][0] == f"Be kind.\n\n{BASE}\n\n{{query}}"
    assert im.mlflow(pd.DataFrame(data("mlflow/result_df.json")), prompt=texts).frame.equals(table)
    with refused(r"linked to \['world/1'\] with 0 messages.*prompt="): im.mlflow(FILES/"mlflow/result_df.json")

def test_mlflow_table_of_the_older_evaluation():
    log = im.mlflow(FILES/"mlflow/eval_results_table.json", prompt=f"{BASE}\n\n{{query}}", query="query")
    assert log.frame["score"].tolist() == [r[3] for r in data("mlflow/eval_results_table.json")["data"]]
    with refused("a table of results, which holds no prompt.*prompt="): im.mlflow(FILES/"mlflow/eval_results_table.json", query="query")

def test_mlflow_judges_words_overwritten_and_failed_assessments():
    trace = lambda *assessments, state="OK": dict(info=dict(state=state, assessments=list(assessments)), data=dict(spans=[dict(name="a", attributes={"mlflow.spanInputs": json.dumps(dict(messages=[dict(role="system", content="Be kind."), dict(role="user", content="Who are you?")]))})]))
    said = lambda value, **more: dict(assessment_name="good", feedback=dict(value=value), **more)
    log = im.mlflow([trace(said("no", valid=False), said("yes")), trace(said("no")), trace(dict(assessment_name="good", feedback=dict(value=None, error=dict(error_code="TIMEOUT")))), trace(said("yes"), state="ERROR"), trace()])
    assert str(log.frame["score"].tolist()) == "[1.0, 0.0, nan, nan, nan]" and log.frame["prompt"].eq("Be kind.").all() and log.frame["repeat"].tolist() == [0, 1, 2, 3, 4]
    with refused("the feedback .*'good', 'fast'.*score="): im.mlflow([trace(said("yes"), dict(assessment_name="fast", feedback=dict(value=1)))])

def test_mlflow_failure_before_the_model_call_is_left_out_with_a_word():
    traces = [json.loads(l) for l in (FILES/"mlflow/traces.jsonl").read_text().splitlines()]
    for t in traces:
        if t["info"]["state"] == "ERROR": t["data"]["spans"] = t["data"]["spans"][:1]
    with pytest.warns(UserWarning, match="2 failed calls left no trace of their prompt"): assert len(im.mlflow(traces)) == 10


# ---- OpenAI batches

def test_batch_is_graded_and_matched_by_id():
    log = batch()
    assert (len(log), len(log.queries), set(log.prompts["prompt"])) == (36, 12, {f"{BASE}\n\n{{query}}", BRIEF, ANALOGY})
    assert log.frame["score"].isna().sum() == 7 and log.frame["error"].str.contains("completion window").sum() == 1
    replies = {r["custom_id"]: r["response"]["body"]["choices"][0]["message"]["content"] for r in map(json.loads, (FILES/"openai_batch/output.jsonl").read_text().splitlines())}
    for k, p in enumerate((f"{BASE}\n\n{{query}}", BRIEF, ANALOGY)):
        row = log.frame[log.frame["prompt"] == p].set_index("query")["score"]
        for j, i in enumerate(ITEMS):
            if f"p{k}-q{j}" in replies: assert row[i["query"]] == replies[f"p{k}-q{j}"].endswith(f"Answer: {i['reference']}")
            else: assert np.isnan(row[i["query"]])

def test_batch_with_grades_by_id_and_a_grader_that_fails():
    log = batch(grade={"p0-q0": 1, "p0-q1": .5, "p0-q4": 1})
    assert log.frame["score"].notna().sum() == 2 and log.frame["score"].sum() == 1.5 # p0-q4 failed, whatever grade it has
    def picky(reply, item):
        if "742" in reply or item["custom_id"] == "p0-q0": raise RuntimeError("cannot judge")
        return SimpleNamespace(score=np.nan, why="no answer found") if item["custom_id"] == "p0-q1" else .5
    errors = batch(grade=picky).frame.set_index("query").loc[[ITEMS[0]["query"], ITEMS[1]["query"]]]
    errors = errors[errors["prompt"] == f"{BASE}\n\n{{query}}"]
    assert errors["score"].isna().all() and errors["error"].tolist() == ["grader: RuntimeError: cannot judge", "no answer found"]
    async def late(reply, item): return 1.
    with pytest.raises(TypeError, match="not async"): batch(grade=late)
    with pytest.raises(TypeError, match="grade must be a function"): batch(grade="score")

def test_batch_templates_must_fit():
    with refused("request 'p0-q0', without a system message.*as prompt="): batch(prompt=None)
    with refused("request 'p1-q0', which fits none of the templates"): batch(prompt=f"{BASE}\n\n{{query}}")

def test_a_filled_text_gives_back_template_and_query():
    fits = im.matched
    assert fits("Read: a {b} c. Answer.", ["Read: {query}. Answer.", "{query}"]) == ("Read: {query}. Answer.", "a {b} c")
    assert fits("x? Again: x?", ["{query} Again: {query}"]) == ("{query} Again: {query}", "x?")
    assert fits("Table:\n1 2\nQ: how many?", ["Table:\n{table}\nQ: {query}"]) == ("Table:\n{table}\nQ: {query}", "how many?")
    assert fits("Be brief.\n\nWhy?", ["Be brief.", "Be"]) == ("Be brief.", "Why?") and fits("Why?", ["Be brief."]) is None

def test_batch_of_responses(tmp_path):
    body = dict(model="m", instructions="Be brief.", input="What is 2 plus 2?")
    (tmp_path/"in.jsonl").write_text("\n".join(json.dumps(dict(custom_id=str(k), body=body)) for k in range(2)))
    out = dict(custom_id="1", response=dict(status_code=200, body=dict(output=[dict(type="reasoning"), dict(type="message", content=[dict(type="output_text", text="4")])])), error=None)
    (tmp_path/"out.jsonl").write_text(json.dumps(out))
    f = im.openai_batch(tmp_path/"in.jsonl", tmp_path/"out.jsonl", grade=lambda reply, item: reply == "4").frame
    assert f["prompt"].eq("Be brief.").all() and f["query"].eq("What is 2 plus 2?").all()
    assert np.isnan(f["score"][0]) and f["error"][0] == "no result" and f["score"][1] == 1


# ---- DSPy

def test_dspy_evaluation_from_json_and_csv():
    raw = data("dspy/evaluate.json")
    log = im.dspy(FILES/"dspy/evaluate.json", prompt=FILES/"dspy/program.json", model="small", covariates="answer")
    assert (len(log), log.frame["score"].isna().sum(), log.frame["score"].sum()) == (12, 2, sum(r["exact"] for r in raw)) and list(log.prompts["prompt"]) == [BRIEF]
    assert log.frame["query"].tolist() == [r["question"] for r in raw] == [i["query"] for i in ITEMS] and log.frame["answer"].tolist() == [i["reference"] for i in ITEMS]
    table = pd.read_csv(FILES/"dspy/evaluate.csv")
    f = im.dspy(FILES/"dspy/evaluate.csv", prompt=BRIEF).frame
    assert f["score"].isna().equals(table["answer"].isna()) and f["score"].isna().sum() > 0 and f["score"].sum() == table["right"].sum()

class Fields(dict):
    "Stands for dspy.Example and dspy.Prediction: fields by items()."

def test_dspy_result_object():
    ok = lambda s: (Fields(question=f"q{s}", answer="a"), Fields(answer="b"), s)
    result = SimpleNamespace(score=50., results=[ok(0.), ok(1.), ok(SimpleNamespace(score=.5, feedback="so so")), (Fields(question="lost", answer="a"), Fields(), 0.)])
    f = im.dspy(result, prompt=SimpleNamespace(dump_state=lambda: data("dspy/program.json"))).frame
    assert str(f["score"].tolist()) == "[0.0, 1.0, 0.5, nan]" and f["prompt"].eq(BRIEF).all()

def test_dspy_evaluation_in_which_nothing_tells_failures_from_zeros(tmp_path):
    (tmp_path/"zero.json").write_text(json.dumps([dict(question=f"q{k}", answer="a", exact=0.) for k in range(3)]))
    with pytest.warns(UserWarning, match="zero.json: 3 of 3 scores are 0, which is also what a failed call gets"): im.dspy(tmp_path/"zero.json", prompt=BASE)

def test_dspy_evaluation_does_not_say_its_prompt():
    with pytest.raises(ValueError, match="prompt must say what was evaluated"): im.dspy(FILES/"dspy/evaluate.json")
    with refused("gepa.json.*give a DSPy program"): im.dspy(FILES/"dspy/evaluate.json", prompt=FILES/"dspy/gepa.json")

def test_dspy_gepa_results_are_adaptive_and_warn_of_failures():
    kept, items = data("dspy/gepa.json"), [dict(question=i["query"], answer=i["reference"]) for i in ITEMS[6:]]
    with pytest.warns(UserWarning, match="9 of 24 scores are 0, which is also what a failed call gets"): log = im.dspy(FILES/"dspy/gepa.json", items=items)
    assert log.adaptive and (len(log), len(log.prompts)) == (24, 4) and log.prompts["mean"].tolist() == pytest.approx(kept["val_aggregate_scores"])
    assert log.prompts["prompt"].tolist() == [c["self"] for c in kept["candidates"]]
    holder = SimpleNamespace(detailed_results=SimpleNamespace(val_subscores=1, to_dict=lambda: kept))
    assert im.dspy(holder, items=items, failure_score=None).frame.equals(log.frame)
    with pytest.raises(ValueError, match="items must be the examples"): im.dspy(FILES/"dspy/gepa.json")
    with pytest.raises(ValueError, match="items must hold the example '3' .* got 3 items"): im.dspy(FILES/"dspy/gepa.json", items=items[:3])

def test_dspy_random_search_tells_programs_apart_by_their_examples():
    tried = data("dspy/search.json")
    with pytest.warns(UserWarning, match="also what a failed call gets"): log = im.dspy(SimpleNamespace(candidate_programs=tried), items=[i["query"] for i in ITEMS[6:]])
    assert log.adaptive and len(log) == 30 and log.frame["score"].sum() == sum(map(sum, (c["subscores"] for c in tried)))
    assert (log.prompts["prompt"] == BASE).sum() == 1 and log.prompts["prompt"].str.startswith(f"{BASE}\n\nquestion: ").sum() == len(log.prompts) - 1 > 1

def test_means_are_refused_and_tabulated():
    kept = data("dspy/mipro.json")
    program = SimpleNamespace(trial_logs=kept["trial_logs"], candidate_programs=kept["candidate_programs"])
    with refused(r"means over batches of examples, which are no triplets.*trials\(program\)"): im.dspy(program)
    table = im.trials(program)
    assert table["n"].isin([3, 6]).all() and (table["whole"] == (table["n"] == 6)).all() and table["mean"].between(0, 1).all()
    assert len(table) == sum(f"{k}_score" in t for t in kept["trial_logs"].values() for k in ("mb", "full_eval"))
    full = im.trials(SimpleNamespace(candidate_programs=kept["candidate_programs"]))
    assert full["whole"].all() and full["mean"].tolist() == [c["score"] / 100 for c in kept["candidate_programs"]]
    for ending in ("csv", "parquet"):
        path = FILES/f"promptolution/step_results.{ending}"
        with refused(rf"step_results.{ending}.*means over texts and no triplets.*trials"): im.promptolution(path)
        steps = im.trials(path)
        assert steps["mean"].sum() == pytest.approx(5) and steps["trial"].max() == 3 and not steps["whole"].any()
    with pytest.raises(TypeError, match="source must be a DSPy program"): im.trials(SimpleNamespace())

def test_program_of_several_predictors():
    one = data("dspy/program.json")
    two = dict(find=one, say=one | dict(signature=dict(instructions="Say it."), demos=[dict(augmented=True, q="a", a="b")]), metadata={})
    assert im.program_text(two) == f"[find]\n{BRIEF}\n\n[say]\nSay it.\n\nq: a\na: b"
    with refused("give a DSPy program"): im.program_text(dict(metadata={}))


# ---- gepa

def test_gepa_result():
    kept, sets = data("gepa/result.json"), data("gepa/sets.json")
    with pytest.warns(UserWarning, match="scores are 0, which"): log = im.gepa(FILES/"gepa/result.json", sets["valset"])
    assert log.adaptive and len(log) == sum(map(len, kept["val_subscores"])) and log.frame["score"].sum() == sum(sum(s.values()) for s in kept["val_subscores"])
    assert set(log.prompts["prompt"]) == {c["system_prompt"] for c in kept["candidates"]} and len(log.prompts) == 6 # two of the seven candidates have one text, and count as draws
    by_id = {str(k): v for k, v in enumerate(sets["valset"])}
    assert im.gepa(kept, by_id, failure_score=None).frame.equals(log.frame)

def test_gepa_run_directory():
    sets = data("gepa/sets.json")
    with pytest.warns(UserWarning, match="6 scores belong to candidates that were rejected"): log = im.gepa(FILES/"gepa/run", sets["trainset"], failure_score=None)
    steps = [t for s in data("gepa/run/run_log.json") for t in s["tasks"] if "subsample_scores" in t]
    accepted = [s["tasks"][0] for s in data("gepa/run/run_log.json") if "new_program_idx" in s]
    assert log.adaptive and len(log) == 3 * (len(steps) + len(accepted)) and set(log.frame["query"]) == {i["input"] for i in sets["trainset"]}
    assert log.frame["score"].sum() == sum(sum(t["subsample_scores"]) for t in steps) + sum(sum(t["new_subsample_scores"]) for t in accepted)

def test_gepa_pickled_state_is_not_opened(tmp_path):
    class Trap:
        def __reduce__(self): return (Path.touch, (tmp_path/"ran",))
    state = tmp_path/"gepa_state.bin"
    state.write_bytes(pickle.dumps(Trap()))
    for path in (state, state.rename(tmp_path/"state.json")):
        for reader in (lambda p: im.gepa(p, []), im.read_tool):
            with pytest.raises((LogError, FileNotFoundError), match="a pickle, which runs code when it is read|no such|there must be"): reader(path)
    assert not (tmp_path/"ran").exists()
    with pytest.raises(FileNotFoundError, match="must hold candidates.json"): im.gepa(tmp_path, [])


# ---- promptolution

def test_promptolution_cache():
    task = SimpleNamespace(eval_cache=cache())
    log = im.promptolution(task, covariates="label", task="sentiment")
    assert log.adaptive and len(log) == 41 and log.frame["score"].sum() == sum(cache().values()) and set(log.frame["label"]) <= {"positive", "negative", "mixed"}
    with pytest.raises(TypeError, match="source must be a promptolution task"): im.promptolution([1])


# ---- reading whatever it is

KNOWN = {"promptfoo/results.json": "promptfoo", "inspect/plain.eval": "inspect", "inspect/templated.json": "inspect", "inspect": "inspect", "lm_eval": "lm_eval", "mlflow/traces.jsonl": "mlflow", "mlflow/result_df.json": "mlflow",
         "mlflow/eval_results_table.json": "mlflow", "gepa/run": "gepa", "gepa/result.json": "gepa", "dspy/gepa.json": "gepa", "openai_batch/input.jsonl": "openai_batch", "promptolution/step_results.csv": "promptolution", "dspy/evaluate.json": "dspy", "dspy/evaluate.csv": None, "dspy/search.json": "dspy", "dspy/mipro.json": "dspy", "promptolution/cache.json": "promptolution", "openai_batch/prompts.json": None}

@pytest.mark.parametrize("name, tool", KNOWN.items())
def test_tools_are_recognised(name, tool): assert im.tool_of(FILES/name) == tool

def test_read_calls_the_importer_that_fits(logs, tmp_path):
    assert im.read_tool(FILES/"promptfoo/results.json").frame.equals(logs["promptfoo"].frame)
    assert im.read_tool(FILES/"inspect", scorer="match").frame.equals(logs["inspect"].frame)
    assert im.read_tool(FILES/"dspy/evaluate.json", prompt=BASE).frame.equals(logs["dspy"].frame)
    assert im.read_tool(FILES/"dspy/evaluate.json", tool="dspy", prompt=BASE).frame.equals(logs["dspy"].frame)
    assert im.read_tool(logs["promptfoo"].write(tmp_path/"own.parquet")).frame.equals(logs["promptfoo"].frame)
    for ending in ("csv", "parquet"):
        with refused("means over texts"): im.read_tool(FILES/f"promptolution/step_results.{ending}")
    with pytest.raises(ValueError, match="tool must be one of .*'promptfoo'.*got 'excel'"): im.read_tool(FILES, tool="excel")
    with pytest.raises(FileNotFoundError, match="there must be a file or folder"): im.read_tool(tmp_path/"none.json")
    with pytest.raises(ValueError, match="prompt must say what was evaluated"): im.read_tool(FILES/"dspy/evaluate.json")
    with refused("nothing that marks it as a file of one tool.*tool="): im.read_tool(FILES/"openai_batch/prompts.json")
    (tmp_path/"mine.csv").write_text("q,p,s\nwhy?,Be brief.,1\n")
    with refused(r"mine.csv.*Triplets.read\(path, columns="): im.read_tool(tmp_path/"mine.csv")
    assert im.read_tool(tmp_path/"mine.csv", tool="table", columns=dict(query="q", prompt="p", score="s")).frame["score"].tolist() == [1]


# ---- broken files

READERS = dict(promptfoo=(im.promptfoo, "promptfoo/results.json", {}), inspect=(im.inspect, "inspect/templated.json", {}), zipped=(im.inspect, "inspect/plain.eval", {}), lm_eval=(im.lm_eval, next((FILES/"lm_eval").glob("samples_world_plain*")).relative_to(FILES), {}),
    mlflow=(im.mlflow, "mlflow/traces.jsonl", {}), table=(im.mlflow, "mlflow/result_df.json", {}), dspy=(im.dspy, "dspy/evaluate.json", dict(prompt=BASE)), gepa=(im.gepa, "gepa/result.json", dict(items=[])))

@pytest.mark.parametrize("reader, name, how", READERS.values(), ids=READERS)
def test_a_truncated_file_is_named_with_what_to_do(tmp_path, reader, name, how):
    raw = (FILES/name).read_bytes()
    path = tmp_path/Path(name).name
    path.write_bytes(raw[:len(raw) * 2 // 3])
    with refused(rf"{path.name}: .*(cut off|no whole zip)"): reader(path, **how)

@pytest.mark.parametrize("reader, name, how", READERS.values(), ids=READERS)
def test_an_empty_or_absent_file(tmp_path, reader, name, how):
    path = tmp_path/Path(name).name
    with pytest.raises(FileNotFoundError, match="there must be a file at .* got none"): reader(path, **how)
    path.write_bytes(b"")
    with refused("an empty file"): reader(path, **how)

@pytest.mark.parametrize("reader, name, how", READERS.values(), ids=READERS)
@pytest.mark.parametrize("content", ['{"some": "thing"}', "[]", "[1, 2]", "3", '[{"a": 1}]'])
def test_a_file_of_another_tool_is_refused(tmp_path, reader, name, how, content):
    path = tmp_path/("other" + Path(name).suffix.replace(".eval", ".json"))
    path.write_text(content)
    with refused(r"^other\.jsonl?: .*; (give|check)"): reader(path, **how)

def test_a_zip_that_is_no_log(tmp_path):
    with zipfile.ZipFile(tmp_path/"x.eval", "w") as z: z.writestr("readme.txt", "hello")
    with refused("x.eval.*a zip with readme.txt.*give an .eval log"): im.inspect(tmp_path/"x.eval")

def test_a_line_that_is_no_object_is_numbered(tmp_path):
    (tmp_path/"in.jsonl").write_text('{"custom_id": "a", "body": {}}\noops\n')
    with refused("row 2, column 'line': got no JSON object 'oops'"): im.openai_batch(tmp_path/"in.jsonl", tmp_path/"in.jsonl", grade={})
    with refused("output.jsonl|in.jsonl"): im.openai_batch(FILES/"openai_batch/output.jsonl", FILES/"openai_batch/input.jsonl", grade={})

def test_what_an_item_lacks_is_said():
    with refused(r"column 'query': got items in which no one field is the query.*a, b; name it with query="): im.as_log([dict(query=im.query_of(dict(a="x", b="y"), None, "w"), prompt="p", score=1)], "w")
    with refused("no field 'c'"): im.query_of(dict(a="x"), "c", "w")
    assert im.query_of(dict(a=dict(b="x")), "a.b", "w") == "x" and im.query_of(dict(question="x", answer="y"), None, "w") == "x"
    with refused(r"column 'covariates': got items without \['level'\]"): im.promptfoo(FILES/"promptfoo/results.json", covariates="level")

def test_scores_are_never_guessed():
    assert [im.number_of(v, "w") for v in (True, 0, "yes", "No", "0.25", np.float64(.5))] == [1, 0, 1, 0, .25, .5] and np.isnan(im.number_of(None, "w"))
    with refused("the score 'good'"): im.number_of("good", "w")
    with refused("^promptfoo .*row 0, column 'score': got 7 outside"): im.as_log([dict(query="q", prompt="p", score=7)], "promptfoo")
    assert im.as_log([dict(query="q", prompt="p", score=7)], "w", score_range=(0, 10)).frame["score"][0] == 7

def test_short_queries_are_cut_out_once():
    assert im.template_of([dict(role="user", content="Is it a yes or a no? a")], "a") == "Is it a yes or a no? {query}"
    assert im.template_of([dict(role="user", content=[dict(type="text", text="Look: my query"), dict(type="image_url", image_url={})])], "my query") == "Look: {query}\n[image_url]"
    assert im.template_of([dict(role="user", content="hello")], "other") is None and im.template_of([dict(role="user", content="hello")], "hello") == "{query}"


def test_the_message_that_asks_is_found_among_examples_and_repeats():
    turn = lambda role, content: dict(role=role, content=content)
    assert im.template_of([turn("user", "4 + 4"), turn("assistant", "8"), turn("user", "4")], "4") == "4 + 4\n\n8"
    long = "Which of these two answers is right?"
    assert im.template_of([turn("system", f"About: {long}"), turn("user", long), turn("assistant", "a"), turn("user", f"Again: {long}")], long) == "About: {query}"
    assert im.template_of([turn("system", "Be kind."), turn("user", f"Q: {long}"), turn("assistant", "a"), turn("user", f"Check {long}")], long) == "Be kind.\n\nQ: {query}"
    assert im.template_of([turn("user", "x"), turn("assistant", long)], long) is None

# ---- the same file in other clothes

def written(path, text, pack=None):
    import gzip, bz2, lzma, pyarrow as pa
    raw = text if isinstance(text, bytes) else text.encode()
    packed = dict(gz=gzip.compress, bz2=bz2.compress, xz=lzma.compress, zst=lambda r: pa.compress(r, codec="zstd", asbytes=True)).get(pack, lambda r: r)
    path.write_bytes(packed(raw))
    return path

@pytest.mark.parametrize("pack", ["gz", "zst", "bz2", "xz"])
def test_packed_files_are_read_whatever_they_are_called(tmp_path, pack, logs):
    raw = (FILES/"promptfoo/results.json").read_bytes()
    for name in (f"results.json.{pack}", "results.json"):
        assert im.read_tool(written(tmp_path/name, raw, pack)).frame.equals(logs["promptfoo"].frame)
    lines = written(tmp_path/f"traces.jsonl.{pack}", (FILES/"mlflow/traces.jsonl").read_bytes(), pack)
    assert im.read_tool(lines).frame.equals(logs["mlflow"].frame)
    cut = written(tmp_path/f"cut.json.{pack}", raw, pack)
    cut.write_bytes(cut.read_bytes()[:-40])
    with refused("cut.json.*packed file that cannot be read.*cut off"): im.read_tool(cut)

def test_marks_of_windows_and_lines_under_another_name(tmp_path, logs):
    text, lines = (FILES/"promptfoo/results.json").read_text(), (FILES/"mlflow/traces.jsonl").read_text()
    for name, raw in dict(bom=b"\xef\xbb\xbf" + text.encode(), wide=text.encode("utf-16")).items():
        assert im.read_tool(written(tmp_path/f"{name}.json", raw)).frame.equals(logs["promptfoo"].frame)
    listed = json.dumps([json.loads(l) for l in lines.splitlines()])
    for name, t in {"lines.json": lines, "lines.ndjson": lines, "listed.jsonl": listed}.items():
        assert im.read_tool(written(tmp_path/name, t)).frame.equals(logs["mlflow"].frame), name

def test_what_unpacks_to_too_much_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MOST", 100_000)
    for pack in ("gz", "zst"):
        with refused("unpacks to more than 100,000 bytes.*unpack it"): im.read_tool(written(tmp_path/f"bomb.json.{pack}", b" " * 10**6, pack))
    head = dict(version=2, status="success", eval=dict(task="t", model="m"), plan={})
    with zipfile.ZipFile(tmp_path/"bomb.eval", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("header.json", json.dumps(head))
        z.writestr("samples/1_epoch_1.json", b" " * 10**6)
    with refused("bomb.eval.*member samples/1_epoch_1.json that unpacks to 1,000,000 bytes"): im.inspect(tmp_path/"bomb.eval")
    with zipfile.ZipFile(tmp_path/"many.eval", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("header.json", json.dumps(head))
        for k in range(50): z.writestr(f"samples/{k}_epoch_1.json", b" " * 90_000)
    with refused("many.eval.*samples of 4,500,000 bytes in a zip of"): im.inspect(tmp_path/"many.eval")

def test_json_nested_without_end_is_refused(tmp_path):
    deep = "[" * 200_000 + "]" * 200_000
    for name in ("deep.json", "deep.jsonl"):
        with refused("nested too deeply"): im.read_tool(written(tmp_path/name, '{"evalId": ' + deep + "}"))
    with zipfile.ZipFile(tmp_path/"deep.eval", "w") as z: z.writestr("header.json", deep)
    with refused("nested too deeply"): im.read_tool(tmp_path/"deep.eval")

def test_names_in_a_zip_are_no_paths(tmp_path):
    log = data("inspect/templated.json")
    samples = [s for s in log["samples"] if not s.get("error")]
    with zipfile.ZipFile(tmp_path/"x.eval", "w") as z:
        z.writestr("header.json", json.dumps({k: log[k] for k in ("version", "status", "eval", "plan")} | dict(results=None)))
        for k, s in enumerate(samples): z.writestr(f"samples/{k}_epoch_1.json", json.dumps(s))
        for name in ("../out.json", "/out.json", "samples/../../out_epoch_1.json.txt"): z.writestr(name, "{}")
    with pytest.warns(UserWarning): assert len(im.inspect(tmp_path/"x.eval", scorer="match")) == len(samples)
    assert not (tmp_path/"out.json").exists() and not (tmp_path.parent/"out.json").exists()


# ---- a registry that later pages add to

def test_a_later_page_adds_its_importer(tmp_path, monkeypatch):
    def mine(path, score=None, **how): return im.as_log([dict(query="q", prompt="p", score=1., item={})], "mine", **how)
    monkeypatch.setitem(im.TOOLS, "mine", im.Tool(mine, lambda seen: {"my_mark"} <= seen.keys))
    path = written(tmp_path/"x.json", '{"my_mark": 1}')
    assert im.tool_of(path) == "mine" and im.read_tool(path, model="m").frame["model"].tolist() == ["m"] and {"score", "model", "score_range"} <= im.takes("mine")
    monkeypatch.setitem(im.TOOLS, "other", im.Tool(mine, lambda seen: {"my_mark"} <= seen.keys))
    with refused(r"marks of several tools, \['mine', 'other'\].*tool="): im.read_tool(path)
    assert "promptfoo" in im.tools()


# ---- the query and the template

def test_options_belong_to_the_query_in_any_dress():
    options = ["red", "dark red", "blue"]
    ask = lambda text: messages.template_with_options([dict(role="user", content=text)], "Which one?", options)
    assert ask("Pick.\n\nWhich one?\n\nA) red\nB) dark red\nC) blue") == "Pick.\n\n{query}"
    assert ask("Which one?\n(A) blue\n(B) red\n(C) dark red\nAnswer:") == "{query}\nAnswer:"
    assert ask("Which one? a. red, b. dark red, c. blue") == "{query}"
    assert ask("- red\n- dark red\n- blue\n\nWhich one?") == "[options]\n\n{query}"
    assert ask("Which one? Say red or blue.") == "{query} Say red or blue."
    assert im.with_options("Which one?", options) == "Which one?\n\nA) red\nB) dark red\nC) blue" and im.with_options("Why?", []) == "Why?"

@pytest.mark.parametrize("item", [dict(choices=["one", "two"]), dict(candidates=dict(text=["one", "two"])), dict(A="one", B="two"), dict(opa="one", opb="two"),
    dict(option_1="two", option_2="one"), dict(tags=["red", "thin"], possibilities=["one", "two"])])
@pytest.mark.parametrize("listed", ["A) one\nB) two", "Option A: one\nOption B: two", "**A.** two\n**B.** one", "(A): one\n(B): two", "A - one\nB - two"])
def test_options_are_found_in_the_items_own_fields(item, listed):
    sent = [dict(role="user", content=f"Pick.\n\nWhich?\n\n{listed}\n\nSay a letter.")]
    options = messages.options_of(item, sent)
    assert sorted(options) == ["one", "two"] and messages.template_with_options(sent, "Which?", options) == "Pick.\n\n{query}\n\nSay a letter."
    assert messages.options_of(item, [dict(role="user", content="Which? One or two.")]) == []

def test_the_query_is_what_stands_at_its_mark():
    assert im.cut_query("Is it so? Say yes.\nThe mill closed.", "Is it so? Say yes.\n{query}") == "The mill closed."
    assert im.cut_query("Read:\r\nA text.\r\nDone.", "Read:\n{{query}}\nDone.") == "A text."
    assert im.cut_query("Be brief.\n\nWhy?", "Be brief.") == "Why?" and im.cut_query("Why?", "Be brief. {query}") == "Why?"
    with refused("holds parts of the template and does not fit.*prompt="): im.cut_query("Be brief now: Why? Thanks.", "Be brief now: {query} Bye.")

@pytest.mark.parametrize("text, left", {"Say {{word}} now": ["{{word}}"], "Say {word}.": ["{word}"], "About <topic>: {query}": ["<topic>"], "{% if x %}a{% endif %}": ["{% if x %}", "{% endif %}"],
    "Use ${name}": ["${name}"], "{query}": [], "<b>bold</b> <think>x</think><br>": [], r"\boxed{answer} and x_{ij}": [], 'Reply {"label": 1}': []}.items())
def test_variables_of_a_template_are_seen(text, left): assert im.variables_left(text) == left

def test_variables_left_are_never_silent():
    row = dict(query="q", prompt="p", score=1.)
    with pytest.warns(UserWarning, match=r"w: 1 of 1 prompt texts hold .*'\{\{seen\}\}'.*prompt="): im.as_log([row | dict(prompt="Now {{seen}}")], "w")
    with pytest.warns(UserWarning, match=r"w: 1 of 2 query texts hold .*'<question>'.*query="): im.as_log([row, row | dict(query="<question>")], "w")

def test_one_text_with_two_images_is_two_queries(tmp_path):
    def request(k, image): return dict(custom_id=f"r{k}", method="POST", url="/v1/chat/completions", body=dict(model="m", messages=[dict(role="system", content="Be brief."),
        dict(role="user", content=[dict(type="text", text="What is it?"), dict(type="image_url", image_url=dict(url=image))])]))
    answer = lambda k: dict(custom_id=f"r{k}", response=dict(status_code=200, body=dict(model="m-2025-01-01", choices=[dict(message=dict(content="a cat"))])), error=None)
    written(tmp_path/"in.jsonl", "\n".join(json.dumps(request(k, i)) for k, i in enumerate(["a.png", "b.png", "a.png"])))
    written(tmp_path/"out.jsonl", "\n".join(json.dumps(answer(k)) for k in range(3)))
    f = im.openai_batch(tmp_path/"in.jsonl", tmp_path/"out.jsonl", grade=lambda reply, item: 1.).frame
    assert f["query_id"].nunique() == 2 and f["repeat"].tolist() == [0, 0, 1] and set(f["model"]) == {"m"}


# ---- promptfoo of other versions

def foo_row(t, p, score=1, **more):
    words = ["dog", "star", "sea"]
    return dict(testIdx=t, promptIdx=p, promptId=str(p), provider=dict(id="made:m", label=""), prompt=dict(raw=f"x{p} {words[t]}", label=f"x{p} {{{{word}}}}"), vars=dict(word=words[t]),
                score=score, success=score == 1, failureReason=int(score != 1), namedScores={}, gradingResult={"pass": score == 1, "score": score, "reason": "ok"}) | more

def foo(tmp_path, rows, name="r.json", **stats):
    heads = [dict(raw=f"x{p} {{{{word}}}}", label="l", provider="made:m") for p in range(2)]
    return written(tmp_path/name, json.dumps(dict(evalId="e", results=dict(version=3, prompts=heads, results=rows, stats=stats), config={})))

ROWS = [foo_row(t, p, int((t + p) % 2)) for t in range(3) for p in range(2)]

def test_promptfoo_rows_are_the_same_in_every_form(tmp_path):
    want = im.promptfoo(foo(tmp_path, ROWS)).frame
    table = dict(head=dict(prompts=[dict(raw=f"x{p} {{{{word}}}}", provider="made:m") for p in range(2)], vars=["word"]),
                 body=[dict(vars=[ROWS[2 * t]["vars"]["word"]], outputs=[{"pass": r["success"], "score": r["score"], "text": "a", "gradingResult": {}} | r for r in ROWS[2 * t:2 * t + 2]]) for t in range(3)])
    cells = ["word,[made:m] x0 {{word}},[made:m] x1 {{word}}"] + [f"{ROWS[2 * t]['vars']['word']}," + ",".join(f"[{'PASS' if r['success'] else 'FAIL'}] ({r['score']:.2f}) a" for r in ROWS[2 * t:2 * t + 2]) for t in range(3)]
    wide = ["word," + ",".join(f"[made:m] x{p} {{{{word}}}},Status,Score,Named Scores,Grader Reason,Comment" for p in range(2))] + [
        f"{ROWS[2 * t]['vars']['word']}," + ",".join(f"a,{'PASS' if r['success'] else 'FAIL'},{r['score']:.2f},,ok," for r in ROWS[2 * t:2 * t + 2]) for t in range(3)]
    forms = {"node.json": json.dumps(dict(_resultsLoaded=True, id="e", config={}, results=ROWS)), "v2.json": json.dumps(dict(evalId="e", results=dict(version=2, results=ROWS, stats={}, table=table))),
             "summary.json": json.dumps(dict(version=2, results=ROWS, stats={}, table=table)), "r.jsonl": "\n".join(map(json.dumps, ROWS)), "cells.csv": "\n".join(cells), "wide.csv": "\n".join(wide)}
    for name, text in forms.items(): assert im.read_tool(written(tmp_path/name, text)).frame.equals(want), name

def test_promptfoo_cells_in_error_are_missing_and_scores_kept(tmp_path):
    path = written(tmp_path/"o.csv", 'word,[m] A {{word}},"[m] B {{word}}, one:"\ndog,"[PASS] (1.00)\n\nx","[PASS] (1.00, tone: 0.20)"\nsea,"[ERROR] (0.00)\n\ntimeout",[FAIL] (0.50)\n')
    log = im.read_tool(path)
    assert str(log.frame["score"].tolist()) == "[1.0, 1.0, nan, 0.5]" and log.frame["error"].tolist()[2] == "timeout" and log.prompts["prompt"].tolist() == ["A {query}", "B {query}, one:"]

def test_promptfoo_before_failure_reasons(tmp_path):
    rows = [{k: v for k, v in foo_row(t, p).items() if k != "failureReason"} for t in range(3) for p in range(2)]
    rows[1] |= dict(score=0, success=False, gradingResult=None, error="429")
    rows[3] |= dict(score=0, success=False, error="Expected output to contain x", gradingResult={"pass": False, "score": 0, "reason": "no"})
    f = im.promptfoo(foo(tmp_path, rows)).frame
    assert str(f["score"].tolist()) == "[1.0, nan, 1.0, 0.0, 1.0, 1.0]" and f["error"][1] == "429"

@pytest.mark.parametrize("graded, gone", [
    ({"pass": False, "reason": "Could not extract JSON from the judge's reply", "assertion": {"type": "llm-rubric"}}, True), ({"pass": False, "reason": "API error: 429", "assertion": {"type": "model-graded-closedqa"}}, True),
    ({"pass": False, "reason": "unclear", "metadata": {"graderError": True}}, True), ({"pass": False, "reason": "API error handling is missing from the answer", "assertion": {"type": "contains"}}, False), ({"pass": False, "reason": "too long"}, False)])
def test_promptfoo_grader_that_failed_is_missing(tmp_path, graded, gone):
    rows = [*ROWS[:5], foo_row(2, 1, 0, gradingResult={"pass": False, "reason": graded["reason"], "componentResults": [graded]} if gone else graded)]
    assert np.isnan(im.promptfoo(foo(tmp_path, rows)).frame["score"].iloc[5]) == gone

@pytest.mark.parametrize("kind, tokens, others, gone", [("llm-rubric", 0, 40, True), ("not-llm-rubric", 0, 40, True), ("llm-rubric", 0, 0, False), ("llm-rubric", 30, 40, False), ("contains", 0, 40, False)])
def test_promptfoo_judge_that_used_no_tokens_gave_no_reply(tmp_path, kind, tokens, others, gone):
    judged = lambda ok, kind, n: {"pass": ok, "score": ok, "reason": "as it happens", "componentResults": [{"pass": ok, "score": ok, "reason": "as it happens", "assertion": {"type": kind}, "tokensUsed": {"total": n}}]}
    rows = [*(r | dict(gradingResult=judged(True, "llm-rubric", others)) for r in ROWS[:5]), foo_row(2, 1, 0, gradingResult=judged(False, kind, tokens))]
    assert np.isnan(im.promptfoo(foo(tmp_path, rows)).frame["score"].iloc[5]) == gone

def test_promptfoo_totals_and_retries(tmp_path):
    with pytest.warns(UserWarning, match="r.json: the file says results 6, its rows give 4"): im.promptfoo(foo(tmp_path, ROWS[:4], successes=3, failures=3, errors=0))
    twice = [foo_row(0, 0, 0, failureReason=2, error="down"), *ROWS]
    with pytest.warns(UserWarning, match="1 runs of a prompt on a test are there again"): assert im.promptfoo(foo(tmp_path, twice)).frame["score"].tolist() == im.promptfoo(foo(tmp_path, ROWS)).frame["score"].tolist()
    with refused("r.json.*a header and no results"): im.promptfoo(foo(tmp_path, []))

def test_promptfoo_query_of_two_variables(tmp_path):
    rows = [foo_row(t, p, vars=dict(usual="10", seen=str(t), lang="en")) for t in range(3) for p in range(2)]
    path = foo(tmp_path, rows)
    raw = json.loads(path.read_text())
    for p, t in enumerate(["{{usual}} then {{ seen }} in {{lang}}?", "Compare {{usual}} with {{seen | upper}}."]): raw["results"]["prompts"][p]["raw"] = t
    for r in raw["results"]["results"][:2]: r["vars"]["usual"] = "20"
    path.write_text(json.dumps(raw))
    with refused(r"2 variables .*\['seen', 'usual'\].*query="): im.promptfoo(path)
    raw["results"]["results"][2]["vars"]["seen"] = raw["results"]["results"][3]["vars"]["seen"] = "2"
    raw["results"]["results"][4]["vars"]["usual"] = raw["results"]["results"][5]["vars"]["usual"] = "20"
    path.write_text(json.dumps(raw))
    with pytest.warns(UserWarning, match="usual alone does not distinguish the tests"): log = im.promptfoo(path, query="usual")
    assert len(log.queries) == 3 and log.queries["query"][0] == "usual: 20\nseen: 0" and log.prompts["prompt"].tolist() == ["[usual] then [seen] in en?", "Compare [usual] with [seen]."]


def test_promptfoo_labels_and_tests_that_vary_nothing(tmp_path):
    path = written(tmp_path/"o.csv", "word,[m] brief,[m] long\n" + "".join(f"w{k},[PASS] (1.00) x,[FAIL] (0.00) y\n" for k in range(3)))
    log = im.read_tool(path)
    assert log.prompts["prompt"].tolist() == ["brief", "long"] and len(log.queries) == 3 and log.frame["score"].tolist() == [1, 0] * 3
    with refused("tests without variables"): im.promptfoo(foo(tmp_path, [foo_row(t, p, vars={}) for t in range(3) for p in range(2)]))

def test_one_evaluation_in_two_forms_or_copied_counts_once(tmp_path):
    (tmp_path/"forms").mkdir(); (tmp_path/"copies").mkdir()
    one = foo(tmp_path, ROWS)
    shutil.copy(one, tmp_path/"forms/r.json")
    written(tmp_path/"forms/r.jsonl", "\n".join(map(json.dumps, ROWS)))
    with pytest.warns(UserWarning, match="r.jsonl: taken for another form of r.json"): assert len(im.read_tool(tmp_path/"forms")) == 6
    for n in ("a.json", "b.json"): shutil.copy(one, tmp_path/"copies"/n)
    with pytest.warns(UserWarning, match="b.json: a copy of a.json; it counts once"): assert len(im.read_tool(tmp_path/"copies")) == 6
    (tmp_path/"copies/b.json").unlink()
    written(tmp_path/"copies/a.json.gz", one.read_text(), "gz")
    with pytest.warns(UserWarning, match="a.json.gz: a copy of a.json"): assert len(im.read_tool(tmp_path/"copies")) == 6


# ---- Inspect logs that are not whole

def made_log(n=4, **more):
    samples = [dict(id=k, epoch=1, input=f"Spell word{k}.", target="x", messages=[dict(role="user", content=f"Please. Spell word{k}.")], scores=dict(match=dict(value="C" if k else "I")), metadata={}) for k in range(n)]
    results = dict(total_samples=n, completed_samples=n, scores=[dict(name="match", scorer="match", metrics=dict(accuracy=dict(name="accuracy", value=(n - 1) / n)))])
    return dict(version=2, status="success", eval=dict(task="t", model="m", task_id="a", created="2025"), plan={}, results=results, samples=samples) | more

def log_file(tmp_path, name="l.json", **more): return written(tmp_path/name, json.dumps(made_log(**more)))

def test_inspect_options_in_the_metadata_belong_to_the_query(tmp_path):
    log = made_log()
    for k, s in enumerate(log["samples"]):
        s |= dict(metadata=dict(options=[f"one{k}", f"two{k}"]), messages=[dict(role="user", content=f"Pick a letter.\n\n{s['input']}\n\nA. one{k}\nB. two{k}")])
    f = im.inspect(written(tmp_path/"l.json", json.dumps(log))).frame
    assert set(f["prompt"]) == {"Pick a letter.\n\n{query}"} and f["query"][1] == "Spell word1.\n\nA) one1\nB) two1"

@pytest.mark.parametrize("said, gone", [(dict(explanation="Error parsing judge output: no JSON"), True), (dict(explanation="Could not parse the grader's reply"), True), (dict(explanation="Judge timed out"), True),
    (dict(explanation="x", metadata=dict(error="judge down")), True), (dict(explanation="Grade not found in model output: x"), True),
    (dict(explanation="NameError: name 'x' is not defined"), False), (dict(explanation="The grade is low since the answer has an error."), False), (dict(explanation="An error in parsing the list; wrong."), False), (dict(explanation=None, metadata=dict(error=None)), False)])
def test_inspect_judge_that_failed_is_missing(tmp_path, said, gone):
    log = made_log()
    log["samples"][0]["scores"]["match"] |= said
    f = im.inspect(written(tmp_path/"l.json", json.dumps(log))).frame
    assert np.isnan(f["score"][0]) == gone and f["score"].notna().sum() == 4 - gone

def test_inspect_value_by_its_name_alone(tmp_path):
    log = made_log()
    for s in log["samples"]: s["scores"]["judge"] = dict(value=dict(tone=.25, depth=.5))
    path = written(tmp_path/"l.json", json.dumps(log))
    for name in ("depth", "judge/depth"): assert set(im.inspect(path, score=name).frame["score"]) == {.5}
    with refused(r"the scorers \['match', 'judge'\], with the values \['judge/tone', 'judge/depth'\]"): im.inspect(path, score="tome")

def test_inspect_options_shuffled_or_not_make_one_prompt(tmp_path):
    log = made_log()
    for k, s in enumerate(log["samples"]): s |= dict(choices=["one", "two"], messages=[dict(role="user", content=f"Pick a letter.\n\n{s['input']}\n\nA) {['one', 'two'][k % 2]}\nB) {['two', 'one'][k % 2]}")])
    f = im.inspect(written(tmp_path/"l.json", json.dumps(log))).frame
    assert set(f["prompt"]) == {"Pick a letter.\n\n{query}"} and f["query"][0] == "Spell word0.\n\nA) one\nB) two"

def test_inspect_template_that_is_given_cuts_the_query(tmp_path):
    for name, first in dict(a="Is it so?", b="Say if it is:").items():
        log = made_log()
        for s in log["samples"]: s |= dict(input=f"{first}\n{s['input']}", messages=[])
        written(tmp_path/f"{name}.json", json.dumps(log))
    a, b = im.inspect(tmp_path/"a.json", prompt="Is it so?\n{query}"), im.inspect(tmp_path/"b.json", prompt="Say if it is:\n{query}")
    assert a.frame["query"].tolist() == b.frame["query"].tolist() == [f"Spell word{k}." for k in range(4)] and a.prompts["prompt"].tolist() == ["Is it so?\n{query}"]

def test_inspect_header_without_samples(tmp_path):
    log_file(tmp_path, "good.json")
    for samples in ([], None): written(tmp_path/"stopped.json", json.dumps(made_log() | dict(status="error", samples=samples, results=None)))
    with refused("stopped.json.*a header and no samples: the run ended in an error before a sample was scored"): im.read_tool(tmp_path/"stopped.json")
    written(tmp_path/"notes.json", "{}")
    with pytest.warns(UserWarning, match="stopped.json: the run ended in an error.*it holds none"), pytest.warns(UserWarning, match="notes.json: no log of Inspect"): assert len(im.inspect(tmp_path)) == 4

def test_inspect_totals_and_unfinished_runs(tmp_path):
    part = made_log()
    with pytest.warns(UserWarning, match="l.json: the file says samples 4, its rows give 3"): im.inspect(log_file(tmp_path, samples=part["samples"][:3], results=part["results"] | dict(scores=[])))
    with pytest.warns(UserWarning, match="the file says accuracy 0.75, its rows give 1"): im.inspect(log_file(tmp_path, samples=[s | dict(scores=dict(match=dict(value="C"))) for s in part["samples"]]))
    with pytest.warns(UserWarning, match="did not come to its end .status 'cancelled'"): im.inspect(log_file(tmp_path, status="cancelled"))

def test_inspect_retry_counts_once(tmp_path):
    first = made_log()
    first["samples"][1] |= dict(error=dict(message="down"), scores={})
    written(tmp_path/"a.json", json.dumps(first | dict(status="error", results=None)))
    log_file(tmp_path, "b.json", eval=dict(task="t", model="m", task_id="a", created="2026"))
    with pytest.warns(UserWarning, match="4 samples are there again"): f = im.inspect(tmp_path).frame
    assert len(f) == 4 and f["score"].tolist() == [0, 1, 1, 1]

@pytest.mark.parametrize("score, want", {"match": 1., "parts/b": .25, "b": .25}.items())
def test_inspect_scorer_and_value_by_one_name(tmp_path, score, want):
    log = made_log(results=None)
    for s in log["samples"]: s["scores"] = dict(match=dict(value="C"), parts=dict(value=dict(a=0, b=.25)))
    if score == "b":
        for s in log["samples"]: del s["scores"]["match"]
    assert im.inspect(written(tmp_path/"l.json", json.dumps(log)), score=score).frame["score"].eq(want).all()

def test_inspect_judge_without_a_grade_nan_and_old_scores(tmp_path):
    log = made_log(results=None)
    values = [dict(value="I", explanation="Grade not found in model output: hm"), dict(value=float("nan")), dict(value="NaN"), dict(value="P")]
    for s, v in zip(log["samples"], values): s["scores"] = dict(match=v)
    log["samples"][3] = {k: v for k, v in log["samples"][3].items() if k not in ("scores", "epoch")} | dict(score=dict(value="P"))
    log["samples"] = [s if "scores" not in s else s | dict(scores=dict(score=s["scores"]["match"])) for s in log["samples"]]
    f = im.inspect(written(tmp_path/"l.json", json.dumps(log))).frame
    assert str(f["score"].tolist()) == "[nan, nan, nan, 0.5]" and f["error"][0].startswith("grader: Grade not found") and f["error"][1:3].eq("not scored").all()


# ---- lm-evaluation-harness: options, passages, other versions

def harness_file(tmp_path, docs, ask, name="samples_t_2025-01-01T00-00-00.000000.jsonl", **more):
    rows = [dict(doc_id=k, doc=d, target="x", arguments=dict(gen_args_0=dict(arg_0=ask(d), arg_1=" A")), resps=[["a"]], filtered_resps=["a"], filter="none", metrics=["acc"], acc=float(k > 0)) | more for k, d in enumerate(docs)]
    rows = [{k: v for k, v in r.items() if v is not None} for r in rows]
    return written(tmp_path/name, "\n".join(map(json.dumps, rows)))

def test_lm_eval_options_and_passages_belong_to_the_query(tmp_path):
    docs = [dict(question=f"Which is {k}?", choices=[f"a{k}", f"b{k}"], answer=0) for k in range(4)]
    log = im.read_tool(harness_file(tmp_path, docs, lambda d: f"Choose.\n\n{d['question']}\nA. {d['choices'][0]}\nB. {d['choices'][1]}\nAnswer:"))
    assert log.prompts["prompt"].tolist() == ["Choose.\n\n{query}\nAnswer:"] and log.queries["query"][0] == "Which is 0?\n\nA) a0\nB) b0"
    docs = [dict(question=f"Is {k} so?", passage=f"A long tale of {k}.") for k in range(4)]
    with pytest.warns(UserWarning, match=r"fields \['passage'\] of the documents were sent"): log = im.read_tool(harness_file(tmp_path, docs, lambda d: f"{d['passage']}\nQ: {d['question']}\nA:"))
    assert log.prompts["prompt"].tolist() == ["[passage]\nQ: {query}\nA:"] and log.queries["query"][1] == "passage: A long tale of 1.\nquery: Is 1 so?"

def test_lm_eval_older_records_reruns_and_totals(tmp_path):
    docs = [dict(question=f"Why {k}?") for k in range(4)]
    old = harness_file(tmp_path, docs, lambda d: f"Q: {d['question']}", filter=None, metrics=None, other=[1, 2])
    assert im.read_tool(old).frame["score"].tolist() == [0, 1, 1, 1]
    written(tmp_path/"results_2025-01-01T00-00-00.000000.json", json.dumps({"results": {"t": {"acc,none": .9}}, "n-samples": {"t": dict(effective=5)}}))
    with pytest.warns(UserWarning, match="the file says acc 0.9, its rows give 0.75"), pytest.warns(UserWarning, match="documents 5, its rows give 4"): im.read_tool(old)
    old.write_text(old.read_text() + "\n" + old.read_text().splitlines()[0])
    with pytest.warns(UserWarning, match="1 records are there twice"): assert len(im.lm_eval(old)) == 4

def test_lm_eval_folders_of_models_and_scores_that_are_lists(tmp_path):
    (tmp_path/"out/model").mkdir(parents=True)
    docs = [dict(question=f"Why {k}?") for k in range(4)]
    path = harness_file(tmp_path/"out/model", docs, lambda d: f"Q: {d['question']}")
    assert im.tool_of(tmp_path/"out") == "lm_eval" and len(im.read_tool(tmp_path/"out", score="acc")) == 4
    harness_file(tmp_path/"out/model", docs, lambda d: f"Q: {d['question']}", path.name, metrics=["f1"], f1=[0, 1])
    with refused("f1 as a list of 2.*no score of one document.*metric="): im.read_tool(tmp_path/"out")


# ---- batches of another run

def batch_files(tmp_path, answers, n=3):
    ask = lambda k: dict(custom_id=f"r{k}", body=dict(model="big-1", messages=[dict(role="system", content="Be brief."), dict(role="user", content=f"What is {k}?")]))
    written(tmp_path/"in.jsonl", "\n".join(json.dumps(ask(k)) for k in range(n)))
    reply = lambda k, model, text: dict(custom_id=k, response=dict(status_code=200 if text else 500, body=dict(model=model, choices=[dict(message=dict(content=text))]) if text else {}), error=None)
    written(tmp_path/"out.jsonl", "\n".join(json.dumps(reply(*a)) for a in answers))
    return im.openai_batch(tmp_path/"in.jsonl", tmp_path/"out.jsonl", grade=lambda reply, item: float(reply == "yes")).frame

def test_batch_of_another_model_or_other_requests_is_said(tmp_path):
    with pytest.warns(UserWarning, match="replies come from small-2 where big-1 was asked"), pytest.warns(UserWarning, match="1 results have no request, e.g. 'r9'"):
        f = batch_files(tmp_path, [("r0", "small-2", "yes"), ("r1", "big-1-2025-01-01", "no"), ("r9", "big-1", "yes")])
    assert f["model"].tolist() == ["small-2", "big-1", "big-1"] and str(f["score"].tolist()) == "[1.0, 0.0, nan]"
    with refused("in.jsonl: .*results of other requests, e.g. 'x'"): batch_files(tmp_path, [("x", "big-1", "yes")])

def test_batch_retries_count_once(tmp_path):
    with pytest.warns(UserWarning, match="2 requests are answered more than once"): f = batch_files(tmp_path, [("r0", "big-1", ""), ("r0", "big-1", "yes"), ("r1", "big-1", "yes"), ("r1", "big-1", ""), ("r2", "big-1", "no")])
    assert f["score"].tolist() == [1, 1, 0]


def test_batch_reply_that_a_filter_took_and_requests_without_result(tmp_path):
    with pytest.warns(UserWarning, match="in.jsonl: 1 of 3 requests have no result"): batch_files(tmp_path, [("r0", "big-1", "yes"), ("r1", "big-1", "no")])
    rows = [json.loads(l) for l in (tmp_path/"out.jsonl").read_text().splitlines()]
    for r, why in zip(rows, ["content_filter", "length"]): r["response"]["body"]["choices"] = [dict(message=dict(content=None), finish_reason=why)]
    f = im.openai_batch(tmp_path/"in.jsonl", written(tmp_path/"o.jsonl", "\n".join(map(json.dumps, rows))), grade=lambda reply, item: float(reply == "yes")).frame
    assert str(f["score"].tolist()) == "[nan, 0.0, nan]" and f["error"].tolist()[0] == "content_filter"


# ---- tables that DSPy did not write

JUDGED = "model,response,question,judge_a,judge_b,human\nm-a,x,Peru?,True,True,True\nm-b,x,Peru?,True,,False\nm-a,x,Chad?,True,False,False\nm-b,x,Chad?,True,True,True\n"

def test_a_table_of_judgements_is_not_taken_for_dspys(tmp_path):
    path = written(tmp_path/"judged.csv", JUDGED)
    with refused("nothing that marks it as a file of one tool"): im.read_tool(path, prompt="Name the capital: {query}")
    with refused(r"3 columns that could be the score, \['judge_a', 'judge_b', 'human'\].*score="): im.dspy(path, prompt="x", query="question")
    for how in (dict(), dict(tool="dspy")):
        f = im.read_tool(path, prompt="Name the capital: {query}", query="question", score="human", **how).frame
        assert f["score"].tolist() == [1, 0, 0, 1] and f["model"].tolist() == ["m-a", "m-b"] * 2 and f["repeat"].eq(0).all()

def test_a_list_inside_a_json(tmp_path):
    path = written(tmp_path/"x.json", json.dumps(dict(a=[dict(rows=[dict(q=f"q{k}", s=k / 4) for k in range(4)])])))
    assert im.read_tool(path, tool="table", at="a.0.rows", columns=dict(query="q", score="s"), prompt="Do it.").frame["score"].tolist() == [0, .25, .5, .75]
    with refused("no 'b' on the way 'a.b'.*at="): im.read_tool(path, tool="table", at="a.b")


def test_a_table_whose_prompts_are_given_or_asked_for(tmp_path):
    path = written(tmp_path/"t.csv", "query,score,model\n" + "".join(f"q{k},{k % 2},m\n" for k in range(4)))
    assert im.read_tool(path, prompt="Say: {query}").frame["prompt"].tolist() == ["Say: {query}"] * 4
    with refused("t.csv.*no column 'prompt'.*prompt="): im.read_tool(path)
    other = written(tmp_path/"u.csv", "question,is_correct,latency\n" + "".join(f"q{k},{k % 2},.5\n" for k in range(4)))
    with refused(r"importers.read_tool\(path, tool='table', columns=\{'query': 'question', 'score': 'is_correct'\}, prompt=TEXT\)"): im.read_tool(other)
    assert im.read_tool(other, tool="table", columns={"query": "question", "score": "is_correct"}, prompt="Say.").frame["score"].tolist() == [0, 1, 0, 1]

def test_scores_outside_their_range_are_one_fault(tmp_path):
    log = made_log(20)
    for k, s in enumerate(log["samples"]): s["scores"]["match"]["value"] = 5 * k
    with refused(r"l.json \(rows counted from 0\): 1 problem\n.*of 20 rows.*score_range=\(0, 100\)"): im.inspect(written(tmp_path/"l.json", json.dumps(log)))


def test_headers_alone_and_files_of_means_say_what_they_are(tmp_path):
    for head in ("example_q,pred_a,metric\n", 'word,"[m] Say {{word}}"\n'):
        with refused("x.csv.*a header and no rows"): im.read_tool(written(tmp_path/"x.csv", head))
    with refused("x.csv.*a header and no results"): im.promptfoo(tmp_path/"x.csv")
    with refused("results_1.json.*means of a harness.*samples_"): im.read_tool(written(tmp_path/"results_1.json", json.dumps(dict(results={}, configs={}, versions={}))))
    with refused("y.json.*a list of rows at run.rows; name it with at='run.rows'"): im.read_tool(written(tmp_path/"y.json", json.dumps(dict(n=1, run=dict(rows=[dict(a=1)])))))

def test_a_table_as_workbook_or_folder(tmp_path):
    pytest.importorskip("openpyxl")
    t = pd.DataFrame(dict(query=[f"q{k}" for k in range(4)], prompt="Say it.", score=[0, 1, 0, 1]))
    t.to_excel(tmp_path/"t.xlsx", index=False)
    (tmp_path/"parts").mkdir()
    for n in range(2): t[2 * n:2 * n + 2].to_csv(tmp_path/f"parts/{n}.csv", index=False)
    for path in (tmp_path/"t.xlsx", tmp_path/"parts"):
        assert im.tool_of(path) == "table" and im.read_tool(path).frame["score"].tolist() == [0, 1, 0, 1]
        assert im.read_tool(path, model="m", prompt="Other.").frame[["model", "prompt"]].drop_duplicates().values.tolist() == [["m", "Other."]]


# ---- out again

def test_prompts_leave_as_text_and_messages():
    assert im.to_text("Be brief.", "Why?") == "Be brief.\n\nWhy?" and im.to_text("Be {query}: {x}", "{x}") == "Be {x}: {x}" and im.to_text("Be brief.") == "Be brief."
    assert im.to_messages("Be brief.", "Why?") == [dict(role="user", content="Be brief.\n\nWhy?")] and im.to_messages("Be brief.") == [dict(role="user", content="Be brief.\n\n{query}")]
    assert im.to_messages("Be brief.", "Why?", role="system") == [dict(role="system", content="Be brief."), dict(role="user", content="Why?")]
    assert im.to_messages("Read {query} twice.", "this", role="system") == [dict(role="user", content="Read this twice.")]
    with pytest.raises(ValueError, match="role must be 'user' or 'system'"): im.to_messages("x", role="bot")

def test_prompts_leave_for_dspy_and_come_back(tmp_path):
    made = im.to_dspy("Solve the task.\n\n{query}\n\nCheck {query} twice.", tmp_path/"p.json")
    assert made["instructions"] == "Solve the task.\n\nCheck `question` twice." == im.program_text(tmp_path/"p.json") == im.program_text(made["state"])
    theirs, ours = data("dspy/program.json"), json.loads((tmp_path/"p.json").read_text())
    assert set(ours) == set(theirs) and set(ours["signature"]) == set(theirs["signature"])
    assert im.to_dspy("Be brief.", predictor="predict")["state"]["predict"]["signature"]["instructions"] == "Be brief."
    for p in im.promptfoo(FILES/"promptfoo/results.json").prompts["prompt"]: assert im.to_dspy(p)["instructions"] == p.removesuffix("\n\n{query}")
    with pytest.raises(ValueError, match="path must end in .json"): im.to_dspy("x", tmp_path/"p.pkl")
    with pytest.raises(ValueError, match="prompt must say more"): im.to_dspy("{query}")


# ---- runs in which nothing was scored, and forms that are not known

def test_inspect_log_in_which_all_failed(tmp_path):
    failed = [s | dict(error="boom", scores={}) for s in made_log()["samples"]]
    with refused("l.json.*4 samples and no score, 4 of them in error"): im.inspect(log_file(tmp_path, samples=failed))
    log_file(tmp_path, "m.json", eval=dict(task="t", model="m", task_id="b", created="2026"))
    with pytest.warns(UserWarning): f = im.inspect(tmp_path).frame
    assert f["score"].isna().sum() == 4 and set(f["error"].dropna()) == {"boom"} and len(f) == 8

def test_a_form_that_is_not_known_is_refused_with_what_to_do(tmp_path):
    with refused("r.yaml.*write it as JSON: promptfoo with -o results.json"): im.read_tool(written(tmp_path/"r.yaml", "evalId: e\n"))
    traces = [json.loads(l) for l in (FILES/"mlflow/traces.jsonl").read_text().splitlines()]
    traces[0]["info"]["tags"] = {"mlflow.linkedPrompts": '[{"title": "x"}]'}
    with refused("t.jsonl: .*a file of mlflow in a form that is not known here .KeyError"): im.read_tool(written(tmp_path/"t.jsonl", "\n".join(map(json.dumps, traces))))
