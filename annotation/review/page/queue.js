/* The people to look at, in their order: fetched in pages as they are needed, for a queue may have a hundred thousand. */

const PAGE = 500;

export class Queue {
  constructor(api, wanted) {
    Object.assign(this, { api, kind: wanted.kind, value: wanted.value ?? "", pages: new Map(), total: 0, done: 0, firstOpen: null });
  }

  /** Fetch the first page, which says how many there are. */
  async begin() {
    await this.page(0);
    return this;
  }

  page(number) {
    if (!this.pages.has(number)) {
      const asked = this.api.queue({ kind: this.kind, value: this.value, offset: number * PAGE, limit: PAGE }).then((answer) => {
        Object.assign(this, { total: answer.total, done: answer.done, firstOpen: answer.first_open });
        return answer.items;
      });
      asked.catch(() => this.pages.delete(number));
      this.pages.set(number, asked);
    }
    return this.pages.get(number);
  }

  /** The entry at a place; undefined beyond the ends. */
  async entry(position) {
    if (position < 0 || position >= this.total) return undefined;
    return (await this.page(Math.floor(position / PAGE)))[position % PAGE];
  }

  /** An entry has a verdict now; to skip somebody is not to decide. */
  decided(entry, verdict) {
    const counts = (one) => Number(one === "accepted" || one === "rejected");
    this.done += counts(verdict) - counts(entry.verdict);
    entry.verdict = verdict;
  }

  /** Entries around a place, with their places: [[entry, position], ...]. */
  async around(position, count = PAGE) {
    const first = Math.max(0, Math.min(position - Math.floor(count / 2), this.total - count));
    const places = Array.from({ length: Math.min(count, this.total) }, (_, i) => first + i);
    return Promise.all(places.map(async (place) => [await this.entry(place), place]));
  }

  /** The place of somebody in the pages that were fetched, from `hint` on; -1 if they are not there. */
  async find(id, hint = 0) {
    for (const [number, page] of [[Math.floor(hint / PAGE), null], ...this.pages]) {
      const items = await (page ?? this.page(number));
      const at = items.findIndex((entry) => entry.sample_id === id);
      if (at >= 0) return number * PAGE + at;
    }
    return -1;
  }
}
