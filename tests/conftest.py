"What every file of tests shares: the mark of those that look at recorded outcomes of real models."
import signal

import pytest

ABSENT = "recorded data absent: set CAUSAL_PROMPTS_DATA or place them in shared/data"


def pytest_configure(config):
    config.addinivalue_line("markers", "recorded: looks at recorded outcomes, which are no part of the package; skipped, with a word, where they are absent")
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN: # as in a shell's background jobs; some tests send it
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item):
    if item.get_closest_marker("recorded") is None: return
    from causal_prompts.recordings import data_folder
    if data_folder() is None: pytest.skip(ABSENT)


def pytest_terminal_summary(terminalreporter):
    absent = [r for r in terminalreporter.getreports("skipped") if ABSENT in str(r.longrepr)]
    if absent: terminalreporter.write_line(f"{len(absent)} tests did not run: {ABSENT}")
