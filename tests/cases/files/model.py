"""A model and its helpers, as the specs of the cases name them; never imported there."""
