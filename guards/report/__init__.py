"""One verdict, several readers."""
