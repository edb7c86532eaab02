"""Agreement: how far annotators are apart, on the sphere and in the photo, and what that says of a consensus."""
