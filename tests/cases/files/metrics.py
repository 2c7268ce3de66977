"""Metrics of a project's own, as the specs of the cases name them; never imported there."""
