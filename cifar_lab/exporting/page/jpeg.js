// JPEG as libjpeg-turbo decodes it for Pillow, value for value: sequential and progressive Huffman,
// 8 bits, at 1/1, 1/2, 1/4 or 1/8 of the size. A browser decodes at full size only, and some turn
// colours by their profile; predict.py does neither. (ITU-T T.81; jidctint.c, jidctred.c, jdsample.c,
// jdcolor.c.)

const ZIGZAG = [
  0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
  13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52,
  45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
  ...Array(16).fill(63), // where a damaged file runs on to
];

/** A code's table: for each 16 bits to come, the code's length and its symbol. */
function huffmanTable(counts, symbols) {
  const table = new Uint16Array(1 << 16);
  let code = 0;
  let n = 0;
  for (let length = 1; length <= 16; length++, code <<= 1) {
    for (let i = 0; i < counts[length - 1]; i++, code++, n++) {
      if (code >= 1 << length) throw new Unreadable("damaged image (a table of codes is too long)");
      const first = code << (16 - length);
      table.fill((length << 8) | symbols[n], first, first + (1 << (16 - length)));
    }
  }
  return table;
}

/** The bits of a scan. Behind a marker there are zeros; behind the file's end there is an error. */
class Bits {
  constructor(bytes, position) {
    this.bytes = bytes;
    this.position = position;
    this.restart();
  }

  restart() {
    this.buffer = 0;
    this.count = 0;
    this.invented = 0; // of the bits in the buffer, those that are not in the file
  }

  fill() {
    while (this.count <= 24) {
      let byte = 0;
      const { bytes, position } = this;
      if (position >= bytes.length) throw new Unreadable("damaged image (cut off)");
      if (bytes[position] !== 0xff) {
        byte = bytes[this.position++];
      } else if (bytes[position + 1] === 0) {
        byte = 0xff;
        this.position += 2;
      } else if (bytes[position + 1] === 0xff) {
        this.position++;
        continue;
      } else {
        this.invented += 8;
      }
      this.buffer = (this.buffer << 8) | byte;
      this.count += 8;
    }
  }

  /** Whether more was read than the scan has. */
  get isOver() {
    return this.count < this.invented;
  }

  symbol(table) {
    if (this.count < 16) this.fill();
    const found = table[(this.buffer >>> (this.count - 16)) & 0xffff];
    this.count -= found >> 8 || 16; // no such code: a zero, as libjpeg takes it
    return found & 0xff;
  }

  bits(n) {
    if (n === 0) return 0;
    if (this.count < n) this.fill();
    this.count -= n;
    return (this.buffer >>> this.count) & ((1 << n) - 1);
  }

  /** A number of n bits with its sign, as JPEG writes it. */
  signed(n) {
    const value = this.bits(n);
    return n && value < 1 << (n - 1) ? value - (1 << n) + 1 : value;
  }
}

/** What a JPEG holds before its pixels: where its segments are, size, components, orientation. */
function jpegHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = { segments: [], orientation: 1, jfif: false, adobe: -1, frame: null };
  let exif = null;
  let xmp = null;
  for (let at = 2; at + 4 <= bytes.length && !found.frame; ) {
    if (bytes[at] !== 0xff) throw new Unreadable("damaged image (no marker where one must be)");
    const marker = bytes[at + 1];
    if (marker === 0xff) { at++; continue; }
    if (marker === 1 || (marker >= 0xd0 && marker <= 0xd7)) { at += 2; continue; }
    const length = view.getUint16(at + 2);
    const body = bytes.subarray(at + 4, at + 2 + length);
    if (length < 2 || marker === 0xda || at + 2 + length > bytes.length) {
      throw new Unreadable("damaged image (cut off)");
    }
    if (marker === 0xe0 && isText(body, 0, "JFIF\0")) found.jfif = true;
    if (marker === 0xe1 && isText(body, 0, "Exif")) exif ??= body.subarray(6);
    if (marker === 0xe1 && isText(body, 0, "http://ns.adobe.com/xap/1.0/")) xmp ??= body.subarray(29);
    if (marker === 0xee && isText(body, 0, "Adobe")) found.adobe = body[11];
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      if (marker > 0xc2) throw new Unreadable("a kind of JPEG that is not decoded");
      found.frame = jpegFrame(body, marker === 0xc2);
    }
    found.segments.push([marker, body]);
    at += 2 + length;
    found.end = at;
  }
  if (!found.frame) throw new Unreadable("damaged image (cut off)");
  found.orientation = orientationOf(exif, xmp);
  return found;
}

function jpegFrame(body, progressive) {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body.length < 6 || body.length < 6 + 3 * body[5]) throw new Unreadable("damaged image (cut off)");
  if (body[0] !== 8) throw new Unreadable(`a JPEG of ${body[0]} bits, which is not decoded`);
  const frame = { progressive, height: view.getUint16(1), width: view.getUint16(3), components: [] };
  for (let n = 0; n < body[5]; n++) {
    const [id, factors, table] = body.subarray(6 + 3 * n, 9 + 3 * n);
    frame.components.push({ id, h: factors >> 4, v: factors & 15, table });
  }
  const { components } = frame;
  if (!frame.width || !frame.height || ![1, 3, 4].includes(components.length)
      || components.some(({ h, v }) => h < 1 || h > 4 || v < 1 || v > 4)) {
    throw new Unreadable("damaged image (its header)");
  }
  frame.h = Math.max(...components.map(({ h }) => h));
  frame.v = Math.max(...components.map(({ v }) => v));
  frame.across = Math.ceil(frame.width / (8 * frame.h));
  frame.down = Math.ceil(frame.height / (8 * frame.v));
  return frame;
}

/** Decode a JPEG.
 *
 * header: as jpegHeader gives it. scale: 1, 2, 4 or 8, by which the size is divided.
 * Returns {width, height, channels, data}: grey (1), RGB (3), or CMYK (4) with 255 for no ink.
 */
function decodeJpeg(bytes, header, scale) {
  const { frame } = header;
  const size = 8 / scale;
  for (const c of frame.components) {
    // chroma that is stored at half the size is scaled less, rather than spread out again
    c.size = size;
    while (c.size < 8 && (frame.h * size) % (c.h * c.size * 2) === 0
           && (frame.v * size) % (c.v * c.size * 2) === 0) c.size *= 2;
    c.blocksAcross = Math.ceil((frame.width * c.h) / (8 * frame.h));
    c.blocksDown = Math.ceil((frame.height * c.v) / (8 * frame.v));
    c.stored = frame.across * c.h; // blocks in a row, with those that fill up the last unit
    c.width = Math.ceil((frame.width * c.h * c.size) / (8 * frame.h));
    c.height = Math.ceil((frame.height * c.v * c.size) / (8 * frame.v));
    c.stride = c.stored * c.size;
    c.plane = new Uint8Array(c.stride * frame.down * c.v * c.size);
    c.quantized = null;
    if (frame.progressive) c.coefficients = new Int16Array(c.stored * frame.down * c.v * 64);
  }
  const state = { tables: [], dc: [], ac: [], interval: 0 };
  for (const [marker, body] of header.segments) readTables(state, marker, body);
  readScans(bytes, header.end, frame, state);
  for (const c of frame.components) {
    if (!c.quantized) throw new Unreadable("damaged image (a part of it is missing)");
    if (!frame.progressive) continue;
    for (let row = 0; row < c.blocksDown; row++) {
      for (let column = 0; column < c.blocksAcross; column++) {
        transformed(c, row, column, c.coefficients, (row * c.stored + column) * 64);
      }
    }
    c.coefficients = null;
  }
  return coloured(header, Math.ceil(frame.width / scale), Math.ceil(frame.height / scale), size);
}

function readTables(state, marker, body) {
  if (marker === 0xdd) state.interval = (body[0] << 8) | body[1];
  if (marker === 0xdb) {
    for (let at = 0; at < body.length; ) {
      const [wide, id] = [body[at] >> 4, body[at] & 3];
      const table = new Int32Array(64);
      for (let k = 0, from = at + 1; k < 64; k++) {
        table[ZIGZAG[k]] = wide ? (body[from + 2 * k] << 8) | body[from + 2 * k + 1] : body[from + k];
      }
      state.tables[id] = table;
      at += wide ? 129 : 65;
    }
  }
  if (marker === 0xc4) {
    for (let at = 0; at + 17 <= body.length; ) {
      const counts = body.subarray(at + 1, at + 17);
      const total = counts.reduce((a, b) => a + b, 0);
      if (total > 256) throw new Unreadable("damaged image (a table of codes is too long)");
      const symbols = body.subarray(at + 17, at + 17 + total);
      state[body[at] >> 4 ? "ac" : "dc"][body[at] & 3] = huffmanTable(counts, symbols);
      at += 17 + total;
    }
  }
}

function readScans(bytes, start, frame, state) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = start;
  for (;;) {
    while (at < bytes.length && bytes[at] !== 0xff) at++; // what lies between is skipped
    if (at + 2 > bytes.length) throw new Unreadable("damaged image (cut off)");
    const marker = bytes[at + 1];
    if (marker === 0xff) { at++; continue; }
    if (marker === 0xd9) return;
    if (marker <= 1 || (marker >= 0xd0 && marker <= 0xd7)) { at += 2; continue; }
    if (at + 4 > bytes.length) throw new Unreadable("damaged image (cut off)");
    const length = view.getUint16(at + 2);
    const body = bytes.subarray(at + 4, at + 2 + length);
    at += 2 + length;
    if (length < 2 || at > bytes.length) throw new Unreadable("damaged image (cut off)");
    if (marker === 0xda) at = readScan(bytes, at, body, frame, state);
    else readTables(state, marker, body);
  }
}

/** Decode a scan; returns where it ends. */
function readScan(bytes, start, body, frame, state) {
  const count = body[0];
  const components = [];
  for (let n = 0; n < count; n++) {
    const c = frame.components.find(({ id }) => id === body[1 + 2 * n]);
    if (!c) throw new Unreadable("damaged image (a part that is not there)");
    const ids = body[2 + 2 * n];
    Object.assign(c, { dc: state.dc[(ids >> 4) & 3], ac: state.ac[ids & 3], before: 0 });
    if (!c.quantized) {
      if (!state.tables[c.table & 3]) throw new Unreadable("damaged image (a table is missing)");
      c.quantized = state.tables[c.table & 3].slice();
    }
    components.push(c);
  }
  if (!components.length) throw new Unreadable("damaged image (its header)");
  const [first, last, shifts] = body.subarray(1 + 2 * count, 4 + 2 * count);
  const bits = new Bits(bytes, start);
  const scan = { bits, first, last, high: shifts >> 4, low: shifts & 15, run: 0 };
  const needs = (c) => (!frame.progressive || (!first && !scan.high) ? c.dc : true)
    && (!frame.progressive || first ? c.ac : true);
  if (!components.every(needs)) throw new Unreadable("damaged image (a table is missing)");
  const block = new Int16Array(64);
  const one = (c, row, column) => {
    if (frame.progressive) {
      if (!scan.isOver) progressive(scan, c, (row * c.stored + column) * 64);
      return;
    }
    block.fill(0);
    if (!scan.isOver) sequential(bits, c, block);
    transformed(c, row, column, block, 0);
  };
  const [c] = components;
  const alone = components.length === 1;
  const across = alone ? c.blocksAcross : frame.across;
  const units = across * (alone ? c.blocksDown : frame.down);
  for (let unit = 0; unit < units; unit++) {
    if (state.interval && unit && unit % state.interval === 0) restart(scan, components);
    const row = Math.floor(unit / across);
    const column = unit % across;
    if (alone) {
      one(c, row, column);
    } else {
      for (const part of components) {
        for (let v = 0; v < part.v; v++) {
          for (let h = 0; h < part.h; h++) one(part, row * part.v + v, column * part.h + h);
        }
      }
    }
    if (bits.isOver) scan.isOver = true; // the rest of the interval stays as it is
  }
  return bits.position;
}

function restart(scan, components) {
  const { bits } = scan;
  const { bytes } = bits;
  bits.restart();
  let at = bits.position;
  while (at + 1 < bytes.length && !(bytes[at] === 0xff && bytes[at + 1] !== 0 && bytes[at + 1] !== 0xff)) at++;
  bits.position = bytes[at + 1] >= 0xd0 && bytes[at + 1] <= 0xd7 ? at + 2 : at;
  scan.run = 0;
  scan.isOver = false;
  for (const c of components) c.before = 0;
}

function sequential(bits, c, block) {
  c.before += bits.signed(bits.symbol(c.dc) & 15);
  block[0] = c.before;
  for (let k = 1; k < 64; k++) {
    const found = bits.symbol(c.ac);
    const n = found & 15;
    k += found >> 4;
    if (n) block[ZIGZAG[k]] = bits.signed(n);
    else if (found >> 4 !== 15) break;
  }
}

/** A block of a progressive scan (T.81, annex G). */
function progressive(scan, c, at) {
  const { bits, first, last, high, low } = scan;
  const block = c.coefficients;
  if (!first) {
    if (high) {
      if (bits.bits(1)) block[at] |= 1 << low;
      return;
    }
    c.before += bits.signed(bits.symbol(c.dc) & 15);
    block[at] = c.before << low;
    return;
  }
  if (!high) {
    if (scan.run) { scan.run--; return; }
    for (let k = first; k <= last; k++) {
      const found = bits.symbol(c.ac);
      const n = found & 15;
      const zeros = found >> 4;
      if (n) {
        k += zeros;
        block[at + ZIGZAG[k]] = bits.signed(n) << low;
      } else if (zeros === 15) {
        k += 15;
      } else {
        scan.run = (1 << zeros) - 1 + bits.bits(zeros);
        break;
      }
    }
    return;
  }
  const refine = (place) => {
    if (bits.bits(1) && !(block[place] & (1 << low))) block[place] += block[place] > 0 ? 1 << low : -1 << low;
  };
  let k = first;
  if (!scan.run) {
    for (; k <= last; k++) {
      const found = bits.symbol(c.ac);
      let zeros = found >> 4;
      let value = 0;
      if (found & 15) {
        value = bits.bits(1) ? 1 << low : -1 << low;
      } else if (zeros !== 15) {
        scan.run = (1 << zeros) + bits.bits(zeros);
        break;
      }
      for (; k <= last; k++) {
        const place = at + ZIGZAG[k];
        if (block[place]) refine(place);
        else if (--zeros < 0) break;
      }
      if (value && k < 64) block[at + ZIGZAG[k]] = value;
    }
  }
  if (scan.run) {
    for (; k <= last; k++) if (block[at + ZIGZAG[k]]) refine(at + ZIGZAG[k]);
    scan.run--;
  }
}

// --- from coefficients to values ---

const space = new Int32Array(64);
const clamped = (v) => (v < 0 ? 0 : v > 255 ? 255 : v);

/** Write a block to its component's plane, at the component's size. */
function transformed(c, row, column, block, at) {
  const { quantized: q, plane, stride, size } = c;
  let o = row * size * stride + column * size;
  if (size === 1) {
    plane[o] = clamped(((block[at] * q[0] + 4) >> 3) + 128);
  } else if (size === 8) {
    for (let x = 0; x < 8; x++) eight(block, at + x, q, x, 8, space, x, 8, 11);
    for (let y = 0; y < 8; y++, o += stride) {
      eight(space, y * 8, null, 0, 1, space, y * 8, 1, 18);
      for (let x = 0; x < 8; x++) plane[o + x] = clamped(space[y * 8 + x] + 128);
    }
  } else if (size === 4) {
    for (let x = 0; x < 8; x++) if (x !== 4) four(block, at + x, q, x, 8, space, x, 8, 12);
    for (let y = 0; y < 4; y++, o += stride) {
      four(space, y * 8, null, 0, 1, space, y * 8, 1, 19);
      for (let x = 0; x < 4; x++) plane[o + x] = clamped(space[y * 8 + x] + 128);
    }
  } else {
    for (const x of [0, 1, 3, 5, 7]) two(block, at + x, q, x, 8, space, x, 8, 13);
    for (let y = 0; y < 2; y++, o += stride) {
      two(space, y * 8, null, 0, 1, space, y * 8, 1, 20);
      for (let x = 0; x < 2; x++) plane[o + x] = clamped(space[y * 8 + x] + 128);
    }
  }
}

/** The inverse cosine transform of 8 values that lie `step` apart, in whole numbers (Loeffler et
 * al. 1989, jidctint.c). */
function eight(from, i, q, j, step, to, o, next, shift) {
  const at = (n) => (q ? from[i + n * step] * q[j + n * step] : from[i + n * step]);
  const half = 1 << (shift - 1);
  const v0 = at(0), v1 = at(1), v2 = at(2), v3 = at(3), v4 = at(4), v5 = at(5), v6 = at(6), v7 = at(7);
  const e = (v2 + v6) * 4433;
  const e2 = e - v6 * 15137;
  const e3 = e + v2 * 6270;
  const s = (v0 + v4) * 8192;
  const d = (v0 - v4) * 8192;
  const a0 = s + e3, a3 = s - e3, a1 = d + e2, a2 = d - e2;
  const z5 = (v7 + v3 + v5 + v1) * 9633;
  const z1 = (v7 + v1) * -7373;
  const z2 = (v5 + v3) * -20995;
  const z3 = (v7 + v3) * -16069 + z5;
  const z4 = (v5 + v1) * -3196 + z5;
  const b0 = v7 * 2446 + z1 + z3;
  const b1 = v5 * 16819 + z2 + z4;
  const b2 = v3 * 25172 + z2 + z3;
  const b3 = v1 * 12299 + z1 + z4;
  to[o] = (a0 + b3 + half) >> shift;
  to[o + 7 * next] = (a0 - b3 + half) >> shift;
  to[o + next] = (a1 + b2 + half) >> shift;
  to[o + 6 * next] = (a1 - b2 + half) >> shift;
  to[o + 2 * next] = (a2 + b1 + half) >> shift;
  to[o + 5 * next] = (a2 - b1 + half) >> shift;
  to[o + 3 * next] = (a3 + b0 + half) >> shift;
  to[o + 4 * next] = (a3 - b0 + half) >> shift;
}

/** 8 coefficients to 4 values (jidctred.c). */
function four(from, i, q, j, step, to, o, next, shift) {
  const at = (n) => (q ? from[i + n * step] * q[j + n * step] : from[i + n * step]);
  const half = 1 << (shift - 1);
  const v0 = at(0), v1 = at(1), v2 = at(2), v3 = at(3), v5 = at(5), v6 = at(6), v7 = at(7);
  const s = v0 * 16384;
  const e = v2 * 15137 - v6 * 6270;
  const b0 = v7 * -1730 + v5 * 11893 + v3 * -17799 + v1 * 8697;
  const b2 = v7 * -4176 + v5 * -4926 + v3 * 7373 + v1 * 20995;
  to[o] = (s + e + b2 + half) >> shift;
  to[o + 3 * next] = (s + e - b2 + half) >> shift;
  to[o + next] = (s - e + b0 + half) >> shift;
  to[o + 2 * next] = (s - e - b0 + half) >> shift;
}

/** 8 coefficients to 2 values (jidctred.c). */
function two(from, i, q, j, step, to, o, next, shift) {
  const at = (n) => (q ? from[i + n * step] * q[j + n * step] : from[i + n * step]);
  const half = 1 << (shift - 1);
  const s = at(0) * 32768;
  const b = at(7) * -5906 + at(5) * 6967 + at(3) * -10426 + at(1) * 29692;
  to[o] = (s + b + half) >> shift;
  to[o + next] = (s - b + half) >> shift;
}

// --- from components to pixels ---

/** A component's values at the size of the picture, (height, width), as libjpeg spreads them. */
function spread(c, frame, width, height, size) {
  const across = (frame.h * size) / (c.h * c.size);
  const down = (frame.v * size) / (c.v * c.size);
  if (across % 1 || down % 1) throw new Unreadable("a kind of JPEG that is not decoded");
  const value = (x, y) => c.plane[Math.min(Math.max(y, 0), c.height - 1) * c.stride + x];
  const out = new Uint8Array(width * height);
  const fancy = size > 1;
  const isWide = c.width > 2;
  if (fancy && down === 2 && (across === 1 || (across === 2 && isWide))) {
    for (let y = 0; y < height; y++) {
      const near = y >> 1;
      const far = y % 2 ? near + 1 : near - 1;
      const sums = (x) => 3 * value(x, near) + value(x, far);
      for (let x = 0; x < width; x++) {
        const i = across === 1 ? x : x >> 1;
        if (across === 1) {
          out[y * width + x] = (sums(i) + 1 + (y % 2)) >> 2;
        } else {
          const beside = x % 2 ? Math.min(i + 1, c.width - 1) : Math.max(i - 1, 0);
          out[y * width + x] = (3 * sums(i) + sums(beside) + 8 - (x % 2)) >> 4;
        }
      }
    }
    return out;
  }
  if (fancy && across === 2 && down === 1 && isWide) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const i = x >> 1;
        const beside = x % 2 ? i + 1 : i - 1;
        out[y * width + x] = beside < 0 || beside >= c.width
          ? value(i, y) : (3 * value(i, y) + value(beside, y) + 1 + (x % 2)) >> 2;
      }
    }
    return out;
  }
  for (let y = 0; y < height; y++) {
    const from = Math.floor(y / down) * c.stride;
    for (let x = 0; x < width; x++) out[y * width + x] = c.plane[from + Math.floor(x / across)];
  }
  return out;
}

function coloured({ frame, jfif, adobe }, width, height, size) {
  const { components } = frame;
  const [a, b, c, k] = components.map((part) => spread(part, frame, width, height, size));
  if (components.length === 1) return { width, height, channels: 1, data: a };
  const channels = components.length;
  const data = new Uint8Array(width * height * channels);
  const isNamed = components.map(({ id }) => String.fromCharCode(id)).join("") === "RGB";
  const isLight = channels === 4 ? adobe === 2 : jfif || (adobe < 0 ? !isNamed : adobe !== 0);
  for (let i = 0, o = 0; i < a.length; i++, o += channels) {
    let values = [a[i], b[i], c[i]];
    if (isLight) {
      const [cb, cr] = [b[i] - 128, c[i] - 128];
      values = [
        clamped(a[i] + ((91881 * cr + 32768) >> 16)),
        clamped(a[i] + ((-22554 * cb - 46802 * cr + 32768) >> 16)),
        clamped(a[i] + ((116130 * cb + 32768) >> 16)),
      ];
      if (channels === 4) values = values.map((v) => 255 - v);
    }
    data.set(values, o);
    if (channels === 4) data[o + 3] = k[i];
  }
  return { width, height, channels, data, isCmyk: channels === 4 };
}
