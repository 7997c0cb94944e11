"""A DataFrame where a file is taken: in Python, ``table.source`` may be one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from bridges_tabular.regressors.words import shown

if TYPE_CHECKING:
    import pandas as pd

# how a written configuration names what only Python had
PREFIX = "DataFrame of "


@dataclass(frozen=True)
class FrameSource:
    """A DataFrame, and the text that stands for it in a file; two of one content are equal.

    Attributes
    ----------
    text : str
        Its size and a sum over names, types and values.
    frame : DataFrame
    """

    text: str
    frame: Any = field(compare=False, repr=False)

    @classmethod
    def of(cls, given: Any) -> Self:
        """Read a DataFrame of any library that narwhals reads.

        Raises
        ------
        TypeError
            If it is none, or no sum can be made of its values.
        """
        import pandas as pd

        from bridges_tabular.regressors.frames import as_pandas

        frame = as_pandas(given, "it")
        if not isinstance(frame, pd.DataFrame):
            raise TypeError(f"must be text or a DataFrame, not {shown(given)}")
        # names of columns are made text where the table is read, and the caller's own stay as they are
        frame = frame.copy(deep=False)
        return cls(f"{PREFIX}{len(frame)} rows and {frame.shape[1]} columns, sha256 {_sum(frame)}", frame)

    def __str__(self) -> str:
        return "the DataFrame"


def _sum(frame: pd.DataFrame) -> str:
    import pandas as pd

    kinds = [(str(name), str(dtype)) for name, dtype in frame.dtypes.items()]
    content = hashlib.sha256(json.dumps(kinds).encode())
    for position in range(frame.shape[1]):
        column = frame.iloc[:, position]
        try:
            values = pd.util.hash_pandas_object(column, index=False)
        except TypeError:
            # lists and the like; numbers among text
            values = pd.util.hash_pandas_object(column.map(repr), index=False)
        content.update(values.to_numpy().tobytes())
    return content.hexdigest()[:16]
