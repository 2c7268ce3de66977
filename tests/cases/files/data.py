"""A loader and a transform, as the specs of the cases name them; never imported there."""
