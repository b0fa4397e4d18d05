"""The demo's page in a browser, against Python: every gallery image at every point, hostile uploads, time, screenshots.

    python benchmarks/demo_check.py RUN --out FOLDER

builds the page into FOLDER/page, serves it on the loopback interface, opens it in headless Chromium with every foreign
host refused, and prints what it found: images whose class or architecture differ from what Python says (there should
be none), the time until the page can be used, by the clock and of its process on all cores, what it is made of, the
time until an image is routed, what the page answers to files that are no pictures, and what it makes of a camera
(Chromium's own, which shows a moving figure).
Screenshots, wide and narrow, light and dark, go into FOLDER. `--brief` leaves out all but the times.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import io
import json
import struct
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from archipel.deploy import Inputs, load
from archipel.deploy.demo import build_demo

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
SLOW_MS = 60_000


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: what is asked for is checked in the browser."""


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Nothing: a page that is closed takes no more of what it asked for."""


def picture(mode: str, size: tuple[int, int], kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.effect_noise(size, 80).convert(mode).save(file, kind, **options)
    return file.getvalue()


def hostile() -> dict[str, bytes]:
    """Files that a person may drop on a page, by accident or on purpose."""
    png = picture("RGB", (40, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = png[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]
    return {
        "empty.png": b"",
        "text.png": b"not a picture at all",
        "page.html": b"<script>alert(1)</script>",
        "half.png": png[: len(png) // 2],
        "bomb.png": bomb,
        "wide.png": picture("L", (4000, 3)),
        "one.png": picture("L", (1, 1)),
        "alpha.png": picture("RGBA", (33, 21)),
        "turned.jpg": picture("RGB", (64, 20), "JPEG", exif=exif),
        "moving.gif": picture("P", (25, 25), "GIF"),
    }


COMPARE = """async () => {
  const { data, answer } = window.archipel, wrong = [];
  let checked = 0;
  for (const [m, model] of data.models.entries()) {
    for (const [p, point] of model.points.entries()) {
      for (let i = 0; i < data.images.label.length; i += 1) {
        const { code, probabilities } = await answer(m, p, i);
        const best = probabilities.indexOf(Math.max(...probabilities));
        checked += 1;
        if (code !== model.codes[point.children[i]] || best !== point.predicted[i]) wrong.push([model.kind, p, i]);
      }
    }
  }
  return { checked, wrong };
}"""
ROUTE = """async () => {
  const { data, answer } = window.archipel, found = {};
  for (const [m, model] of data.models.entries()) {
    const times = [], begun = performance.now();
    await answer(m, model.first, 0);
    const first = performance.now() - begun;
    for (let i = 0; i < data.images.label.length; i += 1) {
      const begin = performance.now();
      await answer(m, model.first, i);
      times.push(performance.now() - begin);
    }
    times.sort((a, b) => a - b);
    found[model.kind] = { first_with_its_session: first, median: times[times.length >> 1], largest: times.at(-1) };
  }
  return found;
}"""
MARKS = """() => {
  const marked = performance.getEntriesByType("mark");
  const marks = Object.fromEntries(marked.map((one) => [one.name, Math.round(one.startTime)]));
  const files = performance.getEntriesByType("resource").map((one) => [
    one.name.split("/").at(-1), one.transferSize, Math.round(one.startTime), Math.round(one.responseEnd)]);
  return { marks, files };
}"""
PIXELS = """async ([name, bytes]) => window.archipel.pixels(new File([new Uint8Array(bytes)], name))"""
TAKE = """async ([name, bytes]) => {
  await window.archipel.take(new File([new Uint8Array(bytes)], name), name);
  return document.getElementById("fault").textContent || document.getElementById("what").textContent;
}"""


def pictures() -> dict[str, bytes]:
    """Files that page and Python have to make the same pixels of."""
    return {
        "wide.png": picture("RGB", (97, 61)),
        "tall.png": picture("L", (50, 320)),
        "small.png": picture("RGB", (5, 7)),
        "alpha.png": picture("RGBA", (33, 21)),
        "palette.png": picture("P", (64, 64)),
    }


def check(page_at: str, out: Path, inputs: Inputs, found: dict[str, Any], *, brief: bool) -> None:
    """Fills `found`."""
    from playwright.sync_api import sync_playwright

    found |= {"faults": [], "foreign": []}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for scheme in ("light", "dark"):
            for width in (1280, 390):
                context = browser.new_context(
                    viewport={"width": width, "height": 900}, color_scheme=scheme, permissions=["camera"]
                )
                page = context.new_page()
                page.set_default_timeout(SLOW_MS)
                page.on("pageerror", lambda error: found["faults"].append(str(error)))
                page.on("console", lambda m: found["faults"].append(m.text) if m.type == "error" else None)
                page.on(
                    "request",
                    lambda r: None if r.url.startswith((page_at, "data:", "blob:")) else found["foreign"].append(r.url),
                )
                browsers = context.new_cdp_session(page)
                browsers.send("Performance.enable")
                begin = time.perf_counter()
                page.goto(page_at)
                page.wait_for_selector("body[data-ready]", state="attached")
                found.setdefault("interactive_s", []).append(round(time.perf_counter() - begin, 2))
                known = {one["name"]: one["value"] for one in browsers.send("Performance.getMetrics")["metrics"]}
                found.setdefault("interactive_cpu_s", []).append(round(known["ProcessTime"], 2))
                found.setdefault("made_of", page.evaluate(MARKS))
                if brief:
                    context.close()
                    continue
                assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
                page.locator(".thumbs button").nth(3).click()
                page.keyboard.press("ArrowRight")
                page.wait_for_timeout(1500)
                page.screenshot(path=str(out / f"{scheme}-{width}.png"), full_page=True)
                others = page.locator("#models input")
                if others.count() > 1:
                    others.nth(1).check()
                    page.wait_for_timeout(3000)
                    page.screenshot(path=str(out / f"{scheme}-{width}-second.png"), full_page=True)
                    others.nth(0).check()
                if (scheme, width) == ("light", 1280):
                    found["route_ms"] = page.evaluate(ROUTE)
                    found.update(page.evaluate(COMPARE))
                    found["uploads"] = {
                        name: page.evaluate(TAKE, [name, list(content)]) for name, content in hostile().items()
                    }
                    found["pixels_off_by"] = {
                        name: apart(page.evaluate(PIXELS, [name, list(content)]), inputs, content)
                        for name, content in pictures().items()
                    }
                    page.locator("#target").focus()
                    page.keyboard.press("Home")
                    page.wait_for_timeout(500)
                    found["slider"] = page.locator("#target-said").inner_text()
                    page.locator("#camera").click()
                    page.locator("#what", has_text="camera").wait_for()
                    page.wait_for_timeout(1500)
                    page.screenshot(path=str(out / "camera.png"))
                    page.locator("#camera").click()
                    found["camera"] = page.locator("#fault").is_hidden()
                context.close()
        browser.close()


def apart(theirs: list[int], inputs: Inputs, content: bytes) -> int:
    """Largest difference of a pixel from what Python makes of a file."""
    ours = inputs.pixels(content)[0].numpy().astype(int)
    page = np.array(theirs).reshape(inputs.size, inputs.size, 4)[:, :, : inputs.channels].transpose(2, 0, 1)
    return int(abs(ours - page).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--brief", action="store_true", help="times only")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    built = asked.out / "page"
    if not (built / "index.html").exists():
        build_demo(asked.run, built)
    found: dict[str, Any] = {}
    server = Server(("127.0.0.1", 0), functools.partial(Quiet, directory=str(built)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        at = f"http://127.0.0.1:{server.server_port}/"
        check(at, asked.out, load(asked.run).inputs, found, brief=asked.brief)
    finally:
        server.shutdown()
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
