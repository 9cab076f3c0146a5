"""One file per dataset layout: a folder in, a faces table out."""
