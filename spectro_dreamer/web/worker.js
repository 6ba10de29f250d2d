// Runs beside the page, so that the page stays awake: fetches files and keeps them, hears, dreams, says, makes sound.
// It is asked with {id, ask, …} and answers {id, step} on the way and {id, result} or {id, error} at the end.
import {placesOf} from "./bits.js";
import {bandPower, levelled, logMel, resample, vocode} from "./core.js";
import {Dreamer} from "./dreamer.js";
import {Pronunciation} from "./speech.js";

const STORE = "spectro-dreamer";                                          // of this site's files, in the browser
let bundle = null, ort = null, wasm = null, reading = null, sharpening = null;
const models = {};

// ---------------------------------------------------------------- files

async function fetchKept({file, hash}, onBytes) {
  // A file of the bundle: from the browser's cache if it is there in this version, else from the site.
  const url = new URL(`${file}?${hash}`, import.meta.url).href;
  const store = await self.caches?.open(STORE).catch(() => null);
  const kept = await store?.match(url);
  if (kept) {
    const content = await kept.arrayBuffer();
    onBytes(content.byteLength);
    return content;
  }
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`The site lacks ${file}.`);
  const reader = answer.body.getReader(), parts = [];
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    parts.push(value);
    onBytes(value.length);
  }
  const content = await new Blob(parts).arrayBuffer();
  for (const old of await store?.keys() || []) if (old.url.startsWith(url.split("?")[0] + "?")) await store.delete(old);
  await store?.put(url, new Response(content)).catch(() => null);         // a full disk is no reason to stop
  return content;
}

function missing(part) {                                                  // files that a part of the page still needs
  const says = bundle.says || bundle.hears, files = [];
  if (!wasm) files.push(bundle.runtime.wasm);
  if (part === "hears" && !models.hears) files.push(...Object.values(bundle.hears.graphs));
  if (part === "says" && !models.says) {
    if (bundle.says || !models.hears) files.push(...Object.values(says.graphs));
    files.push(bundle.speech.rules, bundle.speech.words);
  }
  if (part === "vocoder" && !sharpening) files.push(bundle.vocoder.graph);
  return files;
}

async function get(parts, onStep) {
  const files = [...new Set(parts.flatMap(missing))], got = new Map();
  const all = files.reduce((sum, f) => sum + f.bytes, 0);
  let bytes = 0;
  for (const f of files) got.set(f, await fetchKept(f, n => onStep("fetching", (bytes += n) / all)));
  onStep("starting", 0);
  if (!wasm) {
    wasm = got.get(bundle.runtime.wasm);
    ort = await import(new URL(bundle.runtime.module, import.meta.url).href);
    Object.assign(ort.env.wasm, {wasmBinary: wasm, numThreads: 1, proxy: false});
  }
  const session = f => ort.InferenceSession.create(new Uint8Array(got.get(f)));
  async function dreamer({about, graphs}) {
    const made = {};
    for (const [name, f] of Object.entries(graphs)) made[name] = await session(f);
    return new Dreamer(ort, about, made);
  }
  if (parts.includes("hears") && !models.hears) models.hears = await dreamer(bundle.hears);
  if (parts.includes("says") && !models.says) {
    const text = f => new TextDecoder().decode(got.get(f));
    if (!bundle.says && !models.hears) models.hears = await dreamer(bundle.hears);
    models.says = bundle.says ? await dreamer(bundle.says) : models.hears;
    reading = new Pronunciation(JSON.parse(text(bundle.speech.rules)), text(bundle.speech.words));
  }
  if (parts.includes("vocoder") && !sharpening) sharpening = await session(bundle.vocoder.graph);
}

// ---------------------------------------------------------------- sound

async function sound(spec, frontEnd, sharp, onStep) {
  // The waveform of a picture, at the level of all players.
  const options = {onStep: x => onStep("sounding", x)};
  if (sharp) {
    const {frames, bands} = spec, bins = frontEnd.nFft / 2 + 1, floor = Math.log(frontEnd.floor);
    const input = new ort.Tensor("float32", spec.data.map(x => Math.max(x, floor)), [1, frames, bands]);
    options.magnitude = Float64Array.from((await sharpening.run({log_mel: input})).magnitude.data);
    for (let f = 0; f < frames; f++)                                      // a frame at the floor is silent
      if (spec.data.subarray(f * bands, (f + 1) * bands).every(x => x <= floor + 1e-3))
        options.magnitude.fill(0, f * bins, (f + 1) * bins);
    options.hold = bundle.vocoder.hold;
    if (bundle.vocoder.own) {                                             // its magnitudes have a log-mel, too
      const power = bandPower(options.magnitude.map(x => x * x), frames, frontEnd);
      spec = {frames, bands, data: Float32Array.from(power, x => Math.log(Math.max(x, frontEnd.floor)))};
    }
  }
  return levelled(vocode(spec, frontEnd, options), frontEnd.sampleRate);
}

// ---------------------------------------------------------------- what can be asked

const asks = {
  async begin({about}) { bundle = about; },

  async hear({wave, rate, sharp, need}, onStep) {                         // → the sound as heard and as drawn again
    await get(need, onStep);
    const {frontEnd} = bundle.hears.about, model = models.hears;
    const own = resample(wave, rate, frontEnd.sampleRate), spec = logMel(own, frontEnd);
    const started = performance.now();
    const again = await model.reconstruct(spec, x => onStep("hearing", x)), ms = performance.now() - started;
    const steps = (again.frames - bundle.hears.about.tokens.frames) / bundle.hears.about.tokens.hop + 1;
    const againWave = await sound(again, frontEnd, sharp, onStep);
    return {spec, wave: levelled(own, frontEnd.sampleRate), again, againWave, steps, ms: ms / steps,
            tokenMs: 1000 * model.tokenSeconds};
  },

  async write({spec, samples, need}, onStep) {                            // → a heard sound as the bytes of a file
    await get(need, onStep);
    const bytes = await models.hears.encode(spec, samples, x => onStep("writing", x));
    return {bytes, places: placesOf(bytes)};
  },

  async open({bytes, sharp, need}, onStep) {                              // → what such a file says
    await get(need, onStep);
    onStep("reading", 0);
    const {frontEnd} = bundle.hears.about, {spec, samples, silent} = await models.hears.decode(bytes);
    return {spec, wave: (await sound(spec, frontEnd, sharp, onStep)).subarray(0, samples), silent,
            places: placesOf(bytes), samples};
  },

  async dream({spec, context, seconds, temperature, seed, sharp, need}, onStep) {
    await get(need, onStep);
    const started = performance.now(), model = models.hears;
    const dream = await model.imagine(spec, {context, seconds, temperature, seed, onStep: x => onStep("dreaming", x)});
    const ms = (performance.now() - started) / Math.ceil(dream.spec.frames / bundle.hears.about.tokens.hop);
    return {...dream, wave: await sound(dream.spec, bundle.hears.about.frontEnd, sharp, onStep), ms};
  },

  async say({text, like, temperature, speed, seed, sharp, need}, onStep) {
    await get(need, onStep);
    const words = reading.read(text), model = models.says, started = performance.now();
    const voice = like ? await model.voiceOf(like) : null;
    const said = await model.say(words, {voice, temperature, speed, seed, onStep: x => onStep("dreaming", x)});
    const ms = (performance.now() - started) / said.steps;
    return {...said, words, wave: await sound(said.spec, model.about.frontEnd, sharp, onStep), ms};
  },
};

self.onmessage = async ({data: {id, ask, ...given}}) => {
  let last = "";
  const onStep = (what, share) => {                                       // not more often than can be seen
    const now = `${what} ${Math.floor(50 * share)}`;
    if (now !== last) self.postMessage({id, step: {what, share}});
    last = now;
  };
  try { self.postMessage({id, result: await asks[ask](given, onStep)}); }
  catch (error) { self.postMessage({id, error: error.message || String(error)}); }
};
