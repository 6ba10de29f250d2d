// Drives the live panel in a headless Chromium as a visitor would, and prints what it saw as JSON.
//
//     node tools/site/drive_panel.mjs PAGE-FOLDER NODE-MODULES CHROMIUM SAMPLES [PICTURES-FOLDER]
//
// `check_panel.py` calls it and compares the answer with Python.
import {readFile} from "node:fs/promises";
import {join} from "node:path";
import {launched, served} from "./browser.mjs";

const [folder, modules, chromium, samples, pictures] = process.argv.slice(2);
const given = JSON.parse(await readFile(samples));
const {site, close} = await served(folder), found = {steps: {}};
const browser = await launched(modules, chromium, "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required");
const context = await browser.newContext({viewport: {width: 1280, height: 900}, permissions: ["microphone"]});
let requests = [], complaints = [];

async function opened(where = context, prepare = null) {
  const page = await where.newPage();
  page.on("request", r => requests.push(r.url()));
  page.on("pageerror", e => complaints.push(String(e)));
  page.on("console", m => { if (m.type() === "error") complaints.push(m.text()); });
  if (prepare) await page.addInitScript(prepare);
  await page.goto(site);
  await page.getByRole("button", {name: "Start the model"}).waitFor();
  return page;
}

async function until(page, pattern) {                                     // the status line says it, and all is quiet
  await page.waitForFunction(p => new RegExp(p).test(document.querySelector(".sd-status").textContent) &&
    document.querySelector(".sd-panel").getAttribute("aria-busy") !== "true", pattern, {timeout: 240000});
  return page.locator(".sd-status").textContent();
}

const spec = (page, name) => page.evaluate(n => {
  const {frames, bands, data} = document.querySelector(".sd-panel").panel.specs[n];
  return {frames, bands, data: Array.from(data, x => Math.round(x * 1e5) / 1e5)};
}, name);
const row = (page, name) => page.locator(".sd-row").filter({has: page.getByText(name, {exact: true})});
const wave = (page, name) => row(page, name).locator("audio").evaluate(async audio =>
  Array.from(new Int16Array((await (await fetch(audio.src)).arrayBuffer()).slice(44))));
const click = (page, name, nth = 0) => page.getByRole("button", {name, exact: true}).nth(nth).click();

async function timed(name, work) {
  const begin = performance.now(), answer = await work();
  found.steps[name] = {seconds: (performance.now() - begin) / 1000, status: answer};
}

// ---------------------------------------------------------------- a visit

const page = await opened();
found.before_click = requests.map(url => new URL(url).pathname);
await timed("start", async () => { await click(page, "Start the model"); return until(page, "^Heard"); });
found.heard = await spec(page, "heard");
found.again = await spec(page, "again");
found.again_wave = await wave(page, "Drawn again");
found.same_samples = await page.evaluate(async ({wave, rate}) => {        // without a decoder in between
  const core = await import("./core.js"), {frontEnd} = document.querySelector(".sd-panel").panel.bundle.hears.about;
  const own = core.resample(Float32Array.from(wave), rate, frontEnd.sampleRate);
  const {frames, bands, data} = core.logMel(own, frontEnd);
  return {frames, bands, data: [...data]};
}, given);
found.canvas = await row(page, "Heard").locator("canvas").evaluate(c => {
  const {data} = c.getContext("2d").getImageData(0, 0, c.width, c.height);
  return {width: c.width, height: c.height, light: Array.from({length: c.width * c.height},
    (_, i) => data[4 * i] + data[4 * i + 1] + data[4 * i + 2])};
});
await row(page, "Heard").getByRole("button", {name: "Play: Heard"}).click();
await page.waitForFunction(() => document.querySelector(".sd-row audio").currentTime > .2, null, {timeout: 20000});
found.played = await row(page, "Heard").locator("audio").evaluate(a => a.currentTime);
await row(page, "Heard").getByRole("button", {name: "Pause: Heard"}).click();
await row(page, "Heard").getByRole("slider").focus();                     // by keyboard: to the beginning, on a little
await page.keyboard.press("Home");
await page.keyboard.press("ArrowRight");
found.sought = await row(page, "Heard").locator("audio").evaluate(a => a.currentTime);

// ---------------------------------------------------------------- a file of bits

const saidOf = () => page.locator(".sd-size").textContent();
const opened_file = page.getByLabel("A file of bits");
async function opening(name, content, says) {
  await timed(name, async () => {
    await opened_file.setInputFiles({name: "sentence.sdz", mimeType: "application/octet-stream", buffer: content});
    return until(page, says);
  });
}

await page.getByRole("button", {name: "Write it as a file", exact: true}).focus();
await timed("write", async () => { await page.keyboard.press("Enter"); return until(page, "^Wrote"); });
found.bits = await page.evaluate(() => [...document.querySelector(".sd-panel").panel.content]);
found.bits_said = await saidOf();
await page.getByText("second by second").click();
found.bits_shown = await page.locator("details .sd-hex dd").allTextContents();
found.bits_named = await page.locator("details .sd-hex dt").allTextContents();
await page.getByText("second by second").click();
const [saved] = await Promise.all([page.waitForEvent("download"), page.getByText("Save the file").click()]);
found.bits_saved = [saved.suggestedFilename(), [...await readFile(await saved.path())]];
await timed("hear the file", async () => { await click(page, "Hear the file"); return until(page, "^Read"); });
found.from_file = await spec(page, "file");
found.from_file_wave = await wave(page, "Out of the file");

await page.getByLabel("Cut after").focus();
for (let i = 0; i < 2; i++) await page.keyboard.press("ArrowRight");
found.cut = await page.getByLabel("Cut after").inputValue();
await timed("dream", async () => { await click(page, "Dream"); return until(page, "^Dreamed"); });
found.dream = await spec(page, "dream");
await page.getByLabel("Seed").first().fill("2");
await timed("another", async () => { await click(page, "Dream"); return until(page, "^Dreamed.* seed 2\\."); });
found.another = await spec(page, "dream");
await timed("rolled", async () => {
  await click(page, "Roll the dice");
  return until(page, "^Dreamed.* seed (?!2\\.)");
});

await timed("say", async () => { await click(page, "Say it"); return until(page, "^Said"); });
found.said = await spec(page, "said");
found.said_wave = await wave(page, "Said");
found.words = await row(page, "Said").locator(".sd-words span").allTextContents();
await page.getByLabel("Sentence, in English").fill("…");
await timed("nothing", async () => { await page.keyboard.press("Enter"); return until(page, "no word"); });
await page.getByLabel("Sentence, in English").fill("The goats went home at noon.");
await page.getByLabel("Voice").selectOption("heard");
await page.getByLabel("From now on sharpen").check();
await timed("sharp", async () => {
  await page.getByLabel("Sentence, in English").press("Enter");
  return until(page, "^Said");
});
found.sharp = await spec(page, "said");
found.sharp_wave = await wave(page, "Said");
await page.getByLabel("From now on sharpen").uncheck();
if (pictures) {
  for (const [name, width, colorScheme] of [["wide", 1280, "light"], ["wide_dark", 1280, "dark"],
                                            ["phone", 390, "light"], ["phone_dark", 390, "dark"]]) {
    await page.setViewportSize({width, height: 900});
    await page.emulateMedia({colorScheme});
    const bytes = page.locator("details").first();
    for (const open of [true, false]) {                                   // with all bytes of the file, and without
      await bytes.evaluate((element, now) => { element.open = now; }, open);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      found.overflow = Math.max(found.overflow || 0, over);
      if (open) await page.locator(".sd-part").nth(1).screenshot({path: join(pictures, `${name}_bytes.png`)});
    }
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));   // the status line stays where it belongs
    await page.screenshot({path: join(pictures, `${name}.png`), fullPage: true});
  }
  await page.setViewportSize({width: 1280, height: 900});
}
const spoiled = Buffer.from(found.bits);
spoiled[spoiled.length - 20] ^= 4;
await opening("damaged file", spoiled, "^This file ends");
const second = found.bits_named.slice(0, 2).reduce((n, name) => n + parseInt(/ (\d+) bytes/.exec(name)[1]), 0);
spoiled[spoiled.length - 20] ^= 4;
spoiled[second + 20] ^= 4;
await opening("damaged second", spoiled, "silent: second");
found.damaged_named = await page.locator(".sd-hex dt").allTextContents();
await opening("file of another model", Buffer.from(given.other, "hex"), "another model");
await opening("no file of bits", Buffer.from("RIFF0000WAVE"), "SDZ");
const files = page.getByLabel("A sound file");
await timed("file of bits as a sound", async () => {                      // where sounds are chosen, it is known, too
  await files.setInputFiles({name: "a.sdz", mimeType: "application/octet-stream", buffer: Buffer.from(found.bits)});
  return until(page, "^Read.*bytes\\.$");
});
await timed("file", async () => {
  await files.setInputFiles(join(folder, "clips/sd_en_0061.mp3"));
  return until(page, "^Heard");
});
found.file_frames = (await spec(page, "heard")).frames;
await timed("no sound", async () => {
  await files.setInputFiles(join(folder, "panel.css"));
  return until(page, "no sound");
});
await timed("microphone", async () => {
  await click(page, "Use the microphone");
  await page.waitForTimeout(1500);
  await click(page, "Stop the recording");
  return until(page, "^Heard");
});
found.microphone_frames = (await spec(page, "heard")).frames;
await timed("write what was said", async () => {
  await click(page, "Write it as a file");
  return until(page, "^Wrote");
});
found.microphone_said = await saidOf();
try {
  const axe = await readFile(join(modules, "axe-core/axe.min.js"), "utf8");
  await page.evaluate(axe);
  const {violations} = await page.evaluate(() => window.axe.run());
  found.axe = violations.map(v => `${v.impact}: ${v.id}, ${v.nodes.length} × ${v.nodes[0].html.slice(0, 90)}`);
} catch { found.axe = null; }                                             // axe-core is not there
await page.close();

requests = [];                                                            // a second visit: what was fetched is kept
const again = await opened();
await timed("second start", async () => { await click(again, "Start the model"); return until(again, "^Heard"); });
found.second_visit = requests.map(url => new URL(url).pathname);
found.other_hosts = requests.filter(url => !url.startsWith(site) && !/^(blob|data):/.test(url));
await again.close();

const without = await opened(context, () => { delete window.WebAssembly; });
await timed("no WebAssembly", async () => {
  await click(without, "Start the model");
  return until(without, "WebAssembly");
});
await without.close();
const mute = await opened(context, () => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error()); });
await timed("no microphone", async () => {
  await click(mute, "Start the model");
  await until(mute, "^Heard");
  await click(mute, "Use the microphone");
  return until(mute, "microphone was refused");
});
found.complaints = complaints;
await browser.close();
close();
console.log(JSON.stringify(found));
