// From typed text to phones, and from phones to what a model is told: chapters 14b, 23c and 10h in JavaScript.
// The rules are data that come along (`rules.json`); so is the dictionary (`words.txt`), a line a word.

const escaped = text => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");

export class Pronunciation {
  constructor(rules, words) {
    this.about = rules;
    this.names = new Map([...rules.codes].map((code, i) => [code, rules.phones[i]]));
    this.words = new Map(words.split("\n").filter(Boolean).map(line => line.split("\t")));
    this.rules = new Map();
    const context = text => [...text].map(c => rules.classes[c] || escaped(c)).join("");
    for (const line of rules.rules) {                                     // "#:[ed]_ D": before, letters, after, phones
      const [, before, letters, after, phones] = /^(.*)\[(.+)\](\S*) (.*)$/.exec(line);
      const rule = {before: new RegExp(`(?:${context(before)})$`), n: letters.length,
                    after: new RegExp(escaped(letters) + context(after), "y"),
                    phones: phones.split(" ").filter(p => p !== "-")};
      if (!this.rules.has(letters[0])) this.rules.set(letters[0], []);
      this.rules.get(letters[0]).push(rule);
    }
  }

  byRules(word) {                                                         // Elovitz et al. 1976
    const text = `_${word.toLowerCase().replace(/[^a-z']/g, "")}_`, phones = [];
    for (let at = 1; at < text.length - 1;) {
      const rule = (this.rules.get(text[at]) || []).find(r => {
        r.after.lastIndex = at;
        return r.after.test(text) && r.before.test(text.slice(0, at));
      });
      if (rule) phones.push(...rule.phones);
      at += rule ? rule.n : 1;
    }
    return phones;
  }

  known(word) {                                                           // in the dictionary, or with a genitive's s
    if (this.words.has(word)) return [...this.words.get(word)].map(c => this.names.get(c));
    const stem = word.endsWith("'s") && this.words.has(word.slice(0, -2)) ? this.known(word.slice(0, -2)) : null;
    if (!stem) return null;
    const last = stem[stem.length - 1];
    if (["S", "Z", "SH", "ZH", "CH", "JH"].includes(last)) return [...stem, "IH", "Z"];
    return [...stem, ["P", "T", "K", "F", "TH"].includes(last) ? "S" : "Z"];
  }

  word(word) {                                                            // its phones; none if it cannot be said
    const plain = word.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, ""), found = this.known(plain);
    if (found) return found;
    if (word === "a") return ["AH"];
    const capitals = word === word.toUpperCase() && word !== word.toLowerCase() && word.length < 6;
    const names = word.length <= 1 || capitals ? [...plain].map(c => this.about.letters[c]).filter(Boolean) : [];
    return names.length ? names.flatMap(name => name.split(" ")) : this.byRules(plain);
  }

  // -------------------------------------------------------------- numbers and signs in words

  number(n) {
    const {ones, tens} = this.about;
    if (n < 20) return [ones[n]];
    if (n < 100) return [tens[Math.floor(n / 10)], ...n % 10 ? this.number(n % 10) : []];
    for (const [size, name] of [[1e9, "billion"], [1e6, "million"], [1e3, "thousand"], [100, "hundred"]])
      if (size <= n && n < (size === 100 ? 1000 : 1000 * size))
        return [...this.number(Math.floor(n / size)), name, ...n % size ? this.number(n % size) : []];
    return this.digits(String(n));
  }

  digits(text) { return [...text].map(d => this.about.ones[+d]); }

  year(n) {
    const high = Math.floor(n / 100), low = n % 100;
    if (high % 10 === 0 && low < 10 || high < 11 || high > 20) return this.number(n);
    return [...this.number(high), ...low ? [...low < 10 ? ["oh"] : [], ...this.number(low)] : ["hundred"]];
  }

  ordinal(n) {
    const words = this.number(n), last = words.pop();
    const ordinal = this.about.ordinals[last] || (last.endsWith("y") ? last.slice(0, -1) + "ieth" : last + "th");
    return [...words, ordinal.replace("tth", "th")];
  }

  money(text) {
    const [big, small] = this.about.money[text[0]];
    const plural = (n, word) => n === 1 || word === "pence" ? word : word + "s";
    const [whole, cents = ""] = text.slice(1).trim().replaceAll(",", "").split(".");
    const words = [...this.number(+whole), plural(+whole, big)];
    return /[1-9]/.test(cents) ? [...words, ...this.number(+cents), plural(+cents, small)] : words;
  }

  clock(text) {
    const [hours, minutes] = text.split(":").map(Number);
    if (!minutes) return [...this.number(hours), "o'clock"];
    return [...this.number(hours), ...minutes < 10 ? ["oh"] : [], ...this.number(minutes)];
  }

  figure(text) {
    const [whole, rest] = text.replaceAll(",", "").split("."), plain = !text.includes(",") && rest === undefined;
    const words = whole.length === 4 && plain ? this.year(+whole) : this.number(+whole);
    return rest === undefined ? words : [...words, "point", ...this.digits(rest)];
  }

  spoken(text) {                                                          // words, and signs of pauses between them
    const kinds = {
      short: t => this.about.short[t.slice(0, -1).toLowerCase()].split(" "), money: t => this.money(t),
      clock: t => this.clock(t), ordinal: t => this.ordinal(parseInt(t)), number: t => this.figure(t),
      sign: t => [this.about.signs[t]], word: t => [t.replaceAll("’", "'")], pause: t => [t[0]]};
    const pattern = new RegExp(
      "(?<short>(?:[eE]\\.[gG]|[iI]\\.[eE]|[aApP]\\.[mM]|[mM][rR][sS]?|[mM][sS]|[dD][rR]|[pP][rR][oO][fF]|[sS][tT]" +
      "|[vV][sS]|[eE][tT][cC]|[jJsS][rR]|[nN][oO](?=\\.\\s*\\d)|[aA][pP][pP][rR][oO][xX]|[dD][eE][pP][tT]|[mM][tT]" +
      "|[gG][eE][nN]|[cC][oO][lL]|[cC][aA][pP][tT])\\.)|(?<money>[$£€]\\s?\\d+(?:,\\d{3})*(?:\\.\\d\\d)?)" +
      "|(?<clock>\\b\\d{1,2}:\\d\\d\\b)|(?<ordinal>\\d+(?:st|nd|rd|th)\\b)|(?<number>\\d+(?:,\\d{3})*(?:\\.\\d+)?)" +
      "|(?<word>\\p{L}+(?:['’]\\p{L}+)*)|(?<sign>[&%+=@#°])|(?<pause>[,;:.!?…—–]+)", "gu");
    return [...text.matchAll(pattern)].flatMap(match => {
      const [kind, found] = Object.entries(match.groups).find(([, value]) => value !== undefined);
      return kinds[kind](found);
    });
  }

  read(text) {                                                            // [{text, phones}, …], pauses too
    const words = [], isPause = word => this.about.pauses.includes(word);
    for (const word of this.spoken(text)) {
      if (isPause(word)) {
        if (words.length && !isPause(words[words.length - 1].text)) words.push({text: word, phones: ["SIL"]});
        continue;
      }
      const phones = this.word(word);
      if (phones.length) words.push({text: word.toLowerCase(), phones});
    }
    if (words.length && isPause(words[words.length - 1].text)) words.pop();
    if (!words.length) throw new Error("There is no word in it that can be spoken.");
    return words;
  }
}

export const sentencePhones = words => ["SIL", ...words.flatMap(word => word.phones), "SIL"];

// ---------------------------------------------------------------- how long each lasts

export function durationInputs(phones, pace, {phones: names, reach}) {
  // Of each phone itself and its neighbours, one-hot, then the pace: (phones × width).
  const kinds = names.length + 1, width = kinds * (2 * reach + 1) + 1, seen = new Float32Array(phones.length * width);
  phones.forEach((_, i) => {
    for (let k = -reach; k <= reach; k++) {
      const name = phones[i + k], number = name === undefined ? names.length : names.indexOf(name);
      seen[i * width + (k + reach) * kinds + number] = 1;
    }
    seen[(i + 1) * width - 1] = pace;
  });
  return {seen, width};
}

const ENDS = .2;                                                          // seconds of silence at both ends

export function planOf(phones, mean, deviation, {frameRate, speed = 1, temperature = .5, noise}) {
  // [[phone, frames], …], each a frame or more; roundings do not add up.
  let time = 0, before = 0;
  return phones.map((phone, i) => {
    const end = phone === "SIL" && (i === 0 || i === phones.length - 1);
    time += end ? ENDS : Math.exp(mean[i] + temperature * deviation[i] * noise[i]) / speed;
    const now = Math.round(time * frameRate), frames = Math.max(1, now - before);
    before = now;
    return [phone, frames];
  });
}

// ---------------------------------------------------------------- what a model is told

const LEFT_UNIT = 4;

export function toldActions(plan, tokens, {phones, ahead, first}, width) {
  // Actions (tokens × width): shares of phones now and in the next tokens, the place in the phone, what is left.
  const track = plan.flatMap(([phone, n]) => Array(n).fill(phones.indexOf(phone))), total = track.length;
  const begins = [0];
  for (let i = 1; i < total; i++) if (track[i] !== track[i - 1]) begins.push(i);
  begins.push(total);
  const count = 1 + Math.floor((total - tokens.frames) / tokens.hop), out = new Float32Array(count * width);
  for (let t = 0; t < count; t++) {
    const start = t * tokens.hop, row = t * width + first, half = Math.floor(tokens.frames / 2);
    for (let k = 0; k <= ahead; k++) for (let f = 0; f < tokens.frames; f++) {
      const phone = track[start + k * tokens.hop + f];
      if (phone !== undefined) out[row + k * phones.length + phone] += 1 / tokens.frames;
    }
    const next = begins.findIndex(b => b > start + half), middle = start + tokens.frames / 2;
    const rest = row + (1 + ahead) * phones.length;
    out[rest] = (middle - begins[next - 1]) / (begins[next] - begins[next - 1]);
    out[rest + 1] = Math.log(1 + begins[next] - middle) / LEFT_UNIT;
    out[rest + 2] = 1;
  }
  return {actions: out, count};
}
