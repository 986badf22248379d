// SPDX-License-Identifier: MIT
// Loops over one row: packing, reductions, updates. Included once per instruction set.

constexpr int64_t kPanel = kLanes * kVecs;

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

// out[c * kHeight + r] = in[r * in_stride + c] for kHeight rows. Whole vectors are written wherever the
// columns that follow overwrite what is too much.
template <int kHeight>
inline void TransposeNarrow(const float* in, int64_t in_stride, int64_t cols, float* out) {
  constexpr int kSquares = (kHeight + kLanes - 1) / kLanes;
  int64_t c = 0;
  for (; c + 2 * kLanes <= cols; c += kLanes) {
    Vec squares[kSquares][kLanes];
    for (int r = 0; r < kSquares * kLanes; ++r)
      squares[r / kLanes][r % kLanes] = r < kHeight ? Load(in + r * in_stride + c) : Set(0.0f);
    for (auto& square : squares) Transpose(square);
    for (int i = 0; i < kLanes; ++i)
      for (int s = 0; s < kSquares; ++s) Store(out + (c + i) * kHeight + s * kLanes, squares[s][i]);
  }
  for (; c < cols; ++c)
    for (int r = 0; r < kHeight; ++r) out[c * kHeight + r] = in[r * in_stride + c];
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

// The sum of the entries, and of their magnitudes.
void Sums(const float* x, int64_t n, float* sum, float* magnitude) {
  Vec sums = Set(0.0f), magnitudes = Set(0.0f);
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec v = n - i >= kLanes ? Load(x + i) : LoadPartial(x + i, n - i);
    sums = Add(sums, v);
    magnitudes = Add(magnitudes, Abs(v));
  }
  *sum = Sum(sums);
  *magnitude = Sum(magnitudes);
}

// e^x to 2 ulp: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2], whose coefficients are those of the Taylor
// series but for the last three, fitted to the interval (Cephes, expf). Adding 1.5 * 2^23 rounds to an
// integer.
inline Vec Exp(Vec x) {
  x = Min(Set(88.0f), Max(Set(-87.0f), x));  // a NaN stays
  const Vec magic = Set(12582912.0f), shifted = Fma(x, Set(1.44269504f), magic), n = Sub(shifted, magic);
  const Vec r = Fma(n, Set(2.12194440e-4f), Fma(n, Set(-0.693359375f), x));
  Vec p = Set(1.9875691500e-4f);
  for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
    p = Fma(p, r, Set(c));
  return Mul(Add(Fma(p, Mul(r, r), r), Set(1.0f)), PowerOfTwo(shifted));
}

inline Vec Logistic(Vec x) { return Div(Set(1.0f), Add(Set(1.0f), Exp(Sub(Set(0.0f), x)))); }

void Axpy(float a, const float* x, float* y, int64_t n) {
  const Vec scale = Set(a);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, Fma(scale, Load(x + i), Load(y + i)));
  if (i < n) StorePartial(y + i, Fma(scale, LoadPartial(x + i, n - i), LoadPartial(y + i, n - i)), n - i);
}

// Each operation rounds once, in the order of the formula: the bits are the same for all instruction sets.
void Adam(const AdamSettings& s, const AdamTensor& t) {
#pragma GCC ivdep  // an output that is an input is so element by element
  for (int64_t i = 0; i < t.size; ++i) {
    const float gradient = t.gradients[i];
    const float square = s.beta_2 * t.squares[i] + s.one_minus_beta_2 * (gradient * gradient);
    t.new_weights[i] = t.weights[i] - s.learning_rate * gradient / (__builtin_sqrtf(square) + s.epsilon);
    t.new_squares[i] = square;
  }
}

void ScaleBytes(const uint8_t* in, int64_t n, float scale, float shift, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(in[i]) * scale + shift;
}

// The upper half of the nearest float that has no lower one, of two the even one.
inline uint32_t RoundToBfloat16(float x) {
  const uint32_t bits = FloatBits(x);
  const uint32_t nearest = bits + 0x7fff + (bits >> 16 & 1), quiet = bits | 0x400000;
  return (x == x ? nearest : quiet) >> 16;
}

void PairNeighbours(const float* in, int64_t rows, int64_t cols, float* out) {
  // Byte by byte, as the compiler makes vectors of it: x86 and ARM have the lower half first.
  auto* halves = reinterpret_cast<unsigned char*>(out);
  const auto put = [&halves](const float* x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const auto half = static_cast<uint16_t>(RoundToBfloat16(x[i]));
      __builtin_memcpy(halves + 2 * i, &half, 2);
    }
    halves += 2 * n;
  };
  if (cols % 2 == 0) return put(in, rows * cols);
  const float zero = 0.0f;
  for (int64_t r = 0; r < rows; ++r) {
    put(in + r * cols, cols);
    put(&zero, 1);
  }
}

void PairRows(const float* first, const float* second, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i)
    out[i] = BitsFloat(RoundToBfloat16(first[i]) | RoundToBfloat16(second ? second[i] : 0.0f) << 16);
}
