// PNG as Pillow and cifar_lab.data.pictures read it: all depths and colours, interlaced too. A
// browser would apply profiles and gamma, and lose colours that are nearly transparent.

const PNG_SAMPLES = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

/** The bytes that zlib data hold, at most `most`. */
async function inflated(parts, most) {
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const reader = stream.getReader();
  const found = [];
  let size = 0;
  try {
    for (let read; size < most && !(read = await reader.read()).done; size += read.value.length) {
      found.push(read.value);
    }
  } catch {
    if (size < most) throw new Unreadable("damaged image (its compressed data)");
  }
  await reader.cancel().catch(() => {});
  const out = new Uint8Array(Math.min(size, most));
  let at = 0;
  for (const part of found) {
    out.set(part.subarray(0, out.length - at), at);
    at += part.length;
  }
  return out;
}

/** The chunks of a PNG that decide its pixels, and its orientation. */
async function pngChunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = { data: [], palette: null, clear: null, orientation: 1 };
  let exif = null;
  let xmp = null;
  let isComplete = false;
  for (let at = 8; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (["IHDR", "PLTE", "tRNS", "IDAT", "IEND"].includes(kind)) {
      if (at + 12 + length > bytes.length) throw new Unreadable("damaged image (cut off)");
      if (crc32(bytes, 0, at + 4, at + 8 + length) !== view.getUint32(at + 8 + length)) {
        throw new Unreadable(`damaged image (its part ${kind})`);
      }
    }
    if (kind === "IHDR") found.header = body;
    if (kind === "PLTE") found.palette = body;
    if (kind === "tRNS") found.clear = body;
    if (kind === "IDAT") found.data.push(body);
    if (kind === "eXIf") exif = body;
    if (["iTXt", "zTXt", "tEXt"].includes(kind)) {
      const end = body.indexOf(0);
      const name = latin(body.subarray(0, end));
      const text = body.subarray(end + 1);
      if (name === "XML:com.adobe.xmp") xmp = await international(text);
      else if (name.startsWith("Raw profile type ")) {
        exif ??= rawProfile(kind === "zTXt" ? await textOf(text.subarray(1)) : text);
      }
    }
    if (kind === "IEND") { isComplete = true; break; }
    at += 12 + length;
  }
  if (!found.header || found.header.length < 13 || !found.data.length || !isComplete) {
    throw new Unreadable("damaged image (cut off)");
  }
  found.orientation = orientationOf(exif, xmp);
  return found;
}

const MOST_TEXT = 1 << 20;
const latin = (bytes) => Array.from(bytes.subarray(0, MOST_TEXT), (b) => String.fromCharCode(b)).join("");
const textOf = (bytes) => inflated([bytes], MOST_TEXT).catch(() => new Uint8Array());

/** The text of an iTXt chunk, after its name. */
async function international(text) {
  let at = 2;
  for (let zeros = 0; zeros < 2 && at < text.length; at++) zeros += text[at] === 0;
  return text[0] === 1 ? textOf(text.subarray(at)) : text.subarray(at);
}

/** EXIF as ImageMagick writes it: a line break, a name, a length, and hexadecimal digits. */
function rawProfile(text) {
  const digits = latin(text).split("\n").slice(3).join("").replace(/\s/g, "");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** Decode a PNG's chunks.
 *
 * Returns {width, height, channels, data}: grey (1), RGB (3) or RGBA (4), 8 bits; without colour
 * but of 16 bits, {..., channels: 1, wide: Uint16Array, clear}: `clear` is the transparent value.
 */
async function decodePng(chunks) {
  const { header, palette, clear } = chunks;
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [bits, colour, , , interlace] = header.subarray(8);
  const samples = PNG_SAMPLES[colour];
  const isKnown = samples && [1, 2, 4, 8, 16].includes(bits) && interlace < 2
    && (bits === 8 || colour === 0 || (colour === 3 ? bits < 8 : bits === 16));
  if (!isKnown || !width || !height) throw new Unreadable("damaged image (its header)");
  if (colour === 3 && !palette) throw new Unreadable("damaged image (its palette is missing)");
  const passes = interlace ? ADAM7 : [[0, 0, 1, 1]];
  const sizes = passes.map(([x, y, dx, dy]) => {
    const [across, down] = [Math.ceil((width - x) / dx), Math.ceil((height - y) / dy)];
    return { across, down, row: Math.ceil((across * samples * bits) / 8) };
  }).map((pass) => (pass.across > 0 && pass.down > 0 ? pass : { across: 0, down: 0, row: 0 }));
  const total = sizes.reduce((sum, { down, row }) => sum + down * (row + 1), 0);
  const raw = await inflated(chunks.data, total);
  if (raw.length < total) throw new Unreadable("damaged image (cut off)");
  const step = Math.max(1, (samples * bits) >> 3);
  const is16 = bits === 16;
  const values = new (is16 ? Uint16Array : Uint8Array)(width * height * samples);
  let at = 0;
  passes.forEach(([x, y, dx, dy], n) => {
    const { across, down, row } = sizes[n];
    for (let r = 0; r < down; r++, at += row + 1) {
      unfilter(raw, at, row, step, r > 0);
      for (let c = 0; c < across; c++) {
        const to = ((y + r * dy) * width + x + c * dx) * samples;
        for (let s = 0; s < samples; s++) values[to + s] = sampleOf(raw, at + 1, c * samples + s, bits);
      }
    }
  });
  return pngPixels({ width, height, bits, colour, palette, clear, values });
}

function sampleOf(raw, start, n, bits) {
  if (bits === 8) return raw[start + n];
  if (bits === 16) return (raw[start + 2 * n] << 8) | raw[start + 2 * n + 1];
  const bit = n * bits;
  return (raw[start + (bit >> 3)] >> (8 - bits - (bit & 7))) & ((1 << bits) - 1);
}

/** Undo a row's filter in place (PNG, 9). */
function unfilter(raw, at, row, step, hasAbove) {
  const filter = raw[at];
  const start = at + 1;
  if (filter > 4) throw new Unreadable("damaged image (its rows)");
  for (let i = 0; filter && i < row; i++) {
    const left = i >= step ? raw[start + i - step] : 0;
    const above = hasAbove ? raw[start + i - row - 1] : 0;
    if (filter === 1) raw[start + i] += left;
    else if (filter === 2) raw[start + i] += above;
    else if (filter === 3) raw[start + i] += (left + above) >> 1;
    else {
      const corner = hasAbove && i >= step ? raw[start + i - step - row - 1] : 0;
      const a = Math.abs(above - corner), b = Math.abs(left - corner);
      const c = Math.abs(left + above - 2 * corner);
      raw[start + i] += a <= b && a <= c ? left : b <= c ? above : corner;
    }
  }
}

function pngPixels({ width, height, bits, colour, palette, clear, values }) {
  const size = width * height;
  const two = (i) => (clear[i] << 8) | clear[i + 1];
  if (colour === 0 && bits === 16) {
    const has = clear && clear.length >= 2;
    return { width, height, channels: 1, wide: values, clear: has ? two(0) : null };
  }
  if (bits === 16) values = Uint8Array.from(values, (v) => v >> 8);
  if (colour === 3) {
    const channels = clear ? 4 : 3;
    const data = new Uint8Array(size * channels);
    for (let i = 0; i < size; i++) {
      for (let s = 0; s < 3; s++) data[i * channels + s] = palette[3 * values[i] + s] ?? 0;
      if (clear) data[4 * i + 3] = clear[values[i]] ?? 255;
    }
    return { width, height, channels, data };
  }
  if (colour === 0) {
    const most = (1 << bits) - 1;
    const data = values.map((v) => (v * 255) / most);
    if (!clear) return { width, height, channels: 1, data };
    // Pillow leaves the value of a picture of one bit as it is, so that it matches black alone
    const hidden = bits === 1 ? two(0) : Math.floor((two(0) * 255) / most);
    return withAlpha(width, height, 1, data, (i) => (data[i] === hidden ? 0 : 255));
  }
  if (colour === 2 && clear && clear.length >= 6) {
    const [r, g, b] = [0, 2, 4].map((i) => (bits === 16 ? clear[i] : two(i)));
    return withAlpha(width, height, 3, values, (i) =>
      values[3 * i] === r && values[3 * i + 1] === g && values[3 * i + 2] === b ? 0 : 255);
  }
  if (colour === 4) {
    const grey = values.filter((_, i) => i % 2 === 0);
    return withAlpha(width, height, 1, grey, (i) => values[2 * i + 1]);
  }
  return { width, height, channels: colour === 2 ? 3 : 4, data: values };
}

/** Grey or RGB with an opacity: RGBA. */
function withAlpha(width, height, channels, from, alpha) {
  const data = new Uint8Array(width * height * 4);
  for (let i = 0; i < width * height; i++) {
    for (let s = 0; s < 3; s++) data[4 * i + s] = from[channels === 1 ? i : 3 * i + s];
    data[4 * i + 3] = alpha(i);
  }
  return { width, height, channels: 4, data };
}
