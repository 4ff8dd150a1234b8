// What a person sees: the check, ways to give a picture, the answers.
"use strict";

const element = (id) => document.getElementById(id);
const told = element("network").textContent;
const { classes, graph } = JSON.parse(told);
const [rows, columns, channels] = graph.input_shape;
const TOP = 5;
element("names").textContent = classes.join(", ");
const MOST_ANSWERS = 60; // that stay on the page

/** An element with a text and a class; texts are never read as HTML. */
function made(tag, text = "", name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = name;
  return made;
}

// --- the engine, in a worker or here ---

function workers() {
  const program = new Blob([element("program").textContent], { type: "text/javascript" });
  const address = URL.createObjectURL(program);
  const worker = new Worker(address);
  const waiting = new Map();
  let count = 0;
  worker.onmessage = ({ data: { id, ...found } }) => {
    waiting.get(id)(found);
    waiting.delete(id);
  };
  return (request, given = []) => new Promise((resolve, reject) => {
    worker.onerror = () => reject(new Error("the browser stopped the worker"));
    waiting.set(++count, resolve);
    worker.postMessage({ id: count, ...request }, given);
  });
}

let ask = (request) => engine.asked(request);

async function start() {
  if (typeof engine === "undefined") throw new Error("the program in this file is damaged");
  const request = {
    task: "start",
    told,
    weights: element("weights").textContent,
    checksum: element("weights").dataset.crc32,
  };
  say("Checking the network …", "waiting");
  let found;
  let place = "in a worker";
  try {
    const worker = workers();
    found = await worker(request);
    ask = worker;
  } catch {
    place = "on the page itself";
    found = await ask(request);
  }
  if (found.error) {
    say(`It does not answer: ${found.error}.`, "bad");
    return;
  }
  say(`Checked: ${found.pictures} pictures gave the stored probabilities.`, "good");
  element("status").title = `largest difference ${found.difference.toExponential(1)}; it runs ${place}`;
  element("files").disabled = element("camera").disabled = false;
  document.body.dataset.ready = "";
}

function say(text, kind) {
  element("status").textContent = text;
  element("status").className = kind;
}

/** A line under the buttons; none takes it away. */
function complain(text = "") {
  element("line").textContent = text;
  element("line").hidden = !text;
}

// --- pictures, one after another ---

let queue = Promise.resolve();

function give(files) {
  if (!("ready" in document.body.dataset)) {
    complain(element("status").textContent);
    return;
  }
  complain();
  for (const file of files) queue = queue.then(() => show(file.name || "picture", file));
}

/** Answer a picture's file, or RGBA with a file to show. */
async function show(name, file, seen = null) {
  const article = made("article");
  article.append(made("h2", name));
  const found = await answerTo(file, seen).catch((error) => ({ error: error.message }));
  if (found.error) {
    article.append(made("p", `No answer: ${found.error}.`, "bad"));
  } else {
    article.append(pictures(name, file, found.pixels), best(found.probabilities), times(found.milliseconds));
  }
  element("answers").prepend(article);
  for (const old of [...element("answers").children].slice(MOST_ANSWERS)) {
    const image = old.querySelector("img");
    if (image) URL.revokeObjectURL(image.src);
    old.remove();
  }
}

async function answerTo(file, seen) {
  if (seen) return ask({ task: "answer", ...seen }, [seen.rgba.buffer]);
  const bytes = new Uint8Array(await file.arrayBuffer().catch(() => {
    throw new Error("the file cannot be read");
  }));
  if (isDecodedHere(bytes)) return ask({ task: "answer", bytes }, [bytes.buffer]);
  const begin = performance.now();
  const decoded = await decodedByBrowser(file);
  const spent = performance.now() - begin;
  const found = await ask({ task: "answer", ...decoded }, [decoded.rgba.buffer]);
  if (!found.error) found.milliseconds.picture += spent;
  return found;
}

const MOST_OF_BROWSER = 60000000; // pixels, of 4 bytes

async function decodedByBrowser(file) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(file, options).catch(() => {
    throw new Error("not an image that this browser reads, or a damaged one");
  });
  if (bitmap.width * bitmap.height > MOST_OF_BROWSER) throw new Error("over 60 million pixels");
  return pixelsOf(bitmap, bitmap.width, bitmap.height);
}

function pixelsOf(source, width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(source, 0, 0);
  return { rgba: context.getImageData(0, 0, width, height).data, width, height };
}

// --- an answer ---

function pictures(name, file, pixels) {
  const box = made("div", "", "pictures");
  const image = made("img");
  image.alt = `The picture ${name}`;
  image.src = URL.createObjectURL(file);
  const canvas = made("canvas");
  Object.assign(canvas, { width: columns, height: rows });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `What the network sees of ${name}: ${rows} by ${columns} pixels`);
  const context = canvas.getContext("2d");
  const data = context.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    for (let s = 0; s < 3; s++) data.data[4 * i + s] = pixels[channels * i + (channels === 1 ? 0 : s)];
    data.data[4 * i + 3] = 255;
  }
  context.putImageData(data, 0, 0);
  for (const [shown, caption] of [[image, "the picture"], [canvas, `the network’s view, ${rows}\u00a0×\u00a0${columns}`]]) {
    const figure = made("figure");
    figure.append(shown, made("figcaption", caption));
    box.append(figure);
  }
  return box;
}

function best(probabilities) {
  const list = made("ol");
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a] || a - b);
  for (const i of order.slice(0, TOP)) {
    const item = made("li");
    const share = `${(100 * probabilities[i]).toFixed(1)}%`;
    const track = made("div", "", "track");
    const bar = made("div", "", "bar");
    bar.style.width = `${100 * probabilities[i]}%`;
    track.append(bar);
    track.setAttribute("aria-hidden", "true");
    item.append(made("span", classes[i], "name"), made("span", share, "share"), track);
    item.dataset.probability = probabilities[i];
    item.dataset.index = i;
    list.append(item);
  }
  return list;
}

function times({ picture, network }) {
  const text = `${(picture + network).toFixed(1)} ms: ${picture.toFixed(1)} to read the picture, ${network.toFixed(1)} for the network`;
  const line = made("p", text, "time");
  Object.assign(line.dataset, { picture, network });
  return line;
}

// --- drop, choose, paste ---

element("files").addEventListener("change", ({ target }) => {
  give([...target.files]);
  target.value = ""; // so that the same file can be chosen again
});

let over = 0;
document.addEventListener("dragenter", () => { over++; document.body.classList.add("over"); });
document.addEventListener("dragleave", () => { if (--over <= 0) document.body.classList.remove("over"); });
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  over = 0;
  document.body.classList.remove("over");
  const { files } = event.dataTransfer;
  give([...files]);
  if (!files.length) complain("What was dropped is no file: save the picture first, then drop the file.");
});

document.addEventListener("paste", ({ clipboardData }) => {
  give([...clipboardData.files]);
  if (!clipboardData.files.length) complain("What was pasted is no picture.");
});

// --- camera ---

let stream = null;

function switchOff() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  element("live").hidden = true;
  element("camera").disabled = false;
}

element("camera").addEventListener("click", async () => {
  complain();
  try {
    if (!navigator.mediaDevices) throw new Error("this browser has none for a page of this kind");
    element("camera").disabled = true;
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    element("video").srcObject = stream;
    await element("video").play();
    element("live").hidden = false;
  } catch (error) {
    switchOff();
    complain(`No camera: ${error.message || error.name}.`);
  }
});

element("take").addEventListener("click", () => {
  const video = element("video");
  if (!video.videoWidth) return;
  const seen = pixelsOf(video, video.videoWidth, video.videoHeight);
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: seen.width, height: seen.height });
  canvas.getContext("2d").putImageData(new ImageData(seen.rgba.slice(), seen.width), 0, 0);
  canvas.toBlob((file) => { queue = queue.then(() => show("camera", file, seen)); });
});

element("stop").addEventListener("click", switchOff);

start().catch((error) => say(`It does not answer: ${error.message}.`, "bad"));
