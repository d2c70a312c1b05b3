"""Prompt optimizers side by side on a served world whose truth is known: what is the returned prompt worth, what was claimed, what did it cost?

    python benchmarks/peers/run.py --env FOLDER                                       # everything: makes an environment for the peers in FOLDER
    python benchmarks/peers/run.py --env FOLDER --methods MIPROv2 GEPA --budgets 120 --seeds 2

Each run is a method, a budget of task-model calls and a seed, in a process of its own against a server of its own (`ledger.py`), with the same queries to train and to validate on, the same start prompt and the same writer. Nothing is
paid and no key is used: children see none of this shell's variables but PATH. Results are written after every run, and a run that stands there is not made again.

Peers run in a virtual environment under FOLDER, from `constraints.txt` beside this script (1.0 GB; without torch). What was looked at in November 2026:

| package | licence | alive | size of what it asks for |
|---|---|---|---|
| dspy 3.4.1 (MIPROv2, GEPA, COPRO) | MIT | release of October 2026 | litellm, openai, diskcache; MIPROv2 also optuna, which it does not ask for |
| gepa 0.1.4 | MIT | yes | nothing by itself, litellm when it is to call models |
| textgrad 0.1.8 | MIT | last release of 2025 | datasets with pyarrow (170 MB), gdown, litellm |
| promptolution 2.3.0 (CAPO, EvoPrompt, OPRO) | Apache-2.0 | yes | scikit-learn, hydra-core, fastparquet |
| litellm 1.110.2 | MIT | yes | 200 MB by itself, boto3, tokenizers; releases 1.82.7 and 1.82.8 stole credentials (March 2026), so the version is pinned far from them and the environment holds no key |

The language model that ships (SmolLM2-135M) is not among the worlds: of the answer forms that dspy asks for it met one in three in a trial, so a comparison on it would measure the form of answers.

Other methods and ours (`own.py`) run in this environment. Prints a table and writes benchmarks/results/peers.json."""
import argparse, hashlib, json, os, subprocess, sys, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent)) # of `peers`

import numpy as np
import pandas as pd

import causal_prompts as cp
from causal_prompts.world_answers import reference
from causal_prompts.world_texts import BASELINE
from peers import measures
from peers.ledger import account, Ledger, wall_seconds
from peers.own import METHODS as OWN

OUT = HERE.parent/"results"/"peers.json"
TOOLS = ["MIPROv2", "GEPA", "COPRO", "gepa", "TextGrad", "CAPO", "EvoPrompt", "OPRO"] # in tools.py, in the peers' environment
ASKED = ["dspy", "gepa", "textgrad", "promptolution", "litellm", "optuna"]
METHODS = [*OWN, *TOOLS]
FREE = ("start prompt", "CoT", "Reflexion") # they use no budget
BUDGETS, SEEDS, LATENCY = (120, 300, 600), 5, .03
N_TRAIN, N_VAL, N_NEW, N_EACH = 100, 100, 200, 50 # new queries for a single prompt, and for a prompt a query
FAULTS = dict(rate_429=.15, rate_500=.10)


def environment(folder) -> Path:
    "The interpreter of the peers' environment, made if it is not there or not of these constraints."
    folder, pins = Path(folder), HERE/"constraints.txt"
    python, made, mark = folder/"env"/"bin"/"python", folder/"env"/"made", hashlib.sha256(pins.read_bytes()).hexdigest()
    if made.exists() and made.read_text() == mark: return python
    print("making the peers' environment", flush=True)
    subprocess.run([sys.executable, "-m", "venv", folder/"env"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-c", pins, *ASKED], check=True)
    made.write_text(mark)
    return python


def queries(world, n, seed) -> list:
    texts = world.queries(n, seed)["query"]
    return [(q, reference(world, q)) for q in texts]


def spec_of(world, method, budget, seed) -> dict:
    "What a run is told. The new queries come without answers, and only for methods that give a prompt a query."
    known, new = queries(world, N_TRAIN + N_VAL, 1), [q for q, _ in queries(world, N_NEW, 2)]
    if {q for q, _ in known} & {*new}: raise ValueError("new queries must be new, got some that are known; change the seed")
    return dict(method=method, budget=budget, seed=seed, start=BASELINE, train=known[:N_TRAIN], val=known[N_TRAIN:], new=new[:N_EACH])


def child_variables(folder) -> dict:
    "What a child's environment holds: no keys."
    kept = {k: os.environ[k] for k in ("PATH", "LANG", "CAUSAL_PROMPTS_CACHE") if k in os.environ}
    return kept | dict(HOME=str(folder), XDG_CACHE_HOME=str(folder/"cache"), DSPY_CACHEDIR=str(folder/"cache"/"dspy"), OPENAI_API_KEY="none", LITELLM_LOCAL_MODEL_COST_MAP="True", OMP_NUM_THREADS="1",
                       HF_HUB_OFFLINE="1", PYTHONHASHSEED="0", PYTHONPATH=str(HERE.parents[1]))


def child(python, spec, server, folder, seconds) -> dict:
    "The answer of a run, or its error."
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"): old.unlink()
    (folder/"spec.json").write_text(json.dumps(spec | dict(url=server.base_url)), encoding="utf-8")
    script = HERE/("own.py" if spec["method"] in OWN else "tools.py")
    variables = child_variables(folder) | dict(OPENAI_BASE_URL=server.base_url, OPENAI_API_BASE=server.base_url)
    try: done = subprocess.run([python, script, "spec.json", "out.json"], cwd=folder, env=variables, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired: return dict(error=f"not done after {seconds} seconds")
    (folder/"said.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    if (folder/"out.json").exists(): return json.loads((folder/"out.json").read_text(encoding="utf-8"))
    return dict(error=(done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:300])


def one_run(python, world_name, method, budget, seed, faulty, folder, seconds) -> dict:
    "A run, judged. Whoever fails is left with the start prompt."
    world = cp.World.preset(world_name, seed=seed)
    spec = spec_of(world, method, budget, seed)
    with Ledger(world, budget, LATENCY, seed, FAULTS if faulty else None).listen(0).start() as server:
        answer = child(python, spec, server, folder, seconds)
        spent = account(server.requests)
    prompts = answer.get("prompts", BASELINE)
    new = [q for q, _ in queries(world, N_NEW, 2)][:N_NEW if isinstance(prompts, str) else N_EACH]
    row = dict(method=method, world=world_name, budget=budget, seed=seed, faulty=faulty) | measures.judged(world, new, answer | dict(prompts=prompts)) | spent
    if "seconds" in answer: row |= dict(seconds=answer["seconds"], wall=wall_seconds(answer["seconds"], spent))
    if "promising" in answer: row["share_promising"] = measures.judged(world, new, dict(prompts=answer["promising"]))["share"] # what looked best, shown to be better or not
    row |= {name: answer[name] for name in ("error", "note", "lo", "hi") if answer.get(name) is not None}
    return row | dict(prompts=prompts if isinstance(prompts, str) else prompts[:3])


KEY = ("method", "world", "budget", "seed", "faulty")

def summary(rows) -> pd.DataFrame:
    "Means over seeds."
    f = pd.DataFrame(rows)
    call = lambda name: f["calls"].map(lambda c: c[name]["calls"])
    tokens = lambda c: sum(c[name]["read"] + c[name]["written"] for name in ("task", "writer"))
    f = f.assign(task_calls=call("task"), writer_calls=call("writer"), query_calls=(call("task-query") + call("writer-query")) / N_EACH, tokens=f["calls"].map(tokens), failed_runs=f["error"].notna() if "error" in f else False)
    for name in ("claim_less_truth", "share_each", "held", "wall"):
        if name not in f: f[name] = np.nan
    f["above"] = (f["claim_less_truth"] > 0).where(f["claim_less_truth"].notna()).astype(float)
    f["idle_runs"] = (f["idle"] > 0).astype(float)
    f["held"] = f["held"].astype(float)
    numbers = ["value", "share", "share_each", "claim", "claim_less_truth", "above", "held", "task_calls", "writer_calls", "query_calls", "tokens", "money", "wall", "harmful", "idle", "idle_runs", "refused", "failed_runs"]
    return f.groupby(["world", "faulty", "budget", "method"], sort=False)[numbers].mean().assign(seeds=f.groupby(["world", "faulty", "budget", "method"], sort=False).size()).reset_index()


def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--env", type=Path, required=True, help="scratch folder: the peers' environment, and what runs write")
    ask.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="METHOD", help=", ".join(METHODS))
    ask.add_argument("--budgets", type=int, nargs="+", default=BUDGETS, help="calls of the task model")
    ask.add_argument("--seeds", type=int, default=SEEDS)
    ask.add_argument("--world", default="compositional")
    ask.add_argument("--faulty", action="store_true", help="15%% of the requests get status 429, 10%% status 500")
    ask.add_argument("--seconds", type=int, default=900, help="for one run, at most")
    ask.add_argument("--again", action="store_true", help="make runs that failed once more")
    ask.add_argument("--out", type=Path, default=OUT)
    asked = ask.parse_args()
    rows = json.loads(asked.out.read_text(encoding="utf-8"))["rows"] if asked.out.exists() else []
    if asked.again: rows = [r for r in rows if "error" not in r]
    done = {tuple(r[k] for k in KEY) for r in rows}
    python = environment(asked.env.resolve()) if {*asked.methods} & {*TOOLS} else None
    for seed in range(asked.seeds):
        for budget in (0, *asked.budgets):
            for method in asked.methods:
                key = method, asked.world, budget, seed, asked.faulty
                if (method in FREE) != (budget == 0) or key in done: continue
                row = one_run(python if method in TOOLS else sys.executable, asked.world, method, budget, seed, asked.faulty, asked.env.resolve()/"runs"/f"{method} {asked.world} {budget} {seed}".replace(" ", "_"), asked.seconds)
                rows.append(row)
                asked.out.parent.mkdir(exist_ok=True)
                asked.out.write_text(json.dumps(dict(version=cp.__version__, prices="money for a million tokens (words and marks), read and written: task .15 and .60, writer 2.50 and 10", rows=rows), indent=0, default=float), encoding="utf-8")
                print(f"{method}, {budget} calls, seed {seed}: {row['share']:.2f} of the best set's gain, {row['calls']['task']['calls']} task calls{', ' + row['error'] if 'error' in row else ''}", flush=True)
    pd.set_option("display.width", 250, "display.max_columns", 30)
    print(summary(rows).round(3).to_string(index=False))


if __name__ == "__main__": main()
