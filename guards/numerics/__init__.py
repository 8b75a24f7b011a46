"""Arrays in, arrays out: no project type, no file; every function has a reference test."""
