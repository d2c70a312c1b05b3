"The client: what is retried and what is not, four outcomes, pace, budget under load, one session a loop, interrupts."
import asyncio, json, os, signal, subprocess, sys, textwrap, threading, time
from collections import Counter
from contextlib import contextmanager
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from inspect import signature
from pathlib import Path

import pytest

from causal_prompts import llm as module
from causal_prompts.llm import LLM, RUNTIME, CallError, Limits, _Gate, _pause, _retry_after, as_messages, each, wait
from causal_prompts.record import IDENTITY, BudgetError, Record

ROOT = Path(__file__).resolve().parents[1]
FAST = Limits(tries=4, timeout=5)


def answer(text="yes", finish="stop", refusal=None, usage=(5, 2), **message):
    body = dict(id="x", object="chat.completion", created=0, model="served-name", choices=[dict(index=0, finish_reason=finish, message=dict(role="assistant", content=text, refusal=refusal, **message))])
    if usage: body["usage"] = dict(prompt_tokens=usage[0], completion_tokens=usage[1], total_tokens=sum(usage))
    return 200, body, {}

def error(status, message="no", code=None, **headers): return status, dict(error=dict(message=message, type="t", code=code)), headers

class Stub(ThreadingHTTPServer): daemon_threads, request_queue_size = True, 1024 # a short queue resets connections under load

@contextmanager
def stub(script, delay=0.):
    "A server that answers by a list of replies (the last one for ever), or by a function of the running number and the request."
    seen, lock = [], threading.Lock()
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        def log_message(self, *_): pass
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock: seen.append(dict(body=body, at=time.monotonic(), key=self.headers["Authorization"])); n = len(seen) - 1
            if delay: time.sleep(delay)
            got = script(n, body) if callable(script) else script[min(n, len(script) - 1)]
            if got == "reset": self.connection.close(); self.close_connection = True; return
            status, out, headers = got
            raw = out.encode() if isinstance(out, str) else json.dumps(out).encode()
            try:
                self.send_response(status)
                for k, v in (dict(content_type="application/json", content_length=len(raw)) | headers).items(): self.send_header(k.replace("_", "-"), str(v))
                self.end_headers(); self.wfile.write(raw)
            except (BrokenPipeError, ConnectionResetError): pass
    server = Stub(("127.0.0.1", 0), Handler)
    server.seen = seen
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield server
    finally: server.shutdown(); server.server_close()

@pytest.fixture(autouse=True)
def short_waits(monkeypatch): monkeypatch.setattr(module, "_pause", lambda n, asked: min(asked or 0, .3) + .01)

def one(server, text="q", **kw):
    model = LLM("m", server.url, kw.pop("settings", dict(max_tokens=50)), limits=kw.pop("limits", FAST), **kw)
    return model, wait(model.ask(text))


# ---- outcomes

@pytest.mark.parametrize("reply, status, text", [
    (answer(), "ok", "yes"), (answer("cut", "length"), "limit", "cut"), (answer(None, "length"), "limit", ""),
    (answer(None, refusal="I will not."), "refused", "I will not."), (answer("half", "content_filter"), "refused", "half"), (answer(None, "content_filter"), "refused", "")])
def test_what_the_model_did_is_kept_and_marked(reply, status, text):
    with stub([reply]) as server:
        model, got = one(server)
        assert (got.status, got.text, got.tries, got.replayed) == (status, text, 1, False) and got.key in model.record
        again = wait(model.ask("q"))
        assert again.replayed and not again.cost and len(server.seen) == 1

@pytest.mark.parametrize("bad", [
    error(500), error(502), error(503), error(408), error(409), "reset", (200, "this is no json", {}), (200, "<html>gateway</html>", dict(content_type="text/html")),
    (200, dict(id="x"), {}), (200, dict(choices=[]), {}), (200, dict(choices=None), {}), (200, dict(choices=[dict(finish_reason="stop", message=None)]), {}), answer(None, usage=(5, 0)), (200, "null", {}), (200, '{"choices": [{"mess', {})])
def test_what_may_pass_is_tried_again_and_never_taken_for_an_answer(bad):
    with stub([bad, bad, answer()]) as server:
        model, got = one(server)
        assert (got.status, got.text, got.tries) == ("ok", "yes", 3) and len(server.seen) == 3
    with stub([bad]) as server:
        model, got = one(server)
        if bad == answer(None, usage=(5, 0)): assert (got.status, got.text, got.tries) == ("ok", "", 4) # nothing, and nothing again until the end, is an answer
        else: assert (got.status, got.text, got.tries) == ("error", "", 4) and got.error and got.key not in model.record and len(server.seen) == 4

def test_too_many_requests_is_no_try_and_ends_at_the_deadline():
    with stub([error(429)] * 9 + [answer()]) as server:
        assert one(server, limits=Limits(tries=2))[1].tries == 10
    with stub([error(429)]) as server:
        _, got = one(server, limits=Limits(tries=2, deadline=.3))
        assert got.status == "error" and got.http == 429 and got.tries > 2

def test_time_in_line_does_not_count_against_the_deadline():
    met = Counter()
    def script(n, b): met[text := b["messages"][0]["content"]] += 1; return error(500) if met[text] == 1 else answer()
    with stub(script) as server:
        model = LLM("m", server.url, limits=Limits(rpm=1200, deadline=1, tries=6, concurrency=4))
        assert {r.status for r in model.ask_all([str(i) for i in range(30)], show=False)} == {"ok"} # thirty answers need some three seconds

def test_an_empty_answer_is_asked_once_more_and_empty_twice_is_an_answer():
    with stub([answer(""), answer("yes")]) as server:
        assert one(server)[1].text == "yes" and len(server.seen) == 2
    with stub([answer(None, usage=(5, 40)), answer(None, usage=(5, 40))]) as server: # a model that only thought
        _, got = one(server)
        assert (got.status, got.text, got.tries) == ("ok", "", 2)
    calls = [dict(id="c", type="function", function=dict(name="look", arguments='{"at": 1}'))]
    with stub([answer(None, "tool_calls", tool_calls=calls)]) as server:
        assert one(server)[1].text == '[{"name": "look", "arguments": "{\\"at\\": 1}"}]'
    with stub([answer(""), error(500), answer(" ")]) as server:
        _, got = one(server)
        assert (got.status, got.text, got.tries) == ("ok", " ", 3)

def test_an_error_is_not_kept_as_an_answer_so_the_next_run_asks_again(tmp_path):
    with stub([error(500)] * 4 + [answer()]) as server:
        model, got = one(server, record=Record(tmp_path/"r.jsonl"))
        assert got.status == "error"
        model.record.close()
        again, got = one(server, record=Record(tmp_path/"r.jsonl"))
        assert got.status == "ok" and again.record.failures[got.key] == 4

@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_cannot_be_served_is_not_tried_again(status):
    with stub([error(status, "too long")]) as server:
        _, got = one(server)
        assert got.status == "error" and f"{status}" in got.error and len(server.seen) == 1

def test_a_filter_that_declines_is_a_refusal_and_kept():
    with stub([error(400, "The response was filtered", "content_filter")]) as server:
        model, got = one(server)
        assert (got.status, got.text) == ("refused", "") and got.key in model.record and len(server.seen) == 1
    with stub([error(403, "flagged by moderation")]) as server: assert one(server)[1].status == "refused"
    with stub([error(403, "forbidden")]) as server: assert one(server)[1].http == 403

@pytest.mark.parametrize("bad", [error(401, "bad key"), error(404, "no such model"), error(429, "You exceeded your current quota", "insufficient_quota")])
def test_what_would_fail_for_every_call_ends_the_run(bad):
    with stub([bad]) as server:
        with pytest.raises(CallError, match="must accept this key and model 'm'.*correct api_key, model or base_url"): one(server)
        assert len(server.seen) == 1

def test_there_is_one_layer_of_retries():
    with stub([error(500)]) as server:
        one(server, limits=Limits(tries=2))
        assert len(server.seen) == 2 # the client of the openai package would have made six of them

def test_retry_after_is_honoured_and_makes_everybody_wait():
    with stub(lambda n, _: error(429, Retry_After="0.25") if n == 0 else answer()) as server:
        model = LLM("m", server.url, limits=FAST)
        async def both():
            first = asyncio.ensure_future(model.ask("a"))
            while not any(r["line"] == "failed" for r in model.record._rows): await asyncio.sleep(.01)
            return await asyncio.gather(first, model.ask("b"))
        assert [r.status for r in wait(both())] == ["ok", "ok"]
        assert min(s["at"] for s in server.seen[1:]) - server.seen[0]["at"] >= .24

def test_after_a_retry_after_nobody_sends():
    with stub(lambda n, _: error(429, Retry_After="1") if n == 0 else answer(), delay=.02) as server:
        LLM("m", server.url, limits=Limits(concurrency=4)).ask_all([str(i) for i in range(40)], show=False)
        told = server.seen[0]["at"] + .1 # those in the air by then are no breach
        assert sum(told < s["at"] < server.seen[0]["at"] + .95 for s in server.seen) == 0

def test_waits_are_capped_grow_and_are_never_shorter_than_asked(monkeypatch):
    monkeypatch.undo()
    draws = [[module._pause(n, None) for _ in range(200)] for n in (1, 2, 8, 30)]
    assert [round(max(d)) for d in draws] in ([0, 1, 60, 60], [1, 1, 60, 60]) and max(draws[3]) <= 60 and min(draws[0]) >= .25 and len(set(draws[1])) > 100
    assert 7 <= module._pause(1, 7.) < 8 and module._pause(1, 10_000.) == 120

def test_a_deadline_ends_the_tries(monkeypatch):
    monkeypatch.setattr(module, "_pause", lambda n, asked: .2)
    with stub([error(500)]) as server:
        _, got = one(server, limits=Limits(tries=50, deadline=.5))
        assert got.status == "error" and 2 <= got.tries <= 4

def test_a_server_that_drips_is_cut_off():
    with stub([answer()], delay=1.) as server:
        _, got = one(server, limits=Limits(tries=2, timeout=.2))
        assert got.status == "error" and "timeout" in got.error and len(server.seen) == 2

def test_no_server_at_all():
    with stub([answer()]) as server: url = server.url
    got = wait(LLM("m", url, limits=Limits(tries=2)).ask("q"))
    assert got.status == "error" and "onnection" in got.error

def test_a_connection_that_was_never_made_costs_nothing():
    with stub([answer()]) as server: url = server.url
    model = LLM("m", url, dict(max_tokens=50), limits=Limits(tries=3), record=Record(tokens=10**6))
    assert wait(model.ask("q")).status == "error" and model.record.spent["tokens"] == 0 == model.record.unclear

def test_a_server_that_counts_more_than_was_held_is_named():
    with stub([answer(usage=(25_500, 10))]) as server, pytest.warns(UserWarning, match="used 25,510 tokens where at most"): one(server)


# ---- identity, replay, keys

def test_every_parameter_is_identity_or_runtime():
    named = [p for p in signature(LLM.__init__).parameters if p != "self"]
    placed = {"model": "model", "base_url": "url", "alias": "url", "settings": "settings"} # messages and replicate come with each call
    missing = [p for p in named if p not in placed and p not in RUNTIME]
    assert not missing, f"say in llm.RUNTIME, or in record.IDENTITY and request_key, whether {missing} changes what a model answers"
    assert {*placed.values(), "messages", "replicate"} == set(IDENTITY)

def test_a_model_that_moves_is_known_by_its_alias():
    record = Record()
    with stub([answer()]) as server: assert wait(LLM("m", server.url, alias="mine", record=record).ask("q")).text == "yes"
    assert wait(LLM("m", "http://127.0.0.1:1/v1", alias="mine", record=record).ask("q")).replayed

def test_replicates_are_draws_of_their_own_and_the_seed_follows():
    with stub(lambda n, b: answer(str(b.get("seed")))) as server:
        model = LLM("m", server.url, dict(seed=10))
        assert [r.text for r in model.ask_all(["a", "b"], replicates=3, show=False)] == ["10", "11", "12"] * 2
        assert LLM("m", server.url, record=model.record).ask_all(["a"], show=False)[0].text == "None"

def test_the_same_request_at_the_same_time_is_asked_once():
    with stub([answer()], delay=.1) as server:
        model = LLM("m", server.url, price=(1, 1))
        twin = LLM("m", server.url, role="writer", record=model.record)
        async def both(): return await asyncio.gather(*[m.ask("twin") for m in (model, twin)])
        wait(both())
        assert len(server.seen) == 1 and model.record.unclear == 0 and model.record._held["tokens"] == 0
        server.seen.clear()
        got = model.ask_all(["same"] * 10, show=False)
        assert len(server.seen) == 1 and {r.text for r in got} == {"yes"} and sum(r.replayed for r in got) == 9 and sum(r.cost for r in got) == pytest.approx(7e-6)

def test_offline_answers_from_the_record_and_says_what_it_lacks(tmp_path):
    with stub([answer()]) as server:
        model, _ = one(server, record=Record(tmp_path/"r.jsonl"))
        model.record.close()
        off = LLM("m", server.url, dict(max_tokens=50), record=Record(tmp_path/"r.jsonl", offline=True))
        assert wait(off.ask("q")).text == "yes"
        with pytest.raises(RuntimeError, match=r"an offline record must hold every reply asked for, got none in r.jsonl for 'm' .*draw 1, 'q'"): wait(off.ask("q", replicate=1))
        assert len(server.seen) == 1

def test_a_key_is_needed_elsewhere_and_is_never_written(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match="a key must be given for https://api.example.org/v1, got none; set the environment variable OPENAI_API_KEY"): wait(LLM("m", "https://api.example.org/v1").ask("q"))
    monkeypatch.setenv("OPENAI_API_KEY", "very-secret-key-123")
    with stub([error(500, "your key very-secret-key-123 is fine, our disk is not"), answer("the key is very-secret-key-123")]) as server:
        model, got = one(server, record=Record(tmp_path/"r.jsonl"))
        assert server.seen[0]["key"] == "Bearer very-secret-key-123"
    text = (tmp_path/"r.jsonl").read_text()
    assert "very-secret" not in text and "[key]" in text and "very-secret" not in repr(model)
    hidden = dict(default_headers={"api-key": "header-secret-77"}, default_query=dict(code="query-secret-88"))
    with stub([answer("I saw header-secret-77 and query-secret-88")]) as server:
        model, got = one(server, record=Record(tmp_path/"h.jsonl"), client=hidden)
    assert got.text == "I saw [key] and [key]" and "secret-77" not in (text := (tmp_path/"h.jsonl").read_text()) and "secret-88" not in text
    with pytest.raises(ValueError, match=r"must not hold \['extra_headers'\]; give headers"): LLM("m", settings=dict(extra_headers={"a": "b"}))
    with pytest.raises(ValueError, match="base_url must be without user, password and query, got one with them for http://h/v1"): LLM("m", "http://u:pw@h/v1?key=1")
    with stub([error(401, "Incorrect key very-secret-key-123")]) as server, pytest.raises(CallError) as e: one(server)
    assert "very-secret" not in str(e.value)

def test_usage_that_the_server_leaves_out_is_estimated_and_marked():
    with stub([answer("x" * 400, usage=None)]) as server:
        model, got = one(server, "y" * 800, price=(1, 1))
        assert got.tokens_out == 101 and 200 <= got.tokens_in <= 215 and model.record.get(got.key)["estimated"]


# ---- budget

def test_a_cap_on_calls_is_kept_under_load():
    with stub([answer()], delay=.01) as server:
        model = LLM("m", server.url, record=Record(calls=23), limits=Limits(concurrency=8))
        with pytest.raises(BudgetError, match="23 of 23 calls"): model.ask_all([str(i) for i in range(60)], show=False)
        assert len(server.seen) == 23 == len(model.record)

def test_a_cap_on_money_is_kept_under_load_and_used_up():
    with stub([answer(usage=(10, 10))], delay=.01) as server: # a call costs 20, and at most 8 + 5 + 100 bytes and tokens
        model = LLM("m", server.url, dict(max_tokens=100), price=(1e6, 1e6), record=Record(money=1000), limits=Limits(concurrency=8))
        with pytest.raises(BudgetError, match="money"): model.ask_all([f"{i:05}" for i in range(100)], show=False)
        assert model.record.spent["money"] <= 1000 and model.record.spent["money"] > 1000 - 140 and model.record.spent["money"] == 20 * len(server.seen)

def test_retries_count_as_calls():
    with stub([error(500), error(500), answer()]) as server:
        with pytest.raises(BudgetError): one(server, record=Record(calls=2))
        assert len(server.seen) == 2

@pytest.mark.parametrize("kw, caps, match", [
    (dict(settings=dict(max_tokens=5)), dict(money=1), "a cap on money needs the price of every model, got none for 'm'"),
    (dict(price=(1, 1)), dict(money=1), "needs a longest answer"), (dict(), dict(tokens=5), "needs a longest answer"),
    (dict(price=(1,)), {}, "price must be"), (dict(settings=dict(n=2)), {}, r"got \['n'\]; for several draws use replicate="), (dict(settings=dict(stream=True)), {}, "sampling settings only"), (dict(stage=3), {}, "stage must be 1")])
def test_what_would_go_wrong_later_is_refused_at_once(kw, caps, match):
    with pytest.raises(ValueError, match=match): LLM("m", "http://127.0.0.1:1/v1", record=Record(**caps), **kw)

def test_a_free_model_may_have_a_cap_on_money():
    assert LLM("m", settings=dict(max_tokens=5), price=(0, 0), record=Record(money=1)).price == (0, 0)

def test_settings_the_client_does_not_know_are_an_error_and_hold_nothing():
    with stub([answer()]) as server:
        model = LLM("m", server.url, dict(tempreture=1, max_tokens=5), record=Record(tokens=10**6))
        with pytest.raises(TypeError, match="tempreture"): wait(model.ask("q"))
        assert model.record._held["tokens"] == 0 and not server.seen and model.record.spent["tokens"] == 0

@pytest.mark.parametrize("x, kind", [([], TypeError), (3, TypeError), ([dict(role="user")], ValueError), (["hi"], ValueError), ([dict(content="x")], ValueError)])
def test_messages_that_are_none(x, kind):
    with pytest.raises(kind, match="messages"): as_messages(x)

@pytest.mark.parametrize("kw", [dict(concurrency=0), dict(concurrency=1.5), dict(rpm=0), dict(tries=0), dict(timeout=-1), dict(tpm="many"), dict(deadline=True)])
def test_limits_that_are_none(kw):
    with pytest.raises(ValueError, match=f"{next(iter(kw))} must be a (whole )?number above 0"): Limits(**kw)


# ---- pace

def test_no_more_requests_in_the_air_than_allowed():
    now, most, lock = [0], [0], threading.Lock()
    def script(n, body):
        with lock: now[0] += 1; most[0] = max(most[0], now[0])
        time.sleep(.02)
        with lock: now[0] -= 1
        return answer()
    with stub(script) as server:
        LLM("m", server.url, limits=Limits(concurrency=5)).ask_all([str(i) for i in range(40)], show=False)
    assert most[0] == 5

def test_the_gate_halves_once_a_round_and_recovers():
    async def go():
        gate = _Gate(16)
        t = time.monotonic()
        for _ in range(10): gate.judge(t, True) # ten requests that were in the air together
        assert gate.limit == 8
        gate.judge(time.monotonic() + 1, True)
        assert gate.limit == 4
        for _ in range(4): gate.judge(time.monotonic(), False)
        assert 4.8 < gate.limit < 5
        for _ in range(200): gate.judge(time.monotonic(), False)
        assert gate.limit == 16
    asyncio.run(go())

def test_a_server_that_bears_four_at_once_is_given_about_four():
    now, lock, refused = [0], threading.Lock(), [0]
    def script(n, body):
        with lock: now[0] += 1; many = now[0] > 4; refused[0] += many
        time.sleep(.02)
        with lock: now[0] -= 1
        return error(429) if many else answer()
    with stub(script) as server:
        model = LLM("m", server.url, limits=Limits(concurrency=32, tries=20))
        assert {r.status for r in model.ask_all([str(i) for i in range(150)], show=False)} == {"ok"}
    assert refused[0] < 150 # without falling back, 28 of each 32 are refused

def test_requests_a_minute_are_spaced_evenly():
    with stub([answer()]) as server:
        LLM("m", server.url, limits=Limits(rpm=1200)).ask_all([str(i) for i in range(11)], show=False)
        at = [s["at"] for s in server.seen]
        assert at[-1] - at[0] >= .7 * 10 * .05

def test_tokens_a_minute_hold_back_and_what_is_not_used_is_given_back():
    with stub([answer(usage=(50, 50))]) as server:
        model = LLM("m", server.url, dict(max_tokens=90), limits=Limits(tpm=60_000, concurrency=1)) # 100 tokens a call: ten calls a second
        model.ask_all([str(i) for i in range(9)], show=False)
        at = [s["at"] for s in server.seen]
        assert at[-1] - at[0] >= .6 * 8 * .1 # unlimited, nine answers take some hundredths of a second


# ---- loops

def test_inside_a_running_loop_and_in_several_loops():
    with stub([answer()]) as server:
        model = LLM("m", server.url)
        async def cell(): return model.ask_all(["a", "b"], show=False) # as in Jupyter, where a loop is running
        assert [r.text for r in asyncio.run(cell())] == ["yes", "yes"]
        assert wait(model.ask("c")).text == "yes" and asyncio.run(model.ask("d")).text == "yes"

def test_one_who_gives_up_does_not_take_the_answer_from_the_others():
    with stub([answer()], delay=.3) as server:
        model = LLM("m", server.url)
        async def go():
            first = asyncio.ensure_future(model.ask("q"))
            await asyncio.sleep(.05)
            second = asyncio.ensure_future(model.ask("q"))
            await asyncio.sleep(.05)
            first.cancel()
            return await second
        assert wait(go()).text == "yes" and len(server.seen) == 1

def test_errors_come_out_of_the_thread():
    async def cell():
        async def bad(): raise KeyError("x")
        return wait(bad())
    with pytest.raises(KeyError): asyncio.run(cell())

def test_each_keeps_order_finishes_what_was_begun_and_raises_the_first():
    done = []
    async def do(i):
        await asyncio.sleep(.02 if i % 2 else .01)
        if i == 5: raise ValueError("five")
        done.append(i)
        return i * i
    assert wait(each(list(range(5)), do, 3)) == [0, 1, 4, 9, 16]
    done.clear()
    with pytest.raises(ValueError, match="five"): wait(each(list(range(100)), do, 4))
    assert 4 <= len(done) <= 12 and wait(each([], do, 4)) == []

def test_an_interrupt_ends_the_run_and_keeps_what_was_paid(tmp_path):
    with stub([answer()], delay=.05) as server:
        code = textwrap.dedent(f"""
            import asyncio, sys
            from causal_prompts.llm import LLM, Limits
            from causal_prompts.record import Record
            model = LLM("m", {server.url!r}, dict(max_tokens=5), record=Record({str(tmp_path/'r.jsonl')!r}), limits=Limits(concurrency=4))
            async def cell(): return model.ask_all([str(i) for i in range(10_000)], show=False)
            print("go", flush=True)
            try: asyncio.new_event_loop().run_until_complete(cell()) if "loop" in sys.argv else model.ask_all([str(i) for i in range(10_000)], show=False)
            except KeyboardInterrupt: model.record.close(); print("interrupted", len(model.record), flush=True)""")
        for how in ("plain", "loop"):
            p = subprocess.Popen([sys.executable, "-c", code, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
            assert p.stdout.readline() == "go\n"
            while len(server.seen) < 20: time.sleep(.05)
            p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=30)
            assert out.startswith("interrupted"), err
            n = int(out.split()[1])
            record = Record(tmp_path/"r.jsonl")
            assert len(record) == n >= 8 and record.unclear <= 4 * (1 if how == "plain" else 2)
            server.seen.clear()
