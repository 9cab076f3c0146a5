"""DeepFace's answers as a predictions table: python deepface_answers.py labels.csv PHOTOS out.csv."""

import sys

import pandas as pd

NAMES = {"Woman": "female", "Man": "male"}


def row(faces: list) -> dict:
    """Return what `DeepFace.analyze` says of one photo, of its largest face; shares of gender are percent there."""
    if not faces:
        return {}
    face = max(faces, key=lambda one: one["region"]["w"] * one["region"]["h"])
    shares = {f"gender_probability_{NAMES[name]}": share / 100 for name, share in face["gender"].items()}
    return {"predicted_age_years": face["age"], "predicted_gender": NAMES[face["dominant_gender"]], **shares}


def answers(photo: str) -> list:
    """Ask DeepFace; a photo without a face is an error there, and here a row without a prediction."""
    from deepface import DeepFace

    try:
        return DeepFace.analyze(photo, actions=("age", "gender"), detector_backend="retinaface", silent=True)
    except ValueError:
        return []


if __name__ == "__main__":
    labels, photos, out = pd.read_csv(sys.argv[1]), sys.argv[2], sys.argv[3]  # path, age_years, gender, ethnicity, …
    labels.join(pd.DataFrame([row(answers(f"{photos}/{path}")) for path in labels["path"]])).to_csv(out, index=False)
