"For every alarm, a log with nothing wrong and one with its own trouble."
import sys, warnings
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]/"tests"))
from fakes import Words # hashed words: no model to load

import causal_prompts as cp

PAGES = ["propensities", "positivity", "confounding", "refutation", "stability", "transport"]


def fitted(world, kind="causal", n_queries=300, seed=0, n_prompts=12, encoder=None, baseline=None, reward=None, **log_kwargs):
    "A reward fitted to a log of the world."
    log = world.log(n_queries=n_queries, n_prompts=n_prompts, seed=seed, **log_kwargs)
    make = dict(causal=lambda **k: cp.CausalReward(learner="kernel", folds=0, **k), naive=lambda **k: cp.NaiveReward("ridge", **k))[kind]
    return make(encoder=encoder or Words(), baseline=baseline or world.baseline, **(reward or {})).fit(log)


def alarms():
    "Every alarm: name, strength of what breaks it, clean(seed) and broken(seed), each a Finding."
    return [a for page in PAGES for a in import_module(f"{__name__}.{page}").ALARMS]


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
        return dict(seed=seed, rang=[n for n, f in found.findings.items() if f.verdict != "ok"], ran=len(found))
