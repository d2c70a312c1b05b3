"""Take the picture of a widget that README.md shows, in a real browser: `python .ci/picture.py`. Needs the extra dev and chromium."""
import os, shutil, socket, subprocess, sys, tempfile, time, urllib.error, urllib.request
from pathlib import Path

import nbformat
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT/"nbs"/"images"/"confounding_steps.png"
CELL = """import causal_prompts as cp

world = cp.World.preset("confounded-hidden")
reward = cp.CausalReward(baseline=world.baseline).fit(world.log(n_queries=1500, n_prompts=12))
best = next(p for p in reward.prompts_["prompt"] if "step at a time" in p)
steps = cp.widgets.ConfoundingSteps(reward, prompt=best)
steps.controls["step"].value = 5
steps"""


def answers(url: str) -> bool:
    try: urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError: return True
    except OSError: return False
    return True


def main():
    chromium = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)], metadata=dict(kernelspec=dict(name="python3", display_name="Python 3"))), Path(folder)/"w.ipynb")
        env = {k: v for k, v in os.environ.items() if k not in ("IN_TEST", "MPLBACKEND")} | dict(PYTHONPATH=str(ROOT), PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        server = subprocess.Popen([sys.executable, "-m", "voila", "w.ipynb", "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1"], cwd=folder, env=env)
        try:
            while not answers(f"http://127.0.0.1:{port}/voila/static/"): time.sleep(.2)
            page = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_page(viewport=dict(width=760, height=900))
            page.goto(f"http://127.0.0.1:{port}/", timeout=300_000)
            page.wait_for_selector(".jupyter-widgets img[alt]", timeout=300_000)
            page.wait_for_timeout(1500)
            PICTURE.parent.mkdir(exist_ok=True)
            box, figure = (page.locator(where).first.bounding_box() for where in (".jupyter-widgets.widget-vbox", ".jupyter-widgets img[alt]"))
            page.screenshot(path=PICTURE, clip=dict(x=box["x"], y=box["y"], width=box["width"], height=figure["y"] + figure["height"] - box["y"]))
        finally:
            server.terminate()
            server.wait(20)


if __name__ == "__main__": main()
