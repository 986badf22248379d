// SPDX-License-Identifier: MIT
// Register tiles over the windows of a convolution, and the passes of the batch normalisation after it.
// Included once per instruction set, after gram_body.inl.

// kHeight windows times kWidth vectors of channels.
template <int kHeight, int kWidth>
void WindowTile(const WindowBlock& w, int64_t row, int64_t col) {
  Vec sums[kHeight][kWidth];
  for (auto& line : sums)
    for (Vec& sum : line) sum = Set(0.0f);
  for (const WindowRun* run = w.runs; run != w.runs + w.run_count; ++run) {
    const float* in[kHeight];
    for (int r = 0; r < kHeight; ++r) in[r] = w.in + w.places[row + r].in + run->in;
    const float* panel = w.panels + col * w.depth + run->row * kPanel;
    for (int64_t k = 0; k < run->length; ++k, panel += kPanel) {
      Vec b[kWidth];
      for (int v = 0; v < kWidth; ++v) b[v] = Load(panel + v * kLanes);
      for (int r = 0; r < kHeight; ++r) {
        const Vec x = Set(in[r][k]);
        for (int v = 0; v < kWidth; ++v) sums[r][v] = Fma(x, b[v], sums[r][v]);
      }
    }
  }
  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < kWidth; ++v)
      StoreColumns(w.out + w.places[row + r].out + col + v * kLanes, sums[r][v], w.cols - col - v * kLanes);
}

// As narrow as the columns that are left allow: 16 filters cost a quarter of 64.
struct WindowTiles {
  template <int kHeight, int kWidth = kVecs>
  static void Run(const WindowBlock& w, int64_t row, int64_t col) {
    if constexpr (kWidth > 1)
      if (w.cols - col <= (kWidth - 1) * kLanes) return Run<kHeight, kWidth - 1>(w, row, col);
    WindowTile<kHeight, kWidth>(w, row, col);
  }
};

void Window(const WindowBlock& block) {
  for (int64_t col = 0; col < block.cols; col += kPanel)
    ForEachTile(block.rows,
                [&](auto height, int64_t row) { WindowTiles::Run<height.value>(block, row, col); });
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

template <int kHeight, class Cols>
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
      for (int v = 0; v < Cols::kWidth; ++v) sums[r][v] = Fma(a, b[v], sums[r][v]);
    }
  }
  for (int r = 0; r < kHeight; ++r)
    for (int v = 0; v < Cols::kWidth; ++v) {
      float* out = w.out + (row + r) * w.cols;
      columns.Write(out, v, Add(columns.Read(out, v), sums[r][v]));
    }
}

void WindowGrad(const WindowGradBlock& block) {
  ForEachColumns(block.cols, [&](auto columns) {
    ForEachTile(block.rows,
                [&](auto height, int64_t row) { WindowGradTile<height.value>(block, row, columns); });
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

void NormalisedReluRows(const NormalisedRelu& n, const float* x, int64_t rows, float* out) {
  ForEachColumns(n.cols, [&](auto columns) {
    constexpr int kWidth = decltype(columns)::kWidth;
    Vec mean[kWidth], scale[kWidth], beta[kWidth];
    for (int v = 0; v < kWidth; ++v) {
      mean[v] = columns.Read(n.mean, v);
      scale[v] = columns.Read(n.scale, v);
      beta[v] = columns.Read(n.beta, v);
    }
    for (int64_t at = 0; at < rows * n.cols; at += n.cols)
      for (int v = 0; v < kWidth; ++v) {
        const Vec value = Normalised(Sub(columns.Read(x + at, v), mean[v]), scale[v], beta[v]);
        columns.Write(out + at, v, Max(Set(0.0f), value));
      }
  });
}

void NormalisedReluSums(const NormalisedRelu& n, const float* grad, const float* x, int64_t rows, float* sums,
                        float* products) {
  ForEachColumns(n.cols, [&](auto columns) {
    constexpr int kWidth = decltype(columns)::kWidth;
    const Vec zero = Set(0.0f);
    Vec mean[kWidth], scale[kWidth], beta[kWidth], sum[kWidth], product[kWidth];
    for (int v = 0; v < kWidth; ++v) {
      mean[v] = columns.Read(n.mean, v);
      scale[v] = columns.Read(n.scale, v);
      beta[v] = columns.Read(n.beta, v);
      sum[v] = product[v] = zero;
    }
    for (int64_t at = 0; at < rows * n.cols; at += n.cols)
      for (int v = 0; v < kWidth; ++v) {
        const Vec centred = Sub(columns.Read(x + at, v), mean[v]);
        const Mask positive = Less(zero, Normalised(centred, scale[v], beta[v]));
        const Vec d = Select(positive, columns.Read(grad + at, v), zero);
        sum[v] = Add(sum[v], d);
        product[v] = Fma(d, centred, product[v]);
      }
    for (int v = 0; v < kWidth; ++v) {
      columns.Write(sums, v, sum[v]);
      columns.Write(products, v, product[v]);
    }
  });
}

void NormalisedReluGrad(const NormalisedRelu& n, const float* grad, const float* x, int64_t rows,
                        const float* offset, const float* slope, float* dx) {
  ForEachColumns(n.cols, [&](auto columns) {
    constexpr int kWidth = decltype(columns)::kWidth;
    const Vec zero = Set(0.0f);
    Vec mean[kWidth], scale[kWidth], beta[kWidth], level[kWidth], fall[kWidth];
    for (int v = 0; v < kWidth; ++v) {
      mean[v] = columns.Read(n.mean, v);
      scale[v] = columns.Read(n.scale, v);
      beta[v] = columns.Read(n.beta, v);
      level[v] = columns.Read(offset, v);
      fall[v] = Sub(zero, columns.Read(slope, v));
    }
    for (int64_t at = 0; at < rows * n.cols; at += n.cols)
      for (int v = 0; v < kWidth; ++v) {
        const Vec centred = Sub(columns.Read(x + at, v), mean[v]);
        const Mask positive = Less(zero, Normalised(centred, scale[v], beta[v]));
        const Vec d = Select(positive, columns.Read(grad + at, v), zero);
        columns.Write(dx + at, v, Mul(scale[v], Fma(centred, fall[v], Sub(d, level[v]))));
      }
  });
}
