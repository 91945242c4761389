"""The paper's tables, measured: one program a table, at the scale that a machine allows."""
