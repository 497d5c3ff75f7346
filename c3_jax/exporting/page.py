"""A folder of a web page that finds landmarks in the browser, without network.

It has the files of page_files/, the model as ONNX, its description, and
onnxruntime-web, which is taken from its npm package: it is too large to be kept
in this one.
"""

import hashlib
import json
import logging
import os
import pathlib
import subprocess
import tarfile
import tempfile

from c3_jax import runs
from c3_jax.errors import UserError
from c3_jax.exporting import files as models
from c3_jax.runtime import compilation, files, output

logger = logging.getLogger(__name__)

PACKAGE = "onnxruntime-web@1.30.0"
# Name -> SHA-256 of what the page needs of it.
RUNTIME = {
  "ort.wasm.bundle.min.mjs": (
    "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90"
  ),
  "ort-wasm-simd-threaded.wasm": (
    "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
  ),
}
SOURCE = pathlib.Path(__file__).parent / "page_files"
LARGE = 20e6  # Bytes that a visitor should not have to wait for.


def write(workdir, folder, *, ort="", step=None, overwrite=False):
  """Writes the web page of a trained model.

  Args:
    workdir, step: as of `runs.load_trained`.
    folder: new, empty, or an older page; made with its parents.
    ort: folder of the npm package of onnxruntime-web; "" looks for it, see
      `find_runtime`.
    overwrite: replace files that this did not write, too.

  Raises:
    UserError: the folder has other files or cannot be written, onnxruntime-web
      is not found, or the model differs from JAX.
  """
  folder = pathlib.Path(folder)
  check(folder, workdir, overwrite=overwrite)
  models.require_onnx()
  trained = runs.load_trained(workdir, step)
  contents = find_runtime(ort)
  contents["model.onnx"], about = models.dump(trained, "onnx")
  contents["model.json"] = f"{json.dumps(about, indent=1)}\n".encode()
  # The page itself comes last: before it there is nothing to open.
  for path in sorted(SOURCE.iterdir(), key=lambda x: x.name == "index.html"):
    contents[path.name] = path.read_bytes()
  try:
    _put(contents, pathlib.Path(os.path.realpath(folder)))
  except OSError as error:
    raise _cannot(folder, f"cannot be written ({files.reason(error)})") from (
      error
    )
  size = sum(map(len, contents.values()))
  logger.info("%d files, %.1f MB.", len(contents), size / 1e6)
  if size > LARGE:
    logger.warning("More than %.0f MB: visitors will wait.", LARGE / 1e6)


def _put(contents, folder):
  """Writes a dict name -> bytes into a folder: a new one appears at once."""
  folder.parent.mkdir(parents=True, exist_ok=True)
  # On the same disk; the parent of an older folder may not be writable.
  beside = folder if folder.exists() else folder.parent
  with files.part_folder(beside) as place:
    part = place / "page"
    part.mkdir()
    for name, data in contents.items():
      (part / name).write_bytes(data)
    if beside != folder:
      os.replace(part, folder)
      return
    for name in contents:
      os.replace(part / name, folder / name)


def check(folder, workdir, *, overwrite=False):
  """Checks that a page may be written into a folder.

  Raises:
    UserError: it may not.
  """
  folder = pathlib.Path(folder)
  place = next(path for path in (folder, *folder.parents) if path.exists())
  if not place.is_dir():
    raise _cannot(folder, f"is not a folder: {place} is a file")
  if not os.access(place, os.W_OK):
    raise _cannot(folder, f"cannot be written: {place} is not yours to write")
  run, real = pathlib.Path(workdir).resolve(), folder.resolve()
  if real in (run, *run.parents):
    raise _cannot(folder, "holds the run")
  if any(run / name in (real, *real.parents) for name in output.RUN):
    raise _cannot(folder, "is of the run")
  if place == folder and not overwrite and any(folder.iterdir()):
    index = folder / "index.html"
    mark = b'name="generator" content="c3_jax"'
    if not index.is_file() or mark not in index.read_bytes():
      raise _cannot(folder, "has files that are of no older page")


def _cannot(folder, why):
  return UserError(f"--page={folder} {why}: choose a new folder.")


def find_runtime(ort=""):
  """Reads the files of onnxruntime-web: dict name -> bytes.

  They are taken from the folder `ort`; or else from node_modules here, from
  what an earlier call got, or by `npm pack`, the only one that needs a network.

  Raises:
    UserError: they are not there, or of another version.
  """
  if ort:
    found = _read(ort) or _read(pathlib.Path(ort, "dist"))
    if not found:
      raise UserError(
        f"--ort={ort} is not the folder of {PACKAGE}: files are missing or of "
        f"another version; get that one with npm pack {PACKAGE}."
      )
    return found
  kept = kept_folder()
  modules = pathlib.Path("node_modules", PACKAGE.split("@")[0], "dist")
  return _read(modules) or _read(kept) or _fetch(kept)


def kept_folder():
  """Names the folder where `find_runtime` keeps what it got."""
  return compilation.default_folder().parent / PACKAGE


def _read(folder):
  """Reads the files of a folder; None unless they are those of `PACKAGE`."""
  found = {}
  for name, digest in RUNTIME.items():
    path = pathlib.Path(folder, name)
    if not path.is_file():
      return None
    found[name] = path.read_bytes()
    if hashlib.sha256(found[name]).hexdigest() != digest:
      return None
  return found


def _fetch(kept):
  """Gets the package with npm, and keeps the files of `RUNTIME`."""
  logger.info("Getting %s with npm, 33 MB, once.", PACKAGE)
  kept.parent.mkdir(parents=True, exist_ok=True)
  try:
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
      subprocess.run(
        ["npm", "pack", "--silent", PACKAGE],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=600,
      )
      (package,) = pathlib.Path(folder).glob("*.tgz")
      kept.mkdir(exist_ok=True)
      with tarfile.open(package) as archive:
        for name in RUNTIME:
          data = archive.extractfile(f"package/dist/{name}").read()
          with files.write_whole(kept / name) as file:
            file.write(data)
    found = _read(kept)
  except (OSError, subprocess.SubprocessError, tarfile.TarError):
    found = None
  except (ValueError, KeyError, AttributeError):  # Not the package it was.
    found = None
  if not found:
    raise UserError(
      f"the page needs {PACKAGE}, which npm did not get: where there is a "
      f"network, npm pack {PACKAGE}, unpack it, and give its folder with --ort."
    )
  return found
