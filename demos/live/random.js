"use strict";
// np.random.default_rng(seed).normal(), number for number: NumPy's SeedSequence, its generator
// PCG64 (O'Neill 2014), and the ziggurat that makes normal numbers (Marsaglia and Tsang 2000).

function seedWords(seed) {  // eight numbers of 32 bits that depend on every bit of the seed
  const hash = (start, factor) => value => {
    value ^= start;
    start = Math.imul(start, factor);
    value = Math.imul(value, start);
    return value ^ value >>> 16;
  };
  const mix = (x, y) => {
    const z = Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y) | 0;
    return z ^ z >>> 16;
  };
  const stir = hash(0x43b0d7e5, 0x931e8875), draw = hash(0x8b51f9dd, 0x58f38ded);
  const pool = [seed, 0, 0, 0].map(stir);
  for (let from = 0; from < 4; from++)
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mix(pool[to], stir(pool[from]));
  return [0, 1, 2, 3, 0, 1, 2, 3].map(i => draw(pool[i]) >>> 0);
}

function* bits64(seed) {  // PCG64: a state of 128 bits, of which each step yields 64
  const words = seedWords(seed).map(BigInt), U = (bits, x) => BigInt.asUintN(bits, x);
  const [high, low, incHigh, incLow] = [0, 2, 4, 6].map(i => words[i] | words[i + 1] << 32n);
  const increment = U(128, (incHigh << 64n | incLow) << 1n | 1n);
  const next = state => U(128, state * 0x2360ed051fc65da44385df649fccf645n + increment);
  let state = next(U(128, increment + (high << 64n | low)));
  for (;;) {
    state = next(state);
    const x = U(64, state >> 64n ^ state), turn = state >> 122n;
    yield U(64, x >> turn | x << 64n - turn);
  }
}

// 256 layers of one area under exp(-x²/2): layer i ends at edge[i], layer 0 has the tail beyond R.
const R = 3.6541528853610088, AREA = 0.004928673233974658, edge = [], height = [];
[edge[0], edge[255]] = [AREA / Math.exp(-R * R / 2), R];
[height[0], height[255]] = [1, Math.exp(-R * R / 2)];
for (let i = 254; i > 0; i--) {
  edge[i] = Math.sqrt(-2 * Math.log(AREA / edge[i + 1] + height[i + 1]));
  height[i] = Math.exp(-(edge[i] ** 2) / 2);
}
// A number below this share of its layer is surely under the curve.
const inside = edge.map((x, i) => (i === 0 ? R : i === 1 ? 0 : edge[i - 1]) / x);

function* normals(seed) {
  const bits = bits64(seed), next = () => bits.next().value;
  const uniform = () => Number(next() >> 11n) / 2 ** 53;
  for (;;) {
    const b = next(), i = Number(b & 255n), share = Number(b >> 9n & (1n << 52n) - 1n) / 2 ** 52;
    const x = share * edge[i], sign = b >> 8n & 1n ? -1 : 1;
    if (share < inside[i]) yield sign * x;
    else if (i === 0) {
      let far, y;
      do {
        far = -Math.log1p(-uniform()) / R;
        y = -Math.log1p(-uniform());
      } while (2 * y <= far * far);
      yield (b >> 17n & 1n ? -1 : 1) * (R + far);
    } else if ((height[i - 1] - height[i]) * uniform() + height[i] < Math.exp(-x * x / 2))
      yield sign * x;
  }
}
