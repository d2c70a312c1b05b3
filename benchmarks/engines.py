"""Ray and Dask on one machine: start, overhead of a task, sums of cross products, a worker killed in between, memory, size of what is installed.

    python benchmarks/engines.py [--tools dask ray] [--repeats 3]

Two workers with one thread each. Every run has a process of its own. Tools that are not installed are left out, and keep their former figures. Writes benchmarks/results/engines.json."""
import argparse, importlib.metadata, json, os, platform, signal, statistics, subprocess, sys, threading, time
from pathlib import Path

import numpy as np

OUT = Path(__file__).parent/"results"/"engines.json"
PACKAGES = dict(dask=["dask", "distributed", "locket", "msgpack", "partd", "sortedcontainers", "tblib", "toolz", "zict"], ray=["ray", "msgpack", "protobuf"]) # beside what the package itself needs
ROWS, COLUMNS, PARTS = 50_000, 300, 16


def products(i, wait=0.):
    "Cross products of one part, and the process that made them."
    F = np.random.default_rng(i).normal(size=(ROWS, COLUMNS))
    time.sleep(wait)
    return F.T @ F, os.getpid()

def tiny(i): return i


def dask():
    from distributed import Client, LocalCluster
    client = Client(LocalCluster(2, threads_per_worker=1, dashboard_address=None, silence_logs=50))
    return lambda f, items, **how: [client.submit(f, i, pure=False, **how) for i in items], lambda waiting: [w.result() for w in waiting]

def ray():
    import ray
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    return lambda f, items, **how: [ray.remote(f).remote(i, **how) for i in items], ray.get


def timed(run):
    start = time.perf_counter()
    out = run()
    return time.perf_counter() - start, out

def one(tool):
    "One run of one tool."
    import psutil
    seconds, (submit, get) = timed(dict(dask=dask, ray=ray)[tool])
    get(submit(tiny, range(2)))
    small, _ = timed(lambda: get(submit(tiny, range(1000))))
    plain, out = timed(lambda: get(submit(products, range(PARTS))))
    pids = sorted({pid for _, pid in out})
    threading.Timer(1., os.kill, (pids[0], signal.SIGKILL)).start() # a worker of this run
    killed, again = timed(lambda: get(submit(products, range(PARTS), wait=.3)))
    memory = sum(p.memory_info().rss for p in psutil.Process().children(recursive=True)) / 1e6
    same = bool((sum(o[0] for o in out) == sum(o[0] for o in again)).all())
    return dict(start=seconds, thousand=small, products=plain, killed=killed, memory_mb=memory, same=same, worker_died=len({pid for _, pid in again} | {*pids}) > len(pids))

def size_mb(tool):
    "Size on disk of what the tool adds to an installation."
    files = [f for name in PACKAGES[tool] for f in importlib.metadata.files(name) or []]
    return sum(Path(f.locate()).stat().st_size for f in files if Path(f.locate()).exists()) / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tools", nargs="+", choices=list(PACKAGES), default=list(PACKAGES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", choices=list(PACKAGES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one: return print(json.dumps(one(args.one)))
    found = json.loads(OUT.read_text()) if OUT.exists() else dict(tools={})
    for tool in args.tools:
        try: version = importlib.metadata.version(tool)
        except importlib.metadata.PackageNotFoundError: print(f"{tool} is not installed"); continue
        runs = [json.loads(subprocess.run([sys.executable, __file__, "--one", tool], capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}).stdout.splitlines()[-1]) for _ in range(args.repeats)]
        middle = {name: statistics.median(r[name] for r in runs) for name in ("start", "thousand", "products", "killed", "memory_mb")}
        shown = {"version": version, "start, s": round(middle["start"], 2), "1,000 tiny tasks, s": round(middle["thousand"], 1), f"{PARTS} parts, s": round(middle["products"], 1),
                 "the same, a worker killed, s": round(middle["killed"], 1), "memory of its processes, MB": round(middle["memory_mb"]), "same sums": all(r["same"] and r["worker_died"] for r in runs),
                 "packages": len(PACKAGES[tool]), "size on disk, MB": round(size_mb(tool))}
        found["tools"][tool] = dict(runs=runs, shown=shown)
        print(tool, shown)
    found["about"] = dict(python=platform.python_version(), system=platform.system(), machine=platform.machine(), cores=os.cpu_count(), repeats=args.repeats)
    OUT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__": main()
