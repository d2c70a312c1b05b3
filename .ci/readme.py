"""README.md from nbs/index.ipynb, by nbconvert: `python .ci/readme.py [root of the tree]`.

Cells that begin with `#| hide` are left out, of those that begin with `#| echo: false` only the output is shown, links that are relative to nbs/ are turned to the root, pictures go to README_files/, and a Finding shows as Markdown."""
import re, shutil, sys
from pathlib import Path
from posixpath import join, normpath

import nbformat
from nbconvert import MarkdownExporter
from traitlets.config import Config

LINK = re.compile(r"(\]\()(?![a-z]+:|[#/])([^)\s]+)")
DIRECTIVE = re.compile(r"^#\|.*\n", re.MULTILINE)
STYLE = re.compile(r"<style scoped>.*?</style>\n?", re.DOTALL)
KINDS = ["text/markdown", "image/png", "image/svg+xml", "text/html", "text/plain"]


def build(root: Path):
    nb = nbformat.read(root/"nbs"/"index.ipynb", as_version=4)
    nb.metadata["language_info"] = dict(name="python")
    nb.cells = [c for c in nb.cells if not c.source.startswith("#| hide")]
    for c in nb.cells:
        if c.cell_type == "markdown": c.source = LINK.sub(lambda m: m[1] + normpath(join("nbs", m[2])), c.source)
        else: c.source = "" if c.source.startswith("#| echo: false") else DIRECTIVE.sub("", c.source)
    exporter = MarkdownExporter(config=Config(NbConvertBase=dict(display_data_priority=KINDS)))
    text, resources = exporter.from_notebook_node(nb, resources=dict(output_files_dir="README_files", unique_key="README"))
    shutil.rmtree(root/"README_files", ignore_errors=True)
    for name, data in resources["outputs"].items():
        (root/name).parent.mkdir(exist_ok=True)
        (root/name).write_bytes(data)
    text = "\n".join(line.rstrip() for line in STYLE.sub("", text).strip().splitlines())
    text = text.replace("```python\n\n```\n", "") # cells without their source
    (root/"README.md").write_text(re.sub(r"\n{3,}", "\n\n", text) + "\n", encoding="utf-8")


if __name__ == "__main__": build(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve())
