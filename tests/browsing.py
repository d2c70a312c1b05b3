"A server and a headless Chromium for tests of pages: both leave no trace in the home folder."
import json, os, shutil, signal, socket, subprocess, sys, time, urllib.error, urllib.request
from pathlib import Path

import pytest

LONG = 600_000 # milliseconds a notebook may take on a busy machine
CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
SETTINGS = { # no news, no virtual scrolling: every cell stands in the page
    "@jupyterlab/apputils-extension/notification": dict(fetchNews="false", checkForUpdates=False, doNotDisturbMode=True),
    "@jupyterlab/notebook-extension/tracker": dict(windowingMode="none", recordTiming=False),
    "@jupyterlab/docmanager-extension/plugin": dict(autosave=False),
}


def missing(what):
    "Skip with the reason; under CI the piece must be there."
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"the browser test needs {what}")


# ---- servers

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def profile(folder: Path) -> dict:
    "An environment whose Jupyter, IPython and settings folders are all below `folder`."
    names = dict(JUPYTER_CONFIG_DIR="config", JUPYTER_DATA_DIR="data", JUPYTER_RUNTIME_DIR="runtime", IPYTHONDIR="ipython", JUPYTERLAB_SETTINGS_DIR="settings", JUPYTERLAB_WORKSPACES_DIR="workspaces")
    for n in names.values(): (folder/n).mkdir(parents=True, exist_ok=True)
    for plugin, values in SETTINGS.items():
        file = folder/"settings"/f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    here = {k: v for k, v in os.environ.items() if k not in ("IN_TEST", "MPLBACKEND")} # marks of runs that show no widgets and no figures
    return here | {k: str(folder/n) for k, n in names.items()} | dict(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def serve(command, url, cwd, env, log):
    "Start a server and wait until it answers."
    with open(log, "w") as out: process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    for _ in range(2400): # a busy machine takes minutes
        if process.poll() is not None: pytest.fail(f"{command[2]} ended with {process.returncode}:\n{Path(log).read_text()[-2000:]}")
        try: urllib.request.urlopen(url, timeout=5).close(); return process
        except urllib.error.HTTPError: return process # it answers, which is all that was asked
        except OSError: time.sleep(.1)
    stop(process)
    pytest.fail(f"{command[2]} did not answer at {url}:\n{Path(log).read_text()[-2000:]}")


def stop(process):
    "Ask it to go, which ends its kernels too; insist after a while."
    process.send_signal(signal.SIGTERM)
    try: process.wait(20)
    except subprocess.TimeoutExpired: process.kill(); process.wait()


# ---- fixtures

@pytest.fixture(scope="module")
def shots(place):
    to = Path(os.environ.get("CAUSAL_PROMPTS_SHOTS") or place/"shots")
    to.mkdir(parents=True, exist_ok=True)
    return to


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None: missing("chromium (Debian: apt-get install chromium)")
    try: from playwright.sync_api import sync_playwright
    except ImportError: missing("playwright (pip install -e '.[dev]')")
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"])
        yield b
        b.close()


# ---- waiting

def wait(page, condition, arg, seconds):
    "Ask the page again and again, by our clock: a tab behind another draws no frames."
    end = time.monotonic() + seconds
    while not (found := page.evaluate(condition, arg)) and time.monotonic() < end: page.wait_for_timeout(200)
    return found

def until(page, condition, arg, what):
    if not wait(page, condition, arg, LONG / 1000): pytest.fail(f"waited {LONG / 1000:.0f} s for {what}")
