"""A real headless Chromium that opens a folder, and what it then reports.

No driver: the page under test lies in a frame of a page of ours, `DRIVER`,
which acts as a visitor and posts what it has seen to the server of the test.
"""

import contextlib
import functools
import http.server
import json
import queue
import shutil
import subprocess
import threading

FLAGS = (
  *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
  *("--no-first-run", "--disable-background-networking", "--disable-sync"),
  *("--disable-component-update", "--enable-logging=stderr"),
  *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)

DRIVER = """<!doctype html><script type="module">
const start = performance.now();
const files = %s;
const page = document.createElement("iframe");
page.src = "index.html";
page.allow = "camera";
page.width = 1000;
page.height = 800;
document.body.append(page);
await new Promise((done) => page.addEventListener("load", done));
const at = (id) => page.contentDocument.getElementById(id);
const until = async (what) => {
  while (!what()) await new Promise((done) => setTimeout(done, 20));
};
const report = { errors: [] };
page.contentWindow.addEventListener("error", (event) =>
  report.errors.push(event.message),
);
const post = () =>
  fetch("report", { method: "POST", body: JSON.stringify(report) });
const timer = setTimeout(() => {
  report.errors.push(`stuck: ${at("status").textContent}`);
  post();
}, 60000);

await until(() => /Ready|cannot/.test(at("status").textContent));
report.ready = (performance.now() - start) / 1000;
const given = new DataTransfer();
for (const name of files) {
  const data = await (await fetch(`given/${name}`)).blob();
  given.items.add(new File([data], name, { type: data.type }));
}
const sent = performance.now();
at("files").files = given.files;
at("files").dispatchEvent(new Event("change"));
await until(() => page.contentDocument.querySelector("figure"));
report.first = (performance.now() - sent) / 1000;
await until(() => /images in|failed/.test(at("status").textContent));
report.all = (performance.now() - sent) / 1000;
report.status = at("status").textContent;
report.lines = [...page.contentDocument.querySelectorAll(".error")].map(
  (line) => line.textContent,
);
const texts = [];
page.contentWindow.URL.createObjectURL = (blob) => {
  texts.push(blob.text());
  return "data:,";
};
at("csv").click();
at("coco").click();
[report.csv, report.coco] = await Promise.all(texts);

at("camera").click();
await until(() => !at("live").hidden);
await until(() => at("preview").width > 300);
at("keep").click();
const escape = new KeyboardEvent("keydown", { key: "Escape" });
page.contentWindow.dispatchEvent(escape);
await until(() => at("live").hidden);
at("csv").click();
report.with_camera = await texts.at(-1);
at("clear").click();
report.left = page.contentDocument.querySelectorAll("figure").length;
clearTimeout(timer);
post();
</script>"""


def find():
  """Finds the program of Chromium, or None."""
  names = "chromium", "chromium-browser", "google-chrome"
  return next(filter(None, map(shutil.which, names)), None)


class _Handler(http.server.SimpleHTTPRequestHandler):
  def do_POST(self):
    body = self.rfile.read(int(self.headers["Content-Length"]))
    self.server.reports.put(json.loads(body))
    self.send_response(204)
    self.end_headers()

  def log_message(self, *arguments):
    self.server.requests.append(f"{self.command} {self.path}")


@contextlib.contextmanager
def serve(folder):
  """Serves a folder on this machine: yields the server."""
  handler = functools.partial(_Handler, directory=folder)
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
    server.reports, server.requests = queue.Queue(), []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
      yield server
    finally:
      server.shutdown()
      thread.join()


def visit(folder, names, profile, *, timeout=90):
  """Opens the page in a folder and gives it files of folder/given, by name.

  Returns:
    (report of `DRIVER`, requests that the page made, lines of its console).
  """
  (folder / "driver.html").write_text(DRIVER % json.dumps(names))
  with serve(folder) as server:
    address = f"http://127.0.0.1:{server.server_port}/driver.html"
    log = profile.with_suffix(".log")
    with log.open("wb") as file:
      browser = subprocess.Popen(
        [find(), *FLAGS, f"--user-data-dir={profile}", address],
        stdout=subprocess.DEVNULL,
        stderr=file,
      )
      try:
        report = server.reports.get(timeout=timeout)
      finally:
        browser.terminate()
        browser.wait(20)
  console = [x for x in log.read_text().splitlines() if "CONSOLE" in x]
  return report, server.requests, console
