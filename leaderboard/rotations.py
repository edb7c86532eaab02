"""How steady a method is when the sphere is turned: the spread of each person's error over the rotations of suite ``tilt16``.

Conventions
-----------
Suite ``tilt16`` shows every photo under sixteen rotations of the whole sphere. A method that is equivariant to them has the
same error under all; the mean over the suite does not tell whether it has. So for every person with an error under two
rotations or more there are the standard deviation (n - 1) and the range of those errors, in the unit of the error. They stand
in the row of the person's first rotation, and nowhere else (NaN), so that means and intervals of the suite count every person
once.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from srgaze360.dataset import Dataset
from srgaze360.sphere import FloatArray

SUITE = "tilt16"
SD, RANGE = "rotation_sd_deg", "rotation_range_deg"
_PERSON = ["source", "source_image", "source_person"]


def rotation_metrics(rows: Dataset, errors: FloatArray) -> dict[str, FloatArray]:
    """Standard deviation and range (n,) of errors (n,) over the rotations of each person; empty without that suite."""
    turned = (rows.annotations["suite"] == SUITE).to_numpy()
    if not turned.any():
        return {}
    table = rows.annotations.loc[turned, _PERSON].assign(error=errors[turned], row=np.flatnonzero(turned))
    people = table.dropna(subset="error").groupby(_PERSON, sort=False)
    found = pd.DataFrame(
        {
            "row": people["row"].min(),
            SD: people["error"].std(ddof=1),
            RANGE: people["error"].max() - people["error"].min(),
            "count": people["error"].count(),
        }
    )
    found = found[found["count"] >= 2]
    columns = {}
    for name in (SD, RANGE):
        columns[name] = np.full(len(rows), np.nan)
        columns[name][found["row"].to_numpy(dtype=np.intp)] = found[name].to_numpy(dtype=np.float64)
    return columns
