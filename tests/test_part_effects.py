"""Prompts as parts: effects of parts recover a known truth where raw means fail, what cannot be separated is named, and the kernel can score what nobody tried."""
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import causal_prompts as cp
from causal_prompts.banks import Bank
from causal_prompts.factorial import factorial
from causal_prompts.kernel import BLOCKS, ProductKernel
from causal_prompts.inference import clustered, false_discovery
from causal_prompts.part_effects import dependent_columns, grouped_columns, indicators, pair_effects, pairs_left, part_columns, part_effects, parts_of, tallies
from causal_prompts.part_space import PART_BLOCKS, PartSpace
from causal_prompts.parts import Parts
from causal_prompts.routes import Within
from causal_prompts.rows import Source, expected_score
from causal_prompts.world_texts import IDEAS
from fakes import Words

SENTENCES = ["Think step by step.", "Verify the result.", "You are an expert.", "Be brief.", "Give units.", "Cite a source."]
TRUTH = np.array([.30, .20, 0, -.25, 0, .10])
WORDINGS = {text: idea for idea, texts in IDEAS.items() for text in texts}


def made_log(seed, n_q=150, n_p=30, k=4, pair=0., noise=.3, has=None):
    "A log of prompts that are random halves of six sentences, their gains additive but for one pair; the raw order is upside down."
    rng = np.random.default_rng(seed)
    has = rng.random((n_p, 6)) < .5 if has is None else np.asarray(has, bool)
    prompts = [" ".join(["Solve it.", *[s for s, on in zip(SENTENCES, row) if on]]) for row in has]
    gain, hard = has @ TRUTH + pair * (has[:, 0] & has[:, 1]), rng.normal(size=n_q)
    rows = []
    for i in range(n_q): # harder queries receive prompts with the good sentences
        steer = np.exp(1.5 * hard[i] * (gain - gain.mean()) / gain.std())
        for j in rng.choice(n_p, k, replace=False, p=steer / steer.sum()):
            rows.append((f"query number {i} about {i * 7 % 13}", prompts[j], gain[j] - .6 * hard[i] + noise * rng.normal()))
    return cp.Triplets(
        pd.DataFrame(rows, columns=["query", "prompt", "score"]), score_range=(-9, 9))

def effects_of(log, **how):
    rows = Within().open(Source(log, Words()))
    return rows, part_effects(rows, rows.y - expected_score(rows)[0], Parts.of(rows.prompts), **how).set_index("text")


def test_parts_recover_the_truth_where_raw_means_are_upside_down():
    log = made_log(0)
    _, table = effects_of(log)
    found = table["effect"].reindex(SENTENCES)
    assert (np.abs(found - TRUTH) < 3 * table["se"].reindex(SENTENCES)).all()
    f = log.frame
    raw = np.array([f["score"][f["prompt"].str.contains(s, regex=False)].mean() - f["score"][~f["prompt"].str.contains(s, regex=False)].mean()
                    for s in SENTENCES])
    assert (raw[[0, 1]] < 0).all() and raw[3] > 0, "raw means must be fooled here, or the test shows nothing"
    q = table["q"].reindex(SENTENCES).to_numpy()
    assert q[[0, 1, 3]].max() < .01 and (q[[2, 4]] > .05).all()


def test_coefficients_are_least_squares_of_residuals_on_residuals():
    rows, table = effects_of(made_log(1))
    P, levels, found = part_columns(rows, Parts.of(rows.prompts))
    X = rows.route.residual(rows, P[rows.p])
    fit = sm.OLS(rows.route.residual(rows, rows.y), X).fit()
    by_part = table.set_index("part")["effect"].reindex(levels)
    assert np.allclose(by_part, fit.params, atol=1e-9)


def test_intervals_hold_the_truth_as_often_as_they_say():
    inside = []
    for seed in range(60):
        _, table = effects_of(made_log(100 + seed, n_q=40, n_p=20))
        t = table.reindex(SENTENCES)
        inside.append((t["lo"] <= TRUTH) & (TRUTH <= t["hi"]))
    share = np.mean(inside)
    assert .92 <= share <= .99, share # 360 intervals of 60 logs


def own_log(seed, n_p, k, per, own, n_q=120):
    "A log of prompts that do more or less than their parts say, and by part what these do on average."
    rng = np.random.default_rng([seed, n_p])
    has = np.array(list(np.ndindex(*[2] * k)))[rng.permutation(2**k)[:n_p]]
    prompts = [" ".join(["Solve it.", *[s for s, on in zip(SENTENCES, row) if on]]) for row in has]
    gain, slopes, rows = has @ TRUTH[:k] + rng.normal(0, own, n_p), rng.normal(0, .08, (n_q, k)), []
    for i in range(n_q):
        level = rng.random()
        for j in rng.choice(n_p, per, replace=False): rows.append((f"query number {i}", prompts[j], level + gain[j] + has[j] @ slopes[i] + rng.normal(0, .05)))
    return cp.Triplets(pd.DataFrame(rows, columns=["query", "prompt", "score"]), score_range=(-9, 9))

@pytest.mark.parametrize("own, least, most", [(.05, .925, .985), (0., .925, .99)])
def test_intervals_hold_where_prompts_have_effects_of_their_own(own, least, most):
    inside, spare = [], []
    for seed in range(25):
        for n_p, k, per in ((10, 4, 4), (20, 5, 2), (28, 5, 4)):
            t = effects_of(own_log(seed, n_p, k, per, own))[1].dropna(subset="effect")
            truth = t.index.map(dict(zip(SENTENCES, TRUTH)))
            inside += list((t["lo"] <= truth) & (truth <= t["hi"]))
            assert (t["errors"] == "by query and prompt").all() and len(t) <= k
            spare += list(t["df"] <= n_p - 1 - k)
    assert least <= np.mean(inside) <= most, np.mean(inside)
    assert own == 0 or np.mean(spare) > .8, "with ten prompts nobody has a hundred degrees of freedom"


def test_parts_that_always_stand_together_are_one_and_name_each_other():
    rng = np.random.default_rng(3)
    has = rng.random((20, 6)) < .5
    has[:, 1] = has[:, 0]
    has[:, 5] = ~has[:, 4]
    _, table = effects_of(made_log(3, n_p=20, has=has))
    assert len(table) == 4 and set(table.index) & set(SENTENCES[:2]) and len(set(table.index) & set(SENTENCES[:2])) == 1
    together = table.loc[[t for t in table.index if t in SENTENCES[:2]][0]]
    assert together["company"].startswith("with ") and abs(together["effect"] - .5) < 3 * together["se"]
    instead = table.loc[[t for t in table.index if t in SENTENCES[4:]][0]]
    assert instead["company"].startswith("in place of ")


def test_parts_that_depend_on_each_other_have_no_estimate_and_say_with_whom():
    rng = np.random.default_rng(4)
    has = np.zeros((24, 6), bool)
    has[np.arange(24), np.arange(24) % 3] = True # exactly one of the first three in every prompt
    has[:, 3:] = rng.random((24, 3)) < .5
    _, table = effects_of(made_log(4, n_p=24, has=has))
    first, rest = table.loc[[t for t in SENTENCES[:3]]], table.loc[SENTENCES[3:]]
    assert first["effect"].isna().all() and first["apart"].str.len().min() > 10
    assert rest["effect"].notna().all() and (np.abs(rest["effect"] - TRUTH[3:]) < 3 * rest["se"]).all() and (rest["apart"] == "").all()


def test_parts_of_which_every_prompt_holds_as_many_are_measured_against_their_average():
    from itertools import combinations
    has = np.array([[*(i in two for i in range(5)), n % 3 == 0] for n, two in enumerate(combinations(range(5), 2))], bool)
    truth, se, z = TRUTH[:5] - TRUTH[:5].mean(), [], []
    for seed in range(30):
        _, table = effects_of(made_log(200 + seed, has=has, n_p=10, n_q=60, k=3))
        inside = table.loc[SENTENCES[:5]]
        assert inside["effect"].sum() == pytest.approx(0, abs=1e-9) and table["se"].notna().all() and (inside["company"] == "").all()
        assert set(inside["apart"]) == {"against the average of these 5, of which every prompt holds 2"} and table.loc[SENTENCES[5], "apart"] == ""
        z.append((inside["lo"] <= truth) & (truth <= inside["hi"]))
        free = table.loc[SENTENCES[5]]
        assert abs(free["effect"] - TRUTH[5]) < 5 * free["se"]
    assert .9 < np.mean(z) <= 1 and np.mean([x.iloc[-1] for x in z]) > .85, "the part that the others imply has its own error"
    by_hand = sm.OLS(*design_of(made_log(200, has=has, n_p=10, n_q=60, k=3))).fit().params # least norm: its sum is 0
    found = effects_of(made_log(200, has=has, n_p=10, n_q=60, k=3))[1]["effect"]
    assert np.allclose(found.loc[list(by_hand.index)], by_hand, atol=1e-8)

def design_of(log):
    rows = Within().open(Source(log, Words()))
    P, levels, found = part_columns(rows, Parts.of(rows.prompts))
    texts = found.drop_duplicates("part").set_index("part")["text"]
    return rows.route.residual(rows, rows.y), pd.DataFrame(rows.route.residual(rows, P[rows.p]), columns=[texts[l] for l in levels])


def test_a_part_is_named_by_its_wording_of_most_rows():
    log = made_log(6)
    loud = {p for i, p in enumerate(log.prompts["prompt"]) if i % 4 == 3}
    plain = log.frame["prompt"].isin(loud)
    wide = log.frame["prompt"].isin({p for i, p in enumerate(log.prompts["prompt"]) if i % 4 == 1})
    said = log.frame["prompt"].where(~plain, log.frame["prompt"].str.upper()).where(~wide, log.frame["prompt"].str.replace(" ", "  "))
    _, table = effects_of(cp.Triplets(log.frame[["query", "score"]].assign(prompt=said), score_range=(-9, 9)))
    assert set(table.index) == set(SENTENCES) and (table["wordings"] == 2).all(), "white space makes no wording of its own"
    assert (effects_of(log)[1]["wordings"] == 1).all()
    rows = Within().open(Source(cp.Triplets(log.frame[["query", "score"]].assign(prompt=said), score_range=(-9, 9)), Words()))
    pairs = pair_effects(rows, rows.y - expected_score(rows)[0], Parts.of(rows.prompts))
    assert {*pairs["first"], *pairs["second"]} <= set(SENTENCES)


def test_a_pair_is_found_beside_its_parts():
    log = made_log(5, n_q=400, n_p=40, pair=.4)
    rows = Within().open(Source(log, Words()))
    table = pair_effects(rows, rows.y - expected_score(rows)[0], Parts.of(rows.prompts))
    assert len(table) == 15 and set(table.loc[0, ["first", "second"]]) == set(SENTENCES[:2])
    assert abs(table.loc[0, "effect"] - .4) < 3 * table.loc[0, "se"] and (table["q"][1:] > .01).all()


def test_groups_and_dependence_of_columns():
    P = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 0, 1]], float)
    assert list(grouped_columns(P)) == [0, 0, 0, 3]
    X = np.random.default_rng(0).normal(size=(50, 3))
    mixed = dependent_columns(np.c_[X, X[:, 0] + X[:, 1]], np.ones(50))
    assert list(mixed.any(0)) == [True, True, False, True]
    assert np.allclose(false_discovery([.01, np.nan, .04]), [.02, np.nan, .04], equal_nan=True)


def pairs_of(log, route="within"):
    reward = cp.CausalReward(route, learner="kernel", folds=0, encoder=Words()).fit(log)
    return reward.interactions()

def named_pair(row): return frozenset(SENTENCES.index(row[k]) for k in ("first", "second"))

@pytest.mark.parametrize("sign, word", [(0, "same as"), (1, "opposite of")])
def test_pairs_that_a_fraction_cannot_tell_apart_are_one_row(sign, word):
    cube = np.indices((2,) * 3).reshape(3, -1).T
    has = np.c_[cube, (cube.sum(1) + sign) % 2, np.zeros((8, 2), int)] # 2^(4-1), resolution IV: ab is cd, ac is bd, ad is bc
    log = made_log(17, n_q=400, n_p=8, has=has, pair=.4)
    table = pairs_of(log)
    assert len(table) == 3 and table["effect"].notna().all() and table["p"].nunique() == 3
    for _, row in table.iterrows():
        own = named_pair(row)
        alias = frozenset(range(4)) - own
        assert row["company"].startswith(word) and ";" not in row["company"]
        assert {i for i in range(6) if SENTENCES[i] in row["company"]} == alias
        true = .4 * ((own == {0, 1}) + (-1)**sign * (alias == {0, 1}))
        assert abs(row["effect"] - true) < 3.5 * row["se"], row
    whole = made_log(17, n_q=400, n_p=16, has=np.c_[np.indices((2,) * 4).reshape(4, -1).T, np.zeros((16, 2), int)])
    every = pairs_of(whole)
    assert len(every) == 6 and (every["company"] == "").all()


def test_a_pair_that_single_parts_make_up_in_the_prompts_has_no_estimate():
    a, b, free = np.indices((2,) * 3).reshape(3, -1)
    has = np.c_[a, b, a ^ b, free, np.zeros((8, 2), int)] # ab = (a + b - c) / 2
    by_hardness, rng = [], np.random.default_rng(0)
    prompts = made_log(18, n_p=8, has=has, n_q=1, k=8).prompts["prompt"].sort_values(key=lambda p: p.str.contains(SENTENCES[0])).tolist()
    for i in range(600): # what is expected of each column is learned on its own, so that what is left of them need not depend
        hard = rng.random()
        prompt = prompts[rng.choice(8, p=np.repeat([1, np.exp(2 * hard)], 4) / (4 + 4 * np.exp(2 * hard)))]
        by_hardness.append(dict(query=f"query {i} of {i * 7 % 31} words", prompt=prompt, hard=hard, score=.3 * rng.normal() - hard))
    learned = cp.Triplets(pd.DataFrame(by_hardness), score_range=(-9, 9), covariates=["hard"])
    for table in (pairs_of(made_log(18, n_p=8, has=has)), pairs_of(learned, "dml")):
        known = {named_pair(row) for _, row in table.iterrows() if np.isfinite(row["effect"])}
        assert known == {frozenset(p) for p in ((0, 3), (1, 3), (2, 3))} and len(table) == 6


def test_rounding_is_no_variation():
    rng = np.random.default_rng(0)
    still = .1 + .2 - .3 + np.zeros((60, 1)) # 5.6e-17
    assert dependent_columns(still).all() and dependent_columns(1e-16 * rng.normal(size=(60, 3)), np.full(60, 1e-3)).diagonal().all()
    varied = rng.random((60, 2)) < .5
    varied = varied - varied.mean(0)
    assert not dependent_columns(varied).any() and dependent_columns(np.c_[varied, still]).tolist() == np.diag([False, False, True]).tolist()
    once = np.zeros((10**6, 1))
    once[0] = 1 # one row of a million is variation
    assert not dependent_columns(once - once.mean()).any()
    left, _, same = pairs_left(still, np.c_[varied, -varied[:, :1], still, 2 * still])
    assert (left[:3] > .99).all() and not left[3:].any()
    assert same.tolist() == [[0, 0, -1, 0, 0], [0] * 5, [-1, 0, 0, 0, 0], [0] * 5, [0] * 5]


def test_a_rare_one_of_three_is_tied_to_the_others():
    which = np.r_[np.arange(50_000) % 2, 2]
    X = np.eye(3)[which]
    assert dependent_columns(X - X.mean(0)).all()


def test_what_stands_twice_counts_twice_and_is_there_once():
    prompt, level = np.array([0, 0, 1, 2]), np.array(["a", "a", "b", "c"], object)
    assert tallies(prompt, level, 3, ["b", "a"]).tolist() == [[0, 2], [1, 0], [0, 0]]
    assert indicators(prompt, level, 3, ["b", "a"]).tolist() == [[0, 1], [1, 0], [0, 0]]
    assert tallies(prompt, level, 3, []).shape == (3, 0)


def test_by_level_and_where_nothing_is_shared():
    log = made_log(6)
    f = log.frame[["query", "prompt", "score"]].assign(task=np.where(log.frame["query"].str[-1].isin(list("02468")), "even", "odd"))
    reward = cp.CausalReward("within", learner="kernel", folds=0, encoder=Words()).fit(cp.Triplets(f, score_range=(-9, 9)))
    table = reward.part_effects(by="task")
    assert set(table["task"]) == {"even", "odd"} and len(table) == 12 and table["q"].notna().all()
    with pytest.raises(ValueError, match="by must be a column of the log"): reward.part_effects(by="kind")
    lone = made_log(7, has=np.eye(6, dtype=bool), n_p=6)
    assert len(effects_of(lone)[1]) == 0
    with pytest.raises(ValueError, match="fit with parts='auto'"):
        cp.CausalReward("within", learner="kernel", folds=0, encoder=Words(), parts=None).fit(log).part_effects()
    with pytest.raises(ValueError, match="parts must be 'auto', None or a Parts, got 'none'"):
        cp.CausalReward(parts="none", encoder=Words()).fit(log)


def test_an_encoder_of_whole_prompts_is_told_of():
    class Whole(Words):
        def encode(self, texts, role="prompt"):
            if role == "prompt" and any(not t.startswith("Solve it.") or t == "Solve it." for t in texts): raise KeyError("no such prompt")
            return super().encode(texts, role)
    prompts = ["Solve it. Think.", "Solve it. Check.", "Solve it. Think. Check."]
    with pytest.warns(UserWarning, match="cannot read the prompts' sentences"): parts = parts_of(prompts, Whole())
    assert parts.encoder is None and len(parts) == 3


def test_where_prompts_share_no_parts_the_kernel_is_what_it_was():
    log = made_log(8, has=np.eye(6, dtype=bool), n_p=6)
    rows = Within().open(Source(log, Words()))
    space = PartSpace(Parts.of(rows.prompts))
    plain, with_parts = ProductKernel().fit(rows), ProductKernel(made_of=space).fit(rows)
    assert space.sizes == [0] * len(PART_BLOCKS)
    assert np.array_equal(plain.w, with_parts.w) and np.array_equal(plain.var, with_parts.var)


def test_a_combination_nobody_tried_is_scored_by_its_parts():
    rng = np.random.default_rng(9)
    gained = []
    for seed in range(4):
        log = made_log(20 + seed, n_q=200, n_p=16)
        logged = set(log.prompts["prompt"])
        every = [" ".join(["Solve it.", *[s for s, on in zip(SENTENCES, row) if on]]) for row in np.indices((2,) * 6).reshape(6, -1).T]
        new = [p for p in every if p not in logged]
        truth = np.array([sum(t for s, t in zip(SENTENCES, TRUTH) if s in p) for p in new])
        corr = {}
        for name, parts in (("whole", None), ("parts", "auto")):
            reward = cp.CausalReward("within", learner="kernel", folds=0, encoder=Words(), parts=parts).fit(log)
            corr[name] = np.corrcoef(reward.effect(["one query"], new)[0], truth)[0, 1]
        gained.append((corr["parts"], corr["whole"]))
    parts, whole = np.mean(gained, 0)
    assert parts > .9 and parts > whole, gained


def test_unknown_parts_widen_and_survive_a_file(tmp_path):
    log = made_log(10)
    reward = cp.CausalReward("within", learner="kernel", folds=0, encoder=Words()).fit(log)
    space, logged = reward.model_.made_of, list(log.prompts["prompt"][:3])
    parts, wordings = space.unknown([*logged, "Solve it. Sing a song. Dance a jig.", "Be brief."])
    assert list(parts) == [0, 0, 0, 2, 1] and not wordings.any() # the last lacks what every logged prompt holds
    reward.save(tmp_path/"reward.zip")
    again = cp.loading.load_reward(tmp_path/"reward.zip", encoder=Words())
    asked = ["a query"], [*logged, "Solve it. Be brief. Sing a song."]
    assert np.array_equal(again.effect(*asked), reward.effect(*asked))
    assert np.allclose(again.effect_interval(*asked), reward.effect_interval(*asked))
    assert again.parts_.table["part"].tolist() == reward.parts_.table["part"].tolist()


def test_a_kernel_written_before_parts_is_read():
    rows = Within().open(Source(made_log(11), Words()))
    kernel = ProductKernel().fit(rows)
    state = kernel.state()
    at = [BLOCKS.index(b) for b in ("smooth", "own", "smooth x query")]
    before = {k: v for k, v in state.items() if k != "made_of"} | dict(var=state["var"][at], dims=[state["dims"][i] for i in at])
    again, E = ProductKernel.from_state(before), Words().encode(["Solve it."])
    assert np.array_equal(again.score(["q"], E, ["Solve it."], E), kernel.score(["q"], E, ["Solve it."], E))


def test_a_combination_of_what_was_tried_is_inside_and_what_was_not_is_named():
    rng = np.random.default_rng(12)
    has = rng.random((25, 6)) < .5
    has[:, 5] &= ~has[:, 4] # the last two never stand together
    log = made_log(12, n_p=25, has=has)
    reward = cp.CausalReward("within", learner="kernel", folds=0, encoder=Words()).fit(log)
    logged, every = set(log.prompts["prompt"]), []
    for row in np.indices((2,) * 5).reshape(5, -1).T:
        every.append(" ".join(["Solve it.", *[s for s, on in zip(SENTENCES, row) if on]]))
    near = reward.support([p for p in every if p not in logged])
    assert near["inside"].all() and (near["new_parts"] == "").all() and (near["new_pairs"] == 0).all()
    odd = reward.support(["Solve it. Give units. Cite a source.", "Solve it. Whistle a tune while thinking of the sea.", "Be brief."])
    assert list(odd["new_pairs"]) == [1, 0, 0]
    assert odd["new_parts"].tolist() == ["", "Whistle a tune while thinking of the sea.", "without Solve it."]


def by_task(route_columns, seed=0, n=600):
    "Every prompt says exactly one of three sentences, and ends by its task; the tasks differ in level."
    rng, rows = np.random.default_rng(seed), []
    for i in range(n):
        task, v, u = rng.choice(["a", "b"]), rng.integers(3), rng.random() < .5
        prompt = " ".join([*([SENTENCES[0]] if u else []), SENTENCES[1 + v], "Work on it." if task == "a" else "Start now."])
        rows.append(dict(query=f"query {i} of {i * 7 % 31} words", prompt=prompt, task=task, propensity=1 / 12,
                         score=(1 if task == "a" else -1) + .3 * (v == 0) + .3 * u + .3 * rng.normal()))
    return cp.Triplets(pd.DataFrame(rows)[["query", "prompt", "score", "task", *route_columns]], score_range=(-9, 9))

@pytest.mark.parametrize("route, columns", [("weighted", ["propensity"]), ("dml", [])])
@pytest.mark.filterwarnings("ignore")
def test_levels_are_read_on_their_own_and_what_must_depend_has_no_estimate(route, columns):
    reward = cp.CausalReward(route, learner="kernel", folds=0, encoder=Words()).fit(by_task(columns))
    table = reward.part_effects(by="task").set_index(["task", "text"])
    for task in ("a", "b"):
        one_of = table.loc[task].reindex(SENTENCES[1:4])
        assert one_of["effect"].isna().all() and (one_of["apart"].str.len() > 5).all(), "just one of three is always there"
        free = table.loc[(task, SENTENCES[0])]
        assert abs(free["effect"] - .3) < 4 * free["se"] and free["se"] < .1
    named = reward.log_.frame.assign(family="x")[["query", "prompt", "score", "family", *columns]]
    other = cp.CausalReward(route, learner="kernel", folds=0, encoder=Words()).fit(cp.Triplets(named, score_range=(-9, 9)))
    with pytest.raises(ValueError, match="by must not be a name of the table"): other.part_effects(by="family")


def test_one_query_gives_no_error_and_no_p_value():
    log = made_log(13)
    first = log.frame["query"].iloc[0]
    f = log.frame[["query", "prompt", "score"]].assign(task=np.where(log.frame["query"] == first, "one", "rest"))
    table = cp.CausalReward("within", learner="kernel", folds=0, encoder=Words()).fit(cp.Triplets(f, score_range=(-9, 9))).part_effects(by="task")
    one = table[table["task"] == "one"]
    assert one["se"].isna().all() and one["p"].isna().all() and one["q"].isna().all()
    assert table.loc[table["task"] == "rest", "q"].notna().all()


def test_no_more_prompts_than_parts_is_said():
    has = np.array([[0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [1, 0, 1, 0, 0, 0]], bool)
    _, table = effects_of(made_log(14, has=has, n_p=4, k=3))
    assert len(table) == 3 and (table["errors"] == "by query alone").all()
    assert (effects_of(made_log(0))[1]["errors"] == "by query and prompt").all()


def test_parts_named_by_hand_and_their_families_are_used_and_kept(tmp_path):
    log = made_log(15)
    prompts = list(log.prompts["prompt"])
    blocks = {"both": f"{SENTENCES[0]} {SENTENCES[1]}", "brief": SENTENCES[3]}
    parts = Parts.of(prompts, named=blocks).with_families({SENTENCES[3]: "mine"})
    reward = cp.CausalReward("within", learner="kernel", folds=0, encoder=Words(), parts=parts).fit(log)
    table = reward.part_effects().set_index("part")
    assert {"both", "brief"} <= set(table.index) and table.loc["brief", "family"] == "mine" and not any("new: " in p for p in table.index)
    titled = [("# Be careful\n" if i % 2 else "") + p + ("\nBe careful" if i % 3 else "") for i, p in enumerate(prompts)]
    log = cp.Triplets(log.frame[["query", "score"]].assign(prompt=log.frame["prompt"].map(dict(zip(prompts, titled)))), score_range=(-9, 9))
    reward = cp.CausalReward("within", learner="kernel", folds=0, encoder=Words()).fit(log)
    reward.save(tmp_path/"r.zip")
    again = cp.loading.load_reward(tmp_path/"r.zip", encoder=Words())
    assert np.array_equal(again.effect(["q"], titled[:4]), reward.effect(["q"], titled[:4]))


def test_what_prompt_and_baseline_share_adds_no_doubt():
    log = made_log(16)
    asked = ["a query"], ["Whistle a tune. Solve it. Be brief."]
    width = {}
    for base in ("Whistle a tune. Solve it.", "Solve it."):
        reward = cp.CausalReward("within", learner="kernel", folds=0, encoder=Words(), baseline=base)
        lo, hi = reward.fit(log).effect_interval(*asked)
        width[base] = float((hi - lo)[0, 0])
    assert width["Whistle a tune. Solve it."] < width["Solve it."]


def factorial_log(world, calls, seed=0):
    "A log of prompts that are random halves of the world's ideas; most prompts occur once."
    bank = Bank.of({idea: wordings[0] for idea, wordings in IDEAS.items()}, base=world.baseline)
    queries = world.queries(calls, seed)["query"]
    plan = factorial(bank, queries, calls, random_state=seed)
    text = dict(zip(plan.prompts["prompt_id"], plan.prompts["prompt"]))
    f = pd.DataFrame(dict(query=plan.cells["query_id"], prompt=plan.cells["prompt_id"].map(text), propensity=plan.cells["propensity"]))
    value = world.value(list(queries), list(text.values()))
    at = pd.Index(queries).get_indexer(f["query"]), pd.Index([*text.values()]).get_indexer(f["prompt"])
    return bank, cp.Triplets(f.assign(score=(np.random.default_rng(seed).random(len(f)) < value[at]).astype(float)))

def test_the_luck_of_a_single_row_is_no_effect_of_its_prompt():
    share = {"reward": [], "luckiest row": []}
    for seed in range(4):
        world = cp.World.preset("compositional", seed=seed)
        bank, log = factorial_log(world, 300, seed)
        sets = [bank.prompt(ids) for ids in bank.sets(most=4096)]
        truth = world.quality(sets)
        gain = (truth - world.quality([world.baseline])) / (truth.max() - world.quality([world.baseline]))
        reward = cp.CausalReward(learner="kernel", folds=0, baseline=world.baseline).fit(log)
        assert not reward.model_.seen, "prompts used on one query each have no effect of their own to show"
        share["reward"].append(gain[reward.levels(list(log.queries["query"][:60]), sets).mean(0).argmax()])
        mean = log.frame.groupby("prompt")["score"].mean()
        share["luckiest row"].append(gain[sets.index(mean.index[mean.argmax()])])
    assert np.mean(share["reward"]) > .7 and np.mean(share["luckiest row"]) < .4, share

def test_prompts_have_an_effect_of_their_own_where_the_log_can_tell_it():
    def own(counts, sentences): # how many queries each prompt meets -> how many of them have an effect of their own
        prompts = [" ".join(["Solve it.", *[s for s, on in zip(sentences(i), np.arange(6) >> i % 4 & 1) if on], *sentences(i)[:1]]) for i in range(len(counts))]
        rows = [(f"query {q} of many", p, float((q + i) % 3 == 0)) for i, (p, n) in enumerate(zip(prompts, counts)) for q in range(n)]
        return len(cp.CausalReward(route="dml", learner="kernel", folds=0, encoder=Words()).fit(cp.Triplets(pd.DataFrame(rows, columns=["query", "prompt", "score"]))).model_.seen)
    shared, apart = lambda i: [*SENTENCES[i % 5:], *SENTENCES[:i % 5]], lambda i: [f"{'abcdefghij'[i]}{j} say it so" for j in range(6)]
    assert own([40] * 6, shared) == 6
    assert own([30, *[4] * 9], shared) == 0 # of the few that could, nobody can tell how prompts vary
    assert own([40, *[4] * 9], apart) == 10 and own([40, 3, 1], apart) == 2

def test_layout_is_what_the_parts_do_not_settle():
    has = np.random.default_rng(0).random((40, 6)) < .5
    prompts = list(dict.fromkeys(" ".join(["Solve it.", *[s for s, on in zip(SENTENCES, row) if on]]) for row in has))
    layout = lambda texts: PartSpace(Parts.of(texts)).fit(texts)
    made = layout(prompts)
    assert made.sizes[-1] == 0 # a bank in its order: the parts make the length and the place
    turned = [" ".join(["Solve it.", *np.random.default_rng(i).permutation([s for s, on in zip(SENTENCES, row) if on])]) for i, row in enumerate(has)]
    moved = layout(list(dict.fromkeys(turned)))
    assert len(moved.length) == 0 and len(moved.moved) == 6
    wordy = [p + f" Mind {'w' * (i + 1)}" + " and so on" * (i * 7 % 30) + "." for i, p in enumerate(prompts)] # a sentence of its own
    assert len(layout(wordy).length) == 2

def test_errors_of_the_first_columns_are_those_of_a_fit_that_gives_all():
    rng = np.random.default_rng(0)
    X, cluster = rng.normal(size=(120, 6)), rng.integers(0, 30, 120)
    cluster, y = pd.factorize(cluster)[0], rng.normal(size=120)
    whole, some = (clustered(X, y, cluster, np.ones(120), first=first) for first in (None, 2))
    for name in ("se", "df"):
        assert some[name].shape == (2,)
        np.testing.assert_allclose(some[name], whole[name][:2], rtol=1e-12)
    np.testing.assert_array_equal(some["beta"], whole["beta"])
