"""Lint: rules that every dataset's labels must keep, each a small function that names the rows that break it.

``registry`` says what a rule is and holds them all; ``labels`` are the arrays they look at; the rules stand in modules by what
they are about; ``run`` runs them. Metadata alone is read, unless pixels are asked for.
"""
