// SPDX-License-Identifier: MIT
// Register tiles over the windows of a convolution, and the passes of the batch normalisation after it.
#pragma once
#include "core/simd/bfloat16.inl"
#include "core/simd/row_kernels.inl"
#include "core/simd/tiles.inl"

// What a lane multiplies: a float, or a pair of bfloat16 in its bits.
struct Floats {
  static Vec MultiplyAdd(Vec a, Vec b, Vec c) { return Fma(a, b, c); }
};
struct Pairs {
  static Vec MultiplyAdd(Vec a, Vec b, Vec c) { return FmaPairs(a, b, c); }
};

// kHeight windows times kWidth vectors of channels, of one panel or of several.
template <class Factors, int kHeight, int kWidth>
void WindowTile(const WindowBlock& w, int64_t row, int64_t col) {
  Vec sums[kHeight][kWidth];
  for (auto& line : sums)
    for (Vec& sum : line) sum = Set(0.0f);
  const float* in[kHeight];
  for (int r = 0; r < kHeight; ++r) in[r] = w.in + w.places[row + r].in;
  for (const WindowRun* run = w.runs; run != w.runs + w.run_count; ++run) {
    const float* panel = w.panels + col * w.depth + run->row * kPanel;
    for (int64_t k = run->in; k < run->in + run->length; ++k, panel += kPanel) {
      Vec b[kWidth];
      for (int v = 0; v < kWidth; ++v) b[v] = Load(panel + v / kVecs * w.depth * kPanel + v % kVecs * kLanes);
      for (int r = 0; r < kHeight; ++r) {
        const Vec x = Set(in[r][k]);
        for (int v = 0; v < kWidth; ++v) sums[r][v] = Factors::MultiplyAdd(x, b[v], sums[r][v]);
      }
    }
  }
  const int64_t cols = w.cols - col;
  for (int r = 0; r < kHeight; ++r) {
    float* out = w.out + w.places[row + r].out + col;
    for (int v = 0; v + 1 < kWidth; ++v) Store(out + v * kLanes, sums[r][v]);  // whole, see WindowTiles
    StoreColumns(out + (kWidth - 1) * kLanes, sums[r][kWidth - 1], cols - (kWidth - 1) * kLanes);
  }
}

// Tiles are as narrow as the remaining columns allow: 16 filters cost a quarter of 64.
template <class Factors>
struct WindowTiles {
  template <int kHeight, int kWidth = kVecs>
  static void Run(const WindowBlock& w, int64_t row, int64_t col) {
    if constexpr (kWidth > 1)
      if (w.cols - col <= (kWidth - 1) * kLanes) return Run<kHeight, kWidth - 1>(w, row, col);
    WindowTile<Factors, kHeight, kWidth>(w, row, col);
  }
};

// Panels that a tile takes at a time. A multiply-add takes four cycles and two may start in each: of one
// window and two vectors, as at the corners of an image, the units would wait for results three times out of
// four.
constexpr int PanelsAtOnce(int height) { return kVecs > 2 || height > 3 ? 1 : height > 1 ? 2 : 4; }

template <class Factors>
void Window(const WindowBlock& block) {
  ForEachRun(block.rows, [&](auto height, int64_t row, int64_t tiles) {
    constexpr int kAtOnce = PanelsAtOnce(height.value);
    const int64_t end = row + tiles * height.value;
    int64_t col = 0;
    for (; col + kAtOnce * kPanel <= block.cols; col += kAtOnce * kPanel)
      for (int64_t r = row; r < end; r += height.value)
        WindowTile<Factors, height.value, kAtOnce * kVecs>(block, r, col);
    for (; col < block.cols; col += kPanel)
      for (int64_t r = row; r < end; r += height.value)
        WindowTiles<Factors>::template Run<height.value>(block, r, col);
  });
}

// kWidth vectors of a row from column `first` on; or, if partial, the `count` columns that are left of one.
template <int kVectors, bool kPartial>
struct Columns {
  static constexpr int kWidth = kVectors;
  int64_t first, count;

  Vec Read(const float* row, int v) const {
    return kPartial ? LoadPartial(row + first, count) : Load(row + first + v * kLanes);
  }
  void Write(float* row, int v, Vec value) const {
    if (kPartial)
      StorePartial(row + first, value, count);
    else
      Store(row + first + v * kLanes, value);
  }
};

template <int kWidth = kVecs, class Body>
inline void ForEachColumns(int64_t cols, const Body& body, int64_t first = 0) {
  for (; first + kWidth * kLanes <= cols; first += kWidth * kLanes)
    body(Columns<kWidth, false>{first, kWidth * kLanes});
  if constexpr (kWidth > 1)
    ForEachColumns<kWidth - 1>(cols, body, first);
  else if (first < cols)
    body(Columns<1, true>{first, cols - first});
}

template <class Factors, int kHeight, class Cols>
void WindowGradTile(const WindowGradBlock& w, int64_t row, Cols columns) {
  Vec sums[kHeight][Cols::kWidth];
  for (auto& line : sums)
    for (Vec& sum : line) sum = Set(0.0f);
  for (const WindowPlace* place = w.places; place != w.places + w.place_count; ++place) {
    const float* x = w.in + place->in + row;
    const float* grad = w.grad + place->out;
    Vec b[Cols::kWidth];
    for (int v = 0; v < Cols::kWidth; ++v) b[v] = columns.Read(grad, v);
    for (int r = 0; r < kHeight; ++r) {
      const Vec a = Set(x[r]);
      for (int v = 0; v < Cols::kWidth; ++v) sums[r][v] = Factors::MultiplyAdd(a, b[v], sums[r][v]);
    }
  }
  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < Cols::kWidth; ++v) {
      float* out = w.out + (row + r) * w.cols;
      columns.Write(out, v, Add(columns.Read(out, v), sums[r][v]));
    }
}

template <class Factors>
void WindowGrad(const WindowGradBlock& block) {
  ForEachColumns(block.cols, [&](auto columns) {
    ForEachTile(block.rows, [&](auto height, int64_t row) {
      WindowGradTile<Factors, height.value>(block, row, columns);
    });
  });
}

// Two passes, the second around the mean of the first and correcting it: nothing cancels.
void Moments(const float* x, int64_t rows, int64_t cols, float* mean, float* squares) {
  ForEachColumns(cols, [&](auto columns) {
    constexpr int kWidth = decltype(columns)::kWidth;
    const Vec share = Set(1.0f / static_cast<float>(rows));
    Vec centre[kWidth], rest[kWidth], square[kWidth];
    for (int v = 0; v < kWidth; ++v) centre[v] = rest[v] = square[v] = Set(0.0f);
    for (int64_t r = 0; r < rows; ++r)
      for (int v = 0; v < kWidth; ++v) centre[v] = Add(centre[v], columns.Read(x + r * cols, v));
    for (int v = 0; v < kWidth; ++v) centre[v] = Mul(centre[v], share);
    for (int64_t r = 0; r < rows; ++r)
      for (int v = 0; v < kWidth; ++v) {
        const Vec d = Sub(columns.Read(x + r * cols, v), centre[v]);
        rest[v] = Add(rest[v], d);
        square[v] = Fma(d, d, square[v]);
      }
    for (int v = 0; v < kWidth; ++v) {
      const Vec shift = Mul(rest[v], share);
      columns.Write(mean, v, Add(centre[v], shift));
      columns.Write(squares, v, Sub(square[v], Mul(rest[v], shift)));
    }
  });
}

// The one formula of the output, so that forward and backward agree on its sign.
inline Vec Normalised(Vec centred, Vec scale, Vec beta) { return Fma(centred, scale, beta); }

// Calls body(offset of the window in x, offset of its result) for all windows.
template <int kPool, class Body>
inline void ForEachWindow(const PoolWindows& w, int64_t cols, const Body& body) {
  for (int64_t row = 0, out = 0; row < w.rows; ++row)
    for (int64_t col = 0; col < w.width; ++col, out += cols)
      body(row * kPool * w.x_row + col * kPool * cols, out);
}

// NormalisedRelu for some of its columns.
template <int kWidth>
struct ReluColumns {
  Vec mean[kWidth], scale[kWidth], beta[kWidth];

  template <class Cols>
  ReluColumns(const NormalisedRelu& n, Cols columns) {
    for (int v = 0; v < kWidth; ++v) {
      mean[v] = columns.Read(n.mean, v);
      scale[v] = columns.Read(n.scale, v);
      beta[v] = columns.Read(n.beta, v);
    }
  }
  Vec Value(Vec centred, int v) const { return Normalised(centred, scale[v], beta[v]); }
};

// The elements of a window, row by row.
template <int kPool>
struct WindowElements {
  static constexpr int kCount = kPool * kPool;
  int64_t at[kCount];
  WindowElements(int64_t first, int64_t x_row, int64_t cols) {
    for (int e = 0; e < kCount; ++e) at[e] = first + e / kPool * x_row + e % kPool * cols;
  }
};

template <int kPool>
void PooledReluOf(const NormalisedRelu& n, const PoolWindows& windows, const float* x, float* out) {
  ForEachColumns(n.cols, [&](auto columns) {
    constexpr int kWidth = decltype(columns)::kWidth;
    const ReluColumns<kWidth> relu(n, columns);
    ForEachWindow<kPool>(windows, n.cols, [&](int64_t first, int64_t result) {
      const WindowElements<kPool> elements(first, windows.x_row, n.cols);
      for (int v = 0; v < kWidth; ++v) {
        Vec largest = Set(0.0f);
        for (const int64_t at : elements.at)
          largest = Max(largest, relu.Value(Sub(columns.Read(x + at, v), relu.mean[v]), v));
        columns.Write(out + result, v, largest);
      }
    });
  });
}

template <int kPool>
void PooledReluSumsOf(const NormalisedRelu& n, const PoolWindows& windows, const float* x, const float* grad,
                      float* sums, float* products) {
  ForEachColumns(n.cols, [&](auto columns) {
    constexpr int kWidth = decltype(columns)::kWidth;
    const ReluColumns<kWidth> relu(n, columns);
    const Vec zero = Set(0.0f);
    Vec sum[kWidth], product[kWidth];
    for (int v = 0; v < kWidth; ++v) sum[v] = product[v] = zero;
    ForEachWindow<kPool>(windows, n.cols, [&](int64_t first, int64_t result) {
      const WindowElements<kPool> elements(first, windows.x_row, n.cols);
      for (int v = 0; v < kWidth; ++v) {
        Vec largest = zero, winner = zero;  // its distance from the mean
        for (const int64_t at : elements.at) {
          const Vec centred = Sub(columns.Read(x + at, v), relu.mean[v]), value = relu.Value(centred, v);
          const Mask larger = Less(largest, value);
          largest = Select(larger, value, largest);
          winner = Select(larger, centred, winner);
        }
        const Vec d = Select(Less(zero, largest), columns.Read(grad + result, v), zero);
        sum[v] = Add(sum[v], d);
        product[v] = Fma(d, winner, product[v]);
      }
    });
    for (int v = 0; v < kWidth; ++v) {
      columns.Write(sums, v, sum[v]);
      columns.Write(products, v, product[v]);
    }
  });
}

template <int kPool>
void PooledReluGradOf(const NormalisedRelu& n, const PoolWindows& windows, const float* x, const float* grad,
                      const float* offset, const float* slope, float* dx) {
  ForEachColumns(n.cols, [&](auto columns) {
    constexpr int kWidth = decltype(columns)::kWidth;
    const ReluColumns<kWidth> relu(n, columns);
    const Vec zero = Set(0.0f);
    Vec level[kWidth], fall[kWidth];
    for (int v = 0; v < kWidth; ++v) {
      level[v] = columns.Read(offset, v);
      fall[v] = Sub(zero, columns.Read(slope, v));
    }
    ForEachWindow<kPool>(windows, n.cols, [&](int64_t first, int64_t result) {
      const WindowElements<kPool> elements(first, windows.x_row, n.cols);
      for (int v = 0; v < kWidth; ++v) {
        Vec centred[elements.kCount], value[elements.kCount], largest = zero;
        for (int e = 0; e < elements.kCount; ++e) {
          centred[e] = Sub(columns.Read(x + elements.at[e], v), relu.mean[v]);
          value[e] = relu.Value(centred[e], v);
          largest = Max(largest, value[e]);
        }
        // The first of the largest takes the whole gradient; nothing is left for the next.
        Vec left = Select(Less(zero, largest), columns.Read(grad + result, v), zero);
        for (int e = 0; e < elements.kCount; ++e) {
          const Mask smaller = Less(value[e], largest);
          const Vec d = Select(smaller, zero, left);
          left = Select(smaller, left, zero);
          columns.Write(dx + elements.at[e], v,
                        Mul(relu.scale[v], Fma(centred[e], fall[v], Sub(d, level[v]))));
        }
      }
    });
  });
}

void PooledRelu(const NormalisedRelu& n, const PoolWindows& windows, const float* x, float* out) {
  (windows.pool == 1 ? PooledReluOf<1> : PooledReluOf<2>)(n, windows, x, out);
}

void PooledReluSums(const NormalisedRelu& n, const PoolWindows& windows, const float* x, const float* grad,
                    float* sums, float* products) {
  (windows.pool == 1 ? PooledReluSumsOf<1> : PooledReluSumsOf<2>)(n, windows, x, grad, sums, products);
}

void PooledReluGrad(const NormalisedRelu& n, const PoolWindows& windows, const float* x, const float* grad,
                    const float* offset, const float* slope, float* dx) {
  (windows.pool == 1 ? PooledReluGradOf<1> : PooledReluGradOf<2>)(n, windows, x, grad, offset, slope, dx);
}

constexpr ConvolutionKernels MakeConvolutionKernels() {
  ConvolutionKernels k = {};
  k.window = Window<Floats>;
  k.window_grad = WindowGrad<Floats>;
  k.pair_neighbours = PairNeighbours;
  k.pair_rows = PairRows;
  k.window_pairs = Window<Pairs>;
  k.window_grad_pairs = WindowGrad<Pairs>;
  k.moments = Moments;
  k.pooled_relu = PooledRelu;
  k.pooled_relu_sums = PooledReluSums;
  k.pooled_relu_grad = PooledReluGrad;
  return k;
}
