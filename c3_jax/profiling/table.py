"""Prints the numbers of `c3_jax.benchmark`."""

from c3_jax.profiling import flops

# The paper's stage cycle: 200 epochs of CelebA without the test faces of MAFL.
SCHEDULE_IMAGES = 200 * 161_962


def table(result):
  """Formats the result of `benchmark.run`: lines of text."""
  rate = result["matmul_flops_per_second"]
  lines = [
    f"{result['devices']} x {result['device']} ({result['cpu_count']} CPUs), "
    f"{result['dtype']}, batch {result['batch_size']}, "
    f"matrix product {rate / 1e9:.4g} GFLOP/s a device"
  ]
  stages = result.get("train_step", {})
  if stages:
    lines += _grid(
      "train step",
      {
        name: {
          "images/s": f"{step['images_per_second']:.4g}",
          "spread": f"{step['spread']:.0%}",
          "GFLOP/image": f"{step['flops_per_image'] / 1e9:.4g}",
          "of matrix rate": f"{step['utilisation']:.0%}",
          "memory MB": f"{step['peak_bytes'] / 1e6:.0f}",
          "compile s": f"{step['compile_seconds']:.1f}",
        }
        for name, step in stages.items()
      },
    )
    lines += _grid(
      "time by part",
      {
        name: {part: f"{share:.1%}" for part, share in step["parts"].items()}
        for name, step in stages.items()
      },
    )
    if "cycle" in stages:
      hours = SCHEDULE_IMAGES / stages["cycle"]["images_per_second"] / 3600
      lines.append(
        f"The paper's stage cycle ({SCHEDULE_IMAGES / 1e6:.1f} million images) "
        f"would take {hours:.4g} hours at this speed."
      )
  speeds = {
    f"predict, batch {n}": speed
    for n, speed in result.get("predict", {}).items()
  }
  if "eval_step" in result:
    n = result["eval_step"]["batch_size"]
    speeds[f"eval step, batch {n}"] = result["eval_step"]
  if "input" in result:
    speeds["input pipeline"] = result["input"]
  lines += [
    f"{name}: {speed['images_per_second']:.4g} images/s, "
    f"spread {speed['spread']:.0%}"
    for name, speed in speeds.items()
  ]
  if pair := result.get("flow"):
    lines.append(
      f"flow pair at {flops.FLOW_SIZE} px: {pair['separable_gflop']:.1f} GFLOP "
      f"(head {pair['head_separable_gflop']:.1f}), NC-Net "
      f"{pair['full_4d_gflop']:.1f} (head {pair['head_4d_gflop']:.1f}); "
      f"{pair['pairs_per_second']:.3g} pairs/s, "
      f"{pair['peak_bytes'] / 1e6:.0f} MB"
    )
  return "\n".join(lines)


def _grid(title, columns):
  """Aligns columns, a dict of dicts with the same keys: list of lines."""
  rows = list(next(iter(columns.values())))
  width = max(map(len, [title, *rows]))
  wide = 2 + max(8, *map(len, columns))
  lines = [title.ljust(width) + "".join(name.rjust(wide) for name in columns)]
  for row in rows:
    values = (column[row].rjust(wide) for column in columns.values())
    lines.append(row.ljust(width) + "".join(values))
  return [*lines, ""]
