"""Arrow columns become NumPy arrays of one meaning: numbers, moments, truths or words.

Readers take a column and return `(values, bad)`: the values with what is missing marked (NaN,
`NOT_A_TIME`), and a mask of the rows whose text has no such meaning, or None where all parse.
What parses is handled whole columns at a time; only a column with a bad value is looked into.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

# The functions of this module are made when it is loaded, where no type checker sees them.
pc: Any = pyarrow.compute

NOT_A_TIME = np.iinfo(np.int64).min
# What Arrow raises for a value that Python has no object for: a moment beyond the year 9999.
UNHELD = (ValueError, OverflowError, pa.ArrowException)
_DAY_US = 86_400_000_000
_FARTHEST_US = 2**62
# What stands for a missing value in text files; the list that pandas uses.
NULL_WORDS = (
    "", " ", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
TRUE_WORDS = ("true", "True", "TRUE", "1")
FALSE_WORDS = ("false", "False", "FALSE", "0")

NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$|^\s*[-+]?[iI]nf(inity)?\s*$"
INTEGER = r"^\s*[-+]?\d{1,18}\s*$"
MOMENT = r"^\s*\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s*(Z|[-+]\d{2}(:?\d{2})?)?)?\s*$"


def flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, dictionaries decoded."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # what combine_chunks gives for very long text
        column = pa.concat_arrays(column.chunks)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column holds text."""
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_number(kind: pa.DataType) -> bool:
    """Tell whether a column holds numbers."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def is_moment(kind: pa.DataType) -> bool:
    """Tell whether a column holds dates or timestamps."""
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind)


def numbers(column: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a column as numbers; what is missing is NaN."""
    array = flat(column)
    kind = array.type
    if pa.types.is_float16(kind):
        return array.cast(pa.float32()).to_numpy(zero_copy_only=False), None
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return array.to_numpy(zero_copy_only=False), None
    if pa.types.is_boolean(kind):
        return array.cast(pa.uint8()).to_numpy(zero_copy_only=False), None
    if pa.types.is_decimal(kind):
        return array.cast(pa.float64()).to_numpy(zero_copy_only=False), None
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        return _seconds(array), None
    if is_text(kind):
        parsed, bad = _parse(array, pa.float64(), NUMBER)
        return parsed.to_numpy(zero_copy_only=False), bad
    return np.full(len(array), np.nan), _none(array)


def moments(column: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a column as int64 microseconds since 1970; what is missing is `NOT_A_TIME`."""
    array = flat(column)
    bad = None
    if is_text(array.type):
        array, bad = _parse_repeated(array, _parse_moments)
    elif not is_moment(array.type):
        return np.full(len(array), NOT_A_TIME), _none(array)
    return _microseconds(array), bad


def truths(column: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a column as float32 0 and 1; what is missing is NaN."""
    array = flat(column)
    bad = None
    if is_text(array.type):
        array, bad = _bisect(pc.utf8_trim_whitespace(array), pa.bool_())
    elif is_number(array.type):
        # A number too large to be held exactly is neither of the two.
        values = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        odd = ~((values == 0) | (values == 1) | np.isnan(values))
        return np.where(odd, np.nan, values).astype("float32"), odd if odd.any() else None
    elif not pa.types.is_boolean(array.type):
        return np.full(len(array), np.nan, "float32"), _none(array)
    return array.cast(pa.float32()).to_numpy(zero_copy_only=False), bad


def words(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as text; whole floats are written as integers, as CSV files write them."""
    array = flat(column)
    if is_text(array.type):
        return array if pa.types.is_string(array.type) else array.cast(pa.string())
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if pa.types.is_fixed_size_binary(array.type):
        array = array.cast(pa.binary())
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        return _text(array)
    if pa.types.is_nested(array.type):  # which is no word, and was said to be none
        return pa.nulls(len(array), pa.string())
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    if pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
        whole = pc.equal(pc.round(array), array)
        if pc.all(pc.and_(whole, pc.less(pc.abs(array), 1e15)), min_count=0).as_py():
            array = array.cast(pa.int64())
    return array.cast(pa.string())


def missing(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return which rows have no value: null, or NaN."""
    return pc.is_null(flat(column), nan_is_null=True).to_numpy(zero_copy_only=False)


def shown(column: pa.Array | pa.ChunkedArray, row: int) -> str:
    """Write the value of one row for a message, cut to a readable length."""
    try:
        text = repr(column[row].as_py())
    except UnicodeDecodeError:
        text = repr(_bytes(column[row]))
    except UNHELD:
        text = written(column[row])
    return text if len(text) <= 60 else text[:57] + "..."


def written(scalar: pa.Scalar) -> Any:
    """Return a value; what Python has no object for comes as text, odd bytes written out."""
    try:
        return scalar.as_py()
    except UNHELD:
        pass
    if is_text(scalar.type):
        return _bytes(scalar).decode(errors="backslashreplace")
    try:
        return scalar.cast(pa.string()).as_py()
    except UNHELD:
        return f"a {scalar.type} that cannot be shown"


def not_utf8(column: pa.Array | pa.ChunkedArray) -> np.ndarray | None:
    """Return which texts of a column are no UTF-8; None where all are, or it holds no text."""
    array = flat(column)
    if not is_text(array.type):
        return None
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return np.array([not _is_utf8(_bytes(text)) for text in array])
    return None


def _text(array: pa.Array) -> pa.Array:
    """Return bytes as text; those of a cell that are no UTF-8 are written out."""
    try:
        return array.cast(pa.string())
    except pa.ArrowInvalid:
        cells = (
            one if one is None else one.decode(errors="backslashreplace")
            for one in array.to_pylist()
        )
        return pa.array(cells, pa.string())


def _bytes(scalar: pa.Scalar) -> bytes:
    return scalar.cast(pa.large_binary()).as_py() or b""


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _none(array: pa.Array) -> np.ndarray | None:
    """Return the mask of a column of a foreign type: whatever is not null is bad."""
    bad = array.is_valid().to_numpy(zero_copy_only=False)
    return bad if bad.any() else None


def _microseconds(array: pa.Array) -> np.ndarray:
    """Return moments as microseconds; those too far off to be held so are 146,000 years off."""
    if pa.types.is_date32(array.type):
        raw, scale = array.cast(pa.int32()).cast(pa.int64()), _DAY_US
    else:
        unit = "ms" if pa.types.is_date64(array.type) else array.type.unit
        raw, scale = array.cast(pa.int64()), {"s": 1_000_000, "ms": 1_000}.get(unit, 1)
    absent = raw.is_null().to_numpy(zero_copy_only=False)
    numbers = pc.fill_null(raw, 0).to_numpy(zero_copy_only=False)
    if not pa.types.is_date(array.type) and array.type.unit == "ns":
        numbers = numbers // 1_000
    farthest = _FARTHEST_US // scale
    micro = np.clip(numbers, -farthest, farthest) * scale
    return np.where(absent, NOT_A_TIME, micro)


def _seconds(array: pa.Array) -> np.ndarray:
    unit = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[array.type.unit]
    width = pa.int32() if pa.types.is_time32(array.type) else pa.int64()
    return array.cast(width).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) / unit


def _blank_to_null(array: pa.Array) -> pa.Array:
    return pc.if_else(
        pc.is_in(array, pa.array(NULL_WORDS, array.type)), pa.scalar(None, array.type), array
    )


def _parse(array: pa.Array, kind: pa.DataType, pattern: str) -> tuple[pa.Array, np.ndarray | None]:
    """Cast text, whole if it can be, else what matches the pattern; the rest is bad."""
    try:
        return array.cast(kind), None
    except pa.ArrowInvalid:
        pass
    array = pc.utf8_trim_whitespace(_blank_to_null(array))
    like = pc.match_substring_regex(array, pattern)
    parsed, bad = _bisect(pc.if_else(like, array, pa.scalar(None, array.type)), kind)
    unlike = pc.fill_null(pc.invert(like), False).to_numpy(zero_copy_only=False)
    bad = unlike if bad is None else bad | unlike
    return parsed, bad if bad.any() else None


def _parse_repeated(
    array: pa.Array, parse: Callable[[pa.Array], tuple[pa.Array, np.ndarray | None]]
) -> tuple[pa.Array, np.ndarray | None]:
    """Parse each different text once, where texts repeat: dates are slow to parse, and repeat."""
    encoded = array.dictionary_encode()
    if 2 * len(encoded.dictionary) > len(array):
        return parse(array)
    parsed, bad = parse(encoded.dictionary)
    if bad is not None:
        codes = pc.fill_null(encoded.indices, len(bad)).to_numpy(zero_copy_only=False)
        bad = np.append(bad, False)[codes]
    return parsed.take(encoded.indices), bad


def _parse_moments(array: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    """Parse ISO 8601 text; a moment that names a zone is brought to UTC."""
    naive, utc = pa.timestamp("us"), pa.timestamp("us", "UTC")
    for kind in (naive, utc):
        try:
            return array.cast(kind).cast(naive), None
        except pa.ArrowInvalid:
            continue
    array = pc.utf8_trim_whitespace(_blank_to_null(array))
    # Finer than a microsecond says nothing about a date, and Arrow would refuse it.
    array = pc.replace_substring_regex(array, r"(\.\d{6})\d+", r"\1")
    zoned = pc.match_substring_regex(array, r"(Z|:\d{2}.*[-+]\d{2}(:?\d{2})?)$")
    nothing = pa.scalar(None, array.type)
    plain, bad_plain = _parse(pc.if_else(zoned, nothing, array), naive, MOMENT)
    aware, bad_aware = _parse(pc.if_else(zoned, array, nothing), utc, MOMENT)
    parts = [bad for bad in (bad_plain, bad_aware) if bad is not None]
    bad = np.logical_or.reduce(parts) if parts else None
    return pc.coalesce(plain, aware.cast(naive)), bad


def _bisect(array: pa.Array, kind: pa.DataType) -> tuple[pa.Array, np.ndarray | None]:
    """Cast an array, and find the values that cannot be cast by halving what fails."""
    bad = np.zeros(len(array), dtype=bool)

    def cast(start: int, stop: int) -> list[pa.Array]:
        try:
            return [array.slice(start, stop - start).cast(kind)]
        except pa.ArrowInvalid:
            if stop - start == 1:
                bad[start] = True
                return [pa.nulls(1, kind)]
            middle = (start + stop) // 2
            return cast(start, middle) + cast(middle, stop)

    parsed = cast(0, len(array))
    return pa.concat_arrays(parsed), bad if bad.any() else None
