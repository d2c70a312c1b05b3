"The app without a browser and without a model: what it reads, what it shows, a child process that tells, ends and is ended."
import base64, json, re, time
from functools import partial

import pandas as pd
import psutil
import pytest

from causal_prompts import app_page
from causal_prompts.app_fitting import Job
from causal_prompts.app_inputs import checked_log, complaint, log_at_hand, logs_at_hand, page_words, range_of, SIMULATED, uploaded_table
from causal_prompts.app_page import App
from causal_prompts.app_pieces import alert_html, download_link, finding_html
from causal_prompts.core import Finding, LogError, NotIdentifiedError
from causal_prompts.triplets import Triplets

PROMPTS = ("Answer briefly.", "Answer briefly. Think first.", "Answer as a poem.")

def csv(score=lambda q, p: 1 + (q + p) % 5, n=12, names="question,template,rating"):
    return "\n".join([names, *(f"q{q},{text},{score(q, p)}" for q in range(n) for p, text in enumerate(PROMPTS))]).encode()

def log(): return Triplets(pd.DataFrame(dict(query=["a", "b", "c"] * 2, prompt=["x"] * 3 + ["y"] * 3, score=[0, 1, 1, 1, 1, 0])))


# ---- reading

def test_columns_and_range_of_an_upload_are_guessed(tmp_path):
    table = uploaded_table("..\\..\\runs.csv", csv(), tmp_path)
    assert table.path == tmp_path/"runs.csv" and table.guess == dict(query="question", prompt="template", score="rating")
    got, notes = checked_log(table, table.guess, range_of(table.frame["rating"]))
    assert len(got) == 36 and got.score_range == (1, 5) and notes == []


@pytest.mark.parametrize("values, ends", [([0, .5, 1], (0, 1)), (["True", "false"], (0, 1)), ([1, 4], (1, 5)), ([0, 7], (0, 10)), ([-3, 250], (-3, 250)), (["a"], (0, 1))])
def test_the_range_is_the_narrowest_usual_one(values, ends): assert range_of(pd.Series(values)) == ends


def test_a_complaint_names_what_stands_on_the_page(tmp_path):
    table = uploaded_table("runs.csv", csv(), tmp_path)
    with pytest.raises(LogError) as e: checked_log(table, table.guess, (0, 1))
    lines = complaint(e.value)
    assert any("set the lowest score to 1 and the highest to 5" in line for line in lines) and "score_range" not in "".join(lines)
    with pytest.raises(ValueError, match="Choose the column of the prompt and of the score."): checked_log(table, dict(query="question"), (1, 5))
    assert "; read" not in page_words("x; if templates were filled in with the query, read with templates=True")


def test_a_log_under_one_prompt_cannot_be_fitted(tmp_path):
    table = uploaded_table("one.csv", b"query,prompt,score\na,x,1\nb,x,0\nc,x,1", tmp_path)
    with pytest.raises(NotIdentifiedError, match="under one prompt only") as e: checked_log(table, table.guess, (0, 1))
    assert complaint(e.value)[0] == "This log cannot answer."


def test_a_column_set_to_none_is_left_out(tmp_path):
    table = uploaded_table("runs.csv", csv(names="query,prompt,score"), tmp_path)
    table.frame["propensity"] = 7. # not a probability
    assert checked_log(table, dict(table.guess, propensity=""), (1, 5))[0].frame.columns.isin(["propensity"]).sum() == 0


def test_the_simulated_log_is_always_at_hand():
    assert SIMULATED in logs_at_hand() and len(log_at_hand(SIMULATED)) == 2000


# ---- pieces

def test_pieces_escape_what_a_log_says():
    found = Finding("<q>?", pd.DataFrame(dict(prompt=["<b>x</b>"])), "not shown", "<i>said</i>", details="<d>")
    html = finding_html(found) + alert_html(["<script>", "<li>"])
    assert not re.search(r"<(b|i|d|q|script)>", html) and "no effect could be shown" in html and html.count("&lt;script&gt;") == 1


def test_a_download_carries_its_file():
    link = download_link("a.csv", b"x\n1\n")
    assert 'download="a.csv"' in link and base64.b64decode(re.search("base64,([^\"]*)", link)[1]) == b"x\n1\n"


# ---- the child process

FAMILY = """import json, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(json.dumps(dict(say=str(child.pid))), flush=True)
time.sleep(600)"""

def heard(job, enough, seconds=60):
    "What a job says until it has said enough."
    out, end = [], time.monotonic() + seconds
    while not enough(out) and time.monotonic() < end: out += job.news(); time.sleep(.05)
    return out


@pytest.mark.parametrize("again", range(5)) # a kill takes a moment to be carried out
def test_a_cancel_ends_the_work_and_what_it_has_started(again):
    job = Job(log(), "x", command=FAMILY)
    child = psutil.Process(int(heard(job, len)[0]["say"]))
    job.cancel()
    assert not job.running and (not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert job.news() == [dict(failed=["Cancelled."])] and job.news() == []
    job.close()
    assert not job.folder.exists()


def test_a_child_that_ends_without_a_word_is_told():
    job = Job(log(), "x", command="import sys; print('chatter'); sys.exit('no memory')")
    failed = heard(job, len)[-1]["failed"]
    assert "exit code 1" in failed[0] and failed[-1] == "no memory"
    job.close()


def test_what_the_child_is_asked_is_what_was_given():
    job = Job(log(), "y", ("Try this.",), "a file.", command="pass")
    assert json.loads(job.content("asked.json")) == dict(baseline="y", prompts=["Try this."], about="a file.")
    assert Triplets.read(job.folder/"log.parquet").frame.equals(log().frame)
    job.close()


# ---- the page

ANSWERS = """import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
for name in ("answer", "effects", "parts", "search", "belief"):
    (folder/f"{name}.html").write_text(f"<p>the {name}</p>")
    print(json.dumps(dict(part=name, files=[f"{name}.html"])), flush=True)
(folder/"effects.csv").write_text("x")
print(json.dumps(dict(part="files", files=["effects.csv"])), flush=True)
print(json.dumps(dict(done=True)), flush=True)"""

def upload(page, content, name="runs.csv"): page.controls["upload"].value = (dict(name=name, type="text/csv", size=len(content), content=memoryview(content), last_modified=pd.Timestamp(0).to_pydatetime().astimezone()),)

def settled(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end: time.sleep(.05)
    return condition()

def on(box): return box.layout.display != "none"


def test_from_an_upload_to_downloads(monkeypatch):
    monkeypatch.setattr(app_page, "Job", partial(Job, command=ANSWERS))
    page = App()
    assert not on(page.mapping) and not on(page.fitting) and not on(page.results)
    upload(page, csv())
    assert page.columns["score"].value == "rating" and page.controls["highest"].value == 5 and "36 rows" in page.preview.value
    page.controls["highest"].value = 3.
    assert 'role="alert"' in page.message.value and not on(page.fitting), "a complaint leaves nothing to fit"
    page.controls["highest"].value = 5.
    assert page.message.value == "" and on(page.fitting)
    page.controls["fit"].click()
    assert settled(lambda: "Done" in page.said.value and not page.controls["fit"].disabled)
    assert on(page.results) and "the belief" in page.pages["belief"].value and 'download="effects.csv"' in page.files.value
    page.controls["tabs"].value = list(page.pages).index("rows")
    page.controls["b"].value = PROMPTS[1]
    assert on(page.pair) and "<ins>Think first.</ins>" in page.pages["rows"].value
    page.controls["source"].value = SIMULATED
    assert "cpa-stale" in page.results._dom_classes, "results of another log are greyed"


def test_a_cancel_leaves_a_page_that_can_fit_again(monkeypatch):
    monkeypatch.setattr(app_page, "Job", partial(Job, command=FAMILY))
    page = App(log())
    page.controls["fit"].click()
    assert page.controls["fit"].disabled and on(page.controls["cancel"])
    page.controls["cancel"].click()
    assert settled(lambda: not page.controls["fit"].disabled) and "Cancelled." in page.said.value and not on(page.controls["cancel"])


def test_what_cannot_be_read_is_a_message_and_no_traceback():
    page = App()
    upload(page, b"\x00\x01\x02", "runs.parquet")
    assert 'role="alert"' in page.message.value and "Traceback" not in page.message.value and not on(page.fitting)
    page.columns["query"].value = ""
    assert 'role="alert"' in page.message.value
