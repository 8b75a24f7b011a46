"""The adversary: what attacks do to a dataset, and whether they took hold in a model."""
