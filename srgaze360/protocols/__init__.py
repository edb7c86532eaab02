"""Metric protocols: one module each, versioned, never mixed in one column."""
