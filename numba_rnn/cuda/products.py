"""Products of large matrices, and the small things that go with them.

    matmul         C = A·B: by the caller's own library (CuPy's or torch's cuBLAS), else by `tiled`
    column_sums    the sums over all rows of a matrix
    add_rows       the same vector added to every row
    stack, transpose, before, real_rows   copies of matrices in another order

`tiled`: a block computes a tile of C, (SIDE·EACH)², from slabs of A and B that it copies to shared
memory; each thread has EACH² numbers of C. Where C is small and the sum is long, parts of the sum
are computed by blocks of their own and added up in a fixed order: results don't depend on luck.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .launching import Vector, launch
from .toolkit import SIMULATOR, cuda, kernel

SIDE, EACH = (2, 4) if SIMULATOR else (16, 4)
TILE, DEPTH = SIDE * EACH, SIDE
SLAB = DEPTH, TILE + 1  # one more, so that a column's numbers lie in different banks
PARTS = 1 if SIMULATOR else 256  # blocks that are wanted at least
THREADS = 8 if SIMULATOR else 256


class Matrix(NamedTuple):
    """A matrix in device memory: element (i, j) is flat[at + i·strides[0] + j·strides[1]]."""

    flat: Vector
    at: int
    shape: tuple[int, int]
    strides: tuple[int, int]

    @property
    def T(self) -> Matrix:
        """The transpose, of the same memory."""
        return Matrix(self.flat, self.at, self.shape[::-1], self.strides[::-1])


def matrix(flat: Any, at: int, rows: int, columns: int, stride: int | None = None) -> Matrix:
    """Return a matrix in C order; `stride` is the distance of its rows where it is not packed."""
    return Matrix(flat, at, (rows, columns), (columns if stride is None else stride, 1))


def matmul(library: Any, a: Matrix, b: Matrix, c: Matrix) -> None:
    """C = A·B."""
    (M, K), N = a.shape, b.shape[1]
    if M == 0 or N == 0:
        return
    if library.matmul is not None and K > 0:
        views = (library.strided(*m) for m in (a, b, c))
        library.matmul(*views)
        return
    stream, dtype = library.stream(), c.flat.dtype
    across = -(-M // TILE), -(-N // TILE)
    slabs = -(-K // DEPTH)
    parts = max(1, min(-(-PARTS // (across[0] * across[1])), slabs // 8))
    out = c
    if parts > 1:
        out = matrix(library.vector(library.empty((parts, M * N), dtype)), 0, M, N)
    length = -(-slabs // parts) * DEPTH
    launch(
        tiled(dtype), (*across, parts), SIDE * SIDE, stream,
        out.flat, a.flat, b.flat, out.at, out.strides[0],
        a.at, *a.strides, b.at, *b.strides, M, N, K, length,
    )  # fmt: skip
    if parts > 1:
        add_parts(library, out.flat, 0, M * N, parts, M * N, c)


@cache
def tiled(dtype: np.dtype) -> Any:
    """The kernel of one tile of C, and one part of the sum."""
    zero = dtype.type(0)

    @kernel(SIDE * SIDE)
    def matmul_tile(
        c, a, b, c_at, c_row, a_at, a_row, a_column, b_at, b_row, b_column, M, N, K, length
    ):
        slab_a = cuda.shared.array(SLAB, dtype)
        slab_b = cuda.shared.array(SLAB, dtype)
        total = cuda.local.array((EACH, EACH), dtype)
        i0, j0 = cuda.blockIdx.x * TILE, cuda.blockIdx.y * TILE
        part = cuda.blockIdx.z
        thread = cuda.threadIdx.x
        y, x = thread // SIDE, thread % SIDE
        for p in range(EACH):
            for q in range(EACH):
                total[p, q] = zero
        end = min(K, (part + 1) * length)
        for k0 in range(part * length, end, DEPTH):
            for e in range(thread, DEPTH * TILE, SIDE * SIDE):
                # Neighbouring threads read neighbouring numbers, whichever way a matrix lies.
                k, i = (e % DEPTH, e // DEPTH) if a_column == 1 else (e // TILE, e % TILE)
                inside = k0 + k < end and i0 + i < M
                slab_a[k, i] = a[a_at + (i0 + i) * a_row + (k0 + k) * a_column] if inside else zero
                k, j = (e // TILE, e % TILE) if b_column == 1 else (e % DEPTH, e // DEPTH)
                inside = k0 + k < end and j0 + j < N
                slab_b[k, j] = b[b_at + (k0 + k) * b_row + (j0 + j) * b_column] if inside else zero
            cuda.syncthreads()  # the slabs are whole
            for k in range(DEPTH):
                for p in range(EACH):
                    left = slab_a[k, y + p * SIDE]
                    for q in range(EACH):
                        total[p, q] += left * slab_b[k, x + q * SIDE]
            cuda.syncthreads()  # nobody reads them any more
        at = c_at + part * M * N
        for p in range(EACH):
            for q in range(EACH):
                i, j = i0 + y + p * SIDE, j0 + x + q * SIDE
                if i < M and j < N:
                    c[at + i * c_row + j] = total[p, q]

    return matmul_tile


def add_parts(
    library: Any, parts: Any, at: int, stride: int, count: int, period: int, c: Matrix
) -> None:
    """C = the sum of `count` vectors that lie `stride` apart, repeated after `period` numbers."""
    M, N = c.shape
    launch(
        parts_added(c.flat.dtype), -(-M * N // THREADS), THREADS, library.stream(),
        c.flat, parts, c.at, c.strides[0], M * N, N, at, stride, count, period,
    )  # fmt: skip


@cache
def parts_added(dtype: np.dtype) -> Any:
    """The kernel of `add_parts`; a thread for each number."""

    @kernel(THREADS)
    def add_parts_kernel(c, parts, c_at, row, size, N, at, stride, count, period):
        e = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if e < size:
            total = parts[at + e % period]
            for p in range(1, count):
                total += parts[at + p * stride + e % period]
            c[c_at + e // N * row + e % N] = total

    return add_parts_kernel


def column_sums(library: Any, a: Matrix, outs: list[Matrix]) -> None:
    """Sum all rows of A, which is in C order; each of `outs` takes the next columns.

    An out of several rows gets the same sums in each.
    """
    (M, N), dtype = a.shape, a.flat.dtype
    if M == 0 or N == 0:
        return
    columns = min(N, THREADS)
    parts = max(1, min(M // 8, PARTS))
    sums = library.vector(library.empty((parts * N,), dtype))
    launch(
        columns_summed(dtype), (-(-N // columns), parts), columns, library.stream(),
        sums, a.flat, a.at, a.strides[0], M, N, -(-M // parts),
    )  # fmt: skip
    at = 0
    for out in outs:
        add_parts(library, sums, at, N, parts, out.shape[1], out)
        at += out.shape[1]


@cache
def columns_summed(dtype: np.dtype) -> Any:
    """The kernel of `column_sums`; a thread for each column, a block for `each` rows."""
    zero = dtype.type(0)

    @kernel(THREADS)
    def column_sums_kernel(sums, a, at, row, M, N, each):
        j, part = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.blockIdx.y
        if j < N:
            total = zero
            for i in range(part * each, min(M, (part + 1) * each)):
                total += a[at + i * row + j]
            sums[part * N + j] = total

    return column_sums_kernel


def add_rows(library: Any, y: Matrix, vector: Any, at: int) -> None:
    """Y += vector[at:at + columns], for every row of a matrix in C order."""
    M, N = y.shape
    if M * N:
        launch(
            rows_added(y.flat.dtype), -(-M * N // THREADS), THREADS, library.stream(),
            y.flat, vector, at, M * N, N,
        )  # fmt: skip


@cache
def rows_added(dtype: np.dtype) -> Any:
    """The kernel of `add_rows`; a thread for each number."""

    @kernel(THREADS)
    def add_rows_kernel(y, vector, at, size, N):
        e = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if e < size:
            y[e] += vector[at + e % N]

    return add_rows_kernel


def stack(library: Any, weights: Any, at: int, stride: int, D: int, rows: int, columns: int) -> Any:
    """The matrices of all directions, one below the other: (D·rows, columns), in C order."""
    if D == 1:
        return matrix(weights, at, rows, columns)
    out = copy_matrices(library, weights, at, stride, D, rows, columns, columns, 1)
    return matrix(out, 0, D * rows, columns)


def transposed(library: Any, weights: Any, at: int, stride: int, D: int, H: int) -> Any:
    """The transposes of the square matrices of all directions, flat: (D, H, H)."""
    return copy_matrices(library, weights, at, stride, D, H, H, 1, H)


def copy_matrices(
    library: Any, weights: Any, at: int, stride: int, D: int, rows: int, columns: int,
    row: int, column: int,
) -> Any:  # fmt: skip
    """Matrices that lie `stride` apart, read with the strides row and column, one after another."""
    dtype, size = weights.dtype, D * rows * columns
    out = library.vector(library.empty((size,), dtype))
    launch(
        matrices_copied(dtype), -(-size // THREADS), THREADS, library.stream(),
        out, weights, at, stride, rows, columns, row, column, size,
    )  # fmt: skip
    return out


@cache
def matrices_copied(dtype: np.dtype) -> Any:
    """The kernel of `copy_matrices`; a thread for each number."""

    @kernel(THREADS)
    def copy_matrices_kernel(out, weights, at, stride, rows, columns, row, column, size):
        e = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if e < size:
            d, i, j = e // columns // rows, e // columns % rows, e % columns
            out[e] = weights[at + d * stride + i * row + j * column]

    return copy_matrices_kernel


def states_before(
    library: Any, output: Any, h_0: Any, index: Any, rows: int, padded: bool,
    L: int, N: int, H: int, D: int,
) -> Any:  # fmt: skip
    """The state that each step started from, flat: (R, D·H); 0 in rows that are no real step."""
    dtype = output.dtype
    out = library.vector(library.empty((rows * D * H,), dtype))
    launch(
        before(dtype), (N, min(L, 1 << 15)), min(THREADS, D * H), library.stream(),
        out, output, h_0, index, int(padded), L, N, H, D,
    )  # fmt: skip
    return out


@cache
def before(dtype: np.dtype) -> Any:
    """The kernel of `states_before`; a block for each sample and step."""
    zero = dtype.type(0)

    @kernel(THREADS)
    def states_before_kernel(out, output, h_0, index, padded, L, N, H, D):
        n = cuda.blockIdx.x
        batch_row, length, place = index[L + n], index[L + N + n], index[L + 2 * N + n]
        for t in range(cuda.blockIdx.y, L if padded else length, cuda.gridDim.y):
            at = (index[t] + batch_row) * D * H
            for j in range(cuda.threadIdx.x, D * H, cuda.blockDim.x):
                d = j // H
                earlier = t - 1 + 2 * d  # the step before in time, or after it in reverse
                if t >= length:
                    out[at + j] = zero
                elif 0 <= earlier < length:
                    out[at + j] = output[(index[earlier] + batch_row) * D * H + j]
                else:
                    out[at + j] = h_0[(d * N + place) * H + j - d * H]

    return states_before_kernel


def real_rows(library: Any, x: Any, index: Any, rows: int, L: int, N: int, I: int) -> Any:
    """x, flat: (R, I), with zeros in rows that are no real step, where it may hold anything."""
    dtype = x.dtype
    out = library.vector(library.empty((rows * I,), dtype))
    launch(
        real(dtype), (N, min(L, 1 << 15)), min(THREADS, I), library.stream(),
        out, x, index, L, N, I,
    )  # fmt: skip
    return out


@cache
def real(dtype: np.dtype) -> Any:
    """The kernel of `real_rows`; a block for each sample and step."""
    zero = dtype.type(0)

    @kernel(THREADS)
    def real_rows_kernel(out, x, index, L, N, I):
        n = cuda.blockIdx.x
        batch_row, length = index[L + n], index[L + N + n]
        for t in range(cuda.blockIdx.y, L, cuda.gridDim.y):
            at = (index[t] + batch_row) * I
            for i in range(cuda.threadIdx.x, I, cuda.blockDim.x):
                out[at + i] = x[at + i] if t < length else zero

    return real_rows_kernel
