"The tree search: the shape of the tree, edits that break nothing, winners that are truly better, and nothing found where there is nothing."
import os, subprocess, sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from causal_prompts.causal import CausalReward
from causal_prompts.core import content_id, rng
from causal_prompts.embeddings import TextEncoder
from causal_prompts.naive import NaiveReward
from causal_prompts.pieces import PLACEHOLDER, sentences
from causal_prompts.proposers import EditProposer, ideas_from
from causal_prompts.treesearch import search
from causal_prompts.triplets import Triplets
from causal_prompts.recordings import load_dataset
from causal_prompts.worlds import World
from fakes import Ideas

QUERIES = ["first query", "second query", "third query"]


class Numbers:
    "A reward without a model: effects are drawn from the texts themselves."
    name, has_interval, baseline_ = "numbers", False, "Solve it."
    log_ = Triplets(pd.DataFrame([(f"q{i}", p, float(i % 2)) for i in range(12) for p in ("Solve it.", "Solve it. Be brief.", "Solve it. Think first.")], columns=["query", "prompt", "score"]))
    calls = 0

    def effect(self, queries, prompts):
        self.calls += 1
        return np.array([[0. if p == self.baseline_ else int(content_id(q, p), 16) % 1000 / 1000 - .7 for p in prompts] for q in queries])

    def support(self, prompts):
        far = np.array([len(p) > 60 for p in prompts])
        return pd.DataFrame(dict(prompt=prompts, distance=np.where(far, .9, .1), quantile=np.where(far, 1., .2), inside=~far))


def fresh(query, prompt, n, rng):
    "Proposals that never repeat."
    return [f"{prompt} {rng.integers(10**9)}." for _ in range(n)]


@pytest.fixture(scope="module")
def world(): return World.preset("confounded-hidden")

@pytest.fixture(scope="module")
def log(world): return world.log(400, prompts_per_query=10, n_prompts=80)

@pytest.fixture(scope="module")
def reward(world, log): return CausalReward(learner="kernel", folds=0, encoder=Ideas(), baseline=world.baseline).fit(log)

@pytest.fixture(scope="module")
def queries(world): return world.queries(20, seed=9)["query"]

@pytest.fixture(scope="module")
def study(world, reward, queries): return search(reward, queries, EditProposer(world.rephrasings))


def true_gain(world, t): return np.array([world.effect([q], [p])[0, 0] for q, p in zip(t["query"], t["prompt"])])


# the tree

def test_three_rounds_of_three_and_five_make_35_candidates():
    c = search(Numbers(), QUERIES, fresh).candidates
    assert list(c.columns) == ["query", "round", "parent", "id", "prompt", "effect", "lo", "hi", "score", "distance", "quantile", "inside", "kept", "rank"]
    for _, t in c.groupby("query"):
        assert t.groupby("round").size().to_dict() == {0: 1, 1: 5, 2: 15, 3: 15} and t["kept"].sum() == 10 and t["rank"].notna().sum() == 10
        assert t["parent"].dropna().groupby(t["parent"]).size().eq(5).all()


def test_parents_form_a_tree_and_were_the_best_of_their_round():
    c = search(Numbers(), QUERIES, fresh, rounds=4, keep=2, children=3).candidates.set_index("id")
    assert c.index.is_unique and (c["parent"].isna() == (c["round"] == 0)).all()
    child = c.dropna(subset="parent")
    parent = c.loc[child["parent"]]
    assert (parent["round"].to_numpy() == child["round"].to_numpy() - 1).all() and (parent["query"].to_numpy() == child["query"].to_numpy()).all() and parent["kept"].all()
    for (_, depth), t in c.groupby(["query", "round"]):
        if depth: assert set(t.index[t["kept"]]) == set(t["effect"].nlargest(2).index)


def test_the_global_ranking_pools_the_start_with_all_that_was_kept():
    study = search(Numbers(), QUERIES, fresh)
    for _, t in study.candidates.groupby("query"):
        pool = t[t["kept"]].sort_values("rank")
        assert pool["rank"].tolist() == list(range(1, 11)) and pool["effect"].is_monotonic_decreasing and (pool["round"] == 0).sum() == 1
        assert pool["effect"].iloc[0] == t["effect"].max() >= t.loc[t["round"] == 0, "effect"].item() == 0
    assert study.best["query"].tolist() == QUERIES and (study.best["candidates"] == 36).all()


def test_the_start_wins_where_every_variant_is_worse():
    worse = Numbers()
    worse.effect = lambda queries, prompts: np.tile([-float(p != "Solve it.") for p in prompts], (len(queries), 1))
    found = search(worse, QUERIES, fresh)
    assert (found.best["prompt"] == "Solve it.").all() and (found.best["effect"] == 0).all()
    assert found.finding().verdict == "stop" and found.finding().facts["unchanged"] == 3
    worse.effect = lambda queries, prompts: np.zeros((len(queries), len(prompts)))
    assert (search(worse, QUERIES, fresh).best["prompt"] == "Solve it.").all(), "a tie goes to the start"


def test_duplicates_are_dropped_and_counted():
    some = lambda query, prompt, n, rng: ["Solve it.", "A.", "B.", "A.", f"{prompt} C."]
    study = search(Numbers(), ["one"], some, rounds=2, keep=1)
    t = study.candidates
    assert t["prompt"].is_unique and t.groupby("round").size().to_dict() == {0: 1, 1: 3, 2: 1}
    assert study.duplicates == [2 + 4] and "6 proposals were duplicates" in study.finding().details


def test_a_proposer_that_runs_dry_ends_the_tree():
    study = search(Numbers(), QUERIES, lambda query, prompt, n, rng: [] if "second" in query or len(prompt) > 20 else [prompt + " More."])
    assert study.candidates.groupby("query")["round"].max().to_dict() == {"first query": 2, "second query": 0, "third query": 2}
    assert search(Numbers(), ["one"], lambda query, prompt, n, rng: fresh(query, prompt, 50, rng), rounds=1).candidates.shape[0] == 6, "no more children than asked for"


def test_several_starts_and_equal_queries_have_places_of_their_own():
    study = search(Numbers(), ["same", "same"], fresh, start=["Solve it.", "Answer it.", "Solve it."], rounds=1, children=2)
    assert len(study.best) == 2 and study.candidates.groupby("round").size().to_dict() == {0: 4, 1: 8}
    a, b = study.tree(0), study.tree(1)
    assert a["prompt"].tolist() == b["prompt"].tolist() and a["id"].tolist()[:2] == ["0.0", "0.1"] and set(b["id"].str[0]) == {"1"}
    with pytest.raises(IndexError, match="below 2, got 2"): study.tree(2)


# support, scores, intervals

def test_candidates_outside_the_support_are_flagged_and_can_be_left_out():
    study = search(Numbers(), QUERIES, fresh)
    c, best, inside = study.candidates, study.best, study.winners(inside=True)
    assert (c["inside"] == (c["prompt"].str.len() <= 60)).all() and (c["quantile"] > .9).equals(~c["inside"])
    assert inside["inside"].all() and (inside["effect"] <= best["effect"]).all()
    long = lambda query, prompt, n, rng: [f"{'x' * 61} {k} {prompt}" for k in range(n)]
    finding = search(Numbers(), QUERIES, long).finding()
    assert finding.facts["outside"] == 3 - finding.facts["unchanged"] > 0 and "outside what the log has tried" in finding.details and finding.verdict == "caution"


def test_another_score_ranks_and_the_effect_stays_beside_it(reward, queries, world):
    lower = lambda reward, queries, prompts: reward.effect_interval(queries, prompts)[0]
    study = search(reward, queries[:3], EditProposer(world.rephrasings), score=lower)
    c = study.candidates
    assert np.allclose(c["score"], c["lo"]) and not np.allclose(c["score"], c["effect"]) and study.settings["score"] == "<lambda>"
    for _, t in c[c["kept"]].groupby("query"): assert t.sort_values("rank")["lo"].is_monotonic_decreasing
    with pytest.raises(ValueError, match="scores must be finite numbers of shape"): search(Numbers(), QUERIES, fresh, score=lambda r, q, p: np.zeros(3))


def test_the_table_holds_what_the_reward_says(reward, study):
    c = study.candidates.iloc[::37]
    for row in c.itertuples():
        lo, hi = reward.effect_interval([row.query], [row.prompt])
        near = reward.support([row.prompt]).iloc[0]
        assert row.effect == pytest.approx(reward.effect([row.query], [row.prompt])[0, 0]) and (row.lo, row.hi) == pytest.approx((lo[0, 0], hi[0, 0]))
        assert row.quantile == pytest.approx(near["quantile"], abs=0, nan_ok=True) and row.inside == near["inside"]
        assert row.distance == pytest.approx(near["distance"], nan_ok=True) # missing for a text that the encoder cannot tell from a logged one


def test_all_new_texts_of_a_round_are_embedded_in_one_call(world, log):
    class Counted(Ideas):
        calls = []
        def encode(self, texts): self.calls.append(len(texts)); return Ideas.encode(self, texts)
    model = Counted()
    fit = NaiveReward("ridge", encoder=TextEncoder(model=model, cache=False, batch_size=10_000), baseline=world.baseline).fit(log)
    queries = list(world.queries(30, seed=4)["query"])
    fit.encoder_.encode(queries, role="query")
    model.calls.clear()
    study = search(fit, queries, EditProposer(world.rephrasings))
    assert len(model.calls) == 3 and sum(model.calls) <= study.candidates["prompt"].nunique() and study.candidates["lo"].isna().all()
    assert "gives no intervals" in study.finding().details and study.finding().verdict == "caution"


# truth

def test_winners_are_truly_better_than_the_baseline_and_than_random_candidates(world, study):
    best, all_ = true_gain(world, study.best), true_gain(world, study.candidates)
    assert best.mean() > .05 and best.mean() > all_.mean() + .04 and best.mean() - 2 * best.std(ddof=1) / np.sqrt(len(best)) > 0
    finding = study.finding()
    assert finding.facts["gain"] > 0 and finding.plot().axes and study.plot(2).axes and "tends to be too high" in str(study)
    assert study._repr_markdown_().startswith("**Which prompt would do better")


def test_shuffled_scores_give_nothing(world, log, queries):
    for seed in range(3):
        shuffled = Triplets(log.frame.assign(score=rng(seed, "shuffle").permutation(log.frame["score"])))
        fit = CausalReward(learner="kernel", folds=0, encoder=Ideas(), baseline=world.baseline).fit(shuffled)
        study = search(fit, queries, EditProposer(world.rephrasings))
        assert (study.best["lo"] <= 0).mean() >= .9 and abs(true_gain(world, study.best).mean() - true_gain(world, study.candidates).mean()) < .08
        assert study.finding().verdict in ("stop", "not shown", "caution") and study.finding().facts["above"] <= 2


def test_by_default_the_sentences_of_the_log_are_the_ideas(reward, queries, world):
    study = search(reward, queries[:2], rounds=2)
    known = {w for v in ideas_from(reward.log_).values() for w in v} | {world.baseline}
    assert len(study.candidates) > 20 and all(s in known for p in study.candidates["prompt"] for s in sentences(p)[0])


# determinism and replay

SCRIPT = """
import sys; sys.path.insert(0, {here!r})
from test_treesearch import Numbers, QUERIES
from causal_prompts.core import content_id
from causal_prompts.proposers import EditProposer
from causal_prompts.treesearch import search
from causal_prompts.worlds import World
print(content_id(*[search(Numbers(), QUERIES, EditProposer(World().rephrasings), random_state=s).candidates.to_json() for s in (0, 1)]))
"""

def test_a_search_is_the_same_in_another_process():
    run = lambda seed: subprocess.run([sys.executable, "-c", SCRIPT.format(here=os.path.dirname(__file__))], capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": seed}, check=True).stdout
    here = content_id(*[search(Numbers(), QUERIES, EditProposer(World().rephrasings), random_state=s).candidates.to_json() for s in (0, 1)])
    assert run("1").strip() == run("2").strip() == here


def test_the_seed_matters_and_a_querys_tree_does_not_depend_on_its_neighbours():
    propose = EditProposer(World().rephrasings)
    one, other = (search(Numbers(), QUERIES, propose, random_state=s).candidates for s in (0, 1))
    assert not one["prompt"].equals(other["prompt"])
    alone = search(Numbers(), [QUERIES[2]], propose).candidates
    assert alone["prompt"].tolist() == one.loc[one["query"] == QUERIES[2], "prompt"].tolist()


def test_a_study_can_be_played_back():
    study = search(Numbers(), QUERIES, fresh)
    pd.testing.assert_frame_equal(search(Numbers(), QUERIES, study.replay(), random_state=7).candidates, study.candidates)


# sentences and edits

@pytest.mark.parametrize("text, parts", [
    ("One. Two? Three!", ["One.", "Two?", "Three!"]),
    ("  Lead. Tail \n", ["  Lead.", "Tail"]),
    ("Weigh tone, e.g. irony. Done.", ["Weigh tone, e.g. irony.", "Done."]),
    ("Steps:\n1. Read it.\n2. Answer it.\n", ["Steps:", "1. Read it.", "2. Answer it."]),
    ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
    ("Use 3.5 points. Answer", ["Use 3.5 points.", "Answer"]),
    ("{{ a. b }} Now. {% if x. y %} z", ["{{ a. b }} Now.", "{% if x. y %} z"]),
    ("<doc> One. Two. </doc> Three.", ["<doc> One. Two. </doc> Three."]),
    ("Run:\n```\na = 1. \nb\n```\nStop.", ["Run:", "```\na = 1. \nb\n```", "Stop."]),
    ("读题。然后回答！", ["读题。", "然后回答！"]),
    ("one", ["one"]),
])
def test_sentences_are_cut_where_they_end_and_join_back(text, parts):
    s, gaps = sentences(text)
    assert s == parts and "".join(x for pair in zip(s, gaps) for x in pair) == text


@pytest.mark.recorded
@pytest.mark.parametrize("name", ["sst2-opt27b", "gsm8k-gpt35", "svamp-llama2"])
def test_edits_of_real_prompts_keep_every_placeholder_and_the_open_ending(name):
    prompts = list(load_dataset(name).prompts["prompt"])
    ideas = ideas_from(prompts)
    propose, made = EditProposer(ideas), 0
    closed = lambda t: t.strip().rstrip("\"'”’»)]")[-1:] in tuple(".!?")
    for p in prompts:
        s, gaps = sentences(p)
        assert "".join(x for pair in zip(s, gaps) for x in pair) == p
        holes, made_here, text = Counter(m[0] for m in PLACEHOLDER.finditer(p)), [], p
        for step in range(4):
            out = propose("", text, 5, rng(step, "test", p))
            assert len(set(out)) == len(out) and text not in out
            for t in out:
                assert Counter(m[0] for m in PLACEHOLDER.finditer(t)) == holes
                assert closed(p) or not closed(t), "an open ending stays open"
            made_here += out
            text = out[0] if out else text
        made += len(made_here)
    assert made > 10 * len(prompts)
    assert name != "sst2-opt27b" or all("{{ sentence }}" in t for p in prompts for t in propose("", p, 5, rng(1, p)))


def test_each_operator_does_what_it_says():
    ideas = dict(check=["Check it.", "Go over it again."], brief=["Be brief."])
    only = lambda op, text, n=6: set(EditProposer(ideas, weights={op: 1})("", text, n, rng(0, op)))
    assert only("add", "Do it. Be brief.") == {f"{' '.join(x)}" for w in ideas["check"] for x in ([w, "Do it.", "Be brief."], ["Do it.", w, "Be brief."], ["Do it.", "Be brief.", w])}
    assert only("drop", "Do it. Be brief.") == {"Do it."} and only("drop", "Be brief.") == set(), "never drops all, never what is no idea"
    assert only("rephrase", "Do it. check it.") == {"Do it. Go over it again."} and only("rephrase", "Do it.") == set()
    assert only("reorder", "Do it. Be brief. Check it.") == {"Do it. Check it. Be brief.", "Be brief. Do it. Check it.", "Check it. Do it. Be brief."}
    assert only("add", "Q: {q}\nThe answer is") and all(t.endswith("\nThe answer is") and "{q}" in t for t in only("add", "Q: {q}\nThe answer is", 20)), "nothing behind an open ending"
    assert only("add", "1. Do it.\n2. Stop.") >= {"1. Do it.\n2. Stop.\nBe brief."}


def test_further_wordings_can_be_given_by_sentence():
    p = EditProposer(["Be brief.", "Think."], rephrasings={"Be brief.": ["Keep it short."]})
    assert p.ideas == {"Be brief.": ["Be brief.", "Keep it short."], "Think.": ["Think."]}
    assert all(t.count("brief") + t.count("short") <= 1 for t in p("", "Do it. Be brief.", 20, rng(0)))


def test_mined_ideas_leave_out_what_every_prompt_says_and_never_add_a_placeholder():
    ideas = ideas_from(["Task: do it. Think. {q}", "Task: do it. Be brief. {q}", "Task: do it. Think. Read {q} twice. Answer:"])
    assert ideas == {"think.": ["Think."], "be brief.": ["Be brief."], "around {q}, open": ["{q}"], "around {q}": ["Read {q} twice."], "open ending": ["Answer:"]}
    for t in EditProposer(ideas)("", "Task: do it. Think. {q}", 20, rng(0)): assert t.count("{q}") == 1 and "Task: do it." in t


# refusals

@pytest.mark.parametrize("change, error, message", [
    (dict(reward="causal"), TypeError, "reward must be a reward model"),
    (dict(reward=CausalReward()), NotFittedError, "CausalReward is not fitted; call .fit"),
    (dict(queries=[]), ValueError, "queries must hold at least one text"),
    (dict(queries=[3]), TypeError, r"queries\[0\] must be a text, got int"),
    (dict(rounds=0), ValueError, "rounds must be a whole number >= 1, got 0"),
    (dict(keep=1.5), ValueError, "keep must be a whole number >= 1, got 1.5"),
    (dict(children=True), ValueError, "children must be a whole number >= 1, got True"),
    (dict(score="effect"), ValueError, "score must be one of .*'lower', 'mean'.* or a function"),
    (dict(score="lower"), ValueError, "score='lower' needs intervals, which Numbers has not"),
    (dict(per="kind"), ValueError, "per must be 'query', 'all', a column .*got 'kind'"),
    (dict(proposer=["Be brief."]), TypeError, "proposer must be callable as .query, prompt, n, rng., got list"),
    (dict(proposer=lambda query, prompt, n, rng: "text"), TypeError, "a proposer must return a list of texts, got str for the prompt 'Solve it.'"),
    (dict(proposer=lambda query, prompt, n, rng: None), TypeError, "a proposer must return a list of texts, got NoneType"),
    (dict(proposer=lambda query, prompt, n, rng: ["fine", " "]), ValueError, r"proposals\[1\] must be a text with something in it"),
    (dict(random_state=-1), ValueError, "random_state must be a whole number >= 0"),
    (dict(start=""), ValueError, r"start\[0\] must be a text"),
])
def test_what_cannot_be_searched_is_refused(change, error, message):
    args = dict(reward=Numbers(), queries=QUERIES, proposer=fresh) | change
    with pytest.raises(error, match=message): search(args.pop("reward"), args.pop("queries"), args.pop("proposer"), **args)


def test_a_log_without_sentences_to_edit_needs_a_proposer():
    bare = Numbers()
    bare.log_ = Triplets(pd.DataFrame([(f"q{i}", p, i % 2) for i in range(12) for p in ("Solve it.",)], columns=["query", "prompt", "score"]))
    with pytest.raises(ValueError, match="must hold sentences that not all of them share"): search(bare, QUERIES)


@pytest.mark.parametrize("args, message", [
    (dict(ideas={}), "ideas must hold at least one idea"), (dict(ideas={"a": []}), r"ideas\['a'\] must hold at least one text"),
    (dict(ideas=["Be brief."], weights=dict(swap=1)), "weights must give operators"), (dict(ideas=["Be brief."], weights=dict(add=0)), "not all 0"),
])
def test_a_proposer_checks_its_ideas(args, message):
    with pytest.raises(ValueError, match=message): EditProposer(**args)
