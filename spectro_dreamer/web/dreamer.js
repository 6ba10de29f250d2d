// A world model in the browser: its graphs run in onnxruntime-web, its state is carried here.
import {decode, encode} from "./bits.js";
import {dice, firstFrames, joinTokens, scaleOf, tokenCount, toTokens, voiceCard} from "./core.js";
import {Walk} from "./grid.js";
import {durationInputs, planOf, sentencePhones, toldActions} from "./speech.js";

export class Dreamer {
  constructor(ort, about, graphs) {                                       // graphs: name → session
    Object.assign(this, {ort, about, graphs});
    this.frameRate = about.frontEnd.sampleRate / about.frontEnd.hop;
    this.tokenSeconds = about.tokens.hop / this.frameRate;
    this.width = about.sizes.action + about.sizes.voice;                  // of an action with its voice
  }

  async run(graph, inputs, wanted = name => !name.includes(".")) {        // name → [numbers, …shape]
    // Names with a dot are weights, which graphs of files of bits give too.
    const feeds = {}, session = this.graphs[graph];
    for (const [name, [data, ...shape]] of Object.entries(inputs))
      feeds[name] = new this.ort.Tensor("float32", data, shape);
    const out = await session.run(feeds, session.outputNames.filter(wanted));
    return Object.fromEntries(Object.entries(out).map(([name, tensor]) => [name, tensor.data]));
  }

  beginning() { return {h: new Float32Array(this.about.sizes.h), z: new Float32Array(this.about.sizes.z)}; }

  async advance(state, action) {
    const {h, z} = this.about.sizes;
    return (await this.run("advance", {style: [action, 1, this.width], h: [state.h, 1, h], z: [state.z, 1, z]})).new_h;
  }

  async posterior(h, token, deviations = 0) {                             // its mean, and so many deviations more
    const {sizes, frontEnd, tokens} = this.about, noise = new Float32Array(sizes.z).fill(deviations);
    return (await this.run("posterior", {token: [token, 1, frontEnd.bands, tokens.frames], h: [h, 1, sizes.h],
                                         noise: [noise, 1, sizes.z]})).z;
  }

  async hearToken(state, action, token) {                                 // along the posterior's mean
    const h = await this.advance(state, action);
    return {h, z: await this.posterior(h, token)};
  }

  async dreamToken(state, action, noise) {
    const {sizes} = this.about, h = await this.advance(state, action);
    return {h, z: (await this.run("prior", {h: [h, 1, sizes.h], noise: [noise, 1, sizes.z]})).z};
  }

  async draw(states, details = null) {                                    // all tokens of some states, in one call
    const {sizes} = this.about, n = states.length, h = new Float32Array(n * sizes.h), z = new Float32Array(n * sizes.z);
    states.forEach((state, t) => { h.set(state.h, t * sizes.h); z.set(state.z, t * sizes.z); });
    const inputs = {h: [h, n, sizes.h], z: [z, n, sizes.z]};
    if (sizes.detail) inputs.detail = [details || new Float32Array(n * sizes.detail), n, sizes.detail];
    return (await this.run("draw", inputs)).token;
  }

  async voiceOf(spec) {                                                   // null if it has no voices
    if (!this.about.sizes.voice) return null;
    const card = voiceCard(spec, scaleOf(this.about, spec));
    return (await this.run("voice", {card: [card, 1, card.length]})).voice;
  }

  action(voice, told = null) {                                            // hidden style, what is told, the voice
    const action = new Float32Array(this.width);
    if (told) action.set(told);
    if (voice) action.set(voice, this.about.sizes.action);
    return action;
  }

  async hear(spec, voice, onStep) {                                       // the state after each token
    const {tokens, frontEnd} = this.about, data = toTokens(spec, tokens, scaleOf(this.about, spec));
    const size = frontEnd.bands * tokens.frames, action = this.action(voice), states = [];
    for (let t = 0, state = this.beginning(); t < data.length / size; t++) {
      state = await this.hearToken(state, action, data.subarray(t * size, (t + 1) * size));
      states.push(state);
      if (onStep) onStep((t + 1) * size / data.length);
    }
    return states;
  }

  async reconstruct(spec, onStep) {                                       // heard, and drawn again
    const states = await this.hear(spec, await this.voiceOf(spec), onStep), {tokens, frontEnd} = this.about;
    return joinTokens(await this.draw(states), states.length, frontEnd.bands, tokens, scaleOf(this.about, spec));
  }

  async imagine(spec, {context, seconds = 2, temperature = 1, seed = 0, onStep}) {
    // Hear `context` seconds of a sound, then go on without it.
    const {tokens, frontEnd, sizes} = this.about, count = tokenCount(Math.round(context * this.frameRate), tokens);
    const frames = count && (count - 1) * tokens.hop + tokens.frames;
    const beginning = count ? firstFrames(spec, frames) : null;
    const total = frames + Math.max(1, Math.round(seconds * this.frameRate)), steps = Math.ceil(total / tokens.hop);
    const voice = sizes.voice ? beginning ? await this.voiceOf(beginning) : dice(seed + 1).normals(sizes.voice) : null;
    const states = beginning ? await this.hear(beginning, voice) : [], random = dice(seed), action = this.action(voice);
    const details = new Float32Array(steps * sizes.detail);
    for (let t = states.length, state = states[t - 1] || this.beginning(); t < steps; t++) {
      state = await this.dreamToken(state, action, random.normals(sizes.z, temperature));
      if (sizes.detail) details.set(random.normals(sizes.detail, temperature), t * sizes.detail);
      states.push(state);
      if (onStep) onStep((t + 1 - count) / (steps - count));
    }
    const scale = scaleOf(this.about, beginning), drawn = await this.draw(states, details);
    const whole = joinTokens(drawn, states.length, frontEnd.bands, tokens, scale);
    return {spec: firstFrames(whole, total), line: frames / this.frameRate, steps: steps - count};
  }

  async planned(words, {speed, rhythm, seed}) {                           // phones with their frames
    const {says} = this.about, phones = sentencePhones(words), random = dice(seed + 2);
    const pace = says.pace[0] + rhythm * says.pace[1] * random.normal();
    const {seen, width} = durationInputs(phones, pace, says);
    const {mean, deviation} = await this.run("lasting", {seen: [seen, phones.length, width]});
    return planOf(phones, mean, deviation, {frameRate: this.frameRate, speed, temperature: rhythm,
                                            noise: random.normals(phones.length)});
  }

  async say(words, {voice = null, temperature = .7, speed = 1, rhythm = .5, seed = 0, plan = null, onStep} = {}) {
    // Say words that were read, in a voice or, without one, in a voice that is drawn.
    const {tokens, frontEnd, sizes, says} = this.about, random = dice(seed);
    plan = plan || await this.planned(words, {speed, rhythm, seed});
    if (!voice && sizes.voice) voice = dice(seed + 1).normals(sizes.voice);
    const total = plan.reduce((a, [, n]) => a + n, 0), short = Math.max(0, tokens.frames - total);
    const over = (total + short - tokens.frames) % tokens.hop, rest = over ? tokens.hop - over : 0;
    const [last, n] = plan[plan.length - 1], filled = [...plan.slice(0, -1), [last, n + short + rest]];
    const {actions, count} = toldActions(filled, tokens, says, sizes.action);
    const states = [], details = new Float32Array(count * sizes.detail);
    for (let t = 0, state = this.beginning(); t < count; t++) {
      const told = actions.subarray(t * sizes.action, (t + 1) * sizes.action);
      state = await this.dreamToken(state, this.action(voice, told), random.normals(sizes.z, temperature));
      if (sizes.detail) details.set(random.normals(sizes.detail, temperature), t * sizes.detail);
      states.push(state);
      if (onStep) onStep((t + 1) / count);
    }
    const whole = joinTokens(await this.draw(states, details), count, frontEnd.bands, tokens, scaleOf(this.about));
    return {spec: firstFrames(whole, total), plan, steps: count};
  }
  // -------------------------------------------------------------- files of bits

  async walk() {                                                          // made once, of the weights in the graphs
    const {h, z} = this.about.sizes, weights = {}, zeros = n => [new Float32Array(n), 1, n];
    const inputs = {advance: {style: zeros(this.width), h: zeros(h), z: zeros(z)},
                    prior: {h: zeros(h), noise: zeros(z)}};
    if (!this.walking) for (const [graph, given] of Object.entries(inputs))
      Object.assign(weights, await this.run(graph, given, name => name.includes(".")));
    return this.walking ||= new Walk(this.about.bits, weights);
  }

  async ratios(token, count, voice) {                                     // of the deviations to the typical ones
    const {bits, sizes} = this.about, action = this.action(voice), sums = new Float64Array(sizes.z);
    for (let t = 0, state = this.beginning(); t < count; t++) {
      state = await this.hearToken(state, action, token(t));
      (await this.posterior(state.h, token(t), 1)).forEach((x, i) => { sums[i] += x - state.z[i]; });
    }
    return sums.map((x, i) => x / count / bits.typical[i]);
  }

  async encode(spec, samples, onStep) {                                   // a sound as the bytes of a file
    const {tokens, frontEnd, bits} = this.about, data = toTokens(spec, tokens, scaleOf(this.about, spec));
    const size = frontEnd.bands * tokens.frames, count = data.length / size, voice = await this.voiceOf(spec);
    const token = t => data.subarray(t * size, (t + 1) * size);
    const ratios = await this.ratios(token, Math.min(count, bits.perSecond), voice);
    const hear = (t, h) => this.posterior(h, token(t));
    return encode(await this.walk(), {samples, count, ratios, voice, hear, onStep});
  }

  async decode(bytes) {                                                   // and back, what is damaged on the floor
    const {tokens, frontEnd} = this.about, {samples, states, silent} = decode(await this.walk(), bytes);
    const scale = scaleOf(this.about), size = frontEnd.bands * tokens.frames, floor = Math.log(frontEnd.floor);
    const heard = states.map((state, t) => t).filter(t => states[t]), drawn = new Float32Array(states.length * size);
    const whole = await this.draw(states.filter(Boolean));
    drawn.forEach((_, i) => {
      const band = Math.floor(i % size / tokens.frames);
      drawn[i] = (floor - scale.mean[band]) / scale.std[band];
    });
    heard.forEach((t, i) => drawn.set(whole.subarray(i * size, (i + 1) * size), t * size));
    return {spec: joinTokens(drawn, states.length, frontEnd.bands, tokens, scale), samples, silent};
  }
}
