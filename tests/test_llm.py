"The client: what is retried and what is not, four outcomes, pace, budget under load, one session a loop, interrupts."
import asyncio, base64, gzip, json, os, random, signal, subprocess, sys, textwrap, threading, time, warnings, zlib
from collections import Counter
from contextlib import contextmanager
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from inspect import signature
from pathlib import Path
from urllib.parse import quote

import pytest

from causal_prompts import llm as module
from causal_prompts.connection import Gate, Limits, each, retry_pause, wait
from causal_prompts.identity import IDENTITY
from causal_prompts.llm import LLM, RUNTIME, as_messages
from causal_prompts.record import BudgetError, Record
from causal_prompts.replies import CallError, Malformed, Unread, read_answer

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
            with lock: seen.append(dict(body=body, at=time.monotonic(), key=self.headers["Authorization"], path=self.path)); n = len(seen) - 1
            if delay: time.sleep(delay)
            got = script(n, body) if callable(script) else script[min(n, len(script) - 1)]
            if got == "reset": self.connection.close(); self.close_connection = True; return
            if callable(got): got(self); self.close_connection = True; return
            status, out, headers = got
            raw = out if isinstance(out, bytes) else out.encode() if isinstance(out, str) else json.dumps(out).encode()
            try:
                self.send_response(status)
                for k, v in (dict(content_type="application/json", content_length=len(raw)) | headers).items(): self.send_header(k.replace("_", "-"), str(v))
                self.end_headers(); self.wfile.write(raw)
            except (BrokenPipeError, ConnectionResetError): pass
    server = Stub(("127.0.0.1", 0), Handler)
    server.seen = seen
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=.02), daemon=True).start()
    try: yield server
    finally: server.shutdown(); server.server_close()

@pytest.fixture(autouse=True)
def short_waits(monkeypatch): monkeypatch.setattr(module, "retry_pause", lambda n, asked: min(asked or 0, .3) + .01)

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
            while not any(r["line"] == "failed" for r in model.record.events()): await asyncio.sleep(.01)
            return await asyncio.gather(first, model.ask("b"))
        assert [r.status for r in wait(both())] == ["ok", "ok"]
        assert min(s["at"] for s in server.seen[1:]) - server.seen[0]["at"] >= .24

def test_after_a_retry_after_nobody_sends():
    with stub(lambda n, _: error(429, Retry_After="1") if n == 0 else answer(), delay=.02) as server:
        LLM("m", server.url, limits=Limits(concurrency=4)).ask_all([str(i) for i in range(40)], show=False)
        told = server.seen[0]["at"] + .1 # those in flight by then are no breach
        assert sum(told < s["at"] < server.seen[0]["at"] + .95 for s in server.seen) == 0

def test_waits_are_capped_grow_and_are_never_shorter_than_asked(monkeypatch):
    monkeypatch.undo()
    ends = []
    for end in (min, max): # of what may be drawn
        monkeypatch.setattr(random, "uniform", lambda a, b, end=end: end(a, b))
        ends.append([retry_pause(n, None) for n in (1, 2, 7, 8, 30)])
    assert ends == [[.25, .5, 16, 30, 30], [.5, 1, 32, 60, 60]]
    monkeypatch.undo()
    draws = [retry_pause(30, None) for _ in range(200)]
    assert 30 <= min(draws) and max(draws) <= 60 and len(set(draws)) > 100
    assert 7 <= retry_pause(1, 7.) < 8 and retry_pause(1, 10_000.) == 120

def test_a_deadline_ends_the_tries(monkeypatch):
    monkeypatch.setattr(module, "retry_pause", lambda n, asked: .2)
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


# ---- replies that are no plain chat completion

def body(content="4", finish="stop", usage=None, message=None, choice=None, **more):
    one = dict(index=0, finish_reason=finish, message=dict(role="assistant", content=content) if message is None else message) | (choice or {})
    return json.dumps(dict(choices=[one], usage=usage) | more).encode()

def part(text, kind="text"): return {"type": kind, "text": text}
THOUGHT = dict(type="thinking", thinking=[part("2 + 2")])
PICTURE = dict(type="image_url", image_url=dict(url="data:image/png;base64,AAAA"))

@pytest.mark.parametrize("content, text", [
    ([part("4")], "4"), ([part("the "), part("answer")], "the answer"), ([THOUGHT, part("4")], "4"), (["4", "2"], "42"), ([[part("4")], [[part("2")]]], "42"), (part("4"), "4"), ([dict(text="4")], "4"),
    ([part(dict(value="4", annotations=[]))], "4"), ([dict(type="text", content="4")], "4"), ([part("hm", "reasoning"), part("4", "output_text")], "4"), ([dict(text="hm", thought=True), dict(text="4")], "4"),
    ([part("a"), dict(type="reference", reference_ids=[0]), part("b")], "ab"), ([part("4"), PICTURE], "4"), ([part("4"), dict(type="brand_new", id=7)], "4"), ([part("4"), part(None)], "4")])
def test_an_answer_in_parts_is_its_text(content, text):
    got = read_answer(body(content))
    assert (got.text, got.status) == (text, "ok")

@pytest.mark.parametrize("content, why", [(4, "type int"), (True, "type bool"), (dict(answer=4), "without text"), ([PICTURE], "without text"), ([part("4", "answer")], "a part of type 'answer'"), ([part(4)], "type int"), ([part("4"), 5], "type int"), ([dict(type=["text"], text="4")], "a part of type")])
def test_a_content_of_an_unknown_form_is_missing_at_the_price_of_one_request(content, why):
    with pytest.raises(Unread, match=why): read_answer(body(content))
    with stub([answer(content)]) as server:
        model, got = one(server, record=Record(tokens=10**6))
        assert (got.status, got.text, got.tries) == ("error", "", 1) and why in got.error and got.key not in model.record and model.record.unclear == 1

@pytest.mark.parametrize("finish, status", [
    ("eos", "ok"), ("eos_token", "ok"), ("end_turn", "ok"), ("stop_sequence", "ok"), ("STOP", "ok"), ("COMPLETE", "ok"), ("tool_use", "ok"), ("function_call", "ok"), ("", "ok"), (None, "ok"), (dict(type="stop", matched=7), "ok"),
    ("max_tokens", "limit"), ("MAX_TOKENS", "limit"), ("model_length", "limit"), ("model_context_window_exceeded", "limit"),
    ("SAFETY", "refused"), ("content_filtered", "refused"), ("content_filter: RECITATION", "refused"), ("refusal", "refused"), ("guardrail_intervened", "refused"), ("sensitive", "refused"), ("ERROR_TOXIC", "refused"),
    ("error", None), ("abort", None), ("cancelled", None), ("timeout", None), ("network_error", None), ("insufficient_system_resource", None), ("incomplete", None), ("not_finished", None), ("function_call_filter: MALFORMED_FUNCTION_CALL", None), ("OTHER", None)])
def test_how_an_answer_ended_in_the_words_of_many_servers(finish, status):
    if status: assert (read_answer(body(finish=finish)).status, read_answer(body(finish=finish)).text) == (status, "4")
    else:
        with pytest.raises(Malformed, match="an answer that broke off") as e: read_answer(body(finish=finish))
        assert not isinstance(e.value, Unread) # may be whole the next time

@pytest.mark.parametrize("finish", ["fnord", 1, True, ["stop"], dict(kind="stop"), "x" * 10**6])
def test_a_word_for_the_end_that_says_nothing_is_not_taken_for_a_good_end(finish):
    with pytest.raises(Unread, match="finish_reason .* does not say whether it is whole"): read_answer(body(finish=finish))

def test_a_server_that_never_says_how_an_answer_ended():
    usage = lambda n: dict(prompt_tokens=5, completion_tokens=n)
    assert [read_answer(body(finish=f, usage=usage(n)), longest=50).status for f, n in ((None, 49), (None, 50), ("stop", 50))] == ["ok", "limit", "ok"]

def test_an_answer_that_broke_off_is_asked_for_again():
    with stub([answer("The ans", "error"), answer("The answer is 4", error=None)]) as server:
        _, got = one(server)
        assert (got.text, got.tries) == ("The answer is 4", 2)

@pytest.mark.parametrize("message, text", [
    (dict(content=None, refusal=True), ""), (dict(content="Sorry.", refusal=True), "Sorry."), (dict(content=None, refusal=dict(reason="policy")), "policy"), (dict(content=None, refusal=dict(reason=dict(code=3))), ""), (dict(content=None, refusal=[1]), ""),
    (dict(content=None, refusal=1), ""), (dict(content=[dict(type="refusal", refusal="I will not.")]), "I will not."), (dict(content=None, refusal="No."), "No.")])
def test_a_refusal_of_any_type_is_one(message, text, tmp_path):
    with stub([(200, body(message=message), {})]) as server:
        model, got = one(server, record=Record(tmp_path/"r.jsonl"))
        assert (got.status, got.text, got.tries) == ("refused", text, 1) and got.key in model.record
    for none in (False, None, "", []): assert read_answer(body(message=dict(content="4", refusal=none))).status == "ok"

def test_calls_of_tools_in_any_spelling():
    said = '[{"name": "f", "arguments": "{}"}]'
    for m in (dict(tool_calls=[dict(function=dict(name="f", arguments="{}"))]), dict(function_call=dict(name="f", arguments="{}")), dict(tool_calls=[dict(type="custom", custom=dict(name="f", input="{}"))])):
        assert read_answer(body(message=m | dict(content=None), finish="tool_calls")).text == said
    with pytest.raises(Malformed): read_answer(body(message=dict(content=None, tool_calls=[3])))

DEEP = b"[" * 100_000
@pytest.mark.parametrize("raw", [
    b"", b"null", b"5", b'"x"', b"[1]", b'[{"error": {"code": 400}}]', b"<html>502</html>", b'data: {"choices": []}\n\ndata: [DONE]\n', DEEP, b'{"a":' * 100_000, b'{"choices": [{"message": {"content": ' + DEEP + b"]" * 100_000 + b"}}]}", b'{"error": {"message": ' + b"[" * 900 + b"]" * 900 + b"}}",
    b'{"choices": {"0": {}}}', b'{"choices": "abc"}', b'{"choices": [null]}', b'{"choices": [{"message": "4"}]}', b'{"choices": [{"message": ["4"]}]}', b'{"choices": [{"text": "4"}]}', b'{"choices": [{"delta": {"content": "4"}}]}', b'{"choices": [{"message": {"content": "caf\xe9"}, "finish_reason": "stop"}]}'])
def test_a_body_that_is_no_completion_is_a_failure_that_may_pass(raw):
    with pytest.raises(Malformed) as e: read_answer(raw)
    assert not isinstance(e.value, Unread)
    with stub([(200, raw, {}), answer()]) as server: assert one(server, limits=Limits(tries=2))[1].text == "yes"
    with stub([(200, raw, {})]) as server:
        model, got = one(server, limits=Limits(tries=2), record=Record(tokens=10**6))
        assert got.status == "error" and len(got.error) < 400 and model.record.unclear == 2 and len(server.seen) == 2

def test_whatever_json_comes_is_an_answer_or_malformed():
    r = random.Random(0)
    values = [None, 0, -1, 1.5, "", "x", True, [], {}, [None], [[]], part(None), part(1), float("nan"), 10**30, "stop", "error"]
    names = ["choices", "message", "content", "finish_reason", "usage", "error", "refusal", "tool_calls", "function_call", "model", "prompt_tokens", "completion_tokens", "type", "text", "code"]
    def any_json(depth=0):
        x = r.random()
        if depth > 5 or x < .3: return r.choice(values)
        if x < .5: return [any_json(depth + 1) for _ in range(r.randint(0, 3))]
        return {r.choice(names): any_json(depth + 1) for _ in range(r.randint(0, 5))}
    read = 0
    for _ in range(5000):
        raw = json.dumps(dict(choices=[dict(message=any_json(2), finish_reason=r.choice(["stop", None, any_json(4)]))], usage=any_json(3), error=r.choice([None, any_json(4)]), model=any_json(4))).encode()
        try: got = read_answer(raw, r.random() < .5, r.random() < .5, r.choice([None, 5]))
        except Malformed: continue
        assert isinstance(got.text, str) and isinstance(got.served, str) and got.status in ("ok", "limit", "refused") and (got.used is None or min(got.used) >= 0)
        read += 1
    assert read > 100

@pytest.mark.parametrize("said, again, http", [(dict(code=502, message="provider died"), True, 502), (dict(message="boom"), True, None), ("boom", True, None), (dict(code="429", message="slow down"), True, 429), (dict(code=400, message="too long"), False, 400)])
def test_an_error_sent_as_an_answer_is_judged_like_one(said, again, http):
    for raw in (json.dumps(dict(error=said)).encode(), body(error=said), body(choice=dict(error=said))):
        with stub([(200, raw, {}), answer()]) as server:
            _, got = one(server)
            assert (got.text, got.http) == (("yes", None) if again else ("", http))
    with stub([(200, dict(error=dict(code=402, message="Insufficient credits")), {})]) as server, pytest.raises(CallError, match="fill the account"): one(server)
    for none in (None, {}, "", dict(code=0, message="")): assert read_answer(body(error=none)).text == "4"


# ---- what a server counts

@pytest.mark.parametrize("usage", [dict(prompt_tokens=-9, completion_tokens=-10**6), dict(prompt_tokens=5, completion_tokens=-1), dict(prompt_tokens="5", completion_tokens=2), dict(prompt_tokens=float("nan"), completion_tokens=2), dict(prompt_tokens=float("inf"), completion_tokens=2),
    dict(prompt_tokens=5.5, completion_tokens=2), dict(prompt_tokens=True, completion_tokens=2), dict(prompt_tokens=dict(value=5), completion_tokens=2), dict(prompt_tokens=None, completion_tokens=-1), dict(prompt_tokens=10**12, completion_tokens=2), dict(prompt_tokens=5, completion_tokens=1e308),
    dict(prompt_tokens=10**4000, completion_tokens=2), [5, 2], "lots", 7])
def test_a_count_that_is_none_counts_as_the_most_that_was_held(usage):
    with stub([(200, body(usage=usage), {})]) as server, pytest.warns(UserWarning, match="the most that it may have used is counted"):
        model, got = one(server, price=(1e6, 1e6), record=Record(money=1000, tokens=1000))
        most = model._most([dict(role="user", content="q")])
        assert got.text == "4" and got.tokens_in + got.tokens_out == model.record.spent["tokens"] == most["tokens"] and got.cost == model.record.spent["money"] == most["money"] and model.record.get(got.key)["estimated"]

def test_a_count_of_thousands_of_digits_loses_no_answer():
    raw = body().replace(b'"usage": null', b'"usage": {"prompt_tokens": ' + b"1" * 5000 + b', "completion_tokens": 2}')
    assert (read_answer(raw).text, read_answer(raw).wrong) == ("4", True)

@pytest.mark.parametrize("usage, used", [(None, None), ({}, None), (dict(prompt_tokens=5), None), (dict(prompt_tokens=None, completion_tokens=None), None), (dict(prompt_tokens=0, completion_tokens=0), None), (dict(prompt_tokens=5.0, completion_tokens=2), (5, 2)), (dict(input_tokens=5, output_tokens=2), (5, 2))])
def test_a_count_that_is_missing_is_no_wrong_one(usage, used):
    got = read_answer(body(usage=usage))
    assert (got.used, got.wrong) == (used, False)

def test_caps_hold_whatever_the_server_counts():
    with stub([(200, body(usage=dict(prompt_tokens=-10**6, completion_tokens=-10**6)), {})]) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LLM("m", server.url, dict(max_tokens=50), record=Record(tokens=1000))
        with pytest.raises(BudgetError, match="tokens"): model.ask_all([str(i) for i in range(100)], show=False)
        assert 1000 - 200 < model.record.spent["tokens"] <= 1000 and len(server.seen) < 20


# ---- what fails for every call

UNSUPPORTED = error(400, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "unsupported_parameter")

@pytest.mark.parametrize("bad, remedy, about", [
    (error(402, "Insufficient credits. Add more"), "fill the account", "account"), (error(402, ""), "fill the account", "account"), (error(400, "Your credit balance is too low to access the API."), "fill the account", "account"), (error(429, "no", "billing_hard_limit_reached"), "fill the account", "account"),
    (error(429, "You exceeded your current quota", "insufficient_quota"), "fill the account", "account"), (error(403, "Your team has used all available credits"), "fill the account", "account"), (UNSUPPORTED, "pass max_completion_tokens in settings instead of max_tokens", "setting"),
    (error(400, "API key not valid. Please pass a valid API key."), "correct api_key", "key"), (error(403, "Country, region, or territory not supported", "unsupported_country_region_territory"), "correct api_key", "key"), (error(403, "Project does not have access to model m", "model_not_found"), "correct api_key, model", "model"),
    (error(400, "m is not a valid model ID"), "correct api_key, model", "model"), (error(404, "model 'm' not found, try pulling it first"), "correct api_key, model", "model"), (error(405, "Method Not Allowed"), "base_url", "address")])
def test_what_every_call_would_meet_ends_the_run_with_what_to_do(bad, remedy, about):
    with stub([bad]) as server:
        with pytest.raises(CallError, match=f"{remedy}.* and run again: nothing recorded is lost") as e: one(server)
        assert len(server.seen) == 1 and e.value.about == about

@pytest.mark.parametrize("settings, said, code", [
    (dict(temperature=.2), "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.", "unsupported_value"), (dict(extra_body=dict(thinking=1)), "Unrecognized request argument supplied: thinking", None),
    (dict(frequency_penalty=1), 'Invalid JSON payload received. Unknown name "frequency_penalty": Cannot find field.', None), (dict(logprobs=True), "property 'logprobs' is unsupported", None), (dict(extra_body=dict(top_k=5)), "UnsupportedParamsError: openai does not support parameters: ['top_k']", None),
    (dict(temperature=3), "Invalid 'temperature': decimal above maximum value.", "decimal_above_max_value"), (dict(seed=1), "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted'}]", None)])
def test_a_setting_that_the_model_does_not_take_ends_the_run_and_is_named(settings, said, code):
    name = next(iter(settings.get("extra_body", settings)))
    for status in (400, 422):
        with stub([error(status, said, code)]) as server:
            with pytest.raises(CallError, match=f"take {name} out of settings, or give it a value that this model takes"): one(server, settings=settings)
            assert len(server.seen) == 1
    with stub([error(400, "Extra inputs are not permitted: max_completion_tokens")]) as server, pytest.raises(CallError, match="pass max_tokens in settings instead of max_completion_tokens"): one(server, settings=dict(max_completion_tokens=5))

@pytest.mark.parametrize("bad, remedy", [
    ((422, dict(detail=[dict(type="extra_forbidden", loc=["body", "seed"], msg="Extra inputs are not permitted")]), {}), "take seed out of settings"), ((400, [dict(error=dict(code=400, message="API key not valid. Please pass a valid API key."))], {}), "correct api_key"),
    ((400, dict(error="model 'm' not found"), {}), "correct api_key, model"), ((403, "insufficient balance", dict(content_type="text/plain")), "fill the account"), ((404, "<html>404</html>", {}), "base_url")])
def test_an_error_is_read_whatever_its_form(bad, remedy):
    with stub([bad]) as server, pytest.raises(CallError, match=remedy): one(server, settings=dict(seed=1))

def test_an_error_says_what_the_server_sent():
    with stub([(400, dict(detail="the text is too long"), {})]) as server: assert "the text is too long" in one(server)[1].error
    with stub(["reset"]) as server: assert "Connection error. (" in one(server)[1].error

@pytest.mark.parametrize("status", [400, 500])
def test_a_broken_body_of_an_error_is_an_error(status):
    for raw in (DEEP, b'{"error": {"message": ' + DEEP[:900] + b"]" * 900 + b"}}", b"\xff\xfe", b"null", b'{"error": 5}', b'{"error": {"message": "x", "param": {"a": 1}, "code": [1], "type": {}}}'):
        with stub([(status, raw, {})]) as server: assert (got := one(server, limits=Limits(tries=2))[1]).status == "error" and got.http == status

@pytest.mark.parametrize("said", ["max_tokens is too large: 50. This model's maximum context length is 40 tokens and your request has 20 input tokens", "This model's maximum context length is 4096 tokens, however you requested 5000", "messages[0].role 'system' is not supported by this model", "user must be polite", "the image is too large"])
def test_what_concerns_one_request_does_not_end_the_run(said):
    with stub([error(400, said)]) as server: assert one(server, settings=dict(max_tokens=50, user="me", stop="x"))[1].status == "error"

def test_those_in_line_are_not_sent_once_it_is_known_that_all_will_fail():
    with stub([error(402, "no credit")], delay=.1) as server:
        model = LLM("m", server.url, limits=Limits(concurrency=3, tries=4))
        async def many(): return await asyncio.gather(*[model.ask(str(i)) for i in range(30)], return_exceptions=True)
        assert {type(e) for e in wait(many())} == {CallError} and len(server.seen) == 3 == len(model.record.failures)

def test_an_account_that_was_filled_is_asked_again_in_the_same_loop():
    with stub([error(402), answer()]) as server:
        model = LLM("m", server.url)
        async def cell():
            with pytest.raises(CallError): await model.ask("q")
            return await model.ask("q")
        assert wait(cell()).text == "yes"


# ---- bodies without end, and ways that lead elsewhere

def sending(head, parts, pause=0.):
    "A handler's answer in parts, until the client has enough."
    def send(handler):
        try:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n" + head + b"\r\n")
            for p in parts: handler.wfile.write(p); handler.wfile.flush(); send.sent += len(p); time.sleep(pause)
        except OSError: pass
    send.sent = 0
    return send

def test_a_body_without_end_is_a_failure_and_not_the_end_of_the_memory():
    endless = sending(b"", (b"x" * (1 << 16) for _ in range(10**6)))
    with stub([endless, answer()]) as server:
        assert one(server)[1].text == "yes" and endless.sent < 1 << 26 # sockets take some before they notice
    with stub([(200, b'{"choices": "' + b"x" * (1 << 24) + b'"}', {})]) as server:
        assert "a reply of more than 16 MB" in one(server, limits=Limits(tries=1))[1].error

@pytest.mark.parametrize("name, pack", [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", lambda b: zlib.compress(b)[2:-4]), ("gzip, gzip", lambda b: gzip.compress(gzip.compress(b))), ("identity", bytes)])
def test_packed_bodies_are_unpacked_as_far_as_a_reply_goes(name, pack):
    with stub([(200, pack(body()), dict(content_encoding=name))]) as server: assert one(server)[1].text == "4"
    if name == "identity": return
    with stub([(200, pack(b" " * (1 << 26)), dict(content_encoding=name)), (200, pack(body())[:20], dict(content_encoding=name)), (200, b"no such thing", dict(content_encoding=name)), answer()]) as server:
        assert one(server)[1].tries == 4

def test_a_packing_that_was_not_asked_for_is_not_understood():
    with stub([(200, b"x", dict(content_encoding="br"))]) as server:
        assert "a body packed by 'br'" in one(server)[1].error and len(server.seen) == 1
    with stub([(200, b"x", dict(content_encoding=", ".join(["gzip"] * 50)))]) as server: assert one(server)[1].status == "error"

def test_a_slow_drip_ends_at_the_deadline():
    drip = sending(b"", (b" " for _ in range(10**6)), pause=.05)
    with stub([drip]) as server:
        _, got = one(server, limits=Limits(timeout=600, deadline=.5, tries=3))
        assert got.status == "error" and "timeout" in got.error and drip.sent < 1000

@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_is_not_followed(status):
    with stub([answer("from elsewhere")]) as other, stub([(status, "", dict(Location=f"{other.url.replace('127.0.0.1', 'localhost')}/chat/completions?key=abc"))]) as server:
        with pytest.raises(CallError, match=r"must answer by itself .*a redirect \(30\d\) to http://localhost.*/v1/chat/completions; give the address that answers itself as base_url") as e:
            one(server, client=dict(default_headers={"api-key": "HEADERSECRET99"}))
        assert not other.seen and len(server.seen) == 1 and e.value.about == "address"
    for to in (other.url, "//other.example/v1", "https://127.0.0.1/v1", "http://[", ""): # another port, host, scheme; no address
        with stub([(status, "", dict(Location=to))]) as server, pytest.raises(CallError, match="a redirect"): one(server)

def test_within_the_origin_a_redirect_that_keeps_the_request_is_followed():
    def script(n, b): return answer(b["messages"][0]["content"]) if server.seen[n]["path"].endswith("/") else (moved, "", dict(Location="/v1/chat/completions/"))
    for moved in (307, 308):
        with stub(script) as server: assert one(server, "echo")[1].text == "echo" and len(server.seen) == 2
    for moved in (301, 302, 303): # these turn the request into another
        with stub(script) as server, pytest.raises(CallError, match="a redirect"): one(server)

def test_an_http_client_of_ones_own_is_bound_too():
    import openai
    with stub([answer("elsewhere")]) as other, stub([(307, "", dict(Location=other.url + "/x"))]) as server:
        for _ in range(2):
            with pytest.raises(CallError, match="a redirect"): one(server, client=dict(http_client=openai.DefaultAsyncHttpxClient(follow_redirects=True)))
        assert not other.seen


# ---- identity, replay, keys

def test_every_parameter_is_identity_or_runtime():
    named = [p for p in signature(LLM.__init__).parameters if p != "self"]
    placed = {"model": "model", "base_url": "url", "alias": "url", "settings": "settings"} # messages and replicate come with each call
    missing = [p for p in named if p not in placed and p not in RUNTIME]
    assert not missing, f"say in llm.RUNTIME, or in identity.IDENTITY and request_key, whether {missing} changes what a model answers"
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

def test_only_values_of_names_that_speak_of_keys_are_secrets(tmp_path):
    plain = dict(default_query={"api-version": "2024-10-21"}, default_headers={"X-Title": "capital cities", "HTTP-Referer": "https://example.org", "X-Tokenizer": "sentencepiece", "X-Author": "Jane Miller", "x-keywords": "geography"})
    said = "It was on 2024-10-21 in capital cities, by Jane Miller of https://example.org: sentencepiece, geography."
    with stub([answer(said)]) as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        model, got = one(server, record=Record(tmp_path/"r.jsonl"), client=plain)
        model.record.close()
        assert got.text == said == Record(tmp_path/"r.jsonl").get(got.key)["text"] and "blotted" not in Record(tmp_path/"r.jsonl").get(got.key)

@pytest.mark.parametrize("name, value, hidden", [
    ("api-key", "hidden-77-value", "hidden-77-value"), ("X-Goog-Api-Key", "hidden-77-value", "hidden-77-value"), ("Ocp-Apim-Subscription-Key", "hidden-77-value", "hidden-77-value"), ("x-accessToken", "hidden-77-value", "hidden-77-value"), ("Proxy-Authorization", "Bearer hidden-77-value", "hidden-77-value"),
    ("Authorization", "Basic " + base64.b64encode(b"jane:hidden-77-value").decode(), "hidden-77-value"), ("Cookie", "theme=dark; sid=hidden-77-value-of-a-session", "hidden-77-value-of-a-session"), ("X-Client-Secret", "hidden-77-value", "hidden-77-value"), ("X-Other", "sk-hidden77valuehidden77", "sk-hidden77valuehidden77")])
def test_a_secret_in_an_answer_is_graded_as_it_is_recorded_and_said(name, value, hidden, tmp_path):
    with stub([answer(f"I saw {hidden}.")]) as server, pytest.warns(UserWarning, match=r"holds a key .* recorded and graded with \[key\] in its place"):
        model, got = one(server, record=Record(tmp_path/"r.jsonl"), client=dict(default_headers={name: value}))
        model.record.close()
        line = Record(tmp_path/"r.jsonl").get(got.key)
        assert got.text == line["text"] == "I saw [key]." and line["blotted"] and hidden not in (tmp_path/"r.jsonl").read_text()

def test_a_key_given_to_the_client_is_secret_too():
    with stub([error(500, "the key client-secret-55 is out of order")]) as server:
        assert "client-secret" not in one(server, limits=Limits(tries=1), client=dict(api_key="client-secret-55"))[1].error

@pytest.mark.parametrize("word", ["content", "kind", "messages", "settings", "replicate", "tokens_in", "tokens_out", "estimated", "temperature", "assistant"])
def test_a_secret_that_is_a_field_of_a_line_leaves_the_record_readable(word, tmp_path):
    with stub([answer(f"about {word}")]) as server:
        model, got = one(server, settings=dict(max_tokens=50, temperature=1), record=Record(tmp_path/"r.jsonl"), client=dict(default_headers={"x-key": word}), api_key=word)
        model.record.close()
        again = Record(tmp_path/"r.jsonl").get(got.key)
        assert again["text"] == got.text and again["settings"] == dict(max_tokens=50, temperature=1) and again["tokens_in"] == 5

KEY = "sk-test/SECRET+KEY_0123456789-abcdef"
@pytest.mark.parametrize("spell", [
    str, lambda k: quote(k, safe=""), lambda k: quote(k, safe="").lower().replace("%2f", "%2f"), lambda k: k.replace("-", "%2D"), lambda k: quote(quote(k, safe=""), safe=""), lambda k: "".join(f"%{ord(c):02X}" for c in k), lambda k: "".join(f"\\u{ord(c):04x}" for c in k),
    lambda k: "".join(f"&#{ord(c)};" for c in k), lambda k: k.encode().hex(), *[lambda k, u=u: base64.b64encode(f"{u}{k}".encode()).decode() for u in ("", ":", "u:", "user:")], *[lambda k, u=u: base64.urlsafe_b64encode(f"{u}{k}:".encode()).decode() for u in ("", "a", "ab")]])
def test_a_key_in_another_spelling_is_blotted_from_errors(spell, tmp_path):
    coded = spell(KEY)
    inner = coded[12:-12]
    for bad in (error(400, f"bad key {coded}!"), error(500, "x" * 170 + coded + "y" * 300), (200, f"no json {coded}", {}), (200, dict(error=dict(message=f"key {coded}")), {})):
        with stub([bad]) as server:
            model, got = one(server, limits=Limits(tries=1), api_key=KEY, record=Record(tmp_path/f"{random.random()}.jsonl"))
            assert got.status == "error" and "[key]" in got.error + "[key]" * ("y" * 90 in got.error)
            for text in (got.error, model.record.path.read_text()): assert inner not in text and coded[:16] not in text and coded[-16:-2] not in text

def test_a_key_in_the_error_that_ends_a_run_is_blotted():
    with stub([error(401, f"bad key {quote(KEY, safe='')}")]) as server, pytest.raises(CallError) as e: one(server, api_key=KEY)
    assert "SECRET" not in str(e.value) and "[key]" in str(e.value)

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
        gate = Gate(16)
        t = time.monotonic()
        for _ in range(10): gate.judge(t, True) # ten requests that were in flight together
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
            import asyncio, sys, time
            from causal_prompts.llm import LLM, Limits
            from causal_prompts.record import Record
            model = LLM("m", {server.url!r}, dict(max_tokens=5), record=Record({str(tmp_path/'r.jsonl')!r}), limits=Limits(concurrency=4))
            async def cell(): return model.ask_all([str(i) for i in range(10_000)], show=False)
            print("go", flush=True)
            try: asyncio.new_event_loop().run_until_complete(cell()) if "loop" in sys.argv else model.ask_all([str(i) for i in range(10_000)], show=False)
            except KeyboardInterrupt:
                known = -1
                while known != len(model.record): # until what was in flight has come down
                    known = len(model.record)
                    time.sleep(1)
                model.record.close()
                print("interrupted", len(model.record), flush=True)""")
        for how in ("plain", "loop"):
            p = subprocess.Popen([sys.executable, "-c", code, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
            assert p.stdout.readline() == "go\n"
            while len(server.seen) < 20: time.sleep(.05)
            p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=30)
            assert out.startswith("interrupted"), err
            n = int(out.split()[1])
            record = Record(tmp_path/"r.jsonl")
            assert len(record) == n and n >= 8
            assert record.unclear <= 4 * (1 if how == "plain" else 2)
            server.seen.clear()

@pytest.mark.parametrize("shown", ["sk-ab\\/cd+ef=GH0123456789", "sk-ab/cd ef=GH0123456789", "sk-ab\\\\/cd+ef=GH0123456789", "sk-ab%2Fcd+ef%3DGH0123456789"])
def test_a_key_is_blotted_as_json_and_forms_spell_it(shown):
    with stub([error(400, f"bad {shown} here")]) as server:
        got = wait(LLM("m", server.url, api_key="sk-ab/cd+ef=GH0123456789").ask("q"))
    assert "GH0123456789" not in got.error and "bad [key] here" in got.error
