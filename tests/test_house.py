"""The house: floors, versions, pins, notebooks as pages, a light import. `python tests/test_house.py` prints the report on the pages."""
import ast, json, re, subprocess, sys, time
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from fakes import examples

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/".ci"))
import entered, readme # what the gate makes from the pages

PACKAGE, NBS = ROOT/"causal_prompts", ROOT/"nbs"
NAME = PACKAGE.name
HEAVY = ["torch", "transformers", "sentence_transformers", "econml", "dowhy", "lightgbm", "shap", "openai", "ray", "dask", "distributed", "xgboost"]
LONGEST, FULLEST, WIDEST = 30, 1000, 120 # lines of code and characters in one exported cell, characters in one of its lines
TALLEST = 400 # lines that no module reaches


def settings(root=ROOT):
    parser = ConfigParser(delimiters=["="])
    parser.read(root/"settings.ini", encoding="utf-8")
    return parser["DEFAULT"]


# ---- notebooks

def notebooks(nbs=NBS): return sorted(f for f in nbs.rglob("*.ipynb") if not any(p[0] in "._" for p in f.relative_to(nbs).parts))

def cells(notebook, kind=None):
    "The cells of a notebook, their sources joined."
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [c | dict(source="".join(c["source"])) for c in found if kind in (None, c["cell_type"])]

def directives(cell): return re.findall(r"^#\|\s*(\w+)", cell["source"], re.MULTILINE) if cell["cell_type"] == "code" else []

def code_of(cell): return [l for l in cell["source"].splitlines() if l.strip() and not l.startswith("#|")]

def exported(notebook): return [c for c in cells(notebook, "code") if {"export", "exports"} & {*directives(c)}]

def module_of(notebook):
    "The module a notebook exports to, or None."
    found = [m[1] for c in cells(notebook, "code") if (m := re.search(r"^#\|\s*default_exp\s+(\w+)", c["source"], re.MULTILINE))]
    return found[0] if found else None

def floors(nbs=NBS):
    "Module -> number of its notebook, as written: its first digit is the room, a letter stands between two numbers."
    numbered = [(f, m[1]) for f in sorted(nbs.glob("*.ipynb")) if (m := re.match(r"(\d+[a-z]?)_", f.name))]
    return {module_of(f): number for f, number in numbered if module_of(f)}

def place(number):
    "The number of a page as what orders it: 501 before 501b before 502."
    digits, letter = re.fullmatch(r"(\d+)([a-z]?)", number).groups()
    return int(digits), letter

def page_report(nbs=NBS):
    "One row a notebook: cells, share of prose, words of prose a line exported, lines and characters of the exported cells, its widest line."
    rows = []
    for f in notebooks(nbs):
        prose, code = cells(f, "markdown"), [code_of(c) for c in exported(f)]
        lines, size = sorted(map(len, code)), sorted(len(c["source"]) for c in exported(f))
        words, n, total = sum(len(c["source"].split()) for c in prose), len(code), sum(lines)
        rows.append(dict(page=f.relative_to(nbs).as_posix(), cells=len(cells(f)), prose=len(prose) / max(1, len(cells(f))),
            words=words / total if total else None, exported=n, lines=total, longest=max(lines, default=0),
            median=size[n // 2] if n else 0, p90=size[int(.9 * n)] if n else 0, fullest=max(size, default=0), widest=max((len(l) for c in code for l in c), default=0)))
    return rows

def too_dense(nbs=NBS):
    "Exported cells that a reader cannot take in at once."
    found = []
    for f in notebooks(nbs):
        for c in exported(f):
            code = code_of(c)
            size, wide = len(c["source"]), max(map(len, code), default=0)
            if len(code) > LONGEST or size > FULLEST or wide > WIDEST: found.append(f"{f.name} {code[0][:50]!r}: {len(code)} lines, {size} characters, widest line {wide}")
    return found

def too_long(package=PACKAGE):
    "Modules that hold more than one page's worth, with their lines; split their page at one of its headings."
    lines = {f.stem: len(f.read_text(encoding="utf-8").splitlines()) for f in sorted(package.glob("*.py")) if f.stem != "_modidx"}
    return {module: n for module, n in lines.items() if n >= TALLEST}

def unrun(notebook):
    "What is wrong with the stored outputs of a notebook; empty where nothing is."
    outputs = [o for c in cells(notebook, "code") for o in c["outputs"]]
    if "widgets" in json.loads(notebook.read_text(encoding="utf-8")).get("metadata", {}): return [f"{notebook.name}: stored widget state, which differs from run to run; run it with `make notebooks`"]
    if any("application/vnd.jupyter.widget-view+json" in o.get("data", {}) for o in outputs): return [f"{notebook.name}: a stored widget, which shows as an error without a kernel; run it with `make notebooks`"]
    errors = [f"{notebook.name}: stored error {o['ename']}: {o['evalue']:.80}" for o in outputs if o["output_type"] == "error"]
    return errors or ([] if outputs else [f"{notebook.name}: no stored output; run it with `make notebooks`"])


# ---- imports between modules

def imported(source, package=NAME):
    "(line, name) for everything of the package that is imported, or reached through the package itself, wherever it stands; `__version__` and its like are free to all."
    tree = ast.parse(source)
    roots = {a.asname or package for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names if a.name == package or (a.name.startswith(package + ".") and not a.asname)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import): names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [package if node.level else "", node.module]))
            names = [f"{base}.{a.name}" for a in node.names] if base == package else [base]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in roots: names = [f"{package}.{node.attr}"]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__") and node.args:
            target = str(getattr(node.args[0], "value", ""))
            names = [package + target if target.startswith(".") else target]
        else: continue
        for name in names:
            top, *rest = name.split(".")
            if top == package and rest and not rest[0].startswith("__"): yield node.lineno, rest[0]

def upward(package=PACKAGE, nbs=NBS):
    "Every import that does not run down: '' where the floors hold."
    floor, wrong = floors(nbs), []
    for file in sorted(package.glob("*.py")):
        here = file.stem
        if here.startswith("_"): continue
        if here not in floor: wrong.append(f"{here}: no numbered notebook exports it"); continue
        for line, target in imported(file.read_text(encoding="utf-8"), package.name):
            if target == "_entered": continue # names of modules; what is imported by them is tested below
            at = f"{here}.py:{line} imports {target}"
            if target not in floor: wrong.append(f"{at}, which is no module of a numbered notebook; import from the module that makes it")
            elif target == "widgets": wrong.append(f"{at}; nothing imports widgets")
            elif here == "plots" and target != "text_names": wrong.append(f"{at}; plots imports text_names and no other module of the package")
            elif place(floor[target]) >= place(floor[here]): wrong.append(f"{at}: from floor {floor[here]} to {floor[target]}")
    return wrong


def private(package=PACKAGE):
    "Every name with an underscore that one module takes from another: what two pages want is public where it lives."
    return [f"{file.stem}: {node.module}.{a.name}" for file in sorted(package.glob("*.py")) for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and node.level for a in node.names if a.name.startswith("_") and not a.name.startswith("__")]


def top_level(package=PACKAGE):
    "(module, statement) for every statement at the top of a module."
    for file in sorted(package.glob("*.py")):
        if not file.stem.startswith("_"): yield from ((file.stem, node) for node in ast.parse(file.read_text(encoding="utf-8")).body)

def is_patch(node): return any("patch" in ast.unparse(d) for d in node.decorator_list)

def two_meanings(package=PACKAGE):
    "Private names that more than one module defines, with these modules; `_all_` is nbdev's."
    found = {}
    for module, node in top_level(package):
        names = [t.id for t in node.targets if isinstance(t, ast.Name)] if isinstance(node, ast.Assign) else []
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not is_patch(node): names = [node.name]
        for name in names:
            if name.startswith("_") and not name.startswith("__") and name != "_all_": found.setdefault(name, set()).add(module)
    return {name: sorted(modules) for name, modules in sorted(found.items()) if len(modules) > 1}

def public_twice(package=PACKAGE):
    "Public functions and classes that more than one module defines, with these modules."
    found = {}
    for module, node in top_level(package):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not is_patch(node) and not node.name.startswith("_"):
            found.setdefault(node.name, set()).add(module)
    return {name: sorted(modules) for name, modules in sorted(found.items()) if len(modules) > 1}

def hung_on(package=PACKAGE):
    "Methods given to a class from outside by assignment, whose name a reader of help or a traceback does not see."
    targets = [(m, t) for m, node in top_level(package) if isinstance(node, ast.Assign) for t in node.targets]
    flat = [(m, a) for m, t in targets for a in (t.elts if isinstance(t, ast.Tuple) else [t])]
    return [f"{m}: {ast.unparse(a)}" for m, a in flat if isinstance(a, ast.Attribute)]

def is_own(node): return isinstance(node, ast.Name) and node.id in ("self", "cls") or isinstance(node, ast.Call) and ast.unparse(node.func) == "super"

def private_attributes(tree):
    "(line, object, name) of every attribute with an underscore that is read or set; those of protocols end in one too."
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute): line, thing, name = node.lineno, node.value, node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr") and isinstance(node.args[1], ast.Constant): line, thing, name = node.lineno, node.args[0], node.args[1].value
        else: continue
        if name.startswith("_") and not name.endswith("_"): yield line, thing, name

def members(tree):
    "Private methods and attributes of a module's classes, those given by `@patch` too."
    inside = [f for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for f in c.body if isinstance(f, ast.FunctionDef)]
    methods = {f.name for f in [*inside, *(f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and is_patch(f))]}
    return {name for name in methods if name.startswith("_")} | {name for _, thing, name in private_attributes(tree) if is_own(thing)}

def borrowed(package=PACKAGE):
    "Attributes with an underscore taken from objects of another module: what two pages want is public where it lives."
    trees = {f.stem: ast.parse(f.read_text(encoding="utf-8")) for f in sorted(package.glob("*.py")) if not f.stem.startswith("_")}
    of = {module: members(tree) for module, tree in trees.items()}
    return [f"{module}:{line} {ast.unparse(thing)}.{name}" for module, tree in trees.items() for line, thing, name in private_attributes(tree)
            if not is_own(thing) and any(name in of[other] for other in of if other != module)]

ROUTES = {"naive", "within", "weighted", "dml"}

def routes_by_name(package=PACKAGE):
    "Comparisons with the name of a route, where the route should be asked."
    found = []
    for file in sorted(package.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Compare): continue
            names = {c.value for side in [node.left, *node.comparators] for c in ast.walk(side) if isinstance(c, ast.Constant) and isinstance(c.value, str)}
            text = ast.unparse(node)
            if names and names <= ROUTES and re.search(r"route|adjust", text): found.append(f"{file.stem}:{node.lineno} {text}")
    return found


# ---- what must not stand in the tree

MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:work|tmp|root|home|opt|Users)/")

def texts_of(notebook):
    "(where, text) of every source and every output that is not a bitmap."
    for i, c in enumerate(cells(notebook)):
        yield f"cell {i}", c["source"]
        for o in c.get("outputs", []):
            kinds = {k: v for k, v in o.get("data", {}).items() if k not in ("image/png", "image/jpeg")} | {"text": o.get("text", ""), "trace": o.get("traceback", "")}
            for v in kinds.values(): yield f"cell {i}, output", "".join(v) if isinstance(v, (str, list)) else json.dumps(v)

def machine_paths(file):
    "Lines that name a folder of one machine."
    parts = texts_of(file) if file.suffix == ".ipynb" else [("", file.read_text(encoding="utf-8"))]
    return [f"{file.name} {where}: {line.strip():.120}" for where, text in parts for line in text.splitlines() if MACHINE_PATH.search(line)]

def written_files():
    "Every text file that people read or machines run, generated ones included."
    top = [f for f in ROOT.iterdir() if f.is_file() and f.suffix in (".md", ".py", ".toml", ".ini", ".txt", ".in") or f.name == "Makefile"]
    below = [f for d in ("causal_prompts", "tests", "benchmarks", ".ci", ".github") for f in (ROOT/d).rglob("*") if f.is_file()]
    return sorted([*top, *notebooks(), *(f for f in below if f.suffix in (".py", ".json", ".md", ".yml", "") and "__pycache__" not in f.parts)])


# ---- a Python of its own

WATCH = """
import sys
def watch(event, args):
    if event.startswith("socket."): raise RuntimeError(f"network touched: {event} {args[1:]}")
sys.addaudithook(watch)
"""

def python(code):
    "Run code in a fresh interpreter in which touching a socket raises."
    return subprocess.run([sys.executable, "-c", WATCH + code], cwd=ROOT/"tests", capture_output=True, text=True, timeout=120)

def loaded_after(code):
    done = python(f"{code}\nprint('\\n'.join(sys.modules))")
    assert done.returncode == 0, done.stderr
    return {m.split(".")[0] for m in done.stdout.split()}


# ---- tests: versions and pins

def test_version_is_the_same_everywhere():
    import causal_prompts
    version = settings()["version"]
    assert causal_prompts.__version__ == version
    assert Version(version)
    assert f"\n## {version}" in (ROOT/"CHANGELOG.md").read_text(encoding="utf-8")

def requirements(cfg): return [Requirement(r) for key in cfg if key.endswith("requirements") for r in cfg[key].split()]

def pins(text):
    "name -> version of a constraints file; anything but `name==version` is an error."
    lines = [l for l in text.splitlines() if l.strip() and not l.startswith("#")]
    odd = [l for l in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", l)]
    assert not odd, f"constraints.txt must hold only name==version (no hosts, no local builds, no editable installs), got {odd}"
    return {canonicalize_name(l.split("==")[0]): l.split("==")[1] for l in lines}

def unpinned(wanted, pinned):
    "Direct requirements without a pin, or with one outside what settings.ini allows."
    return [str(r) for r in wanted if (v := pinned.get(canonicalize_name(r.name))) is None or not r.specifier.contains(v, prereleases=True)]

def test_every_direct_requirement_is_pinned_within_its_bounds():
    wanted = requirements(settings())
    assert len(wanted) > 15 and all(r.specifier for r in wanted), "every requirement in settings.ini carries a lower bound"
    assert unpinned(wanted, pins((ROOT/"constraints.txt").read_text())) == []

def test_a_missing_or_wrong_pin_is_found():
    wanted = [Requirement("numpy>=2"), Requirement("sentence-transformers>=5"), Requirement("openai>=2")]
    assert unpinned(wanted, pins("numpy==1.26.4\nsentence_transformers==6.2.0\n")) == ["numpy>=2", "openai>=2"]

@pytest.mark.parametrize("line", ["torch==2.13.0+cpu", "-e .", "numpy>=2", "causal_prompts @ file:///somewhere", "--index-url https://example.org"])
def test_a_line_that_is_no_plain_pin_is_refused(line):
    with pytest.raises(AssertionError, match="only name==version"): pins(line)

def test_extras_are_the_promised_ones():
    assert {"offline", "ray", "dev"} <= {k.removesuffix("_requirements") for k in settings() if k.endswith("_requirements")}


# ---- tests: floors

def test_no_import_runs_up_a_floor(): assert upward() == []

def test_no_module_takes_a_private_name_of_another(tmp_path):
    assert private() == []
    (tmp_path/"low.py").write_text("_hidden, shown = 1, 2")
    (tmp_path/"high.py").write_text("from .low import _hidden, shown\nfrom . import __version__")
    assert private(tmp_path) == ["high: low._hidden"]

def test_no_module_takes_a_private_attribute_from_the_objects_of_another(tmp_path):
    assert borrowed() == []
    (tmp_path/"low.py").write_text("class A:\n    def __init__(self): self._x, self._repr_html_ = 1, 2\n    def _f(self): return self._x\n@patch\ndef _g(self: A): pass")
    (tmp_path/"high.py").write_text("class B(A):\n    def f(self): return self._x, super()._f(), self._own\na = A()\na._x = a._f()\ngetattr(a, '_g'), a._repr_html_, os._exit, B()._own, a.__dict__")
    assert sorted(borrowed(tmp_path)) == ["high:4 a._f", "high:4 a._x", "high:5 a._g"]

def test_a_private_name_means_one_thing_in_the_house(tmp_path):
    assert two_meanings() == {}
    for name, source in dict(a="def _f(): 1\n_x = 1", b="class _f: 1\ndef _y(): 1", c="@patch\ndef _f(self: int): 1").items(): (tmp_path/f"{name}.py").write_text(source)
    assert two_meanings(tmp_path) == {"_f": ["a", "b"]}

def test_public_names_with_two_meanings(tmp_path):
    assert public_twice() == {}
    for name, source in dict(a="def f(): 1\ndef g(): 1", b="class f: 1\ng = 1", c="@patch\ndef f(self: int): 1").items(): (tmp_path/f"{name}.py").write_text(source)
    assert public_twice(tmp_path) == {"f": ["a", "b"]}

def test_methods_carry_their_public_names(tmp_path):
    assert hung_on() == []
    (tmp_path/"a.py").write_text("class A: pass\ndef _g(self): pass\nA.f, A.g = 1, _g\nx = 1")
    assert hung_on(tmp_path) == ["a: A.f", "a: A.g"]

def test_a_route_is_asked_and_not_compared_by_name(tmp_path):
    assert routes_by_name() == []
    (tmp_path/"a.py").write_text("if r.route == 'dml' or route in ('within', 'naive'): pass\nif name == 'naive' or route.weighs: pass")
    assert len(routes_by_name(tmp_path)) == 2

def absent_modules(files):
    "Modules of the package that a file names and no page makes, wherever they are named."
    there = {f.stem for f in PACKAGE.glob("*.py")}
    named = re.compile(r"(?:from |import |\"|')causal_prompts\.(\w+)")
    texts = ((f, json.dumps([c["source"] for c in cells(f)]) if f.suffix == ".ipynb" else f.read_text(encoding="utf-8")) for f in files)
    return sorted(f"{f.name}: {name}" for f, text in texts for name in {*named.findall(text)} - there)

def test_every_module_that_is_named_is_there(tmp_path):
    tests = [f for f in (ROOT/"tests").glob("*.py") if f.name != "test_former.py"]
    assert absent_modules([*notebooks(), *tests, *(ROOT/"benchmarks").rglob("*.py")]) == []
    (tmp_path/"a.py").write_text("import causal_prompts.core\nfrom causal_prompts" + ".gone import x")
    assert absent_modules([tmp_path/"a.py"]) == ["a.py: gone"]

def write_tree(tmp_path, **modules):
    "A package and its notebooks: keyword `_07_name` = source of module `name` on floor 07."
    package, nbs = tmp_path/"toy", tmp_path/"nbs"
    package.mkdir(), nbs.mkdir()
    for key, source in modules.items():
        number, name = key[1:3], key[4:]
        (package/f"{name}.py").write_text(source)
        code = dict(cell_type="code", source=[f"#| default_exp {name}\n"], outputs=[])
        (nbs/f"{number}_{name}.ipynb").write_text(json.dumps(dict(cells=[code])))
    return package, nbs

@pytest.mark.parametrize("source", [
    "from toy.high import f", "from .high import f", "from . import high", "import toy.high", "def g():\n    from toy.high import f",
    "from importlib import import_module\nimport_module('toy.high')", "import importlib\nimportlib.import_module('.high', 'toy')", "if True:\n    import numpy, toy.high as h",
])
def test_an_import_that_runs_up_is_found(tmp_path, source):
    wrong = upward(*write_tree(tmp_path, _02_low=source, _05_high="x = 1"))
    assert len(wrong) == 1 and "imports high: from floor 02 to 05" in wrong[0]

@pytest.mark.parametrize("source, message", [
    ("import toy as t\nt.f", "imports f, which is no module"), ("from toy import f", "imports f, which is no module"), ("from toy.high import f", "from floor 05 to 05"),
    ("from toy.widgets import f", "nothing imports widgets"),
])
def test_other_imports_that_are_not_allowed_are_found(tmp_path, source, message):
    wrong = upward(*write_tree(tmp_path, _02_widgets="", _05_high=source))
    assert len(wrong) == 1 and message in wrong[0]

def test_plots_stands_alone_and_every_module_has_a_notebook(tmp_path):
    fine = "from .plots import y\nimport numpy.high, toy\nfrom toy import __version__\ntoy.__file__"
    package, nbs = write_tree(tmp_path, _00_base="", _01_plots="from toy.base import x", _02_fine=fine)
    (package/"orphan.py").write_text("")
    assert upward(package, nbs) == ["orphan: no numbered notebook exports it", "plots.py:1 imports base; plots imports text_names and no other module of the package"]

def test_what_pages_enter_is_read_off_them_again():
    made = entered.source(PACKAGE)
    assert (PACKAGE/"_entered.py").read_text(encoding="utf-8") == made, "a page enters a check or an importer and is not in _entered.py: `make export` writes it"

def gathered(name):
    "The modules that import the pages of a list."
    return [f.stem for f in PACKAGE.glob("[!_]*.py") if f'ENTERED["{name}"]' in f.read_text(encoding="utf-8")]

def test_pages_that_enter_something_stand_below_the_page_that_gathers_them():
    from causal_prompts._entered import ENTERED
    number = {module: int(n) for module, n in floors().items()}
    for name, pages in ENTERED.items():
        assert gathered(name) == [{"checks": "diagnostics", "importers": "importers"}[name]]
        assert len(pages) > 5 and pages == sorted(pages, key=number.get) and number[pages[-1]] < number[gathered(name)[0]]

def test_every_check_and_importer_that_any_page_enters_is_gathered():
    "By importing every page: what is entered in a way that the generator does not read would be missed by checkup and read."
    every, gathers = ", ".join(f"{NAME}.{m}" for m in floors() if m != "widgets"), f"{NAME}.diagnostics, {NAME}.importers"
    said = f"from {NAME}.checks import CHECKS\nfrom {NAME}.tool_logs import TOOLS\nprint('|'.join([*sorted(CHECKS), *sorted(TOOLS)]))"
    whole, found = python(f"import {every}\n{said}"), python(f"import {gathers}\n{said}")
    assert whole.returncode == 0 and "balance" in whole.stdout and "promptfoo" in whole.stdout, whole.stderr
    assert found.stdout == whole.stdout, "a page enters a check with something else than `@check(...)`, or an importer with something else than `TOOLS[name] = ...` or `TOOLS |= ...`"

@pytest.mark.parametrize("source, found", [
    ("@check('x', clean=(), broken=())\ndef f(reward): ...", ["checks"]), ("@checks.check('x')\n@wraps(g)\ndef f(reward): ...", ["checks"]), ("TOOLS['x'] = Tool(f, g)", ["importers"]),
    ("tool_logs.TOOLS |= dict(x=1)", ["importers"]), ("def check(name): ...\nTOOLS = {}\n@property\ndef f(): check('x')", []), ("from ._entered import ENTERED\nTOOLS['table'] = 1", [])])
def test_what_a_page_enters_is_seen(tmp_path, source, found):
    (tmp_path/"mine.py").write_text(f"# AUTOGENERATED! DO NOT EDIT! File to edit: ../nbs/409_mine.ipynb.\n{source}\n")
    assert [name for name, pages in entered.entered(tmp_path).items() if pages == ["mine"]] == found
    space = {}
    exec(entered.source(tmp_path), space)
    assert space["ENTERED"] == {"checks": [], "importers": []} | {name: ["mine"] for name in found}

def test_importers_are_called_by_their_names():
    import causal_prompts as cp
    for name, tool in cp.importers.tools().items():
        if name != "openai_batch": assert getattr(cp.importers, name) is tool.read # the name was there before, for one of the two ways to read a batch

def test_modules_say_where_they_come_from():
    for file in PACKAGE.glob("*.py"):
        if file.stem in ("__init__", "_modidx", "_entered"): continue
        source = re.search(r"^# AUTOGENERATED! DO NOT EDIT! File to edit: \.\./nbs/(\S+\.ipynb)\.$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert source, f"{file.name} carries no header of nbdev's: it must be exported from a notebook"
        assert module_of(NBS/source[1]) == file.stem


# ---- tests: a light import, a small face

def test_import_is_light_and_silent():
    start = time.perf_counter()
    loaded = loaded_after("import causal_prompts")
    assert time.perf_counter() - start < 2
    assert loaded.isdisjoint([*HEAVY, "sklearn", "pandas", "numpy", "scipy", "matplotlib"])

def test_no_module_loads_the_heavy_libraries_or_the_network():
    modules = [f"{NAME}.{m}" for m in floors() if m != "widgets"]
    loaded = loaded_after("import " + ", ".join(modules))
    assert "pandas" in loaded and loaded.isdisjoint(HEAVY)

def test_the_watch_on_sockets_bites():
    done = python("import socket; socket.create_connection(('127.0.0.1', 9))")
    assert done.returncode and "network touched" in done.stderr

def public():
    import causal_prompts
    return list(causal_prompts._HOME)

@pytest.mark.parametrize("name", public())
def test_public_name(name):
    import causal_prompts
    home = causal_prompts._HOME[name]
    value = getattr(causal_prompts, name)
    assert callable(value) and value.__doc__, f"{name} is public and must carry a docstring"
    assert value.__module__ == f"{NAME}.{home}"
    assert name in sys.modules[f"{NAME}.{home}"].__all__
    assert name in dir(causal_prompts)

def test_no_public_name_is_also_a_module():
    assert not {*public()} & {*floors()}, "a submodule of the same name would replace the function once it is imported"

def test_modules_of_checks_are_reached_through_the_package():
    done = python("import causal_prompts as cp\nprint(cp.confounding.__name__, cp.positivity.overlap.__name__)\nassert {*cp._MODULES} <= {*dir(cp)}")
    assert done.stdout.split() == [f"{NAME}.confounding", "overlap"], done.stderr

@pytest.mark.parametrize("code, wanted", [
    ("from causal_prompts import Trip", "Triplets"), ("import causal_prompts as cp\ncp.rank", "ranking"),
    ("import causal_prompts as cp\nlog = cp.Triplets.read('log.csv')\nlog.spl", "split"), ("import causal_prompts as cp\ncp.Triplets(1).split()[0].des", "design"),
    ("import causal_prompts as cp\ncp.CausalReward().fit(1).average_", "average_effect"), ("import causal_prompts as cp\ncp.positivity.overl", "overlap"),
])
def test_an_editor_completes_the_public_face(code, wanted):
    import jedi
    assert wanted in [c.name for c in jedi.Script(code, project=jedi.Project(ROOT)).complete()]

def test_the_package_ships_its_types():
    assert (PACKAGE/"py.typed").exists() and (PACKAGE/"__init__.pyi").exists() and '"*.pyi", "py.typed"' in (ROOT/"setup.py").read_text()

def test_numbers_order_pages_and_not_their_spelling(tmp_path):
    package, nbs = write_tree(tmp_path, _07_low="from toy import high", _08_high="from toy import low")
    (nbs/"07_low.ipynb").rename(nbs/"99_low.ipynb"), (nbs/"08_high.ipynb").rename(nbs/"101_high.ipynb")
    assert upward(package, nbs) == ["low.py:1 imports high: from floor 99 to 101"]
    (nbs/"101_high.ipynb").rename(nbs/"99b_high.ipynb")
    assert upward(package, nbs) == ["low.py:1 imports high: from floor 99 to 99b"]

def test_a_name_that_does_not_exist_is_said_to_be_missing():
    import causal_prompts
    with pytest.raises(AttributeError, match="'causal_prompts' has no attribute 'Tripletts'"): causal_prompts.Tripletts


# ---- tests: notebooks as pages

@pytest.mark.parametrize("notebook", notebooks(), ids=lambda f: f.relative_to(NBS).as_posix())
def test_notebook_is_run_and_opens_as_a_page(notebook):
    assert unrun(notebook) == []
    first = cells(notebook)[0]
    assert first["cell_type"] == "markdown" and re.match(r"# \S.*\n\n> \S", first["source"]), f"{notebook.name} must open with '# title', an empty line, '> subtitle'"

def test_bad_outputs_are_found(tmp_path):
    page = tmp_path/"page.ipynb"
    write = lambda outputs: page.write_text(json.dumps(dict(cells=[dict(cell_type="code", source="1/0", outputs=outputs)])))
    write([]); assert "no stored output" in unrun(page)[0]
    write([dict(output_type="error", ename="ZeroDivisionError", evalue="division by zero")]); assert "ZeroDivisionError" in unrun(page)[0]
    write([dict(output_type="display_data", data={"application/vnd.jupyter.widget-view+json": {}})]); assert "a stored widget" in unrun(page)[0]
    page.write_text(json.dumps(dict(cells=[], metadata=dict(widgets={})))); assert "widget state" in unrun(page)[0]

def test_contributing_names_every_page_once():
    text = (ROOT/"CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\d+[a-z]?_\w+)` \| `(\w+)` \|", text, re.MULTILINE)
    assert named == [(f.stem, module_of(f)) for f in notebooks() if f.parent == NBS and module_of(f)]
    assert text == readme.with_pages(text, NBS), "the table of pages is made from their titles: `make readme` writes it"

def write_page(folder, name, opening, module):
    code = dict(cell_type="code", source=f"#| default_exp {module}", outputs=[])
    (folder/f"{name}.ipynb").write_text(json.dumps(dict(cells=[dict(cell_type="markdown", source=opening), code])))

def test_a_page_s_row_is_its_subtitle(tmp_path):
    write_page(tmp_path, "001_low", "# Low\n\n> What `a | b` is, see\n> [there](002_x.ipynb).\n\nMore.", "low"), write_page(tmp_path, "990_high", "# High\n\n> Why?", "high")
    assert readme.pages(tmp_path).splitlines()[2:] == [
        "| **0** | | **base** |", "| `001_low` | `low` | What `a \\| b` is, see [there](nbs/002_x.ipynb) |", "| **9** | | **showing** |", "| `990_high` | `high` | Why? |"]
    write_page(tmp_path, "002_untitled", "Low\n\n> Why?", "untitled")
    with pytest.raises(ValueError, match="a page must open with '# title'"): readme.pages(tmp_path)
    with pytest.raises(ValueError, match="must hold the table once"): readme.with_pages("no table", tmp_path)

def absent_pages(files):
    "Numbered pages that a file names and that are not there: what a new number leaves behind."
    there, named = {f.stem for f in notebooks()}, re.compile(r"[(/`]((?:\d{3}[a-z]?|\d\d)_[a-z]\w*)(?:\.ipynb|`)")
    texts = ((f, "\n".join(c["source"] for c in cells(f)) if f.suffix == ".ipynb" else f.read_text(encoding="utf-8")) for f in files)
    return sorted(f"{f.name}: {name}" for f, text in texts for name in {*named.findall(text)} - there)

def test_every_page_that_is_named_is_there(tmp_path):
    examples_of_names = ["CONTRIBUTING.md: 409_mine"]
    assert absent_pages([*notebooks(), *ROOT.glob("*.md"), *(ROOT/".ci").glob("*.py"), *(ROOT/"benchmarks").rglob("*.py")]) == examples_of_names
    (tmp_path/"a.md").write_text("[low](nbs/001_plots.ipynb), `815_gone`, [x](815_away.ipynb)")
    assert absent_pages([tmp_path/"a.md"]) == ["a.md: 815_away", "a.md: 815_gone"]

def test_no_exported_cell_is_too_long(): assert too_dense() == []

def test_no_module_is_too_long(tmp_path):
    assert too_long() == {}
    for name, n in dict(short=TALLEST - 1, tall=TALLEST, _modidx=9 * TALLEST).items(): (tmp_path/f"{name}.py").write_text("x = 1\n" * n)
    assert too_long(tmp_path) == {"tall": TALLEST}

@pytest.mark.parametrize("source, what", [("x = 1\n\n" * 31, "31 lines"), ("x = 1 # " + "a" * 130, "widest line 138"), ("\n".join(["y = " + "1" * 90] * 12), "1149 characters")])
def test_a_dense_cell_is_found(tmp_path, source, what):
    dense = dict(cell_type="code", source="#| export\n" + source, outputs=[])
    lesson, prose = dense | dict(source="x = 1\n" * 99), dict(cell_type="markdown", source="two words")
    (tmp_path/"00_a.ipynb").write_text(json.dumps(dict(cells=[dense, lesson, prose])))
    assert [what in found for found in too_dense(tmp_path)] == [True]
    row, = page_report(tmp_path)
    assert row["exported"] == 1 and row["prose"] == pytest.approx(1 / 3) and row["words"] == pytest.approx(2 / row["lines"])

def test_nothing_written_names_a_machine():
    assert [hit for f in written_files() for hit in machine_paths(f)] == []

@pytest.mark.parametrize("folder", ["work", "tmp", "root", "home", "Users"])
def test_a_machine_path_is_found(tmp_path, folder):
    page, path = tmp_path/"page.ipynb", f"/{folder}/someone/file.py"
    warning = dict(output_type="stream", name="stderr", text=[f"{path}:3: UserWarning: x\n"])
    picture = dict(output_type="display_data", data={"image/png": f"ab{path}"})
    page.write_text(json.dumps(dict(cells=[dict(cell_type="code", source="f()", outputs=[warning, picture])])))
    (tmp_path/"a.md").write_text(f"a link: https://example.org/{folder}/x and ../{folder}/y are fine\n")
    assert len(machine_paths(page)) == 1 and machine_paths(tmp_path/"a.md") == []

def test_what_is_marked_as_slow_is_there():
    slow = json.loads((ROOT/"tests"/"slow.json").read_text(encoding="utf-8"))
    gone = [f"{file}::{name}" for file, names in slow.items() for name in names if f"def {name.split('[')[0]}(" not in (ROOT/"tests"/file).read_text(encoding="utf-8")]
    assert slow and gone == [], "measure again: pytest --note-slow -n 2"

def test_links_of_the_readme_lead_somewhere():
    targets = re.findall(r"\]\((?![a-z]+:|#)([^)\s#]+)", (ROOT/"README.md").read_text(encoding="utf-8"))
    assert [t for t in targets if not (ROOT/t).exists()] == []


class Letters:
    "An encoder that counts letters."
    def encode(self, texts, role="prompt"):
        import numpy as np
        counts = np.array([[t.lower().count(c) for c in "etaoinsh"] for t in texts], float) + .1
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

def toy_log():
    import numpy as np, pandas as pd
    from causal_prompts.triplets import Triplets
    rows = [dict(query=f"What is {q} plus {q}?", prompt=p, score=np.nan if (q, p) == (0, "Answer.") else float(len(p) > 10))
            for q in range(12) for p in ("Answer.", "Think it through, then answer.", "Reply in a full sentence.")]
    return Triplets(pd.DataFrame(rows))

def test_the_check_in_contributing_works_and_enters_the_list():
    space = examples()
    reward = space["OwnMean"](encoder=Letters(), baseline="Answer.").fit(toy_log())
    entered = space["entered"][0]["thin prompts"]
    assert entered.function is space["thin_prompts"] and entered.clean and entered.broken
    assert entered.function(reward).verdict == "ok"
    found = entered.function(reward, least=12)
    assert found.verdict == "caution" and found.facts == dict(few=1, fewest=11) and found.table.prompt[0] == "Answer."
    assert found.plot().axes

def test_examples_in_contributing_keep_the_measure_of_the_house():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT/"CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [[l for l in block.splitlines() if l.strip()] for block in blocks]
    assert len(blocks) > 4 and max(len(l) for block in lines for l in block) <= WIDEST and max(map(len, lines)) <= LONGEST
    pieces = [ast.get_source_segment(block, node) for block in blocks for node in ast.parse(block).body]
    decorated = max(len(block[block.find("@check"):]) for block in blocks if "@check" in block)
    assert max(decorated, *map(len, pieces)) + len("#| export\n") <= FULLEST, "an example must fit the cell that a reader makes of it"

def test_the_importer_in_contributing_is_recognised(tmp_path, monkeypatch):
    import pandas as pd
    from causal_prompts import importers, tool_logs
    for name, tool in examples()["entered"][1].items(): monkeypatch.setitem(tool_logs.TOOLS, name, tool)
    cards = [dict(card=dict(asked=f"What is {i} plus 1?", how=how, points=i % 2, broken=None if i else "timeout")) for i in range(12) for how in ("Answer.", "Think.")]
    (tmp_path/"cards.jsonl").write_text("\n".join(map(json.dumps, cards)))
    log = importers.read_tool(tmp_path/"cards.jsonl")
    assert tool_logs.tool_of(tmp_path/"cards.jsonl") == "scorecards" and len(log) == 24
    assert log.frame.score.isna().sum() == 2 and log.frame.score.sum() == 12

def test_the_estimator_in_contributing_has_the_whole_interface():
    reward = examples()["OwnMean"](encoder=Letters(), baseline="Answer.").fit(toy_log())
    effect = reward.effect(["What is 5 plus 6?"], ["Answer.", "Think it through, then answer.", "unknown"])
    assert effect.shape == (1, 3) and effect[0, 0] == 0 and effect[0, 1] == 1
    assert reward.best(["What is 5 plus 6?"]).prompt[0] != "Answer."

def test_the_grader_in_contributing_grades_a_task():
    task = examples()["capitals"]()
    item = task.items.iloc[0]
    assert task.score("It is paris", item).score == 1 and task.score("Parish", item).score == 0 and "did not find 'Paris'" in task.score("", item).why

def test_the_proposer_in_contributing_serves_the_search():
    from causal_prompts import search
    space = examples()
    reward = space["OwnMean"](encoder=Letters(), baseline="Answer.").fit(toy_log())
    again = [search(reward, ["What is 5 plus 6?"], proposer=space["politer"], rounds=2, children=2).candidates for _ in range(2)]
    assert again[0].equals(again[1])
    assert again[0].prompt.str.startswith(tuple(space["OPENINGS"])).sum() >= 2

def seconds_told(text):
    "(head, sum of the rows below it) of each column of the tables that split seconds of a processor; functions are shares."
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        if len(rows) < 3 or rows[2][0] != "seconds of a processor": continue
        split = [row for row in rows[3:] if not row[0].startswith("`")]
        for j in range(1, len(rows[0])): yield float(rows[2][j]), sum(float(row[j]) for row in split), len(split)

def test_the_seconds_of_a_table_in_contributing_add_up():
    told = list(seconds_told((ROOT/"CONTRIBUTING.md").read_text(encoding="utf-8")))
    assert len(told) >= 6
    assert [(head, total) for head, total, n in told if abs(head - total) > .051 + .005 * n] == [], "run `python benchmarks/speed.py --parts profile`"
    (head, total, n), = seconds_told("| checkup | 1,000 |\n|---|---:|\n| seconds of a processor | 1.5 |\n| power | 1.2 |\n| gaps | 0.4 |\n| `f` | 3% / 4% |\n")
    assert (head, n) == (1.5, 2) and abs(total - 1.6) < 1e-9

def test_the_page_on_benchmarks_says_what_the_results_say():
    made = subprocess.run([sys.executable, "-c", "import tables; print(tables.page(), end='')"], cwd=ROOT/"benchmarks", capture_output=True, text=True, check=True).stdout
    assert (ROOT/"benchmarks"/"README.md").read_text(encoding="utf-8") == made, "run `python benchmarks/tables.py`"


if __name__ == "__main__":
    print(f"{'page':<36}{'cells':>6}{'prose':>7}{'words/line':>12}{'exported':>10}{'lines':>7}{'longest':>9}{'characters: median':>20}{'p90':>6}{'most':>6}{'widest':>8}")
    for r in page_report():
        words = f"{r['words']:.1f}" if r["words"] else ""
        print(f"{r['page']:<36}{r['cells']:>6}{r['prose']:>7.0%}{words:>12}{r['exported']:>10}{r['lines']:>7}{r['longest']:>9}{r['median']:>20}{r['p90']:>6}{r['fullest']:>6}{r['widest']:>8}")
    dense = too_dense()
    sys.exit("\n".join([f"an exported cell has at most {LONGEST} lines, {FULLEST} characters and {WIDEST} characters a line; split these:", *dense]) if dense else 0)
