"""The parts of the report, one file each with its template; a new one is a file, a template and an entry here."""

from bridges_tabular.experiments.sections.across import Across
from bridges_tabular.experiments.sections.again import Again
from bridges_tabular.experiments.sections.calibration import Calibration
from bridges_tabular.experiments.sections.curves import Curves
from bridges_tabular.experiments.sections.differences import Differences
from bridges_tabular.experiments.sections.distributions import Distributions
from bridges_tabular.experiments.sections.failures import Failures
from bridges_tabular.experiments.sections.features import Features
from bridges_tabular.experiments.sections.findings import Findings
from bridges_tabular.experiments.sections.groups import Groups
from bridges_tabular.experiments.sections.in_time import InTime
from bridges_tabular.experiments.sections.learned import Learned
from bridges_tabular.experiments.sections.look import Look
from bridges_tabular.experiments.sections.pools import Pools
from bridges_tabular.experiments.sections.scores import Scores
from bridges_tabular.experiments.sections.shift import Shift
from bridges_tabular.experiments.sections.time import Time
from bridges_tabular.experiments.sections.truth import Truth

# in the order of the page: over all tables, of each table, over all tables
FIRST = (Across(),)
OF_TABLE = (
    Failures(),
    Look(),
    Findings(),
    Scores(),
    Differences(),
    Time(),
    Truth(),
    Calibration(),
    InTime(),
    Groups(),
    Shift(),
    Distributions(),
    Pools(),
    Learned(),
    Features(),
    Curves(),
)
LAST = (Again(),)
# what is collected while the models of a table are there
COLLECTING = {section.file: section for section in (*FIRST, *OF_TABLE, *LAST) if section.file is not None}

__all__ = ["COLLECTING", "FIRST", "LAST", "OF_TABLE"]
