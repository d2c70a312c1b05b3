"""The documentation as pages with a search box, from the notebooks as they are stored: `python .ci/docs.py [folder]` (build/site). Nothing is run. Needs the extra docs."""
import json, re, shutil, subprocess, sys
from pathlib import Path

import reference
from readme import ROOMS, subtitle

ROOT = Path(__file__).resolve().parents[1]
DROPPED = re.compile(r"^#\|\s*(hide|default_exp)\b", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
DIRECTIVE = re.compile(r"^#\|.*\n?", re.MULTILINE)
PLACE = re.compile(r"(\]\([^)\s]*#)([^)\s]+)") # JupyterLab's names of headings keep capitals


def as_read(cell) -> list:
    "A cell of a notebook as a reader sees it; none where it is only for the machine."
    source = "".join(cell["source"])
    if cell["cell_type"] != "code": return [cell | dict(source=PLACE.sub(lambda m: m[1] + m[2].lower(), source))]
    if DROPPED.search(source): return []
    tags = ["remove-input"] if source.startswith("#| echo: false") else []
    return [cell | dict(source=DIRECTIVE.sub("", source).strip("\n"), metadata=dict(tags=tags))]


def copy_notebook(source: Path, to: Path):
    nb = json.loads(source.read_text(encoding="utf-8"))
    nb["cells"] = [shown for cell in nb["cells"] for shown in as_read(cell)]
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(nb), encoding="utf-8")


def listed(folder: Path, caption: str, pages) -> str:
    "A table of pages with what each is about, and the same for the sidebar."
    rows = []
    for page in pages:
        file = next(f for end in (".ipynb", ".md") if (f := folder/f"{page}{end}").exists())
        opening = "".join(json.loads(file.read_text(encoding="utf-8"))["cells"][0]["source"]) if file.suffix == ".ipynb" else file.read_text(encoding="utf-8")
        title = opening.splitlines()[0].lstrip("# ")
        rows.append(f"| [{title}]({page}{file.suffix}) | {LINK.sub(lambda m: m[1], subtitle(opening)) if file.suffix == '.ipynb' else ''} |")
    return "\n".join([f"## {caption}", "", "| page | |", "|---|---|", *rows, "", "```{toctree}", ":hidden:", f":caption: {caption}", "", *(f"/{page}" for page in pages), "```", ""])


def write(folder: Path):
    "All that Sphinx reads, laid out as the tree is, so that links lead where they lead there."
    for source in [*(ROOT/"nbs").rglob("*.ipynb")]:
        if ".ipynb_checkpoints" not in source.parts and source.name != "index.ipynb": copy_notebook(source, folder/source.relative_to(ROOT))
    for name in ("docs", "nbs/images", "benchmarks", "README_files", "recordings"):
        shutil.copytree(ROOT/name, folder/name, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb", "raw"), dirs_exist_ok=True)
    for name in ("CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"): shutil.copy(ROOT/name, folder/name)
    shutil.move(folder/"docs"/"conf.py", folder/"conf.py")
    shutil.move(folder/"docs"/"_static", folder/"_static")
    (folder/"reference").mkdir()
    for name, text in reference.pages().items(): (folder/"reference"/f"{name}.md").write_text(text, encoding="utf-8")
    (folder/"reference"/"index.md").write_text(reference.contents(), encoding="utf-8")
    lists(folder)


def lists(folder: Path):
    "The pages that hold lists of pages, and the first page."
    at = lambda pattern: [f.relative_to(folder).with_suffix("").as_posix() for f in sorted(folder.glob(pattern))]
    walk = "nbs/explain/a_log_step_by_step"
    texts = dict(
        lessons=("Lessons", "One idea each; every page runs, without keys, in a few minutes. `jupyter lab nbs/tutorials` opens them.", {"In this order": at("nbs/tutorials/*.ipynb")}),
        guide=("Guide", "How to do a thing, and what stands behind it.", {"How to": ["docs/how_to", "docs/install", walk], "Background": [f for f in at("nbs/explain/*.ipynb") if f != walk]}),
        pages=("Pages", "The package is written as notebooks. Each page makes one module, uses only pages before it, and shows what it does.", {f"{i}: {room}": at(f"nbs/{i}*.ipynb") for i, room in enumerate(ROOMS)}),
        project=("Project", "How the package is measured and made.", {"Project": ["benchmarks/README", "CONTRIBUTING", "CHANGELOG"]}))
    for name, (title, said, parts) in texts.items():
        (folder/f"{name}.md").write_text("\n".join([f"# {title}", "", said, "", *(listed(folder, *part) for part in parts.items())]), encoding="utf-8")
    top = ["", "```{toctree}", ":hidden:", "", "lessons", "guide", "pages", "reference/index", "docs/glossary", "project", "```", ""]
    (folder/"index.md").write_text((ROOT/"README.md").read_text(encoding="utf-8") + "\n".join(top), encoding="utf-8")


def main(to: Path):
    source = to.parent/f"{to.name}-source"
    for folder in (source, to): shutil.rmtree(folder, ignore_errors=True)
    source.mkdir(parents=True)
    write(source)
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "auto", "-b", "html", "-d", str(source/".doctrees"), str(source), str(to)])
    if done.returncode: sys.exit(done.returncode)
    read = [f.relative_to(source).with_suffix(".html") for f in source.rglob("*") if f.suffix in (".md", ".ipynb")]
    if missing := [str(f) for f in read if not (to/f).exists()]: sys.exit(f"Sphinx has ended without a word and left out {len(missing)} pages, {missing[0]} among them; run it on one core (without -j) to see why")
    print(f"{to}/index.html: {len(list(to.rglob('*.html')))} pages")


if __name__ == "__main__": main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT/"build"/"site").resolve())
