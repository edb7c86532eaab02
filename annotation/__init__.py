"""Annotation: validating labels on the sphere. Its first tools are still to come; see CHANGELOG.md."""
