"Contracts of the reward models: known truths recovered where the naive model fails, identities with other people's code, refusals."
import io, json, subprocess, sys, warnings, zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.exceptions import NotFittedError

import causal_prompts as cp
from causal_prompts.kernel import ProductKernel
from causal_prompts.core import NotIdentifiedError
from causal_prompts import inference
from causal_prompts.inference import clustered, contrasts, residual_indicators
from causal_prompts.variances import low_rank_root, reml, weights_posterior
from causal_prompts.rows import expected, Rows
from fakes import Words


def kernel(**kw): return cp.CausalReward(learner="kernel", folds=0, encoder=Words(), **kw)


@pytest.fixture(scope="module")
def hidden():
    world = cp.World.preset("confounded-hidden")
    return world, world.log(n_queries=1500, n_prompts=12, seed=3)


def z_scores(table, truth, baseline):
    t = table[table.prompt != baseline]
    return ((t.effect - t.prompt.map(truth)) / t.se).to_numpy(float)


def truth_of(world, log):
    prompts = list(log.prompts.prompt)
    return dict(zip(prompts, world.effect(list(log.queries["query"]), prompts, world.baseline).mean(0)))


# ---- known truths, and the naive model failing there

def test_within_recovers_where_naive_is_reversed(hidden):
    world, log = hidden
    truth = truth_of(world, log)
    causal, naive = kernel(baseline=world.baseline).fit(log), cp.NaiveReward("ridge", encoder=Words(), baseline=world.baseline).fit(log)
    z, zn = (z_scores(m.average_effect(), truth, world.baseline) for m in (causal, naive))
    assert causal.route_ == "within" and np.abs(z).max() < 3.5 and np.sqrt(np.mean(z**2)) < 2
    assert np.sqrt(np.mean(zn**2)) > 2
    t, prompts = np.array(list(truth.values())), list(truth)
    queries = list(world.queries(60, seed=9)["query"])
    assert np.corrcoef(causal.effect(queries, prompts).mean(0), t)[0, 1] > .5
    assert np.corrcoef(naive.effect(queries, prompts).mean(0), t)[0, 1] < 0


def test_weighted_recovers_with_one_prompt_a_query():
    world = cp.World.preset("confounded-hidden", prompts_per_query=1)
    log = world.log(n_queries=6000, n_prompts=6, seed=1, propensities=True)
    truth = truth_of(world, log)
    causal = kernel(baseline=world.baseline).fit(log)
    naive = cp.NaiveReward("ridge", encoder=Words(), baseline=world.baseline).fit(log)
    z, zn = (z_scores(m.average_effect(), truth, world.baseline) for m in (causal, naive))
    assert causal.route_ == "weighted" and np.abs(z).max() < 3.5
    assert np.abs(zn).max() > 4


def test_dml_recovers_a_recorded_difficulty_and_fails_without_it():
    world = cp.World.preset("confounded-hidden", prompts_per_query=1)
    log = world.log(n_queries=6000, n_prompts=6, seed=2, covariates=True)
    truth = truth_of(world, log)
    told = kernel(baseline=world.baseline).fit(log)
    bare = kernel(baseline=world.baseline).fit(cp.Triplets(log.frame.drop(columns=["difficulty", "kind"])))
    z, zb = (z_scores(m.average_effect(), truth, world.baseline) for m in (told, bare))
    assert told.route_ == bare.route_ == "dml" and told.identification_.verdict == "caution"
    assert np.abs(z).max() < 3.5
    assert np.abs(zb).max() > 4


def test_shuffled_scores_find_nothing(hidden):
    world, log = hidden
    f = log.frame.copy()
    f["score"] = np.random.default_rng(0).permutation(f["score"].to_numpy())
    m = kernel(baseline=world.baseline).fit(cp.Triplets(f))
    lo, hi = m.effect_interval(list(world.queries(40, seed=5)["query"]), list(log.prompts.prompt))
    assert np.mean((lo <= 0) & (hi >= 0)) > .93
    a = m.average_effect()
    assert ((a.lo <= 0) & (a.hi >= 0)).mean() >= .75


# ---- identities

def test_contrasts_are_fixed_effects_regression():
    r = np.random.default_rng(0)
    q, p = np.repeat(np.arange(40), 3), r.integers(4, size=120)
    y = r.normal(size=40)[q] + .3 * p + r.normal(size=120)
    log = cp.Triplets(pd.DataFrame(dict(query=[f"query number {i}" for i in q], prompt=[f"prompt number {j}" for j in p], score=(y - y.min()) / np.ptp(y))))
    m = kernel(baseline="prompt number 0").fit(log)
    f = log.frame
    Q, P = pd.get_dummies(f["query"]).to_numpy(float), pd.get_dummies(f["prompt"]).to_numpy(float)[:, 1:]
    beta = np.linalg.lstsq(np.c_[Q, P], f["score"], rcond=None)[0][-3:]
    t = m.average_effect([f"prompt number {j}" for j in (1, 2, 3)])
    assert np.allclose(t.effect.to_numpy(float), beta)
    var, df = by_brute_force(np.c_[Q, P], f["score"].to_numpy(), f["query"].factorize()[0], [-3, -2, -1])
    assert np.allclose(t.se.to_numpy(float), np.sqrt(var)) and np.allclose(t.hi - t.effect, stats.t.ppf(.975, df) * np.sqrt(var))


def by_brute_force(X, y, cluster, cols, weight=5):
    "CR2 variance of some coefficients, leaning on the pooled one, and its degrees of freedom: the definitions, with whole matrices."
    M, n = np.linalg.pinv(X.T @ X), len(y)
    R = np.eye(n) - X @ M @ X.T
    e, U, P = R @ y, [], []
    for g in np.unique(cluster):
        at = cluster == g
        l, v = np.linalg.eigh(R[np.ix_(at, at)])
        A = (v * np.where(l > 1e-9, np.maximum(l, 1e-9)**-.5, 0)) @ v.T
        U.append(A @ (X[at] @ M)[:, cols]); P.append(R[:, at] @ U[-1])
    var, df = [], []
    for j, c in enumerate(cols):
        d = np.array([u[:, j] @ u[:, j] for u in U])
        own = sum((u[:, j] @ e[cluster == g])**2 for u, g in zip(U, np.unique(cluster)))
        pooled = e @ e / (n - np.linalg.matrix_rank(X)) * ((X @ M)[:, c]**2).sum()
        rests, G = d.sum()**2 / (d**2).sum(), (p := np.stack([q[:, j] for q in P], 1)).T @ p
        var.append((rests * own + weight * max(own, pooled)) / (rests + weight)); df.append(np.trace(G)**2 / (G**2).sum())
    return np.array(var), np.array(df)


def test_errors_by_query_are_cr2_and_the_jackknife_where_weights_differ():
    r = np.random.default_rng(0)
    cluster, X, y, w = np.sort(r.integers(0, 14, 70)), r.normal(size=(70, 3)), r.normal(size=70), r.uniform(.1, 5, 70)
    X[cluster < 3] *= 4 # queries that pull the fit towards themselves
    plain, var = clustered(X, y, cluster, np.ones(70)), by_brute_force(X, y, cluster, [0, 1, 2], weight=0)
    assert np.allclose((plain["psi"]**2).sum(0), var[0]) and np.allclose(plain["df"], var[1]) and var[1].max() < 10
    fit = lambda k: np.linalg.solve((X[k] * w[k, None]).T @ X[k], (X[k] * w[k, None]).T @ y[k])
    weighted, left_out = clustered(X, y, cluster, w), np.array([fit(cluster != g) for g in np.unique(cluster)])
    assert np.allclose(weighted["beta"], fit(cluster >= 0)) and np.allclose((weighted["psi"]**2).sum(0), ((left_out - weighted["beta"])**2).sum(0))


def test_a_query_of_many_rows_counts_as_it_would_in_small_matrices():
    r = np.random.default_rng(1)
    cluster, X, y = np.r_[np.zeros(30, int), np.repeat(np.arange(1, 9), 2)], r.normal(size=(46, 2)), r.normal(size=46)
    var, df = by_brute_force(X, y, cluster, [0, 1], weight=0)
    fit = clustered(X, y, cluster, np.ones(46))
    assert np.allclose((fit["psi"]**2).sum(0), var) and np.allclose(fit["df"], df)


def _uneven_log(seed, route):
    "Rows of many prompts, some met once or linked with nothing, in queries of one row or several, under one model or two; and the rows kept."
    r = np.random.default_rng(seed)
    n_q, k = int(r.integers(10, 130)), int(r.integers(8, 30))
    q = np.repeat(np.arange(n_q), r.integers(1, r.integers(3, 7), n_q))
    n, often = len(q), r.random(k)**2
    p = r.choice(k, n, p=often / often.sum())
    p[r.choice(n, 2, replace=False)] = k # met twice at most
    if r.random() < .5: p[q > n_q - 4] = k + 1 + np.arange((q > n_q - 4).sum()) % 2 # linked with nothing
    g = np.unique(q * 2 + (r.integers(2, size=n) if r.random() < .5 else 0), return_inverse=True)[1]
    w = r.uniform(.2, 4, n) if r.random() < .5 else np.ones(n)
    y, mixed = (r.random(n) < .8).astype(float) if r.random() < .3 else r.random(n), r.permutation(n)
    q, p, g, w, y = (column[mixed] for column in (q, p, g, w / w.mean(), y))
    rows = Rows(queries=[f"query {i}" for i in range(n_q)], prompts=[f"prompt {i}" for i in range(k + 3)], E_q=None, E_p=None,
                q=q, p=p, y=y, g=g, cluster=q, w=w, level=np.zeros(n, int), route=route)
    return rows, y - expected(rows, y), r.random(n) < (.8 if r.random() < .5 else 1)


@pytest.mark.parametrize("route", ["within", "naive", "weighted"])
def test_sums_over_few_entries_are_the_regression_on_all_of_them(route, monkeypatch):
    made, features = [], inference.contrast_features
    def seen(*given):
        made.append(features(*given))
        return made[-1]
    lone = compared = 0
    for seed in range(60):
        rows, y, keep = _uneven_log(seed, route)
        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning) # an estimate that hangs on one query has degrees of freedom of 0 / 0
            patch.setattr(inference, "contrast_features", seen)
            few = contrasts(rows, y, int(seed % 3), keep=keep)
            patch.setattr(inference, "contrast_features", lambda *given: (residual_indicators(*given), None))
            all_ = contrasts(rows, y, int(seed % 3), keep=keep)
        known = all_.se.notna()
        np.testing.assert_allclose(few.effect, all_.effect, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(few[["se", "lo", "hi"]], all_[["se", "lo", "hi"]], rtol=1e-8)
        np.testing.assert_allclose(few.df[known], all_.df[known], rtol=1e-8)
        lone, compared = lone + (all_.effect.notna() & ~known).sum(), compared + known.sum()
    assert np.mean([not isinstance(X, np.ndarray) for X, _ in made]) > .3 and compared > 300
    assert lone > 20 or route != "within", "estimates that hang on one query are among them"


def test_effects_of_many_prompts_in_few_queries_are_cr2_by_brute_force():
    r = np.random.default_rng(5)
    q, p = np.repeat(np.arange(60), 3), r.integers(24, size=180)
    rows, y = _arms(p, r.random(180), "within", q)
    assert not isinstance(inference.contrast_features(rows, np.arange(1, 24), 0)[0], np.ndarray), "few of the entries are not zero"
    var, df = by_brute_force(np.c_[np.eye(60)[q], np.eye(24)[p][:, 1:]], rows.y, q, np.arange(-23, 0))
    t = contrasts(rows, y, 0).iloc[1:]
    np.testing.assert_allclose(t.se, np.sqrt(var), rtol=1e-8)
    np.testing.assert_allclose(t.df, np.maximum(df, 1), rtol=1e-6)


def test_what_no_machine_holds_is_refused_and_few_entries_are_not():
    r = np.random.default_rng(6)
    n, k = 30_000, 7_000 # 2.1e8 entries, of which four a row are not zero
    rows, y = _arms(r.integers(k, size=n), r.random(n), "within", np.repeat(np.arange(n // 4), 4))
    X = inference.contrast_features(rows, np.arange(1, k), 0)[0]
    assert X.nnz < 5 * n
    rows = replace(rows, H=r.random((n, 1)))
    with pytest.raises(ValueError, match="need about 5 GB; take fewer rows or prompts"): inference.contrast_features(rows, np.arange(1, k), 0)
    rows, _ = _arms(np.arange(20_000), np.zeros(20_000), "naive")
    with pytest.raises(ValueError, match="need about"): inference.contrast_features(rows, np.arange(1, 20_000), 0)


def _arms(p, y, route="weighted", g=None):
    "Rows of a log of numbered prompts, a query a row unless `g` says otherwise."
    g = np.arange(len(p)) if g is None else g
    rows = Rows(queries=[f"query {i}" for i in range(g.max() + 1)], prompts=[f"prompt {i}" for i in range(p.max() + 1)], E_q=None, E_p=None,
                q=g, p=p, y=y, g=g, cluster=g, w=np.ones(len(p)), level=np.zeros(len(p), int), route=route)
    return rows, y - expected(rows, y)


@pytest.mark.parametrize("per_query", [1, 3])
def test_intervals_hold_the_truth_where_the_baseline_met_few_queries(per_query):
    hits, n, truth = [], 300, np.array([.9, .85, .95, .88, .93, .9])
    for seed in range(150):
        r = np.random.default_rng(seed)
        p = np.concatenate([r.permutation(np.arange(1, 6))[:per_query] for _ in range(n)])
        p[r.choice(n, 8, replace=False) * per_query] = 0
        rows, y = _arms(p, (r.random(len(p)) < truth[p]).astype(float), "weighted" if per_query == 1 else "within", np.repeat(np.arange(n), per_query))
        t = contrasts(rows, y, 0).iloc[1:]
        hits.append((t.lo <= truth[1:] - truth[0]) & (truth[1:] - truth[0] <= t.hi))
    assert np.mean(hits) > .93


def test_equal_luck_is_no_certainty():
    p, y = np.r_[np.zeros(4, int), np.ones(200, int)], np.r_[np.ones(4), np.arange(200) % 2]
    t = contrasts(*_arms(p, y), 1).iloc[0]
    assert t.n == 4 and t.se > .15 and t.df == pytest.approx(3, abs=.3) and t.lo < 0


def test_many_queries_give_the_textbook_interval():
    r = np.random.default_rng(2)
    p, y = r.integers(2, size=4000), r.normal(size=4000)
    t, a, b = contrasts(*_arms(p, y), 0).iloc[1], y[p == 1], y[p == 0]
    welch = stats.ttest_ind(a, b, equal_var=False)
    assert t.effect == pytest.approx(a.mean() - b.mean()) and t.se == pytest.approx(t.effect / welch.statistic, rel=1e-3) and t.df == pytest.approx(welch.df, rel=.05)


def test_an_estimate_that_hangs_on_one_query_has_no_interval():
    p = np.array([0, 1, 0, 2, *np.tile([0, 1], 20), 2, 2]) # prompt 2 is compared by one query; the other that received it received nothing else
    g = np.r_[0, 0, 1, 1, np.repeat(np.arange(2, 22), 2), 22, 22]
    t = contrasts(*_arms(p, np.random.default_rng(3).random(len(p)), "within", g), 0)
    assert np.isfinite(t.effect).all() and t[["se", "lo", "hi"]].iloc[2].isna().all() and t.se.iloc[1] > 0
    f = pd.DataFrame(dict(query=[f"query {i}" for i in g], prompt=[f"prompt {i}" for i in p], repeat=np.arange(len(p)), score=t.n[p].to_numpy() * 0. + np.arange(len(p)) % 2))
    out = kernel(baseline="prompt 0").fit(cp.Triplets(f)).average_effect().set_index("prompt")
    assert out.how["prompt 2"] == "compared in the log, but by one query alone: no interval" and out.how["prompt 1"] == "compared in the log"
    assert out[["lo", "hi"]].loc["prompt 2"].isna().all() and np.isfinite(out.effect["prompt 2"])


def test_learned_shares_sum_to_one_so_that_a_rare_baseline_is_not_drowned():
    r = np.random.default_rng(4)
    n, k = 400, 15
    H = r.normal(size=(n, 20))
    p = np.where(r.random(n) < .02, 0, 1 + (H[:, :k] + r.gumbel(size=(n, k))).argmax(1))
    rows, _ = _arms(p, r.random(n))
    rows = replace(rows, route="dml", H=H, fold=np.arange(n) % 2)
    cols = np.arange(1, k + 1)
    share = residual_indicators(rows, cols, 0).sum(1) + (p == 0) # what is left for the baseline
    alone = (rows.p[:, None] == cols).astype(float)
    assert share.std() < .5 * (1 - expected(rows, alone).sum(1)).std() and abs(share.mean() - .02) < .02


def test_naive_average_is_the_difference_of_raw_means(hidden):
    world, log = hidden
    m = cp.NaiveReward("ridge", encoder=Words(), baseline=world.baseline).fit(log)
    means = log.frame.groupby("prompt")["score"].mean()
    t = m.average_effect()
    assert np.allclose(t.effect.to_numpy(float), (means[t.prompt] - means[world.baseline]).to_numpy())


def test_kernel_posterior_is_bayesian_linear_regression(hidden):
    _, log = hidden
    reward = kernel().fit(log)
    m, (rows, y) = reward.model_, reward.residuals()
    features = m.features(rows)
    F = np.column_stack([features.predicted(e) for e in np.eye(len(m.w))])
    some = np.repeat(m.var, m.dims) > 0
    dense = np.linalg.inv(F.T @ F / m.noise + np.diag(1 / np.repeat(m.var, m.dims)))
    assert some.all() and np.allclose(m.cov, dense, atol=1e-10) and np.allclose(m.w, dense @ F.T @ y / m.noise, atol=1e-10)


def test_variances_follow_the_data():
    r, n = np.random.default_rng(2), 4000
    F = r.normal(size=(n, 60))
    y = F[:, :30] @ r.normal(0, .3, 30) + r.normal(0, 1, n)
    var, noise = reml(F.T @ F, F.T @ y, y @ y, n, [30, 30])
    assert abs(noise - 1) < .1 and .05 < var[0] * noise < .16 and var[1] * noise < .003


@pytest.mark.parametrize("rows, queries", [(60, 15), (200, 50), (260, 13)])
def test_a_short_root_gives_the_variances_and_weights_of_all_features(rows, queries):
    r, dims = np.random.default_rng(rows), [20, 60, 200]
    F = r.normal(size=(rows, 280)) * np.r_[np.ones(80), np.zeros(100), np.ones(100)] # some features that no row has
    y = F[:, :20] @ r.normal(0, .3, 20) + r.normal(0, 1, rows)
    one_each = np.eye(queries)[np.repeat(np.arange(queries), -(-rows // queries))[:rows]]
    F, y = (A - one_each @ (one_each.T @ A / one_each.sum(0).reshape(-1, *[1] * (A.ndim - 1))) for A in (F, y))
    G, b, free, avoid = F.T @ F, F.T @ y, rows - queries, [.1, .3, 1.]
    R, z = root = low_rank_root(G, b)
    assert len(R) == np.linalg.matrix_rank(F) and np.allclose(R.T @ R, G, atol=1e-9) and np.allclose(R.T @ z, b, atol=1e-9)
    (var, noise), (short_var, short_noise) = reml(G, b, y @ y, free, dims, avoid), reml(G, b, y @ y, free, dims, avoid, root)
    assert np.allclose(var, short_var, rtol=1e-5) and np.isclose(noise, short_noise, rtol=1e-6)
    each = np.repeat(var, dims) * noise
    for all_features, short in zip(weights_posterior(G, b, each, noise), weights_posterior(G, b, each, noise, root)):
        assert np.allclose(all_features, short, atol=1e-9)


@pytest.mark.parametrize("parts", ["auto", None])
def test_interval_of_a_gain_matches_the_scored_gain(hidden, parts):
    world, log = hidden
    m = kernel(baseline=world.baseline, parts=parts).fit(log)
    queries, prompts = list(world.queries(5, seed=4)["query"]), [*log.prompts.prompt[:3], "Count to ten, then answer the task."]
    lo, hi = m.effect_interval(queries, prompts)
    assert np.allclose((lo + hi) / 2, m.effect(queries, prompts))
    at = list(log.prompts.prompt).index(world.baseline)
    lo0, hi0 = m.effect_interval(queries, [log.prompts.prompt[at]])
    assert np.allclose(lo0, 0) and np.allclose(hi0, 0)
    E, one_each = m.encode(queries, "query"), np.full(5, .2)
    se = m.average_se(queries, E, one_each, prompts)
    assert se[3] > se[:3].max(), "a prompt nobody tried must be the least certain"
    if parts is None: assert ((hi - lo)[:, 3] > (hi - lo)[:, 1:3].max(1)).all(), "on every single query as well" # six parts may vary more than one


def test_cpo_is_econml(hidden):
    world, log = hidden
    log = log.take(np.arange(600))
    m = cp.CPOReward(d_x=5, d_t=3, criterion="het", encoder=Words(), baseline=world.baseline, random_state=1).fit(log)
    queries, prompts = list(log.queries["query"][:6]), list(log.prompts.prompt)
    X = m.x_.transform(queries, m.encode(queries, "query"))
    Z, z0 = (m.z_.transform(t, m.encode(t, "prompt")) for t in (prompts, [world.baseline]))
    by_library = np.stack([m.model_.effect(X, T0=np.repeat(z0, 6, 0), T1=np.tile(z, (6, 1))).ravel() for z in Z], 1)
    assert np.allclose(m.effect(queries, prompts), by_library)
    lo, hi = m.effect_interval(queries, prompts[:2])
    assert lo.shape == (6, 2) and (lo <= hi).all()
    assert m.model_.discrete_outcome and m.model_.criterion == "het"


def test_cpo_takes_an_estimator_by_instance_and_groups_folds(hidden):
    from econml.dml import LinearDML
    from sklearn.linear_model import Ridge
    world, log = hidden
    ours = LinearDML(model_y=Ridge(), model_t=Ridge(), random_state=0)
    m = cp.CPOReward(d_x=5, d_t=3, estimator=ours, grouped=True, encoder=Words(), baseline=world.baseline).fit(log)
    assert not hasattr(ours, "_ortho_learner_model_final") and m.effect(list(log.queries["query"][:2]), [world.baseline]).shape == (2, 1)
    t = m.average_effect(list(log.prompts.prompt[:2]))
    assert (t.lo <= t.effect).all() and (t.effect <= t.hi).all()


# ---- which route

def _log(n=60, k=2, **columns):
    r = np.random.default_rng(0)
    rows = [(f"query {i}", f"prompt {j} says {w}", float(r.random() < .5)) for i in range(n) for j, w in [(j, "apples oranges pears plums".split()[j % 4]) for j in r.permutation(4)[:k]]]
    return cp.Triplets(pd.DataFrame(rows, columns=["query", "prompt", "score"]).assign(**columns))


@pytest.mark.parametrize("log, route", [
    (_log(), "within"), (_log(k=1), "dml"), (_log(k=1, propensity=.25), "weighted"),
    (_log(k=2, propensity=np.r_[np.full(116, .9), np.full(4, .001)]), "within"),
])
def test_route_by_design(log, route):
    m = kernel().fit(log)
    assert m.route_ == route and route in m.identification_.facts["route"]


def test_unwanted_weights_are_named():
    m = kernel().fit(_log(k=2, propensity=np.r_[np.full(116, .9), np.full(4, .001)]))
    assert "effective sample" in m.identification_.details and "not used" in m.identification_.details


def test_a_race_that_is_asked_for_meets_all_rivals_and_the_naive_model(hidden):
    world, log = hidden
    m = cp.CausalReward(learner="race", folds=3, encoder=Words(), baseline=world.baseline).fit(log.take(np.arange(4800)))
    assert set(m.identification_.table.learner) == {"kernel", "forest", "ranker", "naive"} and m.identification_.table.chosen.sum() == 1
    assert m.identification_.facts["gap"]["lo"] > 0, "on a confounded log the causal choice must beat naive boosting out of fold"
    assert "naive boosting" in m.identification_.details and m.identification_.plot() is not None


def test_race_admits_when_there_is_nothing():
    world = cp.World.preset("randomised")
    log = world.log(n_queries=200, n_prompts=8, seed=0)
    f = log.frame.copy(); f["score"] = np.random.default_rng(1).permutation(f["score"].to_numpy())
    m = cp.CausalReward(folds=3, learner="kernel", encoder=Words()).fit(cp.Triplets(f))
    own = m.identification_.table.set_index("learner").loc["kernel"]
    assert m.identification_.verdict == "caution" and own.lo <= 0


@pytest.mark.parametrize("learner", ["ranker", "forest"])
def test_rivals_can_be_asked_for_and_have_no_interval(hidden, learner):
    world, log = hidden
    m = cp.CausalReward(learner=learner, folds=2, encoder=Words(), baseline=world.baseline).fit(log.take(np.arange(800)))
    queries = list(log.queries["query"][:3])
    best = m.best(queries)
    assert m.learner_ == learner and best.lo.isna().all() and best.effect.notna().all()
    with pytest.raises(ValueError, match="no interval that covers"): m.effect_interval(queries, [world.baseline])
    with pytest.raises(ValueError, match="saved without pickle"): m.save("never.zip")


# ---- what logs bring

def test_half_scores_repeats_and_missing_scores_work():
    r = np.random.default_rng(0)
    rows = [(f"query {i}", f"prompt {w}", k, s) for i in range(40) for w in ("one", "two words") for k in range(3) for s in [r.choice([0, .5, 1, np.nan], p=[.3, .3, .3, .1])]]
    log = cp.Triplets(pd.DataFrame(rows, columns=["query", "prompt", "repeat", "score"]))
    for m in (kernel(), cp.NaiveReward(encoder=Words()), cp.CPOReward(d_x=3, d_t=1, criterion="het", encoder=Words())):
        m.fit(log)
        assert len(m.log_) == log.frame.score.notna().sum() and np.isfinite(m.effect(["query 1"], ["prompt one", "something new"])).all()


def test_several_models_are_never_pooled_silently():
    log = _log(n=80, k=2, model=np.repeat(["a", "b"], 80))
    with pytest.warns(UserWarning, match="2 levels of 'model'"): m = kernel().fit(log)
    t = m.average_effect(by="model")
    assert set(t["model"]) == {"a", "b"}
    alone = kernel(baseline=m.baseline_).fit(log.where(model="a")).average_effect()
    both = t[t["model"] == "a"].set_index("prompt").effect.astype(float)
    assert np.allclose(both[alone.prompt], alone.effect.astype(float), equal_nan=True)
    with pytest.raises(ValueError, match="by must be a column"): m.average_effect(by="colour")


def test_prompt_without_a_link_to_the_baseline_is_said_to_be_incomparable():
    rows = [(f"query {i}", p, float((i + j) % 3 == 0)) for i in range(30) for j, p in enumerate(("first", "second") if i < 20 else ("third", "fourth"))]
    m = kernel(baseline="first").fit(cp.Triplets(pd.DataFrame(rows, columns=["query", "prompt", "score"])))
    t = m.average_effect().set_index("prompt")
    assert t.how["second"] == "compared in the log" and t.how["third"] == "not comparable with the baseline" and np.isnan(t.effect["third"])


def _tall(n=200, prompts=4, k=2, effect=(), noise=.1, query_sd=.2, seed=0, **kw):
    "Numbers as scores: `k` random prompts a query, given effects."
    r = np.random.default_rng(seed)
    level, effect = r.normal(.5, query_sd, n), np.r_[effect, np.zeros(prompts)][:prompts]
    rows = [(f"query {i}", f"prompt number {j} {'abcdefghijklmnopqrstuvwxyz'[j % 26] * 3}", level[i] + effect[j] + r.normal(0, noise)) for i in range(n) for j in r.permutation(prompts)[:k]]
    return cp.Triplets(pd.DataFrame(rows, columns=["query", "prompt", "score"]).assign(**kw), score_range=(-9, 9))


def test_two_open_routes_take_the_sharper():
    hard = kernel().fit(_tall(n=300, prompts=6, k=3, query_sd=1., propensity=.5))
    flat = kernel().fit(_tall(n=300, prompts=6, k=2, query_sd=0., propensity=1 / 3))
    assert (hard.route_, flat.route_) == ("within", "weighted") and "less sharp" in hard.identification_.details


def test_refitting_forgets_the_earlier_log():
    a, b = _tall(effect=[0, .4]), _tall(effect=[0, -.4], seed=1)
    names = sorted(a.prompts.prompt)
    m = kernel(baseline=names[0]).fit(a)
    assert m.average_effect([names[1]]).effect[0] > .2
    assert m.fit(b).average_effect([names[1]]).effect[0] < -.2


def test_star_design_and_equal_texts():
    rows = [(f"query {i}", f"variant {j} {'xyz'[j % 3] * 4}", float((i * 7 + j) % 3 == 0)) for i in range(120) for j in (0, 1 + i % 3)]
    m = cp.CausalReward(folds=3, encoder=Words()).fit(cp.Triplets(pd.DataFrame(rows, columns=["query", "prompt", "score"])))
    assert np.isfinite(m.effect(["query 1"], ["variant 1 yyyy"])).all()
    same = pd.DataFrame([(f"query {i}", p, "one text", float((i + k) % 2)) for i in range(30) for k, p in enumerate("ab")], columns=["query", "prompt_id", "prompt", "score"])
    with pytest.raises(NotIdentifiedError): kernel().fit(cp.Triplets(same))


def test_more_prompts_than_own_parts_keep_honest_intervals():
    r = np.random.default_rng(0)
    log = _tall(n=150, prompts=60, k=12, effect=r.normal(0, .2, 60))
    truth = dict(zip([f"prompt number {j} {'abcdefghijklmnopqrstuvwxyz'[j % 26] * 3}" for j in range(60)], np.random.default_rng(0).normal(0, .2, 60)))
    m = kernel().fit(log)
    rows, y = m.residuals()
    few = ProductKernel(own=20).fit(rows)
    m.model_ = few
    prompts = list(truth)
    lo, hi = m.effect_interval(["query 3"], prompts)
    t = np.array(list(truth.values())) - truth[m.baseline_]
    assert len(few.seen) == 20 and np.mean((lo[0] <= t) & (t <= hi[0])) > .85


def test_levels_without_a_common_prompt_are_not_compared():
    f = _tall(n=300, prompts=4, k=1).frame
    f["task"] = np.where(f["prompt"].str.contains("number [01]"), "A", "B")
    with pytest.warns(UserWarning, match="levels of 'task'"): m = kernel().fit(cp.Triplets(f, score_range=(-9, 9)))
    t = m.average_effect().set_index("prompt")
    side = t.index.str.contains("number [01]") == ("number 0" in m.baseline_ or "number 1" in m.baseline_)
    assert t.effect[side].notna().all() and t.effect[~side].isna().all() and (t.how[~side] == "not comparable with the baseline").all()


def test_columns_that_describe_the_prompt_are_not_adjusted_for():
    log = _tall(n=900, prompts=4, k=1, effect=[0, -.1, -.2, -.3], query_sd=.05)
    f = log.frame.assign(tokens=lambda d: d["prompt"].str.extract(r"number (\d)")[0].astype(float) * 10)
    with pytest.warns(UserWarning, match="describe the prompt"): m = kernel(baseline=sorted(log.prompts.prompt)[0]).fit(cp.Triplets(f, score_range=(-9, 9)))
    t = m.average_effect(sorted(log.prompts.prompt))
    assert np.abs(t.effect - [0, -.1, -.2, -.3]).max() < .05


def test_a_prompt_met_by_one_query_gets_no_interval_from_it():
    rows = [(f"query {i}", f"prompt {p}", k, float((i + k) % 2)) for i in range(30) for p in ("common", "usual") for k in range(2)] + [("query 0", "prompt rare bird", k, 1.) for k in range(3)]
    m = kernel(baseline="prompt common").fit(cp.Triplets(pd.DataFrame(rows, columns=["query", "prompt", "repeat", "score"])))
    t = m.average_effect().set_index("prompt").loc["prompt rare bird"]
    assert t.how == "used on fewer than two queries, predicted" and t.hi - t.lo > .05 and t.n == 3


def test_cells_of_their_own_widen_single_effects():
    r = np.random.default_rng(3)
    Q, P, draws = 60, 8, 4
    cell = r.normal(0, .2, (Q, P))
    rows = [(f"query {i}", f"prompt {j} {'abcdefgh'[j] * 3}", k, cell[i, j] + r.normal(0, .1)) for i in range(Q) for j in range(P) for k in range(draws)]
    m = kernel().fit(cp.Triplets(pd.DataFrame(rows, columns=["query", "prompt", "repeat", "score"]), score_range=(-9, 9)))
    assert abs(np.sqrt(m.model_.cell) - .2) < .04
    prompts = [f"prompt {j} {'abcdefgh'[j] * 3}" for j in range(P)]
    lo, hi = m.effect_interval([f"query {i}" for i in range(Q)], prompts)
    base = prompts.index(m.baseline_)
    t, other = cell - cell[:, [base]], np.arange(P) != base
    assert .9 < np.mean(((lo <= t) & (t <= hi))[:, other]) < 1


def test_a_covariate_that_differs_between_draws_is_held_fixed():
    r = np.random.default_rng(4)
    rows = []
    for i in range(400):
        for k in range(4):
            peak = float(r.random() < .5)
            p = "careful words" if r.random() < (.8 if peak else .2) else "plain request"
            rows.append((f"query {i}", p, k, .5 - .3 * peak + r.normal(0, .1), peak))
    log = cp.Triplets(pd.DataFrame(rows, columns=["query", "prompt", "repeat", "score", "peak"]), score_range=(-9, 9), covariates=["peak"])
    told, bare = (kernel(baseline="plain request").fit(l).average_effect(["careful words"]) for l in (log, cp.Triplets(log.frame.drop(columns="peak"), score_range=(-9, 9))))
    assert told.lo[0] <= 0 <= told.hi[0] and bare.hi[0] < -.1


def test_caveats_of_the_route_are_said():
    assert "search chose" in kernel().fit(cp.Triplets(_log().frame, adaptive=True)).identification_.details
    f = _log(n=200, k=1, propensity=np.r_[np.full(196, .98), np.full(4, .001)])
    thin = kernel().fit(f).identification_
    assert thin.verdict == "caution" and "Few rows carry most of the weight" in thin.details


def test_baseline_outside_the_log_is_said():
    with pytest.warns(UserWarning, match="is not among the log's prompts"): t = kernel(baseline="A prompt never logged.").fit(_log()).average_effect()
    assert (t.n > 0).all() and (t.how == "baseline not in the log, predicted").all()


def test_few_queries_skip_the_race_and_say_so():
    f = pd.DataFrame([(f"query {i}", f"prompt {j} {'ab'[j] * 3}", k, float((i + j + k) % 2)) for i in range(5) for j in range(2) for k in range(5)], columns=["query", "prompt", "repeat", "score"])
    with pytest.warns(UserWarning): m = cp.CausalReward(encoder=Words()).fit(cp.Triplets(f))
    assert "fewer than ten queries" in m.identification_.details and m.identification_.verdict == "caution"


def test_ids_that_hide_repeated_queries_are_noticed():
    f = _log().frame.drop(columns=["query_id", "repeat"]).reset_index(names="query_id").astype({"query_id": str})
    with pytest.warns(UserWarning, match="query ids share"): kernel().fit(cp.Triplets(f))


def test_an_encoder_with_a_model_of_its_own_must_be_passed_again(tmp_path):
    class Model:
        def encode(self, texts, **kw): return Words().encode(list(texts))
    m = cp.CausalReward(learner="kernel", folds=0, encoder=cp.embeddings.TextEncoder(model=Model(), cache=False)).fit(_log())
    m.save(tmp_path/"r.zip")
    with pytest.raises(ValueError, match="encoder of your own"): cp.loading.load_reward(tmp_path/"r.zip")


def test_unseen_texts_are_embedded_and_scored(hidden):
    world, log = hidden
    m = kernel(baseline=world.baseline).fit(log)
    new = world.prompts(60, seed=77)[-1]
    assert new not in set(log.prompts.prompt)
    t = m.average_effect([new])
    assert t.how[0] == "not in the log, predicted" and t.lo[0] < t.effect[0] < t.hi[0] and t.n[0] == 0
    assert list(m.support([new, world.baseline]).columns[:1]) == ["prompt"] and m.support([world.baseline]).inside[0]


def test_baseline_defaults_to_the_most_logged(hidden):
    _, log = hidden
    assert kernel().fit(log).baseline_ == log.frame["prompt"].value_counts().index[0]


@pytest.mark.parametrize("learner", ["boosting", "lightgbm", "ridge", "xgboost"])
def test_naive_learners(hidden, learner):
    world, log = hidden
    m = cp.NaiveReward(learner, encoder=Words(), baseline=world.baseline).fit(log.take(np.arange(500)))
    tau = m.effect(list(log.queries["query"][:4]), list(log.prompts.prompt))
    assert tau.shape == (4, 12) and np.isfinite(tau).all() and np.abs(tau).max() < 1.5


# ---- saving, seeds

def test_save_and_load_in_another_process(hidden, tmp_path):
    world, _ = hidden
    log = world.log(n_queries=80, n_prompts=6, seed=5)
    m = cp.CausalReward(learner="kernel", folds=0, baseline=world.baseline, encoder=cp.embeddings.TextEncoder(cache=tmp_path)).fit(log)
    m.save(tmp_path/"r.zip")
    queries, prompts = list(log.queries["query"][:3]), [*log.prompts.prompt[:2], "Answer in one word."]
    code = f"import causal_prompts as cp, json; r = cp.loading.load_reward({str(tmp_path/'r.zip')!r}); print(json.dumps([r.effect({queries!r}, {prompts!r}).tolist(), r.effect_interval({queries!r}, {prompts!r})[0].tolist(), r.average_effect({prompts!r}).effect.astype(float).tolist(), r.identification_.reading]))"
    out = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert np.allclose(out[0], m.effect(queries, prompts), atol=1e-6) and np.allclose(out[1], m.effect_interval(queries, prompts)[0], atol=1e-6)
    assert np.allclose(out[2], m.average_effect(prompts).effect.astype(float), atol=1e-6) and out[3] == m.identification_.reading


def test_saved_file_holds_no_pickle(hidden, tmp_path):
    m = kernel().fit(hidden[1]); m.save(tmp_path/"r.zip")
    with zipfile.ZipFile(tmp_path/"r.zip") as z:
        assert {n.rsplit(".", 1)[1] for n in z.namelist()} == {"json", "npy", "parquet"}
        for n in z.namelist():
            if n.endswith("npy"): assert b"'O'" not in z.read(n)[:128]
    with pytest.raises(ValueError, match="encoder of your own"): cp.loading.load_reward(tmp_path/"r.zip")
    again = cp.loading.load_reward(tmp_path/"r.zip", encoder=Words())
    assert np.array_equal(again.effect(["a query"], ["a prompt"]), m.effect(["a query"], ["a prompt"]))


def test_loading_something_else_is_refused(tmp_path):
    (tmp_path/"x.zip").write_bytes(b"not a zip")
    with pytest.raises(ValueError, match="must be a file written by reward.save"): cp.loading.load_reward(tmp_path/"x.zip")
    with pytest.raises(FileNotFoundError): cp.loading.load_reward(tmp_path/"none.zip")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    "Name -> bytes of the parts of a sound reward file."
    path = tmp_path_factory.mktemp("saved")/"r.zip"
    kernel().fit(_log()).save(path)
    with zipfile.ZipFile(path) as z: return {n: z.read(n) for n in z.namelist()}


def _npy(a, allow=False):
    f = io.BytesIO(); np.save(f, a, allow_pickle=allow)
    return f.getvalue()

class Runs: # what unpickling would run
    def __reduce__(self): return exec, ("raise SystemExit('ran')",)

def _tree(**change): return lambda parts: {"reward.json": json.dumps(json.loads(parts["reward.json"]) | change).encode()}

def _kernel(**change): return lambda parts: _tree(kernel=json.loads(parts["reward.json"])["kernel"] | change)(parts)

def _weights(parts): return f'{json.loads(parts["reward.json"])["kernel"]["w"]["__array__"]}.npy'

def _frame(table):
    f = io.BytesIO(); table.to_parquet(f)
    return f.getvalue()

HEAD = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"

DAMAGE = {"a list": lambda p: {"reward.json": b"[]"}, "a number": lambda p: {"reward.json": b"1"}, "nothing": lambda p: {"reward.json": b""}, "deep": lambda p: {"reward.json": b"[" * 10**5},
          "deep objects": lambda p: {"reward.json": b'{"a":' * 10**5}, "few parts": lambda p: {"reward.json": b'{"format": 1, "params": {}, "encoder": null}'}, "no tree": lambda p: {"reward.json": None},
          "no log": lambda p: {"log.parquet": None}, "another log": lambda p: {"log.parquet": _frame(pd.DataFrame(dict(a=[1])))}, "no parquet": lambda p: {"log.parquet": b"PAR1"},
          "an array missing": lambda p: {"0.npy": None}, "a part too many": lambda p: {"more.py": b"1"}, "NaN": lambda p: {_weights(p): _npy(np.full_like(np.load(io.BytesIO(p[_weights(p)])), np.nan))},
          "another shape": lambda p: {_weights(p): _npy(np.zeros(3))}, "complex numbers": lambda p: {_weights(p): _npy(np.zeros(3, complex))}, "pickle": lambda p: {_weights(p): _npy(np.array([Runs()], object), True)},
          "an absurd header": lambda p: {_weights(p): HEAD}, "a header of brackets": lambda p: {_weights(p): b"\x93NUMPY\x01\x00\xff\x7f" + b"(" * 32767}, "a cut array": lambda p: {_weights(p): p[_weights(p)][:200]},
          "unknown parameters": _tree(params=dict(folds=0, shell="rm")), "wrong parameters": _tree(params=dict(route="magic")), "no baseline": _tree(baseline=None), "another route": _tree(route="naive"),
          "no format": _tree(format=None), "text as format": _tree(format="1"), "a verdict missing": _tree(route={}), "support of another kind": _tree(support={"kind": "os"}), "a list for a kernel": _tree(kernel=[]),
          "an encoder that is none": _tree(encoder=[1]), "sizes as text": _kernel(d_i="12"), "prompts of elsewhere": _kernel(seen=["other"]), "dims that do not fit": _kernel(dims=[1, 2, 3]), "an index out of range": _kernel(w={"__array__": 99})}


def _pack(path, parts):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in parts.items():
            if data is not None: z.writestr(name, data)
    return path


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_reward_file_is_refused_by_name(saved, tmp_path, damage):
    _pack(tmp_path/"whole.zip", saved)
    assert np.isfinite(cp.loading.load_reward(tmp_path/"whole.zip", encoder=Words()).effect(["a query"], ["a prompt"])).all()
    with pytest.raises(ValueError, match=r"^bad\.zip must be a file written by reward\.save\(\.\.\.\), got something else .*save the reward again$"):
        cp.loading.load_reward(_pack(tmp_path/"bad.zip", saved | DAMAGE[damage](saved)), encoder=Words())


def test_a_cut_or_swollen_reward_file_is_refused_by_name(saved, tmp_path, monkeypatch):
    whole = _pack(tmp_path/"whole.zip", saved).read_bytes()
    for n in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path/"cut.zip").write_bytes(whole[:n])
        with pytest.raises(ValueError, match="^cut.zip must be a file written by reward.save"): cp.loading.load_reward(tmp_path/"cut.zip", encoder=Words())
    (tmp_path/"cut.zip").write_bytes(whole[:300] + bytes(50) + whole[350:])
    with pytest.raises(ValueError, match="^cut.zip must be a file written by reward.save"): cp.loading.load_reward(tmp_path/"cut.zip", encoder=Words())
    _pack(tmp_path/"bomb.zip", saved | {"reward.json": b" " * (2**28 + 1)})
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *a: pytest.fail("unfolded before its size was looked at"))
    with pytest.raises(ValueError, match="^bomb.zip must be .* would unfold to 268,435,457 bytes"): cp.loading.load_reward(tmp_path/"bomb.zip", encoder=Words())


def test_a_newer_file_says_so_and_names_itself(saved, tmp_path):
    with pytest.raises(ValueError, match="format must be 1, got 2 in new.zip; .*update causal_prompts"): cp.loading.load_reward(_pack(tmp_path/"new.zip", saved | _tree(format=2)(saved)), encoder=Words())


def test_saving_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    m = kernel().fit(_log()); m.save(tmp_path/"r.zip")
    before = (tmp_path/"r.zip").read_bytes()
    def full(self, *a, **k): raise OSError(28, "No space left on device")
    monkeypatch.setattr(cp.Triplets, "write", full)
    with pytest.raises(OSError, match="No space left"): m.save(tmp_path/"r.zip")
    assert (tmp_path/"r.zip").read_bytes() == before and [f.name for f in tmp_path.iterdir()] == ["r.zip"]


def test_same_seed_same_numbers(hidden):
    world, log = hidden
    part = log.take(np.arange(600))
    a, b = (cp.CausalReward(folds=2, encoder=Words(), random_state=4).fit(part) for _ in range(2))
    queries = list(part.queries["query"][:3])
    assert np.array_equal(a.effect(queries, list(part.prompts.prompt)), b.effect(queries, list(part.prompts.prompt))) and a.identification_.reading == b.identification_.reading


# ---- refusals

@pytest.mark.parametrize("make, match", [
    (lambda: kernel(route="magic"), "route must be one of"), (lambda: cp.CausalReward(learner="magic", encoder=Words()), "learner must be one of"),
    (lambda: cp.CausalReward(folds=1, encoder=Words()), "folds must be 0"), (lambda: kernel(route="weighted"), "needs a column 'propensity'"),
    (lambda: cp.CausalReward(learner="ranker", route="dml", encoder=Words()), "compares prompts within a query"),
    (lambda: cp.NaiveReward("magic", encoder=Words()), "learner must be"), (lambda: kernel(baseline="  "), "must be a text with something in it"),
])
def test_bad_parameters(make, match):
    with pytest.raises(ValueError, match=match): make().fit(_log())


def test_other_refusals():
    with pytest.raises(TypeError, match="must be a Triplets, got DataFrame"): kernel().fit(pd.DataFrame())
    with pytest.raises(NotFittedError, match="not fitted"): kernel().effect(["q"], ["p"])
    with pytest.raises(ValueError, match="received two or more prompts, got none"): kernel(route="within").fit(_log(k=1))
    with pytest.raises(NotIdentifiedError): kernel().fit(cp.Triplets(_log().frame.assign(score=1.)))
    m = kernel().fit(_log())
    with pytest.raises(ValueError, match="queries must hold at least one"): m.effect([], ["p"])
    with pytest.raises(TypeError, match=r"prompts\[1\] must be a text"): m.effect(["q"], ["p", 3])
    with pytest.raises(ValueError, match="no interval for single effects"): cp.NaiveReward("ridge", encoder=Words()).fit(_log()).effect_interval(["q"], ["p"])


def test_a_prompt_is_one_text(hidden):
    m = kernel().fit(hidden[1])
    assert m.effect("One query.", "One prompt.").shape == (1, 1)


def test_prompts_that_hold_their_query_are_noticed():
    f = pd.DataFrame([(f"what is {i} plus {i}", f"{p} Q: what is {i} plus {i}", float((i + k) % 2)) for i in range(30) for k, p in enumerate(("Think.", "Answer."))], columns=["query", "prompt", "score"])
    with pytest.warns(UserWarning, match="hold their own query's text"): kernel().fit(cp.Triplets(f))


def test_too_few_query_texts_to_adjust_by():
    f = pd.DataFrame([(str(i), "one and the same", f"prompt {'ab'[i % 2] * 3}", float(i % 3 == 0)) for i in range(60)], columns=["query_id", "query", "prompt", "score"])
    with pytest.warns(UserWarning), pytest.raises(NotIdentifiedError, match="at least 10 different query texts"): kernel().fit(cp.Triplets(f))


def test_prompts_that_cannot_be_compared_do_not_pass_for_the_baseline():
    r = np.random.default_rng(0)
    f = [(f"query {i} of many", p, y) for i in range(400) for p, y in (("base", .4), ("better", .5), (f"an own prompt, number {i}", .7))]
    f = pd.DataFrame(f, columns=["query", "prompt", "score"])
    f["score"] += r.normal(0, .1, len(f)) + np.repeat(r.normal(0, .05, 400), 3)
    t = kernel(baseline="base").fit(cp.Triplets(f, score_range=(-1, 2))).average_effect(["better"]).iloc[0]
    assert abs(t.effect - .1) < 3 * t.se and t.se < .02 and t.how == "compared in the log"

def test_a_level_in_which_nothing_can_be_compared_has_no_effect_and_no_crash():
    f = [(f"query {i} of many", p, float((i + len(p)) % 2), "left" if i < 30 else "right") for i in range(60) for p in (("base", "better") if i < 30 else ("other", "better"))]
    t = kernel(baseline="base").fit(cp.Triplets(pd.DataFrame(f, columns=["query", "prompt", "score", "side"]), covariates=["side"])).average_effect(["better"], by="side").set_index("side")
    assert t.how["left"] == "compared in the log" and t.how["right"] == "not comparable with the baseline" and np.isnan(t.effect["right"])


# ---- fits beside each other, and what is asked of them later

def test_fits_in_several_threads_leave_the_limit_of_threads_as_it_was(hidden):
    from concurrent.futures import ThreadPoolExecutor
    from threadpoolctl import threadpool_info, threadpool_limits
    blas = lambda: [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
    log = hidden[1].take(np.arange(800))
    with threadpool_limits(2, "blas"):
        before = blas()
        with ThreadPoolExecutor(4) as pool: fits = list(pool.map(lambda _: kernel().fit(log), range(8)))
        assert blas() == before == [2] * len(before)
    assert all(np.array_equal(fit.model_.w, fits[0].model_.w) for fit in fits[1:])


def test_the_finding_of_a_fit_is_of_that_fit_and_not_of_parameters_set_later(hidden):
    log = hidden[1].take(np.arange(800))
    first = cp.CausalReward(encoder=Words(), folds=3).fit(log)
    later = cp.CausalReward(encoder=Words(), folds=3).fit(log).set_params(learner="forest", folds=0)
    assert later.identification_.reading == first.identification_.reading and "naive boosting" in first.identification_.details
    with pytest.raises(ValueError, match="folds must be 0 .no comparison, no race. or at least 2, got 0"):
        cp.CausalReward(learner="race", folds=0, encoder=Words()).fit(log)


def test_scores_that_differ_in_no_query_are_refused_and_in_few_are_not_a_crash():
    frame = pd.DataFrame([(f"What is {i} plus {i}?", f"prompt number {j}", float(i % 2)) for i in range(40) for j in (0, 1)], columns=["query", "prompt", "score"])
    with pytest.raises(NotIdentifiedError, match="No query's scores differ between the prompts it received"): cp.CausalReward("within", encoder=Words()).fit(cp.Triplets(frame))
    frame.loc[0, "score"] = 1.
    found = cp.CausalReward("within", encoder=Words()).fit(cp.Triplets(frame)).identification_ # the one query that differs is left out in its fold
    assert found.verdict != "ok" and np.isfinite(found.facts["explained"])
