// Results -> the files of c3_jax.predict. A result is {name, width, height,
// points, confidence}; points are pixels, 0 = centre of the first.

const SEEN = 0.25; // As in c3_jax/data/coco.py.

const round = (x, digits) => Number(x.toFixed(digits));

function quoted(text) {
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csv(results) {
  const numbers = results[0].points.map((_, i) => i + 1);
  const rows = results.map(({ name, points, confidence }) => [
    quoted(name),
    ...points.flat().map((x) => x.toFixed(3)),
    ...confidence.map((c) => c.toFixed(4)),
  ]);
  const head = numbers.flatMap((i) => [`x${i}`, `y${i}`]);
  rows.unshift(["file", ...head, ...numbers.map((i) => `c${i}`)]);
  return rows.map((row) => `${row.join(",")}\n`).join("");
}

function annotation({ width, height, points, confidence }, id) {
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const clip = (x, low, high) => Math.min(Math.max(x, low), high);
  const left = clip(Math.min(...xs), 0, width - 1);
  const top = clip(Math.min(...ys), 0, height - 1);
  const right = clip(Math.max(...xs) + 1, left + 1, width);
  const bottom = clip(Math.max(...ys) + 1, top + 1, height);
  const bbox = [left, top, right - left, bottom - top].map((x) => round(x, 3));
  return {
    id,
    image_id: id,
    category_id: 1,
    keypoints: points.flatMap(([x, y], i) => [
      round(x, 3),
      round(y, 3),
      confidence[i] >= SEEN ? 2 : 1,
    ]),
    num_keypoints: points.length,
    bbox,
    area: round(bbox[2] * bbox[3], 3),
    iscrowd: 0,
    segmentation: [],
    confidence: confidence.map((c) => round(c, 4)),
  };
}

export function coco(results) {
  const keypoints = results[0].points.map((_, i) => `l${i + 1}`);
  const content = {
    info: { description: "Landmarks found by c3_jax", version: "1" },
    licenses: [],
    images: results.map(({ name, width, height }, i) => ({
      id: i + 1,
      file_name: name,
      width,
      height,
    })),
    annotations: results.map((result, i) => annotation(result, i + 1)),
    categories: [
      {
        id: 1,
        name: "object",
        supercategory: "object",
        keypoints,
        skeleton: [],
      },
    ],
  };
  return `${JSON.stringify(content, null, 1)}\n`;
}
