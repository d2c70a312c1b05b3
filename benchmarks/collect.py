"""What collecting a log costs in time, and what faults and kills do to it.

    python benchmarks/collect.py [--parts throughput faults kills] [--repeats 5] [--concurrency 4 16 32 64] [--rounds 20] [--kills 50]

*throughput*: a served world in a process of its own answers 300 ms after a request, many queries under one prompt. The least time that n calls can take at a concurrency of c is n / c times 300 ms; the share of it in the time measured is what
is reported, once with the connections already open and once from the start of the job (client, connections and closing included), and beside it the share that a bare client of threads reaches on the same server in the same run: the served
world needs the machine's processors too. Processor time is that of one call; the load is the machine's, other jobs included. *faults*: the same plan of cells on a server that fails in one way after another, against a day without failures: requests, rows, rows without a
score, scores that differ from those of the good day, answers that were received and are not in the record, calls that were answered and asked again. *kills*: a run is killed by SIGKILL at a random moment, again and again until the plan is
done; the record is held against what the server sent. All on this machine, over 127.0.0.1. Prints tables; writes benchmarks/results/collect.json, where parts that were not run keep their former figures."""
import argparse, asyncio, http.client, json, multiprocessing, os, platform, random, signal, sys, tempfile, time, warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from causal_prompts import collecting
from causal_prompts.chat_format import request_id
from causal_prompts.connection import each, Limits, wait
from causal_prompts.core import content_id
from causal_prompts.llm import LLM
from causal_prompts.record import Record
from causal_prompts.serve import serve_world
from causal_prompts.tasks import world_task
from causal_prompts.worlds import World

OUT = Path(__file__).parent/"results"/"collect.json"
LATENCY = .3 # seconds
GOAL = .95
WORLD = World.preset("randomised")


# ---- throughput

def _serve(pipe, latency):
    with serve_world(WORLD, latency=latency) as server:
        pipe.send(server.base_url)
        while pipe.recv() != "stop": pipe.send(time.process_time())

async def _timed(llm, texts, concurrency):
    "Seconds, and seconds of the processor, of the calls alone, the connections being open."
    await asyncio.gather(*[llm.ask(f"warm {i}: {texts[0]}") for i in range(concurrency)])
    start, processor = time.perf_counter(), time.process_time()
    await each(texts, llm.ask, 2 * concurrency + 8, show=False)
    return time.perf_counter() - start, time.process_time() - processor

def _bare(url, texts, concurrency):
    "Seconds that a client without any of our care takes: threads, http.client, nothing read or kept."
    host, at = url.split("//")[1].split("/")[0], iter(texts)
    def work(_):
        line = http.client.HTTPConnection(host)
        for text in at: # a list's iterator is shared by the threads, one item to each
            line.request("POST", "/v1/chat/completions", json.dumps(dict(model="world", messages=[dict(role="user", content=text)], max_tokens=60)), {"Content-Type": "application/json"})
            line.getresponse().read()
    start = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool: list(pool.map(work, range(concurrency)))
    return time.perf_counter() - start

def _pace(concurrency, rounds):
    "One run of our client and one of the bare one, on a server of their own."
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, LATENCY), daemon=True)
    process.start()
    url, n, load = ours.recv(), concurrency * rounds, os.getloadavg()[0]
    texts = [f"{WORLD.baseline}\n\n{query}" for query in WORLD.queries(n)["query"]]
    with tempfile.TemporaryDirectory() as folder:
        llm = LLM("world", url, dict(max_tokens=60), record=Record(Path(folder)/"r.jsonl"), limits=Limits(concurrency=concurrency))
        whole = time.perf_counter()
        calls, processor = wait(_timed(llm, texts, concurrency))
        whole = time.perf_counter() - whole
        answered = sum(event["line"] == "reply" for event in llm.record.events()) - concurrency
        llm.record.close()
    ours.send("used"); before, start = ours.recv(), time.process_time()
    bare = _bare(url, [f"bare {t}" for t in texts], concurrency)
    bare_processor = time.process_time() - start
    ours.send("used"); served = ours.recv() - before
    ours.send("stop"); process.join()
    least, ms = rounds * LATENCY, 1000 / n
    return dict(concurrency=concurrency, calls=n, answered=answered, share=least / calls, bare=least / bare, whole_job=(least + LATENCY) / whole, per_second=n / calls, processor_ms=processor * ms, bare_processor_ms=bare_processor * ms,
                server_processor_ms=served * ms, load=load)

def throughput(concurrencies, rounds, repeats):
    "One row a repeat and concurrency: share of the least possible time."
    rows = []
    for repeat in range(repeats):
        for c in concurrencies:
            rows.append(_pace(c, rounds))
            print(f"  concurrency {c}, run {repeat + 1}: {rows[-1]['share']:.1%}, bare {rows[-1]['bare']:.1%}", file=sys.stderr, flush=True)
    return rows

def show_throughput(rows):
    t = pd.DataFrame(rows)
    told = lambda values: f"{values.median():.1%} [{values.min():.1%}, {values.max():.1%}]"
    print(f"\nThroughput at {LATENCY * 1000:.0f} ms latency, share of the most there can be (goal {GOAL:.0%}): median and range; load {t['load'].min():.1f} to {t['load'].max():.1f} on {os.cpu_count()} cores")
    for c, g in t.groupby("concurrency"):
        m = g.median()
        print(f"  {c:>3} at once: {told(g['share'])} ({m['per_second']:.0f} calls a second, {len(g)} runs of {g['calls'].iloc[0]} calls); from the start of the job {told(g['whole_job'])}; a bare client in the same run {told(g['bare'])}; processor time of a call "
              f"{m['processor_ms']:.2f} ms, of a bare one {m['bare_processor_ms']:.2f} ms, of serving it {m['server_processor_ms']:.2f} ms; {'meets' if m['share'] >= GOAL else 'MISSES'} the goal")


# ---- faults

FAULTS = {
    "good day": {}, "15% 429 + 10% 500": dict(rate_429=.15, rate_500=.10), "429 with Retry-After 1 s": dict(rate_429=.05, retry_after=1), "70% of requests fail": dict(rate_500=.7), "outage of 200 requests": dict(outage=(100, 300)),
    "20% slow (beyond the timeout)": dict(slow=(.2, 6.)), "20% cut off": dict(truncated=.2), "20% malformed": dict(malformed=.2), "20% reset before the answer": dict(reset=.2), "20% reset in the answer": dict(reset_after=.2),
    "10% refused": dict(refused=.1), "10% empty": dict(empty=.1), "no usage counted": dict(usage=False)}

def _cells(): return collecting.plan(world_task(WORLD, n=100), WORLD.prompts(20), k=4)

def faults(repeats):
    "One row a kind of fault and seed, against the good day of the same seed."
    plan, rows = _cells(), []
    for seed in range(repeats):
        good = None
        for name, spec in FAULTS.items():
            with serve_world(WORLD, faults=spec, seed=seed) as server, warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
                warnings.simplefilter("ignore")
                llm = LLM("world", server.base_url, dict(max_tokens=60, seed=0), record=Record(Path(folder)/"r.jsonl"), limits=Limits(concurrency=16, timeout=3., tries=8), alias="world")
                got = collecting.run(plan, llm, give_up=10**9, show=False)
                llm.record.close()
                again = Record(Path(folder)/"r.jsonl")
                sent = [r for r in server.requests if r["status"] == 200 and r["fault"] in ("", "truncated", "refused", "filtered")]
                ids = {key: request_id(line["messages"], line["settings"]["seed"] + line["replicate"]) for key in again if (line := again.get(key))}
                late = {ids.get(r["key"]) for r in again.events() if r["line"] == "failed" and r["error"].startswith("timeout")} # the server's answer came when nobody waited any more
                t = got.table.set_index(["query_id", "prompt_id", "repeat"])["score"]
                good = t if good is None else good
                ok = (got.table["status"] == "ok").to_numpy()
                rows.append(dict(fault=name, seed=seed, requests=len(server.requests), rows=len(t), missing=int(t.isna().sum()), marked=int(got.table["status"].isin(["limit", "refused"]).sum()),
                    wrong=int(((t != good) & t.notna() & ok).sum()), zero_for_error=int((t.eq(0) & got.table["status"].eq("error").to_numpy()).sum()), too_late=len(late), lost=len({r["id"] for r in sent} - {*ids.values()} - late), doubled=sum(n - 1 for i, n in Counter(r["id"] for r in sent).items() if i not in late)))
            print(f"  {name}, seed {seed}: {rows[-1]}", file=sys.stderr, flush=True)
    return rows

def show_faults(rows):
    t = pd.DataFrame(rows).drop(columns="seed").groupby("fault", sort=False).sum()
    print(f"\nFaults: sums over {len({r['seed'] for r in rows})} seeds. missing: no score after 8 tries; marked: cut off or refused, kept and scored; wrong: answered, but another score than on the good day; too_late: cells with an answer\n"
          "that came when the client no longer waited; lost: of the others, answered and not in the record; doubled: of the others, answered and asked again\n" + t.to_string())


# ---- kills

def _collecting(folder, url):
    "A run, as a process of its own."
    llm = LLM("world", url, dict(max_tokens=60, seed=0), record=Record(Path(folder)/"r.jsonl"), limits=Limits(concurrency=8), alias="world")
    collecting.run(_cells(), llm, show=False)

def kills(n, seed=0):
    "Kill a run n times at random moments, then let it end; count what was lost and doubled."
    import openai # noqa: F401 -- loaded before the forks
    r, context, in_air, warned = random.Random(seed), multiprocessing.get_context("fork"), 0, 0
    with serve_world(WORLD, latency=.25) as server, tempfile.TemporaryDirectory() as folder:
        for i in range(n + 1):
            process = context.Process(target=_collecting, args=(folder, server.base_url))
            process.start()
            if i < n: time.sleep(r.uniform(.05, 1.)); os.kill(process.pid, signal.SIGKILL)
            process.join()
            if i < n: in_air += 8
            print(f"  kill {i + 1}: {len(server.requests)} requests", file=sys.stderr, flush=True)
        assert process.exitcode == 0, "the last run must end by itself"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            record = Record(Path(folder)/"r.jsonl")
        plan, answered = _cells(), Counter(q["id"] for q in server.requests if q["status"] == 200)
        held = Counter(request_id(line["messages"], line["settings"]["seed"] + line["replicate"]) for line in map(record.get, record))
        lines = [json.loads(l) for l in (Path(folder)/"r.jsonl").read_text().splitlines()]
        kept_twice = len([l for l in lines if l["kind"] == "reply"]) - len(record)
        return [dict(kills=n, cells=len(plan), answered_cells=len(held), doubled_in_record=kept_twice, requests=len(server.requests), asked_again=sum(v - 1 for v in answered.values()), most_in_air=in_air, unclear=record.unclear)]

def show_kills(rows):
    for r in rows:
        print(f"\nKilled {r['kills']} times: {r['answered_cells']} of {r['cells']} cells answered in the record, {r['doubled_in_record']} answers written twice, {r['asked_again']} calls asked again that were in flight at a kill "
              f"(at most {r['most_in_air']} can be), {r['unclear']} counted as possibly billed")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=["throughput", "faults", "kills"], default=["throughput", "faults", "kills"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--concurrency", nargs="+", type=int, default=[4, 16, 32, 64])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--kills", type=int, default=50)
    a = parser.parse_args()
    found = json.loads(OUT.read_text()) if OUT.exists() else {}
    if "throughput" in a.parts: found["throughput"] = throughput(a.concurrency, a.rounds, a.repeats)
    if "faults" in a.parts: found["faults"] = faults(a.repeats)
    if "kills" in a.parts: found["kills"] = kills(a.kills)
    for part, show in dict(throughput=show_throughput, faults=show_faults, kills=show_kills).items():
        if part in a.parts: show(found[part])
    found["about"] = dict(python=platform.python_version(), system=platform.system(), cores=os.cpu_count())
    OUT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__": main()
