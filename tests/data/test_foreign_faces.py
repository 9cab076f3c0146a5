"""Faces tables of other people and machines: nothing outside the folder is opened, photos that moved are found."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from agegender.data.cropping import crop_faces
from agegender.data.faces_table import FacesTable, make_table, read_faces, write_faces
from agegender.data.preparing import gather
from agegender.data.seals import seal_of
from agegender.errors import FolderError, TableError, UsageError
from agegender.pages.dataset_page import write_dataset_page
from agegender.photos.finding import PhotosFolder

NAMES = ("a.jpg", "below/b.jpg")


def write_photos(root, names=NAMES):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / name)
    return root


def rows(*paths):
    return make_table([{"path": path, "source": "csv", "age_years": 30.0, "split": "test"} for path in paths])


def stored(path, table, facts):
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {**(arrow.schema.metadata or {}), b"agegender": json.dumps(facts).encode()}
    pq.write_table(arrow.replace_schema_metadata(metadata), path)
    return path


class TestPaths:
    @pytest.fixture
    def root(self, tmp_path):
        root = write_photos(tmp_path / "set")
        write_photos(tmp_path / "private", ("secret.jpg",))
        (root / "link.jpg").symlink_to(tmp_path / "private" / "secret.jpg")
        (root / "folder").symlink_to(tmp_path / "private")
        (root / "inner.jpg").symlink_to(root / "a.jpg")
        (root / "circle.jpg").symlink_to(root / "circle.jpg")
        return root

    @pytest.mark.parametrize(
        "path",
        ["../private/secret.jpg", "/etc/passwd", "below/../../private/secret.jpg", "link.jpg", "folder/secret.jpg"],
    )
    def test_no_path_leads_out(self, root, path):
        assert PhotosFolder(root).problem(path) == "escapes the folder"
        assert PhotosFolder(root).place(path) is None
        with pytest.raises(TableError, match="escapes the folder"):
            FacesTable(rows(path), root).photo_path(path)

    @pytest.mark.parametrize("path", ["a\0.jpg", "", None, float("nan"), 7, "half \ud800.jpg", "a" * 256])
    def test_what_is_no_path_is_no_place(self, root, path):
        assert PhotosFolder(root).problem(path) == "malformed name"

    @pytest.mark.parametrize("path", ["a.jpg", "./a.jpg", "below/../a.jpg", "absent.jpg", "inner.jpg"])
    def test_what_stays_inside_is_found_there_or_not(self, root, path):
        place = PhotosFolder(root).place(path)
        assert place is not None
        assert place.is_relative_to(root)
        assert PhotosFolder(root).place(str(root / "a.jpg")) == root / "a.jpg"

    def test_the_folder_may_itself_be_a_link(self, root, tmp_path):
        (tmp_path / "alias").symlink_to(root)
        assert PhotosFolder(tmp_path / "alias").place("a.jpg") == tmp_path / "alias" / "a.jpg"
        assert PhotosFolder(tmp_path / "alias").place("link.jpg") is None

    def test_a_table_with_such_rows_is_read_without_them(self, root, tmp_path, capsys):
        wrong = ("../private/secret.jpg", "/etc/passwd", "link.jpg", "folder/secret.jpg", "a\0.jpg")
        write_faces(FacesTable(rows(*NAMES, *wrong), root), tmp_path / "faces.parquet")
        faces = read_faces(tmp_path / "faces.parquet")
        assert faces.kept()["path"].tolist() == list(NAMES)
        assert faces.dropped().to_dict() == {"escapes the folder": 4, "malformed name": 1}
        assert "5 of 7 paths in" in capsys.readouterr().err
        gathered = gather(faces=tmp_path / "faces.parquet")
        assert gathered.kept()["path"].tolist() == list(NAMES)

    def test_a_table_of_such_rows_alone_is_refused(self, root, tmp_path):
        write_faces(FacesTable(rows("../x.jpg"), root), tmp_path / "faces.parquet")
        with pytest.raises(TableError, match="none of its photos may be opened"):
            read_faces(tmp_path / "faces.parquet")

    def test_photos_named_in_the_notes_stay_inside_as_well(self, root, tmp_path):
        """A page of conflicts shows what the notes name; theirs must not be any picture of this machine."""
        photos = [
            {"path": "../private/secret.jpg", "age_years": age, "gender": None, "ethnicity": None} for age in (1, 2)
        ]
        notes = {"cleaning": {"conflicts": [{"kind": "exact", "photos": photos}], "conflict_groups": 1}}
        faces = FacesTable(rows(*NAMES), root, notes)
        from agegender.data.preparing import count_faces

        page = write_dataset_page(tmp_path / "page.html", faces, count_faces(faces)).read_text()
        conflicts = page[page.index('id="conflicts"') :]
        assert "data:image" not in conflicts[: conflicts.index("</section>")]

    def test_crops_may_lie_on_another_disk(self, root, tmp_path):
        class Middle:
            name = "middle"

            def detect(self, photo):
                return []

        (tmp_path / "disk").mkdir()
        (tmp_path / "crops").symlink_to(tmp_path / "disk")
        cropped = crop_faces(FacesTable(rows(*NAMES), root), Middle(), folder=tmp_path / "crops")
        places = [cropped.photo_path(path) for path in cropped.kept()["path"]]
        assert len(places) == 2
        assert all(place.is_file() for place in places)


class TestMovedPhotos:
    @pytest.mark.parametrize("where", ["here", "here/set", "here/data/set", "set"])
    def test_photos_near_the_table_are_found_and_said(self, tmp_path, where, capsys):
        old = tmp_path / "old" / "data" / "set"
        (tmp_path / "here").mkdir()
        write_faces(FacesTable(rows(*NAMES), old), tmp_path / "here" / "faces.parquet")
        write_photos(tmp_path / where)
        assert read_faces(tmp_path / "here" / "faces.parquet").root == tmp_path / where
        assert f"no photo of faces.parquet is in {old}, where they were; they are taken from {tmp_path / where}" in (
            capsys.readouterr().err
        )

    def test_where_none_is_found_the_stored_folder_stays_and_the_error_names_images(self, tmp_path):
        write_faces(FacesTable(rows(*NAMES), tmp_path / "old"), tmp_path / "faces.parquet")
        assert read_faces(tmp_path / "faces.parquet").root == tmp_path / "old"
        with pytest.raises(FolderError, match=r"none of the 2 photos .* name the folder .* with --images FOLDER"):
            gather(faces=tmp_path / "faces.parquet")

    def test_images_says_where_they_are(self, tmp_path):
        write_faces(FacesTable(rows(*NAMES), tmp_path / "old"), tmp_path / "faces.parquet")
        photos = write_photos(tmp_path / "elsewhere")
        assert gather(faces=tmp_path / "faces.parquet", images=photos).photo_path("a.jpg") == photos / "a.jpg"
        with pytest.raises(UsageError, match="--images says where"):
            gather(source="utkface", folders=[photos], images=photos)

    def test_photos_in_their_place_are_taken_from_there_without_a_word(self, tmp_path, capsys):
        root = write_photos(tmp_path / "set")
        write_photos(tmp_path)
        write_faces(FacesTable(rows(*NAMES), root), tmp_path / "faces.parquet")
        assert read_faces(tmp_path / "faces.parquet").root == root
        assert capsys.readouterr().err == ""


class TestFoldersThatATableNames:
    """A table from elsewhere says where photos are; nothing is opened there unless it is near, or somebody names it."""

    def foreign(self, place, root, **facts):
        place.parent.mkdir(parents=True, exist_ok=True)
        return stored(place, rows(*NAMES), {"root": str(root), **facts})

    def test_one_far_away_is_not_opened_and_the_way_to_open_it_is_said(self, tmp_path, capsys):
        photos = write_photos(tmp_path / "private")
        table = self.foreign(tmp_path / "here" / "faces.parquet", photos)
        faces = read_faces(table)
        assert not any(faces.photo_path(name).exists() for name in NAMES)
        assert f"not made by this account, so nothing is opened there unless you name it: --images {photos}" in (
            capsys.readouterr().err
        )
        with pytest.raises(FolderError, match="--images FOLDER"):
            gather(faces=table)
        assert gather(faces=table, images=photos).root == photos

    def test_a_seal_of_another_account_is_none(self, tmp_path, monkeypatch):
        photos = write_photos(tmp_path / "photos")
        table = tmp_path / "here" / "faces.parquet"
        write_faces(FacesTable(rows(*NAMES), photos), table)
        assert read_faces(table).root == photos
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "of somebody else"))
        assert read_faces(table).root == table.parent
        assert [path.name for path in (tmp_path / "of somebody else" / "agegender").iterdir()] == ["seal.key"]

    @pytest.mark.parametrize("seal", [None, 7, "", "é", "0" * 64])
    def test_what_is_no_seal_opens_nothing(self, tmp_path, seal):
        table = self.foreign(tmp_path / "here" / "faces.parquet", write_photos(tmp_path / "private"), seal=seal)
        assert read_faces(table).root == table.parent

    def test_a_seal_is_for_one_folder(self, tmp_path):
        mine, private = write_photos(tmp_path / "mine"), write_photos(tmp_path / "private")
        table = self.foreign(tmp_path / "here" / "faces.parquet", private, seal=seal_of(str(mine)))
        assert read_faces(table).root == table.parent

    def test_one_in_the_tables_own_folder_or_in_the_working_one_is_used(self, tmp_path, monkeypatch):
        beside = write_photos(tmp_path / "here" / "set")
        assert read_faces(self.foreign(tmp_path / "here" / "faces.parquet", beside)).root == beside
        working = write_photos(tmp_path / "project" / "set")
        table = self.foreign(tmp_path / "here" / "other.parquet", working)
        assert read_faces(table).root != working
        monkeypatch.chdir(tmp_path / "project")
        assert read_faces(table).root == working
        monkeypatch.setenv("HOME", str(tmp_path / "project"))
        assert read_faces(table).root != working

    def test_a_link_in_its_folder_does_not_lead_out(self, tmp_path):
        private = write_photos(tmp_path / "private")
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / "set").symlink_to(private)
        table = self.foreign(tmp_path / "here" / "faces.parquet", tmp_path / "here" / "set")
        assert read_faces(table).root == table.parent

    def test_a_key_lies_below_home_where_the_folder_of_settings_is_no_whole_path(self, tmp_path, monkeypatch):
        """A key in whatever folder a command is run in would be anybody's."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("XDG_CONFIG_HOME", "settings")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert seal_of("/photos")
        assert [path.name for path in tmp_path.iterdir()] == ["home"]
        monkeypatch.setenv("HOME", "home")
        assert seal_of("/photos") is None

    def test_where_no_key_can_be_kept_a_table_is_as_foreign(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
        photos = write_photos(tmp_path / "photos")
        write_faces(FacesTable(rows(*NAMES), photos), tmp_path / "here" / "faces.parquet")
        assert read_faces(tmp_path / "here" / "faces.parquet").root == tmp_path / "here"


class TestMetadata:
    @pytest.mark.parametrize(
        "facts",
        [
            {"root": 7},
            {"root": ""},
            {"root": ["a"]},
            {"root": "a\0b"},
            {"root": "half \ud800"},
            {"root": "a" * 300},
            {"notes": []},
            {"notes": {"sources": "utkface"}},
            {"notes": {"sources": [1]}},
            {"notes": {"malformed_names": {"a": 1}}},
            {"notes": {"cleaning": []}},
            {"notes": {"cleaning": {"conflicts": 3}}},
            {"notes": {"cleaning": {"conflicts": [{"kind": "exact", "photos": []}]}}},
            {"notes": {"cleaning": {"conflicts": [{"kind": "exact", "photos": [{"path": "a"}, {"age": 1}]}]}}},
            {"notes": {"cleaning": {"conflicts": [{"kind": "exact", "photos": [{"path": "a", "x": []}]}]}}},
            {"notes": {"crop": 1}},
            {"notes": {"crop_margin": "wide"}},
            {"notes": {"limit": "all", "photos_before_limit": 3}},
            {"notes": {"limit": 3}},
            {"notes": {"fold": True}},
            ["a list"],
        ],
    )
    def test_a_wrong_type_is_one_line(self, tmp_path, facts):
        path = stored(tmp_path / "faces.parquet", rows(*NAMES), facts)
        with pytest.raises(TableError, match=r"damaged|no path"):
            read_faces(path)

    def test_what_prepare_writes_passes(self, tmp_path):
        photos = [{"path": "a.jpg", "age_years": age} for age in (1.0, None)]
        notes = {
            "sources": ["utkface"],
            "malformed_names": [],
            "cleaning": {"conflicts": [{"kind": "exact", "photos": photos}]},
            "crop": "none",
            "crop_margin": 0.4,
            "limit": 3,
            "limit_seed": 7,
            "photos_before_limit": 9,
            "further": [1, {"x": None}],
        }
        root = write_photos(tmp_path / "set")
        write_faces(FacesTable(rows(*NAMES), root, notes), tmp_path / "faces.parquet")
        assert read_faces(tmp_path / "faces.parquet").notes == notes

    def test_a_table_without_notes_starts_from_its_own_folder(self, tmp_path):
        rows(*NAMES).to_parquet(tmp_path / "faces.parquet")
        assert read_faces(tmp_path / "faces.parquet").root == tmp_path


@pytest.mark.parametrize("ages", [[True, False], ["old", "3"], [-1.0, 3.0], [200.0, 3.0]])
def test_what_is_no_age_is_refused(ages):
    with pytest.raises(TableError, match="ages are not numbers of years"):
        make_table({"path": list(NAMES), "source": "csv", "age_years": ages})


def test_a_column_of_lists_is_no_label(tmp_path):
    rows(*NAMES).assign(boxes=[[1], [2, 3]]).to_parquet(tmp_path / "faces.parquet")
    assert "boxes" not in read_faces(tmp_path / "faces.parquet").table


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "faces.parquet")
    with pytest.raises(TableError, match="no ordinary file"):
        read_faces(tmp_path / "faces.parquet")
