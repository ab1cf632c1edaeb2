"""The sentence at the top says what the figures say, and no more."""

import pytest

from secateur.reporting.record import LatencyView, MetricsView, Run, Stage
from secateur.reporting.verdict import compare, headline, interval, lead, remarks


def run(*stages: Stage, **more) -> Run:
    return Run(name="x", created="2026-11-02", secateur="0.1.0", stages=stages, **more)


def stage(name: str, accuracy: float | None = None, *, ms: dict[int, float] | None = None, **more):
    metrics = MetricsView(task="classification", accuracy=accuracy, rows=1000, chance=0.1)
    times = tuple(LatencyView(batch=batch, median_ms=time) for batch, time in (ms or {}).items())
    return Stage(
        name=name, metrics=metrics if accuracy is not None else None, latencies=times, **more
    )


def value(name: str, **metrics) -> Stage:
    return Stage(name=name, metrics=MetricsView(task="regression", **metrics))


def said(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            stage("baseline", 0.911, ms={1: 2.9}, bytes=410),
            stage("exported", 0.908, ms={1: 1.0}, bytes=100),
            "2.9× faster, 4.1× smaller, accuracy 0.3 points lower.",
        ),
        (
            stage("baseline", 0.90, ms={1: 2.0, 32: 52.0}, bytes=100),
            stage("exported", 0.91, ms={1: 1.0, 32: 20.0}, bytes=100),
            "2.0–2.6× faster, the same size, accuracy 1.0 point higher.",
        ),
        (
            stage("baseline", 0.90, ms={1: 1.0}, bytes=100),
            stage("exported", 0.90, ms={1: 1.4}, bytes=130),
            "1.4× slower, 1.3× larger, accuracy unchanged.",
        ),
        (
            stage("baseline", 0.90, ms={1: 1.0, 32: 9.0}, bytes=100),
            stage("exported", 0.90, ms={1: 1.02, 32: 8.9}, bytes=95),
            "As fast as before, 5.0 % smaller, accuracy unchanged.",
        ),
        (
            stage("baseline", 0.90, ms={1: 1.0, 32: 20.0}, bytes=200),
            stage("exported", 0.90, ms={1: 1.5, 32: 10.0}, bytes=100),
            "1.5× slower at batch 1, 2.0× faster at batch 32, 2.0× smaller, accuracy unchanged.",
        ),
        (
            stage("baseline", 0.90, bytes=200, macs=300),
            stage("cut", 0.895, bytes=100, macs=100),
            "2.0× smaller, 3.0× fewer MACs, accuracy 0.5 points lower; speed not measured.",
        ),
        (
            stage("baseline", 0.90, ms={1: 1.0}, parameters=200),
            stage("cut", ms={8: 1.0}, parameters=100),
            "2.0× smaller, accuracy not measured; speed not measured.",
        ),
        (
            value("baseline", r2=0.8731),
            value("cut", r2=0.8702),
            "R² 0.0029 lower; speed not measured.",
        ),
        (
            value("baseline", mae=11.0),
            value("cut", mae=12.5),
            "MAE 1.5 higher; speed not measured.",
        ),
    ],
)
def test_the_sentence(before, after, sentence):
    assert said(headline(run(before, after))) == sentence


def test_a_run_with_nothing_to_compare():
    assert headline(run()) == "Nothing was measured."
    assert (
        said(headline(run(stage("baseline", 0.9))))
        == "Accuracy 90.0 %, with nothing to compare it with."
    )
    assert any("no stage" in text.lower() for text in remarks(run()))
    assert any("Only the baseline" in text for text in remarks(run(stage("baseline", 0.9))))
    assert any("No baseline" in text for text in remarks(run(stage("cut", 0.9))))


def test_a_figure_that_the_last_stage_lacks_comes_from_the_one_before():
    seen = compare(
        run(
            stage("baseline", 0.9, parameters=10, ms={1: 4.0}),
            stage("fine-tuned", 0.8, parameters=5),
            stage("exported", ms={1: 2.0}),
        )
    )
    assert (seen.parameters.after, seen.quality[1].after, seen.latencies[0][1].median_ms) == (
        5,
        0.8,
        2.0,
    )


def test_latencies_of_other_conditions_are_not_compared():
    one, two = stage("baseline", 0.9, ms={1: 4.0}), stage("exported", 0.9)
    other = two.model_copy(update={"latencies": (LatencyView(batch=1, threads=2, median_ms=1.0),)})
    assert compare(run(one, other)).latencies == ()
    assert "speed not measured" in headline(run(one, other))


def test_less_arithmetic_without_less_time_is_remarked():
    slow = run(
        stage("baseline", 0.9, ms={1: 1.0}, macs=200), stage("exported", 0.9, ms={1: 1.0}, macs=100)
    )
    assert [said(text) for text in remarks(slow)] == [
        "The model does 50.0 % less arithmetic, yet the measured time did not fall."
    ]


def test_an_exported_file_that_scores_differently_is_remarked():
    text = " ".join(remarks(run(stage("baseline", 0.9), stage("cut", 0.9), stage("exported", 0.7))))
    assert "−20.0 points" in text


def test_near_chance_is_remarked_once():
    poor = run(stage("baseline", 0.11), stage("cut", 0.6))
    assert "baseline is near chance" in remarks(poor)[0]
    warned = run(*poor.stages, warnings=("The baseline is near chance.",))
    assert remarks(warned) == ()


def test_the_lead_backs_the_sentence_with_figures():
    text = said(
        lead(run(stage("baseline", 0.9, ms={32: 9.0}), stage("exported", 0.89, ms={32: 3.0})))
    )
    assert text == (
        "The model that came out takes 3.00 ms for a batch of 32; the baseline takes 9.00 ms "
        "(ONNX Runtime, 1 thread). It gets 89.0 % of 1,000 test rows right; the baseline 90.0 %."
    )


def test_the_interval_is_wilsons():
    low, high = interval(0.9, 100) or (0, 0)
    assert low == pytest.approx(0.8256, abs=1e-4)
    assert high == pytest.approx(0.9448, abs=1e-4)
    assert interval(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert interval(None, 10) is None
    assert interval(0.5, 0) is None
