"""Simulated worlds in which the alarms of the checks are measured.

A check names its worlds beside its function (`causal_prompts.checks.check`); here they are made. A world is a function of a seed that gives what the check is called with. Each page of this folder holds some in its WORLDS, name -> `Simulated`.
"""
import sys, warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]/"tests"))
from fakes import Words # hashed words: no model to load

import causal_prompts as cp
from causal_prompts.diagnostics import check_list

PAGES = ["positivity", "embeddings", "confounding", "refutation", "stability", "transport", "propensities"]
DESCRIBE = ["latent treatments"] # checks without an alarm


@dataclass(frozen=True)
class Given:
    "What a check is called with."
    args: tuple
    more: dict

def given(*args, **more): return Given(args, more)


@dataclass(frozen=True)
class Simulated:
    "A world of the benchmark."
    make: Callable # seed -> a reward, or `given(...)` where the check takes more
    strength: str = "" # of a broken world: how it is broken, and how strongly; after "clean:" what its clean world is
    part: str = "" # of a broken world that is not the only one of its check: what distinguishes the rows


def fitted(world, kind="causal", n_queries=300, seed=0, n_prompts=12, encoder=None, baseline=None, reward=None, **log_kwargs):
    "A reward fitted to a log of the world."
    log = world.log(n_queries=n_queries, n_prompts=n_prompts, seed=seed, **log_kwargs)
    make = dict(causal=lambda **k: cp.CausalReward(learner="kernel", folds=0, **k), naive=lambda **k: cp.NaiveReward("ridge", **k))[kind]
    return make(encoder=encoder or Words(), baseline=baseline or world.baseline, **(reward or {})).fit(log)


def worlds() -> dict:
    "Every world by its name."
    out = {}
    for page in PAGES:
        here = getattr(import_module(f"{__name__}.{page}"), "WORLDS", {})
        twice = set(out) & set(here)
        if twice: raise ValueError(f"worlds must have names of their own, got {sorted(twice)} twice; rename one")
        out |= here
    return out


def unmeasured() -> list:
    "Checks that name no world, or one that nobody made."
    made, wrong = worlds(), []
    for c in check_list():
        wrong += [f"{c.name}: {w}" for w in (*c.clean, *c.broken) if w not in made]
        if c.describes and c.name not in DESCRIBE: wrong.append(f"{c.name}: no world, and it is not known to describe only")
    return wrong


def _called(function, world, seed):
    "The finding of a check in a world."
    made = world.make(seed)
    return function(*made.args, **made.more) if isinstance(made, Given) else function(made)


def alarms() -> list:
    "Every alarm: name, strength of what breaks it, clean(seed) and broken(seed), each a Finding. Those of the checkup, then others."
    made, rows = worlds(), []
    for c in check_list():
        for clean, broken in zip(c.clean, c.broken):
            if clean not in made or broken not in made: continue # `unmeasured` names them
            name = c.function.__name__ + made[broken].part
            rows.append(dict(alarm=name, strength=made[broken].strength, clean=partial(_called, c.function, made[clean]), broken=partial(_called, c.function, made[broken])))
    return rows + [a for page in PAGES for a in getattr(import_module(f"{__name__}.{page}"), "ALARMS", [])]


def one(name, world, seed):
    "Verdict of one alarm on one log; what went wrong where it raised."
    from threadpoolctl import threadpool_limits
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        at = dict(alarm=name, world=world, seed=seed)
        try: return at | dict(verdict=next(a for a in alarms() if a["alarm"] == name)[world](seed).verdict)
        except Exception as e: return at | dict(verdict="raised", error=f"{name}, {world}, seed {seed}: {type(e).__name__}: {e}"[:200])


def family(seed):
    "Names of the checks that ring in a whole checkup of a clean log."
    from threadpoolctl import threadpool_limits
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        found = cp.checkup(fitted(cp.World.preset("randomised", seed=seed), seed=seed, n_queries=600), skip="power") # which would say, rightly, that 600 queries are few
        return dict(seed=seed, rang=[n for n, f in found.findings.items() if f.verdict in ("caution", "stop")], ran=len(found))
