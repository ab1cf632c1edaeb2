import keras
import numpy as np
import pytest
from keras import layers

from secateur.data.read import read
from secateur.errors import ModelError, PlanError, RecipeError
from secateur.graph.weights import to_numpy
from secateur.steps.chain import chain
from secateur.steps.finetune import FineTune
from secateur.steps.prune import Prune
from secateur.steps.teaching import Teaching
from secateur.steps.training import fit

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 6)).astype("float32")
SCORE = X @ RNG.normal(size=6) + X[:, 0] * X[:, 1]
LABELS = {
    "classes": np.digitize(SCORE, [-1, 1]).astype("int32"),
    "binary": (SCORE > 0).astype("int32"),
    "value": SCORE.astype("float32"),
}
LAST = {"classes": (3, "softmax"), "binary": (1, "sigmoid"), "value": (1, None)}


def table(kind):
    return read((X, LABELS[kind]))


def network(kind, width=16, seed=0, last=None):
    keras.utils.set_random_seed(seed)
    i = keras.Input((6,), name="array")
    x = layers.Dense(width, activation="relu", name="hidden")(i)
    x = layers.BatchNormalization(momentum=0.9, name="norm")(x)
    units, activation = last or LAST[kind]
    return keras.Model(i, layers.Dense(units, activation, name="last")(x), name=f"net{width}")


def copies(model):
    return [to_numpy(each).copy() for each in model.weights]


def softmax(z):
    z = np.exp(z - z.max(axis=-1, keepdims=True))
    return z / z.sum(axis=-1, keepdims=True)


def distance(student, teacher, kind, temperature=4.0):
    """Return the temperature's square times the divergence, in NumPy."""
    mine, said = (to_numpy(each(X)).astype("float64") for each in (student, teacher))
    if kind == "value":
        return np.square(mine - said).mean()
    if kind == "binary":
        mine, said = (np.hstack([np.zeros_like(p), np.log(p / (1 - p))]) for p in (mine, said))
    else:
        mine, said = np.log(mine), np.log(said)
    p, q = softmax(said / temperature), softmax(mine / temperature)
    return temperature**2 * (p * np.log(p / q)).sum(axis=1).mean()


@pytest.mark.parametrize("kind", ["classes", "binary"])
def test_a_softmax_of_its_own_is_distilled_as_one_in_the_last_layer(kind):
    def apart(student, teacher):
        pupil = Teaching(teacher).pupil(student, LABELS[kind])
        pupil(X)
        return float(to_numpy(pupil._lost))

    def ended(model):
        units, function = LAST[kind]
        inner = keras.Input((16,))
        head = keras.Model(inner, getattr(keras.ops, function)(layers.Dense(units)(inner)))
        other = keras.Model(model.input, head(model.get_layer("norm").output))
        head.layers[1].set_weights(model.get_layer("last").get_weights())
        return other

    student, teacher = network(kind), network(kind, seed=1)
    wanted = apart(student, teacher)
    assert apart(ended(student), ended(teacher)) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("kind", LABELS)
def test_the_loss_is_that_of_labels_and_teacher_by_their_shares(kind):
    teacher, student = network(kind), network(kind, 8, seed=1)
    pupil = Teaching(teacher, alpha=0.25).pupil(student, LABELS[kind])
    pupil.compile(loss=Plain.loss(student, LABELS[kind]))
    y = LABELS[kind] if kind == "classes" else LABELS[kind][:, None]
    labelled = float(Plain.loss(student, LABELS[kind])(y, student(X)))
    pupil(X)
    alone = pupil.compute_loss(X, y, student(X), training=False)
    both = pupil.compute_loss(X, y, student(X), training=True)
    np.testing.assert_allclose(float(alone), labelled, rtol=1e-5)
    wanted = 0.75 * labelled + 0.25 * distance(student, teacher, kind)
    np.testing.assert_allclose(float(both), wanted, rtol=1e-3)
    weights = np.linspace(0, 2, len(X)).astype("float32")
    some = float(Plain.loss(student, LABELS[kind])(y, student(X), sample_weight=weights))
    both = pupil.compute_loss(X, y, student(X), weights, training=True)
    wanted = 0.75 * some + 0.25 * distance(student, teacher, kind)
    np.testing.assert_allclose(float(both), wanted, rtol=1e-3)


class Plain:
    @staticmethod
    def loss(model, labels):
        from secateur.graph.observe import loss_for

        return loss_for(model, labels)


def test_logits_and_probabilities_are_the_same_teacher():
    student, seen = network("classes", 8, seed=1), []
    for activation in ("softmax", None):
        pupil = Teaching(network("classes", last=(3, activation))).pupil(student, LABELS["classes"])
        pupil(X)
        seen.append(float(pupil._lost))
    np.testing.assert_allclose(*seen, rtol=1e-4)


@pytest.mark.parametrize(
    "kind", ["classes", *(pytest.param(k, marks=pytest.mark.long) for k in ("binary", "value"))]
)
def test_the_student_moves_to_the_teacher_and_the_teacher_stays(kind):
    data = table(kind)
    teacher, _ = fit(network(kind), data, epochs=5, learning_rate=0.01)
    student = network(kind, 8, seed=1)
    before, given = copies(teacher), copies(student)
    step = FineTune(epochs=5, learning_rate=0.01, distill=True, alpha=0.9)
    result = step(student, data, teacher=teacher)
    assert distance(result.model, teacher, kind) < distance(student, teacher, kind) / 2
    curve = result.curves[0][1].metrics
    assert curve["distillation"][-1] < curve["distillation"][0]
    for model, then in ((teacher, before), (student, given)):
        for one, other in zip(copies(model), then, strict=True):
            np.testing.assert_array_equal(one, other)
    assert all(layer.trainable for layer in teacher.layers)
    assert type(result.model) is type(student)
    assert [w.path for w in result.model.weights] == [w.path for w in student.weights]
    assert "taught by net16" in str(result.notes[0])


def test_the_validation_loss_is_that_of_the_student_alone():
    data = table("classes")
    result = FineTune(epochs=3, distill=True)(
        network("classes", 8), data, teacher=network("classes")
    )
    x, y = data.validation.sample(data.validation.rows)
    p = to_numpy(result.model(x))
    curve = result.curves[0][1]
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    np.testing.assert_allclose(curve.metrics["val_loss"][curve.best], loss, rtol=1e-3)


def test_features_of_another_width_are_compared_through_a_projection():
    data = table("classes")
    teacher, _ = fit(network("classes"), data, epochs=3, learning_rate=0.01)
    student = network("classes", 8, seed=1)
    kind = {"epochs": 4, "learning_rate": 0.01, "distill": True}
    result = FineTune(**kind, features=("hidden", "norm"))(student, data, teacher=teacher)
    found = result.curves[0][1].metrics["distillation"]
    assert found[-1] < found[0]
    assert [w.shape for w in result.model.weights] == [w.shape for w in student.weights]
    plain = FineTune(**kind)(student, data, teacher=teacher)
    assert any(
        (a != b).any() for a, b in zip(copies(result.model), copies(plain.model), strict=True)
    )


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path):
    class Break(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    data, student = table("classes"), network("classes", 8, seed=1)
    teaching = Teaching(network("classes"), features=("hidden",))
    kind = {"epochs": 4, "learning_rate": 0.02, "teaching": teaching, "class_weights": True}
    whole, straight = fit(student, data, **kind)
    with pytest.raises(KeyboardInterrupt):
        fit(student, data, **kind, checkpoint=tmp_path, callbacks=[Break()])
    resumed, curve = fit(student, data, **kind, checkpoint=tmp_path, resume=True)
    for one, other in zip(copies(whole), copies(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (curve.metrics, curve.best) == (straight.metrics, straight.best)


def test_a_chain_teaches_with_its_first_model_and_a_file_serves_as_well(tmp_path):
    data = table("classes")
    whole, _ = fit(network("classes"), data, epochs=2, learning_rate=0.01)
    kind = {"epochs": 2, "seed": 3}
    prune = Prune(macs=0.5, by="l2", round_to=2, heal=False)
    by_chain = chain(prune, FineTune(distill=True, **kind))(whole, data)
    smaller = prune(whole, data).model
    by_hand = FineTune(distill=True, **kind)(smaller, data, teacher=whole)
    whole.save(tmp_path / "whole.keras")
    by_file = FineTune(distill=str(tmp_path / "whole.keras"), **kind)(smaller, data)
    for other in (by_hand, by_file):
        for one, two in zip(copies(by_chain.model), copies(other.model), strict=True):
            np.testing.assert_array_equal(one, two)
    plain = chain(prune, FineTune(**kind))(whole, data)
    same = zip(copies(by_chain.model), copies(plain.model), strict=True)
    assert any((one != two).any() for one, two in same)


def test_pruning_in_rounds_is_taught_by_the_given_model():
    data, whole = table("classes"), network("classes")
    kind = {"macs": 0.5, "by": "l2", "round_to": 2, "rounds": 2, "epochs": 1, "heal": False}
    taught = Prune(**kind, distill=True)(whole, data)
    assert "distillation" in taught.curves[0][1].metrics
    assert "distillation" not in Prune(**kind)(whole, data).curves[0][1].metrics


def test_what_cannot_teach_is_refused():
    data, student = table("classes"), network("classes", 8)
    with pytest.raises(RecipeError, match="there is none") as caught:
        FineTune(distill=True)(student, data)
    assert "chain" in caught.value.mend
    with pytest.raises(RecipeError, match="distill is off"):
        FineTune()(student, data, teacher=student)
    with pytest.raises(ModelError, match="outputs of the teacher"):
        FineTune(distill=True)(student, data, teacher=network("classes", last=(5, "softmax")))
    i = keras.Input((7,))
    with pytest.raises(ModelError, match="inputs of the teacher"):
        FineTune(distill=True)(student, data, teacher=keras.Model(i, layers.Dense(3)(i)))
    with pytest.raises(PlanError, match="no layer 'hiden'"):
        FineTune(distill=True, features=("hiden",))(student, data, teacher=network("classes"))


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 2.0},
        {"features": ("a",)},
        {"distill": True, "temperature": 0},
        {"distill": True, "alpha": 0},
        {"distill": True, "alpha": 1.5},
        {"distill": True, "temperature": float("inf")},
    ],
)
def test_settings_that_mean_nothing_are_refused(options):
    with pytest.raises(RecipeError, match=r"distill is off|above 0"):
        FineTune(**options)
