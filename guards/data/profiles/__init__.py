"""What a dataset looked like: the parts that :mod:`guards.data.profile` puts together."""
