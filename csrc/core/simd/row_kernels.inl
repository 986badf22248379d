// SPDX-License-Identifier: MIT
// Loops over rows: packing, transposition, reductions.
#pragma once

constexpr int64_t kPanel = kLanes * kVecs;  // columns of a packed panel
constexpr int kTileRows = 6;                // rows of a register tile, which is a panel wide
// The rows of a panel that are used at a time, 16 KB, or 32 KB with AVX-512; they stay in the L1 cache while
// all rows of a block pass.
constexpr int64_t kDepth = kPanel < 64 ? 256 : 128;

inline void StoreColumns(float* out, Vec value, int64_t columns) {
  if (columns >= kLanes)
    Store(out, value);
  else if (columns > 0)
    StorePartial(out, value, columns);
}

void TransposeRows(const float* in, int64_t in_stride, int64_t rows, int64_t cols, float* out,
                   int64_t out_stride) {
  const int64_t whole_rows = rows / kLanes * kLanes, whole_cols = cols / kLanes * kLanes;
  for (int64_t c = 0; c < whole_cols; c += kLanes)
    for (int64_t r = 0; r < whole_rows; r += kLanes) {
      Vec square[kLanes];
      for (int i = 0; i < kLanes; ++i) square[i] = Load(in + (r + i) * in_stride + c);
      Transpose(square);
      for (int i = 0; i < kLanes; ++i) Store(out + (c + i) * out_stride + r, square[i]);
    }
  for (int64_t c = 0; c < cols; ++c)
    for (int64_t r = c < whole_cols ? whole_rows : 0; r < rows; ++r)
      out[c * out_stride + r] = in[r * in_stride + c];
}

void PackRows(const float* y, int64_t rows, int64_t dim, int64_t first, float* out) {
  const int64_t present = rows - first < kPanel ? rows - first : kPanel;
  TransposeRows(y + first * dim, dim, present, dim, out, kPanel);
  for (int64_t k = 0; k < dim; ++k)
    for (int64_t c = present; c < kPanel; ++c) out[k * kPanel + c] = 0.0f;
}

void PackColumns(const float* y, int64_t rows, int64_t dim, int64_t first, float* out) {
  for (int64_t k = 0; k < rows; ++k, out += kPanel)
    for (int v = 0; v < kVecs; ++v) {
      const int64_t left = dim - first - v * kLanes;
      const float* p = y + k * dim + first + v * kLanes;
      Store(out + v * kLanes, left >= kLanes ? Load(p) : left > 0 ? LoadPartial(p, left) : Set(0.0f));
    }
}

float Dot(const float* x, const float* y, int64_t n) {
  Vec sum = Set(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) sum = Fma(Load(x + i), Load(y + i), sum);
  if (i < n) sum = Fma(LoadPartial(x + i, n - i), LoadPartial(y + i, n - i), sum);
  return Sum(sum);
}

// Scaled by the largest entry first, so that neither tiny nor huge rows under- or overflow when squared. The
// reciprocal of an entry above 2^126 would be subnormal, and flushed: such rows are halved twice before. A
// row of subnormal entries counts as zeros.
float Normalise(const float* x, int64_t n, float* unit) {
  const auto load = [n](const float* from, int64_t i) {
    return n - i >= kLanes ? Load(from + i) : LoadPartial(from + i, n - i);
  };
  Vec most = Set(0.0f);
  for (int64_t i = 0; i < n; i += kLanes) most = Max(Abs(load(x, i)), most);  // a NaN is left out
  float values[kLanes], largest = 0.0f;
  Store(values, most);
  for (float value : values) largest = value > largest ? value : largest;

  const float down = largest > 0x1p126f ? 0.25f : 1.0f;
  const float scale = largest >= 0x1p-126f ? 1.0f / (largest * down) : 1.0f;
  Vec squares = Set(0.0f);
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec scaled = Mul(Mul(load(x, i), Set(down)), Set(scale));
    squares = Fma(scaled, scaled, squares);
    StoreColumns(unit + i, scaled, n - i);
  }
  Vec root = Sqrt(Set(Sum(squares)));
  Store(values, root);
  const float length = values[0];
  if (length != 0.0f)
    for (int64_t i = 0; i < n; i += kLanes) StoreColumns(unit + i, Div(load(unit, i), root), n - i);
  return length / scale / down;
}

void StreamRow(const float* from, int64_t n, float* to) {
  constexpr uintptr_t kLine = 64;
  constexpr int64_t kFloats = kLine / sizeof(float);
  int64_t i = 0;
  for (; i < n && reinterpret_cast<uintptr_t>(to + i) % kLine != 0; ++i) to[i] = from[i];
  for (; i + kFloats <= n; i += kFloats)
    for (int64_t v = 0; v < kFloats; v += kLanes) Stream(to + i + v, Load(from + i + v));
  for (; i < n; ++i) to[i] = from[i];
}

void EndStream() { Fence(); }

float SquaredDistance(const float* x, const float* y, int64_t n) {
  Vec sum = Set(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec d = Sub(Load(x + i), Load(y + i));
    sum = Fma(d, d, sum);
  }
  if (i < n) {
    const Vec d = Sub(LoadPartial(x + i, n - i), LoadPartial(y + i, n - i));
    sum = Fma(d, d, sum);
  }
  return Sum(sum);
}

float AbsoluteDistance(const float* x, const float* y, int64_t n) {
  Vec sum = Set(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) sum = Add(sum, Abs(Sub(Load(x + i), Load(y + i))));
  if (i < n) sum = Add(sum, Abs(Sub(LoadPartial(x + i, n - i), LoadPartial(y + i, n - i))));
  return Sum(sum);
}

void Axpy(float a, const float* x, float* y, int64_t n) {
  const Vec scale = Set(a);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, Fma(scale, Load(x + i), Load(y + i)));
  if (i < n) StorePartial(y + i, Fma(scale, LoadPartial(x + i, n - i), LoadPartial(y + i, n - i)), n - i);
}

constexpr RowKernels MakeRowKernels() {
  RowKernels k = {};
  k.lanes = kLanes;
  k.panel = kPanel;
  k.tile_rows = kTileRows;
  k.depth = kDepth;
  k.transpose = TransposeRows;
  k.pack_rows = PackRows;
  k.pack_columns = PackColumns;
  k.normalise = Normalise;
  k.stream = StreamRow;
  k.end_stream = EndStream;
  k.dot = Dot;
  k.axpy = Axpy;
  return k;
}
