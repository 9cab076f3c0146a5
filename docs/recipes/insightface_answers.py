"""InsightFace's answers as a predictions table: python insightface_answers.py labels.csv PHOTOS out.csv."""

import sys

import pandas as pd


def row(faces: list) -> dict:
    """Return what `FaceAnalysis.get` says of one photo, of its largest face; it gives no probabilities."""
    if not faces:
        return {}
    face = max(faces, key=lambda one: (one["bbox"][2] - one["bbox"][0]) * (one["bbox"][3] - one["bbox"][1]))
    return {"predicted_age_years": int(face["age"]), "predicted_gender": ("female", "male")[int(face["gender"])]}


if __name__ == "__main__":
    import cv2
    from insightface.app import FaceAnalysis

    labels, photos, out = pd.read_csv(sys.argv[1]), sys.argv[2], sys.argv[3]  # path, age_years, gender, ethnicity, …
    analysis = FaceAnalysis(name="buffalo_l", allowed_modules=["detection", "genderage"])
    analysis.prepare(ctx_id=0)
    rows = [row(analysis.get(cv2.imread(f"{photos}/{path}"))) for path in labels["path"]]
    labels.join(pd.DataFrame(rows)).to_csv(out, index=False)
