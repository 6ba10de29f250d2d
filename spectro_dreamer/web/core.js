// The arithmetic between sound and model: what spectro_dreamer does in Python, in plain JavaScript.
// Nothing here knows of pages, files or graphs, so it runs in a browser, in a worker and in Node alike.
//
// A picture of sound is {frames, bands, data}: a Float32Array with one frame after the other. Levels are in nats.
// A front end is {sampleRate, nFft, hop, bands, floor, reflect, filters}; a filter is [first bin, weight, weight, …].

const TINY = 1e-20;                                                       // keeps divisions finite

// ---------------------------------------------------------------- dice

export function dice(seed) {
  // Standard normal numbers that depend on the seed alone: mulberry32, then Box and Muller.
  let state = seed >>> 0, spare = null;
  function uniform() {                                                    // between 0 and 1, neither included
    state = (state + 0x6D2B79F5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return (((x ^ (x >>> 14)) >>> 0) + .5) / 4294967296;
  }
  function normal() {
    if (spare !== null) { const kept = spare; spare = null; return kept; }
    const radius = Math.sqrt(-2 * Math.log(uniform())), angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
  return {uniform, normal, normals: (n, scale = 1) => Float32Array.from({length: n}, () => scale * normal())};
}

// ---------------------------------------------------------------- another sample rate

function bessel(x) {                                                      // I0, for Kaiser's window
  let sum = 1, term = 1;
  for (let k = 1; k < 60; k++) { term *= (x / (2 * k)) ** 2; sum += term; }
  return sum;
}

const divisor = (a, b) => b ? divisor(b, a % b) : a;

export function resample(wave, from, to) {
  // A sinc under Kaiser's window: nothing is lost up to 91 % of the lower half rate, nothing is left above all of it.
  if (from === to) return wave;
  const down = Math.min(1, to / from), beta = 12.3, width = .0435;       // of the slope, half of it, in half rates
  const cutoff = down * (1 - width), reach = Math.ceil(64 / down), step = divisor(from, to);
  const phases = to / step, stride = from / step, kernels = new Map();
  function kernel(phase) {                                                // weights of the samples around a moment
    if (kernels.has(phase)) return kernels.get(phase);
    const offset = phase / phases, weights = new Float32Array(2 * reach), scale = bessel(beta);
    for (let i = 0; i < 2 * reach; i++) {
      const t = i - reach + 1 - offset, x = Math.PI * cutoff * t, under = 1 - (t / reach) ** 2;
      if (under > 0) weights[i] = cutoff * (x ? Math.sin(x) / x : 1) * bessel(beta * Math.sqrt(under)) / scale;
    }
    kernels.set(phase, weights);
    return weights;
  }
  const out = new Float32Array(Math.round(wave.length * to / from));
  for (let n = 0; n < out.length; n++) {
    const at = n * stride, first = Math.floor(at / phases) - reach + 1, weights = kernel(at % phases);
    let sum = 0;
    const end = Math.min(2 * reach, wave.length - first);
    for (let i = Math.max(0, -first); i < end; i++) sum += weights[i] * wave[first + i];
    out[n] = sum;
  }
  return out;
}

// ---------------------------------------------------------------- Fourier

const plans = new Map();

function plan(n) {                                                        // what a transform of n points needs
  if (!plans.has(n)) {
    const order = new Uint32Array(n), cos = new Float64Array(n / 2), sin = new Float64Array(n / 2);
    for (let i = 1; i < n; i++) order[i] = (order[i >> 1] >> 1) | (i & 1 ? n >> 1 : 0);
    for (let i = 0; i < n / 2; i++) [cos[i], sin[i]] = [Math.cos(2 * Math.PI * i / n), Math.sin(2 * Math.PI * i / n)];
    plans.set(n, {order, cos, sin});
  }
  return plans.get(n);
}

export function fourier(re, im, back = false) {
  // In place, the length a power of two; back is the inverse times the length.
  const n = re.length, {order, cos, sin} = plan(n), sign = back ? 1 : -1;
  for (let i = 0; i < n; i++) {
    const j = order[i];
    if (i < j) { let x = re[i]; re[i] = re[j]; re[j] = x; x = im[i]; im[i] = im[j]; im[j] = x; }
  }
  for (let half = 1; half < n; half <<= 1) {
    const stride = n / (2 * half);
    for (let a = 0; a < n; a += 2 * half) for (let k = 0; k < half; k++) {
      const c = cos[k * stride], s = sign * sin[k * stride], i = a + k, j = i + half;
      const x = c * re[j] - s * im[j], y = s * re[j] + c * im[j];
      re[j] = re[i] - x; im[j] = im[i] - y; re[i] += x; im[i] += y;
    }
  }
}

const windows = new Map();

function hann(n) {
  const at = i => .5 - .5 * Math.cos(2 * Math.PI * i / n);
  if (!windows.has(n)) windows.set(n, Float64Array.from({length: n}, (_, i) => at(i)));
  return windows.get(n);
}

function padded(wave, {nFft, reflect}) {
  // Half a window more at both ends: silence, or the sound itself backwards.
  const half = nFft / 2, n = wave.length, out = new Float32Array(n + nFft);
  out.set(wave, half);
  if (reflect && n > half) for (let i = 1; i <= half; i++) {
    out[half - i] = wave[i];
    out[half + n - 1 + i] = wave[n - 1 - i];
  }
  return out;
}

function stft(wave, frontEnd, frames, re, im) {
  // Spectra of windows centred on every hop-th sample, into re and im (frames × bins); two frames share a transform.
  const {nFft, hop} = frontEnd, window = hann(nFft), bins = nFft / 2 + 1, sound = padded(wave, frontEnd);
  const a = new Float64Array(nFft), b = new Float64Array(nFft);
  for (let f = 0; f < frames; f += 2) {
    const start = f * hop, both = f + 1 < frames;
    for (let i = 0; i < nFft; i++) {
      a[i] = sound[start + i] * window[i];
      b[i] = both ? sound[start + hop + i] * window[i] : 0;
    }
    fourier(a, b);
    const here = f * bins, next = here + bins;
    for (let k = 0; k < bins; k++) {
      const j = (nFft - k) % nFft;
      re[here + k] = (a[k] + a[j]) / 2; im[here + k] = (b[k] - b[j]) / 2;
      if (both) { re[next + k] = (b[k] + b[j]) / 2; im[next + k] = (a[j] - a[k]) / 2; }
    }
  }
}

function overlap(frames, {nFft, hop}) {                                   // of the squared windows, at each sample
  const window = hann(nFft), weight = new Float64Array((frames - 1) * hop + nFft);
  for (let f = 0; f < frames; f++) for (let i = 0; i < nFft; i++) weight[f * hop + i] += window[i] * window[i];
  return weight.map(x => 1 / (nFft * Math.max(x, 1e-11)));
}

function istft(re, im, frames, {nFft, hop}, weight) {
  // The sound whose spectra are nearest to these; (frames - 1)·hop samples. weight is `overlap`.
  const window = hann(nFft), bins = nFft / 2 + 1, half = nFft / 2, sum = new Float64Array(weight.length);
  const a = new Float64Array(nFft), b = new Float64Array(nFft);
  for (let f = 0; f < frames; f += 2) {
    const here = f * bins, next = here + bins, both = f + 1 < frames, start = f * hop;
    for (let k = 0; k < bins; k++) {
      const edge = k === 0 || k === half, j = nFft - k;                   // there a real sound has no imaginary part
      const x = re[here + k], y = edge ? 0 : im[here + k];
      const u = both ? re[next + k] : 0, v = both && !edge ? im[next + k] : 0;
      a[k] = x - v; b[k] = y + u;
      if (!edge) { a[j] = x + v; b[j] = u - y; }
    }
    fourier(a, b, true);
    for (let i = 0; i < nFft; i++) sum[start + i] += a[i] * window[i];
    if (both) for (let i = 0; i < nFft; i++) sum[start + hop + i] += b[i] * window[i];
  }
  const wave = new Float32Array((frames - 1) * hop);
  for (let i = 0; i < wave.length; i++) wave[i] = sum[i + half] * weight[i + half];
  return wave;
}

// ---------------------------------------------------------------- log-mel

export function bandPower(power, frames, {nFft, bands, filters}) {        // (frames × bins) → (frames × bands)
  const bins = nFft / 2 + 1, out = new Float64Array(frames * bands);
  for (let f = 0; f < frames; f++) for (let m = 0; m < bands; m++) {
    const filter = filters[m], at = f * bins + filter[0] - 1;
    let sum = 0;
    for (let i = 1; i < filter.length; i++) sum += filter[i] * power[at + i];
    out[f * bands + m] = sum;
  }
  return out;
}

export function logMel(wave, frontEnd) {
  // What a model sees of a sound: the logarithm of the power in each band, frame n around sample n·hop.
  const frames = 1 + Math.floor(wave.length / frontEnd.hop), bins = frontEnd.nFft / 2 + 1;
  const re = new Float64Array(frames * bins), im = new Float64Array(frames * bins);
  stft(wave, frontEnd, frames, re, im);
  for (let i = 0; i < re.length; i++) re[i] = re[i] * re[i] + im[i] * im[i];
  const data = Float32Array.from(bandPower(re, frames, frontEnd), x => Math.log(Math.max(x, frontEnd.floor)));
  return {frames, bands: frontEnd.bands, data};
}

// ---------------------------------------------------------------- tokens

export function scaleOf(about, spec = null) {
  // Mean and deviation of each band that standardise a sound; a model of z-scored clips takes the clip's own.
  const fill = x => new Float32Array(about.mean.length).fill(x);
  if (about.standardise !== "clip") return {mean: Float32Array.from(about.mean), std: Float32Array.from(about.std)};
  if (!spec) return {mean: fill(about.level), std: fill(about.spread)};
  const mean = spec.data.reduce((a, x) => a + x, 0) / spec.data.length;
  const square = spec.data.reduce((a, x) => a + (x - mean) ** 2, 0);
  return {mean: fill(mean), std: fill(Math.max(.5, Math.sqrt(square / spec.data.length)))};
}

export const tokenCount = (frames, tokens) =>
  frames < tokens.frames ? 0 : 1 + Math.floor((frames - tokens.frames) / tokens.hop);

export function toTokens(spec, tokens, {mean, std}) {                     // → (tokens × bands × frames in one)
  const {bands, data} = spec, count = tokenCount(spec.frames, tokens), size = bands * tokens.frames;
  const out = new Float32Array(count * size);
  for (let t = 0; t < count; t++) for (let m = 0; m < bands; m++) for (let f = 0; f < tokens.frames; f++)
    out[t * size + m * tokens.frames + f] = (data[(t * tokens.hop + f) * bands + m] - mean[m]) / std[m];
  return out;
}

export function joinTokens(drawn, count, bands, tokens, {mean, std}) {
  // Tokens to a picture in nats; a frame that several tokens hold is their mean.
  const frames = (count - 1) * tokens.hop + tokens.frames, size = bands * tokens.frames;
  const data = new Float32Array(frames * bands), held = new Float32Array(frames);
  for (let t = 0; t < count; t++) for (let f = 0; f < tokens.frames; f++) {
    const at = t * tokens.hop + f;
    held[at]++;
    for (let m = 0; m < bands; m++) data[at * bands + m] += drawn[t * size + m * tokens.frames + f];
  }
  for (let f = 0; f < frames; f++) for (let m = 0; m < bands; m++)
    data[f * bands + m] = data[f * bands + m] / held[f] * std[m] + mean[m];
  return {frames, bands, data};
}

export const firstFrames = (spec, frames) =>
  ({frames, bands: spec.bands, data: spec.data.slice(0, frames * spec.bands)});

export function voiceCard(spec, {mean, std}) {
  // What a voice is known by: mean and deviation of each band over all frames, standardised.
  const {frames, bands, data} = spec, card = new Float32Array(2 * bands);
  for (let m = 0; m < bands; m++) {
    let sum = 0, square = 0;
    for (let f = 0; f < frames; f++) {
      const x = (data[f * bands + m] - mean[m]) / std[m];
      sum += x; square += x * x;
    }
    card[m] = sum / frames;
    card[bands + m] = Math.sqrt(Math.max(0, square / frames - (sum / frames) ** 2) + 1e-4);
  }
  return card;
}

// ---------------------------------------------------------------- back to sound

function correction(power, wanted, frames, frontEnd, sums) {
  // By what each bin is to be multiplied: wanted over present power, averaged over the bands it belongs to.
  const {nFft, bands, filters} = frontEnd, bins = nFft / 2 + 1, out = new Float64Array(frames * bins);
  const present = bandPower(power, frames, frontEnd);
  for (let f = 0; f < frames; f++) for (let m = 0; m < bands; m++) {
    const ratio = wanted[f * bands + m] / Math.max(present[f * bands + m], TINY), filter = filters[m];
    if (!ratio) continue;
    for (let i = 1, k = filter[0]; i < filter.length; i++, k++) out[f * bins + k] += ratio * filter[i] / sums[k];
  }
  return out;
}

function binSums({nFft, filters}) {                                       // of all filters, in each bin
  const sums = new Float64Array(nFft / 2 + 1);
  for (const filter of filters) for (let i = 1; i < filter.length; i++) sums[filter[0] + i - 1] += filter[i];
  return sums.map(x => Math.max(x, TINY));
}

function spread(wanted, frames, frontEnd, sums) {                         // each band's power, evenly under its filter
  const {nFft, bands, filters} = frontEnd, bins = nFft / 2 + 1, power = new Float64Array(frames * bins);
  filters.forEach((filter, m) => {
    const area = Math.max(TINY, filter.slice(1).reduce((a, x) => a + x, 0));
    for (let f = 0; f < frames; f++) for (let i = 1, k = filter[0]; i < filter.length; i++, k++)
      power[f * bins + k] += wanted[f * bands + m] / area * filter[i] / sums[k];
  });
  return power;
}

export function vocode(spec, frontEnd, {iterations = 32, seed = 0, magnitude = null, hold = 0, onStep} = {}) {
  // A sound with this log-mel: the fast method of Griffin and Lim finds phases, and in each step the magnitudes
  // are corrected towards the log-mel. With magnitudes of a network, `hold` is the share of them that is kept.
  const {frames} = spec, bins = frontEnd.nFft / 2 + 1, n = frames * bins, sums = binSums(frontEnd);
  const weight = overlap(frames, frontEnd), quiet = Math.log(frontEnd.floor) + 1e-3;
  const wanted = Float64Array.from(spec.data, x => x > quiet ? Math.exp(x) : 0);
  const corrected = (power, times) => {
    for (; times > 0; times--) {
      const by = correction(power, wanted, frames, frontEnd, sums);
      for (let i = 0; i < n; i++) power[i] *= by[i];
    }
    return power;
  };
  const first = magnitude ? corrected(Float64Array.from(magnitude, x => x * x), 10)
    : corrected(spread(wanted, frames, frontEnd, sums), 30);
  const kept = hold ? first.map(x => x ** hold) : null, random = dice(seed);
  const re = new Float64Array(n), im = new Float64Array(n), lastRe = new Float64Array(n), lastIm = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const phase = 2 * Math.PI * random.uniform(), size = Math.sqrt(first[i]);
    re[i] = size * Math.cos(phase); im[i] = size * Math.sin(phase);
  }
  const nearRe = new Float64Array(n), nearIm = new Float64Array(n), power = new Float64Array(n);
  for (let step = 0; step < iterations; step++) {
    stft(istft(re, im, frames, frontEnd, weight), frontEnd, frames, nearRe, nearIm);
    for (let i = 0; i < n; i++) power[i] = nearRe[i] * nearRe[i] + nearIm[i] * nearIm[i];
    corrected(power, 1);
    for (let i = 0; i < n; i++) {
      const x = nearRe[i] + .99 * (nearRe[i] - lastRe[i]), y = nearIm[i] + .99 * (nearIm[i] - lastIm[i]);
      const size = Math.sqrt(kept ? kept[i] * power[i] ** (1 - hold) : power[i]) / (Math.sqrt(x * x + y * y) || 1);
      lastRe[i] = nearRe[i]; lastIm[i] = nearIm[i];
      re[i] = size * x; im[i] = size * y;
    }
    if (onStep) onStep((step + 1) / iterations);
  }
  return istft(re, im, frames, frontEnd, weight);
}

// ---------------------------------------------------------------- levels

function filtered(wave, [b0, b1, b2, a1, a2]) {                           // through two poles
  const out = new Float64Array(wave.length);
  let u = 0, v = 0;
  for (let i = 0; i < wave.length; i++) {
    const x = wave[i], y = b0 * x + u;
    u = b1 * x - a1 * y + v; v = b2 * x - a2 * y;
    out[i] = y;
  }
  return out;
}

export function loudness(wave, sampleRate) {
  // LUFS, as ITU-R BS.1770 measures one channel: a head's shelf, no rumble, power of blocks, pauses left out.
  let k = Math.tan(Math.PI * 1681.974450955533 / sampleRate), q = .7071752369554196, a0 = 1 + k / q + k * k;
  const top = 10 ** (3.999843853973347 / 20), middle = top ** .4996667741545416;
  const shelf = [top + middle * k / q + k * k, 2 * (k * k - top), top - middle * k / q + k * k, 2 * (k * k - 1),
                 1 - k / q + k * k].map(x => x / a0);
  k = Math.tan(Math.PI * 38.13547087602444 / sampleRate); q = .5003270373238773; a0 = 1 + k / q + k * k;
  const rumble = [1, -2, 1, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0];
  const heard = filtered(filtered(wave, shelf), rumble), block = Math.round(.4 * sampleRate), powers = [];
  for (let start = 0; start === 0 || start + block <= heard.length; start += Math.floor(block / 4))
    powers.push(heard.subarray(start, start + block).reduce((a, x) => a + x * x, 0) / block);
  const mean = list => list.reduce((a, x) => a + x, 0) / list.length;
  const loud = powers.filter(p => p > 10 ** ((-70 + .691) / 10));
  return loud.length ? -.691 + 10 * Math.log10(mean(loud.filter(p => p > mean(loud) / 10))) : -Infinity;
}

export function levelled(wave, sampleRate, level = -23, peak = -1) {
  // A sound at the level of all players, softer where its peaks would be cut off; silence as it is.
  const now = loudness(wave, sampleRate), most = wave.reduce((a, x) => Math.max(a, Math.abs(x)), 1e-9);
  const gain = now === -Infinity ? 1 : Math.min(10 ** ((level - now) / 20), 10 ** (peak / 20) / most);
  return wave.map(x => gain * x);
}
