// The walk of chapter 55b in plain JavaScript. Its numbers are doubles that are only added, multiplied, divided,
// rounded and rooted, one step at a time, so they are those of Python to the last bit.
//
// `about` is what `page_bits` of chapter 90eb says of a model; `weights` are its arrays by name (Float32Array).

// ---------------------------------------------------------------- the grid

const ROUNDER = 6755399441055744;                                         // 1.5·2⁵²: beyond it a double has no halves
export const rint = x => (x + ROUNDER) - ROUNDER;                         // to the nearest, halves to the even one
export const onGrid = x => rint(Math.min(Math.max(x, -64), 64) * 16384) / 16384;
export const LN2 = .6931471805599453;
const LN2_HIGH = .6931471803691238, LN2_LOW = 1.9082149292705877e-10;

const SERIES = [1];
for (let k = 1; k < 15; k++) SERIES.push(SERIES[k - 1] / k);

const POWERS = new Float64Array(2041).fill(1);                            // of two, from -1020 to 1020
for (let n = 1; n <= 1020; n++) {
  POWERS[1020 + n] = 2 * POWERS[1019 + n];
  POWERS[1020 - n] = POWERS[1021 - n] / 2;
}

export function exp(x) {
  x = Math.min(Math.max(x, -700), 700);
  const n = rint(x * 1.4426950408889634), r = (x - n * LN2_HIGH) - n * LN2_LOW;
  let p = SERIES[14];
  for (let k = 13; k >= 0; k--) p = p * r + SERIES[k];
  return p * POWERS[1020 + n];
}

function log1p(u) {
  const s = u / (2 + u), squared = s * s;
  let total = 0;
  for (let k = 33; k > 0; k -= 2) total = total * squared + 1 / k;
  return 2 * (s * total);
}

export const sigmoid = x => 1 / (1 + exp(-x));
export const tanh = x => 1 - 2 / (exp(2 * x) + 1);
export const softplus = x => Math.max(x, 0) + log1p(exp(-Math.abs(x)));

export function normal(x) {                                               // the normal distribution function
  x = Math.min(Math.max(x, -8), 8);
  const squared = x * x;
  let term = x, total = x;
  for (let k = 3; k < 300; k += 2) { term = term * squared / k; total += term; }
  return .5 + total * exp(-.5 * squared) * .3989422804014327;
}

// ---------------------------------------------------------------- layers

const rounded = array => Float64Array.from(array, x => rint(x * 65536) / 65536);

function linear(weights, [weight, bias]) {                                // x → exact sums, in whatever order
  const w = rounded(weights[weight]), b = rounded(weights[bias]), rows = b.length, columns = w.length / rows;
  return x => {
    const out = new Float64Array(rows);
    for (let j = 0; j < rows; j++) {
      let sum = b[j];
      for (let i = 0, at = j * columns; i < columns; i++) sum += w[at + i] * x[i];
      out[j] = sum;
    }
    return out;
  };
}

function norm(weights, [weight, bias, eps]) {
  const w = rounded(weights[weight]), b = rounded(weights[bias]), n = w.length;
  return given => {
    let x = given.map(onGrid);
    const mean = onGrid(x.reduce((a, v) => a + v, 0) / n);
    x = x.map(v => v - mean);
    const deviation = Math.sqrt(x.reduce((a, v) => a + v * v, 0) / n + eps);
    return x.map((v, i) => onGrid(v / deviation * w[i] + b[i]));
  };
}

const silu = () => x => x.map(onGrid).map(v => onGrid(v * sigmoid(v)));
const elu = () => x => x.map(onGrid).map(v => onGrid(v > 0 ? v : exp(Math.min(v, 0)) - 1));
const LAYERS = {linear, norm, silu, elu};

function perceptron(weights, {layers, beside}) {
  const deep = layers.map(([kind, ...names]) => LAYERS[kind](weights, names));
  const skip = beside && linear(weights, beside);
  return x => {
    const y = deep.reduce((v, layer) => layer(v), x), s = skip && skip(x);
    return y.map((v, i) => onGrid(s ? v + s[i] : v));
  };
}

function gru(weights, [ofInput, ofState]) {
  const input = linear(weights, ofInput), state = linear(weights, ofState);
  return (given, h) => {
    const n = h.length, x = input(given), g = state(h), gate = i => onGrid(sigmoid(onGrid(x[i] + g[i])));
    return h.map((old, i) => {
      const reset = gate(i), update = gate(n + i), last = 2 * n + i;
      const fresh = onGrid(tanh(onGrid(x[last] + reset * onGrid(g[last]))));
      return onGrid(fresh + update * (old - fresh));
    });
  };
}

// ---------------------------------------------------------------- the walk

export class Walk {                                                       // writer and reader both take it
  constructor(about, weights) {
    this.about = about;
    this.gru = gru(weights, about.gru);
    this.prior = perceptron(weights, about.prior);
  }

  begin(action) {                                                         // what the model is told of every token
    this.action = action;
    this.restart();
  }

  restart() { [this.h, this.z] = [new Float64Array(this.about.sizes.h), new Float64Array(this.about.sizes.z)]; }

  expect() {                                                              // one token on: the prior of its state
    this.h = this.gru(Float64Array.of(...this.z, ...this.action), this.h);
    const raw = this.prior(this.h), n = raw.length / 2;
    return {mean: raw.slice(0, n), std: raw.slice(n).map(x => onGrid(softplus(x)) + this.about.least)};
  }

  settle(z) {                                                             // what the state is, as symbols say
    this.z = z;
    return {h: Float32Array.from(this.h), z: Float32Array.from(z)};
  }
}
