"""The app in a real browser, as voila serves it: upload, a complaint and its mending, a fit, a cancel, tabs, a narrow page, a download.

Screenshots land in the folder named by CAUSAL_PROMPTS_SHOTS, or in pytest's own temporary one."""
import random, shutil, sys
from pathlib import Path

import pytest

from browsing import browser, free_port, missing, profile, serve, shots, stop # noqa: F401
from causal_prompts.app_pieces import download_link

PAGE = Path(__file__).resolve().parents[1]/"nbs"/"app.ipynb"
WIDE, HALF, PHONE = 1280, 700, 390
LONG = 180_000 # milliseconds for one step on a busy machine


def log_text(n=60, seed=0):
    "A log of ratings from 1 to 5 under three prompts, its columns called by other names."
    draw = random.Random(seed)
    prompts = {"Answer briefly.": 2, "Answer briefly. Think first.": 3, "Answer as a poem.": 1}
    rows = [f"What is {q} plus {q}?,{p},{min(5, base + draw.randint(0, 2))}" for q in range(n) for p, base in prompts.items()]
    return "\n".join(["question,template,rating", *rows])


@pytest.fixture(scope="module")
def place(tmp_path_factory): return tmp_path_factory.mktemp("app")

@pytest.fixture(scope="module")
def served(place, browser):
    try: import voila # noqa: F401
    except ImportError: missing("voila (pip install -e '.[app]')")
    shutil.copy(PAGE, place/"app.ipynb")
    port = free_port()
    command = [sys.executable, "-m", "voila", "app.ipynb", "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1"]
    process = serve(command, f"http://127.0.0.1:{port}/voila/static/", place, profile(place), place/"voila.log")
    yield f"http://127.0.0.1:{port}"
    stop(process)


def opened(browser, url, **how):
    page = browser.new_page(viewport=dict(width=WIDE, height=1000), **how)
    page.set_default_timeout(LONG)
    page.goto(url, timeout=LONG)
    page.wait_for_selector("text=1. The log", timeout=LONG)
    return page

def too_wide(page): return page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")

def field(page, label): return page.locator(f".widget-inline-hbox:has(label:text-is('{label}'))").locator("select, input, textarea").first


def test_a_log_is_uploaded_mended_fitted_and_cancelled(browser, served, shots):
    page = opened(browser, served)
    assert "import causal_prompts" not in page.inner_text("body"), "no code is shown"
    with page.expect_file_chooser() as choosing: page.click("button:has-text('Upload a log')")
    choosing.value.set_files(dict(name="runs.csv", mimeType="text/csv", buffer=log_text().encode()))
    page.wait_for_selector("text=180 rows; 60 queries x 3 prompts")
    assert field(page, "query").input_value() == "question" and field(page, "highest score").input_value() in ("5", "5.0")
    page.screenshot(path=shots/"app_log.png", full_page=True)

    field(page, "highest score").fill("3")
    field(page, "highest score").press("Tab")
    page.wait_for_selector("[role=alert] >> text=set the lowest score to 1 and the highest to 5")
    assert "score_range" not in page.inner_text("body") and not page.is_visible("text=Find the answer")
    page.screenshot(path=shots/"app_complaint.png", full_page=True)
    field(page, "highest score").fill("5")
    field(page, "highest score").press("Tab")

    page.click("text=Find the answer")
    page.wait_for_selector("text=3. The results")
    page.wait_for_selector(".say >> nth=0")
    assert page.locator(".say").count() == 3 and page.locator(".cpa img[alt]").first.evaluate("e => e.complete && e.naturalWidth > 200")
    page.click("button:text-is('Cancel')")
    page.wait_for_selector("text=Cancelled.")
    assert page.is_enabled("button:text-is('Find the answer')") and not page.is_visible("button:text-is('Cancel')")
    page.click("button:text-is('Rows')")
    page.wait_for_selector("ins")
    for width in (WIDE, HALF, PHONE):
        page.set_viewport_size(dict(width=width, height=900))
        for tab in ("Answer", "Rows"):
            page.click(f"button:text-is('{tab}')")
            page.wait_for_timeout(300)
            page.screenshot(path=shots/f"app_{tab.lower()}_{width}.png", full_page=True)
            assert too_wide(page) <= 0, f"{tab} at {width} px scrolls sideways by {too_wide(page)} px"
    page.close()


def test_a_dark_page_is_readable(browser, served, shots):
    page = opened(browser, f"{served}/?theme=dark")
    page.select_option("select >> nth=0", label="simulated: 500 queries, better prompts on harder queries")
    page.wait_for_selector("text=2,000 rows")
    page.screenshot(path=shots/"app_dark.png", full_page=True)
    ink, ground = (page.locator(".cpa p").first.evaluate(f"e => getComputedStyle(e).color"), page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
    light = lambda colour: sum(float(v) for v in colour[colour.index("(") + 1:-1].split(",")[:3]) / 765
    assert abs(light(ink) - light(ground)) > .5, f"{ink} on {ground}"
    page.close()


def test_a_download_link_gives_its_file(browser, place):
    page = browser.new_page()
    content = "ä,b\n1,2\n".encode()
    page.set_content(download_link("effects.csv", content))
    with page.expect_download() as got: page.click("a.file")
    got.value.save_as(place/"got.csv")
    assert got.value.suggested_filename == "effects.csv" and (place/"got.csv").read_bytes() == content
    page.close()
