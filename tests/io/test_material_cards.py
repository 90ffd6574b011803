"""Material cards hold the tensor, each in the order of its program."""

import numpy as np

from mmdiff.io import material_cards

RNG = np.random.default_rng(4)
PAIRS = {"11": 0, "22": 1, "33": 2, "23": 3, "13": 4, "12": 5}


def tensor():
    half = RNG.random((6, 6))
    return half + half.T


def test_abaqus_has_its_21_constants_in_order():
    """As its keyword reference names them."""
    names = (
        "1111 1122 2222 1133 2233 3333 1112 2212 3312 1212 1113 2213 3313 1213 1313 "
        "1123 2223 3323 1223 1323 2323"
    ).split()
    values = tensor()
    head, title, *rows = material_cards.abaqus("my cell.npy", values).splitlines()
    assert head == "*MATERIAL, NAME=MY_CELL_NPY"
    assert title == "*ELASTIC, TYPE=ANISOTROPIC"
    assert [row.count(",") for row in rows] == [7, 7, 4]
    got = [float(number) for row in rows for number in row.split(",")]
    want = [values[PAIRS[name[:2]], PAIRS[name[2:]]] for name in names]
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_ansys_has_the_rows_of_the_upper_triangle():
    values = tensor()
    order = [PAIRS[pair] for pair in ("11", "22", "33", "12", "23", "13")]
    lines = material_cards.ansys("3cells", values, 2.5, number=7).splitlines()
    assert lines[:2] == ["! M3CELLS", "TB,ANEL,7,1,,0"]
    assert lines[-1] == "MP,DENS,7,2.5"
    data = [line.split(",") for line in lines[2:-1]]
    assert [int(row[1]) for row in data] == [1, 7, 12, 16, 19, 21]
    got = [float(number) for row in data for number in row[2:]]
    upper = np.triu_indices(6)
    np.testing.assert_allclose(got, values[np.ix_(order, order)][upper], rtol=1e-6)


def test_density_is_left_out_unless_given():
    assert "*DENSITY" not in material_cards.abaqus("a", tensor())
    assert "*DENSITY\n0.3\n" in material_cards.abaqus("a", tensor(), 0.3)
