"Effects within queries against pyfixest, which knows fixed effects and clustered errors and nothing of this package."
import numpy as np
import pandas as pd
import pyfixest as pf
import pytest

import causal_prompts as cp
from causal_prompts.inference import contrasts
from fakes import Words


def fixed_effects(rows, y, base):
    "Effects and clustered errors of a regression of the scores on prompts and query fixed effects."
    frame = pd.DataFrame(dict(score=y, prompt=[f"p{i:02d}" for i in rows.p], query=rows.g, cluster=rows.cluster))
    found = pf.feols(f"score ~ i(prompt, ref='p{base:02d}') | query", frame, vcov=dict(CRV1="cluster")).tidy()
    at = found.index.str.extract(r"p(\d\d)")[0].astype(int)
    return pd.DataFrame(dict(effect=found["Estimate"].to_numpy(), se=found["Std. Error"].to_numpy()), index=at.to_numpy())


@pytest.mark.parametrize("seed", range(3))
def test_effects_within_queries_are_those_of_a_fixed_effects_regression(seed):
    world = cp.World.preset("confounded-hidden", seed=seed)
    log = world.log(n_queries=400, n_prompts=8, prompts_per_query=3, seed=seed)
    reward = cp.CausalReward(route="within", learner="kernel", folds=0, encoder=Words(), baseline=world.baseline).fit(log)
    rows, y = reward.residuals()
    base = rows.prompts.index(world.baseline)
    ours = contrasts(rows, y, base).drop(index=base)
    theirs = fixed_effects(rows, rows.y, base)
    np.testing.assert_allclose(ours.effect, theirs.effect.loc[ours.index], atol=1e-9)
    ratio = ours.se / theirs.se.loc[ours.index]
    assert ratio.between(.9, 1.2).all(), "CR2 and a prior on few queries differ from CR1 by little where queries are many"


def test_raw_means_differ_from_the_oracle_where_the_choice_is_confounded():
    world = cp.World.preset("confounded-hidden")
    log = world.log(n_queries=400, n_prompts=8, prompts_per_query=3)
    reward = cp.CausalReward(route="within", learner="kernel", folds=0, encoder=Words(), baseline=world.baseline).fit(log)
    rows, _ = reward.residuals()
    base = rows.prompts.index(world.baseline)
    means = np.bincount(rows.p, rows.y) / np.bincount(rows.p)
    theirs = fixed_effects(rows, rows.y, base)
    assert np.abs((means - means[base])[theirs.index] - theirs.effect).max() > .1
