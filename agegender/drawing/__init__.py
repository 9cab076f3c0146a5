"""The painter of drawn faces: labels to causes (`person`), causes to pixels (`portrait`), and which pixels are which.

It knows no folders and no file names; `agegender.data.sources.drawn_faces` calls it and writes what it paints.
"""
