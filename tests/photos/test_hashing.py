"""The perceptual hash is ImageHash's, bit for bit, for every kind of picture; foreign files never stop the run."""

import hashlib
import os
import random
from io import BytesIO
from pathlib import Path

import imagehash
import numpy as np
import pytest
from bad_photos import UNREADABLE, write_bad_photos
from PIL import Image, ImageDraw, ImageFilter

from agegender.photos import hashing
from agegender.photos.hashing import Fingerprint, fingerprint_files, hash_numbers, hash_text, perceptual_hashes, shrink


def drawing(width=200, height=200, seed=1):
    """A portrait-like scene: soft noise, an oval, two dots, so that its frequencies look like a photo's."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(4))
    draw = ImageDraw.Draw(image)
    left = width * (0.2 + 0.05 * (seed % 5))
    draw.ellipse((left, height * 0.15, left + width * 0.5, height * 0.9), fill=(180 + seed % 60, 140, 120))
    draw.rectangle((left + width * 0.1, height * 0.4, left + width * 0.15, height * 0.45), fill="black")
    return image


def imagehash_of(content):
    with Image.open(BytesIO(content)) as image:
        return str(imagehash.phash(image))


def encoded(image, kind, **options):
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def fingerprints_of(folder: Path, contents):
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"{number:03}")
        paths[-1].write_bytes(content)
    return list(fingerprint_files(paths, workers=2))


def rotated_by_exif(image):
    facts = image.getexif()
    facts[274] = 6
    return encoded(image, "JPEG", exif=facts)


def many_kinds():
    portrait = drawing()
    jpegs = [
        encoded(portrait, "JPEG", quality=quality, subsampling=sampling, progressive=progressive)
        for quality in (20, 75, 95)
        for sampling in (0, 1, 2)
        for progressive in (False, True)
    ]
    sizes = [(31, 57), (32, 32), (64, 32), (1, 1), (1, 300), (200, 199), (333, 250), (17, 900), (1201, 801)]
    shapes = [encoded(drawing(*size, seed=number), "JPEG") for number, size in enumerate(sizes)]
    modes = [
        encoded(portrait.convert("L"), "JPEG"),
        encoded(portrait.convert("CMYK"), "JPEG"),
        rotated_by_exif(portrait),
        encoded(portrait, "JPEG") + b"bytes after the end",
        encoded(portrait, "PNG"),
        encoded(portrait.convert("L"), "PNG"),
        encoded(portrait.convert("P"), "PNG"),
        encoded(portrait.quantize(32), "PNG", transparency=3),
        encoded(portrait.convert("1"), "PNG"),
        encoded(portrait.convert("LA"), "PNG"),
        encoded(Image.merge("RGBA", [*portrait.split(), portrait.convert("L")]), "PNG"),
        encoded(Image.fromarray(np.asarray(portrait.convert("L")).astype(np.uint16) * 257), "PNG"),
        encoded(portrait, "GIF", save_all=True, append_images=[drawing(seed=2)]),
        encoded(portrait, "WEBP"),
        encoded(portrait, "BMP"),
        encoded(portrait, "TIFF"),
    ]
    return jpegs + shapes + modes


def test_hashes_equal_imagehash_for_every_kind_of_file(tmp_path):
    contents = many_kinds()
    found = fingerprints_of(tmp_path, contents)
    assert [fingerprint.phash for fingerprint in found] == [imagehash_of(content) for content in contents]
    assert found == fingerprints_of(tmp_path, contents)
    assert [fingerprint.file_sha512 for fingerprint in found] == [
        hashlib.sha512(content).hexdigest() for content in contents
    ]


def test_hashes_equal_imagehash_for_flat_and_symmetric_pictures(tmp_path):
    """Here the median ties but for rounding, so that any other order of additions shows."""
    half = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    pictures = [Image.new("RGB", (50, 70), (grey, grey, 255 - grey)) for grey in range(0, 256, 15)]
    pictures.append(Image.fromarray(np.concatenate([half, half[:, ::-1]], axis=1)))
    pictures.append(Image.fromarray(np.concatenate([half, half[::-1]], axis=0)))
    pictures.append(Image.linear_gradient("L").convert("RGB"))
    pictures.append(Image.radial_gradient("L").convert("RGB"))
    contents = [encoded(picture, kind) for picture in pictures for kind in ("PNG", "JPEG")]
    found = [fingerprint.phash for fingerprint in fingerprints_of(tmp_path, contents)]
    assert found == [imagehash_of(content) for content in contents]


def test_the_thumbnail_equals_pillows_in_every_pixel():
    sizes = [(200, 200), (97, 213), (213, 97), (20, 40), (640, 480), (2100, 33), (33, 2100), (32, 90), (1, 5), (700, 1)]
    for seed, size in enumerate(2 * sizes):  # a size that has been met goes another way
        image = drawing(*size, seed=seed)
        expected = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS))
        assert np.array_equal(shrink(np.asarray(image)), expected)


def test_hashes_of_random_thumbnails_equal_imagehash():
    thumbnails = np.random.default_rng(4).integers(0, 256, (500, 32, 32), dtype=np.uint8)
    thumbnails[:100] //= 64  # few levels, so that frequencies come close to each other
    reference = [str(imagehash.phash(Image.fromarray(one))) for one in thumbnails]
    assert [hash_text(phash) for phash in perceptual_hashes(thumbnails).tolist()] == reference


def test_a_hash_survives_its_text():
    assert hash_numbers([hash_text(2**64 - 1), hash_text(5)]).tolist() == [2**64 - 1, 5]


def test_an_unreadable_file_has_a_digest_and_no_hash(tmp_path):
    whole = encoded(drawing(), "JPEG")
    contents = [b"", whole[: len(whole) // 2], b"these are words, not a photo", encoded(drawing(), "PNG")[:-40]]
    assert fingerprints_of(tmp_path, contents) == [
        Fingerprint(hashlib.sha512(content).hexdigest(), None) for content in contents
    ]


def test_exactly_the_photos_that_cannot_be_read_have_no_hash(tmp_path, capfd):
    """Otherwise cleaning would keep what training cannot open, or lose what it can."""
    photos = write_bad_photos(tmp_path / "bad")
    found = dict(zip(photos, fingerprint_files(list(photos.values())), strict=True))
    assert {kind for kind, fingerprint in found.items() if fingerprint.phash is None} == set(UNREADABLE)
    for kind in set(photos) - set(UNREADABLE):
        assert found[kind].phash == imagehash_of(photos[kind].read_bytes()), kind
    assert capfd.readouterr().err == ""


def test_damaged_bytes_never_stop_the_run(tmp_path):
    chance = random.Random(6)
    contents = []
    for content in (encoded(drawing(60, 60), kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")):
        for _ in range(25):
            damaged = bytearray(content)
            for _ in range(chance.randint(1, 12)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            contents.append(bytes(damaged))
    found = fingerprints_of(tmp_path, contents)
    assert all(fingerprint.file_sha512 for fingerprint in found)


def test_a_decompression_bomb_is_not_unpacked(tmp_path):
    bomb = encoded(Image.new("1", (9000, 9000)), "PNG")
    assert fingerprints_of(tmp_path, [bomb])[0].phash is None


def test_folders_pipes_and_broken_links_are_passed_by(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    paths = [tmp_path / name for name in ("pipe.jpg", "folder.jpg", "loop.jpg", "missing.jpg")]
    assert list(fingerprint_files(paths)) == [Fingerprint(None, None)] * 4


def test_a_file_too_large_for_a_photo_is_digested_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(hashing, "LARGEST_FILE_BYTES", 100)
    content = encoded(drawing(), "JPEG")
    assert fingerprints_of(tmp_path, [content]) == [Fingerprint(hashlib.sha512(content).hexdigest(), None)]


def test_copies_of_a_file_are_decoded_once(tmp_path, monkeypatch):
    decoded = []
    original = hashing.grey_thumbnail
    monkeypatch.setattr(hashing, "grey_thumbnail", lambda content: decoded.append(content) or original(content))
    contents = [encoded(drawing(seed=number), "JPEG") for number in (1, 2)]
    found = fingerprints_of(tmp_path, contents * 10)
    assert [fingerprint.phash for fingerprint in found] == [imagehash_of(content) for content in contents] * 10
    assert len(decoded) == 2


def test_order_is_kept_over_many_files(tmp_path):
    contents = [encoded(drawing(40, 40, seed=number % 7), "JPEG") for number in range(7)] * 30
    found = [fingerprint.phash for fingerprint in fingerprints_of(tmp_path, contents)]
    assert found == [imagehash_of(content) for content in contents[:7]] * 30


@pytest.mark.skipif("AGEGENDER_UTKFACE" not in os.environ, reason="AGEGENDER_UTKFACE names no folder of real faces")
def test_hashes_equal_imagehash_on_real_faces():
    photos = sorted(Path(os.environ["AGEGENDER_UTKFACE"]).glob("*.jpg"))[::20]
    found = [fingerprint.phash for fingerprint in fingerprint_files(photos)]
    assert found == [imagehash_of(photo.read_bytes()) for photo in photos]
