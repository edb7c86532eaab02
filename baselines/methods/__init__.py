"""The learnt methods, one file each: the network, its sizes, its source, and what was changed for the sphere."""
