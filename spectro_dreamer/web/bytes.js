// How many bytes a file has, and which: the words and the digits that the panel shows of a file of bits.
import {make} from "./row.js";

const BEGIN = 48;                                                         // bytes of the first second shown at once

export const number = n => n.toLocaleString("en-US");

export function sizes(bytes, samples, rate, heard) {                      // heard: {kind, size} of where it came from
  const times = n => `${number(n)} bytes, ${(n / bytes.length).toFixed(n < 10 * bytes.length ? 1 : 0)} times as many`;
  const seconds = samples / rate, kilobits = bytes.length * 8 / seconds / 1000;
  const parts = [make("strong", {}, `As a file: ${number(bytes.length)} bytes, ${kilobits.toFixed(2)} kbit/s. `),
                 `As 16-bit WAV these ${seconds.toFixed(1)} s are ${times(44 + 2 * samples)}`,
                 heard?.size ? `; ${heard.kind} is ${times(heard.size)}.` : "."];
  return make("p", {class: "sd-size"}, ...parts);
}

const digits = bytes => Array.from(bytes, x => x.toString(16).padStart(2, "0")).join(" ");

export function hexadecimal(bytes, places) {
  // The header and the first bytes; all the others, second by second, when they are asked for.
  const list = () => make("dl", {class: "sd-hex"});
  const entry = ([name, begin, end], most = end) => [make("dt", {}, `${name}, ${number(end - begin)} bytes`),
    make("dd", {}, digits(bytes.subarray(begin, Math.min(end, most))) + (most < end ? " …" : ""))];
  const first = list(), rest = list(), [head, second] = places;
  first.append(...entry(head), ...second ? entry(second, second[1] + BEGIN) : []);
  const all = make("div", {class: "sd-all", role: "region", tabindex: 0, "aria-label": "All bytes of the file"}, rest);
  const more = make("details", {}, make("summary", {}, `All ${number(bytes.length)} bytes, second by second`), all);
  more.addEventListener("toggle", () => {
    if (!rest.children.length) rest.append(...places.flatMap(place => entry(place)));
  });
  return [first, more];
}
