"""The model card: what people write in card.toml is kept and merged, and uses are drafted from the figures."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from golden_model import write_golden

from agegender import Model
from agegender.audit.assessment import assess
from agegender.pages import card_text
from agegender.pages.card_metadata import metadata_block
from agegender.pages.card_page import card_markdown, card_parts
from agegender.pages.card_text import HumanText, keep_or_make, read_human, template
from agegender.pages.card_uses import COULD, NOT, UNSETTLED, drafted_uses
from agegender.pages.page_writing import ReportContent
from agegender.pages.report_set import write_page_alone, write_report_set
from pages.report_inputs import make_predictions


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return ReportContent(assess(make_predictions(700).assign(split="test"), title="made-up"))


def part(content, title):
    return next(one for one in card_parts(content) if one["title"] == title)


def test_what_people_wrote_is_in_both_cards_and_its_file_is_never_changed(content, tmp_path):
    model, pages = tmp_path / "model", tmp_path / "pages"
    model.mkdir()
    content = replace(content, model_folder=model)
    write_report_set(pages, content, only=("card",))
    assert not list(model.iterdir())  # a report changes no model
    made = (pages / "card.toml").read_text()
    assert made == template("made-up")
    written = made.replace('# contact = ""', 'contact = "anna@example.org <b>"')
    written = written.replace('# intended_use = ""', 'intended_use = """\nTo count.\n\nNothing else.\n"""')
    (model / "card.toml").write_text(written)
    write_report_set(pages, content, only=("card",))
    page, text = (pages / "card.html").read_text(), (pages / "MODEL_CARD.md").read_text()
    assert (model / "card.toml").read_text() == written
    assert "anna@example.org &lt;b&gt;" in page
    assert "anna@example.org &lt;b&gt;" in text
    assert "<p>To count.</p><p>Nothing else.</p>" in page
    assert "as <code>contact</code>" not in page
    assert "as <code>licence</code>" in page


def test_every_question_of_the_file_stands_on_the_card_until_it_is_answered(content):
    asked = {key for one in card_parts(content) for key, _ in one["asks"]}
    assert asked == {one.key for one in card_text.QUESTIONS}
    answers = HumanText({one.key: (f"about {one.key}",) for one in card_text.QUESTIONS})
    told = card_parts(replace(content, human=answers))
    assert not [key for one in told for key, _ in one["asks"]]
    text = card_markdown("x", told, is_drawn=False)
    assert all(f"about {one.key}".replace("_", r"\_") in text for one in card_text.QUESTIONS)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("contact = ", "could not be read"),
        ("contcat = 'x'", "Did you mean contact?"),
        ("wanted_share = 80", "wanted_share in card.toml is no share"),
        ("wanted_share = true", "wanted_share in card.toml is no share"),
        ("limits = {a = 1}", "limits in card.toml is neither a text nor a list"),
    ],
)
def test_a_file_that_cannot_be_read_stops_no_report_and_the_card_says_why(content, tmp_path, written, said, capsys):
    (tmp_path / "card.toml").write_text(written)
    write_report_set(tmp_path, content, only=("card",))
    assert said in (tmp_path / "card.html").read_text()
    assert said in capsys.readouterr().err


def test_bytes_that_are_no_text_stop_no_report_either(tmp_path):
    (tmp_path / "card.toml").write_bytes(b"contact = '\xff'")
    assert "could not be read" in read_human(tmp_path / "card.toml").problems[0]
    keep_or_make(tmp_path / "card.toml", tmp_path / "new.toml", "x", "")
    assert (tmp_path / "new.toml").read_bytes() == b"contact = '\xff'"


def test_a_text_about_another_run_says_so(content):
    old = replace(content, card={"name": "x", "run_id": "second"}, human=HumanText({"limits": ("few",)}, run="first"))
    assert any("the training run first" in line for line in part(old, "Model details")["lines"])
    new = replace(old, human=replace(old.human, run="second"))
    assert not part(new, "Model details")["lines"]


def test_a_use_is_drafted_where_its_whole_interval_is_on_one_side_of_what_is_wanted(content):
    for wanted in (0.5, 0.8, 0.95):
        uses = drafted_uses(content, HumanText(numbers={"wanted_share": wanted, "wanted_accuracy": wanted}))
        assert {use.head.name for use in uses} == {"age", "gender"}
        for use in uses:
            low, high = use.group.estimate.low, use.group.estimate.high
            settled = COULD if low >= wanted else NOT if high < wanted else UNSETTLED
            assert use.verdict == (settled if use.group.n >= 30 else UNSETTLED)
    assert {use.verdict for use in uses} >= {NOT, UNSETTLED}


def test_a_drafted_sentence_has_the_share_of_the_rows_themselves(content):
    rows = content.assessment.judged
    women = rows[rows["gender"] == "female"]
    share = 100 * ((women["predicted_age_years"] - women["age_years"]).abs() <= 8).mean()
    uses = drafted_uses(content, HumanText())
    (use,) = (one for one in uses if one.group.values == ("female",) and one.head.name == "age")
    found = re.fullmatch(
        r"Faces labelled female: age within ±8 years for (\d+) % \((\d+) to (\d+) %\) of (\d+) photos\.", use.sentence
    )
    assert found is not None
    assert abs(int(found[1]) - share) <= 0.5
    assert int(found[2]) < share < int(found[3])
    assert int(found[4]) == len(women)


def test_the_draft_is_marked_as_one_until_somebody_has_checked_it(content):
    first = part(content, "Conditional uses")["lines"][0]
    assert "Nobody has checked it yet" in first
    checked = replace(content, human=HumanText({"uses_checked_by": ("Anna",)}))
    assert part(checked, "Conditional uses")["lines"][0] == "A draft."
    assert part(checked, "Conditional uses")["human"] == [("Checked by", ("Anna",))]


def test_a_number_without_tolerances_gets_no_draft_and_the_card_says_so(tmp_path):
    rows = make_predictions(80).assign(split="test")
    rows = rows.rename(columns={"age_years": "height_cm", "predicted_age_years": "predicted_height_cm"})
    content = ReportContent(assess(rows[["path", "height_cm", "predicted_height_cm"]], title="heights"))
    lines = part(content, "Conditional uses")["lines"]
    assert "Height: how large an error does no harm is not known, so no use is drafted." in lines
    page = write_page_alone(tmp_path / "card.html", "card", content).read_text()
    assert "Proving a height" in page


def test_each_factor_has_one_figure_that_begins_with_the_worst_group(content):
    shown = part(content, "Factors")["charts"]
    assert len(shown) == 2 * len(content.comparisons.single)
    result = content.comparisons.get(("age_group",), "age.mean_absolute_error")
    words = next(words for _, words in shown if words.startswith("Age") and "by age, worst first" in words)
    worst = max(result.ranked, key=lambda group: group.estimate.value)
    assert f"worst first: {worst.name} " in words


def test_a_model_that_is_saved_again_keeps_its_file(tmp_path):
    write_golden(tmp_path / "golden")
    model = Model.load(tmp_path / "golden", device="cpu")
    written = model.save(tmp_path / "mine") / "card.toml"
    assert written.read_text() == template(model.name, model.card.get("run_id") or "")
    written.write_text('contact = "me"')
    assert (model.save(tmp_path / "mine") / "card.toml").read_text() == 'contact = "me"'
    assert (Model.load(tmp_path / "mine").save(tmp_path / "copy") / "card.toml").read_text() == 'contact = "me"'


def test_a_model_without_a_file_gets_one_and_another_keeps_its_own(tmp_path):
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    keep_or_make(old, new, "mine", "r1")
    assert new.read_text() == template("mine", "r1")
    old.write_text('contact = "me"')
    keep_or_make(old, new, "mine", "r2")
    assert new.read_text() == 'contact = "me"'


def metadata(content):
    """What Hugging Face's own reader makes of the top of the card, and what plain YAML makes of it."""
    hub, yaml = pytest.importorskip("huggingface_hub"), pytest.importorskip("yaml")
    block = metadata_block(content)
    assert block.startswith("---\n")
    assert block.endswith("\n---\n\n")
    found = yaml.safe_load(block.strip().removeprefix("---").removesuffix("---"))
    read = hub.ModelCard(block + "# Model card: x\n").data
    assert read.to_dict() == found  # nothing was left out or read otherwise
    return found, read


def test_the_card_has_the_hubs_metadata_with_the_figures_of_the_audit(content, tmp_path):
    found, read = metadata(content)
    assert list(found) == ["library_name", "pipeline_tag", "tags", "metrics", "model-index"]
    assert found["tags"] == ["agegender", "face-analysis", "age-estimation", "gender-classification"]
    assert found["metrics"] == ["mae", "accuracy"]
    assert read.model_name == "made-up"
    told = {one.metric_type: one for one in read.eval_results}
    assert set(told) == {"mae", "within_5", "within_8", "interval_coverage", "accuracy"}
    mae = content.assessment.overall("age.mean_absolute_error")
    assert told["mae"].metric_value == round(mae.value, 6)
    ends = f"95 % CI {mae.low:.2f} to {mae.high:.2f}"
    assert told["mae"].metric_name == f"Mean absolute error in years (n = 700, {ends})"
    assert all(0 <= told[name].metric_value <= 1 for name in set(told) - {"mae"})
    assert {one.dataset_split for one in told.values()} == {"test"}
    assert told["mae"].dataset_type == "own"  # photos of a table are no data set of the Hub
    write_report_set(tmp_path, content, only=("card",))
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert text.startswith(metadata_block(content) + "# Model card: made-up\n")


@pytest.mark.parametrize(
    ("written", "licence"),
    [
        ((), {}),
        (("MIT",), {"license": "mit"}),
        (("CC BY-NC 4.0",), {"license": "cc-by-nc-4.0"}),
        (("Research only.",), {"license": "other", "license_name": "research-only"}),
        (
            ("Ours, see https://example.org/licence.txt.",),
            {"license": "other", "license_name": "ours-see", "license_link": "https://example.org/licence.txt"},
        ),
        (("只供研究",), {"license": "other", "license_name": "other"}),
        (('x"\nlicense: mit',), {"license": "other", "license_name": "x-license-mit"}),
    ],
)
def test_a_licence_is_one_that_the_hub_knows_or_another_with_a_name(content, written, licence):
    found, _ = metadata(replace(content, human=HumanText({"licence": written} if written else {})))
    assert {key: value for key, value in found.items() if key.startswith("license")} == licence


@pytest.mark.parametrize("title", ['a"\n---\nlicense: mit\n', "– 😀 \x00\x85\u2028 'x': [y]", "null", "---", "\n"])
def test_a_name_adds_nothing_to_the_metadata(title):
    rows = make_predictions(60).assign(split="test", source=title)
    found, read = metadata(ReportContent(assess(rows, title=title, is_drawn=True)))
    assert list(found) == ["library_name", "pipeline_tag", "tags", "metrics", "model-index"]
    assert found["tags"][-1] == "drawn-faces"
    assert isinstance(read.model_name, str)


def test_the_metadata_names_data_sets_of_many_sources_and_heads_of_any_name():
    rows = make_predictions(80).drop(columns=["gender", "predicted_gender", "female_probability"])
    rows = rows.rename(columns={"age_years": "height_cm", "predicted_age_years": "predicted_height_cm"})
    rows = rows.drop(columns=["age_low_years", "age_high_years"]).assign(split="test")
    rows["source"] = ["utkface", "appa_real", "csv", "drawn_faces"] * 20
    found, read = metadata(ReportContent(assess(rows, title="tall")))
    assert found["datasets"] == ["utkface", "appa-real"]
    assert found["tags"] == ["agegender", "face-analysis", "height-estimation"]
    assert {(one.dataset_type, one.task_type) for one in read.eval_results} == {("mixed", "image-regression")}


def test_a_card_that_hides_faces_has_no_figure_of_a_few_photos():
    content = ReportContent(assess(make_predictions(9).assign(split="test"), title="few"))
    assert "model-index" in metadata(content)[0]
    assert "model-index" not in metadata(replace(content, hide_faces=True))[0]
