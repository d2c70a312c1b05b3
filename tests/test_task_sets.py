"Our own task sets and prompts: the texts that were recorded, true references and difficulties, graders that no copy fools, a design that keeps its parts apart."
import json, re, subprocess, sys
from itertools import combinations

import numpy as np
import pytest

from causal_prompts.copy_graders import first_named, json_fields, only_named, uncopied, uncopied_number, unquoted
from causal_prompts.core import content_id
from causal_prompts.parts import Parts
from causal_prompts.prompt_sets import SHOTS, prompt_bank, prompt_set
from causal_prompts.recordings import load_table
from causal_prompts.separation import pair_separable
from causal_prompts.task_sets import BASELINES, CHOICES, CITIES, WRITERS, task_set

NAMES = [*WRITERS]
RECORDED = dict( # queries recorded, content of queries and references, content of prompts: a change calls for a new recording
    place=(200, "3646b2505cf7464f", "3e8d331e209f8288"), json=(120, "84a3ebae73513b45", "b380c1a0680c742a"),
    thing=(120, "0210db75f552e3da", "26491f86aa737e8e"), sums=(120, "b3865a6e43a66601", "971989f8bd08987c"),
    sentiment=(240, "b28d4404cbd85aae", "e987ee049e53ab8d"), topic=(200, "937c6759a9892e88", "57f3109cf571af74"))


# ---- texts

@pytest.mark.parametrize("name", NAMES)
def test_the_texts_are_those_of_the_recordings(name):
    n, queries, prompts = RECORDED[name]
    items, table = task_set(name, n).items, prompt_set(name)
    assert content_id(*items["query"], *items["reference"]) == queries
    assert content_id(*table["prompt_id"], *table["prompt"]) == prompts

@pytest.mark.parametrize("name", NAMES)
def test_a_set_is_the_same_for_a_seed_and_begins_like_a_smaller_one(name):
    items = task_set(name, 60).items
    assert items.equals(task_set(name, 60).items) and items.equals(task_set(name, 200).items.head(60))
    assert not {*items["query"]} >= {*task_set(name, 60, seed=1).items["query"]}

def test_a_set_is_the_same_in_another_process():
    code = "from causal_prompts.task_sets import task_set, WRITERS\nprint(*[q for name in WRITERS for q in task_set(name, 30).items['query_id']])"
    ids = [q for name in NAMES for q in task_set(name, 30).items["query_id"]]
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True).stdout.split() == ids

@pytest.mark.parametrize("name", NAMES)
def test_no_query_twice_and_no_example_among_them(name):
    task = task_set(name, 500)
    assert task.items["query"].is_unique and task.items["query_id"].is_unique and len(task) == 500
    shown = [q for q, _ in task.examples]
    assert len({*shown}) == sum(SHOTS) and not {*shown} & {*task.items["query"]}

def test_what_is_no_set_and_no_size_is_refused():
    with pytest.raises(ValueError, match="one of .*'place'.*got 'places'"): task_set("places")
    with pytest.raises(ValueError, match="one of .*'place'.*got 'places'"): prompt_set("places")
    with pytest.raises(ValueError, match="n must be a whole number"): task_set("place", 0)
    with pytest.raises(ValueError, match="different queries, got n=9000000; 'topic' has about"): task_set("topic", 9_000_000)


# ---- references and difficulty, worked out again from the text

def words(text): return re.findall(r"\w+", text)

def test_a_note_has_one_city_more_than_its_difficulty():
    for name in ("place", "json"):
        for item in task_set(name, 300):
            named = [w for w in words(item["query"]) if w in CITIES]
            right = json.loads(item["reference"])["city"] if name == "json" else item["reference"]
            assert len(named) == len({*named}) == item["difficulty"] + 1 and right in named, item

def test_the_city_of_a_note_is_that_of_its_event():
    sign = {"plain": r"in (\w+)( this year|!|\.)", "origin": r"(?:to|goes to) (\w+) for the", "moved": r"(?:is now|is) in (\w+)", "office": r"(?:held|to the [\w ]+) in (\w+)"}
    for item in task_set("place", 300):
        main = [s for s in re.findall(r"[^.!]+[.!]", item["query"]) if re.search(r"\b(the|The) (workshop|interview|training|board|concert|conference|photo|wedding|exhibition|book)", s)]
        assert len(main) == 1 and re.search(sign[item["kind"]], main[0])[1] == item["reference"], item

def test_sums_are_right_and_harder_ones_are_larger_or_longer():
    for item in task_set("sums", 400):
        numbers = [int(w) for w in words(item["query"]) if w.isdigit()]
        first, second, *third = numbers
        assert str((first - second if item["kind"].startswith("minus") else first + second) + sum(third)) == item["reference"], item
        assert len(third) == (item["difficulty"] >= 2 and item["kind"].endswith(", plus")) and int(item["reference"]) >= 0
        size = item["difficulty"] - 2 * len(third)
        assert max(first, second) <= [6, 10, 21][size], item

def test_adjectives_of_plain_and_negated_reviews_say_what_the_reference_says():
    from causal_prompts.task_sets import _REVIEWED
    side = {}
    for parts in _REVIEWED.values():
        for part in parts.split(", "):
            _, good, bad = part.split()
            side[good], side[bad] = "positive", "negative"
    for item in task_set("sentiment", 400):
        found = {side[w] for w in words(item["query"].replace("all else was awful", "")) if w in side}
        if item["kind"] == "plain": assert found == {item["reference"]}, item
        if item["kind"] == "but" or " was not " in item["query"]: assert found == {"positive", "negative"} - {item["reference"]}, item

@pytest.mark.parametrize("name", NAMES)
def test_difficulty_has_levels_that_kinds_or_lengths_explain(name):
    items = task_set(name, 400).items
    share = items["difficulty"].value_counts(normalize=True)
    assert len(share) >= 3 and share.max() < .6
    length = items["query"].map(lambda q: len(words(q))).groupby(items["difficulty"]).mean()
    if name in ("place", "json", "thing", "topic"): assert (np.diff(length) > 0).all(), "harder queries are longer ones"

def test_labels_are_about_even():
    for name in ("thing", "sentiment", "topic"):
        share = task_set(name, 600).items["reference"].value_counts(normalize=True)
        assert share.max() < 1.35 / len(share), name


# ---- graders

NOTE = "Parking is free. The workshop was planned in Turin, but it is now in Riga. Lena will call from Bath."
HOME = '{"name": "Marco", "city": "Bonn"}'

@pytest.mark.parametrize("reply, score", [
    ("Riga", 1), ("The city is Riga.", 1), ("RIGA", 1), ("Riga, Latvia. The train stops in Bath.", 1), ("In Riga, not in Turin.", 1), ("City: **Riga**\n", 1), ("It is now held in Riga.", 1),
    ("The event is in Riga. Parking is free.", 1), ("Parking is free. The event is in Riga.", 1), ("", 0), ("Turin", 0), ("Not Turin but Riga", 0), ("Bath. Or Riga?", 0), ("Latvia", 0), ("riga", 1), ("Rigaer Strasse", 0), ("Riga?", 1), ("in RĪGA", 1),
    (NOTE, 0), (NOTE.upper(), 0), ("Parking is free. The workshop was planned in", 0), ("The workshop was planned in Turin, but it is now in Riga.", 0), ("The workshop was planned in Turin, but it is now in Ri", 0), ("Lena will call from", 0),
])
def test_a_place_is_the_first_city_that_is_no_quotation(reply, score):
    assert first_named(CITIES)(reply, dict(query=NOTE, reference="Riga")).score == score

def test_one_whole_sentence_of_several_is_an_answer_right_or_wrong():
    note = "Parking is free. The workshop is in Riga. Lena will call from Bath."
    def score(reply, query=note): return first_named(CITIES)(reply, dict(query=query, reference="Riga")).score
    assert score("The workshop is in Riga.") == score("the workshop is in RIGA") == 1 and score("Lena will call from Bath.") == 0
    assert score("The workshop is in Riga. Lena will call from") == score("The workshop is in Ri") == score("Parking is free. The workshop is in Riga.") == 0, "copied on"
    assert score("The workshop is in Riga.", "The workshop is in Riga.") == 0, "all of a note of one sentence"

def test_names_in_other_accents_are_the_same():
    for reply in ("Malmö", "MALMÖ.", "Malmo", "Malmo\u0308"): assert first_named(CITIES)(reply, dict(query="?", reference="Malmo")).score == 1
    assert first_named(CITIES)("Kraków", dict(query="?", reference="Krakow")).score == 1

def test_quotations_are_taken_out_and_answers_are_not():
    assert unquoted("Parking is free. Lena will call from Bath. It is Riga.", NOTE).strip() == "It is Riga."
    assert unquoted("Parking is", NOTE) == "Parking is" and unquoted("Lena will call from", NOTE) == ""
    assert unquoted("parking  IS free!\nLena will call from\nRiga", NOTE) == "\nRiga"

TRIP = "Rosa travels from Basel to Malmo for the training day. Viktor was in Graz last week."

@pytest.mark.parametrize("reply, right, score", [
    ("Malmo, Basel, Graz", "Malmo", 0), ("Malmo or Basel or Graz", "Malmo", 0), ("Malmo and Basel", "Basel", 0), ("It is not in Malmo.", "Malmo", 0), ("The event is in Stockholm, not in Malmo.", "Malmo", 0),
    ("The city of Malmo is not the answer.", "Malmo", 0), ("In Malmo. It isn't in Malmo.", "Malmo", 0), ("I don't know whether it is Malmo", "Malmo", 0), ("Malmo. The train stops in Basel.", "Malmo", 0), ("", "Malmo", 0), ("Oslo", "Malmo", 0),
    ("Basel", "Malmo", 0), ("Neither Malmo nor Basel, it is Graz", "Graz", 1),
    ("The event was planned in Dresden, but it is now in Bonn.", "Bonn", 1), ("The event was planned in Dresden, but it is now in Bonn.", "Dresden", 0), ("Not Basel, but Malmo.", "Malmo", 1), ("Not Basel, but Malmo.", "Basel", 0),
    ("Malmö, MALMO", "Malmo", 1), ("In Malmo, not in Basel or Graz.", "Malmo", 1), ("Malmo, but not Basel", "Malmo", 1), ("Instead of Riga it is in Ghent", "Ghent", 1), ("The concert is now in Ghent and no longer in Riga", "Ghent", 1),
    ("It isn't far, and the event is in Malmo.", "Malmo", 1), ("It is not Basel. It is Malmo.", "Malmo", 1), ("Basel is not the city; it is Malmo", "Malmo", 1), ("It was in Basel and is now in Malmo", "Malmo", 1),
    (TRIP, "Malmo", 0), ("Rosa travels from Basel to Malmo for the training day.", "Malmo", 0), ("Viktor was in Graz last week. Malmo", "Malmo", 0)])
def test_a_place_is_the_only_one_that_is_held_up(reply, right, score):
    assert only_named(CITIES)(reply, dict(query=TRIP, reference=right)).score == score

def test_the_only_name_says_why_and_knows_names_of_two_words():
    grade = only_named(["New York", "Porto"])
    def why(reply): return grade(reply, dict(query="?", reference="New York")).why
    assert why("new  york!") == "named New York alone" and why("In Porto") == "named Porto, not New York" and why("Porto, New York") == "named several: New York, Porto"
    assert why("not New York") == "every name denied" and why("York") == "no name found but in quotations"

def test_the_first_name_takes_what_the_only_name_does_not():
    "The recorded scores rest on it."
    item = dict(query=TRIP, reference="Malmo")
    assert [first_named(CITIES)(reply, item).score for reply in ("Malmo, Basel, Graz", "It is not in Malmo.", "Not Basel, but Malmo.")] == [1, 1, 0]

def test_the_recorded_scores_are_those_of_the_first_name():
    table = load_table("smol-place").query("part == 'grid'").iloc[::7]
    grade, right = first_named(CITIES), task_set("place", 200).items.set_index("query_id")["reference"]
    assert [grade(r, dict(query=q, reference=right[i])).score for r, q, i in zip(table["reply"], table["query"], table["query_id"])] == table["score"].tolist()

@pytest.mark.parametrize("reply, score", [
    ("5", 1), ("10 - 5 = 5", 1), ("The answer is 5.", 1), ("10 minus 5 is 5", 1), ("= 5.0", 1), ("Answer: 5 eggs", 1), ("10 - 5", 0), ("What is 10 - 5?", 0), ("10 - 5 =", 0), ("15", 0), ("", 0), ("10 - 5 = 4", 0), ("five", 0),
    ("50 / 10 = 5", 0), ("2 + 3 = 5", 0), ("10 - 5 = 5, as 5 + 5 = 10", 0), ("4 or 5", 0), ("5 or 4", 0),
])
def test_a_sum_said_back_is_no_answer(reply, score):
    assert uncopied_number()(reply, dict(query="What is 10 - 5?", reference="5")).score == score

@pytest.mark.parametrize("reply, score", [
    ("Ana has 7 apples after buying 4 more.", 1), ("7 apples, that is 3 and 4", 1), ("3 + 4 = 7 apples", 1), ("Ana has 4 apples after buying 3.", 0), ("4 apples", 0), ("Ana has 8 apples after buying 4 more.", 0), ("7 or 4", 0), ("6 + 1 = 7", 0), ("For example, 3 + 7 gives 4", 0), ("7, 8 or 4 apples", 0)])
def test_numbers_of_the_query_are_no_answer_beside_another(reply, score):
    assert uncopied_number()(reply, dict(query="Ana has 3 apples and buys 4 more. How many apples is that?", reference="7")).score == score

def test_a_step_of_two_may_use_what_the_first_gave():
    assert uncopied_number()("7 + 6 = 13, 13 + 2 = 15", dict(query="What is 7 + 6 + 2?", reference="15")).score == 1

@pytest.mark.parametrize("reply, reference, score", [("tools", "tool", 1), ("Vehicles", "vehicle", 1), ("Clothes.", "clothing", 1), ("fruits or animals", "fruit", 0), ("tools", "vehicle", 0), ("tooling", "tool", 0), ("not tools", "tool", 0)])
def test_a_kind_may_be_several(reply, reference, score):
    assert task_set("thing", 1).score(reply, dict(query="a hammer", reference=reference)).score == score

def test_copies_are_cut_wherever_they_stand():
    assert uncopied("So 10 - 5 is 5 and 10 - 5 again", "10 - 5").split() == ["So", "is", "5", "and", "again"]
    assert uncopied("7 + 6 + 7", "7 + 6").split() == ["+", "7"] and uncopied("", "7 + 6") == ""

@pytest.mark.parametrize("reply, score", [
    (HOME, 1), ('{"name": "Marco", "city": "Bonn",', 1), ('{"name": "Marco",\n"city": "Bonn",\n}', 1), ('{"name": "Marco",', .5), ('{"city": "bonn", "name": "MARCO"}', 1), ('```json\n{\n  "name": "Marco",\n  "city": "Bonn"\n}\n```', 1), ('JSON: {"name": "Marco", "city": "Bonn"', 1), ('{"name": "Marco", "city": "Bonn", "age": 3}', 1),
    ('{"name": "Marco", "city": "Turin"}', .5), ('{"name": "Marco"}', .5), ('{"name": "Bonn", "city": "Marco"}', 0), ('{"Name": "Marco", "City": "Bonn"}', 0), ("Marco lives in Bonn.", 0), ("{Marco, Bonn}", 0), ("", 0), ("{}", 0),
    ('{"name": "Olga", "city": "Oslo"} {"name": "Marco", "city": "Bonn"}', 0), ('{"name": "Marco", "city": "Bonn", "city": "Turin"}', .5), ('{"name": ["Marco"], "city": null}', 0), ('["name", "Marco"]', 0), ('{"name": "Marco", "city": "Bo', 0),
])
def test_an_object_scores_by_its_keys(reply, score):
    assert json_fields()(reply, dict(query="Marco lives in Bonn.", reference=HOME)).score == score

@pytest.mark.parametrize("name, reference, reply, score", [
    ("thing", "tool", "An axe is a tool.", 1), ("thing", "tool", "tool", 1), ("thing", "tool", "animal, fruit, tool, clothing or vehicle", 0), ("thing", "tool", "It is not a tool.", 0), ("thing", "tool", "An axe.", 0), ("thing", "fruit", "a grapefruit", 0),
    ("sentiment", "negative", "Negative.", 1), ("sentiment", "negative", "The review is positive.", 0), ("sentiment", "positive", "not positive", 0), ("sentiment", "positive", "positive or negative", 0), ("topic", "food", "food", 1), ("topic", "food", "The topic is health.", 0),
])
def test_labels(name, reference, reply, score):
    assert task_set(name, 1).score(reply, dict(query="?", reference=reference)).score == score

@pytest.mark.parametrize("name", NAMES)
def test_the_reference_scores_and_no_copy_of_the_query_does(name):
    task = task_set(name, 300)
    for item in task:
        assert task.score(item["reference"], item).score == 1
        said = item["query"].split(" ")
        for k in range(3, len(said) + 1):
            copied = " ".join(said[:k])
            chosen = name == "place" and copied[-1] in ".!" and copied.count(".") + copied.count("!") == 1 and k < len(said)
            if not chosen: assert task.score(copied, item).score == 0, (copied, item["reference"])
        for shown in (item["query"] + " " + item["query"], item["query"].upper(), "\n" + item["query"] + "\n", f'"{item["query"]}"'):
            assert task.score(shown, item).score == 0, (shown, item["reference"])

@pytest.mark.parametrize("name", NAMES)
def test_the_prompts_themselves_score_nowhere(name):
    "Echoing the prompt is what a small model does too."
    task = task_set(name, 40)
    for prompt in prompt_set(name).query("family != 'few-shot'")["prompt"]:
        scored = {item["reference"] for item in task if task.score(prompt.replace("{query}", ""), item).score}
        assert len(scored) <= bool(re.search("[Ee]xample|like this", prompt)), prompt # the answer of the example, where it happens to be right


# ---- prompts

@pytest.mark.parametrize("name", NAMES)
def test_prompts_are_different_and_hold_the_query_once(name):
    table, task = prompt_set(name), task_set(name, 3)
    assert table["prompt"].is_unique and table["prompt_id"].is_unique
    assert table["family"].value_counts()[["paraphrase", "few-shot"]].tolist() == [16, 16]
    for prompt in table["prompt"]:
        for item in task:
            (message,) = task.messages(prompt, item)
            assert message["role"] == "user" and message["content"].count(item["query"]) >= 1 and "{query}" not in message["content"]
            if item["query"] not in prompt: assert message["content"].replace(item["query"], "", 1).strip()

@pytest.mark.parametrize("name", NAMES)
def test_the_first_prompt_is_the_baseline(name):
    assert prompt_set(name)["prompt"].iloc[0] == BASELINES[name] == task_set(name, 1).baseline

@pytest.mark.parametrize("name", NAMES)
def test_every_part_is_in_half_of_the_runs_in_either_wording_and_free_of_the_others(name):
    fraction = prompt_set(name).query("family == 'fraction'")
    parts = [p for p in prompt_bank(name).ids if p != "ask"]
    X = (fraction[parts] > 0).to_numpy(float) * 2 - 1
    assert len(fraction) == 64 and len(parts) in (7, 8) and (X.T @ X == len(X) * np.eye(len(parts))).all()
    for part in parts: assert fraction.loc[fraction[part] > 0, part].value_counts().tolist() == [len(X) // 4] * 2
    assert fraction["ask"].value_counts().tolist() == [len(X) // 4] * 4
    pairs = pair_separable((fraction[parts] > 0).astype(bool))
    assert (pairs["same_as"] == "").all(), "every two parts have an effect of their own to show"
    assert all(abs(X[:, i] * X[:, j] @ X).max() == 0 for i in range(len(parts)) for j in range(i)), "no part goes with two others"

@pytest.mark.parametrize("name", NAMES)
def test_no_wording_goes_with_a_part_a_pair_or_another_wording(name):
    "Else what the wording does would be told as an effect of the other: only wordings that stand side by side may be unlike by chance."
    fraction = prompt_set(name).query("family == 'fraction'")
    parts = [p for p in prompt_bank(name).ids if p != "ask"]
    held = {p: (fraction[p] > 0).to_numpy() * 2. - 1 for p in parts}
    wording = {p: (fraction[p] == 2).to_numpy(float) - (fraction[p] == 1).to_numpy(float) for p in parts} # 0 where the part is out
    asked = {f"ask {i}": ((fraction["ask"] - 1).isin(second).to_numpy() * 2. - 1) for i, second in enumerate([(1, 3), (2, 3), (0, 3)])}
    pairs = {f"{a} and {b}": held[a] * held[b] for a, b in combinations(parts, 2)}
    C = np.column_stack([*held.values(), *pairs.values(), *wording.values(), *asked.values()])
    assert C.sum(0).tolist() == [0] * C.shape[1]
    assert not np.triu(C.T @ C, 1).any()

@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_is_its_parts_and_they_are_read_back(name):
    bank, table = prompt_bank(name), prompt_set(name)
    fraction = table[table["family"] == "fraction"]
    for _, row in fraction.iterrows():
        texts = [bank.parts["wordings"][i][row[p] - 1] for i, p in enumerate(bank.ids) if row[p]]
        assert row["prompt"] == " ".join(texts)
    parts = Parts.of(list(table["prompt"]), named=dict(zip(bank.ids, map(list, bank.parts["wordings"]))))
    at = [list(parts.table["part"]).index(p) for p in bank.ids]
    assert ((parts.presence.toarray()[:len(fraction)][:, at] > 0) == (fraction[bank.ids] > 0).to_numpy()).all()

@pytest.mark.parametrize("name", NAMES)
def test_few_shot_prompts_show_the_examples_of_the_task_and_no_query(name):
    shown, task = prompt_set(name).query("family == 'few-shot'"), task_set(name, 200)
    assert shown["shots"].tolist() == [k for k in SHOTS for _ in range(2)] and shown.groupby("examples")["shots"].nunique().eq(1).all()
    for prompt, k in zip(shown["prompt"], shown["shots"]):
        pairs = re.findall(r"^Text: (.+)\nAnswer: (.+)$", prompt, re.M)
        assert len(pairs) == k and {*pairs} <= {*task.examples}
    used = [pair for prompt in shown["prompt"][::2] for pair in re.findall(r"^Text: (.+)\nAnswer: (.+)$", prompt, re.M)]
    assert len(used) == len({*used}) == sum(SHOTS), "no example in two sets"

def test_choices_are_the_labels_of_their_sets():
    for name, choices in CHOICES.items(): assert {*task_set(name, 300).items["reference"]} == {*choices}
