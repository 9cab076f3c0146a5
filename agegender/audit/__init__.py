"""Arrays in, numbers out: age, gender, groups, intervals. No torch, no fastai, no PIL."""
