"Contracts of benchmarks/sentence_designs.py: its arrays are the package's logs, its truth is the world's, and the best analyst finds what can be found."
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from causal_prompts.call_shares import call_shares, split_queries
from causal_prompts.core import rng
from causal_prompts.sentence_parts import bank_of, frame_of, gathered_sentences
from causal_prompts.set_rounds import round_plan, sets_to_confirm
from causal_prompts.stages import join_stages
from causal_prompts.tasks import world_task
from causal_prompts.world_texts import BASELINE, IDEAS, KINDS
from causal_prompts.worlds import World

sys.path.insert(0, str(Path(__file__).parents[1]/"benchmarks"))
import optimize, sentence_designs as designs

WORLD = World.preset("compositional", seed=1003, effect_size=designs.EFFECT)
TEXTS = [*optimize.NAMED.values()]


def test_gains_are_those_of_the_world():
    X = rng(0, "sets").integers(2, size=(40, 12)).astype(float)
    prompts, queries = [" ".join([BASELINE, *(t for t, x in zip(TEXTS, row) if x)]) for row in X], WORLD.queries(60)
    gains = designs.gains_by_kind(X, designs.truth())
    assert WORLD.effect(list(queries["query"]), prompts) == pytest.approx(gains[:, [KINDS.index(k) for k in queries["kind"]]].T)
    assert designs.truth().best == pytest.approx(optimize.best_gain(WORLD)) and designs.truth().each > designs.truth().best


def test_a_set_is_judged_by_its_ideas_and_a_rewording_adds_nothing():
    ideas = np.array([0, 0, 8, 7]) # steps twice, an idle one, a harmful one
    row = designs.judged_set(np.array([True, True, True, True]), ideas)
    assert (row["idle"], row["harmful"], row["again"], row["some_idle"]) == (1, 1, 1, 1)
    one = designs.judged_set(np.array([True, False, False, False]), ideas)
    assert one["share"] == one["reachable"] > row["share"] and one["idle"] == one["again"] == 0


def test_the_writers_sentences_are_those_of_the_served_world():
    task, where = world_task(WORLD, n=8, seed=1003), {text: i for i, own in enumerate(IDEAS.values()) for text in own}
    texts = gathered_sentences(lambda known, draw: optimize.sentences(WORLD, task, 1003, 8, draw, known), 24)
    new = optimize.sentences(WORLD, task, 1003, 4, 99, texts)
    first, more = designs.writer_ideas(1003)
    assert list(first) == [where[t] for t in texts] and list(more) == [where[t] for t in new] and len(more)


def test_each_sentence_stands_in_as_even_a_share_of_a_querys_prompts_as_can_be():
    X = designs.drawn_sets(500, 8, np.array([.5, 7 / 24]), rng(0)).reshape(500, 8, 2).sum(1)
    assert (X[:, 0] == 4).all() and set(X[:, 1]) == {2, 3} and X[:, 1].mean() / 8 == pytest.approx(7 / 24, abs=.01)


def test_the_analysis_of_arrays_chooses_what_the_package_chooses():
    task, shares = world_task(WORLD, n=200, seed=1003), call_shares(600, n_queries=200)
    bank, parts = bank_of(frame_of(task.baseline), optimize.NAMED), split_queries(task, shares, 1003)[0]
    log = join_stages(*[optimize.scored(WORLD, round_plan(parts[i], bank, shares.logs[i], 8, i + 1, 1003), 1003, i) for i in (0, 1)])
    f = log.frame
    X = np.array([[t in p for t in TEXTS] for p in f["prompt"]], float)
    mean, se = designs.effects_of(designs.Log(X, f["score"].to_numpy(), f["query_id"].factorize()[0], None, None), np.arange(12))
    found = sets_to_confirm(log, bank, task.baseline, 1).iloc[0]
    assert [t in found["prompt"] for t in TEXTS] == list(mean > 0) and found["effect"] == pytest.approx(mean[mean > 0].sum())
    assert len(X) == sum(call_shares(600).logs) == len(designs.simulated(1003)[0].y)


def test_scores_of_arrays_are_drawn_from_the_worlds_chances():
    ideas = np.arange(12)
    log = designs.log_of(designs.drawn_sets(4000, 8, np.full(12, .5), rng(1)), ideas, 8, rng(2))
    found = np.linalg.lstsq(np.c_[np.ones(len(log.y)), log.X], log.y, rcond=None)[0][1:]
    expected = designs.truth().effects.mean(0) + np.where(np.isin(ideas, designs.truth().pair), designs.truth().extra.mean() / 2, 0)
    assert np.abs(found - expected).max() < .02


@pytest.mark.parametrize("way", designs.WAYS)
def test_the_truth_is_more_likely_than_other_guesses_and_idle_sentences_look_alike(way):
    log, ideas = designs.simulated(1001, way, 6000, cells=6000)
    i, j = np.flatnonzero(ideas == 0)[0], np.flatnonzero(ideas == 7)[0]
    other = ideas.copy()
    other[[i, j]] = ideas[[j, i]]
    for value in (designs.by_chances(log), *([designs.by_means(log, apart) for apart in (False, True)] if way == "named" else [])): assert value(ideas) > value(other) + 10
    idle = np.where(ideas == 8, 9, np.where(ideas == 9, 8, ideas))
    assert designs.by_chances(log)(idle) == pytest.approx(designs.by_chances(log)(ideas))


def test_the_likelihood_by_means_is_that_of_freed_scores():
    log, ideas = designs.simulated(1002, "named", 240)
    value, k = designs.by_means(log, False), designs.truth()
    def squares(guess):
        H = designs.held_ideas(log.X, guess)
        return (designs.freed((log.y - H @ k.effects.mean(0) - k.extra.mean() * H[:, k.pair].prod(1))[:, None], log.query)**2).sum()
    guesses = [rng(i, "guess").permutation(12) for i in range(3)]
    one, two = (np.diff([f(g) for g in guesses]) for f in (value, squares))
    assert one / two == pytest.approx(one[0] / two[0]) and one[0] / two[0] < 0


def test_named_sentences_stay_one_an_idea_and_no_idea_has_more_than_three_wordings():
    log, ideas = designs.simulated(1001, "named", 120)
    assert (np.sort(designs.named_ideas(log, ideas, "chances", rng(0), steps=300, keep=20), axis=1) == np.arange(12)).all()
    log, ideas = designs.simulated(1001, "writer", 120)
    draws = designs.written_ideas(log, ideas, rng(0), 20)
    assert (designs.EYE[draws].sum(1) <= 3).all() and len(np.unique(draws, axis=0)) > 10


def test_draws_of_a_writers_ideas_follow_their_likelihood():
    random, ideas = rng(3), np.array([0, 7, 8])
    log = designs.log_of(designs.drawn_sets(12, 8, np.full(3, .5), random), ideas, 8, random)
    value, every = designs.by_chances(log), np.array(list(product(range(12), repeat=3)))
    wordings = {3: 27., 2: 18., 1: 6.} # ways to take wordings of so many different ideas, three each
    exact = np.array([value(guess) + np.log(wordings[len(set(guess))]) for guess in every])
    chance = np.exp(exact - exact.max())
    chance /= chance.sum()
    draws = designs.written_ideas(log, ideas, random, 4000)
    for j in range(3):
        expected = np.bincount(every[:, j], chance, 12)
        assert np.bincount(draws[:, j], minlength=12) / len(draws) == pytest.approx(expected, abs=.04)


def test_the_best_guess_is_the_best_set_where_all_is_known_and_a_price_keeps_idle_sentences_out():
    every = np.array(list(product((0., 1.), repeat=12)))
    sure = np.arange(12)[None].repeat(3, 0)
    assert designs.judged_set(designs.best_guess(sure), np.arange(12))["share"] == pytest.approx(1)
    for kind in range(5):
        gain = designs.gains_by_kind(every, designs.truth())[:, kind]
        assert designs.gains_by_kind(designs.best_guess(sure, kind=kind) * 1., designs.truth())[kind] == pytest.approx(gain.max())
    torn = np.array([[8, 4], [4, 8]]) # one of two does something, the other nothing
    assert designs.best_guess(torn).all() and not designs.best_guess(torn, price=1.).any()
