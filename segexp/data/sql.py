"""Reading a table or a query of a SQL database through SQLAlchemy (the extra ``sql``)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from segexp.config.schema import DatasetConfig
from segexp.data.cells import text_table
from segexp.errors import ConfigError, DataError, did_you_mean

EXAMPLES = "postgresql+psycopg://user@host/database or sqlite:///shop.db"
# Where the name of the package to install is not the name of the module that is missing.
PACKAGES = {"psycopg2": "psycopg2-binary", "psycopg": "psycopg[binary]", "MySQLdb": "mysqlclient"}
TIMEOUT_S = 15
DRIVERS_WITH_TIMEOUT = ("psycopg", "psycopg2", "pymysql", "mysqldb")  # connect_timeout in seconds
SECRET = re.compile(r"pass|pwd|secret|token|key|credential", re.IGNORECASE)
MAX_TABLES = 20  # names in one error


def read(config: DatasetConfig) -> pa.Table:
    """Read all rows of ``dataset.query`` or ``dataset.table`` as text cells.

    A table is read in the order of ``dataset.id``: without an order a database may return the
    same rows differently each time, and with them come other folds and another fingerprint.

    Raises
    ------
    ConfigError
        SQLAlchemy or the driver is not installed, or the address is wrong.
    DataError
        The database cannot be reached, the table does not exist or the query is wrong.
    """
    with query_result(config) as result:
        names, rows = list(result.keys()), result.fetchall()
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return text_table(names, columns, config.decimal)


def header(config: DatasetConfig) -> list[str]:
    """Read the column names of the query or the table, without its rows."""
    # A streamed result of a server is not computed until its first row is asked for.
    with query_result(config, stream_results=True) as result:
        return [str(name).strip() for name in list(result.keys())]


@contextmanager
def query_result(config: DatasetConfig, **options: Any) -> Iterator[Any]:
    """Yield the result of the query; every error on the way is one line without password."""
    sqlalchemy = _sqlalchemy()
    if config.query is not None:
        _refuse_writing(config.query)
    url = _parsed(_with_environment(config.url or ""))
    address = url.set(query={}).render_as_string(hide_password=True)
    _refuse_missing_file(url)
    engine = _engine(url)
    try:
        # Three locks, since a database may be dear: the statement must read, the connection is
        # read-only where the database knows how, and nothing is committed.
        with _connected(engine, address) as connection:
            if url.get_backend_name() == "sqlite":
                connection.exec_driver_sql("pragma query_only = on")
            statement = _statement(connection, config, address)
            # Without parameters, a % of a query is a % and no placeholder of the driver.
            connection = connection.execution_options(no_parameters=True, **options)
            with closing(connection.exec_driver_sql(statement)) as result:
                if not result.returns_rows:
                    raise DataError("dataset.query returns no rows; it must be a SELECT")
                yield result
    except sqlalchemy.exc.SQLAlchemyError as error:
        what = "dataset.query" if config.query else f"table {config.table!r}"
        raise DataError(f"{what} cannot be read from {address}: {_cause(error, url)}") from None
    finally:
        engine.dispose()


def _sqlalchemy() -> Any:
    try:
        import sqlalchemy
    except ModuleNotFoundError as error:
        raise ConfigError(
            "dataset.reader=sql needs SQLAlchemy, which is not installed; "
            "say pip install 'segexp[sql]'"
        ) from error
    return sqlalchemy


def recorded_address(address: str) -> str:
    """Return an address as a run may record it: secrets starred out, ``$NAME`` kept.

    Secrets are the password and every query argument that is named like one.
    """
    url = _parsed(address)
    secrets = {"": url.password} if url.password else {}
    secrets |= {
        k: str(v) for k, v in url.query.items() if SECRET.search(k) or SECRET.search(str(v))
    }
    literal = {k for k, v in secrets.items() if not re.fullmatch(r"\$\w+|\$\{\w+\}", v)}
    if not literal:
        return address
    query = {key: "***" if key in literal else value for key, value in url.query.items()}
    if "" in literal:
        url = url.set(password="***")
    text = str(url.set(query=query).render_as_string(hide_password=False))
    return text.replace("%2A%2A%2A", "***")


def _with_environment(address: str) -> str:
    """Put environment variables into an address: a run records ``$NAME``, not its value."""
    expanded = os.path.expandvars(address)
    if unset := re.search(r"\$\{?(\w+)", expanded):
        raise ConfigError(f"dataset.url names ${unset[1]}, which is not set in the environment")
    return expanded


def _parsed(address: str) -> Any:
    try:
        return _sqlalchemy().make_url(address)
    except (_sqlalchemy().exc.ArgumentError, ValueError):  # the latter for a port that is none
        # The address is not shown: what cannot be parsed may hold a password anywhere.
        raise ConfigError(f"dataset.url is not a SQLAlchemy address such as {EXAMPLES}") from None


def _refuse_missing_file(url: Any) -> None:
    """SQLite would create the file and then miss the table."""
    database = url.database or ""
    if url.get_backend_name() != "sqlite" or database in ("", ":memory:"):
        return
    if not database.startswith("file:") and not Path(database).is_file():
        raise DataError(f"dataset.url: there is no file {database}")


def _refuse_writing(query: str) -> None:
    without_comments = re.sub(r"--[^\n]*|/\*.*?\*/", " ", query, flags=re.DOTALL).lstrip("( \t\n")
    if not re.match(r"(select|with|values|table|from)\b", without_comments, re.IGNORECASE):
        raise DataError(f"dataset.query must be a SELECT, got {query!r:.60}")


def _engine(url: Any) -> Any:
    sqlalchemy = _sqlalchemy()
    try:
        driver = url.get_driver_name()
        limited = driver in DRIVERS_WITH_TIMEOUT and "connect_timeout" not in url.query
        options = {"connect_timeout": TIMEOUT_S} if limited else {}
        engine = sqlalchemy.create_engine(url, connect_args=options)
        if url.get_backend_name() == "postgresql":
            engine = engine.execution_options(postgresql_readonly=True)
        return engine
    except sqlalchemy.exc.NoSuchModuleError:
        known = [
            "postgresql",
            "postgresql+psycopg",
            "mysql",
            "mariadb",
            "sqlite",
            "mssql",
            "oracle",
        ]
        raise ConfigError(
            f"dataset.url: SQLAlchemy knows no database {url.drivername!r}"
            f"{did_you_mean(url.drivername, known) or '; its driver may need to be installed'}"
        ) from None
    except ModuleNotFoundError as error:
        package = PACKAGES.get(error.name or "", error.name)
        raise ConfigError(
            f"dataset.url: the driver of {url.drivername} is not installed; "
            f"say pip install '{package}', or name another driver in the address"
        ) from error


def _connected(engine: Any, address: str) -> Any:
    try:
        return engine.connect()
    except _sqlalchemy().exc.DBAPIError as error:
        cause = _cause(error, engine.url)
        raise DataError(f"dataset.url: {address} cannot be reached: {cause}") from None


def _statement(connection: Any, config: DatasetConfig, address: str) -> str:
    """Return the query, or the one that reads all of the table."""
    if config.query is not None:
        return config.query
    sqlalchemy = _sqlalchemy()
    inspector = sqlalchemy.inspect(connection)
    schema, _, name = str(config.table).rpartition(".")
    if inspector.has_table(str(config.table)):
        schema, name = "", str(config.table)
    elif not (schema and inspector.has_table(name, schema=schema)):
        there = [*inspector.get_table_names(), *inspector.get_view_names()]
        listed = ", ".join(there[:MAX_TABLES]) or "none"
        raise DataError(
            f"dataset.table: there is no table {config.table!r} in {address}"
            f"{did_you_mean(str(config.table), there) or ';'} the tables are {listed}"
        )
    table = sqlalchemy.table(name, schema=schema or None)
    statement = sqlalchemy.select(sqlalchemy.text("*")).select_from(table)
    columns = inspector.get_columns(name, schema=schema or None)
    if config.id in (column["name"] for column in columns):
        statement = statement.order_by(sqlalchemy.column(config.id))
    return str(statement.compile(connection))


def _cause(error: Any, url: Any) -> str:
    """Return the first line of what the driver says, without passwords."""
    text = str(getattr(error, "orig", None) or error).strip()
    line = text.splitlines()[0] if text else type(error).__name__
    secrets = [url.password, *(value for value in url.query.values() if len(value) > 3)]
    for secret in filter(None, secrets):
        line = line.replace(str(secret), "***")
    return line
