"""What prompts are made of: pieces without loss, parts with several wordings, families by rules."""
import copy, json, random, time, warnings

import numpy as np
import pandas as pd
import pytest

from causal_prompts.part_families import agreement, FAMILY_OF_PATTERN, family_of, family_rules, label_families, MEANINGS, parse_family
from causal_prompts.parts import Parts
from causal_prompts.patterns import PATTERNS
from causal_prompts.pieces import cut, KINDS
from causal_prompts.same_parts import conflict, same_words
from families_gold import HELD_OUT, SEEN

FRAGMENTS = ["Be brief.", "e.g. this", "3.5", "1. ", "- ", "* ", "  - ", "\t+ ", "\n", "\r\n", "\n\n", " ", "\t", "```", "```py\n", "~~~", "<a>", "</a>", "<rules>", "</rules>\n",
    "<example>", "</example>\n", "{query}", "{{ x }}", "{% if a %}", "{", "}", "[", "]", '{"a": 1}', "Q: ", "A: ", "Input: x\n", "Output: y\n", "Q: {query}", "# ", "## Head\n", "**Bold**\n",
    "---\n", "| a | b |\n", "读题。", "然后回答！", "こんにちは。", "اشرح الجواب؟ ", "ห้ามอธิบาย ", "ทำทีละขั้น", "नमस्ते।", "https://a.b/c?d=e. ", "Dr. Who", "No. 3", "etc. ", "…", "\u200d", "\ud800",
    "\x00", "\u2028", "\x85", "é", "🙂", "'", '"', "<x>", "</", "<", "$", "%s", "[INPUT]", "x", "lower case words go on and on for a very long line", "\r"]

def joined(pieces): return "".join(p.lead + p.text + p.gap for p in pieces)

def messy(n, seed=0):
    random_ = random.Random(seed)
    return ["".join(random_.choice(FRAGMENTS) for _ in range(random_.randrange(40))) for _ in range(n)]


# pieces

def test_pieces_of_any_text_give_it_back():
    for text in messy(5000):
        pieces = cut(text)
        assert joined(pieces) == text
        assert all(-1 <= p.parent < k and p.kind in KINDS for k, p in enumerate(pieces)), text
        assert not text.strip() or all(p.text.strip() for p in pieces if p.kind != "layout"), text

def test_parts_of_any_texts_give_them_back():
    texts = [t.replace("\ud800", "") for t in messy(2000, 1)] + [""]
    parts = Parts.of(texts)
    back = parts.pieces.assign(whole=parts.pieces["lead"] + parts.pieces["text"] + parts.pieces["gap"]).groupby("prompt")["whole"].sum()
    assert [back.get(i, "") for i in range(len(texts))] == texts

def test_hostile_texts_are_cut_in_time():
    for unit in ["{", "<a>\n", "</a>\n", "```\n", "- x\n", " - x\n", "Q: x\n", "A: x\n", "Q:\n\n", "{\n", "}\n", "| x\n", "# x\n", "**x\n", "- - ", "A. ", "..!", "<a b=", "\r", "e.g. "]:
        for tail in ("x", "</a>\n" * 3000, "}\n" * 3000):
            text = "A. " + unit * (20_000 // len(unit)) + tail
            start = time.process_time()
            assert joined(cut(text)) == text
            assert time.process_time() - start < 5, repr(unit)

def kinds(text): return [(p.kind, p.text, p.parent) for p in cut(text)]

def test_kinds_and_nesting():
    assert kinds("# Rules\n- Be brief. Stop.\n  - No lists.\n- [ ] Cite.\n## More\n1) One.") == [
        ("heading", "Rules", -1), ("item", "Be brief.", 0), ("sentence", "Stop.", 1), ("item", "No lists.", 1), ("item", "Cite.", 0), ("heading", "More", 0), ("item", "One.", 5)]
    assert kinds("<rules>\nBe brief.\n</rules>\nGo.") == [("tag", "<rules>", -1), ("sentence", "Be brief.", 0), ("end", "</rules>", 0), ("sentence", "Go.", -1)]
    assert kinds("Use <b>bold. type</b> here. Stop.") == [("sentence", "Use <b>bold. type</b> here.", -1), ("sentence", "Stop.", -1)]
    assert kinds("Run:\n```py\na. b\n```\nEnd.")[1] == ("code", "```py\na. b\n```", -1)
    assert kinds("Run:\n```py\na. b\n")[1] == ("code", "```py\na. b", -1), "an unclosed fence runs to the end"
    assert kinds('{"a": {"b": "x. y"},\n "c": 1}\nGo.')[0] == ("code", '{"a": {"b": "x. y"},\n "c": 1}', -1)
    assert [k for k, *_ in kinds("| a | b |\n|---|---|\n| 1. | 2 |\n\nGo.")] == ["table", "sentence"]

def test_examples_and_placeholders():
    text = "Classify.\n\nInput: I loved it. Truly.\nOutput: positive\n\nInput: Bad.\nOutput: negative\n\nInput: {query}\nOutput:"
    assert kinds(text) == [("sentence", "Classify.", -1), ("example", "Input: I loved it. Truly.\nOutput: positive", -1), ("example", "Input: Bad.\nOutput: negative", -1),
                           ("placeholder", "Input: {query}", -1), ("sentence", "Output:", -1)]
    assert kinds("<examples>\n<example>\nQ: a\nA: b\n</example>\n</examples>") == [("tag", "<examples>", -1), ("example", "<example>\nQ: a\nA: b\n</example>", 0), ("end", "</examples>", 0)]
    assert [k for k, *_ in kinds("{{ x }}\n<x>\nRead {query}.")] == ["placeholder", "placeholder", "sentence"]
    assert kinds("Question: {query} Think step by step. Text: \"{t}\" Label:") == [("placeholder", "Question: {query}", -1), ("sentence", "Think step by step.", -1), ("placeholder", 'Text: "{t}"', -1), ("sentence", "Label:", -1)]
    assert [k for k, *_ in kinds("Write the {language} API. {x} is given. Use {a} Code.")] == ["sentence"] * 3

@pytest.mark.parametrize("text, wanted", [
    ("Answer Yes or No. Then stop.", ["Answer Yes or No.", "Then stop."]), ("Use rule No. 3 only. Stop.", ["Use rule No. 3 only.", "Stop."]),
    ("Choose A, B, C or D. Explain.", ["Choose A, B, C or D.", "Explain."]), ("Mr. J. Smith paid $3.50, e.g. cash. Ok?", ["Mr. J. Smith paid $3.50, e.g. cash.", "Ok?"]),
    ("See https://a.b/c?d=e. Go. ", ["See https://a.b/c?d=e.", "Go."]), ("请思考。不要解释！", ["请思考。", "不要解释！"]), ("هل الجواب صحيح؟ لا تشرح.", ["هل الجواب صحيح؟", "لا تشرح."]),
    ("कदम दर कदम सोचो। उत्तर दो।", ["कदम दर कदम सोचो।", "उत्तर दो।"]), ("One.\r\nTwo.\r\n", ["One.", "Two."]), ("คิดทีละขั้นตอน\nห้ามอธิบาย", ["คิดทีละขั้นตอน", "ห้ามอธิบาย"]),
    ("You are a careful assistant who reads every question and\nnever guesses. Go.", ["You are a careful assistant who reads every question and\nnever guesses.", "Go."]),
    ("be brief. show work.", ["be brief.", "show work."]), ("Be brief. show work.", ["Be brief.", "show work."]), ("Commence p. ex. par un pas. Bien.", ["Commence p. ex. par un pas.", "Bien."]),
    ("Du bist ein Experte, z. B. in Physik. Gut.", ["Du bist ein Experte, z. B. in Physik.", "Gut."]), ("Sei kurz, d. h. ein Satz. Z. B. so.", ["Sei kurz, d. h. ein Satz.", "Z. B. so."]),
    ("Nenne u. a. Physik, z. T. Chemie, u. U. mehr. Los.", ["Nenne u. a. Physik, z. T. Chemie, u. U. mehr.", "Los."]), ("Da razones, p. ej. Una. Fin.", ["Da razones, p. ej. Una.", "Fin."]),
    ("Sois bref, c.-à-d. Un mot. Fin.", ["Sois bref, c.-à-d. Un mot.", "Fin."]), ("Use tools, e. g. Python, i. e. Code. Stop.", ["Use tools, e. g. Python, i. e. Code.", "Stop."]), ("Do a or b. A. is not asked.", ["Do a or b.", "A. is not asked."]),
    ("Run `a.b(c). D` first. Stop.", ["Run `a.b(c). D` first.", "Stop."]), ("**Be brief.** Stop.", ["**Be brief.**", "Stop."]),
])
def test_sentences_of_many_scripts(text, wanted): assert [p.text for p in cut(text)] == wanted

@pytest.mark.recorded
def test_recorded_prompts_come_back():
    from causal_prompts.recordings import data_folder
    texts = pd.read_parquet(data_folder()/"capo_optimizer_prompts.parquet")["prompt"].dropna().unique()[:2000]
    assert all(joined(cut(t)) == t for t in texts)

def test_ten_thousand_prompts_take_seconds():
    random_, known = random.Random(0), [f"Rule {a}: always mind the {b} of the {c}." for a in "abcdef" for b in ("cost", "risk", "time") for c in ("plan", "text")]
    prompts = [" ".join(random_.choices(known, k=20)) if i % 2 else "\n".join("- " + s for s in random_.choices(known, k=20)) for i in range(10_000)]
    start = time.process_time()
    parts = Parts.of(prompts)
    assert parts.presence.sum() == 200_000 and len(parts) == 36
    assert time.process_time() - start < 30 # five on a free machine


# parts

class Table:
    "An encoder whose cosines are given: texts of one name share a direction."
    def __init__(self, **names): self.names, self.asked = {t: k for k, ts in names.items() for t in ts}, []
    def encode(self, texts, role="prompt"):
        self.asked += texts
        keys = sorted({*self.names.values()})
        E = np.zeros((len(texts), len(keys) + 997))
        for i, t in enumerate(texts): E[i, keys.index(self.names[t]) if t in self.names else len(keys) + sum(map(ord, t)) % 997] = 1
        return E

def test_same_words_are_one_part_without_an_encoder():
    parts = Parts.of(["Think in 1,000 steps. Go.", "think in  1,000 steps!", "- **Think** in 1,000 steps", "Think in {n1} steps."])
    row = parts.table.iloc[0]
    assert same_words(row["text"]) == "think in 1,000 steps" and row["wordings"] == 3 and row["n_prompts"] == 3 and len(parts) == 3
    assert same_words("Return 1.5.", "code") != same_words("Return 2.5.", "code")
    assert len(Parts.of(["Input: 1\nOutput: 2", "Input: 3\nOutput: 4"])) == 2, "in an example a number is the content"

def test_near_wordings_are_one_part_and_each_is_encoded_once():
    encoder = Table(check=["Check it.", "Verify your work."])
    parts = Parts.of(["Check it. Go.", "Verify your work. Go.", "Check it."], encoder)
    assert parts.presence.toarray().tolist() == [[1, 1], [1, 1], [1, 0]] or parts.presence.toarray().tolist() == [[1, 1], [1, 1], [0, 1]]
    assert parts.wordings.set_index("text")["how"].to_dict() == {"Check it.": "words", "Go.": "words", "Verify your work.": "near"}
    assert len(encoder.asked) == len(set(encoder.asked)) == 3
    assert len(Parts.of(["Check it. Go.", "Verify your work. Go."])) == 3, "without an encoder only the same words merge"

NEGATED = [("Explain.", "Do not explain."), ("Explain it.", "Don't explain it."), ("Always cite.", "Never cite."), ("Use lists.", "Avoid lists."), ("You can use tools.", "You can't use tools."), ("Use tools.", "Use no tools."),
    ("Antworte mit Begründung.", "Antworte ohne Begründung."), ("Explica tu respuesta.", "No expliques tu respuesta."), ("Explique ta réponse.", "N'explique pas ta réponse."), ("请解释。", "请不要解释。"), ("説明してください。", "説明しないでください。"),
    ("اشرح الجواب.", "لا تشرح الجواب."), ("Объясни ответ.", "Не объясняй ответ."), ("Cevabı açıkla.", "Cevabı açıklama."), ("Use at most 3 words.", "Use at least 3 words."), ("Be formal.", "Be informal."),
    ("Answer before thinking.", "Think before answering."), ("Answer {a}.", "Answer {b}.")]

@pytest.mark.parametrize("a, b", NEGATED)
def test_a_sentence_never_merges_with_its_opposite(a, b):
    parts = Parts.of([a, a, b], Table(one=[a, b]))
    assert len(parts) == 2 and conflict(a, b) and conflict(b, a)
    assert Parts.of([a], Table(one=[a, b])).of_new([b]).pieces["how"].tolist() == ["unknown"]

APART = [("Use at most 5 words.", "Use at most 50 words."), ("Use at most five words.", "Use at most 50 words."), ("Use twenty words.", "Use fifty words."), ("Think in 3 steps.", "Think in steps."), ("用三句话回答。", "用五句话回答。"),
    ("Reply with 'yes'.", "Reply with 'sure'."), ("Call `f` first.", "Call `g` first."), ('End with "A".', 'End with "B".'), ("Answer with ✅.", "Answer with ❌."), ("Pay in €.", "Pay in $."), ("Antworte auf 中文.", "Antworte auf 日本語."), ("用JSON回答。", "用YAML回答。")]

@pytest.mark.parametrize("a, b", APART)
def test_another_number_or_token_is_another_part(a, b):
    parts = Parts.of([a, a, b], Table(one=[a, b]))
    assert len(parts) == len(Parts.of([a, b])) == 2 and conflict(a, b) and conflict(b, a)
    assert Parts.of([a], Table(one=[a, b])).of_new([b]).pieces["how"].tolist() == ["unknown"]
    assert len(Parts.of([a, b], Table(one=[a, b]), same={a: "one", b: "one"})) == 1, "the user's word counts"

def test_the_same_number_in_other_words_may_merge():
    assert not conflict("Use at most 5 words.", "Use no more than five words.") and not conflict("Reply 'yes'.", "Only reply 'Yes', please.")

@pytest.mark.parametrize("prompts, wanted", [
    (["Check it. Verify all.", "Check it. Go.", "Verify all."], [["Check it."], ["Go."], ["Verify all."]]),
    (["Check it. Go.", "Check it.", "Verify all. Test it.", "Check it."], [["Check it.", "Test it."], ["Go."], ["Verify all."]]), # both near the first, which stands with neither
    (["Check it. Verify all.", "check it! Go.", "Verify all. Stop."], [["Check it.", "check it!"], ["Go."], ["Stop."], ["Verify all."]]),
    (["CHECK IT! Verify all.", "Check it.", "Check it. Go."], [["CHECK IT!", "Check it."], ["Go."], ["Verify all."]]), # by another wording of the part
])
def test_wordings_in_one_prompt_never_merge(prompts, wanted):
    parts = Parts.of(prompts, Table(one=["Check it.", "check it!", "CHECK IT!", "Verify all.", "Test it."]))
    assert sorted(sorted(t) for t in parts.wordings.groupby("part")["text"].agg(list)) == wanted

def test_wordings_in_one_prompt_never_merge_by_way_of_a_part_given_by_hand():
    encoder = Table(a=["Check it.", "Verify all."], b=["Test it."])
    parts = Parts.of(["Verify all. Test it.", "Check it."], encoder, same={"Check it.": "check", "Test it.": "check"})
    assert parts.presence.max() == 1 and len(parts) == 2

class English:
    "An encoder that knows the words of one script; every other letter is one unknown sign to it."
    def __init__(self, known=str.isascii): self.known = known
    def encode(self, texts, role="prompt"):
        E = np.zeros((len(texts), 512))
        for i, t in enumerate(texts):
            for w in t.casefold().replace("。", "").split(): E[i, 1 + sum(ord(c) * k for k, c in enumerate(w, 1)) % 511 if self.known(w) else 0] = 1
        return E

CHINESE = ["请一步一步地思考。", "请简短回答。", "你是一位专家。", "请检查你的答案。", "谢谢。", "回答问题。"]

def test_texts_that_the_encoder_cannot_read_stay_apart_and_this_is_said_once():
    english = ["please go now over all the steps of it", "please go now over all these steps of it again", "Sing."]
    with pytest.warns(UserWarning, match=r"cannot read texts in this script: Chinese or Japanese \(1\.00\).*same=") as said:
        parts = Parts.of([*CHINESE, "谢谢", *english], English())
    assert len([w for w in said if "cannot read" in str(w.message)]) == 1
    of = dict(zip(parts.wordings["text"], parts.wordings["part"]))
    assert len({of[t] for t in CHINESE}) == 6 and of["谢谢"] == of["谢谢。"], "the same words are one part as ever"
    assert of[english[0]] == of[english[1]] != of["Sing."], "what it can read merges in the same log"
    assert parts.of_new(["请用列表。", "谢谢！"]).pieces["how"].tolist() == ["unknown", "words"]

def test_where_the_encoder_reads_the_script_wordings_merge():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(Parts.of(["请检查答案。", "请核对结果。", "谢谢。"], Table(one=["请检查答案。", "请核对结果。"]))) == 2
        assert len(Parts.of(["Check it.", "Verify all.", "Test that."], Table(one=["Check it.", "Verify all.", "Test that."]))) == 1, "many wordings of one part are no sign of an encoder that cannot read"

def test_an_encoder_that_reads_no_latin_letters_is_found_too():
    with pytest.warns(UserWarning, match=r"Latin \(1\.00\)"): parts = Parts.of(["Be brief.", "Think well.", "Sing.", "Thanks."], English(lambda w: not w.isascii()))
    assert len(parts) == 4

def test_negations_that_agree_may_merge():
    assert not conflict("Do not explain.", "Never explain anything.") and not conflict("No more than 3 words.", "At most 3 words.")

def test_one_word_apart_must_be_nearer():
    class Near:
        def encode(self, texts, role="prompt"): return np.array([[1, 0] if "English" in t or "Check" in t else [.85, np.sqrt(1 - .85**2)] for t in texts])
    assert len(Parts.of(["Answer in English.", "Answer in French."], Near())) == 2
    assert len(Parts.of(["Check it.", "Verify all of it."], Near())) == 1
    assert len(Parts.of(["Check it.", "Verify all of it."], Near(), near=.9)) == 2

def test_ids_are_the_same_in_any_order_and_in_another_log():
    prompts = ["A one. B two.", "B two. C three!", "c  three"]
    ids = lambda p: set(Parts.of(p).table["part"])
    assert ids(prompts) == ids(prompts[::-1]) and ids(["b two"]) < ids(prompts)

def test_the_users_word_counts_for_merging_and_splitting():
    parts = Parts.of(["Think in 3 steps. Check it.", "Think in 5 steps. Verify all."])
    edited = parts.wordings.copy()
    edited.loc[edited["text"] == "Think in 5 steps.", "part"] = "five"
    edited.loc[edited["text"].isin(["Check it.", "Verify all."]), "part"] = "check"
    again = Parts.of([*parts.prompts, "verify all!"], same=edited)
    assert again.presence[:, list(again.table["part"]).index("check")].toarray().ravel().tolist() == [1, 1, 1]
    assert dict(zip(again.wordings["text"], again.wordings["part"]))["Think in 5 steps."] == "five"
    assert Parts.of(again.prompts, same=again.wordings).table["part"].tolist() == again.table["part"].tolist()
    assert Parts.of(["Check it. Verify all."], same={"Check it.": "c", "Verify all.": "c"}).presence.toarray().tolist() == [[2]]
    with pytest.raises(ValueError, match="columns text and part"): Parts.of(["a"], same=pd.DataFrame(dict(x=[1])))

def test_a_heading_and_a_sentence_of_one_text_stay_two_when_the_table_comes_back():
    prompts = ["# Rules\nBe brief.", "Rules\n# Be brief"]
    parts = Parts.of(prompts)
    again = Parts.of(prompts, same=parts.wordings)
    assert len(parts) == len(again) == 4 and again.table["part"].tolist() == parts.table["part"].tolist()

@pytest.mark.parametrize("named", [None, dict(check=["Check it.", "Go."])])
def test_parts_come_back_from_their_state(named):
    encoder = Table(check=["Check it.", "Verify your work."])
    parts = Parts.of(["Check it. Go.", "# Verify\nVerify your work. Go.", ""], encoder, named=named)
    back = Parts.from_state(json.loads(json.dumps(parts.state())), encoder)
    assert copy.deepcopy(parts) is parts # frozen; a copy would copy its encoder
    assert back.table.equals(parts.table) and (back.presence != parts.presence).nnz == 0 and back.pieces.equals(parts.pieces)
    assert back.of_new(["Verify your work."]).pieces["part"].tolist() == parts.of_new(["Verify your work."]).pieces["part"].tolist()

def test_the_matrices_agree_with_the_pieces():
    parts = Parts.of(["Go. Stop. Stop!", "Stop.", "", "  \n"])
    a = list(parts.table["text"]).index("Stop.")
    assert parts.presence.shape == parts.positions.shape == parts.wording_ids.shape == (4, 2)
    assert parts.presence[:, a].toarray().ravel().tolist() == [2, 1, 0, 0]
    assert parts.positions[:, a].toarray().ravel() == pytest.approx([2 / 3, 1, 0, 0])
    assert parts.wordings["text"][parts.wording_ids[0, a] - 1] == "Stop."
    assert (parts.presence > 0).sum() == (parts.positions > 0).sum() == (parts.wording_ids > 0).sum()
    assert parts.table["position"].between(0, 1).all() and parts.table["n_prompts"].tolist() == [2, 1]

def test_new_prompts_are_exact_the_same_words_near_or_unknown():
    encoder = Table(check=["Check it.", "Verify your work."], sing=["Sing."])
    known = Parts.of(["Check it. Go in 3 steps."], encoder)
    new = known.of_new(["Check it. Verify your work. go in  3 steps! Sing.", ""])
    assert new.pieces["how"].tolist() == ["exact", "near", "words", "unknown"]
    assert new.presence.shape == (2, 2) and new.table is known.table and new.presence.sum() == 3
    assert new.unknown["text"].tolist() == ["Sing."] and new.unknown["part"].tolist() == [""] and new.unknown["nearest"].isin(known.table["part"]).all()
    assert new.unknown["cosine"].between(-1, 1).all() and np.isnan(Parts.of(["a"]).of_new(["b"]).pieces["cosine"]).all()
    assert (known.of_new(known.prompts).presence != known.presence).nnz == 0

def test_blocks_of_ones_own():
    blocks = dict(steps="Think step by step. Slowly.", brief=["Be brief.", "Keep it short."])
    prompts = ["Solve it. Think step by step. Slowly.\nBe brief.", "Solve it.\n  - Keep it short."]
    parts = Parts.of(prompts, named=blocks)
    assert {"steps", "brief"} < set(parts.table["part"]) and parts.of_new(["Be brief. x"]).pieces["part"].tolist()[0] == "brief"
    assert parts.presence[:, list(parts.table["part"]).index("brief")].toarray().ravel().tolist() == [1, 1]
    back = parts.pieces.assign(whole=parts.pieces["lead"] + parts.pieces["text"] + parts.pieces["gap"]).groupby("prompt")["whole"].sum()
    assert list(back) == prompts
    listed = Parts.of(["A b. C d.", "C d."], named=[["A b. C d."], ["C d."]])
    assert listed.table["text"].tolist() == ["A b. C d.", "C d."] and set(listed.table["kind"]) == {"block"}
    with pytest.raises(ValueError, match="must list texts of prompt 0 in their order, got 'x'"): Parts.of(["a"], named=[["x"]])
    with pytest.raises(ValueError, match="of each prompt, here 1, got 0"): Parts.of(["a"], named=[])
    with pytest.raises(ValueError, match="at least one block"): Parts.of(["a"], named={})

def test_a_prompt_from_parts():
    prompts = ["You are kind.\n\n# Rules\n1. Be brief.\n2. Cite.\n3. Stop.\n\n{query}", "<r>\n- One.\n- Two.\n</r>\nGo."]
    parts = Parts.of(prompts)
    ids = lambda i: list(parts.pieces["part"][(parts.pieces["prompt"] == i) & (parts.pieces["part"] != "")])
    assert [parts.join(ids(i)) for i in (0, 1)] == prompts
    named = dict(zip(parts.table["text"], parts.table["part"]))
    assert parts.join([named["Stop."], named["Be brief."], named["Rules"]]) == "# Rules\n1. Be brief.\n2. Stop."
    with pytest.raises(ValueError, match="must name parts of .table"): parts.join(["nothing"])

def test_what_is_shown():
    parts = Parts.of(["You are a judge. <b> & Sing."])
    assert "role" in parts._repr_markdown_() and repr(parts).startswith("Parts(2 parts")
    shown = parts.highlight("You are a judge. <script>x</script> Dance.")
    assert "<script>" not in shown and "in 1 of 1 prompts" in shown and "dashed" in shown

@pytest.mark.parametrize("args, error, message", [
    (dict(prompts=[]), ValueError, "at least one text"), (dict(prompts=["a", None]), TypeError, r"prompts\[1\] must be a text, got NoneType"),
    (dict(prompts=["\ud800"]), ValueError, "half of a surrogate pair"), (dict(prompts=["a"], near=1.5), ValueError, "near must be in"),
])
def test_bad_input_is_refused(args, error, message):
    with pytest.raises(error, match=message): Parts.of(**args)


# families

def test_the_rules_on_sentences_they_have_seen_and_on_others():
    alike = lambda pairs: np.mean([family_of(t) == f for t, f in pairs])
    assert alike(SEEN) > .95 and .75 < alike(HELD_OUT) < .95, "56 of 64 that the rules were not written for"
    said = [family_of(t) for t, _ in HELD_OUT]
    wrong = [f for f, (_, gold) in zip(said, HELD_OUT) if f is not None and f != gold]
    assert len(wrong) <= 3, "what no rule knows is missing rather than wrong"
    assert agreement(said, [f for _, f in HELD_OUT]).kappa > .75

def test_the_table_of_rules_can_be_extended():
    rules = pd.concat([pd.DataFrame([("song", "sing/hum", "en")], columns=["family", "rule", "language"]), family_rules()])
    assert family_of("Sing.") is None and family_of("Hum a tune.", rules) == "song" and family_of("Think step-by-step.", rules) == "step by step"
    assert family_of("Denke Schritt für Schritt.") == "step by step" and family_of("DON’T EXPLAIN.") == "brevity"
    assert set(family_rules()["family"]) == set(MEANINGS)

def test_every_pattern_of_paper_a_has_its_family():
    assert set(FAMILY_OF_PATTERN) == set(PATTERNS) and {f for f in FAMILY_OF_PATTERN.values() if f} <= set(MEANINGS)

@pytest.mark.parametrize("reply, wanted", [
    ("role", "role"), ("**Meta-Cognitive**.", "meta-cognitive"), ("It might be role.\nAnswer: step_by_step", "step by step"), ("Family: Step-by-step", "step by step"), ("role or format", None), ("none", None),
    ("", None), (None, None), ("I cannot say.", None), ("<think>role? format?</think>\nbrevity", "brevity"), ("none of role", None),
])
def test_replies_of_a_labeller_are_read_or_missing(reply, wanted): assert parse_family(reply) == wanted

def test_a_labeller_is_asked_once_a_text():
    asked = []
    def llm(text): asked.append(text); return "role" if "You are" in text.split("<sentence>")[1] else "?"
    found = label_families(Parts.of(["You are a judge. Sing."]), llm)
    assert sorted(found["family"].map(str)) == ["None", "role"] and len(asked) == 2 and all(m in asked[0] for m in MEANINGS)
    assert label_families(["a", "a"], llm)["family"].isna().all() and len(asked) == 3
    with pytest.raises(TypeError, match="function from text to text"): label_families(["a"], "role")

def test_families_of_parts_can_be_replaced():
    parts = Parts.of(["You are a judge. Sing."])
    of = lambda p: dict(zip(p.table["text"], p.table["family"]))
    assert of(parts) == {"You are a judge.": "role", "Sing.": None}
    rules = pd.DataFrame([("song", "sing")], columns=["family", "rule"])
    assert of(parts.with_families(rules)) == {"You are a judge.": None, "Sing.": "song"} and of(parts.with_families({"Sing.": "x"}))["Sing."] == "x"
    assert of(parts.with_families(label_families(parts, lambda _: "brevity"))) == {"You are a judge.": "brevity", "Sing.": "brevity"}

def test_agreement_counts_what_is_missing():
    found = agreement(["a", "b", None, "a"], ["a", "b", "a", None])
    assert found.share == .5 and found.both == 1 and found.missing == (1, 1) and found.table.to_numpy().sum() == 4
    assert agreement(["a"], ["a"]).kappa == 1 and "alike" in found._repr_markdown_()
    with pytest.raises(ValueError, match="label the same texts"): agreement(["a"], [])
