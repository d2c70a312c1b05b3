"""How much of the best set's gain does `cp.optimize` find in worlds whose truth is known, and how often is it wrong?

    python benchmarks/optimize.py                       # 24 worlds a row
    python benchmarks/optimize.py --worlds 6 --out FILE

The steps of `cp.optimize` with the package's own functions; scores are drawn from the exact chances instead of asked for, so that a run takes a second or two. Two ways: the world's twelve sentences are named, one an idea; or the writer of
the served world proposes sentences, 36 wordings of these ideas at random. `held`: the intervals of all finalists hold the truth, taken or not. Shares are of the gain of the best set of the world's ideas. `reachable`: the best set of the sentences at hand; `promising`: the finalist that looks best, shown or
not; `returned`: what comes back, the prompt in use where nothing is shown. Writes benchmarks/results/optimize.json."""
import argparse, json, time, warnings
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

import causal_prompts as cp
from causal_prompts.banks import Bank
from causal_prompts.call_shares import call_shares, split_queries
from causal_prompts.core import rng
from causal_prompts.fresh_gains import chosen_finalist, finalist_table
from causal_prompts.sentence_parts import bank_of, frame_of, gathered_sentences, read_sentences, sentence_request
from causal_prompts.set_rounds import round_plan, sets_to_confirm
from causal_prompts.stages import join_stages
from causal_prompts.tasks import world_task
from causal_prompts.triplets import Triplets
from causal_prompts.world_answers import writer_reply
from causal_prompts.world_texts import BASELINE, IDEAS
from causal_prompts.worlds import World

OUT = Path(__file__).parent/"results"/"optimize.json"
NAMED = {idea: wordings[0] for idea, wordings in IDEAS.items()}
FOR_TWO = 360 # cells of the confirmation from which on there are two finalists, as in `cp.optimize`
ROWS = [(way, effect, calls) for way in ("named", "writer") for effect, calls in ((1.7, 120), (1.7, 300), (1.7, 600), (1., 120), (1., 600), (.01, 120), (.01, 600))]


def sentences(world, task, seed, n, draw, known) -> list:
    "New sentences of the served world's writer."
    reply = writer_reply(sentence_request(task.baseline, list(task)[:8], n), None, rng(seed, "writer", draw, n))
    return read_sentences(reply, n, task.baseline, [str(item["query"]) for item in list(task)[:8]], known).texts


def scored(world, made, *seed) -> Triplets:
    "The log of a plan, its scores drawn."
    table = made.cells.merge(made.prompts[["prompt_id", "prompt"]]).merge(made.task.items[["query_id", "query"]])
    queries, pool = pd.factorize(table["query"]), pd.factorize(table["prompt"])
    chance = world.value(list(queries[1]), list(pool[1]))[queries[0], pool[0]]
    return Triplets(table.assign(score=(rng(*seed).random(len(chance)) < chance) * 1.), adaptive=True)


def gains(world, prompts): return world.quality(list(prompts)) - world.quality([BASELINE])

def best_gain(world, has=None) -> float:
    "The gain of the best set of ideas, of all or of those that are at hand."
    kept = [idea for idea in IDEAS if has is None or has[idea]]
    return float(max(gains(world, [" ".join([BASELINE, *(NAMED[i] for i, k in zip(kept, ks) if k)]) for ks in product((0, 1), repeat=len(kept))])))


def one_run(way, effect, calls, seed) -> dict:
    "One search, judged."
    world = World.preset("compositional", seed=seed, effect_size=effect)
    task, shares = world_task(world, n=200, seed=seed), call_shares(calls, n_queries=200)
    texts = NAMED if way == "named" else gathered_sentences(lambda known, draw: sentences(world, task, seed, 8, draw, known), 24)
    parts, fresh = split_queries(task, shares, seed)
    logs = []
    for stage in (1, 2):
        if stage == 2 and way == "writer": texts = [*texts, *sentences(world, task, seed, 4, 99, texts)]
        bank = bank_of(frame_of(task.baseline), texts)
        logs.append(scored(world, round_plan(parts[stage - 1], bank, shares.logs[stage - 1], shares.per_query, stage, seed), seed, "scores", stage))
    found = sets_to_confirm(join_stages(*logs), bank, task.baseline, 2 if shares.fresh >= FOR_TWO else 1)
    return judged(world, task, fresh, shares, found, seed, best_gain(world, world.parse([" ".join(bank.prompt([*bank.ids]).split("\n"))]).iloc[0]))


def judged(world, task, fresh, shares, found, seed, reachable) -> dict:
    "The finalists on fresh queries, and what is taken."
    best, prompts = best_gain(world), [task.baseline, *found["prompt"]]
    row = dict(reachable=reachable / best, promising=0., returned=0., shown=False, held=None, false=False, idle=0, harmful=0, error=np.nan)
    if not len(found): return row
    queries = list(fresh.items["query"][:max(min(len(fresh), shares.fresh // len(prompts)), 1)])
    V = world.value(queries, prompts)
    scores = pd.DataFrame((rng(seed, "fresh").random(V.shape) < V) * 1., columns=prompts)
    table = finalist_table(scores, task.baseline, found)
    prompt, _ = chosen_finalist(table, task.baseline)
    true, looks = gains(world, [prompt])[0], table.loc[table["combined"].fillna(table["predicted"]).idxmax(), "prompt"]
    has, ideas = world.parse([prompt]).iloc[0], world.ideas.set_index("idea")
    effects = gains(world, found["prompt"])
    held = bool(((table["lo"] <= effects) & (effects <= table["hi"])).all()) # of every finalist, taken or not
    return row | dict(promising=gains(world, [looks])[0] / best, returned=true / best, shown=prompt != task.baseline, held=held,
                      false=bool(prompt != task.baseline and true < .005), idle=int((has & ideas["placebo"]).sum()), harmful=int((has & (ideas["mean"] < -1e-9)).sum()),
                      error=float(found["effect"].iloc[0] - effects[0]))


def summary(runs) -> dict:
    "Means, and standard errors of the shares."
    f = pd.DataFrame(runs)
    out = {name: float(f[name].dropna().astype(float).mean()) for name in f} | {f"{name}_se": float(f[name].std() / len(f)**.5) for name in ("promising", "returned")}
    return out | dict(worlds=len(f), idle_runs=float((f.loc[f["shown"], "idle"] > 0).mean()) if f["shown"].any() else None)


def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--worlds", type=int, default=24)
    ask.add_argument("--ways", nargs="+", default=["named", "writer"])
    ask.add_argument("--out", type=Path, default=OUT)
    asked = ask.parse_args()
    warnings.filterwarnings("ignore")
    rows = []
    for way, effect, calls in ROWS:
        if way not in asked.ways: continue
        start = time.time()
        rows.append(dict(way=way, effect_size=effect, calls=calls) | summary([one_run(way, effect, calls, seed) for seed in range(asked.worlds)]))
        asked.out.write_text(json.dumps(dict(version=cp.__version__, rows=rows), indent=0), encoding="utf-8")
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()}, f"{time.time() - start:.0f} s", flush=True)


if __name__ == "__main__": main()
