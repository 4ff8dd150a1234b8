// The network: what is stored, and its forward pass over typed arrays.
//
// A tensor is {shape, data}: one Float32Array, rows, columns, channels, as in the weights. Each
// function is a layer of cifar_lab.scratch, which says what it computes.

const POLYNOMIAL = new Uint32Array(256).map((_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** CRC-32 of bytes from start to end, going on from another. */
function crc32(bytes, before = 0, start = 0, end = bytes.length) {
  let crc = ~before;
  for (let i = start; i < end; i++) crc = POLYNOMIAL[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** The arrays of a network by name: {shape, data}. A kernel is whole numbers of 16 bits, times one
 * number a filter. */
function unpacked(listed, bytes) {
  const arrays = {};
  for (const [name, { shape, type, offset, scale }] of Object.entries(listed)) {
    const size = shape.reduce((a, b) => a * b, 1);
    if (type === "float32") {
      arrays[name] = { shape, data: new Float32Array(bytes.buffer, offset, size) };
      continue;
    }
    const values = new Int16Array(bytes.buffer, offset, size);
    const scales = new Float32Array(bytes.buffer, scale.offset, scale.size);
    const data = new Float32Array(size);
    for (let i = 0; i < size; i++) data[i] = values[i] * scales[i % scale.size];
    arrays[name] = { shape, data };
  }
  return arrays;
}

function sizeOf(shape) {
  return shape.reduce((a, b) => a * b, 1);
}

function mapped(x, f) {
  const data = new Float32Array(x.data.length);
  for (let i = 0; i < data.length; i++) data[i] = f(x.data[i]);
  return { shape: x.shape, data };
}

// --- windows ---

/** How many values are added before and behind an axis. */
function borders(size, window, stride, padding) {
  if (padding === "valid") return [0, 0];
  const total = Math.max((Math.ceil(size / stride) - 1) * stride + window - size, 0);
  return [Math.floor(total / 2), total - Math.floor(total / 2)];
}

/** Where the windows of a layer lie on a picture. */
function slid(shape, window, { strides, padding }) {
  const [height, width, channels] = shape;
  const [top, bottom] = borders(height, window[0], strides[0], padding);
  const [left, right] = borders(width, window[1], strides[1], padding);
  return {
    height,
    width,
    channels,
    top,
    left,
    strides,
    rows: window[0],
    columns: window[1],
    down: Math.floor((height + top + bottom - window[0]) / strides[0]) + 1,
    across: Math.floor((width + left + right - window[1]) / strides[1]) + 1,
  };
}

// --- matrix products ---

/** A kernel (depth, units), with the four numbers for four units side by side. */
function blocked(kernel, depth, units) {
  const blocks = Math.ceil(units / 4);
  const data = new Float32Array(blocks * depth * 4);
  for (let k = 0; k < depth; k++) {
    for (let u = 0; u < units; u++) data[((u >> 2) * depth + k) * 4 + (u & 3)] = kernel[k * units + u];
  }
  return data;
}

/** out[o + r * units + u] = sum over k of rows[i + r * depth + k] * kernel[k, u], + bias[u].
 *
 * Four rows times four units at a time: each value that is read is used four times. The sums are in
 * double precision, which takes half the time of rounding each to single. */
function multiply(rows, i, count, depth, kernel, units, bias, out, o) {
  const sums = new Float64Array(16);
  for (let u = 0; u < units; u += 4) {
    const first = u * depth;
    const some = Math.min(4, units - u);
    for (let r = 0; r < count; r += 4) {
      const many = Math.min(4, count - r);
      const a = i + r * depth;
      if (many === 1) oneByFour(rows, a, depth, kernel, first, sums);
      // what lies beyond the last row is the first again, and not kept
      else {
        const b = a + depth;
        fourByFour(rows, a, b, many > 2 ? b + depth : a, many > 3 ? b + 2 * depth : a, depth, kernel, first, sums);
      }
      for (let n = 0; n < many; n++) {
        for (let j = 0; j < some; j++) {
          out[o + (r + n) * units + u + j] = sums[n * 4 + j] + (bias ? bias[u + j] : 0);
        }
      }
    }
  }
}

function fourByFour(rows, a, b, c, d, depth, kernel, first, sums) {
  let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
  let c0 = 0, c1 = 0, c2 = 0, c3 = 0, d0 = 0, d1 = 0, d2 = 0, d3 = 0;
  for (let k = 0, w = first; k < depth; k++, w += 4) {
    const w0 = kernel[w], w1 = kernel[w + 1], w2 = kernel[w + 2], w3 = kernel[w + 3];
    const xa = rows[a + k], xb = rows[b + k], xc = rows[c + k], xd = rows[d + k];
    a0 += xa * w0; a1 += xa * w1; a2 += xa * w2; a3 += xa * w3;
    b0 += xb * w0; b1 += xb * w1; b2 += xb * w2; b3 += xb * w3;
    c0 += xc * w0; c1 += xc * w1; c2 += xc * w2; c3 += xc * w3;
    d0 += xd * w0; d1 += xd * w1; d2 += xd * w2; d3 += xd * w3;
  }
  sums[0] = a0; sums[1] = a1; sums[2] = a2; sums[3] = a3;
  sums[4] = b0; sums[5] = b1; sums[6] = b2; sums[7] = b3;
  sums[8] = c0; sums[9] = c1; sums[10] = c2; sums[11] = c3;
  sums[12] = d0; sums[13] = d1; sums[14] = d2; sums[15] = d3;
}

function oneByFour(rows, a, depth, kernel, first, sums) {
  let a0 = 0, a1 = 0, a2 = 0, a3 = 0;
  for (let k = 0, w = first; k < depth; k++, w += 4) {
    const x = rows[a + k];
    a0 += x * kernel[w]; a1 += x * kernel[w + 1];
    a2 += x * kernel[w + 2]; a3 += x * kernel[w + 3];
  }
  sums[0] = a0; sums[1] = a1; sums[2] = a2; sums[3] = a3;
}

const MOST_GATHERED = 1 << 16; // values of the windows that are written out at a time

function convolution([x], node) {
  const [rows, columns, channels, units] = node.kernel.shape;
  const w = slid(x.shape, [rows, columns], node.settings);
  const depth = rows * columns * channels;
  const places = w.down * w.across;
  const out = new Float32Array(places * units);
  node.blocks ??= blocked(node.kernel.data, depth, units);
  const bias = node.bias?.data;
  if (depth === channels && w.strides[0] === 1 && w.strides[1] === 1) {
    multiply(x.data, 0, places, depth, node.blocks, units, bias, out, 0);
    return { shape: [w.down, w.across, units], data: out };
  }
  const most = Math.max(4, Math.min(places, Math.floor(MOST_GATHERED / depth) & ~3));
  const seen = new Float32Array(most * depth);
  for (let start = 0; start < places; start += most) {
    const count = Math.min(most, places - start);
    for (let n = 0; n < count; n++) gather(x.data, w, start + n, seen, n * depth);
    multiply(seen, 0, count, depth, node.blocks, units, bias, out, start * units);
  }
  return { shape: [w.down, w.across, units], data: out };
}

/** Write what the window at a place sees to `seen`, from `o` on. */
function gather(data, w, place, seen, o) {
  const top = Math.floor(place / w.across) * w.strides[0] - w.top;
  const left = (place % w.across) * w.strides[1] - w.left;
  const before = Math.max(0, -left) * w.channels;
  const behind = Math.max(0, left + w.columns - w.width) * w.channels;
  const length = w.columns * w.channels;
  for (let row = top; row < top + w.rows; row++, o += length) {
    if (row < 0 || row >= w.height) {
      seen.fill(0, o, o + length);
      continue;
    }
    if (before) seen.fill(0, o, o + before);
    if (behind) seen.fill(0, o + length - behind, o + length);
    let from = (row * w.width + left) * w.channels + before;
    for (let to = o + before; to < o + length - behind; to++, from++) seen[to] = data[from];
  }
}

function depthwise([x], node) {
  const [rows, columns, channels, each] = node.kernel.shape;
  const w = slid(x.shape, [rows, columns], node.settings);
  const units = channels * each;
  const out = new Float32Array(w.down * w.across * units);
  const kernel = node.kernel.data;
  for (let place = 0, o = 0; place < w.down * w.across; place++, o += units) {
    const top = Math.floor(place / w.across) * w.strides[0] - w.top;
    const left = (place % w.across) * w.strides[1] - w.left;
    if (node.bias) for (let c = 0; c < units; c++) out[o + c] = node.bias.data[c];
    for (let i = Math.max(0, -top); i < Math.min(rows, w.height - top); i++) {
      for (let j = Math.max(0, -left); j < Math.min(columns, w.width - left); j++) {
        const from = ((top + i) * w.width + left + j) * channels;
        const k = (i * columns + j) * units;
        if (each === 1) {
          for (let c = 0; c < units; c++) out[o + c] += x.data[from + c] * kernel[k + c];
        } else {
          for (let c = 0; c < units; c++) {
            out[o + c] += x.data[from + Math.floor(c / each)] * kernel[k + c];
          }
        }
      }
    }
  }
  return { shape: [w.down, w.across, units], data: out };
}

function affine([x], node) {
  const [depth, units] = node.kernel.shape;
  const data = new Float32Array(units);
  node.blocks ??= blocked(node.kernel.data, depth, units);
  multiply(x.data, 0, 1, depth, node.blocks, units, node.bias?.data, data, 0);
  return { shape: [units], data };
}

// --- pooling ---

/** `start`, then `join` over what a window sees of a channel, then `end` with how many it saw. */
function pooled(x, window, settings, start, join, end) {
  const w = slid(x.shape, window, settings);
  const c = w.channels;
  const out = new Float32Array(w.down * w.across * c).fill(start);
  for (let place = 0, o = 0; place < w.down * w.across; place++, o += c) {
    const top = Math.floor(place / w.across) * w.strides[0] - w.top;
    const left = (place % w.across) * w.strides[1] - w.left;
    let count = 0;
    for (let i = Math.max(0, top); i < Math.min(top + w.rows, w.height); i++) {
      for (let j = Math.max(0, left); j < Math.min(left + w.columns, w.width); j++, count++) {
        const from = (i * w.width + j) * c;
        for (let n = 0; n < c; n++) out[o + n] = join(out[o + n], x.data[from + n]);
      }
    }
    for (let n = 0; n < c; n++) out[o + n] = end(out[o + n], count);
  }
  return { shape: [w.down, w.across, c], data: out };
}

const WHOLE = { strides: [1, 1], padding: "valid" };
const sum = (a, b) => a + b;
const share = (a, count) => a / count;
const same = (a) => a;

function overall(x, start, join, end) {
  return { shape: [x.shape[2]], data: pooled(x, x.shape, WHOLE, start, join, end).data };
}

// --- the rest ---

/** One number, one a channel, or one for each value of a picture. */
function values(part, shape) {
  const out = new Float32Array(sizeOf(shape));
  const wide = [...Array(shape.length - part.shape.length).fill(1), ...part.shape];
  for (let i = 0; i < out.length; i++) {
    let at = 0;
    for (let axis = 0, rest = out.length, n = i; axis < shape.length; axis++) {
      rest /= shape[axis];
      at = at * wide[axis] + (wide[axis] === 1 ? 0 : Math.floor(n / rest));
      n %= rest;
    }
    out[i] = part.data[at];
  }
  return out;
}

function rescaling([x], node) {
  node.factors ??= values(node.scale, x.shape);
  node.terms ??= values(node.offset, x.shape);
  const data = new Float32Array(x.data.length);
  for (let i = 0; i < data.length; i++) {
    data[i] = Math.fround(x.data[i] * node.factors[i]) + node.terms[i];
  }
  return { shape: x.shape, data };
}

function zeroPadding([x], node) {
  const [rows, columns, channels] = node.settings.padding;
  const [height, width, depth] = x.shape;
  const shape = node.settings.padding.map(([a, b], axis) => x.shape[axis] + a + b);
  const data = new Float32Array(sizeOf(shape));
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) {
      const from = (i * width + j) * depth;
      const to = ((i + rows[0]) * shape[1] + j + columns[0]) * shape[2] + channels[0];
      data.set(x.data.subarray(from, from + depth), to);
    }
  }
  return { shape, data };
}

function add(inputs) {
  const data = inputs[0].data.slice();
  for (const other of inputs.slice(1)) {
    for (let i = 0; i < data.length; i++) data[i] += other.data[i];
  }
  return { shape: inputs[0].shape, data };
}

function concatenate(inputs) {
  const widths = inputs.map((x) => x.shape.at(-1));
  const total = widths.reduce(sum, 0);
  const places = inputs[0].data.length / widths[0];
  const data = new Float32Array(places * total);
  let at = 0;
  inputs.forEach((x, n) => {
    for (let p = 0; p < places; p++) {
      data.set(x.data.subarray(p * widths[n], (p + 1) * widths[n]), p * total + at);
    }
    at += widths[n];
  });
  return { shape: [...inputs[0].shape.slice(0, -1), total], data };
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

function softmax([x]) {
  const last = x.shape.at(-1);
  const data = new Float32Array(x.data.length);
  for (let start = 0; start < data.length; start += last) {
    const scores = x.data.subarray(start, start + last);
    const powers = [...scores].map((score) => Math.exp(score - scores.reduce((a, b) => Math.max(a, b))));
    const total = powers.reduce(sum, 0);
    powers.forEach((power, i) => { data[start + i] = power / total; });
  }
  return { shape: x.shape, data };
}

const LAYERS = {
  Affine: affine,
  Convolution: convolution,
  DepthwiseConvolution: depthwise,
  MaxPooling: ([x], { settings }) => pooled(x, settings.window, settings, -Infinity, Math.max, same),
  AveragePooling: ([x], { settings }) => pooled(x, settings.window, settings, 0, sum, share),
  GlobalAveragePooling: ([x]) => overall(x, 0, sum, share),
  GlobalMaxPooling: ([x]) => overall(x, -Infinity, Math.max, same),
  Flatten: ([x]) => ({ shape: [x.data.length], data: x.data }),
  Rescaling: rescaling,
  ZeroPadding: zeroPadding,
  Add: add,
  Concatenate: concatenate,
  Relu: ([x], { settings: { max_value: most } }) =>
    mapped(x, most === null ? (v) => (v > 0 ? v : 0) : (v) => Math.min(v > 0 ? v : 0, most)),
  LeakyRelu: ([x], { settings: { slope } }) => mapped(x, (v) => (v > 0 ? v : slope * v)),
  Elu: ([x], { settings: { alpha } }) => mapped(x, (v) => (v > 0 ? v : alpha * Math.expm1(v))),
  Silu: ([x]) => mapped(x, (v) => v * sigmoid(v)),
  Sigmoid: ([x]) => mapped(x, sigmoid),
  Tanh: ([x]) => mapped(x, Math.tanh),
  Softmax: softmax,
};

/** A stored network. `run` takes pixels, 0 to 255, and gives a Float32Array of probabilities. */
class Network {
  constructor(graph, arrays) {
    this.shape = graph.input_shape;
    this.nodes = graph.nodes.map((node) => {
      const parts = node.arrays.map((part) => [part, arrays[`${node.name}/${part}`]]);
      return { ...node, ...Object.fromEntries(parts) };
    });
    this.lastReader = new Map();
    for (const node of this.nodes) for (const read of node.inputs) this.lastReader.set(read, node);
  }

  run(pixels) {
    const outputs = new Map([["input", { shape: this.shape, data: Float32Array.from(pixels) }]]);
    let last;
    for (const node of this.nodes) {
      last = LAYERS[node.kind](node.inputs.map((name) => outputs.get(name)), node);
      outputs.set(node.name, last);
      for (const read of node.inputs) if (this.lastReader.get(read) === node) outputs.delete(read);
    }
    return last.data;
  }
}
