"""The PostgreSQL server of the fixture, used as segexp uses one."""

from __future__ import annotations

import pandas as pd
import sqlalchemy


def test_a_table_written_to_postgresql_reads_back_the_same(postgresql: str) -> None:
    customers = pd.DataFrame({"customer": ["Ana", "Zoë"], "age": [31, 58], "spend": [0.5, None]})
    engine = sqlalchemy.create_engine(postgresql)
    try:
        customers.to_sql("customers", engine, index=False)
        again = pd.read_sql("select * from customers order by age", engine)
    finally:
        engine.dispose()
    pd.testing.assert_frame_equal(again, customers)
