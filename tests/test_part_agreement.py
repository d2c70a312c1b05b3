"Observed effects of parts held against randomised ones: flags where a log is confounded and stays silent where it is not, names what it does not compare, says what it would have seen."
import json, re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import causal_prompts as cp
from causal_prompts.banks import Bank
from causal_prompts.collecting import plan, run
from causal_prompts.core import Finding
from causal_prompts.naive import NaiveReward
from causal_prompts.part_agreement import effects_agree
from causal_prompts.part_findings import what_parts_do
from causal_prompts.part_pairs import part_pairs
from causal_prompts.parts import Parts
from causal_prompts.triplets import Triplets
from fakes import Words
from test_collect import model, toy
from test_llm import answer, stub

SENTENCES = np.array(["Think step by step.", "Verify the result.", "You are an expert.", "Be brief.", "Give units.", "Cite a source."])
TRUTH = np.array([.15, .10, 0, -.12, 0, .05])


def text(has): return " ".join(["Solve it.", *SENTENCES[has]])

def scored(seed, rows, **more):
    "A log of (number of the query, which sentences): additive gains, and a hidden difficulty of each query."
    r, hard = np.random.default_rng([seed, 3]), np.random.default_rng([seed, 9]).normal(size=9000)
    table = [(f"query number {i} about {i * 7 % 13}", text(h), h @ TRUTH - .4 * hard[i] + .3 * r.normal()) for i, h in rows]
    return Triplets(pd.DataFrame(table, columns=["query", "prompt", "score"]).assign(**more).drop_duplicates(["query", "prompt"]), score_range=(-9, 9))

def confounded(seed, n=120, prompts=24, k=4):
    "Harder queries receive the prompts with the better sentences."
    r, hard = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 9]).normal(size=9000)
    has = r.random((prompts, 6)) < .5
    gain = has @ TRUTH
    share = np.exp(1.5 * hard[:n, None] * (gain - gain.mean()) / gain.std())
    return scored(seed, [(i, has[j]) for i in range(n) for j in r.choice(prompts, k, replace=False, p=share[i] / share[i].sum())])

def dealt(seed, n=150, first=2000, about=range(6)):
    "One pair a query, which differs in one sentence drawn by chance."
    r, rows = np.random.default_rng([seed, 2]), []
    for i in range(first, first + n):
        h = r.random(6) < .5
        rows += [(i, h), (i, h ^ (np.arange(6) == r.choice(about)))]
    return scored(seed, rows, propensity=2 / 64)

def opened(log, route="within", parts="auto"):
    "A reward as far as its effects of parts need it: no model of whole prompts is fitted."
    reward = NaiveReward(encoder=Words()) if route == "naive" else cp.CausalReward(route, encoder=Words(), parts=parts, learner="kernel", folds=0)
    reward.open(log)
    return reward

def effects(effect, se=.03, **more): return pd.DataFrame(dict(text=SENTENCES[:len(effect)], effect=effect, se=se, **more))


# ---- it flags and it stays silent

def p_values(route, seeds): return np.array([effects_agree(opened(confounded(s), route), opened(dealt(s))).facts["p"] for s in range(seeds)])

def test_sound_effects_are_left_in_peace():
    p = p_values("within", 40)
    assert (p <= .05).sum() <= stats.binom.ppf(.999, 40, .05) and (p <= .01).sum() <= stats.binom.ppf(.999, 40, .01), p

@pytest.mark.parametrize("route", ["naive", "dml"])
@pytest.mark.filterwarnings("ignore")
def test_a_route_that_leaves_the_confounder_open_is_found_out(route):
    "At 480 observed rows and 150 pairs it flags at p <= .05 in at least three logs of four."
    p = p_values(route, 12)
    assert (p <= .05).mean() >= .75 > .05, p

def test_it_says_so_in_a_sentence_with_numbers_and_a_picture():
    found = effects_agree(opened(confounded(1), "naive"), opened(dealt(1, n=400)))
    assert found.verdict == "stop" and found.details.startswith("The observed effects of 6 parts differ from the randomised ones (joint test: F = ")
    top = found.table.iloc[0]
    assert f"{top['observed']:+.3f} observed, {top['randomised']:+.3f} randomised" in found.details and "With 80% power" in found.details and "take the randomised ones" in found.advice
    assert found.form[0] == "forest" and set(found.data["group"]) == {"observed", "randomised"} and found.plot()
    again = Finding.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.reading == found.reading and again.plot() and "stop: differences jointly not zero (p <= 0.01)" in found.threshold
    z = (found.table["difference"].abs() / found.table["se"])
    assert z.is_monotonic_decreasing and (found.table["holm"] >= found.table["p"]).all()


# ---- the numbers

def test_two_tables_by_hand():
    a, b = effects([.10, .02, -.05], se=[.03, .02, .04]), effects([.01, .03, -.05], se=[.04, .02, .03])
    found = effects_agree(a, b, bias=.1)
    t = found.table.set_index("text").loc[SENTENCES[:3]]
    se = np.array([.05, np.sqrt(.0008), .05])
    assert np.allclose(t["se"], se) and np.allclose(t["difference"], [.09, -.01, 0]) and np.allclose(t["hi"] - t["lo"], 2 * 1.96 * se, rtol=1e-3)
    chi2 = (t["difference"]**2 / se**2).sum()
    assert found.facts["F"] == pytest.approx(chi2 / 3) and found.facts["p"] == pytest.approx(stats.chi2.sf(chi2, 3), rel=1e-3)
    assert np.allclose(t["p"], 2 * stats.norm.sf(np.abs(t["difference"]) / se), rtol=1e-3) and t["holm"].iloc[0] == pytest.approx(min(1, 3 * t["p"].iloc[0]))
    assert "came without covariances or rows: estimates are taken as independent" in found.details and found.facts["tables"] == ["observed", "randomised"]
    few = effects_agree(a.assign(df=8), b.assign(df=8), bias=.1).table.set_index("text").loc[SENTENCES[:3]]
    assert np.allclose(few["df"], se**4 / (a["se"]**4 / 8 + b["se"]**4 / 8)) and (few["p"] >= t["p"]).all()

def test_the_bias_that_is_said_to_show_is_found_four_times_of_five():
    r, se = np.random.default_rng(0), np.array([.02, .04, .03, .05, .03, .03])
    table = lambda e: effects(e, se=se)
    seen = effects_agree(table(TRUTH), table(TRUTH + 1e-9), bias=.1).table.set_index("text")["visible"].loc[list(SENTENCES)].to_numpy()
    bias = seen[3] * (np.arange(6) == 3)
    p = [effects_agree(table(TRUTH + bias + se * r.normal(size=6)), table(TRUTH + se * r.normal(size=6)), bias=.1).facts["p"] for _ in range(120)]
    low, high = stats.binom.interval(.999, 120, .8)
    assert low <= (np.array(p) <= .05).sum() <= high
    assert seen[3] > seen[0]

def test_covariances_come_from_queries_and_leave_the_errors_as_they_are():
    a, b = opened(confounded(3)), opened(dealt(3))
    found = effects_agree(a, b)
    own, other = (side.part_effects().set_index("text") for side in (a, b))
    t = found.table.set_index("text")
    assert np.allclose(t["se"], np.sqrt(own["se"]**2 + other["se"]**2).loc[t.index]) and np.allclose(t["observed"], own["effect"].loc[t.index])
    assert found.facts["by"] == "part" and found.facts["shared_queries"] == 0 and "independent" not in found.details
    plain = effects_agree(a.part_effects(), b.part_effects(), score_range=(-9, 9))
    assert np.allclose(plain.table.set_index("text")["se"].loc[t.index], t["se"]) and plain.facts["F"] != pytest.approx(found.facts["F"], rel=1e-6)

def test_the_covariance_of_estimates_is_that_of_repeated_logs():
    "Two parts that hang together in the prompts have estimates that err in opposite directions."
    from causal_prompts.part_estimates import part_estimates
    found, said = [], []
    for seed in range(60):
        r = np.random.default_rng([seed, 5])
        rows = []
        for i in range(60):
            for _ in range(4):
                h = r.random(6) < .5
                if r.random() < .8: h[1] = h[0]
                rows.append((i, h))
        side = part_estimates(opened(scored(seed, rows)), "observed")
        at = side.table.set_index("text").loc[SENTENCES[:2]]
        psi = side.psi[at["part"]].to_numpy()
        found.append(at["effect"].to_numpy())
        said.append((psi.T @ psi)[0, 1] / np.sqrt(np.prod((psi**2).sum(0))))
    r = np.corrcoef(np.array(found).T)[0, 1]
    assert r < -.3 and np.mean(said) == pytest.approx(r, abs=.25)

def test_where_queries_are_hardly_more_than_parts_the_smallest_p_value_decides():
    small = effects_agree(opened(confounded(0, n=10, prompts=16, k=6)), effects(TRUTH))
    assert np.isnan(small.facts["F"]) and small.facts["p"] == pytest.approx(small.table["holm"].min()) and "p values, corrected" in small.details and np.isfinite(small.table["visible"]).all()


# ---- what is not compared is said, and what may not be is refused

def test_what_has_no_partner_is_named():
    a = effects([.1, .02, -.05, .3, .2], company=["", "with Give units.", "", "", ""])
    b = effects([.11, .02, -.05, .1], se=[.03, .03, np.nan, .03], company=["", "", "", ""]).replace(SENTENCES[3], "Sing.")
    found = effects_agree(a, b, bias=.1)
    assert list(found.table["text"]) == [SENTENCES[0]] and found.facts["aside"] == {
        "only in observed": [*SENTENCES[3:5]], "only in randomised": ["Sing."], "without an estimate in randomised": [SENTENCES[2]], "in other company": [SENTENCES[1]]}
    for said in ("only in observed (2)", "'Sing.'", "in other company (1)"): assert said in found.advice

def test_wordings_of_one_part_are_matched_where_both_sides_name_it_alike():
    same = {s: f"part {i}" for i, s in enumerate(SENTENCES)} | {"Reason in steps.": "part 0"}
    other = Triplets(dealt(2).frame.assign(prompt=lambda t: t["prompt"].str.replace(SENTENCES[0], "Reason in steps.", regex=False)).drop(columns="prompt_id"), score_range=(-9, 9))
    fit = lambda log, names: opened(log, parts=Parts.of(log.prompts["prompt"], same=names))
    found = effects_agree(fit(confounded(2), same), fit(other, same))
    assert found.facts["by"] == "part" and len(found.table) == 6 and not found.facts["aside"]
    apart = effects_agree(fit(confounded(2), same), fit(other, None))
    assert apart.facts["by"] == "text" and len(apart.table) == 5 and apart.facts["aside"]["only in randomised"] == ["Reason in steps."]
    ids = effects(TRUTH).assign(part=[f"part {i}" for i in range(6)]).drop(columns="text")
    assert len(effects_agree(fit(confounded(2), same), ids, match="part").table) == 6

def test_rows_of_one_log_are_not_held_against_themselves():
    log = confounded(4)
    with pytest.raises(ValueError, match="must share no rows, got 475 pairs of query and prompt with the same scores in both"): effects_agree(opened(log, "naive"), opened(log))
    both = Triplets(pd.concat([log.frame, dealt(4).frame.drop(columns="propensity")]).drop(columns=["query_id", "prompt_id", "repeat"]), score_range=(-9, 9))
    with pytest.raises(ValueError, match="must share no rows, got 300"): effects_agree(opened(both), opened(dealt(4)))

def test_queries_in_both_logs_are_counted_once():
    found = effects_agree(opened(confounded(5)), opened(dealt(5, first=0)))
    assert found.facts["shared_queries"] == 120 and "120 queries stand in both logs" in found.details
    apart = np.sqrt(sum(opened(log).part_effects().set_index("text")["se"]**2 for log in (confounded(5), dealt(5, first=0))))
    t = found.table.set_index("text")
    assert not np.allclose(t["se"], apart.loc[t.index]) and np.allclose(t["se"], apart.loc[t.index], rtol=.4)

def deviating(seed, first, spread, n=100, prompts=14):
    "A log of prompts that err by themselves, and of queries in which sentences work differently."
    r, differ = np.random.default_rng([seed, 4, first]), np.random.default_rng([seed, 6]).normal(0, .3, (9000, 6))
    has, own, at = r.random((prompts, 6)) < .5, r.normal(0, spread, prompts), range(first, first + n)
    table = [(f"query {i} about {i * 7 % 13}", text(has[j]), has[j] @ (TRUTH + differ[i]) + own[j] + .1 * r.normal()) for i in at for j in r.choice(prompts, 5, replace=False)]
    return Triplets(pd.DataFrame(table, columns=["query", "prompt", "score"]).drop_duplicates(["query", "prompt"]), score_range=(-9, 9))

def plain_influences(log):
    "What each query adds to least squares on six sentences within queries, by hand."
    has = np.array([[s in p for s in SENTENCES] for p in log.frame["prompt"]], float)
    centred = lambda values: values - values.groupby(log.frame["query"].to_numpy()).transform("mean")
    X, y = centred(pd.DataFrame(has, columns=SENTENCES)), centred(pd.Series(log.frame["score"].to_numpy()))
    beta = np.linalg.lstsq(X.to_numpy(), y.to_numpy(), rcond=None)[0]
    pull = X.to_numpy() @ np.linalg.inv(X.T.to_numpy() @ X.to_numpy()) * (y.to_numpy() - X.to_numpy() @ beta)[:, None]
    return pd.DataFrame(pull, log.frame["query"].to_numpy(), SENTENCES).groupby(level=0).sum()

def test_of_shared_queries_only_what_queries_add_is_taken_off():
    "Errors that are wide because prompts deviate share nothing with another log of the same queries."
    for seed in range(3):
        a, b = deviating(seed, 0, 1.), deviating(seed, 50, 0, prompts=30)
        found = effects_agree(opened(a), opened(b)).table.set_index("text")
        own, other = (opened(log).part_effects().set_index("text")["se"]**2 for log in (a, b))
        psi, psi2 = plain_influences(a), plain_influences(b)
        assert (own.loc[SENTENCES] > 2 * (psi**2).sum()).any(), "the errors must be wider than those by query"
        taken = (own + other).loc[found.index] - found["se"]**2
        by_hand = 2 * psi.mul(psi2).sum().loc[found.index]
        assert np.allclose(taken, by_hand, atol=.2 * by_hand.abs().max()), (taken, by_hand)

def test_influences_are_those_of_the_fit_that_holds_lone_parts_fixed():
    "A prompt with a sentence of its own says nothing of the others: with its rows or without, the influences are the same."
    from causal_prompts.part_estimates import part_estimates
    log = deviating(1, 0, 0, prompts=30).frame[["query", "prompt", "score"]]
    odd = log["prompt"].drop_duplicates().iloc[:4]
    own = {p: f"{p} {more}" for p, more in zip(odd, ["Sing loudly.", "Mind every gap here.", "Name two rivers of Peru.", "Whisper."])}
    mine = log["prompt"].isin(odd)
    log = log.assign(prompt=log["prompt"].map(own).fillna(log["prompt"]), score=log["score"] + log["prompt"].map(dict(zip(odd, (4, -4, 3, -3)))).fillna(0))
    with_rows, without = (part_estimates(opened(Triplets(t, score_range=(-9, 9))), "observed") for t in (log, log[~mine]))
    parts = with_rows.table.set_index("text").loc[SENTENCES, "part"]
    r, r2 = (s.psi[parts].corr().to_numpy() for s in (with_rows, without))
    assert np.allclose(r, r2, atol=.1), r - r2

def test_a_comparison_that_could_not_show_a_bias_that_matters_is_no_ok():
    weak, strong = (effects_agree(effects(TRUTH, se=se), effects(TRUTH + 1e-6, se=se), score_range=(0, 1)) for se in (.06, .01))
    assert weak.verdict == "caution" and "A bias of 0.1 could have gone unseen" in weak.advice and strong.verdict == "ok" and strong.advice == ""
    assert effects_agree(effects(TRUTH, se=.06), effects(TRUTH + 1e-6, se=.06), bias=.5).verdict == "ok"
    assert "your word" in effects_agree(effects(TRUTH), opened(confounded(6))).advice and "your word" not in effects_agree(effects(TRUTH), opened(dealt(6))).advice

@pytest.mark.parametrize("a, b, how, match", [
    (effects([.1]), "x", {}, "randomised must be a fitted reward or a table of effects, got str"),
    (effects([.1]).drop(columns="se"), effects([.1]), {}, r"observed must have the columns .* without \['se'\]"),
    (effects([.1]), effects([.1]).drop(columns="text"), {}, r"randomised must have .* without \['part or text'\]"),
    (effects([.1, .2]).assign(part="x"), effects([.1]), {}, "observed must hold every part once, got 'x' twice"),
    (effects([.1, .2]).assign(text="x", part=["a", "b"]), effects([.1]), {}, "every part of observed must have a text of its own, got 'x' twice"),
    (effects([.1]), effects([.1]).assign(text="Sing."), {}, "must share a part whose effect both show, got none .1 only in observed, e.g. 'Think step by step.'; 1 only in randomised"),
    (effects([.1]), effects([.1]), dict(match="words"), "match must be 'part', 'text' or None, got 'words'"),
])
def test_what_cannot_be_compared_is_refused(a, b, how, match):
    with pytest.raises((TypeError, ValueError), match=match): effects_agree(a, b, **dict(bias=.1) | how)

@pytest.mark.parametrize("how, match", [
    (dict(bias=0), "bias must be a finite number of points above 0, got 0"), (dict(bias=-.1), "bias must"), (dict(bias=np.inf), "bias must"), (dict(bias=np.nan), "bias must"),
    (dict(alpha=0), "alpha must be between 0 and 1, e.g. 0.05, got 0"), (dict(alpha=2), "alpha must"), (dict(alpha=5), "alpha must"),
    (dict(level=0), r"level must be above 0 and at most alpha \(0.05\), got 0"), (dict(level=.2), "level must"),
    (dict(power=0), r"power must be between alpha \(0.05\) and 1, e.g. 0.8, got 0"), (dict(power=1.), "power must"), (dict(power=.04), "power must"),
    (dict(score_range=(1, 0), bias=None), r"score_range must be \(lowest, highest\), got \(1, 0\)"),
    (dict(bias=None), "bias= or score_range= must be given where neither side is a reward")])
def test_numbers_to_judge_by_are_checked_at_the_border(how, match):
    with pytest.raises(ValueError, match=match): effects_agree(effects(TRUTH), effects(TRUTH + .01), **dict(bias=.1) | how)

@pytest.mark.parametrize("column, value, match", [
    ("effect", "much", "column 'effect' of randomised must hold numbers, got 'much'"), ("se", "wide", "column 'se' of randomised must hold numbers of at least 0, got 'wide'"),
    ("se", -.02, "column 'se' of randomised must hold numbers of at least 0, got -0.02"), ("df", 0, "column 'df' of randomised must hold numbers of at least .*, got 0"), ("df", "many", "column 'df'")])
def test_what_no_effect_or_error_can_be_is_refused_by_its_column(column, value, match):
    table = effects(TRUTH, df=9).astype({column: object})
    table.loc[2, column] = value
    with pytest.raises(ValueError, match=match): effects_agree(effects(TRUTH + .01), table, bias=.1)

def test_an_error_of_0_or_none_is_no_estimate():
    found = effects_agree(effects(TRUTH), effects(TRUTH + .01, se=[0, np.nan, .03, .03, .03, .03]), bias=.1)
    assert found.facts["aside"] == {"without an estimate in randomised": SENTENCES[:2].tolist()} and len(found.table) == 4

def test_tables_have_no_range_of_scores_and_it_is_not_guessed():
    points = lambda shift: effects(100 * TRUTH + shift, se=6.)
    percent = effects_agree(points(0), points(.1), score_range=(0, 100))
    assert percent.facts["bias"] == 10 and re.search(r"A bias of 10 could have gone unseen; about \d+\.\d times", percent.advice)
    assert effects_agree(effects(TRUTH), opened(confounded(6))).facts["bias"] == pytest.approx(1.8)
    small = effects_agree(points(0), points(.1), bias=.1).advice
    assert "more than a hundred times as much of the log" in small and not re.search(r"\d{3}\.\d times", small)
    with pytest.raises(ValueError, match="must share one score range, got"): effects_agree(effects(TRUTH), opened(confounded(6)), score_range=(0, 1))

def test_logs_that_look_swapped_are_asked_about():
    a, b = opened(confounded(6)), opened(dealt(6))
    assert "are the two swapped?" in effects_agree(b, a).advice and "swapped" not in effects_agree(a, b).advice
    assert "swapped" not in effects_agree(b, opened(dealt(7, first=4000))).advice

def test_the_same_estimates_twice_are_refused():
    table, reward = effects(TRUTH), opened(confounded(7))
    for a, b in ((table, table), (table, table.iloc[::-1].copy()), (reward, reward.part_effects())):
        with pytest.raises(ValueError, match="must be estimated from two logs, got the same effects and errors of all 6 shared parts"): effects_agree(a, b, bias=.1)
    assert len(effects_agree(table, table.assign(se=.04), bias=.1).table) == 6

def test_texts_are_matched_whatever_their_last_stop_and_case():
    loose = effects(TRUTH + .01).assign(text=lambda t: t["text"].str.rstrip(".").str.upper())
    found = effects_agree(effects(TRUTH), loose, bias=.1)
    assert len(found.table) == 6 and not found.facts["aside"]
    steps = pd.DataFrame(dict(text=["Give 2 reasons.", "Give 3 reasons."], effect=[.1, .2], se=.03))
    apart = effects_agree(steps, steps.assign(effect=[.12, .23]), bias=.1).table.set_index("text")["randomised"]
    assert apart.to_dict() == {"Give 2 reasons.": .12, "Give 3 reasons.": .23}, "two texts that differ in a number stay two"

@pytest.mark.filterwarnings("error")
def test_an_empty_company_read_from_a_file_is_no_company(tmp_path):
    effects(TRUTH, company="").to_csv(tmp_path/"effects.csv", index=False)
    table = pd.read_csv(tmp_path/"effects.csv")
    assert table["company"].dtype == float and len(effects_agree(table, effects(TRUTH + .01), bias=.1).table) == 6

def test_a_finding_on_parts_stands_for_its_table():
    a, b = opened(confounded(8)), opened(dealt(8))
    by_tables = effects_agree(a.part_effects(), b.part_effects(), bias=.1).table
    for found in (effects_agree(what_parts_do(a), what_parts_do(b), bias=.1), effects_agree(what_parts_do(a), b.part_effects(), match="part", bias=.1)):
        assert np.allclose(found.table["difference"], by_tables["difference"]) and list(found.table["id"]) == list(by_tables["id"])

# ---- the test of all and the parts one by one

def test_no_interval_of_the_reading_or_the_picture_contradicts_the_test():
    "One difference of five times two errors: its own interval excludes 0, the widened one does not, and neither does the picture."
    found = effects_agree(effects(TRUTH), effects(TRUTH + .03 * np.sqrt(2) * np.array([2.1, 0, 0, 0, 0, .1])), bias=.1)
    top = found.table.iloc[0]
    assert top["lo"] * top["hi"] > 0 > top["wide_lo"] * top["wide_hi"] and "are not distinguishable" in found.details
    assert "1 of 6 intervals that are not widened exclude 0, as about 5% do by chance, and none that are" in found.details
    z = stats.norm.ppf(1 - .05 / 2 / 6)
    assert np.allclose(found.table["wide_hi"] - found.table["difference"], z * found.table["se"], rtol=1e-3)
    assert np.allclose(found.data["hi"] - found.data["effect"], z * .03, rtol=1e-3) and "widened for 6 comparisons" in found.form[1]["xlabel"]

def test_a_part_that_differs_by_itself_is_said_where_the_test_of_all_is_silent():
    found = effects_agree(effects(TRUTH, se=.01), effects(TRUTH + .01 * np.sqrt(2) * np.array([2.8, .1, .1, .1, .1, .1]), se=.01), bias=.1)
    assert found.facts["p"] > .05 >= found.table["holm"].min() and found.verdict == "caution"
    assert "are not distinguishable" in found.details and "but by itself a part does differ, 'Think step by step.' most clearly" in found.details and "may be chance" in found.advice
    many = effects_agree(effects(TRUTH), effects(TRUTH + .03 * np.sqrt(2) * np.array([1.9, -1.9, 1.9, -1.9, 1.9, 1.9])), bias=.1)
    assert many.facts["p"] <= .05 < many.table["holm"].min() and "; no part differs clearly by itself" in many.details

def test_scores_of_two_ranges_are_refused():
    other = Triplets(dealt(0).frame, score_range=(-10, 10))
    with pytest.raises(ValueError, match="must share one score range"): effects_agree(opened(confounded(0)), opened(other))


# ---- pairs that differ in one part

BANK = Bank.of(dict(a="Be kind.", b=["Take care.", "Mind it."], c="Show steps.", d="No steps."), exclusive=[["c", "d"]], base="Answer.")

def apart(bank, pair):
    "Slots in which the two prompts of a pair differ."
    held = bank.presence([pair["prompt"], pair["edited"]])
    slot = bank.parts.set_index("part")["slot"]
    return {slot[p] for p in bank.ids if held[p].nunique() > 1}

def test_a_pair_differs_in_one_slot_and_the_part_stands_in_the_second_prompt():
    pairs = part_pairs(BANK, n=40)
    assert len(pairs) == 40 == len(pairs[["prompt", "edited"]].drop_duplicates()) and set(pairs["change"]) == {"add", "drop", "replace"}
    for pair in pairs.to_dict("records"):
        slots = apart(BANK, pair)
        if "wording" in pair["edit"]: assert not slots and pair["prompt"] != pair["edited"] and pair["change"] == "replace"
        else:
            assert len(slots) == 1
            gained = BANK.presence([pair["prompt"], pair["edited"]])
            part = pair["edit"].split(" instead of ")[0]
            assert gained[part].tolist() == [False, True] and (" instead of " in pair["edit"]) == (pair["change"] == "replace")

def test_every_change_of_a_given_base():
    pairs = part_pairs(BANK, base=["a", "c"])
    assert list(pairs["edit"]) == ["a", "b", "b", "c", "d instead of c"] and list(pairs["change"]) == ["drop", "add", "add", "drop", "replace"]
    assert (pairs["prompt"].iloc[1:3] == "Answer.\nBe kind.\nShow steps.").all() and pairs["edited"][0] == "Answer.\nBe kind.\nShow steps."
    assert list(part_pairs(BANK, base=[["a"], ["b"]], parts=["a"])["change"]) == ["drop", "add"] and len(part_pairs(BANK, base=[], parts="d")) == 1
    assert len(part_pairs(BANK, base=["a", "c"], n=3)) == 3
    need = Bank.of(dict(a="A.", b="B.", c="C."), exclusive=[["a", "b"]], required=["a | b"])
    assert {*part_pairs(need, parts=["a", "b"])["change"]} == {"replace"}

def test_parts_take_turns_and_bases_are_halves():
    bank = Bank.of({f"p{i}": f"Do {i}." for i in range(8)}, base="Answer.")
    pairs = part_pairs(bank, n=400, random_state=1)
    assert (pairs["edit"].value_counts() == 50).all() and pairs.equals(part_pairs(bank, n=400, random_state=1))
    assert stats.binomtest(int((pairs["change"] == "add").sum()), 400, .5).pvalue > .001
    held = bank.presence(pairs["prompt"]).to_numpy().mean()
    assert abs(held - 7 / 16) < .03 # half of the other seven

@pytest.mark.parametrize("how, match", [
    (dict(parts=["z"]), "parts must hold ids of the bank's parts, got 'z'"), (dict(parts=[]), "parts must hold at least one part"), (dict(base=["c", "d"]), "at most one of the parts that exclude"),
    (dict(n=0), "n must be a whole number >= 1"), (dict(n=10**4), "n must be at most"), (dict(base=["a"], n=99), "n must be at most 5, the different pairs found, got 99")])
def test_pairs_that_cannot_be_are_refused(how, match):
    with pytest.raises(ValueError, match=match): part_pairs(BANK, **how)

def test_a_part_that_always_stands_and_a_bank_without_text_are_refused():
    with pytest.raises(ValueError, match="must be able to come or go, got 'a', which is required and has one wording"): part_pairs(Bank.of(dict(a="A.", b="B."), required=["a"]), parts=["a"])
    with pytest.raises(ValueError, match="a prompt must have text when no part is in"): part_pairs(["A.", "B."])

def test_a_plan_of_pairs_records_how_likely_each_prompt_was():
    task, n = toy(24), 200
    table = part_pairs(BANK, n=12)
    cells = pd.concat(plan(task, table, "pairs", k=2, random_state=s).cells for s in range(n))
    met = cells.groupby("prompt_id").agg(said=("propensity", "mean"), seen=("propensity", "size"))
    se = np.sqrt(met["said"] * (1 - met["said"]) / (24 * n))
    assert (abs(met["seen"] / (24 * n) - met["said"]) <= 4 * se + 1e-9).all()
    of_bank = plan(task, Bank.of(dict(a="Be kind.", b="Take care.")), "pairs", k=1)
    assert len(of_bank) == 48 and of_bank.prompts["prompt"].str.startswith(task.baseline).all() and of_bank.cells["propensity"].between(0, 1).all()
    first = of_bank.cells.groupby("query_id", sort=False)["prompt_id"].first()
    without = of_bank.pairs.set_index("query_id")["prompt_id"].loc[first.index]
    assert 4 <= (first == without).sum() <= 20, "which of the two is asked first is left to chance"

def test_a_collected_plan_of_pairs_gives_effects_to_compare():
    task = toy(60)
    with stub(lambda n, b: answer(re.search(r"question (\d+)", b["messages"][0]["content"])[1] if "Be kind." in b["messages"][0]["content"] else "?")) as server:
        got = run(plan(task, part_pairs(BANK, parts=["a", "c", "d"], n=20), "pairs", k=1), model(server), show=False)
    gains = got.pairs()
    assert len(gains) == 60 and {*gains["edit"]} <= {"a", "c", "d", "d instead of c"} and (gains["gain"] == (gains["edit"] == "a")).all()
    log = got.triplets()
    assert log.frame["propensity"].between(0, 1).all() and log.design().verdict == "ok"
