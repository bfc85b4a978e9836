"""The innermost loop: exact dot products of 6 frames with 16 others, in integers, at about twice the rate of float32.

A product of int16 pairs is one instruction (x86 `vpmaddwd`: multiply 16, add neighbours, 8 results) where float32
needs two, so whole pools are compared faster than a BLAS could. numba's own loops do not vectorise that far; the tile
is therefore written as LLVM vectors, which every processor numba knows can run, and it keeps its 96 sums in
registers.

numba's cache on disk knows of a change in the module that calls a tile, not of one here: who edits this file deletes
`__pycache__/*.nbi` beside it.

Here: the layout and the tiles. What is done with their results stands in `pair_sweep` and `lazy_ranking`.
"""

from __future__ import annotations

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


# What an intrinsic takes when called is not what its definition says: no types for it.
_intrinsic: Callable[[Callable[..., Any]], Any] = intrinsic


def compiled(function: Callable[..., Any]) -> Any:
    """`numba.njit` without the GIL, cached on disk where it can be (beside the module, else in the user's cache)."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # numba found nowhere to write: a read-only installation without a home
        return njit(nogil=True)(function)


def as_rows(q: NDArray[np.int16]) -> NDArray[np.int32]:
    """(n, d) int16 as (n', d' / 2) int32, two dimensions in one, padded with zeros: the left side of a tile."""
    n, d = q.shape
    padded = np.zeros((-(-n // GRAIN) * GRAIN, -(-max(d, 1) // (2 * _UNROLL)) * 2 * _UNROLL), np.int16)
    padded[:n, :d] = q
    return padded.view(np.int32)


def as_panels(rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """Rows of `as_rows` as (n' / 16, d' / 2, 16) int32: the right side of a tile, 16 frames beside one another."""
    n, pairs = rows.shape
    return np.ascontiguousarray(rows.reshape(n // COLUMNS, COLUMNS, pairs).transpose(0, 2, 1))


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
def products_tile(
    typingctx: Any, rows: Any, row: Any, panels: Any, panel: Any, n_pairs: Any, out: Any, gates: Any, column: Any,
    gate: Any
) -> Any:  # fmt: skip
    """Fill out (96,) int32 with the products of frames row..row+5 and the 16 of a panel; is any of them remarkable?

    Remarkable is a product at least min(gates[its row], gates[its column], gate); gates is (n',) int32, where the
    panel's frames stand from `column` on.
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
            mine = builder.load(builder.gep(row_gate, [_i64(r)]), align=4)
            mine = _splat(builder, builder.select(builder.icmp_signed("<", mine, gate), mine, gate))
            for v in range(_VECTORS):
                value = sums[r * _VECTORS + v]
                least = builder.select(builder.icmp_signed("<", mine, columns[v]), mine, columns[v])
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
"""Raise best[at : at + 16] to the products of a panel's 16 frames with frames row..row+5."""
raise_by_one = _intrinsic(_raise(1))
"""Raise best[at : at + 16] to the products of a panel's 16 frames with frame `row`."""
