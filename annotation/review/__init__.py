"""Labels reviewed in the browser: a server on this machine, a store of decisions beside the dataset, a new version of it."""
