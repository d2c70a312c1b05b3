"Contracts of the core: what a reader is shown is only shown, and errors survive the way out of a process."
import copy, importlib, inspect, pickle, pkgutil
from concurrent.futures import ProcessPoolExecutor
from html.parser import HTMLParser
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest

import causal_prompts
from causal_prompts.core import Finding, LogError, NotIdentifiedError, as_markdown, markdown_table, printable, whole_file


# ---------------------------------------------------------------- errors in worker processes

def exceptions():
    "Every exception class that a module of the package defines."
    modules = [importlib.import_module(f"causal_prompts.{m.name}") for m in pkgutil.iter_modules(causal_prompts.__path__) if m.name != "_modidx"]
    return sorted({c for m in modules for c in vars(m).values() if inspect.isclass(c) and issubclass(c, BaseException) and c.__module__ == m.__name__}, key=lambda c: c.__name__)


def one(cls):
    "An instance, its required arguments filled in."
    if issubclass(cls, LogError): return cls([dict(row=3, column="score", got="7", do="mend it"), dict(row=None, column="file", got="x", do="y")], "log.csv")
    if "__init__" not in vars(cls) and not any("__init__" in vars(c) for c in cls.__mro__[1:-3]): return cls("a reason")
    needed = [p for p in list(inspect.signature(cls.__init__).parameters.values())[1:] if p.default is p.empty and p.kind == p.POSITIONAL_OR_KEYWORD]
    return cls(*[f"text {i}" for i, _ in enumerate(needed)])


@pytest.mark.parametrize("cls", exceptions(), ids=lambda c: c.__name__)
def test_every_error_of_the_package_is_pickled_whole(cls):
    e = one(cls)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for again in (pickle.loads(pickle.dumps(e, protocol)), copy.copy(e), copy.deepcopy(e)):
            assert type(again) is cls and str(again) == str(e) and again.args == e.args and again.__dict__.keys() == e.__dict__.keys()


def test_the_walk_finds_the_errors():
    assert {"LogError", "NotIdentifiedError", "BudgetError", "CallError", "SandboxError"} <= {c.__name__ for c in exceptions()}


def fails(kind):
    raise one(LogError) if kind == "log" else NotIdentifiedError("Too little.", "its mean.")


def test_errors_come_out_of_a_worker():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with pytest.raises(LogError, match="log.csv: 2 problems") as e: pool.submit(fails, "log").result(timeout=120)
        assert e.value.problems["column"].tolist() == ["score", "file"]
        with pytest.raises(NotIdentifiedError, match="Too little. What this log still serves for: its mean.") as e: pool.submit(fails, "design").result(timeout=120)
        assert e.value.reason == "Too little." and e.value.still == "its mean."


def test_problems_may_be_told_in_fewer_lines():
    rows = [dict(row=i, column="score", got="7", do="mend it") for i in range(400)]
    assert str(LogError(rows, "log.csv", ["all 400 rows: mend them"])) == "log.csv: 1 problem\n  all 400 rows: mend them"
    assert str(LogError(rows, "log.csv")).startswith("log.csv: 400 problems\n  row 0, column 'score'") and "... and 390 more" in str(LogError(rows))
    assert len(LogError(rows, "log.csv", ["one line"]).problems) == 400


# ---------------------------------------------------------------- what a notebook shows

HOSTILE = ["<img src=x onerror=\"alert(1)\">", "<script>alert(1)</script>", "</td></table><iframe src=//x>", "[click](javascript:alert(1))", "![x](http://127.0.0.1/x.png)", "[a]: javascript:alert(1)",
           "[a][b]", "**bold** __bold__ _em_ ~~gone~~", "`code`", "a | b | c", "| --- |", "line\nline\n\n# heading", "# heading", "- item", "+ item", "1. item", "> quote", "---", "===", "```\nfence", "$\\href{javascript:alert(1)}{x}$",
           "\\(x\\)", "\\begin{align}x\\end{align}", "&lt;b&gt;", "&#60;b&#62;", "https://example.org and www.example.org", "a@example.org", "x\x1b[31m\x00\u202egnp.exe", "<!-- note", "<a href='javascript:alert(1)'>x</a>", "x" * 5000]


def rendered(markdown):
    "Markdown as a page, by the renderer that notebooks are converted with."
    return pytest.importorskip("nbconvert.filters.markdown_mistune").markdown2html_mistune(markdown)


class Shown(HTMLParser):
    "The text of a page, and its tags."
    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.text, self.tags = "", []
        self.feed(page)

    def handle_starttag(self, tag, attrs): self.tags.append((tag, dict(attrs)))
    def handle_data(self, data): self.text += data


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_shown_as_it_stands(text):
    page = Shown(rendered(as_markdown(text)))
    plain = " ".join(text.replace("\x1b", "�").replace("\x00", "�").replace("\u202e", "").split())
    assert page.text.strip() == plain and {t for t, _ in page.tags} <= {"p", "span"}
    assert not any(attrs for _, attrs in page.tags)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_finding_is_a_page_of_its_own_elements(text):
    table = pd.DataFrame({"prompt": [text, "b"], text: [1., 2.]})
    page = Shown(rendered(Finding(text, table, "ok", text, threshold=text, advice=text)._repr_markdown_()))
    allowed = {"p", "strong", "code", "em", "table", "thead", "tbody", "tr", "th", "td", "span"}
    assert {t for t, _ in page.tags} <= allowed and sum(t == "tr" for t, _ in page.tags) == 3 and sum(t == "td" for t, _ in page.tags) == 4
    assert not any({*attrs} - {"style"} for _, attrs in page.tags)


def test_plain_words_and_numbers_are_not_touched():
    for text in ("min_propensity of prompt_id, 95% [0.1, 0.2]; p = .05", "'Think.' gains +0.120 (0.031 to 0.209).", "-0.5", "3.5 points", "日本語 🙂"): assert as_markdown(text) == text
    assert markdown_table(pd.DataFrame(dict(a=["x|y"], b=[.12345]))) == "| a | b |\n| --- | --- |\n| x&#124;y | 0.123 |"


def test_long_tables_and_long_texts_are_cut():
    shown = markdown_table(pd.DataFrame(dict(i=range(1000), t="word " * 1000)))
    assert shown.count("\n|") == 201 and "800 more rows are not shown" in shown and max(map(len, shown.splitlines())) < 150


def test_control_characters_do_not_reach_the_terminal():
    f = Finding("q\x1b[2J", pd.DataFrame({"a\x1b": ["\x1b[31mred", "\u202eabc"], "b": [1., np.nan]}), "ok", "r\x07\x9b", advice="a\x1b")
    assert all(c.isprintable() or c == "\n" for c in str(f)) and "red" in str(f)
    assert printable("a\nb") == "a\nb" and printable("👩\u200d💻") == "👩\u200d💻"


# ---------------------------------------------------------------- files

def test_a_file_is_whole_or_the_one_before(tmp_path):
    path = tmp_path/"a.txt"
    with whole_file(path) as part: part.write_text("old")
    with pytest.raises(OSError, match="disk full"):
        with whole_file(path) as part:
            part.write_text("ne")
            raise OSError("disk full")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    (tmp_path/"link").symlink_to(path)
    with whole_file(tmp_path/"link") as part: part.write_text("new")
    assert path.read_text() == "new" and (tmp_path/"link").is_symlink()
    with whole_file("/dev/null") as part: assert str(part) == "/dev/null"


def test_a_checkup_and_a_log_are_pages_of_their_own_elements():
    from causal_prompts.diagnostics import Checkup
    from causal_prompts.triplets import Triplets
    evil = "<script>alert(1)</script> [x](javascript:alert(1)) | $x$"
    f = Finding("q", pd.DataFrame({"a": [1.]}), "stop", evil, advice=evil)
    found = Checkup({"power": f}, pd.DataFrame(dict(check=["balance"], looks_at=["x"], why=[evil])), "about", (evil,))
    page = Shown(rendered(found._repr_markdown_()))
    assert not {"script", "a", "img"} & {t for t, _ in page.tags}
    log = Triplets(pd.DataFrame([(f"{evil} {i}", p, i % 2) for i in range(12) for p in (evil, "b")], columns=["query", "prompt", "score"]).assign(**{evil: range(24)}))
    page = Shown(rendered(log._repr_markdown_()))
    assert not {"script", "a", "img"} & {t for t, _ in page.tags} and sum(t == "tr" for t, _ in page.tags) == 4
