"Worlds of the pages on transport and monitoring."
import numpy as np, pandas as pd
from alarm_worlds import Simulated, Words, given
import causal_prompts as cp
from causal_prompts.worlds import World


def scored(world, n=500, n_prompts=12, k=6, seed=0, kinds=None, value=None, part=1, **columns):
    "Fresh queries (another seed), each scored under the baseline and k - 1 other prompts of the same pool at random."
    q, pool, r = world.queries(4 * n if kinds else n, seed + 10_000 * part), world.prompts(n_prompts, seed), np.random.default_rng([seed, part])
    q = q[q["kind"].isin(kinds)].head(n) if kinds else q
    V = (value or world.value)(list(q["query"]), pool)
    rows = [(i, j) for i in range(len(q)) for j in [0, *(1 + r.permutation(n_prompts - 1)[: k - 1])]]
    i, j = np.array(rows).T
    f = pd.DataFrame(dict(query=q["query"].to_numpy()[i], prompt=np.array(pool, object)[j], score=(r.random(len(i)) < V[i, j]).astype(float), difficulty=q["difficulty"].to_numpy()[i]))
    return cp.Triplets(f.assign(**{c: v(i) for c, v in columns.items()}))

def inverted(world):
    "Expected scores in which every effect has changed sign."
    def value(queries, prompts):
        base = world.value(queries, [world.baseline])
        return np.clip(2 * base - world.value(queries, prompts), 0, 1)
    return value

def hard_inverted(world):
    "Effects inverted where the difficulty is above 0.6."
    def value(queries, prompts):
        hard = np.array(world.kind_and_difficulty(queries)[1])[:, None] > .6
        return np.where(hard, inverted(world)(queries, prompts), world.value(queries, prompts))
    return value

def fallen(world, by=.2):
    "Every prompt but the baseline has lost 0.2 in score."
    return lambda queries, prompts: np.clip(world.value(queries, prompts) - by * (np.array(prompts)[None] != world.baseline), 0, 1)

def late(world):
    "The same from the middle of the queries on."
    def value(queries, prompts):
        second = np.arange(len(queries))[:, None] >= len(queries) / 2
        return np.where(second, fallen(world)(queries, prompts), world.value(queries, prompts))
    return value

randomised = lambda seed: World.preset("randomised", seed=seed)
def reward(seed):
    w = randomised(seed)
    return cp.CausalReward(learner="kernel", folds=0, encoder=Words(), baseline=w.baseline).fit(scored(w, seed=seed, part=2))
FAST = dict(sizes=(1.,), splits=6)
by_time = dict(week=lambda i: i * 10 // (i.max() + 1))

def models(world, first="causal"):
    make = dict(causal=cp.CausalReward(learner="kernel", folds=0, encoder=Words(), baseline=world.baseline), naive=cp.NaiveReward("ridge", encoder=Words(), baseline=world.baseline))
    return {k: make[k] for k in ([first] + [k for k in make if k != first])}

def crossed(seed):
    "A hidden world in full, and the log its policy would have left."
    from causal_prompts.grids import Grid
    w = World.preset("confounded-hidden", seed=seed)
    full = w.log(800, prompts_per_query=12, n_prompts=12, seed=seed)
    return w, full, Grid(full).replay("better-to-harder", k=4, strength=4., floor=.02, seed=seed)

def judged(seed, first):
    w, full, log = crossed(seed)
    log = cp.Triplets(log.frame.drop(columns="propensity"))
    return given(log, models=models(w, first), test=full, random_state=seed, **FAST)

WORLDS = {
    "causal model judged": Simulated(lambda seed: judged(seed, "causal")),
    "naive model judged": Simulated(lambda seed: judged(seed, "naive"),
        "better prompts to harder queries (strength 4, floor 0.02), difficulty unseen, 480 training queries x 4 of 12 prompts, 6 splits, judged for the naive model against the causal one (clean: the causal one judged)"),
    "fresh hard queries alike": Simulated(lambda seed: given(reward(seed), scored(randomised(seed), n=400, k=12, seed=seed))),
    "fresh hard queries inverted": Simulated(lambda seed: given(reward(seed), scored(randomised(seed), n=400, k=12, seed=seed, value=hard_inverted(randomised(seed)))),
        "effects of changed sign on queries of difficulty above 0.6 (a third), 500 training queries under the baseline and 5 of 11 other prompts, 400 test queries x 12"),
    "fresh queries alike": Simulated(lambda seed: given(reward(seed), scored(randomised(seed), n=1000, seed=seed))),
    "fresh effects inverted": Simulated(lambda seed: given(reward(seed), scored(randomised(seed), n=1000, seed=seed, value=inverted(randomised(seed)))),
        "effects of changed sign, 500 training and 1,000 fresh queries under the baseline and 5 of 11 other prompts", ", effects"),
    "fresh queries of two kinds": Simulated(lambda seed: given(reward(seed), scored(randomised(seed), n=1000, seed=seed, kinds=["logic", "dates"])),
        "two of five kinds of query only, 500 training and 1,000 fresh queries under the baseline and 5 of 11 other prompts", ", queries"),
    "prompts have lost": Simulated(lambda seed: given(reward(seed), scored(randomised(seed), n=1000, seed=seed, value=fallen(randomised(seed)))),
        "every prompt but the baseline loses 0.2 in score, 500 training and 1,000 fresh queries under the baseline and 5 of 11 other prompts"),
    "fresh weeks alike": Simulated(lambda seed: given(reward(seed), scored(randomised(seed), n=2000, seed=seed, **by_time), time="week")),
    "prompts lose in time": Simulated(lambda seed: given(reward(seed), scored(randomised(seed), n=2000, seed=seed, value=late(randomised(seed)), **by_time), time="week"),
        "every prompt but the baseline loses 0.2 in score in the second half of ten batches, 500 training and 2,000 fresh queries under the baseline and 5 of 11 other prompts", ", over time"),
}
