"""The Dagster project of this repository: to run as it is on the samples, or to copy."""
