"""Baselines: methods that predict where a person in a panorama looks."""
