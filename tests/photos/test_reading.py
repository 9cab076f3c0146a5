"""Planted photos: every bad kind is an error with its reason, every odd kind is the picture that it shows."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from bad_photos import UNREADABLE, encoded, expected_photo, write_bad_photos
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from agegender.errors import FolderError, PhotoError
from agegender.photos.finding import list_photos, named_photos
from agegender.photos.reading import as_photo, decode_photo, read_bytes, read_photo, to_photo

HOLED = {"palette_alpha", "rgba", "grey_alpha", "rgba_webp"}
LOSSY = {"jpeg", "progressive", "markup_name", "cmyk", "grey", "exif_rotated"}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_bad_photos(tmp_path_factory.mktemp("planted"))


def shown(kind: str) -> np.ndarray:
    """Return the picture that a kind should read as."""
    photo = expected_photo()
    if "grey" in kind:
        photo = np.array(Image.fromarray(photo).convert("L").convert("RGB"))
    if kind in HOLED:
        photo[24:, 32:] = 255
    return photo


def test_every_odd_kind_reads_as_the_picture_it_shows(planted):
    for kind, path in planted.items():
        if kind in UNREADABLE:
            continue
        photo = read_photo(path)
        assert photo.dtype == np.uint8, kind
        assert photo.shape == (48, 64, 3), kind
        difference = np.abs(photo.astype(int) - shown(kind))
        # Chroma is stored at half the size in a JPEG: colours run into each other along the quarters' edges.
        away_from_edges = np.delete(np.delete(difference, slice(22, 26), 0), slice(30, 34), 1)
        assert away_from_edges.max() <= (8 if kind in LOSSY else 3), kind


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("truncated", "truncated"),
        ("truncated_png", "truncated"),
        ("truncated_with_thumbnail", "truncated"),
        ("zero_byte", "zero bytes"),
        ("text", "not an image"),
        ("markup_text", "not an image"),
        ("bomb_png", "bomb"),
        ("bomb_jpeg", "bomb"),
        ("bomb_gif", "bomb"),
    ],
)
def test_every_bad_kind_is_an_error_with_its_name_and_reason(planted, kind, reason):
    with pytest.raises(PhotoError, match=reason) as error:
        read_photo(planted[kind])
    assert str(error.value).startswith(f"{planted[kind].name}: ")
    assert len(str(error.value).splitlines()) == 1


def test_reading_bad_photos_says_nothing_on_stderr(planted, capfd):
    for path in planted.values():
        with contextlib.suppress(PhotoError):
            read_photo(path)
    assert capfd.readouterr().err == ""


def test_missing_file_and_folder_and_pipe_are_photo_errors(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, reason in [
        ("none.jpg", "no such file"),
        ("", "not an ordinary file"),
        ("pipe.jpg", "not an ordinary file"),
    ]:
        with pytest.raises(PhotoError, match=reason):
            read_bytes(tmp_path / name)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_gives_a_photo_or_a_photo_error_and_nothing_else(data):
    kind, options = data.draw(
        st.sampled_from([("JPEG", {}), ("PNG", {}), ("GIF", {}), ("WEBP", {}), ("TIFF", {}), ("BMP", {})])
    )
    content = bytearray(encoded(Image.fromarray(expected_photo()), kind, **options))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    with contextlib.suppress(PhotoError):
        photo = decode_photo(bytes(content), "damaged")
        assert photo.dtype == np.uint8
        assert photo.ndim == 3
        assert photo.shape[2] == 3


def test_huge_jpeg_is_reduced_but_never_below_the_size_asked_for(tmp_path):
    Image.fromarray(np.zeros((900, 1300, 3), np.uint8)).save(tmp_path / "huge.jpg")
    sides = {
        asked: min(read_photo(tmp_path / "huge.jpg", smallest_side=asked).shape[:2]) for asked in (100, 224, 400, 600)
    }
    assert sides == {100: 113, 224: 225, 400: 450, 600: 900}


def test_reduced_jpeg_is_turned_upright_like_a_whole_one(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.zeros((400, 600, 3), np.uint8)
    stored[:, :300] = 255  # the left half as stored is the upper half as shown
    Image.fromarray(stored).save(tmp_path / "turned.jpg", exif=exif)
    photo = read_photo(tmp_path / "turned.jpg", smallest_side=200)
    assert photo.shape == (300, 200, 3)
    assert (photo[:140].min(), photo[160:].max()) == (255, 0)


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01", b"Exif\0\0"])
def test_damaged_exif_does_not_cost_the_photo(mode, exif):
    data = encoded(Image.fromarray(expected_photo()).convert(mode), "JPEG", exif=exif, quality=95)
    assert decode_photo(data, "photo").shape == (48, 64, 3)


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 90}), ("JPEG", {"subsampling": 0}), ("PNG", {})])
def test_ordinary_photos_read_as_pillow_reads_them(kind, options):
    down, across = np.mgrid[0:120, 0:90]
    waves = [np.sin(across / 9) * 100 + 128, np.cos(down / 7) * 100 + 128, (across * down) % 200]
    data = encoded(Image.fromarray(np.stack(waves, axis=2).astype(np.uint8)), kind, **options)
    theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(decode_photo(data, "photo") - theirs).max() <= 2


@pytest.mark.skipif("AGEGENDER_UTKFACE" not in os.environ, reason="AGEGENDER_UTKFACE names no folder")
def test_real_photos_read_as_pillow_reads_them():
    for path in named_photos([os.environ["AGEGENDER_UTKFACE"]])[::500]:
        theirs = to_photo(Image.open(path)).astype(int)
        assert np.abs(read_photo(path) - theirs).max() <= 2, path.name


def test_pillow_image_of_any_mode_becomes_a_photo():
    image = Image.fromarray(expected_photo())
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I"):
        assert to_photo(image.convert("RGB").convert("L" if mode in {"I", "LA"} else "RGB").convert(mode)).shape == (
            48,
            64,
            3,
        )


def test_photos_are_found_sorted_without_hidden_files_and_escaping_links(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / "b").mkdir(parents=True)
    elsewhere.mkdir()
    for path in (root / "a.JPG", root / "b" / "c.png", root / "._a.jpg", root / "notes.txt", elsewhere / "secret.jpg"):
        path.write_bytes(b"x")
    (root / "b" / "loop").symlink_to(root, target_is_directory=True)
    (root / "out").symlink_to(elsewhere, target_is_directory=True)
    (root / "secret.jpg").symlink_to(elsewhere / "secret.jpg")
    (root / "again.jpg").symlink_to(root / "a.JPG")
    (root / "gone.jpg").symlink_to(root / "nowhere.jpg")
    assert [(file.path, file.dropped_because) for file in list_photos(root)] == [
        ("a.JPG", None),
        ("again.jpg", None),
        ("b/c.png", None),
        ("gone.jpg", "escapes the folder"),
        ("out", "escapes the folder"),
        ("secret.jpg", "escapes the folder"),
    ]
    assert named_photos([root]) == [root / "a.JPG", root / "again.jpg", root / "b" / "c.png"]


@pytest.mark.parametrize(("brand", "kind"), [(b"heic", "HEIC"), (b"mif1", "HEIC"), (b"avif", "AVIF")])
def test_photos_of_telephones_are_found_and_named_instead_of_passed_over(tmp_path, brand, kind):
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(40))
    (photo,) = named_photos([tmp_path])
    with pytest.raises(PhotoError, match=rf"IMG_1\.HEIC: {kind}, a kind that is not read here: save it as JPEG"):
        read_photo(photo)


def test_maps_beside_drawn_faces_are_passed_over_and_other_folders_of_that_name_are_not(tmp_path):
    for folder in ("drawn/causes", "mine/causes/deep"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.png").write_bytes(b"x")
    for file in ("drawn/1.jpg", "drawn/drawing.json", "mine/1.jpg"):
        (tmp_path / file).write_bytes(b"x")
    assert [file.path for file in list_photos(tmp_path)] == ["drawn/1.jpg", "mine/1.jpg", "mine/causes/deep/1.png"]
    assert named_photos([tmp_path / "drawn"]) == [tmp_path / "drawn" / "1.jpg"]
    assert named_photos([tmp_path / "drawn" / "causes"]) == [tmp_path / "drawn" / "causes" / "1.png"]


def test_a_folder_whose_name_is_no_text_does_not_end_the_search(tmp_path):
    odd = os.fsencode(tmp_path) + b"/\xff"
    Path(os.fsdecode(odd)).mkdir()
    for path in (odd + b"/hidden.jpg", os.fsencode(tmp_path / "seen.jpg")):
        Path(os.fsdecode(path)).write_bytes(b"x")
    assert named_photos([tmp_path]) == [tmp_path / "seen.jpg"]
    assert [file.dropped_because for file in list_photos(tmp_path)] == ["malformed name", None]


def test_missing_folder_and_file_in_its_place_are_folder_errors(tmp_path):
    (tmp_path / "file").write_text("x")
    for name, reason in [("none", "no folder"), ("file", "is a file")]:
        with pytest.raises(FolderError, match=reason):
            list_photos(tmp_path / name)


def test_what_holds_a_photo_becomes_one_and_nothing_else_does(tmp_path: Path) -> None:
    pixels = np.full((8, 6, 3), 77, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    for item in (path, str(path), path.read_bytes(), pixels, pixels[:, ::-1], Image.fromarray(pixels)):
        assert np.array_equal(as_photo(item), pixels)
    for item in (3, pixels[0], pixels.astype(float), Image.new("F", (4, 4)), b"", tmp_path / "absent.png"):
        with pytest.raises(PhotoError):
            as_photo(item)
