"""README.md from nbs/index.ipynb, by nbconvert, and the table of pages in CONTRIBUTING.md from their titles: `python .ci/readme.py [root of the tree]`.

Cells that begin with `#| hide` are left out, of those that begin with `#| echo: false` only the output is shown, links that are relative to nbs/ are turned to the root, pictures go to README_files/ with the text of `#| alt:`, and
a Finding shows as Markdown."""
import json, re, shutil, sys
from pathlib import Path
from posixpath import join, normpath

LINK = re.compile(r"(\]\()(?![a-z]+:|[#/])([^)\s]+)")
ALT = re.compile(r"^#\| alt: (.*)\n", re.MULTILINE)
DIRECTIVE = re.compile(r"^#\|.*\n", re.MULTILINE)
STYLE = re.compile(r"<style scoped>.*?</style>\n?", re.DOTALL)
ROOMS = ["base", "the log", "worlds and texts", "routes", "rewards", "checks of the choice", "asking models", "other tools' logs", "searching and judging", "showing"] # by the first digit
TABLE = re.compile(r"(<!-- pages: [^\n]*-->\n).*?(<!-- end of pages -->)", re.DOTALL)
KINDS = ["text/markdown", "image/png", "image/svg+xml", "text/html", "text/plain"]


def to_root(text: str) -> str:
    "A text of nbs/ with its links as seen from the root."
    return LINK.sub(lambda m: m[1] + normpath(join("nbs", m[2])), text)


def alt(cell) -> list:
    "What the pictures of a cell show, for those who do not see them."
    drawn, said = [o for o in cell.get("outputs", []) if "image/png" in o.get("data", {})], ALT.findall(cell.source)
    if len(drawn) != len(said): raise ValueError(f"a cell of index.ipynb must say `#| alt: what the picture shows` once a picture, got {len(drawn)} pictures and {said} in {cell.source[:60]!r}")
    return said


def in_readme(cell):
    "A cell as README.md shows it."
    if cell.cell_type == "markdown": cell.source = to_root(cell.source)
    else: cell.source = "" if cell.source.startswith("#| echo: false") else DIRECTIVE.sub("", cell.source)
    for data in (o["data"] for o in cell.get("outputs", []) if "data" in o):
        if "text/markdown" in data: data["text/markdown"] = to_root(data["text/markdown"])
    return cell


def build(root: Path):
    import nbformat
    from nbconvert import MarkdownExporter
    from traitlets.config import Config
    nb = nbformat.read(root/"nbs"/"index.ipynb", as_version=4)
    nb.metadata["language_info"] = dict(name="python")
    shown = [c for c in nb.cells if not c.source.startswith("#| hide")]
    alts = iter([text for c in shown for text in alt(c)])
    nb.cells = [in_readme(c) for c in shown]
    exporter = MarkdownExporter(config=Config(NbConvertBase=dict(display_data_priority=KINDS)))
    text, resources = exporter.from_notebook_node(nb, resources=dict(output_files_dir="README_files", unique_key="README"))
    shutil.rmtree(root/"README_files", ignore_errors=True)
    for name, data in resources["outputs"].items():
        (root/name).parent.mkdir(exist_ok=True)
        (root/name).write_bytes(data)
    text = "\n".join(line.rstrip() for line in STYLE.sub("", text).strip().splitlines())
    text = text.replace("```python\n\n```\n", "") # cells without their source
    text = re.sub(r"!\[png\]", lambda m: f"![{next(alts)}]", text)
    (root/"README.md").write_text(re.sub(r"\n{3,}", "\n\n", text) + "\n", encoding="utf-8")


def subtitle(opening: str) -> str:
    "The subtitle of a page as a cell of a table, without its full stop."
    found = re.match(r"# \S.*\n\n((?:>.*(?:\n|$))+)", opening)
    if not found: raise ValueError(f"a page must open with '# title', an empty line and '> subtitle', got {opening[:80]!r}")
    text = " ".join(line.lstrip(">").strip() for line in found[1].splitlines())
    return to_root(text).removesuffix(".").replace("|", "\\|")


def pages(nbs: Path) -> str:
    "A row for every numbered page that makes a module: its notebook, its module, its one job."
    rows, room = ["| notebook | module | its one job |", "|---|---|---|"], None
    for file in sorted(nbs.glob("[0-9]*.ipynb")):
        cells = ["".join(c["source"]) for c in json.loads(file.read_text(encoding="utf-8"))["cells"]]
        module = next((m[1] for c in cells if (m := re.search(r"^#\|\s*default_exp\s+(\w+)", c, re.MULTILINE))), None)
        if module is None: continue
        if file.name[0] != room: rows.append(f"| **{file.name[0]}** | | **{ROOMS[int(file.name[0])]}** |")
        room = file.name[0]
        rows.append(f"| `{file.stem}` | `{module}` | {subtitle(cells[0])} |")
    return "\n".join(rows) + "\n"


def with_pages(text: str, nbs: Path) -> str:
    "CONTRIBUTING.md with its table as the pages have it."
    if len(TABLE.findall(text)) != 1: raise ValueError("CONTRIBUTING.md must hold the table once, between '<!-- pages: ... -->' and '<!-- end of pages -->'")
    return TABLE.sub(lambda m: m[1] + pages(nbs) + m[2], text)


def glossary_page(root: Path):
    "docs/glossary.md from the terms that nbs/013_glossary.ipynb exports."
    cells = json.loads((root/"nbs"/"013_glossary.ipynb").read_text(encoding="utf-8"))["cells"]
    exported = ["".join(c["source"]) for c in cells if "".join(c["source"]).startswith("#| export")]
    space = {}
    exec("\n".join(exported), space)
    entries = "\n\n".join(f"## {term}\n\n{text}" for term, text in sorted(space["TERMS"].items(), key=lambda item: item[0].lower()))
    opening = "# Glossary\n\nThe words of findings, reports and pages, in the sense that they have here. Written from `nbs/013_glossary.ipynb`."
    (root/"docs"/"glossary.md").write_text(f"{opening}\n\n{entries}\n", encoding="utf-8")


def contribute(root: Path):
    file = root/"CONTRIBUTING.md"
    file.write_text(with_pages(file.read_text(encoding="utf-8"), root/"nbs"), encoding="utf-8")


if __name__ == "__main__":
    ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve()
    build(ROOT)
    contribute(ROOT)
    glossary_page(ROOT)
