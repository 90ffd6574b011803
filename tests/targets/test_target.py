"""Targets: reading every form, what is missed of them, and messages for bad text."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.elasticity import PAPER_RANGES
from mmdiff.errors import InputError
from mmdiff.targets import quantities, target
from mmdiff.targets.target import Target

CONSTANTS = np.array([0.11, 0.045, 0.04])


@pytest.mark.parametrize(
    "text",
    [
        "0.110,0.045,0.040",
        " 0.110, 0.045 ,0.040 ",
        "0.110 0.045 0.040",
        "C11=0.110,C12=0.045,C44=0.040",
        "C44 = 0.040, C11=0.110; C12=0.045",
    ],
)
def test_constants_are_read(text):
    asked = target.parse(text, volume=0.3)
    assert asked.constants == (0.110, 0.045, 0.040) and asked.volume == 0.3
    assert asked.is_determined
    assert asked.counted == target.of_constants((0.110, 0.045, 0.040)).asked


def test_moduli_are_converted_and_back():
    asked = target.parse("E=0.08, nu=0.29, zener=1.2")
    m = elasticity.moduli(np.array(asked.constants))
    # Closed formulas both ways: equal to rounding.
    np.testing.assert_allclose(
        [m["E"], m["nu"], m["zener"]], [0.08, 0.29, 1.2], rtol=1e-12
    )
    asked = target.parse("K=0.06,G=0.04,zener=0.9")
    m = elasticity.moduli(np.array(asked.constants))
    np.testing.assert_allclose(
        [m["K"], m["G"], m["zener"]], [0.06, 0.04, 0.9], rtol=1e-12
    )
    assert asked.asked == (("K", 0.06), ("G", 0.04), ("zener", 0.9))


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("E=0.1", [True, True, True]),
        ("C44=0.02, nu=0.1", [True, True, False]),
        ("K=0.05,G=0.03", [True, True, False]),
        ("nu=-0.3,E=0.02", [False, False, True]),
        ("C11=0.1", [False, True, True]),
        ("C11=0.1,E=0.09,C44=0.03", [False, True, False]),
    ],
)
def test_what_is_not_asked_is_free(text, free):
    asked = target.parse(text)
    np.testing.assert_array_equal(np.isnan(asked.constants), free)
    assert not asked.is_determined and asked.counted == asked.asked
    assert asked.volume is None


def test_the_volume_may_be_in_the_text():
    assert target.parse("E=0.1,V=0.2") == Target((("E", 0.1),), 0.2)
    # It is more deliberate than an option that has a default.
    assert target.parse("E=0.1,V=0.2", volume=0.3).volume == 0.2
    assert target.parse("E=0.1", volume=0).volume is None


def test_base_modulus_scales_the_target():
    asked = target.parse("23100,9450,8400", base=210000.0)
    np.testing.assert_allclose(asked.constants, (0.11, 0.045, 0.04), rtol=1e-12)
    moduli = target.parse("E=21000,nu=0.3,zener=1", base=210000.0)
    unit = target.parse("E=0.1,nu=0.3,zener=1")
    np.testing.assert_allclose(moduli.constants, unit.constants, rtol=1e-12)
    part = target.parse("K=50,nu=0.2", base=1000.0)
    assert part.asked == (("K", 0.05), ("nu", 0.2))


@pytest.mark.parametrize(
    ("text", "volume", "part"),
    [
        ("0.1,0.2", None, "target '0.1,0.2' is neither three constants nor 36"),
        ("0.1,C12=0.2,0.1", None, "is neither three constants nor 36"),
        ("a,b,c", None, "target 'a,b,c' holds something not a number."),
        ("E=stiff", None, "holds something not a number."),
        ("nan,0.1,0.1", None, "is not finite."),
        ("E=inf", None, "is not finite."),
        ("E=0.1,E=0.2", None, "names one quantity twice. Name each once."),
        ("E=0.1,Zener=1", None, "names 'Zener', which is no known quantity. Use some"),
        ("", 0.3, "the volume alone is met by any cell. Give"),
        ("V=0.3", None, "target asks for nothing of the tensor"),
        ("E=0.1,V=0", None, "volume fraction 0 is not between 0 and 1."),
        ("0.1,0.04,0.04", 1.5, "volume fraction 1.5 is not between 0 and 1."),
        ("C11=0.1,C12=0.05,K=0.07", None, "any two of them give the third"),
        ("no.txt", None, "target file no.txt cannot be read (No such file"),
    ],
)
def test_unreadable_targets_say_what_was_seen(text, volume, part):
    with pytest.raises(InputError, match=re.escape(part)):
        target.parse(text, volume=volume)


@pytest.mark.parametrize("base", [-1.0, np.nan])
def test_the_base_modulus_must_be_positive(base):
    text = f"Young's modulus is {base:g}; it must be positive. Set `base`."
    with pytest.raises(InputError, match=text):
        target.parse("E=0.1", base=base)


def test_a_long_text_is_cut_in_messages():
    with pytest.raises(InputError, match=re.escape("0 0...' is neither")):
        target.parse("0 " * 35)


def test_a_tensor_is_read_from_text_and_file(tmp_path):
    rows = elasticity.cubic_to_voigt(CONSTANTS).tolist()
    text = "\n".join(" ".join(f"{v:10.5f}" for v in row) for row in rows)
    asked = target.parse(text, volume=0.3)
    np.testing.assert_allclose(asked.constants, CONSTANTS, rtol=1e-12)
    assert target.parse("; ".join(", ".join(map(str, row)) for row in rows)) == (
        target.of_constants(asked.constants)
    )
    path = tmp_path / "tensor.txt"
    path.write_text(text)
    assert target.parse(str(path), volume=0.3) == asked
    scaled = target.parse(text, base=2.0)
    np.testing.assert_allclose(scaled.constants, CONSTANTS / 2, rtol=1e-12)


def test_a_tensor_that_is_not_cubic_needs_consent():
    tensor = elasticity.cubic_to_voigt(CONSTANTS)
    tensor[1, 1], tensor[0, 5] = 0.13, 0.01
    text = " ".join(map(str, tensor.ravel()))
    with pytest.raises(InputError, match="differs from cubic symmetry by"):
        target.parse(text)
    asked = target.parse(text, project_cubic=True)
    np.testing.assert_allclose(asked.constants, [0.35 / 3, 0.045, 0.04], rtol=1e-12)


NINE = np.array([0.13, 0.11, 0.095, 0.04, 0.05, 0.045, 0.036, 0.042, 0.045])


def test_an_orthotropic_tensor_is_a_target_of_nine_constants():
    tensor = elasticity.orthotropic_to_voigt(NINE)
    text = " ".join(map(str, (200 * tensor).ravel()))
    asked = target.parse(text, volume=0.3, base=200.0)
    np.testing.assert_allclose(asked.constants, NINE, rtol=1e-12)
    assert asked.volume == 0.3 and asked.is_determined
    np.testing.assert_allclose(asked.tensor, tensor, rtol=1e-12)
    cubic = target.closest_cubic(asked)
    expected = elasticity.voigt_to_cubic(tensor)
    np.testing.assert_allclose(cubic.constants, expected, rtol=1e-12)
    assert cubic.volume == 0.3 and target.closest_cubic(cubic) is cubic
    projected = target.parse(text, base=200.0, project_cubic=True)
    np.testing.assert_allclose(projected.constants, expected, rtol=1e-12)
    with pytest.raises(InputError, match="volume fraction 1.5 is not between"):
        target.parse(text, volume=1.5)


def test_errors_of_an_orthotropic_target_count_each_constant_by_its_range():
    asked = target.OrthotropicTarget(tuple(NINE))
    for place, scale in ((1, PAPER_RANGES[0]), (4, PAPER_RANGES[1])):
        other = NINE.copy()
        other[place] += 0.01
        off = target.error(asked, other)
        assert off == pytest.approx(0.01 / scale / 9)
        relative = target.relative_error(asked, other)
        assert relative == pytest.approx(0.01 / NINE[place] / 9)
    assert target.error(asked, np.stack([NINE, NINE])).shape == (2,)


TEXTS = "0.12,0.05,0.03|E=0.1|K=0.05,G=0.03|C44=0.02,nu=0.1|zener=1,E=0.15|C12=0.02"


@pytest.mark.parametrize("text", TEXTS.split("|"))
def test_the_residual_is_zero_where_all_is_met(text):
    asked = target.parse(text)
    names, wanted = zip(*asked.counted, strict=True)
    # Newton's method from another tensor: least-norm steps, all k <= 3 quantities.
    with jax.enable_x64(True):
        missing = target.residual(asked)
        constants = jnp.asarray(CONSTANTS)
        for _ in range(20):
            slope = jax.jacfwd(missing)(constants)
            constants = constants - jnp.linalg.pinv(slope) @ missing(constants)
        got = np.asarray(constants)
    np.testing.assert_allclose(quantities.values(got, names), wanted, rtol=1e-9)
    assert target.error(asked, got) < 1e-9
    assert target.relative_error(asked, got) < 1e-9
    assert target.error(asked, got * 1.01 + [0, 0, 1e-3]) > 1e-4


def test_all_constants_count_as_in_the_paper():
    for text in ("0.12,0.05,0.03", "E=0.1,nu=0.2,zener=1.5"):
        asked = target.parse(text)
        goal = np.array(asked.constants)
        got = target.error(asked, CONSTANTS)
        np.testing.assert_array_equal(got, elasticity.range_error(CONSTANTS, goal))
        got = target.relative_error(asked, CONSTANTS)
        np.testing.assert_array_equal(got, elasticity.relative_error(CONSTANTS, goal))


def test_asked_quantities_count_each_in_its_unit():
    asked = target.parse("K=0.05,nu=0.1")
    bulk, nu = quantities.values(CONSTANTS, ["K", "nu"])
    unit = (1.330768 + 2 * 0.667355) / 3
    expected = [(0.05 - bulk) / unit, 0.1 - nu]
    np.testing.assert_allclose(target.residual(asked)(CONSTANTS), expected, rtol=1e-12)
    error = np.abs(expected).mean()
    np.testing.assert_allclose(target.error(asked, CONSTANTS), error, rtol=1e-12)
    relative = (abs(bulk / 0.05 - 1) + abs(nu - 0.1)) / 2
    np.testing.assert_allclose(target.relative_error(asked, CONSTANTS), relative)


def test_a_vanishing_c12_is_floored():
    asked = target.parse("C12=0")
    # 1 % of the cell's own C11.
    np.testing.assert_allclose(
        target.relative_error(asked, CONSTANTS), 0.045 / (0.01 * 0.11)
    )


def test_errors_take_batches():
    asked = target.parse("zener=1,E=0.15")
    many = np.stack([CONSTANTS, 2 * CONSTANTS])
    for function in (target.error, target.relative_error):
        one = [function(asked, constants) for constants in many]
        np.testing.assert_allclose(function(asked, many), one, rtol=1e-12)


def test_the_residual_is_traceable_in_single_precision():
    missing = jax.jit(target.residual(target.parse("E=0.1,zener=1")))
    got = missing(jnp.asarray(CONSTANTS, jnp.float32))
    assert got.dtype == jnp.float32
    expected = target.residual(target.parse("E=0.1,zener=1"))(CONSTANTS)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
