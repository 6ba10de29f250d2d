// A picture of sound that plays: a canvas, a cursor, a button, and how a keyboard moves them.

const RANGE = 60;                                                         // decibels
const MAGMA = [[0, 0, 4], [28, 16, 68], [79, 18, 123], [129, 37, 129], [181, 54, 122], [229, 80, 100],
               [251, 135, 97], [254, 194, 135], [252, 253, 191]];

export function make(tag, settings = {}, ...children) {
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

export const loudest = spec => spec.data.reduce((a, x) => Math.max(a, x), -Infinity);

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

// ---------------------------------------------------------------- a picture that plays

export class Row {
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
