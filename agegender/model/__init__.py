"""Network, losses, training, and the model folder; the one room beside explanation that knows torch and fastai."""

import warnings

# fastai 2.8 scripts its layers while it is imported, which torch deprecates: nothing that a user could mend.
warnings.filterwarnings("ignore", message="`torch.jit.script`", category=FutureWarning)
warnings.filterwarnings("ignore", message="`torch.jit.script`", category=DeprecationWarning)
