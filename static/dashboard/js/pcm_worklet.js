// Runs in the audio thread: samples become 16-bit PCM, a tenth of a second at a time, with how loud they are.

class Pcm extends AudioWorkletProcessor {
  constructor() {
    super();
    this.begin();
    this.port.onmessage = () => { // the end: what there is of the last tenth
      if (this.filled) this.give();
      this.port.postMessage({ ended: true });
    };
  }

  begin() {
    this.samples = new Int16Array(Math.round(sampleRate / 10));
    this.filled = 0;
    this.energy = 0;
  }

  process([input]) {
    for (const value of input[0] || []) {
      const bounded = Math.max(-1, Math.min(1, value));
      this.energy += bounded * bounded;
      this.samples[this.filled++] = Math.round(bounded * 32767);
      if (this.filled === this.samples.length) this.give();
    }
    return true;
  }

  give() {
    const pcm = this.samples.slice(0, this.filled).buffer;
    this.port.postMessage({ pcm, loudness: Math.sqrt(this.energy / this.filled) }, [pcm]);
    this.begin();
  }
}

registerProcessor("pcm", Pcm);
