"Sums over queries in place of rows: equal to what rows give, additive over whole queries, and enough for the kernel and for what it would say of queries left out."
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import causal_prompts as cp
from causal_prompts.cross_products import CountFeatures, CrossProducts, GroupFeatures, residual_features, RowFeatures
from causal_prompts.kernel import ProductKernel, sample_of_texts
from causal_prompts.race import kernel_held_out, race, race_table
from causal_prompts.routes import Within
from causal_prompts.rows import expected, expected_score, Rows
from fakes import Words

CROSSED = np.array([0, 2, 7])


def some_rows(route, n=3000, seed=0):
    "Rows of 400 queries under two models and 30 prompts, with repeated draws; three prompts never drawn."
    r = np.random.default_rng(seed)
    q, p = np.sort(r.integers(400, size=n)), r.integers(27, size=n)
    w = r.uniform(.5, 2, size=n) if route == "weighted" else np.ones(n)
    return Rows(list(range(400)), list(range(30)), None, None, q, p, r.normal(size=n), 2 * q + r.integers(2, size=n), q, w / w.mean(), 0 * q, route)


def features_of(kind, rows, seed=1):
    r = np.random.default_rng(seed)
    return kind(rows, r.normal(size=(30, 10)), r.normal(size=(400, 4)), CROSSED)


@pytest.mark.parametrize("route, kind", [("within", GroupFeatures), ("naive", CountFeatures), ("weighted", CountFeatures)])
def test_counts_give_what_rows_give(route, kind):
    rows = some_rows(route)
    y = rows.y - expected(rows, rows.y)
    long, short = features_of(RowFeatures, rows), features_of(residual_features, rows)
    assert type(short) is kind and type(long) is RowFeatures
    a, b = long.cross_products(y), short.cross_products(y)
    w = np.random.default_rng(2).normal(size=len(a.b))
    F = np.column_stack([long.predicted(e) for e in np.eye(len(a.b))]) # every row written out
    assert np.allclose(F.T @ (rows.w[:, None] * F), b.G, atol=1e-8) and np.allclose(F.T @ (rows.w * y), b.b, atol=1e-8)
    assert np.allclose(short.predicted(w), F @ w, atol=1e-10)
    e = y - F @ w
    by_query = pd.DataFrame(F * (rows.w * e)[:, None]).groupby(rows.cluster).sum().to_numpy()
    assert np.allclose([long.scatter(e), short.scatter(e)], (by_query**2).sum(), rtol=1e-10)
    assert a.n == b.n == len(y) and a.groups == b.groups and np.isclose(a.yy, rows.w @ y**2)
    cells = pd.Series(rows.y).groupby([rows.g, rows.p])
    assert np.allclose(b.draws, [((rows.y - cells.transform("mean"))**2).sum(), len(y) - cells.ngroups])


def test_sums_over_parts_of_the_queries_add_up():
    rows = some_rows("within")
    whole = features_of(residual_features, rows)
    y = rows.y - expected(rows, rows.y)
    parts = [np.flatnonzero(rows.q % 3 == k) for k in range(3)]
    added = sum((whole.part(at).cross_products(y[at]) for at in parts[1:]), whole.part(parts[0]).cross_products(y[parts[0]]))
    for name, found in vars(whole.cross_products(y)).items(): assert np.allclose(getattr(added, name), found, atol=1e-8), name
    halved = np.flatnonzero(np.arange(len(y)) % 2) # queries cut in two: means are taken anew, so their sums are their own
    some = rows.take(halved)
    alone = RowFeatures(some, whole.A, whole.X, CROSSED).cross_products(some.y - expected(some, some.y))
    assert np.allclose(whole.part(halved).cross_products(some.y - expected(some, some.y)).G, alone.G, atol=1e-8)


def test_a_route_of_ones_own_is_taken_row_by_row():
    class Shy(Within):
        name = "shy"
        def expected(self, rows, F): return .5 * super().expected(rows, F)
    try:
        rows = replace(some_rows("within"), route=Shy())
        assert type(features_of(residual_features, rows)) is RowFeatures
        drawn = replace(some_rows("within"), H=np.random.default_rng(0).normal(size=(3000, 1)))
        assert type(features_of(residual_features, drawn)) is RowFeatures, "covariates of single draws are held fixed row by row"
    finally: cp.routes.Route.kinds.pop("shy")


@pytest.mark.parametrize("route", ["within", "weighted", "dml"])
def test_the_kernel_is_the_same_by_counts_and_by_rows(route, monkeypatch):
    world = cp.World.preset("confounded-hidden" if route == "within" else "confounded-visible")
    log = world.log(n_queries=300, n_prompts=10, propensities=route == "weighted")
    fit = lambda: cp.CausalReward(route, encoder=Words(), baseline=world.baseline).fit(log)
    short = fit()
    monkeypatch.setattr("causal_prompts.kernel.residual_features", RowFeatures)
    long = fit()
    queries, prompts = list(log.queries["query"][:40]), list(log.prompts.prompt)
    assert np.allclose(short.effect(queries, prompts), long.effect(queries, prompts), atol=1e-6)
    assert np.isclose(short.model_.design_effect, long.model_.design_effect, rtol=1e-5)


def test_what_the_kernel_says_of_queries_left_out_is_what_refits_say():
    world = cp.World.preset("confounded-hidden")
    reward = cp.CausalReward(encoder=Words(), baseline=world.baseline).fit(world.log(n_queries=3000, n_prompts=12))
    rows, y = reward.residuals()
    left_out = kernel_held_out(reward.model_, rows, rows.y - y, 4, 0)
    refitted = race(dict(kernel=lambda: ProductKernel.of(reward)), rows, rows.y - y, 4, 0)["kernel"]
    table = race_table(y, dict(kernel=left_out, refitted=refitted), rows).set_index("learner")
    assert np.corrcoef(left_out, refitted)[0, 1] > .97
    assert abs(table.explained["kernel"] - table.explained["refitted"]) < table.se["refitted"]
    assert table.explained["kernel"] > 2 * table.se["kernel"], "a log in which something can be learned"


def test_scores_left_out_have_no_say():
    "Scores that are pure noise explain nothing of what is held out, though the fit follows them."
    world, gains = cp.World.preset("randomised"), []
    for seed in range(8):
        frame = world.log(n_queries=150, n_prompts=8, seed=seed).frame
        frame["score"] = np.random.default_rng(seed).permutation(frame["score"].to_numpy())
        found = cp.CausalReward(encoder=Words(), random_state=seed).fit(cp.Triplets(frame)).identification_
        gains.append(found.facts["explained"])
    assert np.mean(gains) < 2 * np.std(gains, ddof=1) / np.sqrt(8)


def test_the_comparison_is_made_when_it_is_asked_for_and_once(monkeypatch):
    world, asked = cp.World.preset("confounded-hidden"), []
    import causal_prompts.causal as causal
    compare = causal.beside_naive
    monkeypatch.setattr(causal, "beside_naive", lambda *args: asked.append(1) or compare(*args))
    log = world.log(n_queries=120, n_prompts=6)
    reward = cp.CausalReward(encoder=Words(), baseline=world.baseline).fit(log)
    assert not asked and reward.learner_ == "kernel"
    first = reward.identification_
    assert asked == [1] and reward.identification_ is first and set(first.table.learner) == {"kernel", "naive"}
    again = pickle.loads(pickle.dumps(cp.CausalReward(encoder=Words(), baseline=world.baseline).fit(log)))
    assert again.identification_.reading == first.reading, "a pickle brings no rows, and makes them again"
    reward.fit(world.log(n_queries=130, n_prompts=6))
    assert reward.identification_.details != first.details, "a new fit is compared anew"


def test_a_sample_of_texts_does_not_depend_on_order_or_parts():
    texts = [f"text {i}" for i in range(3000)]
    some = {texts[i] for i in sample_of_texts(texts, 500)}
    mixed = list(np.random.default_rng(0).permutation(texts))
    assert some == {mixed[i] for i in sample_of_texts(mixed, 500)} and len(some) == 500
    parts = [texts[at:at + 700] for at in range(0, 3000, 700)]
    by_part = {part[i] for part in parts for i in sample_of_texts(part, 500)}
    assert some <= by_part and len(sample_of_texts(texts[:20], 500)) == 20
