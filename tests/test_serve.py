"""A served world: answers right with the exact probability, the same draws everywhere, faults counted, and the forms that other clients read."""
import dataclasses, http.client, json, re, signal, socket, subprocess, sys, threading, time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import openai
import pytest

from causal_prompts import serve, world_answers
from causal_prompts.chat_format import request_id
from causal_prompts.core import rng
from causal_prompts.world_texts import BASELINE, IDEAS
from causal_prompts.faults import fault_at
from causal_prompts.serve import serve_world, WorldServer
from causal_prompts.hashed_words import embed
from causal_prompts.world_answers import asked, plausible, prompt_variants, reference, tokens
from causal_prompts.worlds import World

WORLD = World(seed=5)
FRAME = WORLD.queries(60)
QUERIES = list(FRAME["query"])
GOOD = " ".join([BASELINE, IDEAS["steps"][0], IDEAS["check"][1], IDEAS["units"][2]])
BAD = f"{BASELINE} {IDEAS['analogy'][1]} {IDEAS['brief'][2]}"
PLACEBO = " ".join([BASELINE, IDEAS["stakes"][0], IDEAS["praise"][1], IDEAS["thanks"][2], IDEAS["role"][0]])
PROMPTS = [BASELINE, GOOD, BAD, PLACEBO]


@pytest.fixture(scope="module")
def server():
    with serve_world(WORLD, seed=3) as s:
        yield s
        assert not s.counts["internal"] # no test of this file met a defect of the server

HTTP = openai.DefaultHttpxClient(limits=openai.DEFAULT_CONNECTION_LIMITS) # one for all: a new one reads all certificates

def client(server): return openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0, timeout=60, http_client=HTTP)

def line(server): return http.client.HTTPConnection("127.0.0.1", int(server.base_url.split(":")[2].split("/")[0]), timeout=30)

def post(connection, path, body, raw=False):
    connection.request("POST", path, body if raw else json.dumps(body), {"Content-Type": "application/json"})
    r = connection.getresponse()
    return r.status, json.loads(r.read())

def chat(prompt, query): return [dict(role="system", content=prompt), dict(role="user", content=query)]

def ask(c, messages, **settings): return c.chat.completions.create(model="world", messages=messages, **settings)

def say(server, text, **settings): return ask(client(server), [dict(role="user", content=text)], **settings).choices[0].message.content

def value_of(text): return text.splitlines()[-1].removeprefix("Answer: ")


# ---- probabilities

def test_every_cell_is_right_with_its_own_probability(server):
    c, cells = client(server), [(q, p) for q in QUERIES[:12] for p in PROMPTS]
    share = np.array([np.mean([value_of(x.message.content) == reference(WORLD, q) for x in ask(c, chat(p, q), n=80).choices]) for q, p in cells])
    value = np.array([WORLD.value(q, p)[0, 0] for q, p in cells])
    z = (share - value) / np.sqrt(value * (1 - value) / 80)
    assert abs(z).max() < 4 and .7 < np.mean(z**2) < 1.4
    flat = (share - value.mean()) / np.sqrt(value.mean() * (1 - value.mean()) / 80)
    assert np.mean(flat**2) > 3 # one probability for all cells would not do
    for p in PROMPTS:
        at = [i for i, (_, x) in enumerate(cells) if x == p]
        assert abs((share - value)[at].sum()) < 3 * np.sqrt((value * (1 - value) / 80)[at].sum())

def test_raw_http_finds_the_same_probabilities_and_a_placebo_changes_nothing(server):
    share, value = {}, {p: WORLD.value(QUERIES, p)[:, 0] for p in PROMPTS}
    for p in PROMPTS:
        c = line(server)
        replies = [post(c, "/v1/chat/completions", dict(model="w", messages=chat(p, q), seed=s))[1] for q in QUERIES for s in range(4)]
        share[p] = np.mean([value_of(r["choices"][0]["message"]["content"]) == reference(WORLD, q) for r, q in zip(replies, np.repeat(QUERIES, 4))])
        assert abs(share[p] - value[p].mean()) < 3 * np.sqrt((value[p] * (1 - value[p]) / 4).sum()) / len(QUERIES)
    assert np.array_equal(value[PLACEBO], value[BASELINE])
    se = np.sqrt(2 * (value[BASELINE] * (1 - value[BASELINE]) / 4).sum()) / len(QUERIES)
    assert abs(share[PLACEBO] - share[BASELINE]) < 3 * se and share[GOOD] - share[BAD] > 3 * se and share[GOOD] > share[BASELINE] > share[BAD]

def test_noise_of_the_grader_is_served_as_part_of_the_probability():
    noisy = dataclasses.replace(WORLD, noise=1.)
    with serve_world(noisy) as s:
        right = [value_of(x.message.content) == reference(noisy, q) for q in QUERIES[:20] for x in ask(client(s), chat(GOOD, q), n=25).choices]
    assert abs(np.mean(right) - .5) < 3 * np.sqrt(.25 / len(right))

def test_graded_worlds_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"graded must be False.*replace\(world, graded=False\)"): serve_world(World(graded=True))


# ---- references

def test_references_suit_the_question_and_belong_to_world_and_query():
    form = dict(arithmetic=r"\d{3}", dates=r"\d\d \w+ \d{4}|\w+day", sentiment="positive|negative|mixed", extraction=r"\d{3} euros", logic=r"[A-Z][a-z]+")
    for q, kind in zip(QUERIES, FRAME["kind"]): assert re.fullmatch(form[kind], reference(WORLD, q)), (kind, reference(WORLD, q))
    other = dataclasses.replace(WORLD, seed=6)
    assert np.mean([reference(WORLD, q) != reference(other, q) for q in QUERIES]) > .5
    hidden = World(visible=False)
    with pytest.raises(ValueError, match="must be a text this world writes"): reference(hidden, QUERIES[0])

def test_no_wrong_answer_can_be_taken_for_the_right_one(server):
    for q, kind in zip(QUERIES, FRAME["kind"]):
        truth = reference(WORLD, q)
        others = {plausible(q, kind, rng(s, "other")) for s in range(60)} - {truth}
        assert others and not any(truth in o for o in others)
        for x in ask(client(server), chat(BAD, q), n=5).choices:
            thoughts, last = x.message.content.rsplit("\n", 1)
            assert last.startswith("Answer: ") and truth not in thoughts
            assert last == f"Answer: {truth}" or truth not in last


# ---- what is asked

WRAPS = dict(
    chat=lambda p, q: chat(p, q),
    one=lambda p, q: [dict(role="user", content=f"{p}\n\n{q}")],
    inside=lambda p, q: [dict(role="user", content=f"Here it comes: <<{q}>> {p}")],
    parts=lambda p, q: [dict(role="system", content=p), dict(role="user", content=[dict(type="text", text=q), dict(type="image_url", image_url=dict(url="data:,"))])],
    json=lambda p, q: [dict(role="user", content=json.dumps(dict(instruction=p, input=q)))],
    twice=lambda p, q: [dict(role="user", content=json.dumps(dict(payload=json.dumps(dict(instruction=p, input=q)))))],
    html=lambda p, q: [dict(role="user", content=f"{p}\n{q.replace('&', '&amp;')}")],
    unicode=lambda p, q: [dict(role="system", content=p), dict(role="user", content=q.replace("&", "\\u0026"))],
    wrapped=lambda p, q: [dict(role="system", content=p.replace(" ", "\n", 3)), dict(role="user", content="\n".join(q.split(" ")))],
    shots=lambda p, q: [dict(role="system", content=p), dict(role="user", content=QUERIES[-1]), dict(role="assistant", content="Answer: 1"), dict(role="user", content=f"Input: {QUERIES[-2]}\nOutput: 3\nInput: {q}\nOutput:")],
    later=lambda p, q: [*chat(p, q), dict(role="assistant", content="Hm."), dict(role="user", content="Please go on.")],
    dspy=lambda p, q: [dict(role="system", content=f"All interactions will be structured.\n\n[[ ## query ## ]]\n{{query}}\n\nyour objective is: \n        {p}"), dict(role="user", content=f"[[ ## query ## ]]\n{q}")])

@pytest.mark.parametrize("wrap", WRAPS)
def test_query_and_prompt_are_found_in_any_wrapping(wrap):
    named = next(q for q in QUERIES if "&" in q)
    example = f"{BASELINE} {IDEAS['example'][1]}" # a sentence with quotes inside
    for q in [named, *QUERIES[:8]]:
        for p in [*PROMPTS, example]:
            found, prompt = asked(WRAPS[wrap](p, q))
            assert found == q
            assert WORLD.value(q, prompt) == WORLD.value(q, p)

def test_a_placeholder_takes_the_place_of_the_query():
    idea = IDEAS["check"][0].split(" ")
    template = f"{BASELINE} {' '.join(idea[:3])} {{query}} {' '.join(idea[3:])}"
    assert asked([dict(role="user", content=template.replace("{query}", QUERIES[0]))]) == (QUERIES[0], template) # cutting it out would make an idea of two halves

def test_a_query_of_another_world_is_refused_and_not_taken_for_a_writers_request(server):
    foreign = World(visible=False).queries(1)["query"][0]
    with pytest.raises(openai.BadRequestError, match="no text of the world that is served"): ask(client(server), chat(BASELINE, foreign))


# ---- draws

def test_seed_temperature_and_repeats(server):
    c, m = client(server), chat(BASELINE, QUERIES[7])
    texts = lambda **s: [x.message.content for x in ask(c, m, **s).choices]
    assert texts(seed=4, n=6) == texts(seed=4, n=6) and texts(seed=4)[0] == texts(seed=4, n=6)[0]
    assert len({tuple(texts(seed=s, n=6)) for s in range(5)}) == 5
    assert len({tuple(texts(n=6)) for _ in range(5)}) == 5 # each repeat is a new draw
    assert len({*texts(temperature=0, n=3), *texts(temperature=0), *texts(temperature=0, seed=9)}) == 1
    with serve_world(WORLD, seed=3) as fresh: assert ask(client(fresh), m).choices[0].message.content == texts(temperature=0)[0] # the first draw
    with serve_world(WORLD, seed=4) as other: assert [x.message.content for x in ask(client(other), m, seed=4, n=6).choices] != texts(seed=4, n=6)

ELSEWHERE = """
import json, sys
from causal_prompts.serve import serve_world
from causal_prompts.worlds import World
from openai import OpenAI
with serve_world(World(seed=5), seed=3) as s:
    c = OpenAI(base_url=s.base_url, api_key="none")
    print(json.dumps([[x.message.content for x in c.chat.completions.create(model="other", messages=m, n=2, **k).choices] for m, k in json.load(sys.stdin)]))
"""

def test_the_same_in_another_process_in_any_order_and_under_concurrency():
    jobs = [(chat(p, q), dict(seed=11)) for p in PROMPTS for q in QUERIES[:8]] + [(chat(GOOD, q), {}) for q in QUERIES[:8]] * 3
    order = rng(0, "order").permutation(len(jobs))
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], input=json.dumps([jobs[i] for i in order]), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with serve_world(WORLD, seed=3) as s, ThreadPoolExecutor(32) as pool:
        c = client(s)
        here = list(pool.map(lambda job: [x.message.content for x in ask(c, job[0], n=2, **job[1]).choices], jobs))
        assert len(s.requests) == len(jobs) and sorted(r["number"] for r in s.requests) == list(range(len(jobs)))
        twice = Counter(r["id"] for r in s.requests)
    there = [x for _, x in sorted(zip(order, json.loads(done.stdout)))]
    assert here[:32] == there[:32]
    for q in range(8): assert sorted(here[32 + q::8]) == sorted(there[32 + q::8]) # three repeats without a seed: the same three draws
    assert twice == Counter({request_id(m, k.get("seed")): 3 if not k else 1 for m, k in jobs})


# ---- lengths, streams, other endpoints

def test_lengths_stop_and_usage(server):
    c, m = client(server), chat(GOOD, QUERIES[0])
    whole = ask(c, m, seed=1)
    text = whole.choices[0].message.content
    assert whole.choices[0].finish_reason == "stop" and whole.usage.completion_tokens == tokens(text)
    assert whole.usage.prompt_tokens == tokens(GOOD) + tokens(QUERIES[0]) and whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    for name in ("max_tokens", "max_completion_tokens"):
        cut = ask(c, m, seed=1, **{name: 5})
        assert cut.choices[0].finish_reason == "length" and cut.usage.completion_tokens == 5 and text.startswith(cut.choices[0].message.content) and "Answer" not in cut.choices[0].message.content
    exact = ask(c, m, seed=1, max_tokens=tokens(text)).choices[0]
    assert (exact.message.content, exact.finish_reason) == (text, "stop")
    assert ask(c, m, seed=1, stop=["Answer", "never"]).choices[0].message.content == text.split("Answer")[0]
    assert ask(c, m, n=3).usage.prompt_tokens == whole.usage.prompt_tokens

def test_streams_say_what_a_plain_reply_says(server):
    c, m = client(server), chat(GOOD, QUERIES[1])
    plain = ask(c, m, seed=2, n=2)
    chunks = list(ask(c, m, seed=2, n=2, stream=True, stream_options=dict(include_usage=True)))
    for i in (0, 1):
        mine = [x for k in chunks for x in k.choices if x.index == i]
        assert "".join(x.delta.content or "" for x in mine) == plain.choices[i].message.content
        assert mine[0].delta.role == "assistant" and [x.finish_reason for x in mine if x.finish_reason] == ["stop"] and len(mine) > 8
    assert chunks[-1].choices == [] and chunks[-1].usage == plain.usage
    assert all(k.usage is None for k in ask(c, m, seed=2, stream=True))
    assert "".join(k.choices[0].text for k in c.completions.create(model="w", prompt=f"{GOOD} {QUERIES[1]}", seed=2, stream=True)) == c.completions.create(model="w", prompt=f"{GOOD} {QUERIES[1]}", seed=2).choices[0].text

def test_completions_take_prompts_and_refuse_what_a_world_has_not(server):
    c, prompts = client(server), [f"{GOOD}\n{q}" for q in QUERIES[:3]]
    made = c.completions.create(model="w", prompt=prompts, seed=1, n=2)
    assert [x.index for x in made.choices] == list(range(6)) and all(x.text.splitlines()[-1].startswith("Answer: ") for x in made.choices)
    assert made.choices[2].text == ask(c, [dict(role="user", content=prompts[1])], seed=1).choices[0].message.content
    with pytest.raises(openai.BadRequestError, match="no probabilities of tokens"): c.completions.create(model="w", prompt="x", logprobs=1)
    with pytest.raises(openai.BadRequestError, match="token numbers are not served"): c.completions.create(model="w", prompt=[1, 2])

def test_embeddings_with_the_official_client(server):
    c, texts = client(server), [QUERIES[0], QUERIES[0] + " Please.", QUERIES[1], "!"]
    short = c.embeddings.create(model="e", input=texts) # asks for base64
    plain = c.embeddings.create(model="e", input=texts, encoding_format="float")
    E, F = (np.array([d.embedding for d in x.data]) for x in (short, plain))
    assert E.shape == (4, 256) and np.allclose(np.linalg.norm(F, axis=1), 1) and np.allclose(E, F, atol=1e-7) and np.array_equal(F, embed(texts))
    assert F[0] @ F[1] > .95 > F[0] @ F[2] and short.usage.prompt_tokens == sum(map(tokens, texts))
    assert len(c.embeddings.create(model="e", input="a b", dimensions=64).data[0].embedding) == 64
    assert len(c.embeddings.create(model="e", input=[[5, 6], [7]]).data) == 2
    with pytest.raises(openai.BadRequestError, match="none of them empty"): c.embeddings.create(model="e", input=["a", " "])

def test_models(server):
    c = client(server)
    assert [m.id for m in c.models.list().data] == ["world"] and c.models.retrieve("org/any").id == "org/any"
    with serve_world(WORLD, models=["small", "large"]) as s:
        c = client(s)
        assert [m.id for m in c.models.list().data] == ["small", "large"] and c.models.retrieve("large").id == "large"
        for wrong in (lambda: c.models.retrieve("huge"), lambda: ask(c, chat(BASELINE, QUERIES[0]))):
            with pytest.raises(openai.NotFoundError, match="does not exist") as e: wrong()
            assert e.value.code == "model_not_found"


# ---- errors of the client

@pytest.mark.parametrize("path, body, status, code", [
    ("/v1/chat/completions", "{", 400, "invalid_json"), ("/v1/chat/completions", "\xff", 400, "invalid_json"), ("/v1/chat/completions", "[]", 400, "invalid_json"),
    ("/v1/chat/completions", {}, 400, "invalid_value"), ("/v1/chat/completions", dict(model="w", messages=[]), 400, "invalid_value"),
    ("/v1/chat/completions", dict(model="w", messages=[dict(role="user", content=3)]), 400, "invalid_value"),
    ("/v1/chat/completions", dict(model="w", messages=chat("a", "b"), max_tokens=0), 400, "invalid_value"), ("/v1/chat/completions", dict(model="w", messages=chat("a", "b"), temperature=3), 400, "invalid_value"),
    ("/v1/chat/completions", dict(model="w", messages=chat("a", "b"), n=True), 400, "invalid_value"), ("/v1/chat/completions", dict(model="w", messages=chat("a", "b"), stop=[""]), 400, "invalid_value"),
    ("/v1/embeddings", dict(model="w", input=[]), 400, "invalid_value"), ("/v1/embeddings", dict(model="w", input="x", dimensions=0), 400, "invalid_value"), ("/v1/responses", {}, 404, "unknown_url")])
def test_errors_have_the_form_that_clients_read(server, path, body, status, code):
    c = line(server)
    got = post(c, path, body.encode("latin1") if isinstance(body, str) else body, raw=isinstance(body, str))
    assert got[0] == status and got[1]["error"]["code"] == code and got[1]["error"]["message"] and got[1]["error"]["type"] == "invalid_request_error"
    row = server.requests[-1]
    assert (row["status"], row["fault"], row["number"]) == (status, "", None) # no number is taken, so no fault moves
    assert post(c, "/v1/chat/completions", dict(model="w", messages=chat(BASELINE, QUERIES[0])))[0] == 200 # on the same line

def test_a_request_without_length_is_refused_and_unknown_pages_too(server):
    c = line(server)
    c.putrequest("POST", "/v1/chat/completions"); c.endheaders()
    assert c.getresponse().status == 411
    c = line(server)
    c.request("GET", "/v1/nothing")
    r = c.getresponse()
    assert r.status == 404 and json.loads(r.read())["error"]["code"] == "unknown_url"

def test_a_defect_of_the_server_is_no_fault_that_was_asked_for(monkeypatch):
    monkeypatch.setattr(world_answers, "reference", lambda *a: 1 / 0)
    with serve_world(WORLD, faults=dict(rate_500=0.)) as s, pytest.raises(openai.InternalServerError, match="defect of the server: ZeroDivisionError"): ask(client(s), chat(GOOD, QUERIES[0]))
    assert s.counts == dict(internal=1)

@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.0.5", "example.org"])
def test_no_other_host(host):
    with pytest.raises(ValueError, match="host must be 127.0.0.1"): serve_world(WORLD, host=host)

def test_it_listens_on_the_loopback_address_alone(server):
    assert server._http.server_address[0] == "127.0.0.1" and server.base_url.startswith("http://127.0.0.1:")


# ---- faults

def fates(faults, n=120, **settings):
    "(server, what a client without retries met) over n requests, one after the other."
    with serve_world(WORLD, faults=faults, seed=8) as s:
        c, met = client(s), []
        for i in range(n):
            try: met.append(ask(c, chat(GOOD, QUERIES[i % 60]), **settings).choices[0])
            except Exception as e: met.append(e)
    return s, met

def test_mixed_faults_come_at_their_rates_and_as_foretold():
    faults = dict(rate_429=.15, rate_500=.10, malformed=.1, refused=.1)
    told = Counter(fault_at(faults, i, 8)[0] or "ok" for i in range(4000))
    for k, p in (faults | dict(ok=.55)).items(): assert abs(told[k] - 4000 * p) < 3.5 * np.sqrt(4000 * p * (1 - p))
    s, met = fates(faults)
    assert s.counts == Counter(fault_at(faults, i, 8)[0] or "ok" for i in range(120)) and [r["fault"] for r in s.requests] == [fault_at(faults, i, 8)[0] for i in range(120)]
    assert Counter(type(m).__name__ for m in met)["RateLimitError"] == s.counts["rate_429"] > 5 and Counter(type(m).__name__ for m in met)["InternalServerError"] == s.counts["rate_500"] > 5

@pytest.mark.parametrize("stream", [False, True])
def test_the_form_of_each_fault(stream):
    def one(**faults):
        with serve_world(WORLD, faults=faults) as s:
            c = line(s)
            c.request("POST", "/v1/chat/completions", json.dumps(dict(model="w", messages=chat(GOOD, QUERIES[0]), stream=stream)))
            try: r = c.getresponse(); return r, r.read(), s
            except (ConnectionError, http.client.HTTPException) as e: return None, e, s
    r, body, _ = one(rate_429=1, retry_after=7)
    assert (r.status, r.headers["Retry-After"], json.loads(body)["error"]["code"]) == (429, "7", "rate_limit_exceeded")
    r, body, _ = one(rate_500=1, retry_after=7)
    assert (r.status, r.headers["Retry-After"], json.loads(body)["error"]["type"]) == (500, None, "server_error")
    assert one(rate_429=1)[0].headers["Retry-After"] is None
    assert [one(**{f"rate_{k}": 1})[0].status for k in (401, 408, 409, 503)] == [401, 408, 409, 503]
    r, e, s = one(reset=1)
    assert r is None and isinstance(e, ConnectionResetError) and s.requests[0]["status"] is None and not s._seen # no answer was made
    r, e, s = one(reset_after=1)
    assert r is None and isinstance(e, http.client.IncompleteRead) and b"chat.completion" in e.partial and s.requests[0]["status"] == 200 and sum(s._seen.values()) == 1
    r, body, s = one(malformed=1)
    assert r.status == 200 and s.requests[0]["status"] == 200

def test_malformed_replies_are_of_three_kinds():
    with serve_world(WORLD, faults=dict(malformed=1.)) as s:
        c, bodies = line(s), []
        for _ in range(3):
            c.request("POST", "/v1/chat/completions", json.dumps(dict(model="w", messages=chat(GOOD, QUERIES[0]))))
            r = c.getresponse()
            bodies.append((r.status, r.headers["Content-Type"], r.read()))
    assert [b[0] for b in bodies] == [200] * 3 and bodies[0][1] == "text/html"
    with pytest.raises(ValueError): json.loads(bodies[1][2])
    assert "choices" not in json.loads(bodies[2][2])

def test_contents_that_are_spoiled():
    for name, reason in dict(truncated="length", refused="stop", filtered="content_filter", empty="stop").items():
        s, met = fates({name: 1.}, 4)
        assert s.counts == {name: 4} and {m.finish_reason for m in met} == {reason} and not any("Answer: " in (m.message.content or "") for m in met)
        if name == "truncated": assert all(m.message.content for m in met)
        else: assert not any(m.message.content for m in met)
        assert all(m.message.refusal for m in met) == (name == "refused")
    assert {m.message.content for m in fates(dict(empty=1.), 4)[1]} == {None, ""}
    assert fates(dict(usage=False), 1)[1][0].finish_reason == "stop"
    with serve_world(WORLD, faults=dict(usage=False)) as s: assert ask(client(s), chat(GOOD, QUERIES[0])).usage is None and client(s).embeddings.create(model="e", input="a b").data

def test_outages_and_slow_requests():
    s, met = fates(dict(outage=(3, 6)), 8)
    assert [isinstance(m, openai.InternalServerError) and m.status_code == 503 for m in met] == [False] * 3 + [True] * 3 + [False] * 2 and s.counts == dict(ok=5, outage=3)
    s, met = fates(dict(outage_seconds=(0., 60.)), 2)
    assert s.counts == dict(outage=2)
    with serve_world(WORLD, latency=.15, faults=dict(slow=(.5, .2)), seed=8) as s:
        for i in range(6):
            began = time.monotonic()
            ask(client(s), chat(GOOD, QUERIES[i]))
            assert time.monotonic() - began >= (.35 if s.requests[-1]["slow"] else .15) # never earlier; later is the machine's affair
    assert 0 < s.counts["slow"] == sum(r["slow"] for r in s.requests) == sum(fault_at(dict(slow=(.5, .2)), i, 8)[1] for i in range(6)) < 6

def test_making_an_answer_is_part_of_its_latency(monkeypatch):
    waits, made = [], WorldServer._reply
    monkeypatch.setattr(serve, "time", SimpleNamespace(monotonic=time.monotonic, sleep=waits.append))
    def slowly(*args): time.sleep(.3); return made(*args)
    monkeypatch.setattr(WorldServer, "_reply", slowly)
    with serve_world(WORLD, latency=60.) as s: ask(client(s), chat(GOOD, QUERIES[0]))
    with serve_world(WORLD, latency=.1) as s: ask(client(s), chat(GOOD, QUERIES[0])) # longer in the making than it was told
    assert 0 < waits[0] <= 59.7 and waits[1:] == [0.]

def test_a_failed_attempt_leaves_the_next_one_the_undisturbed_answer():
    faults = dict(rate_429=.3, rate_500=.2, reset=.1)
    with serve_world(WORLD, seed=8) as calm, serve_world(WORLD, seed=8, faults=faults) as rough:
        told, kept = [ask(client(calm), chat(GOOD, q)).choices[0].message.content for q in QUERIES[:25]], []
        for q in QUERIES[:25]:
            while True:
                try: kept.append(ask(client(rough), chat(GOOD, q)).choices[0].message.content); break
                except (openai.RateLimitError, openai.InternalServerError, openai.APIConnectionError): pass
    assert kept == told and len(rough.requests) > 35

def test_counting_what_is_missing_as_wrong_would_mislead():
    s, met = fates(dict(rate_500=.25, refused=.1), 240)
    right = np.array([np.nan if isinstance(m, Exception) or m.message.content is None else value_of(m.message.content) == reference(WORLD, QUERIES[i % 60]) for i, m in enumerate(met)])
    value = np.tile(WORLD.value(QUERIES, GOOD)[:, 0], 4)
    se = np.sqrt((value * (1 - value)).sum()) / 240
    assert abs(np.nanmean(right) - value[np.isfinite(right)].mean()) < 3 * se / np.sqrt(.65)
    assert np.nan_to_num(right).mean() < value.mean() - 3 * se

@pytest.mark.parametrize("faults, match", [(dict(rate_200=.1), "faults must be among"), (dict(timeout=.1), "faults must be among"), (dict(rate_429=15), "shares of requests between 0 and 1"), (dict(rate_429=.6, rate_500=.5), "add up to at most 1"),
    (dict(slow=.1), "must be a pair"), (dict(outage=5), "must be a pair"), (dict(slow=(1.5, 1.)), "between 0 and 1")])
def test_faults_are_checked(faults, match):
    with pytest.raises(ValueError, match=match): serve_world(WORLD, faults=faults)

def test_settings_are_checked():
    with pytest.raises(ValueError, match="latency must be seconds"): serve_world(WORLD, latency=-1)
    with pytest.raises(ValueError, match="random_state must be"): serve_world(WORLD, seed=-1)
    with pytest.raises(ValueError, match="port must be free and from 0 to 65535"): serve_world(WORLD, port=70_000)
    with serve_world(WORLD) as s, pytest.raises(ValueError, match="port must be free.*in use"): serve_world(WORLD, port=s._http.server_address[1])


# ---- forms of other clients

SECTIONS = "Respond with the corresponding output fields, starting with the field `[[ ## reasoning ## ]]`, then `[[ ## %s ## ]]`%s, and then ending with the marker for `[[ ## completed ## ]]`."

def sections(text):
    parts = text.split("[[ ## ")[1:]
    return {p.split(" ## ]]")[0]: p.split(" ## ]]")[1].strip() for p in parts}

def share_right(server, prompt, form, read, n=60):
    "Mean over queries of right minus expected, in standard errors."
    right = np.array([[read(x.message.content) == reference(WORLD, q) for x in ask(client(server), form(prompt, q), n=n).choices] for q in QUERIES[:10]])
    value = WORLD.value(QUERIES[:10], prompt)[:, 0]
    return (right.mean(1) - value).sum() / np.sqrt((value * (1 - value) / n).sum())

@pytest.mark.parametrize("field", ["answer", "label"])
def test_dspy_sections(server, field):
    form = lambda p, q: [dict(role="system", content=f"Your objective is: {p}"), dict(role="user", content=f"[[ ## query ## ]]\n{q}\n\n{SECTIONS % (field, '')}")]
    for p in (GOOD, BAD): assert abs(share_right(server, p, form, lambda t: sections(t)[field])) < 3
    text = ask(client(server), form(GOOD, QUERIES[0])).choices[0].message.content
    assert list(sections(text)) == ["reasoning", field, "completed"] and text.endswith("[[ ## completed ## ]]")

def test_json_mode(server):
    schema = dict(type="json_schema", json_schema=dict(name="x", schema=dict(type="object", properties=dict(why=dict(type="string"), sure=dict(type="boolean"), answer=dict(type="string"), tags=dict(type="array")))))
    c, m = client(server), chat(GOOD, QUERIES[0])
    got = json.loads(ask(c, m, seed=1, response_format=schema).choices[0].message.content)
    assert list(got) == ["why", "sure", "answer", "tags"] and got["sure"] is True and isinstance(got["tags"], list)
    assert got["answer"] == value_of(ask(c, m, seed=1).choices[0].message.content) # the form does not touch the draw
    assert list(json.loads(ask(c, m, response_format=dict(type="json_object")).choices[0].message.content)) == ["reasoning", "answer"]
    named = [dict(role="system", content=GOOD), dict(role="user", content=f"{QUERIES[0]}\n\nRespond with a JSON object in the following order of fields: `thought`, then `result` (must be formatted as a valid Python int).")]
    assert {k: type(v) for k, v in json.loads(ask(c, named).choices[0].message.content).items()} == dict(thought=str, result=int)

def test_answers_in_tags_where_the_prompt_wants_them(server):
    assert value_of(say(server, f"{GOOD} Use <final_answer> tags.\n{QUERIES[0]}", temperature=0)).startswith("<final_answer>")


# ---- the writer

META = "Write {n} variants of the prompt below; keep its placeholders.\n<parent>{parent}</parent>\n<count>{n}</count>\nThe parent solved this one: {query}"
PARENT = f"Context: {{table}}\n{BASELINE} {IDEAS['steps'][1]} Mind the house style, e.g. \"no slang\".\n\n{{query}}"

def blocks(text):
    return [(int(i), body) for i, body in re.findall(r'<prompt id="(\d+)">(.*?)</prompt>', text, re.S)]

@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_numbered_variants(server, n):
    text = say(server, META.format(n=n, parent=PARENT, query=QUERIES[0]))
    got = blocks(text)
    assert [i for i, _ in got] == list(range(1, n + 1)) and len({b for _, b in got}) == n and PARENT not in [b for _, b in got]
    for _, b in got: # one idea added, dropped or put otherwise; all else stands
        rest = b
        for w in sorted((w for v in IDEAS.values() for w in v), key=len, reverse=True): rest = rest.replace(f" {w}", "")
        assert rest == PARENT.replace(f" {IDEAS['steps'][1]}", "")
        assert (WORLD.parse(b) != WORLD.parse(PARENT)).to_numpy().sum() <= 1
    assert server.requests[-1]["role"] == "writer"

def test_more_variants_than_single_edits():
    got = prompt_variants(f"{BASELINE} {IDEAS['steps'][0]}", 150, rng(0))
    assert len(set(got)) == 150 and all(BASELINE in g for g in got)

def test_writers_are_repeatable_and_differ_by_draw(server):
    text = META.format(n=3, parent=PARENT, query=QUERIES[0])
    assert say(server, text, seed=1) == say(server, text, seed=1) != say(server, text, seed=2)

EXAMPLES = f"## query\n{QUERIES[0]}\n## reply\nAnswer: 3\n## feedback\nWrong."
WRITERS = dict(
    fence=f"Here are my instructions:\n```\n{BASELINE} Keep this. {IDEAS['praise'][0]}\n```\nExamples:\n```\n{EXAMPLES}\n```\nWrite a new instruction for the assistant, within ``` blocks.",
    tags=f"Merge the two prompts.\nPrompt 1: {BASELINE} {IDEAS['steps'][0]}\nPrompt 2: {BASELINE} {IDEAS['check'][0]} Keep this.\n\nReturn the new prompt in the following format:\n<prompt>new prompt</prompt>",
    variable=f"The variable is <VARIABLE> {BASELINE} Keep this. </VARIABLE>\n<CONTEXT>{EXAMPLES}</CONTEXT>\nSend it in this form: <IMPROVED_VARIABLE>the improved variable</IMPROVED_VARIABLE>",
    sections=f"[[ ## dataset_description ## ]]\n{EXAMPLES}\n\n[[ ## basic_instruction ## ]]\n{BASELINE} Keep this.\n\n{SECTIONS % ('proposed_instruction', '')}",
    words=f"This prompt did badly:\n{BASELINE} Keep this. {IDEAS['units'][0]}\nPropose a better prompt. An example it failed on: {QUERIES[1]}")

@pytest.mark.parametrize("form", WRITERS)
def test_writers_of_other_tools(server, form):
    text = say(server, WRITERS[form])
    body = dict(fence=lambda: text.removeprefix("```\n").removesuffix("\n```"), tags=lambda: text.removeprefix("<prompt>").removesuffix("</prompt>"),
        variable=lambda: text.removeprefix("<IMPROVED_VARIABLE>").removesuffix("</IMPROVED_VARIABLE>"), sections=lambda: sections(text)["proposed_instruction"], words=lambda: text)[form]()
    assert server.requests[-1]["role"] == "writer" and body.startswith(BASELINE) and "Keep this." in body
    assert body not in WRITERS[form] and not any(t in body for t in ("```", "<prompt>", "<IMPROVED", "[[ ##"))

def ideas(text): return {idea for idea, has in WORLD.parse([text]).loc[0].items() if has}

def test_a_new_prompt_has_one_to_three_changes(server):
    parent = f"{BASELINE} {IDEAS['units'][0]} Keep this."
    made = [say(server, f"Propose a better prompt.\nPrompt: {parent}", seed=i) for i in range(40)]
    changed = [len(ideas(m) ^ {"units"}) for m in made]
    assert parent not in made and max(changed) == 3 and min(changed) <= 1 and all(BASELINE in m and "Keep this." in m for m in made)

@pytest.mark.parametrize("more, extra", [("", 0), (" Then mutate the result.", 1)])
def test_two_prompts_are_merged(server, more, extra):
    first, second = ({"steps", "check", "role"}, {"steps", "units", "praise"})
    as_prompt = lambda held: " ".join([BASELINE, *[IDEAS[i][0] for i in IDEAS if i in held]])
    text = f"Merge these prompts into a new prompt.{more}\nPrompt 1: {as_prompt(first)}\nPrompt 2: {as_prompt(second)}\n\nReply as <prompt>new prompt</prompt>"
    made = [ideas(say(server, text, seed=i)) for i in range(40)]
    foreign, lost = [len(m - first - second) for m in made], [len((first & second) - m) for m in made]
    if not extra: assert np.mean([x + y == 0 for x, y in zip(foreign, lost)]) > .8 # one that is like a parent is changed once more
    assert max(foreign) <= 1 and max(lost) <= 1
    for idea in (first ^ second): assert .1 < np.mean([idea in m for m in made]) < .9

def test_a_variable_that_is_shown_abridged_is_read_where_it_stands_in_full(server):
    full = " ".join([BASELINE, *[IDEAS[i][0] for i in ("steps", "check", "units")]])
    words = full.split(" ")
    text = f"Improve it.\n<VARIABLE> {' '.join(words[:10])} (...) {' '.join(words[-10:])} </VARIABLE>\n<CONVERSATION><LM_SYSTEM_PROMPT> {full} </LM_SYSTEM_PROMPT></CONVERSATION>\nSend it between <IMPROVED_VARIABLE> tags."
    made = [say(server, text, seed=i) for i in range(20)]
    assert not any("(...)" in m for m in made) and all(len(ideas(m) ^ {"steps", "check", "units"}) <= 3 for m in made)

def test_a_list_of_prompts_as_json_and_fields_with_types(server):
    got = json.loads(say(server, "Please create diverse system prompts. Task: label reviews in <final_answer> tags. Create overall 4 prompts within json format as an array."))
    assert len(set(got)) == 4 and all(g.startswith(BASELINE) and "<final_answer>" in g for g in got)
    advice = say(server, f"[[ ## module_names ## ]]\n[\"plan\", \"solve\"]\n\n[[ ## trace ## ]]\n{EXAMPLES}\n\n{SECTIONS % ('module_advice', ' (must be formatted as a valid Python dict[str, str])')}")
    assert set(json.loads(sections(advice)["module_advice"])) == {"plan", "solve"}

def test_without_a_query_the_reply_is_an_instruction(server):
    assert say(server, "Hello!").startswith(BASELINE) and server.requests[-1]["role"] == "writer"

def test_a_prompt_about_instructions_is_no_writers_request(server):
    for p in ("Follow the instructions and give your answer.", "You will receive an instruction. Improve on a quick guess.", "Read the prompt below twice."):
        assert value_of(say(server, f"{p} {QUERIES[0]}", temperature=0)) in (reference(WORLD, QUERIES[0]), "positive", "negative", "mixed") or FRAME["kind"][0] != "sentiment"
        assert server.requests[-1]["role"] == "task"


# ---- connections

def test_one_line_serves_many_requests_and_stop_hangs_up():
    s = serve_world(WORLD)
    c = line(s)
    post(c, "/v1/chat/completions", dict(model="w", messages=chat(GOOD, QUERIES[0])))
    own = c.sock
    for q in QUERIES[:10]: post(c, "/v1/chat/completions", dict(model="w", messages=chat(GOOD, q)))
    assert c.sock is own and len(s._http.lines) == 1
    s.stop()
    with pytest.raises((ConnectionError, http.client.HTTPException)): post(c, "/v1/chat/completions", dict(model="w", messages=chat(GOOD, QUERIES[0])))
    with pytest.raises(ConnectionError): socket.create_connection(("127.0.0.1", c.port), timeout=5)

def test_sixty_four_lines_are_served_at_once(monkeypatch):
    together, after = threading.Barrier(64), threading.Barrier(64)
    monkeypatch.setattr(serve, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: together.wait(60))) # nobody is answered before 64 are being served
    with serve_world(WORLD, latency=1.) as s:
        def go(k):
            c = line(s)
            got = [post(c, "/v1/chat/completions", dict(model="w", messages=chat(GOOD, QUERIES[(k + j) % 60])))[0] for j in range(2)]
            got.append(len(s._http.lines))
            after.wait(60)
            return got
        with ThreadPoolExecutor(64) as pool: assert list(pool.map(go, range(64))) == [[200, 200, 64]] * 64
    assert s.counts == dict(ok=128)

CLI = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from causal_prompts.serve import serve
from causal_prompts.worlds import World
serve(World(seed=5), port=0, log=lambda text: print(text, flush=True))
"""

def test_serve_says_where_and_stops_at_an_interrupt():
    done = subprocess.Popen([sys.executable, "-c", CLI], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = [done.stdout.readline().strip()]
        while not said[-1].startswith("curl"): said.append(done.stdout.readline().strip())
        c = openai.OpenAI(base_url=said[0], api_key="none")
        body = json.loads(said[-1].split("-d '")[1].removesuffix("'"))
        assert value_of(c.chat.completions.create(**body).choices[0].message.content)
        done.send_signal(signal.SIGINT)
        out, err = done.communicate(timeout=30)
    finally:
        done.kill()
    assert done.returncode == 0 and "1 requests: {'ok': 1}" in out and not err
