"The value of a policy from recorded probabilities: the truth within its error where the mean of agreeing rows fails, and a word where the log cannot know."
import numpy as np
import pandas as pd
import pytest

from causal_prompts.core import NotIdentifiedError
from causal_prompts.policy_values import policy_chances, policy_value, predicted_scores
from causal_prompts.triplets import Triplets
from causal_prompts.worlds import World

WEIGHTED = ["inverse propensity", "self-normalised", "doubly robust"]


@pytest.fixture(scope="module")
def world(): return World.preset("confounded-visible")

@pytest.fixture(scope="module")
def log(world): return world.log(1500, n_prompts=6, propensities=True)

@pytest.fixture(scope="module")
def best(world, log):
    pool = list(log.prompts["prompt"])
    return pool[int(np.argmax(world.quality(pool)))]

def off_by(found, truth): return ((found.table["value"] - truth) / found.table["se"]).set_axis(found.table["estimate"])


def test_the_truth_within_its_error_where_agreeing_rows_fail(world, log, best):
    found, truth = policy_value(log, best), world.value(log.queries["query"], [best]).mean()
    z = off_by(found, truth)
    assert z[WEIGHTED].abs().max() < 3 and z["agreeing rows"] < -3 and found.verdict != "stop"
    assert found.facts["gain_lo"] > 0 and found.facts["lo"] < truth < found.facts["hi"] and len(found.reading.split()) <= 30

def test_several_prompts_a_query_by_their_chance_of_being_among_them():
    world = World.preset("confounded-hidden", prompts_per_query=3)
    log = world.log(800, n_prompts=6, propensities=True)
    pool = list(log.prompts["prompt"])
    best = pool[int(np.argmax(world.quality(pool)))]
    z = off_by(policy_value(log, best, np.full((800, 6), .4)), world.value(log.queries["query"], [best]).mean())
    assert z[WEIGHTED].abs().max() < 3 and z["agreeing rows"] < -3

def test_errors_are_as_large_as_they_say(world):
    "Over logs: right on average, even with worthless predictions, and intervals hold the truth about as often as they should."
    rows = []
    for seed in range(30):
        log = world.log(300, n_prompts=4, propensities=True, seed=seed)
        prompt = log.prompts["prompt"][1]
        rows.append(off_by(policy_value(log, prompt, np.full((300, 4), .9)), world.value(log.queries["query"], [prompt]).mean()))
    z = pd.DataFrame(rows)[WEIGHTED]
    assert (z.mean().abs() < 3.5 / np.sqrt(30)).all() and ((z.abs() < 2).mean() > .8).all() and (z.std() < 1.6).all()

def test_right_predictions_sharpen(world, log, best):
    worthless, exact = (policy_value(log, best, m).facts for m in (np.zeros((1500, 6)), world.value(log.queries["query"], list(log.prompts["prompt"]))))
    assert exact["hi"] - exact["lo"] < .9 * (worthless["hi"] - worthless["lo"])
    assert policy_value(log, best).facts["hi"] - policy_value(log, best).facts["lo"] < worthless["hi"] - worthless["lo"]

def test_predictions_have_not_seen_their_query(log):
    f = log.frame.copy()
    f.loc[f["query_id"] == f["query_id"].iloc[0], "score"] = 1 - f["score"].iloc[0]
    a, b = predicted_scores(log), predicted_scores(Triplets(f))
    assert np.allclose(a[0], b[0]) and not np.allclose(a, b) and a.shape == (1500, 6) and 0 <= a.min() <= a.max() <= 1

def test_a_policy_in_its_four_forms(log, best):
    queries, pool = list(log.queries["query"]), list(log.prompts["prompt"])
    class Router:
        def __call__(self, query): raise AssertionError("a router is asked for all queries at once")
        def choices(self, queries): return pd.DataFrame(dict(query=queries, prompt=[best] * len(queries)))
    table = pd.DataFrame(0., index=log.queries["query_id"][::-1], columns=pool[::-1]).assign(**{best: 1.})
    forms = [policy_chances(p, log) for p in (best, lambda query: best, Router(), table, table[[best]])]
    assert all((f == forms[0]).all() for f in forms) and forms[0].shape == (1500, 6) and (forms[0][:, pool.index(best)] == 1).all()
    by_length = policy_chances(lambda q: pool[len(q) % 2], log)
    assert (by_length.argmax(1) == [len(q) % 2 for q in queries]).all()

def test_a_policy_that_is_the_logged_one_is_worth_what_was_logged():
    log = World.preset("randomised", prompts_per_query=1).log(600, n_prompts=4, propensities=True)
    die = pd.DataFrame(.25, index=log.queries["query_id"], columns=log.prompts["prompt"])
    table = policy_value(log, die).table.set_index("estimate")
    assert np.allclose(table["value"][["agreeing rows", *WEIGHTED[:2]]], table["value"]["as logged"]) and np.allclose(table["se"]["inverse propensity"], table["se"]["as logged"])
    assert policy_value(log, die).verdict == "ok" and policy_value(log, die).reading.endswith("no difference from the logged way could be shown.")

def test_choices_that_the_log_could_not_make_are_refused_a_number():
    log = World.preset("no-overlap").log(800, n_prompts=6, propensities=True)
    found = policy_value(log, log.prompts["prompt"][2])
    assert found.verdict == "stop" and found.facts["weights"] < .8 and "its choices are not in the log" in found.reading

def test_few_effective_rows_are_a_caution(world, log):
    rare = log.frame.groupby("prompt")["propensity"].mean().idxmin()
    found = policy_value(log.take((log.frame["query_id"].isin(log.queries["query_id"][:200])).to_numpy()), rare)
    assert found.verdict in ("caution", "stop") and found.facts["ess"] < 100

def test_answers_that_were_repeated_count_once(log, best):
    twice = Triplets(pd.concat([log.frame.assign(repeat=0), log.frame.assign(repeat=1)], ignore_index=True))
    a, b = policy_value(log, best, np.zeros((1500, 6))), policy_value(twice, best, np.zeros((1500, 6)))
    assert np.allclose(a.table.drop(columns="estimate").astype(float), b.table.drop(columns="estimate").astype(float))

def test_bad_input_is_refused_with_a_word(world, log, best):
    pool, ids = list(log.prompts["prompt"]), log.queries["query_id"]
    die = pd.DataFrame(1 / 6, index=ids, columns=pool)
    with pytest.raises(NotIdentifiedError, match="No propensity is recorded"): policy_value(world.log(100, n_prompts=4), best)
    with pytest.raises(ValueError, match="policy must choose among the 6 prompts of the log, got 'Sing.'; .*never sent"): policy_value(log, "Sing.")
    with pytest.raises(ValueError, match="never sent"): policy_value(log, lambda query: "Sing.")
    with pytest.raises(TypeError, match="policy must be a prompt, a function .* got int"): policy_value(log, 3)
    with pytest.raises(ValueError, match="chances >= 0 that sum to 1, got 1500 rows"): policy_value(log, die * 2)
    with pytest.raises(ValueError, match="chances >= 0 that sum to 1, got 1 rows"): policy_value(log, die.assign(**{pool[0]: np.r_[np.nan, die[pool[0]][1:]]}))
    with pytest.raises(ValueError, match="got none for 1490 of 1500"): policy_value(log, die.iloc[:10])
    with pytest.raises(ValueError, match=r"predicted must be \(n_queries, n_prompts\) = \(1500, 6\), got \(6,\)"): policy_value(log, best, np.zeros(6))
    holes = log.frame.assign(score=log.frame["score"].mask(log.frame.index < 5))
    with pytest.raises(ValueError, match="every row must have a score, got 5 of 1500 missing"): policy_value(Triplets(holes), best)
