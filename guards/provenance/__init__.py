"""Where it came from: bytes, claims, trust and history; needs no torch and no polars."""
