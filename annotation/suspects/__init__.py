"""Suspects: labels ranked by how likely they are wrong, from what models predict, how far annotators are apart, and lint.

``opinions`` reads predictions and says whose labels a model has seen; ``quality`` holds the formulas; ``run`` puts them
together for a dataset; ``report`` and ``figures`` show them.
"""
