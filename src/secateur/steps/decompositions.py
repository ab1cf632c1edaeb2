"""Weights as products of smaller ones that give nearly the same outputs.

All functions here take and return NumPy arrays in float64. What the layer reads is known by its
second moments: an error is then the share of the outputs' mean square that is lost, else the share
of the squared weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from secateur.steps.ridge import solved

# Penalties tried, as shares of the mean second moment of the inputs.
PENALTIES = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)
# Rounds of higher-order orthogonal iteration.
ITERATIONS = 3


@dataclass(frozen=True)
class Seen:
    """The second moments of what a layer reads, around the means where an offset is free.

    Args:
        products: the mean of x_i x_j, (groups, features, features), or, where no two features go
            together (the codes of an embedding), of x_i x_i alone, (groups, features).
    """

    products: np.ndarray

    def penalised(self, penalty: float) -> Seen:
        """Return moments that know of every direction; `penalty` as a share of their mean."""
        if self.products.ndim == 2:
            return Seen(self.products + penalty * self.products.mean(1, keepdims=True))
        count = self.products.shape[-1]
        scale = np.trace(self.products, axis1=1, axis2=2) / count
        return Seen(self.products + penalty * scale[:, None, None] * np.eye(count))

    def times(self, a: np.ndarray) -> np.ndarray:
        """Return the products with matrices (groups, features, columns)."""
        if self.products.ndim == 2:
            return self.products[..., None] * a
        return self.products @ a

    def rooted(self, a: np.ndarray) -> np.ndarray:
        """Return matrices of which the squared lengths are those of the outputs of `a`."""
        if self.products.ndim == 2:
            return np.sqrt(self.products)[..., None] * a
        return np.linalg.cholesky(self.products).swapaxes(1, 2) @ a

    def power(self, a: np.ndarray) -> np.ndarray:
        """Return the mean square of each output of matrices `a`, (groups, columns)."""
        return np.einsum("gfc,gfc->gc", a, self.times(a))


@dataclass(frozen=True)
class Spectrum:
    """Matrices (groups, features, units) in an order of directions of their outputs.

    Args:
        weights: the matrices.
        basis: orthonormal directions of the outputs, (groups, units, directions).
        errors: the share that is lost at each rank, from zero on.
    """

    weights: np.ndarray
    basis: np.ndarray
    errors: np.ndarray

    def factors(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """Return factors (groups, features, rank) and (groups, rank, units), of equal lengths."""
        second = self.basis[..., :rank].swapaxes(1, 2)
        return balanced(self.weights @ self.basis[..., :rank], second)


def balanced(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share the length of a product out between its factors, so that both train alike."""
    one = np.linalg.norm(first, axis=-2, keepdims=True)
    other = np.linalg.norm(second, axis=-1, keepdims=True).swapaxes(-1, -2)
    live = (one > 0) & (other > 0)
    scale = np.sqrt(np.where(live, other, 1) / np.where(live, one, 1))
    return first * scale, second / scale.swapaxes(-1, -2)


def penalty_for(weights: np.ndarray, fitted: Seen, held: Seen) -> float:
    """Return the penalty by which directions lose least, over all ranks, of what was held back."""
    lost = []
    for penalty in PENALTIES:
        basis = _directions(fitted.penalised(penalty).rooted(weights))
        lost.append(_errors(weights, basis, held).sum())
    return PENALTIES[int(np.argmin(lost))]


def spectrum(weights: np.ndarray, seen: Seen | None = None, penalty: float = 0.0) -> Spectrum:
    """Take matrices apart by directions of their outputs.

    Without moments that is the singular value decomposition of the weights. With them it is that
    of the outputs, in closed form: the factors of each rank are those of the least mean square of
    the outputs that are lost, for the penalty that is given (the weights' own error counts as much
    as that says).

    Args:
        weights: (groups, features, units).
        seen: the moments of the inputs.
        penalty: as a share of their mean.
    """
    if seen is None:
        _, values, right = np.linalg.svd(weights, full_matrices=False)
        return Spectrum(weights, right.swapaxes(1, 2), _lost(np.square(values).sum(0)))
    basis = _directions(seen.penalised(penalty).rooted(weights))
    return Spectrum(weights, basis, _errors(weights, basis, seen))


def _directions(outputs: np.ndarray) -> np.ndarray:
    return np.linalg.svd(outputs, full_matrices=False)[2].swapaxes(1, 2)


def _errors(weights: np.ndarray, basis: np.ndarray, seen: Seen) -> np.ndarray:
    total = float(seen.power(weights).sum())
    return _lost(seen.power(weights @ basis).sum(0), total)


def _lost(powers: np.ndarray, total: float | None = None) -> np.ndarray:
    """Return the share that is left out when only the first directions are taken."""
    total = float(powers.sum()) if total is None else total
    if total <= 0:
        return np.zeros(len(powers) + 1)
    return np.maximum(1 - np.concatenate([[0], np.cumsum(powers)]) / total, 0)


@dataclass(frozen=True)
class Kernel:
    """The kernel of a convolution over a line or a picture, as (height, width, inputs, outputs).

    Args:
        values: the kernel.
        seen: the moments of its patches, in the order of the kernel's axes.
        penalty: as a share of their mean.
    """

    values: np.ndarray
    seen: Seen | None = None
    penalty: float = 0.0

    def spatial(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a kernel over the height and one over the width that follows it.

        Jaderberg, Vedaldi & Zisserman 2014, "Speeding up convolutional neural networks with low
        rank expansions", the second scheme. With moments, the first kernel is also tried with the
        inputs weighed by those of a column of the patch, and the second is the least-squares
        solution behind the first, of which the better one is taken.

        Returns:
            Kernels (height, 1, inputs, rank) and (1, width, rank, outputs).
        """
        high, wide, read, _ = self.values.shape
        found = []
        for basis in self._columns:
            first = basis[:, :rank].reshape(high, 1, read, rank)
            second = self._plain_second if self.seen is None else self._best_second(first)
            if self.seen is None:
                second = second[:rank].reshape(rank, wide, -1)
            found.append((first, second.transpose(1, 0, 2)[None]))
        return self._best(found)

    def tucker(self, inner: int, outer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a kernel of one position, the core, and another one of one position.

        Tucker-2 (Kim et al. 2016, "Compression of deep convolutional neural networks for fast and
        low power mobile applications"), by higher-order orthogonal iteration. With moments, the
        directions of inputs and outputs are also tried as the moments weigh them, and the core is
        the least-squares solution between them; the better one is taken.

        Returns:
            Kernels (1, 1, inputs, inner), (height, width, inner, outer), (1, 1, outer, outputs).
        """
        found = []
        for u, v in [self._iterated(inner, outer), *self._weighed(inner, outer)]:
            core = np.einsum("hwcn,cr,ns->hwrs", self.values, u, v, optimize=True)
            if self.seen is not None:
                core = self._best_core(u, v)
            found.append((u[None, None], core, v.T[None, None]))
        return self._best(found)

    def error(self, factors: tuple[np.ndarray, ...]) -> float:
        """Return the share that is lost by factors."""
        missing = (self.values - composed(factors)).reshape(1, -1, self.values.shape[-1])
        whole = self.values.reshape(missing.shape)
        if self.seen is None:
            return float(np.square(missing).sum() / max(np.square(whole).sum(), _TINY))
        return float(self.seen.power(missing).sum() / max(self.seen.power(whole).sum(), _TINY))

    @cached_property
    def as_columns(self) -> np.ndarray:
        """Return the kernel as a matrix (height and inputs, width and outputs)."""
        high, wide, read, made = self.values.shape
        return self.values.transpose(0, 2, 1, 3).reshape(high * read, wide * made)

    def _best(self, found: list) -> tuple:
        return min(found, key=self.error) if len(found) > 1 else found[0]

    @cached_property
    def _svd(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.linalg.svd(self.as_columns, full_matrices=False)

    @cached_property
    def _columns(self) -> list[np.ndarray]:
        left, values, _ = self._svd
        found = [left * np.sqrt(values)]
        if self.seen is not None:
            high, wide, read, _ = self.values.shape
            products = self._products.reshape((high, wide, read) * 2)
            column = np.einsum("hwcgwd->hcgd", products).reshape(1, high * read, high * read)
            basis = _directions(Seen(column).rooted(self.as_columns[None]))
            first = self.as_columns @ basis[0]
            found.append(first / np.maximum(np.sqrt(np.linalg.norm(first, axis=0)), _TINY))
        return found

    @cached_property
    def _plain_second(self) -> np.ndarray:
        _, values, right = self._svd
        return np.sqrt(values)[:, None] * right

    @cached_property
    def _products(self) -> np.ndarray:
        assert self.seen is not None
        # Never quite without a penalty: what is solved for must be known.
        return self.seen.penalised(max(self.penalty, PENALTIES[0])).products[0]

    @cached_property
    def _correlations(self) -> np.ndarray:
        """Return the products of patches with outputs, in the axes of the kernel."""
        whole = self.values.reshape(-1, self.values.shape[-1])
        return (self._products @ whole).reshape(self.values.shape)

    def _best_second(self, first: np.ndarray) -> np.ndarray:
        """Return the second kernel (rank, width, outputs) that serves best behind the first."""
        high, wide, read, made = self.values.shape
        products = self._products.reshape((high, wide, read) * 2)
        a = first[:, 0]
        half = np.tensordot(products, a, ((3, 5), (0, 1)))
        gram = np.tensordot(a, half, ((0, 1), (0, 2)))
        wanted = np.tensordot(a, self._correlations, ((0, 1), (0, 2)))
        count = a.shape[-1] * wide
        gram = gram.transpose(0, 1, 3, 2).reshape(1, count, count)
        return _solved(gram, wanted.reshape(1, count, made)).reshape(-1, wide, made)

    def _best_core(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        high, wide, read, _ = self.values.shape
        taps, inner = high * wide, u.shape[1]
        products = self._products.reshape((taps, read) * 2)
        half = np.tensordot(products, u, ((3,), (0,)))
        gram = np.tensordot(u, half, ((0,), (1,))).transpose(1, 0, 2, 3)
        gram = gram.reshape(1, taps * inner, taps * inner)
        wanted = np.einsum("hwcn,cr,ns->hwrs", self._correlations, u, v, optimize=True)
        core = _solved(gram, wanted.reshape(1, taps * inner, -1))
        return core.reshape(high, wide, inner, -1)

    @cached_property
    def modes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the singular values of the kernel unfolded by inputs and by outputs."""
        read, made = self.values.shape[2:]
        sides = (np.moveaxis(self.values, 2, 0).reshape(read, -1), self.values.reshape(-1, made))
        one, other = (np.linalg.svd(side, compute_uv=False) for side in sides)
        return one, other

    def _iterated(self, inner: int, outer: int) -> tuple[np.ndarray, np.ndarray]:
        v = _leading(self.values.reshape(-1, self.values.shape[-1]).T, outer)
        u = np.eye(self.values.shape[2])
        for _ in range(ITERATIONS):
            u = _leading(np.einsum("hwcn,ns->chws", self.values, v, optimize=True), inner)
            v = _leading(np.einsum("hwcn,cr->nhwr", self.values, u, optimize=True), outer)
        return u, v

    def _weighed(self, inner: int, outer: int) -> list[tuple[np.ndarray, np.ndarray]]:
        if self.seen is None:
            return []
        whole = self.values.reshape(1, -1, self.values.shape[-1])
        v = np.linalg.eigh((whole.swapaxes(1, 2) @ Seen(self._products[None]).times(whole))[0])[1]
        v = v[:, ::-1][:, :outer]
        taps, read = self.values.shape[0] * self.values.shape[1], self.values.shape[2]
        channels = np.einsum("tctd->cd", self._products.reshape((taps, read) * 2))
        rows = np.einsum("hwcn,ns->chws", self.values, v, optimize=True).reshape(1, read, -1)
        basis = _directions(Seen(channels[None]).rooted(rows))[..., :inner]
        return [(np.linalg.qr(rows[0] @ basis[0])[0], v)]


_TINY = np.finfo(float).tiny


def composed(factors: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return the kernel that convolutions, one after the other, make together."""
    whole = factors[0]
    for factor in factors[1:]:
        # Two kernels with more than one position never lie on the same axis.
        whole = np.einsum("hwcr,klrn->hkwlcn", whole, factor, optimize=True)
        high, more, wide, wider, read, made = whole.shape
        whole = whole.reshape(high * more, wide * wider, read, made)
    return whole


def _leading(side: np.ndarray, count: int) -> np.ndarray:
    """Return the leading left singular vectors of an array unfolded along its first axis."""
    matrix = side.reshape(len(side), -1)
    return np.linalg.eigh(matrix @ matrix.T)[1][:, ::-1][:, :count]


def _solved(gram: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    scale = np.trace(gram, axis1=1, axis2=2) / gram.shape[1]
    return solved(gram, wanted, 1e-10 * scale)[0]
