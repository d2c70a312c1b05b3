"Worlds of the pages from 805_refits to 810_patterns."
import numpy as np
from alarm_worlds import Simulated, Words, fitted
from fakes import Ideas
import causal_prompts as cp
from causal_prompts.core import content_id
from causal_prompts.worlds import World


class Dice:
    "Every text a random point."
    def encode(self, texts, role="prompt"): return np.stack([np.random.default_rng(int(content_id(t), 16)).normal(size=64) / 8 for t in texts])

class Loud(cp.CausalReward):
    "Effects tripled."
    def levels(self, queries, prompts): return 3 * super().levels(queries, prompts)

class Short(cp.CausalReward):
    "Intervals of a third of their width."
    def effect_interval(self, queries, prompts, alpha=.05):
        lo, hi = super().effect_interval(queries, prompts, alpha=alpha)
        return lo + (hi - lo) / 3, hi - (hi - lo) / 3

def _as(reward, make):
    out = make(**reward.get_params())
    out.__dict__.update(reward.__dict__)
    return out

def _world(seed, kind="randomised", **kw): return World.preset(kind, seed=seed, **kw)

def _boosting(seed):
    w = _world(seed, "confounded-hidden")
    return cp.NaiveReward("lightgbm", encoder=Words(), baseline=w.baseline).fit(w.log(n_queries=300, n_prompts=12, seed=seed))

def _linear(seed, reward=None): return fitted(_world(seed), "naive", n_queries=2000, n_prompts=60, prompts_per_query=6, encoder=Ideas(), seed=seed, reward=reward)

WORLDS = {
    "effects tripled": Simulated(lambda seed: _as(fitted(_world(seed), seed=seed), Loud), "effects tripled, 300 queries x 4, 12 prompts"),
    "hidden confounding, boosting": Simulated(lambda seed: _boosting(seed), "naive boosting on a confounded-hidden log, 300 queries x 4, 12 prompts; clean: the causal kernel on that log", " (naive)"),
    "randomised, 500 queries": Simulated(lambda seed: fitted(_world(seed), n_queries=500, seed=seed)),
    "intervals too short": Simulated(lambda seed: _as(fitted(_world(seed), n_queries=500, seed=seed), Short), "intervals of a third of their width, 500 queries x 4, 12 prompts"),
    "prompts with meaning": Simulated(lambda seed: fitted(_world(seed), n_queries=1200, n_prompts=40, encoder=Ideas(), seed=seed)),
    "random vectors": Simulated(lambda seed: fitted(_world(seed), n_queries=1200, n_prompts=40, encoder=Dice(), seed=seed),
        "an encoder that gives random points, 1,200 queries x 4, 40 prompts; clean: one that reads the ideas", " (encoder)"),
    "randomised, 1,200 queries": Simulated(lambda seed: fitted(_world(seed), n_queries=1200, seed=seed)),
    "no effects": Simulated(lambda seed: fitted(_world(seed, noise=1.), n_queries=1200, seed=seed), "no prompt has any effect (the grader flips a coin), 1,200 queries x 4, 12 prompts", " (no effects)"),
    "many components": Simulated(lambda seed: _linear(seed)),
    "one component": Simulated(lambda seed: _linear(seed, dict(d_t=1)),
        "one component of the prompts where twelve ideas matter, naive ridge, 2,000 queries x 6 of 60 prompts; clean: the model's own number of components"),
}
