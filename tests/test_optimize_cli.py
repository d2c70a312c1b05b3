"The verbs optimize and route, as a shell calls them, and the forms in which a prompt leaves."
import csv, json, os, re, signal, subprocess, sys, time

import numpy as np
import pandas as pd
import pytest
import yaml
from jinja2 import Template

from causal_prompts import importers as im
from causal_prompts.cli import main
from causal_prompts.core import rng
from causal_prompts.exporting import to_gepa, to_promptfoo, to_text
from causal_prompts.record import Record
from causal_prompts.routers import load_router
from test_llm import answer, stub

THINK, WORD = "Think step by step.", "Answer in one word."


def search(tmp_path, *more, task="world:compositional", out="run"): return main(["optimize", "--task", str(task), "--out", str(tmp_path/out), *map(str, more)])

def route(tmp_path, *more, out="run"): return main(["route", str(tmp_path/out), *map(str, more)])

def kinds_file(tmp_path, n=200):
    rows = [dict(query=f"What is {i} plus {7 * i % 50}?" if i % 2 else f"Is this review good or bad: film number {i} was {i % 7} hours long", reference="yes", sort=("review", "sum")[i % 2]) for i in range(n)]
    pd.DataFrame(rows).to_csv(tmp_path/"kinds.csv", index=False)
    (tmp_path/"parts.txt").write_text(f"{THINK}\n{WORD}\nBe kind.\n")
    return tmp_path/"kinds.csv"

def opposed(n, body):
    text = body["messages"][-1]["content"]
    sign = 1 if "plus" in text else -1
    return answer("yes" if rng(0, text).random() < .5 + .4 * sign * (THINK in text) - .4 * sign * (WORD in text) else "no")


# ---- optimize

def test_a_world_needs_no_model_and_the_same_command_asks_nothing_again(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert search(tmp_path, "--queries", 60, "--calls", 80) == 0
    first = capsys.readouterr().out
    run, prompt = tmp_path/"run", (tmp_path/"run"/"prompt.txt").read_text()
    before = (run/"calls.jsonl").read_bytes()
    assert Record(run/"calls.jsonl").spent["calls"] <= 80 and "causal-prompts route" in first and prompt in first
    assert search(tmp_path, "--queries", 60, "--calls", 80) == 0 and (run/"calls.jsonl").read_bytes() == before and capsys.readouterr().out == first
    with open(run/"finalists.csv") as f: assert next(csv.reader(f))[:4] == ["prompt", "predicted", "n", "gain"]
    with open(run/"effects.csv") as f: assert {"part", "effect", "lo", "hi"} <= {*next(csv.reader(f))}
    assert json.loads((run/"messages.json").read_text()) == [dict(role="user", content=to_text(prompt, "{query}"))]
    assert im.program_text(run/"dspy.json") == prompt == json.loads((run/"gepa.json").read_text())["system_prompt"] and "Is there a better prompt?" in (run/"report.html").read_text()
    config = yaml.safe_load((run/"promptfooconfig.yaml").read_text())
    assert Template(config["prompts"][0]["raw"]).render(query="2 + 2?") == to_text(prompt, "2 + 2?") and config["tests"][0]["assert"]
    assert not (run/"router.zip").exists()
    assert search(tmp_path, "--queries", 60, "--calls", 90) == 2 and "--out must hold no other search" in capsys.readouterr().err

def test_kinds_that_want_opposite_things_get_a_router_and_route_uses_it(tmp_path, capsys):
    file = kinds_file(tmp_path)
    with stub(opposed) as server:
        assert search(tmp_path, "--baseline", "Answer the question.", "--parts", tmp_path/"parts.txt", "--base-url", server.url, "--model", "m", "--per", "sort", "--price", "1,1", "--money", 2, task=file) == 0
        assert len(server.seen) <= 600
    assert "Use the router" in capsys.readouterr().out and len(load_router(tmp_path/"run"/"router.zip").kinds) == 2
    assert route(tmp_path, "--query", "What is 5 plus 6?", "--kind", "sum") == 0
    out, err = capsys.readouterr()
    assert THINK in json.loads(out)[0]["content"] and WORD not in out and "What is 5 plus 6?" in out and "points of score over the fallback" in err
    assert route(tmp_path, "--query", "Is it good?", "--kind", "review") == 0 and WORD in capsys.readouterr().out
    assert route(tmp_path, "--query", "Is it good?") == 2 and "--kind must be given" in capsys.readouterr().err

def test_a_writer_is_asked_where_it_is_named(tmp_path, capsys):
    assert search(tmp_path, "--queries", 40, "--calls", 60, "--writer", "world") == 0
    assert "writer" in capsys.readouterr().out and Record(tmp_path/"run"/"writer.jsonl").spent["calls"] >= 1

def test_money_that_runs_out_stops_with_3_and_says_how_to_go_on(tmp_path, capsys):
    assert search(tmp_path, "--queries", 40, "--calls", 60, "--price", "0,1000", "--money", .2) == 3
    out = capsys.readouterr().out
    assert "Unfinished" in out and "money" in out and Record(tmp_path/"run"/"calls.jsonl").spent["money"] <= .2 and (tmp_path/"run"/"prompt.txt").exists()
    assert route(tmp_path, "--query", "Why?") == 0 and "Keep the baseline: the search has not got to a better prompt." in capsys.readouterr().err

def test_tokens_that_run_out_stop_too(tmp_path, capsys):
    assert search(tmp_path, "--queries", 40, "--calls", 60, "--tokens", 5_000) == 3
    assert "raise --tokens" in capsys.readouterr().out and Record(tmp_path/"run"/"calls.jsonl").spent["tokens"] <= 5_000

@pytest.mark.parametrize("more, said", [
    (["--calls", 10], "--calls must be at least 40"), (["--per", "sort"], "--per must be 'all', 'query' or a column"), (["--money", 0, "--price", "1,1"], "--money must be above 0"), (["--money", 5], "a cap on money needs the price"),
    (["--confirm", .9], "--confirm must be a share"), (["--parts", "none.txt"], "none.txt"), (["--price", "one"], "--price must be two numbers"), (["--base-url", "http://127.0.0.1:9", "--task", "none.csv"], "optimize needs --model"), (["--task", "none.csv", "--model", "m"], "there must be a file of queries")])
def test_what_the_user_can_mend_is_one_message_and_exit_2(tmp_path, capsys, more, said):
    assert search(tmp_path, *more) == 2
    assert said in capsys.readouterr().err

def test_flags_that_do_nothing_here_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as e: search(tmp_path, "--give-up", 5)
    assert e.value.code == 2 and "unrecognized" in capsys.readouterr().err

def test_killed_and_run_again_nothing_is_paid_twice(tmp_path):
    command = [sys.executable, "-m", "causal_prompts.cli", "optimize", "--task", "world", "--queries", "60", "--calls", "80", "--concurrency", "2", "--out", str(tmp_path/"run")]
    record = tmp_path/"run"/"calls.jsonl"
    p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while p.poll() is None and (not record.exists() or record.read_bytes().count(b'"reply"') < 20): time.sleep(.01)
    p.kill()
    assert p.wait() == -signal.SIGKILL
    assert subprocess.run(command, capture_output=True).returncode == 0
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    replies = [line["key"] for line in lines if line["kind"] == "reply"]
    assert len(replies) == len({*replies}) and sum(line["kind"] == "sent" for line in lines) <= 80 and (tmp_path/"run"/"prompt.txt").exists()


# ---- route

def test_without_a_router_the_prompt_for_all_is_used(tmp_path, capsys):
    (tmp_path/"run").mkdir()
    (tmp_path/"run"/"prompt.txt").write_text("Think.\n\n{query}\n")
    assert route(tmp_path, "--query", "Why?") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == [dict(role="user", content="Think.\n\nWhy?\n")] and "One prompt for all queries." in err
    (tmp_path/"run"/"answer.txt").write_text("A prompt that looks better was found; no fresh query confirms it.\nMore.")
    assert route(tmp_path, "--query", "Why?") == 0 and capsys.readouterr().err.count("A prompt that looks better was found; no fresh query confirms it.") == 1

def test_route_says_what_is_missing(tmp_path, capsys):
    assert route(tmp_path, "--query", "Why?") == 2 and "there must be a folder that optimize has written" in capsys.readouterr().err
    (tmp_path/"run").mkdir()
    assert route(tmp_path, "--query", "Why?") == 2 and "must hold prompt.txt or router.zip, got neither" in capsys.readouterr().err
    (tmp_path/"run"/"router.zip").write_text("none")
    assert route(tmp_path, "--query", "Why?") == 2 and "router.zip must be a file written by router.save" in capsys.readouterr().err


# ---- forms

def test_prompts_leave_for_gepa(tmp_path):
    assert to_gepa("Solve it.\n\n{query}", tmp_path/"c.json") == dict(system_prompt="Solve it.") == json.loads((tmp_path/"c.json").read_text())
    assert to_gepa("Read {query} twice.", component="reader") == dict(reader="Read `input` twice.")
    with pytest.raises(ValueError, match="component must be the name of a component, got ''"): to_gepa("x", component="")
    with pytest.raises(ValueError, match="path must end in .json, got 'c.yaml'"): to_gepa("x", tmp_path/"c.yaml")
    with pytest.raises(ValueError, match="prompt must say more"): to_gepa("{query}")

@pytest.mark.parametrize("prompt", ["Be brief.", "Solve.\n\n{query}", "Twice: {query} and {query}", "In {{ braces }} and {% raw %} and {# no #}: {query}", "Return {\"a\": {\"b\": 1}} for {query}", "é: # - [x] 'quoted' \"too\" | > & * \\n {query}", "Set {{query}}", "{{{query}"])
def test_promptfoo_fills_a_prompt_as_this_package_does(tmp_path, prompt):
    to_promptfoo({"a": prompt}, tmp_path/"c.yaml", "openai:chat:m", [("2 + {2}?", 4)])
    config = yaml.safe_load((tmp_path/"c.yaml").read_text(encoding="utf-8"))
    assert Template(config["prompts"][0]["raw"], keep_trailing_newline=True).render(query="2 + {2}?") == to_text(prompt.replace("{{query}}", "{query}"), "2 + {2}?")
    assert config["tests"] == [{"vars": dict(query="2 + {2}?"), "assert": [dict(type="icontains", value="4")]}] and config["providers"] == ["openai:chat:m"]

def test_a_configuration_of_promptfoo_names_its_prompts(tmp_path):
    made = to_promptfoo(dict(found="A", baseline="B"), queries=["x"])
    assert [p["label"] for p in made["prompts"]] == ["found", "baseline"] and made["tests"] == [dict(vars=dict(query="x"))]
    with pytest.raises(ValueError, match="path must end in .yaml or .yml, got 'c.json'"): to_promptfoo("A", tmp_path/"c.json")
    with pytest.raises(ValueError, match="prompts must be a template or label -> template, got none"): to_promptfoo({})
