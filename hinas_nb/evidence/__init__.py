"""What the Runs say: statistics, the paper's tables, effects, verdicts, and what is special to single notebooks."""
