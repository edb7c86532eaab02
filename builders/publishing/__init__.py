"""A dataset for others: metadata, citation, exports, and where two datasets differ."""
