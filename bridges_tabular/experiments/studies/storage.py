"""Where studies are kept: databases, journal files and gRPC proxies, opened so that a crash loses no finished trial."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.folders import check_writable

try:
    import fcntl
except ModuleNotFoundError:  # Windows, where several workers need a database
    fcntl = None  # type: ignore[assignment]

JOURNAL_FILE = "study.log"
PROXY = "grpc://"
# drivers of databases that are installed under another name
_PACKAGES = {"psycopg": '"psycopg[binary]"', "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
_SQLITE_PATIENCE = 60.0
_PROXY_PATIENCE = 10.0
# seconds between two tries to make the tables of an empty database
_PAUSE = 0.5
_TRIES = 10


class StorageLost(Exception):
    """The storage cannot be reached or written any more; what it holds stays."""


def open_storage(url: str | None, folder: Path) -> BaseStorage:
    """Open the storage of a study, made where it does not exist.

    Parameters
    ----------
    url : str or None
        As ``study.storage`` in the experiment file.
    folder : path
        The output folder, which keeps the journal where ``url`` is None.

    Raises
    ------
    ExperimentError
        If it cannot be opened.
    """
    try:
        if url is None or "://" not in url:
            return _open_journal(folder / JOURNAL_FILE if url is None else Path(url))
        return _open_proxy(url.removeprefix(PROXY)) if url.startswith(PROXY) else _open_database(url)
    except ExperimentError as error:
        raise ExperimentError(f"study.storage: {error}") from None
    except Exception as error:
        # whatever the driver of a database raises
        cause = getattr(error, "orig", None) or (error.__cause__ if isinstance(error, ImportError) else None) or error
        reason = " ".join(str(cause).split())
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            reason = f"it needs {cause.name}: pip install {_PACKAGES.get(cause.name, cause.name)}"
        name = folder / JOURNAL_FILE if url is None else hide_password(url)
        raise ExperimentError(f"study.storage: {name} cannot be opened: {reason}") from None


def storage_file(url: str | None, folder: Path) -> Path | None:
    """Return the file that ``open_storage`` opens; None where the trials are elsewhere."""
    if url is None:
        return folder / JOURNAL_FILE
    if "://" not in url:
        return Path(url)
    with suppress(ValueError, sqlalchemy.exc.ArgumentError):
        parsed = sqlalchemy.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return Path(parsed.database or "")
    return None


def storage_errors() -> tuple[type[Exception], ...]:
    """Return what reading or writing a storage raises when it is lost."""
    errors: tuple[type[Exception], ...] = (
        StorageLost,
        OSError,
        optuna.exceptions.StorageInternalError,
        sqlalchemy.exc.SQLAlchemyError,
    )
    grpc: Any = sys.modules.get("grpc")
    return errors if grpc is None else (*errors, grpc.RpcError)


@contextmanager
def loss_in_words() -> Iterator[None]:
    """Turn what a lost storage raises inside the block into an ExperimentError."""
    try:
        yield
    except storage_errors() as error:
        reason = describe(error.__cause__ or error)
        raise ExperimentError(f"the storage of the study is lost, and the same command goes on: {reason}") from None


def describe(error: BaseException) -> str:
    """Return what a storage's error says, in one line."""
    details = getattr(error, "details", None)
    # gRPC's own text is a page
    return " ".join(str(details() if callable(details) else error).split())


def hide_password(url: str) -> str:
    """Return the URL of a storage as it may be shown and written to files."""
    if "://" not in url:
        return url
    try:
        parsed = sqlalchemy.make_url(url)
        secrets = {key: "***" for key in parsed.query if "pass" in key.lower()}
        return parsed.update_query_dict(secrets).render_as_string(hide_password=True)
    except (ValueError, sqlalchemy.exc.ArgumentError):
        return url.partition("://")[0] + "://..."


class _Journal(JournalFileBackend):
    """A journal file that a kill or a full disk cannot spoil.

    Either may leave half a line, after which Optuna's own cannot read on, and a lock that it takes half a minute to
    break. This one cuts half a line off, and locks the file itself: the kernel frees what a process held.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:
            raise OSError(f"{self._path} is damaged: {error}") from None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        # not "a": that would begin a removed journal anew, in the middle of a study
        with self._path.open("r+b") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
            _cut_unfinished_line(file)
            file.write(lines.encode())
            file.flush()
            # a power cut may take what is known of running trials, but no finished one
            if any(TrialState(log["state"]).is_finished() for log in logs if "state" in log):
                os.fsync(file.fileno())


def _cut_unfinished_line(file: BinaryIO) -> None:
    """Leave the file at its end, after whole lines alone."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
    if file.read() not in (b"", b"\n"):
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)


def _open_journal(path: Path) -> BaseStorage:
    check_writable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return optuna.storages.JournalStorage(_Journal(path))


def _open_database(url: str) -> BaseStorage:
    for _ in range(_TRIES):
        try:
            return _connect(url)
        except sqlalchemy.exc.DBAPIError as error:
            # whoever opens an empty database makes its tables, and another may do so at the same moment
            if not isinstance(error, sqlalchemy.exc.IntegrityError) and "already exists" not in str(error.orig):
                raise
            time.sleep(_PAUSE)
    return _connect(url)


def _connect(url: str) -> BaseStorage:
    parsed = sqlalchemy.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        # a server closes connections that were idle during a long fit
        return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    if parsed.database in (None, "", ":memory:"):
        raise ExperimentError(f"{url} names no file: sqlite:///FILE")
    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": _SQLITE_PATIENCE}})
    _lock_from_the_start(storage.engine)
    return storage


def _lock_from_the_start(engine: Any) -> None:
    """Let SQLite's transactions lock before they read: by default two workers could both read a trial as free."""

    @sqlalchemy.event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    # connections from before know nothing of it
    engine.dispose()


def _open_proxy(address: str) -> BaseStorage:
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal():
        raise ExperimentError(f"'{PROXY}{address}' must have the form {PROXY}HOST:PORT")
    try:
        proxy = optuna.storages.GrpcStorageProxy(host=host, port=int(port))
        proxy.wait_server_ready(timeout=_PROXY_PATIENCE)
        return proxy
    except ImportError:
        raise ExperimentError("a gRPC proxy needs grpcio and protobuf: pip install grpcio protobuf") from None
