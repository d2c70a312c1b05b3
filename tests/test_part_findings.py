"What the parts of prompts do: the sentence, the table, the picture; what cannot be told is named; a study shows it where prompts share parts."
import json, warnings

import numpy as np
import pandas as pd
import pytest

from causal_prompts.causal import CausalReward
from causal_prompts.core import Finding
from causal_prompts.part_findings import PART_COLUMNS, part_rows, parts_if_shared, parts_to_read, what_pairs_do, what_parts_do
from causal_prompts.parts import Parts
from causal_prompts.reporting import as_text
from causal_prompts.studies import study
from causal_prompts.triplets import Triplets
from causal_prompts.world_texts import IDEAS
from causal_prompts.worlds import World
from fakes import Words
from test_cli import Hashed, log_frame

SENTENCES = ["Think step by step.", "Check the result.", "You are an expert.", "Name the units.", "Use short words.", "Quote the source."]


def fitted(frame, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore") # few queries
        log = frame if isinstance(frame, Triplets) else Triplets(frame)
        return CausalReward(**dict(encoder=Words(), learner="kernel", folds=0) | settings).fit(log)


def shared(n=150, prompts=24, k=4, effects=(.3, 0, 0, 0, 0, 0), pair=0., seed=0, always=(), has=None):
    "A randomised log of prompts from parts, each in or out by chance; the first two bring `pair` more together; `always` names pairs that stand together."
    r = np.random.default_rng(seed)
    has = r.random((prompts, len(effects))) < .5 if has is None else np.array(has, bool)
    has[0], prompts = False, len(has)
    for a, b in always: has[:, b] = has[:, a]
    gain = has @ np.array(effects) + pair * (has[:, 0] & has[:, 1]) - (sum(effects) + pair) / 2
    texts = [" ".join(["Answer it.", *np.array(SENTENCES)[:len(effects)][h]]) for h in has]
    rows = []
    for i in range(n):
        for p in r.permutation(prompts)[:k]:
            rows.append((f"What are {i} and {i % 7}?", texts[p], .5 + .1 * (i % 3 - 1) + gain[p] + .2 * (r.random() - .5), ["a", "b"][i % 2]))
    return pd.DataFrame(rows, columns=["query", "prompt", "score", "kind"])


def permuted(frame, seed): return frame.assign(score=np.random.default_rng([7, seed]).permutation(frame["score"].to_numpy()))


# ---------------------------------------------------------------- known truth

@pytest.fixture(scope="module")
def confounded():
    "Better prompts went to harder queries; each idea has three wordings, put together by hand."
    world = World.preset("confounded-hidden")
    log = world.log(n_queries=1500, n_prompts=60)
    parts = Parts.of(log.prompts["prompt"], same={text: idea for idea, texts in IDEAS.items() for text in texts})
    return world, log, parts, fitted(log, parts=parts, baseline=world.baseline)


def test_the_finding_names_the_truly_best_or_worst_idea_where_raw_means_mislead(confounded):
    world, log, parts, reward = confounded
    found, truth = what_parts_do(reward), world.ideas.set_index("idea")["mean"]
    assert found.verdict == "ok" and found.facts["shown"]
    named = max(found.facts["shown"], key=lambda row: row["effect"])
    idea = found.table.set_index("part").loc[named["part"], "id"]
    assert idea in (truth.idxmax(), truth.idxmin()) and "helps most" in found.reading and named["text"].split()[0] in found.reading
    row = dict(zip(log.prompts["prompt"], range(len(log.prompts))))
    raw = {}
    for part, column in zip(parts.table["part"], parts.presence.toarray().T):
        held = log.frame["prompt"].map(lambda p: column[row[p]] > 0)
        raw[part] = log.frame["score"][held].mean() - log.frame["score"][~held].mean()
    shown = found.table[found.table["q"] < .05]
    effect = dict(zip(shown["id"], shown["effect"]))
    assert any(raw[i] * effect[i] < 0 for i in effect)
    assert all(effect[i] * truth[i] > 0 for i in effect if abs(truth[i]) > .02)


def test_a_null_log_says_that_no_effect_could_be_shown():
    quiet = 0
    for seed in range(20):
        found = what_parts_do(fitted(permuted(shared(n=80, seed=seed), seed)))
        quiet += found.verdict == "not shown" and "no effect could be shown" in found.reading.lower()
    assert quiet >= 18


def test_parts_that_always_stand_together_are_named_together():
    found = what_parts_do(fitted(shared(always=[(0, 1)])))
    row = found.table.iloc[0]
    assert "Think step by step." in row["part"] + row["text"] and row["company"] == "with Check the result." and "with Check" in row["part"]
    assert found.reading.startswith("'Think step by step.' (with Check the result.) helps most: +") and row["effect"] == pytest.approx(.3, abs=.02)
    assert found.facts["together"] == ["'Think step by step.' with Check the result."] and "One effect between them: 'Think step by step.' with Check the result." in found.advice
    assert "Check the result." not in set(found.table["text"])


def test_parts_that_depend_on_each_other_and_parts_of_few_prompts_are_named():
    a, b, c = SENTENCES[:3]
    texts = [f"{a} {b}", f"{b} {c}", f"{a} {c}", f"{a} {b}!"]
    r = np.random.default_rng(1)
    rows = [(f"query {i}", t, r.random()) for i in range(60) for t in texts]
    found = what_parts_do(fitted(pd.DataFrame(rows, columns=["query", "prompt", "score"])))
    assert found.facts["few"] and "In fewer than 5 prompts:" in found.advice


def test_effects_against_the_average_of_a_set_are_said_to_be():
    from itertools import combinations
    frame = shared(has=[[0] * 6, *[[i in three for i in range(6)] for three in combinations(range(6), 3)]])
    found = what_parts_do(fitted(frame[frame["prompt"] != "Answer it."]))
    said = "against the average of these 6, of which every prompt holds 3"
    assert found.table["effect"].notna().all() and set(found.table["apart"]) == {said} and found.facts["apart"] == [] and found.facts["averages"] == [said]
    assert found.verdict == "ok" and "(against the average of these 6) helps most: +" in found.reading and len(found.reading.split()) <= 30
    assert said in found.advice and "vary how many" in found.advice and "one without the other" not in found.advice
    assert found.table["effect"][0] == pytest.approx(.25, abs=.03) and found.plot()


def test_wordings_that_count_as_one_part_are_listed():
    frame = shared()
    loud = frame["prompt"].isin(list(frame["prompt"].unique())[::4])
    found = what_parts_do(fitted(frame.assign(prompt=frame["prompt"].where(~loud, frame["prompt"].str.upper()))))
    assert found.table["text"][0] == "Think step by step." and found.table["wordings"][0] == 2
    assert "Counted as one part: 'Think step by step.' = 'THINK STEP BY STEP.'" in found.advice and "wordings" in parts_to_read(found).table
    assert "'Think step by step.' = 'THINK STEP BY STEP.'" in found.facts["merged"]
    plain = what_parts_do(fitted(frame))
    assert "Counted as one" not in plain.advice and plain.facts["merged"] == [] and "wordings" not in parts_to_read(plain).table


# ---------------------------------------------------------------- what is shown

def test_effects_are_those_of_the_reward_and_the_clearest_stands_first():
    reward = fitted(shared())
    found, own = what_parts_do(reward), reward.part_effects().set_index("part")
    assert list(found.table) == PART_COLUMNS and found.table["part"].is_unique
    for name in ("effect", "lo", "hi", "q", "n"): assert found.table[name].to_numpy() == pytest.approx(own.loc[found.table["id"], name].to_numpy(float))
    assert (found.table["effect"].abs() / found.table["se"]).is_monotonic_decreasing
    assert found.form[0] == "forest" and len(found.data) <= 20 and found.plot() and found.facts["parts"] == len(found.table)
    assert Finding.from_dict(json.loads(json.dumps(found.to_dict()))).reading == found.reading


@pytest.mark.parametrize("effects", [(.3, 0, 0, 0), (.02, -.02, .01, .02, 0, 0), (0, 0, 0, 0)])
def test_wide_intervals_exclude_zero_exactly_where_an_effect_is_shown(effects):
    reward = fitted(shared(n=60, effects=effects))
    for table in (what_parts_do(reward).table, what_pairs_do(reward).table):
        assert list((table["wide_lo"] > 0) | (table["wide_hi"] < 0)) == list(table["q"] < .05) and (table["wide_lo"] <= table["lo"].astype(float) + 1e-12).all()


def test_harm_alone_is_said_as_harm():
    found = what_parts_do(fitted(shared(effects=(-.3, 0, 0, 0))))
    assert found.table["effect"][0] == pytest.approx(-.3, abs=.02) and found.reading.startswith("'Think step by step.' harms most: -") and "none shown to help" in found.reading


def test_by_a_column_of_the_log():
    frame = shared()
    found = what_parts_do(fitted(Triplets(frame, covariates=["kind"])), by="kind")
    assert list(found.table)[:2] == ["kind", "part"] and set(found.table["kind"]) == {"a", "b"} and found.form[0] == "heat"
    assert set(found.table["part"]) == set(what_parts_do(fitted(frame)).table["part"]) and found.plot() and "where kind is" in found.reading


def test_pairs():
    frame = shared(n=300, prompts=40, effects=(.1, .1, 0, 0), pair=.3)
    found = what_pairs_do(fitted(frame))
    assert found.verdict == "ok" and {found.table["first"][0], found.table["second"][0]} == set(SENTENCES[:2]) and found.table["pair"].is_unique
    assert "beyond their sum" in found.reading and found.plot()
    null = what_pairs_do(fitted(permuted(frame, 1)))
    assert null.verdict == "not shown" and "No effect could be shown" in null.reading


def test_pairs_that_the_log_cannot_tell_apart_are_said_to_be():
    "Eight of sixteen combinations: the pair of the first two parts is that of the last two."
    frame = shared(n=300, has=[[a, b, c, a ^ b ^ c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], effects=(.1, .1, 0, 0), pair=.3)
    found = what_pairs_do(fitted(frame))
    assert found.verdict == "ok" and len(found.table) == 3 and "(or others) add" in found.reading and len(found.reading.split()) <= 30
    pair = [{SENTENCES.index(found.table[c][0]) for c in ("first", "second")}, {i for i, s in enumerate(SENTENCES) if s in found.table["company"][0]}]
    assert {0, 1} in pair and {2, 3} in pair and found.table["company"][0] in found.advice and "to distinguish them" in found.advice and found.plot()


def test_labels_differ_and_a_reading_has_thirty_words_at_most():
    lead = "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 2
    frame = shared(always=[(0, 1)])
    for sentence, letter in zip(SENTENCES, "one two three four five six".split()): frame["prompt"] = frame["prompt"].str.replace(sentence, f"Say {lead}{letter}.", regex=False)
    for effects in (frame, permuted(frame, 0), frame.assign(score=1 - frame["score"])):
        reward = fitted(effects.assign(kind=frame["kind"] + " of a long name, much longer than others"), parts=Parts.of(frame["prompt"].unique()))
        found = [what_parts_do(reward), what_parts_do(reward, by="kind"), what_pairs_do(reward)]
        assert all(len(f.reading.split()) <= 30 for f in found), [f.reading for f in found]
        assert found[0].table["part"].is_unique and all(f.plot() for f in found)


# ---------------------------------------------------------------- where there is nothing

def test_prompts_that_share_nothing_have_no_finding():
    r = np.random.default_rng(0)
    rows = [(f"query {i}", t, r.random()) for i in range(60) for t in SENTENCES]
    reward = fitted(pd.DataFrame(rows, columns=["query", "prompt", "score"]))
    assert parts_if_shared(reward) is None and list(part_rows(None)) == PART_COLUMNS
    with pytest.raises(ValueError, match="need prompts that share parts, got none"): what_parts_do(reward)
    with pytest.raises(ValueError, match="effects of pairs need two parts"): what_pairs_do(reward)


ONE, TWO = "Think step by step.", "Check the result."

@pytest.mark.parametrize("texts, reason", [
    ([f"{ONE} {TWO}", f"{TWO} {ONE}"], "the prompts hold the same parts and differ only in their order;"),
    ([f"{ONE} " + " ".join([TWO] * k) for k in (1, 2, 3)], "the prompts hold the same parts and differ only in how often a part is said;"),
    ([f"{ONE} {TWO}", f"{TWO} {ONE} {TWO}"], "differ only in their order and in how often a part is said;"),
    ([f"{ONE} {TWO}", f"{ONE}\n\n{TWO}"], "differ only in wording or layout;"),
    ([f"{ONE} {TWO}", "Sing."], "none that two prompts hold and others lack"),
])
def test_prompts_without_effects_of_parts_are_told_the_true_reason(texts, reason):
    r = np.random.default_rng(0)
    rows = [(f"query {i}", t, r.random()) for i in range(60) for t in texts]
    reward = fitted(pd.DataFrame(rows, columns=["query", "prompt", "score"]))
    assert parts_if_shared(reward) is None
    with pytest.raises(ValueError, match=reason): what_parts_do(reward)


def test_prompts_that_are_names_have_no_finding():
    r = np.random.default_rng(0)
    rows = [(f"query {i}", t, r.random()) for i in range(60) for t in ("v1", "v2", "v3")]
    assert parts_if_shared(fitted(pd.DataFrame(rows, columns=["query", "prompt", "score"]))) is None


# ---------------------------------------------------------------- in a study

def test_a_wide_table_is_cut_to_the_terminal():
    found = what_parts_do(fitted(shared()))
    for width in (40, 80, 200): assert "part" in as_text([("Parts", found)], width=width)
    assert list(parts_to_read(found).table) == ["part", "effect", "lo", "hi", "prompts", "queries"] and list(found.table) == PART_COLUMNS


def headings(made): return [section[0] for section in made.sections()]


def test_a_study_shows_the_parts_under_the_prompts(tmp_path):
    made = study(shared(), encoder=Hashed())
    assert list(made.parts) == PART_COLUMNS and made.parts["text"][0] == "Think step by step." and made.parts["q"][0] < .05
    assert made.parts is made.parts and "parts" in dir(made) and ".parts" in repr(made) and made.findings()["parts"].verdict == "ok"
    shown = headings(made)
    assert shown.index("What does each part of the prompts do?") == shown.index("What does each prompt bring?") + 1
    assert "What does each part of the prompts do?" in made.report(tmp_path/"a.html").read_text(encoding="utf-8")
    folder = made.export(tmp_path/"out")
    back = pd.read_csv(folder/"parts.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(back, made.parts, check_dtype=False)
    whole = json.loads((folder/"study.json").read_text(encoding="utf-8"))
    pd.testing.assert_frame_equal(pd.DataFrame(whole["parts"]), made.parts, check_dtype=False)
    assert Finding.from_dict(whole["findings"]["parts"]).reading == made.findings()["parts"].reading


def test_a_study_of_unrelated_prompts_has_none(tmp_path):
    frame = log_frame()
    words = dict(zip(sorted(frame["prompt"].unique()), SENTENCES))
    made = study(frame.assign(prompt=frame["prompt"].map(words)), encoder=Hashed())
    assert made.parts.empty and list(made.parts) == PART_COLUMNS and "parts" not in made.findings()
    assert "What the parts do" not in headings(made) and "What the parts do" not in made.report(tmp_path/"a.html").read_text(encoding="utf-8")
    folder = made.export(tmp_path/"out")
    assert list(pd.read_csv(folder/"parts.csv")) == PART_COLUMNS and json.loads((folder/"study.json").read_text())["parts"] == []
