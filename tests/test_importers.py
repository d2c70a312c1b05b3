"""Importers on files that the tools themselves wrote (tests/fixtures/make), and the exporters."""
import json, pickle, re, shutil, warnings, zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causal_prompts import importers as im
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
    head, samples = im._eval_zip(FILES/"inspect/plain.eval")
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
    with pytest.warns(UserWarning, match="each of the 8 prompts met one query only"): im.lm_eval(tmp_path/"samples_x.jsonl", filter="strict")

def test_lm_eval_example_turns_belong_to_the_prompt():
    sent = im._sent(dict(gen_args_0=dict(arg_0=json.dumps([dict(role="user", content="2 + 2?"), dict(role="assistant", content="4"), dict(role="user", content="3 + 9?")]), arg_1={})))
    assert im.template_of(sent, "3 + 9?") == "2 + 2?\n\n4"
    assert im._sent([["plain text", {}]]) == [dict(role="user", content="plain text")]


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
        for reader in (lambda p: im.gepa(p, []), im.read):
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
    assert im.read(FILES/"promptfoo/results.json").frame.equals(logs["promptfoo"].frame)
    assert im.read(FILES/"inspect", scorer="match").frame.equals(logs["inspect"].frame)
    assert im.read(FILES/"dspy/evaluate.json", prompt=BASE).frame.equals(logs["dspy"].frame)
    assert im.read(FILES/"dspy/evaluate.json", tool="dspy", prompt=BASE).frame.equals(logs["dspy"].frame)
    assert im.read(logs["promptfoo"].write(tmp_path/"own.parquet")).frame.equals(logs["promptfoo"].frame)
    for ending in ("csv", "parquet"):
        with refused("means over texts"): im.read(FILES/f"promptolution/step_results.{ending}")
    with pytest.raises(ValueError, match="tool must be one of .*'promptfoo'.*got 'excel'"): im.read(FILES, tool="excel")
    with pytest.raises(FileNotFoundError, match="there must be a file or folder"): im.read(tmp_path/"none.json")
    with pytest.raises(ValueError, match="prompt must say what was evaluated"): im.read(FILES/"dspy/evaluate.json")
    with refused("nothing that marks it as a file of one tool.*tool="): im.read(FILES/"openai_batch/prompts.json")
    (tmp_path/"mine.csv").write_text("q,p,s\nwhy?,Be brief.,1\n")
    with refused(r"mine.csv.*Triplets.read\(path, columns="): im.read(tmp_path/"mine.csv")
    assert im.read(tmp_path/"mine.csv", tool="table", columns=dict(query="q", prompt="p", score="s")).frame["score"].tolist() == [1]


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
