// Measures pages of the rendered site as readers have them, and prints the tables that CONTRIBUTING.md keeps.
//
//     node tools/site/measure_pages.mjs _docs build/web/node_modules /usr/bin/chromium [--pictures FOLDER] [PAGE…]
//
// Each page is opened once, by a visitor whose system is light, then made dark, then narrow. Without a page named, the
// pages below are measured. `make test` fetches the packages of npm (`check_panel.py`).
import {readFile} from "node:fs/promises";
import {join} from "node:path";
import {launched, served} from "./browser.mjs";

const PAGES = ["index", "report", "hearing", "listening", "method", "training", "rssm", "what_turned_them", "web_panel",
               "glossary", "api/index", "api/config"].map(name => `${name}.html`);
const QUESTIONS = ["own recordings", "griffin lim", "mini", "resume", "install", "gpu", "posterior", "temperature",
                   "say a sentence", "vocoder"];
const WIDE = {width: 1280, height: 900}, NARROW = {width: 390, height: 844};

const [folder, modules, chromium, ...rest] = process.argv.slice(2);
const pictures = rest[0] === "--pictures" ? rest.splice(0, 2)[1] : null, pages = rest.length ? rest : PAGES;
const axe = await readFile(join(modules, "axe-core", "axe.min.js"), "utf8");
const {site, close} = await served(folder, true), browser = await launched(modules, chromium);

async function findings(page, rules) {                                    // serious or worse, and not hidden
  await page.evaluate(axe);
  const {violations} = await page.evaluate(options => globalThis.axe.run(document, options),
    {resultTypes: ["violations"], ...(rules ? {runOnly: rules} : {})});
  const worse = violations.filter(v => ["serious", "critical"].includes(v.impact));
  return worse.flatMap(v => v.nodes.map(node => `${v.id}: ${node.target.join(" ")}`));
}

const picture = (page, name) => pictures && page.screenshot({path: join(pictures, `${name.replace("/", "_")}.png`)});
const height = page => page.evaluate(() => document.documentElement.scrollHeight);

async function measured(name) {
  const context = await browser.newContext({viewport: WIDE, colorScheme: "light"});
  const page = await context.newPage();
  let bytes = 0, foreign = new Set();
  await context.route(url => !url.href.startsWith(site) && url.protocol.startsWith("http"), route => {
    foreign.add(new URL(route.request().url()).host);
    return route.abort();
  });
  page.on("requestfinished", async request => { bytes += (await request.sizes()).responseBodySize; });
  page.setDefaultTimeout(300000);
  await page.goto(site + name);
  const about = await page.evaluate(() => {
    const players = [...document.querySelectorAll("main audio")];
    return {words: document.querySelector("main").innerText.split(/\s+/).length, players: players.length,
            named: players.filter(a => a.closest("figure")?.querySelector("figcaption")?.textContent.trim()).length,
            eager: [...document.querySelectorAll("main img")].filter(i => i.loading !== "lazy").length};
  });
  const first = bytes, tall = await height(page);
  await picture(page, `${name}-wide-light`);
  const light = await findings(page);
  await page.emulateMedia({colorScheme: "dark"});                         // the system turns dark; nothing is clicked
  await page.waitForTimeout(500);
  const turned = await page.evaluate(() => document.body.classList.contains("quarto-dark"));
  await picture(page, `${name}-wide-dark`);
  const dark = await findings(page, ["color-contrast"]);
  await page.setViewportSize(NARROW);
  for (let y = 0; y < await height(page); y += 2000) {                    // pictures are fetched when they come near
    await page.evaluate(to => scrollTo(0, to), y);
    await page.waitForTimeout(50);
  }
  await page.waitForTimeout(500);
  const long = await height(page);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  await page.evaluate(() => scrollTo(0, 0));
  await picture(page, `${name}-narrow-dark`);
  await context.close();
  return {name, ...about, tall, long, over: Math.max(0, over), first, all: bytes, light, turned, dark, foreign};
}

async function searched(questions) {                                      // the first five that the search shows
  const page = await browser.newPage({viewport: WIDE}), found = [];
  page.setDefaultTimeout(300000);
  await page.goto(site + "index.html");
  await page.locator(".aa-DetachedSearchButton").click();
  for (const question of questions) {
    await page.locator(".aa-Input").fill(question);
    await page.waitForTimeout(1500);
    const links = await page.locator("a.search-result-link").evaluateAll(all => all.map(a => a.getAttribute("href")));
    found.push([question, links.map(link => link.split("?")[0].replace(/^\.?\//, "").replace(site, "")).slice(0, 5)]);
  }
  return found;
}

const kilo = bytes => Math.round(bytes / 1000);
console.log("| page | words | height at 1280 | at 390 | wider than 390 by | kB at first | kB with all pictures " +
            `| axe, light | axe, dark | players, named |\n${"|---".repeat(10)}|`);
for (const name of pages) {
  const m = await measured(name);
  console.log(`| ${[m.name, m.words, m.tall, m.long, m.over, kilo(m.first), kilo(m.all), m.light.length, m.dark.length,
    `${m.players}, ${m.named}`].join(" | ")} |`);
  for (const what of new Set([...m.light, ...m.dark])) console.error(`${name}: ${what}`);
  for (const host of m.foreign) console.error(`${name}: asks ${host}`);
  if (!m.turned) console.error(`${name}: stays light in a dark system`);
  if (m.eager) console.error(`${name}: ${m.eager} pictures are not lazy`);
}
console.log("\n| searched for | the first results |\n|---|---|");
for (const [question, links] of await searched(QUESTIONS)) {
  console.log(`| ${question} | ${links.join(", ") || "nothing"} |`);
}
await browser.close();
close();
