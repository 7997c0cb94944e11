"""A fit past memory: what a network reads of a stream's rows in a file, shuffled through a buffer."""

from __future__ import annotations

from functools import partial

import numpy as np

from bridges_tabular.regressors.progress import Report
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.streamed import Divided
from bridges_tabular.tabular.engine import TabularEngine, TabularTrained
from bridges_tabular.tabular.features import FeatureTensors
from bridges_tabular.tabular.stored import StoredBatches, packed


def train(engine: TabularEngine, rows: Divided, scale: TargetScale, seed: int, report: Report) -> TabularTrained:
    """Train on divided rows; what is fitted to features beforehand is fitted to some that are drawn from them."""
    drawn = rows.train.sampled().standard(scale)
    features = FeatureTensors(engine.columns).fit_drawn(drawn.X, rows.train.digest)
    widths = len(features.continuous_names), len(features.categorical_names)
    stored = rows.stored(partial(packed, features), sum(widths))
    everything = rows.train.rows().standard(scale)
    stored = stored.append(everything.y[:, 0].astype(np.float32))
    if everything.weight is not None:
        stored = stored.append(everything.weight.astype(np.float32))
    watched = None if rows.validation is None else rows.validation.sampled().standard(scale)
    model = engine.new_model(features, everything, drawn, seed)
    batches = StoredBatches(stored, *widths, engine.rows_per_batch(everything), seed, engine.options.device)
    return engine.train_model(model, features, everything, batches, watched, seed, report)
