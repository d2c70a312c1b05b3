"The list of checks: a check enters where it is written, runs in the checkup, and has worlds in which its alarm is measured."
import importlib, subprocess, sys, time
from pathlib import Path

import pytest

import causal_prompts as cp
from causal_prompts import checks
from causal_prompts.checks import CHECKS, THRESHOLDS, check, thresholds
from causal_prompts.core import Finding
from causal_prompts.diagnostics import check_list, check_table, checkup
from fakes import Words

sys.path.insert(0, str(Path(__file__).parents[1]/"benchmarks"))
import alarm_worlds, speed


@pytest.fixture(autouse=True)
def list_as_it_was():
    "What a test enters is gone after it."
    kept = dict(CHECKS)
    yield
    CHECKS.clear(), CHECKS.update(kept)


def long_enough(reward):
    "Are there ten rows?"
    n = len(reward.log_)
    return Finding("Are there ten rows?", reward.log_.frame[["query"]].head(1), "ok" if n >= 10 else "stop", f"{n} rows.", "at least ten rows")

def enter(function=long_enough, name="ten rows", **also):
    return check(name, **(dict(looks_at="whether there are ten rows", clean="randomised", broken="no overlap") | also))(function)


def test_checks_are_read_by_their_place_then_by_their_page():
    names, places = [c.name for c in check_list()], [c.place for c in check_list()]
    assert places == sorted(places) and check_table()["check"].tolist() == names
    assert names[:3] == ["power", "overlap", "gaps"] and names.index("sensitivity") < names.index("embedding stability") < names.index("calibration") and names[-1] == "drift"
    code = "import causal_prompts.transport, causal_prompts.diagnostics as d; print([c.name for c in d.check_list()])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == str(names), "whatever was imported first"

def test_a_check_of_ones_own_is_read_where_it_says_and_among_the_last_where_it_does_not():
    enter(), enter(lambda reward: None, name="first of all", place=1)
    names = [c.name for c in check_list()]
    assert names[:2] == ["power", "first of all"] and names[-1] == "ten rows"

def test_a_new_check_is_run_and_measured():
    assert enter() is long_enough and check_list()[-1].name == "ten rows"
    world = cp.World.preset("randomised")
    reward = cp.NaiveReward("ridge", encoder=Words(), baseline=world.baseline).fit(world.log(n_queries=60, n_prompts=6))
    found = checkup(reward, only=["ten rows"])
    assert list(found) == ["ten rows"] and found.table["looks_at"].tolist() == ["whether there are ten rows"]
    row = next(a for a in alarm_worlds.alarms() if a["alarm"] == "long_enough")
    assert row["clean"](0).verdict == "ok"

def test_a_name_that_is_taken_is_refused():
    enter()
    def other(reward): ...
    with pytest.raises(ValueError, match="'ten rows', which .*long_enough has"): enter(other)
    assert CHECKS["ten rows"].function is long_enough

def test_a_page_that_is_loaded_again_leaves_the_list_as_it_is():
    before = list(CHECKS)
    module = importlib.reload(sys.modules["causal_prompts.confounding"])
    assert list(CHECKS) == before and CHECKS["balance"].function is module.balance

@pytest.mark.parametrize("also, match", [
    (dict(needs="luck"), "needs must be one of"), (dict(place=0), "place must be a whole number from 1, read first, to 9, got 0 for the check 'ten rows'"), (dict(clean=("randomised", "no overlap")), "as many worlds"), (dict(broken=()), "as many worlds")])
def test_bad_words_are_refused(also, match):
    with pytest.raises(ValueError, match=match): enter(**also)

def test_every_alarm_has_a_clean_and_a_broken_world():
    assert {c.name for c in check_list() if c.describes} == {"latent treatments"}
    assert alarm_worlds.unmeasured() == []

def test_a_check_without_a_world_is_found():
    enter(broken="a world nobody made")
    assert alarm_worlds.unmeasured() == ["ten rows: a world nobody made"]
    enter(clean=(), broken=())
    assert alarm_worlds.unmeasured() == ["ten rows: no world, and it is not known to describe only"]

def test_worlds_are_all_in_use():
    named = {w for c in check_list() for w in (*c.clean, *c.broken)}
    assert set(alarm_worlds.worlds()) == named

def test_every_threshold_has_a_name_and_a_meaning():
    assert THRESHOLDS["name"].is_unique and THRESHOLDS["means"].str.len().min() > 20
    assert thresholds._asdict() == dict(zip(THRESHOLDS["name"], THRESHOLDS["value"]))
    with pytest.raises(AttributeError): thresholds.level = .5


# ---- what checks cost, as benchmarks/speed.py tells it

def test_the_seconds_of_a_check_are_those_of_the_processor():
    def waits(reward):
        time.sleep(.5) # as where others have the processor
        return long_enough(reward)
    for name in list(CHECKS): del CHECKS[name]
    enter(waits)
    encoder = speed.FakeEncoder()
    took = speed.steps("checkup", speed.synthetic(400, 0, encoder), encoder)
    assert list(took) == ["ten rows"] and took["ten rows"] < .25
    assert CHECKS["ten rows"].function is waits, "the list is as it was"


def test_the_rows_of_a_table_of_seconds_add_up_to_its_head():
    found = [dict(what="checkup", kind="four", rows=1000, processor_seconds=3., steps=dict(power=1.2, gaps=.03), functions={})]
    cells = [line.split(" | ") for line in speed.flame_table(found).splitlines()[2:]]
    head, *rows = [float(cell.strip(" |")) for _, cell in cells]
    assert head == 3 and [name.strip("| ") for name, _ in cells][1:] == ["power", speed.REST] and abs(sum(rows) - head) < .01
