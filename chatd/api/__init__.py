"""The REST API: one module per resource; parse, one action or selector, render."""
