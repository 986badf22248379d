// SPDX-License-Identifier: MIT
// Loops over one row: packing, reductions, updates. Included once per instruction set.

constexpr int64_t kPanel = kLanes * kVecs;

void PackRows(const float* y, int64_t rows, int64_t dim, int64_t first, float* out) {
  const int64_t present = rows - first < kPanel ? rows - first : kPanel;
  const int64_t whole_rows = present / kLanes * kLanes, whole_dim = dim / kLanes * kLanes;
  for (int64_t k = 0; k < whole_dim; k += kLanes)
    for (int64_t c = 0; c < whole_rows; c += kLanes) {
      Vec square[kLanes];
      for (int i = 0; i < kLanes; ++i) square[i] = Load(y + (first + c + i) * dim + k);
      Transpose(square);
      for (int i = 0; i < kLanes; ++i) Store(out + (k + i) * kPanel + c, square[i]);
    }
  for (int64_t k = 0; k < dim; ++k) {
    const float* column = y + first * dim + k;
    for (int64_t c = k < whole_dim ? whole_rows : 0; c < kPanel; ++c)
      out[k * kPanel + c] = c < present ? column[c * dim] : 0.0f;
  }
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

void Axpy(float a, const float* x, float* y, int64_t n) {
  const Vec scale = Set(a);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, Fma(scale, Load(x + i), Load(y + i)));
  if (i < n) StorePartial(y + i, Fma(scale, LoadPartial(x + i, n - i), LoadPartial(y + i, n - i)), n - i);
}

void ScaleBytes(const uint8_t* in, int64_t n, float scale, float shift, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(in[i]) * scale + shift;
}
