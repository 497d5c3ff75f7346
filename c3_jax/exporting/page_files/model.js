// Images -> landmarks, as c3_jax/inference does it: crop, resize, network.

import * as ort from "./ort.wasm.bundle.min.mjs";

// As in c3_jax/data/image_files.py.
const AVERAGED = 0.7;

ort.env.wasm.numThreads = 1; // More need headers that few servers send.

export async function load() {
  const answer = await fetch("model.json");
  if (!answer.ok) throw new Error("model.json is missing");
  const about = await answer.json();
  const session = await ort.InferenceSession.create("model.onnx");
  return { about, session };
}

// The box [left, top, width, height] of geometry.crop_box.
export function cropBox(crop, width, height) {
  const short = Math.min(width, height);
  if (crop === "imm") return [0, 0, width, height];
  if (crop === "dve") {
    return [0, Math.round((30 / 218) * height), width, width];
  }
  return [(width - short) >> 1, (height - short) >> 1, short, short];
}

// Resizing gives the bytes that OpenCV gives, so it rounds as OpenCV does.
const single = Math.fround;

// Shares of the n old cells in each of m new ones: [first, shares].
function averages(n, m) {
  return Array.from({ length: m }, (_, i) => {
    const [start, end] = [(i * n) / m, ((i + 1) * n) / m];
    const first = Math.floor(start + 1e-6);
    const shares = [];
    for (let j = first; j < Math.min(n, end - 1e-6); j++) {
      const share = (Math.min(end, j + 1) - Math.max(start, j)) * (m / n);
      shares.push(single(share));
    }
    return [first, shares];
  });
}

// Averages an image {data, width, height} of `channels` bytes to m x n RGB.
function average(image, channels, m, n) {
  const { data, width, height } = image;
  const [across, down] = [averages(width, m), averages(height, n)];
  // Whole cells are added first, and divided once.
  const whole = width % m === 0 && height % n === 0;
  if (whole) [across, down].flat().forEach(([, shares]) => shares.fill(1));
  const part = whole ? single((m * n) / (width * height)) : 1;
  const narrow = new Float32Array(height * m * 3);
  for (let y = 0; y < height; y++) {
    across.forEach(([first, shares], i) => {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        let from = (y * width + first) * channels + c;
        for (const share of shares) {
          sum = single(sum + single(share * data[from]));
          from += channels;
        }
        narrow[(y * m + i) * 3 + c] = sum;
      }
    });
  }
  const out = new Uint8ClampedArray(n * m * 3); // Rounds halves to even,
  const up = width === 2 * m && height === 2 * n ? 1e-3 : 0; // but here up.
  down.forEach(([first, shares], i) => {
    for (let x = 0; x < m * 3; x++) {
      let sum = 0;
      for (let j = 0; j < shares.length; j++) {
        const value = narrow[(first + j) * m * 3 + x];
        sum = single(sum + single(shares[j] * value));
      }
      out[i * m * 3 + x] = single(sum * part) + up;
    }
  });
  return { data: out, width: m, height: n };
}

// The two old centres around each of m new ones, and the share of the second
// in 2048ths.
function neighbours(n, m) {
  const inside = (i) => Math.min(Math.max(i, 0), n - 1);
  return Array.from({ length: m }, (_, i) => {
    const x = ((i + 0.5) * n) / m - 0.5;
    const first = Math.floor(x);
    const share = Math.round(2048 * (x - first));
    return [inside(first), inside(first + 1), share];
  });
}

// Interpolates such an image to m x n RGB, in whole numbers.
function interpolate({ data, width, height }, channels, m, n) {
  const narrow = new Int32Array(height * m * 3);
  const columns = neighbours(width, m);
  for (let y = 0; y < height; y++) {
    columns.forEach(([left, right, share], i) => {
      for (let c = 0; c < 3; c++) {
        const a = data[(y * width + left) * channels + c];
        const b = data[(y * width + right) * channels + c];
        narrow[(y * m + i) * 3 + c] = a * (2048 - share) + b * share;
      }
    });
  }
  const out = new Uint8Array(n * m * 3);
  neighbours(height, n).forEach(([above, below, share], i) => {
    for (let x = 0; x < m * 3; x++) {
      const a = ((narrow[above * m * 3 + x] >> 4) * (2048 - share)) >> 16;
      const b = ((narrow[below * m * 3 + x] >> 4) * share) >> 16;
      out[i * m * 3 + x] = (a + b + 2) >> 2;
    }
  });
  return { data: out, width: m, height: n };
}

// Scales RGBA pixels to RGB of side x side: axes that shrink a lot are averaged.
export function resize(image, side) {
  const [m, n] = [image.width, image.height].map((length) =>
    side < AVERAGED * length ? side : length,
  );
  let channels = 4;
  if (m < image.width || n < image.height) {
    image = average(image, channels, m, n);
    channels = 3;
  }
  return interpolate(image, channels, side, side);
}

// Finds the landmarks of a drawn canvas, in its pixels: 0 is the centre of the
// first. Gives {points: [[x, y], ..], confidence: [..]}.
export async function detect({ about, session }, canvas) {
  const { image_size: size, load_size: loaded, crop } = about.frame;
  const [left, top, width, height] = cropBox(crop, canvas.width, canvas.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const pixels = context.getImageData(left, top, width, height);
  const { data } = resize(pixels, loaded);
  const border = (loaded - size) >> 1;
  const input = new Uint8Array(size * size * 3);
  for (let y = 0; y < size; y++) {
    const from = ((y + border) * loaded + border) * 3;
    input.set(data.subarray(from, from + size * 3), y * size * 3);
  }
  const images = new ort.Tensor("uint8", input, [1, size, size, 3]);
  const { points, confidence } = await session.run({ images });
  const pixel = (x, extent, corner) =>
    ((((x * size) / loaded + 1) * extent) - 1) / 2 + corner;
  const found = [];
  for (let i = 0; i < about.k; i++) {
    const [x, y] = [points.data[2 * i], points.data[2 * i + 1]];
    found.push([pixel(x, width, left), pixel(y, height, top)]);
  }
  return { points: found, confidence: Array.from(confidence.data) };
}

// The part of an image that the network sees: [left, top, width, height].
export function seen({ frame }, imageWidth, imageHeight) {
  const box = cropBox(frame.crop, imageWidth, imageHeight);
  const share = frame.image_size / frame.load_size;
  const [left, top, width, height] = box;
  return [
    left + (width * (1 - share)) / 2,
    top + (height * (1 - share)) / 2,
    width * share,
    height * share,
  ];
}
