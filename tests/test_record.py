"The record: identity of requests, caps that hold before the call, torn lines, two writers, secrets, a full disk."
import errno, json, os, resource, signal, subprocess, sys, warnings, zlib
from contextlib import contextmanager
from pathlib import Path

import pytest

from causal_prompts.core import LogError
from causal_prompts.identity import IDENTITY, blot, media_hashed, request_key
from causal_prompts.record import BudgetError, Call, Record

ROOT = Path(__file__).resolve().parents[1]
HI = [dict(role="user", content="hi")]
URL = "http://127.0.0.1:1/v1"


def one(key, tries=1, most=100, money=None): return Call(key, tries, "task", 1, "m", most, money)

def send(record, text="hi", replicate=0, tries=1, most=100, money=None):
    messages = [dict(role="user", content=text)]
    key = request_key("m", URL, messages, {}, replicate)
    return key if record.reserve(one(key, tries, most, money)) else None

def keep(record, text="hi", replicate=0, tries=1, tokens=(3, 4), cost=None, reply="yes", **more):
    messages = [dict(role="user", content=text)]
    key = request_key("m", URL, messages, {}, replicate)
    asked = dict(url=URL, messages=messages, settings={}, replicate=replicate)
    answer = dict(text=reply, status="ok", tokens_in=tokens[0], tokens_out=tokens[1], cost=cost, seconds=.1, served="m") | more
    record.commit(one(key, tries), asked, answer).result(5)
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
    code = f"from causal_prompts.identity import request_key; print(request_key('m', 'http://a/v1', {HI!r}, dict(b=1, a=2)))"
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
    r.secrets.add("plain-secret-42")
    key = send(r, "my key is plain-secret-42")
    r.fail(one(key), "401 Incorrect key plain-secret-42, sk-proj-AAAABBBBCCCC1DDDEEEE", 401, .1, False)
    send(r, "my key is plain-secret-42", tries=2); keep(r, "my key is plain-secret-42", tries=2, reply="it is plain-secret-42")
    text = (tmp_path/"r.jsonl").read_text()
    assert "secret-42" not in text and "AAAABBBB" not in text and text.count("[key]") >= 4

def test_ordinary_words_are_not_taken_for_secrets():
    for t in ("a task-force of bearers", "sk-", "the bearer certificates were", "risk-averse_behaviour_of_people_in_groups", "ORDER BY pk_customer_order_details", "an rk-fourth-order-method"): assert blot(t, guess=True) == t
    assert blot("Bearer abcdefgh12345", guess=True) == "[key]" and blot("Bearer abcdefgh12345") == "Bearer abcdefgh12345" # in an answer it is a word like others

def test_pictures_are_kept_as_hashes():
    picture = "data:image/png;base64," + "A" * 5000
    small = media_hashed([dict(role="user", content=[dict(type="text", text="x" * 500), dict(type="image_url", image_url=dict(url=picture))])])
    assert small[0]["content"][0]["text"] == "x" * 500
    assert small[0]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,sha256:") and len(json.dumps(small)) < 800
    long = "word " * 10_000
    assert media_hashed(long) == long


# ---- caps

def test_a_cap_on_calls_is_looked_at_before_the_call_and_counts_retries():
    r = Record(calls=2)
    key = send(r); r.fail(one(key), "500", 500, .1, False)
    send(r, tries=2)
    with pytest.raises(BudgetError, match=r"room for one more call, got 2 of 2 calls spent; raise calls= and run again"): send(r, "other")
    assert r.spent["calls"] == 2

def test_a_cap_on_tokens_is_never_passed():
    r = Record(tokens=250)
    assert send(r, "a", most=100) and send(r, "b", most=100)
    assert send(r, "c", most=100) is None # in flight: perhaps later
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
    key = send(r, "b", most=50, money=.2); r.fail(one(key), "reset", None, .1, True)
    key = send(r, "c", most=50, money=.2); r.fail(one(key), "500", 500, .1, False)
    assert r.spent["tokens"] == 50 and r.unclear == 1
    r.close()
    with pytest.warns(UserWarning, match="1 call was in flight"): again = Record(tmp_path/"r.jsonl")
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

def test_a_full_disk_ends_the_run_holds_the_answer_and_leaves_whole_lines(tmp_path, monkeypatch):
    r, write = Record(tmp_path/"r.jsonl"), os.write
    send(r); keep(r); send(r, "b")
    size = r._size
    monkeypatch.setattr(os, "write", lambda fd, raw: write(fd, raw[:10])) # the disk takes ten bytes more
    with pytest.raises(RuntimeError, match=r"10 of \d+ bytes written; make room and run again. This line is held until the record is closed"): keep(r, "b", reply="a dear answer")
    monkeypatch.undo()
    assert (tmp_path/"r.jsonl").stat().st_size == size and len(r) == 2
    r.close()
    assert list(Record(tmp_path/"r.jsonl").frame["text"]) == ["yes", "a dear answer"]

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
    early.claim()
    assert key in early and early.spent["calls"] == 1

def test_after_a_full_disk_nothing_more_is_sent(tmp_path, monkeypatch):
    r, write = Record(tmp_path/"r.jsonl"), os.write
    send(r, most=50); send(r, "b", most=50)
    monkeypatch.setattr(os, "write", lambda fd, raw: write(fd, raw[:10]))
    with pytest.raises(RuntimeError): keep(r, tokens=(5, 6))
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="must take what is paid for"): send(r, "c")
    assert r.spent["tokens"] == 11 and r.unclear == 0 and len(r) == 1
    r.close()
    assert send(r, "c") # closed, the record has written what it held
    with pytest.warns(UserWarning, match="2 calls were in flight"): assert len(Record(tmp_path/"r.jsonl")) == 1


# ---- a disk that takes no more

@contextmanager
def longest_file(n):
    "No file may grow beyond n bytes."
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n, hard))
    try: yield
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

def broken(code):
    def fails(*args): raise OSError(code, os.strerror(code))
    return fails

def names(folder): return sorted(f.name for f in folder.iterdir())

def test_where_there_is_no_room_for_an_answer_nothing_is_asked(tmp_path):
    r = Record(tmp_path/"r.jsonl")
    with longest_file(200_000):
        sent = [k for k in range(10) if send(r, replicate=k)]
        assert sent == [0, 1, 2] # the others wait: calls in flight may need less than is set aside for them
        for k in sent: keep(r, replicate=k, reply="x" * 45_000)
        with pytest.raises(BudgetError, match=r"r.jsonl must have room for one more answer \(66,336 bytes\), got 13\d,\d+ bytes of 200,000 .* make room and run again: what is recorded is not asked twice"): send(r, replicate=3)
    assert send(r, replicate=3) and r.spent["calls"] == 4 # there is room again
    r.close()
    with pytest.warns(UserWarning, match="1 call was in flight"): assert len(Record(tmp_path/"r.jsonl")) == 3

@pytest.mark.parametrize("length", [20_000, 300_000], ids=["answers that fit", "answers larger than what is set aside"])
def test_a_run_on_a_disk_that_fills_up_keeps_every_answer_that_was_sent(tmp_path, length):
    from causal_prompts.connection import Limits
    from causal_prompts.llm import LLM
    from test_llm import answer, stub
    with stub(lambda n, _: answer("x" * length), delay=.05) as server:
        model = LLM("m", server.url, dict(max_tokens=50), record=Record(tmp_path/"r.jsonl"), limits=Limits(concurrency=16))
        with longest_file(200_000), pytest.raises(RuntimeError, match="make room and run again|must take what is paid for"): model.ask_all([f"q{i}" for i in range(30)], show=False)
        model.record.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error") # no call is in flight
        assert 0 < len(Record(tmp_path/"r.jsonl")) == len(server.seen) < 30

def test_who_changes_a_line_on_purpose_takes_its_checksum_out(tmp_path):
    path = tmp_path/"r.jsonl"
    lines = made(path).splitlines(True)
    path.write_bytes(b"".join(lines[:3]) + plain(lines[3].replace(b"answer 1", b"mended")))
    assert list(Record(path).frame["text"]) == ["answer 0", "mended"]

@pytest.mark.parametrize("code", [None, errno.EOPNOTSUPP, errno.EINVAL])
def test_room_is_set_aside_also_where_a_system_has_no_call_for_it(tmp_path, monkeypatch, code):
    monkeypatch.delattr(os, "posix_fallocate") if code is None else monkeypatch.setattr(os, "posix_fallocate", broken(code))
    r = Record(tmp_path/"r.jsonl")
    for k in range(40): send(r, replicate=k)
    about = os.fstat(r._disk.spare.fileno())
    assert about.st_size == 40 * 66_336 and about.st_blocks * 512 >= about.st_size
    for k in range(40): keep(r, replicate=k)
    assert r._held["room"] == 0

def test_nothing_is_asked_where_no_room_can_be_set_aside(tmp_path, monkeypatch):
    r = Record(tmp_path/"r.jsonl")
    send(r); keep(r)
    monkeypatch.setattr(os, "posix_fallocate", broken(errno.EDQUOT))
    with pytest.raises(BudgetError, match="one more answer .*got .*Disk quota exceeded"): send(r, "b", most=1_000_000)
    monkeypatch.undo()
    assert send(r, "b", most=1_000_000)

@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS])
def test_room_set_aside_is_given_back_for_what_was_paid(tmp_path, monkeypatch, code):
    r, write = Record(tmp_path/"r.jsonl"), os.write
    for k in range(3): send(r, replicate=k)
    assert os.fstat(r._disk.spare.fileno()).st_size >= 3 * 65536
    monkeypatch.setattr(os, "write", lambda fd, raw: write(fd, raw) if os.fstat(r._disk.spare.fileno()).st_size == 0 else broken(code)())
    for k in range(3): keep(r, replicate=k) # each is on disk: the disk had room again
    monkeypatch.undo()
    assert len(Record(tmp_path/"r.jsonl")) == 3

@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS])
def test_answers_in_the_air_when_a_disk_breaks_are_written_later(tmp_path, monkeypatch, code):
    r = Record(tmp_path/"r.jsonl", tokens=10_000)
    for k in range(4): send(r, replicate=k)
    monkeypatch.setattr(os, "write", broken(code))
    for k in range(3):
        with pytest.raises(RuntimeError, match=os.strerror(code)): keep(r, replicate=k, reply=f"answer {k}")
    with pytest.raises(RuntimeError, match=os.strerror(code)): r.fail(one(request_key("m", URL, HI, {}, 3)), "500", 500, .1, False)
    with pytest.raises(RuntimeError, match="must take what is paid for"): send(r, "other")
    monkeypatch.undo()
    r.close()
    again = Record(tmp_path/"r.jsonl")
    assert list(again.frame["text"]) == [f"answer {k}" for k in range(3)] and again.spent == dict(calls=4, tokens=21, money=0.) and again.unclear == 0
    assert names(tmp_path) == [".r.jsonl.lock", "r.jsonl"]

def test_lines_that_could_not_be_forced_to_disk_are_written_again(tmp_path, monkeypatch):
    r, fsync = Record(tmp_path/"r.jsonl"), os.fsync
    send(r); keep(r); send(r, "b")
    monkeypatch.setattr(os, "fsync", lambda fd: broken(errno.EIO)() if fd == r._disk.fd else fsync(fd))
    with pytest.raises(RuntimeError, match="must take what is paid for, got .*Input/output error"): keep(r, "b")
    with pytest.raises(RuntimeError, match="must take what is paid for"): send(r, "c")
    monkeypatch.undo()
    assert len(r) == 2 and len(Record(tmp_path/"r.jsonl")) == 2 # from the file beside it
    r.close()
    assert len(Record(tmp_path/"r.jsonl")) == 2 and names(tmp_path) == [".r.jsonl.lock", "r.jsonl"]

def test_what_is_held_survives_a_kill_and_goes_into_the_record_when_it_is_opened(tmp_path):
    code = ("import sys; sys.path.insert(0, 'tests'); from test_record import *\n"
            "r = Record(sys.argv[1]); send(r); keep(r); send(r, 'b'); send(r, 'c')\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (r._size + 10, resource.RLIM_INFINITY))\n"
            "for text in 'bc':\n    try: keep(r, text)\n    except RuntimeError: pass\n"
            "os.kill(os.getpid(), 9)")
    subprocess.run([sys.executable, "-c", code, str(tmp_path/"r.jsonl")], cwd=ROOT, timeout=60)
    assert "r.jsonl.held" in names(tmp_path) and len(Record(tmp_path/"r.jsonl", offline=True)) == 3
    r = Record(tmp_path/"r.jsonl")
    r.claim()
    assert names(tmp_path) == [".r.jsonl.lock", "r.jsonl"] and len(r) == 3
    r.close()
    assert len(Record(tmp_path/"r.jsonl")) == 3 and r.spent == Record(tmp_path/"r.jsonl").spent

def test_what_no_file_of_the_folder_takes_is_put_elsewhere_and_the_place_is_named(tmp_path, monkeypatch):
    r = Record(tmp_path/"r.jsonl")
    send(r); send(r, "b")
    monkeypatch.setattr(os, "write", broken(errno.EROFS))
    for text in ("hi", "b"):
        with pytest.raises(RuntimeError, match="Read-only file system"): keep(r, text)
    with pytest.raises(RuntimeError, match=r"r.jsonl must take 2 more lines, got .*Read-only.* They are in (\S+); make room, then append them: cat \1 >> r.jsonl") as e: r.close()
    monkeypatch.undo()
    place = Path(str(e.value).split("They are in ")[1].split(";")[0])
    with open(tmp_path/"r.jsonl", "ab") as f: f.write(place.read_bytes())
    assert len(Record(tmp_path/"r.jsonl")) == 2
    assert place.stat().st_mode & 0o077 == 0
    place.unlink()

def test_a_run_that_ends_without_closing_writes_what_it_holds(tmp_path):
    code = ("import sys; sys.path.insert(0, 'tests'); from test_record import *\n"
            "r, write = Record(sys.argv[1]), os.write; send(r)\n"
            "os.write = lambda fd, raw: 0\n"
            "try: keep(r)\nexcept RuntimeError as e: print(e)\n"
            "os.write = write")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path/"r.jsonl")], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "This line is held" in done.stdout and len(Record(tmp_path/"r.jsonl")) == 1, done.stderr

@pytest.mark.parametrize("replaced", [False, True])
def test_a_record_that_was_deleted_while_it_was_open_is_not_lost(tmp_path, replaced):
    r = Record(tmp_path/"r.jsonl")
    send(r); keep(r)
    send(r, "b")
    (tmp_path/"r.jsonl").unlink()
    if replaced: (tmp_path/"r.jsonl").write_text("")
    keep(r, "b", reply="paid as well")
    with pytest.raises(BudgetError, match="moved, replaced or deleted while it was open"): send(r, "c")
    with pytest.raises(RuntimeError, match="must take 4 more lines, got .*deleted while it was open. They are in ") as e: r.close()
    place = Path(str(e.value).split("They are in ")[1].split(";")[0])
    assert list(Record(place, offline=True).frame["text"]) == ["yes", "paid as well"]
    place.unlink()

def test_a_record_that_was_moved_is_written_to_its_end_and_no_further(tmp_path):
    r = Record(tmp_path/"r.jsonl")
    send(r)
    (tmp_path/"r.jsonl").rename(tmp_path/"s.jsonl")
    keep(r)
    with pytest.raises(BudgetError, match="moved, replaced or deleted while it was open"): send(r, "b")
    r.close()
    assert len(Record(tmp_path/"s.jsonl")) == 1


# ---- lines that were changed

def made(path, n=2):
    r = Record(path)
    for i in range(n): send(r, replicate=i); keep(r, replicate=i, reply=f"answer {i}")
    r.close()
    return path.read_bytes()

def test_any_changed_byte_is_noticed(tmp_path):
    path = tmp_path/"r.jsonl"
    raw = made(path)
    good = Record(path).frame
    for at in range(len(raw)):
        for mask in (1, 32) if at % 3 else (2, 128):
            path.write_bytes(raw[:at] + bytes([raw[at] ^ mask]) + raw[at + 1:])
            with pytest.raises(LogError, match=r"r.jsonl: \d problems?"):
                Record(path)
                pytest.fail(f"byte {at} of {raw[at - 20:at + 20]}")
    path.write_bytes(raw)
    assert Record(path).frame.equals(good)

def test_a_changed_line_is_named_with_what_to_do(tmp_path):
    path = tmp_path/"r.jsonl"
    path.write_bytes(made(path).replace(b"answer 1", b"answer 7"))
    with pytest.raises(LogError, match="got a line changed after it was written .its checksum does not fit.*restore the file from a copy, or delete this line") as e: Record(path)
    assert list(e.value.problems["row"]) == [4]
    with pytest.raises(LogError, match="changed after it was written"): Record(path, offline=True)
    path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:3]) + b"\n")
    with pytest.warns(UserWarning, match="1 call was in flight"): assert len(Record(path)) == 1

def plain(raw): return b"".join(json.dumps({k: v for k, v in json.loads(l).items() if k != "crc"}, separators=(",", ":")).encode() + b"\n" for l in raw.splitlines())

def test_records_without_checksums_are_read_and_go_on_with_them(tmp_path):
    path = tmp_path/"r.jsonl"
    old = plain(made(path))
    path.write_bytes(old)
    r = Record(path)
    assert len(r) == 2
    send(r, "new"); keep(r, "new"); r.close()
    lines = path.read_bytes()[len(old):].splitlines()
    assert path.read_bytes().startswith(old) and len(lines) == 2 and len(Record(path)) == 3
    for l in lines: assert l.startswith(b'{"crc":"%08x",' % zlib.crc32(l[18:]))

def test_a_line_written_anew_by_another_program_is_noticed(tmp_path):
    path = tmp_path/"r.jsonl"
    raw = made(path, n=1)
    path.write_text("".join(json.dumps(dict(sorted(json.loads(l).items()))) + "\n" for l in raw.splitlines()))
    with pytest.raises(LogError, match="2 problems"): Record(path)

@pytest.mark.parametrize("change", [
    lambda raw: raw.replace(b"\n", b"\r\n"), lambda raw: b"\xef\xbb\xbf" + raw, lambda raw: b"\xef\xbb\xbf" + raw.replace(b"\n", b"\r\n"), lambda raw: raw + b"\n\n", lambda raw: raw.replace(b"\n", b"\n\n"),
    lambda raw: raw[:-1], lambda raw: raw[:-1] + b"\r", lambda raw: raw + b"  "], ids="crlf bom bom+crlf empty-end empty-lines no-end cr-end blanks".split())
@pytest.mark.parametrize("age", [bytes, plain], ids=["new", "old"])
def test_what_editors_do_to_a_file_loses_nothing_and_what_is_added_stands_apart(tmp_path, change, age):
    path = tmp_path/"r.jsonl"
    path.write_bytes(change(age(made(path))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        r = Record(path)
        assert list(r.frame["text"]) == ["answer 0", "answer 1"] and r.spent["calls"] == 2
        send(r, "new"); keep(r, "new", reply="added"); r.close()
        assert list(Record(path).frame["text"]) == ["answer 0", "answer 1", "added"]

def test_a_line_that_stands_there_twice_counts_once(tmp_path):
    path = tmp_path/"r.jsonl"
    raw = made(path)
    path.write_bytes(raw + raw)
    with pytest.warns(UserWarning, match="r.jsonl: 4 lines are copies of others; each line counts once"): r = Record(path)
    assert r.spent == dict(calls=2, tokens=14, money=0.) and len(r) == 2 and r.unclear == 0

def test_the_last_line_feed_overwritten_is_damage_and_no_torn_line(tmp_path):
    path = tmp_path/"r.jsonl"
    path.write_bytes(made(path)[:-1] + b"x")
    with pytest.raises(LogError, match="row 4"): Record(path)

def test_a_secret_that_is_the_name_of_a_field_leaves_the_record_readable(tmp_path):
    r = Record(tmp_path/"r.jsonl")
    r.secrets |= {"messages", 'two "words"'}
    send(r, "my messages"); keep(r, "my messages", reply='see two "words"'); r.close()
    line = list(Record(tmp_path/"r.jsonl")._replies.values())[0]
    assert line["messages"][0]["content"] == "my [key]" and line["text"] == "see [key]"


# ---- links

def linked(path, how):
    other = path.parent/"elsewhere"/"other.jsonl"
    other.parent.mkdir()
    (os.symlink if how == "symbolic" else os.link)(path, other)
    return other

@pytest.mark.parametrize("how", ["symbolic", "hard"])
def test_a_link_to_a_record_is_the_record(tmp_path, how):
    path = tmp_path/"r.jsonl"
    made(path)
    other = linked(path, how)
    for mine, theirs in [(path, other), (other, path)]:
        one, two = Record(mine), Record(theirs)
        send(one, str(mine)); keep(one, str(mine))
        with pytest.raises(RuntimeError, match="one record must have one writer, got a second one for"): send(two, "b")
        one.close()
        assert send(two, f"b {theirs}"); keep(two, f"b {theirs}"); two.close()
    assert len(Record(path)) == len(Record(other)) == 6

@pytest.mark.parametrize("how", ["symbolic", "hard"])
def test_a_second_process_is_no_second_writer_by_another_name(tmp_path, how):
    path = tmp_path/"r.jsonl"
    made(path)
    other = linked(path, how)
    r = Record(path)
    send(r, "mine")
    code = "import sys; sys.path.insert(0, 'tests'); from test_record import *\nsend(Record(sys.argv[1]), 'b')"
    done = subprocess.run([sys.executable, "-c", code, str(other)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "one record must have one writer" in done.stderr
    keep(r, "mine"); r.close()
    assert subprocess.run([sys.executable, "-c", code, str(other)], cwd=ROOT, capture_output=True, timeout=60).returncode == 0

def test_a_link_that_leads_nowhere_yet_is_written_where_it_leads(tmp_path):
    os.symlink(tmp_path/"far"/"r.jsonl", tmp_path/"link.jsonl")
    r = Record(tmp_path/"link.jsonl")
    send(r); keep(r); r.close()
    assert (tmp_path/"link.jsonl").is_symlink() and len(Record(tmp_path/"far"/"r.jsonl")) == 1


# ---- ledger

def test_the_ledger_keeps_stages_and_roles_apart_and_unknown_prices_unknown():
    r = Record()
    def call(text, role, stage, cost):
        key = request_key("m", URL, [dict(role="user", content=text)], {}, 0)
        sent = Call(key, 1, role, stage, "m", 10, cost)
        r.reserve(sent)
        asked = dict(url=URL, messages=[dict(role="user", content=text)], settings={}, replicate=0)
        r.commit(sent, asked, dict(text="", status="ok", tokens_in=2, tokens_out=3, cost=cost, seconds=1., served="m"))
    call("a", "task", 1, .5); call("b", "task", 1, .25); call("c", "writer", 1, None); call("d", "writer", 2, .3)
    t = r.ledger(queries=3).set_index(["stage", "role"])
    assert t.loc[("1, fixed", "task"), "money"] == .75 and t.loc[("1, fixed", "task"), "tokens_in"] == 4
    assert t["money"].isna()[("1, fixed", "writer")]
    assert t.loc[("2, for each query", "writer"), "money_per_query"] == pytest.approx(.1) and t["money_per_query"].isna()[("1, fixed", "task")]

def test_what_may_have_been_billed_stands_beside_the_answers(tmp_path):
    r = Record(tmp_path/"r.jsonl")
    send(r, "a"); keep(r, "a"); key = send(r, "b"); r.fail(one(key), "reset", None, .1, True); send(r, "c"); r.close()
    with pytest.warns(UserWarning, match="in flight"): t = Record(tmp_path/"r.jsonl").ledger()
    assert t[["replies", "requests", "failed", "unclear"]].iloc[0].tolist() == [1, 3, 1, 2]

def test_an_empty_ledger_has_its_columns():
    assert list(Record().ledger().columns)[:3] == ["stage", "role", "model"]
