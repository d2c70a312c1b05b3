"Names that moved work under their former place for one version, and say where they are now."
import subprocess, sys
from importlib import import_module

import pytest

import causal_prompts as cp


@pytest.mark.parametrize("name, home", [("TextEncoder", "embeddings"), ("Grid", "grids"), ("load_reward", "loading"), ("ConfoundingSteps", "widgets"), ("EditProposer", "proposers")])
def test_a_name_that_stood_on_the_package_says_where_it_is(name, home):
    with pytest.warns(FutureWarning, match=rf"causal_prompts\.{name} is now causal_prompts\.{home}\.{name}"): found = getattr(cp, name)
    assert found is getattr(getattr(cp, home), name)
    assert name not in dir(cp)

@pytest.mark.parametrize("code, word", [
    ("from causal_prompts.estimators import CausalReward, contrasts, load_reward", "causal_prompts.inference.contrasts"),
    ("from causal_prompts.collect import plan, run", "causal_prompts.collecting.run"), ("import causal_prompts as cp\ncp.collect.plan", "causal_prompts.collecting.plan"),
    ("from causal_prompts.report import report", "causal_prompts.reporting.report"),
])
def test_a_module_that_was_renamed_is_still_found(code, word):
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"is now {word}" in done.stderr

def test_what_never_was_is_not_there():
    with pytest.raises(AttributeError, match="its page is now causal_prompts.collecting"): cp.collect.nothing_like_it
    with pytest.raises(ModuleNotFoundError): __import__("causal_prompts.nothing_like_it")
    with pytest.raises(AttributeError, match="has no attribute"): cp.nothing_like_it

def test_the_finding_on_the_route_answers_to_its_former_name():
    from fakes import Words
    world = cp.World.preset("randomised")
    model = cp.CausalReward(learner="kernel", folds=0, encoder=Words(), baseline=world.baseline).fit(world.log(60, n_prompts=4))
    with pytest.warns(FutureWarning, match="strategy_ is now identification_"): assert model.strategy_ is model.identification_


@pytest.mark.parametrize("old, new", [
    ("importers.read", "importers.read_tool"), ("sandbox.run", "sandbox.run_apart"), ("figures.draw", "figures.figure_of"),
    ("treesearch.Study", "treesearch.Search"), ("treesearch.sentences", "pieces.sentences"), ("causal.load_reward", "loading.load_reward"),
    ("confounding.assignment", "assignments.assignment"), ("confounding.nuisance", "nuisances.nuisance"),
    ("placebos.shuffled_prompts", "shuffles.shuffled_prompts"), ("refutation.sensitivity", "sensitivity_analysis.sensitivity"),
    ("transport.drift", "monitoring.drift"), ("rewards.blindness", "blind_texts.blindness"), ("residuals.holm", "inference.holm"),
    ("gains.judged", "gains.both_rankings"), ("answers.plain", "answers.plain_characters"), ("sources.files_of", "file_kinds.files_of"),
    ("grids.load_dataset", "recordings.load_dataset"), ("grids.load_table", "recordings.load_table"), ("grids.datasets", "recordings.datasets"),
    ("grids.data_folder", "recordings.data_folder"), ("trace_importers.router", "from_routers.router"), ("proposers.sentences", "pieces.sentences")])
def test_a_name_that_moved_works_and_says_where_it_is(old, new):
    at = lambda path: getattr(import_module(f"causal_prompts.{path.split('.')[0]}"), path.split(".")[1])
    if old == "proposers.sentences": assert at(old) is at(new) # imported there, as it is used there
    else:
        with pytest.warns(FutureWarning, match=rf"causal_prompts\.{old} is now causal_prompts\.{new}; the former place goes"): found = at(old)
        assert found is at(new)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"): at(f"{old.split('.')[0]}.nothing")
