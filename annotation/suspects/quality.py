"""Quality of labels in [0, 1] from what several models predict: 1 is a label like the others, near 0 one that is likely wrong.

Conventions
-----------
n labels, M models; directions (n, M, 3), NaN where a model says nothing; angles are radians. Everything follows from angles
between directions, so turning the sphere changes nothing.

**Residuals are judged by a model's own.** What a model misses a label by is compared with what it usually misses by under
that condition (:func:`usual`): labels of hard conditions are not wrong because models are. "Usually" is a median, which a few
wrong labels hardly move, and depends on nothing that a wrong label changes (condition, head, how far from the head models say
that somebody looks; never the label), or a wrong label would excuse itself.

**Consensus of models.** The geometric median of the models' directions, each weighted by 1 / (its usual residual)^2, as the
best combination of independent measurements does; one model that is far off hardly moves it. The *residual* R is its angle to
the label, S its usual residual, found in the same way.

**Agreement of models.** Their spread q is the weighted root mean square angle to the consensus, Q the usual one. Models that
disagree more than usual know less (Lakshminarayanan, Pritzel and Blundell, NeurIPS 2017, take the disagreement of networks for
their uncertainty): S is multiplied by sqrt((3 + (q / Q)^2) / 4). That is S where they disagree as usual, less where they are of
one mind, so that the same residual is stronger evidence, and half of q / Q times S where they are far apart. (The share of a
quarter was the best of four ways that were tried on planted errors, with two models of the procedural scenes.)

**Quality** is 1 / (1 + odds), where the odds add up over the evidence (:func:`label_quality`)::

    odds = (R^2 + max(0, D^2 - D_usual^2)) / S^2 + lint

With the first term alone quality is the survival function of the length of a bivariate Student t with two degrees of freedom,
whose median is S: the share of sound labels that such models would miss by more. A normal distribution would have 2^-(R/S)^2
there; models of gaze miss by far more than that, far more often. D is the mean angle of a person's annotations to their mean
where it is larger than usual: the mean squared distance of annotations from the consensus of models is close to R^2 + D^2, so
that annotators who are apart count like models that miss. ``lint`` is :data:`LINT` of a person's worst finding.

Scores of this kind, from residuals of predictions that models make for labels they were not trained on, are those of Northcutt,
Jiang and Chuang (JAIR 70, 2021) and of Zhou, Mueller, Kumar, Wang and Lei (2023, label errors in regression).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360 import sphere
from srgaze360.protocols.ragged import weighted_mean
from srgaze360.sphere import BoolArray, FloatArray

FLOOR = np.radians(0.5)  # no model is taken to be more exact than this: labels are not
HELD = 20.0  # labels of a group that weigh as much as what is known of all
SWEEPS = 4
REACH = np.radians([5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0])  # bands of the arc from head to what models say
LINT: Mapping[str, float] = {"": 0.0, "warning": 1.0, "error": 9.0}  # like a residual that is usual, and three times that
Codes = NDArray[np.intp]


class Opinion(NamedTuple):
    """What models say of labels (n,), together; NaN where none says anything. Angles are radians.

    ``consensus`` (n, 3); ``models`` (n,), how many; ``residuals`` (n, M) of each model and ``usual`` ones; ``residual`` (n,) of
    the consensus, its ``scale``, with the models' agreement in it; ``spread`` of the models, NaN for a single one.
    """

    consensus: FloatArray
    models: NDArray[np.intp]
    residuals: FloatArray
    usual: FloatArray
    residual: FloatArray
    scale: FloatArray
    spread: FloatArray


def opinion(
    labels: FloatArray,
    directions: FloatArray,
    seen: BoolArray,
    groupings: Sequence[ArrayLike],
    heads: FloatArray | None = None,
) -> Opinion:
    """What models say of labels, and how far off they usually are.

    Parameters
    ----------
    labels
        Directions (n, 3) of the labels, all known.
    directions
        Predictions (n, M, 3), NaN where a model says nothing or is not to be asked.
    seen
        (n, M) whether a model was trained on the label: it then usually misses by less, so these are judged apart.
    groupings
        Codes (n,) of each grouping of labels that says how hard they are, and does not depend on them.
    heads
        Directions (n, 3) of the heads: those whom models see looking far away are harder. None: that is not looked at.
    """
    given = [np.asarray(codes) for codes in groupings]
    asked = np.asarray(np.isfinite(directions).all(axis=-1))
    residuals = np.where(asked, sphere.angle_between(directions, labels[:, None]), np.nan)
    typical = np.full(asked.shape, np.nan)
    for model in range(asked.shape[1]):
        for kind in (False, True):
            own = asked[:, model] & (seen[:, model] == kind)
            codes = [*given, *_reach(heads, directions[:, model])]
            typical[own, model] = usual(residuals[own, model], [one[own] for one in codes])
    weights = np.where(asked, 1.0 / np.where(asked, typical, 1.0) ** 2, 0.0)
    consensus = sphere.geometric_median(np.where(asked[..., None], directions, 0.0), weights)
    known = np.isfinite(consensus).all(axis=-1)
    models = np.where(known, asked.sum(axis=1), 0)
    residual = np.where(known, sphere.angle_between(consensus, labels), np.nan)
    apart = np.where(asked, sphere.angle_between(directions, consensus[:, None]), np.nan)
    spread = np.where(models > 1, np.sqrt(weighted_mean(apart**2, weights)), np.nan)
    # those of whom only models speak that know them are a kind of their own, and so is every number of models
    codes = [*given, *_reach(heads, consensus), 2 * models + np.all(seen | ~asked, axis=1)]
    scale = np.full(len(labels), np.nan)
    scale[known] = usual(residual[known], [one[known] for one in codes])
    several = models > 1
    usual_spread = np.full(len(labels), np.nan)
    usual_spread[several] = usual(spread[several], [one[several] for one in codes])
    ratio = np.where(several, spread / usual_spread, 1.0)
    return Opinion(consensus, models, residuals, typical, residual, scale * with_agreement(ratio), spread)


def _reach(heads: FloatArray | None, said: FloatArray) -> list[Codes]:
    """Band (n,) of the arc from heads (n, 3) to what is said (n, 3); none where heads are not given."""
    return [] if heads is None else [np.digitize(sphere.angle_between(heads, said), REACH)]


def with_agreement(ratio: ArrayLike) -> FloatArray:
    """What a usual residual is multiplied by, for models whose spread is ``ratio`` times the usual one."""
    return np.asarray(np.sqrt((3.0 + np.asarray(ratio, dtype=np.float64) ** 2) / 4.0))


def usual(angles: FloatArray, groupings: Sequence[ArrayLike]) -> FloatArray:
    """Usual angle (n,) of each of angles (n,): their median, times a factor for the group that it is in under every grouping.

    The factors are found by a median polish of the logarithms (Tukey, Exploratory Data Analysis, 1977): what is left of the
    angles has its median in each group in turn taken out, :data:`SWEEPS` times over. The factor of a group of m is shrunk
    towards 1, to the power of m / (m + :data:`HELD`). Nothing is below :data:`FLOOR`.
    """
    if not len(angles):
        return np.zeros(0)
    logs = np.log(np.maximum(angles, FLOOR))
    told = np.full(len(logs), np.median(logs))
    coded = [np.unique(np.asarray(one), return_inverse=True)[1].reshape(-1) for one in groupings]
    effects = [np.zeros(int(one.max()) + 1) for one in coded]
    for _ in range(SWEEPS):
        for codes, effect in zip(coded, effects, strict=True):
            left = logs - told + effect[codes]
            fresh = _shrunk_medians(left, codes, len(effect))
            told += (fresh - effect)[codes]
            effect[:] = fresh
    return np.asarray(np.maximum(np.exp(told), FLOOR))


def _shrunk_medians(values: FloatArray, codes: Codes, groups: int) -> FloatArray:
    """Median of the values of each group, shrunk to 0."""
    order = np.lexsort((values, codes))
    count = np.bincount(codes, minlength=groups)
    start = np.cumsum(count) - count
    ordered = values[order]
    middle = 0.5 * (ordered[start + (count - 1) // 2] + ordered[start + count // 2])
    return np.asarray(middle * count / (count + HELD))


def label_quality(
    residual: ArrayLike, scale: ArrayLike, dispersion: ArrayLike = 0.0, usual_dispersion: float = 0.0, lint: ArrayLike = 0.0
) -> FloatArray:
    """Quality (n,) of labels, in [0, 1]: 1 is good. Residual, dispersion and lint lower it, the scale raises it.

    Parameters
    ----------
    residual, scale
        Angle from the consensus of models to the label, and what is usual for it (:class:`Opinion`); NaN where no model says
        anything: there, the median scale of the others is what annotators are judged by.
    dispersion, usual_dispersion
        Mean angle of a person's annotations to their mean; NaN counts as the usual one.
    lint
        Odds that a finding adds, from :data:`LINT`.
    """
    missed, scale = np.asarray(residual, dtype=np.float64), np.asarray(scale, dtype=np.float64)
    known = scale[np.isfinite(scale)]
    scale = np.where(np.isfinite(scale), scale, np.median(known) if len(known) else FLOOR)
    apart = np.nan_to_num(np.asarray(dispersion, dtype=np.float64), nan=usual_dispersion)
    excess = np.maximum(apart**2 - usual_dispersion**2, 0.0)
    odds = (np.nan_to_num(missed) ** 2 + excess) / scale**2 + np.asarray(lint, dtype=np.float64)
    return np.asarray(1.0 / (1.0 + odds))
