"The verbs collect, import and serve-world, as a shell calls them."
import json, os, re, signal, subprocess, sys, warnings
from pathlib import Path

import pandas as pd
import pytest

from causal_prompts.cli import main
from causal_prompts.record import Record
from causal_prompts.serve import serve_world
from causal_prompts.triplets import Triplets
from causal_prompts.worlds import World
from test_llm import answer, error, stub


def collect(tmp_path, *more, task="world", out="run"): return main(["collect", "--task", str(task), "--out", str(tmp_path/out), *map(str, more)])

def questions(tmp_path, n=12, name="capitals.csv"):
    t = pd.DataFrame(dict(query=[f"Which is number {i}?" for i in range(n)], reference=[str(i) for i in range(n)]))
    t.to_csv(tmp_path/name, index=False) if name.endswith(".csv") else t.to_json(tmp_path/name, orient="records", lines=True)
    (tmp_path/"prompts.txt").write_text("Think.\nThink twice.\n\nGuess.\n")
    return tmp_path/name

def numbered(n, body): return answer("Answer: " + re.search(r"number (\d+)", body["messages"][-1]["content"])[1])


def test_a_world_needs_no_model_and_no_key(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert collect(tmp_path, "--queries", 25, "--k", 2) == 0
    out = capsys.readouterr().out
    log = Triplets.read(tmp_path/"run"/"log.parquet")
    assert len(log) == 75 and log.design(permutations=0).facts["known_propensity"] and "75 calls" in out and "causal-prompts run" in out and "No answer is missing" in out
    before = (tmp_path/"run"/"record.jsonl").read_bytes()
    assert collect(tmp_path, "--queries", 25, "--k", 2) == 0 and (tmp_path/"run"/"record.jsonl").read_bytes() == before # nothing was asked again

def test_a_dry_run_prints_the_price_and_asks_nothing(tmp_path, capsys):
    with stub([answer()]) as server:
        assert collect(tmp_path, "--grader", "number", "--baseline", "Answer.", "--prompts", tmp_path/"prompts.txt", "--k", 2, "--base-url", server.url, "--model", "m", "--price", "1,2", "--dry-run", task=questions(tmp_path)) == 0
        assert not server.seen
    out = capsys.readouterr().out
    assert "36 calls to 'm'" in out and "money" in out and not (tmp_path/"run"/"log.parquet").exists()

@pytest.mark.parametrize("name", ["capitals.csv", "capitals.jsonl"])
def test_a_file_of_questions(tmp_path, name):
    with stub(numbered) as server:
        assert collect(tmp_path, "--grader", "number", "--baseline", "Answer.", "--prompts", tmp_path/"prompts.txt", "--design", "cross", "--base-url", server.url, "--model", "m", task=questions(tmp_path, name=name)) == 0
        assert len(server.seen) == 12 * 4
    f = Triplets.read(tmp_path/"run"/"log.parquet").frame
    assert len(f) == 48 and (f["score"] == 1).all() and set(f["prompt"]) == {"Answer.", "Think.", "Think twice.", "Guess."}

def test_a_cap_stops_with_3_and_the_same_command_goes_on(tmp_path, capsys):
    assert collect(tmp_path, "--queries", 20, "--k", 2, "--calls", 30) == 3
    assert "Stopped early" in (err := capsys.readouterr().err) and "30 of 30 calls" in err
    assert collect(tmp_path, "--queries", 20, "--k", 2, "--calls", 60) == 0
    assert Triplets.read(tmp_path/"run"/"log.parquet").frame["score"].notna().sum() == 60

def test_parts_of_prompts_are_drawn_and_the_plan_says_what_they_will_show(tmp_path, capsys):
    (tmp_path/"parts.txt").write_text("Think.\nCheck it.\n\nBe brief.\nBe kind.\nShow steps.\n")
    (tmp_path/"parts.csv").write_text("part,text,slot\nlong,Show steps.,style\nshort,Be brief.,style\ngentle,Be kind.,\n")
    assert collect(tmp_path, "--queries", 15, "--k", 2, "--parts", tmp_path/"parts.txt") == 0
    out, log = capsys.readouterr().out, Triplets.read(tmp_path/"run"/"log.parquet")
    assert "30 calls on 15 queries separate 5 of 5 parts" in out and "Plan(factorial" in out and len(log) == 45 and "inclusion" in log.frame and log.design(permutations=0).facts["known_propensity"]
    assert collect(tmp_path, "--queries", 15, "--k", 2, "--parts", tmp_path/"parts.csv", "--dry-run", out="other") == 0 and "separate 3 of 3 parts" in capsys.readouterr().out
    for more, said in ((["--design", "factorial"], "name a file with --parts"), (["--parts", tmp_path/"parts.txt", "--write", 3], "leave out --prompts and --write")):
        assert collect(tmp_path, *more, out="wrong") == 2 and said in capsys.readouterr().err

def test_a_writer_makes_the_prompts(tmp_path, capsys):
    assert collect(tmp_path, "--queries", 15, "--k", 2, "--write", 7) == 0
    assert "7 of 7 prompts" in capsys.readouterr().err and Triplets.read(tmp_path/"run"/"log.parquet").frame["prompt"].nunique() <= 7
    ledger = Record(tmp_path/"run"/"record.jsonl").ledger()
    assert set(ledger["role"]) == {"task", "writer"}

@pytest.mark.parametrize("more, said", [
    (["--k", 40], "k must be a whole number from 1 to 11"), (["--price", "one"], "--price must be two numbers"), (["--money", 5], "a cap on money needs the price"), (["--prompts", "none.txt"], "none.txt"),
    (["--grader", "vibes", "--baseline", "A", "--prompts", "P"], "--grader must be one of exact"), (["--prompts", "P"], "needs --baseline"), (["--grader", "exact", "--baseline", "A", "--model", "m"], "collect needs prompts"), (["--grader", "exact", "--baseline", "A"], "collect needs --model"), (["--settings", "hot"], "--settings must be a JSON object")])
def test_what_the_user_can_mend_is_one_message_and_exit_2(tmp_path, capsys, more, said):
    file = questions(tmp_path)
    more = [tmp_path/"prompts.txt" if m == "P" else m for m in more]
    task = file if {"--grader", "--baseline"} & {*map(str, more)} or "P" in str(more) or "prompts.txt" in str(more) else "world"
    assert collect(tmp_path, *more, task=task) == 2
    assert said in capsys.readouterr().err

def test_a_task_that_is_nothing(tmp_path, capsys):
    assert collect(tmp_path, task="no_such_thing") == 2
    assert "there must be a file of queries" in capsys.readouterr().err

def test_a_wrong_key_is_said_once(tmp_path, capsys):
    with stub([error(401, "bad key")]) as server:
        assert collect(tmp_path, "--baseline", "A", "--prompts", tmp_path/"prompts.txt", "--k", 1, "--base-url", server.url, "--model", "m", task=questions(tmp_path)) == 2
    assert "must accept this key and model 'm'" in capsys.readouterr().err

def test_dabench_needs_a_copy(tmp_path, capsys):
    assert collect(tmp_path, task="dabench") == 2
    assert "name the folder with --path" in capsys.readouterr().err

def test_a_served_world_in_a_process_of_its_own_answers_and_ends_when_told(tmp_path):
    p = subprocess.Popen([sys.executable, "-m", "causal_prompts.cli", "serve-world", "randomised", "--port", "0", "--faults", '{"rate_500": 0.1}'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | dict(PYTHONUNBUFFERED="1"))
    try:
        url = p.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        assert collect(tmp_path, "--queries", 10, "--k", 1, "--base-url", url) == 0
        assert Triplets.read(tmp_path/"run"/"log.parquet").frame["score"].notna().all()
    finally:
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=20)
    assert p.returncode == 0 and "requests:" in out, err

def test_faults_that_are_no_json(capsys):
    assert main(["serve-world", "--faults", "often"]) == 2
    assert "--faults must be JSON, got 'often'" in capsys.readouterr().err

def test_another_tools_file_becomes_a_log(tmp_path, capsys):
    from causal_prompts import importers
    fixture = next((Path(__file__).parent/"fixtures"/"promptfoo").glob("*.json"))
    assert main(["import", str(fixture), "--tool", "promptfoo", "--out", str(tmp_path/"log.parquet")]) == 0
    assert Triplets.read(tmp_path/"log.parquet").frame.equals(importers.promptfoo(fixture).frame) and "Next: causal-prompts run" in capsys.readouterr().out
    assert main(["import", str(fixture), "--out", str(tmp_path/"log.csv")]) == 2
    assert "must end in .parquet" in capsys.readouterr().err

FIXTURES = Path(__file__).parent/"fixtures"
BATCH = ["--requests", str(FIXTURES/"openai_batch/input.jsonl"), "--items", str(FIXTURES/"openai_batch/items.json"), "--prompt", r"Solve the task below.\n\n{query}", "--prompt", "{query}"]
READ = { # fixture -> rows by the bare command, or what it asks for, and the flags that read it
    "promptfoo/results.json": (36, [], None), "mlflow/traces.jsonl": (12, [], None), "promptolution/cache.json": (41, [], None),
    "inspect": (16, ["--score", "match"], r"the scorers \['match', 'includes'\]; name one with --score"), "lm_eval": (24, ["--filter", "strict"], r"several filters, \['strict', 'loose'\]; name one with --filter"),
    "mlflow/eval_results_table.json": (4, ["--query", "query", "--prompt", "Solve it."], "give the template with --prompt"), "openai_batch/output.jsonl": (36, BATCH, "with --requests, and right answers with --items"),
    "dspy/evaluate.json": (12, ["--prompt", str(FIXTURES/"dspy/program.json")], "--prompt must say what was evaluated"), "dspy/gepa.json": (24, ["--items", str(FIXTURES/"openai_batch/items.json")], "--items must be the examples"),
    "dspy/search.json": (30, ["--items", str(FIXTURES/"openai_batch/items.json"), "--query", "query"], "--items must be the examples"), "gepa/result.json": (42, ["--items", str(FIXTURES/"gepa/sets.json"), "--at", "valset"], "--items must be the examples"),
    "gepa/run": (42, ["--items", str(FIXTURES/"gepa/sets.json"), "--at", "trainset", "--failure-score", "none"], "--items must be the examples"),
    "dspy/evaluate.csv": (12, ["--tool", "dspy", "--prompt", "Solve it."], "--tool table --columns query=question,score=right --prompt TEXT")}

def test_what_a_refusal_says_to_paste_reads_the_file(tmp_path, capsys):
    import shlex
    log = dict(version=2, status="success", eval=dict(task="t", model="m"), samples=[
        dict(id=k, epoch=1, input=f"Spell w{k}.", messages=[dict(role="user", content=f"Please. Spell w{k}.")], scores=dict(judge=dict(value=7 + k % 3))) for k in range(12)])
    (tmp_path/"l.json").write_text(json.dumps(log))
    (tmp_path/"mine.csv").write_text("question,is_correct\n" + "".join(f"q{k},{k % 2}\n" for k in range(12)))
    for name, says in {"l.json": r"--score-range \d+,\d+", "mine.csv": r"--tool table --columns \S+ --prompt TEXT"}.items():
        command = ["import", str(tmp_path/name), "--out", str(tmp_path/"o.parquet")]
        assert main(command) == 2
        flags = re.search(says, capsys.readouterr().err)
        assert flags and main(command + shlex.split(flags[0])) == 0 and len(Triplets.read(tmp_path/"o.parquet")) == 12

def test_import_masks_filled_in_prompts_of_a_table_and_says_so_first(tmp_path, capsys):
    rows = [dict(query=f"How many {w}?", prompt=p + f"How many {w}?", score=1) for p in ("Be brief. ", "Think. ") for w in "cats dogs cows hens pigs".split()]
    pd.DataFrame(rows).to_csv(tmp_path/"t.csv", index=False)
    command = ["import", str(tmp_path/"t.csv"), "--out", str(tmp_path/"o.parquet")]
    assert main(command) == 0 and "masked as {query} in 10 of 10 prompts" in capsys.readouterr().out.splitlines()[0]
    assert set(Triplets.read(tmp_path/"o.parquet").frame["prompt"]) == {"Be brief. {query}", "Think. {query}"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main([*command, "--keep-filled"]) == 0 and Triplets.read(tmp_path/"o.parquet").frame["prompt"].nunique() == 10

def test_import_at_a_list_inside_a_json_and_columns_that_are_no_pairs(tmp_path, capsys):
    rows = [dict(query=f"q{k}", prompt="Say it.", score=k % 2) for k in range(10)]
    (tmp_path/"r.json").write_text(json.dumps(dict(results=dict(rows=rows))))
    command = ["import", str(tmp_path/"r.json"), "--out", str(tmp_path/"o.parquet")]
    assert main(command) == 2 and "name it with --at results.rows" in capsys.readouterr().err
    assert main([*command, "--at", "results.rows"]) == 0 and len(Triplets.read(tmp_path/"o.parquet")) == 10
    assert main([*command, "--columns", "query"]) == 2 and "--columns must be pairs, as in query=question,score=right, got 'query'" in capsys.readouterr().err

@pytest.mark.parametrize("name, rows, flags, asks", [(k, *v) for k, v in READ.items()], ids=READ)
def test_import_reads_every_fixture_or_names_the_flag_that_is_missing(name, rows, flags, asks, tmp_path, capsys):
    out = ["--out", str(tmp_path/"log.parquet")]
    if asks:
        assert main(["import", str(FIXTURES/name), *out]) == 2
        said = capsys.readouterr().err
        assert re.search(asks, said) and not re.search(r"\b(prompt|items|filter|scorer|metric|requests|tool)=", said)
    assert main(["import", str(FIXTURES/name), *flags, *out]) == 0
    assert len(Triplets.read(tmp_path/"log.parquet")) == rows and re.search(rf"Read as \w+: {rows} rows", capsys.readouterr().out)

def test_import_says_which_flags_a_tool_has(tmp_path, capsys):
    out = ["--out", str(tmp_path/"log.parquet")]
    assert main(["import", str(FIXTURES/"promptfoo/results.json"), "--filter", "x", *out]) == 2
    assert "--filter is no choice of promptfoo, which has --score, --query" in capsys.readouterr().err
    assert main(["import", str(FIXTURES/"promptfoo/results.json"), "--at", "x", *out]) == 2 and "--at is no choice of promptfoo" in capsys.readouterr().err
    assert main(["import", str(FIXTURES/"promptfoo/results.json"), "--score-range", "five", *out]) == 2 and "--score-range must be two numbers" in capsys.readouterr().err
    assert main(["import", str(FIXTURES/"mlflow/traces.jsonl"), "--prompt", "a", "--prompt", "b", *out]) == 2 and "--prompt must be given once for mlflow, got 2" in capsys.readouterr().err
    assert main(["import", str(tmp_path/"none.json"), *out]) == 2 and "there must be a file or folder at" in capsys.readouterr().err

def test_import_takes_a_table_apart(tmp_path, capsys):
    (tmp_path/"t.json").write_text(json.dumps(dict(runs=[dict(q=f"Answer.\nq{k}", s=k) for k in range(6)])))
    flags = ["--tool", "table", "--at", "runs", "--columns", "query=q,score=s", "--prompt", r"Answer.\n{query}", "--score-range", "0,5", "--model", "m", "--out", str(tmp_path/"log.parquet")]
    assert main(["import", str(tmp_path/"t.json"), *flags]) == 0
    f = Triplets.read(tmp_path/"log.parquet").frame
    assert f["query"].tolist() == [f"q{k}" for k in range(6)] and set(f["prompt"]) == {"Answer.\n{query}"} and set(f["model"]) == {"m"} and f["score"].sum() == 15
    assert main(["import", str(tmp_path/"t.json"), *flags[:4], "--columns", "query", *flags[-2:]]) == 2 and "--columns must be pairs" in capsys.readouterr().err

def test_import_notes_speak_flags(tmp_path, capsys):
    assert main(["import", str(FIXTURES/"lm_eval"), "--filter", "strict", "--out", str(tmp_path/"log.parquet")]) == 0
    assert "note: 3 samples files: 4 of 24 replies are empty" in (said := capsys.readouterr().err) and "--empty scored keeps" in said
