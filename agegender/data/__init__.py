"""From a faces table to batches: cleaning, splitting, sampling, DataBlock."""
