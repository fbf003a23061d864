"""The metrics of the recipes' fields, each in a module of its own."""
