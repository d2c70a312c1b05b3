"""How far is the grading of VisEval charts here from that of the benchmark's own toolkit?

    pip install --no-deps --target PATH vis-evaluator==0.0.3
    python benchmarks/viseval_toolkit.py --toolkit PATH [--seeds 0 1 2 3 4 5 6 7 8 9]

Small programs draw right and wrong charts of every type. Each is run once, and its figure goes both ways: to `grade_chart`, read as `figure_of` reads it, and as SVG to the toolkit's `Evaluator`, through the checks of form, type, data and order by
which it decides (readability is left out: it needs a browser and a model). A chart passes there if every check does. The toolkit's verdict on some charts hangs on the order of a set of strings, so it judges the same pictures under several
seeds of Python's hashes, each time in a process of its own. Where its reading of a picture raises, it calls the chart illegal itself; where one of its checks raises, its whole evaluation would end: both are counted as crashes, and as not passed.
Of the toolkit's requirements only those that this project has anyway are used: its imports for readability are replaced by empty stubs. And the evaluator of 0.0.3 calls its check of form without having imported it, so that as released it ends
with a NameError at the first chart; it is given that name here. Prints tables; writes benchmarks/results/viseval_toolkit.json."""
import argparse, io, json, os, platform, subprocess, sys, warnings
from collections import Counter
from importlib.metadata import distributions
from pathlib import Path
from unittest.mock import MagicMock

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from causal_prompts.charts import grade_chart
from causal_prompts.figures import figure_axes

OUT = Path(__file__).parent/"results"/"viseval_toolkit.json"
PACKAGE, VERSION = "vis-evaluator", "0.0.3"
STUBS = ["cairosvg", "langchain", "langchain.chat_models", "langchain.chat_models.base", "langchain.schema"]
PASSED, UNREAD, RAISED = "passed", "crash in reading", "crash in a check"


# ---- the drawings: name, program, reference

X, Y, DAYS = ["a", "b", "c"], [3, 1, 2], ["2017-01-06", "2012-07-03", "2010-11-26"]
YEARS, JANUARY = [2004, 2005, 2006], ["2020-01-01", "2020-01-02", "2020-01-03"]
U, V, W = [1, 2, 3], [4, 0, 2], [4, 1, 2]

def names():
    "What the programs find defined."
    frame = lambda index, **columns: pd.DataFrame(columns, index)
    return dict(plt=plt, np=np, pd=pd, matplotlib=matplotlib, X=X, Y=Y, DAYS=DAYS, YEARS=YEARS, U=U, V=V, W=W, uv=frame(X, u=U, v=V), uw=frame(X, u=U, v=W))

def ref(type="Bar", x=X, y=Y, groups=(), order=None, by="axis", specified=(), **more):
    "A reference in the benchmark's terms; `order` is 'y descending', or a channel and its names in order."
    nest = lambda v: v if isinstance(v[0], list) else [v]
    channel, way = order.split() if isinstance(order, str) else order or ("", "")
    wanted = dict(sort=dict(channel=channel, order=way), sort_by=by) if order else dict(sort=None)
    return dict(type=type, x_data=nest(x), y_data=nest(y), classify=list(groups), channel_specified=list(specified), **wanted, **more)

def grouped(type="Stacked Bar", x=X, y=[U, V], groups="uv", **more): return ref(type, x, y, groups, **more)

BARS = [
    ("bars", "plt.bar(X, Y)", ref()), ("another order", "plt.bar(['b', 'a', 'c'], [1, 3, 2])", ref()), ("lying", "plt.barh(X, Y)", ref()), ("lying, channels specified", "plt.barh(X, Y)", ref(specified="xy")),
    ("a wrong value", "plt.bar(X, [3, 1, 2.1])", ref()), ("one too many", "plt.bar(X + ['d'], Y + [1])", ref()), ("one too many, of zero", "plt.bar(X + ['d'], Y + [0])", ref()),
    ("names set by hand", "plt.bar(range(3), Y); plt.xticks(range(3), X)", ref()), ("names turned", "plt.bar(X, Y); plt.gca().set_xticks(range(3)); plt.gca().set_xticklabels(X, rotation=45)", ref()),
    ("names set by hand, wrongly", "plt.bar(X, Y); plt.xticks(range(3), ['c', 'b', 'a'])", ref()), ("pandas", "pd.Series(Y, X).plot.bar()", ref()), ("pandas, lying", "pd.Series(Y, X).plot.barh()", ref()),
    ("a colour each, with legend", "for x, y in zip(X, Y): plt.bar(x, y, label=x)\nplt.legend()", ref()), ("with a rule", "plt.bar(X, Y); plt.axhline(2)", ref()), ("with a line", "plt.bar(X, Y); plt.plot(X, Y)", ref()),
    ("with numbers and title", "b = plt.bar(X, Y); plt.bar_label(b); plt.title('t'); plt.xlabel('x')", ref()), ("with error bars", "plt.bar(X, Y, yerr=[.1, .1, .1])", ref()), ("aligned to the edge", "plt.bar(X, Y, align='edge')", ref()),
    ("below zero", "plt.bar(X, [-3, 1, 2])", ref(y=[-3, 1, 2])), ("one name twice", "plt.bar(['a', 'a', 'b'], [1, 2, 3])", ref(x=["a", "a", "b"], y=[1, 2, 3])), ("a histogram of names", "plt.hist(['a'] * 3 + ['b'] + ['c'] * 2, bins=3)", ref()),
    ("lifted off the axis", "plt.bar(X, Y, bottom=1)", ref()), ("a line instead", "plt.plot(X, Y)", ref()), ("stems instead", "plt.stem([1, 2, 3], Y)", ref(x=[1, 2, 3])), ("a box instead", "plt.boxplot([Y])", ref()),
    ("nothing drawn", "plt.figure()", ref()), ("two axes", "f, a = plt.subplots(1, 2); a[0].bar(X, Y); a[1].bar(X, Y)", ref()), ("a second axis", "plt.bar(X, Y); a = plt.gca().twinx(); a.plot(X, Y)", ref())]

SCALES = [
    ("logarithmic", "plt.bar(X, Y); plt.yscale('log')", ref()), ("cut", "plt.bar(X, Y); plt.ylim(.5, 3.5)", ref()), ("millions", "plt.bar(X, [3e6, 1e6, 2e6])", ref(y=[3e6, 1e6, 2e6])),
    ("ticks with thousands commas", "plt.bar(X, [3e6, 1e6, 2e6]); plt.gca().yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda v, p: f'{v:,.0f}'))", ref(y=[3e6, 1e6, 2e6])),
    ("ticks with a currency", "plt.plot([1, 2, 3], Y); plt.yticks([1, 2, 3], ['$1', '$2', '$3'])", ref("Line", [1, 2, 3])), ("off by .0004", "plt.bar(X, [3.0004, 1, 2])", ref()), ("off by .01", "plt.bar(X, [3.01, 1, 2])", ref()),
    ("rounded to cents", "plt.bar(X, [12345.68, 1, 2])", ref(y=[12345.6789, 1, 2])), ("rounded to one digit", "plt.bar(X, [60.7, 1, 2])", ref(y=[60.714285, 1, 2]))]

NAMES = [
    ("years as numbers", "plt.bar(YEARS, Y)", ref(x=["2004", "2005", "2006"])), ("years as text", "plt.bar(['2004', '2005', '2006'], Y)", ref(x=YEARS)),
    ("weekdays in full", "plt.bar(['Monday', 'Tuesday', 'Wednesday'], Y)", ref(x=["Mon", "Tue", "Wed"])), ("weekdays as numbers", "plt.bar([1, 2, 3], Y)", ref(x=["Mon", "Tue", "Wed"])),
    ("months in full", "plt.bar(['January', 'February', 'March'], Y)", ref(x=["Jan", "Feb", "Mar"])), ("months as numbers", "plt.bar([1, 2, 3], Y)", ref(x=["Jan", "Feb", "Mar"])),
    ("dates", "plt.bar(pd.to_datetime(DAYS), Y, width=50)", ref(x=DAYS)), ("dates as text", "plt.bar(DAYS, Y)", ref(x=DAYS)),
    ("dates that stand for years", "plt.bar(pd.to_datetime(['2004-01-01', '2005-01-01', '2006-01-01']), Y, width=100)", ref(x=YEARS)), ("a label over two lines", "plt.bar(['Abu Dhabi ,\\nUAE', 'b', 'c'], Y)", ref(x=["Abu Dhabi , UAE", "b", "c"])),
    ("another case", "plt.bar(['A', 'b', 'c'], Y)", ref()), ("a blank at the end", "plt.bar(['a ', 'b', 'c'], Y)", ref()), ("truth values", "plt.bar(['True', 'False'], [1, 2])", ref(x=[True, False], y=[1, 2])),
    ("numbers as text", "plt.bar(['1', '2', '3'], Y)", ref(x=[1, 2, 3])), ("other numbers, at the positions wanted", "plt.bar(['5', '6', '7'], Y)", ref(x=[0, 1, 2])), ("halves", "plt.bar([1.5, 2.5, 3.5], Y, .5)", ref(x=[1.5, 2.5, 3.5])),
    ("names like sums", "plt.bar(['14-2', '13-3', '10-6'], Y)", ref(x=["14-2", "13-3", "10-6"])), ("a missing name", "plt.bar(['None', 'b', 'c'], Y)", ref(x=[None, "b", "c"]))]

ORDER = [
    ("y falls", "plt.bar(['a', 'c', 'b'], [3, 2, 1])", ref(order="y descending")), ("y should fall", "plt.bar(X, Y)", ref(order="y descending")), ("x rises", "plt.bar(X, Y)", ref(order="x ascending")), ("x should fall", "plt.bar(X, Y)", ref(order="x descending")),
    ("x falls on a turned axis", "plt.bar(X, Y); plt.gca().invert_xaxis()", ref(order="x descending")), ("lying, field y falls", "plt.barh(['b', 'c', 'a'], [1, 2, 3])", ref(order="y descending", by="field")),
    ("lying, field y should fall", "plt.barh(['a', 'c', 'b'], [3, 2, 1])", ref(order="y descending", by="field")), ("lying, field y falls on a turned axis", "plt.barh(['a', 'c', 'b'], [3, 2, 1]); plt.gca().invert_yaxis()", ref(order="y descending", by="field")),
    ("lying, field x rises", "plt.barh(X, Y)", ref(order="x ascending", by="field")), ("lying, axis y should fall", "plt.barh(['b', 'c', 'a'], [1, 2, 3])", ref(order="y descending")), ("lying, axis y falls", "plt.barh(['c', 'b', 'a'], [2, 1, 3])", ref(order="y descending")),
    ("lying, axis x falls", "plt.barh(['b', 'c', 'a'], [1, 2, 3])", ref(order="x descending")), ("the order asked for", "plt.bar(['b', 'a', 'c'], [1, 3, 2])", ref(order=("x", ["b", "a", "c"]))), ("not the order asked for", "plt.bar(X, Y)", ref(order=("x", ["b", "a", "c"]))),
    ("names of either case, a before B", "plt.bar(['Apple', 'jcrew', 'Sony'], Y)", ref(x=["Apple", "jcrew", "Sony"], order="x ascending")), ("names of either case, B before a", "plt.bar(['Apple', 'Sony', 'jcrew'], Y)", ref(x=["Apple", "Sony", "jcrew"], order="x ascending")),
    ("weekdays", "plt.bar(['Mon', 'Tue', 'Wed'], Y)", ref(x=["Mon", "Tue", "Wed"], order="x ascending")), ("a line rises", "plt.plot(['b', 'c', 'a'], [1, 2, 3])", ref("Line", order="y ascending")), ("a line should rise", "plt.plot(X, Y)", ref("Line", order="y ascending")),
    ("a line's x should fall", "plt.plot([1, 2, 3], Y)", ref("Line", [1, 2, 3], order="x descending")), ("a line's x falls", "plt.plot([1, 2, 3], Y); plt.gca().invert_xaxis()", ref("Line", [1, 2, 3], order="x descending")),
    ("a line's dates rise", "plt.plot(pd.to_datetime(DAYS[::-1]), Y[::-1])", ref("Line", DAYS, order="x ascending")), ("stacks fall", "uv.loc[['a', 'c', 'b']].plot.bar(stacked=True)", grouped(order="y descending")),
    ("stacks should fall", "uv.loc[['b', 'c', 'a']].plot.bar(stacked=True)", grouped(order="y descending")), ("groups should fall", "uw.plot.bar()", grouped(y=[U, W], order="y descending"))]

PIES = [
    ("a pie", "plt.pie(Y, labels=X)", ref("Pie")), ("with per cents", "plt.pie(Y, labels=X, autopct='%1.1f%%')", ref("Pie")), ("a legend for labels", "plt.pie(Y); plt.legend(X)", ref("Pie")), ("ten times as much", "plt.pie([30, 10, 20], labels=X)", ref("Pie")),
    ("a wrong share", "plt.pie([3, 1, 3], labels=X)", ref("Pie")), ("no labels", "plt.pie(Y)", ref("Pie")), ("a ring", "plt.pie(Y, labels=X, wedgeprops=dict(width=.4))", ref("Pie")), ("pandas", "pd.Series(Y, X).plot.pie()", ref("Pie")),
    ("two halves", "plt.pie([1, 1], labels=['a', 'b'])", ref("Pie", ["a", "b"], [5, 5])), ("a legend beside", "plt.pie(Y, autopct='%d'); plt.legend(X, loc='center left', bbox_to_anchor=(1, .5))", ref("Pie")),
    ("a share of zero", "plt.pie([3, 1, 0], labels=X)", ref("Pie", y=[3, 1, 0])), ("a per cent in a label", "plt.pie(Y, labels=['a (50%)', 'b', 'c'])", ref("Pie")), ("one share", "plt.pie([3], labels=['a'])", ref("Pie", ["a"], [3])),
    ("turned and shadowed", "plt.pie(Y, labels=X, explode=[.1, 0, 0], startangle=90, shadow=True)", ref("Pie"))]

LINES = [
    ("over names", "plt.plot(X, Y)", ref("Line")), ("with markers", "plt.plot(X, Y, 'o-')", ref("Line")), ("over years", "plt.plot(YEARS, Y)", ref("Line", ["2004", "2005", "2006"])), ("over years, ticks turned", "plt.plot(YEARS, Y); plt.xticks(YEARS, rotation=45)", ref("Line", YEARS)),
    ("over years as text", "plt.plot(['2004', '2005', '2006'], Y)", ref("Line", YEARS)), ("over ten years", "plt.plot(range(2000, 2010), range(10))", ref("Line", [*range(2000, 2010)], [*range(10)])),
    ("over dates", "plt.plot(pd.to_datetime(DAYS), Y)", ref("Line", DAYS)), ("over dates as text", "plt.plot(DAYS, Y)", ref("Line", DAYS)), ("first days that stand for years", "plt.plot(pd.to_datetime(['2004-01-01', '2005-01-01', '2006-01-01']), Y)", ref("Line", YEARS)),
    ("last days that stand for years", "plt.plot(pd.to_datetime(['2004-12-31', '2005-12-31', '2006-12-31']), Y)", ref("Line", YEARS)), ("pandas, by day", f"pd.Series(Y, pd.to_datetime({JANUARY})).plot()", ref("Line", JANUARY)),
    ("pandas, by month", "pd.Series(Y, pd.to_datetime(['2020-01-01', '2020-02-01', '2020-03-01'])).plot()", ref("Line", ["2020-01", "2020-02", "2020-03"])), ("pandas, over years", "pd.DataFrame(dict(x=YEARS, y=Y)).plot(x='x', y='y')", ref("Line", YEARS)),
    ("pandas, over names", "pd.DataFrame(dict(x=X, y=Y)).plot(x='x', y='y')", ref("Line")), ("pandas, over more names than ticks", "pd.DataFrame(dict(x=list('abcdefghijkl'), y=range(12))).plot(x='x', y='y')", ref("Line", [*"abcdefghijkl"], [*range(12)])),
    ("a point left out of a level stretch", "plt.plot([1, 2, 5], [0, 0, 0])", ref("Line", [1, 2, 3, 5], [0, 0, 0, 0])), ("a point left out of a slope", "plt.plot([1, 5], [0, 4])", ref("Line", [1, 2, 5], [0, 3, 4])), ("with error bars", "plt.errorbar([1, 2, 3], Y, yerr=.1)", ref("Line", [1, 2, 3])),
    ("a staircase", "plt.step([1, 2, 3], Y)", ref("Line", [1, 2, 3])), ("an area instead", "plt.fill_between([1, 2, 3], Y)", ref("Line", [1, 2, 3])), ("polar", "plt.polar([1, 2, 3], Y)", ref("Line", [1, 2, 3])),
    ("in space", "a = plt.figure().add_subplot(projection='3d'); a.plot([1, 2, 3], Y, Y)", ref("Line", [1, 2, 3]))]

POINTS = [
    ("a scatter", "plt.scatter([1, 2, 3], Y)", ref("Scatter", [1, 2, 3])), ("a line of markers alone", "plt.plot([1, 2, 3], Y, 'o')", ref("Scatter", [1, 2, 3])), ("pandas", "pd.DataFrame(dict(x=[1, 2, 3], y=Y)).plot.scatter('x', 'y')", ref("Scatter", [1, 2, 3])),
    ("x for y", "plt.scatter(Y, [1.5, 2, 3])", ref("Scatter", [1.5, 2, 3])), ("x for y, channels specified", "plt.scatter(Y, [1.5, 2, 3])", ref("Scatter", [1.5, 2, 3], specified="xy")), ("over names", "plt.scatter(X, Y)", ref("Scatter")),
    ("one point twice", "plt.scatter([.3, .3, .2], [.4, .4, .5])", ref("Scatter", [.3, .3, .2], [.4, .4, .5])), ("five decimals", "plt.scatter([.12345, .2, .3], Y)", ref("Scatter", [.12345, .2, .3])),
    ("with a colour bar", "s = plt.scatter([1, 2, 3], Y, c=Y); plt.colorbar(s)", ref("Scatter", [1, 2, 3])), ("with a fitted line", "plt.scatter([1, 2, 3], Y); plt.plot([1, 3], [2.5, 1.5])", ref("Scatter", [1, 2, 3]))]

CLOUDS = grouped("Grouping Scatter", [[1, 2, 3], [1, 2]], [[1, 2, 3], [4, 2]])
TWELVE = [f"{i}g" for i in range(12)]
GROUPS = [
    ("stacked", "plt.bar(X, U, label='u'); plt.bar(X, V, bottom=U, label='v'); plt.legend()", grouped()), ("stacked, pandas", "uv.plot.bar(stacked=True)", grouped()), ("stacked, lying", "uv.plot.barh(stacked=True)", grouped()), ("stacked, no legend", "uv.plot.bar(stacked=True, legend=False)", grouped()),
    ("stacked, x for group", "uv.T.plot.bar(stacked=True)", grouped()), ("stacked, x for group, channels specified", "uv.T.plot.bar(stacked=True)", grouped(specified=["x", "y", "classify"])),
    ("stacked, no bar of zero", "plt.bar(['a'], [1], label='u'); plt.bar(['b'], [2], label='v'); plt.legend()", grouped(x=["a", "b"], y=[[1, 0], [0, 2]])), ("stacked, legend outside", "uw.plot.bar(stacked=True); plt.legend(bbox_to_anchor=(1.05, 1))", grouped(y=[U, W])),
    ("stacked, legend with a title", "uw.plot.bar(stacked=True); plt.legend(title='T')", grouped(y=[U, W])), ("stacked, groups renamed", "uw.plot.bar(stacked=True); plt.legend(['U1', 'V1'])", grouped(y=[U, W], groups=["U1", "V1"])),
    ("stacked, three groups", "uw.assign(w=1).plot.bar(stacked=True)", grouped(y=[U, W, [1, 1, 1]], groups="uvw")),
    ("stacked, more groups than colours", "pd.DataFrame({f'{i}g': [i + 1, i + 2] for i in range(12)}, ['a', 'b']).plot.bar(stacked=True)", grouped(x=["a", "b"], y=[[i + 1, i + 2] for i in range(12)], groups=TWELVE)),
    ("side by side, pandas", "uv.plot.bar()", grouped()), ("side by side, stacked asked for", "uv.plot.bar()", grouped(stacked_bar=True)), ("side by side, lying", "uw.plot.barh()", grouped(y=[U, W])),
    ("side by side, by hand", "x = np.arange(3); plt.bar(x - .2, U, .4, label='u'); plt.bar(x + .2, V, .4, label='v'); plt.xticks(x, X); plt.legend()", grouped()),
    ("side by side, over years", "x = np.array(YEARS); plt.bar(x - .2, U, .4, label='u'); plt.bar(x + .2, W, .4, label='v'); plt.legend()", grouped(x=YEARS, y=[U, W])), ("one over the other", "plt.bar(X, U, label='u'); plt.bar(X, V, label='v'); plt.legend()", grouped()),
    ("lines", "plt.plot(X, U, label='u'); plt.plot(X, V, label='v'); plt.legend()", grouped("Grouping Line")), ("lines, pandas", "uv.set_axis([1, 2, 3]).plot()", grouped("Grouping Line", [1, 2, 3])), ("lines with markers, pandas", "uv.set_axis([1, 2, 3]).plot(marker='o')", grouped("Grouping Line", [1, 2, 3])),
    ("lines, one shorter", "plt.plot([1, 2], [1, 2], label='u'); plt.plot([1, 2, 3], V, label='v'); plt.legend()", grouped("Grouping Line", [1, 2, 3], [[1, 2, 0], V])),
    ("lines, more groups than colours", "for i in range(12): plt.plot(['a', 'b'], [i + 1, i + 2.5], label=f'{i}g')\nplt.legend()", grouped("Grouping Line", ["a", "b"], [[i + 1, i + 2.5] for i in range(12)], TWELVE)),
    ("points", "plt.scatter([1, 2, 3], [1, 2, 3], label='u'); plt.scatter([1, 2], [4, 2], label='v'); plt.legend()", CLOUDS), ("points, no legend", "plt.scatter([1, 2, 3], [1, 2, 3]); plt.scatter([1, 2], [4, 2])", CLOUDS),
    ("points in one call", "s = plt.scatter([1, 2, 3, 1, 2], [1, 2, 3, 4, 2], c=[0, 0, 0, 1, 1]); plt.legend(s.legend_elements()[0], ['u', 'v'])", CLOUDS)]

PARTS = {"bars": BARS, "scale": SCALES, "names": NAMES, "order": ORDER, "pie": PIES, "line": LINES, "scatter": POINTS, "groups": GROUPS}
DRAWINGS = [(f"{part}: {name}", code, wanted) for part, some in PARTS.items() for name, code, wanted in some]


# ---- the two verdicts

def missing(path):
    "What keeps the toolkit from being used; '' where it lies there in the right version."
    there = [d.version for d in distributions(path=[path]) if d.metadata["Name"] == PACKAGE] if path else []
    if VERSION in there: return ""
    return f"{PACKAGE} {VERSION} must lie in the folder named by --toolkit, got {PACKAGE + ' ' + there[0] if there else 'none'}; put it there with\n\n    pip install --no-deps --target {path or 'PATH'} {PACKAGE}=={VERSION}\n"

def load(path):
    "The toolkit's evaluator. Nothing else is taken from the folder: what it shares with this project is loaded already."
    sys.modules.update({name: MagicMock() for name in STUBS})
    sys.path.insert(0, path)
    from viseval import check, evaluate
    sys.path.remove(path)
    evaluate.surface_form_check = check.surface_form_check
    return evaluate.Evaluator()

def theirs(evaluator, svg, wanted):
    "The check that fails first, how it broke, or that the chart passed; and the toolkit's words."
    context, truth = dict(svg_string=svg, library="matplotlib"), dict(chart=wanted["type"], vis_obj={k: wanted[k] for k in ("x_data", "y_data", "classify", "sort")}, meta_info=wanted)
    try:
        results = [evaluator.surface_form_check(context)]
        if results[0].answer: results += evaluator.legality_check(context, truth)
    except Exception as e: return RAISED, f"{type(e).__name__}: {e}"
    wrong = next((r for r in results if not r.answer), None)
    if wrong is None: return PASSED, ""
    return UNREAD if wrong.rationale == "Cannot parse the visualization." else wrong.aspect, wrong.rationale.strip()

def ours():
    "Of every drawing its picture, whether it passes here, and why."
    for name, code, wanted in DRAWINGS:
        plt.close("all")
        exec(code, names())
        svg = io.StringIO()
        plt.savefig(svg, format="svg")
        grade = grade_chart(figure_axes(plt.gcf()), wanted)
        yield svg.getvalue(), grade.score == 1, grade.why

def one(path):
    "The toolkit's word on the pictures that come in, in their order."
    evaluator = load(path)
    return [theirs(evaluator, svg, wanted) for svg, (_, _, wanted) in zip(json.load(sys.stdin), DRAWINGS, strict=True)]

def under(seed, path, pictures):
    "The same from a process with that seed of Python's hashes."
    done = subprocess.run([sys.executable, __file__, "--toolkit", path, "--one"], input=json.dumps(pictures), capture_output=True, text=True, env=os.environ | dict(PYTHONHASHSEED=str(seed)))
    if done.returncode: sys.exit(f"seed {seed} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


# ---- tables

def counts(f):
    "The figures of one run."
    passed = f.toolkit == PASSED
    return {"drawings": len(f), "passed here": f.here.sum(), "passed by the toolkit": passed.sum(), "same verdict": (f.here == passed).sum(), "passed by the toolkit, failed here": (passed & ~f.here).sum(),
        "passed here, failed by the toolkit": (f.here & ~passed).sum(), **{f"... by its {c}": n for c, n in sorted(Counter(f.toolkit[f.here & ~passed]).items())}, "toolkit crashes": f.toolkit.isin([UNREAD, RAISED]).sum()}

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toolkit", default="", metavar="PATH", help=f"folder into which {PACKAGE} {VERSION} was installed")
    parser.add_argument("--seeds", nargs="+", type=int, default=[*range(10)], help="values of PYTHONHASHSEED")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if why := missing(args.toolkit): sys.exit(why)
    warnings.simplefilter("ignore")
    if args.one: return print("\n" + json.dumps(one(args.toolkit)))
    pictures, here, why = zip(*ours())
    frame = lambda seed: pd.DataFrame(dict(seed=seed, drawing=[n for n, _, _ in DRAWINGS], here=here, why=why)).join(pd.DataFrame(under(seed, args.toolkit, pictures), columns=["toolkit", "says"]))
    runs = pd.concat([frame(s) for s in args.seeds], ignore_index=True)
    found = pd.DataFrame({s: counts(f) for s, f in runs.groupby("seed", sort=False)}).fillna(0).astype(int)
    found = found.loc[sorted(found.index, key=lambda k: k == "toolkit crashes")] # what one seed alone has comes before the last line
    print(f"{'seeds of the hashes: ' + ', '.join(map(str, args.seeds)):<60}{'min':>6}{'max':>6}")
    for what, n in found.iterrows(): print(f"{what:<60}{n.min():>6}{n.max():>6}")

    differ = runs[runs.here != (runs.toolkit == PASSED)]
    broke = runs[runs.toolkit.isin([UNREAD, RAISED])]
    rows = {}
    for title, some in (("Verdicts that differ", differ), ("Toolkit crashes", broke)):
        rows[title] = [dict(drawing=n, here="passed" if h else "failed", why=w, toolkit=t, says=s, seeds=len(g)) for (n, h, w, t, s), g in some.groupby(["drawing", "here", "why", "toolkit", "says"], sort=False)]
        print(f"\n{title:<45}{'seeds':>6}  {'here':<8}{'toolkit':<28}it says")
        for r in rows[title]: print(f"{r['drawing']:<45}{r['seeds']:>6}  {r['here']:<8}{r['toolkit']:<28}{r['says']:.90}")
    about = dict(toolkit=f"{PACKAGE} {VERSION}", python=platform.python_version(), system=platform.system(), matplotlib=matplotlib.__version__, pandas=pd.__version__, seeds=args.seeds)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(dict(about=about, counts={k: dict(min=int(n.min()), max=int(n.max())) for k, n in found.iterrows()}, differ=rows["Verdicts that differ"], crashes=rows["Toolkit crashes"]), indent=1) + "\n")


if __name__ == "__main__": main()
