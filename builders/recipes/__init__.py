"""The recipes that ship with the project, as YAML files."""
