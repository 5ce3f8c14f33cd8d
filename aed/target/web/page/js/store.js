// Where recordings and thresholds go: to the server that opened the page, or into the browser's downloads.

class Store {
  constructor(facts) {
    this.facts = facts;
    this.server = facts.server ?? null;
  }

  get place() {
    return this.server
      ? this.server.folder ? `Saved into ${this.server.folder}: a folder for each class.` : "Give aed listen a folder= to save recordings; here they are downloads."
      : "Recordings are downloads, named after their class.";
  }

  // Saves samples as a sound of a class; returns what to say.
  async clip(samples, label, origin) {
    const wav = wavOf(samples, this.facts.rate);
    if (!this.server?.folder) {
      download(wav, `${label.slice(0, 80).replaceAll(/[^\p{L}\p{N}_-]+/gu, "_")}_${Date.now()}.wav`);
      return `downloaded as ${label}`;
    }
    const query = new URLSearchParams({ label, origin });
    await this.post(`clip?${query}`, wav, "audio/wav");
    return `saved as ${label}`;
  }

  async rule(thresholds) {
    if (!this.server) {
      const part = (name) => `'rule.${name}=${JSON.stringify(thresholds[name])}'`;
      download(new Blob([`${part("on")} ${part("off")}\n`], { type: "text/plain" }), "rule.txt");
      return "rule.txt: keys for aed detect and aed deploy";
    }
    return (await this.post("rule", JSON.stringify(thresholds), "application/json")).message;
  }

  async post(path, body, type) {
    const answer = await fetch(path, { method: "POST", body, headers: { "Content-Type": type } });
    const said = await answer.json();
    if (said.error) throw new Error(said.error);
    return said;
  }
}
