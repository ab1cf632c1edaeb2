import json

import keras
import numpy as np
import pytest
from keras import layers

from secateur.errors import BudgetError, PlanError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning.plan import Plan, plan
from secateur.steps.cutting import cut
from zoo import model_of, unequal_sizes


def planned(model, **options):
    graph = trace(model)
    return plan(graph, observe(graph), **options)


@pytest.fixture
def model():
    return model_of("residual")


def test_the_weakest_units_go(model):
    made = planned(model, ratio=0.3, round_to=1, by=lambda group, stats: np.arange(len(group)))
    for entry in made.cuts:
        assert entry.remove == tuple(range(len(entry.remove)))


def test_widths_are_rounded(model):
    made = planned(model, macs=0.5)
    assert made.cuts
    for entry in made.cuts:
        assert (entry.units - len(entry.remove)) % 8 == 0


@pytest.mark.parametrize("widths", [(48, 32, 64), (64, 64, 64), (32, 32)])
@pytest.mark.parametrize("budget", [0.5, 0.25])
def test_little_of_the_budget_is_left_where_chunks_are_large(widths, budget):
    x = inputs = keras.Input((16,))
    for units in widths:
        x = layers.Dense(units, "relu", kernel_initializer=keras.initializers.HeNormal(seed=units))(
            x
        )
    made = planned(keras.Model(inputs, layers.Dense(2)(x)), macs=budget, by="l2")
    left = made.after["macs"] / made.before["macs"]
    assert 0.95 * budget < left <= budget


def test_local_takes_the_same_share_of_each(model):
    made = planned(model, ratio=0.5, scope="local", round_to=1)
    assert {len(entry.remove) / entry.units for entry in made.cuts} == {0.5}
    assert len(made.cuts) == 5


def test_a_floor_stays(model):
    made = planned(model, params=0.3, round_to=1, floor=0.4)
    assert all(entry.units - len(entry.remove) >= 0.4 * entry.units for entry in made.cuts)


def test_layers_can_be_kept_by_pattern():
    model = model_of("dense")
    first, second, _ = [layer.name for layer in model.layers]
    made = planned(model, macs=0.7, round_to=1, keep=[first])
    assert [entry.group for entry in made.cuts] == [second]


def test_a_pattern_that_matches_nothing_is_an_error(model):
    with pytest.raises(PlanError, match="'stem_\\*' matches no layer"):
        planned(model, macs=0.5, keep=["stem_*"])


@pytest.mark.parametrize("value", [0, 1, 1.5, -0.2, "half", True, float("nan")])
def test_a_budget_out_of_range_is_an_error(model, value):
    with pytest.raises(BudgetError, match="between 0 and 1"):
        planned(model, macs=value)


@pytest.mark.parametrize("budgets", [{}, {"macs": 0.5, "params": 0.5}])
def test_exactly_one_budget_is_given(model, budgets):
    with pytest.raises(BudgetError, match="exactly one budget"):
        planned(model, **budgets)


def test_a_budget_that_cannot_be_met_names_the_best_that_can(model):
    with pytest.raises(BudgetError, match=r"cannot fall to 1\.0% .* smallest allowed width \d"):
        planned(model, macs=0.01)


@pytest.mark.parametrize(
    ("option", "value"), [("scope", "both"), ("round_to", 0), ("round_to", 2.5), ("floor", 1.0)]
)
def test_an_option_out_of_range_is_named(model, option, value):
    with pytest.raises(PlanError) as caught:
        planned(model, macs=0.5, **{option: value})
    assert caught.value.where == option


def test_keeping_every_layer_leaves_no_budget_to_meet(model):
    with pytest.raises(BudgetError, match=r"smallest allowed width 100\.0% is left"):
        planned(model, macs=0.9, keep=["*"])


def test_a_model_without_what_is_budgeted_is_an_error():
    i = keras.Input((2,), dtype="int32")
    x = keras.layers.Embedding(9, 16)(i)
    graph = trace(keras.Model(i, keras.ops.sum(x, axis=(1, 2))))
    with pytest.raises(PlanError, match="have no macs"):
        plan(graph, observe(graph), macs=0.5, round_to=1)
    assert plan(graph, observe(graph), ratio=0.5, round_to=1).cuts


def test_a_model_with_nothing_to_remove_is_an_error():
    i = keras.Input((4,))
    with pytest.raises(PlanError, match="nothing in this model can be removed"):
        planned(keras.Model(i, layers.Dense(2)(i)), macs=0.5)


@pytest.mark.parametrize(
    ("scores", "gave"),
    [
        (np.zeros(3), r"an array of shape \(3,\)"),
        (np.full(16, np.nan), "16 that are not finite"),
        ("high", "a str"),
        ([[1], [2, 3]], "a list"),
        (None, r"an array of shape \(\)"),
    ],
)
def test_a_criterion_must_give_one_finite_score_a_unit(model, scores, gave):
    def mine(group, stats):
        return scores

    with pytest.raises(PlanError, match=f"one finite score a unit; for .* 'mine' gave {gave}"):
        planned(model, macs=0.5, by=mine)


def test_a_criterion_says_what_it_needs(model):
    with pytest.raises(PlanError, match="taylor needs taylor"):
        planned(model, macs=0.5, by="taylor")


def test_the_explanation_names_every_cut_and_the_saving(model):
    made = planned(model, macs=0.5)
    text = made.explain()
    assert f"{made.after['macs']:,}" in text
    for entry in made.cuts:
        assert f"{entry.group}" in text
        assert f"{entry.units} -> {entry.units - len(entry.remove)}" in text


def test_a_plan_is_a_file(tmp_path, model):
    made = planned(model, macs=0.5)
    made.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == made


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cuts": 3}', "\x00"])
def test_what_is_no_plan_is_refused(tmp_path, text):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(PlanError, match="not a plan") as caught:
        Plan.load(path)
    assert str(path) == caught.value.where


def test_a_missing_plan_is_refused(tmp_path):
    with pytest.raises(PlanError, match="cannot be read"):
        Plan.load(tmp_path / "none.json")


@pytest.mark.parametrize("remove", [[99], [-1], list(range(16)), []])
def test_a_plan_changed_by_hand_is_refused(model, remove):
    made = planned(model, macs=0.5, round_to=1)
    raw = json.loads(made.to_json())
    stream = next(g for g in trace(model).groups if len(g) == 16)
    raw["cuts"] = [{**raw["cuts"][0], "group": stream.name, "remove": remove}]
    with pytest.raises(PlanError, match="changed by hand"):
        cut(model, Plan.from_json(json.dumps(raw)))


def test_blocks_go_only_where_they_are_asked_for(model):
    assert not any("blocks" in entry.group for entry in planned(model, ratio=0.5).cuts)
    made = planned(model, ratio=0.5, kinds=("block",))
    assert [entry.units - len(entry.remove) for entry in made.cuts] == [1]


@unequal_sizes
def test_only_the_kinds_that_are_asked_for_shrink():
    model = model_of("attention")
    kinds = {group.name: group.kind for group in trace(model).groups}
    for asked in (("head",), ("query-key", "value"), ("channel", "block"), ("stream",)):
        made = planned(model, ratio=0.3, round_to=1, kinds=asked)
        assert {kinds[entry.group] for entry in made.cuts} <= set(asked)
        units = sum(len(g) for g in trace(model).groups if g.kind in asked)
        assert 0.3 * units <= sum(len(entry.remove) for entry in made.cuts) < 0.3 * units + 1


def test_rounding_is_for_widths_and_not_for_blocks():
    made = planned(model_of("attention"), macs=0.8, kinds=("block",), round_to=8)
    (entry,) = made.cuts
    assert (entry.units, len(entry.remove)) == (4, 1)
    assert f"4 -> 3 blocks; block {entry.members[entry.remove[0]]} removed" in made.explain()


def test_a_floor_keeps_blocks():
    with pytest.raises(BudgetError, match="smallest allowed width"):
        planned(model_of("attention"), macs=0.3, kinds=("block",), floor=0.5)


@pytest.mark.parametrize(
    "kinds", [("filter",), ("head",), ("channel", "cell"), (), "channel", ("block", "blocks")]
)
def test_a_kind_that_the_model_does_not_have_is_an_error(model, kinds):
    with pytest.raises(PlanError) as caught:
        planned(model, macs=0.5, kinds=kinds)
    assert caught.value.where == "kinds"
    assert "channel, stream, block" in str(caught.value.mend).replace(
        "stream, channel", "channel, stream"
    )


def test_a_layer_that_stays_keeps_the_block_that_it_is_in():
    model = model_of("residual")
    group = next(group for group in trace(model).groups if group.kind == "block")
    for index, paths in enumerate(group.contents):
        inner = next(path for path in sorted(paths) if path.startswith("conv"))
        (entry,) = planned(model, ratio=0.5, kinds=("block",), keep=[inner]).cuts
        assert entry.remove == (1 - index,)
    with pytest.raises(BudgetError):
        planned(model, ratio=0.5, kinds=("block",), keep=["*"])


def test_what_goes_with_a_block_is_not_told_as_well(model):
    made = planned(
        model,
        ratio=0.6,
        round_to=1,
        kinds=("block", "channel"),
        by=lambda group, stats: np.ones(len(group)) * (group.kind != "block"),
    )
    graph = trace(model)
    gone = {
        path
        for entry in made.cuts
        for group in graph.groups
        if group.name == entry.group and group.kind == "block"
        for index in entry.remove
        for path in group.contents[index]
    }
    assert gone
    assert not gone & {entry.group for entry in made.cuts}
