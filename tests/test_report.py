"The page and the text: whole, escaped, self-contained, readable at any width."
import base64, warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from causal_prompts import __version__
from causal_prompts.core import Finding
from causal_prompts.reporting import as_text, readable, report

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(1)> & <b>'bold'</b>"


class Page(HTMLParser):
    "Tags with their attributes and ancestors, and the text outside the style."
    void = {"meta", "img", "br", "hr", "link", "input"}

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.said, self.source = [], [], [], path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs), [(t, a.get("class", "")) for t, a in self.open]))
        if tag not in self.void: self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        if not self.open or self.open[-1][0] not in ("style", "title"): self.said.append(data)

    @property
    def text(self): return " ".join(" ".join(self.said).split())
    def all(self, tag): return [(a, up) for t, a, up in self.tags if t == tag]


@pytest.fixture
def table():
    return pd.DataFrame(dict(prompt=["Think.", "Answer briefly.", "Act."], effect=[.12, -.03, np.nan], se=[.045, .03, np.nan], lo=[.031, -.089, np.nan], hi=[.209, .029, np.nan], n=[1200, 95, 0], inside=[True, True, False]))


@pytest.fixture
def finding(table):
    return Finding("Which is better?", table, "caution", "'Think.' gains 0.120 (0.031 to 0.209).", threshold="ok: all", advice="Score both.", form=("forest", {}))


def written(tmp_path, sections, **kwargs): return Page(report(sections, tmp_path/"report.html", **kwargs))


# the table of a reader

def test_intervals_join_their_estimates(table):
    shown, numbers = readable(table)
    assert list(shown) == ["prompt", "effect [interval]", "n", "inside"] and numbers == ["effect [interval]", "n"]
    assert shown.iloc[0].tolist() == ["Think.", "+0.120 [+0.031, +0.209]", "1,200", "yes"]
    assert shown.iloc[2].tolist() == ["Act.", "–", "0", "no"]


def test_ends_go_with_their_own_name_first():
    t = pd.DataFrame(dict(what=["a"], value=[.5], lo=[.4], hi=[.6], n=[3], gain=[.1], gain_lo=[-.1], gain_hi=[.3]))
    assert readable(t)[0].iloc[0].tolist() == ["a", "0.500 [0.400, 0.600]", "3", "+0.100 [-0.100, +0.300]"]
    alone = pd.DataFrame(dict(lo=[.1], hi=[.2]))
    assert readable(alone)[0].iloc[0].tolist() == ["0.100", "0.200"]


@pytest.mark.parametrize("values, said", [
    ([-.0001, .5], ["0.000", "0.500"]), ([3., 4500.], ["3", "4,500"]), ([12.25, np.nan], ["12.2", "–"]), ([0., 1.], ["0.000", "1.000"]), ([np.nan, np.nan], ["–", "–"]), ([12345.6, .5], ["12,346", "0"])])
def test_numbers_of_a_column_are_written_alike(values, said):
    assert readable(pd.DataFrame(dict(x=values)))[0]["x"].tolist() == said


def test_missing_texts_are_a_dash_and_the_table_is_left_alone(table):
    t = pd.DataFrame(dict(a=["x", None, np.nan], b=pd.array([1, None, 3], dtype="Int64")))
    before = t.copy()
    assert readable(t)[0].values.tolist() == [["x", "1"], ["–", "–"], ["–", "3"]]
    pd.testing.assert_frame_equal(t, before)


# the page

def test_page_is_self_contained(tmp_path, finding, table):
    page = written(tmp_path, [("One", "Prose.", table), ("Two", finding), ("Three", "See https://example.org for more."), finding], lead=finding)
    assert page.open == []
    assert {t for t, _, _ in page.tags} <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "nav", "a", "p", "div", "span", "article", "figure", "img", "table", "thead", "tbody", "tr", "th", "td", "footer", "strong", "details", "summary"}
    assert all(a["src"].startswith("data:image/png;base64,") for a, _ in page.all("img")) and len(page.all("img")) == 2
    assert all(a["href"].startswith("#") for a, _ in page.all("a"))
    assert not any(k.startswith("on") or k in ("srcset", "background", "style") for _, attrs, _ in page.tags for k in attrs)
    style = page.source.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style and "http" not in style
    assert any(a.get("http-equiv") == "Content-Security-Policy" and "default-src 'none'" in a["content"] for a, _ in page.all("meta"))
    assert __version__ in page.text


def test_page_fits_a_phone(tmp_path, finding, table):
    page = written(tmp_path, [("One", table.assign(note="long " * 30)), ("Two", finding)])
    assert any(a.get("name") == "viewport" and "width=device-width" in a["content"] for a, _ in page.all("meta"))
    assert page.all("table") and all(("div", "scroll") in up for _, up in page.all("table"))
    style = page.source.split("<style>")[1].split("</style>")[0]
    assert ".scroll { overflow-x: auto" in style and "img { max-width: 100%" in style and "max-width: 60rem" in style and "overflow-wrap: anywhere" in style


def test_everything_of_a_log_is_escaped(tmp_path):
    t = pd.DataFrame({EVIL: [EVIL, EVIL * 10], "effect": [.1, .2], "lo": [0., .1], "hi": [.2, .3], "label": [EVIL, "b"]})
    f = Finding(EVIL, t, "stop", EVIL, threshold=EVIL, advice=EVIL, form=("forest", dict(label="label")))
    page = written(tmp_path, [(EVIL, EVIL, f, t), ("a", "b"), ("c", "d")], title=EVIL, lead=f)
    assert not {t for t, _, _ in page.tags} & {"script", "b"} and len(page.all("img")) == 1
    assert page.all("img")[0][0]["alt"] == f"{EVIL} {EVIL}"
    assert page.text.count(EVIL) >= 10 and page.open == []
    assert not any(k.startswith("on") for _, attrs, _ in page.tags for k in attrs)


def test_a_finding_is_shown_whole(tmp_path, finding):
    page = written(tmp_path, [finding], title="A title", lead="A sentence.")
    badge = [a["class"] for a, _ in page.all("span")]
    assert badge == ["badge caution"] and "caution Which is better?" in page.text
    for said in (finding.reading, "Next: Score both.", "Judged by: ok: all", "+0.120 [+0.031, +0.209]", "A title", "A sentence."): assert said in page.text
    img, up = page.all("img")[0]
    png = base64.b64decode(img["src"].split(",")[1])
    assert img["alt"] == f"{finding.question} {finding.reading}" and png[:8] == b"\x89PNG\r\n\x1a\n" and up[-1][0] == "figure"
    assert int.from_bytes(png[16:20], "big") == pytest.approx(int(img["width"]) * 180 / 96, abs=2)


def test_every_verdict_has_a_colour_and_a_word(tmp_path, table):
    for v, word in (("ok", "ok"), ("not shown", "no effect could be shown"), ("caution", "caution"), ("stop", "stop")):
        page, name = written(tmp_path, [Finding("q", table, v, "r")]), v.replace(" ", "-")
        assert f"badge {name}" in page.source and f".badge.{name} {{ background: #" in page.source and word in page.text


def test_pictures_of_strange_texts(tmp_path):
    t = pd.DataFrame(dict(prompt=["costs $5 and $x^{$ more", "日本語のプロンプト 🙂", "tab\there", "\\frac{"], effect=[.1, .2, .3, .4], lo=[0.] * 4, hi=[.5] * 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written(tmp_path, [Finding("q", t, "ok", "r", form=("forest", {}))])


def test_same_sections_same_bytes(tmp_path, finding):
    a, b = (report([("One", finding)], tmp_path/name, lead=finding).read_bytes() for name in ("a.html", "b.html"))
    assert a == b


def test_long_texts_fold_and_long_tables_are_counted(tmp_path):
    page = written(tmp_path, [("t", pd.DataFrame(dict(prompt=["word " * 100] + ["x"] * 250)))])
    assert len(page.all("details")) == 1 and page.text.count("word") > 100
    assert "51 more rows" in page.text


def test_headings_that_repeat_have_their_own_anchors(tmp_path):
    page = written(tmp_path, [("Same", "a"), ("Same", "b"), ("Same", "c")])
    ids = [a["id"] for a, _ in page.all("h2")]
    assert len(set(ids)) == 3 and [a["href"] for a, _ in page.all("a")] == [f"#{i}" for i in ids]


def test_folders_are_made_and_half_characters_survive(tmp_path):
    path = report([("Half \ud83d", "a pair \udc00 cut")], tmp_path/"new"/"deep"/"r.html")
    assert path.read_text(encoding="utf-8").count("?") >= 2


# the terminal

@pytest.mark.parametrize("width", [60, 80, 96, 100])
def test_text_keeps_its_width_and_says_all(finding, table, width):
    wide = table.assign(note="a note that is rather long, as notes are", other="another text of some length", prompt=["word " * 30] * 3)
    text = as_text([("A heading", "Some prose " * 20, wide), ("Second", finding)], width)
    assert max(map(len, text.splitlines())) <= width
    for said in ("A heading\n=========", "[caution] Which is better?", "Next: Score both.", "+0.120 [+0.031, +0.209]"): assert said in text


def test_too_narrow_for_all_columns_says_which_are_missing(table):
    text = as_text([("t", table.assign(note="a note that is rather long", more="another note that is long"))], 60)
    assert "too wide for here" in text and "more" in text.splitlines()[-1]


def test_control_characters_do_not_reach_the_terminal(table):
    t = table.assign(prompt=["\x1b[31mred\x1b[0m", "bell\a", "\x1b]0;title\a"])
    text = as_text([("h\x1b[2J", "p\x1b[1m", t, Finding("q\x1b", t, "ok", "r\x1b", advice="a\x1b"))], 80)
    assert all(c.isprintable() or c == "\n" for c in text)


def test_long_tables_are_cut_in_text():
    text = as_text([("t", pd.DataFrame(dict(i=range(100))))])
    assert "... 60 more rows" in text and "\n39" in text and "\n40\n" not in text


# refusals

@pytest.mark.parametrize("bad, match", [([("h", 3)], "texts, Findings and DataFrames, got int"), (["text"], r"must be \(heading, \*items\)"), ([(3, "x")], r"must be \(heading, \*items\)"), ([[]], r"must be \(heading, \*items\)")])
def test_sections_are_checked(tmp_path, bad, match):
    for f in (lambda: report(bad, tmp_path/"r.html"), lambda: as_text(bad)):
        with pytest.raises(TypeError, match=match): f()
    assert not (tmp_path/"r.html").exists()


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ValueError, match="must name a file, got the folder"): report([("h", "x")], tmp_path)


def test_one_section_alone_is_taken(tmp_path, finding):
    assert as_text(("h", "x")) == as_text([("h", "x")]) and as_text(finding) == as_text([finding])
