"""Which parts of a face a prediction rests on, and how far that can be trusted."""

# Here, and not beside what they name, because commands list them without loading anything heavy.
SEGMENTS = ("slic", "quickshift", "face-grid")
FILLS = ("mean", "blur", "inpaint")
EXPLANATIONS_FOLDER = "explanations"  # below a model's reports
