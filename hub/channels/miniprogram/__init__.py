"""Mini programs: subscribe messages, each with a grant of the person's."""
