"""What is in it: the only code that opens a data file or runs a model."""
