// Timers by name: one of each, and all of them gone at once.

export class Timers {
  #running = new Map();

  /** Do it in `ms`; what waited under this name does not happen. */
  after(name, ms, work) {
    this.clear(name);
    this.#running.set(name, setTimeout(() => {
      this.#running.delete(name);
      work();
    }, ms));
  }

  has(name) {
    return this.#running.has(name);
  }

  clear(name) {
    clearTimeout(this.#running.get(name));
    this.#running.delete(name);
  }

  end() {
    for (const name of [...this.#running.keys()]) this.clear(name);
  }
}
