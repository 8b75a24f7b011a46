"""The only importers of other frameworks."""
