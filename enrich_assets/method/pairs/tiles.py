"""The innermost loop: exact dot products of 6 frames with 16 others, in integers, at about twice the rate of float32.

A product of int16 pairs is one instruction (x86 `vpmaddwd`: multiply 16, add neighbours, 8 results) where float32
needs two, so whole pools are compared faster than a BLAS could. numba's own loops do not vectorise that far; the tile
is therefore written as LLVM vectors, which every processor numba knows can run, and it keeps its 96 sums in
registers.

Here: the layout, the tiles, and `compiled`, by which the kernels that call them are compiled. Above each tile stands
its specification, the same in scalar Python; a test compares the two for equality. What is done with the products
stands in `kernels` and in `ranking.lazy`.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

ROWS = 6  # 6 x 16 sums are 12 registers of 8; the remaining 4 hold the operands
COLUMNS = 16
GRAIN = 48  # frames are padded to a multiple of ROWS and COLUMNS alike
_LANES = 8
_VECTORS = COLUMNS // _LANES
_UNROLL = 4  # dimensions are padded to pairs of pairs, a multiple of 2 * _UNROLL

_i1, _i32, _i64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
_sums = ir.VectorType(_i32, _LANES)
_pairs = ir.VectorType(ir.IntType(16), 2 * _LANES)
_wide = ir.VectorType(_i32, 2 * _LANES)


# What an intrinsic takes when called is not what its definition says, and numba's types leave out `_nrt`: no types for them.
_intrinsic: Callable[[Callable[..., Any]], Any] = intrinsic
_njit: Callable[..., Any] = njit


def _digest_of_this_file() -> str:
    try:
        return hashlib.sha256(inspect.getsource(sys.modules[__name__]).encode()).hexdigest()[:12]
    except OSError:  # installed without sources: numba caches nothing then
        return "unknown"


TILES = _digest_of_this_file()


def compiled(function: Callable[..., Any], *, forceinline: bool = False) -> Any:
    """`numba.njit` without the GIL, cached on disk where it can be (beside the module, else in the user's cache).

    Notes
    -----
    numba's cache notices an edit of the file that holds a kernel, but not one of this file, whose tiles the kernel
    contains. So the digest of this file is part of the kernel's qualified name, by which numba names what it caches.

    `_nrt=False` leaves out the counting of references to arrays, which a kernel cannot need: it makes no array, and its
    caller holds those it is given. Counted at each call of a step, it costs more than the step does (the whole pass
    takes twice as long).
    """
    function.__qualname__ = f"{function.__qualname__}_tiles_{TILES}"
    try:
        return _njit(nogil=True, cache=True, _nrt=False, forceinline=forceinline)(function)
    except RuntimeError:  # numba found nowhere to write: a read-only installation without a home
        return _njit(nogil=True, _nrt=False, forceinline=forceinline)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """`compiled`, and always merged into its caller: a step of an inner loop, for which a call would cost more than the step."""
    return compiled(function, forceinline=True)


def as_rows(q: NDArray[np.int16]) -> NDArray[np.int32]:
    """The left side of a tile: frames one after the other.

    Parameters
    ----------
    q : (n, d) int16
        Fixed-point vectors.

    Returns
    -------
    (n', d' / 2) int32
        Two dimensions in one number; n' is a multiple of GRAIN, d' of 2 * _UNROLL, padded with zeros.
    """
    n, d = q.shape
    padded = np.zeros((-(-n // GRAIN) * GRAIN, -(-max(d, 1) // (2 * _UNROLL)) * 2 * _UNROLL), np.int16)
    padded[:n, :d] = q
    return padded.view(np.int32)


def as_panels(rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """The right side of a tile: 16 frames beside one another.

    Parameters
    ----------
    rows : (n', d' / 2) int32
        Of `as_rows`.

    Returns
    -------
    (n' / 16, d' / 2, 16) int32
        [p, k, c] holds dimensions 2 k and 2 k + 1 of frame 16 p + c.
    """
    n, pairs = rows.shape
    return np.ascontiguousarray(rows.reshape(n // COLUMNS, COLUMNS, pairs).transpose(0, 2, 1))


# ------------------------------------------------------------------------------- the specification, in scalar Python


def dot_product(rows: NDArray[np.int32], row: int, panels: NDArray[np.int32], panel: int, column: int) -> int:
    """The product of frame `row` of rows with frame `column` of a panel: an integer, exact.

    Each number of `rows` and `panels` holds two dimensions as int16: [1, -2 | 3, 0] . [5, 1 | -1, 7] is
    1 * 5 + -2 * 1 + 3 * -1 + 0 * 7 = 0.
    """
    left = rows[row].view(np.int16)
    right = np.ascontiguousarray(panels[panel, :, column]).view(np.int16)
    return sum(int(a) * int(b) for a, b in zip(left, right, strict=True))


def products_tile_in_python(  # nine arguments: those of the tile that it specifies
    rows: NDArray[np.int32], row: int, panels: NDArray[np.int32], panel: int, n_pairs: int, out: NDArray[np.int32],
    gates: NDArray[np.int32], column: int, gate: int,
) -> bool:  # fmt: skip
    """What `products_tile` does: all 96 products of a tile, and whether any of them is remarkable.

    Parameters
    ----------
    rows : (n', n_pairs) int32
        Of `as_rows`; the tile's frames are row..row+5.
    panels : (p, n_pairs, 16) int32
        Of `as_panels`; the tile's others are those of panels[panel].
    out : (96,) int32
        Filled with the products, row by row.
    gates : (n',) int32
        The least product that is remarkable to a frame. The panel's frames stand in it from `column` on.
    gate : int
        The least product that is remarkable to everybody.

    Returns
    -------
    bool
        Is any product at least the least of its row's gate, its column's gate, and `gate`?
    """
    remarkable = False
    for r in range(ROWS):
        for c in range(COLUMNS):
            product = dot_product(rows, row + r, panels, panel, c)
            out[r * COLUMNS + c] = product
            remarkable = remarkable or product >= min(gates[row + r], gates[column + c], gate)
    return remarkable


def raise_in_python(
    n_rows: int, rows: NDArray[np.int32], row: int, panels: NDArray[np.int32], panel: int, best: NDArray[np.int32],
    at: int,
) -> None:  # fmt: skip
    """What `raise_by_six` and `raise_by_one` do, for n_rows of 6 and of 1.

    Parameters
    ----------
    rows, row, panels, panel
        As in `products_tile_in_python`; the frames are row..row+n_rows-1.
    best : (m,) int32
        best[at : at + 16] are raised to the greatest product of each of the panel's 16 frames with any of those.
    """
    for r in range(n_rows):
        for c in range(COLUMNS):
            best[at + c] = max(best[at + c], dot_product(rows, row + r, panels, panel, c))


# ------------------------------------------------------------------------------------------------ the same, in LLVM


def _pointer(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return cgutils.create_struct_proxy(array_type)(context, builder, value=array).data


def _vector(builder: Any, pointer: Any, at: int) -> Any:
    return builder.load(builder.bitcast(builder.gep(pointer, [_i64(at)]), _sums.as_pointer()), align=4)


def _splat(builder: Any, value: Any) -> Any:
    one = builder.insert_element(ir.Constant(_sums, ir.Undefined), value, _i32(0))
    return builder.shuffle_vector(one, ir.Constant(_sums, ir.Undefined), ir.Constant(_sums, [0] * _LANES))


def _products(builder: Any, rows: Any, panel: Any, n_pairs: Any, n_rows: int = ROWS) -> list[Any]:
    """n_rows x 16 dot products, two vectors a row: of int32 pointers to rows (n_rows, n_pairs), panel (n_pairs, 16)."""
    entry = builder.block
    loop, done = builder.append_basic_block("products"), builder.append_basic_block("summed")
    row = [builder.gep(rows, [builder.mul(n_pairs, _i64(r))]) for r in range(n_rows)]
    builder.branch(loop)
    builder.position_at_end(loop)
    at = builder.phi(_i64)
    at.add_incoming(_i64(0), entry)
    begin = [builder.phi(_sums) for _ in range(n_rows * _VECTORS)]
    for phi in begin:
        phi.add_incoming(ir.Constant(_sums, [0] * _LANES), entry)
    undefined = ir.Constant(_wide, ir.Undefined)
    even, odd = (ir.Constant(_sums, list(range(side, 2 * _LANES, 2))) for side in (0, 1))
    sums = list(begin)
    for step in range(_UNROLL):
        k = builder.add(at, _i64(step))
        column = builder.gep(panel, [builder.mul(k, _i64(COLUMNS))])
        right = [builder.bitcast(_vector(builder, column, _LANES * v), _pairs) for v in range(_VECTORS)]
        for r in range(n_rows):
            left = builder.bitcast(_splat(builder, builder.load(builder.gep(row[r], [k]), align=4)), _pairs)
            for v in range(_VECTORS):
                # Multiplied in 32 bits and neighbours added: LLVM makes one vpmaddwd (or its like) of these lines.
                wide = builder.mul(builder.sext(left, _wide), builder.sext(right[v], _wide))
                pair = builder.add(
                    builder.shuffle_vector(wide, undefined, even), builder.shuffle_vector(wide, undefined, odd)
                )
                sums[r * _VECTORS + v] = builder.add(sums[r * _VECTORS + v], pair)
    after = builder.add(at, _i64(_UNROLL))
    at.add_incoming(after, loop)
    for phi, value in zip(begin, sums, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", after, n_pairs), loop, done)
    builder.position_at_end(done)
    return sums


@_intrinsic
def products_tile(  # more than eight arguments: an LLVM function takes no record that it would have to unpack per tile
    typingctx: Any, rows: Any, row: Any, panels: Any, panel: Any, n_pairs: Any, out: Any, gates: Any, column: Any,
    gate: Any
) -> Any:  # fmt: skip
    """Fill `out` with the products of frames row..row+5 and the 16 of a panel: is any of them remarkable?

    `products_tile_in_python` says what that means.
    """
    signature = types.boolean(rows, types.intp, panels, types.intp, types.intp, out, gates, types.intp, types.int32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, row, panels, panel, n_pairs, out, gates, column, gate = args
        kinds = signature.args
        left = builder.gep(_pointer(context, builder, kinds[0], rows), [builder.mul(row, n_pairs)])
        size = builder.mul(n_pairs, _i64(COLUMNS))
        right = builder.gep(_pointer(context, builder, kinds[2], panels), [builder.mul(panel, size)])
        target = _pointer(context, builder, kinds[5], out)
        row_gate = builder.gep(_pointer(context, builder, kinds[6], gates), [row])
        column_gate = builder.gep(_pointer(context, builder, kinds[6], gates), [column])
        sums = _products(builder, left, right, n_pairs)
        columns = [_vector(builder, column_gate, _LANES * v) for v in range(_VECTORS)]
        remarkable = ir.Constant(ir.VectorType(_i1, _LANES), [0] * _LANES)
        for r in range(ROWS):
            of_row = builder.load(builder.gep(row_gate, [_i64(r)]), align=4)
            of_row = _splat(builder, builder.select(builder.icmp_signed("<", of_row, gate), of_row, gate))
            for v in range(_VECTORS):
                value = sums[r * _VECTORS + v]
                least = builder.select(builder.icmp_signed("<", of_row, columns[v]), of_row, columns[v])
                remarkable = builder.or_(remarkable, builder.icmp_signed(">=", value, least))
                place = builder.bitcast(builder.gep(target, [_i64(r * COLUMNS + v * _LANES)]), _sums.as_pointer())
                builder.store(value, place, align=4)
        return builder.icmp_unsigned("!=", builder.bitcast(remarkable, ir.IntType(8)), ir.IntType(8)(0))

    return signature, codegen


def _raise(n_rows: int) -> Callable[..., Any]:
    def tile(typingctx: Any, rows: Any, row: Any, panels: Any, panel: Any, n_pairs: Any, best: Any, at: Any) -> Any:
        signature = types.void(rows, types.intp, panels, types.intp, types.intp, best, types.intp)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            rows, row, panels, panel, n_pairs, best, at = args
            kinds = signature.args
            left = builder.gep(_pointer(context, builder, kinds[0], rows), [builder.mul(row, n_pairs)])
            size = builder.mul(n_pairs, _i64(COLUMNS))
            right = builder.gep(_pointer(context, builder, kinds[2], panels), [builder.mul(panel, size)])
            target = builder.gep(_pointer(context, builder, kinds[5], best), [at])
            sums = _products(builder, left, right, n_pairs, n_rows)
            for v in range(_VECTORS):
                place = builder.bitcast(builder.gep(target, [_i64(v * _LANES)]), _sums.as_pointer())
                held = builder.load(place, align=4)
                for value in sums[v::_VECTORS]:
                    held = builder.select(builder.icmp_signed(">", value, held), value, held)
                builder.store(held, place, align=4)
            return context.get_dummy_value()

        return signature, codegen

    return tile


raise_by_six = _intrinsic(_raise(ROWS))
"""Raise best[at : at + 16] to the products of a panel's 16 frames with frames row..row+5: `raise_in_python`."""
raise_by_one = _intrinsic(_raise(1))
"""Raise best[at : at + 16] to the products of a panel's 16 frames with frame `row`: `raise_in_python`."""
