// From a file to the network's input, as cifar_lab.data.pictures and Pillow bring it there: turned
// upright, transparency on white, the shorter side scaled to fit, the centre cropped.

/** A file is no picture, or a damaged one. */
class Unreadable extends Error {}

const isText = (bytes, at, text) => [...text].every((c, i) => bytes[at + i] === c.charCodeAt(0));

/** EXIF's orientation, else XMP's, else 1 (upright); 1 too where the two are damaged. */
function orientationOf(exif, xmp) {
  const found = exif ? exifOrientation(exif) : 0;
  if (found) return found;
  const named = xmp && /tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])/.exec(latin(xmp));
  return named ? Number(named[1]) : 1;
}

/** 1 to 8, or 0 where the first directory of EXIF names none. */
function exifOrientation(exif) {
  if (isText(exif, 0, "Exif\0\0")) exif = exif.subarray(6);
  const little = isText(exif, 0, "II*\0");
  if (!little && !isText(exif, 0, "MM\0*")) return 0;
  const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
  try {
    const start = view.getUint32(4, little);
    for (let n = 0, at = start + 2; n < view.getUint16(start, little); n++, at += 12) {
      if (view.getUint16(at, little) !== 0x0112) continue;
      const type = view.getUint16(at + 2, little);
      const value = type === 4 || type === 9 ? view.getUint32(at + 8, little)
        : [1, 6, 7].includes(type) ? view.getUint8(at + 8) : view.getUint16(at + 8, little);
      return value >= 1 && value <= 8 ? value : 1;
    }
  } catch {
    // its numbers lead out of it
  }
  return 0;
}

/** Whose arithmetic is followed: that of the Pillow that was there when the page was written. */
const Pillow = { major: 13 };

const MOST_PIXELS = 178956970; // as Pillow; JPEGs that are stored in several passes take more memory
const MOST_PROGRESSIVE = 100000000;
const LARGE = 1 << 24; // pixels from which a picture is shrunk before it is scaled

function refuseLarge(width, height, most = MOST_PIXELS) {
  if (width * height > most) {
    throw new Unreadable(`over ${Math.round(most / 1e6)} million pixels`);
  }
}

/** Whether decodePicture reads a file; others are for the browser to decode. */
function isDecodedHere(bytes) {
  return isText(bytes, 0, "\xff\xd8\xff") || isText(bytes, 0, "\x89PNG\r\n\x1a\n");
}

/** The network's input from a JPEG or PNG. shape: [height, width, channels]. */
async function decodePicture(bytes, shape) {
  const [height, width] = shape;
  if (isText(bytes, 0, "\x89PNG")) {
    const chunks = await pngChunks(bytes);
    const view = new DataView(chunks.header.buffer, chunks.header.byteOffset, 8);
    refuseLarge(view.getUint32(0), view.getUint32(4));
    return fitted(await decodePng(chunks), shape, chunks.orientation);
  }
  const header = jpegHeader(bytes);
  const { frame, orientation } = header;
  refuseLarge(frame.width, frame.height, frame.progressive ? MOST_PROGRESSIVE : MOST_PIXELS);
  const [across, down] = orientation >= 5 ? [2 * height, 2 * width] : [2 * width, 2 * height];
  const most = Math.min(Math.floor(frame.width / across), Math.floor(frame.height / down));
  const scale = [8, 4, 2].find((s) => most >= s) ?? 1;
  return fitted(decodeJpeg(bytes, header, scale), shape, orientation);
}

/** A picture as the network's input, Uint8Array of height * width * channels. */
function fitted(picture, [height, width, channels], orientation = 1) {
  const stored = orientation >= 5 ? [height, width] : [width, height];
  let flat = flattened(picture, channels);
  if (flat.width * flat.height > LARGE) flat = shrunk(flat, stored);
  flat = turned(flat, orientation);
  if (flat.width === width && flat.height === height) return flat.data;
  return scaledToFit(flat, width, height).data;
}

// --- colours ---

const lightness = (r, g, b) => (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;

/** Grey (1 channel) or RGB (3) of a picture in any of the decoders' kinds. */
function flattened(picture, channels) {
  const { width, height } = picture;
  const size = width * height;
  if (picture.wide) picture = { ...picture, data: eightBits(picture) };
  if (picture.channels === channels) return picture;
  const out = new Uint8Array(size * channels);
  const from = picture.data;
  const step = picture.channels;
  const rgb = [0, 0, 0];
  for (let i = 0; i < size; i++) {
    for (let s = 0; s < 3; s++) rgb[s] = from[step * i + (step === 1 ? 0 : s)];
    if (step === 4) (picture.isCmyk ? fromInks : onWhite)(rgb, from[4 * i + 3]);
    if (channels === 1) out[i] = lightness(...rgb);
    else out.set(rgb, 3 * i);
  }
  return { width, height, channels, data: out };
}

/** Pillow's alpha_composite on white. */
function onWhite(rgb, alpha) {
  if (alpha === 255) return;
  const share = alpha * 128;
  for (let s = 0; s < 3; s++) {
    const sum = rgb[s] * share + 255 * (255 * 128 - share) + (0x80 << 7);
    rgb[s] = alpha ? ((sum >> 8) + sum) >> 8 >> 7 : 255;
  }
}

/** Pillow's colours of inks; 255 is no ink. */
function fromInks(rgb, black) {
  for (let s = 0; s < 3; s++) {
    const product = (255 - rgb[s]) * black + 128;
    rgb[s] = Math.max(0, black - (((product >> 8) + product) >> 8));
  }
}

/** 16 bits of grey to 8. */
function eightBits({ wide, clear }) {
  const most = wide.reduce((a, b) => Math.max(a, b), 0);
  if (most > 0 && most < 4096) {
    throw new Unreadable(`16-bit values up to ${most} only, of 65,535: save it with 8 bits`);
  }
  return Uint8Array.from(wide, (v) => (v === clear ? 255 : halfEven(v * (255 / 65535))));
}

function halfEven(value) {
  const low = Math.floor(value);
  const rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2) ? low + 1 : low;
}

// --- size ---

/** A large picture's middle, each square of pixels as its mean, to at least 8 times a size. */
function shrunk({ width, height, channels, data }, [across, down]) {
  const scale = Math.min(width / across, height / down);
  const w = Math.min(width, halfEven(scale * across) || 1);
  const h = Math.min(height, halfEven(scale * down) || 1);
  const left = Math.floor((width - w) / 2);
  const top = Math.floor((height - h) / 2);
  const factor = Math.max(1, Math.floor(scale / 8));
  const out = { width: Math.ceil(w / factor), height: Math.ceil(h / factor), channels };
  out.data = new Uint8Array(out.width * out.height * channels);
  for (let y = 0, o = 0; y < out.height; y++) {
    for (let x = 0; x < out.width; x++) {
      const rows = Math.min(factor, h - y * factor);
      const columns = Math.min(factor, w - x * factor);
      const count = rows * columns;
      const share = Math.floor(Math.fround(4294967296 / (256 * count)));
      for (let c = 0; c < channels; c++, o++) {
        let sum = count >> 1;
        for (let i = 0; i < rows; i++) {
          const row = (top + y * factor + i) * width + left + x * factor;
          for (let j = 0; j < columns; j++) sum += data[(row + j) * channels + c];
        }
        out.data[o] = Math.imul(sum, share) >>> 24;
      }
    }
  }
  return out;
}

/** Upright, by EXIF's orientation. */
function turned({ width, height, channels, data }, orientation) {
  if (orientation === 1) return { width, height, channels, data };
  const [w, h] = orientation >= 5 ? [height, width] : [width, height];
  const out = new Uint8Array(data.length);
  for (let y = 0, o = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const [i, j] = {
        2: [y, w - 1 - x], 3: [h - 1 - y, w - 1 - x], 4: [h - 1 - y, x], 5: [x, y],
        6: [w - 1 - x, y], 7: [w - 1 - x, h - 1 - y], 8: [x, h - 1 - y],
      }[orientation];
      for (let c = 0; c < channels; c++) out[o++] = data[(i * width + j) * channels + c];
    }
  }
  return { width: w, height: h, channels, data: out };
}

/** Pillow's ImageOps.fit with bicubic weights in fixed point (Resample.c). */
function scaledToFit(picture, width, height) {
  const ratio = width / height;
  const own = picture.width / picture.height;
  const w = own > ratio ? ratio * picture.height : picture.width;
  const h = own < ratio ? picture.width / ratio : picture.height;
  const left = (picture.width - w) * 0.5;
  const top = (picture.height - h) * 0.5;
  const [x0, y0, x1, y1] = [left, top, left + w, top + h].map(Math.fround);
  const across = (p) => resampled(p, width, weightsOf(p.width, x0, x1, width), true);
  const down = (p) => resampled(p, height, weightsOf(p.height, y0, y1, height), false);
  const passes = [];
  if (picture.width !== width || x0 || x1 !== width) passes.push(across);
  if (picture.height !== height || y0 || y1 !== height) passes.push(down);
  // Pillow 13 begins with the height where that is reduced by more than twice as many pixels
  const lost = picture.height - height;
  if (Pillow.major >= 13 && lost > 0 && lost > 2 * (picture.width - width)) passes.reverse();
  return passes.reduce((p, pass) => pass(p), picture);
}

function bicubic(x) {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((x - 5) * x + 8) * x * -0.5 + 2 : 0;
}

const WEIGHT_BITS = 22;

/** For each pixel that comes out: the first that goes in, and the weights from there. */
function weightsOf(size, start, end, count) {
  const scale = Math.fround(end - start) / count;
  const wide = Math.max(scale, 1);
  const support = 2 * wide;
  return Array.from({ length: count }, (_, n) => {
    const centre = start + (n + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(size, Math.trunc(centre + support + 0.5));
    const weights = [];
    for (let i = first; i < last; i++) weights.push(bicubic((i - centre + 0.5) * (1 / wide)));
    const total = weights.reduce((a, b) => a + b, 0);
    const whole = weights.map((weight) => {
      const scaled = (total ? weight / total : weight) * (1 << WEIGHT_BITS);
      return Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    });
    return { first, weights: whole };
  });
}

function resampled({ width, height, channels, data }, size, weights, isAcross) {
  const [w, h] = isAcross ? [size, height] : [width, size];
  const out = new Uint8Array(w * h * channels);
  const step = (isAcross ? 1 : width) * channels;
  for (let y = 0, o = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const { first, weights: own } = weights[isAcross ? x : y];
      const start = (isAcross ? y * width + first : first * width + x) * channels;
      for (let c = 0; c < channels; c++, o++) {
        let sum = 1 << (WEIGHT_BITS - 1);
        for (let i = 0, at = start + c; i < own.length; i++, at += step) sum += data[at] * own[i];
        out[o] = Math.min(255, Math.max(0, sum >> WEIGHT_BITS));
      }
    }
  }
  return { width: w, height: h, channels, data: out };
}
