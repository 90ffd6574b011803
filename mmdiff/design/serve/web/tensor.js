// Stiffness by direction, from 6x6 tensors in Voigt order 11 22 33 23 13 12 with
// engineering shear.

export function cubic(c11, c12, c44) {
  return [0, 1, 2, 3, 4, 5].map(i => [0, 1, 2, 3, 4, 5].map(
    j => i == j ? (i < 3 ? c11 : c44) : i < 3 && j < 3 ? c12 : 0));
}

export function inverse(matrix) {  // null where there is none
  const n = matrix.length;
  const rows = matrix.map((row, i) => [...row, ...row.map((_, j) => +(i == j))]);
  const size = Math.max(...matrix.flat().map(Math.abs));
  for (let i = 0; i < n; i++) {
    let pivot = i;
    for (let k = i; k < n; k++)
      if (Math.abs(rows[k][i]) > Math.abs(rows[pivot][i])) pivot = k;
    [rows[i], rows[pivot]] = [rows[pivot], rows[i]];
    if (!(Math.abs(rows[i][i]) > 1e-9 * size)) return null;
    const scale = rows[i][i];
    rows[i] = rows[i].map(value => value / scale);
    for (let k = 0; k < n; k++) {
      if (k == i) continue;
      const factor = rows[k][i];
      if (factor) rows[k] = rows[k].map((value, j) => value - factor * rows[i][j]);
    }
  }
  return rows.map(row => row.slice(n));
}

export function unit(vector) {
  const length = Math.hypot(...vector);
  return vector.map(x => x / length);
}

export function young(compliance, [x, y, z]) {  // along a unit vector
  const v = [x * x, y * y, z * z, y * z, x * z, x * y];
  let sum = 0;
  for (let i = 0; i < 6; i++)
    for (let j = 0; j < 6; j++) sum += v[i] * compliance[i][j] * v[j];
  return 1 / sum;
}

export function moduli(c11, c12, c44) {
  const sum = c11 + c12;
  return {K: (c11 + 2 * c12) / 3, G: c44, E: (c11 - c12) * (c11 + 2 * c12) / sum,
    nu: c12 / sum, zener: 2 * c44 / (c11 - c12)};
}
