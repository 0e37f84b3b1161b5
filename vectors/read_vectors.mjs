// Holds an implementation in JavaScript to the vectors: node read_vectors.mjs v1. Nothing but node is needed.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { argv, exit } from "node:process";

const sum = (values) => values.reduce((a, b) => a + b, 0);
const range = (n) => [...Array(n).keys()];
const size = (mask) => range(31).filter((i) => (mask >> i) & 1).length;
const places = (mask, length) => range(length).filter((i) => (mask >> i) & 1);

// u(t) of each family of schedules, and its derivative.
const families = {
  loglinear: (t, e = 0) => [(1 - e) * t, 1 - e],
  "cosine-mdlm": (t, e = 0) => [
    (1 - e) * 2 * Math.sin((Math.PI * t) / 4) ** 2,
    ((1 - e) * Math.PI * Math.sin((Math.PI * t) / 2)) / 2,
  ],
  "cosine-md4": (t, e = 0) => [
    e + (1 - 2 * e) * Math.sin((Math.PI * t) / 2),
    ((1 - 2 * e) * Math.PI * Math.cos((Math.PI * t) / 2)) / 2,
  ],
  polynomial: (t, n, e = 0) => [e + (1 - 2 * e) * t ** n, (1 - 2 * e) * n * t ** (n - 1)],
  geometric: (t, low, high) => {
    const sigma = low * (high / low) ** t;
    return [-Math.expm1(-sigma), Math.exp(-sigma) * sigma * Math.log(high / low)];
  },
};

// Probabilities of the tokens at target i behind a context; bit i of a mask is set where target i is hidden.
function chances(model, text, mask, i, u, context = []) {
  const targets = text.map((token, j) => ((mask >> j) & 1 ? "_" : String(token)));
  const window = context.join("") + targets.join("");
  const clean = model.rows[window][context.length + i];
  const p = clean.map((weight) => weight / sum(clean));
  if (!model.rows_noisy) return p;
  const noisy = model.rows_noisy[window][context.length + i];
  return p.map((value, token) => (1 - u) * value + (u * noisy[token]) / sum(noisy));
}

// C(x, M; t), equation (2), or that part of it which some positions have.
function nats(model, text, mask, u, context = [], which = places(mask, text.length)) {
  return sum(which.map((i) => -Math.log(chances(model, text, mask, i, u, context)[text[i]])));
}

// The mean of C over masks of rate u, equation (1), divided by u to the power of less.
function mean(model, text, u, context = [], less = 0) {
  let total = 0;
  for (let mask = 1; mask < 1 << text.length; mask++) {
    const k = size(mask);
    const chance = u ** (k - less) * (1 - u) ** (text.length - k);
    if (chance > 0) total += chance * nats(model, text, mask, u, context);
  }
  return total;
}

const gauss = [[0, 64 / 225]];
for (const side of [1, -1])
  for (const sign of [1, -1])
    gauss.push([(side * Math.sqrt(5 + sign * Math.sqrt(40 / 7))) / 3, (322 - sign * 13 * Math.sqrt(70)) / 1800]);

function integral(f, low, high, pieces = 40) {
  const width = (high - low) / pieces;
  return sum(range(pieces).flatMap((k) => gauss.map(([z, w]) => w * width * f(low + width * (k + 0.5 + z / 2)))));
}

const grid = (rate, steps) => range(steps + 1).map((i) => rate(i / steps)[0]);

// Equations (4), (5), (6).
function bound(model, text, rate, steps, context = []) {
  const [low, high] = [rate(0)[0], rate(1)[0]];
  const f = (u) => mean(model, text, u, context, 1);
  let diffusion;
  if (steps) {
    const u = grid(rate, steps);
    diffusion = sum(range(steps).map((i) => (u[i + 1] - u[i]) * f(u[i + 1])));
  } else diffusion = integral(f, low, high);
  const prior = (1 - high) * text.length * Math.log(model.vocab_size);
  const reconstruction = mean(model, text, low, context);
  return { prior, reconstruction, diffusion, nelbo: prior + reconstruction + diffusion };
}

// -log p of the T-step sampler: the chance of every set of hidden tokens, step by step.
function sampler(model, text, rate, steps) {
  const [u, length] = [grid(rate, steps), text.length];
  const drawn = (1 - u[steps]) / model.vocab_size;
  let now = range(1 << length).map((mask) => u[steps] ** size(mask) * drawn ** (length - size(mask)));
  for (let i = steps; i >= 0; i--) {
    const sent = i ? (u[i] - u[i - 1]) / u[i] : 1;
    const after = now.map(() => 0);
    now.forEach((chance, mask) => {
      if (chance === 0) return;
      for (let left = 0; left <= mask; left++) {
        if (left & ~mask) continue;
        const shown = places(mask & ~left, length);
        const ways = (1 - sent) ** size(left) * sent ** shown.length;
        if (ways > 0) after[left] += chance * ways * Math.exp(-nats(model, text, mask, u[i], [], shown));
      }
    });
    now = after;
  }
  return -Math.log(now[0]);
}

// Equation (16); steps are lists of positions.
function chain(model, text, steps, high, context = []) {
  let [mask, total] = [(1 << text.length) - 1, 0];
  for (const step of steps) {
    total += nats(model, text, mask, (high * size(mask)) / text.length, context, step);
    for (const i of step) mask &= ~(1 << i);
  }
  return total;
}

const sorted = (p) => [...p].sort((a, b) => b - a);
const sure = {
  confidence: (p) => sorted(p)[0],
  entropy: (p) => sum(p.map((value) => value * Math.log(value))),
  margin: (p) => sorted(p)[0] - sorted(p)[1],
  true: (p, token) => p[token],
};

// The surest first, equals by position.
function reveal(model, text, order, perStep, high) {
  const steps = [];
  for (let mask = (1 << text.length) - 1; mask; ) {
    const hidden = places(mask, text.length);
    const u = (high * hidden.length) / text.length;
    const score = hidden.map((i) => [sure[order](chances(model, text, mask, i, u), text[i]), i]);
    const step = score.sort((a, b) => b[0] - a[0] || a[1] - b[1]).slice(0, perStep);
    steps.push(step.map(([, i]) => i).sort((a, b) => a - b));
    for (const [, i] of step) mask &= ~(1 << i);
  }
  return steps;
}

function permutations(items) {
  if (items.length < 2) return [items];
  return items.flatMap((item) => permutations(items.filter((other) => other !== item)).map((rest) => [item, ...rest]));
}

const texts = (vocabSize, length) =>
  length ? texts(vocabSize, length - 1).flatMap((text) => range(vocabSize).map((token) => [...text, token])) : [[]];

const one = (i) => [i];
const scores = {
  bound: (v, model, rate) => (text) => bound(model, text, rate, v.steps).nelbo,
  sampler: (v, model, rate) => (text) => sampler(model, text, rate, v.steps),
  "left-to-right": (v, model, rate) => (text) => chain(model, text, range(v.length).map(one), rate(1)[0]),
  "one-given-all": (v, model) => (text) => sum(range(v.length).map((i) => nats(model, text, 1 << i, 0))),
  "true-order": (v, model, rate) => (text) =>
    chain(model, text, reveal(model, text, "true", 1, rate(1)[0]), rate(1)[0]),
};

const boundaries = ["control", "unknown", "unused"];
const fromHex = (hex) => (hex.match(/../g) ?? []).map((pair) => parseInt(pair, 16));
const isSpace = (bytes, i) => bytes[i] === 0xe2 && bytes[i + 1] === 0x96 && bytes[i + 2] === 0x81;

function official(tokenizer, tokens) {
  let afterText = false;
  return tokens.map((token) => {
    const { kind, spells } = tokenizer.pieces[token];
    const [bytes, wasText] = [fromHex(spells), afterText];
    afterText = !boundaries.includes(kind);
    if (!afterText) return 0;
    if (kind === "text" && tokenizer.escapes_spaces && isSpace(bytes, 0)) return bytes.length - 3 + (wasText ? 1 : 0);
    return bytes.length;
  });
}

// The bytes of each token by the exact rule, and the text that they spell.
function exact(tokenizer, tokens) {
  const documents = [[]];
  tokens.forEach((token, owner) => {
    const { kind, spells } = tokenizer.pieces[token];
    if (kind === "control") documents.push([]);
    else if (kind === "unknown") documents.at(-1).push({ owner, byte: -1 });
    else documents.at(-1).push(...fromHex(spells).map((byte) => ({ owner, byte })));
  });
  const text = documents.flatMap((document) => {
    const written = [];
    for (let i = 0; i < document.length; i++) {
      if (tokenizer.escapes_spaces && isSpace(document.map(({ byte }) => byte), i)) {
        i += 2; // the token with the last of the three bytes has the space
        written.push({ owner: document[i].owner, byte: 0x20 });
      } else written.push(document[i]);
    }
    if (tokenizer.dummy_prefix && written[0]?.byte === 0x20) written.shift();
    if (tokenizer.dummy_suffix && written.at(-1)?.byte === 0x20) written.pop();
    return written.filter(({ byte }) => byte >= 0);
  });
  return {
    exact: tokens.map((_, i) => text.filter(({ owner }) => owner === i).length),
    text: text.map(({ byte }) => byte.toString(16).padStart(2, "0")).join(""),
  };
}

const kinds = {
  schedule: (v, model, rate) => ({
    mask_rate: v.times.map((t) => rate(t)[0]),
    loss_weight: v.times.map((t) => rate(t)[1] / rate(t)[0]),
    u_0: rate(0)[0],
    u_max: rate(1)[0],
    grid_8: grid(rate, 8),
  }),
  logits: (v) => {
    const clean = v.clean_ids.map((token) => (v.logits[token] === "-inf" ? -Infinity : v.logits[token]));
    const top = Math.max(...clean);
    const total = top + Math.log(sum(clean.map((value) => Math.exp(value - top))));
    return { nats: clean.map((value) => total - value) };
  },
  mask: ({ length, masked, rate: u }) => {
    const one = u ** (masked.length - 1) * (1 - u) ** (length - masked.length);
    return { bernoulli: u * one, size_biased: (masked.length / length) * one };
  },
  weights: (v, model, rate) => {
    const [low, high] = [rate(0)[0], rate(1)[0]];
    const at = (k, u, less) => u ** (k - less) * (1 - u) ** (v.length - k);
    const u = v.steps ? grid(rate, v.steps) : [];
    const rest = (k) =>
      v.steps
        ? sum(range(v.steps).map((i) => (u[i + 1] - u[i]) * at(k, u[i + 1], 1)))
        : integral((u) => at(k, u, 1), low, high);
    return { weights: range(v.length).map((i) => at(i + 1, low, 0) + rest(i + 1)) };
  },
  bound: (v, model, rate) => ({
    ...bound(model, v.text, rate, v.steps),
    neg_log_p: v.steps
      ? sampler(model, v.text, rate, v.steps)
      : chain(model, v.text, range(v.text.length).map(one), 1),
  }),
  span: (v, model, rate) => ({
    ...bound(model, v.targets, rate, v.steps, v.context),
    chain: chain(model, v.targets, range(v.targets.length).map(one), rate(1)[0], v.context),
  }),
  blocks: (v, model, rate) => {
    const starts = range(v.text.length).filter((i) => i % v.block_size === 0);
    const nelbo_of_blocks = starts.map(
      (i) => bound(model, v.text.slice(i, i + v.block_size), rate, v.steps, v.text.slice(0, i)).nelbo,
    );
    return { nelbo_of_blocks, nelbo: sum(nelbo_of_blocks) };
  },
  curve: (v, model) => ({ f: v.rates.map((u) => mean(model, v.text, u, [], 1) / v.text.length) }),
  chain: (v, model, rate) => ({ nats: chain(model, v.text, v.reveal, rate(1)[0]) }),
  ordered: (v, model, rate) => {
    const steps = reveal(model, v.text, v.order, v.per_step, rate(1)[0]);
    return { reveal: steps, nats: chain(model, v.text, steps, rate(1)[0]) };
  },
  orders: (v, model) => {
    const lengths = permutations(range(v.text.length)).map((order) => chain(model, v.text, order.map(one), 1));
    const average = (values) => sum(values) / values.length;
    return { mean_nats: average(lengths), neg_log_mean_p: -Math.log(average(lengths.map((l) => Math.exp(-l)))) };
  },
  kraft: (v, model, rate) => {
    const lengths = texts(model.vocab_size, v.length).map(scores[v.score](v, model, rate));
    return { sum: sum(lengths.map((length) => Math.exp(-length))) };
  },
  bytes: (v, model, rate, tokenizer) => ({
    official: official(tokenizer, v.tokens),
    ...exact(tokenizer, v.tokens),
  }),
  score: (v) => ({ bits_per_byte: sum(v.nats) / Math.LN2 / sum(v.bytes) }),
};

function near(a, b, tolerance) {
  if (Array.isArray(b)) return a.length === b.length && b.every((value, i) => near(a[i], value, tolerance));
  const wanted = b === "inf" ? Infinity : b;
  return a === wanted || Math.abs(a - wanted) <= tolerance * Math.max(1, Math.abs(wanted));
}

const read = (name) => JSON.parse(readFileSync(join(argv[2], `${name}.json`), "utf8"));
const tables = read("tables");
const named = (list, name) => list.find((entry) => entry.name === name);
let [seen, missed] = [0, 0];
for (const file of ["schedules", "logits", "masks", "weights", "bounds", "spans", "chains", "kraft", "bytes"]) {
  for (const v of read(file).vectors) {
    const schedule = named(tables.schedules, v.schedule ?? "loglinear");
    const rate = (t) => families[schedule.family](t, ...schedule.parameters);
    const found = kinds[v.kind](v, named(tables.models, v.model), rate, named(tables.tokenizers, v.tokenizer));
    for (const [key, wanted] of Object.entries(v.expect)) {
      seen += 1;
      if (near(found[key], wanted, v.tolerance)) continue;
      missed += 1;
      console.log(`missed: ${v.id} ${key}: ${JSON.stringify(found[key])}, expected ${JSON.stringify(wanted)}`);
    }
  }
}
console.log(`${seen} numbers, ${missed} missed`);
exit(missed ? 1 : 0);
