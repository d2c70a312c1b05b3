"""What every file of tests shares: the marks of those that look at recorded outcomes of real models, and of those that are slow.

`make check` leaves out what carries the mark `slow`: a test that takes over a second of a processor, its fixtures included, or loads a model. Which these are is measured, never written by hand: `pytest --note-slow -n 2` writes tests/slow.json,
and breaks off a test when it is known to be slow, so that it takes a fraction of a whole run."""
import json, os, signal, time
from collections import defaultdict
from pathlib import Path

import pytest

ABSENT = "recorded data absent: set CAUSAL_PROMPTS_DATA or place them in shared/data"
SLOW = Path(__file__).with_name("slow.json") # file of tests -> its slow ones
LONGEST, WAITED = 1., 6. # seconds of a processor, and of a clock on a busy machine
TOO_LONG = "broken off as slow"


def pytest_addoption(parser):
    parser.addoption("--note-slow", action="store_true", help="measure, and write tests/slow.json; says nothing of whether slow tests pass")


def pytest_configure(config):
    config.addinivalue_line("markers", "recorded: looks at recorded outcomes, which are no part of the package; skipped, with a word, where they are absent")
    config.addinivalue_line("markers", "slow: takes over a second or loads a model, by tests/slow.json")
    if config.getoption("--note-slow"): config.pluginmanager.register(Noting(config))
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN: # as in a shell's background jobs; some tests send it
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    known = {} if config.getoption("--note-slow") or not SLOW.exists() else json.loads(SLOW.read_text(encoding="utf-8"))
    named = {f"{file}::{name}" for file, names in known.items() for name in names}
    for item in items:
        if f"{item.path.name}::{item.nodeid.split('::', 1)[1]}" in named: item.add_marker(pytest.mark.slow)


def pytest_runtest_setup(item):
    if item.get_closest_marker("recorded") is None: return
    from causal_prompts.recordings import data_folder
    if data_folder() is None: pytest.skip(ABSENT)


def pytest_terminal_summary(terminalreporter):
    absent = [r for r in terminalreporter.getreports("skipped") if ABSENT in str(r.longrepr)]
    if absent: terminalreporter.write_line(f"{len(absent)} tests did not run: {ABSENT}")


def spent() -> float:
    "Seconds of processors that this process and its ended children have used."
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


class Noting:
    "Which tests are slow."
    def __init__(self, config):
        self.config, self.fixtures, self.slow = config, defaultdict(float), {}

    def pytest_sessionstart(self):
        "What a first import costs belongs to no test."
        import causal_prompts as cp, causal_prompts.embeddings as embeddings
        import dowhy, econml.dml, lightgbm, openai # noqa: F401
        for module in cp._MODULES: getattr(cp, module)
        embeddings.load_model = lambda *_, **__: pytest.skip(TOO_LONG) # no test that asks for a model is quick

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        start = spent()
        try: return (yield)
        finally: self.fixtures[fixturedef] = max(self.fixtures[fixturedef], spent() - start)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item, nextitem):
        def stop(*_): pytest.skip(TOO_LONG)
        for signals, timer, seconds in ((signal.SIGPROF, signal.ITIMER_PROF, 1.5 * LONGEST), (signal.SIGALRM, signal.ITIMER_REAL, WAITED)):
            signal.signal(signals, stop)
            signal.setitimer(timer, seconds)
        try: return (yield)
        finally:
            for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL): signal.setitimer(timer, 0)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        start = spent()
        try: return (yield)
        finally:
            needed = [d for defs in item._fixtureinfo.name2fixturedefs.values() for d in defs]
            item.user_properties.append(("seconds", spent() - start + sum(self.fixtures[d] for d in needed)))

    def pytest_runtest_logreport(self, report):
        path, name = report.nodeid.split("::", 1)
        found = self.slow.setdefault(Path(path).name, set())
        broken = report.failed or report.skipped and TOO_LONG in str(report.longrepr) # failed: without a model
        if broken or dict(report.user_properties).get("seconds", 0.) > LONGEST: found.add(name)

    def pytest_sessionfinish(self):
        if hasattr(self.config, "workerinput"): return # the one that sees all writes
        known = json.loads(SLOW.read_text(encoding="utf-8")) if SLOW.exists() else {} # of files that were not run now
        known |= {file: sorted(names) for file, names in self.slow.items()}
        SLOW.write_text(json.dumps({file: names for file, names in sorted(known.items()) if names}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
