"""What a dataset looks like: its card, the figure of its conditions, contact sheets."""
