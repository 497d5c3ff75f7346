"""The paper's ablation (Table 2) as a list of commands.

  python launch/sweep.py --root=CELEBA --workdir=runs/ablation
  python launch/sweep.py --root=CELEBA --workdir=runs/ablation | bash
  python launch/sweep.py --root=CELEBA --workdir=runs/ablation --submit

For each seed: stages pairs and flow once, then stage cycle in each of the four
cells, all from the last checkpoint of the first run and over as many images.
Further flags go to every command: `.. -- --config.model.dtype=bfloat16`.

--submit hands them to SLURM through submitit (pip install submitit), the cells
once the first run of their seed has ended well.
"""

import argparse
import itertools
import pathlib
import shlex
import sys

CELLS = tuple(itertools.product((0, 1), (0, 1)))


def commands(*, config, root, workdir, k, seeds, flags=()):
  """Lists the runs, each after the one that it needs.

  Args:
    config: path or name of a config with arguments k, cycle, flow, stages.
    root: folder of the data, or "".
    workdir: folder of the workdirs.
    k: number of landmarks.
    seeds: ints.
    flags: strings for every command.

  Returns:
    dict name -> (command as a list of strings, name it waits for or None).
  """
  result = {}
  for seed in seeds:
    first = f"seed{seed}_first"
    shared = [f"--config.seed={seed}", *flags]
    if root:
      shared.append(f"--config.data.root={root}")

    def command(name, argument, *more, shared=shared):
      return [
        *("python", "-m", "c3_jax.main", f"--config={config}:{argument}"),
        *(f"--workdir={workdir}/{name}", *shared, *more),
      ]

    result[first] = command(first, f"k={k},stages=pairs+flow"), None
    for cycle, flow in CELLS:
      name = f"seed{seed}_cycle{cycle}_flow{flow}"
      argument = f"k={k},cycle={cycle},flow={flow},stages=cycle"
      start = f"--config.init.workdir={workdir}/{first}"
      result[name] = command(name, argument, start), first
  return result


def submit(runs, *, folder, gpus, hours):
  """Hands the runs to SLURM; prints the number of each job."""
  try:
    import submitit
  except ModuleNotFoundError:
    sys.exit("sweep: submitit is not installed: pip install submitit")
  jobs = {}
  for name, (command, needed) in runs.items():
    executor = submitit.AutoExecutor(folder=folder)
    after = f"afterok:{jobs[needed].job_id}" if needed else None
    executor.update_parameters(
      name=name,
      gpus_per_node=gpus,
      timeout_min=60 * hours,
      slurm_additional_parameters={"dependency": after} if after else {},
    )
    # The Python that runs this has c3_jax.
    function = submitit.helpers.CommandFunction([sys.executable, *command[1:]])
    jobs[name] = executor.submit(function)
    print(jobs[name].job_id, name)


def main():
  """Prints or submits the commands."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--config", default="celeba")
  parser.add_argument("--root", default="")
  parser.add_argument("--workdir", required=True)
  parser.add_argument("--k", type=int, default=10)
  parser.add_argument("--seeds", type=int, nargs="+", default=[0])
  parser.add_argument("--submit", action="store_true")
  parser.add_argument("--gpus", type=int, default=4)
  parser.add_argument("--hours", type=int, default=24)
  parser.add_argument("flags", nargs="*", help="after --, for every command")
  args = parser.parse_args()
  # A clone need not be installed.
  sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
  from c3_jax.errors import UserError
  from c3_jax.settings import find

  try:
    find.path_of(args.config)
  except UserError as error:
    print(f"sweep: {error}", file=sys.stderr)
    sys.exit(2)
  runs = commands(
    config=args.config,
    root=args.root,
    workdir=args.workdir,
    k=args.k,
    seeds=args.seeds,
    flags=args.flags,
  )
  if args.submit:
    folder = f"{args.workdir}/slurm"
    submit(runs, folder=folder, gpus=args.gpus, hours=args.hours)
    return
  for command, _ in runs.values():
    print(shlex.join(command))


if __name__ == "__main__":
  main()
