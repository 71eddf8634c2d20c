// Waveforms in the colours of the page.

import WaveSurfer from "../../vendor/wavesurfer/wavesurfer.js";

/** The value of a colour token now: tokens are light-dark() pairs, which canvases do not know. */
export function colour(name) {
  const probe = document.createElement("i");
  probe.style.color = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

function colours() {
  return { waveColor: colour("--accent-tint"), progressColor: colour("--accent"), cursorColor: colour("--ink") };
}

/** Draws what `media` (an audio element) plays, or a blob, into `container`; hides it where this browser cannot decode. */
export function waveform(container, { media, blob }) {
  const surfer = WaveSurfer.create({
    container,
    media,
    height: 80,
    barWidth: 2,
    barGap: 1,
    barRadius: 2,
    normalize: true,
    ...colours(),
    cspNonce: document.querySelector("meta[name=style-nonce]")?.content,
  });
  container.dataset.drawing = "";
  surfer.on("ready", () => { delete container.dataset.drawing; });
  surfer.on("error", () => { container.hidden = true; });
  const again = () => surfer.setOptions(colours());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  if (blob) surfer.loadBlob(blob);
  return surfer;
}
