"The record: identity of requests, caps that hold before the call, torn lines, two writers, secrets, a full disk."
import json, os, signal, subprocess, sys, warnings
from pathlib import Path

import pytest

from causal_prompts.core import LogError
from causal_prompts.record import IDENTITY, BudgetError, Record, _blot, _small, request_key

ROOT = Path(__file__).resolve().parents[1]
HI = [dict(role="user", content="hi")]
URL = "http://127.0.0.1:1/v1"


def send(record, text="hi", replicate=0, tries=1, most=100, money=None):
    messages = [dict(role="user", content=text)]
    key = request_key("m", URL, messages, {}, replicate)
    return key if record._hold(key, tries, "task", 1, "m", most, money) else None

def keep(record, text="hi", replicate=0, tries=1, tokens=(3, 4), cost=None, reply="yes", **more):
    messages = [dict(role="user", content=text)]
    key = request_key("m", URL, messages, {}, replicate)
    record._keep(key=key, **{"try": tries}, role="task", stage=1, model="m", url=URL, messages=messages, settings={}, replicate=replicate, text=reply, status="ok",
                 tokens_in=tokens[0], tokens_out=tokens[1], cost=cost, seconds=.1, served="m", **more).result(5)
    return key


# ---- identity

def test_every_part_of_the_identity_changes_the_key_and_nothing_else_does():
    base = dict(model="m", url="http://a/v1", messages=HI, settings=dict(temperature=1), replicate=0)
    other = dict(model="n", url="http://b/v1", messages=[dict(role="user", content="ho")], settings=dict(temperature=.5), replicate=1)
    assert set(base) == set(IDENTITY)
    key = request_key(**base)
    assert all(request_key(**base | {k: other[k]}) != key for k in IDENTITY)
    assert request_key(**base | dict(url="http://user:pw@a/v1/?key=1#x")) == key
    assert request_key(**base | dict(messages=[dict(content="hi", role="user")])) == key

def test_keys_are_the_same_in_another_process():
    code = f"from causal_prompts.record import request_key; print(request_key('m', 'http://a/v1', {HI!r}, dict(b=1, a=2)))"
    out = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | dict(PYTHONHASHSEED=s)).stdout.strip() for s in "12"]
    assert out == [request_key("m", "http://a/v1", HI, dict(a=2, b=1))] * 2


def test_equal_numbers_are_one_setting():
    import numpy as np
    keys = {request_key("m", "u", HI, dict(temperature=t, seed=s)) for t in (1, 1.0, np.float64(1)) for s in (3, np.int64(3))}
    assert len(keys) == 1 and request_key("m", "u", HI, dict(temperature=.5)) not in keys


# ---- what is written

def test_a_record_answers_what_it_was_told_also_after_it_was_closed(tmp_path):
    r = Record(tmp_path/"r.jsonl")
    send(r); key = keep(r)
    assert key in r and r.get(key)["text"] == "yes" and len(r) == 1
    r.close()
    again = Record(tmp_path/"r.jsonl")
    assert again.get(key)["text"] == "yes" and again.spent == dict(calls=1, tokens=7, money=0.) and again.unclear == 0
    assert Record(tmp_path/"r.jsonl", offline=True).get(key)["text"] == "yes"

def test_the_reply_is_on_disk_when_the_future_is_done(tmp_path):
    r = Record(tmp_path/"r.jsonl")
    send(r); key = keep(r)
    assert json.loads((tmp_path/"r.jsonl").read_text().splitlines()[-1])["key"] == key

def test_strange_texts_survive(tmp_path):
    texts = ["line\nbreak", "null \0 byte", "half a pair \ud83d", "𝕬 emoji 🙂", "\u2028 separator", '"quotes" \\ {}']
    r = Record(tmp_path/"r.jsonl")
    for i, t in enumerate(texts): send(r, replicate=i); keep(r, replicate=i, reply=t)
    r.close()
    back = list(Record(tmp_path/"r.jsonl").frame["text"])
    assert back == [t.replace("\ud83d", "?") for t in texts]

def test_no_secret_reaches_the_file(tmp_path):
    r = Record(tmp_path/"r.jsonl")
    r._secrets.add("plain-secret-42")
    key = send(r, "my key is plain-secret-42")
    r._fail(key, 1, "task", 1, "m", "401 Incorrect key plain-secret-42, sk-proj-AAAABBBBCCCC1DDDEEEE", 401, .1, False)
    send(r, "my key is plain-secret-42", tries=2); keep(r, "my key is plain-secret-42", tries=2, reply="it is plain-secret-42")
    text = (tmp_path/"r.jsonl").read_text()
    assert "secret-42" not in text and "AAAABBBB" not in text and text.count("[key]") >= 4

def test_ordinary_words_are_not_taken_for_secrets():
    for t in ("a task-force of bearers", "sk-", "the bearer certificates were", "risk-averse_behaviour_of_people_in_groups", "ORDER BY pk_customer_order_details", "an rk-fourth-order-method"): assert _blot(t, guess=True) == t
    assert _blot("Bearer abcdefgh12345", guess=True) == "[key]" and _blot("Bearer abcdefgh12345") == "Bearer abcdefgh12345" # in an answer it is a word like others

def test_pictures_are_kept_as_hashes():
    picture = "data:image/png;base64," + "A" * 5000
    small = _small([dict(role="user", content=[dict(type="text", text="x" * 500), dict(type="image_url", image_url=dict(url=picture))])])
    assert small[0]["content"][0]["text"] == "x" * 500
    assert small[0]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,sha256:") and len(json.dumps(small)) < 800
    long = "word " * 10_000
    assert _small(long) == long


# ---- caps

def test_a_cap_on_calls_is_looked_at_before_the_call_and_counts_retries():
    r = Record(calls=2)
    key = send(r); r._fail(key, 1, "task", 1, "m", "500", 500, .1, False)
    send(r, tries=2)
    with pytest.raises(BudgetError, match=r"room for one more call, got 2 of 2 calls spent; raise calls= and run again"): send(r, "other")
    assert r.spent["calls"] == 2

def test_a_cap_on_tokens_is_never_passed():
    r = Record(tokens=250)
    assert send(r, "a", most=100) and send(r, "b", most=100)
    assert send(r, "c", most=100) is None # in the air: perhaps later
    keep(r, "a", tokens=(5, 5))
    assert send(r, "c", most=100) # 10 spent, 200 held
    keep(r, "b", tokens=(50, 50)); keep(r, "c", tokens=(50, 50))
    with pytest.raises(BudgetError, match=r"at most 100 tokens\), got 210 of 250"): send(r, "d", most=100)
    assert send(r, "d", most=40)

def test_a_cap_on_money_is_never_passed():
    r = Record(money=1.)
    send(r, "a", money=.6)
    assert send(r, "b", money=.6) is None
    keep(r, "a", cost=.5)
    with pytest.raises(BudgetError, match="got 0.5 of 1 money"): send(r, "b", money=.6)
    assert send(r, "b", money=.5)

def test_caps_hold_over_runs(tmp_path):
    r = Record(tmp_path/"r.jsonl", calls=3)
    for i in range(2): send(r, replicate=i); keep(r, replicate=i)
    r.close()
    again = Record(tmp_path/"r.jsonl", calls=3)
    send(again, replicate=2); keep(again, replicate=2)
    with pytest.raises(BudgetError, match="3 of 3"): send(again, replicate=3)
    again.close()
    more = Record(tmp_path/"r.jsonl", calls=4)
    assert send(more, replicate=3)

def test_a_call_whose_fate_is_unknown_counts_at_the_most_it_may_have_cost(tmp_path):
    r = Record(tmp_path/"r.jsonl")
    send(r, "a", most=70, money=.1)
    key = send(r, "b", most=50, money=.2); r._fail(key, 1, "task", 1, "m", "reset", None, .1, True)
    key = send(r, "c", most=50, money=.2); r._fail(key, 1, "task", 1, "m", "500", 500, .1, False)
    assert r.spent["tokens"] == 50 and r.unclear == 1
    r.close()
    with pytest.warns(UserWarning, match="1 call was in the air"): again = Record(tmp_path/"r.jsonl")
    assert again.spent["tokens"] == 120 and again.spent["money"] == pytest.approx(.3) and again.unclear == 2
    send(again, "a", most=70, money=.1); keep(again, "a") # asked again: the lost one still counts
    assert again.spent["tokens"] == 127
    again.close()
    assert Record(tmp_path/"r.jsonl").spent == again.spent

@pytest.mark.parametrize("cap", [-1, float("nan"), True])
def test_a_senseless_cap_is_refused(cap):
    with pytest.raises(ValueError, match="calls must be a number >= 0"): Record(calls=cap)


# ---- damage

def test_a_torn_last_line_is_dropped_with_a_warning_and_the_file_goes_on_whole(tmp_path):
    path = tmp_path/"r.jsonl"
    r = Record(path); send(r); key = keep(r); r.close()
    whole = path.read_bytes()
    for cut in (1, 20, len(whole.splitlines()[-1]) - 1):
        path.write_bytes(whole + whole.splitlines()[-1][:cut])
        with pytest.warns(UserWarning, match=rf"the last line was torn \({cut} bytes"): again = Record(path)
        assert len(again) == 1
        send(again, "other"); keep(again, "other"); again.close()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(Record(path)) == 2 and key in Record(path)

def test_a_broken_line_in_the_middle_is_the_owners_to_judge(tmp_path):
    path = tmp_path/"r.jsonl"
    r = Record(path); send(r); keep(r); r.close()
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:30], '{"kind": "strange", "key": "k"}', lines[1]]) + "\n")
    with pytest.raises(LogError, match="2 problems") as e: Record(path)
    assert list(e.value.problems["row"]) == [2, 3]

def test_an_offline_record_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="an offline record must exist"): Record(tmp_path/"none.jsonl", offline=True)

def test_one_file_has_one_writer_and_readers_do_not_mind(tmp_path):
    one, two = Record(tmp_path/"r.jsonl"), Record(tmp_path/"r.jsonl")
    send(one); keep(one)
    with pytest.raises(RuntimeError, match="one record must have one writer"): send(two, "b")
    assert len(Record(tmp_path/"r.jsonl")) == 1
    one.close()
    send(two, "b"); keep(two, "b") # what the first wrote in between was read first
    assert len(two) == 2

def test_a_record_that_was_let_go_frees_its_file(tmp_path):
    r = Record(tmp_path/"r.jsonl"); send(r); keep(r)
    r = Record(tmp_path/"r.jsonl") # as when a cell is run twice
    send(r, "b"); keep(r, "b")
    assert len(r) == 2

def test_a_full_disk_ends_the_run_shows_the_answer_and_leaves_whole_lines(tmp_path, monkeypatch):
    r, write = Record(tmp_path/"r.jsonl"), os.write
    send(r); keep(r); send(r, "b")
    size = r._size
    monkeypatch.setattr(os, "write", lambda fd, raw: write(fd, raw[:10])) # the disk takes ten bytes more
    with pytest.raises(RuntimeError, match=r"10 of \d+ bytes written; make room and run again. Not kept: 'a dear answer'"): keep(r, "b", reply="a dear answer")
    monkeypatch.undo()
    assert (tmp_path/"r.jsonl").stat().st_size == size
    r.close()
    assert len(Record(tmp_path/"r.jsonl")) == 1

def test_kill_while_writing_loses_nothing_that_was_acknowledged(tmp_path):
    code = ("import sys; sys.path.insert(0, 'tests'); from test_record import *\n"
            "r = Record(sys.argv[1])\n"
            "for i in range(10**6):\n    send(r, replicate=i); keep(r, replicate=i, reply='x' * 20_000); print(i, flush=True)")
    for _ in range(3):
        p = subprocess.Popen([sys.executable, "-c", code, str(tmp_path/"r.jsonl")], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        acknowledged = [int(p.stdout.readline()) for _ in range(30)][-1]
        p.send_signal(signal.SIGKILL); p.wait()
        acknowledged = max([acknowledged, *[int(l) for l in p.stdout if l.endswith("\n")]])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = {l["replicate"] for l in Record(tmp_path/"r.jsonl")._replies.values()}
        assert found >= set(range(acknowledged + 1))


def test_a_fork_of_a_record_is_refused_and_does_not_hang(tmp_path):
    code = ("import os, sys; sys.path.insert(0, 'tests'); from test_record import *\n"
            "r = Record(sys.argv[1]); send(r); keep(r)\n"
            "if (pid := os.fork()) == 0:\n    try: send(r, 'b')\n    except RuntimeError as e: print(e, flush=True)\n    sys.exit(0)\n"
            "os.waitpid(pid, 0); send(r, 'c'); keep(r, 'c'); r.close(); print(len(Record(sys.argv[1])))")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path/"r.jsonl")], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "must be used by the process that opened it" in done.stdout and done.stdout.split()[-1] == "2", done.stderr

def test_a_record_opened_early_reads_what_others_wrote_before_it_asks(tmp_path):
    early, other = Record(tmp_path/"r.jsonl"), Record(tmp_path/"r.jsonl")
    send(other); key = keep(other); other.close()
    assert key not in early
    early._begin()
    assert key in early and early.spent["calls"] == 1

def test_after_a_full_disk_nothing_more_is_sent(tmp_path, monkeypatch):
    r, write = Record(tmp_path/"r.jsonl"), os.write
    send(r, most=50); send(r, "b", most=50)
    monkeypatch.setattr(os, "write", lambda fd, raw: write(fd, raw[:10]))
    with pytest.raises(RuntimeError): keep(r, tokens=(5, 6))
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="must take what is paid for"): send(r, "c")
    assert r.spent["tokens"] == 11 and r.unclear == 1


# ---- ledger

def test_the_ledger_keeps_stages_and_roles_apart_and_unknown_prices_unknown():
    r = Record()
    def call(text, role, stage, cost):
        key = request_key("m", URL, [dict(role="user", content=text)], {}, 0)
        r._hold(key, 1, role, stage, "m", 10, cost)
        r._keep(key=key, **{"try": 1}, role=role, stage=stage, model="m", url=URL, messages=[dict(role="user", content=text)], settings={}, replicate=0, text="", status="ok", tokens_in=2, tokens_out=3, cost=cost, seconds=1., served="m")
    call("a", "task", 1, .5); call("b", "task", 1, .25); call("c", "writer", 1, None); call("d", "writer", 2, .3)
    t = r.ledger(queries=3).set_index(["stage", "role"])
    assert t.loc[("1, fixed", "task"), "money"] == .75 and t.loc[("1, fixed", "task"), "tokens_in"] == 4
    assert t["money"].isna()[("1, fixed", "writer")]
    assert t.loc[("2, for each query", "writer"), "money_per_query"] == pytest.approx(.1) and t["money_per_query"].isna()[("1, fixed", "task")]

def test_what_may_have_been_billed_stands_beside_the_answers(tmp_path):
    r = Record(tmp_path/"r.jsonl")
    send(r, "a"); keep(r, "a"); key = send(r, "b"); r._fail(key, 1, "task", 1, "m", "reset", None, .1, True); send(r, "c"); r.close()
    with pytest.warns(UserWarning, match="in the air"): t = Record(tmp_path/"r.jsonl").ledger()
    assert t[["replies", "requests", "failed", "unclear"]].iloc[0].tolist() == [1, 3, 1, 2]

def test_an_empty_ledger_has_its_columns():
    assert list(Record().ledger().columns)[:3] == ["stage", "role", "model"]
