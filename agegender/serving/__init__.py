"""HTTP over the library: photos in, rows out, with a page for people; nothing of a photo is kept."""
