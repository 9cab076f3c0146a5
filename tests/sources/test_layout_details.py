"""What is particular to each dataset: its traps, each written out and read back."""

import os
from pathlib import Path

import pytest
from dataset_layouts import (
    COLUMNS,
    photo,
    text,
    write_afad,
    write_all_age_faces,
    write_appa_real,
    write_cacd,
    write_csv_table,
    write_fairface,
    write_folder,
    write_masked_faces,
)

from agegender.errors import FolderError, TableError, UsageError
from agegender.sources import afad, all_age_faces, appa_real, cacd, csv_table, fairface, folder, masked_faces


def by_name(faces):
    return faces.table.set_index(faces.table["path"].str.rpartition("/")[2])


class TestAppaReal:
    def test_apparent_age_is_the_target_unless_the_real_one_is_asked_for(self, tmp_path):
        root = write_appa_real(tmp_path)
        apparent, real = appa_real.read(root).table, appa_real.read(root, target="real").table
        assert apparent["age_years"].tolist() == apparent["apparent_age_years"].tolist()
        assert real["age_years"].tolist() == real["real_age_years"].tolist()
        assert sorted(real["age_years"]) == [number + 6 for number in range(12)]

    def test_categories_join_by_name_though_they_stand_in_another_order(self, tmp_path):
        row = by_name(appa_real.read(write_appa_real(tmp_path))).loc["000003.jpg_face.jpg"]
        assert (row["gender"], row["ethnicity"], row["expression"], row["makeup"]) == (
            "female",
            "caucasian",
            "slightlyhappy",
            "nomakeup",
        )

    def test_the_official_split_is_there_and_crops_and_whole_photos_are_two_choices(self, tmp_path):
        root = write_appa_real(tmp_path)
        crops, whole = appa_real.read(root).table, appa_real.read(root, photos="whole").table
        assert crops["split"].value_counts().to_dict() == {"train": 6, "valid": 3, "test": 3}
        assert crops["path"].str.endswith("_face.jpg").all()
        assert not whole["path"].str.endswith("_face.jpg").any()

    def test_votes_stand_in_for_missing_averages(self, tmp_path):
        photo(tmp_path / "train" / "000000.jpg_face.jpg")
        votes = ["file_name,real_age,apparent_age,worker_age,worker_gender"]
        votes += [f"000000.jpg,29,{age},-1," for age in (20, 30)]
        text(tmp_path / "gt_train.csv", "\n".join(votes))
        row = appa_real.read(tmp_path).table.iloc[0]
        assert (row["apparent_age_years"], row["real_age_years"], row["rating_count"]) == (25, 29, 2)

    def test_the_ignore_list_drops_train_photos_with_that_reason(self, tmp_path):
        listed = text(tmp_path / "ignore.txt", "000001.jpg\n000007.jpg\n")
        faces = appa_real.read(write_appa_real(tmp_path / "data"), ignore_list=listed)
        assert faces.dropped().to_dict() == {"on the ignore list": 1}

    def test_a_label_without_a_photo_is_counted(self, tmp_path):
        root = write_appa_real(tmp_path)
        (root / "appa-real-release/test/000011.jpg_face.jpg").unlink()
        assert appa_real.read(root).notes["labels_without_photo"] == 1

    def test_crops_that_are_not_there_point_to_the_whole_photos(self, tmp_path):
        root = write_appa_real(tmp_path)
        for crop in root.rglob("*_face.jpg"):
            crop.unlink()
        with pytest.raises(FolderError, match="Try --option photos=whole"):
            appa_real.read(root)

    def test_a_table_without_its_columns_is_a_table_error(self, tmp_path):
        root = write_appa_real(tmp_path)
        text(root / "appa-real-release" / "gt_avg_train.csv", "file_name,age\n000000.jpg,3\n")
        with pytest.raises(TableError, match="lacks the columns num_ratings, apparent_age_avg, real_age"):
            appa_real.read(root)

    @pytest.mark.skipif("AGEGENDER_LABELS" not in os.environ, reason="AGEGENDER_LABELS names no folder of label files")
    def test_the_real_label_files_give_every_photo_its_ages(self, tmp_path):
        given = Path(os.environ["AGEGENDER_LABELS"]) / "appa-real"
        for split in ("train", "valid", "test"):
            content = (given / f"gt_avg_{split}.csv").read_text()
            text(tmp_path / f"gt_avg_{split}.csv", content)
            (tmp_path / split).mkdir()
            for line in content.splitlines()[1:]:
                (tmp_path / split / f"{line.split(',')[0]}_face.jpg").touch()
        faces = appa_real.read(tmp_path)
        assert faces.table["split"].value_counts().to_dict() == {"train": 4113, "test": 1978, "valid": 1500}
        assert faces.table["real_age_years"].agg(["min", "max"]).tolist() == [1, 100]
        assert faces.table["apparent_age_years"].between(0.92, 95.57).all()
        assert (faces.table["apparent_age_std_years"] == 0).sum() == 29
        assert len(faces.kept()) == len(faces.table)


class TestAfad:
    def test_folders_past_forty_are_kept_unless_a_range_is_chosen(self, tmp_path):
        root = write_afad(tmp_path)
        assert set(afad.read(root).kept()["age_years"]) == {15, 18, 39, 69}
        chosen = afad.read(root, ages="15-40")
        assert chosen.dropped().to_dict() == {"outside the chosen ages": 2}
        assert set(chosen.kept()["age_years"]) == {15, 18, 39}

    def test_111_is_male_and_112_female(self, tmp_path):
        table = afad.read(write_afad(tmp_path)).table
        assert table.groupby(table["path"].str.split("/").str[2])["gender"].unique().map(list).to_dict() == {
            "111": ["male"],
            "112": ["female"],
        }

    def test_a_range_that_is_none_is_a_usage_error(self, tmp_path):
        with pytest.raises(UsageError, match="ages=15-40"):
            afad.read(write_afad(tmp_path), ages="young")


class TestCacd:
    def test_rank_decides_the_side_also_for_names_in_another_unicode_form(self, tmp_path):
        table = cacd.read(write_cacd(tmp_path)).table
        assert dict(zip(table["subject_id"], table["split"], strict=True)) == {
            "Bill_Skarsgård": "valid",
            "A.J._Cook": "test",
            "Some_One": "train",
        }
        assert table["gender"].isna().all()

    def test_without_metadata_there_is_no_split_but_there_are_persons(self, tmp_path):
        table = cacd.read(write_cacd(tmp_path, with_metadata=False)).table
        assert table["split"].isna().all()
        assert table["subject_id"].nunique() == 3

    def test_damaged_metadata_is_a_table_error(self, tmp_path):
        root = write_cacd(tmp_path)
        (root / "celebrity2000_meta.mat").write_bytes(b"MATLAB 5.0 MAT-file" + b"\0" * 500)
        with pytest.raises(TableError, match="Remove the file"):
            cacd.read(root)


class TestFairFace:
    def test_ranges_are_kept_with_their_midpoint_and_spreadsheet_damage_is_mended(self, tmp_path):
        table = fairface.read(write_fairface(tmp_path)).table
        train = table[table["split"] == "train"].set_index("path").sort_index()
        assert train["age_range_low_years"].tolist() == [0, 3, 10, 20, 70, 3, 60, 30]
        assert train["age_range_high_years"].fillna(-1).tolist() == [2, 9, 19, 29, -1, 9, 69, 39]
        assert train["age_years"].fillna(-1).tolist() == [1, 6, 14.5, 24.5, -1, 6, 64.5, 34.5]

    def test_more_than_seventy_can_be_given_an_age(self, tmp_path):
        table = fairface.read(write_fairface(tmp_path), open_range_age_years="77").table
        assert table.loc[table["age_range_low_years"] == 70, "age_years"].tolist() == [77, 77]

    def test_the_published_validation_part_is_the_test_part(self, tmp_path):
        table = fairface.read(write_fairface(tmp_path)).table
        assert table["split"].value_counts().to_dict() == {"train": 8, "test": 8}
        assert table.groupby("split")["path"].agg(lambda paths: paths.str.contains("/val/").all()).tolist() == [
            True,
            False,
        ]

    def test_of_two_margins_one_is_taken(self, tmp_path):
        root = write_fairface(tmp_path)
        photo(root / "fairface-img-margin125-trainval" / "train" / "1.jpg")
        assert len(fairface.read(root).table) == 16
        assert len(fairface.read(root, margin="125").table) == 1

    def test_tables_beside_the_photo_folder_are_found(self, tmp_path):
        assert fairface.read(write_fairface(tmp_path) / "fairface-img-margin025-trainval").table["gender"].notna().all()


class TestAllAgeFaces:
    def test_serials_up_to_7380_are_female(self, tmp_path):
        rows = by_name(all_age_faces.read(write_all_age_faces(tmp_path)))
        assert rows["gender"].to_dict() == {
            "00000A02.jpg": "female",
            "07380A80.jpg": "female",
            "07381A30.jpg": "male",
            "13321A55.jpg": "male",
        }
        assert rows["split"].to_dict()["07380A80.jpg"] == "test"

    def test_aligned_and_original_photos_are_two_choices(self, tmp_path):
        root = write_all_age_faces(tmp_path)
        assert all_age_faces.read(root).table["path"].str.contains("aglined faces").all()
        assert all_age_faces.read(root, photos="original").table["path"].str.contains("original images").all()

    def test_a_gender_that_the_list_contradicts_is_missing_and_listed(self, tmp_path):
        root = write_all_age_faces(tmp_path)
        text(root / "All-Age-Faces Dataset/image sets/val.txt", "07380A80 1\n")
        faces = all_age_faces.read(root)
        assert by_name(faces).loc["07380A80.jpg", "gender"] is None
        assert len(faces.notes["list_contradictions"]) == 1


class TestMaskedFaces:
    def test_each_person_has_seven_photos_and_leftovers_are_no_rows(self, tmp_path):
        faces = masked_faces.read(write_masked_faces(tmp_path))
        assert faces.table.groupby("subject_id").size().to_dict() == dict.fromkeys(
            ["000001", "000004", "000020", "001498-1"], 7
        )
        assert faces.table["mask"].value_counts().to_dict() == {"wear": 20, "incorrect": 4, "normal": 4}
        assert faces.notes["photos_without_labels"] == 1

    def test_known_errors_are_mended_only_when_asked(self, tmp_path):
        root = write_masked_faces(tmp_path)
        given, mended = masked_faces.read(root).table, masked_faces.read(root, corrections=True)
        assert (given["gender"] != mended.table["gender"]).sum() == 7
        assert (given["mask"] != mended.table["mask"]).sum() == 2
        assert len(mended.notes["corrected_photos"]) == 9


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
        with pytest.raises(UsageError, match="no column shoe_size"):
            csv_table.read(tmp_path, columns={"shoe_size": "age"})

    def test_a_table_whose_photos_lie_elsewhere_says_which_it_looked_for(self, tmp_path):
        text(tmp_path / "labels.csv", "path,age\na.jpg,3\nb.jpg,4\n")
        with pytest.raises(FolderError, match=r"none of the 2 photos that labels.csv names .* first a.jpg"):
            csv_table.read(tmp_path)

    def test_several_tables_must_be_chosen_from(self, tmp_path):
        text(tmp_path / "one.csv", "path,age\n")
        text(tmp_path / "two.csv", "path,age\n")
        with pytest.raises(FolderError, match="holds 2 tables"):
            csv_table.read(tmp_path)
