"""Labels out of a dataset in the formats of other tools, and back into a new version of it."""
