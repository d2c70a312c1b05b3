"The best sets of parts: equal to brute force under every score and rule, proven where listing is out of reach, and what a reward knows of a bank."
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from causal_prompts.banks import Bank
from causal_prompts.best_sets import SetValues, best_sets, set_values
from causal_prompts.causal import CausalReward
from causal_prompts.factorial import factorial
from causal_prompts.kernel import BLOCKS
from causal_prompts.naive import NaiveReward
from causal_prompts.parts import Parts
from causal_prompts.search_scores import SCORES
from causal_prompts.tasks import world_task
from causal_prompts.triplets import Triplets
from causal_prompts.world_texts import IDEAS
from causal_prompts.worlds import World


NO_PAIRS = np.zeros((0, 2), int)

def drawn(seed, bank, n_pairs=12, shift=0.):
    "Values of a bank's options and some pairs, at random."
    random = np.random.default_rng(seed)
    columns = [(s, k) for s, options in enumerate(bank.options) for k in range(1, len(options))]
    pairs = np.array([p for p in combinations(range(len(columns)), 2) if columns[p[0]][0] != columns[p[1]][0]])
    pairs = pairs[random.permutation(len(pairs))[:n_pairs]]
    mean = np.r_[shift, random.normal(0, .05, len(columns)), random.normal(0, .03, len(pairs))]
    return SetValues(bank, pairs, mean, .03 * random.normal(size=(len(mean), 6)), own=.02**2)

def a_bank(seed):
    "Parts of several wordings, one required, two that exclude each other."
    words = np.random.default_rng(seed).integers(1, 9, 30)
    texts = {f"p{i}": [" ".join(["w"] * words[3 * i + k]) + f" {i}{k}." for k in range(1 + (i % 3 == 0))] for i in range(8)}
    return Bank.of(texts, exclusive=[["p4", "p5"]], required=["p0"], base="Answer it.", separator=" ")

def brute(values, score, k, most_parts=None, most_tokens=None):
    "Every allowed prompt with its score, worked out one by one from the definition."
    rows = []
    for code in product(*(range(len(o)) for o in values.bank.options)):
        held = [o[c] for o, c in zip(values.bank.options, code) if o[c] is not None]
        prompt = values.bank.texts([code])[0]
        if most_parts is not None and len(held) > most_parts or most_tokens is not None and len(prompt.split()) > most_tokens: continue
        on = {values.columns.index((s, c)) for s, c in enumerate(code) if c}
        z = np.array([1., *[float({i, j} <= on) for i, j in values.terms]])
        mean, se = z @ values.mean, np.sqrt(z @ values.root @ values.root.T @ z + values.own)
        low = mean - k * se
        chance = mean / se if mean > 0 else mean
        per_token = low / len(prompt.split()) if low > 0 else low
        rows.append((prompt, mean, se, {"lower": low, "mean": mean, "chance": chance, "value per token": per_token}[score]))
    return pd.DataFrame(rows, columns=["prompt", "mean", "se", "score"]).sort_values("score", ascending=False, kind="stable", ignore_index=True)

RULES = [{}, dict(most_parts=3), dict(most_tokens=14), dict(most_parts=4, most_tokens=20)]

@pytest.mark.parametrize("listed", [10**6, 0])
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("seed", range(3))
def test_the_best_sets_are_those_of_brute_force(seed, score, listed):
    values, rules = drawn(seed, a_bank(seed), shift=.05 * (seed - 1)), RULES[seed]
    found, every = best_sets(values, 3, score, listed=listed, **rules), brute(values, score, stats.norm.ppf(.975), **rules)
    assert found["prompt"].tolist() == every["prompt"].head(3).tolist() and found["proven"].all()
    np.testing.assert_allclose(found[["effect", "se"]], every[["mean", "se"]].head(3), atol=1e-9)
    np.testing.assert_allclose(found["lo"], found["effect"] - stats.norm.ppf(.975) * found["se"])
    assert (found["tokens"] == found["prompt"].str.split().map(len)).all() and found["parts"].map(lambda ids: "p0" in ids).all()

def test_a_greedy_climb_stops_short_where_the_program_does_not():
    "Two parts that each harm and together help: no single change leads there."
    bank = Bank.of({"a": "A.", "b": "B.", "c": "C."}, base="Answer.")
    values = SetValues(bank, np.array([[0, 1]]), np.array([0, -.1, -.1, .05, .5]), np.zeros((5, 1)))
    for listed in (0, 100): assert best_sets(values, score="mean", listed=listed)["parts"][0] == ("a", "b", "c")

def test_the_lower_end_prefers_what_is_known():
    bank = Bank.of({"sure": "A.", "unsure": "B."}, base="Answer.", exclusive=[["sure", "unsure"]])
    values = SetValues(bank, NO_PAIRS, np.array([0, .1, .12]), np.diag([0, .01, .2]))
    assert best_sets(values)["parts"][0] == ("sure",) and best_sets(values, score="mean")["parts"][0] == ("unsure",)
    assert best_sets(values, score="chance", listed=0)["parts"][0] == ("sure",)

def test_time_that_runs_out_is_said_and_gives_a_good_set_all_the_same():
    bank = Bank.of({f"p{i}": f"Sentence {i}." for i in range(30)}, base="Answer.")
    values = drawn(5, bank, 60)
    short, long = best_sets(values, seconds=1e-6), best_sets(values, seconds=120)
    assert not short["proven"][0] and long["proven"][0]
    assert .8 * long["lo"][0] < short["lo"][0] <= long["lo"][0] + 1e-9

def test_own_tokens_and_prices():
    values = drawn(1, a_bank(1))
    found = best_sets(values, 2, "value per token", tokens=len)
    assert (found["tokens"] - found["prompt"].map(len)).abs().max() <= 8, "separators are not counted"

@pytest.mark.parametrize("how, said", [(dict(score="best"), "score must be one of .*got 'best'"), (dict(alpha=1.5), r"alpha must lie in \(0, 1\)"),
    (dict(n=0), "n must be a whole number"), (dict(most_parts=0), "most_parts"), (dict(most_tokens=1), "some set must be allowed, got none: .*most_tokens=1")])
def test_what_makes_no_sense_is_refused(how, said):
    with pytest.raises(ValueError, match=said): best_sets(drawn(0, a_bank(0)), **how)

def test_numbers_that_belong_to_no_terms_are_refused():
    bank = Bank.of({"a": "A."}, base="Answer.")
    with pytest.raises(ValueError, match="a row for the constant and each of 1 terms"): SetValues(bank, NO_PAIRS, np.zeros(3), np.zeros((2, 1)))
    with pytest.raises(TypeError, match=r"values must be what set_values\(reward, bank\) gives, got Bank"): best_sets(bank)


# ---- from a reward

@pytest.fixture(scope="module")
def learned():
    world = World.preset("compositional", seed=3)
    task = world_task(world, n=150)
    bank = Bank.of({idea: wordings[0] for idea, wordings in IDEAS.items()}, base=task.baseline, separator=" ")
    cells = factorial(bank, task.items, calls=600, per_query=4)
    table = cells.cells.merge(cells.prompts[["prompt_id", "prompt"]]).merge(task.items[["query_id", "query"]])
    outcome = pd.DataFrame(world.draw(list(task.items["query"]), pool := list(table["prompt"].unique()))[..., 0], task.items["query_id"], pool)
    table["score"] = [outcome.at[q, p] for q, p in zip(table["query_id"], table["prompt"])]
    log = Triplets(table[["query_id", "query", "prompt_id", "prompt", "score"]])
    named = {idea: [wordings[0]] for idea, wordings in IDEAS.items()}
    return world, task, bank, CausalReward(parts=Parts.of(pool, named=named), baseline=task.baseline).fit(log)

def test_the_values_are_the_rewards_own_but_for_whole_texts(learned):
    world, task, bank, reward = learned
    values = set_values(reward, bank)
    random = np.random.default_rng(0)
    codes = random.integers(2, size=(40, len(bank.options)))
    mean, se = values.rate(values.columns_of(codes))
    whole = reward.average_effect(bank.texts(codes))
    assert np.corrcoef(mean, whole["effect"])[0, 1] > .9 and (np.abs(mean - whole["effect"]) < whole["se"]).all()
    assert np.corrcoef(se, whole["se"])[0, 1] > .5

def test_the_best_set_comes_close_to_the_best_there_is_and_the_best_raw_mean_does_not(learned):
    world, task, bank, reward = learned
    queries, every = list(task.items["query"]), bank.sets()
    truth = world.value(queries, [task.baseline, *map(bank.prompt, every)]).mean(0)
    gain = dict(zip(every, truth[1:] - truth[0]))
    by_mean, by_lower = (gain[best_sets(set_values(reward, bank), score=score)["parts"][0]] for score in ("mean", "lower"))
    raw = reward.log_.frame.groupby("prompt")["score"].mean()
    logged = world.value(queries, list(raw.index[raw == raw.max()])).mean() - truth[0] # of hundreds that share the first place
    assert by_mean > .8 * max(gain.values()) and by_mean > 2 * logged and by_lower > logged

def test_values_of_some_queries_differ(learned):
    _, task, bank, reward = learned
    by_kind = [set_values(reward, bank, list(group["query"])).mean for _, group in task.items.groupby("kind")]
    assert np.ptp(by_kind, axis=0).max() > .005

def test_a_prompts_own_variance_is_that_of_the_kernel(learned):
    _, _, bank, reward = learned
    assert set_values(reward, bank).own == reward.posterior.var[BLOCKS.index("own")]

def test_a_bank_of_which_the_log_holds_nothing_is_refused(learned):
    other = Bank.of({"x": "Sing a song.", "y": "Dance."}, base="Solve.", separator=" ")
    with pytest.raises(ValueError, match="the log's prompts must hold parts of the bank, got none"): set_values(learned[3], other)

def test_a_reward_without_a_kernel_or_without_parts_is_refused(learned):
    _, task, bank, reward = learned
    with pytest.raises(ValueError, match="must be a fitted CausalReward whose learner is the kernel, got NaiveReward"): set_values(NaiveReward().fit(reward.log_), bank)
    alone = CausalReward(parts=None, baseline=task.baseline).fit(reward.log_)
    with pytest.raises(ValueError, match="must share parts, got none"): set_values(alone, bank)
