// The live panel: gives every element of class sd-panel a model that hears, dreams and speaks. The model runs in
// worker.js; here are only controls, pictures and players. Nothing is fetched from, or sent to, any other host.

const HERE = import.meta.url;
const LONGEST = 10, RATE = 48000, RANGE = 60;                             // seconds heard, hertz decoded, decibels
const MAGMA = [[0, 0, 4], [28, 16, 68], [79, 18, 123], [129, 37, 129], [181, 54, 122], [229, 80, 100],
               [251, 135, 97], [254, 194, 135], [252, 253, 191]];

// ---------------------------------------------------------------- small things

function make(tag, settings = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter(child => child !== null));
  return element;
}

const seconds = t => `${t.toFixed(1)} s`;

function paint(canvas, {frames, bands, data}, top) {                      // decibels below `top`, low notes below
  canvas.width = frames;
  canvas.height = bands;
  const pen = canvas.getContext("2d"), image = pen.createImageData(frames, bands), db = 10 / Math.log(10);
  for (let x = 0; x < frames; x++) for (let band = 0; band < bands; band++) {
    const level = 1 + db * (data[x * bands + band] - top) / RANGE, t = Math.min(.9999, Math.max(0, level)) * 8;
    const i = Math.floor(t), at = 4 * ((bands - 1 - band) * frames + x);
    for (let c = 0; c < 3; c++) image.data[at + c] = MAGMA[i][c] + (t - i) * (MAGMA[i + 1][c] - MAGMA[i][c]);
    image.data[at + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
}

const loudest = spec => spec.data.reduce((a, x) => Math.max(a, x), -Infinity);

function waveFile(wave, rate) {                                           // 16 bits, one channel
  const view = new DataView(new ArrayBuffer(44 + 2 * wave.length));
  const text = (at, word) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  [[0, "RIFF"], [8, "WAVEfmt "], [36, "data"]].forEach(([at, word]) => text(at, word));
  [[4, 36 + 2 * wave.length], [16, 16], [24, rate], [28, 2 * rate], [40, 2 * wave.length]]
    .forEach(([at, n]) => view.setUint32(at, n, true));
  [[20, 1], [22, 1], [32, 2], [34, 16]].forEach(([at, n]) => view.setUint16(at, n, true));
  wave.forEach((x, i) => view.setInt16(44 + 2 * i, 32767 * Math.max(-1, Math.min(1, x)), true));
  return new Blob([view], {type: "audio/wav"});
}

async function decode(bytes) {                                            // any sound file → one channel at RATE
  let sound;
  try { sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytes); }
  catch { throw new Error("This file is no sound that the browser can read."); }
  const length = Math.min(sound.length, LONGEST * RATE), wave = new Float32Array(length);
  for (let c = 0; c < sound.numberOfChannels; c++) {
    const channel = sound.getChannelData(c);
    for (let i = 0; i < length; i++) wave[i] += channel[i] / sound.numberOfChannels;
  }
  if (length < RATE / 2) throw new Error("This sound is too short: half a second or more is needed.");
  return wave;
}

// ---------------------------------------------------------------- a picture that plays

class Row {
  constructor(name, hint) {
    this.name = name;
    this.audio = make("audio", {"aria-label": name});
    this.canvas = make("canvas", {role: "presentation", width: 2, height: 1});
    this.cursor = make("span", {class: "sd-cursor"});
    this.line = make("span", {class: "sd-line", hidden: true});
    this.track = make("div", {class: "sd-track", role: "slider", tabindex: 0, "aria-label": `Position in: ${name}`,
                              "aria-valuemin": 0}, this.canvas, this.line, this.cursor);
    this.button = make("button", {type: "button", class: "sd-play"});
    this.time = make("span", {class: "sd-time"});
    this.save = make("a", {class: "sd-save", download: `${name.toLowerCase().replaceAll(" ", "_")}.wav`}, "save");
    this.words = make("div", {class: "sd-words", "aria-hidden": "true"});
    this.element = make("figure", {class: "sd-row", hidden: true},
      make("figcaption", {}, make("strong", {}, name), ` · ${hint}`), this.words, this.track,
      make("div", {class: "sd-bar"}, this.button, this.time, this.save), this.audio);
    this.listen();
  }

  get length() { return Number.isFinite(this.audio.duration) ? this.audio.duration : 0; }

  listen() {
    const {audio, track} = this, at = e => (e.clientX - track.getBoundingClientRect().left) / track.clientWidth;
    this.button.addEventListener("click", () => audio.paused ? this.play() : audio.pause());
    track.addEventListener("pointerdown", e => { this.seek(at(e) * this.length); if (audio.paused) this.play(); });
    track.addEventListener("keydown", e => {
      const now = audio.currentTime;
      const to = {ArrowRight: now + .1, ArrowUp: now + .1, ArrowLeft: now - .1, ArrowDown: now - .1, PageUp: now + 1,
                  PageDown: now - 1, Home: 0, End: this.length}[e.key];
      if (to !== undefined) this.seek(to);
      else if (e.key === " " || e.key === "Enter") audio.paused ? this.play() : audio.pause();
      else return;
      e.preventDefault();
    });
    const follow = () => { this.show(); if (!audio.paused) requestAnimationFrame(follow); };
    audio.addEventListener("play", follow);
    for (const kind of ["pause", "ended", "loadedmetadata", "seeked"]) audio.addEventListener(kind, () => this.show());
  }

  play() {
    document.querySelectorAll("audio").forEach(other => { if (other !== this.audio) other.pause(); });
    this.audio.play().catch(() => { this.time.textContent = "this sound cannot be played here"; });
  }

  seek(time) { this.audio.currentTime = Math.max(0, Math.min(this.length, time)); this.show(); }

  show() {
    const now = this.audio.currentTime, all = this.length;
    this.cursor.style.left = `${all ? 100 * Math.min(1, now / all) : 0}%`;
    this.time.textContent = `${now.toFixed(1)} / ${seconds(all)}`;
    this.button.textContent = this.audio.paused ? "▶" : "❚❚";
    this.button.setAttribute("aria-label", `${this.audio.paused ? "Play" : "Pause"}: ${this.name}`);
    this.track.setAttribute("aria-valuemax", all.toFixed(1));
    this.track.setAttribute("aria-valuenow", now.toFixed(1));
    this.track.setAttribute("aria-valuetext", `${now.toFixed(1)} of ${all.toFixed(1)} seconds`);
  }

  fill(spec, wave, rate, top, words = []) {                               // words: [text, begin, end] as shares
    this.element.hidden = false;
    paint(this.canvas, spec, top);
    if (this.audio.src) URL.revokeObjectURL(this.audio.src);
    this.audio.src = this.save.href = URL.createObjectURL(waveFile(wave, rate));
    this.words.replaceChildren(...words.map(([text, begin, end]) =>
      make("span", {style: `left:${100 * begin}%;width:${100 * (end - begin)}%`}, text)));
    this.words.hidden = !words.length;
    this.show();
  }

  mark(share) { this.line.hidden = share === null; this.line.style.left = `${100 * (share || 0)}%`; }
}

// ---------------------------------------------------------------- the panel

const DOING = {fetching: "Fetching the model", starting: "Starting the model", hearing: "Hearing, token by token",
               dreaming: "Dreaming, token by token", sounding: "Finding phases for the sound"};
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

  title(text) { return make(`h${this.host.dataset.level || 2}`, {class: "sd-title"}, text); }

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
    Object.assign(this, {controls: [], shown: []});
    this.status = make("p", {class: "sd-status", role: "status", "aria-live": "polite"});
    this.bar = make("progress", {max: 1, value: 0, hidden: true, "aria-label": "How far it is"});
    const fetched = this.bundle.runtime.wasm.bytes / 1e6 + this.megabytes(this.bundle.hears);
    this.start = this.push("Start the model", () => this.begin(), "sd-main");
    this.startPart = make("div", {class: "sd-controls"}, this.start,
      make("span", {class: "sd-small"}, `fetches ${Math.round(fetched)} MB once and keeps them`));
    this.work = make("div", {hidden: true}, this.soundPart(), this.dreamPart(), this.sayPart(), this.morePart());
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
                 dream: new Row("Dreamed", "heard up to the line, then the model's own"),
                 said: new Row("Said", "what you typed, in a voice that is drawn or lent")};
    const part = make("section", {class: "sd-part", "aria-label": "A sound"}, this.title("1. Let it hear a sound"),
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

  dreamPart() {
    this.cut = this.slider("Cut after", {min: 0, max: 3, step: .1, value: 1}, " s");
    this.cut.input.addEventListener("input", () => this.showCut());
    this.ahead = this.choice("dream for", [[1, "1 s"], [2, "2 s"], [4, "4 s"]]);
    this.ahead.input.value = 2;
    this.heat = this.slider("Temperature", {min: 0, max: 1.5, step: .1, value: 1});
    this.seed = this.number("Seed", 1);
    return make("section", {class: "sd-part", "aria-label": "A dream"},
      this.title("2. Cut it, and let it dream on"),
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
    return make("section", {class: "sd-part", "aria-label": "A sentence"}, this.title("3. Type a sentence"),
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
    return this.hear(async () => decode(await (await fetch(new URL(clip.file, HERE))).arrayBuffer()));
  }

  hearFile(file) {
    if (file) return this.hear(async () => decode(await file.arrayBuffer()));
  }

  hear(source) {
    return this.busy(async () => {
      const wave = await source(), need = ["hears", ...this.need];
      const {spec, wave: own, again, againWave, steps, ms, tokenMs} =
        await this.ask("hear", {wave, rate: RATE, sharp: this.sharp, need});
      this.heard = {spec, top: loudest(spec)};
      this.specs = {heard: spec, again};
      this.rows.heard.fill(spec, own, this.rate, this.heard.top);
      this.rows.again.fill(again, againWave, this.rate, this.heard.top);
      this.rows.dream.element.hidden = true;
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
      this.hear(async () => decode(await new Blob(parts).arrayBuffer()));
    };
    recorder.start();
    this.record.textContent = "Stop the recording";
    this.say(`The microphone is on, for at most ${LONGEST} seconds. What you say stays in this page.`);
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
