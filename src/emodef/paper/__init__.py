"""The paper repeated: its tables and figures built from a folder of runs, beside what it printed. Imports published; its modules the rest.

results      finished runs below a folder
study        runs with equal settings but the seed, and which recipe they follow
statistics   means over seeds, intervals and paired tests over texts
table1 … 5, controls, tables   what is printed
"""

from emodef.published import PaperTable, source, table

__all__ = ["PaperTable", "source", "table"]
