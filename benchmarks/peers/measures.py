"""What a returned prompt is worth, exactly: its value on new queries, its share of the best set's gain, its harmful and idle sentences, and how far a claim is from the truth."""
from functools import lru_cache
from itertools import product

import numpy as np

from causal_prompts.banks import Bank
from causal_prompts.world_texts import BASELINE, IDEAS, KINDS

BANK = Bank.of({idea: wordings[0] for idea, wordings in IDEAS.items()}, base=BASELINE)
SETS = BANK.texts(product(*(range(len(options)) for options in BANK.options))) # every set of the world's ideas


@lru_cache(16)
def limits(world, queries: tuple) -> dict:
    "Of these queries: mean value of the baseline, of the best single set, and of the best set of each query."
    V = world.value(list(queries), SETS)
    return dict(baseline=float(V[:, SETS.index(BASELINE)].mean()), best=float(V.mean(0).max()), best_each=float(V.max(1).mean()))


def value(world, queries, prompts) -> float:
    "Mean exact value: of one prompt for all queries, or of a list with a prompt for each."
    if isinstance(prompts, str): return float(world.value(list(queries), [prompts]).mean())
    if len(prompts) != len(queries): raise ValueError(f"prompts must be one text or one for each of {len(queries)} queries, got {len(prompts)}")
    return float(np.mean([world.value([q], [p])[0, 0] for q, p in zip(queries, prompts)]))


def sentences(world, prompts, queries=()) -> dict:
    "Ideas in a prompt that harm (mean effect below zero) or do nothing (placebos); of a prompt for each query, means over queries, an idea judged by the query's kind."
    ideas = world.ideas.set_index("idea")
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    held = world.parse(texts)
    if isinstance(prompts, str): effect = ideas[["mean"]].to_numpy().T
    else: effect = ideas[KINDS].to_numpy().T[world.kind_and_difficulty(list(queries))[0]]
    held, idle = held[list(ideas.index)].to_numpy(), ideas["placebo"].to_numpy(bool)
    return dict(harmful=float((held & (effect < 0)).sum(1).mean()), idle=float((held & idle).sum(1).mean()), ideas=float(held.sum(1).mean()))


def judged(world, queries, answer) -> dict:
    """All measures of what a tool returned. `answer`: prompts (a text, or one for each query), and of what it claims `claimed_value` or `claimed_gain` over the baseline, with `lo` and `hi` where it gives an interval of the gain."""
    prompts, queries = answer["prompts"], tuple(queries)
    of, true, each = limits(world, queries), value(world, queries, prompts), not isinstance(prompts, str)
    gain = true - of["baseline"]
    out = dict(value=true, gain=gain, share=gain / (of["best"] - of["baseline"]), each=each, **sentences(world, prompts, queries), **{f"value_{name}": v for name, v in of.items()})
    if each: out["share_each"] = gain / (of["best_each"] - of["baseline"])
    if answer.get("claimed_value") is not None: out |= dict(claim=answer["claimed_value"], claim_less_truth=answer["claimed_value"] - true)
    elif answer.get("claimed_gain") is not None: out |= dict(claim=of["baseline"] + answer["claimed_gain"], claim_less_truth=answer["claimed_gain"] - gain)
    if answer.get("lo") is not None: out["held"] = bool(answer["lo"] <= gain <= answer["hi"])
    return out
