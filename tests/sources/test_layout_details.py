"""What is particular to each dataset: its traps, each written out and read back."""

import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dataset_layouts import (
    photo,
    text,
    write_afad,
    write_all_age_faces,
    write_appa_real,
    write_cacd,
    write_course_kit,
    write_fairface,
    write_masked_faces,
)

from agegender.data.derived_labels import add_age_class, combine_labels
from agegender.data.sources import afad, all_age_faces, appa_real, cacd, course_kit, fairface, masked_faces
from agegender.errors import FolderError, OutputError, TableError, UsageError
from agegender.photos.reading import read_photo


def by_name(faces):
    return faces.table.set_index(faces.table["path"].str.rpartition("/")[2])


class TestCourseKit:
    def test_photos_labels_and_order_are_those_of_the_arrays(self, tmp_path):
        faces = course_kit.read(write_course_kit(tmp_path / "kit"))
        assert faces.table["split"].value_counts().to_dict() == {"train": 8, "valid": 4, "test": 3}
        for split in ("train", "test"):
            pixels = np.load(tmp_path / "kit" / "data" / f"data_{split}.npy")
            rows = faces.table[faces.table["split"] == split]
            read = np.stack([read_photo(faces.photo_path(path)) for path in rows["path"]])
            assert (read == pixels[..., ::-1]).all()  # the kit's are blue, green, red
        train = faces.table[faces.table["split"] == "train"]
        assert train["age_years"].tolist() == [20.5 + number for number in range(8)]
        assert train["gender"].tolist() == ["male", "female"] * 4
        assert train["expression"].tolist() == ["happy", "happy", "neutral", "neutral"] * 2
        assert faces.table.loc[faces.table["split"] == "test", ["age_years", "gender"]].isna().all(axis=None)

    def test_it_is_unpacked_once_and_again_when_an_array_has_changed(self, tmp_path):
        root = write_course_kit(tmp_path / "kit")
        first = course_kit.read(root).photo_path(course_kit.read(root).table["path"][0])
        before = first.stat().st_mtime_ns
        assert (
            course_kit.read(root).photo_path("data/course-kit-photos/kit-train-000000.png").stat().st_mtime_ns == before
        )
        np.save(root / "data" / "data_train.npy", np.zeros((8, 40, 40, 3), np.uint8))
        course_kit.read(root)
        assert read_photo(first).shape == (40, 40, 3)

    def test_photos_can_go_elsewhere_and_never_over_other_files(self, tmp_path):
        root = write_course_kit(tmp_path / "kit")
        faces = course_kit.read(root, photos=tmp_path / "photos")
        assert faces.photo_path(faces.table["path"][0]).is_file()
        assert not (root / "data" / "course-kit-photos").exists()
        text(tmp_path / "mine" / "letter.txt", "dear")
        with pytest.raises(OutputError, match="something else"):
            course_kit.read(root, photos=tmp_path / "mine")

    def test_no_pickle_is_opened(self, tmp_path):
        root = write_course_kit(tmp_path / "kit")
        np.save(root / "data" / "meta_data_train.npy", np.full((8, 3), Exploding(), dtype=object), allow_pickle=True)
        with pytest.raises(TableError, match=r"not opened.*astype\(str\)"):
            course_kit.read(root)
        (root / "data" / "meta_data_train.npy").write_bytes(pickle.dumps(Exploding()))
        with pytest.raises(TableError, match="not opened"):
            course_kit.read(root)
        assert not (root / "data" / "course-kit-photos").exists()

    @pytest.mark.parametrize(
        ("name", "array", "message"),
        [
            ("data_train", np.zeros((8, 48, 48), np.uint8), r"\(8, 48, 48\); expected"),
            ("data_train", np.zeros((8, 48, 48, 3)), "float64"),
            ("labels_train", np.zeros(7), r"expected \(8, 1\)"),
            ("meta_data_train", np.array([["male"]] * 8), r"expected \(8, 3\)"),
        ],
    )
    def test_arrays_that_do_not_fit_are_refused_before_anything_is_unpacked(self, tmp_path, name, array, message):
        root = write_course_kit(tmp_path / "kit")
        np.save(root / "data" / f"{name}.npy", array)
        with pytest.raises(TableError, match=message):
            course_kit.read(root)
        assert not (root / "data" / "course-kit-photos").exists()

    def test_a_cut_array_is_refused(self, tmp_path):
        root = write_course_kit(tmp_path / "kit")
        file = root / "data" / "data_valid.npy"
        file.write_bytes(file.read_bytes()[:500])
        with pytest.raises(TableError, match="cannot be read"):
            course_kit.read(root)


class Exploding:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


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

    @pytest.mark.skipif("AGEGENDER_LABELS" not in os.environ, reason="AGEGENDER_LABELS names no folder of label files")
    def test_the_real_label_file_that_a_spreadsheet_damaged_is_read_whole(self, tmp_path):
        """03-Sep is 3-9 and Oct-19 is 10-19, in 1,172 of 5,000 rows."""
        given = Path(os.environ["AGEGENDER_LABELS"]) / "fairface" / "fairface_label_val.csv"
        (tmp_path / "fairface_label_val.csv").write_bytes(given.read_bytes())
        lines = given.read_text().splitlines()[1:]
        for line in lines:
            place = tmp_path / line.partition(",")[0]
            place.parent.mkdir(exist_ok=True)
            place.touch()
        faces = fairface.read(tmp_path)
        ranges = faces.table.groupby(["age_range_low_years", "age_range_high_years"], dropna=False).size().to_dict()
        written = [line.split(",")[1] for line in lines]
        assert ranges[(3.0, 9.0)] == written.count("03-Sep")
        assert ranges[(10.0, 19.0)] == written.count("Oct-19")
        assert "ages_not_understood" not in faces.notes
        assert faces.table["age_years"].isna().sum() == written.count("more than 70")

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
        assert faces.notes["photos_without_labels"] == 3

    def test_known_errors_are_mended_only_when_asked(self, tmp_path):
        root = write_masked_faces(tmp_path)
        given, mended = masked_faces.read(root).table, masked_faces.read(root, corrections=True)
        assert (given["gender"] != mended.table["gender"]).sum() == 7
        assert (given["mask"] != mended.table["mask"]).sum() == 2
        assert len(mended.notes["corrected_photos"]) == 9

    def test_evaluation_photos_are_rows_with_their_true_answers_when_asked(self, tmp_path):
        faces = masked_faces.read(write_masked_faces(tmp_path, answers=[14, 0, 7]), eval="yes")
        test = faces.table[faces.table["split"] == "test"].set_index("path").sort_index()
        assert test[["mask", "age_class", "gender"]].to_numpy().tolist() == [
            ["wear", "<30", "male"],
            ["incorrect", "30–59", "male"],
            ["normal", "≥60", "male"],
        ]
        assert test["age_years"].isna().all()
        train = faces.table[faces.table["split"] == "train"]
        assert train.groupby("subject_id")["age_class"].first().to_dict() == {
            "000001": "30–59", "000004": "30–59", "000020": "30–59", "001498-1": "<30",
        }  # fmt: skip

    def test_answers_as_they_were_given_out_are_none(self, tmp_path):
        root = write_masked_faces(tmp_path)
        with pytest.raises(UsageError, match=r"every answer .* is 0, so these are no true"):
            masked_faces.read(root, eval="yes")
        (root / "eval/info.csv").unlink()
        with pytest.raises(UsageError, match="no answers in an eval"):
            masked_faces.read(root, eval="yes")

    def test_an_answer_that_is_none_of_the_18_is_refused(self, tmp_path):
        with pytest.raises(TableError, match="1 answers are no whole numbers from 0 to 17, first '18'"):
            masked_faces.read(write_masked_faces(tmp_path, answers=[14, 18, 7]), eval="yes")

    def test_the_18_numbers_and_their_labels_are_one_to_one(self):
        labels = masked_faces.labels_of_answers(pd.Series(range(18)))
        assert len(labels.drop_duplicates()) == 18
        for columns in (["mask", "gender", "age_class"], ["mask_age_gender"]):
            assert masked_faces.answers_of_labels(labels[columns]).tolist() == list(range(18))

    def test_the_documented_person_has_the_documented_numbers(self):
        row = {"mask": ["wear", "incorrect", "normal"], "gender": "male", "age_years": 54.0}
        assert masked_faces.answers_of_labels(pd.DataFrame(row)).tolist() == [1, 7, 13]

    def test_numbers_survive_the_table_and_its_combined_column(self, tmp_path):
        faces = masked_faces.read(write_masked_faces(tmp_path))
        faces = combine_labels(add_age_class(faces, (30, 60)), ["mask", "age_class", "gender"])
        assert masked_faces.answers_of_labels(faces.table[["mask_age_gender"]]).equals(
            masked_faces.answers_of_labels(faces.table.drop(columns="mask_age_gender"))
        )

    def test_answers_are_written_in_the_order_of_the_file(self, tmp_path):
        info = write_masked_faces(tmp_path) / "eval" / "info.csv"
        given = pd.read_csv(info)
        predictions = pd.DataFrame(
            {
                "path": [f"eval/images/{name}" for name in given["ImageID"][::-1]],
                "predicted_mask": ["wear", "incorrect", "normal"],
                "predicted_gender": ["male", "female", "female"],
                "predicted_age_years": [29.9, 30.0, 88.0],
            }
        )
        masked_faces.write_answers(predictions, info, tmp_path / "out.csv")
        written = pd.read_csv(tmp_path / "out.csv")
        assert written["ImageID"].equals(given["ImageID"])
        assert written.columns.tolist() == ["ImageID", "ans"]
        assert written["ans"].tolist() == [17, 10, 0]

    def test_answers_that_are_missing_are_no_answer_file(self, tmp_path):
        info = write_masked_faces(tmp_path) / "eval" / "info.csv"
        names = pd.read_csv(info)["ImageID"]
        predictions = pd.DataFrame({"path": names[:2], "predicted_mask_age_gender": ["wear / <30 / male", None]})
        ages_alone = predictions[["path"]].assign(predicted_age_years=3.0)
        with pytest.raises(TableError, match="2 of the 3 photos"):
            masked_faces.write_answers(predictions, info, tmp_path / "out.csv")
        with pytest.raises(TableError, match="there is no mask, gender"):
            masked_faces.write_answers(ages_alone, info, tmp_path / "out.csv")
        assert not (tmp_path / "out.csv").exists()
