"""The painter of drawn faces: labels become signs (`person`), signs become pixels (`painting`), of known `causes`.

It knows no folders and no file names; `agegender.data.sources.drawn_faces` calls it and writes what it paints.
"""
