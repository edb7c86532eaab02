"""Leaderboard: submissions are checked, scored and ranked."""
