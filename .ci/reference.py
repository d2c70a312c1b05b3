"""The reference of the site: every public name with its parameters, from signatures, docstrings and the comments beside parameters (docments).

`entries()` is one entry a name of `causal_prompts.__all__`; `pages()` is what .ci/docs.py writes. Nothing here needs what builds the site."""
import inspect, re, sys
from pathlib import Path

from fastcore.docments import docments, empty

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import causal_prompts as cp


def homes() -> dict:
    "Module -> what stands on the package itself; modules of the package that have none are there too."
    found = {module: [] for module in cp._MODULES}
    for name, module in cp._HOME.items(): found.setdefault(module, []).append(name)
    return found


def module(name): return __import__(f"{cp.__name__}.{name}", fromlist=["_"])


def source_page(name) -> str:
    "The notebook that makes a module, without its ending."
    found = re.search(r"File to edit: \.\./nbs/(\S+)\.ipynb", Path(module(name).__file__).read_text(encoding="utf-8"))
    return found[1] if found else ""


def type_said(kind) -> str:
    if kind in (empty, None): return ""
    text = kind if isinstance(kind, str) else inspect.formatannotation(kind)
    return re.sub(r"\b(causal_prompts\.\w+\.|collections\.abc\.|typing\.|pandas\.core\.\w+\.|pathlib\.(_local\.)?)", "", text)


def cell(text) -> str: return " ".join(str(text or "").split()).replace("|", "\\|")


def default_said(value) -> str:
    if value in (inspect.Parameter.empty, empty): return ""
    text = value.__name__ if inspect.isfunction(value) or inspect.isclass(value) else repr(value)
    return "..." if " at 0x" in text or text.startswith("_") else text


def signature(f) -> str:
    "Parameters and defaults, without types and without self."
    try: found = inspect.signature(f)
    except (TypeError, ValueError): return "(...)"
    parts, star = [], False
    for p in found.parameters.values():
        if p.name in ("self", "cls"): continue
        if p.kind is p.KEYWORD_ONLY and not star: parts.append("*")
        star = star or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        mark, default = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, ""), default_said(p.default)
        parts.append(f"{mark}{p.name}" + (f"={default}" if p.default is not p.empty else ""))
    return f"({', '.join(parts)})"


def parameters(f) -> str:
    "A table of the parameters with type, default and meaning, and of what is returned."
    try: found, given = docments(f, full=True), inspect.signature(f)
    except (TypeError, ValueError, OSError): return ""
    rows = []
    for name, p in given.parameters.items():
        if name in ("self", "cls"): continue
        kind, default = cell(type_said(p.annotation)), cell(default_said(p.default))
        about = " = ".join(f"`{text}`" for text in (kind, default) if text)
        rows.append([f"`{name}`", about if kind or not default else f"= {about}", cell(found[name].docment if name in found else "")])
    kind, meaning = type_said(given.return_annotation), found["return"].docment if "return" in found else ""
    if kind or meaning: rows.append(["*returns*", f"`{cell(kind)}`" if kind else "", cell(meaning)])
    lines = ["| parameter | type and default | meaning |", "|---|---|---|", *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines) + "\n" if rows else ""


def said(value) -> str: return (inspect.getdoc(value) or "").strip()


def ours(cls) -> list: return [base for base in cls.__mro__ if base.__module__.startswith(f"{cp.__name__}.")]


def members(cls) -> dict:
    "Public methods and properties that the package defines, by name."
    found = {}
    for base in reversed(ours(cls)): found |= {n: v for n, v in vars(base).items() if not n.startswith("_")}
    kinds = (property, staticmethod, classmethod)
    return {n: v for n, v in sorted(found.items()) if inspect.isfunction(v) or isinstance(v, kinds) or hasattr(v, "func") or hasattr(v, "f")}


def directive(kind, name, body, depth) -> str:
    fence = "`" * (6 - depth)
    return f"{fence}{{py:{kind}}} {name}\n\n{body.strip()}\n{fence}\n"


def member(name, value) -> str:
    "A method or property of a class."
    if isinstance(value, (staticmethod, classmethod)): f, option = value.__func__, f":{type(value).__name__}:\n\n"
    elif inspect.isfunction(value): f, option = value, ""
    else:
        got = getattr(value, "fget", None) or getattr(value, "func", None) or getattr(value, "f", None)
        return directive("property", name, said(got), 2)
    return directive("method", f"{name}{signature(f)}", f"{option}{said(f)}\n\n{parameters(f)}", 2)


def entry(home: str, name: str) -> str:
    "One name of a module, as MyST markdown."
    value, full = getattr(module(home), name), f"{cp.__name__}.{home}.{name}"
    if inspect.isclass(value):
        of = "\n".join(member(n, v) for n, v in members(value).items())
        return directive("class", f"{full}{signature(value)}", f"{said(value)}\n\n{parameters(value.__init__)}\n{of}", 1)
    if callable(value): return directive("function", f"{full}{signature(value)}", f"{said(value)}\n\n{parameters(value)}", 1)
    return directive("data", full, f"`{cell(repr(value))[:200]}`" if " at 0x" not in repr(value) else f"An object of `{type(value).__name__}`.", 1)


def names(home: str) -> list:
    "Public names of a module, those of its face first."
    face = homes().get(home, [])
    return [*face, *(n for n in getattr(module(home), "__all__", []) if n not in face)]


def page(home: str) -> str:
    "A module as a page."
    face, source = homes()[home], source_page(home)
    on_package = f"On the package itself: {', '.join(f'`cp.{n}`' for n in face)}.\n\n" if face else ""
    made = f"How it is made, with examples that run: [{source}](../nbs/{source}.ipynb).\n\n" if source else ""
    return f"# {home}\n\n{said(module(home))}\n\n{on_package}{made}" + "\n".join(entry(home, n) for n in names(home))


def pages() -> dict: return {home: page(home) for home in homes()}


def entries() -> dict:
    "Public name of the package -> its entry, or for a module its page."
    return {"__version__": f"`{cp.__version__}`"} | {n: entry(home, n) for n, home in cp._HOME.items()} | {m: page(m) for m in cp._MODULES}


def first_line(value) -> str: return cell(said(value).split("\n\n")[0])


def contents() -> str:
    "The page that lists all of it."
    face = [f"| [`cp.{n}`](#{cp.__name__}.{home}.{n}) | {first_line(getattr(module(home), n))} |" for n, home in cp._HOME.items()]
    rest = [f"| [`cp.{m}`]({m}.md) | {first_line(module(m))} |" for m in sorted(homes())]
    return "\n".join(["# Reference", "", "`import causal_prompts as cp`. What most work needs stands on the package itself; the rest is one dot deeper.", "", "| name | |", "|---|---|", *face, "",
        "## Modules", "", "| module | |", "|---|---|", *rest, "", "```{toctree}", ":hidden:", "", *sorted(homes()), "```", ""])
