"""A real JupyterLab in headless Chromium: every lesson runs, the widgets answer to clicks and keys, and voila serves the page.

Screenshots land in the folder named by CAUSAL_PROMPTS_SHOTS, or in pytest's own temporary one."""
import json, sys
from pathlib import Path

import pytest

from browsing import browser, free_port, LONG, missing, profile, serve, shots, stop, until, wait # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
WIDGETS = ["905_confounding_steps.ipynb", "906_positivity_explorer.ipynb", "927_search_replay.ipynb", "928_widgets.ipynb"]
PAGES = [*sorted((ROOT/"nbs"/"tutorials").glob("*.ipynb")), *(ROOT/"nbs"/name for name in WIDGETS)]
AT_ONCE = 2 # notebooks that run at the same time
NEXT, IMAGE, ALERT = "button:has-text('Next')", ".jupyter-widgets img[alt]", ".jupyter-widgets [role=alert]"


def exports(cell): return "nbdev_export()" in "".join(cell["source"])


def copies(folder: Path):
    "The pages without their outputs, under the names they have in the tree."
    for f in PAGES:
        nb = json.loads(f.read_text(encoding="utf-8"))
        nb["metadata"].pop("widgets", None)
        nb["cells"] = [c for c in nb["cells"] if not exports(c)]
        for c in nb["cells"]:
            if c["cell_type"] == "code": c["outputs"], c["execution_count"] = [], None
        to = folder/f.relative_to(ROOT/"nbs")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(json.dumps(nb), encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    copies(folder/"nbs")
    return folder


@pytest.fixture(scope="module")
def lab(place, browser):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
               "--PasswordIdentityProvider.hashed_password=", f"--ServerApp.root_dir={place/'nbs'}", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    process = serve(command, f"{url}/api/status", place/"nbs", profile(place), place/"lab.log")
    yield url
    stop(process)


# ---- what a person does

def code_cells(name): return [c for c in json.loads((ROOT/"nbs"/name).read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code" and "".join(c["source"]).strip() and not exports(c)]

# the mark beside the kernel's name says idle before there is a kernel; the status bar does not
READY = "n => document.querySelectorAll('.jp-Notebook .jp-CodeCell .cm-content').length >= n && /\\) \\| Idle/.test(document.querySelector('#jp-main-statusbar')?.innerText)"

def open_and_run(browser, url, name, shots):
    "A tab with the notebook, all its cells under way."
    page = browser.new_page(viewport=dict(width=1280, height=1100))
    page.set_default_timeout(90_000)
    page.goto(f"{url}/doc/tree/{name}")
    until(page, READY, len(code_cells(name)), f"{name} and its kernel to be there")
    for _ in range(5): # the menu may answer before the notebook does: ask until a cell is under way
        page.click("li.lm-MenuBar-item:has-text('Run')")
        page.click("li[data-command='runmenu:run-all']")
        if wait(page, STARTED, None, 10): return page
    page.screenshot(path=shots/"did_not_start.png")
    pytest.fail(f"no cell of {name} would run: see did_not_start.png in {shots}")


STARTED = "() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].some(p => /\\[[*\\d]/.test(p.innerText))"
DONE = """n => { const prompts = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')].filter(c => c.querySelector('.cm-content').innerText.trim()).map(c => c.querySelector('.jp-InputPrompt').innerText);
             return prompts.length >= n && prompts.every(p => /\\[\\d+\\]/.test(p)) || document.querySelector('[data-mime-type="application/vnd.jupyter.error"]') !== null }"""

def wait_until_run(page, name):
    "Every code cell has run, or one has failed."
    until(page, DONE, len(code_cells(name)), f"{name} to run")


def errors(page): return page.locator("[data-mime-type='application/vnd.jupyter.error']").all_inner_texts()


def widgets(page):
    "The widgets on the page that have a Next button: the innermost box that holds both the button and a picture."
    return page.locator(f".widget-vbox:has({NEXT}):has(img[alt])")


CHANGED = "([e, old]) => !!e.querySelector('[role=alert]') || !!e.querySelector('img[alt]') && e.querySelector('img[alt]').src !== old"

def changed(page, box, act, what):
    "Do something, and wait until the widget's picture is another."
    image = box.locator("img[alt]").first
    before = image.get_attribute("src")
    act()
    until(page, CHANGED, [box.element_handle(), before], f"the picture to change after {what}")
    assert box.locator("[role=alert]").count() == 0, f"{what}: {box.locator('[role=alert]').all_inner_texts()}"
    assert image.evaluate("e => e.complete && e.naturalWidth > 200"), f"{what}: the picture is not drawn"


def press(page, box, key):
    handle = box.locator(".noUi-handle").first
    handle.focus()
    page.keyboard.press(key)


def try_widgets(page, name, shots):
    "Every widget answers to Next and to the arrow keys."
    n = widgets(page).count()
    for i in range(n):
        box = widgets(page).nth(i)
        box.scroll_into_view_if_needed()
        box.screenshot(path=shots/f"{name}_{i}_start.png")
        changed(page, box, lambda: box.locator(NEXT).first.click(), "Next")
        changed(page, box, lambda: press(page, box, "ArrowLeft"), "the arrow key")
        box.screenshot(path=shots/f"{name}_{i}_moved.png")
    return n


# ---- tests

def test_notebooks_run_in_jupyterlab_and_widgets_answer(browser, lab, shots):
    names, moved = [f.relative_to(ROOT/"nbs").as_posix() for f in PAGES], {}
    for at in range(0, len(names), AT_ONCE):
        tabs = {name: open_and_run(browser, lab, name, shots) for name in names[at:at + AT_ONCE]}
        for name, page in tabs.items():
            stem = name.replace("/", "_").removesuffix(".ipynb")
            page.bring_to_front()
            wait_until_run(page, name)
            page.screenshot(path=shots/f"{stem}.png")
            assert errors(page) == [], f"{name}: {errors(page)}"
            assert page.locator(ALERT).count() == 0, f"{name}: {page.locator(ALERT).all_inner_texts()}"
            moved[name] = try_widgets(page, stem, shots)
            page.close()
    assert all(moved[name] for name in WIDGETS) and sum(moved[name] for name in WIDGETS) >= 4


SMALL = """import causal_prompts as cp
from causal_prompts.widgets import ConfoundingSteps
world = cp.World.preset("confounded-hidden")
ConfoundingSteps(cp.CausalReward(learner="kernel", folds=0, baseline=world.baseline).fit(world.log(700, n_prompts=8)))"""

def test_voila_serves_a_widget(browser, place, shots):
    try: import nbformat, voila # noqa: F401
    except ImportError: missing("voila (pip install -e '.[dev]')")
    port, v = free_port(), nbformat.v4
    nbformat.write(v.new_notebook(cells=[v.new_markdown_cell("# A page"), v.new_code_cell(SMALL)], metadata=dict(kernelspec=dict(name="python3", display_name="python3", language="python"))), place/"small.ipynb")
    command = [sys.executable, "-m", "voila", "small.ipynb", "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1", "--show_tracebacks=True"]
    process = serve(command, f"http://127.0.0.1:{port}/voila/static/", place, profile(place), place/"voila.log")
    try:
        page = browser.new_page(viewport=dict(width=1280, height=1100))
        page.goto(f"http://127.0.0.1:{port}/", timeout=LONG)
        page.wait_for_selector(f".widget-vbox:has({NEXT}) img[alt]", timeout=LONG)
        assert "Traceback" not in page.inner_text("body") and "A page" in page.inner_text("body")
        box = widgets(page).first
        changed(page, box, lambda: box.locator(NEXT).first.click(), "Next under voila")
        changed(page, box, lambda: press(page, box, "ArrowLeft"), "the arrow key under voila")
        box.screenshot(path=shots/"voila.png")
        page.close()
    finally: stop(process)
