"""The report's figures: facts in, a matplotlib figure out."""
