// The live panel: gives every element of class sd-panel a model that hears, dreams and speaks. The model runs in
// worker.js; here are only controls and what they do. Nothing is fetched from, or sent to, any other host.

import {hexadecimal, number, sizes} from "./bytes.js";
import {loudest, make, Row} from "./row.js";

const HERE = import.meta.url;
const LONGEST = 10, RATE = 48000;                                         // seconds heard, hertz decoded

async function decode(bytes) {                                            // any sound file → one channel at RATE
  const size = bytes.byteLength;
  let sound;
  try { sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytes); }
  catch { throw new Error("This file is no sound that the browser can read."); }
  const length = Math.min(sound.length, LONGEST * RATE), wave = new Float32Array(length);
  for (let c = 0; c < sound.numberOfChannels; c++) {
    const channel = sound.getChannelData(c);
    for (let i = 0; i < length; i++) wave[i] += channel[i] / sound.numberOfChannels;
  }
  if (length < RATE / 2) throw new Error("This sound is too short: half a second or more is needed.");
  return {wave, size: sound.length === length ? size : 0};                // size: 0 if there is more than is heard
}

// ---------------------------------------------------------------- the panel

const DOING = {fetching: "Fetching the model", starting: "Starting the model", hearing: "Hearing, token by token",
               dreaming: "Dreaming, token by token", writing: "Writing, token by token",
               reading: "Reading the file", sounding: "Finding phases for the sound"};
let nextId = 0;

class Panel {
  constructor(host, bundle) {
    Object.assign(this, {host, bundle, pending: new Map(), heard: null, specs: {}, sharp: false});
    this.worker = new Worker(new URL("worker.js", HERE), {type: "module"});
    this.worker.onmessage = ({data}) => this.answer(data);
    this.worker.onerror = e => this.say(`The model could not be started: ${e.message || "its script did not load"}`);
    this.ask("begin", {about: bundle}).catch(() => null);
    this.build();
  }

  ask(ask, given = {}) {
    const id = nextId++;
    return new Promise((done, failed) => {
      this.pending.set(id, {done, failed});
      this.worker.postMessage({id, ask, ...given});
    });
  }

  answer({id, step, result, error}) {
    if (step) return this.progress(step);
    const {done, failed} = this.pending.get(id);
    this.pending.delete(id);
    if (error !== undefined) failed(new Error(error)); else done(result);
  }

  progress({what, share}) {
    if (this.doing !== what) this.status.textContent = `${DOING[what]} …`;
    this.doing = what;
    this.bar.hidden = false;
    this.bar.value = share;
  }

  say(text) { this.doing = null; this.bar.hidden = true; this.status.textContent = text; }

  async busy(work) {                                                      // one thing at a time; errors in one line
    if (this.host.getAttribute("aria-busy") === "true") return;
    this.host.setAttribute("aria-busy", "true");
    this.controls.forEach(c => { c.disabled = true; });
    try { this.say(await work()); }
    catch (error) { this.say(error.message); }
    this.host.setAttribute("aria-busy", "false");
    this.controls.forEach(c => { c.disabled = false; });
    this.update();
  }

  // -------------------------------------------------------------- what stands on the page

  title(text) {                                                           // parts are counted as they are made
    return make(`h${this.host.dataset.level || 2}`, {class: "sd-title"}, `${++this.parts}. ${text}`);
  }

  megabytes(...models) {
    const files = models.filter(Boolean).flatMap(m => Object.values(m.graphs));
    return Math.round(files.reduce((a, f) => a + f.bytes, 0) / 1e5) / 10;
  }

  slider(name, settings, unit = "") {
    const output = make("output"), input = make("input", {type: "range", ...settings});
    const show = () => { output.textContent = (+input.value).toFixed(1) + unit; };
    input.addEventListener("input", show);
    show();
    this.shown.push(show);
    this.controls.push(input);
    return {input, label: make("label", {}, `${name} `, input, output)};
  }

  number(name, value) {
    const input = make("input", {type: "number", min: 0, max: 999999, value});
    this.controls.push(input);
    return {input, label: make("label", {}, `${name} `, input)};
  }

  push(text, act, kind = "") {
    const button = make("button", {type: "button", class: kind, onclick: act}, text);
    this.controls.push(button);
    return button;
  }

  choice(name, options) {
    const input = make("select", {}, ...options.map(([value, text]) => make("option", {value}, text)));
    this.controls.push(input);
    return {input, label: make("label", {}, `${name} `, input)};
  }

  build() {
    Object.assign(this, {controls: [], shown: [], parts: 0});
    this.status = make("p", {class: "sd-status", role: "status", "aria-live": "polite"});
    this.bar = make("progress", {max: 1, value: 0, hidden: true, "aria-label": "How far it is"});
    const fetched = this.bundle.runtime.wasm.bytes / 1e6 + this.megabytes(this.bundle.hears);
    this.start = this.push("Start the model", () => this.begin(), "sd-main");
    this.startPart = make("div", {class: "sd-controls"}, this.start,
      make("span", {class: "sd-small"}, `fetches ${Math.round(fetched)} MB once and keeps them`));
    this.work = make("div", {hidden: true}, this.soundPart(), this.filePart(), this.dreamPart(), this.sayPart(),
      this.morePart());
    this.host.replaceChildren(
      make("p", {class: "sd-private"}, make("strong", {}, "The model runs in this page. "),
        "What it hears stays on your device: nothing is sent anywhere."),
      this.startPart, this.work, make("div", {class: "sd-now"}, this.status, this.bar));
  }

  soundPart() {
    this.clips = this.choice("A clip", this.bundle.clips.map((c, i) => [i, c.sentence]));
    this.clips.input.addEventListener("change", () => this.hearClip());
    this.file = make("input", {type: "file", accept: "audio/*,video/*", class: "sd-hidden", tabindex: -1,
                               "aria-label": "A sound file", onchange: () => this.hearFile(this.file.files[0])});
    const pick = this.push("Choose a file", () => this.file.click());
    this.record = this.push("Use the microphone", () => this.useMicrophone());
    this.rows = {heard: new Row("Heard", "the sound as the model gets it"),
                 again: new Row("Drawn again", "from a few numbers for each token"),
                 file: new Row("Out of the file", "what its bytes say, drawn by the same model"),
                 dream: new Row("Dreamed", "heard up to the line, then the model's own"),
                 said: new Row("Said", "what you typed, in a voice that is drawn or lent")};
    const part = make("section", {class: "sd-part", "aria-label": "A sound"}, this.title("Let it hear a sound"),
      make("div", {class: "sd-controls"}, this.clips.label),
      make("div", {class: "sd-controls"}, pick, this.file, this.record,
        make("span", {class: "sd-small"}, `or drop a file here; the first ${LONGEST} seconds are heard`)),
      this.rows.heard.element, this.rows.again.element);
    part.addEventListener("dragover", e => { e.preventDefault(); part.classList.add("sd-over"); });
    part.addEventListener("dragleave", () => part.classList.remove("sd-over"));
    part.addEventListener("drop", e => {
      e.preventDefault();
      part.classList.remove("sd-over");
      if (e.dataTransfer.files.length) this.hearFile(e.dataTransfer.files[0]);
    });
    return part;
  }

  filePart() {
    if (!this.bundle.hears.about.bits) return null;
    this.opened = make("input", {type: "file", accept: ".sdz", class: "sd-hidden", tabindex: -1,
                                 "aria-label": "A file of bits", onchange: () => this.openFile(this.opened.files[0])});
    const pick = this.push("Open such a file", () => this.opened.click());
    this.listen = this.push("Hear the file", () => this.busy(() => this.openBytes(this.content, true)));
    this.saved = make("a", {class: "sd-button", download: "sentence.sdz"}, "Save the file");
    this.bytes = make("div", {hidden: true});
    return make("section", {class: "sd-part", "aria-label": "A file"}, this.title("Write it as a file"),
      make("div", {class: "sd-controls"}, this.push("Write it as a file", () => this.write(), "sd-main"), pick,
        this.opened, make("span", {class: "sd-small"}, "the few numbers of each token, in as few bits as can be")),
      this.bytes, this.rows.file.element);
  }

  dreamPart() {
    this.cut = this.slider("Cut after", {min: 0, max: 3, step: .1, value: 1}, " s");
    this.cut.input.addEventListener("input", () => this.showCut());
    this.ahead = this.choice("dream for", [[1, "1 s"], [2, "2 s"], [4, "4 s"]]);
    this.ahead.input.value = 2;
    this.heat = this.slider("Temperature", {min: 0, max: 1.5, step: .1, value: 1});
    this.seed = this.number("Seed", 1);
    return make("section", {class: "sd-part", "aria-label": "A dream"},
      this.title("Cut it, and let it dream on"),
      make("div", {class: "sd-controls"}, this.cut.label, this.ahead.label, this.heat.label, this.seed.label),
      make("div", {class: "sd-controls"}, this.push("Dream", () => this.dream(), "sd-main"),
        this.push("Roll the dice", () => this.dream(true)),
        make("span", {class: "sd-small"}, "the same seed gives the same dream")), this.rows.dream.element);
  }

  sayPart() {
    if (!this.bundle.speech) return null;
    const says = this.bundle.says || this.bundle.hears;
    this.text = make("input", {type: "text", maxlength: 160, value: "The wind has opened the window again.",
                               autocomplete: "off", onkeydown: e => { if (e.key === "Enter") this.speak(); }});
    this.voice = this.choice("Voice", [["drawn", "a drawn one"], ["heard", "of the sound above"]]);
    if (!says.about.sizes.voice) this.voice.label.hidden = true;
    this.sayHeat = this.slider("Temperature", {min: 0, max: 1.5, step: .1, value: .7});
    this.speed = this.slider("Speed", {min: .5, max: 2, step: .1, value: 1});
    this.saySeed = this.number("Seed", 1);
    this.controls.push(this.text);
    const size = Math.round(this.megabytes(this.bundle.says) + this.bundle.speech.words.bytes / 1e6);
    const more = `fetches ${size} MB more at the first time`;
    return make("section", {class: "sd-part", "aria-label": "A sentence"}, this.title("Type a sentence"),
      make("div", {class: "sd-controls"}, make("label", {class: "sd-wide"}, "Sentence, in English ", this.text)),
      make("div", {class: "sd-controls"}, this.voice.label, this.sayHeat.label, this.speed.label, this.saySeed.label),
      make("div", {class: "sd-controls"}, this.push("Say it", () => this.speak(), "sd-main"),
        this.push("Roll the dice", () => this.speak(true)), make("span", {class: "sd-small"}, more)),
      this.rows.said.element);
  }

  morePart() {
    if (!this.bundle.vocoder) return null;
    const size = Math.round(this.bundle.vocoder.graph.bytes / 1e6);
    const box = make("input", {type: "checkbox", onchange: () => { this.sharp = box.checked; }});
    this.controls.push(box);
    return make("div", {class: "sd-controls sd-part"}, make("label", {class: "sd-check"}, box,
      ` From now on sharpen the sounds with a small network that has heard speech (fetches ${size} MB)`));
  }

  // -------------------------------------------------------------- what it does

  get need() { return this.sharp ? ["vocoder"] : []; }
  get rate() { return this.bundle.hears.about.frontEnd.sampleRate; }
  get frameRate() { return this.rate / this.bundle.hears.about.frontEnd.hop; }

  begin() {
    if (!("WebAssembly" in window)) return this.say("This browser has no WebAssembly, in which the model runs.");
    this.startPart.hidden = true;
    this.work.hidden = false;
    this.hearClip();
  }

  hearClip() {
    const clip = this.bundle.clips[+this.clips.input.value];
    return this.hear("the MP3 that was heard", async () => (await fetch(new URL(clip.file, HERE))).arrayBuffer());
  }

  hearFile(file) {
    if (this.bytes && file?.name.toLowerCase().endsWith(".sdz")) return this.openFile(file);
    if (file) return this.hear("the file that was heard", () => file.arrayBuffer());
  }

  hear(kind, source) {
    return this.busy(async () => {
      const {wave, size} = await decode(await source()), need = ["hears", ...this.need];
      const {spec, wave: own, again, againWave, steps, ms, tokenMs} =
        await this.ask("hear", {wave, rate: RATE, sharp: this.sharp, need});
      this.heard = {spec, top: loudest(spec), samples: own.length, kind, size};
      this.specs = {heard: spec, again};
      this.rows.heard.fill(spec, own, this.rate, this.heard.top);
      this.rows.again.fill(again, againWave, this.rate, this.heard.top);
      this.rows.dream.element.hidden = this.rows.file.element.hidden = true;
      if (this.bytes) this.bytes.hidden = true;
      const all = spec.frames / this.frameRate;
      this.cut.input.max = Math.floor(10 * all) / 10;
      this.cut.input.value = Math.min(1, Math.floor(5 * all) / 10);
      this.showCut();
      return `Heard ${steps} tokens, ${ms.toFixed(1)} ms each; a token lasts ${tokenMs.toFixed(0)} ms.`;
    });
  }

  async useMicrophone() {
    if (this.recorder) return this.recorder.stop();
    if (!navigator.mediaDevices?.getUserMedia || !("MediaRecorder" in window))
      return this.say("There is no microphone that this page may use. A clip or a file will do.");
    let stream;
    try {
      const plain = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
      stream = await navigator.mediaDevices.getUserMedia({audio: plain});
    } catch { return this.say("The microphone was refused or is missing. A clip or a file will do."); }
    const parts = [], recorder = this.recorder = new MediaRecorder(stream);
    recorder.ondataavailable = e => parts.push(e.data);
    const end = setTimeout(() => recorder.stop(), 1000 * LONGEST);
    recorder.onstop = () => {
      clearTimeout(end);
      stream.getTracks().forEach(track => track.stop());
      this.recorder = null;
      this.record.textContent = "Use the microphone";
      this.hear("the browser's recording", () => new Blob(parts).arrayBuffer());
    };
    recorder.start();
    this.record.textContent = "Stop the recording";
    this.say(`The microphone is on, for at most ${LONGEST} seconds. What you say stays in this page.`);
  }

  write() {
    if (!this.heard) return;
    return this.busy(async () => {
      const {spec, samples} = this.heard;
      const {bytes, places} = await this.ask("write", {spec, samples, need: ["hears"]});
      this.rows.file.element.hidden = true;
      this.showBytes(bytes, places, samples, this.heard);
      return `Wrote a file of ${number(bytes.length)} bytes.`;
    });
  }

  openFile(file) {
    if (file) return this.busy(async () => this.openBytes(new Uint8Array(await file.arrayBuffer())));
  }

  async openBytes(bytes, written = false) {
    const {spec, wave, silent, places, samples} =
      await this.ask("open", {bytes, sharp: this.sharp, need: ["hears", ...this.need]});
    this.specs.file = spec;
    if (!written) this.showBytes(bytes, places, samples);
    this.rows.file.fill(spec, wave, this.rate, loudest(spec));
    this.rows.file.play();
    const damaged = silent.length ? ` Damaged, and silent: second ${silent.join(", ")}.` : "";
    return `Read ${number(bytes.length)} bytes.${damaged}`;
  }

  showBytes(bytes, places, samples, heard = null) {
    this.content = bytes;
    if (this.saved.href) URL.revokeObjectURL(this.saved.href);
    this.saved.href = URL.createObjectURL(new Blob([bytes]));
    this.bytes.replaceChildren(sizes(bytes, samples, this.rate, heard), ...hexadecimal(bytes, places),
                               make("div", {class: "sd-controls"}, this.listen, this.saved));
    this.bytes.hidden = false;
  }

  dream(roll = false) {
    if (!this.heard) return;
    if (roll) this.seed.input.value = 1 + Math.floor(999998 * Math.random());
    return this.busy(async () => {
      const given = {context: +this.cut.input.value, seconds: +this.ahead.input.value, seed: +this.seed.input.value,
                     temperature: +this.heat.input.value};
      const {spec, wave, line, steps, ms} = await this.ask("dream",
        {...given, spec: this.heard.spec, sharp: this.sharp, need: ["hears", ...this.need]});
      this.specs.dream = spec;
      this.rows.dream.fill(spec, wave, this.rate, Math.max(this.heard.top - 5, loudest(spec)));
      this.rows.dream.mark(line ? line * this.frameRate / spec.frames : null);
      this.rows.dream.play();
      return `Dreamed ${steps} tokens, ${ms.toFixed(1)} ms each, with seed ${given.seed}.`;
    });
  }

  speak(roll = false) {
    if (roll) this.saySeed.input.value = 1 + Math.floor(999998 * Math.random());
    return this.busy(async () => {
      const like = this.voice.input.value === "heard" && this.heard ? this.heard.spec : null;
      const given = {text: this.text.value, like, seed: +this.saySeed.input.value,
                     temperature: +this.sayHeat.input.value, speed: +this.speed.input.value};
      const {spec, wave, plan, words, steps, ms} = await this.ask("say",
        {...given, sharp: this.sharp, need: ["says", ...this.need]});
      const rate = (this.bundle.says || this.bundle.hears).about.frontEnd.sampleRate;
      this.specs.said = spec;
      this.rows.said.fill(spec, wave, rate, loudest(spec), placed(words, plan));
      this.rows.said.play();
      return `Said ${words.length} words in ${steps} tokens, ${ms.toFixed(1)} ms each, with seed ${given.seed}.`;
    });
  }

  showCut() {
    this.shown.forEach(show => show());
    if (this.heard) this.rows.heard.mark(+this.cut.input.value * this.frameRate / this.heard.spec.frames);
  }

  update() { this.shown.forEach(show => show()); }
}

function placed(words, plan) {                                            // where each word stands, as shares of all
  const ends = [0];
  for (const [, frames] of plan) ends.push(ends[ends.length - 1] + frames);
  const all = ends[ends.length - 1];
  let at = 1;                                                             // the first phone is silence
  return words.map(({text, phones}) => {
    const begin = ends[at] / all;
    at += phones.length;
    return [text, begin, ends[at] / all];
  });
}

async function mount(host) {
  try {
    if (!("Worker" in window)) throw new Error("This browser has no workers, in which the model runs.");
    const answer = await fetch(new URL("bundle.json", HERE));
    if (!answer.ok) throw new Error("The model is not part of this page.");
    host.panel = new Panel(host, await answer.json());
  } catch (error) { host.replaceChildren(make("p", {class: "sd-status", role: "status"}, error.message)); }
}

document.querySelectorAll(".sd-panel").forEach(mount);
