"""What the sources for one's own photos take: labelled folders, and tables with columns of any name."""

import pytest
from dataset_layouts import (
    COLUMNS,
    photo,
    text,
    write_afad,
    write_csv_table,
    write_folder,
)

from agegender.data.faces_table import label_columns
from agegender.data.sources import csv_table, folder
from agegender.errors import FolderError, TableError, UsageError


def by_name(faces):
    return faces.table.set_index(faces.table["path"].str.rpartition("/")[2])


class TestFolder:
    def test_ages_and_genders_stand_in_either_order_and_in_words(self, tmp_path):
        table = folder.read(write_folder(tmp_path)).table.set_index("path")
        found = {path.rpartition("/")[0]: (row["age_years"], row["gender"]) for path, row in table.iterrows()}
        assert found["25/female"] == (25, "female")
        assert found["female/31"] == (31, "female")
        assert found["test/male_30-39"] == (34.5, "male")
        assert found["age 7/boy"] == (7, "male")
        assert found["0/women"] == (0, "female")
        assert table.loc["test/male_30-39/photo.jpg", "split"] == "test"
        assert table.loc["150/male/photo.jpg", "dropped_because"] == "age out of range"

    def test_a_photo_that_no_folder_labels_is_kept_without_labels_and_counted(self, tmp_path):
        faces = folder.read(write_folder(tmp_path))
        assert faces.notes["photos_without_labels"] == 1
        assert faces.table.set_index("path").loc["misc/photo.jpg", "gender"] is None

    def test_folders_that_say_nothing_are_refused_with_a_guess(self, tmp_path):
        photo(tmp_path / "all" / "25_0_1_20170116174525125.jpg")
        with pytest.raises(FolderError, match="looks like utkface"):
            folder.read(tmp_path)

    def test_afad_is_not_taken_for_people_of_111_years(self, tmp_path):
        with pytest.raises(FolderError, match="looks like afad"):
            folder.read(write_afad(tmp_path))


class TestCsvTable:
    def test_odd_ages_are_missing_or_dropped_and_never_clipped(self, tmp_path):
        faces = csv_table.read(write_csv_table(tmp_path / "data"), columns=COLUMNS)
        table = faces.table.set_index("path")
        ages = table["age_years"].fillna(-1).to_dict()
        assert {path: ages[f"photos/{path}.jpg"] for path in range(8)} == {
            0: -1, 1: 0, 2: -1, 3: -1, 4: -1, 5: -1, 6: 28.5, 7: 41,
        }  # fmt: skip
        assert faces.dropped().to_dict() == {"age out of range": 1, "photo missing": 1, "escapes the folder": 1}
        assert faces.notes["rows_without_path"] == 1
        assert faces.notes["ages_not_understood"] == 2  # "old", and "26,5" with its decimal comma

    def test_the_table_may_be_named_instead_of_its_folder(self, tmp_path):
        root = write_csv_table(tmp_path / "data")
        assert len(csv_table.read(root / "labels.csv", columns=COLUMNS).table) == 11

    def test_usual_column_names_need_no_mapping(self, tmp_path):
        photo(tmp_path / "a.jpg")
        text(tmp_path / "labels.tsv", "file_name\tage\tsex\na.jpg\t30\tWoman\n")
        assert csv_table.read(tmp_path).table.loc[0, ["age_years", "gender"]].tolist() == [30, "female"]

    def test_parquet_is_read_as_well(self, tmp_path):
        import pandas as pd

        photo(tmp_path / "a.jpg")
        pd.DataFrame({"path": ["a.jpg"], "age": [30.5], "gender": ["male"]}).to_parquet(tmp_path / "labels.parquet")
        assert csv_table.read(tmp_path).table.loc[0, "age_years"] == 30.5

    def test_numbered_genders_must_be_named(self, tmp_path):
        photo(tmp_path / "a.jpg")
        photo(tmp_path / "b.jpg")
        text(tmp_path / "labels.csv", "path,age,gender\na.jpg,30,0\nb.jpg,31,1\n")
        with pytest.raises(TableError, match="--option male=0 --option female=1"):
            csv_table.read(tmp_path)
        assert csv_table.read(tmp_path, male="1", female="0").table["gender"].tolist() == ["female", "male"]

    def test_a_photo_listed_twice_is_one_row_and_a_contradiction_drops_it(self, tmp_path):
        photo(tmp_path / "a.jpg")
        photo(tmp_path / "b.jpg")
        text(tmp_path / "labels.csv", "path,age,gender\na.jpg,30,m\n./a.jpg,30,m\nb.jpg,5,f\nb.jpg,50,f\n")
        table = csv_table.read(tmp_path).table.set_index("path")
        assert table["dropped_because"].to_dict() == {"a.jpg": None, "b.jpg": "conflicting labels"}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("name,age\na.jpg,3\n", "lacks the column one for the photos' paths; it has name, age"),
            ("path,colour\na.jpg,red\n", "lacks the column one for age or gender"),
            ("", "cannot be read as a table"),
            ('path,age\n"a.jpg,3\n', "cannot be read as a table"),
        ],
    )
    def test_a_table_without_its_columns_says_what_it_has(self, tmp_path, content, message):
        text(tmp_path / "labels.csv", content)
        with pytest.raises(TableError, match=message):
            csv_table.read(tmp_path)

    def test_a_column_that_is_not_there_or_not_ours_is_refused(self, tmp_path):
        text(tmp_path / "labels.csv", "path,age\na.jpg,3\n")
        with pytest.raises(TableError, match="lacks the column years"):
            csv_table.read(tmp_path, columns={"age_years": "years"})
        with pytest.raises(UsageError, match="write --columns age_years=NAME"):
            csv_table.read(tmp_path, columns={"Age": "age"})
        for name in ("phash", "shoe size"):
            with pytest.raises(UsageError, match=f"cannot be called '{name}'"):
                csv_table.read(tmp_path, columns={name: "nowhere"})

    def test_any_further_column_becomes_a_label(self, tmp_path):
        for name in "abc":
            photo(tmp_path / f"{name}.jpg")
        text(tmp_path / "labels.csv", "path,age,Brille,shoe\na.jpg,30,yes,40.5\nb.jpg,31,no,\nc.jpg,32,,44\n")
        table = csv_table.read(tmp_path, columns={"glasses": "Brille", "shoe_size": "shoe"}).table
        assert table["glasses"].fillna("?").tolist() == ["yes", "no", "?"]
        assert table["shoe_size"].fillna(-1).tolist() == [40.5, -1, 44]
        assert label_columns(table) == ["age_years", "gender", "ethnicity", "glasses", "shoe_size"]

    def test_a_table_whose_photos_lie_elsewhere_says_which_it_looked_for(self, tmp_path):
        text(tmp_path / "labels.csv", "path,age\na.jpg,3\nb.jpg,4\n")
        with pytest.raises(FolderError, match=r"none of the 2 photos that labels.csv names .* first a.jpg"):
            csv_table.read(tmp_path)

    def test_several_tables_must_be_chosen_from(self, tmp_path):
        text(tmp_path / "one.csv", "path,age\n")
        text(tmp_path / "two.csv", "path,age\n")
        with pytest.raises(FolderError, match="holds 2 tables"):
            csv_table.read(tmp_path)

    @pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.csv.gz", "labels.xlsx"])
    def test_a_table_as_people_have_it_needs_no_mapping(self, tmp_path, name, capsys):
        import gzip

        import pandas as pd

        for one in "ab":
            photo(tmp_path / f"{one}.jpg")
        content = "Image Path;Age_Years; Gender \na.jpg;26,5;Männlich\nb.jpg ;03-Sep; F\n"
        if name.endswith(".xlsx"):
            ages = [26.5, pd.Timestamp("2026-09-03")]  # Excel's own idea of 3-9
            table = pd.DataFrame({"Image Path": ["a.jpg", "b.jpg "], "Age_Years": ages, " Gender ": ["?", " F"]})
            table.to_excel(tmp_path / name, index=False)
        elif name.endswith(".gz"):
            (tmp_path / name).write_bytes(gzip.compress(content.encode("cp1252")))
        else:
            (tmp_path / name).write_bytes(content.encode("utf-16"))
        table = csv_table.read(tmp_path).table.set_index("path")
        assert table.loc["b.jpg", ["age_years", "gender"]].tolist() == [6, "female"]
        assert ("no UTF-8" in capsys.readouterr().err) is name.endswith(".gz")

    def test_decimal_commas_are_read_where_all_ages_have_them(self, tmp_path):
        for one in "ab":
            photo(tmp_path / f"{one}.jpg")
        text(tmp_path / "labels.csv", "path;age\na.jpg;26,5\nb.jpg;31\n")
        assert csv_table.read(tmp_path).table["age_years"].tolist() == [26.5, 31]

    def test_rows_about_one_photo_are_counted_and_said(self, tmp_path, capsys):
        photo(tmp_path / "a.jpg")
        text(tmp_path / "labels.csv", "path,age\n" + "a.jpg,30\n" * 200)
        assert csv_table.read(tmp_path).notes["rows_repeated"] == 199
        assert "199 rows are about one that stood there before" in capsys.readouterr().err

    def test_columns_may_be_mapped_in_any_case(self, tmp_path):
        photo(tmp_path / "a.jpg")
        text(tmp_path / "labels.csv", "Photo,True Age\na.jpg,30\n")
        assert csv_table.read(tmp_path, columns={"age_years": "true age"}).table["age_years"].tolist() == [30]

    def test_paths_that_lead_out_are_left_out(self, tmp_path):
        root = tmp_path / "set"
        photo(root / "a.jpg")
        photo(tmp_path / "b.jpg")
        (root / "link.jpg").symlink_to(tmp_path / "b.jpg")
        text(root / "labels.csv", "path,age\na.jpg,30\n../b.jpg,31\nlink.jpg,32\n/etc/passwd,33\n")
        assert csv_table.read(root).dropped().to_dict() == {"escapes the folder": 3}
