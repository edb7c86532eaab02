"""Builders: source photos with gaze labels become panoramas with gaze labels."""
