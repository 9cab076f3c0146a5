"""MiVOLO's answers as a predictions table: python mivolo_answers.py labels.csv PHOTOS out.csv DETECTOR CHECKPOINT."""

import sys
from types import SimpleNamespace

import pandas as pd


def row(found: object) -> dict:
    """Return what `Predictor.recognize` says of one photo, of its largest face; its score is the named gender's."""
    boxes = {number: [int(end) for end in found.get_bbox_by_ind(number)] for number in found.get_bboxes_inds("face")}
    boxes = {number: box for number, box in boxes.items() if found.ages[number] is not None}
    if not boxes:
        return {}
    number = max(boxes, key=lambda one: (boxes[one][2] - boxes[one][0]) * (boxes[one][3] - boxes[one][1]))
    gender, score = found.genders[number], found.gender_scores[number]
    female = score if gender == "female" else 1 - score
    shares = {"gender_probability_female": female, "gender_probability_male": 1 - female}
    return {"predicted_age_years": max(0.0, found.ages[number]), "predicted_gender": gender, **shares}


if __name__ == "__main__":
    import cv2
    from mivolo.predictor import Predictor

    labels, photos, out = pd.read_csv(sys.argv[1]), sys.argv[2], sys.argv[3]  # path, age_years, gender, ethnicity, …
    how = {"device": "cuda:0", "with_persons": True, "disable_faces": False, "draw": False}
    mivolo = Predictor(SimpleNamespace(detector_weights=sys.argv[4], checkpoint=sys.argv[5], **how))
    rows = [row(mivolo.recognize(cv2.imread(f"{photos}/{path}"))[0]) for path in labels["path"]]
    labels.join(pd.DataFrame(rows)).to_csv(out, index=False)
