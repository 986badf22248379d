// SPDX-License-Identifier: MIT
// The table of this instruction set.
const SimdKernels kKernels = {
    kPanel,
    PackRows,
    PackColumns,
    Dot,
    SquaredDistance,
    Axpy,
    Difference,
    Gram,
    Product,
    Signs,
    Coefficients,
    Farthest,
    NearestAbove,
    Window,
    WindowGrad,
    Moments,
    NormalisedReluRows,
    NormalisedReluSums,
    NormalisedReluGrad,
    ScaleBytes,
};
