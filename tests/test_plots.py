"Contracts of the figures: every script that a font of the machine has is drawn, and what none has is a number."
import io, warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager
from matplotlib.text import Text

from causal_prompts import plots
from causal_prompts.core import Finding
from causal_prompts.reporting import report

TEXTS = dict(plain="Answer briefly.", chinese="用一句话回答问题。", japanese="答えは一言で書いてください", korean="간단히 대답하세요", arabic="أجب عن السؤال بإيجاز", hebrew="תשובה קצרה", hindi="उत्तर संक्षेप में दें", thai="ตอบสั้นๆ", greek="Απάντησε σύντομα", emoji="Be kind 🙂👍🏽", joined="👩\u200d💻 writes ✍️",
             control="\x1b[31m red\x00 tab\t", private="\ue000 \U000f0000 of one's own", old="𓀀𓀁𓀂 𒀀𒀁", nothing="\uffff\u0378", dollars="costs $5 and $x^{$", mixed="Mixed 中文 and العربية")


@pytest.fixture
def few(monkeypatch):
    "A machine with the one font that comes with matplotlib."
    own = next(f for f in font_manager.fontManager.ttflist if f.name == "DejaVu Sans" and f.style == "normal" and f.weight in (400, "normal", "regular") and "mpl-data" in f.fname)
    monkeypatch.setattr(plots, "_installed", lambda: {"DejaVu Sans": own.fname})
    monkeypatch.setattr(plots, "_KNOWN", {})


def figures():
    n, names = len(TEXTS), list(TEXTS.values())
    t = pd.DataFrame(dict(prompt=names, effect=np.linspace(0, 1, n), lo=-.1, hi=1.1, group=np.resize(["中文", "🙂"], n), before=.2, after=.1))
    yield plots.forest(t, group="group", title="質問 🙂", xlabel="效果")
    yield plots.bars(t, "prompt", "effect", title="أجب")
    yield plots.love(t, "prompt")
    yield plots.heat(t.assign(col=names[::-1]), "prompt", "col", "effect")
    yield plots.lines(t, "effect", "lo", group="group", ylabel="효과")
    grid = pd.DataFrame([(x, y, x * y, "") for x in range(4) for y in range(4)], columns=["x", "y", "value", "label"])
    yield plots.contour(pd.concat([grid, pd.DataFrame(dict(x=1., y=2., value=1., label=names))]), level=3)
    yield plots.dag(pd.DataFrame(dict(source=["质量"], target=["🙂"])), pd.DataFrame(dict(node=["质量", "🙂"], x=[0., 1.], y=[.5, .5], role=["treatment", "outcome"])))


def drawn(fig): return [t.get_text() for t in fig.findobj(Text) if t.get_text()]


def silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fig in figures(): fig.savefig(io.BytesIO(), format="png")


def test_no_glyph_is_missing(caplog):
    silent()
    assert "font" not in caplog.text.lower()


def test_no_glyph_is_missing_where_there_is_one_font(few, caplog):
    silent()
    assert "font" not in caplog.text.lower()


def test_what_no_font_has_is_the_number_of_its_row(few):
    said = plots.labels(TEXTS.values())
    at = {name: i for i, name in enumerate(TEXTS, 1)}
    for name in ("chinese", "japanese", "korean", "hindi", "thai", "old"): assert said[at[name] - 1] == f"row {at[name]}"
    assert said[0] == "Answer briefly." and said[at["greek"] - 1] == TEXTS["greek"] and said[at["arabic"] - 1] == TEXTS["arabic"] and said[at["dollars"] - 1] == TEXTS["dollars"]
    assert said[at["mixed"] - 1] == f"row {at['mixed']}: Mixed □□ and العربية" and len(set(said)) == len(said)
    fig = plots.bars(pd.DataFrame(dict(label=list(TEXTS.values()), value=1.)))
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == said


def test_a_font_that_has_the_script_is_used():
    for name, char in (("chinese", "用"), ("korean", "간"), ("hindi", "उ"), ("thai", "ต")):
        family = plots._family(char)
        if family is None: continue
        fig = plots.bars(pd.DataFrame(dict(label=[TEXTS[name], "b"], value=1.)))
        label = fig.axes[0].get_yticklabels()[0]
        assert label.get_text() == TEXTS[name] and family in label.get_fontfamily() and family != "DejaVu Sans"


def test_plain_figures_keep_their_font():
    fig = plots.bars(pd.DataFrame(dict(label=["a", "b"], value=1.)))
    assert {tuple(t.get_fontfamily()) for t in fig.findobj(Text)} == {("sans-serif",)}


def test_labels_are_short_and_counted_by_what_they_are(few):
    assert plots.labels(["x" * 100, "中"], 20, "column") == [plots.shorten("x" * 100, 20), "column 2"]
    assert plots.labels(["a\u200db", "e\u0301"]) == ["a\u200db", "e\u0301"]


def test_a_figure_of_a_finding_and_its_page(few, tmp_path):
    t = pd.DataFrame(dict(prompt=["中文", "b"], effect=[.1, .2], lo=0., hi=.3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = report([Finding("q", t, "ok", "r", form=("forest", {}))], tmp_path/"r.html").read_text(encoding="utf-8")
    assert "中文" in page

def test_a_threshold_of_zero_is_drawn_and_none_is_not():
    table = pd.DataFrame(dict(label=["a", "b"], before=[.3, -.2], after=[.1, .0]))
    dashed = lambda threshold: sum(line.get_linestyle() != "-" for line in plots.love(table, threshold=threshold).axes[0].lines if len(line.get_xdata()) == 2 and line.get_xdata()[0] == line.get_xdata()[1])
    assert dashed(0.) == 2 and dashed(.1) == 2 and dashed(None) == 0
