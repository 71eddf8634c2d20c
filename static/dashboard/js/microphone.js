// The microphone, as 16-bit PCM.

const MOST_RATE = 48000; // that the server hears

/**
 * Opens it, asking the person where they have not decided yet. worklet: the address of pcm_worklet.js.
 * onSound(ArrayBuffer, loudness 0-1); onLost(): it was unplugged. Throws a DOMException, whose name says why.
 */
export async function openMicrophone(worklet, { onSound, onLost }) {
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) throw new DOMException("", "NotSupportedError");
  // Recognisers hear an unspoiled voice best: what browsers do for calls pumps, clips and drops soft sounds.
  const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  try {
    return await attach(stream, worklet, { onSound, onLost });
  } catch (error) {
    stream.getTracks().forEach((track) => track.stop());
    throw error;
  }
}

async function attach(stream, worklet, { onSound, onLost }) {
  const { context, source } = listening(stream);
  await context.audioWorklet.addModule(worklet);
  await context.resume();
  const node = new AudioWorkletNode(context, "pcm", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  let ended = () => {};
  node.port.onmessage = ({ data }) => { if (data.ended) ended(); else onSound(data.pcm, data.loudness); };
  stream.getAudioTracks()[0].addEventListener("ended", onLost);
  source.connect(node);
  return {
    sampleRate: context.sampleRate,
    /** Resolves when the last sound was handed out. */
    async close() {
      await new Promise((done) => { ended = done; node.port.postMessage("end"); setTimeout(done, 500); });
      stream.getTracks().forEach((track) => track.stop());
      await context.close();
    },
  };
}

/** At 16 kHz, where the browser resamples a microphone; else at the device's own rate. */
function listening(stream) {
  for (const options of [{ sampleRate: 16000 }, {}]) {
    const context = new AudioContext(options);
    try {
      if (context.sampleRate <= MOST_RATE) return { context, source: context.createMediaStreamSource(stream) };
    } catch (error) {
      if (!("sampleRate" in options)) throw error;
    }
    context.close();
  }
  throw new DOMException("", "NotSupportedError");
}
