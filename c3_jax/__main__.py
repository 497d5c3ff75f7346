"""Command line: `c3-jax pack` is `python -m c3_jax.pack`, and so on."""

import runpy
import sys

import c3_jax
from c3_jax.runtime import stop

# Name -> module, flags that are always given, what it does.
COMMANDS = {
  "train": ("main", (), "trains a config and evaluates it (--mode=train|eval)"),
  "eval": ("main", ("--mode=eval",), "evaluates a trained run"),
  "predict": ("predict", (), "finds landmarks in new images"),
  "pack": ("pack", (), "decodes a dataset into one file"),
  "port-weights": ("port_weights", (), "ports ImageNet weights from PyTorch"),
  "benchmark": ("benchmark", (), "measures speed, memory and FLOPs"),
  "tables": ("tables", (), "compares runs in tables"),
  "export": ("export", (), "makes an ONNX file or a web page of a run"),
  "report": ("reporting.report", (), "explains a run, or compares several"),
  "choose-k": ("choosing.choose_k", (), "recommends a number of landmarks"),
}


def main():
  """Runs the command named first and returns or raises its exit status."""
  name, *flags = sys.argv[1:] or ["--help"]
  if name in ("--help", "-h", "help"):
    print("usage: c3-jax COMMAND [--FLAG=VALUE ..]; c3-jax COMMAND --help\n")
    for command, (_, _, about) in COMMANDS.items():
      print(f"  {command:<14}{about}")
    return 0
  if name == "--version":
    print(c3_jax.__version__)
    return 0
  if name not in COMMANDS:
    known = ", ".join(COMMANDS)
    print(f"c3_jax: {name!r} is not one of {known}.", file=sys.stderr)
    return 2
  stop.at_once()
  module, fixed, _ = COMMANDS[name]
  sys.argv = [sys.argv[0], *flags, *fixed]
  runpy.run_module(f"c3_jax.{module}", run_name="__main__", alter_sys=True)
  return 0


if __name__ == "__main__":
  sys.exit(main())
