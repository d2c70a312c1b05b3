"Routers: the known truth recovered query by query, the fallback where nothing is sure, files that are refused, and when a router is recommended."
import json, warnings, zipfile
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from causal_prompts.banks import Bank
from causal_prompts.causal import CausalReward
from causal_prompts.core import rng
from causal_prompts.exporting import to_messages
from causal_prompts.naive import NaiveReward
from causal_prompts.routed_gains import candidate_prompts, group_queries, routed_gains, routed_plan, Routed
from causal_prompts.routers import kind_name, kind_router, load_router, query_router, Router
from causal_prompts.best_sets import set_values
from causal_prompts.set_rounds import additive_values, HashedWords, kind_values, reward_of_sets
from causal_prompts.tasks import Task
from causal_prompts.triplets import Triplets

SENTENCES = dict(think="Think step by step.", word="Answer in one word.", gentle="Be kind.")
BASE = "Answer the question."
BANK = Bank.of(SENTENCES, base=BASE, separator=" ")
PROMPTS = [BANK.prompt(ids) for ids in BANK.sets()]


def query_of(i): return f"What is {i} plus {7 * i % 50}?" if i % 2 else f"Is this review good or bad: film number {i} was {i % 7} hours long"

def kind_of(query): return "sum" if "plus" in query else "review"

def chance(query, prompt, opposite=True):
    sign = 1 if kind_of(query) == "sum" or not opposite else -1
    return .5 + .2 * sign * (SENTENCES["think"] in prompt) - .2 * sign * (SENTENCES["word"] in prompt)

def log_of(opposite=True, n=150, encoder=None):
    random, rows = rng(0, "routers", opposite), []
    for i in range(n):
        for held in random.random((4, 3)) < .5:
            prompt = BANK.prompt([name for name, on in zip(SENTENCES, held) if on])
            rows.append(dict(query=query_of(i), prompt=prompt, score=float(random.random() < chance(query_of(i), prompt, opposite))))
    return Triplets(pd.DataFrame(rows).drop_duplicates(["query", "prompt"]))

def reward_on(log, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return reward_of_sets(log, BANK, BASE, **how)

NEW = [query_of(i) for i in range(1000, 1200)]

def worth(chosen, opposite=True): return np.mean([chance(q, p, opposite) - chance(q, BASE, opposite) for q, p in zip(NEW, chosen)])

@pytest.fixture(scope="module")
def reward(): return reward_on(log_of())

@pytest.fixture(scope="module")
def router(reward): return query_router(reward, PROMPTS, BASE)


# ---- choices

def test_a_router_is_worth_what_no_single_prompt_is(router):
    best_single = max(worth([p] * len(NEW)) for p in PROMPTS)
    assert abs(best_single) < .01 and worth(router.choices(NEW)["prompt"]) > .15

def test_a_naive_choice_for_each_query_is_worth_less(router):
    "Naive boosting sees whole prompts and knows nothing of margins: it follows noise where the router takes its fallback."
    flat = log_of(opposite=False, n=40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        naive = NaiveReward(encoder=HashedWords(), baseline=BASE).fit(flat).effect(NEW, PROMPTS).argmax(1)
    own = query_router(reward_on(flat), PROMPTS, PROMPTS[np.argmax([worth([p] * len(NEW), False) for p in PROMPTS])])
    assert worth([PROMPTS[i] for i in naive], False) < worth(own.choices(NEW)["prompt"], False) - .02

def test_gains_are_the_reward_s_and_the_lower_end_is_that_of_an_interval(reward, router):
    got = router.choices(NEW)
    tau = reward.effect(NEW, PROMPTS)
    at = [PROMPTS.index(p) for p in got["prompt"]]
    inside = got["why"] == ""
    assert inside.mean() > .9
    fallback = tau[:, PROMPTS.index(BASE)]
    np.testing.assert_allclose(got["gain"][inside], (tau[np.arange(len(NEW)), at] - fallback)[inside], atol=1e-9)
    model = reward.posterior
    v = model.variance(NEW, reward.encode(NEW, "query"), PROMPTS, reward.encode(PROMPTS, "prompt"), BASE, reward.encode([BASE], "prompt"))
    v = v - 2 * model.cell * np.array([p != BASE for p in PROMPTS]) # the luck of one query is no reason to do without a prompt
    lo = tau - fallback[:, None] - stats.norm.ppf(.75) * np.sqrt(v)
    np.testing.assert_allclose(got["lo"][inside], lo[np.arange(len(NEW)), at][inside], atol=1e-9)

def test_features_and_distances_are_those_of_the_pages_they_come_from(router):
    E = router.encoder.encode(NEW)
    x, inside = router._placed(NEW, None)
    np.testing.assert_allclose(x, router.features.transform(NEW, E), atol=1e-9)
    assert (inside == router.support.score(E)["inside"]).all()

def test_outside_the_log_and_where_nothing_is_sure_the_fallback_is_taken(reward, router):
    strange = "Traduis ce texte en allemand : le chat dort sous la table."
    assert router.choice(strange).prompt == BASE and router.choice(strange).why == "unlike the log's queries" and "nothing like this query" in router.explain(strange).reading
    sure = query_router(reward, PROMPTS, BASE, alpha=1e-12).choices(NEW)
    assert (sure["prompt"] == BASE).all() and {*sure["why"]} <= {"none is surely better", "unlike the log's queries"} and (sure["gain"] == 0).all()
    best = query_router(reward, PROMPTS, f"{BASE} {SENTENCES['think']}", alpha=.2).choices(NEW)
    assert all(SENTENCES["think"] in p for q, p in zip(NEW, best["prompt"]) if "plus" in q)

def test_where_all_queries_gain_alike_nothing_is_lost_beside_the_best_single_prompt():
    single = f"{BASE} {SENTENCES['think']}"
    routed = query_router(reward_on(log_of(opposite=False)), PROMPTS, single)
    assert worth(routed.choices(NEW)["prompt"], False) >= worth([single] * len(NEW), False) - .01

def test_messages_are_those_of_the_prompt_and_an_answer_is_known_the_second_time(router, monkeypatch):
    query = query_of(2001)
    said = router(query)
    assert said == to_messages(router.choices([query])["prompt"][0], query)
    monkeypatch.setattr(Router, "_rated_by", lambda *_: 1 / 0)
    assert router(query) == said
    with pytest.raises(ZeroDivisionError): router(query_of(2003))

def test_explain_says_which_sentences_count_for_this_query(router):
    first, second = router.explain(query_of(2001)), router.explain(query_of(2002))
    effect = lambda f: f.table.set_index("part")["effect"]
    assert effect(first)[SENTENCES["think"]] > .1 > -.1 > effect(second)[SENTENCES["think"]]
    assert first.verdict == "ok" and f"Added: '{SENTENCES['think']}'" in first.reading and SENTENCES["word"] in router.choice(query_of(2002)).prompt
    assert first.table.set_index("part")["chosen"][SENTENCES["think"]] and not first.table["fallback"].any() and (first.table["lo"] < first.table["effect"]).all()


# ---- kinds

@pytest.fixture(scope="module")
def by_kind(reward):
    asked = reward.log_.frame.drop_duplicates("query_id")
    return kind_router(kind_values(reward.log_, BANK, BASE, dict(zip(asked["query_id"], asked["query"].map(kind_of)))), PROMPTS, BASE)

def test_a_router_by_kinds_has_one_prompt_for_each_kind(by_kind):
    got = by_kind.choices(NEW, [kind_of(q) for q in NEW])
    assert worth(got["prompt"]) > .15 and got.groupby(got["query"].map(kind_of))["prompt"].nunique().max() == 1
    assert by_kind("Anything?", "sum")[0]["content"].startswith(by_kind.choice("x", "sum").prompt)
    assert by_kind.choice("Anything?", "poem").why == "unlike the log's queries" and by_kind.choice("Anything?", "poem").prompt == BASE

def test_a_router_by_kinds_wants_them(by_kind):
    with pytest.raises(ValueError, match="kind must be given, for each of 1 queries, as the router goes by .*, got none"): by_kind("Anything?")
    with pytest.raises(ValueError, match="each of 2 queries, .* got 1"): by_kind.choices(["a", "b"], ["sum"])


def tier_log(opposite, seed=0, n=150):
    "Queries whose texts say nothing of their tier, on which the effect of two sentences turns round."
    random, rows = rng(seed, "tiers", opposite), []
    for i in range(n):
        sign = 1 if i % 2 or not opposite else -1
        for held in random.random((4, 3)) < .5:
            chance = .5 + .2 * sign * held[0] - .2 * sign * held[1]
            prompt = BANK.prompt([name for name, on in zip(SENTENCES, held) if on])
            rows.append(dict(query=f"Customer {random.integers(10**6)} asks.", tier=i % 2, prompt=prompt, score=float(random.random() < chance), query_id=str(i)))
    frame = pd.DataFrame(rows)
    frame["query"] = frame.groupby("query_id")["query"].transform("first")
    log = Triplets(frame.drop_duplicates(["query_id", "prompt"])[["query_id", "query", "prompt", "score"]])
    return log, {str(i): i % 2 for i in range(n)}

def test_a_kind_is_known_by_its_name_where_the_texts_of_its_queries_say_nothing():
    log, tiers = tier_log(True)
    router = kind_router(kind_values(log, BANK, BASE, {i: str(t) for i, t in tiers.items()}), PROMPTS, BASE)
    queries = list(log.frame["query"].unique())
    held = lambda tier, name: SENTENCES[name] in router.choice(queries[0], tier).prompt
    assert held(1, "think") and not held(1, "word") and held(0, "word") and not held(0, "think")
    by_text = query_router(reward_on(log), PROMPTS, BASE).choices(queries)["prompt"] # what goes by texts cannot know
    right = [("Think" in p) == (tiers[i] == 1) for p, i in zip(by_text, log.frame.drop_duplicates("query")["query_id"])]
    assert .35 < np.mean(right) < .65

ALL_PROMPTS = {held: BANK.prompt([name for name, on in zip(SENTENCES, held) if on]) for held in product((False, True), repeat=3)}

def kinds_log(levels, effects, seed, n=60, per=6):
    "Two kinds: mean scores, and what each sentence does in each, (2, 3)."
    random, rows = rng(seed, "kinds", *levels), []
    for i in range(n):
        for held in random.random((per, 3)) < .5:
            chance = levels[i % 2] + (held - .5) @ np.array(effects[i % 2])
            rows.append(dict(query_id=str(i), query=f"q {i}", prompt=ALL_PROMPTS[tuple(held)], score=float(random.random() < chance)))
    return Triplets(pd.DataFrame(rows).drop_duplicates(["query_id", "prompt"])), {str(i): "ab"[i % 2] for i in range(n)}

@pytest.mark.parametrize("levels, shared, own, least", [((.3, .8), 0., 0., .95), ((.3, .8), .07, 0., .92), ((.35, .65), .07, .07, .83)]) # the page says 95% and 86%
def test_what_a_kind_gains_is_known_within_its_error_however_hard_the_kind_is(levels, shared, own, least):
    z, found = [], []
    for seed in range(60):
        random = rng(seed, "effects of kinds")
        effects = (shared * random.normal(size=3) + own * random.normal(size=(2, 3))).clip(-.2, .2) * np.ones((2, 1))
        log, kinds = kinds_log(levels, effects, seed)
        values = kind_values(log, BANK, BASE, kinds)
        gain, se = np.stack([values[k].rate(np.eye(3)) for k in "ab"], 1)
        z.append((gain - effects) / se)
        found.append(gain - effects)
    assert (np.abs(z) < 1.96).mean() >= least
    assert np.abs(np.mean(found, (0, 2))).max() < .03 # a kind's difficulty is none of its sentences' effects

def test_effects_that_turn_round_between_kinds_are_found_though_they_are_drawn_to_zero():
    log, kinds = kinds_log((.3, .7), [[.25, -.25, 0], [-.25, .25, 0]], 0, n=150)
    found = kind_values(log, BANK, BASE, kinds)
    hard, easy = (found[k].rate(np.eye(3))[0] for k in "ab")
    assert hard[0] > .1 > -.1 > hard[1] and easy[1] > .1 > -.1 > easy[0] and max(abs(hard[2]), abs(easy[2])) < .1

def test_where_kinds_are_alike_little_is_lost_by_telling_them_apart():
    errors = []
    for seed in range(30):
        log, kinds = kinds_log((.5, .5), [[.2, -.2, 0]] * 2, seed)
        own, shared = kind_values(log, BANK, BASE, kinds)["a"].rate(np.eye(3))[0], additive_values(log, BANK, BASE).rate(np.eye(3))[0]
        errors.append([((x - [.2, -.2, 0])**2).mean() for x in (own, shared)])
    own, shared = np.mean(errors, 0)
    assert own < 1.5 * shared

def test_one_kind_is_one_whatever_type_its_name_has(by_kind):
    log, tiers = tier_log(True, n=60)
    router = kind_router(kind_values(log, BANK, BASE, {i: str(t) for i, t in tiers.items()}), PROMPTS, BASE)
    assert router.choice("x", 1) == router.choice("x", 1.) == router.choice("x", np.int64(1)) == router.choice("x", "1")
    assert router.choice("x", True).why == router.choice("x", [1]).why == "unlike the log's queries"
    assert "no query of this kind is in the log" in router.explain("x", 7).reading
    assert kind_name(float("nan")) == kind_name(None) == kind_name(pd.NA) == kind_name(pd.NaT) == "missing"


# ---- candidates

def test_candidates_are_the_best_sets_of_groups_that_gain_alike(reward):
    queries = list(reward.log_.frame["query"].unique())
    groups = group_queries(reward, BANK, queries, 2)
    assert sorted(q for g in groups for q in g) == sorted(queries)
    assert np.mean([len({kind_of(q) for q in g}) == 1 for g in groups]) == 1
    found = candidate_prompts([set_values(reward, BANK, group) for group in groups], BASE)
    assert found[0] == BASE and any(SENTENCES["think"] in p and SENTENCES["word"] not in p for p in found) and any(SENTENCES["word"] in p and SENTENCES["think"] not in p for p in found)


# ---- files

def test_a_router_comes_back_from_its_file_query_by_query(router, by_kind, tmp_path):
    router.save(tmp_path/"a.zip")
    by_kind.save(tmp_path/"b.zip")
    assert load_router(tmp_path/"a.zip").choices(NEW).equals(router.choices(NEW))
    kinds = [kind_of(q) for q in NEW]
    assert load_router(tmp_path/"b.zip").choices(NEW, kinds).equals(by_kind.choices(NEW, kinds))
    assert load_router(tmp_path/"a.zip").explain(NEW[1]).reading == router.explain(NEW[1]).reading

def test_an_encoder_of_ones_own_is_not_in_the_file(tmp_path):
    class Own:
        def encode(self, texts, role=None): return HashedWords().encode(texts, role)
    made = query_router(reward_on(log_of(n=60), encoder=Own()), PROMPTS, BASE)
    made.save(tmp_path/"a.zip")
    with pytest.raises(ValueError, match=r"made with an encoder of your own; pass it: load_router\(path, encoder=...\)"): load_router(tmp_path/"a.zip")
    assert load_router(tmp_path/"a.zip", Own()).choices(NEW).equals(made.choices(NEW))

def rewritten(source, target, change):
    with zipfile.ZipFile(source) as a, zipfile.ZipFile(target, "w") as b:
        for name in a.namelist(): b.writestr(name, json.dumps(change(json.loads(a.read(name)))) if name.endswith(".json") else a.read(name))

@pytest.mark.parametrize("change, said", [
    (dict(kind="reward"), "the mark of a router"), (dict(prompts=["one"]), "the table is missing or does not fit"), (dict(prompts=[]), "a text is missing"),
    (dict(alpha=2.), "the table"), (dict(encoder=dict(hashed="many")), "the encoder"), (dict(support=dict(kind="pca")), "."), (dict(parts=[1, 2]), "a text")])
def test_a_file_that_was_changed_is_refused(router, tmp_path, change, said):
    router.save(tmp_path/"a.zip")
    rewritten(tmp_path/"a.zip", tmp_path/"b.zip", lambda tree: tree | change)
    with pytest.raises(ValueError, match=f"b.zip must be a file written by router.save.*{said}"): load_router(tmp_path/"b.zip")

def test_foreign_damaged_and_newer_files_are_refused(router, reward, tmp_path):
    router.save(tmp_path/"a.zip")
    (tmp_path/"cut.zip").write_bytes((tmp_path/"a.zip").read_bytes()[:-200])
    (tmp_path/"text.zip").write_text("a router")
    reward.log_.write(tmp_path/"log.parquet")
    for name in ("cut.zip", "text.zip", "log.parquet"):
        with pytest.raises(ValueError, match=f"{name} must be a file written by router.save"): load_router(tmp_path/name)
    with pytest.raises(FileNotFoundError): load_router(tmp_path/"none.zip")
    rewritten(tmp_path/"a.zip", tmp_path/"new.zip", lambda tree: tree | dict(format=2))
    with pytest.raises(ValueError, match="format must be 1, got 2 in new.zip"): load_router(tmp_path/"new.zip")

def test_an_encoder_that_runs_code_is_not_loaded(router, tmp_path):
    router.save(tmp_path/"a.zip")
    rewritten(tmp_path/"a.zip", tmp_path/"b.zip", lambda tree: tree | dict(encoder=dict(name="x", revision=None, trust_remote_code=True, prefixes=None)))
    with pytest.raises(ValueError, match="ran code of its own"): load_router(tmp_path/"b.zip")

def test_what_makes_no_router_is_refused(reward):
    with pytest.raises(ValueError, match="reward must be a fitted CausalReward whose learner is the kernel, got NaiveReward"): query_router(NaiveReward(), PROMPTS, BASE)
    for bad in (0, 1.5, "a"):
        with pytest.raises(ValueError, match="alpha must lie above 0 and be at most 1"): query_router(reward, PROMPTS, BASE, bad)
    with pytest.raises(TypeError): query_router(reward, 7, BASE)


# ---- fresh queries

TASK = Task("kinds", pd.DataFrame(dict(query_id=[f"q{i}" for i in range(40)], query=[query_of(i) for i in range(40)])), lambda reply, item: 1., BASE)

@pytest.mark.parametrize("cells", [2, 20, 61, 500])
def test_fresh_cells_are_those_that_are_needed_and_never_more(cells):
    single, other = PROMPTS[1], PROMPTS[2]
    chosen = {i: other if k % 2 else single for k, i in enumerate(TASK.items["query_id"])}
    made = routed_plan(TASK, [BASE, single], chosen, cells)
    texts = made.cells["prompt_id"].map(made.prompts.set_index("prompt_id")["prompt"])
    met = texts.groupby(made.cells["query_id"]).agg(set)
    assert all(prompts == {BASE, single, chosen[i]} for i, prompts in met.items()) and len(made) == sum(map(len, met))
    assert len(made) <= max(cells, 3) and (len(met) == 40 or len(made) + 3 > cells)

def test_a_router_is_recommended_only_where_it_beats_both():
    ids = [f"q{i}" for i in range(60)]
    chosen = {i: "b" if k % 2 else "a" for k, i in enumerate(ids)}
    own = np.array([k % 2 for k in range(60)])
    scores = pd.DataFrame(dict(base=0., a=1. - own, b=own * 1.), index=ids)
    got = routed_gains(scores, chosen, "base", "a", .025)
    assert got.shown and got.gain.estimate == 1 and got.over_single.estimate == .5 and got.changed == 30 and got.n == 60
    assert not routed_gains(scores, dict.fromkeys(ids, "a"), "base", "a").shown
    assert not routed_gains(scores.assign(base=1.), chosen, "base", "a").shown and not routed_gains(scores.head(0), chosen, "base", "a").shown

def test_where_a_router_gains_nothing_it_is_shown_to_in_one_run_of_forty_at_most():
    ids, shown = [f"q{i}" for i in range(60)], 0
    chosen = {i: "b" if k % 2 else "a" for k, i in enumerate(ids)}
    for seed in range(600):
        scores = pd.DataFrame((rng(seed, "no router").random((60, 3)) < [.3, .7, .7]) * 1., index=ids, columns=["base", "a", "b"])
        shown += routed_gains(scores, chosen, "base", "a", .025).shown
    assert shown <= 15
