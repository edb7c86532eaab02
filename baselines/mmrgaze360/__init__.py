"""MMRGaze360, reconstructed from its abstract: one module for each part that the abstract names."""
