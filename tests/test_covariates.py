"One coder of covariates: what a column is taken for, and that what is said to be adjusted for is adjusted for, by every page alike."
import datetime, warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fakes import Words

import causal_prompts as cp
from causal_prompts.covariates import adjusted_for, as_times, code_covariate, code_covariates, design_columns, is_name
from causal_prompts.graph import PromptGraph
from causal_prompts.inference import contrasts, spread_kept
from causal_prompts.routes import usable_covariates
from causal_prompts.rows import covariate_matrix
from causal_prompts.two_prompts import not_held

PLAIN, CAREFUL = "Answer.", "Answer politely and in detail."
N = 1200
STAMP = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(N) * 600, unit="s"))
SECOND = pd.Series(1704067200 + 600 * np.arange(N))

SPELLINGS = dict(
    stamp=STAMP, zone=STAMP.dt.tz_localize("Europe/Berlin"), iso=STAMP.dt.strftime("%Y-%m-%d %H:%M:%S"), z=STAMP.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), offset=STAMP.dt.strftime("%Y-%m-%dT%H:%M:%S+02:00"),
    utc=STAMP.dt.strftime("%Y-%m-%d %H:%M:%S UTC"), hour=STAMP.dt.strftime("%Y-%m-%d %H"), day=STAMP.dt.strftime("%Y-%m-%d"), german=STAMP.dt.strftime("%d.%m.%Y %H:%M"), american=STAMP.dt.strftime("%m/%d/%Y %I:%M %p"),
    mail=STAMP.dt.strftime("%a, %d %b %Y %H:%M:%S GMT"), server=STAMP.dt.strftime("%d/%b/%Y:%H:%M:%S +0000"), month_name=STAMP.dt.strftime("%B %d, %Y"), python=pd.Series(list(STAMP.dt.to_pydatetime()), dtype=object),
    date=pd.Series(list(STAMP.dt.date), dtype=object), period=pd.Series(STAMP.dt.to_period("h")), category=pd.Series(pd.Categorical(STAMP)), epoch=SECOND, milliseconds=SECOND * 1000, nanoseconds=SECOND * 10**9,
    fractions=SECOND + .5, epoch_text=SECOND.astype(str), written=STAMP.dt.strftime("%Y%m%d").astype(int), arrow=STAMP.astype("timestamp[ns][pyarrow]"), gaps=STAMP.dt.strftime("%Y-%m-%d %H:%M").where(np.arange(N) > 99, None),
    unknown=STAMP.dt.strftime("%Y-%m-%d %H:%M").where(np.arange(N) > 9, "unknown"))
SPANS = dict(timedelta=pd.Series(pd.to_timedelta(np.arange(N) * 600, unit="s")), python=pd.Series([datetime.timedelta(seconds=600 * i) for i in range(N)], dtype=object),
             text=pd.Series([str(pd.Timedelta(seconds=600 * i)) for i in range(N)]), clock=pd.Series([f"{i // 60}:{i % 60:02}" for i in range(N)]))


# ---- what a column is taken for

@pytest.mark.parametrize("name", SPELLINGS)
def test_a_time_in_any_spelling_is_a_number_that_grows(name):
    c = code_covariate(SPELLINGS[name].rename("when"))
    v = c.numbers["when"].to_numpy()[100:]
    assert c.kind == "time" and np.corrcoef(v, np.arange(N)[100:])[0, 1] > .98 and np.isfinite(c.numbers.to_numpy(float)).all()
    assert c.how.startswith("time: trend, bends") and c.left == pytest.approx({"gaps": 100 / N, "unknown": 10 / N}.get(name, 0.)), "a row without a time is not adjusted for it"

@pytest.mark.parametrize("name", SPANS)
def test_a_duration_is_a_number(name):
    c = code_covariate(SPANS[name].rename("age"))
    assert c.kind == "duration" and np.corrcoef(c.numbers["age"], np.arange(N))[0, 1] > .999

def test_hour_and_weekday_come_where_they_vary():
    how = lambda days: code_covariate(pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(np.linspace(0, days, 500), unit="D"), name="when")).how
    assert how(1) == "time: trend, bends" and how(5) == "time: trend, bends, hour" and how(60) == "time: trend, bends, hour, weekday"

def test_missing_times_are_flagged_and_stand_at_the_mean():
    c = code_covariate(SPELLINGS["gaps"].rename("when")).numbers
    assert c["when missing"].sum() == 100 and np.allclose(c["when"][:100], c["when"][100:].mean())

@pytest.mark.parametrize("values", [["gold", "free"], ["1.2.3", "1.10.0"], ["1.2.10", "1.2.11"], ["gpt-4o-2024-08-06", "model-b-2024-05"], ["v2024-01", "v2024-02"], ["10.0.12.15", "10.0.12.16"], ["Q1", "Q2"], [3.5, 4.25], [120, 64], ["10", "64"], ["may", "june"], ["a-1", "b-2"], [True, False], ["555-0100", "555-0199"], ["12:5", "x"]])
def test_what_is_no_time_is_not_taken_for_one(values): assert as_times(pd.Series(values * 50)) is None

@pytest.mark.parametrize("values, kind, columns", [
    ([True, False], "number", 1), ([True, False, None], "number", 2), (["yes", "no"], "levels", 2), (["01234", "90210", "10001"], "levels", 3), ([1, 2, 3, 4], "number", 5), ([.5, 1.5, np.nan], "number", 2), ([.5, 1.5, 2.5], "number", 4), (["2024-03-01", "2024-03-02", "2024-03-09"], "time", 4),
    (["1.5", "2.5", " "], "number", 2), (["lo", "hi", None], "levels", 3), (["x"], "constant", 0), ([None], "constant", 0), (pd.Categorical(["lo", "hi", "mid"], ["lo", "mid", "hi"], ordered=True), "levels", 3),
])
def test_kinds_of_columns(values, kind, columns):
    c = code_covariate(pd.Series(list(values) * 60, name="c") if not isinstance(values, pd.Categorical) else pd.concat([pd.Series(values)] * 60).rename("c"))
    assert (c.kind, c.numbers.shape[1]) == (kind, columns)

def test_many_levels_are_all_kept_and_those_alone_are_counted():
    r = np.random.default_rng(0)
    few, many = (pd.Series([f"user {i}" for i in r.integers(k, size=N)], name="user") for k in (12, 200))
    assert code_covariate(few).numbers.shape[1] == 12
    c = code_covariate(many.where(np.arange(N) >= 60, [f"once {i}" for i in range(N)]))
    assert c.kind == "many levels" and (c.levels == -1).mean() == pytest.approx(c.left) and c.left >= .05 and f"{c.left:.1%} of the rows" in c.how and len(np.unique(c.levels)) > 190
    assert code_covariate(few.where(np.arange(N) >= 60, [f"once {i}" for i in range(N)])).left == .05
    assert code_covariate(many, np.arange(N) % 7 * 0 + pd.factorize(many)[0]).kind == "text", "a level that one query has is no comparison, however many rows the query has"

def test_whole_numbers_are_held_fixed_under_both_readings():
    c = code_covariate(pd.Series(np.random.default_rng(0).integers(40, size=N), name="team"))
    assert c.how == "as a number and as 40 levels" and c.levels.max() == 39 and c.numbers.columns[0] == "team"
    assert code_covariate(pd.Series(np.arange(N), name="row")).levels is None

def test_numbers_have_bends_and_huge_values_do_not_flatten_them():
    v = np.r_[np.random.default_rng(0).normal(size=N - 1), 1e9]
    c = code_covariate(pd.Series(v, name="cost"))
    bent = design_columns([c], N)
    u = np.abs(v) < .5
    assert np.corrcoef(u, bent @ np.linalg.lstsq(np.c_[np.ones(N), bent][:, 1:], u - u.mean(), rcond=None)[0])[0, 1] > .8 > .1 > abs(np.corrcoef(u, v)[0, 1])

def test_the_words_name_what_is_held_fixed_and_nothing_else():
    f = pd.DataFrame(dict(when=STAMP, tier=["gold", "free"] * (N // 2), note=[f"note {i}" for i in range(N)], same="x"))
    assert adjusted_for(code_covariates(f, list(f))) == "when (time: trend, bends, hour) and tier (2 levels)" and adjusted_for([]) == ""


# ---- names and free texts

def log_with(covariates=None, n=60, **columns):
    r = np.random.default_rng(0)
    return cp.Triplets(pd.DataFrame(dict(query=[f"Ticket {i}: reset item {i * i % 37}" for i in range(n)], prompt=np.where(r.random(n) < .5, PLAIN, CAREFUL), score=r.integers(2, size=n).astype(float), **columns)), covariates=covariates)

@pytest.mark.parametrize("values", [lambda i: f"{i * 2654435761 % 2**32:08x}", lambda i: f"user-{i}@example.org", lambda i: f"The customer wrote {i} times about {i * 7 % 13} things."])
def test_a_name_is_refused_with_the_ways_out(values):
    with pytest.raises(ValueError, match="values that queries share, got 'ref' with 60 values.*Drop it if it is an id; convert it.*bin it, or embed it"): log_with(["ref"], ref=[values(i) for i in range(60)])
    frame = log_with(ref=[values(i) for i in range(60)]).frame
    with pytest.raises(ValueError, match="queries share"): cp.Triplets.read(frame, covariates=["ref"])

def test_a_name_that_merely_stands_in_the_log_is_left_aside_and_said(tmp_path):
    log = log_with(ref=[f"r{i}" for i in range(60)], tier=["a", "b"] * 30)
    assert list(log.covariates) == ["tier"] and "nearly every query has a value of its own: ref" in repr(log) and is_name(log.frame["ref"])
    assert "nearly every query has a value of its own" in "".join(log.design(permutations=0).table["property"])
    part = log.take(np.arange(25))
    assert list(cp.Triplets.read(part.write(tmp_path/"part.parquet")).covariates) == ["tier"]

def test_names_kept_by_an_older_file_are_not_adjusted_for_and_said(tmp_path):
    log = log_with(ref=[f"r{i}" for i in range(60)], tier=["a", "b"] * 30)
    log.__dict__["_named"] = ("tier", "ref")
    old = cp.Triplets.read(log.write(tmp_path/"old.parquet"))
    with pytest.warns(UserWarning, match=r"\['ref'\] differ in nearly every query and are not adjusted for"): assert usable_covariates(old) == ["tier"]

def test_dates_of_python_are_read_and_come_back(tmp_path):
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=i // 2) for i in range(60)]
    log = log_with(["day"], day=days)
    assert pd.api.types.is_datetime64_any_dtype(log.frame["day"]) and cp.Triplets.read(log.write(tmp_path/"log.parquet")).frame.equals(log.frame)


# ---- adjusted for, and the same for every page

def drifting(seed=0, n=1500, bend=True):
    "Prompt and score follow a time that rises and falls; the prompt does nothing."
    r = np.random.default_rng(seed)
    t = np.sort(r.random(n))
    z = 2 * np.cos(4 * np.pi * t) if bend else 3 * (t - .5)
    b = r.random(n) < 1 / (1 + np.exp(-z))
    return t, pd.DataFrame(dict(query=[f"How do I reset item {r.integers(10**6)}?" for _ in range(n)], prompt=np.where(b, CAREFUL, PLAIN), score=(r.random(n) < .5 - .2 * z).astype(float)))

def effect(frame, covariates, **how):
    m = cp.CausalReward(baseline=PLAIN, learner="kernel", encoder=Words(), folds=0, **how).fit(cp.Triplets(frame, covariates=covariates))
    return m, m.average_effect([CAREFUL]).iloc[0]

STAMPED = dict(stamp=lambda s: s, text=lambda s: s.strftime("%Y-%m-%d %H:%M:%S"), zone=lambda s: s.tz_localize("UTC"), hours=lambda s: s.strftime("%Y-%m-%d %H"), epoch=lambda s: (s - pd.Timestamp(0)) // pd.Timedelta("1s"), span=lambda s: s - s[0])

@pytest.mark.parametrize("kind", STAMPED)
def test_a_time_that_bends_is_adjusted_for(kind):
    t, f = drifting()
    when = STAMPED[kind](pd.DatetimeIndex(pd.Timestamp("2024-01-01") + pd.to_timedelta(t * 10, unit="D")))
    m, e = effect(f.assign(when=when), ["when"])
    assert abs(e.effect) < 3 * e.se and e.se < .04 and "when (" in m.why_ and "trend, bends" in m.why_

def test_without_the_time_the_effect_is_far_from_the_truth_and_a_line_is_not_enough():
    t, f = drifting()
    assert effect(f, [])[1].hi < -.25
    y, b = f["score"].to_numpy(), (f["prompt"] == CAREFUL).to_numpy(float)
    X = np.c_[np.ones(len(t)), t, b]
    assert np.linalg.lstsq(X, y, rcond=None)[0][2] < -.25

def users(seed=0, n=1500, k=200):
    r = np.random.default_rng(seed)
    u, z = r.integers(k, size=n), r.normal(size=k)
    b = r.random(n) < 1 / (1 + np.exp(-1.5 * z[u]))
    return u, pd.DataFrame(dict(query=[f"Ticket {i}: how do I reset item {r.integers(1000)}?" for i in range(n)], prompt=np.where(b, CAREFUL, PLAIN), score=(r.random(n) < np.clip(.5 - .2 * z[u], 0, 1)).astype(float)))

@pytest.mark.parametrize("k, name", [(40, lambda u: u), (200, lambda u: [f"user {i}" for i in u]), (200, lambda u: u * 7 + 3)])
def test_a_category_of_many_levels_is_adjusted_for(k, name):
    u, f = users(k=k)
    m, e = effect(f.assign(user=name(u)), ["user"])
    assert abs(e.effect) < 3 * e.se and "user (" in m.why_ and "levels" in m.why_
    top = pd.Series(u).value_counts().index[:30]
    old = np.column_stack([np.ones(len(f)), (f["prompt"] == CAREFUL), *(u == l for l in top)]).astype(float)
    if k == 200: assert np.linalg.lstsq(old, f["score"].to_numpy(), rcond=None)[0][1] < -.12, "the thirty commonest levels would leave it"

def test_rows_that_are_not_adjusted_for_are_counted():
    u, f = users()
    name = np.where(np.arange(len(u)) % 10 == 0, [f"once {i}" for i in range(len(u))], [f"user {i}" for i in u])
    log = cp.Triplets(f.assign(user=name), covariates=["user"])
    m, _ = effect(f.assign(user=name), ["user"])
    said = f"{code_covariate(log.frame['user']).left:.1%} of the rows have a value of their own and are not adjusted for"
    assert said in m.identification_.details and m.identification_.verdict == "caution" and said in " ".join(log.design(permutations=0).table["value"])

@pytest.mark.parametrize("levels", [False, True])
def test_what_differs_between_the_draws_of_a_query_is_adjusted_for_within_it(levels):
    r, rows = np.random.default_rng(1), []
    bad = r.normal(size=100)
    for i in range(300):
        for k in range(4):
            t, u = r.random(), r.integers(100)
            z = bad[u] if levels else 2 * np.cos(4 * np.pi * t)
            rows.append((f"Ticket {i} about {i % 17}", CAREFUL if r.random() < 1 / (1 + np.exp(-z)) else PLAIN, float(r.random() < np.clip(.5 - .2 * z, 0, 1)), f"node {u}" if levels else pd.Timestamp("2024-01-01") + pd.Timedelta(days=30 * t)))
    f = pd.DataFrame(rows, columns=["query", "prompt", "score", "c"])
    (m, e), (_, bare) = effect(f, ["c"]), effect(f, [])
    assert m.route_ == "within" and abs(e.effect) < 3 * e.se and bare.hi < -.05

def test_design_graph_model_and_checks_see_the_same_time():
    t, f = drifting()
    f = f.assign(when=pd.Timestamp("2024-01-01") + pd.to_timedelta(t * 10, unit="D"))
    log = cp.Triplets(f, covariates=["when"])
    m, _ = effect(f, ["when"])
    design, assignment = log.design(), cp.assignments.assignment(m)
    assert design.facts["predictable"] and assignment.facts["p_raw"] <= .01 and "can no longer be predicted" in assignment.details and "when (time: trend, bends, hour)" in " ".join(design.table["value"])
    bare = cp.Triplets(f, covariates=[])
    assert not bare.design().facts["predictable"] and cp.assignments.assignment(effect(f, [])[0]).facts["p_raw"] > .01, "the text does not show the time"
    found = PromptGraph.from_log(log).estimate(log, CAREFUL, PLAIN, encoder=Words())
    assert abs(found.facts["effect"]) < 3 * found.facts["se"] and found.facts["naive"] < -.25
    assert covariate_matrix(log.frame, ["when"]).shape[1] == log.query_numbers.shape[1] - bare.query_numbers.shape[1]

def test_many_levels_are_adjusted_for_in_the_graph_and_do_not_stop_a_checkup():
    u, f = users()
    log = cp.Triplets(f.assign(user=[f"user {i}" for i in u]), covariates=["user"])
    found = PromptGraph.from_log(log).estimate(log, CAREFUL, PLAIN, encoder=Words())
    assert abs(found.facts["effect"]) < 3.5 * found.facts["se"] and found.facts["naive"] < -.12
    done = cp.checkup(effect(log.frame, ["user"])[0], only=["balance", "assignment", "placebo outcomes", "overlap", "naive gap"])
    assert not done.skipped["why"].str.startswith("FAILED").any() and done["naive gap"].verdict == "caution"

# ---- what levels cost

def paired(seed, m, k=120, spread=1.5):
    "Users with m tickets each; user and prompt go together, the prompt does nothing."
    r = np.random.default_rng(seed)
    u, z = np.repeat(np.arange(k), m), r.normal(size=k)
    b = r.random(k * m) < 1 / (1 + np.exp(-spread * z[u]))
    return u, pd.DataFrame(dict(query=[f"Ticket {i} on item {r.integers(1000)}" for i in range(k * m)], prompt=np.where(b, CAREFUL, PLAIN), score=1 / (1 + np.exp(z[u] + r.normal(size=k * m)))))

def average(frame):
    "The average effect alone."
    m = cp.CausalReward(baseline=PLAIN, encoder=Words(), folds=0).open(cp.Triplets(frame, covariates=["user"]))
    rows, y = m.residuals()
    t = contrasts(rows, y, rows.prompts.index(PLAIN)).set_index("prompt").loc[CAREFUL]
    return t.effect, t.se

@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("name", [lambda u: u * 37 + 1001, lambda u: [f"user {i}" for i in u]])
def test_levels_of_two_or_three_rows_are_held_fixed_and_the_error_counts_what_they_cost(m, name):
    found = []
    for seed in range(16):
        u, f = paired(seed, m)
        found.append(average(f.assign(user=name(u))))
    est, se = np.array(found).T
    assert abs(est.mean()) < .035, "the truth is 0; without the users it is below -.2"
    assert np.sqrt(np.mean((est - est.mean())**2)) < 1.35 * se.mean(), "1.4 times the error where the levels' degrees of freedom are not counted"

def test_what_levels_cost_is_the_share_of_a_row_in_the_mean_of_its_level():
    u, f = paired(0, 2, 60)
    m = cp.CausalReward(baseline=PLAIN, encoder=Words(), folds=0).open(cp.Triplets(f.assign(user=[f"user {i}" for i in u]), covariates=["user"]))
    rows, _ = m.residuals()
    assert np.allclose(spread_kept(rows), .5)
    assert np.allclose(spread_kept(replace(rows, levels=np.full((120, 1), -1))), 1) and spread_kept(replace(rows, levels=None)) is None
    assert np.allclose(spread_kept(replace(rows, levels=np.c_[rows.levels, rows.levels])), .1), "never nothing"

def test_levels_beyond_those_that_become_columns_are_counted():
    c = code_covariate(pd.Series([f"user {i}" for i in np.repeat(np.arange(50), np.r_[[4] * 30, [2] * 20])], name="user"))
    assert c.beyond(30) == 40 / 160 and c.beyond(50) == 0 and code_covariate(pd.Series(np.linspace(0, 1, 40))).beyond(1) == 0

def test_levels_beyond_the_columns_within_a_query_and_in_the_graph_are_told():
    r = np.random.default_rng(0)
    node, q = np.repeat(np.arange(350), 4), r.permutation(1400) % 350
    f = pd.DataFrame(dict(query=[f"Ticket {i} about {i % 17}" for i in q], prompt=np.where(r.random(1400) < .5, CAREFUL, PLAIN), score=r.random(1400), node=[f"node {i}" for i in node]))
    m, _ = effect(f, ["node"])
    assert m.route_ == "within" and "Levels beyond the 280 commonest are not held fixed within a query: node (20% of the rows)" in m.identification_.details
    log = cp.Triplets(f, covariates=["node"])
    assert "14.3% of the rows lie beyond its 300 commonest levels" in not_held(log, ["node"])

@pytest.mark.parametrize("col", [pd.Series([None, 1.5, 2.5, 3.5] * 30), pd.Series([None, 101, 7, 33] * 30, dtype="Int64"), pd.Series([None, "a", "b", "c"] * 30), pd.Series([None, *[f"user {i}" for i in range(39)]] * 4), pd.Series([pd.NaT, *pd.date_range("2024", periods=39)] * 4)])
def test_rows_without_a_value_are_counted_among_those_not_adjusted_for(col):
    c = code_covariate(col.rename("c"))
    gone = col.isna().mean()
    assert c.left == pytest.approx(gone) and f"{gone:.1%} of the rows have none and are not adjusted for it" in c.how and "c missing" in c.numbers
    full = code_covariate(col.dropna().rename("c"))
    assert full.left == 0 and "have none" not in full.how

@pytest.mark.filterwarnings("ignore")
def test_weights_that_the_choices_contradict_stop_whatever_the_sentence_says():
    f = pd.DataFrame(dict(query=[f"Ticket {i} about {i % 17}" for i in range(200)], prompt=np.where(np.arange(200) % 10 < 9, PLAIN, CAREFUL), score=np.random.default_rng(0).random(200)))
    fit = lambda p, how: cp.CausalReward(route=how, learner="kernel", encoder=Words(), folds=0).fit(cp.Triplets(f.assign(propensity=p)))
    wrong, right, auto = fit(.5, "weighted"), fit(np.where(f["prompt"] == PLAIN, .9, .1), "weighted"), fit(.5, "auto")
    assert (wrong.disbelieved_, right.disbelieved_, auto.disbelieved_) == (True, False, False)
    assert wrong.identification_.verdict == "stop" != right.identification_.verdict and auto.route_ == "dml"
