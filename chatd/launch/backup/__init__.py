"""Backups of the database in one file, of either database, and what makes a database of them."""
