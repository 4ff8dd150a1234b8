// What the page asks for: a checked network, and its answer to a picture. This program runs in a
// worker where the browser allows one, else on the page itself.

const engine = {
  network: null,

  /** Read the network and run its golden pictures: {difference}, or {error}, and then no answer. */
  start({ told, weights, checksum }) {
    const encoder = new TextEncoder();
    const found = crc32(encoder.encode(weights), crc32(encoder.encode(told)));
    if (found !== parseInt(checksum, 16)) return { error: "the file is damaged: its checksum is wrong" };
    const described = JSON.parse(told);
    const arrays = unpacked(described.arrays, fromBase64(weights));
    const network = new Network(described.graph, arrays);
    const { pixels, probabilities, tolerance } = described.golden;
    const pictures = fromBase64(pixels);
    const size = sizeOf(network.shape);
    let difference = 0;
    probabilities.forEach((expected, n) => {
      const got = network.run(pictures.subarray(n * size, (n + 1) * size));
      // not Math.max of all: a NaN must count
      expected.forEach((p, i) => {
        const d = Math.abs(p - got[i]);
        if (!(d <= difference)) difference = d;
      });
    });
    if (!(difference <= tolerance)) {
      return { error: `this browser computes other probabilities than were stored (by ${difference.toPrecision(2)})` };
    }
    Pillow.major = described.pillow;
    this.network = network;
    return { difference, pictures: probabilities.length };
  },

  /** The answer to a file's bytes (JPEG, PNG), or to RGBA of a size:
   * {pixels, probabilities, milliseconds: {picture, network}}, or {error}. */
  async answer({ bytes, rgba, width, height }) {
    if (!this.network) return { error: "the network has not been checked" };
    const { shape } = this.network;
    const begin = performance.now();
    const pixels = bytes
      ? await decodePicture(bytes, shape)
      : fitted({ width, height, channels: 4, data: rgba }, shape);
    const middle = performance.now();
    const probabilities = this.network.run(pixels);
    const end = performance.now();
    return { pixels, probabilities, milliseconds: { picture: middle - begin, network: end - middle } };
  },

  /** As `start` or `answer`; whatever goes wrong is {error}. */
  async asked({ task, ...given }) {
    try {
      return await this[task](given);
    } catch (error) {
      if (error instanceof Unreadable) return { error: error.message };
      if (task === "answer") return { error: `damaged image (${error.message})` };
      return { error: `the network cannot be read (${error.message})` };
    }
  },
};

if (typeof WorkerGlobalScope !== "undefined" && self instanceof WorkerGlobalScope) {
  self.onmessage = async ({ data: { id, ...request } }) => {
    self.postMessage({ id, ...(await engine.asked(request)) });
  };
}
