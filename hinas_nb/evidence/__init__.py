"""Evidence is what the Runs say: statistics, the paper's tables, effects, verdicts, and what single notebooks need."""
