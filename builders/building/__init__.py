"""All panoramas of a dataset: shards, whoever works on them, the join, and its verification and repair."""
