// Runs beside the sound card's clock: the microphone's samples, as 16-bit PCM, a tenth of a second at a time.

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Int16Array(Math.round(sampleRate / 10));
    this.filled = 0;
    this.on = true;
    this.port.onmessage = () => {
      this.on = false;
      this.flush();
      this.port.postMessage(null);
    };
  }

  process([[channel]]) {
    if (!channel || !this.on) return this.on; // no channel: the microphone sends nothing at the moment
    for (let place = 0; place < channel.length; place++) {
      const value = Math.max(-1, Math.min(1, channel[place]));
      this.samples[this.filled++] = Math.round(value * 32767);
      if (this.filled === this.samples.length) this.flush();
    }
    return true;
  }

  flush() {
    if (!this.filled) return;
    const { buffer } = this.samples.slice(0, this.filled);
    this.filled = 0;
    this.port.postMessage(buffer, [buffer]);
  }
}

registerProcessor("speech-capture", Capture);
