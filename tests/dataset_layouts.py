"""Small datasets, each written out in its own published layout, with the oddities that the real ones have."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

PHOTOS_WRITTEN = iter(range(10**9))


def photo(path: Path) -> Path:
    """Write a small photo that has no twin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(next(PHOTOS_WRITTEN))
    coarse = random.integers(0, 255, (6, 6, 3), np.uint8)
    pixels = cv2.resize(coarse, (48, 48), interpolation=cv2.INTER_CUBIC)
    written, encoded = cv2.imencode(path.suffix if path.suffix.lower() in {".jpg", ".png"} else ".jpg", pixels)
    assert written
    path.write_bytes(encoded.tobytes())
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def write_utkface(root: Path) -> Path:
    for index in range(12):
        photo(root / f"{20 + index}_{index % 2}_{index % 5}_201701161745251{index:02d}.jpg.chip.jpg")
    photo(root / "39_1_20170116174525125.jpg.chip.jpg")
    return root


def write_appa_real(root: Path) -> Path:
    release = root / "appa-real-release"
    number = 0
    for split, count in (("train", 6), ("valid", 3), ("test", 3)):
        averages = ["file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age"]
        categories = ["file,gender,race,makeup,time,happiness"]
        for _ in range(count):
            name = f"{number:06d}.jpg"
            photo(release / split / name)
            photo(release / split / f"{name}_face.jpg")
            averages.append(f"{name},3{number % 10},{number + 4.5},0,{number + 6}")
            gender = "female" if number % 2 else "male"
            categories.insert(1, f"{name},{gender},caucasian,nomakeup,modernphoto,slightlyhappy")
            number += 1
        text(release / f"gt_avg_{split}.csv", "\n".join(averages))
        text(root / "allcategories" / f"allcategories_{split}.csv", "\n".join(categories))
    return root


def write_course_kit(root: Path) -> Path:
    generator = np.random.default_rng(11)
    (root / "data").mkdir(parents=True)
    for split, count in (("train", 8), ("valid", 4), ("test", 3)):
        coarse = generator.integers(0, 255, (count, 6, 6, 3), np.uint8)
        photos = coarse.repeat(8, axis=1).repeat(8, axis=2)
        np.save(root / "data" / f"data_{split}.npy", photos)
        if split != "test":
            np.save(root / "data" / f"labels_{split}.npy", 20.5 + np.arange(count, dtype=np.float64))
            words = [
                ("female" if n % 2 else "male", "caucasian", ("happy", "neutral")[n // 2 % 2]) for n in range(count)
            ]
            np.save(root / "data" / f"meta_data_{split}.npy", np.array(words))
    return root


def write_afad(root: Path) -> Path:
    text(root / "AFAD-Full.txt", "stray")
    for age in (15, 18, 39, 69):
        for gender in (111, 112):
            photo(root / f"AFAD-Full/{age}/{gender}/638660-{gender + age}.jpg")
    return root


def write_cacd(root: Path, *, with_metadata: bool = True) -> Path:
    names = [
        "14_Bill_Skarsga\u030ard_0004.jpg",
        "33_A.J._Cook_0013.jpg",
        "34_A.J._Cook_0014.jpg",
        "50_Some_One_0001.jpg",
    ]
    for name in names:
        photo(root / "CACD2000" / name)
    if with_metadata:
        write_cacd_metadata(root / "celebrity2000_meta.mat")
    return root


def write_cacd_metadata(path: Path) -> None:
    from scipy.io import savemat

    names = [
        "14_Bill_Skarsg\u00e5rd_0004.jpg",
        "33_A.J._Cook_0013.jpg",
        "34_A.J._Cook_0014.jpg",
        "50_Some_One_0001.jpg",
    ]
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = names
    savemat(path, {"celebrityImageData": {"rank": np.array([[2], [3], [3], [40]]), "name": cells}})


def write_fairface(root: Path) -> Path:
    header = "file,age,gender,race,service_test"
    ages = ["0-2", "03-Sep", "Oct-19", "20-29", "more than 70", "9-Mar", "60-69", "30-39"]
    for side in ("train", "val"):
        rows = [
            f"{side}/{number + 1}.jpg,{age},{'Male' if number % 2 else 'Female'},East Asian,TRUE"
            for number, age in enumerate(ages)
        ]
        text(root / f"fairface_label_{side}.csv", "\n".join([header, *rows]))
        for number in range(len(ages)):
            photo(root / "fairface-img-margin025-trainval" / side / f"{number + 1}.jpg")
    return root


def write_all_age_faces(root: Path) -> Path:
    names = ["00000A02", "07380A80", "07381A30", "13321A55"]
    for name in names:
        photo(root / "All-Age-Faces Dataset" / "aglined faces" / f"{name}.jpg")
        photo(root / "All-Age-Faces Dataset" / "original images" / f"{name}.jpg")
    text(root / "All-Age-Faces Dataset/image sets/train.txt", "00000A02 0\n07381A30 1\n13321A55 1\n")
    text(root / "All-Age-Faces Dataset/image sets/val.txt", "07380A80 0\n")
    text(root / "All-Age-Faces Dataset/key points/00000A02.txt", "1 2 3")
    return root


def write_masked_faces(root: Path, answers: Sequence[int] = (0, 0, 0)) -> Path:
    people = ["000001_female_Asian_45", "000004_male_Asian_54", "001498-1_female_Asian_23", "000020_female_Asian_50"]
    for person in people:
        folder = root / "train" / "images" / person
        for number in range(1, 6):
            photo(folder / f"mask{number}.jpg")
        photo(folder / "incorrect_mask.png")
        photo(folder / "normal.jpeg")
        photo(folder / "._normal.jpeg")
        photo(folder / ".ipynb_checkpoints" / "normal-checkpoint.jpg")
    text(
        root / "train/train.csv", "id,gender,race,age,path\n" + "\n".join(p.replace("_", ",") + f",{p}" for p in people)
    )
    names = [f"{digit * 40}.jpg" for digit in "c0a"]
    for name in names:
        photo(root / "eval/images" / name)
    rows = [f"{name},{answer}" for name, answer in zip(names, answers, strict=True)]
    text(root / "eval/info.csv", "\n".join(["ImageID,ans", *rows]))
    return root


def write_folder(root: Path) -> Path:
    for place in ("25/female", "female/31", "test/male_30-39", "age 7/boy", "0/women", "150/male", "misc"):
        photo(root / place / "photo.jpg")
    return root


def write_csv_table(root: Path) -> Path:
    rows = ["img;years;sex;person", "a.jpg;26,5;f;1"]
    ages = ["-1", "0", "150", "", "nan", "old", "25-32", "41"]
    for number, age in enumerate(ages):
        photo(root / f"photos/{number}.jpg")
        rows.append(f"photos/{number}.jpg;{age};{'M' if number % 2 else 'Female'};{number}")
    photo(root / "a.jpg")
    text(
        root / "labels.csv", "\ufeff" + "\n".join([*rows, "photos/gone.jpg;30;f;9", "../outside.jpg;30;f;9", ";30;f;9"])
    )
    photo(root.parent / "outside.jpg")
    return root


COLUMNS = {"path": "img", "age_years": "years", "gender": "sex", "subject_id": "person"}
# Source -> what writes its layout, and the options to read it with.
LAYOUTS = {
    "utkface": (write_utkface, {}),
    "appa_real": (write_appa_real, {}),
    "course_kit": (write_course_kit, {}),
    "afad": (write_afad, {}),
    "cacd": (write_cacd, {}),
    "fairface": (write_fairface, {}),
    "all_age_faces": (write_all_age_faces, {}),
    "masked_faces": (write_masked_faces, {}),
    "folder": (write_folder, {}),
    "csv_table": (write_csv_table, {"columns": COLUMNS}),
}
