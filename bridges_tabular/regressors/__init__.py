"""The one door of every regressor: rows are checked, held out and scaled, an engine trains, forecasts are calibrated.

Behind the door everything is in standard units: a target less its mean, over its deviation. An engine is what
:class:`~bridges_tabular.regressors.base.Engine` says, and knows of nothing else here.
"""
