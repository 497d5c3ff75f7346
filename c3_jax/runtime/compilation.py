"""Compiled programs kept between runs: a second start skips the compiler.

JAX's persistent cache writes its entries in place and never replaces one: a run
that is killed meanwhile leaves a broken entry for good. Here each run has a
folder of its own, which starts with links to all entries of the shared one;
`publish` links what is new, and whole, over there.
"""

import atexit
import contextlib
import hashlib
import os
import pathlib
import platform
import shutil
import tempfile
import time
from importlib import metadata

ENTRIES = "*-cache"  # As JAX names them.
KEEP = 200  # Entries of the shared folder; the oldest go.
SHORTEST = 0.2  # Seconds of compilation that are worth a file.
REQUEST = "/jax/compilation_cache/compile_requests_use_cache"
STALE = 30 * 24 * 3600  # Seconds; what killed runs left behind goes after this.


def default_folder():
  """Names the folder of compiled programs of this JAX for this processor.

  It lies in $C3_JAX_CACHE, or else in the user's cache.
  """
  base = os.environ.get("C3_JAX_CACHE")
  if not base:
    caches = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    base = pathlib.Path(caches) / "c3_jax"
  # A program compiled for one processor can be illegal on another that shares
  # the home folder.
  name = f"{metadata.version('jax')} {platform.machine()} {_processor()}"
  digest = hashlib.sha256(name.encode()).hexdigest()[:16]
  return pathlib.Path(base) / f"compiled-{digest}"


def _processor():
  """Describes what the processor can do, as far as the system says."""
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    return platform.processor()
  kinds = ("flags", "Features", "model name")
  return "".join(sorted({line for line in lines if line.startswith(kinds)}))


class Cache:
  """The folder of whole entries that runs share, and the own one of a run."""

  def __init__(self, shared):
    self.shared = pathlib.Path(shared)
    self.shared.mkdir(parents=True, exist_ok=True)
    if self.shared.stat().st_uid != os.geteuid():
      # Its programs are machine code, which would run here.
      raise PermissionError(f"{self.shared} belongs to another user")
    _clean(self.shared)
    self.own = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=self.shared))
    for entry in self.shared.glob(ENTRIES):
      # Another run may clean up at the same time; some disks have no links.
      with contextlib.suppress(OSError):
        os.link(entry, self.own / entry.name)

  def publish(self):
    """Gives the entries made so far to the shared folder.

    A full disk, one without links, or folders that are gone cost the next run
    its fast start, not this one its life.
    """
    with contextlib.suppress(OSError):
      os.utime(self.own)  # Not stale.
      for entry in self.own.glob(ENTRIES):
        with contextlib.suppress(FileExistsError):
          os.link(entry, self.shared / entry.name)

  def close(self):
    """Publishes and removes the own folder."""
    self.publish()
    shutil.rmtree(self.own, ignore_errors=True)


def _clean(shared):
  """Forgets the oldest entries, and the folders that killed runs left."""
  age = lambda path: path.stat().st_mtime  # noqa: E731
  with contextlib.suppress(FileNotFoundError):
    for entry in sorted(shared.glob(ENTRIES), key=age)[:-KEEP]:
      entry.unlink(missing_ok=True)
    for folder in shared.glob("run-*"):
      if time.time() - age(folder) > STALE:
        shutil.rmtree(folder, ignore_errors=True)


def choose_convolutions():
  """Leaves XLA's convolutions on the CPU to Eigen, before JAX is first used.

  JAX 0.10 hands them to YNNPACK, which takes up to five times as long for
  gradients to kernels (docs/performance.md). Other versions may end at an
  option they do not know; what XLA_FLAGS says of it already stands.
  """
  option = "--xla_cpu_experimental_ynn_fusion_type"
  flags = os.environ.get("XLA_FLAGS", "")
  if metadata.version("jax").startswith("0.10.") and option not in flags:
    os.environ["XLA_FLAGS"] = f"{flags} {option}=-individual_convolution"


def enable():
  """Keeps this run's compiled programs for the next one.

  Returns:
    The `Cache`; None where JAX has a cache already (JAX_COMPILATION_CACHE_DIR),
    or the folder cannot be made.
  """
  import jax  # Not at the top: commands that compile nothing do without.

  if jax.config.jax_compilation_cache_dir:
    return None
  try:
    cache = Cache(default_folder())
  # No room, no rights, another's folder; no home and no such user.
  except (OSError, RuntimeError):
    return None
  jax.config.update("jax_compilation_cache_dir", str(cache.own))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST)
  # XLA's own caches would enter the key of an entry by their path, which is
  # another one in every run.
  jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
  atexit.register(cache.close)
  # What the compilations before this one wrote is whole; a run that is killed
  # later has shared it.
  jax.monitoring.register_event_listener(
    lambda event, **_: cache.publish() if event == REQUEST else None
  )
  return cache
