// SPDX-License-Identifier: MIT
// Convolutions of few channels, four positions times two vectors of filters at a time.
#pragma once
#include "core/simd/convolution_kernels.inl"

// The patches of a window of kPool x kPool positions; or with a pool of 1, of kPatches positions side by
// side.
template <int kPool, int kPatches>
struct PatchWindow {
  static constexpr int kCount = kPatches;
  const float* patch[kCount];

  // `step` floats from one position to the next.
  PatchWindow(const float* first, int64_t x_row, int64_t step) {
    for (int e = 0; e < kCount; ++e)
      patch[e] = first + (kPool == 1 ? e * step : e / kPool * x_row + e % kPool * step);
  }
};

// Calls body(window, number of its first result) for all windows.
template <int kPool, class Body>
inline void ForEachPatchWindow(const PatchProduct& p, const PoolWindows& w, const Body& body) {
  constexpr int kAtOnce = kPool == 1 ? 4 : 1;
  for (int64_t row = 0; row < w.rows; ++row) {
    const float* line = p.patches + row * kPool * w.x_row;
    int64_t col = 0;
    for (; col + kAtOnce <= w.width; col += kAtOnce)
      body(PatchWindow<kPool, 4>(line + col * kPool * p.line, w.x_row, p.line), row * w.width + col);
    if constexpr (kPool == 1)
      for (; col < w.width; ++col)
        body(PatchWindow<1, 1>(line + col * p.line, w.x_row, p.line), row * w.width + col);
  }
}

// Two vectors of four positions, for eight sums in flight; fewer where the filters end.
template <class Body>
inline void ForEachFilters(int64_t cols, const Body& body) {
  ForEachColumns<2>(cols, body);
}

// The maps of a window, some columns of them.
template <int kCount, int kWidth>
struct PatchMaps {
  Vec x[kCount][kWidth];

  template <class Window, class Cols>
  PatchMaps(const PatchProduct& p, const Window& window, Cols columns) {
    for (auto& line : x)
      for (Vec& sum : line) sum = Set(0.0f);
    const float* weights = p.kernel;
#pragma GCC unroll 3
    for (int64_t k = 0; k < p.depth; ++k, weights += p.cols) {
      Vec b[kWidth];
      for (int v = 0; v < kWidth; ++v) b[v] = columns.Read(weights, v);
      for (int e = 0; e < kCount; ++e) {
        const Vec pixel = Set(window.patch[e][k]);
        for (int v = 0; v < kWidth; ++v) x[e][v] = Fma(pixel, b[v], x[e][v]);
      }
    }
  }
};

void MapsOfPatches(const PatchProduct& p, int64_t rows, float* out) {
  ForEachFilters(p.cols, [&](auto columns) {
    constexpr int kWidth = decltype(columns)::kWidth;
    ForEachPatchWindow<1>(p, {1, 1, rows, 0}, [&](auto window, int64_t first) {
      constexpr int kCount = decltype(window)::kCount;
      const PatchMaps<kCount, kWidth> maps(p, window, columns);
      for (int e = 0; e < kCount; ++e)
        for (int v = 0; v < kWidth; ++v) columns.Write(out + (first + e) * p.cols, v, maps.x[e][v]);
    });
  });
}

void SquaresOfPatches(const PatchProduct& p, int64_t rows, float* mean, float* squares) {
  const Vec share = Set(1.0f / static_cast<float>(rows));
  ForEachFilters(p.cols, [&](auto columns) {
    constexpr int kWidth = decltype(columns)::kWidth;
    Vec centre[kWidth], rest[kWidth], square[kWidth];
    for (int v = 0; v < kWidth; ++v) {
      centre[v] = columns.Read(mean, v);
      rest[v] = square[v] = Set(0.0f);
    }
    ForEachPatchWindow<1>(p, {1, 1, rows, 0}, [&](auto window, int64_t) {
      constexpr int kCount = decltype(window)::kCount;
      const PatchMaps<kCount, kWidth> maps(p, window, columns);
      for (int e = 0; e < kCount; ++e)
        for (int v = 0; v < kWidth; ++v) {
          const Vec d = Sub(maps.x[e][v], centre[v]);
          rest[v] = Add(rest[v], d);
          square[v] = Fma(d, d, square[v]);
        }
    });
    for (int v = 0; v < kWidth; ++v) {
      const Vec shift = Mul(rest[v], share);
      columns.Write(mean, v, Add(centre[v], shift));
      columns.Write(squares, v, Sub(square[v], Mul(rest[v], shift)));
    }
  });
}

template <int kPool>
void PooledReluOfPatches(const PatchProduct& p, const NormalisedRelu& n, const PoolWindows& windows,
                         float* out) {
  ForEachFilters(p.cols, [&](auto columns) {
    constexpr int kWidth = decltype(columns)::kWidth;
    const ReluColumns<kWidth> relu(n, columns);
    ForEachPatchWindow<kPool>(p, windows, [&](auto window, int64_t first) {
      constexpr int kCount = decltype(window)::kCount;
      const PatchMaps<kCount, kWidth> maps(p, window, columns);
      for (int v = 0; v < kWidth; ++v) {
        Vec largest = Set(0.0f);
        for (int e = 0; e < kCount; ++e) {
          if (kPool == 1) largest = Set(0.0f);
          largest = Max(largest, relu.Value(Sub(maps.x[e][v], relu.mean[v]), v));
          if (kPool == 1) columns.Write(out + (first + e) * p.cols, v, largest);
        }
        if (kPool > 1) columns.Write(out + first * p.cols, v, largest);
      }
    });
  });
}

// The gradient behind ReLU and pool for each position of a window: the first of the largest elements, if that
// is positive, takes it whole. Adds what it takes to `sum`.
template <int kPool, int kCount, class Cols>
inline void GradOfWindow(const Vec (&value)[kCount], const float* grad, int64_t cols, Cols columns, int v,
                         Vec (&d)[kCount], Vec& sum) {
  const Vec zero = Set(0.0f);
  if constexpr (kPool == 1) {
    for (int e = 0; e < kCount; ++e) {
      d[e] = Select(Less(zero, value[e]), columns.Read(grad + e * cols, v), zero);
      sum = Add(sum, d[e]);
    }
  } else {
    Vec largest = zero;
    for (const Vec& element : value) largest = Max(largest, element);
    Vec left = Select(Less(zero, largest), columns.Read(grad, v), zero);
    sum = Add(sum, left);
    for (int e = 0; e < kCount; ++e) {
      const Mask smaller = Less(value[e], largest);
      d[e] = Select(smaller, zero, left);
      left = Select(smaller, left, zero);
    }
  }
}

template <int kPool>
void PooledReluGradOfPatches(const PatchProduct& p, const NormalisedRelu& n, const PoolWindows& windows,
                             const float* grad, float* sums, float* products) {
  ForEachFilters(p.cols, [&](auto columns) {
    constexpr int kWidth = decltype(columns)::kWidth;
    const ReluColumns<kWidth> relu(n, columns);
    Vec sum[kWidth];
    for (int v = 0; v < kWidth; ++v) sum[v] = columns.Read(sums, v);
    ForEachPatchWindow<kPool>(p, windows, [&](auto window, int64_t first) {
      constexpr int kCount = decltype(window)::kCount;
      const PatchMaps<kCount, kWidth> maps(p, window, columns);
      Vec d[kWidth][kCount];
      for (int v = 0; v < kWidth; ++v) {
        Vec value[kCount];
        for (int e = 0; e < kCount; ++e) value[e] = relu.Value(Sub(maps.x[e][v], relu.mean[v]), v);
        GradOfWindow<kPool>(value, grad + first * p.cols, p.cols, columns, v, d[v], sum[v]);
      }
      float* product = products;
      for (int64_t k = 0; k < p.depth; ++k, product += p.cols) {
        Vec line[kWidth];
        for (int v = 0; v < kWidth; ++v) line[v] = columns.Read(product, v);
        for (int e = 0; e < kCount; ++e) {
          const Vec pixel = Set(window.patch[e][k]);
          for (int v = 0; v < kWidth; ++v) line[v] = Fma(pixel, d[v][e], line[v]);
        }
        for (int v = 0; v < kWidth; ++v) columns.Write(product, v, line[v]);
      }
    });
    for (int v = 0; v < kWidth; ++v) columns.Write(sums, v, sum[v]);
  });
}

void PooledReluOfAllPatches(const PatchProduct& p, const NormalisedRelu& n, const PoolWindows& windows,
                            float* out) {
  (windows.pool == 1 ? PooledReluOfPatches<1> : PooledReluOfPatches<2>)(p, n, windows, out);
}

void PooledReluGradOfAllPatches(const PatchProduct& p, const NormalisedRelu& n, const PoolWindows& windows,
                                const float* grad, float* sums, float* products) {
  (windows.pool == 1 ? PooledReluGradOfPatches<1> : PooledReluGradOfPatches<2>)(p, n, windows, grad, sums,
                                                                                products);
}

constexpr PatchKernels MakePatchKernels() {
  PatchKernels k = {};
  k.maps = MapsOfPatches;
  k.squares = SquaresOfPatches;
  k.pooled_relu = PooledReluOfAllPatches;
  k.pooled_relu_grad = PooledReluGradOfAllPatches;
  return k;
}
