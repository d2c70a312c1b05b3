"""What serving the language model of this machine takes in memory, and whether it still answers, and the same, in 2 GB and without the processor's vector instructions.

    python benchmarks/local_limits.py [--threads 1] [--gigabytes 2] [--group /sys/fs/cgroup/memory/small]

Each way is a server in a process of its own (`causal-prompts serve-local`), asked the same: one question, then 16 and 64 at once, 64 of some 200 tokens at once, and one of 4,000; without vector instructions the short ones alone. A limit is one on the process's data (RLIMIT_DATA), or, where --group names a control
group that may be written to and has its limit already, that group. Needs Linux: memory is read from /proc, and its peak is set back before each load. Writes benchmarks/results/local_limits.json."""
import argparse, json, os, platform, re, resource, statistics, time
from pathlib import Path

import psutil

from causal_prompts.connection import Limits
from causal_prompts.llm import LLM
from local_runtimes import CITIES, PEOPLE, start

OUT = Path(__file__).parent/"results"/"local_limits.json"
NO_VECTORS = dict(ATEN_CPU_CAPABILITY="default", DNNL_MAX_CPU_ISA="SSE41", MKL_ENABLE_INSTRUCTIONS="SSE4_2") # what torch, oneDNN and MKL are told
TEXTS = [f"On Monday {person} moved from the office to {city} for 40 euros." for person in PEOPLE for city in CITIES]
SHORT = [f"Find the city in the text. Write: City: followed by the name.\n\n{text}" for text in TEXTS]
LOADS = dict(one=(SHORT[:1], 24), sixteen=(SHORT[:16], 24), sixty_four=(SHORT, 24), sixty_four_long=([f"Note {i}. " + text * 9 for i, text in enumerate(TEXTS)], 8), long=(["again " * 4000], 8)) # questions, tokens of a reply


def memory(pid) -> dict:
    "What a process holds now, what of that is the file of the weights, and its peak, in MB."
    text = Path(f"/proc/{pid}/status").read_text()
    mb = lambda name: round(int(re.search(rf"{name}:\s+(\d+)", text)[1]) * 1024 / 1e6)
    return dict(now=mb("VmRSS"), of_files=mb("RssFile"), peak=mb("VmHWM"))

def limit(gigabytes, group):
    "What a process does before it becomes a server; None: nothing."
    if group: return lambda: Path(group, "cgroup.procs").write_text(str(os.getpid()))
    return gigabytes and (lambda: resource.setrlimit(resource.RLIMIT_DATA, (int(gigabytes * 1e9),) * 2))

def loaded(name, url, process, questions, most):
    "(figures, replies) of one load."
    Path(f"/proc/{process.pid}/clear_refs").write_text("5") # the peak is what it holds now
    cpu, begun = sum(psutil.Process(process.pid).cpu_times()[:2]), time.monotonic()
    replies = LLM(name, url, dict(temperature=0, max_tokens=most), limits=Limits(concurrency=64, timeout=3000, deadline=3600, tries=1)).ask_all(questions, show=False)
    if process.poll() is not None: return dict(questions=len(questions), ended=process.returncode), []
    used = sum(psutil.Process(process.pid).cpu_times()[:2]) - cpu
    errors = sorted({r.error for r in replies if r.status == "error"})
    return dict(questions=len(questions), seconds=round(time.monotonic() - begun, 1), processor_seconds=round(used, 1), failed=sum(r.status == "error" for r in replies), errors=errors[:3], memory_mb=memory(process.pid)), [r.text for r in replies]

def measured(args, environment={}, gigabytes=None, group=None, loads=tuple(LOADS)):
    "(figures, replies) of one way to serve, load by load."
    process, url, name, seconds = start(args.threads, environment=environment, before=limit(gigabytes, group))
    try:
        if not url: return dict(started=False, said=name), {}
        figures, said = dict(start_seconds=round(seconds, 1), idle_mb=memory(process.pid)), {}
        for load in loads: # until it ends
            figures[load], said[load] = loaded(name, url, process, *LOADS[load])
            if "ended" in figures[load]: break
        return figures | dict(model=name), said
    finally:
        process.terminate()
        process.wait()

def same(said, other): return {load: round(statistics.mean(a == b for a, b in zip(texts, other[load])), 3) for load, texts in said.items() if other.get(load)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gigabytes", type=float, default=2.)
    parser.add_argument("--group", help="folder of a control group with a limit of its own")
    args = parser.parse_args()
    if args.group and not os.access(Path(args.group, "cgroup.procs"), os.W_OK): parser.error(f"--group must be the folder of a control group that may be written to, got {args.group}")
    ways = {"as it comes": {}, f"{args.gigabytes:g} GB": dict(gigabytes=args.gigabytes, group=args.group), "no vector instructions": dict(environment=NO_VECTORS, loads=("one", "sixteen", "sixty_four"))}
    figures, said = {}, {}
    for way, how in ways.items():
        figures[way], said[way] = measured(args, **how)
        print(way, json.dumps(figures[way]), flush=True)
    found = dict(ways=figures, same_replies={way: same(texts, said["as it comes"]) for way, texts in said.items() if way != "as it comes"})
    found["about"] = dict(limit="control group" if args.group else "RLIMIT_DATA", threads=args.threads, python=platform.python_version(), system=platform.system(), machine=platform.machine(), cores=os.cpu_count(), load=round(os.getloadavg()[0], 1), repeats=1)
    OUT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(found["same_replies"], indent=1))


if __name__ == "__main__": main()
