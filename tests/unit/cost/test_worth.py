import pytest

from secateur.cost.worth import Worth, worth
from secateur.steps.quantize import Quantize
from unit.steps.quantized import table_model
from zoo import writes_files


@pytest.mark.parametrize(
    ("time", "size", "saves", "pays"),
    [
        (0.5, 0.3, "time", True),
        (1.0, 0.3, "time", False),
        (1.3, 0.2, "size", True),
        (0.5, 1.0, "size", False),
    ],
)
def test_integers_pay_in_what_they_are_for(time, size, saves, pays):
    found = Worth("onnxruntime", 32, time, size, saves)
    assert found.pays is pays
    assert ("does not pay" in str(found)) is not pays


@writes_files
def test_rounded_weights_are_for_the_size():
    model = table_model()
    result = Quantize(mode="weights")(model)
    found = worth(result.model, result.quantization, seconds=0.01)
    assert found.saves == "size"
    assert found.size < 1
