// An exported model in a browser: the numbers of `agegender predict --cropped`, from the .onnx file alone.
//
//   const model = await loadModel("model.onnx");   // what `agegender export` wrote; needs onnxruntime-web's `ort`
//   const answer = await model.predict(file);      // a File or Blob of a photo that shows one face
//
// The network takes bytes and ends with numbers, so that only what lies around it is here: the card in the file's
// metadata, the way from a photo to the model's square (agegender/photos/warping.py), temperatures (heads/calibration.py)
// and intervals (heads/conformal.py). tests/browser/test_web_example.py compares each with Python.

export async function loadModel(address) {
  const bytes = new Uint8Array(await (await fetch(address)).arrayBuffer());
  const card = cardOf(bytes);
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  const size = card.image.size;
  const predictPixels = async (data) => {
    const found = await session.run({ photos: new ort.Tensor("uint8", data, [1, size, size, 3]) });
    return columns(card, (head) => Array.from(found[head].data));
  };
  const predict = async (blob) => predictPixels(fitSquare(await pixelsOf(blob), size));
  return { card, predict, predictPixels };
}

// The card is JSON among the metadata (field 14 of a ModelProto), under the key "agegender".
export function cardOf(bytes) {
  const text = (part) => new TextDecoder().decode(part);
  for (const [number, value] of fields(bytes)) {
    if (number !== 14) continue;
    const entry = Object.fromEntries(fields(value));
    if (text(entry[1]) === "agegender") return JSON.parse(text(entry[2]));
  }
  throw new Error("this file was not exported by agegender: it has no card");
}

function* fields(bytes) {
  let place = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[place++];
      if (byte === undefined) throw new Error("the .onnx file is damaged: it ends too early");
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (place < bytes.length) {
    const key = varint();
    const kind = key % 8;
    if (kind === 0) {
      yield [Math.floor(key / 8), varint()];
      continue;
    }
    const length = kind === 2 ? varint() : kind === 1 ? 8 : 4;
    yield [Math.floor(key / 8), bytes.subarray(place, place + length)];
    place += length;
  }
}

// A photo as stored, upright by its EXIF, on white: { data: RGBA, width, height }.
export async function pixelsOf(blob) {
  const options = { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(blob, options);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

// The central square of RGBA pixels, resized as OpenCV does it in warp_square: RGB, size × size × 3.
export function fitSquare(photo, size) {
  const { width, height } = photo;
  const side = Math.min(width, height);
  if (side === size) return warped(photo, size, 1, Math.floor((width - size) / 2), Math.floor((height - size) / 2));
  const reduction = Math.max(1, Math.floor(side / size + 1e-6));
  if (reduction > 1) photo = averaged(photo, reduction);
  const ratio = side / size / reduction;
  if (ratio > 1.2) photo = blurred(photo, 0.5 * Math.sqrt(ratio * ratio - 1));
  const before = (length) => length / 2 / reduction - 0.5 - (ratio * (size - 1)) / 2;
  return warped(photo, size, ratio, before(width), before(height));
}

// Halves go to the even number.
function rounded(value) {
  const lower = Math.floor(value);
  return value - lower === 0.5 ? lower + (lower % 2 && 1) : Math.round(value);
}

function averaged(photo, factor) {
  const [width, height] = [Math.floor(photo.width / factor), Math.floor(photo.height / factor)];
  const sums = new Float64Array(width * height * 4);
  for (let y = 0; y < height * factor; y++)
    for (let x = 0; x < width * factor; x++)
      for (let c = 0; c < 4; c++)
        sums[(Math.floor(y / factor) * width + Math.floor(x / factor)) * 4 + c] += photo.data[(y * photo.width + x) * 4 + c];
  const mean = factor === 2 ? (sum) => (sum + 2) >> 2 : (sum) => rounded(sum / factor ** 2);
  return { width, height, data: sums.map(mean) };
}

// Three taps in 256ths, as OpenCV's bit-exact blur of bytes.
function blurred({ data, width, height }, sigma) {
  const away = Math.exp(-1 / (2 * sigma * sigma));
  const beside = Math.round((256 * away) / (1 + 2 * away));
  const pass = (from, step, count, place) =>
    from.map((value, at) => {
      const where = place(at);
      const before = from[where === 0 ? at + step : at - step];
      const after = from[where === count - 1 ? at - step : at + step];
      return beside * (before + after) + (256 - 2 * beside) * value;
    });
  const across = pass(Float64Array.from(data), 4, width, (at) => Math.floor(at / 4) % width);
  const both = pass(across, 4 * width, height, (at) => Math.floor(at / 4 / width));
  return { width, height, data: both.map((value) => Math.floor((value + 32768) / 65536)) };
}

// Bilinear, places rounded to 32nds of a pixel and edges reflected, as OpenCV's warpAffine.
function warped({ data, width, height }, size, ratio, left, top) {
  const reflect = (at, count) => {
    while (at < 0 || at >= count) at = at < 0 ? -at : 2 * (count - 1) - at;
    return at;
  };
  const places = (count, in1024ths) =>
    Array.from({ length: size }, (_, at) => {
      const fixed = (in1024ths(at) + 16) >> 5;
      return [reflect(fixed >> 5, count), reflect((fixed >> 5) + 1, count), (fixed & 31) / 32];
    });
  const across = places(width, (x) => rounded(left * 1024) + rounded(ratio * x * 1024));
  const down = places(height, (y) => rounded((top + ratio * y) * 1024));
  const out = new Uint8Array(size * size * 3);
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++)
      for (let c = 0; c < 3; c++) {
        const [[x0, x1, right], [y0, y1, below]] = [across[x], down[y]];
        const at = (row, column) => data[(row * width + column) * 4 + c];
        const upper = at(y0, x0) * (1 - right) + at(y0, x1) * right;
        const lower = at(y1, x0) * (1 - right) + at(y1, x1) * right;
        out[(y * size + x) * 3 + c] = Math.floor(upper * (1 - below) + lower * below + 0.5);
      }
  return out;
}

// Each head's columns as `predict --json` has them.
export function columns(card, answerOf) {
  const row = {};
  for (const head of card.heads) {
    const answer = answerOf(head.name);
    if (head.kind === "classification") {
      const temperature = card.calibration?.[head.name]?.temperature ?? 1;
      const largest = Math.max(...answer);
      const odds = answer.map((logit) => Math.exp((logit - largest) / temperature));
      const total = odds.reduce((sum, one) => sum + one, 0);
      row[`predicted_${head.column}`] = head.classes[answer.indexOf(largest)];
      head.classes.forEach((name, place) => (row[`${head.name}_probability_${slug(name)}`] = odds[place] / total));
    } else if (head.kind !== "regression") {
      throw new Error(`the head ${head.name} is of an older or newer version: train the model again`);
    } else {
      row[`predicted_${head.column}`] = Math.max(answer[0], head.low ?? -Infinity);
      row[withUnit(head, "spread")] = answer[1] ?? null;
    }
  }
  for (const head of card.heads.filter((head) => head.kind === "regression")) {
    const [low, high] = interval(card.calibration?.[head.name], head, row);
    row[withUnit(head, "low")] = low;
    row[withUnit(head, "high")] = high;
  }
  return row;
}

const withUnit = (head, what) => [head.name, what, head.unit].filter(Boolean).join("_");

const slug = (name) =>
  name.replaceAll("<", "under ").replaceAll("≥", "from ").replaceAll("≤", "to ").replaceAll(">", "over ")
    .normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "") || "other";

// The 90 % interval; it rests on the spread and on the other heads' predicted classes.
function interval(fitted, head, row) {
  if (!fitted?.knots?.length || !fitted.centre) return [null, null];
  const predicted = row[`predicted_${head.column}`];
  const at = (name) => interpolated(predicted, fitted.knots, fitted[name]);
  const spread = row[withUnit(head, "spread")];
  const away = spread > 0 ? Math.log(spread) - at("log_spread") : 0;
  const [least, most] = fitted.spread_range;
  const total = { shift: 0, log_scale: 0, low_score: 0, high_score: 0 };
  total.log_scale += fitted.spread_power * Math.min(Math.max(away, least), most);
  for (const [column, effects] of Object.entries(fitted.groups))
    for (const name of Object.keys(total)) total[name] += effects[row[column]]?.[name] ?? 0;
  const scale = (name) => Math.exp(Math.min(Math.max(at(name) + total.log_scale, -50), 50));
  const middle = predicted + at("centre") + total.shift;
  const ends = [
    middle - scale("low_log_scale") * (at("low_score") + total.low_score),
    middle + scale("high_log_scale") * (at("high_score") + total.high_score),
  ];
  return ends.sort((a, b) => a - b).map((end) => Math.max(end, head.low ?? -Infinity));
}

function interpolated(x, knots, values) {
  const after = knots.findIndex((knot) => knot > x);
  if (after === 0) return values[0];
  if (after < 0) return values.at(-1);
  const share = (x - knots[after - 1]) / (knots[after] - knots[after - 1]);
  return values[after - 1] + share * (values[after] - values[after - 1]);
}
