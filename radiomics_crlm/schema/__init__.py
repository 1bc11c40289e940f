"""Table schemas: what each column is, in which unit and range, and when it is known.

The schemas are the files ``data_schemas/*.yaml`` (``specs``). Tables are checked at the door and on every write and
read (``tables``, ``cells``); inside, code trusts them. The order of ``AVAILABILITY`` and ``refuse_later`` are the leak
guard (``leaks``): one mechanism for clinical columns, scans, derived features and rules.
"""

from radiomics_crlm.schema.cells import MISSING_CODES
from radiomics_crlm.schema.leaks import Refusal, is_later, later_than, refuse_later
from radiomics_crlm.schema.specs import AVAILABILITY, ColumnSpec, TableSchema, load_schema
from radiomics_crlm.schema.tables import ParsedTable, Problem, check_table, parse_table

__all__ = [
    "AVAILABILITY",
    "MISSING_CODES",
    "ColumnSpec",
    "ParsedTable",
    "Problem",
    "Refusal",
    "TableSchema",
    "check_table",
    "is_later",
    "later_than",
    "load_schema",
    "parse_table",
    "refuse_later",
]
