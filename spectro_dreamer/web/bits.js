// Files of bits (chapters 55c and 55d) in plain JavaScript: the symbols of a walk on the grid, and the bytes that
// spectro_encode writes. What is no such file, or is damaged, is said in one line.
import {exp, LN2, normal, onGrid, rint} from "./grid.js";

// ---------------------------------------------------------------- probabilities and steps

const MOST = 40, TOTAL = 1 << 20, WHOLE = 1 << 24;                        // steps; counts of a row; of the coder
const OCTAVES = Array.from({length: 57}, (_, i) => (i - 24) / 8);
const BORDERS = OCTAVES.slice(0, -1).map(x => exp((x + 1 / 16) * LN2));
const rowOf = ratio => BORDERS.filter(b => b < ratio).length;
let made = null;                                                          // {nats, cumulative} for each of OCTAVES

export function tables() {
  // The cumulative counts are those that the range coder of the library constriction makes of the same floats.
  made ||= OCTAVES.map(octave => {
    const power = exp(octave * LN2), edges = Array.from({length: 2 * MOST + 2}, (_, i) => (i - MOST - .5) * power);
    const [plain, wide] = [1, 4].map(width => edges.map(x => normal(x / width)));
    const counts = edges.slice(1).map((_, i) => Math.max(4, rint(
      ((1 - .02) * (plain[i + 1] - plain[i]) + .02 * (wide[i + 1] - wide[i])) * TOTAL)));
    counts[MOST] += TOTAL - counts.reduce((a, n) => a + n, 0);
    const cumulative = [0], free = WHOLE - counts.length;
    let sum = 0;
    counts.forEach((n, i) => cumulative.push(Math.floor(Math.fround((sum += n) / TOTAL * free)) + i + 1));
    cumulative[counts.length] = WHOLE;
    return {cumulative, nats: counts.map(n => -Math.log(n / TOTAL))};
  });
  return made;
}

class Steps {                                                             // whole numbers for a state, and back
  constructor(typical, step) {
    this.size = Array.from(typical, x => onGrid(Math.max(step * x, 1 / 1024)));
    this.own = Array.from(typical, x => x * x);
  }

  rows(std) {                                                             // which of `tables`
    return Array.from(std, (s, i) =>
      rowOf(this.size[i] / (.9 * Math.sqrt(Math.max(s * s - this.own[i], s * s / 16)))));
  }

  symbols(wanted, mean, std) {                                            // the least of nats and ten squared errors
    const clip = x => Math.min(Math.max(x, -MOST), MOST);
    return this.rows(std).map((row, i) => {
      const x = clip((wanted[i] - mean[i]) / this.size[i]), below = Math.trunc(x), {nats} = tables()[row];
      const cost = k => nats[k + MOST] + 10 * (k - x) ** 2;
      return [0, below, clip(below + Math.sign(x))].reduce((best, k) => cost(k) < cost(best) ? k : best);
    });
  }

  values(k, mean) { return Float64Array.from(k, (n, i) => onGrid(mean[i] + n * this.size[i])); }
}

const QUARTERS = rowOf(1);                                                // the row of deviations in a header
const repeated = (n, x) => Array(n).fill(x);
const voiceSteps = n => new Steps(repeated(n, .25), 2);                   // of a voice: halves

// ---------------------------------------------------------------- symbols and bytes

const WORD = 32n, MASK = (1n << 64n) - 1n, TOP = (1n << 32n) - 1n, PRECISION = 24n;

function words(symbols, rowsOf) {
  // A range coder (Martin 1979) with 64 bits of state. Words whose carry is open wait: `held` of them, after `first`.
  let lower = 0n, range = MASK, held = 0, first = 0n;
  const out = [], high = x => x >> WORD;
  function release(carried) {
    if (held) out.push(first + (carried ? 1n : 0n));
    for (; held > 1; held--) out.push(carried ? 0n : TOP);
    held = 0;
  }
  symbols.forEach((symbol, i) => {
    const {cumulative} = tables()[rowsOf[i]], at = cumulative[symbol + MOST], scale = range >> PRECISION;
    range = scale * BigInt(cumulative[symbol + MOST + 1] - at);
    const now = (lower + scale * BigInt(at)) & MASK, open = () => ((lower + range) & MASK) <= lower;
    const carried = now < lower;
    lower = now;
    if (held && !open()) release(carried);
    if (range > TOP) return;
    const word = high(lower);
    lower = lower << WORD & MASK;
    range <<= WORD;
    if (held) held++;
    else if (open()) [held, first] = [1, word];
    else out.push(word);
  });
  if (range === MASK) return out;                                         // nothing was written
  const point = (lower + TOP) & MASK;
  release(point < lower);
  out.push(high(point));
  if (high((lower + range) & MASK) === high(point)) out.push(0n);
  return out;
}

export class Unpacked {                                                   // reads what `packed` wrote
  constructor(content) {
    const whole = new Uint8Array(content.length + 11);                    // zeros behind the end
    whole.set(content);
    Object.assign(this, {view: new DataView(whole.buffer), at: 0, end: content.length, lower: 0n, range: MASK});
    this.point = this.word() << WORD | this.word();
  }

  word() {
    const at = this.at;
    this.at += 4;
    return at < this.end ? BigInt(this.view.getUint32(at)) : 0n;
  }

  read(rowsOf) { return rowsOf.map(row => this.symbol(tables()[row].cumulative)); }

  symbol(cumulative) {
    const scale = this.range >> PRECISION, place = Number(((this.point - this.lower) & MASK) / scale);
    if (place >= WHOLE) throw new Error("This file cannot be read: its bytes hold no symbols.");
    let low = 0, above = cumulative.length - 1;
    while (above - low > 1) {
      const middle = low + above >> 1;
      if (cumulative[middle] <= place) low = middle; else above = middle;
    }
    this.lower = (this.lower + scale * BigInt(cumulative[low])) & MASK;
    this.range = scale * BigInt(cumulative[above] - cumulative[low]);
    if (this.range <= TOP) {
      this.lower = this.lower << WORD & MASK;
      this.range <<= WORD;
      this.point = (this.point << WORD & MASK) | this.word();
    }
    return low - MOST;
  }
}

export function packed(symbols, rowsOf) {                                 // the fewest bytes that read the same
  const all = words(symbols, rowsOf), content = new Uint8Array(4 * all.length), view = new DataView(content.buffer);
  all.forEach((word, i) => view.setUint32(4 * i, Number(word)));
  const reads = short => {
    const read = new Unpacked(short);
    try { return symbols.every((k, i) => read.symbol(tables()[rowsOf[i]].cumulative) === k); } catch { return false; }
  };
  for (let cut = Math.min(7, content.length); cut > 0; cut--)
    if (reads(content.subarray(0, -cut))) return content.slice(0, -cut);
  return content;
}

// ---------------------------------------------------------------- what is known of the whole

class Known {                                                             // what a header knows of the whole sound
  constructor({typical, sizes}, quarters, voice) {
    this.typical = typical.map((x, i) => onGrid(x * exp(quarters[i] * (LN2 / 4))));
    const heard = voiceSteps(voice.length).values(voice, repeated(voice.length, 0));
    this.action = Float64Array.from([...repeated(sizes.action, 0), ...heard]);
    Object.assign(this, {quarters, voice});
  }

  static read(about, content) {
    const unpacked = new Unpacked(content), {z, voice} = about.sizes;
    const quarters = unpacked.read(repeated(z, QUARTERS));
    return new Known(about, quarters, unpacked.read(voiceSteps(voice).rows(repeated(voice, 1))));
  }

  get bytes() {
    const {quarters, voice} = this, n = voice.length;
    return packed([...quarters, ...voice],
                  [...repeated(quarters.length, QUARTERS), ...voiceSteps(n).rows(repeated(n, 1))]);
  }
}

// ---------------------------------------------------------------- the file

const MIX = 40503, UNMIX = 30599, GAP = 3600, LONGEST = 60;                // LONGEST: seconds that a page reads
const hex = bytes => Array.from(bytes, x => x.toString(16).padStart(2, "0")).join("");
const unhex = text => Uint8Array.from(text.match(/../g), x => parseInt(x, 16));
const joined = parts => Uint8Array.from(parts.flatMap(part => [...part]));

function crc(bytes) {                                                     // CRC-16 of 0x1021, from 0
  let sum = 0;
  for (const byte of bytes) {
    sum ^= byte << 8;
    for (let i = 0; i < 8; i++) sum = (sum << 1 ^ (sum & 32768 ? 0x1021 : 0)) & 65535;
  }
  return sum;
}

function varint(n) {
  const out = [];
  for (; n > 127; n = Math.floor(n / 128)) out.push(n % 128 + 128);
  return [...out, n];
}

function readVarint(data, at) {                                           // [number, the place behind]; null at the end
  for (let n = 0, size = 1; at < data.length; size *= 128) {
    const byte = data[at++];
    n += byte % 128 * size;
    if (byte < 128 || size > 2 ** 49) return [n, at];
  }
  return null;
}

const checked = (number, content) => (crc(content) + number * MIX) & 65535;
const framed = (number, content) =>
  [...varint(content.length), checked(number, content) >> 8, checked(number, content) & 255, ...content];

function header({about, samples, count, step, known}) {
  const name = new TextEncoder().encode(about.name).subarray(0, 63), content = known.bytes;
  const whole = joined([[83, 68, 90, 1], unhex(about.weights), unhex(about.frontEnd),
    [Math.round(32 * step), about.perSecond, about.restart], varint(samples), varint(count), varint(name.length), name,
    varint(content.length), content]);
  return joined([whole, [crc(whole) >> 8, crc(whole) & 255]]);
}

export function readHeader(data) {
  // {…, at}: where the seconds begin. Says in one line what is wrong.
  if (data[0] !== 83 || data[1] !== 68 || data[2] !== 90)
    throw new Error("This is no file of bits: it does not begin with SDZ.");
  if (data.length > 3 && data[3] !== 1)
    throw new Error(`This file is of version ${data[3]} of its format, and the page reads version 1.`);
  const cut = () => new Error("This file is cut off within its header.");
  let at = 13;
  const number = () => {
    const got = readVarint(data, at);
    if (!got) throw cut();
    at = got[1];
    return got[0];
  };
  const part = n => data.subarray(at, Math.min(data.length, at += n));
  const samples = number(), count = number(), name = part(number()), known = part(number());
  if (data.length < at + 2) throw cut();
  const [step, perSecond, restart] = [data[10] / 32, data[11], data[12]];
  if (crc(data.subarray(0, at)) !== data[at] * 256 + data[at + 1] || !step || !perSecond || !count)
    throw new Error("This file cannot be read: its header is damaged.");
  const said = new TextDecoder().decode(name).replace(/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, "?");
  return {weights: hex(data.subarray(4, 8)), frontEnd: hex(data.subarray(8, 10)), step, perSecond, restart, samples,
          count, name: said, known, at: at + 2};
}

function secondAt(data, at) {                                             // whatever stands there; null at the end
  const [n, begin] = readVarint(data, at) || [];
  if (n === undefined || data.length < begin + 2 + n) return null;
  const content = data.subarray(begin + 2, begin + 2 + n), check = data[begin] * 256 + data[begin + 1];
  return {number: Math.imul(check - crc(content), UNMIX) & 65535, content, at, behind: begin + 2 + n};
}

function nextSecond(data, at, least, n) {                                 // the first whole one behind a damaged one
  const [length, begin] = readVarint(data, at) || [0, data.length], next = secondAt(data, begin + 2 + length);
  if (next && next.number === (least + 1 & 65535)) return next;
  for (let place = at + 1; place < data.length; place++) {
    const got = secondAt(data, place);
    if (!got || (got.number - least & 65535) >= Math.min(n - least, GAP)) continue;
    const after = secondAt(data, got.behind);
    if (got.behind === data.length || after && after.number === (got.number + 1 & 65535)) return got;
  }
  return null;
}

export function secondsOf(data, at, n) {                                  // null where one is damaged
  const found = [];
  while (at < data.length && found.length < n) {
    let got = secondAt(data, at);
    if (!got || got.number !== (found.length & 65535)) got = nextSecond(data, at, found.length, n);
    if (!got) break;
    found.push(...Array(got.number - found.length & 65535).fill(null), got);
    at = got.behind;
  }
  return found;
}

// ---------------------------------------------------------------- writing and reading

export async function encode(walk, {samples, count, ratios, voice, hear, onStep}) {
  // The bytes of a file. `ratios` of the posterior's deviations to the typical ones; hear(t, h) gives its mean.
  const {about} = walk, step = Math.round(32 * about.step) / 32, seconds = [];
  const quarters = Array.from(ratios, x => Math.min(Math.max(rint(4 * Math.log2(x)), -20), 20));
  const n = about.sizes.voice, [zeros, ones] = [repeated(n, 0), repeated(n, 1)];
  const known = new Known(about, quarters, voiceSteps(n).symbols(voice || zeros, zeros, ones));
  const steps = new Steps(known.typical, step);
  walk.begin(known.action);
  for (let t = 0; t < count;) {
    if (about.restart && seconds.length % about.restart === 0) walk.restart();
    const symbols = [], rows = [];
    for (const end = Math.min(count, t + about.perSecond); t < end; t++) {
      const {mean, std} = walk.expect(), k = steps.symbols(await hear(t, Float32Array.from(walk.h)), mean, std);
      symbols.push(...k);
      rows.push(...steps.rows(std));
      walk.settle(steps.values(k, mean));
      if (onStep) onStep((t + 1) / count);
    }
    seconds.push(framed(seconds.length, packed(symbols, rows)));
  }
  return joined([header({about, samples, count, step, known}), ...seconds]);
}

export function decode(walk, data) {
  // {samples, states, silent}: a state for each token, null where a second is damaged; which seconds these are.
  const head = readHeader(data), {about} = walk, n = Math.ceil(head.count / head.perSecond);
  if (head.weights !== about.weights || head.frontEnd !== about.frontEnd)
    throw new Error(`This file was written with another model, ${head.name || "without a name"} of fingerprint ` +
                    `${head.weights}; the page has ${about.name} of fingerprint ${about.weights}.`);
  if (n > LONGEST) throw new Error(`This file has ${n} seconds, and the page reads no more than ${LONGEST}.`);
  if (head.samples > about.samplesOf[0] + head.count * about.samplesOf[1])
    throw new Error("This file cannot be read: it claims more samples than its tokens are worth.");
  const seconds = secondsOf(data, head.at, n), states = [], silent = [];
  if (seconds.length < n)
    throw new Error(`This file ends after ${seconds.length} of ${n} seconds: it was cut off, or its end is damaged.`);
  const known = Known.read(about, head.known), steps = new Steps(known.typical, head.step);
  let lost = false;
  walk.begin(known.action);
  seconds.forEach((second, s) => {
    if (head.restart && s % head.restart === 0) { walk.restart(); lost = false; }
    lost ||= !second;
    if (lost) silent.push(s + 1);
    const read = lost ? null : new Unpacked(second.content);
    for (const end = Math.min(head.count, states.length + head.perSecond); states.length < end;) {
      if (lost) { states.push(null); continue; }
      const {mean, std} = walk.expect();
      states.push(walk.settle(steps.values(read.read(steps.rows(std)), mean)));
    }
  });
  if (!states.some(Boolean)) throw new Error("Not one second of this file can be read.");
  return {samples: head.samples, states, silent};
}

export function placesOf(data) {                                          // [[what stands there, begin, end], …]
  const head = readHeader(data), seconds = secondsOf(data, head.at, Math.ceil(head.count / head.perSecond));
  const out = [["Header", 0, head.at]];
  const until = at => { if (at > out.at(-1)[2]) out.push(["Damaged", out.at(-1)[2], at]); };
  for (const {number, at, behind} of seconds.filter(Boolean)) {
    until(at);
    out.push([`Second ${number + 1}`, at, behind]);
  }
  until(data.length);
  return out;
}
