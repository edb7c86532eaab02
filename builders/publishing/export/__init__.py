"""A built dataset in the formats other programs read: one file per format, listed in ``formats``."""
