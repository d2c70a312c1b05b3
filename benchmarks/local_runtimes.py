"""One model, two ways to serve it: this package's server (transformers, requests answered together) and another OpenAI-style one, on the same questions.

    python benchmarks/local_runtimes.py [--model PATH] [--threads 1] [--repeats 3] [--install SECONDS]
                                        [--other-url http://127.0.0.1:8077/v1 --other-name llama.cpp --other-version 0.3.36 --other-install 569]

The other server must serve the same file and stand on this machine: its memory and its processor's seconds are read from the process that listens there (its peak on Linux only). For llama.cpp's, `pip install "llama-cpp-python[server]"` in an environment of its own (it is
compiled) and `python -m llama_cpp.server --model FILE.gguf --port 8077 --n_ctx 2048 --n_threads 1 --n_threads_batch 1`. `--install` and `--other-install` are the seconds that installing took, as a shell says them: of what the extra `local` adds to the package, and of the other server.
Writes benchmarks/results/local_runtimes.json."""
import argparse, importlib.metadata, json, os, platform, statistics, subprocess, sys, threading, time
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from causal_prompts.connection import Limits
from causal_prompts.llm import LLM

OUT = Path(__file__).parent/"results"/"local_runtimes.json"
SETTINGS = dict(temperature=0, max_tokens=24)
WAYS = dict(one_by_one=1, sixteen_at_once=16, sixty_four_at_once=64)
PROMPTS = ["Which city is in the text?", "Find the city in the text. Answer with one word.", "Find the city in the text. Write: City: followed by the name.", "Who is named in the text, and where did that person go? Answer in one sentence."]
PEOPLE, CITIES = "Ana Boris Clara David Emma Farid Grete Hugo".split(), "Porto Lyon Graz Turin Ghent Bergen Cork Basel".split()
TEXTS = [(f"On {day} {person} moved from the office to {city} for 40 euros.", city) for day in ("Monday", "Friday") for person, city in zip(PEOPLE, CITIES)]
QUESTIONS = [(f"{prompt}\n\n{text}", city) for prompt in PROMPTS for text, city in TEXTS]


def start(threads, *options, environment={}, before=None):
    "(process, base_url, what it said, seconds) of this package's server; the address is None where it did not start."
    begun, command = time.monotonic(), [sys.executable, "-m", "causal_prompts.cli", "serve-local", "--port", "0", "--threads", str(threads), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=before, env=os.environ | dict(PYTHONUNBUFFERED="1", OMP_NUM_THREADS=str(threads)) | environment)
    said = ""
    while ", window" not in said and (line := process.stdout.readline()): said = line # loading is said before
    url = process.stdout.readline().strip()
    threading.Thread(target=process.stdout.read, daemon=True).start() # else its lines would fill the pipe
    return process, url if url.startswith("http") else None, said.split(", window")[0].strip(), time.monotonic() - begun

def listener(url):
    "The process that serves an address of this machine."
    port = urlsplit(url).port
    for process in psutil.process_iter():
        try: found = any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections("tcp"))
        except psutil.Error: continue
        if found: return process
    sys.exit(f"{url} must be served by a process of this machine that may be looked at, got none")

def most_held(process):
    "The memory of a process in MB: its peak, or where that is not told what it holds now."
    try: return round(next(int(line.split()[1]) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("VmHWM")) * 1024 / 1e6)
    except OSError: return round(process.memory_info().rss / 1e6)

def asked(name, url, questions, concurrency, process):
    "(replies, seconds, processor's seconds of the server) of some questions."
    used, begun = sum(process.cpu_times()[:2]), time.monotonic()
    replies = LLM(name, url, SETTINGS, limits=Limits(concurrency=concurrency, timeout=1800, deadline=3000)).ask_all(questions, show=False)
    return replies, time.monotonic() - begun, sum(process.cpu_times()[:2]) - used

def measured(name, url, process, repeats):
    "What one server says and how fast it is: one by one, sixteen at once, sixty-four at once."
    questions = [text for text, _ in QUESTIONS]
    asked(name, url, questions[:1], 1, process) # what is read and compiled at the first call
    figures, texts = {}, None
    for way, concurrency in WAYS.items():
        runs = [asked(name, url, questions, concurrency, process) for _ in range(repeats)]
        failed = sum(r.status == "error" for replies, *_ in runs for r in replies)
        figures[way] = dict(calls_a_second=[round(len(questions) / seconds, 2) for _, seconds, _ in runs], processor_seconds_a_call=[round(used / len(questions), 3) for *_, used in runs], failed=failed)
        figures[way]["tokens_a_call"] = round(statistics.mean(r.tokens_out for r in runs[0][0]), 1)
        texts = texts or [r.text.strip() for r in runs[0][0]]
        figures[way]["as_one_by_one"] = round(statistics.mean(r.text.strip() == t for replies, *_ in runs for r, t in zip(replies, texts)), 3)
    return figures | dict(memory_mb=most_held(process)), texts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--install", type=float)
    for name in ("url", "version"): parser.add_argument(f"--other-{name}")
    parser.add_argument("--other-name", default="llama.cpp")
    parser.add_argument("--other-model", default="model", help="as the other server calls it")
    parser.add_argument("--other-install", type=float)
    args = parser.parse_args()
    servers, texts = {}, {}
    process, url, name, seconds = start(args.threads, *(["--model", args.model] if args.model else []))
    if not url: sys.exit(f"the server did not start: {name}")
    try: figures, texts["transformers"] = measured(name, url, psutil.Process(process.pid), args.repeats)
    finally:
        process.terminate()
        process.wait()
    servers["transformers"] = figures | dict(version=importlib.metadata.version("transformers"), start_seconds=round(seconds, 1), install_seconds=args.install)
    if args.other_url:
        figures, texts[args.other_name] = measured(args.other_model, args.other_url, listener(args.other_url), args.repeats)
        servers[args.other_name] = figures | dict(version=args.other_version, start_seconds=None, install_seconds=args.other_install)
    named = {server: [city in text for text, (_, city) in zip(said, QUESTIONS)] for server, said in texts.items()}
    found = dict(servers=servers, city_named={server: round(statistics.mean(told), 3) for server, told in named.items()}, replies=texts)
    if args.other_url:
        found["equal_replies"] = round(statistics.mean(a == b for a, b in zip(*texts.values())), 3)
        found["same_verdict"] = round(statistics.mean(a == b for a, b in zip(*named.values())), 3)
    found["about"] = dict(model=name, questions=len(QUESTIONS), threads=args.threads, python=platform.python_version(), system=platform.system(), machine=platform.machine(), cores=os.cpu_count(), load=round(os.getloadavg()[0], 1), repeats=args.repeats)
    OUT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in found.items() if k != "replies"}, indent=1))


if __name__ == "__main__": main()
