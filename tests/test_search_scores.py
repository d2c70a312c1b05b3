"What a search goes by: four scores, a prompt for a query, a kind or all, and nothing that wins by being unknown."
import numpy as np
import pandas as pd
import pytest

from causal_prompts.causal import CausalReward
from causal_prompts.naive import NaiveReward
from causal_prompts.proposers import EditProposer
from causal_prompts.search_scores import query_groups, Rater, SCORES, search_score
from causal_prompts.treesearch import search
from causal_prompts.worlds import World
from fakes import Ideas


@pytest.fixture(scope="module")
def world(): return World.preset("confounded-hidden")

@pytest.fixture(scope="module")
def reward(world): return CausalReward(learner="kernel", folds=0, encoder=Ideas(), baseline=world.baseline).fit(world.log(300, prompts_per_query=8, n_prompts=60))

@pytest.fixture(scope="module")
def new(world): return world.queries(24, seed=9)

@pytest.fixture(scope="module")
def prompts(reward): return list(reward.log_.prompts["prompt"][:12])


# ---- scores

@pytest.mark.parametrize("score", SCORES)
def test_the_baseline_scores_0_and_what_is_surely_better_more(score):
    value = search_score(score, np.array([0., .1, -.1]), np.array([0., .01, .01]), 20.)
    assert value[0] == 0 and value[1] > 0 > value[2]

def test_an_uncertain_gain_wins_by_the_mean_alone_and_a_short_prompt_by_value_per_token():
    mean, se, tokens = np.array([.10, .16, .07]), np.array([.02, .08, .02]), np.array([30., 30., 12.])
    best = {score: int(np.argmax(search_score(score, mean, se, tokens))) for score in SCORES}
    assert best == {"lower": 0, "mean": 1, "chance": 0, "value per token": 2}

def test_chances_that_are_all_but_one_are_still_ordered(): assert np.diff(search_score("chance", np.array([.3, .4]), .01))[0] > 0

@pytest.mark.parametrize("make, match", [
    (lambda r: search_score("effect", .1, .1), "score must be one of .*'lower', 'mean'.*got 'effect'"),
    (lambda r: Rater(r, "effect"), "score must be one of .* or a function .reward, queries, prompts. .*got 'effect'"),
    (lambda r: Rater(r, "mean", 1.), r"alpha must lie in \(0, 1\), got 1.0"),
    (lambda r: query_groups(["a", "b"], "kind"), r"per must be .* a label for each of 2 queries, got 'kind'; columns: \[\]"),
    (lambda r: query_groups(["a", "b"], ["x"]), "a label for each of 2 queries, got"),
    (lambda r: query_groups(["a", "b"], 3), "a label for each of 2 queries, got 3"),
    (lambda r: query_groups(pd.DataFrame(dict(query=["a"], kind=["k"])), "sort"), r"got 'sort'; columns: \['query', 'kind'\]"),
    (lambda r: query_groups(pd.DataFrame(dict(query=["a"], kind=[None])), "kind"), "per must give every query a label, got missing ones"),
    (lambda r: query_groups(pd.DataFrame(dict(text=["a"]))), r"queries must have a column query, got \['text'\]"),
])
def test_what_makes_no_sense_is_refused(reward, make, match):
    with pytest.raises(ValueError, match=match): make(reward)

def test_without_intervals_there_is_the_mean_alone(world):
    naive = NaiveReward("boosting", encoder=Ideas(), baseline=world.baseline).fit(world.log(60, prompts_per_query=4, n_prompts=10))
    for score in ("lower", "chance", "value per token"):
        with pytest.raises(ValueError, match=f"score='{score}' needs intervals, which NaiveReward has not; search by score='mean'"): search(naive, ["a query"], EditProposer(["Be brief."]), score=score)
    assert Rater(naive, "mean").together(["a", "b"], ["p", "q"])["lo"].isna().all()


# ---- predictions

def test_each_query_is_rated_as_the_reward_says(reward, new, prompts):
    queries = list(new["query"][:7])
    frames = Rater(reward, "lower").each(queries, [prompts[i:i + 3] for i in range(7)], block=3)
    for i, (query, frame) in enumerate(zip(queries, frames)):
        own = prompts[i:i + 3]
        lo, hi = reward.effect_interval([query], own)
        assert np.allclose(frame["effect"], reward.effect([query], own)[0]) and np.allclose(frame["lo"], lo[0]) and np.allclose(frame["hi"], hi[0]) and np.allclose(frame["score"], lo[0])

def test_a_group_is_rated_by_its_mean_gain_with_the_standard_error_of_the_mean(reward, prompts):
    known = list(reward.log_.queries["query"])
    frame, n = Rater(reward, "mean").together(known, prompts), len(known)
    single = np.stack([reward.effect_interval([q], prompts)[1] - reward.effect([q], prompts) for q in known])[:, 0]
    se = reward.average_se(known, reward.encode(known, "query"), np.full(n, 1 / n), prompts)
    assert np.allclose(frame["effect"], reward.effect(known, prompts).mean(0)) and np.allclose(frame["effect"], frame["score"])
    assert np.allclose(frame["hi"] - frame["effect"], 1.96 * se, rtol=1e-3) and (frame["hi"] - frame["effect"] <= single.mean(0) + 1e-9).all(), "never wider than if all errors were the same"
    assert np.allclose(Rater(reward, lambda r, q, p: r.effect(q, p) - 1).together(known[:9], prompts)["score"], reward.effect(known[:9], prompts).mean(0) - 1)


# ---- searches

@pytest.mark.parametrize("per, labels", [("all", ["all queries"]), ("kind", None)])
def test_a_group_gets_one_prompt_and_its_search_can_be_played_back(world, reward, new, per, labels):
    study = search(reward, new, EditProposer(world.rephrasings), per=per)
    labels = labels or list(dict.fromkeys(new["kind"]))
    assert list(study.best["query"]) == labels and sum(len(own) for _, own in study.groups) == len(new)
    for row, (label, own) in zip(study.best.itertuples(), study.groups):
        assert label == row.query and np.isclose(row.effect, reward.effect(own, [row.prompt]).mean())
    assert search(reward, new, study.replay(), per=per).candidates.equals(study.candidates)
    assert ("group" in study.finding().details) == (len(new) > len(labels))

def test_labels_may_be_given_and_one_label_a_query_is_a_search_a_query(world, reward, new):
    queries, proposer = list(new["query"][:4]), EditProposer(world.rephrasings)
    by_query, by_label = search(reward, queries, proposer), search(reward, queries, proposer, per=range(4))
    assert list(by_label.best["prompt"]) == list(by_query.best["prompt"]) and list(by_label.best["query"]) == ["0", "1", "2", "3"]

def test_more_prompts_gain_more_as_predicted_and_one_for_all_is_not_far(world, reward, new):
    gains = {}
    for per in ("all", "kind", "query"):
        study = search(reward, new, EditProposer(world.rephrasings), per=per)
        prompt_of = {q: row.prompt for row, (_, own) in zip(study.best.itertuples(), study.groups) for q in own}
        gains[per] = np.mean([world.effect([q], [prompt_of[q]])[0, 0] for q in new["query"]])
    assert gains["all"] > .03 and gains["query"] > .03

def test_a_prompt_unlike_all_others_does_not_win_by_the_lower_end(world, reward, new):
    "Texts nobody has logged, beside edits of those that were: by the lower end no winner is worse in truth than the baseline, and fewer are unsure."
    strange = [f"{world.baseline} {' '.join(words)}" for words in (["zebra"] * 40, ["Quux frobnicate!"] * 9, ["%%%"] * 30)]
    edits = EditProposer(world.rephrasings)
    def both(query, prompt, n, rng): return [*edits(query, prompt, n - 1, rng), strange[rng.integers(3)]]
    best = {score: search(reward, new, both, score=score).best for score in ("mean", "lower")}
    sure = {score: (b["lo"] > 0).sum() for score, b in best.items()}
    assert sure["lower"] >= sure["mean"] and (best["lower"]["lo"] >= 0).all(), "the start stands where nothing is shown to beat it"
