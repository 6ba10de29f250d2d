// What the scripts here share that visit pages with a headless Chromium: a folder as a site, and the browser.
import {createServer} from "node:http";
import {createRequire} from "node:module";
import {readFile} from "node:fs/promises";
import {gzipSync} from "node:zlib";
import {extname, join, normalize} from "node:path";

const KINDS = {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css",
               ".json": "application/json", ".wasm": "application/wasm", ".mp3": "audio/mpeg", ".txt": "text/plain",
               ".png": "image/png", ".svg": "image/svg+xml"};

// {site, close}: a folder, served to this machine alone; text is packed on the way, as publishers do, if asked.
export async function served(folder, packs = false) {
  const server = createServer(async (request, answer) => {
    const asked = decodeURIComponent(new URL(request.url, "http://x").pathname);
    const path = normalize(asked).replace(/\/$/, "/index.html");
    try {
      const kind = KINDS[extname(path)] || "application/octet-stream", packed = packs && /text|json|svg/.test(kind);
      const content = await readFile(join(folder, path));
      answer.writeHead(200, {"Content-Type": kind, ...(packed ? {"Content-Encoding": "gzip"} : {})});
      answer.end(packed ? gzipSync(content) : content);
    } catch { answer.writeHead(404).end(); }
  });
  await new Promise(done => server.listen(0, "127.0.0.1", done));
  return {site: `http://127.0.0.1:${server.address().port}/`, close: () => server.close()};
}

// Playwright's Chromium; `modules` is the folder node_modules that holds playwright-core.
export function launched(modules, executablePath, ...args) {
  const {chromium} = createRequire(join(modules, "x.js"))("playwright-core");
  return chromium.launch({executablePath, args: ["--no-sandbox", ...args]});
}
