"""Importers of traces and routers on exported files (tests/fixtures/make), whole and spoiled; and which tool wrote a file."""
import csv, gzip, json, re, warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from causal_prompts import importers, trace_importers as tr
from causal_prompts.cli import main
from causal_prompts.core import LogError
from causal_prompts.from_routers import router
from causal_prompts.triplets import Triplets

FILES = Path(__file__).parent/"fixtures"
BRIEF, FRIENDLY = "Answer in one line.", "Answer kindly and at length."
ASKED = {"When do you open?", "Is parking free?", "Can I bring my dog?", "Where is the lift?", "How do I get a refund?"}
FUSE, PHX = FILES/"langfuse", FILES/"phoenix"
pytestmark = pytest.mark.filterwarnings("ignore:the log has .* an interval needs many:UserWarning", "ignore:100.0% of the scores are:UserWarning")


def refused(says): return pytest.raises(LogError, match=re.compile(says, re.S))

def written(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path

def lines(path, rows): return written(path, "\n".join(map(json.dumps, rows)) + "\n")

def read_lines(path): return [json.loads(l) for l in path.read_text().splitlines()]

def means(log): return {p: round(float(m), 4) for p, m in log.frame.groupby("prompt")["score"].mean().items()}

LOGS = dict(
    observations=lambda: tr.langfuse(FUSE/"observations.json", score="correct"), observations_csv=lambda: tr.langfuse(FUSE/"observations.csv", score="correct"), blob=lambda: tr.langfuse(FUSE/"observations.jsonl", FUSE/"scores.jsonl", "correct"),
    traces=lambda: tr.langfuse(FUSE/"traces.json", score="correct", prompt=lambda r: dict(brief=BRIEF, friendly=FRIENDLY)[r["version"]]),
    spans=lambda: tr.phoenix(PHX/"spans.parquet", PHX/"annotations.jsonl", "correct"), spans_jsonl=lambda: tr.phoenix(PHX/"spans.jsonl", PHX/"annotations.jsonl", "correct"),
    experiments=lambda: tr.phoenix([PHX/"experiment_brief.json", PHX/"experiment_friendly.json"], prompt=dict(experiment_brief=BRIEF, experiment_friendly=FRIENDLY)), replay=lambda: router(FILES/"vllm_router/replay.json", "verdict"))


# ---- all of them

@pytest.mark.parametrize("name", LOGS)
def test_each_log_has_its_rows_queries_prompts_and_means(name, tmp_path):
    log = LOGS[name]()
    ends = "\n\n{query}" if name.startswith("spans") else ""
    assert len(log) == 10 and set(log.queries["query"]) == ASKED and log.frame["repeat"].eq(0).all()
    assert means(log) == {BRIEF + ends: .8, FRIENDLY + ends: 0.}
    lost = log.frame[log.frame["score"].isna()]
    assert lost[["query", "prompt"]].values.tolist() == [["Where is the lift?", FRIENDLY + ends]] and lost["error"].str.contains("timed out|not scored|504").all()
    assert "propensity" not in log.frame and Triplets.read(log.write(tmp_path/"log.parquet")).frame.equals(log.frame)

@pytest.mark.parametrize("read, got", [
    (lambda s: tr.langfuse(FUSE/"observations.json", score=s), "correct, short"), (lambda s: tr.langfuse(FUSE/"observations.jsonl", FUSE/"scores.jsonl", s), ".*correct"),
    (lambda s: tr.phoenix(PHX/"spans.parquet", PHX/"annotations.jsonl", s), "short, correct"), (lambda s: router(FILES/"vllm_router/replay.json", s), "score, verdict")])
def test_of_several_scores_one_is_named(read, got):
    with refused(rf"column 'score': got several: {got}.*name one with score="): read(None)
    with refused(rf"column 'score': got (no 'polite'; there are|calls without a score)"): read("polite")

@pytest.mark.parametrize("file, read", [(FUSE/"observations.json", lambda p: tr.langfuse(p, score="correct")), (FUSE/"observations.csv", lambda p: tr.langfuse(p, score="correct")), (FUSE/"observations.jsonl", lambda p: tr.langfuse(p, FUSE/"scores.jsonl", "correct")),
    (PHX/"spans.jsonl", lambda p: tr.phoenix(p, PHX/"annotations.jsonl", "correct")), (PHX/"experiment_brief.json", lambda p: tr.phoenix(p, prompt="p")), (FILES/"litellm/calls.jsonl", lambda p: router(p, "correct"))])
def test_a_cut_file_is_refused_and_a_gzipped_one_read(file, read, tmp_path):
    (tmp_path/file.name).write_bytes(file.read_bytes()[:-40])
    with refused("cut off|close the quotation mark|complete the row"): read(tmp_path/file.name)
    (tmp_path/f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    assert read(tmp_path/f"{file.name}.gz").frame.equals(read(file).frame)

def test_a_cut_parquet_file(tmp_path):
    (tmp_path/"spans.parquet").write_bytes((PHX/"spans.parquet").read_bytes()[:-40])
    with refused("no whole parquet file"): tr.phoenix(tmp_path/"spans.parquet", PHX/"annotations.jsonl", "correct")


# ---- langfuse

def observations(): return json.loads((FUSE/"observations.json").read_text())

def test_langfuse_a_version_that_was_filled_in_goes_by_its_name(tmp_path):
    rows = observations()
    for i, r in enumerate(rows): r["input"][0]["content"] += f" You talk to guest {i}."
    path = written(tmp_path/"o.json", rows)
    with pytest.warns(UserWarning, match="the prompt support:1 was sent as 5 texts, probably filled in; its name stands for them"): log = tr.langfuse(path, score="correct")
    assert means(log) == {"support:1": .8, "support:2": 0.} and set(log.queries["query"]) == ASKED
    log = tr.langfuse(path, score="correct", prompt={"support:1": "one for {{guest}}", "support:2": "two"})
    assert means(log) == {"one for {{guest}}": .8, "two": 0.}

def test_langfuse_variables_as_input_and_no_messages(tmp_path):
    rows = observations()
    for r in rows: r["input"] = dict(question=r["input"][1]["content"], guest="a")
    assert means(tr.langfuse(written(tmp_path/"a.json", rows), score="correct", covariates="guest")) == {"support:1": .8, "support:2": 0.}
    for r in rows: r.update(promptName=None, promptVersion=None)
    with refused("no prompt, which this file does not record"): tr.langfuse(written(tmp_path/"b.json", rows), score="correct")
    for r in rows: r["input"] = dict(a=r["input"]["question"], b="x")
    with refused("column 'query': got items in which no one field is the query"): tr.langfuse(written(tmp_path/"c.json", rows), score="correct", prompt="p")

def test_langfuse_a_call_is_a_row_once(tmp_path):
    rows = observations()
    more = [r | dict(id=f"{r['id']}-r", name="rerank", correct=None) for r in rows] + [r | dict(id=f"{r['id']}-s", type="SPAN", name="all") for r in rows]
    path = written(tmp_path/"o.json", rows + more)
    with refused("column 'name': got several: .*answer.*name one with name="): tr.langfuse(path, score="correct")
    assert tr.langfuse(path, score="correct", name="answer").frame.equals(LOGS["observations"]().frame)

def test_langfuse_scores_of_traces_by_hand_and_several(tmp_path):
    scores = [s | dict(observation_id=None) for s in read_lines(FUSE/"scores.jsonl")]
    log = tr.langfuse(FUSE/"observations.jsonl", lines(tmp_path/"t.jsonl", scores), "correct")
    assert log.frame.equals(LOGS["blob"]().frame)
    again = [s | dict(id="x", value=1. - s["value"]) for s in scores if s["name"] == "correct"]
    with pytest.warns(UserWarning, match="correct was given several times to one call; the mean is taken"): log = tr.langfuse(FUSE/"observations.jsonl", lines(tmp_path/"u.jsonl", scores + again), "correct")
    assert log.frame["score"].dropna().eq(.5).all() and len(log) == 10
    words = [dict(trace_id=s["trace_id"], name="correct", data_type="CATEGORICAL", string_value="correct" if s["value"] else "incorrect") for s in scores if s["name"] == "correct"]
    assert means(tr.langfuse(FUSE/"observations.jsonl", lines(tmp_path/"w.jsonl", words))) == {BRIEF: .8, FRIENDLY: 0.}
    with refused("calls without a score; name the file .* with scores="): tr.langfuse(FUSE/"observations.jsonl", lines(tmp_path/"g.jsonl", [dict(words[0], string_value="sehr gut")]))
    with refused("calls without a score; name the file .* with scores="): tr.langfuse(FUSE/"observations.jsonl")

def test_langfuse_download_of_traces(tmp_path):
    rows, scores = observations(), read_lines(FUSE/"scores.jsonl")
    parts = [dict(id=r["traceId"], observations=[{k: v for k, v in r.items() if k not in ("correct", "short")}], scores=[dict(name=s["name"], value=s["value"], traceId=s["trace_id"], observationId=None) for s in scores if s["trace_id"] == r["traceId"]]) for r in rows]
    assert tr.langfuse(written(tmp_path/"all.json", parts), score="correct").frame.equals(LOGS["observations"]().frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = tr.langfuse(written(tmp_path/"trace.json", parts[0]), score="correct")
    assert one.frame["score"].tolist() == [1.] and list(one.prompts["prompt"]) == [BRIEF]

def test_langfuse_levels_and_empty_scores(tmp_path):
    rows = observations()
    rows[0].update(level="ERROR", statusMessage="overloaded")
    rows[1]["correct"] = None
    log = tr.langfuse(written(tmp_path/"o.json", rows), score="correct")
    assert log.frame["score"].isna().sum() == 3 and log.frame["error"].dropna().tolist()[:2] == ["overloaded", "not scored"]
    with refused("no call of a model"): tr.langfuse(written(tmp_path/"s.json", [r | dict(type="SPAN") for r in rows]), score="correct")


# ---- phoenix

def test_phoenix_columns_of_older_evaluations_and_nested_spans(tmp_path):
    frame = pd.read_parquet(PHX/"spans.parquet")
    notes = {a["span_id"]: a["result.score"] for a in read_lines(PHX/"annotations.jsonl") if a["annotation_name"] == "correct"}
    frame["eval.Correct.score"] = frame["context.span_id"].map(notes)
    frame.to_parquet(tmp_path/"evals.parquet")
    assert tr.phoenix(tmp_path/"evals.parquet").frame.equals(LOGS["spans"]().frame)
    nested = []
    for s in read_lines(PHX/"spans.jsonl"):
        attributes = {k.removeprefix("attributes."): v for k, v in s.items() if k.startswith("attributes.")}
        nested.append({k: v for k, v in s.items() if "." not in k} | dict(context=dict(span_id=s["context.span_id"], trace_id="t"), attributes=attributes))
    found = tr.phoenix(lines(tmp_path/"nested.jsonl", nested), PHX/"annotations.jsonl", "correct").frame
    assert sorted(found["query"]) == sorted(LOGS["spans"]().frame["query"]) and found["score"].count() == 9

def spans(change):
    rows = read_lines(PHX/"spans.jsonl")
    for r in rows: change(r)
    return rows

def test_phoenix_without_a_template_reads_the_messages(tmp_path):
    def bare(s):
        for k in ("template", "variables", "version"): s.pop(f"attributes.llm.prompt_template.{k}")
        name, q = (t for t in s["attributes.llm.input_messages"][0]["message.content"].split("\n\n"))
        s["attributes.llm.input_messages"] = [{"message.role": "system", "message.content": name}, {"message.role": "user", "message.content": q}]
    log = tr.phoenix(lines(tmp_path/"a.jsonl", spans(bare)), PHX/"annotations.jsonl", "correct")
    assert means(log) == {BRIEF: .8, FRIENDLY: 0.} and set(log.queries["query"]) == ASKED

def test_phoenix_two_variables_and_a_csv(tmp_path):
    def two(s):
        s["attributes.llm.prompt_template.template"] = "{a}: {b}"
        s["attributes.llm.prompt_template.variables"] = dict(a=s["attributes.input.value"], b="x")
    path = lines(tmp_path/"a.jsonl", spans(two))
    with refused("column 'query': got several: a, b; name one with query="): tr.phoenix(path, PHX/"annotations.jsonl", "correct")
    log = tr.phoenix(path, PHX/"annotations.jsonl", "correct", query="a")
    assert list(log.prompts["prompt"]) == ["{query}: {b}"] and set(log.queries["query"]) == ASKED
    pd.read_parquet(PHX/"spans.parquet").to_csv(tmp_path/"spans.csv", index=False)
    assert means(tr.phoenix(tmp_path/"spans.csv", PHX/"annotations.jsonl", "correct")) == {f"{BRIEF}\n\n{{query}}": .8, f"{FRIENDLY}\n\n{{query}}": 0.}

def test_phoenix_labels_in_the_place_of_scores_and_errors_of_a_judge(tmp_path):
    notes = [a | {"result.score": None, "result.label": "correct" if a["result.score"] else "incorrect"} for a in read_lines(PHX/"annotations.jsonl") if a["annotation_name"] == "correct"]
    assert means(tr.phoenix(PHX/"spans.parquet", lines(tmp_path/"n.jsonl", notes))) == {f"{BRIEF}\n\n{{query}}": .8, f"{FRIENDLY}\n\n{{query}}": 0.}
    runs = json.loads((PHX/"experiment_brief.json").read_text())
    runs[0]["annotations"][0].update(score=0., error="the judge is down")
    log = tr.phoenix(written(tmp_path/"e.json", runs), prompt="p")
    assert log.frame["error"].dropna().tolist() == ["the judge is down"] and log.frame["score"].count() == 4

def test_phoenix_refuses_annotations_alone():
    with refused("neither spans nor runs.*annotations go into scores="): tr.phoenix(PHX/"annotations.jsonl")
    with refused("no prompt"): tr.phoenix(PHX/"experiment_brief.json")
    with refused("calls without a score; name the file .* with scores="): tr.phoenix(PHX/"spans.parquet")


# ---- routers

def calls(): return read_lines(FILES/"litellm/calls.jsonl")

def test_litellm_rows_grades_and_recorded_probabilities():
    log = router(FILES/"litellm/calls.jsonl", "correct")
    f = log.frame
    assert len(f) == 15 and set(log.queries["query"]) == ASKED and set(f["model"]) == {"small"}
    assert f.groupby("prompt")["propensity"].unique().map(list).to_dict() == {BRIEF: [.6], FRIENDLY: [.4]}
    assert f.groupby("prompt")["score"].agg(["size", "count", "sum"]).values.tolist() == [[6, 6, 4], [9, 7, 0]]
    assert f.loc[f["score"].isna(), "error"].str.contains("timed out").all() and sorted(f["repeat"].unique()) == [0, 1, 2]

def test_probabilities_are_never_made_up(tmp_path):
    rows = calls()
    del rows[3]["metadata"]["spend_logs_metadata"]["propensity"]
    with pytest.warns(UserWarning, match="14 of 15 calls have a propensity; the column is left out"): log = router(lines(tmp_path/"a.jsonl", rows), "correct")
    assert "propensity" not in log.frame and len(log) == 15
    rows[3]["metadata"]["spend_logs_metadata"]["propensity"] = 0.
    with refused("column 'propensity'"): router(lines(tmp_path/"b.jsonl", rows), "correct")

def test_litellm_a_retried_call_is_one_row(tmp_path):
    rows = calls()
    failed = rows[0] | dict(id="x", status="failure", error_str="rate limit", response=None)
    log = router(lines(tmp_path/"a.jsonl", [failed, *rows]), "correct")
    assert log.frame.equals(router(FILES/"litellm/calls.jsonl", "correct").frame)
    assert len(router(lines(tmp_path/"b.jsonl", [*rows, rows[0] | dict(id="y")]), "correct")) == 16 # answered, and asked again

def test_litellm_spend_logs_and_prompts_by_name(tmp_path):
    rows = [dict(request_id=r["id"], call_type=r["call_type"], startTime="2026-01-01", endTime="2026-01-01", model=r["model"], model_group=r["model_group"], metadata=json.dumps(r["metadata"]), messages="{}", response="{}", status=r["status"],
        proxy_server_request=json.dumps(dict(messages=r["messages"]))) for r in calls()]
    with open(tmp_path/"spend.csv", "w", newline="") as f:
        out = csv.DictWriter(f, rows[0])
        out.writeheader(); out.writerows(rows)
    log = router(tmp_path/"spend.csv", "correct", prompt=dict(brief="B", friendly="F"))
    assert log.frame.groupby("prompt")["score"].agg(["size", "count", "sum"]).values.tolist() == [[6, 6, 4], [9, 7, 0]] and set(log.prompts["prompt"]) == {"B", "F"}

def test_router_scores_by_a_function_and_none_at_all(tmp_path):
    grades = {r["id"]: .5 for r in calls()}
    log = router(FILES/"litellm/calls.jsonl", lambda r: grades.get(r["id"]))
    assert log.frame["score"].dropna().eq(.5).all() and log.frame["score"].count() == 13
    rows = calls()
    for r in rows: r["metadata"]["spend_logs_metadata"] = {}
    with refused("nothing to take as score"): router(lines(tmp_path/"a.jsonl", rows))

def test_vllm_scores_of_zero_that_the_router_leaves_out():
    with refused("outcomes without a score, among which may be those of 0.*take score='verdict'"): router(FILES/"vllm_router/replay.json", "score")
    log = LOGS["replay"]()
    assert set(log.frame["model"]) == {"small", "large"} and log.frame["error"].dropna().tolist() == ["status 504"]


# ---- which tool wrote it

OURS = {"deepeval": ["runs", "runs/test_run_20260101_000000.json", "latest_test_run.json"], "ragas": ["brief.csv", "friendly.jsonl"], "openai_evals": ["brief.jsonl", "output_items.jsonl"],
    "helm": ["", "words_style=brief,model=simple_model1", "words_style=brief,model=simple_model1/per_instance_stats.json"], "langsmith": ["brief.csv", "friendly.csv"], "langfuse": ["observations.json", "observations.csv", "observations.jsonl", "traces.json"],
    "phoenix": ["spans.parquet", "spans.jsonl", "experiment_brief.json"], "litellm": ["calls.jsonl"], "vllm_router": ["replay.json"]}

@pytest.mark.parametrize("folder, name", [(f, n) for f, names in OURS.items() for n in names])
def test_each_file_is_recognised(folder, name):
    assert importers.tool_of(FILES/folder/name) == dict(litellm="router", vllm_router="router").get(folder, folder)

def test_files_of_other_tools_are_left_to_them_and_ours_to_us():
    ours = {"deepeval", "ragas", "openai_evals", "helm", "langsmith", "langfuse", "phoenix", "router"}
    assert ours <= set(importers.tools())
    others = [f for d in FILES.iterdir() if d.is_dir() and d.name not in {*OURS, "make"} for f in [d, *d.rglob("*")]]
    seen = {f: importers.look(f) for f in others}
    assert len(others) > 20 and [(f.name, n) for f in others for n in ours if importers.tools()[n].recognises(seen[f])] == []
    assert importers.tool_of(FUSE/"scores.jsonl") is None and importers.tool_of(PHX/"annotations.jsonl") is None

@pytest.mark.parametrize("row", [dict(input="a", output="b", score=1), dict(question="a", answer="b", contexts="c", score=1), dict(id=1, input="a", output="b", name="x", timestamp="t"), dict(user_input="a", score=1),
    {"inputs.a": "x", "score": 1}, dict(model="m", messages=[], response="x"), dict(test_results=[dict(a=1)]), dict(spec="x"), dict(spec=None), dict(context="x", attributes={}), dict(type="GENERATION", input="x")])
def test_a_table_of_ones_own_is_nobodys(row, tmp_path):
    assert importers.tool_of(lines(tmp_path/"a.jsonl", [row])) is None and importers.tool_of(written(tmp_path/"a.json", [row])) is None
    pd.DataFrame([row]).to_csv(tmp_path/"a.csv", index=False)
    assert importers.tool_of(tmp_path/"a.csv") is None

def test_read_finds_the_importer_and_its_choices():
    assert importers.read_tool(FUSE/"observations.json", score="correct").frame.equals(LOGS["observations"]().frame)
    assert importers.read_tool(PHX/"spans.parquet", scores=PHX/"annotations.jsonl", score="correct").frame.equals(LOGS["spans"]().frame)
    assert {"score", "scores", "query", "prompt", "name", "model"} <= importers.takes("langfuse")
    with refused("name one with score="): importers.read_tool(FILES/"deepeval/runs")


# ---- records of another form

@pytest.mark.parametrize("spoil", [lambda r: r.update(input=[3]), lambda r: r.update(input=["x"]), lambda r: r.update(input=[None])])
def test_a_record_of_another_form_is_refused_by_name(spoil, tmp_path):
    rows = observations()
    spoil(rows[2])
    with refused("o.json.*not of the form that langfuse writes .*give the file as the tool wrote it"): tr.langfuse(written(tmp_path/"o.json", rows), score="correct")

def test_a_record_that_was_exported_twice_counts_once(tmp_path):
    with pytest.warns(UserWarning, match="2 files: 10 records stand in it twice and count once"): log = tr.langfuse([FUSE/"observations.json", FUSE/"observations.csv"], score="correct")
    assert log.frame.equals(LOGS["observations"]().frame)


# ---- the command

def imported(capsys, tmp_path, *words):
    "Exit code, output and log of `causal-prompts import`."
    out = tmp_path/"log.parquet"
    code = main(["import", *map(str, words), "--out", str(out)])
    return code, "".join(capsys.readouterr()), Triplets.read(out) if out.is_file() else None

@pytest.mark.parametrize("tool, words", [
    ("deepeval", [FILES/"deepeval/runs", "--score", "Correct"]), ("ragas", [FILES/"ragas/brief.csv", "--score", "exact_match", "--prompt", BRIEF]), ("openai_evals", [FILES/"openai_evals/brief.jsonl"]), ("helm", [FILES/"helm", "--score", "exact_match"]),
    ("langsmith", [FILES/"langsmith/brief.csv", "--score", "correct", "--prompt", BRIEF]), ("langfuse", [FUSE/"observations.jsonl", "--scores", FUSE/"scores.jsonl", "--score", "correct", "--name", "answer"]),
    ("phoenix", [PHX/"spans.parquet", "--scores", PHX/"annotations.jsonl", "--score", "correct"]), ("router", [FILES/"litellm/calls.jsonl", "--score", "correct"]), ("router", [FILES/"vllm_router/replay.json", "--score", "verdict"])])
def test_the_command_reads_each_tool(tool, words, capsys, tmp_path):
    code, said, log = imported(capsys, tmp_path, *words)
    assert code == 0 and f"Read as {tool}: {len(log)} rows" in said and log.frame["score"].max() == 1

def test_the_command_names_flags_and_takes_a_file_of_prompts(capsys, tmp_path):
    code, said, log = imported(capsys, tmp_path, FILES/"langsmith/friendly.csv", "--prompt", "x")
    assert code == 2 and log is None and "several: correct, short; name one with --score" in said
    code, said, log = imported(capsys, tmp_path, PHX/"spans.jsonl")
    assert code == 2 and "name the file that holds the scores with --scores" in said
    prompts = written(tmp_path/"prompts.json", {"support:1": "one", "support/2": "two"})
    code, said, log = imported(capsys, tmp_path, FUSE/"observations.json", "--score", "correct", "--prompt", prompts)
    assert code == 0 and means(log) == dict(one=.8, two=0.)


# ---- requests of one text

@pytest.mark.parametrize("prompt, template", [("Be brief.\n\n{query}", "Be brief.\n\n{query}"), ("Be brief.\n\n{{ query }}", "Be brief.\n\n{query}"), ("Be brief.", "Be brief."), (dict(p="Be brief.\n\n{query}"), "Be brief.\n\n{query}"), (lambda r: "Be brief.", "Be brief.")])
def test_a_prompt_that_stands_in_the_request_is_taken_out_of_the_query(prompt, template, tmp_path):
    rows = [r | dict(input=f"Be brief.\n\n{r['input'][1]['content']}", promptName="p") for r in observations()]
    path = written(tmp_path/"o.json", rows)
    log = tr.langfuse(path, score="correct", prompt=prompt)
    assert set(log.queries["query"]) == ASKED and list(log.prompts["prompt"]) == [template]
    with pytest.warns(UserWarning, match="each request is one text, taken for the query as a whole"): tr.langfuse(path, score="correct")
