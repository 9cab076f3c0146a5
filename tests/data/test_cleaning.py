"""Twins leave one photo where their labels agree; where they contradict, nobody knows, and the choice is the user's."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from agegender.data import cleaning, twins
from agegender.data.cleaning import clean
from agegender.data.faces_table import FacesTable, make_table
from agegender.data.twins import near_pairs
from agegender.errors import UsageError
from agegender.photos.hashing import hash_numbers


def picture(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    blurred = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(9))).astype(float)
    spread = (blurred - blurred.mean()) / blurred.std() * 50 + 128
    return Image.fromarray(spread.clip(0, 255).astype(np.uint8))


def save(root, name, seed, *, quality=92):
    picture(seed).save(root / name, "JPEG", quality=quality)
    return name


def row(path, age=None, gender=None, ethnicity=None, **more):
    return {"path": path, "source": "csv", "age_years": age, "gender": gender, "ethnicity": ethnicity, **more}


def faces_of(root, *rows):
    return FacesTable(make_table(list(rows)), root)


def reasons(faces):
    return dict(zip(faces.table["path"], faces.table["dropped_because"], strict=True))


def test_exact_twins_that_agree_leave_the_first_photo(tmp_path):
    for name in ("c.jpg", "a.jpg", "b.jpg"):
        save(tmp_path, name, 1)
    save(tmp_path, "other.jpg", 2)
    cleaned, counts = clean(
        faces_of(tmp_path, *(row(name, 30, "male") for name in ("c.jpg", "a.jpg", "b.jpg", "other.jpg")))
    )
    assert reasons(cleaned) == {
        "c.jpg": "exact duplicate",
        "a.jpg": None,
        "b.jpg": "exact duplicate",
        "other.jpg": None,
    }
    assert (counts.files, counts.exact_duplicates, counts.exact_conflicts, counts.kept) == (4, 2, 0, 2)
    assert counts.near_duplicate_pairs == counts.near_duplicates == 0


def test_of_agreeing_twins_the_one_with_most_labels_stays(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        save(tmp_path, name, 1)
    cleaned, counts = clean(faces_of(tmp_path, row("a.jpg", 30), row("b.jpg", 30, "female")))
    assert reasons(cleaned) == {"a.jpg": "exact duplicate", "b.jpg": None}
    assert counts.conflicts == ()


def contradicting(root):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        save(root, name, 1)
    labels = [("a.jpg", 30, "male"), ("b.jpg", 34, "female"), ("c.jpg", 31, "female")]
    return faces_of(root, *(row(*label, ethnicity="asian") for label in labels))


def test_contradicting_twins_all_go_by_default_and_are_listed(tmp_path):
    cleaned, counts = clean(contradicting(tmp_path))
    assert set(reasons(cleaned).values()) == {"conflicting labels"}
    assert counts.exact_conflicts == 1
    assert counts.kept == 0
    assert counts.conflicts[0]["kind"] == "exact"
    assert counts.to_dict()["conflicts"][0]["photos"][1] == {
        "path": "b.jpg",
        "age_years": 34.0,
        "gender": "female",
        "ethnicity": "asian",
    }


def test_keep_first_leaves_the_first_as_it_is(tmp_path):
    cleaned, counts = clean(contradicting(tmp_path), on_conflict="keep-first")
    assert reasons(cleaned) == {"a.jpg": None, "b.jpg": "exact duplicate", "c.jpg": "exact duplicate"}
    assert cleaned.kept()[["age_years", "gender"]].to_numpy().tolist() == [[30.0, "male"]]
    assert counts.exact_conflicts == 1


def test_median_gives_the_survivor_the_middle_age_and_the_majoritys_gender(tmp_path):
    cleaned, _ = clean(contradicting(tmp_path), on_conflict="median")
    assert cleaned.kept()[["path", "age_years", "gender"]].to_numpy().tolist() == [["a.jpg", 31.0, "female"]]


def test_median_leaves_a_tie_unknown(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        save(tmp_path, name, 1)
    cleaned, _ = clean(faces_of(tmp_path, row("a.jpg", 30, "male"), row("b.jpg", 40, "female")), on_conflict="median")
    assert cleaned.kept()["age_years"].tolist() == [35.0]
    assert cleaned.kept()["gender"].isna().all()


def test_labels_of_any_name_contradict_and_are_settled_by_their_kind(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        save(tmp_path, name, 1)
    labels = [{"hat": "cap", "shoe_cm": 25.5, "stars": 1.0}, {"hat": "cap", "shoe_cm": 27.5, "stars": 4.0}]
    rows = [row(name, 30, **more) for name, more in zip(("a.jpg", "b.jpg"), labels, strict=True)]
    faces = faces_of(tmp_path, *rows, row("c.jpg", 30, hat="none", shoe_cm=26.0, stars=4.0))
    cleaned, counts = clean(faces, on_conflict="median")
    assert cleaned.kept()[["hat", "shoe_cm", "stars"]].to_numpy().tolist() == [["cap", 26.0, 4.0]]
    assert counts.conflicts[0]["photos"][0]["hat"] == "cap"


def near_twins(root, **labels):
    save(root, "a.jpg", 1)
    save(root, "b.jpg", 1, quality=60)
    save(root, "other.jpg", 2)
    return faces_of(root, row("a.jpg", 30, "male"), row("b.jpg", labels.get("age", 30), "male"), row("other.jpg", 5))


def test_near_twins_that_agree_leave_one(tmp_path):
    cleaned, counts = clean(near_twins(tmp_path))
    assert reasons(cleaned) == {"a.jpg": None, "b.jpg": "near duplicate", "other.jpg": None}
    assert (counts.near_duplicate_pairs, counts.near_duplicates, counts.exact_duplicates) == (1, 2, 0)


def test_near_twins_that_contradict_all_go(tmp_path):
    cleaned, counts = clean(near_twins(tmp_path, age=44))
    assert reasons(cleaned) == {"a.jpg": "conflicting labels", "b.jpg": "conflicting labels", "other.jpg": None}
    assert counts.exact_conflicts == 0
    assert counts.conflicts[0]["kind"] == "near"


def test_drop_all_leaves_out_every_near_twin(tmp_path):
    cleaned, counts = clean(near_twins(tmp_path), near_twins="drop-all")
    assert reasons(cleaned) == {"a.jpg": "near duplicate", "b.jpg": "near duplicate", "other.jpg": None}
    assert counts.kept == 1


def test_near_twins_can_be_left_alone(tmp_path):
    cleaned, counts = clean(near_twins(tmp_path), near_duplicates=None)
    assert counts.kept == 3
    assert counts.near_duplicates == 0
    assert cleaned.table["twin_cluster"].isna().all()


def test_a_near_hash_that_a_second_look_refutes_shares_a_cluster_but_stays(tmp_path, monkeypatch):
    """Like two people in the same pose: suspicious enough for one side of a split, no reason to lose either."""
    faces = near_twins(tmp_path, age=44)
    monkeypatch.setattr(twins, "SAME_PHOTO_CORRELATION", 1.1)
    cleaned, counts = clean(faces)
    assert counts.kept == 3
    assert counts.near_duplicates == 2
    clusters = dict(zip(cleaned.table["path"], cleaned.table["twin_cluster"], strict=True))
    assert clusters["a.jpg"] == clusters["b.jpg"] is not None
    assert clusters["other.jpg"] is None


def test_copies_of_one_file_are_not_counted_as_near_twins_too(tmp_path):
    faces = near_twins(tmp_path)
    save(tmp_path, "copy.jpg", 1)
    faces = FacesTable(make_table([*faces.table.to_dict("records"), row("copy.jpg", 30, "male")]), tmp_path)
    cleaned, counts = clean(faces)
    assert reasons(cleaned)["copy.jpg"] == "exact duplicate"
    assert (counts.near_duplicate_pairs, counts.near_duplicates, counts.exact_duplicates) == (1, 2, 1)
    assert cleaned.table["twin_cluster"].nunique() == 1


def test_unreadable_photos_are_nobodys_duplicates(tmp_path):
    for name in ("empty1.jpg", "empty2.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "words.jpg").write_text("these are words")
    save(tmp_path, "good.jpg", 1)
    names = ("empty1.jpg", "empty2.jpg", "words.jpg", "missing.jpg", "good.jpg")
    cleaned, counts = clean(faces_of(tmp_path, *(row(name, 30) for name in names)))
    assert (counts.unreadable, counts.exact_duplicates, counts.kept) == (4, 0, 1)
    assert cleaned.dropped().to_dict() == {"unreadable": 4}
    assert cleaned.table.set_index("path").loc["empty1.jpg", "file_sha512"].startswith("cf83e1357eefb8bd")


def test_rows_that_were_left_out_before_keep_their_reason_and_count_for_nothing(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        save(tmp_path, name, 1)
    faces = faces_of(tmp_path, row("a.jpg", dropped_because="malformed name"), row("b.jpg", 30))
    cleaned, counts = clean(faces)
    assert reasons(cleaned) == {"a.jpg": "malformed name", "b.jpg": None}
    assert (counts.files, counts.exact_duplicates, counts.kept) == (2, 0, 1)


def test_a_thousand_empty_files_are_passed_over(tmp_path):
    names = [f"{number}.jpg" for number in range(1_000)]
    for name in names:
        (tmp_path / name).touch()
    _, counts = clean(faces_of(tmp_path, *(row(name) for name in names)))
    assert (counts.unreadable, counts.kept) == (1_000, 0)


def test_an_empty_table_is_cleaned_to_an_empty_table(tmp_path):
    cleaned, counts = clean(FacesTable(make_table({"path": [], "source": []}), tmp_path))
    assert counts.files == counts.kept == len(cleaned.table) == 0


def test_every_row_is_kept_or_has_a_reason_and_no_row_is_lost(tmp_path):
    generator = np.random.default_rng(0)
    rows = []
    for number in range(60):
        seed, quality = int(generator.integers(12)), int(generator.choice([60, 92]))
        rows.append(
            row(save(tmp_path, f"{number:02}.jpg", seed, quality=quality), int(generator.integers(20, 22)), "male")
        )
    faces = faces_of(tmp_path, *rows)
    for options in ({}, {"on_conflict": "median"}, {"on_conflict": "keep-first"}, {"near_twins": "drop-all"}):
        cleaned, counts = clean(faces, **options)
        assert cleaned.table["path"].tolist() == faces.table["path"].tolist()
        assert counts.kept + int(cleaned.dropped().sum()) == counts.files == 60
        kept = cleaned.kept()
        assert kept["file_sha512"].is_unique
        assert not len(near_pairs(hash_numbers(kept["phash"]), 5))


@pytest.mark.parametrize(
    "options", [{"near_duplicates": 65}, {"near_duplicates": -1}, {"on_conflict": "guess"}, {"near_twins": "all"}]
)
def test_options_out_of_range_are_refused(tmp_path, options):
    with pytest.raises(UsageError):
        clean(faces_of(tmp_path, row("a.jpg")), **options)


def hashed_by(monkeypatch):
    hashed = []
    original = cleaning.fingerprint_files
    monkeypatch.setattr(
        cleaning, "fingerprint_files", lambda paths: hashed.extend(p.name for p in paths) or original(paths)
    )
    return hashed


def test_a_second_run_hashes_only_new_and_changed_photos(tmp_path, monkeypatch):
    cache = tmp_path / "fingerprints.parquet"
    faces = near_twins(tmp_path)
    first, _ = clean(faces, cache=cache)
    hashed = hashed_by(monkeypatch)
    again, _ = clean(faces, cache=cache)
    assert hashed == []
    assert again.table.equals(first.table)
    save(tmp_path, "new.jpg", 9)
    os.utime(tmp_path / "b.jpg", ns=(1, 1))
    more = FacesTable(make_table([*faces.table.to_dict("records"), row("new.jpg", 3)]), tmp_path)
    clean(more, cache=cache)
    assert sorted(hashed) == ["b.jpg", "new.jpg"]
    clean(more, cache=cache)
    assert sorted(hashed) == ["b.jpg", "new.jpg"]


def test_a_stopped_run_remembers_what_it_has_hashed(tmp_path, monkeypatch):
    cache = tmp_path / "fingerprints.parquet"
    faces = near_twins(tmp_path)
    original = cleaning.fingerprint_files

    def stopping(paths):
        yield from list(original(paths))[:2]
        raise KeyboardInterrupt

    monkeypatch.setattr(cleaning, "fingerprint_files", stopping)
    with pytest.raises(KeyboardInterrupt):
        clean(faces, cache=cache)
    monkeypatch.setattr(cleaning, "fingerprint_files", original)
    hashed = hashed_by(monkeypatch)
    clean(faces, cache=cache)
    assert hashed == ["other.jpg"]


@pytest.mark.parametrize("content", [b"", b"PAR1 is not enough", b"\x00" * 500])
def test_a_damaged_cache_is_ignored_with_a_note(tmp_path, caplog, content):
    cache = tmp_path / "fingerprints.parquet"
    cache.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        _, counts = clean(near_twins(tmp_path), cache=cache)
    assert counts.near_duplicates == 2
    assert "hashed again" in caplog.text
    caplog.clear()
    clean(near_twins(tmp_path), cache=cache)
    assert not caplog.text


@pytest.mark.skipif("AGEGENDER_UTKFACE" not in os.environ, reason="AGEGENDER_UTKFACE names no folder of real faces")
def test_figures_on_real_faces_equal_brute_force():
    root = Path(os.environ["AGEGENDER_UTKFACE"])
    names = sorted(path.name for path in root.glob("*.jpg"))[::4]
    cleaned, counts = clean(faces_of(root, *(row(name, float(name.split("_")[0])) for name in names)))
    distinct = cleaned.table.drop_duplicates("file_sha512")
    hashes = hash_numbers(distinct["phash"])
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    first, second = np.nonzero(np.triu(distance <= 5, 1))
    assert counts.exact_duplicates == len(names) - len(distinct)
    assert counts.near_duplicate_pairs == len(first)
    assert counts.near_duplicates == len(np.union1d(first, second))
