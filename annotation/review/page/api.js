/* The server's answers, by the addresses of docs/annotation/review.md, relative to the page. A failure is a Refusal that says
 * what happened in words for the person who reads it. */

const PATIENCE = 20000; // milliseconds

export class Refusal extends Error {
  constructor(message, status, body = null) {
    super(message);
    Object.assign(this, { status, body }); // status 0: no answer
  }
}

export class Api {
  constructor(reviewer) {
    this.reviewer = reviewer;
  }

  async call(path, method = "GET", body = undefined) {
    const headers = this.reviewer ? { "X-Annotator": encodeURIComponent(this.reviewer) } : {};
    if (body !== undefined) Object.assign(headers, { "X-SRGaze360": "1", "Content-Type": "application/json" });
    let answer;
    try {
      answer = await fetch(`api/${path}`, { method, headers, body: JSON.stringify(body), signal: AbortSignal.timeout(PATIENCE) });
    } catch {
      throw new Refusal("The server does not answer.", 0);
    }
    const text = await answer.text();
    let parsed = null;
    try {
      parsed = JSON.parse(text);
    } catch { /* a paragraph, not JSON */ }
    if (answer.ok && parsed !== null) return parsed;
    throw new Refusal(parsed?.error ?? parsed?.detail ?? (parsed === null && text.length < 2000 && text ? text : `The server answered ${answer.status}.`),
      answer.status, parsed);
  }

  session() {
    return this.call("session");
  }

  queue(asked) {
    return this.call(`queue?${new URLSearchParams(asked)}`);
  }

  person(id) {
    return this.call(`person/${encodeURIComponent(id)}`);
  }

  save(id, body) {
    return this.call(`person/${encodeURIComponent(id)}`, "PUT", body);
  }

  history(id) {
    return this.call(`history/${encodeURIComponent(id)}`);
  }

  progress() {
    return this.call("progress");
  }

  result(bump) {
    return this.call("result", "POST", { bump });
  }
}

/** Pictures, a few of them kept: the last ones and the next. */
export class Pictures {
  constructor(kept = 4) {
    Object.assign(this, { kept, loading: new Map() });
  }

  load(address) {
    const found = this.loading.get(address);
    if (found) return found;
    const image = new Image();
    image.src = address;
    const ready = image.decode().then(() => image);
    ready.catch(() => this.loading.delete(address));
    this.loading.set(address, ready);
    for (const old of [...this.loading.keys()].slice(0, -this.kept)) this.loading.delete(old);
    return ready;
  }

  panorama(id, width) {
    return this.load(`api/panorama/${encodeURIComponent(id)}?width=${width}`);
  }

  heatmap(name, id) {
    return this.load(`api/heatmap/${encodeURIComponent(name)}/${encodeURIComponent(id)}`);
  }
}
