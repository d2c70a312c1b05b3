"""Write causal_prompts/__init__.pyi: the public face with its signatures, for editors and type checkers.

The face is imported lazily, and methods come from several pages, so nothing that reads source alone can see either. This asks the running package, which needs to know first what its pages enter in its lists."""
import inspect, re, sys
from pathlib import Path

import entered

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
entered.write(ROOT)
import causal_prompts as cp

HEAD = '''"Made by .ci/stub.py from the package itself: do not edit."
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as _np
import pandas as _pd
'''
LONG = {"pandas.core.frame.DataFrame": "_pd.DataFrame", "pandas.core.series.Series": "_pd.Series",
        "pandas.DataFrame": "_pd.DataFrame", "pandas.Series": "_pd.Series", "numpy.ndarray": "_np.ndarray", "pathlib.Path": "Path",
        "pathlib._local.Path": "Path", "collections.abc.": "", "typing.": ""}
KNOWN = {"Callable", "Iterable", "Iterator", "Path", "Any", "Self", "_np", "_pd", "ndarray", "DataFrame", "Series", "int", "float", "str", "bool", "bytes", "list", "dict",
         "tuple", "set", "type", "None", "object", *cp._HOME}


def annotation(value) -> str:
    "A type as the stub writes it; `Any` where a name in it is not public."
    text = value if isinstance(value, str) else inspect.formatannotation(value)
    text = re.sub(r"\b(?<!_)(np|pd)\.", r"_\1.", text)
    for long, short in LONG.items(): text = text.replace(long, short)
    text = re.sub(r"causal_prompts\.\w+\.", "", text)
    try: compile(text, "annotation", "eval")
    except SyntaxError: return "Any"
    return text if set(re.findall(r"[A-Za-z_]\w*", text)) <= KNOWN else "Any"


def signature(f, back="Any") -> str:
    "The parameters and what is returned, defaults left out."
    try: found = inspect.signature(f)
    except (TypeError, ValueError): return "(self, *args: Any, **kwargs: Any) -> Any"
    parts, kinds, star = [], inspect.Parameter, False
    for p in found.parameters.values():
        mark = {kinds.VAR_POSITIONAL: "*", kinds.VAR_KEYWORD: "**"}.get(p.kind, "")
        if p.kind is kinds.KEYWORD_ONLY and not star: parts.append("*")
        star = star or p.kind in (kinds.KEYWORD_ONLY, kinds.VAR_POSITIONAL)
        kind = "" if p.annotation is p.empty or p.name in ("self", "cls") else f": {annotation(p.annotation)}"
        parts.append(f"{mark}{p.name}{kind}{'' if p.default is p.empty else ' = ...'}")
    if found.return_annotation is not found.empty: back = annotation(found.return_annotation)
    return f"({', '.join(parts)}) -> {back}"


def function(name, f, indent="") -> str:
    "A function or method, with its docstring where it has one of its own."
    back = {"__init__": "None", "fit": "Self"}.get(name, "Any") # where the page does not say
    head, doc = f"{indent}def {name}{signature(f, back)}:", (f.__doc__ or "").split("\n")[0]
    return f"{head}\n{indent}    {doc!r}\n" if doc else f"{head} ...\n"


def member(cls, name, value) -> str:
    "One attribute of a class."
    if isinstance(value, property): return f"    @property\n{function(name, value.fget, '    ')}"
    if isinstance(value, staticmethod): return f"    @staticmethod\n{function(name, value.__func__, '    ')}"
    if inspect.ismethod(getattr(cls, name, None)): return f"    @classmethod\n{function(name, getattr(cls, name).__func__, '    ')}"
    if inspect.isfunction(value): return function(name, value, "    ")
    kinds = {n: k for base in cls.__mro__ for n, k in getattr(base, "__annotations__", {}).items()}
    return f"    {name}: {annotation(kinds[name]) if name in kinds else 'Any'}\n"


def own_members(cls) -> dict:
    "What the class itself defines in public, and how it is made."
    found = {n: v for n, v in vars(cls).items() if not n.startswith("_") or n == "__init__"}
    return found | {n: None for n in vars(cls).get("__annotations__", {}) if not n.startswith("_") and n not in found}


def ours(cls) -> list:
    "The classes of the package that a class is made from, the nearest first."
    return [base for base in cls.__mro__[1:] if base.__module__.startswith("causal_prompts")]


def stub_name(cls) -> str: return cls.__name__ if cls.__name__ in cp._HOME else f"_{cls.__name__}"


def described(cls) -> str:
    "A class with its own members."
    bases = ", ".join(stub_name(base) for base in cls.__bases__ if base in ours(cls))
    base = f"({bases})" if bases else ""
    body = "".join(member(cls, n, v) for n, v in sorted(own_members(cls).items()))
    return f"class {stub_name(cls)}{base}:\n    {(inspect.getdoc(cls) or '').split(chr(10))[0]!r}\n{body}"


def face(name) -> str:
    "One public name."
    value = getattr(cp, name)
    if inspect.isclass(value): return described(value)
    return function(name, value) if callable(value) else f"{name}: Any\n"


def forebears() -> list:
    "The classes that public ones are made from and that are not public themselves, each once, the deepest first."
    classes = [value for value in map(cp.__getattr__, cp._HOME) if inspect.isclass(value)]
    found = [base for cls in classes for base in reversed(ours(cls)) if base.__name__ not in cp._HOME]
    return list(dict.fromkeys(found))


def main():
    modules = "".join(f"from . import {m} as {m}\n" for m in sorted(cp._MODULES))
    text = "\n\n".join([HEAD + modules + "\n__version__: str", *map(described, forebears()), *map(face, cp._HOME)])
    compile(text, "__init__.pyi", "exec")
    (ROOT/"causal_prompts"/"__init__.pyi").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__": main()
