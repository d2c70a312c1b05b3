"What the lessons ask: every wrong kind of answer gets a message, guesses are kept and not overwritten, and no lesson asks what the file does not hold."
import json, re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from causal_prompts import exercises as ex
from causal_prompts.exercises import check_answer as check, exercises, guess, hint, kept_guesses, prove, reveal, solution, trouble
from causal_prompts.playgrounds import Playground

ROOT = Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT/"nbs"/"tutorials").glob("*.ipynb"))

# names that the questions below are judged in, as a lesson would have them
tiny = pd.DataFrame(dict(query=["easy"] * 4 + ["hard"] * 4, better=[1, 0, 0, 0, 1, 1, 1, 0], score=[1, .9, .9, .9, .3, .3, .3, .2]))
board = pd.DataFrame(dict(true_rank=[12, 11, 1]))
hand = pd.DataFrame(dict(effect=[-.01, .12]))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    "A folder of one's own, in which guesses are kept."
    monkeypatch.delenv("IN_TEST", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def code(lesson): return ["".join(c["source"]) for c in json.loads(lesson.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]


# ---- answers

@pytest.mark.parametrize("answer, said", [
    (..., "Your turn: put a number in place of the dots"), (None, "Your turn"), ("0.1", "this is a text: leave the quotes away"), (np.nan, "this is NaN"), (float("inf"), "this is infinite"),
    (True, "this is True or False"), ([.1], "pick one value out of it"), (tiny, "pick one value out of it"), (np.array(.1), "pick one value out of it"), (len, "this is a function: call it"),
    (1j, "this is something else"), (-.25, "difference of the two overall means"), (-.1, "the size is right, and the sign is not"), (10, "right in percent"), (.09, "It should be larger"), (3, "It should be smaller")])
def test_a_wrong_kind_of_number_gets_a_word(answer, said):
    assert re.search(said, check("01.1", answer), re.IGNORECASE)
    assert "Right" not in check("01.1", answer)

@pytest.mark.parametrize("answer", [.1, np.float64(.1), np.float32(.1), .104])
def test_a_right_answer_is_right_in_any_type_of_number(answer): assert check("01.1", answer).startswith("**Right.**")

NUMBERS = dict(kind="numbers", within=.01, answer="[1, 2]", hint="")
WORDS = dict(kind="words", answer="{'a', 'b'}", hint="")

@pytest.mark.parametrize("task, answer, said", [
    (NUMBERS, 1, "single value"), (NUMBERS, "ab", "single value"), (NUMBERS, [], "nothing in it"), (NUMBERS, [1, "2"], "value 2 does not fit: this is a text"), (NUMBERS, [1, None], "value 2 does not fit"),
    (NUMBERS, [np.nan, 2], "value 1 does not fit: this is NaN"), (NUMBERS, [1, 2, 3], "2 values are asked for, these are 3"), (NUMBERS, [2, 1], "Look again"), (WORDS, "a", "single value"), (WORDS, ["a", 1], "value 2 does not fit: this is no text"),
    (WORDS, ["a"], "2 values are asked for"), (WORDS, ["a", "c"], "Look again")])
def test_several_values_are_looked_at_one_by_one(monkeypatch, task, answer, said):
    monkeypatch.setattr(ex, "exercises", lambda: {"99.1": task})
    assert said in check("99.1", answer)

@pytest.mark.parametrize("task, answer", [(NUMBERS, (1, 2)), (NUMBERS, np.array([1., 2.])), (NUMBERS, pd.Series([1, 2.005])), (WORDS, ["b", "a"]), (WORDS, {"a", "b"}), (WORDS, ("a", "b", "a"))])
def test_several_values_in_any_container(monkeypatch, task, answer):
    monkeypatch.setattr(ex, "exercises", lambda: {"99.1": task})
    assert check("99.1", answer) == "**Right.**"

@pytest.mark.parametrize("answer", ["hgiher", 1, None.__class__, ["higher"], np.nan])
def test_a_choice_names_what_there_is_to_choose(answer):
    assert re.search('must be one of `"lower"`, `"about the same"`, `"higher"`; got .* and this is none of them', trouble(exercises()["01.c"], answer))

class Unshowable:
    def __repr__(self): raise RuntimeError("no")

def test_what_cannot_be_shown_gets_a_word_too(): assert "got `a Unshowable`" in check("01.1", Unshowable())

@pytest.mark.parametrize("ask", [check, hint, solution, guess, reveal])
@pytest.mark.parametrize("key, said", [("01.9", "this lesson has 01.a, 01.b"), ("99.1", 'keys look like `"01.2"`'), (1.2, "There is no question 1.2"), (None, "There is no question None")])
def test_a_key_that_is_not_there(ask, key, said): assert said in ask(key)

def test_a_lesson_that_has_not_run_says_so():
    assert "It cannot be judged yet (NameError" in check("01.4", .1) and "run the cells above" in check("01.4", .1)
    assert "Nothing has come out yet (NameError" in reveal("01.b") and "run the cells above" in solution("01.4")

def test_names_of_the_lesson_are_read_and_not_changed():
    before = {*globals()}
    assert check("01.1", .1).startswith("**Right.**") and "means" not in globals() and before == {*globals()}

def test_hint_and_solution():
    assert "inside each of the two queries" in hint("01.1") and "this one is a guess" in hint("01.a")
    assert solution("01.1").startswith("```python\n") and "0.1." in solution("01.1") and "groupby" in solution("01.1")


# ---- guesses

def test_a_guess_is_kept_shown_again_and_not_overwritten_by_running_all(folder):
    assert guess("01.a", ...).startswith("No guess yet: put a number") and not (folder/"guesses.json").exists()
    assert reveal("01.a").startswith("It came out as **12**")
    assert guess("01.a", np.int64(3)) == "Your guess: 3." and json.loads((folder/"guesses.json").read_text()) == {"01.a": 3.}
    for answer in (..., None): assert guess("01.a", answer) == "Your guess from before: 3."
    assert reveal("01.a").startswith("You guessed 3. It came out as **12**. That is not what you expected.")
    assert guess("01.c", "higher") == "Your guess: higher." and reveal("01.c").startswith("You guessed higher. It came out as **higher**. That holds.")
    assert kept_guesses() == {"01.a": 3., "01.c": "higher"}
    assert guess("01.a", 12) == "Your guess: 12." and kept_guesses()["01.a"] == 12

@pytest.mark.parametrize("answer, said", [("many", "this is a text"), (np.nan, "this is NaN"), ([1], "pick one value")])
def test_a_guess_of_the_wrong_kind_is_not_kept(folder, answer, said):
    guess("01.a", 3)
    assert said in guess("01.a", answer) and kept_guesses() == {"01.a": 3.}

@pytest.mark.parametrize("content", ["", "{", "[1]", '"x"', '{"01.a": "text"}', '{"01.a": null}'])
def test_a_broken_file_of_guesses_stops_nothing(folder, content):
    (folder/"guesses.json").write_text(content)
    assert guess("01.a", ...).startswith("No guess yet") and reveal("01.a").startswith("It came out") and guess("01.a", 3) == "Your guess: 3."

def test_a_folder_that_cannot_be_written_to_is_said(folder, monkeypatch):
    (folder/"guesses.json").mkdir()
    assert "could not be written to guesses.json" in guess("01.a", 3)

def test_a_run_that_stores_outputs_reads_and_writes_nothing(folder, monkeypatch):
    guess("01.a", 3)
    monkeypatch.setenv("IN_TEST", "1")
    assert guess("01.a", ...).startswith("No guess yet") and guess("01.a", 5) == "Your guess: 5." and reveal("01.a").startswith("It came out")
    assert json.loads((folder/"guesses.json").read_text()) == {"01.a": 3.}

@pytest.mark.parametrize("answer, kept", [({"b", "a"}, ["a", "b"]), (["a", "b"], ["a", "b"])])
def test_several_words_are_kept_as_a_list(folder, monkeypatch, answer, kept):
    monkeypatch.setattr(ex, "exercises", lambda: {"99.a": WORDS})
    assert guess("99.a", answer) == "Your guess: a, b." and kept_guesses() == {"99.a": kept}


# ---- the file, and the lessons

def test_every_entry_is_whole():
    for key, task in exercises().items():
        assert task["kind"] in ("number", "numbers", "choice", "words") and task["answer"].strip(), key
        assert ("within" in task) == (task["kind"] in ("number", "numbers")) and ("choices" in task) == (task["kind"] == "choice"), key
        assert {*task} <= {"kind", "answer", "within", "choices", "hint", "mistakes", "then"}, key
        if key.split(".")[1].isdigit(): assert task["hint"] and (task.get("mistakes") or task["kind"] == "choice"), f"{key} needs a hint and a wrong answer that is to be expected"

@pytest.mark.parametrize("lesson", LESSONS, ids=lambda f: f.stem)
def test_a_lesson_asks_what_the_file_holds_and_proves_it(lesson):
    number, cells = lesson.name[:2], code(lesson)
    asked = {k for c in cells for k in re.findall(r'(?:check|guess)\("([\w.]+)"', c)}
    assert asked == {k for k in exercises() if k.startswith(number)} and len(asked) >= 6
    assert f'prove("{number}")' in "\n".join(cells[-2:]), "the last cell proves the exercises"
    guesses = [k for k in asked if not k.split(".")[1].isdigit()]
    at = lambda call: next(i for i, c in enumerate(cells) if call in c)
    for k in guesses: assert at(f'guess("{k}", ...)') < at(f'reveal("{k}")'), k

@pytest.mark.parametrize("lesson", LESSONS, ids=lambda f: f.stem)
def test_a_lesson_gives_nothing_away(lesson):
    for c in code(lesson):
        for line in re.findall(r"^.*(?:check|guess)\(\".*$", c, re.MULTILINE): assert re.search(r'^(?:check|guess)\("[\w.]+", \.\.\.\)$', line), line
        assert "def check(" not in c and "answer_1" not in c

@pytest.mark.parametrize("lesson", LESSONS, ids=lambda f: f.stem)
def test_the_stored_outputs_say_that_solutions_pass_and_mistakes_do_not(lesson):
    "`prove` ran in the names of the lesson: gate and `make notebooks` run it again."
    cells = json.loads(lesson.read_text(encoding="utf-8"))["cells"]
    told = [o for c in cells for o in c.get("outputs", []) if "".join(c["source"]).rstrip().endswith(f'prove("{lesson.name[:2]}")')]
    assert [bool(re.search(r"\d+ questions hold", "".join(o["data"]["text/plain"]))) for o in told] == [True]

def test_prove_finds_what_does_not_hold(monkeypatch):
    entry = dict(kind="number", within=.1, answer="1.", hint="", mistakes=[dict(answer="3.", says="")])
    def held(**changed): monkeypatch.setattr(ex, "exercises", lambda: {"98.1": entry | changed})
    held(); assert prove("98") == "1 questions hold"
    held(mistakes=[dict(answer="1.05", says="")])
    with pytest.raises(AssertionError, match="1.05 must be a wrong answer to 98.1"): prove("98")
    held(answer="'one'")
    with pytest.raises(AssertionError, match="the solution 'one' of 98.1 must pass, got: .*this is a text"): prove("98")
    with pytest.raises(ValueError, match="lesson must have questions, as '01' has, got '97'"): prove("97")

SELF_CONTAINED = {"05.1": "tiny = pd.DataFrame(dict(query=[1, 2, 3, 4], prompt=['a', 'b', 'b', 'a'], score=[1., 1., 0., 1.], propensity=[.5, .4, .8, .2]))", "05.4": "", "08.1": "", "07.3": "",
                  "07.1": "tiny = pd.DataFrame(dict(query=['easy'] * 4 + ['fair'] * 2 + ['hard'] * 4, sentence=[1, 0, 0, 0, 1, 0, 1, 1, 1, 0], score=[1, 1, .9, .8, .6, .5, .3, .3, .3, .1]))"}

@pytest.mark.parametrize("key", SELF_CONTAINED)
def test_solutions_that_need_little_pass_and_their_mistakes_do_not(key):
    space = dict(pd=pd, np=np, check=check)
    exec(SELF_CONTAINED[key], space)
    def answered(source):
        *body, last = source.strip().splitlines()
        exec("\n".join([*body, f"_said = check({key!r}, ({last}))"]), space)
        return space["_said"]
    assert answered(exercises()[key]["answer"]).startswith("**Right.**")
    for mistake in exercises()[key]["mistakes"]: assert mistake["says"] in answered(mistake["answer"])


# ---- playgrounds

def found(strength, way):
    from causal_prompts.core import Finding
    if strength == 3: raise ValueError("strength must not be 3")
    return Finding("How strong?", pd.DataFrame(dict(label=["a"], value=[strength])), "ok", f"It is {strength}.", form=("bars", {}))

def test_a_playground_computes_when_a_slider_is_let_go():
    play = Playground(found, strength=(0, 4, 1), way=["left", "right"])
    assert play.view.place == "At strength 1, left" and not play.controls["strength"].continuous_update
    play.controls["strength"].value = 2
    play.controls["way"].value = "right"
    assert play.view.reading == "It is 2." and play.view.place == "At strength 2, right" and play.static().table["value"][0] == 2

def test_an_error_in_a_playground_is_shown_and_ends_nothing():
    play = Playground(found, strength=(0, 4, 1), way=["left"])
    play.controls["strength"].value = 3
    assert "strength must not be 3" in play.note.value and "Traceback" not in play.note.value
    play.controls["strength"].value = 4
    assert play.view.reading == "It is 4."

@pytest.mark.parametrize("given", [(1, 0, 1), (0, 1, 2), (0, 1), 3, "ab"])
def test_a_setting_that_is_none_is_refused(given):
    with pytest.raises(ValueError, match=r"strength must be a list of choices, or \(lowest, highest, start\), got"): Playground(found, strength=given, way=["left"])
