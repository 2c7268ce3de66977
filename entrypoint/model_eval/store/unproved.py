"""Why something stored is not used, or not stored: a reason for a line of the log, never an error."""


class UnprovedError(Exception):
    """It cannot be proved that a measurement would come out the same; says why, as a clause."""
