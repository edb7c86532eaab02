"""Annotation: labels on the sphere that are checked, agreed on, and ranked by how likely they are wrong."""
