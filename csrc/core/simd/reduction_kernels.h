// SPDX-License-Identifier: MIT
// Kernels of the reductions over pairs: one row's metrics with a stretch of columns, reduced or turned into
// coefficients of the gradient; core/reductions has the mathematics. Stretches are a multiple of the panel.
#pragma once
#include <cstdint>

#include "core/pairwise/metric.h"
#include "core/reductions/pair_terms.h"

namespace fslcore::simd {

inline constexpr int64_t kMostStretch = 256;  // columns

// The least and the greatest class of a stretch, and whether any column belongs to no pair.
struct ClassRange {
  float least, greatest;
  bool has_gaps;
};

// A class is a float, NaN for a row or column that belongs to no pair.
struct PairStretch {
  int64_t cols;          // a multiple of the panel
  const float* metrics;  // [cols]; anything where there is no column
  const float* classes;  // [cols]
  float row_class;
  ClassRange range;  // may hold more classes than there are
};

// What a term is reduced to so far.
struct ReducedTerm {
  float extreme;  // of logsumexp, max, min
  bool has_nan;
  double sum, count;  // for logsumexp of e^(z - extreme)
  int32_t index;
};

struct ReducedStretch {
  PairTerm term;
  PairParameters parameters;
  bool has_level;
  float level;              // of the row
  const float* col_levels;  // [cols] for lifted
  int64_t first_col;
  ReducedTerm* reduced;  // in and out
};

// A term whose number of a pair serves both of its rows: the sum of the function, or of e^(function - shift).
struct SharedStretch {
  PairTerm term;
  PairParameters parameters;
  float shift;
  double* sum;      // of the row, in and out
  float* col_sums;  // [cols] of the columns, in and out; or null
};

// A term's gradient: what each pair's t is multiplied with, d loss / d value, by row and by column.
struct TermSlopes {
  PairTerm term;
  PairParameters parameters;
  bool has_level;
  bool of_col;     // whether the columns have the term too
  bool sums_both;  // what is kept in `sum` and `metric_sum`: of the row alone, or of both
  bool is_shared;  // of logsumexp: row_value is the value of all rows
  float row_value, row_grad, row_level;
  const float *col_values, *col_grads, *col_levels;  // [cols]
  double *sum, *metric_sum, *level_sum;              // in and out; level_sum of both sides
  float* col_level_sums;                             // [cols] for lifted, in and out; or null
};

struct CoefficientStretch {
  Metric metric;
  PairStretch pairs;
  float* coefficients;  // [cols] d loss / d (the sum inside the metric); may be the metrics
  double* total;        // of the coefficients, in and out
  float* col_totals;    // [cols] the same of each column; or null
};

struct SlopesStretch : CoefficientStretch {
  TermSlopes terms[kPairTerms];
};

// Sums over pairs whose terms have no values of rows: those of pair_sum.h, with what is kept of a row.
struct SumStretch : CoefficientStretch {
  PairTerm terms[kPairTerms];
  PairParameters parameters[kPairTerms];
  float factors[kPairTerms];
  double (*sums)[3];  // [kPairTerms] of factor * slope, factor * slope * metric, factor * value, in and out
  bool of_col, sums_both;   // as in TermSlopes
  int64_t levels;           // 0: t is taken as it is
  const float* row_levels;  // [levels]
  const float* col_levels;  // [levels, level_stride]
  double* level_sums;       // [levels] of factor * slope, in and out
  float* col_level_sums;    // [levels, col_level_stride] likewise; or null
  int64_t level_stride, col_level_stride;
};

// dx[r] += sum over c of a[r, c] * y[c], or with signs sum of a[r, c] * sign(x[r] - y[c]), for one panel of
// columns of x, y and dx. Mirrored, dy[c] += sum over the listed r of a[r, c] * x[r] or of -a[r, c] *
// sign(x[r]
// - y[c]).
struct ReducedProduct {
  int64_t rows, cols;
  const float* a;  // [rows, a_stride]
  int64_t a_stride;
  const float *x_panel, *y_panel;  // [rows, panel], [cols, panel], packed by pack_columns
  const float* next_panel;         // [cols, panel] of y, fetched ahead
  const uint8_t* is_zero;          // [rows]: the whole stretch of a row is 0
  float* dx;                       // [rows, panel], in and out
  const int32_t* listed;           // rows that are not 0
  int64_t listed_rows;
  float* dy;  // [cols, panel], in and out; for mirrored products
};

struct ReductionKernels {
  // Whether any pair is of the term's group.
  bool (*reduce)(const PairStretch&, const ReducedStretch&);
  bool (*reduce_shared)(const PairStretch&, const SharedStretch&);  // not for lifted, nor with levels
  bool (*coefficients)(const SlopesStretch&);                       // whether any is not 0
  bool (*sum_coefficients)(const SumStretch&);                      // likewise
  void (*product)(const ReducedProduct&);
  void (*signs)(const ReducedProduct&);
  void (*mirrored_product)(const ReducedProduct&);
  void (*mirrored_signs)(const ReducedProduct&);
};

const ReductionKernels& Reductions();  // at ActiveCpuLevel()

}  // namespace fslcore::simd
