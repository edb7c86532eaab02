"""A built dataset in the formats other programs read: one file per format, :mod:`builders.export.formats` lists them."""
