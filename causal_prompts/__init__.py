"Learn offline, from a log of (query, prompt, score), what a prompt causes."

__version__ = "0.1.0"

import sys as _sys
from importlib import import_module as _import_module
from importlib.machinery import ModuleSpec as _ModuleSpec
from warnings import warn as _warn

_PUBLIC = { # module -> what stands on the package itself; the rest is one dot deeper
    "core": ["Finding"],
    "triplets": ["Triplets", "read"],
    "worlds": ["World"],
    "recordings": ["load_dataset"],
    "record": ["Record"],
    "serve": ["serve_world"],
    "local_server": ["serve_local"],
    "llm": ["LLM"],
    "tasks": ["Task"],
    "naive": ["NaiveReward"],
    "cpo": ["CPOReward"],
    "causal": ["CausalReward"],
    "part_agreement": ["effects_agree"],
    "treesearch": ["search"],
    "evaluation": ["ranking"],
    "diagnostics": ["checkup"],
    "studies": ["study"],
    "optimizing": ["optimize"],
    "app_page": ["app"],
}
_MODULES = [ # reached as cp.confounding.balance(...)
    "plots", "forms", "core", "covariates", "checks", "sources", "engines", "glossary", "columns", "files", "templates", "predictability", "design", "triplets", "partitions", "worlds",
    "grids", "embeddings", "support", "spaces", "pieces", "part_families", "same_parts", "blocks", "parts", "recordings", "routes", "rows", "inference", "part_effects", "graph", "datasets",
    "rewards", "naive", "cpo", "part_space", "kernel", "race", "causal", "loading", "residuals", "part_agreement",
    "confounding", "assignments", "nuisances", "agreement", "placebos", "shuffles", "refutation", "sensitivity_analysis",
    "propensities", "positivity", "power_analysis", "extrapolation", "identity", "record", "serve", "weights", "local_model", "local_server", "task_sets", "prompt_sets", "connection", "llm", "sandbox", "answers", "graders", "tasks",
    "benchmarks", "tabular", "dabench", "viseval", "pools", "written_variants", "banks", "separation", "factorial", "inclusion", "stages", "part_pairs", "collecting", "importers", "eval_importers", "trace_importers",
    "exporting", "proposers", "treesearch", "llm_proposer", "measures", "evaluation", "calibration", "coverage", "stability", "components", "patterns",
    "learning_curve", "difficulty", "transport", "monitoring", "diagnostics", "widgets", "reporting", "gains", "study_inputs", "studies", "callables", "sentence_parts", "policy_values", "search_results", "optimizing", "exercises", "playgrounds", "app_page"]
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = ["__version__", *_HOME, *_MODULES]


_FORMER_MODULES = { # module that was -> where its names are now; they work with a warning until 0.2
    "collect": ["collecting", "assigning", "holes"], "dealing": ["assigning"], "meetings": ["cell_counts"],
    "report": ["reporting"],
    "estimators": ["causal", "loading", "naive", "cpo", "kernel", "race", "rewards", "routes", "rows", "inference"],
}
_FORMER_NAMES = { # name that stood on the package -> its module
    "content_id": "core", "Grid": "grids", "Limits": "connection", "load_task": "benchmarks", "world_task": "tasks", "TextEncoder": "embeddings",
    "PromptGraph": "graph", "load_reward": "loading", "EditProposer": "proposers", "compare": "evaluation", "ConfoundingSteps": "widgets",
    "PositivityExplorer": "widgets", "SearchReplay": "widgets"}


def _former(old, homes, name):
    "A name under the place where it was, with a word on where it is."
    for home in homes:
        module = _import_module(f".{home}", __name__)
        if name not in module.__all__: continue
        _warn(f"{old} is now {__name__}.{home}.{name}; the former place goes with version 0.2", FutureWarning, stacklevel=3)
        return getattr(module, name)
    raise AttributeError(f"{old} is not there; its page is now {', '.join(f'{__name__}.{home}' for home in homes)}")


class _FormerModules:
    "Finds modules by the names that they had."
    def find_spec(self, fullname, path=None, target=None):
        package, _, name = fullname.rpartition(".")
        return _ModuleSpec(fullname, self) if package == __name__ and name in _FORMER_MODULES else None

    def create_module(self, spec): return None

    def exec_module(self, module):
        homes = _FORMER_MODULES[module.__name__.rpartition(".")[2]]
        module.__getattr__ = lambda name: _former(f"{module.__name__}.{name}", homes, name)

_sys.meta_path.insert(0, _FormerModules())


def __getattr__(name):
    "Modules are imported when one of their names is first asked for: `import causal_prompts` stays fast."
    if name in _MODULES or name in _FORMER_MODULES: return _import_module(f".{name}", __name__)
    if name in _FORMER_NAMES: return _former(f"{__name__}.{name}", [_FORMER_NAMES[name]], name)
    if name not in _HOME: raise AttributeError(f"module 'causal_prompts' has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(f".{_HOME[name]}", __name__), name)
    return value


def __dir__(): return sorted({*(n for n in globals() if n.startswith("__")), *__all__})
