"""Measurements. A regular package, because a wheel (pysbd) installs a top-level package of the same name."""
